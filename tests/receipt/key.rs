//! Idempotency keys through txguard.

use mysql_async::prelude::Queryable;
use tokio::task::JoinSet;
use txguard::app::build::Parts;
use txguard::base::metrics::ReceiptOutcome;

use crate::support::client::{code, run};
use crate::support::{
    Backend, Proxy, Schema, connect_to, eventually, mariadb, need, one, soon, tidb,
};
use crate::{ACCOUNT, prepare};

/// Conflicts of TiDB, of both, and of MariaDB.
const WRITE_CONFLICT: u16 = 9007;
const DEADLOCK: u16 = 1213;
const CHECKREAD: u16 = 1020;

const ORDERS: &str = "CREATE TABLE orders (id INT AUTO_INCREMENT PRIMARY KEY, what VARCHAR(20))";

async fn start(backend: &Backend) -> (Proxy, Schema) {
    prepare(backend).await;
    let schema = backend.schema(&[ORDERS]).await;
    let text = format!(
        "[listen]\nmysql = '127.0.0.1:0'\nhttp = ''\n\
         [backend]\naddresses = ['{}']\nservice_user = '{ACCOUNT}'\n\
         [log]\ntransactions = 'all'\n\
         [[policy]]\nname = 'receipts'\nreceipt = true\nretry = {{}}\ntag = true\n",
        backend.address
    );
    let proxy = Proxy::start_text(&text, Parts::default()).await;
    let ready = || proxy.metrics().render().contains("\ntxguard_receipts_ready 1\n");
    eventually("the tables are found", ready).await;
    (proxy, schema)
}

/// Orders something under a key; the code of the error, if any.
async fn order(proxy: &str, schema: &str, begin: &str, key: &str, what: &str) -> Option<u16> {
    let mut client = connect_to(proxy, Some(schema)).await;
    let statements = [
        format!("CALL txguard.idempotency_key('{key}')"),
        begin.to_owned(),
        format!("INSERT INTO orders (what) VALUES ('{what}')"),
        "COMMIT".to_owned(),
    ];
    for statement in statements {
        if let Err(error) = soon(&statement, client.query_drop(&statement)).await {
            // The connection stays usable, and nothing is open on it.
            assert_eq!(one::<u32>(&mut client, "SELECT 1").await, 1);
            return Some(code(&error).expect("an answer"));
        }
    }
    None
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_all_that_come_with_a_key_one_commits() {
    let cases = [
        (need!(tidb::start()), &["BEGIN OPTIMISTIC", "BEGIN PESSIMISTIC"][..]),
        (need!(mariadb::start()), &["BEGIN"][..]),
    ];
    for (backend, begins) in cases {
        let (proxy, schema) = start(&backend).await;
        let address = proxy.address.to_string();
        let mut direct = backend.connect().await;
        for begin in begins {
            let mut running = JoinSet::new();
            for _ in 0..12 {
                let (address, begin) = (address.clone(), (*begin).to_owned());
                let schema = schema.name.clone();
                running.spawn(async move {
                    let key = format!("k {begin}");
                    loop {
                        // The generated id keeps it from being replayed: it is tried again.
                        match order(&address, &schema, &begin, &key, &begin).await {
                            Some(WRITE_CONFLICT | DEADLOCK | CHECKREAD) => {}
                            answer => return answer,
                        }
                    }
                });
            }
            let mut answers = running.join_all().await;
            answers.sort_unstable();
            assert_eq!(answers[0], None, "one of them commits");
            assert!(answers[1..].iter().all(|code| *code == Some(17015)), "{answers:?}");
            let count =
                format!("SELECT COUNT(*) FROM {}.orders WHERE what = '{begin}'", schema.name);
            assert_eq!(one::<u32>(&mut direct, &count).await, 1);
            // Later, and with something else to say.
            let key = format!("k {begin}");
            assert_eq!(order(&address, &schema.name, begin, &key, begin).await, Some(17015));
            assert_eq!(order(&address, &schema.name, begin, &key, "other").await, Some(17015));
        }
        proxy.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_says_something_else_is_told_so() {
    for backend in [need!(tidb::start()), need!(mariadb::start())] {
        let (proxy, schema) = start(&backend).await;
        let address = proxy.address.to_string();
        let mut first = connect_to(&address, Some(&schema.name)).await;
        let begin = "/*idempotency_key='order%201'*/ BEGIN";
        run(&mut first, &[begin, "INSERT INTO orders (what) VALUES ('first')"]).await;
        // It comes while the first one is open, and both have passed the look at BEGIN.
        let mut second = connect_to(&address, Some(&schema.name)).await;
        run(&mut second, &[begin, "INSERT INTO orders (what) VALUES ('second')"]).await;
        run(&mut first, &["COMMIT"]).await;
        let error = soon("COMMIT", second.query_drop("COMMIT")).await.expect_err("used up");
        assert_eq!(code(&error), Some(17016));
        let said: Vec<String> = backend
            .connect()
            .await
            .query(format!("SELECT what FROM {}.orders", schema.name))
            .await
            .expect("rows");
        assert_eq!(said, ["first"]);
        assert_eq!(proxy.metrics().receipts(ReceiptOutcome::Written), 1);
        proxy.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_without_the_right_commits_without_a_receipt_and_is_told_the_cure() {
    for backend in [need!(tidb::start()), need!(mariadb::start())] {
        let (proxy, schema) = start(&backend).await;
        backend
            .run(&[
                "DROP USER IF EXISTS plain@'%'",
                "CREATE USER plain@'%'",
                &format!("GRANT ALL ON {}.* TO plain@'%'", schema.name),
            ])
            .await;
        let options =
            crate::support::client::options(&proxy.address.to_string(), Some(&schema.name))
                .user(Some("plain"));
        let mut client = mysql_async::Conn::new(options).await.expect("a connection");
        for _ in 0..3 {
            run(&mut client, &["BEGIN", "INSERT INTO orders (what) VALUES ('x')", "COMMIT"]).await;
        }
        let metrics = proxy.metrics();
        assert_eq!(metrics.receipts(ReceiptOutcome::Without), 3);
        assert_eq!(metrics.receipts(ReceiptOutcome::Written), 0);
        let told = proxy
            .lines()
            .iter()
            .filter(|line| line.field("message").contains("may not write"))
            .count();
        assert_eq!(told, 1, "one line per user");
        proxy.stop().await;
    }
}
