//! The shortest way through everything the other tests stand on.

use mysql_async::prelude::Queryable;
use txguard::base::metrics::{Side, TransactionOutcome};

use crate::support::proxy::policy;
use crate::support::{Backend, Proxy, client, connect, eventually, mariadb, need, one, tidb};

#[tokio::test]
async fn a_transaction_goes_through_before_tidb() {
    a_transaction_goes_through(&need!(tidb::start())).await;
}

#[tokio::test]
async fn a_transaction_goes_through_before_mariadb() {
    a_transaction_goes_through(&need!(mariadb::start())).await;
}

async fn a_transaction_goes_through(backend: &Backend) {
    let schema = backend.schema(&["CREATE TABLE t (id INT PRIMARY KEY, v INT)"]).await;
    let proxy = Proxy::start(backend, policy::RETRY).await;
    let mut conn = connect(&proxy, &schema).await;
    client::run(&mut conn, &["BEGIN", "INSERT INTO t VALUES (1, 10)", "COMMIT"]).await;
    assert_eq!(one::<i64>(&mut conn, "SELECT v FROM t").await, 10);
    let mut direct = schema.connect().await;
    assert_eq!(one::<i64>(&mut direct, "SELECT v FROM t").await, 10);
    assert_eq!(proxy.transactions(TransactionOutcome::Committed), 1);
    let records = proxy.records();
    assert_eq!(records.len(), 1);
    assert_eq!((records[0].field("policy"), records[0].field("statements")), ("retry", "1"));
    conn.disconnect().await.expect("a clean end");
    eventually("the connection is counted out", || proxy.metrics().connections(Side::Client) == 0)
        .await;
    proxy.stop().await;
    direct.query_drop("DO 0").await.expect("the backend lives on");
}
