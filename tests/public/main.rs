//! The tests that drivers and ORMs bring in their own packages, directly and through txguard. A
//! test counts where it passes in two direct runs; one that then fails through txguard is run once
//! more and must pass.
//!
//! They take minutes, so the gate runs a few tests of one, and `tests/run --full` all. Left out are
//! suites that want a server set up in their own way (aiomysql: TLS with its own certificates;
//! mysql-connector-python starts servers itself), and packages that hold no tests (PyMySQL but for
//! one file, Connector/J, mysql2, GORM, Sequelize).

#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use txguard::app::build::Parts;

use support::certificates::Certificates;
use support::proxy::{policy, with_tls};
use support::{Backend, Proxy, full, mariadb, need, tidb};

/// How long one run of a suite may take.
const LIMIT: Duration = Duration::from_secs(30 * 60);

/// A script in `tests/drivers/public`.
struct Suite {
    name: &'static str,
    /// What `tests/lib/driver-env` prepares for it.
    environment: &'static str,
    /// How many tests must at least count before TiDB, and before MariaDB.
    tidb: usize,
    mariadb: usize,
}

const SUITES: [Suite; 4] = [
    Suite { name: "go_sql_driver", environment: "go", tidb: 140, mariadb: 150 },
    Suite { name: "mysqlclient", environment: "public", tidb: 140, mariadb: 140 },
    Suite { name: "sqlalchemy", environment: "public", tidb: 600, mariadb: 1300 },
    Suite { name: "django", environment: "public", tidb: 1250, mariadb: 1300 },
];

/// What the gate runs, of the first suite.
const CORE: [&str; 8] = [
    "TestCRUD",
    "TestConcurrent",
    "TestContextCancelBegin",
    "TestDateTime",
    "TestMultiQuery",
    "TestNULL",
    "TestRawBytes",
    "TestReuseClosedConnection",
];

#[tokio::test]
async fn tidb() {
    check(&need!(tidb::start())).await;
}

#[tokio::test]
async fn mariadb() {
    check(&need!(mariadb::start())).await;
}

/// One suite after the other: they drop what they find.
async fn check(backend: &Backend) {
    let mut failed = String::new();
    let (suites, wanted): (&[Suite], &[&str]) =
        if full() { (&SUITES, &[]) } else { (&SUITES[..1], &CORE) };
    for suite in suites {
        let folder = need!(environment(suite.environment));
        for name in suite.failed(&folder, backend, wanted).await {
            failed += &format!("{}: {name}\n", suite.name);
        }
    }
    assert!(failed.is_empty(), "these fail through txguard only:\n{failed}");
}

impl Suite {
    /// The tests, of all or of those wanted, that fail only through txguard, twice.
    async fn failed(&self, folder: &Path, backend: &Backend, wanted: &[&str]) -> Vec<String> {
        let one = self.run(folder, backend, &backend.address, wanted).await;
        let other = self.run(folder, backend, &backend.address, wanted).await;
        let counting: BTreeSet<&String> = one.intersection(&other).collect();
        let certificates = Certificates::new();
        let text = with_tls(&backend.address, policy::RETRY, &certificates);
        let proxy = Proxy::start_text(&text, Parts::default()).await;
        let address = proxy.address.to_string();
        let through = self.run(folder, backend, &address, wanted).await;
        let mut failed: Vec<&str> = missing(&counting, &through);
        if !failed.is_empty() {
            eprintln!("{}: once more {failed:?}", self.name);
            let again = self.run(folder, backend, &address, &failed).await;
            failed.retain(|name| !again.contains(*name));
        }
        eprintln!(
            "{}, tidb {}: {} tests count, {} passed through txguard",
            self.name,
            backend.is_tidb,
            counting.len(),
            through.len(),
        );
        let at_least = match wanted.len() {
            0 if backend.is_tidb => self.tidb,
            0 => self.mariadb,
            // Some of a driver's own tests fail now and then, also directly.
            count => count - count / 4,
        };
        proxy.stop().await;
        let mut failed: Vec<String> = failed.into_iter().map(str::to_owned).collect();
        if counting.len() < at_least {
            failed.push(format!("only {} tests count, not {at_least}", counting.len()));
        }
        failed
    }

    /// The tests that pass, of all or of those named.
    async fn run(
        &self,
        folder: &Path,
        backend: &Backend,
        address: &str,
        names: &[&str],
    ) -> BTreeSet<String> {
        let schema = format!("suite_{}", self.name);
        let drop = format!("DROP DATABASE IF EXISTS {schema}");
        let create = format!("CREATE DATABASE {schema} CHARACTER SET utf8mb4");
        backend.run(&[&drop, &create]).await;
        let (host, port) = address.rsplit_once(':').expect("HOST:PORT");
        let run = Command::new(scripts().join(format!("{}.sh", self.name)))
            .args(names)
            .env("SUITE_FOLDER", folder)
            .env("DRIVER_HOST", host)
            .env("DRIVER_PORT", port)
            .env("DRIVER_USER", "root")
            .env("DRIVER_SCHEMA", &schema)
            .env("DRIVER_SERVER", if backend.is_tidb { "tidb" } else { "mariadb" })
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .output();
        let output = match tokio::time::timeout(LIMIT, run).await {
            Ok(output) => output.expect("the script starts"),
            Err(_) => panic!("{} took longer than {LIMIT:?}", self.name),
        };
        let complained = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {}\n{complained}", self.name, output.status);
        backend.run(&[&drop]).await;
        passed(&String::from_utf8_lossy(&output.stdout))
    }
}

/// Names behind `PASS`; one that also failed did not pass.
fn passed(lines: &str) -> BTreeSet<String> {
    let with =
        |verdict: &'static str| lines.lines().filter_map(move |line| line.strip_prefix(verdict));
    let failed: BTreeSet<&str> = with("FAIL ").collect();
    with("PASS ").filter(|name| !failed.contains(name)).map(str::to_owned).collect()
}

fn missing<'a>(counting: &BTreeSet<&'a String>, through: &BTreeSet<String>) -> Vec<&'a str> {
    counting.iter().filter(|name| !through.contains(**name)).map(|name| name.as_str()).collect()
}

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/drivers/public")
}

/// What `tests/lib/driver-env` prepared.
fn environment(name: &str) -> Result<PathBuf, String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lib/driver-env");
    let prepared = std::process::Command::new(script)
        .arg(name)
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("tests/lib/driver-env: {error}"))?;
    if !prepared.status.success() {
        return Err(format!("tests/lib/driver-env {name} could not prepare it"));
    }
    Ok(String::from_utf8_lossy(&prepared.stdout).trim().into())
}

#[test]
fn what_failed_anywhere_did_not_pass() {
    let found = passed("PASS a\nPASS b\nFAIL b\nnoise\nFAIL c\n");
    assert_eq!(found, BTreeSet::from(["a".to_owned()]));
}

#[test]
fn a_test_that_no_longer_passes_is_missed() {
    let (a, b) = ("a".to_owned(), "b".to_owned());
    let through = BTreeSet::from(["a".to_owned()]);
    assert_eq!(missing(&BTreeSet::from([&a, &b]), &through), ["b"]);
}
