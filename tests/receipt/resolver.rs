//! What the resolver says, and that it stays true.

use std::time::Duration;

use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use tokio::time::Instant;
use txguard::base::clock::{Clock, SystemClock};
use txguard::coordinator::resolver::{Fate, Resolver};
use txguard::store::receipts::ReceiptKey;

use crate::support::client::{code, run};
use crate::support::{Backend, Schema, full, mariadb, need, one, soon, tidb};
use crate::{key, packet, prepare, quick, receipt, resolver, txn};

/// A server with the schema, and a table in which each transaction leaves a mark.
async fn ready(backend: &Backend) -> Schema {
    prepare(backend).await;
    backend.schema(&["CREATE TABLE mark (id INT PRIMARY KEY)"]).await
}

async fn begin(schema: &Schema, how: &str, mark: u32) -> Conn {
    let mut conn = schema.connect().await;
    run(&mut conn, &[how, &format!("INSERT INTO mark VALUES ({mark})")]).await;
    conn
}

async fn is_marked(schema: &Schema, mark: u32) -> bool {
    let mut conn = schema.connect().await;
    let ask = format!("SELECT COUNT(*) FROM mark WHERE id = {mark}");
    one::<u32>(&mut conn, &ask).await == 1
}

async fn asked(resolver: &Resolver, key: ReceiptKey, backend: &Backend) -> Fate {
    soon("a decision", resolver.resolve(key, &backend.address)).await
}

/// The ways to begin a transaction on this server.
fn modes(backend: &Backend) -> &'static [&'static str] {
    if backend.is_tidb { &["BEGIN OPTIMISTIC", "BEGIN PESSIMISTIC"] } else { &["BEGIN"] }
}

#[tokio::test]
async fn a_receipt_tells_of_the_commit() {
    for backend in [need!(tidb::start()), need!(mariadb::start())] {
        let schema = ready(&backend).await;
        for (mark, mode) in (0..).zip(modes(&backend)) {
            let (key, mut client) = (key(), begin(&schema, mode, mark).await);
            run(&mut client, &[&packet(key)]).await;
            for _ in 0..2 {
                assert_eq!(asked(&quick(&backend), key, &backend).await, Fate::Committed);
            }
            assert!(is_marked(&schema, mark).await);
        }
    }
}

#[tokio::test]
async fn what_did_not_commit_never_will() {
    for backend in [need!(tidb::start()), need!(mariadb::start())] {
        let schema = ready(&backend).await;
        for (mark, mode) in (0..).zip(modes(&backend)) {
            let (key, mut client) = (key(), begin(&schema, mode, mark).await);
            for _ in 0..2 {
                assert_eq!(asked(&quick(&backend), key, &backend).await, Fate::NotCommitted);
            }
            let late = client.query_drop(packet(key)).await.expect_err("it comes too late");
            // In optimistic mode the INSERT sees nothing of it, and COMMIT does.
            let expected = if *mode == "BEGIN OPTIMISTIC" { 9007 } else { 1062 };
            assert_eq!(code(&late), Some(expected), "{mode}: {late}");
            run(&mut client, &["ROLLBACK"]).await;
            assert!(!is_marked(&schema, mark).await, "{mode}");
            assert_eq!(asked(&quick(&backend), key, &backend).await, Fate::NotCommitted);
            // The next attempt is another matter.
            let again = ReceiptKey { attempt: 2, ..key };
            let mut client = begin(&schema, mode, mark).await;
            run(&mut client, &[&packet(again)]).await;
            assert_eq!(asked(&quick(&backend), again, &backend).await, Fate::Committed);
        }
    }
}

/// A key that is held is decided by whoever holds it.
#[tokio::test]
async fn a_held_key_is_pending_until_its_holder_decides() {
    for backend in [need!(tidb::start()), need!(mariadb::start())] {
        let schema = ready(&backend).await;
        let mode = modes(&backend).last().expect("one");
        let ends = [("COMMIT", Fate::Committed), ("ROLLBACK", Fate::NotCommitted)];
        for (mark, (end, fate)) in (0..).zip(ends) {
            let (key, mut client) = (key(), begin(&schema, mode, mark).await);
            run(&mut client, &[&receipt(key).insert()]).await;
            let asked_at = Instant::now();
            assert_eq!(asked(&quick(&backend), key, &backend).await, Fate::Pending);
            // As an autocommit statement it would take TiDB 82 seconds.
            assert!(asked_at.elapsed() < Duration::from_secs(20), "{:?}", asked_at.elapsed());
            run(&mut client, &[end]).await;
            assert_eq!(asked(&quick(&backend), key, &backend).await, fate, "{end}");
            assert_eq!(is_marked(&schema, mark).await, fate == Fate::Committed);
        }
    }
}

/// Without a lock on the key, the resolver doesn't wait, and the client's COMMIT loses.
#[tokio::test]
async fn an_insert_that_takes_no_lock_loses() {
    let backend = need!(tidb::start());
    let schema = ready(&backend).await;
    let (key, mut client) = (key(), begin(&schema, "BEGIN PESSIMISTIC", 1).await);
    run(
        &mut client,
        &["SET tidb_constraint_check_in_place_pessimistic = OFF", &receipt(key).insert()],
    )
    .await;
    assert_eq!(asked(&quick(&backend), key, &backend).await, Fate::NotCommitted);
    let late = client.query_drop("COMMIT").await.expect_err("it comes too late");
    assert!(matches!(code(&late), Some(9007 | 1062)), "{late}");
    assert!(!is_marked(&schema, 1).await);
}

/// The client and two resolvers at once, over and over: all that is said agrees with the data.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resolvers_agree_with_each_other_and_with_the_data() {
    let rounds = if full() { 400 } else { 60 };
    for backend in [need!(tidb::start()), need!(mariadb::start())] {
        let schema = ready(&backend).await;
        let mut seen = [0; 2];
        for mark in 0..rounds {
            let modes = modes(&backend);
            let mode = modes[mark as usize % modes.len()];
            let (key, mut client) = (key(), begin(&schema, mode, mark).await);
            let (one, two) = (quick(&backend), quick(&backend));
            let commit = async {
                // A login takes some statements' time: the client's packet comes in between.
                tokio::time::sleep(Duration::from_micros(u64::from(mark) * 200 % 12_000)).await;
                client.query_drop(packet(key)).await
            };
            let (committed, first, second) =
                tokio::join!(commit, asked(&one, key, &backend), asked(&two, key, &backend));
            drop(client);
            let last = asked(&one, key, &backend).await;
            assert_ne!(last, Fate::Pending);
            assert!([last, Fate::Pending].contains(&first), "{first:?} {last:?}");
            assert!([last, Fate::Pending].contains(&second), "{second:?} {last:?}");
            assert_eq!(committed.is_ok(), last == Fate::Committed, "{committed:?}");
            assert_eq!(is_marked(&schema, mark).await, last == Fate::Committed);
            seen[usize::from(last == Fate::Committed)] += 1;
        }
        assert!(seen.iter().all(|count| *count > 0), "one side always wins: {seen:?}");
    }
}

/// A receipt may have been purged: then nothing may be concluded from its absence.
#[tokio::test]
async fn nothing_is_said_of_what_may_have_been_purged() {
    for backend in [need!(tidb::start()), need!(mariadb::start())] {
        let schema = ready(&backend).await;
        let resolver = resolver(&backend.address, "retention = '3d'");
        let begun = |hours: u64| SystemClock.wall() - Duration::from_secs(hours * 3600);
        // 72 hours less the 25 that a COMMIT may be late.
        let old = ReceiptKey { txn: txn(begun(48)), attempt: 1 };
        assert_eq!(asked(&resolver, old, &backend).await, Fate::Pending);
        let mut client = begin(&schema, modes(&backend)[0], 1).await;
        run(&mut client, &[&packet(old)]).await;
        assert_eq!(asked(&resolver, old, &backend).await, Fate::Committed);
        let younger = ReceiptKey { txn: txn(begun(46)), attempt: 1 };
        assert_eq!(asked(&resolver, younger, &backend).await, Fate::NotCommitted);
    }
}

/// Another TiDB serves the same database; another MariaDB may serve another one.
#[tokio::test]
async fn where_the_clients_server_is_gone_only_tidb_is_asked_elsewhere() {
    for backend in [need!(tidb::start()), need!(mariadb::start())] {
        prepare(&backend).await;
        let resolver = resolver(&backend.address, "resolve_limit = '500ms'");
        let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let address = gone.local_addr().expect("bound").to_string();
        drop(gone);
        let fate = soon("a decision", resolver.resolve(key(), &address)).await;
        let expected = if backend.is_tidb { Fate::NotCommitted } else { Fate::Pending };
        assert_eq!(fate, expected);
    }
}
