//! One client transaction with its attempts, the rows of the receipt table that concern it, and
//! any number of resolvers.
//!
//! ```text
//! proxy   Running ─Send─▶ Waiting ─Hear─▶ Done (OK, not committed) or the next attempt
//!                            └─Lose, uncertain─▶ Resolving ─Learn─▶ the same, ─GiveUp─▶ unknown
//! server  Open ─▶ Sent ─Insert─▶ Inserted ─Prewrite─▶ Prewritten ─Commit─▶ Committed
//!                   └─▶ Stopped (the INSERT failed)     any of them ─Dies─▶ Gone
//! resolver  Idle ─Resolve─▶ Inserting ─▶ Inserted ─▶ COMMIT; 1062 ─▶ Reading
//! ```
//!
//! What the proxy knows and what the server does are apart: a run goes on when nobody waits for
//! it any longer, which is a late commit. A resolver's own COMMIT may be late as well. Time is
//! left out: whatever may happen may happen at once or never, and a purge waits, in place of the
//! retention, for what it must not overtake.

use stateright::{Model, Property};

/// What a resolver has said of an attempt is true, now and later.
pub(crate) const AGREES: &str = "what a resolver says agrees with the data";
/// No two attempts are both applied.
pub(crate) const ONCE: &str = "the transaction is applied once at most";
/// OK for what is committed, "not committed" for what is not.
pub(crate) const TRUE_TO_THE_CLIENT: &str = "the client hears the truth";
/// A replay may commit after a resolver has refused the attempt before.
pub(crate) const REPLAYED: &str = "a replay commits behind a verdict";

/// How the client's transaction runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// The INSERT checks the key and locks it.
    Pessimistic,
    /// The INSERT does nothing but be noted; all is checked at COMMIT. So is a pessimistic
    /// transaction with `tidb_constraint_check_in_place_pessimistic = OFF`.
    Optimistic,
    /// The INSERT checks the key and locks nothing: `tidb_constraint_check_in_place = ON`.
    OptimisticInPlace,
}

/// A protocol that is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bug {
    /// INSERT and COMMIT are two commands sent together: the COMMIT runs though the INSERT failed.
    Pipelined,
    /// The attempts of a transaction share one key.
    OneKey,
    /// The resolver looks for the row and writes none.
    OnlyReads,
    /// The resolver takes its COMMIT for done when the answer is lost.
    TrustsLostCommit,
    /// A row is purged while the client's COMMIT may still run.
    PurgesBeforeLateCommit,
    /// A row is purged while somebody may still ask for it.
    PurgesBeforeLastQuestion,
}

/// The model and its size.
#[derive(Debug, Clone)]
pub(crate) struct Receipts {
    pub(crate) mode: Mode,
    pub(crate) attempts: usize,
    pub(crate) resolvers: usize,
    /// Old rows are deleted.
    pub(crate) purges: bool,
    pub(crate) bug: Option<Bug>,
}

/// Everything there is, and what has been said so far.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct State {
    proxy: Proxy,
    attempts: Vec<Attempt>,
    /// By [`Receipts::key`].
    keys: Vec<Key>,
    resolvers: Vec<Resolver>,
}

/// The session that the client is connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Proxy {
    Running(usize),
    /// For the answer to INSERT and COMMIT.
    Waiting(usize),
    /// `connected`: the backend's connection lives, so a replay is possible.
    Resolving {
        attempt: usize,
        connected: bool,
    },
    Done(Heard),
}

/// What the client was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Heard {
    Committed,
    NotCommitted,
    Unknown,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
struct Attempt {
    run: Run,
    /// On its way to the proxy.
    answer: Option<Answer>,
    /// Its changes are in the data.
    applied: bool,
    /// A resolver may have been asked.
    asked: bool,
    said_committed: bool,
    said_not_committed: bool,
}

/// The client's transaction in the server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
enum Run {
    #[default]
    NotBegun,
    Open,
    /// INSERT and COMMIT are on their way.
    Sent,
    /// `receipt`: false if the INSERT failed and the COMMIT comes nevertheless.
    Inserted {
        receipt: bool,
    },
    /// The INSERT failed and nothing behind it ran: open.
    Stopped,
    Prewritten {
        receipt: bool,
    },
    Committed,
    /// Rolled back.
    Gone,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Answer {
    Ok,
    /// Rolled back for certain, as by 9007.
    Conflict,
    /// The INSERT's error, as 1062 or 1205.
    Stopped,
    /// 9001 and its like.
    Uncertain,
}

/// One key of the table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
struct Key {
    row: Option<Outcome>,
    lock: Option<Owner>,
    purged: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Outcome {
    Committed,
    NotCommitted,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Owner {
    Client(usize),
    Resolver(usize),
    /// A resolver's transaction of which the resolver no longer hears.
    Late,
}

/// About which attempt, and how far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Resolver {
    Idle,
    Inserting(usize),
    Inserted(usize),
    /// Behind a 1062.
    Reading(usize),
}

impl Resolver {
    fn works_on(self, attempt: usize) -> bool {
        match self {
            Self::Idle => false,
            Self::Inserting(on) | Self::Inserted(on) | Self::Reading(on) => on == attempt,
        }
    }
}

/// What may happen next. Numbers are attempts, resolvers and keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Send,
    Hear { replays: bool },
    Lose,
    Learn { replays: bool },
    GiveUp,

    Insert(usize),
    InsertTimesOut(usize),
    Prewrite(usize),
    Conflicts(usize),
    Commit(usize),
    AnswersUncertain(usize),
    Dies(usize),

    Resolve { resolver: usize, attempt: usize },
    ResolverInserts(usize),
    ResolverReads(usize),
    ResolverCommits(usize),
    ResolverLosesAnswer(usize),
    ResolverGivesUp(usize),
    LateResolverCommits(usize),
    LateResolverDies(usize),

    Purge(usize),
}

impl Model for Receipts {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let mut attempts = vec![Attempt::default(); self.attempts];
        attempts[0].run = Run::Open;
        vec![State {
            proxy: Proxy::Running(0),
            attempts,
            keys: vec![Key::default(); self.attempts],
            resolvers: vec![Resolver::Idle; self.resolvers],
        }]
    }

    /// All there are: [`Self::next_state`] says which of them can happen.
    fn actions(&self, _: &State, actions: &mut Vec<Action>) {
        use Action::*;
        actions.extend([Send, Lose, GiveUp]);
        for replays in [false, true] {
            actions.extend([Hear { replays }, Learn { replays }]);
        }
        for at in 0..self.attempts {
            actions.extend([Insert(at), InsertTimesOut(at), Prewrite(at), Conflicts(at)]);
            actions.extend([Commit(at), AnswersUncertain(at), Dies(at), Purge(at)]);
            actions.extend([LateResolverCommits(at), LateResolverDies(at)]);
        }
        for resolver in 0..self.resolvers {
            actions.extend((0..self.attempts).map(|attempt| Resolve { resolver, attempt }));
            actions.extend([ResolverInserts(resolver), ResolverReads(resolver)]);
            actions.extend([ResolverCommits(resolver), ResolverLosesAnswer(resolver)]);
            actions.push(ResolverGivesUp(resolver));
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        self.step(&mut state, action)?;
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(AGREES, |_: &Self, state: &State| {
                state.attempts.iter().all(|at| match at.applied {
                    true => !at.said_not_committed,
                    false => !at.said_committed,
                })
            }),
            Property::always(ONCE, |_: &Self, state: &State| state.applied() <= 1),
            Property::always(TRUE_TO_THE_CLIENT, |_: &Self, state: &State| match state.proxy {
                Proxy::Done(Heard::Committed) => state.applied() == 1,
                Proxy::Done(Heard::NotCommitted) => state.applied() == 0,
                _ => true,
            }),
            // The model can do what it is about.
            Property::sometimes(REPLAYED, |_: &Self, state: &State| {
                state.attempts[0].said_not_committed && state.proxy == Proxy::Done(Heard::Committed)
            }),
            Property::sometimes("a lost answer turns out committed", |_: &Self, state: &State| {
                state.attempts.iter().any(|at| at.said_committed)
            }),
            Property::sometimes(
                "a verdict while the COMMIT is on its way",
                |_: &Self, state: &State| {
                    let coming = |run| matches!(run, Run::Sent | Run::Inserted { .. });
                    state.attempts.iter().any(|at| at.said_not_committed && coming(at.run))
                },
            ),
            Property::sometimes(
                "a late commit behind an unknown outcome",
                |_: &Self, state: &State| {
                    state.proxy == Proxy::Done(Heard::Unknown) && state.applied() == 1
                },
            ),
            Property::sometimes("a resolver's COMMIT is late", |_: &Self, state: &State| {
                state.keys.iter().any(|key| key.lock == Some(Owner::Late))
            }),
            Property::sometimes("a receipt is purged", |_: &Self, state: &State| {
                state.keys.iter().any(|key| key.purged && key.row.is_none())
            }),
        ]
    }
}

impl State {
    fn applied(&self) -> usize {
        self.attempts.iter().filter(|at| at.applied).count()
    }

    /// The answer reaches the wire only while the proxy waits for the first one.
    fn answer(&mut self, attempt: usize, answer: Answer) {
        if self.proxy == Proxy::Waiting(attempt) {
            self.attempts[attempt].answer.get_or_insert(answer);
        }
    }
}

impl Receipts {
    /// The key of an attempt's receipt.
    fn key(&self, attempt: usize) -> usize {
        match self.bug {
            Some(Bug::OneKey) => 0,
            _ => attempt,
        }
    }

    /// `None` if that can't happen in this state.
    fn step(&self, state: &mut State, action: Action) -> Option<()> {
        use Action::*;
        match action {
            Send | Hear { .. } | Lose | Learn { .. } | GiveUp => self.proxy(state, action),
            Insert(at) | InsertTimesOut(at) | Prewrite(at) | Conflicts(at) | Commit(at) => {
                self.server(state, at, action)
            }
            AnswersUncertain(at) => {
                let waits =
                    state.proxy == Proxy::Waiting(at) && state.attempts[at].answer.is_none();
                waits.then(|| state.answer(at, Answer::Uncertain))
            }
            Dies(at) => {
                let ended = [Run::NotBegun, Run::Committed, Run::Gone];
                (!ended.contains(&state.attempts[at].run)).then(|| self.roll_back(state, at))
            }
            Resolve { resolver, attempt } => {
                let open = state.attempts[attempt].asked && !self.too_old(state, attempt);
                let idle = state.resolvers[resolver] == Resolver::Idle;
                (open && idle).then(|| state.resolvers[resolver] = Resolver::Inserting(attempt))
            }
            ResolverInserts(by)
            | ResolverReads(by)
            | ResolverCommits(by)
            | ResolverLosesAnswer(by)
            | ResolverGivesUp(by) => self.resolver(state, by, action),
            LateResolverCommits(key) => (state.keys[key].lock == Some(Owner::Late)).then(|| {
                state.keys[key] = Key { row: Some(Outcome::NotCommitted), ..Key::default() };
            }),
            LateResolverDies(key) => {
                (state.keys[key].lock == Some(Owner::Late)).then(|| state.keys[key].lock = None)
            }
            Purge(key) => self.purge(state, key),
        }
    }

    fn proxy(&self, state: &mut State, action: Action) -> Option<()> {
        use Action::*;
        match (action, state.proxy) {
            (Send, Proxy::Running(at)) => {
                // The connection may have ended; then nobody ever sends this.
                (state.attempts[at].run == Run::Open).then_some(())?;
                state.attempts[at].run = Run::Sent;
                state.proxy = Proxy::Waiting(at);
            }
            // Nothing that commits was sent.
            (Lose, Proxy::Running(_)) => state.proxy = Proxy::Done(Heard::NotCommitted),
            (Lose, Proxy::Waiting(at)) => {
                state.attempts[at].answer = None;
                state.attempts[at].asked = true;
                state.proxy = Proxy::Resolving { attempt: at, connected: false };
            }
            (Hear { replays }, Proxy::Waiting(at)) => match state.attempts[at].answer.take()? {
                Answer::Ok if !replays => state.proxy = Proxy::Done(Heard::Committed),
                Answer::Uncertain if !replays => {
                    state.attempts[at].asked = true;
                    state.proxy = Proxy::Resolving { attempt: at, connected: true };
                }
                Answer::Ok | Answer::Uncertain => return None,
                Answer::Conflict => self.not_committed(state, at, replays)?,
                Answer::Stopped => {
                    self.roll_back(state, at);
                    self.not_committed(state, at, replays)?;
                }
            },
            (Learn { replays }, Proxy::Resolving { attempt, connected }) => {
                let said = &state.attempts[attempt];
                match (said.said_committed, said.said_not_committed) {
                    (true, _) if !replays => state.proxy = Proxy::Done(Heard::Committed),
                    (false, true) if connected || !replays => {
                        self.not_committed(state, attempt, replays)?;
                    }
                    _ => return None,
                }
            }
            (GiveUp, Proxy::Resolving { .. }) => state.proxy = Proxy::Done(Heard::Unknown),
            _ => return None,
        }
        Some(())
    }

    /// The next attempt, or the client hears it.
    fn not_committed(&self, state: &mut State, attempt: usize, replays: bool) -> Option<()> {
        if !replays {
            state.proxy = Proxy::Done(Heard::NotCommitted);
            return Some(());
        }
        state.attempts.get_mut(attempt + 1)?.run = Run::Open;
        state.proxy = Proxy::Running(attempt + 1);
        Some(())
    }

    fn server(&self, state: &mut State, at: usize, action: Action) -> Option<()> {
        let key = &mut state.keys[self.key(at)];
        let run = &mut state.attempts[at].run;
        let own = key.lock == Some(Owner::Client(at));
        let checks = self.mode != Mode::Optimistic;
        match (action, *run) {
            (Action::Insert(_), Run::Sent) if checks && key.row.is_some() => self.stop(state, at),
            // Waits.
            (Action::Insert(_), Run::Sent) if self.locks() && key.lock.is_some() => return None,
            (Action::Insert(_), Run::Sent) => {
                if self.locks() {
                    key.lock = Some(Owner::Client(at));
                }
                *run = Run::Inserted { receipt: true };
            }
            (Action::InsertTimesOut(_), Run::Sent) if self.locks() && key.lock.is_some() => {
                self.stop(state, at);
            }
            (Action::Prewrite(_), Run::Inserted { receipt: false }) => {
                *run = Run::Prewritten { receipt: false };
            }
            (Action::Prewrite(_), Run::Inserted { receipt: true }) => {
                (own || (key.lock.is_none() && key.row.is_none())).then_some(())?;
                key.lock = Some(Owner::Client(at));
                *run = Run::Prewritten { receipt: true };
            }
            // On this key or on any other.
            (Action::Conflicts(_), Run::Inserted { .. }) => {
                self.roll_back(state, at);
                state.answer(at, Answer::Conflict);
            }
            (Action::Commit(_), Run::Prewritten { receipt }) => {
                if receipt {
                    *key = Key { row: Some(Outcome::Committed), lock: None, ..key.clone() };
                }
                *run = Run::Committed;
                state.attempts[at].applied = true;
                state.answer(at, Answer::Ok);
            }
            _ => return None,
        }
        Some(())
    }

    fn locks(&self) -> bool {
        self.mode == Mode::Pessimistic
    }

    /// The INSERT fails.
    fn stop(&self, state: &mut State, at: usize) {
        if self.bug == Some(Bug::Pipelined) {
            state.attempts[at].run = Run::Inserted { receipt: false };
        } else {
            state.attempts[at].run = Run::Stopped;
            state.answer(at, Answer::Stopped);
        }
    }

    fn roll_back(&self, state: &mut State, at: usize) {
        state.attempts[at].run = Run::Gone;
        let key = &mut state.keys[self.key(at)];
        key.lock = key.lock.filter(|owner| *owner != Owner::Client(at));
    }

    fn resolver(&self, state: &mut State, by: usize, action: Action) -> Option<()> {
        use Resolver::{Idle, Inserted, Inserting, Reading};
        let resolver = state.resolvers[by];
        let (Inserting(at) | Inserted(at) | Reading(at)) = resolver else { return None };
        let key = &mut state.keys[self.key(at)];
        match (action, resolver) {
            (Action::ResolverInserts(_), Inserting(_)) if self.bug == Some(Bug::OnlyReads) => {
                self.says(state, by, at, key_outcome(state, self.key(at)));
            }
            (Action::ResolverInserts(_), Inserting(_)) => {
                key.lock.is_none().then_some(())?;
                state.resolvers[by] = match key.row {
                    Some(_) => Reading(at),
                    None => {
                        key.lock = Some(Owner::Resolver(by));
                        Inserted(at)
                    }
                };
            }
            (Action::ResolverReads(_), Reading(_)) => match key.row {
                Some(outcome) => self.says(state, by, at, outcome),
                None => state.resolvers[by] = Inserting(at),
            },
            (Action::ResolverCommits(_), Inserted(_)) => {
                *key = Key { row: Some(Outcome::NotCommitted), lock: None, ..key.clone() };
                self.says(state, by, at, Outcome::NotCommitted);
            }
            (Action::ResolverLosesAnswer(_), Inserted(_)) => {
                key.lock = Some(Owner::Late);
                match self.bug {
                    Some(Bug::TrustsLostCommit) => self.says(state, by, at, Outcome::NotCommitted),
                    _ => state.resolvers[by] = Inserting(at),
                }
            }
            (Action::ResolverGivesUp(_), Inserting(_) | Reading(_)) => state.resolvers[by] = Idle,
            _ => return None,
        }
        Some(())
    }

    fn says(&self, state: &mut State, by: usize, at: usize, outcome: Outcome) {
        match outcome {
            Outcome::Committed => state.attempts[at].said_committed = true,
            Outcome::NotCommitted => state.attempts[at].said_not_committed = true,
        }
        state.resolvers[by] = Resolver::Idle;
    }

    /// Of a transaction whose receipt may have been purged nothing can be said.
    fn too_old(&self, state: &State, attempt: usize) -> bool {
        state.keys[self.key(attempt)].purged && self.bug != Some(Bug::PurgesBeforeLastQuestion)
    }

    fn purge(&self, state: &mut State, key: usize) -> Option<()> {
        let written_by: Vec<usize> =
            (0..self.attempts).filter(|attempt| self.key(*attempt) == key).collect();
        let runs = written_by.iter().any(|at| {
            !matches!(state.attempts[*at].run, Run::NotBegun | Run::Committed | Run::Gone)
        });
        let asks = written_by.iter().any(|at| state.resolvers.iter().any(|by| by.works_on(*at)));
        let late = state.keys[key].lock.is_some();
        let may = match self.bug {
            _ if !self.purges => false,
            Some(Bug::PurgesBeforeLateCommit) => !asks,
            Some(Bug::PurgesBeforeLastQuestion) => !runs && !late,
            _ => !runs && !late && !asks,
        };
        (may && state.keys[key].row.is_some()).then(|| {
            state.keys[key].row = None;
            state.keys[key].purged = true;
        })
    }
}

/// What a look at the table says of a key.
fn key_outcome(state: &State, key: usize) -> Outcome {
    state.keys[key].row.unwrap_or(Outcome::NotCommitted)
}
