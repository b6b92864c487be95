//! PD's clock against the local one and those of the backends.
//!
//! PD's answers tell how far it is ahead of the local clock, at no cost. A backend is asked for its
//! clock by the service account, now and then, and compared by way of the local one. What is shown
//! is only what is sure (`tso::Offset`). txguard decides nothing by these clocks; a drift is told
//! because TiDB's stale reads, TTLs and lock times suffer from it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::base::clock::SharedClock;
use crate::base::metrics::{Clock, Metrics};
use crate::net::backend::{Health, Pool};
use crate::net::pd::Pd;
use crate::store::service::{Service, ServiceError};
use crate::tso::{Alarm, Drift, Offset, Passing};

/// Between two looks at the local clock.
const EVERY: Duration = Duration::from_secs(1);

/// Looks after which the backends are asked again: each time is a login.
const BACKENDS_EVERY: u32 = 15;

/// How long one backend may take to say its time.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// Compares for as long as it runs.
pub struct Monitor {
    pd: Pd,
    pool: Arc<Pool>,
    service: Option<Service>,
    clock: SharedClock,
    metrics: Arc<Metrics>,
    local: Alarm,
    backend: Alarm,
}

impl Monitor {
    /// Warns of a drift larger than `warn`. Without a service account only the local clock is
    /// compared.
    #[must_use]
    pub fn new(
        pd: Pd,
        pool: Arc<Pool>,
        service: Option<Service>,
        clock: SharedClock,
        metrics: Arc<Metrics>,
        warn: Duration,
    ) -> Self {
        let alarm = Alarm::new(warn);
        Self { pd, pool, service, clock, metrics, local: alarm, backend: alarm }
    }

    /// Never returns. Cancel safe.
    pub async fn run(mut self) {
        for look in 0_u32.. {
            sleep(EVERY).await;
            let Some(pd) = self.pd.offset() else { continue };
            self.show_local(pd.sure());
            if look % BACKENDS_EVERY == 0 {
                self.ask_backends().await;
            }
        }
    }

    fn show_local(&mut self, drift: Drift) {
        self.metrics.tso_drift(Clock::Local, drift.seconds());
        tell(self.local.see(drift), drift, "this machine");
    }

    /// The backend that differs most is shown.
    async fn ask_backends(&mut self) {
        let Some(service) = self.service.clone() else { return };
        let mut worst: Option<(Drift, String)> = None;
        for server in self.pool.report() {
            if server.health != Health::Up {
                continue;
            }
            let address = server.address;
            match self.ask(&service, &address).await {
                Ok(None) => {}
                Ok(Some(drift)) => {
                    if worst.as_ref().is_none_or(|(most, _)| drift.size() > most.size()) {
                        worst = Some((drift, address));
                    }
                }
                Err(error) => tracing::debug!(%address, %error, "its clock is not known"),
            }
        }
        if let Some((drift, address)) = worst {
            self.metrics.tso_drift(Clock::Backend, drift.seconds());
            tell(self.backend.see(drift), drift, &address);
        }
    }

    /// `None` if the local clock was set meanwhile, or PD has not answered yet.
    async fn ask(&self, service: &Service, address: &str) -> Result<Option<Drift>, ServiceError> {
        let mut talk = service.open(address).await?;
        let sent = self.clock.wall();
        let shown = timeout(ANSWER_MAX, talk.clock()).await;
        let received = self.clock.wall();
        let shown = shown.unwrap_or(Err(ServiceError::TooLong(ANSWER_MAX)))?;
        // The latest of PD: the less lies in between, the less either clock was set in between.
        let pd = self.pd.offset();
        talk.close().await;
        let backend = Offset::measured(shown, Duration::ZERO, sent, received);
        Ok(pd.zip(backend).map(|(pd, backend)| pd.against(backend).sure()))
    }
}

fn tell(passing: Option<Passing>, drift: Drift, whose: &str) {
    let seconds = drift.seconds();
    match passing {
        Some(Passing::Over) => {
            tracing::warn!(seconds, whose, "PD's clock is too far from another: look at NTP");
        }
        Some(Passing::Under) => tracing::info!(seconds, whose, "PD's clock is near again"),
        None => {}
    }
}
