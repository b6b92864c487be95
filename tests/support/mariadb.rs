//! A real MariaDB 10.11, one for each test process, in a folder of its own.

use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use super::backend::Backend;
use super::certificates::Certificates;

struct Running {
    backend: Backend,
    _stdin: ChildStdin,
}

/// The server, started at the first call.
pub(crate) fn start() -> Result<Backend, String> {
    static MARIADB: OnceLock<Result<Running, String>> = OnceLock::new();
    let running = MARIADB.get_or_init(launch).as_ref();
    running.map(|running| running.backend.clone()).map_err(Clone::clone)
}

fn launch() -> Result<Running, String> {
    let server = find("mariadbd")?;
    let install = find("mariadb-install-db")?;
    // The watchdog below removes it.
    let folder = tempfile::Builder::new()
        .prefix("txguard-mariadb-")
        .tempdir()
        .map_err(|error| format!("a folder for MariaDB: {error}"))?
        .keep();
    let data = folder.join("data");
    let installed = Command::new(install)
        .args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"])
        .arg(format!("--datadir={}", data.display()))
        .stdin(Stdio::null())
        .output()
        .expect("mariadb-install-db starts");
    assert!(
        installed.status.success(),
        "mariadb-install-db: {}{}",
        String::from_utf8_lossy(&installed.stdout),
        String::from_utf8_lossy(&installed.stderr)
    );
    let certificates = Certificates::within(folder.clone());
    // It can't take port 0: another process may be quicker to take the free one found here.
    for _ in 0..10 {
        let port = free_port();
        if let Some(stdin) = try_port(&server, &folder, port) {
            let address = format!("127.0.0.1:{port}");
            let backend =
                Backend { address, is_tidb: false, outside: false, ca: certificates.authority() };
            return Ok(Running { backend, _stdin: stdin });
        }
    }
    panic!("MariaDB did not start, see {}", folder.display());
}

/// Ends the server with this process, also if that is killed: its standard input ends then.
const WATCHDOG: &str = r#"
    folder=$1; shift
    exec 3<&0
    "$@" 3<&- </dev/null >"$folder/log" 2>&1 &
    server=$!
    { cat <&3 >/dev/null; kill -9 $server 2>/dev/null; } &
    watcher=$!
    wait $server
    kill $watcher 2>/dev/null
    [ -e "$folder/keep" ] || rm -rf "$folder"
"#;

fn try_port(server: &Path, folder: &Path, port: u16) -> Option<ChildStdin> {
    let text = |name: &str| folder.join(name).display().to_string();
    std::fs::write(folder.join("keep"), "").expect("a writable folder");
    let mut child = Command::new("sh")
        .args(["-c", WATCHDOG, "watchdog"])
        .arg(folder)
        .arg(server)
        .arg("--no-defaults")
        .arg(format!("--datadir={}", text("data")))
        .arg(format!("--socket={}", text("socket")))
        .arg(format!("--pid-file={}", text("pid")))
        .arg(format!("--ssl-cert={}", text("server.pem")))
        .arg(format!("--ssl-key={}", text("server.key")))
        .arg(format!("--port={port}"))
        .args(["--bind-address=127.0.0.1", "--skip-log-bin", "--skip-name-resolve", "--user=root"])
        .args(["--innodb-snapshot-isolation=ON", "--innodb-flush-log-at-trx-commit=0"])
        // The flag "no index used" follows plans, which must not change in the middle of a test.
        .arg("--innodb-stats-auto-recalc=OFF")
        .args(["--max-allowed-packet=128M", "--local-infile=ON", "--max-connections=1000"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // Ctrl-C is for the tests; the watchdog cleans up behind them.
        .process_group(0)
        .spawn()
        .expect("sh starts");
    let stdin = child.stdin.take().expect("a pipe");
    if !answers(port, &mut child) {
        return None;
    }
    std::fs::remove_file(folder.join("keep")).expect("a writable folder");
    Some(stdin)
}

#[allow(clippy::disallowed_methods, reason = "waits for another process")]
fn answers(port: u16, child: &mut Child) -> bool {
    let end = Instant::now() + Duration::from_secs(60);
    while Instant::now() < end {
        if matches!(child.try_wait(), Ok(Some(_))) {
            return false;
        }
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            // A stranger on that port would not be our child's.
            std::thread::sleep(Duration::from_millis(50));
            return !matches!(child.try_wait(), Ok(Some(_)));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    false
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    listener.local_addr().expect("bound").port()
}

fn find(program: &str) -> Result<PathBuf, String> {
    if let Some(path) = std::env::var_os("MARIADBD").filter(|_| program == "mariadbd") {
        return Ok(path.into());
    }
    let path = std::env::var("PATH").unwrap_or_default();
    path.split(':')
        .chain(["/usr/sbin", "/sbin"])
        .map(|folder| Path::new(folder).join(program))
        .find(|candidate| candidate.is_file())
        .ok_or_else(|| format!("MariaDB: no {program}; apt install mariadb-server-core"))
}
