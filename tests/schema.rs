//! The schema `txguard` from nothing to use: the commands, what `serve` does about it, purge, and
//! `check-transaction`. One test a server, because there is one such schema on it; the servers are
//! this program's own.

#[path = "support/mod.rs"]
mod support;

use std::process::Output;
use std::time::Duration;

use mysql_async::Conn;
use serde_json::Value;
use tokio::process::Command;
use txguard::base::clock::{Clock, SystemClock};
use txguard::base::types::{TxnId, TxnIds};
use txguard::store::receipts::{Receipt, ReceiptKey};

use support::client::run;
use support::program::Program;
use support::{Backend, mariadb, need, one, soon, tidb};

const BINARY: &str = env!("CARGO_BIN_EXE_txguard");

/// A configuration with an account and a policy that wants receipts.
struct Setting {
    file: tempfile::NamedTempFile,
    text: String,
}

impl Setting {
    fn new(backend: &Backend) -> Self {
        let text = format!(
            "[backend]\naddresses = ['{}']\nservice_user = 'txguard_schema'\n\
             [[policy]]\nname = 'p'\nreceipt = true\n",
            backend.address
        );
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), &text).expect("written");
        Self { file, text }
    }

    async fn command(&self, words: &[&str]) -> (Option<i32>, String) {
        let mut command = Command::new(BINARY);
        command.args(words).arg("--config").arg(self.file.path()).kill_on_drop(true);
        let Output { status, stdout, stderr } =
            soon(words[0], command.output()).await.expect("it starts");
        let text = |bytes| String::from_utf8(bytes).expect("text");
        (status.code(), text(stdout) + &text(stderr))
    }

    async fn says(&self, words: &[&str], code: i32, text: &str) {
        let (found, said) = self.command(words).await;
        assert_eq!(found, Some(code), "{words:?}: {said}");
        assert!(said.contains(text), "{words:?}: {said}");
    }

    async fn json(&self, words: &[&str]) -> (Option<i32>, Value) {
        let mut words = words.to_vec();
        words.push("--json");
        let (code, said) = self.command(&words).await;
        (code, serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}")))
    }
}

#[tokio::test]
async fn the_schema_on_tidb() {
    from_nothing_to_use(&need!(tidb::start())).await;
}

#[tokio::test]
async fn the_schema_on_mariadb() {
    from_nothing_to_use(&need!(mariadb::start())).await;
}

async fn from_nothing_to_use(backend: &Backend) {
    let setting = Setting::new(backend);
    let mut root = backend.connect().await;
    setting.says(&["schema", "check"], 2, "can't log in").await;
    run(&mut root, &["CREATE USER txguard_schema@'%'", "DROP DATABASE IF EXISTS txguard"]).await;
    let (code, printed) = setting.command(&["schema", "print"]).await;
    assert_eq!(code, Some(0));
    let grants: Vec<&str> = printed.lines().filter(|line| line.starts_with("GRANT")).collect();
    assert_eq!(grants.len(), 2, "{printed}");
    run(&mut root, &grants).await;

    missing(&setting, &mut root).await;
    installed(&setting, &mut root).await;
    transactions(&setting, &mut root, backend).await;
    damaged(&setting, &mut root, backend).await;
    by_sql(&setting, &mut root, &printed).await;
    served(&setting, &mut root).await;
}

async fn missing(setting: &Setting, root: &mut Conn) {
    setting.says(&["schema", "check"], 1, "is not installed").await;
    setting.says(&["check-transaction", &id(0).to_string()], 3, "is not installed").await;
    let mut program = Program::start(BINARY, &setting.text).await;
    let said = program.says("no commit receipts").await;
    assert!(said.contains("txguard schema install"), "{said}");
    program.shows("/metrics", 200, "txguard_receipts_ready 0").await;
    // Transactions run without.
    let mut client = support::connect_to(&program.mysql, None).await;
    run(&mut client, &["BEGIN", "SELECT 1", "COMMIT"]).await;
    let found: u32 =
        one(root, "SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name = 'txguard'")
            .await;
    assert_eq!(found, 0, "nothing is created unasked");
}

async fn installed(setting: &Setting, root: &mut Conn) {
    setting.says(&["schema", "install"], 0, "installed version 1").await;
    setting.says(&["schema", "install"], 0, "nothing to do").await;
    setting.says(&["schema", "check"], 0, "has version 1").await;
    let (code, said) = setting.json(&["schema", "check"]).await;
    assert_eq!((code, &said[0]["ok"], &said[0]["found"]), (Some(0), &true.into(), &1.into()));
    // What an installation leaves behind that was cut off before its version was written.
    run(root, &["DELETE FROM txguard.meta", "DROP TABLE txguard.idempotency_keys"]).await;
    setting.says(&["schema", "check"], 1, "is not installed").await;
    setting.says(&["schema", "install"], 0, "installed version 1").await;
    let (one, two) = tokio::join!(
        setting.command(&["schema", "install"]),
        setting.command(&["schema", "install"])
    );
    assert_eq!((one.0, two.0), (Some(0), Some(0)), "{one:?} {two:?}");
}

async fn damaged(setting: &Setting, root: &mut Conn, backend: &Backend) {
    run(root, &["ALTER TABLE txguard.receipts DROP COLUMN start_ts"]).await;
    setting.says(&["schema", "check"], 1, "no column receipts.start_ts").await;
    setting.says(&["schema", "install"], 1, "no column receipts.start_ts").await;
    run(root, &["DROP TABLE txguard.receipts"]).await;
    setting.says(&["schema", "check"], 1, "no table receipts").await;
    run(root, &["UPDATE txguard.meta SET version = 9"]).await;
    setting.says(&["schema", "check"], 1, "has version 9").await;
    setting.says(&["schema", "install"], 1, "newer").await;
    if !backend.is_tidb {
        run(root, &["DROP TABLE txguard.meta"]).await;
        setting.says(&["schema", "install"], 0, "installed version 1").await;
        run(root, &["ALTER TABLE txguard.receipts ENGINE = MyISAM"]).await;
        setting.says(&["schema", "check"], 1, "another engine").await;
    }
    run(root, &["DROP DATABASE txguard"]).await;
}

/// What `print` shows is what `install` does.
async fn by_sql(setting: &Setting, root: &mut Conn, printed: &str) {
    for statement in printed.split(";\n").filter(|text| !text.is_empty()) {
        run(root, &[statement]).await;
    }
    setting.says(&["schema", "check"], 0, "has version 1").await;
    run(root, &["DROP DATABASE txguard"]).await;
}

/// `serve` installs where it may, and purges.
async fn served(setting: &Setting, root: &mut Conn) {
    let text = format!("{}[receipts]\nmigrate = true\nretention = '3d'\n", setting.text);
    let mut program = Program::start(BINARY, &text).await;
    program.says("installed version 1").await;
    program.says("the tables of commit receipts are right").await;
    program.shows("/metrics", 200, "txguard_receipts_ready 1").await;
    program.signal("TERM").await;
    assert_eq!(program.ended().await, Some(0));

    let old = "SET timestamp = 1000000000";
    let now = "SET timestamp = DEFAULT";
    for (begun_hours_ago, written) in [(73, old), (73, now), (71, old), (0, now), (200, old)] {
        run(root, &[written, &insert(id(begun_hours_ago), false)]).await;
    }
    // More than one statement removes.
    let rows: Vec<String> = (1..=2001)
        .map(|attempt| format!("(0, X'{:032}', {attempt}, 1, FROM_UNIXTIME(1000000000))", 0))
        .collect();
    let columns = "shard, txn, attempt, outcome, created";
    let many = format!("INSERT INTO txguard.receipts ({columns}) VALUES {}", rows.join(","));
    run(root, &[now, &many]).await;
    let program = Program::start(BINARY, &text).await;
    program.shows("/metrics", 200, "txguard_receipts_purged_total 2003").await;
    let left: u32 = one(root, "SELECT COUNT(*) FROM txguard.receipts").await;
    assert_eq!(left, 3, "both clocks must say that it is old");
    let metrics = program.get("/metrics").await.1;
    let oldest =
        metrics.lines().find_map(|line| line.strip_prefix("txguard_receipts_oldest_seconds "));
    let oldest: f64 = oldest.and_then(|age| age.parse().ok()).expect("a number");
    assert!((oldest - 73.0 * 3600.0).abs() < 600.0, "{oldest}");
}

async fn transactions(setting: &Setting, root: &mut Conn, backend: &Backend) {
    let txn = id(0);
    let mut client = backend.connect().await;
    run(&mut client, &["BEGIN"]).await;
    let start_ts = match backend.is_tidb {
        true => one::<String>(&mut client, "SELECT @@tidb_current_ts").await,
        false => String::new(),
    };
    let fence = ReceiptKey { txn, attempt: 1 }.fence();
    let row = insert(txn, backend.is_tidb);
    run(root, &[&fence]).await;
    let not_yet = ["check-transaction", &txn.to_string()];
    setting.says(&not_yet, 1, "NOT COMMITTED").await;
    run(&mut client, &[&row, "COMMIT"]).await;
    let by_id = txn.to_string();
    let names = if backend.is_tidb { vec![&by_id, &start_ts] } else { vec![&by_id] };
    for which in names {
        let (code, said) = setting.json(&["check-transaction", which]).await;
        assert_eq!((code, said["outcome"].as_str()), (Some(0), Some("committed")), "{said:#}");
        assert_eq!(said["transaction"], txn.to_string());
        assert_eq!(said["start_ts"].as_str().unwrap_or_default(), start_ts);
        assert_eq!(said["attempts"][0]["outcome"], "not_committed");
        assert_eq!(said["attempts"][1]["outcome"], "committed");
        if backend.is_tidb {
            let info: String = one(&mut client, "SELECT @@tidb_last_txn_info").await;
            let info: Value = serde_json::from_str(&info).expect("JSON");
            assert_eq!(said["commit_ts"], info["commit_ts"].to_string(), "{said:#}");
        } else {
            assert!(said["commit_ts"].is_null() && said["commit_ts_unknown"].is_string());
        }
    }
    setting.says(&["check-transaction", &txn.to_string()], 0, "OK\n").await;
    setting.says(&["check-transaction", &id(0).to_string()], 3, "no receipt").await;
    setting.says(&["check-transaction", "1"], 3, "not kept longer").await;
    setting.says(&["check-transaction", &id(8 * 24).to_string()], 3, "not kept longer").await;
    setting.says(&["check-transaction", "nonsense"], 2, "neither").await;
}

/// The second attempt of a transaction, as its client writes it.
fn insert(txn: TxnId, on_tidb: bool) -> String {
    let key = ReceiptKey { txn, attempt: 2 };
    Receipt { key, user: "app", on_tidb, fingerprint: 0 }.insert()
}

/// An id of a transaction that began so long ago.
fn id(hours_ago: u64) -> TxnId {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
    let seed = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    TxnIds::new(seed).next(SystemClock.wall() - Duration::from_secs(hours_ago * 3600))
}
