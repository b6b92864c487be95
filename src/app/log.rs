//! Where log lines go: standard error, through a queue whose writer never blocks the relay. Lines
//! that find the queue full are dropped and counted.

use std::io;

use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;

use crate::base::config::{Log, LogFormat};

/// Lines that may wait for the writer.
const LINES_MAX: usize = 16_384;

/// Keeps the writer alive; dropping it writes what is queued.
pub struct Writer {
    _guard: WorkerGuard,
    dropped: ErrorCounter,
}

impl Writer {
    /// Counts the lines that were dropped since the start.
    #[must_use]
    pub fn counter(&self) -> ErrorCounter {
        self.dropped.clone()
    }
}

/// Starts logging. `RUST_LOG` has precedence over the configured level.
pub fn start(config: &Log) -> Writer {
    let (writer, guard) = NonBlockingBuilder::default()
        .buffered_lines_limit(LINES_MAX)
        .lossy(true)
        .finish(io::stderr());
    let dropped = writer.error_counter();
    // The parser logs what it reads, and that is the application's business.
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new(format!("{},sqlparser=off", config.level.as_str())));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    // A second start in one process (tests) keeps the first subscriber.
    let _ = match config.format {
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
        LogFormat::Text => lines.with_ansi(false).try_init(),
    };
    Writer { _guard: guard, dropped }
}
