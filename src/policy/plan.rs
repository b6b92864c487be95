//! What one transaction gets.

use std::sync::Arc;
use std::time::Duration;

pub use crate::base::config::{Tag, TagKeys, TsoMode};

use crate::base::config::Policy;

/// What one transaction gets; fixed at its BEGIN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The policy's name, or [`Plan::BARE_NAME`].
    pub name: Arc<str>,
    /// Verified replay, if it is on.
    pub retry: Option<Retry>,
    /// How statements carry the transaction's id.
    pub tag: Tag,
    /// What the comment says.
    pub tag_keys: TagKeys,
    /// Which timestamps are taken.
    pub tso: TsoMode,
    /// A row with each COMMIT tells afterwards that it happened.
    pub receipt: bool,
    /// Decide, count and log, but act on nothing.
    pub observe_only: bool,
}

/// Limits of verified replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// Replays of one transaction at most; the client's own run is not counted.
    pub attempts: u32,
    /// Time from the first conflict until the last replay may begin.
    pub budget: Duration,
    /// Pauses before each replay.
    pub backoff: Backoff,
}

/// Exponential pauses with full jitter: writers that collided once are spread over the whole
/// pause, so they don't collide again in step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The longest pause before the first replay.
    pub first: Duration,
    /// No pause is longer.
    pub max: Duration,
}

impl Plan {
    /// The name in place of a policy's where none is in force.
    pub const BARE_NAME: &'static str = "(none)";

    /// Nothing: the transaction is relayed as it is.
    #[must_use]
    pub fn bare() -> Self {
        Self {
            name: Self::BARE_NAME.into(),
            retry: None,
            tag: Tag::Off,
            tag_keys: TagKeys::default(),
            tso: TsoMode::Off,
            receipt: false,
            observe_only: false,
        }
    }

    /// True if nothing is switched on, by whatever policy.
    #[must_use]
    pub fn is_bare(&self) -> bool {
        let tagged = self.tag != Tag::Off || self.tso != TsoMode::Off;
        self.retry.is_none() && !tagged && !self.receipt
    }

    pub(super) fn compile(policy: &Policy) -> Self {
        let retry = policy.retry.map(|retry| Retry {
            attempts: retry.attempts,
            budget: retry.budget,
            backoff: Backoff { first: retry.backoff, max: retry.backoff_max },
        });
        Self {
            name: policy.name.get_ref().as_str().into(),
            retry,
            tag: policy.tag,
            tag_keys: policy.tag_keys,
            tso: policy.tso,
            receipt: policy.receipt,
            observe_only: policy.observe_only,
        }
    }
}

impl Backoff {
    /// The pause before a replay, counted from 1: evenly spread from nothing to the doubled first
    /// pause, by `noise`, of which all 64 bits must be random.
    #[must_use]
    pub fn pause(self, replay: u32, noise: u64) -> Duration {
        let doubled = self.first.saturating_mul(1 << replay.saturating_sub(1).min(30));
        let most = u64::try_from(doubled.min(self.max).as_nanos()).unwrap_or(u64::MAX);
        // The upper half of the product maps the noise to 0..=most without a division.
        let spread = (u128::from(noise) * (u128::from(most) + 1)) >> 64;
        Duration::from_nanos(u64::try_from(spread).unwrap_or(most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff =
        Backoff { first: Duration::from_millis(2), max: Duration::from_millis(200) };

    #[test]
    fn pauses_double_up_to_the_limit() {
        let longest = |replay| BACKOFF.pause(replay, u64::MAX).as_millis();
        let pauses = [1, 2, 3, 7, 8, 9, u32::MAX].map(longest);
        assert_eq!(pauses, [2, 4, 8, 128, 200, 200, 200]);
        assert_eq!(BACKOFF.pause(5, 0), Duration::ZERO);
        assert_eq!(BACKOFF.pause(1, u64::MAX / 2).as_micros(), 1000);
    }

    proptest::proptest! {
        #[test]
        fn no_pause_is_longer_than_the_limit(
            first in 0_u64..100_000, max in 0_u64..100_000, replay: u32, noise: u64
        ) {
            let backoff = Backoff {
                first: Duration::from_millis(first),
                max: Duration::from_millis(max),
            };
            proptest::prop_assert!(backoff.pause(replay, noise) <= backoff.max);
        }
    }
}
