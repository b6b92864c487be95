//! Exact timestamps, around COMMIT, without a round trip that the client waits for:
//!
//! ```text
//! SELECT @@tidb_current_ts      start_ts; sent with COMMIT, which resets what it disturbed
//! COMMIT                        its OK goes to the client at once
//! SELECT @@tidb_last_txn_info   {"start_ts": …, "commit_ts": …} of the last one that wrote
//! DO 0                          ROW_COUNT() as behind COMMIT
//! ```
//!
//! The last two are sent when the OK has come, ahead of the client's next command. Behind an error
//! nothing of ours is sent, so that SHOW WARNINGS tells of the error.
//!
//! COMMIT leaves FOUND_ROWS() alone: it still tells the rows of the client's last result (TiDB
//! `executor.recordSet.Next`), and each SELECT of ours would change that. So the last result of
//! ours has as many rows as the client's: none (SHOW WARNINGS, in place of DO 0), one, or more
//! (made by a recursive query). If they are too many, or not known, nothing is captured.

use std::borrow::Cow;

use crate::base::types::Tso;
use crate::net::lane::Lane;
use crate::txn::record::Timestamps;
use crate::wire::command::Command;
use crate::wire::lenenc::Reader;
use crate::wire::response::Kind;
use crate::wire::status::Status;

use super::{Conversation, Injected};

/// The longest result that is imitated: about 10 ms of TiDB's time, as much as it takes to have
/// read so many rows.
const FOUND_ROWS_MAX: u64 = 10_000;

impl Conversation {
    /// FOUND_ROWS() can be given its value back behind statements of ours.
    pub(super) fn can_restore(&self) -> bool {
        self.found_rows.is_some_and(|rows| rows <= FOUND_ROWS_MAX)
    }

    pub(super) fn capture_before(&mut self, up: &mut Lane) {
        if self.wants_capture() {
            self.inject("SELECT @@tidb_current_ts", Injected::StartTs, up);
        }
    }

    pub(super) fn capture_behind(&mut self, up: &mut Lane) {
        if self.wants_capture() {
            let rows = self.found_rows.unwrap_or_default();
            let (info, restore) = (last_txn_info(rows), if rows == 0 { SHOW } else { "DO 0" });
            self.inject(&info, Injected::TxnInfo, up);
            self.inject(restore, Injected::Restore, up);
        }
        self.clear_alias(up);
    }

    /// Hot path: keeps FOUND_ROWS() for the client's results. `status` is that of a result's end.
    #[inline]
    pub(super) fn count_rows(&mut self, kind: Kind, status: Option<Status>) {
        match (kind, status) {
            (Kind::Row, _) => self.rows += 1,
            (Kind::RowsEnd | Kind::ColumnsEnd, Some(status)) => {
                let rows = std::mem::take(&mut self.rows);
                let command = self.expected.front().map(|front| front.command);
                if matches!(command, Some(Command::QUERY | Command::STMT_EXECUTE)) {
                    let whole = !status.has(Status::CURSOR_EXISTS);
                    self.found_rows = whole.then_some(rows);
                }
            }
            // An error in place of the end: FOUND_ROWS() stays.
            (Kind::Err, _) => self.rows = 0,
            _ => {}
        }
    }

    /// A row of an injected SELECT; its only column has a value in one of them.
    pub(super) fn capture_row(&mut self, payload: &[u8]) {
        if self.captured.is_none() {
            self.captured = Reader::new(payload).lenenc_bytes().ok().map(Into::into);
        }
    }

    /// The reply to a statement of ours is complete.
    pub(super) fn captured(&mut self, what: Injected) {
        let value = self.captured.take();
        match what {
            Injected::Alias
            | Injected::Fence
            | Injected::Flags
            | Injected::Key
            | Injected::Probe
            | Injected::Receipt
            | Injected::Restore
            | Injected::Right
            | Injected::Save => {}
            Injected::StartTs => {
                if let Some(txn) = self.txn.as_mut() {
                    txn.start_ts = value.as_deref().and_then(decimal);
                }
            }
            Injected::TxnInfo => {
                if let Some((mut record, start_ts)) = self.finishing.take() {
                    let last = value.as_deref().and_then(last_txn);
                    record.timestamps = Timestamps::agree(start_ts, last);
                    self.publish(&record);
                }
            }
        }
    }
}

/// No rows, and a ROW_COUNT() of 0 behind it.
const SHOW: &str = "SHOW WARNINGS";

/// A query for `@@tidb_last_txn_info` whose result has so many rows (at least one).
fn last_txn_info(rows: u64) -> Cow<'static, str> {
    match rows {
        0 | 1 => "SELECT @@tidb_last_txn_info".into(),
        // Each row has two children: a recursion as deep as the number has bits.
        _ => format!(
            "WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i*2+b FROM n \
             JOIN (SELECT 0 AS b UNION ALL SELECT 1) c WHERE i*2+b<={rows}) \
             SELECT IF(i=1,@@tidb_last_txn_info,NULL) FROM n"
        )
        .into(),
    }
}

fn decimal(text: &[u8]) -> Option<Tso> {
    std::str::from_utf8(text).ok()?.parse().ok().map(Tso)
}

/// start_ts and commit_ts of `@@tidb_last_txn_info` (TiDB `sessionctx/variable.LastTxnInfo`).
fn last_txn(json: &[u8]) -> Option<(Tso, Tso)> {
    #[derive(serde::Deserialize)]
    struct Info {
        start_ts: u64,
        commit_ts: u64,
    }
    let info: Info = serde_json::from_slice(json).ok()?;
    Some((Tso(info.start_ts), Tso(info.commit_ts)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_are_read_from_what_tidb_writes() {
        let json = br#"{"txn_scope":"global","start_ts":7,"commit_ts":9,"txn_commit_mode":"2pc"}"#;
        assert_eq!(last_txn(json), Some((Tso(7), Tso(9))));
        assert_eq!(last_txn(b""), None);
        assert_eq!(decimal(b"449"), Some(Tso(449)));
        assert_eq!(decimal(b"x"), None);
    }
}
