//! Histories of transactions through txguard on TiDB, with connections cut in the middle, judged
//! by an isolation checker that knows nothing of either: snapshot isolation is what optimistic
//! transactions of TiDB give, and what they must give through txguard. In TiDB's pessimistic mode
//! a write reads what is newest, so snapshot isolation isn't what it promises.
//!
//! ```text
//! writers ─▶ cutter ─▶ txguard ─▶ cutter ─▶ TiDB
//!    └─ record: invoke, then ok, fail, or info (nobody knows) ─▶ judge
//! ```
//!
//! The judge is proven on histories with planted anomalies, and the whole on two replay rules that
//! are wrong and that it must reject.

#[path = "../support/mod.rs"]
mod support;

mod cutter;
mod judge;
mod record;
mod workload;

use std::sync::Arc;
use std::time::Duration;

use adya::Valid;
use cutter::Cutter;
use support::rules::{Escalate, WritesOnly};
use support::{Proxy, full, need, tidb};
use tokio::sync::{Mutex, MutexGuard};
use txguard::app::build::Parts;
use txguard::base::metrics::ReplayOutcome;
use txguard::txn::replay::Rule;
use workload::{Kind, Workload};

/// Attempts enough that giving up means something is wrong.
const POLICY: &str = "[[policy]]\nname = \"history\"\n\
    retry = { attempts = 100, budget = \"60s\" }\ntag = true\n";

/// Of the two cutters: how many bytes a connection carries at most before it is cut. A
/// transaction is about 1000.
const BYTES_MAX: u64 = 20_000;

/// One at a time: two cores are not many for a database and its clients.
async fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::const_new(());
    TURN.lock().await
}

async fn holds_with_cuts(kind: Kind, seed: u64) {
    let tidb = need!(tidb::start());
    let _turn = turn().await;
    let behind = Cutter::start(&tidb.address, seed, BYTES_MAX).await;
    let proxy = Proxy::start_at(&behind.address, POLICY, Parts::default()).await;
    let before = Cutter::start(&proxy.address.to_string(), seed + 1, BYTES_MAX).await;
    let seconds = Duration::from_secs(if full() { 60 } else { 6 });
    let workload = Workload { kind, seed, writers: 8, time: seconds, transactions_min: 1000 };

    let ran = workload.run(&tidb, &before.address).await;

    let replays = proxy.replays(ReplayOutcome::Succeeded);
    eprintln!("{kind:?}: {}, {} and {} cuts, {replays} replays", ran, before.cuts(), behind.cuts());
    let report = ran.judge(kind);
    assert_eq!(report.valid, Valid::True, "{:#?}", report.anomalies);
    ran.counted_once();
    assert!(ran.ok > 200 && ran.fail > 10 && ran.info > 0, "the history is worth something");
    assert!(before.cuts() > 10 && behind.cuts() > 10 && replays > 10);
    proxy.stop().await;
}

#[tokio::test]
async fn lists_with_cuts_are_snapshot_isolated() {
    holds_with_cuts(Kind::Lists, 1).await;
}

#[tokio::test]
async fn registers_with_cuts_are_snapshot_isolated() {
    holds_with_cuts(Kind::Registers, 3).await;
}

/// How often a rule may get away. How many updates are lost depends on how the writers' steps
/// happen to meet; about one round in two shows it.
const ROUNDS: u64 = 20;

async fn caught(rule: Arc<dyn Rule>, kind: Kind) {
    let tidb = need!(tidb::start());
    let _turn = turn().await;
    let proxy = Proxy::start_with(&tidb, POLICY, Parts { rule, ..Parts::default() }).await;
    for round in 0..ROUNDS {
        let writers = if round % 2 == 0 { 8 } else { 16 };
        let workload = Workload {
            kind,
            seed: round,
            writers,
            time: Duration::from_secs(3),
            transactions_min: 0,
        };
        let ran = workload.run(&tidb, &proxy.address.to_string()).await;
        let report = ran.judge(kind);
        eprintln!("{ran}: {:?}", report.anomaly_types);
        if report.valid == Valid::False {
            let lost = ["lost-update", "G-single"];
            let is_lost = |name: &String| lost.iter().any(|lost| name.starts_with(lost));
            assert!(report.anomaly_types.iter().any(is_lost), "{:?}", report.anomaly_types);
            return;
        }
        assert_eq!(report.valid, Valid::True);
    }
    panic!("the judge must notice");
}

#[tokio::test]
async fn replaying_only_the_writes_is_caught() {
    caught(Arc::new(WritesOnly), Kind::Registers).await;
}

#[tokio::test]
async fn escalating_to_pessimistic_is_caught() {
    caught(Arc::new(Escalate), Kind::Lists).await;
}
