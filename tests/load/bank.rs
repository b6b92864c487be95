//! The bank: 8 writers, 10 rows, relative updates. Through txguard no conflict reaches the client,
//! the sum stays, and acknowledged commits are the applied ones.

use std::sync::Arc;

use txguard::base::metrics::ReplayOutcome;
use txguard::base::tasks::Tasks;
use txguard::embedded::{engine::Engine, front};
use txguard::load::{Mode, Report, bank};

use crate::support::{Backend, Proxy, full, mariadb, need, tidb};
use crate::{POLICY, load, progress, turn};

/// The ten seconds.
const SECONDS: u64 = 10;

async fn run(address: &str, mode: Mode, seconds: u64) -> Report {
    bank::run(&load(address, mode, seconds), &bank::Bank::default(), &progress())
        .await
        .expect("tables can be made and read")
}

fn check(report: &Report) {
    assert!(report.is_correct(), "{report:?}");
    assert!(report.other_errors.is_empty(), "{report:?}");
    assert!(report.commits > 50, "{report:?}");
}

async fn through_txguard(backend: &Backend, mode: Mode, code: &str) -> Report {
    let proxy = Proxy::start(backend, POLICY).await;
    let report = run(&proxy.address.to_string(), mode, SECONDS).await;
    check(&report);
    assert_eq!(report.conflicts_total(), 0, "{report:?}");
    let replays = proxy.replays(ReplayOutcome::Succeeded);
    eprintln!("{mode:?}: {} commits, {replays} replays of {code}, {report:?}", report.commits);
    proxy.stop().await;
    report
}

#[tokio::test]
async fn optimistic_on_tidb() {
    let tidb = need!(tidb::start());
    let _turn = turn().await;
    let direct = run(&tidb.address, Mode::Optimistic, 3).await;
    check(&direct);
    let share = direct.conflicts_total() * 100 / (direct.conflicts_total() + direct.commits);
    eprintln!("direct: {share} % of transactions end in 9007: {direct:?}");
    assert!(share >= 20, "without txguard the load collides: {direct:?}");
    assert!(direct.conflicts.contains_key(&9007), "{direct:?}");
    through_txguard(&tidb, Mode::Optimistic, "9007").await;
}

#[tokio::test]
async fn pessimistic_on_tidb() {
    let tidb = need!(tidb::start());
    let _turn = turn().await;
    let direct = run(&tidb.address, Mode::Pessimistic, 3).await;
    check(&direct);
    assert!(direct.conflicts.contains_key(&1213), "without txguard deadlocks: {direct:?}");
    through_txguard(&tidb, Mode::Pessimistic, "1213").await;
}

#[tokio::test]
async fn on_mariadb() {
    let mariadb = need!(mariadb::start());
    let _turn = turn().await;
    let direct = run(&mariadb.address, Mode::Default, 3).await;
    check(&direct);
    assert!(direct.conflicts_total() > 0, "without txguard conflicts: {direct:?}");
    through_txguard(&mariadb, Mode::Default, "1213 and 1020").await;
}

#[tokio::test]
async fn on_the_embedded_backend() {
    let _turn = turn().await;
    let tasks = Tasks::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    tasks.spawn(front::serve(listener, Arc::new(Engine::new()), tasks.token().clone()));
    let backend = Backend { address, is_tidb: false, outside: false, ca: String::new() };
    let seconds = if full() { SECONDS } else { 3 };
    let direct = run(&backend.address, Mode::Optimistic, seconds).await;
    check(&direct);
    assert!(direct.conflicts.contains_key(&9007), "{direct:?}");
    through_txguard(&backend, Mode::Optimistic, "9007").await;
    tasks.cancel();
    tasks.wait().await;
}
