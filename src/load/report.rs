//! What a run saw, and what it shows while it runs.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hdrhistogram::Histogram;

/// Counters to look at while a workload runs; they only grow, also over several runs.
#[derive(Debug, Default)]
pub struct Progress {
    commits: AtomicU64,
    conflicts: AtomicU64,
    other_errors: AtomicU64,
}

impl Progress {
    /// Commits that the server has acknowledged.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    /// Conflicts that have reached the application.
    #[must_use]
    pub fn conflicts(&self) -> u64 {
        self.conflicts.load(Ordering::Relaxed)
    }

    /// All other failures.
    #[must_use]
    pub fn other_errors(&self) -> u64 {
        self.other_errors.load(Ordering::Relaxed)
    }

    pub(super) fn add_commit(&self) {
        self.commits.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn add_conflict(&self) {
        self.conflicts.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn add_other_error(&self) {
        self.other_errors.fetch_add(1, Ordering::Relaxed);
    }
}

/// Quantiles of a latency.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Latency {
    /// Half were faster.
    pub p50: Duration,
    /// 99 of 100 were faster.
    pub p99: Duration,
    /// The slowest.
    pub max: Duration,
}

impl Latency {
    fn of(histogram: &Histogram<u64>) -> Self {
        let at = |quantile| Duration::from_micros(histogram.value_at_quantile(quantile));
        Self { p50: at(0.5), p99: at(0.99), max: Duration::from_micros(histogram.max()) }
    }
}

/// What a run saw, and what the tables said afterwards.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Transactions whose COMMIT was acknowledged.
    pub commits: u64,
    /// Conflicts that reached the application, by error code (9007, 1213, 1020, …).
    pub conflicts: BTreeMap<u16, u64>,
    /// Other failures by error code; 0 stands for a connection that was lost or not to be had.
    pub other_errors: BTreeMap<u16, u64>,
    /// The first of the other failures, in words.
    pub first_other_error: Option<String>,
    /// Commits whose fate is unknown because the connection was lost; also among `other_errors`.
    pub unknown: u64,
    /// Attempts that the application repeated itself; see `Load::client_retries`.
    pub client_retries: u64,
    /// From sending COMMIT to its OK, acknowledged commits only.
    pub commit_latency: Latency,
    /// From sending the first BEGIN to the OK of COMMIT, acknowledged commits only.
    pub transaction_latency: Latency,
    /// The sum that the workload keeps an eye on.
    pub sum: i64,
    /// What `sum` must be. A commit of unknown fate counts if it was applied.
    pub sum_expected: i64,
    /// Transactions that were applied, as counted by themselves in a table.
    pub counter: i64,
    /// What `counter` must be: the acknowledged commits, and those of unknown fate that were
    /// applied.
    pub counter_expected: i64,
    /// How long the writers ran.
    pub elapsed: Duration,
}

impl Report {
    /// True if nothing was lost and nothing counted twice.
    #[must_use]
    pub fn is_correct(&self) -> bool {
        self.sum == self.sum_expected && self.counter == self.counter_expected
    }

    /// Conflicts of all codes.
    #[must_use]
    pub fn conflicts_total(&self) -> u64 {
        self.conflicts.values().sum()
    }

    /// What a table must say that counts commits and says `found`.
    pub(super) fn expected_commits(&self, found: i64) -> i64 {
        let least = i64::try_from(self.commits).unwrap_or(i64::MAX);
        let unknown = i64::try_from(self.unknown).unwrap_or(i64::MAX);
        found.clamp(least, least.saturating_add(unknown))
    }
}

/// What one writer saw; added up at the end.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) report: Report,
    commit_micros: Histogram<u64>,
    transaction_micros: Histogram<u64>,
}

impl Default for Tally {
    fn default() -> Self {
        // Microseconds up to an hour, three digits.
        let histogram =
            || Histogram::new_with_bounds(1, 3_600_000_000, 3).expect("the bounds are in order");
        let report = Report::default();
        Self { report, commit_micros: histogram(), transaction_micros: histogram() }
    }
}

impl Tally {
    pub(super) fn add_commit(&mut self, commit: Duration, transaction: Duration) {
        self.report.commits += 1;
        self.commit_micros.saturating_record(micros(commit));
        self.transaction_micros.saturating_record(micros(transaction));
    }

    pub(super) fn add_other_error(&mut self, code: u16, text: String) {
        *self.report.other_errors.entry(code).or_default() += 1;
        self.report.first_other_error.get_or_insert(text);
    }

    /// Adds another writer's tally.
    pub(super) fn merge(&mut self, other: Self) {
        let (mine, theirs) = (&mut self.report, other.report);
        mine.commits += theirs.commits;
        mine.unknown += theirs.unknown;
        mine.client_retries += theirs.client_retries;
        for (code, count) in theirs.conflicts {
            *mine.conflicts.entry(code).or_default() += count;
        }
        for (code, count) in theirs.other_errors {
            *mine.other_errors.entry(code).or_default() += count;
        }
        mine.first_other_error = mine.first_other_error.take().or(theirs.first_other_error);
        self.commit_micros.add(&other.commit_micros).expect("the bounds are the same");
        self.transaction_micros.add(&other.transaction_micros).expect("the bounds are the same");
    }

    /// The report so far; the sums are for the workload to fill in.
    pub(super) fn finish(self, elapsed: Duration) -> Report {
        Report {
            commit_latency: Latency::of(&self.commit_micros),
            transaction_latency: Latency::of(&self.transaction_micros),
            elapsed,
            ..self.report
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tallies_add_up() {
        let (mut a, mut b) = (Tally::default(), Tally::default());
        a.add_commit(Duration::from_millis(1), Duration::from_millis(10));
        for _ in 0..3 {
            b.add_commit(Duration::from_millis(2), Duration::from_millis(20));
        }
        b.report.conflicts.insert(9007, 2);
        b.add_other_error(0, "lost".to_owned());
        b.report.unknown = 1;
        a.merge(b);
        let report = a.finish(Duration::from_secs(1));
        assert_eq!((report.commits, report.conflicts_total(), report.unknown), (4, 2, 1));
        assert_eq!(report.other_errors, BTreeMap::from([(0, 1)]));
        assert_eq!(report.first_other_error.as_deref(), Some("lost"));
        let within = |found: Duration, millis| found.abs_diff(Duration::from_millis(millis));
        assert!(within(report.commit_latency.p50, 2) < Duration::from_micros(10));
        assert!(within(report.transaction_latency.max, 20) < Duration::from_micros(50));
    }

    #[test]
    fn only_a_commit_of_unknown_fate_leaves_room() {
        let mut report = Report { commits: 10, ..Report::default() };
        assert_eq!([9, 10, 11].map(|found| report.expected_commits(found)), [10, 10, 10]);
        report.unknown = 1;
        assert_eq!([9, 10, 11, 12].map(|found| report.expected_commits(found)), [10, 10, 11, 11]);
    }

    #[test]
    fn a_lost_or_doubled_commit_is_incorrect() {
        let right = Report { sum: 5, sum_expected: 5, ..Report::default() };
        assert!(right.is_correct());
        assert!(!Report { sum: 4, ..right.clone() }.is_correct());
        assert!(!Report { counter: 1, ..right }.is_correct());
    }
}
