//! What a client hears around its transactions, with receipts and without txguard.

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row};
use txguard::app::build::Parts;
use txguard::base::metrics::ReceiptOutcome;

use crate::support::client::options;
use crate::support::raw::{Raw, Shape, caps, com, command};
use crate::support::{Backend, Proxy, Schema, eventually, mariadb, need, soon, tidb};
use crate::{ACCOUNT, prepare};

const WRITE: &str = "INSERT INTO t (v) VALUES (1)";
const PAIR: &str = "INSERT INTO t (v) VALUES (1), (2)";

/// What both servers leave alone.
const EVERYWHERE: &[&[&str]] = &[
    &["SELECT 7", "BEGIN", "SELECT ROW_COUNT(), LAST_INSERT_ID()", "ROLLBACK"],
    &["BEGIN", PAIR, "COMMIT", "SELECT ROW_COUNT()", "SELECT LAST_INSERT_ID()"],
    &["BEGIN", WRITE, "SELECT LAST_INSERT_ID(5)", "COMMIT", "SELECT LAST_INSERT_ID()"],
    &["BEGIN", PAIR, "SELECT v FROM t", "COMMIT", "SELECT FOUND_ROWS()"],
    &["BEGIN", WRITE, "COMMIT garbage", "COMMIT", "SELECT COUNT(*) FROM t"],
    &["BEGIN", WRITE, "COMMIT /*! AND CHAIN */", WRITE, "ROLLBACK", "SELECT COUNT(*) FROM t"],
    &[
        "SET TRANSACTION ISOLATION LEVEL READ COMMITTED",
        "BEGIN",
        "SELECT COUNT(*) FROM t",
        "@INSERT",
        "SELECT COUNT(*) FROM t",
        "COMMIT",
    ],
    &["SET TRANSACTION READ ONLY", "BEGIN", "SELECT 1", "COMMIT", "BEGIN", WRITE, "COMMIT"],
    &["SET autocommit=0", WRITE, "COMMIT", "SELECT ROW_COUNT()", "SELECT FOUND_ROWS()", "COMMIT"],
    &["SET sql_mode='ANSI_QUOTES,NO_BACKSLASH_ESCAPES'", "BEGIN", WRITE, "COMMIT"],
    &["SET timestamp=1", "BEGIN", WRITE, "COMMIT"],
];

const ON_TIDB: &[&[&str]] = &[
    &["SELECT CAST('x' AS SIGNED)", "BEGIN", "SHOW WARNINGS", "ROLLBACK"],
    &["BEGIN", WRITE, "INSERT IGNORE INTO t (v) VALUES ('x')", "COMMIT", "SHOW WARNINGS"],
    &["BEGIN", WRITE, "INSERT INTO t (id, v) VALUES (1, 1)", "COMMIT", "SHOW WARNINGS"],
    &["BEGIN", PAIR, "COMMIT", "SELECT FOUND_ROWS()"],
    &["SET tidb_constraint_check_in_place_pessimistic=OFF", "BEGIN", WRITE, "COMMIT"],
    // 1105 to whoever writes: the COMMIT goes alone.
    &["DO SLEEP(0.1)", "START TRANSACTION READ ONLY AS OF TIMESTAMP NOW(3)", "SELECT 1", "COMMIT"],
    &["SET tidb_snapshot=NOW(3)", "BEGIN", "SELECT 1", "COMMIT"],
];

const ON_MARIADB: &[&[&str]] = &[
    // 1100.
    &[
        "SET autocommit=0",
        "LOCK TABLES t WRITE",
        WRITE,
        "COMMIT",
        "UNLOCK TABLES",
        "SELECT COUNT(*) FROM t",
    ],
    // 1223.
    &["FLUSH TABLES WITH READ LOCK", "BEGIN", "SELECT 1", "COMMIT", "UNLOCK TABLES"],
    // 1792.
    &["START TRANSACTION READ ONLY", "SELECT COUNT(*) FROM t", "COMMIT"],
    // 1399.
    &["XA START 'x'", WRITE, "XA END 'x'", "COMMIT", "XA ROLLBACK 'x'", "SELECT COUNT(*) FROM t"],
    &["XA START 'y'", WRITE, "COMMIT", "XA END 'y'", "XA ROLLBACK 'y'", "SELECT COUNT(*) FROM t"],
];

/// One statement's answer in words.
async fn hear(conn: &mut Conn, text: &str) -> String {
    let mut answer = match soon(text, conn.query_iter(text)).await {
        Ok(answer) => answer,
        Err(mysql_async::Error::Server(error)) => return format!("{text}: error {}", error.code),
        Err(error) => panic!("{text}: {error}"),
    };
    let done = (answer.affected_rows(), answer.last_insert_id(), answer.warnings());
    let rows: Vec<Row> = soon(text, answer.collect()).await.expect("rows");
    let rows: Vec<_> = rows.into_iter().map(Row::unwrap).collect();
    format!("{text}: {done:?} {rows:?}")
}

/// All answers of a script to a user of whom nothing is known yet.
async fn run(
    backend: &Backend,
    address: &str,
    (user, may_all): (&str, bool),
    script: &[&str],
) -> Vec<String> {
    let schema: Schema =
        backend.schema(&["CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, v INT)"]).await;
    let own = format!("{}.*", schema.name);
    backend
        .run(&[
            &format!("DROP USER IF EXISTS {user}@'%'"),
            &format!("CREATE USER {user}@'%'"),
            &format!("GRANT ALL ON {} TO {user}@'%'", if may_all { "*.*" } else { &own }),
        ])
        .await;
    let options = options(address, Some(&schema.name)).user(Some(user));
    let mut conn = soon("a login", Conn::new(options)).await.expect("a connection");
    let mut heard = Vec::new();
    for text in script {
        match *text {
            "@INSERT" => {
                backend.run(&[&format!("INSERT INTO {}.t (v) VALUES (1)", schema.name)]).await
            }
            text => heard.push(hear(&mut conn, text).await.replace(&schema.name, "s")),
        }
    }
    heard
}

async fn start(backend: &Backend, policy: &str) -> Proxy {
    let text = format!(
        "[listen]\nmysql = '127.0.0.1:0'\nhttp = ''\n\
         [backend]\naddresses = ['{}']\nservice_user = '{ACCOUNT}'\n\
         [[policy]]\nname = 'receipts'\nreceipt = true\n{policy}",
        backend.address
    );
    let proxy = Proxy::start_text(&text, Parts::default()).await;
    let ready = || proxy.metrics().render().contains("\ntxguard_receipts_ready 1\n");
    eventually("the tables are found", ready).await;
    proxy
}

async fn compare(backend: &Backend, more: &[&[&str]]) {
    prepare(backend).await;
    for (place, policy) in ["", "retry = {}\ntag = 'alias'\ntso = 'exact'\n"].iter().enumerate() {
        let proxy = start(backend, policy).await;
        for (number, script) in EVERYWHERE.iter().chain(more).enumerate() {
            let user = format!("transparent_{place}_{number}");
            let direct = run(backend, &backend.address, (&user, true), script).await;
            let through = run(backend, &proxy.address.to_string(), (&user, true), script).await;
            assert_eq!(direct, through, "{policy}");
        }
        assert!(proxy.metrics().receipts(ReceiptOutcome::Written) > 5);
        proxy.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_tidb_nobody_notices_a_receipt() {
    compare(&need!(tidb::start()), ON_TIDB).await;
}

/// But by SHOW WARNINGS and FOUND_ROWS(): MariaDB's BEGIN and COMMIT leave them as they were, and
/// what goes before these does not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_mariadb_nobody_notices_a_receipt() {
    compare(&need!(mariadb::start()), ON_MARIADB).await;
}

/// Every packet around COMMIT, to clients of each kind; the connection stays as it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_packet_tells_of_a_receipt() {
    for backend in [need!(tidb::start()), need!(mariadb::start())] {
        prepare(&backend).await;
        let proxy = start(&backend, "").await;
        let schema = backend.schema(&["CREATE TABLE t (id INT PRIMARY KEY)"]).await;
        for flags in [caps::USUAL, caps::USUAL & !caps::MULTI_STATEMENTS] {
            for flags in [flags, flags | caps::DEPRECATE_EOF] {
                let mut heard = Vec::new();
                for address in [&backend.address, &proxy.address.to_string()] {
                    backend.run(&[&format!("DELETE FROM {}.t", schema.name)]).await;
                    let mut raw = Raw::login(address, Some(&schema.name), flags).await;
                    let mut answers = Vec::new();
                    let prepare = command(com::STMT_PREPARE, b"COMMIT");
                    let prepared = raw.ask(&prepare, Shape::Prepare).await;
                    // MariaDB goes on counting where the last connection of its thread ended.
                    let mut execute = vec![com::STMT_EXECUTE];
                    execute.extend(&prepared.packets[0].payload[1..5]);
                    execute.extend([0, 1, 0, 0, 0]);
                    for (id, commit) in [command(com::QUERY, b"COMMIT"), execute].iter().enumerate()
                    {
                        for text in ["BEGIN", &format!("INSERT INTO t VALUES ({id})")] {
                            answers.push(raw.query(text).await);
                        }
                        answers.push(raw.ask(commit, Shape::Results).await);
                        answers.push(raw.query("SELECT COUNT(*) FROM t").await);
                        // 1064 or 8130 without multi-statements.
                        answers.push(raw.query("SELECT 1; SELECT 2").await);
                    }
                    heard.push(answers);
                }
                assert_eq!(heard[0], heard[1], "{flags:x}");
            }
        }
        assert_eq!(proxy.metrics().receipts(ReceiptOutcome::Written), 8);
        proxy.stop().await;
    }
}

/// Where the right can't be asked for ahead of BEGIN, the receipt asks, and a refusal leaves the
/// transaction as it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_without_the_right_notices_nothing() {
    const NEXT: &str = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED";
    const LAZY: &str = "SET tidb_constraint_check_in_place_pessimistic=OFF";
    for backend in [need!(tidb::start()), need!(mariadb::start())] {
        prepare(&backend).await;
        let proxy = start(&backend, "").await;
        let through = proxy.address.to_string();
        for (number, begin) in ["BEGIN", "BEGIN /*T! PESSIMISTIC */"].iter().enumerate() {
            let lazy = if backend.is_tidb { LAZY } else { "DO 0" };
            let script = [lazy, NEXT, begin, WRITE, "COMMIT", "SELECT COUNT(*) FROM t"];
            let user = format!("unprivileged_{number}");
            let direct = run(&backend, &backend.address, (&user, false), &script).await;
            let heard = run(&backend, &through, (&user, false), &script).await;
            assert_eq!(direct, heard);
        }
        assert_eq!(proxy.metrics().receipts(ReceiptOutcome::Refused), 2);
        proxy.stop().await;
    }
}
