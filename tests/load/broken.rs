//! A replay rule that looks right and is not: the same load must catch it. The other one, which
//! escalates to pessimistic, loses too little here since replays of one row take turns; the histories
//! of `tests/history` catch it.

use std::sync::Arc;

use txguard::app::build::Parts;
use txguard::load::read_then_write::Shape;
use txguard::load::{Mode, Report, read_then_write};
use txguard::txn::replay::Rule;

use crate::support::rules::WritesOnly;
use crate::support::{Backend, Proxy, need, tidb};
use crate::{POLICY, load, progress, turn};

/// How often the load is tried. One round in two catches a rule, more or less; how many updates
/// are lost depends on how the writers' steps happen to meet.
const ROUNDS: usize = 20;

/// Runs the load until it catches the rule, a bounded number of times.
async fn caught(tidb: &Backend, rule: Arc<dyn Rule>, shape: Shape) -> Option<Report> {
    let _turn = turn().await;
    let parts = Parts { rule, ..Parts::default() };
    let proxy = Proxy::start_with(tidb, POLICY, parts).await;
    let address = proxy.address.to_string();
    for round in 0..ROUNDS {
        let mut load = load(&address, Mode::Optimistic, 3);
        load.writers = if round % 2 == 0 { 8 } else { 16 };
        load.seed += round as u64;
        let report = read_then_write::run(&load, shape, &progress())
            .await
            .expect("tables can be made and read");
        eprintln!("{report:?}");
        if !report.is_correct() {
            return Some(report);
        }
    }
    None
}

#[tokio::test]
async fn replaying_only_the_writes_loses_updates() {
    let tidb = need!(tidb::start());
    let report =
        caught(&tidb, Arc::new(WritesOnly), Shape::OneRow).await.expect("the load must notice");
    assert!(report.sum < report.sum_expected, "updates are lost: {report:?}");
}
