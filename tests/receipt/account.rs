//! What the printed GRANTs let an application do, and what not.

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};
use txguard::store::idempotency::IdempotencyKey;
use txguard::store::schema::{self, Role};

use crate::support::client::{code, options, run};
use crate::support::{mariadb, need, tidb};
use crate::{key, prepare, receipt};

const USER: &str = "txguard_application";

#[tokio::test]
async fn an_application_may_write_receipts_and_nothing_else() {
    for backend in [need!(tidb::start()), need!(mariadb::start())] {
        prepare(&backend).await;
        let mut root = backend.connect().await;
        run(&mut root, &[&format!("CREATE USER {USER}@'%'")]).await;
        let login: OptsBuilder = options(&backend.address, None).user(Some(USER));
        let insert = receipt(key()).insert();
        let mut before = Conn::new(login.clone()).await.expect("a login");
        let refused = before.query_drop(&insert).await.expect_err("no right");
        // MariaDB and TiDB look at the table first; without any right on it that is the answer.
        assert_eq!(code(&refused), Some(1142), "{refused}");
        for grant in schema::grants(Role::Application, USER, "%") {
            run(&mut root, &[&grant]).await;
        }
        let mut client = Conn::new(login).await.expect("a login");
        let by = key();
        let used = IdempotencyKey::new(USER, "", &by.txn.to_string()).expect("short");
        let packet = format!("BEGIN;{};{};COMMIT", receipt(by).insert(), used.insert(by, 1));
        run(&mut client, &[&packet]).await;
        for forbidden in [
            "SELECT * FROM txguard.receipts",
            "DELETE FROM txguard.receipts",
            "UPDATE txguard.receipts SET outcome = 0",
            "SELECT * FROM txguard.idempotency_keys",
            "UPDATE txguard.meta SET version = 9",
            "DROP TABLE txguard.receipts",
            "CREATE TABLE txguard.mine (id INT)",
        ] {
            let refused = client.query_drop(forbidden).await.expect_err(forbidden);
            assert!(matches!(code(&refused), Some(1044 | 1142)), "{forbidden}: {refused}");
        }
    }
}
