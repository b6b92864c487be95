//! Knows which backends can be reached, for `/readyz`.
//!
//! Clients tell: each connection that is opened for one, or can't be, is news. Only an address
//! that is not known to be up is tried from here. A server that is up sees no probe that opens a
//! connection and leaves without logging in; MySQL and MariaDB block a host that does so often
//! (`max_connect_errors`).

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::base::metrics::Metrics;
use crate::control::http::{BackendState, Readiness};
use crate::net::backend::{self, Failed};

/// Pause between two looks at an address that is down.
const EVERY: Duration = Duration::from_secs(1);

/// Which backends can be reached.
pub(super) struct BackendWatch {
    pub(super) backends: Arc<[String]>,
    pub(super) connect_timeout: Duration,
    pub(super) readiness: Arc<Readiness>,
    pub(super) metrics: Arc<Metrics>,
}

impl BackendWatch {
    /// A client's connection was opened at this place.
    pub(super) fn up(&self, place: usize) {
        self.readiness.backend_up(place);
    }

    /// Addresses that did not accept a connection.
    pub(super) fn down(&self, failed: &[Failed]) {
        for one in failed {
            self.metrics.backend_connect_error();
            self.readiness.backend_down(one.place, one.error.to_string());
        }
    }

    /// Tries what is down until `stop` is cancelled.
    pub(super) async fn run(self: Arc<Self>, stop: CancellationToken) {
        let look = async {
            loop {
                self.look().await;
                tokio::time::sleep(EVERY).await;
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = look => {}
        }
    }

    async fn look(&self) {
        for (place, address) in self.backends.iter().enumerate() {
            if self.is_up(place) {
                continue;
            }
            match backend::connect(std::slice::from_ref(address), self.connect_timeout).await {
                Ok(_) => self.readiness.backend_up(place),
                Err(error) => {
                    for one in error.failed {
                        self.readiness.backend_down(place, one.error.to_string());
                    }
                }
            }
        }
    }

    fn is_up(&self, place: usize) -> bool {
        self.readiness.backend(place) == Some(BackendState::Up)
    }
}
