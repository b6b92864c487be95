//! `[log]`: what is written to the log.

use super::section::{Schema, Section};

/// The section's keys.
pub(super) const SCHEMA: Schema =
    Schema { title: "[log]", keys: &["transactions", "format", "level"] };

/// What is written to the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Log {
    /// Which transactions get a record.
    pub transactions: LogTransactions,
    /// How lines look.
    pub format: LogFormat,
    /// The least important line that is written.
    pub level: LogLevel,
}

/// Which transactions get a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogTransactions {
    /// Every one; a single statement in autocommit mode is only counted.
    All,
    /// Those with something to tell: replayed, refused, unguarded, unknown, failed.
    #[default]
    Notable,
    /// None.
    Off,
}

/// How lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// One JSON object a line, for log collectors.
    Json,
    /// For people.
    #[default]
    Text,
}

/// The least important line that is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum LogLevel {
    /// Someone must look.
    Error,
    /// Something is not as it should be.
    Warn,
    /// What happens now and then, transaction records included.
    #[default]
    Info,
    /// What happens on each connection.
    Debug,
    /// What happens in each packet; not in release builds.
    Trace,
}

impl LogLevel {
    /// The word in the file, which is also tracing's.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

impl Log {
    pub(super) fn read(mut section: Section<'_, '_>, all: &[&'static Schema]) -> Self {
        let default = Self::default();
        let transactions = section.choice(
            "transactions",
            &[
                ("notable", LogTransactions::Notable),
                ("all", LogTransactions::All),
                ("off", LogTransactions::Off),
            ],
            default.transactions,
        );
        let format = section.choice(
            "format",
            &[("text", LogFormat::Text), ("json", LogFormat::Json)],
            default.format,
        );
        let levels =
            [LogLevel::Error, LogLevel::Warn, LogLevel::Info, LogLevel::Debug, LogLevel::Trace]
                .map(|level| (level.as_str(), level));
        let level = section.choice("level", &levels, default.level);
        section.finish(all);
        Self { transactions, format, level }
    }
}
