//! Timestamps made from the local clock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::base::types::Tso;

/// Makes timestamps in TiDB's format from the local clock. They never repeat and never go
/// backwards within one process; against TiDB's own they are only as good as the clock, so they
/// serve as a hint in tags and records, never for a decision.
#[derive(Debug, Default)]
pub struct LocalOracle {
    last: AtomicU64,
}

impl LocalOracle {
    /// The next timestamp at `wall` (time since the Unix epoch).
    #[must_use]
    pub fn next(&self, wall: Duration) -> Tso {
        let now = Tso::compose(u64::try_from(wall.as_millis()).unwrap_or(u64::MAX), 0).0;
        let previous = self
            .last
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(now.max(last + 1)))
            .unwrap_or_default();
        Tso(now.max(previous + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_grow_even_when_the_clock_goes_back() {
        let oracle = LocalOracle::default();
        let first = oracle.next(Duration::from_millis(5_000));
        let second = oracle.next(Duration::from_millis(5_000));
        let third = oracle.next(Duration::from_millis(4_000));
        assert_eq!(first, Tso::compose(5_000, 0));
        assert_eq!((second.0, third.0), (first.0 + 1, first.0 + 2));
    }
}
