//! Transactions that collide, on real servers: nothing is lost, nothing happens twice, and what
//! must not be replayed is not. The broken replay rules in `broken` prove that these loads would
//! notice.
//!
//! The loads share a schema and two cores, so one runs at a time.

#[path = "../support/mod.rs"]
mod support;

mod bank;
mod broken;
mod go;
mod hot_row;
mod orders;
mod read_then_write;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard};
use txguard::load::{Load, Mode};

use support::client::options;

/// Policy of the loads: enough attempts that giving up means something is wrong.
const POLICY: &str = "[[policy]]\nname = \"load\"\n\
    retry = { attempts = 100, budget = \"60s\" }\ntag = true\n";

/// One load at a time.
async fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::const_new(());
    TURN.lock().await
}

/// 8 writers at this address for so long.
fn load(address: &str, mode: Mode, seconds: u64) -> Load {
    Load {
        opts: options(address, None).into(),
        mode,
        deadline: Duration::from_secs(seconds),
        seed: 7,
        ..Load::default()
    }
}

fn progress() -> Arc<txguard::load::Progress> {
    Arc::default()
}
