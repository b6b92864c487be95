//! `[limits]`: what one process takes on, and for how long. Beyond a limit of the journal a
//! transaction becomes unguarded; it never fails.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::section::{Schema, Section};

/// The section's keys.
pub(super) const SCHEMA: Schema = Schema {
    title: "[limits]",
    keys: &[
        "clients",
        "handshake",
        "idle",
        "idle_in_transaction",
        "statement",
        "drain_delay",
        "drain_timeout",
        "journal_per_transaction",
        "journal_total",
        "statement_shapes",
        "retry_tokens",
        "retry_failures",
        "retry_pause",
    ],
};

/// What one process takes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Client connections at a time.
    pub clients: u32,
    /// How long a client's login may take.
    pub handshake: Duration,
    /// How long a client may say nothing while no transaction is open; `None` for ever.
    pub idle: Option<Duration>,
    /// The same while a transaction is open.
    pub idle_in_transaction: Option<Duration>,
    /// Bytes of one statement.
    pub statement: u64,
    /// How long `/readyz` says no before a shutdown begins to turn clients away.
    pub drain_delay: Duration,
    /// How long open transactions may go on in a shutdown.
    pub drain_timeout: Duration,
    /// Bytes of requests that one transaction may hold for its replay.
    pub journal_per_transaction: u64,
    /// Bytes of requests that all transactions together may hold.
    pub journal_total: u64,
    /// Statement shapes whose classification is remembered.
    pub statement_shapes: u32,
    /// Replays in vain that a full bucket allows; 0 for any number.
    pub retry_tokens: u32,
    /// Replays in vain, one after the other on the same key, that open its circuit; 0 for none.
    pub retry_failures: u32,
    /// How long an open circuit refuses replays.
    pub retry_pause: Duration,
}

/// Less than a second would cut working clients off between two statements.
const IDLE: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(31_557_600);

impl Default for Limits {
    fn default() -> Self {
        Self {
            clients: 10_000,
            handshake: Duration::from_secs(10),
            idle: None,
            idle_in_transaction: None,
            // What MySQL and TiDB can be set to at most (max_allowed_packet).
            statement: 1 << 30,
            drain_delay: Duration::ZERO,
            drain_timeout: Duration::from_secs(10),
            // A transaction of a thousand statements of 4 KiB; replaying more takes seconds.
            journal_per_transaction: 4 << 20,
            // 64 of the largest ones, or many thousands of the usual 1 KiB.
            journal_total: 256 << 20,
            statement_shapes: 4096,
            // A second or two of replays on a busy process.
            retry_tokens: 1000,
            retry_failures: 20,
            retry_pause: Duration::from_secs(1),
        }
    }
}

impl Limits {
    pub(super) fn read(mut section: Section<'_, '_>, all: &[&'static Schema]) -> Self {
        let default = Self::default();
        let clients = section.count("clients", 1..=1_000_000, default.clients);
        let handshake = section.duration(
            "handshake",
            Duration::from_millis(1)..=Duration::from_secs(3600),
            default.handshake,
        );
        let idle = section.duration_or_off("idle", IDLE, default.idle);
        let in_transaction =
            section.duration_or_off("idle_in_transaction", IDLE, default.idle_in_transaction);
        let statement = section.bytes("statement", 1 << 10..=1 << 30, default.statement);
        let wait = Duration::ZERO..=Duration::from_secs(3600);
        let drain_delay = section.duration("drain_delay", wait.clone(), default.drain_delay);
        let drain_timeout = section.duration("drain_timeout", wait, default.drain_timeout);
        let bytes = 0..=1 << 40;
        let journal_per_transaction = section.bytes(
            "journal_per_transaction",
            bytes.clone(),
            default.journal_per_transaction,
        );
        let journal_total = section.bytes("journal_total", bytes, default.journal_total);
        if journal_per_transaction > journal_total {
            section.warning(
                section.span(),
                "`journal_per_transaction` is larger than `journal_total`",
                "one transaction can't hold more than all together: raise `journal_total`",
            );
        }
        let shapes = section.count("statement_shapes", 16..=10_000_000, default.statement_shapes);
        let retry_tokens = section.count("retry_tokens", 0..=1_000_000, default.retry_tokens);
        let retry_failures = section.count("retry_failures", 0..=1_000_000, default.retry_failures);
        let pauses = Duration::from_millis(1)..=Duration::from_secs(3600);
        let retry_pause = section.duration("retry_pause", pauses, default.retry_pause);
        section.finish(all);
        Self {
            clients,
            handshake,
            idle,
            idle_in_transaction: in_transaction,
            statement,
            drain_delay,
            drain_timeout,
            journal_per_transaction,
            journal_total,
            statement_shapes: shapes,
            retry_tokens,
            retry_failures,
            retry_pause,
        }
    }
}
