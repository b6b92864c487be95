//! `[limits]`: what one process takes on. Beyond a limit of the journal a transaction becomes
//! unguarded; it never fails.

use std::time::Duration;

use super::section::{Schema, Section};

/// The section's keys.
pub(super) const SCHEMA: Schema = Schema {
    title: "[limits]",
    keys: &["clients", "handshake", "journal_per_transaction", "journal_total", "statement_shapes"],
};

/// What one process takes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Client connections at a time.
    pub clients: u32,
    /// How long a client's login may take.
    pub handshake: Duration,
    /// Bytes of requests that one transaction may hold for its replay.
    pub journal_per_transaction: u64,
    /// Bytes of requests that all transactions together may hold.
    pub journal_total: u64,
    /// Statement shapes whose classification is remembered.
    pub statement_shapes: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            clients: 10_000,
            handshake: Duration::from_secs(10),
            // A transaction of a thousand statements of 4 KiB; replaying more takes seconds.
            journal_per_transaction: 4 << 20,
            // 64 of the largest ones, or many thousands of the usual 1 KiB.
            journal_total: 256 << 20,
            statement_shapes: 4096,
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
        section.finish(all);
        Self {
            clients,
            handshake,
            journal_per_transaction,
            journal_total,
            statement_shapes: shapes,
        }
    }
}
