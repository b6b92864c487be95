//! Where timestamps come from, as the configuration says.

use std::sync::Arc;

use crate::base::clock::SharedClock;
use crate::base::config::{self, Tso, TsoSource};
use crate::base::metrics::Metrics;
use crate::base::tasks::Tasks;
use crate::inspect::backends::Backends;
use crate::inspect::drift::LocalDrift;
use crate::net::backend::Pool;
use crate::net::pd::{Network, Pd, Runner};
use crate::net::tls::{Connector, Identity, TlsError};
use crate::store::service::Service;
use crate::tso::Oracle;

/// What runs in the background while PD is the source.
pub(super) struct Watch {
    /// Asks PD.
    runner: Runner,
    local: LocalDrift,
    /// With a service account only.
    backends: Option<Backends>,
}

/// What PD is compared with, and where that is shown.
pub(super) struct Surroundings<'a> {
    pub(super) pool: &'a Arc<Pool>,
    pub(super) service: Option<&'a Service>,
    pub(super) clock: &'a SharedClock,
    pub(super) metrics: &'a Arc<Metrics>,
}

/// The oracle of hints, and what looks after it if that is PD.
///
/// # Errors
/// A file with certificates can't be used.
pub(super) fn timestamps(
    tso: &Tso,
    around: &Surroundings<'_>,
) -> Result<(Oracle, Option<Watch>), TlsError> {
    let TsoSource::Pd(pd) = &tso.source else { return Ok((Oracle::default(), None)) };
    let Surroundings { pool, service, clock, metrics } = *around;
    let dial = Arc::new(Network::new(connector(pd)?));
    let (pd, runner) = Pd::new(pd.addresses.clone(), dial, clock.clone(), metrics.clone());
    let local = LocalDrift::new(pd.clone(), metrics.clone(), tso.drift_warn);
    let backends = service.map(|service| {
        let (pool, clock, metrics) = (pool.clone(), clock.clone(), metrics.clone());
        Backends::new(pd.clone(), pool, service.clone(), clock, metrics, tso.drift_warn)
    });
    Ok((Oracle::Pd(pd.recent()), Some(Watch { runner, local, backends })))
}

impl Watch {
    /// Starts all of it.
    pub(super) fn spawn(self, tasks: &Tasks) {
        let Self { runner, local, backends } = self;
        let stop = tasks.token().clone();
        tasks.spawn(runner.run(stop.clone()));
        let comparing = async move {
            let backends = async {
                if let Some(backends) = backends {
                    Box::pin(backends.run()).await;
                }
            };
            tokio::join!(local.run(), backends)
        };
        tasks.spawn(async move {
            stop.run_until_cancelled(comparing).await;
        });
    }
}

fn connector(pd: &config::Pd) -> Result<Option<Connector>, TlsError> {
    let Some(ca) = &pd.ca else { return Ok(None) };
    let identity = pd.identity.as_ref();
    let identity =
        identity.map(|files| Identity { certificate: &files.certificate, key: &files.key });
    Connector::load(Some(ca), identity).map(Some)
}
