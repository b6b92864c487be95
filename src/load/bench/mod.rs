//! A benchmark of several ways to the same database.
//!
//! ```text
//! schema made through the first target, seen through all          schema
//! for each load                                                   kind
//!   connections to every target, kept over all rounds
//!   warm-up of each target
//!   rounds: every target's turn, forwards, then backwards         order
//!     a turn: closed loop, or operations due at a fixed rate      round, schedule
//!     CPU time of the target's processes before and behind it     cpu
//!   counts, latencies, ratios of adjacent rounds                  side, statistic
//! transfers: balances and commits as the tables have them
//! schema dropped, also after an error or an interrupt
//! ```
//!
//! Only the target whose turn it is has anything to do, so a proxy's CPU time within its turn is
//! what its statements have cost. The load generator shares the machine with whatever runs there:
//! what is compared are ratios of turns that lie side by side.

mod cpu;
mod kind;
mod order;
mod round;
mod schedule;
mod schema;
mod side;
mod statistic;

use std::sync::Arc;
use std::time::Duration;

use mysql_async::{Opts, OptsBuilder};
use tokio_util::sync::CancellationToken;

pub use kind::{CONNECTIONS_MAX, Kind};
pub use order::Turn;
pub use side::{Measure, Round, Side};
pub use statistic::{Estimate, Interval};

use super::bank::Bank;
use super::client::{Client, Failure};
use super::run::{Mode, Random, Workload};
use crate::base::clock::SharedClock;
use cpu::Process;
use order::turns;
use round::{Pace, Seat};
use schedule::Schedule;
use schema::Schema;
use side::Tally;

/// How long a connection, or the login on it, may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// The most rounds; the probabilities of that many are still ordinary numbers.
pub const ROUNDS_MAX: u32 = 1_000;

/// A way to the database.
#[derive(Debug, Clone)]
pub struct Target {
    /// What it is called in the report.
    pub name: String,
    /// HOST:PORT, for messages.
    pub address: String,
    /// How to connect; the schema in it is ignored.
    pub opts: Opts,
    /// The processes whose CPU time its statements cost.
    pub pids: Vec<u32>,
}

impl Target {
    fn place(&self) -> String {
        format!("{} ({})", self.name, self.address)
    }
}

/// What is measured, and how.
#[derive(Clone)]
pub struct Plan {
    /// At least one; the first is what the others are compared with.
    pub targets: Vec<Target>,
    /// The loads, one after the other.
    pub kinds: Vec<Kind>,
    /// To each target; from 1 to [`CONNECTIONS_MAX`].
    pub connections: usize,
    /// Operations per second and target; a closed loop without.
    pub rate: Option<f64>,
    /// Turns of each target; at most [`ROUNDS_MAX`].
    pub rounds: u32,
    /// How long a turn is.
    pub round_time: Duration,
    /// How long each target is used before, uncounted.
    pub warm_up: Duration,
    /// How transactions begin.
    pub mode: Mode,
    /// The schema that is made and dropped: letters, digits and `_`.
    pub schema: String,
    /// Rows and amounts are drawn from it.
    pub seed: u64,
    /// Where all times come from.
    pub clock: SharedClock,
}

impl Plan {
    fn first(&self) -> &Target {
        &self.targets[0]
    }

    fn pace(&self, length: Duration) -> Pace {
        match self.rate {
            Some(rate) => Pace::Rate(Schedule::new(rate, length)),
            None => Pace::Closed(length),
        }
    }
}

/// What is going on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// The load.
    pub kind: Kind,
    /// None while targets are warmed up.
    pub turn: Option<Turn>,
}

/// What was measured under one load.
#[derive(Debug)]
pub struct Measured {
    /// The load.
    pub kind: Kind,
    /// In the order of the targets.
    pub sides: Vec<Side>,
    /// Of transfers: what the tables said at the end.
    pub books: Option<Books>,
}

/// Transfers as acknowledged and as applied, all targets and warm-ups together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Books {
    /// The sum of all balances.
    pub balances: i64,
    /// What it must be.
    pub balances_expected: i64,
    /// Transfers in the tables.
    pub applied: i64,
    /// Transfers whose COMMIT was acknowledged.
    pub acknowledged: u64,
    /// COMMITs whose fate the client doesn't know.
    pub unknown: u64,
}

impl Books {
    /// True if nothing was lost and nothing counted twice.
    #[must_use]
    pub fn are_right(&self) -> bool {
        let applied = u64::try_from(self.applied).unwrap_or(0);
        let possible = self.acknowledged..=self.acknowledged + self.unknown;
        self.balances == self.balances_expected && possible.contains(&applied)
    }
}

/// Why nothing was measured. Operations that fail are in the report.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No connection.
    #[error(
        "target {target} can't be reached: {source}\n\
         check the address, and that a MySQL server or proxy listens there"
    )]
    Unreachable {
        /// Name and address.
        target: String,
        /// What the driver says.
        source: mysql_async::Error,
    },
    /// No answer.
    #[error(
        "target {target} doesn't answer within {ANSWER_WITHIN:?}\n\
         check the address, and that a MySQL server or proxy listens there"
    )]
    Silent {
        /// Name and address.
        target: String,
    },
    /// The login, or the right to the schema.
    #[error(
        "target {target} denies access: {source}\n\
         give a user that may log in and create the schema by --user, and the password in the \
         environment variable TXGUARD_BENCH_PASSWORD"
    )]
    Denied {
        /// Name and address.
        target: String,
        /// What the server says.
        source: mysql_async::Error,
    },
    /// Another error in place of a connection.
    #[error("target {target} refuses: {source}")]
    Refused {
        /// Name and address.
        target: String,
        /// What the server says.
        source: mysql_async::Error,
    },
    /// A connection for the load, after the first ones.
    #[error(
        "target {target} takes only {have} of {wanted} connections: {text}\n\
         use fewer (--connections), or raise its limit"
    )]
    TooFew {
        /// Name and address.
        target: String,
        /// How many there are.
        have: usize,
        /// How many there should be.
        wanted: usize,
        /// What the server or the driver says.
        text: String,
    },
    /// Somebody else's schema.
    #[error(
        "the schema {0} exists and was not made by txguard bench: it is left alone\n\
         choose another name with --schema"
    )]
    NotOurs(String),
    /// Targets of different databases.
    #[error(
        "target {target} leads to another database than {first}: it doesn't see the schema made \
         there\nall targets must lead to the same database, and only one run may use a schema"
    )]
    Elsewhere {
        /// Name and address.
        target: String,
        /// Those of the first target.
        first: String,
    },
    /// A statement that makes, reads or drops tables.
    #[error("the schema {schema} can't be made, read or dropped through {target}: {source}")]
    Schema {
        /// Its name.
        schema: String,
        /// Name and address.
        target: String,
        /// What the server or the driver says.
        source: mysql_async::Error,
    },
    /// A process that isn't there.
    #[error(
        "there is no process {pid} of target {name}, or no /proc on this system\n\
         give the number of a running process: --pid {name}=PID"
    )]
    NoProcess {
        /// The target.
        name: String,
        /// What was given.
        pid: u32,
    },
    /// The run was ended before its time.
    #[error("interrupted; nothing was measured to its end")]
    Interrupted,
}

/// Makes the schema, measures, drops the schema. `stop` ends it early. `watch` is told of each step
/// as it begins.
///
/// Not cancel safe: dropping the future leaves the schema behind; use `stop`.
///
/// # Errors
/// [`Error`] if it can't be measured; operations that fail are counted in the result.
pub async fn run(
    plan: &Plan,
    stop: &CancellationToken,
    watch: &(dyn Fn(Step) + Sync),
) -> Result<Vec<Measured>, Error> {
    let processes = plan.targets.iter().map(processes).collect::<Result<Vec<_>, _>>()?;
    let schema = Schema::make(plan).await?;
    let measuring = measure_all(plan, &schema, &processes, watch);
    let measured = stop.run_until_cancelled(measuring).await;
    let removed = schema.remove().await;
    let measured = measured.unwrap_or(Err(Error::Interrupted))?;
    removed.map(|()| measured)
}

fn processes(target: &Target) -> Result<Vec<Process>, Error> {
    let find = |pid: &u32| {
        let missing = || Error::NoProcess { name: target.name.clone(), pid: *pid };
        Process::find(*pid).ok_or_else(missing)
    };
    target.pids.iter().map(find).collect()
}

/// CPU time of all of them; None without any, or if one has ended.
fn used(processes: &[Process]) -> Option<Duration> {
    if processes.is_empty() {
        return None;
    }
    processes.iter().map(|process| process.used()).sum()
}

async fn measure_all(
    plan: &Plan,
    schema: &Schema<'_>,
    processes: &[Vec<Process>],
    watch: &(dyn Fn(Step) + Sync),
) -> Result<Vec<Measured>, Error> {
    for target in &plan.targets {
        schema.check(target).await?;
    }
    let mut all = Vec::new();
    for kind in plan.kinds.iter().copied() {
        let bench = Bench { plan, kind, processes, watch };
        all.push(match kind {
            Kind::PointText => bench.measure(kind::PointText).await?.0,
            Kind::PointPrepared => bench.measure(kind::PointPrepared).await?.0,
            Kind::ReadWrite => {
                bench.measure(kind::ReadWrite { connections: plan.connections }).await?.0
            }
            Kind::Big => bench.measure(kind::Big).await?.0,
            Kind::Transfers => {
                let (mut measured, commits) = bench.measure(Bank::default()).await?;
                let sums = schema.sums().await?;
                measured.books = Some(Books {
                    balances: sums.balances,
                    balances_expected: Bank::default().sum(),
                    applied: sums.applied,
                    acknowledged: commits.acknowledged,
                    unknown: commits.unknown,
                });
                measured
            }
        });
    }
    Ok(all)
}

/// What clients know of their commits.
#[derive(Debug, Default)]
struct Commits {
    acknowledged: u64,
    unknown: u64,
}

impl Commits {
    fn add(&mut self, tally: &Tally) {
        self.acknowledged += tally.operations;
        self.unknown += tally.unknown;
    }
}

/// One load.
struct Bench<'a> {
    plan: &'a Plan,
    kind: Kind,
    processes: &'a [Vec<Process>],
    watch: &'a (dyn Fn(Step) + Sync),
}

impl Bench<'_> {
    async fn measure<W: Workload>(&self, workload: W) -> Result<(Measured, Commits), Error> {
        let Self { plan, kind, .. } = *self;
        let (workload, clock) = (Arc::new(workload), &plan.clock);
        let mut commits = Commits::default();
        (self.watch)(Step { kind, turn: None });
        let mut seats = Vec::new();
        for target in &plan.targets {
            seats.push(self.connect(target).await?);
        }
        for seats in seats.iter_mut().filter(|_| !plan.warm_up.is_zero()) {
            let (tally, _) = round::run(seats, &workload, plan.pace(plan.warm_up), clock).await;
            commits.add(&tally);
        }
        let mut sides: Vec<Side> = plan.targets.iter().map(|_| Side::default()).collect();
        for turn in turns(plan.targets.len(), plan.rounds) {
            (self.watch)(Step { kind, turn: Some(turn) });
            let processes = &self.processes[turn.target];
            let (seats, pace) = (&mut seats[turn.target], plan.pace(plan.round_time));
            let before = used(processes);
            let (tally, elapsed) = round::run(seats, &workload, pace, clock).await;
            let cpu = used(processes).zip(before).map(|(after, before)| after - before);
            commits.add(&tally);
            sides[turn.target].add(tally, elapsed, cpu);
        }
        for seat in seats.into_iter().flatten() {
            seat.client.close().await;
        }
        Ok((Measured { kind, sides, books: None }, commits))
    }

    async fn connect(&self, target: &Target) -> Result<Vec<Seat>, Error> {
        let plan = self.plan;
        let opts = OptsBuilder::from_opts(target.opts.clone()).db_name(Some(&plan.schema));
        let opts: Opts = opts.into();
        let mut seats = Vec::with_capacity(plan.connections);
        for number in 0..plan.connections {
            let (clock, give_up) = (Arc::clone(&plan.clock), plan.clock.now() + ANSWER_WITHIN);
            let mut client = Client::new(opts.clone(), clock, plan.mode.begin(), give_up);
            if let Err(Failure::Other { text, .. }) = client.connect().await {
                let (target, wanted) = (target.place(), plan.connections);
                return Err(Error::TooFew { target, have: number, wanted, text });
            }
            let random = Random(plan.seed.wrapping_add(number as u64));
            seats.push(Seat { client, random, number });
        }
        Ok(seats)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn books_are_right_if_nothing_is_lost_or_doubled() {
        let right = Books {
            balances: 10_000,
            balances_expected: 10_000,
            applied: 7,
            acknowledged: 7,
            unknown: 0,
        };
        assert!(right.are_right());
        assert!(!Books { applied: 6, ..right }.are_right());
        assert!(!Books { applied: 8, ..right }.are_right());
        assert!(Books { applied: 8, unknown: 1, ..right }.are_right());
        assert!(!Books { balances: 9_999, ..right }.are_right());
    }
}
