//! Asks PD on behalf of everybody, with one request in flight.

use std::mem::{self, Discriminant};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

use crate::base::clock::SharedClock;
use crate::base::metrics::Metrics;
use crate::tso::{Batch, Offset, Sequence};

use super::member::Members;
use super::stream::Stream;
use super::{PdError, Waiter};

/// Waiters that one request serves at most; the others are in the next one. What TiDB's PD client
/// takes at most.
const BATCH_MAX: usize = 10_000;

/// Before PD is asked again after a failure: this, then twice as long each time, up to the other.
const PAUSE: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_millis(400);

/// What everybody can see of PD.
pub(super) struct Known {
    pub(super) measured: watch::Sender<Option<Offset>>,
    pub(super) cluster: Arc<OnceLock<u64>>,
}

pub(super) struct Driver {
    queue: mpsc::UnboundedReceiver<Waiter>,
    /// Taken from the queue and not answered yet.
    waiting: Vec<Waiter>,
    members: Members,
    sequence: Sequence,
    known: Known,
    clock: SharedClock,
    metrics: Arc<Metrics>,
    /// Failures since the last answer.
    failures: u32,
    /// Their kinds: each is told once.
    told: Vec<Discriminant<PdError>>,
}

impl Driver {
    pub(super) fn new(
        queue: mpsc::UnboundedReceiver<Waiter>,
        members: Members,
        known: Known,
        clock: SharedClock,
        metrics: Arc<Metrics>,
    ) -> Self {
        let (waiting, sequence) = (Vec::new(), Sequence::default());
        Self {
            queue,
            waiting,
            members,
            sequence,
            known,
            clock,
            metrics,
            failures: 0,
            told: Vec::new(),
        }
    }

    /// Returns when nobody can wait any more.
    ///
    /// Cancel safe: whoever waits is told that it has ended.
    pub(super) async fn run(mut self) {
        while let Err(error) = self.follow().await {
            // What was measured against a clock that may have been set since says nothing.
            self.known.measured.send_replace(None);
            let kind = mem::discriminant(&error);
            if self.told.contains(&kind) {
                tracing::debug!(%error, "PD does not answer");
            } else {
                tracing::warn!(%error, "PD does not answer");
                self.told.push(kind);
            }
            sleep(pause(self.failures)).await;
            self.failures += 1;
        }
    }

    /// One leader, until it fails.
    async fn follow(&mut self) -> Result<(), PdError> {
        let leader = self.members.leader().await?;
        tracing::info!(leader = %leader.address, cluster = leader.cluster, "following PD");
        // Another one is never followed, so it is the same each time.
        self.known.cluster.get_or_init(|| leader.cluster);
        let mut stream = Stream::new(leader);
        while self.gather().await {
            let batch = self.ask(&mut stream).await?;
            self.failures = 0;
            self.told.clear();
            // Without an answer nobody is taken from the list.
            for (waiter, tso) in self.waiting.drain(..).zip(batch.iter()) {
                // Whoever has gone meanwhile doesn't need it.
                let _ = waiter.send(tso);
            }
        }
        Ok(())
    }

    /// Waits until somebody waits; false if nobody ever will.
    async fn gather(&mut self) -> bool {
        self.waiting.retain(|waiter| !waiter.is_closed());
        if self.waiting.is_empty() && self.queue.recv_many(&mut self.waiting, BATCH_MAX).await == 0
        {
            return false;
        }
        while self.waiting.len() < BATCH_MAX {
            let Ok(waiter) = self.queue.try_recv() else { break };
            self.waiting.push(waiter);
        }
        true
    }

    /// One timestamp for each who waits, all later than those before.
    async fn ask(&mut self, stream: &mut Stream) -> Result<Batch, PdError> {
        let count = u32::try_from(self.waiting.len()).unwrap_or(u32::MAX);
        let (began, sent) = (self.clock.now(), self.clock.wall());
        let batch = stream.ask(count).await?;
        let received = self.clock.wall();
        self.metrics.tso_answered(self.clock.now() - began);
        self.sequence.accept(batch)?;
        let shown = Duration::from_millis(batch.last().physical_ms());
        let offset = Offset::measured(shown, Offset::PD_STEP, sent, received);
        if offset.is_some() {
            self.known.measured.send_replace(offset);
        }
        Ok(batch)
    }
}

fn pause(failures: u32) -> Duration {
    PAUSE.saturating_mul(2_u32.saturating_pow(failures)).min(PAUSE_MAX)
}
