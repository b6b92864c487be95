//! A real TiDB, one for each test process: `TXGUARD_TEST_TIDB=HOST:PORT`, or the program named by
//! `TXGUARD_TEST_TIDB_BIN`, or what `tests/lib/tidb-bin` builds. A test that needs one to kill
//! starts its own.

use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use super::backend::Backend;
use super::certificates::Certificates;

/// The server ends when its standard input does, that is with this process.
struct Running {
    backend: Backend,
    _own: Option<Own>,
}

/// The server, started at the first call.
pub(crate) fn start() -> Result<Backend, String> {
    static TIDB: OnceLock<Result<Running, String>> = OnceLock::new();
    TIDB.get_or_init(launch).as_ref().map(|running| running.backend.clone()).map_err(Clone::clone)
}

fn launch() -> Result<Running, String> {
    if let Ok(address) = std::env::var("TXGUARD_TEST_TIDB") {
        let backend = Backend { address, is_tidb: true, outside: true, ca: String::new() };
        return Ok(Running { backend, _own: None });
    }
    let own = Own::start()?;
    Ok(Running { backend: own.backend(), _own: Some(own) })
}

/// A TiDB of one test, empty at each start.
pub(crate) struct Own {
    /// The same over all restarts.
    pub(crate) port: u16,
    /// Where `/status` is.
    pub(crate) status_port: u16,
    ca: String,
    binary: PathBuf,
    child: Child,
    _stdin: Option<ChildStdin>,
}

impl Own {
    /// On free ports.
    pub(crate) fn start() -> Result<Self, String> {
        let binary = binary()?;
        let Spawned { child, stdin, port, status_port, ca } = spawn(&binary, 0)?;
        Ok(Self { port, status_port, ca, binary, child, _stdin: stdin })
    }

    pub(crate) fn backend(&self) -> Backend {
        let address = format!("127.0.0.1:{}", self.port);
        Backend { address, is_tidb: true, outside: false, ca: self.ca.clone() }
    }

    /// As a crash would end it.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }

    /// On the same port again.
    pub(crate) fn restart(&mut self) {
        let started = spawn(&self.binary, self.port).expect("it has started before");
        (self.child, self._stdin) = (started.child, started.stdin);
        (self.port, self.status_port, self.ca) = (started.port, started.status_port, started.ca);
    }
}

struct Spawned {
    child: Child,
    stdin: Option<ChildStdin>,
    port: u16,
    status_port: u16,
    ca: String,
}

fn spawn(binary: &Path, port: u16) -> Result<Spawned, String> {
    let folder = tempfile::tempdir().map_err(|error| format!("a folder for TiDB: {error}"))?;
    let certificates = Certificates::within(folder.path().to_owned());
    let ready = folder.path().join("ready");
    let mut child = Command::new(binary)
        .args(["--watch-stdin", "--port", &port.to_string(), "--ready-file"])
        .arg(&ready)
        .arg("--tls-certificate")
        .arg(certificates.path("server.pem"))
        .arg("--tls-key")
        .arg(certificates.path("server.key"))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .map_err(|error| format!("TiDB ({}): {error}", binary.display()))?;
    let stdin = child.stdin.take();
    let (port, status_port) = wait_for_ports(&ready, &mut child);
    Ok(Spawned { child, stdin, port, status_port, ca: certificates.authority() })
}

fn binary() -> Result<PathBuf, String> {
    if let Some(path) = std::env::var_os("TXGUARD_TEST_TIDB_BIN") {
        return Ok(path.into());
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lib/tidb-bin");
    if !script.exists() {
        return Err("TiDB: neither TXGUARD_TEST_TIDB nor TXGUARD_TEST_TIDB_BIN is set".into());
    }
    let built = Command::new(&script)
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("TiDB: {}: {error}", script.display()))?;
    if !built.status.success() {
        return Err("TiDB: tests/lib/tidb-bin could not build it".into());
    }
    Ok(String::from_utf8_lossy(&built.stdout).trim().into())
}

/// A server that is there and doesn't start is a failure, nothing to skip.
#[allow(clippy::disallowed_methods, reason = "waits for another process")]
fn wait_for_ports(ready: &Path, child: &mut Child) -> (u16, u16) {
    let end = Instant::now() + Duration::from_secs(120);
    loop {
        if let Ok(line) = std::fs::read_to_string(ready) {
            let ports: serde_json::Value = serde_json::from_str(&line).expect("a line of JSON");
            let port = |name: &str| ports[name].as_u64().and_then(|port| port.try_into().ok());
            return (port("port").expect("a port"), port("status_port").expect("a port"));
        }
        if let Ok(Some(status)) = child.try_wait() {
            panic!("TiDB ended at its start: {status}");
        }
        assert!(Instant::now() < end, "TiDB did not start");
        std::thread::sleep(Duration::from_millis(20));
    }
}
