//! PD against a real TiDB, by the service account: is it this backend's, and what do its clocks show.

use std::collections::HashSet;

use mysql_async::prelude::Queryable;
use txguard::app::build::Parts;
use txguard::base::types::Tso;

use super::over_tcp::listen;
use super::support::proxy::configuration;
use super::support::{Backend, Proxy, connect_to, eventually, need, tidb};
use super::*;
use crate::server::Mood;

/// Before both, with an account to compare them.
async fn between(tidb: &Backend, fake: &Fake, account: &str) -> Proxy {
    let at = &fake.addresses()[0];
    let toml = format!("[tso]\npd = ['{at}']\n[[policy]]\nname = 'all'\ntag = true\ntso = 'exact'");
    let service = format!("service_user = '{account}'\n[log]");
    let text = configuration(&tidb.address, &toml).replace("[log]", &service);
    Proxy::start_text(&text, Parts::default()).await
}

/// A series as it is shown.
fn shown(proxy: &Proxy, series: &str) -> Option<f64> {
    let text = proxy.metrics().render();
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.map(|value| value.parse().expect("a number"))
}

const FOREIGN: &str = "txguard_tso_foreign_backends";
const BACKEND: &str = "txguard_tso_drift_seconds{against=\"backend\"}";
const WAITS: &str = "txguard_tso_wait_seconds_count";

/// Runs so many transactions that write, and brings the hint and start_ts of each.
async fn transactions(proxy: &Proxy, table: &str, count: usize) -> Vec<(Option<u64>, u64)> {
    let before = proxy.records().len();
    let mut conn = connect_to(&proxy.address.to_string(), None).await;
    for _ in 0..count {
        for statement in ["BEGIN", &format!("INSERT INTO {table} VALUES (1)"), "COMMIT"] {
            conn.query_drop(statement).await.expect("OK");
        }
    }
    drop(conn);
    let written = || -> Vec<_> {
        let new = proxy.records().split_off(before);
        let exact = |one: &Line| Some((one.number("tso"), one.number("start_ts")?));
        new.iter().filter_map(exact).collect()
    };
    eventually("their records", || written().len() >= count).await;
    written()
}

/// How often that was logged.
fn told(proxy: &Proxy, text: &str) -> usize {
    proxy.lines().iter().filter(|line| line.field("message").contains(text)).count()
}

#[tokio::test]
async fn a_hint_of_the_backends_own_pd_is_never_later_than_start_ts() {
    let tidb: Backend = need!(tidb::start());
    let schema = tidb.schema(&["CREATE TABLE t (v INT)"]).await;
    let table = format!("{}.t", schema.name);
    let fake = listen(None).await;
    fake.become_pd_of(&tidb).await;
    let proxy = between(&tidb, &fake, "root").await;
    eventually("both are compared", || shown(&proxy, BACKEND).is_some()).await;
    let count = if support::full() { 2_000 } else { 200 };
    let all = transactions(&proxy, &table, count).await;
    assert_eq!(all.len(), count);
    let (mut hints, mut latest) = (HashSet::new(), 0);
    for (hint, start_ts) in all {
        let hint = hint.expect("PD is the backend's");
        assert!(hint < start_ts, "{hint} is not earlier than {start_ts}");
        // As recent as is promised, with patience for a busy machine.
        let age = Tso(start_ts).physical_ms() - Tso(hint).physical_ms();
        latest = age.max(latest);
        hints.insert(hint);
    }
    assert!(latest < 3_000, "a hint was {latest} ms old");
    assert!(hints.len() > 1, "hints move on");
    assert_eq!(shown(&proxy, FOREIGN), Some(0.0));
    // It is this machine's clock that TiDB and its PD have.
    assert!(shown(&proxy, BACKEND).expect("known").abs() < 0.05);
    // While PD doesn't answer nothing is compared, and the last hint is as right as it was.
    fake.all(Mood::Down);
    eventually("no drift is known", || shown(&proxy, BACKEND).is_none()).await;
    eventually("it is lost", || told(&proxy, "PD is lost") == 1).await;
    let all = transactions(&proxy, &table, 20).await;
    assert!(
        all.iter().all(|(hint, start_ts)| hint.is_some_and(|hint| hint < *start_ts)),
        "{all:?}"
    );
    fake.all(Mood::Well);
    eventually("compared again", || shown(&proxy, BACKEND).is_some()).await;
    assert_eq!(told(&proxy, "too far from another") + told(&proxy, "another PD's"), 0);
    proxy.stop().await;
}

#[tokio::test]
async fn hints_of_another_pd_are_withheld_until_it_is_the_backends_own() {
    let tidb: Backend = need!(tidb::start());
    let schema = tidb.schema(&["CREATE TABLE t (v INT)"]).await;
    let table = format!("{}.t", schema.name);
    // This PD's clock stands in 2023.
    let fake = listen(None).await;
    let proxy = between(&tidb, &fake, "root").await;
    // Not one of the first transactions has a hint, nor one of those behind the first round.
    for _ in 0..2 {
        let all = transactions(&proxy, &table, 20).await;
        assert!(all.iter().all(|(hint, _)| hint.is_none()), "{all:?}");
        eventually("both are compared", || shown(&proxy, FOREIGN) == Some(1.0)).await;
        assert!(shown(&proxy, WAITS) > Some(1.0), "there are timestamps");
    }
    assert!(shown(&proxy, BACKEND).expect("known") < -1e7, "years behind");
    assert_eq!(told(&proxy, "the backend is another PD's"), 1);
    let far = || told(&proxy, "too far from another");
    eventually("the drift of this machine's clock, and of TiDB's", || far() == 2).await;
    fake.become_pd_of(&tidb).await;
    eventually("compared again", || shown(&proxy, FOREIGN) == Some(0.0)).await;
    let all = transactions(&proxy, &table, 20).await;
    assert!(
        all.iter().all(|(hint, start_ts)| hint.is_some_and(|hint| hint < *start_ts)),
        "{all:?}"
    );
    assert_eq!(told(&proxy, "this PD's again"), 1);
    eventually("no drift any more", || told(&proxy, "is near again") == 2).await;
    assert_eq!(far(), 2);
    proxy.stop().await;
}

#[tokio::test]
async fn a_backend_that_says_another_cluster_is_another_pds() {
    // It tells from 8.5.6 on; before, the row is any row.
    let own = need!(tidb::Own::start());
    let tidb = own.backend();
    let row = "INSERT INTO mysql.tidb VALUES ('cluster_id', '8', '') \
               ON DUPLICATE KEY UPDATE variable_value = ";
    tidb.run(&[&format!("{row} '8'"), "CREATE TABLE test.t (v INT)"]).await;
    // It says that it is 7, with timestamps that are all right.
    let fake = listen(None).await;
    fake.become_pd_of(&tidb).await;
    let proxy = between(&tidb, &fake, "root").await;
    eventually("both are compared", || shown(&proxy, FOREIGN) == Some(1.0)).await;
    let all = transactions(&proxy, "test.t", 5).await;
    assert!(all.iter().all(|(hint, _)| hint.is_none()), "{all:?}");
    let why = |line: &Line| line.field("foreign").contains("it is of cluster 8, and PD of 7");
    assert!(proxy.lines().iter().any(why));
    tidb.run(&[&format!("{row} '7'")]).await;
    eventually("compared again", || shown(&proxy, FOREIGN) == Some(0.0)).await;
    let all = transactions(&proxy, "test.t", 5).await;
    assert!(all.iter().all(|(hint, _)| hint.is_some()), "{all:?}");
    proxy.stop().await;
}

#[tokio::test]
async fn cached_timestamps_are_no_sign_of_another_pd() {
    let own = need!(tidb::Own::start());
    let tidb = own.backend();
    // For every account but a SUPER's.
    let cached = "SET GLOBAL init_connect = 'SET SESSION tidb_low_resolution_tso = 1'";
    tidb.run(&["CREATE USER 'watch'", cached]).await;
    let fake = listen(None).await;
    fake.become_pd_of(&tidb).await;
    let proxy = between(&tidb, &fake, "watch").await;
    eventually("both are compared", || shown(&proxy, BACKEND).is_some()).await;
    assert_eq!(shown(&proxy, FOREIGN), Some(0.0));
    assert_eq!(told(&proxy, "another PD's"), 0);
    proxy.stop().await;
}
