//! Finds out what became of a transaction whose COMMIT was not answered, or by an error that says
//! nothing.
//!
//! ```text
//! BEGIN PESSIMISTIC, INSERT the attempt's key with outcome 0
//!   inserted ── COMMIT ── OK ─────────▶ not committed: the client's transaction writes the same
//!                  │                    key, so it can't commit any more
//!                  └ error, no answer ▶ again: the second time the first one is found
//!   1062 ── read the row ── 1 ────────▶ committed
//!                           0 ────────▶ not committed: another resolver was here
//!   1205, 9004 ───────────────────────▶ pending: somebody holds the key
//! ```
//!
//! It never only looks: a transaction that is not there may still be on its way. What was decided
//! once stays so, whoever asks and how often.
//!
//! Where: at the backend that the client was connected to. Where that can't be reached, at another
//! one of the configuration if that is TiDB, whose servers are doors to one database; of two
//! MariaDB servers that can't be known.
//!
//! When not: a receipt is purged some time after its transaction's BEGIN, and then a committed
//! transaction looks like one that never was. So nothing is inserted for a transaction that is
//! older than the retention less [`LATE_COMMIT_MAX`], which also keeps the resolver's own row in
//! place for as long as the client's COMMIT could come late.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use crate::base::clock::SharedClock;
use crate::base::config::Receipts;
use crate::base::error::code;
use crate::base::metrics::{self, Metrics};
use crate::base::tasks::Tasks;
use crate::net::backend::Pool;
use crate::store::idempotency::{IdempotencyKey, Used};
use crate::store::receipts::{Outcome, ReceiptKey};
use crate::store::service::{Service, ServiceError, Talk};

/// How late a COMMIT can come after its BEGIN: TiDB refuses it after 24 hours (session.go, "takes
/// too much time"); an hour more for clocks that disagree.
pub const LATE_COMMIT_MAX: Duration = Duration::from_secs(25 * 3600);

/// Connections of resolvers at a time: the end of a backend loses many answers at once.
const CONNECTIONS_MAX: usize = 32;

/// Between two tries while the client waits.
const PAUSE: Duration = Duration::from_millis(100);

/// Between two tries in the background: the first pause, doubled up to the longest.
const LATER: Duration = Duration::from_secs(1);
const LATER_MAX: Duration = Duration::from_secs(60);

/// What became of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It has committed.
    Committed,
    /// It has not committed and never will.
    NotCommitted,
    /// That can't be said yet.
    Pending,
}

/// Decides the fate of transactions. A clone is the same resolver.
#[derive(Clone)]
pub struct Resolver {
    shared: Arc<Shared>,
}

struct Shared {
    service: Service,
    pool: Arc<Pool>,
    terms: Receipts,
    clock: SharedClock,
    metrics: Arc<Metrics>,
    /// What is decided behind a client's back.
    later: Tasks,
    connections: Semaphore,
    ready: AtomicBool,
}

/// Why there is no decision yet.
#[derive(Debug, thiserror::Error)]
enum Undecided {
    /// Somebody holds the key.
    #[error("the key is locked: {0}")]
    Held(ServiceError),
    /// The row was there and is gone: deleted meanwhile.
    #[error("the receipt is gone")]
    Gone,
    /// A server can't be asked.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// The receipt may have been purged.
    #[error("the transaction is too old: its receipt may have been purged")]
    TooOld,
}

impl Resolver {
    /// A resolver that talks to the servers of `pool`. What it does in the background belongs to
    /// `later` and ends when that is cancelled.
    #[must_use]
    pub fn new(
        service: Service,
        pool: Arc<Pool>,
        terms: Receipts,
        clock: SharedClock,
        metrics: Arc<Metrics>,
        later: Tasks,
    ) -> Self {
        let connections = Semaphore::new(CONNECTIONS_MAX);
        let ready = AtomicBool::new(false);
        let shared = Shared { service, pool, terms, clock, metrics, later, connections, ready };
        Self { shared: Arc::new(shared) }
    }

    /// Whether the tables are there, so that receipts can be written.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.shared.ready.load(Ordering::Relaxed)
    }

    /// The tables are there, or not.
    pub fn ready(&self, ready: bool) {
        self.shared.ready.store(ready, Ordering::Relaxed);
        self.shared.metrics.receipts_ready(ready);
    }

    /// Decides within the limit of the configuration. `at` is the backend of the client, HOST:PORT.
    ///
    /// Cancel safe: what is cut off leaves the key undecided or decided, and the next one sees it.
    pub async fn resolve(&self, key: ReceiptKey, at: &str) -> Fate {
        self.decide_in_time(key, at).await.unwrap_or(Fate::Pending)
    }

    /// Decides in the background, as long as it takes, and says in the log what came out.
    pub fn resolve_later(&self, key: ReceiptKey, at: &str) {
        let (resolver, at) = (self.clone(), at.to_owned());
        let (txn, attempt) = (key.txn, key.attempt);
        let pending = self.shared.metrics.receipt_pending();
        let decide = async move {
            let mut pause = LATER;
            loop {
                match resolver.decide_in_time(key, &at).await {
                    Ok(_) | Err(Undecided::TooOld) => return,
                    Err(_) => sleep(pause).await,
                }
                pause = (pause * 2).min(LATER_MAX);
            }
        };
        let stop = self.shared.later.token().clone();
        self.shared.later.spawn(async move {
            let _pending = pending;
            if stop.run_until_cancelled(Box::pin(decide)).await.is_none() {
                tracing::warn!(%txn, attempt, "not decided before the end of txguard");
            }
        });
    }

    /// Removes a receipt that was written outside of any transaction and so says nothing, together
    /// with the idempotency key of the same packet. What doesn't succeed within the limit goes on
    /// in the background.
    ///
    /// Cancel safe, but then nothing goes on.
    pub async fn discard(&self, key: ReceiptKey, used: Option<&IdempotencyKey>, at: &str) {
        let statements: Vec<String> =
            used.map(|used| used.delete(key)).into_iter().chain([key.delete()]).collect();
        let Err(error) = self.run_all(&statements, at).await else { return };
        let (txn, attempt) = (key.txn, key.attempt);
        tracing::warn!(%txn, attempt, %error, "a void receipt is still there");
        let (resolver, at) = (self.clone(), at.to_owned());
        let remove = async move {
            let mut pause = LATER;
            while resolver.run_all(&statements, &at).await.is_err() {
                sleep(pause).await;
                pause = (pause * 2).min(LATER_MAX);
            }
        };
        let stop = self.shared.later.token().clone();
        self.shared.later.spawn(async move {
            if stop.run_until_cancelled(Box::pin(remove)).await.is_none() {
                tracing::error!(%txn, attempt, "a void receipt was not removed: it says that the \
                                 transaction has committed, and it has not");
            }
        });
    }

    /// The same for somebody who doesn't wait.
    pub fn discard_later(&self, key: ReceiptKey, used: Option<&IdempotencyKey>, at: &str) {
        let (resolver, used, at) = (self.clone(), used.cloned(), at.to_owned());
        self.shared
            .later
            .spawn(async move { Box::pin(resolver.discard(key, used.as_ref(), &at)).await });
    }

    /// The transaction that has used this idempotency key up, as committed now.
    ///
    /// Cancel safe: nothing is changed.
    pub async fn committed_by(
        &self,
        key: &IdempotencyKey,
        at: &str,
    ) -> Result<Option<Used>, ServiceError> {
        let ask = async {
            let mut talk = self.open(at).await?;
            let row = talk.row(&key.read()).await?;
            talk.close().await;
            Ok(row.and_then(Used::from_row))
        };
        let limit = self.shared.terms.resolve_limit;
        timeout(limit, Box::pin(ask)).await.unwrap_or(Err(ServiceError::TooLong(limit)))
    }

    /// Decides within the limit, and says so in the log and in the metrics.
    async fn decide_in_time(&self, key: ReceiptKey, at: &str) -> Result<Fate, Undecided> {
        let Shared { terms, metrics, .. } = &*self.shared;
        let (txn, attempt) = (key.txn, key.attempt);
        let mut last = None;
        let decided = timeout(terms.resolve_limit, Box::pin(self.decide(key, at, &mut last))).await;
        let decided = match decided {
            Ok(decided) => decided,
            Err(_) => {
                let too_long = ServiceError::TooLong(terms.resolve_limit);
                Err(last.unwrap_or(Undecided::Service(too_long)))
            }
        };
        match &decided {
            Ok(fate) => tracing::info!(%txn, attempt, ?fate, "its receipt tells what became of it"),
            Err(why) => tracing::warn!(%txn, attempt, %why, "what became of it isn't known yet"),
        }
        metrics.resolved(match decided {
            Ok(Fate::Committed) => metrics::Fate::Committed,
            Ok(Fate::NotCommitted) => metrics::Fate::NotCommitted,
            Ok(Fate::Pending) | Err(_) => metrics::Fate::Pending,
        });
        decided
    }

    /// Asks until there is a decision that stays, or somebody is found to hold the key. `last` is
    /// why there was none the last time.
    async fn decide(
        &self,
        key: ReceiptKey,
        at: &str,
        last: &mut Option<Undecided>,
    ) -> Result<Fate, Undecided> {
        loop {
            match self.ask(key, at).await {
                Err(why @ (Undecided::Gone | Undecided::Service(_))) => *last = Some(why),
                decided => return decided,
            }
            sleep(PAUSE).await;
        }
    }

    async fn ask(&self, key: ReceiptKey, at: &str) -> Result<Fate, Undecided> {
        let _turn = self.shared.connections.acquire().await;
        let mut talk = self.open(at).await?;
        talk.run(&format!(
            "SET SESSION innodb_lock_wait_timeout = {} \
             /*T! , tidb_constraint_check_in_place_pessimistic = ON */",
            self.shared.terms.lock_timeout.as_secs().max(1)
        ))
        .await?;
        // MySQL and MariaDB have no other mode, and don't read this comment.
        talk.run("BEGIN /*T! PESSIMISTIC */").await?;
        if self.is_too_old(key) {
            return read(&mut talk, key).await.map_err(|why| match why {
                Undecided::Gone => Undecided::TooOld,
                why => why,
            });
        }
        let fate = match talk.run(&key.fence()).await {
            Ok(_) => {
                // Cut off here, the next one finds the row or writes it again.
                talk.run("COMMIT").await?;
                Fate::NotCommitted
            }
            Err(error) if error.code() == Some(code::DUPLICATE_ENTRY) => {
                read(&mut talk, key).await?
            }
            Err(error) => return Err(Undecided::of(error)),
        };
        talk.close().await;
        Ok(fate)
    }

    fn is_too_old(&self, key: ReceiptKey) -> bool {
        let Shared { clock, terms, .. } = &*self.shared;
        let age = clock.wall().saturating_sub(key.txn.begun());
        age > terms.retention.saturating_sub(LATE_COMMIT_MAX)
    }

    /// Statements that may be carried out twice, each in a transaction of its own, within the limit.
    async fn run_all(&self, statements: &[String], at: &str) -> Result<(), ServiceError> {
        let run = async {
            let _turn = self.shared.connections.acquire().await;
            let mut talk = self.open(at).await?;
            for statement in statements {
                talk.run(statement).await?;
            }
            talk.close().await;
            Ok(())
        };
        let limit = self.shared.terms.resolve_limit;
        timeout(limit, Box::pin(run)).await.unwrap_or(Err(ServiceError::TooLong(limit)))
    }

    /// A connection to the client's server, or else to another one that serves the same database.
    async fn open(&self, at: &str) -> Result<Talk, ServiceError> {
        let Shared { service, pool, .. } = &*self.shared;
        let first = match service.open(at).await {
            Ok(talk) => return Ok(talk),
            Err(error) => error,
        };
        for other in pool.report() {
            if other.address == at {
                continue;
            }
            let Ok(mut talk) = service.open(&other.address).await else { continue };
            if talk.is_tidb().await? {
                return Ok(talk);
            }
        }
        Err(first)
    }
}

impl Undecided {
    /// What the answer to the INSERT or to the locking read means.
    fn of(error: ServiceError) -> Self {
        match error.code() {
            Some(code::LOCK_WAIT_TIMEOUT | code::RESOLVE_LOCK_TIMEOUT) => Self::Held(error),
            _ => Self::Service(error),
        }
    }
}

async fn read(talk: &mut Talk, key: ReceiptKey) -> Result<Fate, Undecided> {
    let row: Option<(i64,)> = talk.row(&key.read()).await.map_err(Undecided::of)?;
    match row.and_then(|(code,)| Outcome::from_code(code)) {
        Some(Outcome::Committed) => Ok(Fate::Committed),
        Some(Outcome::NotCommitted) => Ok(Fate::NotCommitted),
        None => Err(Undecided::Gone),
    }
}
