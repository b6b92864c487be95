//! What is told about a transaction when it has ended.

use std::sync::Arc;
use std::time::Duration;

use crate::base::types::{Tso, TxnId};

use super::guard::Unguarded;
use super::replay::ReplayOutcome;

/// How a transaction ended, as far as the answers tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// COMMIT was answered OK.
    Committed,
    /// A conflict reached the client.
    Conflict(u16),
    /// COMMIT was answered by another error that proves an abort.
    Failed(u16),
    /// ROLLBACK, a reset, or the client went away in the middle.
    RolledBack,
    /// COMMIT was sent and its answer never came, or says nothing: it may have been committed.
    Unknown,
}

impl Outcome {
    /// The label in metrics and records.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Committed => "committed",
            Self::Conflict(_) => "conflict",
            Self::Failed(_) => "failed",
            Self::RolledBack => "rolled_back",
            Self::Unknown => "unknown",
        }
    }

    /// The error code that the client saw.
    #[must_use]
    pub const fn code(self) -> Option<u16> {
        match self {
            Self::Conflict(code) | Self::Failed(code) => Some(code),
            Self::Committed | Self::RolledBack | Self::Unknown => None,
        }
    }
}

/// What the exact capture of timestamps found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Timestamps {
    /// Not asked for, or the backend has none.
    #[default]
    None,
    /// The transaction began at this timestamp and wrote nothing, or did not commit.
    NothingWritten {
        /// When its snapshot was taken.
        start_ts: Tso,
    },
    /// Both timestamps, proven to be of this transaction.
    Exact {
        /// When its snapshot was taken.
        start_ts: Tso,
        /// When its writes became visible.
        commit_ts: Tso,
    },
}

impl Timestamps {
    /// Puts together what was asked before and behind COMMIT. TiDB keeps the information of the
    /// last transaction that wrote, so its commit_ts counts only if it names the same start_ts
    /// (TiDB `@@tidb_last_txn_info`).
    #[must_use]
    pub fn agree(start_ts: Option<Tso>, last: Option<(Tso, Tso)>) -> Self {
        match (start_ts.filter(|tso| tso.0 != 0), last) {
            (None, _) => Self::None,
            (Some(start_ts), Some((of, commit_ts))) if of == start_ts && commit_ts.0 != 0 => {
                Self::Exact { start_ts, commit_ts }
            }
            (Some(start_ts), _) => Self::NothingWritten { start_ts },
        }
    }
}

/// A finished transaction.
#[derive(Debug, Clone)]
pub struct Record {
    /// Its identity.
    pub txn: TxnId,
    /// The policy that it ran under.
    pub policy: Arc<str>,
    /// Runs, the first included.
    pub attempts: u32,
    /// How it ended.
    pub outcome: Outcome,
    /// Why it could not have been replayed; `None` if it could.
    pub unguarded: Option<Unguarded>,
    /// How its last replay ended, if there was one, and the code that caused it.
    pub replay: Option<(ReplayOutcome, u16)>,
    /// Timestamp taken at BEGIN from the oracle.
    pub hint: Option<Tso>,
    /// Exact timestamps.
    pub timestamps: Timestamps,
    /// `traceparent` of the application.
    pub traceparent: Option<Box<str>>,
    /// Statements, BEGIN and COMMIT left out.
    pub statements: u32,
    /// From BEGIN to the end.
    pub duration: Duration,
}

impl Record {
    /// True for what an operator wants to see without asking: replayed, refused, unguarded,
    /// unknown, failed, slow.
    #[must_use]
    pub fn is_notable(&self, slow: Duration) -> bool {
        let ordinary = matches!(self.outcome, Outcome::Committed | Outcome::RolledBack);
        !ordinary || self.replay.is_some() || self.unguarded.is_some() || self.duration >= slow
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_ts_counts_only_for_the_same_start_ts() {
        let (start, commit) = (Tso(10), Tso(20));
        let exact = Timestamps::Exact { start_ts: start, commit_ts: commit };
        let nothing = Timestamps::NothingWritten { start_ts: start };
        assert_eq!(Timestamps::agree(Some(start), Some((start, commit))), exact);
        assert_eq!(Timestamps::agree(Some(start), Some((Tso(9), commit))), nothing);
        assert_eq!(Timestamps::agree(Some(start), Some((start, Tso(0)))), nothing);
        assert_eq!(Timestamps::agree(Some(start), None), nothing);
        assert_eq!(Timestamps::agree(Some(Tso(0)), Some((start, commit))), Timestamps::None);
        assert_eq!(Timestamps::agree(None, Some((start, commit))), Timestamps::None);
    }
}
