//! What to send again, what to accept, how often to try.
//!
//! ```text
//! conflict ─▶ Attempts::next ─▶ wait ─▶ ROLLBACK ─▶ entry 1 … entry n ─▶ the request that met
//!                 │                        │            │ answer differs    the conflict, again
//!                 ▼ give up                ▼ warns      ▼
//!           original error           original error   ROLLBACK, original error
//! ```
//!
//! The replay runs on the same connection in the same mode. Escalating an optimistic transaction
//! to a pessimistic one would let a replayed write overwrite a commit that the optimistic mode
//! would have refused; replaying only the writes would lose updates that the application computed
//! from its reads. Both exist as [`Rule`]s in the tests, which must catch them.

use std::borrow::Cow;
use std::time::Duration;

use crate::policy::Retry;

use super::fingerprint::Answer;
use super::journal::Entry;

/// What a replay sends and accepts.
pub trait Rule: Send + Sync {
    /// The request to send for this entry; `None` leaves it out.
    fn resend<'a>(&self, entry: &Entry, request: &'a [u8]) -> Option<Cow<'a, [u8]>>;

    /// May the replay go on after this answer?
    fn accepts(&self, entry: &Entry, again: &Answer) -> bool;
}

/// The only rule that the product uses: everything is sent again, every answer must be equal.
#[derive(Debug, Clone, Copy, Default)]
pub struct Verified;

impl Rule for Verified {
    fn resend<'a>(&self, _: &Entry, request: &'a [u8]) -> Option<Cow<'a, [u8]>> {
        Some(Cow::Borrowed(request))
    }

    fn accepts(&self, entry: &Entry, again: &Answer) -> bool {
        entry.answer.as_ref() == Some(again)
    }
}

/// How a replay ended, as metrics and records tell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplayOutcome {
    /// The backend connection ended meanwhile.
    BackendLost,
    /// Replays on the same key have failed so often that none is begun for a while.
    CircuitOpen,
    /// The client left meanwhile.
    ClientGone,
    /// No attempt or no time was left.
    Exhausted,
    /// An answer came out different.
    Mismatch,
    /// `observe_only`: nothing was done.
    Observed,
    /// The request that had met the conflict was answered by an error of another kind, which the
    /// client got.
    OtherError,
    /// ROLLBACK warned or failed, so the first run may have left something behind; or something
    /// can't be run again as it was.
    Refused,
    /// The transaction went on as if nothing had happened.
    Succeeded,
    /// The process has used up its retry tokens.
    Throttled,
}

impl ReplayOutcome {
    /// The label in metrics and records.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BackendLost => "backend_lost",
            Self::CircuitOpen => "circuit_open",
            Self::ClientGone => "client_gone",
            Self::Exhausted => "exhausted",
            Self::Mismatch => "mismatch",
            Self::Observed => "observed",
            Self::OtherError => "other_error",
            Self::Refused => "refused",
            Self::Succeeded => "succeeded",
            Self::Throttled => "throttled",
        }
    }
}

/// The attempts of one transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempts {
    used: u32,
}

impl Default for Attempts {
    fn default() -> Self {
        Self::new()
    }
}

impl Attempts {
    /// The first run is attempt 1.
    #[must_use]
    pub const fn new() -> Self {
        Self { used: 1 }
    }

    /// The number of the current attempt.
    #[must_use]
    pub const fn current(self) -> u32 {
        self.used
    }

    /// Starts the next attempt: how long to wait before it, or `None` when the policy's attempts
    /// or time are used up. `spent` is the time since the first conflict, `random` picks a point
    /// within the wait (full jitter), so that transactions that collided don't meet again.
    pub fn next(&mut self, retry: &Retry, spent: Duration, random: u64) -> Option<Duration> {
        let replays = self.used;
        if replays > retry.attempts {
            return None;
        }
        let wait = retry.backoff.pause(replays, random);
        if spent + wait > retry.budget {
            return None;
        }
        self.used += 1;
        Some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Backoff;

    fn retry(attempts: u32) -> Retry {
        Retry {
            attempts,
            budget: Duration::from_secs(1),
            backoff: Backoff { first: Duration::from_millis(2), max: Duration::from_millis(50) },
        }
    }

    #[test]
    fn as_many_replays_as_the_policy_allows() {
        let mut attempts = Attempts::new();
        for _ in 0..3 {
            assert!(attempts.next(&retry(3), Duration::ZERO, 0).is_some());
        }
        assert_eq!(attempts.next(&retry(3), Duration::ZERO, 0), None);
        assert_eq!(attempts.current(), 4);
    }

    #[test]
    fn waits_double_up_to_the_ceiling_and_are_jittered() {
        let mut attempts = Attempts::new();
        for _ in 0..20 {
            let mut same = attempts;
            let long = attempts.next(&retry(100), Duration::ZERO, u64::MAX).expect("time left");
            let short = same.next(&retry(100), Duration::ZERO, 0).expect("time left");
            assert!(long <= Duration::from_millis(50));
            assert_eq!(short, Duration::ZERO);
        }
    }

    #[test]
    fn no_attempt_begins_beyond_the_budget() {
        let mut attempts = Attempts::new();
        assert_eq!(attempts.next(&retry(100), Duration::from_millis(1001), 0), None);
    }
}
