//! What more than one test binary needs: real servers, txguard before them, clients, and what to
//! see of it all. Included by path (`#[path = "../support/mod.rs"] mod support;`).
//!
//! Rules of the house: no fixed port, no order between tests, no sleep in place of a condition,
//! nothing shared that one test can change under another. What is missing on this machine is
//! said and passes; in CI (`CI` is set) it fails.

// Each binary uses a part of it.
#![allow(dead_code, unused_imports, unused_macros)]

pub(crate) mod backend;
pub(crate) mod certificates;
pub(crate) mod client;
pub(crate) mod dice;
pub(crate) mod dump;
pub(crate) mod fake;
pub(crate) mod gate;
pub(crate) mod log;
pub(crate) mod mariadb;
pub(crate) mod program;
pub(crate) mod proxy;
pub(crate) mod raw;
pub(crate) mod rules;
pub(crate) mod server;
pub(crate) mod tidb;

use std::fmt::Display;
use std::io::Write;
use std::time::Duration;

use tokio::time::Instant;

pub(crate) use backend::{Backend, Schema};
pub(crate) use client::{connect, connect_to, one, rows};
pub(crate) use proxy::Proxy;

/// How long anything may take that is only waited for. Generous: the machine may be busy, and a
/// test that fails here hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// True if the counts of `tests/run --full` are wanted.
pub(crate) fn full() -> bool {
    std::env::var_os("TXGUARD_TEST_FULL").is_some_and(|value| !value.is_empty())
}

/// The value, or the end of the test because a component is missing.
macro_rules! need {
    ($component:expr) => {
        match $component {
            Ok(component) => component,
            Err(missing) => {
                $crate::support::skip(&missing);
                return;
            }
        }
    };
}
pub(crate) use need;

/// Says that a test can't run here; in CI everything must.
pub(crate) fn skip(missing: &dyn Display) {
    assert!(std::env::var_os("CI").is_none(), "nothing is skipped in CI: {missing}");
    // Not by a macro, whose output a passing test doesn't show.
    let _ = writeln!(std::io::stderr(), "SKIPPED: {missing}");
}

/// Waits until a condition holds; panics after [`PATIENCE`].
#[track_caller]
pub(crate) fn eventually<'a, F>(what: &'a str, mut condition: F) -> impl Future<Output = ()> + 'a
where
    F: FnMut() -> bool + 'a,
{
    let from = std::panic::Location::caller();
    async move {
        let end = Instant::now() + PATIENCE;
        while !condition() {
            assert!(Instant::now() < end, "waited in vain at {from}: {what}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

/// The value of a future that must not take longer than [`PATIENCE`].
#[track_caller]
pub(crate) fn soon<F: Future>(what: &str, future: F) -> impl Future<Output = F::Output> {
    let from = std::panic::Location::caller();
    async move {
        match tokio::time::timeout(PATIENCE, future).await {
            Ok(value) => value,
            Err(_) => panic!("took too long at {from}: {what}"),
        }
    }
}
