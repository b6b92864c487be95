//! `CALL txguard.idempotency_key('…')`: the key of the transaction that begins next.

use crate::base::error::Own;

use super::{Answer, Conversation};

impl Conversation {
    pub(super) fn idempotency_key(&mut self, key: &str) -> Answer {
        if self.txn.is_some() || self.status.in_trans() {
            return Answer::Refused(Own::KeyUnusable);
        }
        match self.key_in_scope(key) {
            Ok(key) => {
                self.next_key = Some(key);
                Answer::Done
            }
            Err(own) => Answer::Refused(own),
        }
    }
}
