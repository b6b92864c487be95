//! PD, which hands out the timestamps of a TiDB cluster.
//!
//! ```text
//! fresh() ─waiter─▶ driver: one request in flight asks for as many timestamps as there are
//!                     │     waiters; who comes meanwhile is in the next one
//!                     ├─ member: GetMembers at every known address, which agree on the cluster
//!                     │          and name the leader
//!                     ├─ stream: `Tso` at the leader, until an answer is missing, wrong, or not
//!                     │          above the last one; then the leader is looked for again
//!                     └─ dial:   the connection, with TLS around it
//! keep ──▶ fresh() every 100 ms ─▶ tso::Recent (hints), tso::Outage (the 3 s rule)
//! ```
//!
//! A waiter is answered or waits on: what goes wrong with a leader is the driver's business, and
//! whoever waited is in the first request to the next one. A waiter can't be given what was handed
//! out before it came, so its timestamp is later than every commit_ts that was acknowledged until
//! then.
//!
//! The protocol is gRPC, `pdpb.PD` (pingcap/kvproto `pdpb.proto`); the library's own task for each
//! connection ends with the connection.

mod dial;
mod driver;
mod keep;
mod member;
mod proto;
mod stream;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::base::clock::SharedClock;
use crate::base::config::Address;
use crate::base::metrics::Metrics;
use crate::base::types::Tso;
use crate::tso::{Backwards, BadBatch, Offset, Recent};

pub use dial::{Dial, DialFuture, Duplex, Network};

use driver::{Driver, Known};
use keep::Keeper;
use member::Members;

/// PD is said to be lost when it has not answered for this long.
pub const LOST_AFTER: Duration = Duration::from_secs(3);

/// A handle; clones ask the same driver.
#[derive(Debug, Clone)]
pub struct Pd {
    waiters: mpsc::UnboundedSender<Waiter>,
    recent: Recent,
    offset: watch::Receiver<Option<Offset>>,
    cluster: Arc<OnceLock<u64>>,
    clock: Shared,
    metrics: Arc<Metrics>,
}

/// Who waits for a timestamp. Dropped on the other side, it isn't asked for.
type Waiter = oneshot::Sender<Tso>;

/// What asks PD: to be spawned once.
pub struct Runner {
    driver: Driver,
    keeper: Keeper,
}

/// The process is ending: nobody asks PD any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("PD is not asked any more: txguard is stopping")]
pub struct Stopped;

/// Why there is no answer of PD. None of them reaches a waiter.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PdError {
    #[error("no connection to {at}: {why}")]
    Connect { at: String, why: String },
    #[error("PD answers {:?}: {}", .0.code(), .0.message())]
    Status(Box<tonic::Status>),
    #[error("PD answers with an error: {0}")]
    Refused(String),
    #[error("PD has no leader")]
    NoLeader,
    #[error("{0:?} is no address of a PD to follow: {1}")]
    Url(String, &'static str),
    #[error("{at} is PD of cluster {found}, not of {expected}: all of `pd` must be one cluster's")]
    Cluster { at: String, expected: u64, found: u64 },
    #[error("PD answers {found} timestamps to a request for {asked}")]
    Count { asked: u32, found: u32 },
    #[error(transparent)]
    Bad(#[from] BadBatch),
    #[error(transparent)]
    Backwards(#[from] Backwards),
    #[error("no answer within {0:?}")]
    TooLong(Duration),
    #[error("the stream has ended")]
    Ended,
}

impl From<tonic::Status> for PdError {
    fn from(status: tonic::Status) -> Self {
        Self::Status(Box::new(status))
    }
}

/// The clock has no text of its own.
#[derive(Clone)]
struct Shared(SharedClock);

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SharedClock")
    }
}

impl Pd {
    /// For the cluster behind `addresses`. Nothing is asked before the runner runs.
    #[must_use]
    pub fn new(
        addresses: Vec<Address>,
        dial: Arc<dyn Dial>,
        clock: SharedClock,
        metrics: Arc<Metrics>,
    ) -> (Self, Runner) {
        let (waiters, queue) = mpsc::unbounded_channel();
        let (measured, offset) = watch::channel(None);
        let members = Members::new(addresses, dial);
        let cluster = Arc::new(OnceLock::new());
        let known = Known { measured, cluster: cluster.clone() };
        let driver = Driver::new(queue, members, known, clock.clone(), metrics.clone());
        let clock = Shared(clock);
        let pd = Self { waiters, recent: Recent::default(), offset, cluster, clock, metrics };
        let keeper = Keeper::new(pd.clone());
        (pd, Runner { driver, keeper })
    }

    /// A timestamp that PD hands out after this call. Waits for as long as PD doesn't answer; a
    /// caller with a limit sets it around.
    ///
    /// Cancel safe: dropped, it is not asked for, or the timestamp is thrown away.
    ///
    /// # Errors
    /// The runner has ended.
    pub async fn fresh(&self) -> Result<Tso, Stopped> {
        let began = self.clock.0.now();
        let (waiter, answer) = oneshot::channel();
        self.waiters.send(waiter).map_err(|_| Stopped)?;
        let tso = answer.await.map_err(|_| Stopped)?;
        self.metrics.tso_waited(self.clock.0.now() - began);
        Ok(tso)
    }

    /// Where the latest timestamp is seen without waiting.
    #[must_use]
    pub fn recent(&self) -> Recent {
        self.recent.clone()
    }

    /// How far PD's time is ahead of the local clock, by the last answer; `None` while there is
    /// none.
    #[must_use]
    pub fn offset(&self) -> Option<Offset> {
        *self.offset.borrow()
    }

    /// The id of the cluster, once it is known; it stays the same.
    #[must_use]
    pub fn cluster(&self) -> Option<u64> {
        self.cluster.get().copied()
    }
}

impl Runner {
    /// Asks PD until `stop`; returns then, and all waiters are told.
    ///
    /// Cancel safe in the same way.
    pub async fn run(self, stop: CancellationToken) {
        let Self { driver, keeper } = self;
        let both = async { tokio::join!(Box::pin(driver.run()), Box::pin(keeper.run())) };
        stop.run_until_cancelled(both).await;
    }
}
