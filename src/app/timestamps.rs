//! Where timestamps come from, as the configuration says.

use std::sync::Arc;

use crate::base::clock::SharedClock;
use crate::base::config::{self, Tso, TsoSource};
use crate::base::metrics::Metrics;
use crate::net::pd::{Network, Pd, Runner};
use crate::net::tls::{Connector, Identity, TlsError};
use crate::tso::Oracle;

/// PD, and what asks it.
pub(super) type Asked = (Pd, Runner);

/// The oracle of hints, and PD if it is the source.
///
/// # Errors
/// A file with certificates can't be used.
pub(super) fn timestamps(
    tso: &Tso,
    clock: &SharedClock,
    metrics: &Arc<Metrics>,
) -> Result<(Oracle, Option<Asked>), TlsError> {
    let TsoSource::Pd(pd) = &tso.source else { return Ok((Oracle::default(), None)) };
    let dial = Arc::new(Network::new(connector(pd)?));
    let asked = Pd::new(pd.addresses.clone(), dial, clock.clone(), metrics.clone());
    Ok((Oracle::Pd(asked.0.recent()), Some(asked)))
}

fn connector(pd: &config::Pd) -> Result<Option<Connector>, TlsError> {
    let Some(ca) = &pd.ca else { return Ok(None) };
    let identity = pd.identity.as_ref();
    let identity =
        identity.map(|files| Identity { certificate: &files.certificate, key: &files.key });
    Connector::load(Some(ca), identity).map(Some)
}
