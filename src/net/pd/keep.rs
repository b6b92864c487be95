//! Keeps a recent timestamp at hand, and with it an eye on PD.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::tso::{Outage, Turn};

use super::{LOST_AFTER, Pd, Stopped};

/// Between two timestamps, and between two looks while one is awaited: no hint is older while PD
/// answers, and a silent PD is noticed with this accuracy.
const EVERY: Duration = Duration::from_millis(100);

pub(super) struct Keeper {
    pd: Pd,
    outage: Outage,
    began: Instant,
}

impl Keeper {
    pub(super) fn new(pd: Pd) -> Self {
        let began = pd.clock.0.now();
        Self { pd, outage: Outage::new(LOST_AFTER), began }
    }

    /// Returns when PD isn't asked any more. Cancel safe.
    pub(super) async fn run(mut self) {
        while self.once().await.is_ok() {
            sleep(EVERY).await;
        }
    }

    async fn once(&mut self) -> Result<(), Stopped> {
        self.outage.asked(self.now());
        let pd = self.pd.clone();
        let mut asked = std::pin::pin!(pd.fresh());
        let tso = loop {
            tokio::select! {
                biased;
                answer = &mut asked => break answer?,
                () = sleep(EVERY) => self.look(),
            }
        };
        self.pd.recent.publish(tso);
        if let Some(Turn::Back(after)) = self.outage.answered(self.now()) {
            tracing::info!(?after, "PD answers again");
        }
        self.pd.metrics.tso_unavailable(Duration::ZERO);
        Ok(())
    }

    fn look(&mut self) {
        let now = self.now();
        let silent = self.outage.silent(now);
        self.pd.metrics.tso_unavailable(silent);
        if self.outage.look(now).is_some() {
            tracing::error!(?silent, "PD is lost: hints stay at the last timestamp");
        }
    }

    fn now(&self) -> Duration {
        self.pd.clock.0.now() - self.began
    }
}
