//! What is told when a transaction has ended: counters always, a log record where the
//! configuration wants one. The log's writer never blocks the relay.

use std::time::Duration;

use crate::base::config::LogTransactions;
use crate::base::metrics::{self, Metrics, TransactionOutcome};
use crate::txn::record::{Outcome, Record, Timestamps};
use crate::txn::replay::ReplayOutcome;

use super::Deps;

/// Writes records of finished transactions.
#[derive(Debug, Clone, Copy)]
pub struct Recorder {
    transactions: LogTransactions,
    slow: Duration,
}

impl Recorder {
    /// `slow` is the duration from which a transaction is notable.
    #[must_use]
    pub const fn new(transactions: LogTransactions, slow: Duration) -> Self {
        Self { transactions, slow }
    }

    pub(super) fn publish(&self, record: &Record, conn: u32, metrics: &Metrics) {
        metrics.transaction(match record.outcome {
            Outcome::Committed => TransactionOutcome::Committed,
            Outcome::Conflict(_) => TransactionOutcome::Conflict,
            Outcome::Failed(_) => TransactionOutcome::Failed,
            Outcome::RolledBack => TransactionOutcome::RolledBack,
            Outcome::Unknown => TransactionOutcome::Unknown,
        });
        if let Some(why) = record.unguarded {
            metrics.unguarded(why.as_str());
        }
        let wanted = match self.transactions {
            LogTransactions::All => true,
            LogTransactions::Notable => record.is_notable(self.slow),
            LogTransactions::Off => false,
        };
        if wanted {
            log(record, conn);
        }
    }
}

fn log(record: &Record, conn: u32) {
    let (start_ts, commit_ts) = match record.timestamps {
        Timestamps::None => (None, None),
        Timestamps::NothingWritten { start_ts } => (Some(start_ts.0), None),
        Timestamps::Exact { start_ts, commit_ts } => (Some(start_ts.0), Some(commit_ts.0)),
    };
    tracing::info!(
        target: "txguard::transaction",
        txn = %record.txn,
        conn,
        policy = &*record.policy,
        outcome = record.outcome.as_str(),
        code = record.outcome.code(),
        attempts = record.attempts,
        replay = record.replay.map(|(outcome, _)| outcome.as_str()),
        replay_code = record.replay.map(|(_, code)| code),
        unguarded = record.unguarded.map(|why| why.as_str()),
        tso = record.hint.map(|tso| tso.0),
        start_ts,
        commit_ts,
        traceparent = record.traceparent.as_deref(),
        statements = record.statements,
        duration_us = u64::try_from(record.duration.as_micros()).unwrap_or(u64::MAX),
        "transaction"
    );
}

impl Deps {
    pub(super) fn metrics_replay(&self, outcome: ReplayOutcome, code: u16) {
        self.metrics.replay(
            match outcome {
                ReplayOutcome::BackendLost => metrics::ReplayOutcome::BackendLost,
                ReplayOutcome::CircuitOpen => metrics::ReplayOutcome::CircuitOpen,
                ReplayOutcome::ClientGone => metrics::ReplayOutcome::ClientGone,
                ReplayOutcome::Exhausted => metrics::ReplayOutcome::Exhausted,
                ReplayOutcome::Mismatch => metrics::ReplayOutcome::Mismatch,
                ReplayOutcome::Observed => metrics::ReplayOutcome::Observed,
                ReplayOutcome::OtherError => metrics::ReplayOutcome::OtherError,
                ReplayOutcome::Refused => metrics::ReplayOutcome::Refused,
                ReplayOutcome::Succeeded => metrics::ReplayOutcome::Succeeded,
                ReplayOutcome::Throttled => metrics::ReplayOutcome::Throttled,
            },
            code,
        );
    }
}
