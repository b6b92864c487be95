//! What goes on behind a client's back: until it is done, or until txguard ends.

use mysql_async::Conn;
use txguard::store::receipts::ReceiptKey;

use crate::support::client::run;
use crate::support::gate::Gate;
use crate::support::{eventually, mariadb, need, one, soon, tidb};
use crate::{key, parts, prepare, receipt};

async fn rows(conn: &mut Conn, key: ReceiptKey, outcome: u8) -> u32 {
    let txn = key.txn.to_string().replace('-', "");
    let ask = format!(
        "SELECT COUNT(*) FROM txguard.receipts WHERE txn = 0x{txn} AND outcome = {outcome}"
    );
    one(conn, &ask).await
}

/// A server that can't be reached at first.
#[tokio::test]
async fn what_is_pending_is_decided_later() {
    for backend in [need!(tidb::start()), need!(mariadb::start())] {
        prepare(&backend).await;
        let (mut root, key, gate) =
            (backend.connect().await, key(), Gate::before(&backend.address));
        let (resolver, metrics, tasks) = parts(&gate.address, "resolve_limit = '200ms'");
        resolver.resolve_later(key, &gate.address);
        let counted = |line: &str| metrics.render().lines().any(|found| found == line);
        assert!(counted("txguard_receipts_pending 1"));
        let tried = "txguard_receipts_resolved_total{fate=\"pending\"} 1";
        eventually("a try in vain", || counted(tried)).await;
        let _open = gate.open();
        eventually("a decision", || counted("txguard_receipts_pending 0")).await;
        assert!(counted("txguard_receipts_resolved_total{fate=\"not_committed\"} 1"));
        assert_eq!(rows(&mut root, key, 0).await, 1);
        soon("the end of all tasks", tasks.wait()).await;
    }
}

#[tokio::test]
async fn a_void_receipt_is_removed_later() {
    for backend in [need!(tidb::start()), need!(mariadb::start())] {
        prepare(&backend).await;
        let (mut root, key, gate) =
            (backend.connect().await, key(), Gate::before(&backend.address));
        run(&mut root, &[&receipt(key).insert()]).await;
        let (resolver, _, tasks) = parts(&gate.address, "resolve_limit = '200ms'");
        soon("a try", resolver.discard(key, None, &gate.address)).await;
        assert_eq!((rows(&mut root, key, 1).await, tasks.len()), (1, 1));
        let _open = gate.open();
        soon("the end of all tasks", tasks.wait()).await;
        assert_eq!(rows(&mut root, key, 1).await, 0);
    }
}

/// A shutdown doesn't wait for a server that may never come back, nor for what is too old.
#[tokio::test]
async fn what_can_not_be_decided_ends() {
    let backend = need!(mariadb::start());
    prepare(&backend).await;
    let gate = Gate::before(&backend.address);
    let (resolver, metrics, tasks) = parts(&gate.address, "");
    resolver.resolve_later(key(), &gate.address);
    tasks.cancel();
    soon("the end of all tasks", tasks.wait()).await;
    let (resolver, _, tasks) = parts(&backend.address, "");
    let old = ReceiptKey { txn: crate::txn(std::time::Duration::ZERO), attempt: 1 };
    resolver.resolve_later(old, &backend.address);
    soon("the end of all tasks", tasks.wait()).await;
    assert!(metrics.render().lines().any(|line| line == "txguard_receipts_pending 0"));
}
