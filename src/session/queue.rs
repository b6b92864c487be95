//! Waiting for one's turn to replay: [`crate::txn::contention`] with a clock and wakers.
//!
//! A [`Place`] is one in the queue at first, and the turn itself once [`Place::turn`] has said
//! so. Dropping it gives either up: a client that leaves or a session that ends holds nobody up.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::base::clock::SharedClock;
use crate::txn::contention::{
    CircuitOpen, Contention, Ended, Etiquette, HotKey, Shown, Standing, Ticket, Tokens,
};

/// Queues, tokens and circuits of all sessions.
#[derive(Clone)]
pub struct Queues {
    shared: Arc<Shared>,
}

struct Shared {
    clock: SharedClock,
    /// Times are counted from here.
    begun: Instant,
    tokens: Tokens,
    state: Mutex<Contention<Arc<Notify>>>,
}

/// A place in a queue, or the turn.
pub(super) struct Place {
    queues: Queues,
    ticket: Ticket,
    woken: Arc<Notify>,
    has_turn: bool,
    ended: Ended,
}

/// Why a turn does not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoTurn {
    /// Replays on the same key keep failing.
    CircuitOpen,
    /// The policy's time is used up.
    TimeUp,
}

impl From<CircuitOpen> for NoTurn {
    fn from(CircuitOpen: CircuitOpen) -> Self {
        Self::CircuitOpen
    }
}

impl Queues {
    /// Nobody waits, the bucket is full.
    #[must_use]
    pub fn new(clock: SharedClock, etiquette: Etiquette) -> Self {
        let begun = clock.now();
        let tokens = Tokens::new(etiquette.tokens);
        let state = Mutex::new(Contention::new(etiquette));
        Self { shared: Arc::new(Shared { clock, begun, tokens, state }) }
    }

    /// Changes the limits; who waits goes on waiting.
    pub fn limit(&self, etiquette: Etiquette) {
        self.shared.tokens.limit(etiquette.tokens);
        self.state().limit(etiquette);
    }

    /// The process's tokens.
    #[must_use]
    pub fn tokens(&self) -> &Tokens {
        &self.shared.tokens
    }

    /// How it looks now.
    #[must_use]
    pub fn shown(&self) -> Shown {
        let now = self.now();
        self.state().shown(now)
    }

    /// A replay arrives, of a transaction that has lost `again` or for the first time.
    pub(super) fn enter(&self, key: Option<HotKey>, again: bool) -> Result<Place, NoTurn> {
        let (now, woken) = (self.now(), Arc::new(Notify::new()));
        let ticket = self.state().enter(key, again, now, woken.clone())?;
        Ok(Place { queues: self.clone(), ticket, woken, has_turn: false, ended: Ended::Left })
    }

    fn now(&self) -> Duration {
        self.shared.clock.now() - self.shared.begun
    }

    /// A panic while it was held leaves it whole: each change is a few assignments.
    fn state(&self) -> MutexGuard<'_, Contention<Arc<Notify>>> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// What it is about.
    pub(super) fn key(&self) -> Option<HotKey> {
        self.ticket.key()
    }

    /// It is one in a queue, or the turn.
    pub(super) fn queues(&self) -> bool {
        self.ticket.queues()
    }

    /// The turn has come.
    pub(super) fn has_turn(&self) -> bool {
        self.has_turn
    }

    /// Waits until the turn has come. Cancel safe: the place in the queue stays.
    pub(super) async fn turn(&mut self, deadline: Instant) -> Result<(), NoTurn> {
        while !self.has_turn {
            let now = self.queues.now();
            let standing = self.queues.state().stand(&self.ticket, now)?;
            let Standing::Wait { until } = standing else {
                self.has_turn = true;
                break;
            };
            if self.queues.shared.clock.now() >= deadline {
                return Err(NoTurn::TimeUp);
            }
            tokio::select! {
                () = self.woken.notified() => {}
                () = sleep_until(deadline.min(self.queues.shared.begun + until)) => {}
            }
        }
        Ok(())
    }

    /// Gives it up, and says what came of it.
    pub(super) fn end(mut self, ended: Ended) {
        self.ended = ended;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let now = self.queues.now();
        let next = self.queues.state().leave(&self.ticket, self.ended, now);
        if let Some(next) = next {
            next.notify_one();
        }
    }
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Place").field("ticket", &self.ticket).finish_non_exhaustive()
    }
}
