//! Time as a parameter: everything that needs a clock is handed one, so tests can move it.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// A monotonic clock for budgets and a wall clock for names and timestamps.
pub trait Clock: Send + Sync {
    /// Monotonic now; follows tokio's paused time in tests.
    fn now(&self) -> Instant;

    /// Wall-clock time since the Unix epoch.
    fn wall(&self) -> Duration;
}

/// A clock that can be handed to every room.
pub type SharedClock = Arc<dyn Clock>;

/// The operating system's clocks.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        Instant::now()
    }

    #[expect(clippy::disallowed_methods, reason = "this is the place where time comes in")]
    fn wall(&self) -> Duration {
        // A machine whose clock stands before 1970 gets timestamp zero, not a panic.
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
    }
}
