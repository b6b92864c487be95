//! Commit receipts on real servers: TiDB v7.5 and MariaDB 10.11. What is said of a transaction must
//! agree with the data, for ever after.

#[path = "../support/mod.rs"]
mod support;

mod account;
mod background;
mod commit;
mod cut;
mod key;
mod link;
mod resolver;
mod table;
mod transparent;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;
use txguard::base::clock::{Clock, SystemClock};
use txguard::base::config::Config;
use txguard::base::metrics::Metrics;
use txguard::base::tasks::Tasks;
use txguard::base::types::{TxnId, TxnIds};
use txguard::coordinator::resolver::Resolver;
use txguard::net::backend::Pool;
use txguard::store::receipts::{Receipt, ReceiptKey};
use txguard::store::schema::{self, Role};
use txguard::store::service::Service;

use support::{Backend, soon};

/// The service account of these tests; it has the printed rights and no others.
const ACCOUNT: &str = "txguard_receipts";

/// A server with the schema, and with an account that may do what the product asks for; once for
/// each server.
async fn prepare(backend: &Backend) {
    static READY: [OnceCell<()>; 2] = [const { OnceCell::const_new() }; 2];
    READY[usize::from(backend.is_tidb)].get_or_init(|| prepare_once(backend)).await;
}

async fn prepare_once(backend: &Backend) {
    let mut statements = vec![format!("CREATE USER IF NOT EXISTS {ACCOUNT}@'%'")];
    for role in [Role::Service, Role::Installer] {
        statements.extend(schema::grants(role, ACCOUNT, "%"));
    }
    let statements: Vec<&str> = statements.iter().map(String::as_str).collect();
    backend.run(&statements).await;
    let login = service(&backend.address);
    let mut talk = soon("a login", login.open(&backend.address)).await.expect("a login");
    soon("the installation", schema::install(&mut talk)).await.expect("installed");
}

fn config(address: &str, receipts: &str) -> Config {
    let text = format!(
        "[backend]\naddresses = ['{address}']\nservice_user = '{ACCOUNT}'\n[receipts]\n{receipts}\n"
    );
    Config::parse(&text, "test.toml").unwrap_or_else(|problems| panic!("{problems}"))
}

fn service(address: &str) -> Service {
    Service::new(&config(address, "").backend).expect("an account")
}

/// A resolver that knows one address.
fn resolver(address: &str, receipts: &str) -> Resolver {
    parts(address, receipts).0
}

/// The same, with its counters and with what it does in the background.
fn parts(address: &str, receipts: &str) -> (Resolver, Arc<Metrics>, Tasks) {
    let config = config(address, receipts);
    let clock = Arc::new(SystemClock);
    let (metrics, stop) = (Arc::new(Metrics::new()), CancellationToken::new());
    let pool = Arc::new(Pool::new(&config.backend, clock.clone(), metrics.clone(), 1, stop));
    let service = Service::new(&config.backend).expect("an account");
    let tasks = Tasks::default();
    let (counters, later) = (metrics.clone(), tasks.clone());
    (Resolver::new(service, pool, config.receipts, clock, counters, later), metrics, tasks)
}

/// A resolver as it comes, but one that waits no longer for a lock than it must.
fn quick(backend: &Backend) -> Resolver {
    resolver(&backend.address, "lock_timeout = '1s'")
}

/// The first attempt of a transaction that begins now.
fn key() -> ReceiptKey {
    ReceiptKey { txn: txn(SystemClock.wall()), attempt: 1 }
}

/// An id that no other test has.
fn txn(begun: Duration) -> TxnId {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    TxnIds::new(u64::from(std::process::id()) << 32 | u64::from(number)).next(begun)
}

/// The packet that ends the client's transaction.
fn packet(key: ReceiptKey) -> String {
    format!("{};COMMIT", receipt(key).insert())
}

fn receipt(key: ReceiptKey) -> Receipt<'static> {
    Receipt { key, user: "app", on_tidb: false, fingerprint: 7 }
}
