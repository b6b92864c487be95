//! Log lines that a flood of clients must not multiply: one a second, with a count.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Between two lines about the same thing.
const PAUSE: Duration = Duration::from_secs(1);

/// Counts events and says when one is worth a line.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    // Held for a comparison.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    last_line: Option<Instant>,
    since: u64,
}

impl Throttle {
    /// It has happened once more. If a line is due: how often since the last line.
    pub(super) fn count(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.since += 1;
        if state.last_line.is_some_and(|last| now < last + PAUSE) {
            return None;
        }
        state.last_line = Some(now);
        Some(std::mem::take(&mut state.since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_one_line_a_second_with_its_count() {
        let (throttle, begin) = (Throttle::default(), Instant::now());
        let at = |millis| begin + Duration::from_millis(millis);
        assert_eq!(throttle.count(at(0)), Some(1));
        assert_eq!((throttle.count(at(1)), throttle.count(at(999))), (None, None));
        assert_eq!(throttle.count(at(1000)), Some(3));
        assert_eq!(throttle.count(at(1001)), None);
        assert_eq!(throttle.count(at(60_000)), Some(2));
    }
}
