//! What all parties of a run share: the plan, the engine, what happened.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use txguard::base::clock::Clock;
use txguard::base::metrics::{Metrics, ReplayOutcome};
use txguard::base::tasks::Tasks;
use txguard::coordinator::resolver::Fate;
use txguard::embedded::engine::{Engine, Session};
use txguard::store::receipts::ReceiptKey;
use txguard::txn::journal::Budget;
use txguard::txn::replay::Rule;

use crate::backend::Said;
use crate::dice::Dice;

/// When each run begins: some moment in 2023, since 1970.
const START: Duration = Duration::from_secs(1_700_000_000);

/// What is played.
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) rule: Arc<dyn Rule>,
    /// Each COMMIT carries a receipt.
    pub(crate) receipts: bool,
    pub(crate) bug: Option<Bug>,
}

/// What is done wrong where a COMMIT's answer doesn't come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bug {
    /// The proxy runs the transaction again.
    SendsAgain,
    /// The proxy takes it for done.
    SaysOk,
    /// Receipt and COMMIT go out as two commands: COMMIT runs also when the receipt is refused.
    TwoCommands,
    /// The resolver takes a receipt that isn't there for one that will never be there.
    OnlyLooks,
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
    /// The server cuts between the receipt and its COMMIT.
    CutBetween,
    /// The server cuts, and carries the COMMIT out some time later.
    CommitLate,
    /// The answer comes late.
    Late,
    /// COMMIT meets a conflict.
    Conflict,
    /// A statement meets a deadlock.
    Deadlock,
    /// The receipt is refused, and the transaction is still open.
    Refused,
    /// COMMIT is answered by an error that leaves open whether it was done.
    Uncertain,
    /// The same, and it is done some time later.
    UncertainLate,
    /// The resolver's connection is cut at its own COMMIT, done or not.
    ResolverCut,
    /// An error is said twice, and the connection ends.
    SaidTwice,
}

impl Fault {
    /// What the server does wrong at a COMMIT and the receipt ahead of it. The more often it stands
    /// in a list, the more often it happens.
    const AT_RECEIPT: [Self; 11] = [
        Self::CutBefore,
        Self::CutBehind,
        Self::CutWithin,
        Self::CommitLate,
        Self::Conflict,
        Self::Uncertain,
        Self::UncertainLate,
        Self::Late,
        Self::CutBetween,
        Self::Refused,
        Self::Deadlock,
    ];

    /// At a statement in a transaction.
    const AT_STATEMENT: [Self; 8] = [
        Self::CutBefore,
        Self::CutBehind,
        Self::CutWithin,
        Self::Deadlock,
        Self::Deadlock,
        Self::Late,
        Self::Late,
        Self::Late,
    ];

    const ANYWHERE: [Self; 6] =
        [Self::CutBefore, Self::CutBehind, Self::CutWithin, Self::Late, Self::Late, Self::Late];
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
        /// It has written a receipt.
        receipt: bool,
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
    /// COMMITs at which the connection was cut, and the client that waited got no answer.
    pub(crate) unanswered: u64,
    /// What resolvers have answered: committed, not committed, pending.
    pub(crate) fates: [u64; 3],
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
        self.unanswered += other.unanswered;
        for (sum, count) in self.fates.iter_mut().zip(other.fates) {
            *sum += count;
        }
        for (fault, count) in &other.faults {
            *self.faults.entry(*fault).or_default() += count;
        }
    }
}

#[derive(Debug, Default)]
struct Log {
    events: Vec<Event>,
    decisions: Vec<(ReceiptKey, Fate)>,
    cut_elsewhere: BTreeSet<u64>,
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
    /// What goes on when nobody waits for it any more.
    pub(crate) later: Tasks,
    /// A receipt that is there already is noticed by INSERT, as in a pessimistic transaction, and
    /// not only by COMMIT.
    pub(crate) checks_in_place: bool,
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
            later: Tasks::default(),
            checks_in_place: dice.percent(50),
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

    /// Whether something goes wrong now, on the server's side, in a transaction or not. Around
    /// COMMIT it does so more often.
    pub(crate) fn server_fault(&self, dice: &mut Dice, said: &Said, open: bool) -> Option<Fault> {
        let (faults, chance): (&[Fault], _) = match (&*said.text, &said.receipt) {
            ("COMMIT", Some(_)) if open => (&Fault::AT_RECEIPT, 4 * self.chances.1),
            // The same, but for the last three.
            ("COMMIT", None) if open => (&Fault::AT_RECEIPT[..8], 4 * self.chances.1),
            ("COMMIT" | "BEGIN" | "ROLLBACK" | "", _) => (&Fault::ANYWHERE, self.chances.1),
            _ if open => (&Fault::AT_STATEMENT, self.chances.1),
            _ => (&Fault::ANYWHERE, self.chances.1),
        };
        let fault = faults[dice.below(faults.len() as u64) as usize];
        dice.percent(chance).then_some(fault)
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

    pub(crate) fn committed(&self, run: u64, transaction: u64, receipt: bool) {
        self.log().events.push(Event::Committed { run, transaction, receipt });
    }

    /// A resolver has found this out.
    pub(crate) fn decided(&self, key: ReceiptKey, fate: Fate) {
        self.log().decisions.push((key, fate));
    }

    /// A resolver has said this to a session.
    pub(crate) fn answered(&self, fate: Fate) {
        let index = match fate {
            Fate::Committed => 0,
            Fate::NotCommitted => 1,
            Fate::Pending => 2,
        };
        self.log().tally.fates[index] += 1;
    }

    /// This connection was cut at something else than a COMMIT, or behind the answer to one.
    pub(crate) fn cut_elsewhere(&self, connection: u64) {
        self.log().cut_elsewhere.insert(connection);
    }

    /// A client has waited for the answer to its COMMIT in vain.
    pub(crate) fn unanswered(&self, connection: u64) {
        let mut log = self.log();
        log.tally.unanswered += u64::from(!log.cut_elsewhere.contains(&connection));
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

    pub(crate) fn decisions(&self) -> Vec<(ReceiptKey, Fate)> {
        self.log().decisions.clone()
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
        "CREATE DATABASE txguard",
        "CREATE TABLE txguard.receipts (shard INT, txn VARCHAR(32), attempt INT, \
         outcome INT NOT NULL, user VARCHAR(1024), start_ts BIGINT, fingerprint VARCHAR(32), \
         PRIMARY KEY (shard, txn, attempt))",
    ] {
        session.execute(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    }
    session
}

/// A statement on receipts for the engine, which knows no hexadecimal literals.
pub(crate) fn plain(text: &str) -> String {
    text.replace("X'", "'")
}
