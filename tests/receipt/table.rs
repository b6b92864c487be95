//! The texts on real servers, under whatever a client's session has set.

use mysql_async::prelude::Queryable;
use txguard::store::idempotency::IdempotencyKey;
use txguard::store::receipts::{Receipt, ReceiptKey};

use crate::support::client::{code, run};
use crate::support::{mariadb, need, one, soon, tidb};
use crate::{key, prepare, quick, receipt};

/// Settings that change how texts read, what a default is, or what a table may hold.
const SETTINGS: &[&str] = &[
    "SET sql_mode = ''",
    "SET sql_mode = 'ANSI,NO_BACKSLASH_ESCAPES,TRADITIONAL,PIPES_AS_CONCAT'",
    "SET NAMES latin1",
    "SET NAMES gbk",
    "SET timestamp = 1",
    "SET time_zone = '+13:00'",
    "SET sql_safe_updates = 1",
];

/// Only MariaDB knows these.
const MARIADB: &[&str] =
    &["SET sql_mode = 'ORACLE'", "SET sql_mode = 'EMPTY_STRING_IS_NULL,STRICT_ALL_TABLES'"];

#[tokio::test]
async fn the_texts_mean_the_same_in_every_session() {
    for backend in [need!(tidb::start()), need!(mariadb::start())] {
        prepare(&backend).await;
        let others = if backend.is_tidb { &[] } else { MARIADB };
        for setting in SETTINGS.iter().chain(others) {
            let mut client = backend.connect().await;
            run(&mut client, &[setting]).await;
            let key = key();
            let used = IdempotencyKey::new("o'brien\\", "", &format!("{} é", key.txn)).expect("ok");
            let row = Receipt { user: "o'brien\\ é", ..receipt(key) };
            let packet =
                format!("START TRANSACTION;{};{};COMMIT", row.insert(), used.insert(key, 7));
            if let Err(error) = client.query_drop(&packet).await {
                panic!("{setting}: {error}");
            }
            let found = quick(&backend).committed_by(&used, &backend.address).await;
            let found = found.expect("an answer").unwrap_or_else(|| panic!("{setting}: no row"));
            assert_eq!((found.by, found.fingerprint), (key, 7), "{setting}");
            let mut root = backend.connect().await;
            let ask = format!("SELECT user FROM txguard.receipts WHERE txn = {}", hex(key));
            assert_eq!(
                one::<Vec<u8>>(&mut root, &ask).await,
                "o'brien\\ é".as_bytes(),
                "{setting}"
            );
        }
    }
}

fn hex(key: ReceiptKey) -> String {
    format!("0x{}", key.txn.to_string().replace('-', ""))
}

#[tokio::test]
async fn an_idempotency_key_is_used_once_and_exactly() {
    for backend in [need!(tidb::start()), need!(mariadb::start())] {
        prepare(&backend).await;
        let resolver = quick(&backend);
        let by = key();
        let name = by.txn.to_string();
        let used = IdempotencyKey::new("app", "shop", &name).expect("short");
        let mut client = backend.connect().await;
        run(&mut client, &[&used.insert(by, 1)]).await;
        let twice = client.query_drop(used.insert(key(), 1)).await.expect_err("it is used up");
        assert_eq!(code(&twice), Some(1062));
        // Another user's, another schema's, another key: also where a collation sees none.
        for (user, schema, name) in [
            ("App", "shop", name.clone()),
            ("app", "", name.clone()),
            ("app", "shop", format!("{name} ")),
            ("app", "shop", name.to_uppercase()),
        ] {
            let other = IdempotencyKey::new(user, schema, &name).expect("short");
            let found = resolver.committed_by(&other, &backend.address).await.expect("an answer");
            assert_eq!(found, None, "{other:?}");
        }
        soon("removed", resolver.discard(by, Some(&used), &backend.address)).await;
        assert_eq!(resolver.committed_by(&used, &backend.address).await.expect("an answer"), None);
    }
}

#[tokio::test]
async fn a_void_receipt_is_removed_and_no_other() {
    for backend in [need!(tidb::start()), need!(mariadb::start())] {
        prepare(&backend).await;
        let (void, kept, fenced) = (key(), key(), key());
        let mut client = backend.connect().await;
        run(&mut client, &[&receipt(void).insert(), &receipt(kept).insert(), &fenced.fence()])
            .await;
        for key in [void, fenced] {
            soon("removed", quick(&backend).discard(key, None, &backend.address)).await;
        }
        for (key, left) in [(void, 0), (kept, 1), (fenced, 1)] {
            let ask = format!("SELECT COUNT(*) FROM txguard.receipts WHERE txn = {}", hex(key));
            assert_eq!(one::<u32>(&mut client, &ask).await, left);
        }
    }
}
