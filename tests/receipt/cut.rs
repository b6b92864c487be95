//! The resolver's connection cut at each byte of its exchange, in both directions: asked again, it
//! comes to the one right answer.

use std::sync::Arc;

use mysql_async::prelude::Queryable;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use txguard::coordinator::resolver::Fate;

use crate::link::{Cut, Link, Victim};
use crate::support::{Backend, full, mariadb, need, soon, tidb};
use crate::{key, packet, prepare, resolver};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_exchange_is_repeated_with_the_same_verdict() {
    for backend in [need!(tidb::start()), need!(mariadb::start())] {
        prepare(&backend).await;
        let mut cases = 0;
        for committed in [false, true] {
            let whole =
                verdict(&backend, committed, Cut { direction: 0, behind: usize::MAX }).await;
            for (direction, bytes) in whole.into_iter().enumerate() {
                assert!(bytes > 100, "an exchange was seen: {bytes}");
                cases += cut_everywhere(&backend, committed, direction, bytes).await;
            }
        }
        assert!(cases > 100, "{cases}");
    }
}

async fn cut_everywhere(
    backend: &Backend,
    committed: bool,
    direction: usize,
    bytes: usize,
) -> usize {
    // A prime, so that the rounds of all runs together touch each place of a packet.
    let step = if full() { 1 } else { 7 };
    let (permits, mut running) = (Arc::new(Semaphore::new(16)), JoinSet::new());
    for behind in (0..=bytes).step_by(step) {
        let (backend, permits) = (backend.clone(), permits.clone());
        running.spawn(async move {
            let _permit = permits.acquire_owned().await.expect("open");
            verdict(&backend, committed, Cut { direction, behind }).await
        });
    }
    running.join_all().await.len()
}

/// Asks through a connection that is cut, and compares with what must come out. Returns the bytes
/// that went through the first connection.
async fn verdict(backend: &Backend, committed: bool, cut: Cut) -> [usize; 2] {
    let key = key();
    if committed {
        let mut client = backend.connect().await;
        client.query_drop(format!("BEGIN;{}", packet(key))).await.expect("committed");
    }
    let expected = if committed { Fate::Committed } else { Fate::NotCommitted };
    let link = Link::before(backend, Victim::First).await;
    link.arm(cut);
    let resolver = resolver(&link.address, "resolve_limit = '25s'\nlock_timeout = '5s'");
    let fate = soon("a decision", resolver.resolve(key, &link.address)).await;
    assert_eq!(fate, expected, "{cut:?}");
    let direct = crate::resolver(&backend.address, "");
    let again = soon("a decision", direct.resolve(key, &backend.address)).await;
    assert_eq!(again, expected, "{cut:?}, asked directly");
    link.passed()
}
