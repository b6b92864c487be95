//! `CALL txguard.current_transaction()`: the transaction that is open, or no row.

use crate::wire::packet::result::{Column, ResultSet, Value};

use super::{Answer, Conversation};

impl Conversation {
    pub(super) fn current_transaction(&self) -> Answer {
        let mut rows = ResultSet::new(&[
            Column::Text("transaction_id"),
            Column::Number("attempt"),
            Column::Number("start_ts"),
            Column::Text("policy"),
            Column::Text("guarded"),
            Column::Text("reason"),
        ]);
        if let Some(txn) = &self.txn {
            let reason = match (txn.guarded, txn.unguarded, txn.plan.retry) {
                (true, ..) => Value::Null,
                (false, Some(why), _) => Value::Text(why.as_str().into()),
                (false, None, None) => Value::Text("policy".into()),
                (false, None, Some(_)) => Value::Null,
            };
            rows.row(vec![
                Value::Text(txn.id.to_string()),
                Value::Number(txn.attempts.current().into()),
                txn.start_ts.map_or(Value::Null, |ts| Value::Number(ts.0)),
                Value::Text(txn.plan.name.to_string()),
                Value::Text(if txn.guarded { "YES" } else { "NO" }.into()),
                reason,
            ]);
        }
        Answer::Rows(rows)
    }
}
