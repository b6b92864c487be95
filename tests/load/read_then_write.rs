//! The application computes what it writes. A replay that overlooked a changed read would lose an
//! update; where the read has changed the client gets the original 9007.

use txguard::base::metrics::ReplayOutcome;
use txguard::load::read_then_write::{self, Shape};
use txguard::load::{Mode, Report};

use crate::support::{Proxy, need, tidb};
use crate::{POLICY, load, progress, turn};

const SECONDS: u64 = 6;

pub(crate) async fn run(address: &str, shape: Shape) -> Report {
    read_then_write::run(&load(address, Mode::Optimistic, SECONDS), shape, &progress())
        .await
        .expect("tables can be made and read")
}

#[tokio::test]
async fn one_row_is_refused() {
    let tidb = need!(tidb::start());
    let _turn = turn().await;
    let proxy = Proxy::start(&tidb, POLICY).await;
    let report = run(&proxy.address.to_string(), Shape::OneRow).await;
    eprintln!("{report:?}");
    assert!(report.is_correct(), "{report:?}");
    assert!(report.conflicts.get(&9007).is_some_and(|count| *count > 10), "{report:?}");
    assert!(proxy.replays(ReplayOutcome::Mismatch) > 10);
    proxy.stop().await;
}

#[tokio::test]
async fn crossed_rows_are_replayed_only_where_the_read_still_holds() {
    let tidb = need!(tidb::start());
    let _turn = turn().await;
    let proxy = Proxy::start(&tidb, POLICY).await;
    let report = run(&proxy.address.to_string(), Shape::Crossed { rows: 16 }).await;
    eprintln!("{report:?}");
    assert!(report.is_correct(), "{report:?}");
    assert!(
        proxy.replays(ReplayOutcome::Succeeded) > 10,
        "the conflict on the hot row is replayed"
    );
    assert!(proxy.replays(ReplayOutcome::Mismatch) > 0, "some reads have changed: {report:?}");
    assert!(report.conflicts.contains_key(&9007), "{report:?}");
    proxy.stop().await;
}
