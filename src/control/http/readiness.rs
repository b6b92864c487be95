//! Whether new clients are served, and why not.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;

use crate::net::backend::{self, Health, Pool};

/// What `/readyz` answers from: the shutdown, and what is known of the backends.
pub struct Readiness {
    draining: AtomicBool,
    pool: Arc<Pool>,
}

/// The body of `/readyz`.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    ready: bool,
    /// Empty if ready.
    reasons: Vec<&'static str>,
    backends: Vec<BackendReport>,
}

#[derive(Debug, Serialize)]
struct BackendReport {
    address: String,
    state: Health,
    #[serde(skip_serializing_if = "is_false")]
    draining: bool,
    connections: usize,
    #[serde(skip_serializing_if = "String::is_empty")]
    why: String,
}

impl Readiness {
    /// Not draining.
    #[must_use]
    pub const fn new(pool: Arc<Pool>) -> Self {
        Self { draining: AtomicBool::new(false), pool }
    }

    /// From now on no new clients are served.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    pub(super) fn report(&self) -> Report {
        let backends = self.pool.report();
        let reasons = reasons(self.draining.load(Ordering::Relaxed), &backends);
        let backends = backends.into_iter().map(BackendReport::from).collect();
        Report { ready: reasons.is_empty(), reasons, backends }
    }
}

impl fmt::Debug for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readiness").field("draining", &self.draining).finish_non_exhaustive()
    }
}

/// Why new clients are not served: one backend that is up and gets clients is enough.
fn reasons(draining: bool, backends: &[backend::Report]) -> Vec<&'static str> {
    let mut reasons = Vec::new();
    if draining {
        reasons.push("draining");
    }
    let serving = backends.iter().filter(|backend| !backend.draining);
    let found: Vec<_> = serving.map(|backend| backend.health).collect();
    if found.is_empty() {
        reasons.push("every backend is drained");
    }
    let words = [
        (Health::Up, None),
        (Health::Unchecked, Some("no backend checked yet")),
        (Health::Stopping, Some("no backend stays: shutting down")),
        (Health::Down, Some("no backend reachable")),
    ];
    let best = words.into_iter().find(|(health, _)| found.contains(health));
    reasons.extend(best.and_then(|(_, reason)| reason));
    reasons
}

impl Report {
    pub(super) const fn is_ready(&self) -> bool {
        self.ready
    }
}

impl From<backend::Report> for BackendReport {
    fn from(report: backend::Report) -> Self {
        let backend::Report { address, health: state, draining, connections, why } = report;
        Self { address, state, draining, connections, why }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
const fn is_false(flag: &bool) -> bool {
    !*flag
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(health: Health, draining: bool) -> backend::Report {
        let (address, why) = ("a:1".to_owned(), String::new());
        backend::Report { address, health, draining, connections: 0, why }
    }

    #[test]
    fn one_backend_is_enough_and_draining_ends_it() {
        use Health::{Down, Stopping, Unchecked, Up};
        for (backends, why) in [
            (&[(Unchecked, false), (Unchecked, false)][..], Some("no backend checked yet")),
            (&[(Down, false), (Unchecked, false)], Some("no backend checked yet")),
            (&[(Down, false), (Down, false)], Some("no backend reachable")),
            (&[(Down, false), (Stopping, false)], Some("no backend stays: shutting down")),
            (&[(Down, false), (Up, true)], Some("no backend reachable")),
            (&[(Up, true), (Up, true)], Some("every backend is drained")),
            (&[(Up, true), (Up, false)], None),
            (&[(Down, false), (Up, false)], None),
        ] {
            let backends: Vec<_> =
                backends.iter().map(|&(state, drain)| one(state, drain)).collect();
            assert_eq!(reasons(false, &backends), why.into_iter().collect::<Vec<_>>());
        }
        assert_eq!(reasons(true, &[one(Up, false)]), ["draining"]);
    }
}
