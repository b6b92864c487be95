//! What was measured of a target, and how that compares with another one. Pure.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::statistic::{Estimate, estimate};

/// Counts and latencies of a round, or of one connection in it.
#[derive(Debug)]
pub(super) struct Tally {
    /// Operations that were done.
    pub(super) operations: u64,
    /// Operations whose time had come and that were not done; see [`Round::unfinished`].
    pub(super) unfinished: u64,
    /// Conflicts that reached the client.
    pub(super) conflicts: u64,
    /// Other failures.
    pub(super) errors: u64,
    /// The first of them, in words.
    pub(super) first_error: Option<String>,
    /// Commits whose fate is unknown.
    pub(super) unknown: u64,
    /// Statements sent.
    pub(super) statements: u64,
    /// Nanoseconds, done and unfinished ones, three digits.
    latency: Histogram<u64>,
    /// Nanoseconds by which the load generator let operations go too late.
    late: Histogram<u64>,
}

impl Default for Tally {
    fn default() -> Self {
        let histogram = || Histogram::new(3).expect("up to five digits are allowed");
        Self {
            operations: 0,
            unfinished: 0,
            conflicts: 0,
            errors: 0,
            first_error: None,
            unknown: 0,
            statements: 0,
            latency: histogram(),
            late: histogram(),
        }
    }
}

impl Tally {
    pub(super) fn add_done(&mut self, took: Duration) {
        self.operations += 1;
        record(&mut self.latency, took);
    }

    pub(super) fn add_unfinished(&mut self, waited: Duration) {
        self.unfinished += 1;
        record(&mut self.latency, waited);
    }

    pub(super) fn add_late(&mut self, late: Duration) {
        record(&mut self.late, late);
    }

    pub(super) fn add_error(&mut self, unknown: bool, text: String) {
        self.errors += 1;
        self.unknown += u64::from(unknown);
        self.first_error.get_or_insert(text);
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.operations += other.operations;
        self.unfinished += other.unfinished;
        self.conflicts += other.conflicts;
        self.errors += other.errors;
        self.first_error = self.first_error.take().or(other.first_error);
        self.unknown += other.unknown;
        self.statements += other.statements;
        self.latency += other.latency;
        self.late += other.late;
    }

    /// The round that it was.
    pub(super) fn round(&self, elapsed: Duration, cpu: Option<Duration>) -> Round {
        Round {
            operations: self.operations,
            unfinished: self.unfinished,
            conflicts: self.conflicts,
            errors: self.errors,
            statements: self.statements,
            elapsed,
            cpu,
            p50: quantile(&self.latency, 0.5),
            p90: quantile(&self.latency, 0.9),
            p99: quantile(&self.latency, 0.99),
            late_p99: (!self.late.is_empty()).then(|| quantile(&self.late, 0.99)),
        }
    }
}

/// One target's turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Round {
    /// Operations that were done.
    pub operations: u64,
    /// Operations that had been due, or tried in vain, and were not done when the round ended.
    /// They are among the latencies with the time until then, so those are lower bounds.
    pub unfinished: u64,
    /// Conflicts that reached the client; their operations were tried again.
    pub conflicts: u64,
    /// Operations that failed in another way; they have no latency.
    pub errors: u64,
    /// Statements sent, ROLLBACK after a conflict included.
    pub statements: u64,
    /// From the beginning to the last answer.
    pub elapsed: Duration,
    /// CPU time of the target's processes meanwhile.
    pub cpu: Option<Duration>,
    /// Half of the latencies are at most this.
    pub p50: Duration,
    /// 90 of 100 are.
    pub p90: Duration,
    /// 99 of 100 are.
    pub p99: Duration,
    /// At a fixed rate: by how much the load generator itself was late, 99 of 100.
    pub late_p99: Option<Duration>,
}

/// What can be compared round by round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// Operations per second.
    Throughput,
    /// Median latency.
    P50,
    /// 99 of 100.
    P99,
    /// CPU time of the target's processes per statement.
    Cpu,
}

impl Measure {
    /// None where the round has nothing of it.
    fn of(self, round: &Round) -> Option<f64> {
        let value = match self {
            Self::Throughput => round.operations as f64 / round.elapsed.as_secs_f64(),
            Self::P50 => round.p50.as_secs_f64(),
            Self::P99 => round.p99.as_secs_f64(),
            Self::Cpu => round.cpu?.as_secs_f64() / round.statements as f64,
        };
        (value.is_finite() && value > 0.0).then_some(value)
    }
}

/// What was measured of a target under one load.
#[derive(Debug)]
pub struct Side {
    /// Round by round.
    pub rounds: Vec<Round>,
    /// The first failure that was not a conflict.
    pub first_error: Option<String>,
    latency: Histogram<u64>,
}

impl Default for Side {
    fn default() -> Self {
        let Tally { latency, .. } = Tally::default();
        Self { rounds: Vec::new(), first_error: None, latency }
    }
}

impl Side {
    pub(super) fn add(&mut self, tally: Tally, elapsed: Duration, cpu: Option<Duration>) {
        self.rounds.push(tally.round(elapsed, cpu));
        self.first_error = self.first_error.take().or(tally.first_error);
        self.latency += tally.latency;
    }

    /// A count of all rounds.
    pub fn sum(&self, of: impl Fn(&Round) -> u64) -> u64 {
        self.rounds.iter().map(of).sum()
    }

    /// How long the rounds took together.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.rounds.iter().map(|round| round.elapsed).sum()
    }

    /// Operations per second over all rounds.
    #[must_use]
    pub fn throughput(&self) -> f64 {
        self.sum(|round| round.operations) as f64 / self.elapsed().as_secs_f64()
    }

    /// The latency that this part of all operations did not exceed, 0 to 1; None without any.
    #[must_use]
    pub fn quantile(&self, part: f64) -> Option<Duration> {
        (!self.latency.is_empty()).then(|| quantile(&self.latency, part))
    }

    /// How many latencies there are: operations, unfinished ones included.
    #[must_use]
    pub fn latencies(&self) -> u64 {
        self.latency.len()
    }

    /// CPU time of the target's processes per statement, over the rounds that have it.
    #[must_use]
    pub fn cpu_per_query(&self) -> Option<Duration> {
        let with_cpu = self.rounds.iter().filter_map(|round| Some((round.cpu?, round.statements)));
        let (cpu, statements) = with_cpu
            .fold((Duration::ZERO, 0), |sum, (cpu, statements)| (sum.0 + cpu, sum.1 + statements));
        let per_query = cpu.as_secs_f64() / statements as f64;
        (statements > 0).then(|| Duration::from_secs_f64(per_query))
    }

    /// The ratio of each round to the other's round beside it; None if no two rounds have it.
    #[must_use]
    pub fn relative(&self, to: &Self, measure: Measure) -> Option<Estimate> {
        let pairs = self.rounds.iter().zip(&to.rounds);
        let ratios: Vec<f64> =
            pairs.filter_map(|(own, other)| Some(measure.of(own)? / measure.of(other)?)).collect();
        estimate(&ratios)
    }
}

fn quantile(latency: &Histogram<u64>, part: f64) -> Duration {
    Duration::from_nanos(latency.value_at_quantile(part))
}

/// Nanoseconds; a day stands for all that is longer, so that the histogram has no need to grow
/// without end.
fn record(histogram: &mut Histogram<u64>, duration: Duration) {
    let nanos = duration.min(Duration::from_secs(86_400)).as_nanos();
    let nanos = u64::try_from(nanos).unwrap_or(u64::MAX);
    histogram.record(nanos).expect("it grows as it must");
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const SECOND: Duration = Duration::from_secs(1);

    fn side(latencies_ms: &[&[u32]]) -> Side {
        let mut side = Side::default();
        for round in latencies_ms {
            let mut tally = Tally { statements: 2 * round.len() as u64, ..Tally::default() };
            round.iter().for_each(|ms| tally.add_done(MS * *ms));
            side.add(tally, SECOND, Some(MS * round.len() as u32));
        }
        side
    }

    #[test]
    fn ratios_are_taken_round_by_round() {
        // The machine is twice as slow in the second round, for both.
        let direct = side(&[&[10], &[20], &[10]]);
        let proxy = side(&[&[11], &[24], &[13]]);
        let ratio = proxy.relative(&direct, Measure::P50).expect("rounds");
        assert!((ratio.median - 1.2).abs() < 0.002 && ratio.interval.is_none(), "{ratio:?}");
        let same = proxy.relative(&proxy, Measure::P99).expect("rounds");
        assert_eq!(same.median, 1.0);
    }

    #[test]
    fn sums_and_rates_are_those_of_all_rounds() {
        let side = side(&[&[1, 2], &[3, 4, 5, 6]]);
        assert_eq!((side.sum(|round| round.operations), side.latencies()), (6, 6));
        assert_eq!((side.throughput(), side.elapsed()), (3.0, SECOND * 2));
        assert_eq!(side.cpu_per_query(), Some(MS / 2));
        let near = |part, ms| side.quantile(part).expect("some").abs_diff(MS * ms) < MS / 100;
        assert!(near(0.5, 3) && near(1.0, 6));
    }

    #[test]
    fn what_a_round_does_not_have_is_not_compared() {
        let (empty, full) = (side(&[&[], &[]]), side(&[&[1], &[2]]));
        for measure in [Measure::Throughput, Measure::P50, Measure::P99, Measure::Cpu] {
            assert_eq!(empty.relative(&full, measure), None, "{measure:?}");
            assert_eq!(full.relative(&empty, measure), None, "{measure:?}");
        }
        assert_eq!((empty.cpu_per_query(), empty.quantile(0.5)), (None, None));
    }

    #[test]
    fn tallies_add_up() {
        let (mut sum, mut other) = (Tally::default(), Tally::default());
        sum.add_done(MS);
        other.add_unfinished(MS * 3);
        other.add_error(true, "lost".to_owned());
        other.add_late(MS);
        sum.merge(other);
        let round = sum.round(SECOND, None);
        assert_eq!((round.operations, round.unfinished, round.errors), (1, 1, 1));
        assert_eq!((sum.unknown, sum.first_error.as_deref()), (1, Some("lost")));
        assert_eq!(sum.latency.len(), 2, "the unfinished one counts");
        assert!(round.p99.abs_diff(MS * 3) < MS / 100 && round.late_p99.is_some());
    }
}
