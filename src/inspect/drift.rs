//! PD's clock against that of this machine: PD's answers tell it, at no cost.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use crate::base::metrics::{Clock, Metrics};
use crate::net::pd::Pd;
use crate::tso::{Alarm, Drift, Passing};

/// Between two looks.
const EVERY: Duration = Duration::from_secs(1);

/// Compares for as long as it runs.
pub struct LocalDrift {
    pd: Pd,
    metrics: Arc<Metrics>,
    alarm: Alarm,
}

impl LocalDrift {
    /// Warns of a drift larger than `warn`.
    #[must_use]
    pub const fn new(pd: Pd, metrics: Arc<Metrics>, warn: Duration) -> Self {
        Self { pd, metrics, alarm: Alarm::new(warn) }
    }

    /// Never returns. Cancel safe.
    pub async fn run(mut self) {
        loop {
            sleep(EVERY).await;
            let drift = self.pd.offset().map(|offset| offset.sure());
            self.metrics.tso_drift(Clock::Local, drift.map(Drift::seconds));
            if let Some(drift) = drift {
                tell(self.alarm.see(drift), drift, "this machine");
            }
        }
    }
}

/// For the log: a drift that has become too large, or small again.
pub(super) fn tell(passing: Option<Passing>, drift: Drift, whose: &str) {
    let seconds = drift.seconds();
    match passing {
        Some(Passing::Over) => {
            tracing::warn!(seconds, whose, "PD's clock is too far from another: look at NTP");
        }
        Some(Passing::Under) => tracing::info!(seconds, whose, "PD's clock is near again"),
        None => {}
    }
}
