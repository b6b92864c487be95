//! PD's time against other clocks.
//!
//! A clock is read over a network: it showed a value at some instant between question and answer. So
//! the distance of two clocks is a range, and its end next to zero is what is sure. PD's physical
//! time moreover stands still between two updates (every 50 ms by default).
//!
//! ```text
//! local clock        sent ─────────────── received
//! other clock                shown ── shown + step        other − local is at least
//!                                                         shown − received, at most
//!                                                         shown + step − sent
//! ```

use std::time::Duration;

/// How far another clock is ahead of the local one, in microseconds: a range, for what is between a
/// question and its answer isn't known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offset {
    least: i64,
    most: i64,
}

impl Offset {
    /// How far PD's physical time may lie behind PD's clock: its `tso-update-physical-interval`
    /// (50 ms by default), and a millisecond that is cut off.
    pub const PD_STEP: Duration = Duration::from_millis(51);

    /// A clock showed `shown` at some instant between `sent` and `received` of the local clock, and
    /// it may have been up to `step` more; all since the Unix epoch. `None` if the local clock went
    /// backwards meanwhile.
    #[must_use]
    pub fn measured(
        shown: Duration,
        step: Duration,
        sent: Duration,
        received: Duration,
    ) -> Option<Self> {
        let range = Self {
            least: micros(shown) - micros(received),
            most: micros(shown + step) - micros(sent),
        };
        (sent <= received).then_some(range)
    }

    /// How far this clock is ahead of that one; both against the same local clock, which ran
    /// evenly in between.
    #[must_use]
    pub const fn against(self, other: Self) -> Self {
        Self { least: self.least - other.most, most: self.most - other.least }
    }

    /// The part that is sure.
    #[must_use]
    pub fn sure(self) -> Drift {
        Drift(0.clamp(self.least, self.most.max(self.least)))
    }
}

/// How far a clock is surely ahead of another, in microseconds; behind, if negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Drift(i64);

impl Drift {
    /// In seconds, with its sign.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a drift of 142 years is as good a number")]
    pub fn seconds(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// Without its sign.
    #[must_use]
    pub const fn size(self) -> Duration {
        Duration::from_micros(self.0.unsigned_abs())
    }
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX / 4).min(i64::MAX / 4)
}

/// Tells once that a drift is too large, and once that it is over: when it is below half of that, so
/// that one at the limit isn't told again and again.
#[derive(Debug, Clone, Copy)]
pub struct Alarm {
    limit: Duration,
    on: bool,
}

/// What has changed about a drift.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passing {
    /// It is larger than the limit.
    Over,
    /// It is small again.
    Under,
}

impl Alarm {
    /// A drift larger than `limit` is too large.
    #[must_use]
    pub const fn new(limit: Duration) -> Self {
        Self { limit, on: false }
    }

    /// The next drift.
    pub fn see(&mut self, drift: Drift) -> Option<Passing> {
        let size = drift.size();
        let on = if self.on { size > self.limit / 2 } else { size > self.limit };
        let changed = on != self.on;
        self.on = on;
        changed.then_some(if on { Passing::Over } else { Passing::Under })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn sure(shown: u64, sent: u64, received: u64) -> i64 {
        Offset::measured(ms(shown), ms(50), ms(sent), ms(received)).expect("even").sure().0 / 1000
    }

    #[test]
    fn only_what_the_way_and_the_step_do_not_explain_is_drift() {
        assert_eq!(sure(1_000, 990, 1_010), 0);
        assert_eq!(sure(1_000, 1_050, 1_060), 0, "the next update was due");
        assert_eq!(sure(1_000, 1_051, 1_060), -1);
        assert_eq!(sure(1_000, 900, 990), 10);
        assert_eq!(sure(1_000, 1_300, 1_310), -250);
        assert_eq!(Offset::measured(ms(1), ms(0), ms(10), ms(9)), None);
    }

    #[test]
    fn two_clocks_are_compared_by_way_of_the_local_one() {
        let pd = Offset::measured(ms(1_500), ms(50), ms(1_000), ms(1_010)).expect("even");
        let backend = Offset::measured(ms(9_200), ms(0), ms(9_000), ms(9_020)).expect("even");
        // PD is ahead by 490 to 550, the backend by 180 to 200.
        assert_eq!(pd.against(backend).sure().size(), ms(290));
        assert_eq!(backend.against(pd).sure().seconds(), -0.29);
    }

    #[test]
    fn an_alarm_is_told_once_and_over_at_half_of_it() {
        let mut alarm = Alarm::new(ms(50));
        let mut see = |ms: i64| alarm.see(Drift(ms * 1000));
        assert_eq!(see(50), None);
        assert_eq!(see(-51), Some(Passing::Over));
        assert_eq!(see(60), None);
        assert_eq!(see(26), None);
        assert_eq!(see(25), Some(Passing::Under));
        assert_eq!(see(49), None);
    }

    proptest::proptest! {
        /// Two clocks a true distance apart are never said to be further apart.
        #[test]
        fn a_drift_is_never_overstated(
            ahead in -1_000_i64..1_000, sent in 10_000_u64..20_000, there in 0_u64..500,
            back in 0_u64..500, behind in 0_u64..50,
        ) {
            let shown = (sent + there).saturating_add_signed(ahead) - behind;
            let sure = sure(shown, sent, sent + there + back);
            proptest::prop_assert!(sure.abs() <= ahead.abs() && sure * ahead >= 0);
        }
    }
}
