//! The bank by go-sql-driver/mysql in its default mode, which prepares, executes and closes each
//! statement: what it closes within a transaction must stay open for a replay.

use std::path::Path;

use serde_json::Value;
use tokio::process::Command;
use txguard::base::metrics::ReplayOutcome;

use crate::support::{Proxy, need, tidb};
use crate::{POLICY, turn};

/// Builds the program; Go's own cache makes the second time quick.
async fn build(folder: &Path) -> Result<std::path::PathBuf, String> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/drivers/go");
    let binary = folder.join("bank");
    let built = Command::new("go")
        .arg("build")
        .arg("-o")
        .arg(&binary)
        .arg("./bank")
        .current_dir(source)
        .output()
        .await
        .map_err(|error| format!("Go: {error}"))?;
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    Ok(binary)
}

async fn bank(binary: &Path, address: &str, schema: &str, begin: &str, seconds: u32) -> Value {
    let output = Command::new(binary)
        .args(["-address", address, "-schema", schema, "-begin", begin])
        .args(["-seconds", &seconds.to_string()])
        .kill_on_drop(true)
        .output()
        .await
        .expect("the program runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    serde_json::from_slice(&output.stdout).expect("one line of JSON")
}

fn check(report: &Value) {
    assert_eq!(report["sum"], report["sum_expected"], "{report}");
    assert_eq!(report["counter"], report["commits"], "{report}");
    assert_eq!(report["others"], Value::Null, "{report}");
}

#[tokio::test]
async fn prepare_execute_close_per_statement() {
    let tidb = need!(tidb::start());
    let folder = tempfile::tempdir().expect("a folder");
    let binary = need!(build(folder.path()).await);
    let _turn = turn().await;

    let schema = tidb.schema(&[]).await;
    let direct = bank(&binary, &tidb.address, &schema.name, "BEGIN OPTIMISTIC", 3).await;
    eprintln!("direct: {direct}");
    check(&direct);
    assert!(direct["conflicts"]["9007"].as_u64() > Some(10), "{direct}");

    for begin in ["BEGIN OPTIMISTIC", "BEGIN PESSIMISTIC"] {
        let schema = tidb.schema(&[]).await;
        let proxy = Proxy::start(&tidb, POLICY).await;
        let address = proxy.address.to_string();
        let report = bank(&binary, &address, &schema.name, begin, 10).await;
        eprintln!("{begin}: {report}");
        check(&report);
        assert_eq!(report["conflicts"], serde_json::json!({}), "{report}");
        assert!(report["commits"].as_u64() > Some(50), "{report}");
        let replays = proxy.replays(ReplayOutcome::Succeeded);
        assert!(replays > 0, "{report}");
        proxy.stop().await;
    }
}
