//! How long PD has not answered.
//!
//! ```text
//!           asked                     limit passed: Lost
//! answered ───────▶ asked, how long ago ───────────────────▶ lost
//!     ▲                  │ answered                            │ answered: Back
//!     └──────────────────┴─────────────────────────────────────┘
//! ```
//!
//! Times are durations since any instant that stays the same.

use std::time::Duration;

/// What is known of PD's answers.
#[derive(Debug, Clone, Copy)]
pub struct Outage {
    limit: Duration,
    /// When that was asked which has no answer yet.
    asked: Option<Duration>,
    lost: bool,
}

/// Something has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// It has not answered for longer than the limit.
    Lost,
    /// It answers again, so long after it was asked.
    Back(Duration),
}

impl Outage {
    /// Nothing was asked yet. PD is lost once an answer takes longer than `limit`.
    #[must_use]
    pub const fn new(limit: Duration) -> Self {
        Self { limit, asked: None, lost: false }
    }

    /// Something is asked; what was asked before and has no answer counts from then.
    pub fn asked(&mut self, now: Duration) {
        self.asked.get_or_insert(now);
    }

    /// Everything is answered.
    pub fn answered(&mut self, now: Duration) -> Option<Turn> {
        let silent = self.silent(now);
        self.asked = None;
        std::mem::take(&mut self.lost).then_some(Turn::Back(silent))
    }

    /// Time has passed.
    pub fn look(&mut self, now: Duration) -> Option<Turn> {
        let lost = self.silent(now) > self.limit;
        let turned = lost && !self.lost;
        self.lost |= lost;
        turned.then_some(Turn::Lost)
    }

    /// How long it has not answered; zero if nothing was asked.
    #[must_use]
    pub fn silent(&self, now: Duration) -> Duration {
        self.asked.map_or(Duration::ZERO, |asked| now.saturating_sub(asked))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn lost_is_told_once_behind_the_limit_and_back_with_the_time_it_took() {
        let mut outage = Outage::new(ms(3_000));
        assert_eq!(outage.look(ms(60_000)), None, "nothing was asked");
        outage.asked(ms(60_000));
        assert_eq!(outage.look(ms(63_000)), None);
        outage.asked(ms(63_000));
        assert_eq!(outage.look(ms(63_001)), Some(Turn::Lost));
        assert_eq!(outage.look(ms(70_000)), None);
        assert_eq!(outage.silent(ms(70_000)), ms(10_000));
        assert_eq!(outage.answered(ms(72_000)), Some(Turn::Back(ms(12_000))));
        assert_eq!(outage.silent(ms(99_000)), ms(0));
        assert_eq!(outage.look(ms(99_000)), None);
    }

    #[test]
    fn an_answer_within_the_limit_is_nothing_to_tell() {
        let mut outage = Outage::new(ms(3_000));
        for at in (0..100_000).step_by(2_999) {
            outage.asked(ms(at));
            assert_eq!(outage.look(ms(at + 2_999)), None);
            assert_eq!(outage.answered(ms(at + 2_999)), None);
        }
    }
}
