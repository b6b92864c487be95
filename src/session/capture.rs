//! Exact timestamps, around COMMIT and in its packet train, so that no round trip is added:
//!
//! ```text
//! SELECT @@tidb_current_ts      start_ts; COMMIT resets what it disturbed
//! COMMIT
//! SELECT @@tidb_last_txn_info   {"start_ts": …, "commit_ts": …} of the last one that wrote
//! DO 0                          ROW_COUNT() and FOUND_ROWS() as behind COMMIT
//! ```

use crate::base::types::Tso;
use crate::net::lane::Lane;
use crate::txn::record::Timestamps;
use crate::wire::lenenc::Reader;

use super::{Conversation, Injected};

impl Conversation {
    pub(super) fn capture_before(&mut self, up: &mut Lane) {
        if self.wants_capture() {
            self.inject("SELECT @@tidb_current_ts", Injected::StartTs, up);
        }
    }

    pub(super) fn capture_behind(&mut self, up: &mut Lane) {
        if self.wants_capture() {
            self.inject("SELECT @@tidb_last_txn_info", Injected::TxnInfo, up);
            self.inject("DO 0", Injected::Restore, up);
        }
        self.clear_alias(up);
    }

    /// A row of an injected SELECT: its only column.
    pub(super) fn capture_row(&mut self, payload: &[u8]) {
        self.captured = Reader::new(payload).lenenc_bytes().ok().map(Into::into);
    }

    /// The reply to a statement of ours is complete.
    pub(super) fn captured(&mut self, what: Injected) {
        let value = self.captured.take();
        match what {
            Injected::Alias | Injected::Restore => {}
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
