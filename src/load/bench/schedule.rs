//! A fixed rate: when each operation is due. Pure.
//!
//! A closed loop asks less often while the server is slow, so a stall of a second is one slow
//! answer among many fast ones, although everybody who would have come in that second has waited:
//! coordinated omission (G. Tene, How NOT to Measure Latency). With a fixed rate operation n is due
//! at n / rate, whatever the server does; the next free connection takes it, and its latency
//! counts from when it was due, waiting for a connection included. What is still not sent when the
//! round is given up counts with the time until then: a lower bound, but no omission.

use std::time::Duration;

/// The operations of one round.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Schedule {
    rate: f64,
    length: Duration,
}

impl Schedule {
    /// Operations per second, for so long.
    pub(super) fn new(rate: f64, length: Duration) -> Self {
        Self { rate, length }
    }

    /// How many are due within the round; at least one.
    pub(super) fn count(&self) -> u64 {
        // A count that doesn't fit saturates: such a round never ends by itself, but by its limit.
        ((self.rate * self.length.as_secs_f64()).round() as u64).max(1)
    }

    /// When an operation is due, from the beginning of the round.
    pub(super) fn due(&self, number: u64) -> Duration {
        Duration::from_secs_f64(number as f64 / self.rate)
    }

    /// When the round is given up, from its beginning: a target that is slower than the rate gets
    /// as much time again.
    pub(super) fn given_up(&self) -> Duration {
        self.length * 2
    }

    /// How long the operations from this number on have waited when the round is given up.
    pub(super) fn unsent(&self, from: u64) -> impl Iterator<Item = Duration> {
        (from..self.count()).map(|number| self.given_up().saturating_sub(self.due(number)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn operations_are_due_at_equal_distances() {
        let schedule = Schedule::new(250.0, Duration::from_secs(2));
        assert_eq!(schedule.count(), 500);
        assert_eq!([0, 1, 499].map(|number| schedule.due(number)), [0, 4, 1_996].map(|ms| MS * ms));
        assert_eq!(Schedule::new(0.1, Duration::from_secs(1)).count(), 1);
    }

    /// One connection, 1,000/s for a second, 0.1 ms each; the server stands still from 500 to
    /// 600 ms. A closed loop would see one answer of 100 ms.
    #[test]
    fn a_stall_is_felt_by_all_who_were_due_in_it() {
        let schedule = Schedule::new(1_000.0, Duration::from_secs(1));
        let (stall, service) = (MS * 500..MS * 600, Duration::from_micros(100));
        let (mut free, mut from_due, mut from_sent) = (Duration::ZERO, Vec::new(), Vec::new());
        for number in 0..schedule.count() {
            let due = schedule.due(number);
            let sent = free.max(due);
            let begun = if stall.contains(&sent) { stall.end } else { sent };
            free = begun + service;
            from_due.push(free - due);
            from_sent.push(free - sent);
        }
        let slow = |all: &[Duration]| all.iter().filter(|took| **took > MS).count();
        assert_eq!(slow(&from_sent), 1);
        // Due every millisecond, done every 0.1: the k-th has 100.1 - 0.9 k ms, more than 1 up to
        // k = 110.
        assert_eq!(slow(&from_due), 111);
        assert_eq!(from_due.iter().max(), Some(&(stall.end - stall.start + service)));
        from_due.sort();
        let p95 = from_due[949];
        assert!(p95 > MS * 50 && p95 < MS * 60, "{p95:?}");
        from_sent.sort();
        assert_eq!(from_sent[989], service);
    }

    #[test]
    fn what_was_never_sent_counts_with_its_wait() {
        let schedule = Schedule::new(10.0, Duration::from_secs(1));
        let waits: Vec<Duration> = schedule.unsent(8).collect();
        assert_eq!(waits, [MS * 1_200, MS * 1_100]);
        assert_eq!(schedule.unsent(10).count(), 0);
    }
}
