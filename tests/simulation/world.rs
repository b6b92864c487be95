//! What all parties of a run share: the plan, the engine, what happened.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use txguard::base::clock::Clock;
use txguard::base::metrics::{Metrics, ReplayOutcome};
use txguard::embedded::engine::{Engine, Session};
use txguard::txn::journal::Budget;
use txguard::txn::replay::Rule;

use crate::dice::Dice;

/// When each run begins: some moment in 2023, since 1970.
const START: Duration = Duration::from_secs(1_700_000_000);

/// What is played.
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) rule: Arc<dyn Rule>,
    pub(crate) bug: Option<Bug>,
}

/// What a wrong proxy would do with a COMMIT whose answer doesn't come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bug {
    /// It runs the transaction again.
    SendsAgain,
    /// It takes it for done.
    SaysOk,
}

/// Something that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// The client cuts in the middle of what it says.
    ClientCutsRequest,
    /// The client leaves without waiting for the answer.
    ClientLeaves,
    /// The client cuts in the middle of the answer.
    ClientCutsAnswer,
    /// The server cuts before it has done anything.
    CutBefore,
    /// The server cuts when it has done the work and said nothing.
    CutBehind,
    /// The server cuts in the middle of its answer.
    CutWithin,
    /// The answer comes late.
    Late,
    /// COMMIT meets a conflict.
    Conflict,
    /// A statement meets a deadlock.
    Deadlock,
    /// COMMIT is answered by 9001, whether it was done or not.
    Uncertain,
    /// An error is said twice, and the connection ends.
    SaidTwice,
}

/// How a transaction ended, as its client believes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Belief {
    Committed,
    NotCommitted,
    Unknown,
}

/// What a client heard of one statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Heard {
    /// So many rows changed.
    Done(u64),
    /// Rows of one column.
    Rows(Vec<String>),
    /// `lost`: the error says that the connection is gone.
    Error { code: u16, lost: bool },
}

/// A transaction as its client knows it: the statements between BEGIN and COMMIT.
#[derive(Debug, Clone)]
pub(crate) struct Story {
    pub(crate) said: Vec<String>,
    pub(crate) heard: Vec<Heard>,
    pub(crate) belief: Belief,
}

/// What happened in the engine. A run is one try of a transaction.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Event {
    Began {
        run: u64,
    },
    /// `transaction`: the number that it has written into `marker`.
    Committed {
        run: u64,
        transaction: u64,
    },
}

/// How often what happened.
#[derive(Debug, Default, Clone)]
pub(crate) struct Tally {
    pub(crate) ok: u64,
    pub(crate) failed: u64,
    pub(crate) unknown: u64,
    pub(crate) unknown_and_applied: u64,
    pub(crate) unknown_and_not: u64,
    pub(crate) replayed: u64,
    pub(crate) mismatched: u64,
    pub(crate) faults: BTreeMap<Fault, u64>,
}

impl Tally {
    pub(crate) fn add(&mut self, other: &Self) {
        self.ok += other.ok;
        self.failed += other.failed;
        self.unknown += other.unknown;
        self.unknown_and_applied += other.unknown_and_applied;
        self.unknown_and_not += other.unknown_and_not;
        self.replayed += other.replayed;
        self.mismatched += other.mismatched;
        for (fault, count) in &other.faults {
            *self.faults.entry(*fault).or_default() += count;
        }
    }
}

#[derive(Debug, Default)]
struct Log {
    events: Vec<Event>,
    stories: BTreeMap<u64, Story>,
    tally: Tally,
    runs: u64,
    connections: u64,
    hasher: DefaultHasher,
    lines: String,
}

/// A run of one seed. Clones are the same world.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) plan: Arc<Plan>,
    pub(crate) engine: Arc<Engine>,
    pub(crate) journals: Budget,
    /// How often in a hundred packets of each side something goes wrong.
    chances: (u64, u64),
    start: Instant,
    log: Arc<Mutex<Log>>,
}

impl World {
    pub(crate) fn new(plan: Plan) -> Self {
        let mut dice = Dice(plan.seed);
        let chances = [0, 1, 3, 8];
        let chances = (chances[dice.below(4) as usize], chances[dice.below(4) as usize]);
        let engine = Engine::new();
        fill(&engine);
        Self {
            plan: Arc::new(plan),
            engine: Arc::new(engine),
            journals: Budget::new(1 << 30),
            chances,
            start: Instant::now(),
            log: Arc::default(),
        }
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Random numbers for one party.
    pub(crate) fn dice(&self, party: u64) -> Dice {
        let mut dice = Dice(self.plan.seed ^ party << 40);
        Dice(dice.next())
    }

    /// Milliseconds since the start.
    pub(crate) fn elapsed(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).expect("a short run")
    }

    /// The wall clock in this world.
    pub(crate) fn clock(&self) -> FromZero {
        FromZero(self.start)
    }

    /// Numbers connections in the order in which they are made.
    pub(crate) fn connection(&self) -> u64 {
        let mut log = self.log();
        log.connections += 1;
        log.connections
    }

    /// Whether something goes wrong now, on the client's side.
    pub(crate) fn client_fault(&self, dice: &mut Dice) -> Option<Fault> {
        let faults = [Fault::ClientCutsRequest, Fault::ClientLeaves, Fault::ClientCutsAnswer];
        let fault = faults[dice.below(3) as usize];
        dice.percent(self.chances.0).then_some(fault)
    }

    /// Whether something goes wrong now, on the server's side, with a text in a transaction or not.
    pub(crate) fn server_fault(&self, dice: &mut Dice, text: &str, open: bool) -> Option<Fault> {
        let faults = match text {
            "COMMIT" if open => [Fault::Conflict, Fault::Conflict, Fault::Uncertain],
            "COMMIT" | "BEGIN" | "ROLLBACK" | "" => [Fault::Late; 3],
            _ if open => [Fault::Deadlock, Fault::Late, Fault::Late],
            _ => [Fault::Late; 3],
        };
        let fault = match dice.below(8) {
            0 => Fault::CutBefore,
            1 => Fault::CutBehind,
            2 => Fault::CutWithin,
            _ => faults[dice.below(3) as usize],
        };
        dice.percent(self.chances.1).then_some(fault)
    }

    /// Whether an error is said twice.
    pub(crate) fn says_twice(&self, dice: &mut Dice) -> bool {
        dice.percent(2 * self.chances.1)
    }

    /// A fault has happened.
    pub(crate) fn note_fault(&self, who: u64, fault: Fault) {
        *self.log().tally.faults.entry(fault).or_default() += 1;
        self.trace(who, &format!("{fault:?}"));
    }

    /// Something happened; it belongs to the run as much as everything else.
    pub(crate) fn trace(&self, who: u64, what: &str) {
        let elapsed = self.elapsed();
        let mut log = self.log();
        (elapsed, who, what).hash(&mut log.hasher);
        let _ = writeln!(log.lines, "{elapsed:6} {who:4} {what}");
    }

    pub(crate) fn began(&self) -> u64 {
        let mut log = self.log();
        log.runs += 1;
        let run = log.runs;
        log.events.push(Event::Began { run });
        run
    }

    pub(crate) fn committed(&self, run: u64, transaction: u64) {
        self.log().events.push(Event::Committed { run, transaction });
    }

    pub(crate) fn ended(&self, transaction: u64, story: Story) {
        self.trace(transaction, &format!("{:?}", story.belief));
        let mut log = self.log();
        let count = match story.belief {
            Belief::Committed => &mut log.tally.ok,
            Belief::NotCommitted => &mut log.tally.failed,
            Belief::Unknown => &mut log.tally.unknown,
        };
        *count += 1;
        log.stories.insert(transaction, story);
    }

    /// What a session has counted.
    pub(crate) fn counted(&self, metrics: &Metrics) {
        let mut log = self.log();
        log.tally.replayed += metrics.replays(ReplayOutcome::Succeeded);
        log.tally.mismatched += metrics.replays(ReplayOutcome::Mismatch);
    }

    pub(crate) fn unknown_is(&self, applied: bool) {
        let mut log = self.log();
        log.tally.unknown_and_applied += u64::from(applied);
        log.tally.unknown_and_not += u64::from(!applied);
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        self.log().events.clone()
    }

    pub(crate) fn stories(&self) -> BTreeMap<u64, Story> {
        self.log().stories.clone()
    }

    pub(crate) fn tally(&self) -> Tally {
        self.log().tally.clone()
    }

    /// Everything that happened, in words.
    pub(crate) fn lines(&self) -> String {
        self.log().lines.clone()
    }

    /// Everything that happened, as a number.
    pub(crate) fn hash(&self) -> u64 {
        self.log().hasher.finish()
    }
}

/// A wall clock that stands at the same time at the start of each run: identifiers and pauses are
/// made from it.
pub(crate) struct FromZero(Instant);

impl Clock for FromZero {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn wall(&self) -> Duration {
        START + self.0.elapsed()
    }
}

/// Makes the tables; returns the session that did.
pub(crate) fn fill(engine: &Engine) -> Session {
    let mut session = engine.session();
    for text in [
        "USE test",
        "CREATE TABLE account (id INT PRIMARY KEY, v BIGINT NOT NULL)",
        "INSERT INTO account VALUES (0, 100), (1, 100), (2, 100), (3, 100)",
        "CREATE TABLE hot (id INT PRIMARY KEY, n BIGINT NOT NULL)",
        "INSERT INTO hot VALUES (1, 0)",
        // Without a key: what is applied twice is there twice.
        "CREATE TABLE marker (n BIGINT NOT NULL)",
    ] {
        session.execute(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    }
    session
}
