//! Transactions on the real servers: how they end, what is told of them, what arrives at the
//! server, and that the exact timestamps are those of the server.

use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use txguard::base::metrics::{ReplayOutcome, Side, TransactionOutcome};

use crate::support::client::{code, run};
use crate::support::log::Line;
use crate::support::proxy::policy;
use crate::support::{Backend, Proxy, Schema, connect, eventually, mariadb, need, one, rows, tidb};

const TABLES: &[&str] =
    &["CREATE TABLE t (id INT PRIMARY KEY, v INT)", "INSERT INTO t VALUES (1, 0), (2, 0), (3, 0)"];

/// A tag without replay, so that conflicts reach the client.
const TAG_ONLY: &str = "[[policy]]\nname = \"tag\"\ntag = true\n";

/// What a client does on a connection of its own.
struct Case {
    name: &'static str,
    statements: &'static [&'static str],
    /// Transactions that this is, in the order of their ends: outcome, statements, why it could
    /// not be replayed.
    records: &'static [(&'static str, u64, &'static str)],
}

const CASES: &[Case] = &[
    Case {
        name: "statements in autocommit mode are no transactions",
        statements: &["SELECT 1", "UPDATE t SET v = v + 1", "SET @a = 1", "COMMIT", "ROLLBACK"],
        records: &[],
    },
    Case {
        name: "commit",
        statements: &["BEGIN", "UPDATE t SET v = 1", "SELECT v FROM t", "COMMIT"],
        records: &[("committed", 2, "")],
    },
    Case {
        name: "rollback",
        statements: &["START TRANSACTION", "UPDATE t SET v = 1", "ROLLBACK"],
        records: &[("rolled_back", 1, "")],
    },
    Case {
        name: "empty",
        statements: &["BEGIN", "COMMIT", "begin", "rollback"],
        records: &[("committed", 0, ""), ("rolled_back", 0, "")],
    },
    Case {
        name: "autocommit off",
        statements: &[
            "SET autocommit = 0",
            "UPDATE t SET v = 1",
            "UPDATE t SET v = 2",
            "COMMIT",
            "UPDATE t SET v = 3",
            "ROLLBACK",
            "SELECT 1",
            "COMMIT",
        ],
        records: &[("committed", 2, ""), ("rolled_back", 1, "")],
    },
    Case {
        name: "autocommit on again commits",
        statements: &["SET autocommit = 0", "UPDATE t SET v = 1", "SET autocommit = 1"],
        records: &[("committed", 2, "set")],
    },
    Case {
        name: "DDL commits on its way",
        statements: &[
            "BEGIN",
            "UPDATE t SET v = 1",
            "CREATE TABLE made (a INT)",
            "DROP TABLE made",
        ],
        records: &[("committed", 2, "ddl")],
    },
    Case {
        name: "BEGIN commits the transaction before",
        statements: &["BEGIN", "UPDATE t SET v = 1", "BEGIN", "UPDATE t SET v = 2", "ROLLBACK"],
        records: &[("committed", 1, ""), ("rolled_back", 1, "")],
    },
    Case {
        name: "errors of statements leave it open",
        statements: &["BEGIN", "SELEC", "SELECT * FROM nowhere", "UPDATE t SET v = 1", "COMMIT"],
        records: &[("committed", 3, "other_statement")],
    },
    Case {
        name: "savepoints",
        statements: &["BEGIN", "SAVEPOINT a", "UPDATE t SET v = 1", "ROLLBACK TO a", "COMMIT"],
        records: &[("committed", 3, "")],
    },
    Case {
        name: "several statements in one packet open it",
        statements: &["BEGIN; UPDATE t SET v = 1", "COMMIT", "BEGIN", "COMMIT"],
        records: &[("committed", 0, "begin_not_seen"), ("committed", 0, "")],
    },
    Case {
        name: "several statements in one packet end it",
        statements: &["BEGIN", "UPDATE t SET v = 1; COMMIT", "BEGIN", "COMMIT"],
        records: &[("committed", 1, "multi_statement"), ("committed", 0, "")],
    },
    Case {
        name: "one packet is all of it",
        statements: &["BEGIN; UPDATE t SET v = 1; COMMIT", "BEGIN", "COMMIT"],
        // It passes as a statement would.
        records: &[("committed", 0, "")],
    },
    Case {
        name: "one packet may say how the next one begins",
        statements: &[
            "BEGIN; COMMIT; SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
            "BEGIN",
            "COMMIT",
        ],
        records: &[("committed", 0, "one_shot_characteristics")],
    },
];

#[tokio::test]
async fn transactions_are_tracked_before_tidb() {
    transactions_are_tracked(&need!(tidb::start())).await;
}

#[tokio::test]
async fn transactions_are_tracked_before_mariadb() {
    transactions_are_tracked(&need!(mariadb::start())).await;
}

async fn transactions_are_tracked(backend: &Backend) {
    let schema = backend.schema(TABLES).await;
    let proxy = Proxy::start(backend, policy::RETRY).await;
    let mut wrong = Vec::new();
    for case in CASES {
        let before = proxy.records().len();
        let mut conn = connect(&proxy, &schema).await;
        for statement in case.statements {
            // Errors of the server are part of some cases.
            match conn.query_drop(*statement).await {
                Ok(()) | Err(mysql_async::Error::Server(_)) => {}
                Err(error) => panic!("{}: {statement}: {error}", case.name),
            }
        }
        conn.disconnect().await.expect("a clean end");
        let records = proxy.records().split_off(before);
        let told: Vec<(&str, u64, &str)> = records
            .iter()
            .map(|record| {
                let statements = record.number("statements").expect("always told");
                (record.field("outcome"), statements, record.field("unguarded"))
            })
            .collect();
        if told != case.records {
            wrong.push(format!("{}: {told:?}, expected {:?}", case.name, case.records));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let all = proxy.records();
    let counted: u64 = TransactionOutcome::ALL.iter().map(|one| proxy.transactions(*one)).sum();
    assert_eq!(counted, all.len() as u64, "each record is counted once");
    let ids: Vec<&str> = all.iter().map(|record| record.field("txn")).collect();
    assert!(ids.windows(2).all(|pair| pair[0] < pair[1]), "ids are sorted by BEGIN: {ids:?}");
    let hints: Vec<u64> = all.iter().filter_map(|record| record.number("tso")).collect();
    assert_eq!(hints.len(), all.len(), "each has a hint");
    proxy.stop().await;
}

#[tokio::test]
async fn prepared_transactions_are_tracked_before_tidb() {
    prepared_transactions_are_tracked(&need!(tidb::start())).await;
}

#[tokio::test]
async fn prepared_transactions_are_tracked_before_mariadb() {
    prepared_transactions_are_tracked(&need!(mariadb::start())).await;
}

async fn prepared_transactions_are_tracked(backend: &Backend) {
    let schema = backend.schema(TABLES).await;
    let proxy = Proxy::start(backend, policy::RETRY).await;
    let mut conn = connect(&proxy, &schema).await;
    let exec = async |conn: &mut Conn, statement: &str| {
        conn.exec_drop(statement, ()).await.expect("executes");
    };
    for end in ["COMMIT", "ROLLBACK"] {
        exec(&mut conn, "BEGIN").await;
        conn.exec_drop("UPDATE t SET v = v + ? WHERE id = ?", (5, 1)).await.expect("executes");
        exec(&mut conn, end).await;
    }
    let told: Vec<_> = proxy.records();
    let told: Vec<_> =
        told.iter().map(|record| (record.field("outcome"), record.field("unguarded"))).collect();
    assert_eq!(told, [("committed", ""), ("rolled_back", "")]);
    assert_eq!(one::<i64>(&mut conn, "SELECT v FROM t WHERE id = 1").await, 5);
    drop(conn);
    proxy.stop().await;
}

#[tokio::test]
async fn a_client_that_leaves_rolls_back() {
    for backend in [need!(tidb::start()), need!(mariadb::start())] {
        let schema = backend.schema(TABLES).await;
        let proxy = Proxy::start(&backend, policy::RETRY).await;
        let mut conn = connect(&proxy, &schema).await;
        run(&mut conn, &["BEGIN", "UPDATE t SET v = 77 WHERE id = 1"]).await;
        let mut other = connect(&proxy, &schema).await;
        run(&mut other, &["BEGIN", "UPDATE t SET v = 77 WHERE id = 2"]).await;
        other.reset().await.expect("COM_RESET_CONNECTION");
        assert_eq!(proxy.transactions(TransactionOutcome::RolledBack), 1, "a reset rolls back");
        drop(conn);
        eventually("the client is gone", || {
            proxy.transactions(TransactionOutcome::RolledBack) == 2
        })
        .await;
        let mut direct = schema.connect().await;
        assert_eq!(one::<i64>(&mut direct, "SELECT SUM(v) FROM t").await, 0);
        drop(other);
        eventually("all are gone", || proxy.metrics().connections(Side::Backend) == 0).await;
        proxy.stop().await;
    }
}

/// A conflict at COMMIT: the transaction of `conn` read and wrote before `direct` wrote.
async fn collide(conn: &mut Conn, schema: &Schema, before: &[&str]) -> mysql_async::Result<()> {
    run(conn, before).await;
    run(&mut schema.connect().await, &["UPDATE t SET v = v + 100 WHERE id = 1"]).await;
    conn.query_drop("COMMIT").await
}

#[tokio::test]
async fn conflicts_and_failures_are_told_before_tidb() {
    let tidb = need!(tidb::start());
    let schema = tidb.schema(TABLES).await;
    let proxy = Proxy::start(&tidb, TAG_ONLY).await;
    let mut conn = connect(&proxy, &schema).await;
    let before = ["BEGIN OPTIMISTIC", "UPDATE t SET v = v + 1 WHERE id = 1"];
    let error = collide(&mut conn, &schema, &before).await.expect_err("a conflict");
    assert_eq!(code(&error), Some(9007));
    // The unique key is checked at COMMIT.
    run(&mut conn, &["BEGIN OPTIMISTIC", "INSERT INTO t VALUES (1, 1)"]).await;
    let error = conn.query_drop("COMMIT").await.expect_err("a duplicate");
    assert_eq!(code(&error), Some(1062));
    run(&mut conn, &["BEGIN", "COMMIT"]).await;
    let records = proxy.records();
    let told: Vec<_> =
        records.iter().map(|record| (record.field("outcome"), record.field("code"))).collect();
    assert_eq!(told, [("conflict", "9007"), ("failed", "1062"), ("committed", "")]);
    drop(conn);
    proxy.stop().await;
}

#[tokio::test]
async fn conflicts_are_told_before_mariadb() {
    let mariadb = need!(mariadb::start());
    let schema = mariadb.schema(TABLES).await;
    let proxy = Proxy::start(&mariadb, TAG_ONLY).await;
    let mut conn = connect(&proxy, &schema).await;
    run(&mut conn, &["BEGIN", "SELECT v FROM t WHERE id = 2"]).await;
    run(&mut schema.connect().await, &["UPDATE t SET v = v + 100 WHERE id = 1"]).await;
    let error = conn.query_drop("UPDATE t SET v = v + 1 WHERE id = 1").await;
    assert_eq!(code(&error.expect_err("a changed row")), Some(1020));
    assert_eq!(proxy.transactions(TransactionOutcome::Conflict), 1);
    drop(conn);
    proxy.stop().await;
}

#[tokio::test]
async fn a_conflict_is_replayed_before_tidb() {
    let tidb = need!(tidb::start());
    let schema = tidb.schema(TABLES).await;
    let proxy = Proxy::start(&tidb, policy::RETRY_EXACT).await;
    let mut conn = connect(&proxy, &schema).await;
    let before =
        ["BEGIN OPTIMISTIC", "SELECT v FROM t WHERE id = 2", "UPDATE t SET v = v + 1 WHERE id = 1"];
    collide(&mut conn, &schema, &before).await.expect("the conflict is not seen");
    let (start_ts, commit_ts) = last_txn_info(&mut conn).await;
    assert_eq!(one::<i64>(&mut conn, "SELECT v FROM t WHERE id = 1").await, 101);
    let record = last_record(&proxy);
    assert_eq!((record.field("outcome"), record.field("replay")), ("committed", "succeeded"));
    assert_eq!((record.number("attempts"), record.number("replay_code")), (Some(2), Some(9007)));
    // They are those of the run that was committed.
    assert_eq!(record.number("start_ts"), Some(start_ts));
    assert_eq!(record.number("commit_ts"), Some(commit_ts));

    // What was read has changed: the client has to know.
    let before =
        ["BEGIN OPTIMISTIC", "SELECT v FROM t WHERE id = 1", "UPDATE t SET v = 7 WHERE id = 1"];
    let error = collide(&mut conn, &schema, &before).await.expect_err("the conflict is seen");
    assert_eq!(code(&error), Some(9007));
    assert_eq!(one::<i64>(&mut conn, "SELECT v FROM t WHERE id = 1").await, 201);
    let record = last_record(&proxy);
    assert_eq!((record.field("outcome"), record.field("replay")), ("conflict", "mismatch"));
    assert_eq!(proxy.replays(ReplayOutcome::Succeeded), 1);
    assert_eq!(proxy.replays(ReplayOutcome::Mismatch), 1);
    drop(conn);
    proxy.stop().await;
}

#[tokio::test]
async fn a_conflict_is_replayed_before_mariadb() {
    let mariadb = need!(mariadb::start());
    let schema = mariadb.schema(TABLES).await;
    let proxy = Proxy::start(&mariadb, policy::RETRY).await;
    let mut conn = connect(&proxy, &schema).await;
    for (read, replay, outcome) in [(2, "succeeded", "committed"), (1, "mismatch", "conflict")] {
        run(&mut conn, &["BEGIN", &format!("SELECT v FROM t WHERE id = {read}")]).await;
        run(&mut schema.connect().await, &["UPDATE t SET v = v + 100 WHERE id = 1"]).await;
        let update = conn.query_drop("UPDATE t SET v = v + 1 WHERE id = 1").await;
        assert_eq!(update.as_ref().err().and_then(code), (read == 1).then_some(1020));
        run(&mut conn, &["COMMIT"]).await;
        let record = last_record(&proxy);
        assert_eq!((record.field("replay"), record.field("outcome")), (replay, outcome));
    }
    assert_eq!(one::<i64>(&mut conn, "SELECT v FROM t WHERE id = 1").await, 201);
    drop(conn);
    proxy.stop().await;
}

const OWN_TEXT: &str = "SELECT info FROM information_schema.processlist WHERE id = CONNECTION_ID()";

#[tokio::test]
async fn tags_arrive() {
    const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    for backend in [need!(tidb::start()), need!(mariadb::start())] {
        let schema = backend.schema(TABLES).await;
        let proxy = Proxy::start(&backend, policy::RETRY).await;
        let mut conn = connect(&proxy, &schema).await;
        let text = async |conn: &mut Conn| one::<String>(conn, OWN_TEXT).await;
        assert_eq!(text(&mut conn).await, OWN_TEXT, "outside of a transaction there is no tag");
        let begin = format!("/*traceparent='{TRACEPARENT}'*/ BEGIN");
        run(&mut conn, &[&begin]).await;
        let tagged = text(&mut conn).await;
        let prepared: String = conn.exec_first(OWN_TEXT, ()).await.expect("runs").expect("a row");
        run(&mut conn, &["COMMIT"]).await;
        assert_eq!(text(&mut conn).await, OWN_TEXT);
        let record = last_record(&proxy);
        let (txn, tso) = (record.field("txn"), record.field("tso"));
        assert_eq!(
            tagged,
            format!(
                "/*attempt='1',traceparent='{TRACEPARENT}',tso='{tso}',txn='{txn}'*/ {OWN_TEXT}"
            )
        );
        assert_eq!(prepared, OWN_TEXT, "a prepared text has no tag of one transaction");
        assert_eq!(record.field("traceparent"), TRACEPARENT);
        drop(conn);
        proxy.stop().await;
    }
}

#[tokio::test]
async fn the_alias_arrives_before_tidb() {
    const ALIAS: &str = "SELECT @@tidb_session_alias";
    let tidb = need!(tidb::start());
    let schema = tidb.schema(TABLES).await;
    let proxy = Proxy::start(&tidb, policy::EXACT).await;
    let mut conn = connect(&proxy, &schema).await;
    for end in ["COMMIT", "ROLLBACK"] {
        assert_eq!(one::<String>(&mut conn, ALIAS).await, "");
        run(&mut conn, &["BEGIN", "UPDATE t SET v = v + 1"]).await;
        let text: String = conn.exec_first(ALIAS, ()).await.expect("runs").expect("a row");
        assert_eq!(one::<String>(&mut conn, OWN_TEXT).await, OWN_TEXT, "no comment");
        run(&mut conn, &[end]).await;
        assert_eq!(one::<String>(&mut conn, ALIAS).await, "");
        assert_eq!(text, last_record(&proxy).field("txn"));
    }
    drop(conn);
    proxy.stop().await;
}

#[tokio::test]
async fn mariadb_gets_no_statement_that_only_tidb_knows() {
    let mariadb = need!(mariadb::start());
    let schema = mariadb.schema(TABLES).await;
    let proxy = Proxy::start(&mariadb, policy::EXACT).await;
    let mut conn = connect(&proxy, &schema).await;
    run(&mut conn, &["BEGIN", "UPDATE t SET v = v + 1", "COMMIT"]).await;
    let questions: Vec<(String, u64)> =
        rows(&mut conn, "SHOW SESSION STATUS LIKE 'Questions'").await;
    let questions = questions[0].1;
    // The four above; the driver sends none of its own.
    assert_eq!(questions, 4);
    assert_eq!(last_record(&proxy).number("start_ts"), None);
    drop(conn);
    proxy.stop().await;
}

/// What the server tells a client of its last transaction that wrote.
async fn last_txn_info(conn: &mut Conn) -> (u64, u64) {
    let text: String = one(conn, "SELECT @@tidb_last_txn_info").await;
    if text.is_empty() {
        return (0, 0);
    }
    let info: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let number = |name: &str| info[name].as_u64().expect("a timestamp");
    (number("start_ts"), number("commit_ts"))
}

fn last_record(proxy: &Proxy) -> Line {
    proxy.records().pop().expect("a record")
}

/// What a transaction does between BEGIN and its end, and whether that has an effect.
struct Exact {
    name: &'static str,
    begin: &'static str,
    statements: &'static [&'static str],
    end: &'static str,
    wrote: bool,
}

const EXACT: &[Exact] = &[
    Exact {
        name: "a write",
        begin: "BEGIN",
        statements: &["UPDATE t SET v = v + 1 WHERE id = 1"],
        end: "COMMIT",
        wrote: true,
    },
    Exact {
        name: "an optimistic write",
        begin: "BEGIN OPTIMISTIC",
        statements: &["UPDATE t SET v = v + 1 WHERE id = 1"],
        end: "COMMIT",
        wrote: true,
    },
    Exact {
        name: "read-only",
        begin: "BEGIN",
        statements: &["SELECT * FROM t"],
        end: "COMMIT",
        wrote: false,
    },
    Exact {
        name: "an update of no row",
        begin: "BEGIN",
        statements: &["UPDATE t SET v = v + 1 WHERE v = -1"],
        end: "COMMIT",
        wrote: false,
    },
    Exact {
        name: "a lock on a row that is not there, which the server commits",
        begin: "BEGIN",
        statements: &["UPDATE t SET v = v + 1 WHERE id = 99"],
        end: "COMMIT",
        wrote: true,
    },
    Exact {
        name: "an optimistic update of no row",
        begin: "BEGIN OPTIMISTIC",
        statements: &["UPDATE t SET v = v + 1 WHERE id = 99"],
        end: "COMMIT",
        wrote: false,
    },
    Exact { name: "nothing", begin: "BEGIN", statements: &[], end: "COMMIT", wrote: false },
    Exact {
        name: "a write behind them",
        begin: "BEGIN",
        statements: &["INSERT INTO t VALUES (50, 1)", "DELETE FROM t WHERE id = 50"],
        end: "COMMIT",
        wrote: true,
    },
];

#[tokio::test]
async fn exact_timestamps_are_the_servers_own() {
    let tidb = need!(tidb::start());
    let schema = tidb.schema(TABLES).await;
    for policy in [policy::EXACT, policy::RETRY_EXACT] {
        let proxy = Proxy::start(&tidb, policy).await;
        let mut conn = connect(&proxy, &schema).await;
        for autocommit_between in [false, true] {
            for case in EXACT {
                if autocommit_between {
                    // Now the last transaction that wrote is this one, not ours before.
                    run(&mut conn, &["UPDATE t SET v = v + 1 WHERE id = 2"]).await;
                }
                run(&mut conn, &[case.begin]).await;
                let current: u64 =
                    one(&mut conn, "SELECT CAST(@@tidb_current_ts AS UNSIGNED)").await;
                run(&mut conn, case.statements).await;
                run(&mut conn, &[case.end]).await;
                let (start_ts, commit_ts) = last_txn_info(&mut conn).await;
                let record = last_record(&proxy);
                assert_eq!(record.field("outcome"), "committed", "{}", case.name);
                assert_eq!(record.number("start_ts"), Some(current), "{}", case.name);
                let expected = case.wrote.then_some(commit_ts);
                assert_eq!(record.number("commit_ts"), expected, "{}", case.name);
                assert_eq!(start_ts == current, case.wrote, "{}: the case itself", case.name);
            }
        }
        run(&mut conn, &["BEGIN", "UPDATE t SET v = v + 1", "ROLLBACK"]).await;
        let record = last_record(&proxy);
        assert_eq!(record.field("outcome"), "rolled_back");
        assert_eq!(record.number("commit_ts"), None);
        drop(conn);
        proxy.stop().await;
    }
}

#[tokio::test]
async fn a_commit_that_failed_has_no_commit_timestamp() {
    let tidb = need!(tidb::start());
    let schema = tidb.schema(TABLES).await;
    let proxy = Proxy::start(&tidb, policy::EXACT).await;
    let mut conn = connect(&proxy, &schema).await;
    let before = ["BEGIN OPTIMISTIC", "UPDATE t SET v = v + 1 WHERE id = 1"];
    collide(&mut conn, &schema, &before).await.expect_err("a conflict");
    let (start_ts, commit_ts) = last_txn_info(&mut conn).await;
    assert_eq!(commit_ts, 0);
    let record = last_record(&proxy);
    assert_eq!(record.field("outcome"), "conflict");
    assert_eq!((record.number("start_ts"), record.number("commit_ts")), (Some(start_ts), None));
    drop(conn);
    proxy.stop().await;
}
