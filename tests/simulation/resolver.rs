//! Decides what became of a COMMIT, as `txguard::coordinator::resolver` does, without a network:
//! writes the attempt's key itself, and reads it if it is there.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::sleep;
use txguard::coordinator::resolver::Fate;
use txguard::embedded::engine::{Answer, Session, Value};
use txguard::session::{Deciding, Fates, LookUp};
use txguard::store::idempotency::IdempotencyKey;
use txguard::store::receipts::ReceiptKey;

use crate::dice::Dice;
use crate::world::{Bug, Fault, World, plain};

/// The number of its lines in the trace, and of its dice.
const WHO: u64 = 9_000;

/// Before a connection is there. A COMMIT that comes late comes before or behind that.
const OPEN_MAX_MS: u64 = 30;

/// A clone is the same resolver.
#[derive(Clone)]
pub(crate) struct Resolver {
    world: World,
    dice: Arc<Mutex<Dice>>,
}

impl Fates for Resolver {
    fn is_ready(&self) -> bool {
        true
    }

    fn resolve<'a>(&'a self, key: ReceiptKey, _: &'a str) -> Deciding<'a> {
        Box::pin(self.resolve(key))
    }

    fn resolve_later(&self, key: ReceiptKey, _: &str) {
        let resolver = self.clone();
        self.world.later.spawn(async move {
            resolver.decide(key).await;
        });
    }

    fn discard(&self, key: ReceiptKey, _: Option<&IdempotencyKey>, _: &str) {
        panic!("{key:?} was written outside of any transaction");
    }

    fn used<'a>(&'a self, _: &'a IdempotencyKey, _: &'a str) -> LookUp<'a> {
        Box::pin(async { Ok(None) })
    }
}

impl Resolver {
    pub(crate) fn new(world: &World) -> Self {
        Self { world: world.clone(), dice: Arc::new(Mutex::new(world.dice(WHO))) }
    }

    fn below(&self, limit: u64) -> u64 {
        self.dice.lock().unwrap_or_else(PoisonError::into_inner).below(limit)
    }

    async fn pause(&self, max_ms: u64) {
        sleep(Duration::from_millis(self.below(max_ms))).await;
    }

    async fn resolve(&self, key: ReceiptKey) -> Fate {
        let fate = match self.below(12) {
            // There is no connection to be had.
            0 => Fate::Pending,
            // It takes too long, and is found out all the same.
            1 => {
                self.decide(key).await;
                Fate::Pending
            }
            _ => self.decide(key).await,
        };
        self.world.answered(fate);
        fate
    }

    async fn decide(&self, key: ReceiptKey) -> Fate {
        loop {
            self.pause(OPEN_MAX_MS).await;
            let fate = match self.world.plan.bug {
                Some(Bug::OnlyLooks) => Some(self.read(key).unwrap_or(Fate::NotCommitted)),
                _ => self.ask(key).await,
            };
            self.world.trace(WHO, &format!("{key:?}: {fate:?}"));
            if let Some(fate) = fate {
                self.world.decided(key, fate);
                return fate;
            }
        }
    }

    /// One connection; `None` if it is cut.
    async fn ask(&self, key: ReceiptKey) -> Option<Fate> {
        let mut session = self.world.engine.session();
        // The engine finds a key that is there at COMMIT, whoever has written it and when.
        must(&mut session, "BEGIN");
        must(&mut session, &key.fence());
        self.pause(5).await;
        let cut = self.below(10);
        if cut == 0 {
            self.world.note_fault(WHO, Fault::ResolverCut);
            return None;
        }
        let fate = match session.execute("COMMIT") {
            Ok(_) => Fate::NotCommitted,
            Err(error) if matches!(error.code, 1062 | 9007) => {
                self.read(key).expect("somebody has written it")
            }
            Err(error) => panic!("{error}"),
        };
        if cut == 1 {
            self.world.note_fault(WHO, Fault::ResolverCut);
            return None;
        }
        Some(fate)
    }

    fn read(&self, key: ReceiptKey) -> Option<Fate> {
        let mut session = self.world.engine.session();
        let Answer::Rows { rows, .. } = must(&mut session, &key.read()) else { panic!("no rows") };
        Some(match rows.first()?[0] {
            Value::Int(1) => Fate::Committed,
            Value::Int(0) => Fate::NotCommitted,
            ref other => panic!("no outcome: {other}"),
        })
    }
}

fn must(session: &mut Session, text: &str) -> Answer {
    session.execute(&plain(text)).unwrap_or_else(|error| panic!("{text}: {error}"))
}
