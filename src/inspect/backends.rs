//! PD against the backends, by the service account.
//!
//! ```text
//! each backend, when it or PD comes back and then every 15 s, in one login:
//!   its clock                   ─ by way of the local one ─▶ tso::Offset: the worst is shown
//!   PD · BEGIN: start_ts · PD   ─ tso::Between ──┐
//!   the id of its cluster       ─ same_cluster ──┴▶ surely another PD's: hints are withheld
//! ```
//!
//! Hints wait for the first round, so none of a foreign PD is seen at the start. A backend that can't be
//! asked, or is no TiDB, speaks neither for nor against PD; one that was another PD's stays so until it
//! has been asked again.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use crate::base::clock::SharedClock;
use crate::base::metrics::{Clock, Metrics};
use crate::net::backend::{Health, Pool};
use crate::net::pd::Pd;
use crate::store::service::{Service, ServiceError, Talk};
use crate::tso::{Alarm, Between, Drift, Foreign, Offset, same_cluster};

use super::drift::tell;

/// Between two looks at which backends there are.
const EVERY: Duration = Duration::from_secs(1);

/// Between two visits to one backend: each is a login.
const VISIT_EVERY: Duration = Duration::from_secs(15);

/// How long one backend may take to answer, once it has accepted the login.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// Compares for as long as it runs.
pub struct Backends {
    pd: Pd,
    pool: Arc<Pool>,
    service: Service,
    clock: SharedClock,
    metrics: Arc<Metrics>,
    alarm: Alarm,
    known: HashMap<String, Known>,
}

/// What is known of one backend.
#[derive(Default)]
struct Known {
    /// `None` if it was not up since, or PD didn't answer.
    visited: Option<Instant>,
    drift: Option<Drift>,
    foreign: bool,
}

/// What one visit has shown, as far as it has.
#[derive(Default)]
struct Visit {
    drift: Option<Drift>,
    origin: Option<Result<(), Foreign>>,
}

impl Backends {
    /// Warns of a drift larger than `warn`. Withholds hints from now until the first round is over.
    #[must_use]
    pub fn new(
        pd: Pd,
        pool: Arc<Pool>,
        service: Service,
        clock: SharedClock,
        metrics: Arc<Metrics>,
        warn: Duration,
    ) -> Self {
        pd.recent().withhold(true);
        let (alarm, known) = (Alarm::new(warn), HashMap::new());
        Self { pd, pool, service, clock, metrics, alarm, known }
    }

    /// Returns only if PD isn't asked any more before its first answer. Cancel safe.
    pub async fn run(mut self) {
        // Before that there is nothing to compare with.
        if self.pd.fresh().await.is_err() {
            return;
        }
        loop {
            self.look().await;
            self.show();
            sleep(EVERY).await;
        }
    }

    async fn look(&mut self) {
        let (servers, answers) = (self.pool.report(), self.pd.offset().is_some());
        self.known.retain(|address, _| servers.iter().any(|server| server.address == *address));
        for server in servers {
            let now = self.clock.now();
            let known = self.known.entry(server.address.clone()).or_default();
            if !answers || !matches!(server.health, Health::Up | Health::Unchecked) {
                (known.visited, known.drift) = (None, None);
            } else if known.visited.is_none_or(|visited| now - visited >= VISIT_EVERY) {
                known.visited = Some(now);
                let visit = self.visit(&server.address).await.unwrap_or_else(|error| {
                    tracing::debug!(address = server.address, %error, "not compared with PD");
                    Visit::default()
                });
                self.take(&server.address, visit);
            }
        }
    }

    fn take(&mut self, address: &str, visit: Visit) {
        let known = self.known.entry(address.to_owned()).or_default();
        known.drift = visit.drift;
        match visit.origin {
            Some(Err(foreign)) if !known.foreign => {
                tracing::error!(address, %foreign, "the backend is another PD's: no hints");
                known.foreign = true;
            }
            Some(Ok(())) if known.foreign => {
                tracing::info!(address, "the backend is this PD's again");
                known.foreign = false;
            }
            _ => {}
        }
    }

    /// The backend whose clock differs most, and whether hints are of any use.
    fn show(&mut self) {
        let drifts = self.known.iter().filter_map(|(of, known)| Some((of, known.drift?)));
        let worst = drifts.max_by_key(|(_, drift)| drift.size());
        self.metrics.tso_drift(Clock::Backend, worst.map(|(_, drift)| drift.seconds()));
        if let Some((address, drift)) = worst {
            tell(self.alarm.see(drift), drift, address);
        }
        let foreign = self.known.values().filter(|known| known.foreign).count();
        self.metrics.tso_foreign(foreign);
        self.pd.recent().withhold(foreign > 0);
    }

    async fn visit(&self, address: &str) -> Result<Visit, ServiceError> {
        let mut talk = self.service.open(address).await?;
        let asked = async {
            let drift = self.drift(&mut talk).await?;
            let origin = self.origin(&mut talk).await?;
            talk.close().await;
            Ok(Visit { drift, origin })
        };
        timeout(ANSWER_MAX, asked).await.unwrap_or(Err(ServiceError::TooLong(ANSWER_MAX)))
    }

    /// `None` if the local clock was set meanwhile, or PD doesn't answer.
    async fn drift(&self, talk: &mut Talk) -> Result<Option<Drift>, ServiceError> {
        talk.speak_utc().await?;
        let sent = self.clock.wall();
        let shown = talk.clock().await?;
        let received = self.clock.wall();
        // The latest of PD: the less lies in between, the less either clock was set in between.
        let pd = self.pd.offset();
        let backend = Offset::measured(shown, Duration::ZERO, sent, received);
        Ok(pd.zip(backend).map(|(pd, backend)| pd.against(backend).sure()))
    }

    /// `None` if it is no TiDB, or PD isn't asked any more.
    async fn origin(&self, talk: &mut Talk) -> Result<Option<Result<(), Foreign>>, ServiceError> {
        if !talk.is_tidb().await? {
            return Ok(None);
        }
        if let Err(foreign) = same_cluster(self.pd.cluster(), talk.cluster().await?) {
            return Ok(Some(Err(foreign)));
        }
        talk.fetch_timestamps().await?;
        let Ok(before) = self.pd.fresh().await else { return Ok(None) };
        let Some(start_ts) = talk.start_ts().await? else { return Ok(None) };
        let Ok(after) = self.pd.fresh().await else { return Ok(None) };
        Ok(Some(Between { before, start_ts, after }.check()))
    }
}
