//! `[receipts]`: what holds for the commit receipts of every policy with `receipt = true`.

use std::time::Duration;

use super::section::{Schema, Section};

/// The section's keys.
pub(super) const SCHEMA: Schema = Schema {
    title: "[receipts]",
    keys: &["retention", "resolve_limit", "lock_timeout", "migrate"],
};

/// What holds for all commit receipts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipts {
    /// How long after BEGIN a receipt is kept.
    pub retention: Duration,
    /// How long a client may wait until it is known what became of its COMMIT.
    pub resolve_limit: Duration,
    /// How long to wait for a receipt that another transaction is writing; whole seconds.
    pub lock_timeout: Duration,
    /// `serve` installs the schema and brings it up to date.
    pub migrate: bool,
}

/// What a COMMIT can be late by (25 hours: TiDB refuses it 24 hours after BEGIN, and clocks
/// disagree) twice, and a day to find out.
const RETENTION_MIN: Duration = Duration::from_secs(3 * DAY);

const DAY: u64 = 24 * 3600;

impl Default for Receipts {
    fn default() -> Self {
        Self {
            retention: Duration::from_secs(7 * DAY),
            resolve_limit: Duration::from_secs(10),
            lock_timeout: Duration::from_secs(2),
            migrate: false,
        }
    }
}

impl Receipts {
    pub(super) fn read(mut section: Section<'_, '_>, all: &[&'static Schema]) -> Self {
        let default = Self::default();
        let most = Duration::from_secs(315_576_000);
        let retention = section.duration("retention", RETENTION_MIN..=most, default.retention);
        let resolve_limit = section.duration(
            "resolve_limit",
            Duration::from_millis(100)..=Duration::from_secs(600),
            default.resolve_limit,
        );
        let lock_timeout = section.duration(
            "lock_timeout",
            Duration::from_secs(1)..=Duration::from_secs(600),
            default.lock_timeout,
        );
        if lock_timeout.subsec_nanos() != 0 {
            section.error(
                section.span(),
                "`lock_timeout` is no whole number of seconds",
                "servers count it in seconds: write for example `lock_timeout = \"2s\"`",
            );
        }
        let migrate = section.flag("migrate", default.migrate);
        section.finish(all);
        Self { retention, resolve_limit, lock_timeout, migrate }
    }
}
