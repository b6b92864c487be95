//! Whether new clients are served, and why not.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use serde::Serialize;

/// What `/readyz` answers from; written by whoever connects to backends and by the shutdown.
#[derive(Debug)]
pub struct Readiness {
    draining: AtomicBool,
    backends: Vec<Backend>,
}

#[derive(Debug)]
struct Backend {
    address: String,
    state: AtomicU8,
    /// Why it is down; only touched when that changes, and read by `/readyz`.
    why: Mutex<String>,
}

/// What is known of a backend address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum BackendState {
    /// Nobody has tried it yet.
    Unchecked = 0,
    /// The last connection to it succeeded.
    Up = 1,
    /// The last connection to it failed.
    Down = 2,
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
    state: BackendState,
    #[serde(skip_serializing_if = "String::is_empty")]
    why: String,
}

impl Readiness {
    /// All backends unchecked, not draining.
    #[must_use]
    pub fn new(addresses: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let backend = |address: String| Backend {
            address,
            state: AtomicU8::new(BackendState::Unchecked as u8),
            why: Mutex::default(),
        };
        Self {
            draining: AtomicBool::new(false),
            backends: addresses.into_iter().map(|address| backend(address.into())).collect(),
        }
    }

    /// From now on no new clients are served.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// True after [`Readiness::drain`].
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// A connection to this address (by its place in the list) succeeded. One atomic write if
    /// that is news, else one read.
    pub fn backend_up(&self, place: usize) {
        let Some(backend) = self.backends.get(place) else { return };
        if backend.state() != BackendState::Up {
            backend.state.store(BackendState::Up as u8, Ordering::Relaxed);
            backend.set_why(String::new());
        }
    }

    /// A connection to this address failed.
    pub fn backend_down(&self, place: usize, why: impl Into<String>) {
        let Some(backend) = self.backends.get(place) else { return };
        backend.set_why(why.into());
        backend.state.store(BackendState::Down as u8, Ordering::Relaxed);
    }

    /// What is known of an address.
    #[must_use]
    pub fn backend(&self, place: usize) -> Option<BackendState> {
        self.backends.get(place).map(Backend::state)
    }

    /// True if new clients are served: not draining, and a backend can be reached.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.reasons().is_empty()
    }

    fn reasons(&self) -> Vec<&'static str> {
        let mut reasons = Vec::new();
        if self.is_draining() {
            reasons.push("draining");
        }
        let any = |state| self.backends.iter().any(|backend| backend.state() == state);
        if !any(BackendState::Up) {
            let unchecked = any(BackendState::Unchecked);
            reasons.push(if unchecked { "no backend checked yet" } else { "no backend reachable" });
        }
        reasons
    }

    pub(super) fn report(&self) -> Report {
        let reasons = self.reasons();
        let backends = self
            .backends
            .iter()
            .map(|backend| BackendReport {
                address: backend.address.clone(),
                state: backend.state(),
                why: backend.why(),
            })
            .collect();
        Report { ready: reasons.is_empty(), reasons, backends }
    }
}

impl Report {
    pub(super) const fn is_ready(&self) -> bool {
        self.ready
    }
}

impl Backend {
    fn state(&self) -> BackendState {
        match self.state.load(Ordering::Relaxed) {
            0 => BackendState::Unchecked,
            1 => BackendState::Up,
            _ => BackendState::Down,
        }
    }

    fn why(&self) -> String {
        self.why.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    fn set_why(&self, why: String) {
        *self.why.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = why;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_backend_is_enough_and_draining_ends_it() {
        let readiness = Readiness::new(["a:1", "b:2"]);
        assert_eq!(readiness.reasons(), ["no backend checked yet"]);
        readiness.backend_down(0, "connection refused");
        assert_eq!(readiness.reasons(), ["no backend checked yet"]);
        readiness.backend_down(1, "timed out");
        assert_eq!(readiness.reasons(), ["no backend reachable"]);
        readiness.backend_up(1);
        assert!(readiness.is_ready());
        assert_eq!(readiness.backend(1), Some(BackendState::Up));
        readiness.drain();
        assert_eq!(readiness.reasons(), ["draining"]);
    }
}
