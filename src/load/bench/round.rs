//! One target's turn: all its connections at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::schedule::Schedule;
use super::side::Tally;
use crate::base::clock::SharedClock;
use crate::load::client::{Client, Failure};
use crate::load::run::{Random, Workload};

/// How long behind the end of a round an answer is still waited for.
const GRACE: Duration = Duration::from_secs(30);

/// The longest that the pacer sleeps before it looks whether it is still wanted.
const NAP: Duration = Duration::from_millis(100);

/// A connection and what it draws from; it stays over all rounds.
pub(super) struct Seat {
    pub(super) client: Client,
    pub(super) random: Random,
    pub(super) number: usize,
}

/// How operations follow each other.
#[derive(Debug, Clone, Copy)]
pub(super) enum Pace {
    /// Each connection begins the next one when it is done with the last, for so long; one at least,
    /// also on a machine that is too busy to let it begin in time.
    Closed(Duration),
    /// They are due at a fixed rate.
    Rate(Schedule),
}

/// Runs a round; the time is that from its beginning to the last answer.
///
/// Not cancel safe: dropping the future ends the connections in the middle of an answer.
pub(super) async fn run<W: Workload>(
    seats: &mut Vec<Seat>,
    workload: &Arc<W>,
    pace: Pace,
    clock: &SharedClock,
) -> (Tally, Duration) {
    let begun = clock.now();
    let gate = Arc::new(Gate::new(pace, begun, clock));
    let mut tasks = JoinSet::new();
    for seat in seats.drain(..) {
        tasks.spawn(work(seat, Arc::clone(workload), Arc::clone(&gate)));
    }
    // Its thread ends with this future, however that ends.
    let stop = CancellationToken::new().drop_guard();
    let mut pacers = JoinSet::new();
    if let Gate::Rate(rate) = &*gate {
        let (rate, workers, token) = (Arc::clone(rate), tasks.len(), stop.token().clone());
        pacers.spawn_blocking(move || rate.let_go(workers, &token));
    }
    let mut total = Tally::default();
    while let Some(done) = tasks.join_next().await {
        match done {
            Ok((seat, tally)) => {
                seats.push(seat);
                total.merge(tally);
            }
            Err(error) => total.add_error(true, format!("a connection failed: {error}")),
        }
    }
    let elapsed = clock.now() - begun;
    drop(stop);
    while let Some(Ok(tally)) = pacers.join_next().await {
        total.merge(tally);
    }
    gate.add_unsent(&mut total);
    (total, elapsed)
}

/// What lets operations go.
enum Gate {
    Closed { clock: SharedClock, end: Instant },
    Rate(Arc<Rate>),
}

/// Operations at a fixed rate. A thread of its own lets them go, because the runtime's timer is no
/// finer than a millisecond.
struct Rate {
    schedule: Schedule,
    clock: SharedClock,
    begun: Instant,
    /// One permit for each operation that is due; the connection that has waited longest gets it.
    due: Semaphore,
    next: AtomicU64,
}

impl Gate {
    fn new(pace: Pace, begun: Instant, clock: &SharedClock) -> Self {
        let clock = Arc::clone(clock);
        match pace {
            Pace::Closed(length) => Self::Closed { clock, end: begun + length },
            Pace::Rate(schedule) => {
                let (due, next) = (Semaphore::new(0), AtomicU64::new(0));
                Self::Rate(Arc::new(Rate { schedule, clock, begun, due, next }))
            }
        }
    }

    fn clock(&self) -> &SharedClock {
        match self {
            Self::Closed { clock, .. } => clock,
            Self::Rate(rate) => &rate.clock,
        }
    }

    /// From then on nothing is begun, and no conflict tried again.
    fn end(&self) -> Instant {
        match self {
            Self::Closed { end, .. } => *end,
            Self::Rate(rate) => rate.begun + rate.schedule.given_up(),
        }
    }

    /// When the next operation was due; None at the end. Cancel safe, but a permit may be lost.
    async fn next(&self, is_first: bool) -> Option<Instant> {
        match self {
            Self::Closed { clock, end } => Some(clock.now()).filter(|now| is_first || now < end),
            Self::Rate(rate) => rate.next(self.end()).await,
        }
    }

    fn add_unsent(&self, tally: &mut Tally) {
        if let Self::Rate(rate) = self {
            let from = rate.next.load(Ordering::Relaxed);
            rate.schedule.unsent(from).for_each(|waited| tally.add_unfinished(waited));
        }
    }
}

impl Rate {
    async fn next(&self, end: Instant) -> Option<Instant> {
        timeout_at(end, self.due.acquire()).await.ok()?.ok()?.forget();
        if self.clock.now() >= end {
            return None;
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        (number < self.schedule.count()).then(|| self.begun + self.schedule.due(number))
    }

    /// Lets each operation go when it is due, then every connection once more, to find the end.
    fn let_go(&self, workers: usize, stop: &CancellationToken) -> Tally {
        let mut tally = Tally::default();
        for number in 0..self.schedule.count() {
            let due = self.begun + self.schedule.due(number);
            loop {
                let now = self.clock.now();
                if stop.is_cancelled() {
                    return tally;
                }
                if now >= due {
                    tally.add_late(now - due);
                    break;
                }
                std::thread::sleep((due - now).min(NAP));
            }
            self.due.add_permits(1);
        }
        self.due.add_permits(workers);
        tally
    }
}

/// Not cancel safe.
async fn work<W: Workload>(mut seat: Seat, workload: Arc<W>, gate: Arc<Gate>) -> (Seat, Tally) {
    let mut tally = Tally::default();
    seat.client.give_up_at(gate.end() + GRACE);
    let mut is_first = true;
    while let Some(due) = gate.next(is_first).await {
        seat.operate(&*workload, &gate, due, &mut tally).await;
        is_first = false;
    }
    tally.statements = std::mem::take(&mut seat.client.statements);
    (seat, tally)
}

impl Seat {
    /// One operation, tried again after conflicts. Not cancel safe.
    async fn operate<W: Workload>(
        &mut self,
        workload: &W,
        gate: &Gate,
        due: Instant,
        tally: &mut Tally,
    ) {
        let draw = workload.draw(self.number, &mut self.random);
        while let Err(failure) = workload.transact(&mut self.client, &draw).await {
            self.client.roll_back().await;
            if let Failure::Other { unknown, text, .. } = failure {
                return tally.add_error(unknown, text);
            }
            tally.conflicts += 1;
            let now = gate.clock().now();
            if now >= gate.end() {
                return tally.add_unfinished(now - due);
            }
        }
        tally.add_done(gate.clock().now() - due);
    }
}
