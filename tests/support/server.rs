//! txguard as a program of its own, for what only a process of its own can show: its memory.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};

use super::PATIENCE;
use super::backend::Backend;
use super::proxy::configuration;

/// A running `txguard serve`; killed at the end.
pub(crate) struct Program {
    /// Where it serves MySQL clients.
    pub(crate) address: SocketAddr,
    child: Child,
    log: Arc<Mutex<String>>,
    _folder: tempfile::TempDir,
}

impl Program {
    /// Before a server, with this text behind the usual beginning of the configuration.
    pub(crate) fn start(binary: &str, backend: &Backend, toml: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("txguard.toml");
        std::fs::write(&file, configuration(&backend.address, toml)).expect("a file");
        let mut child = Command::new(binary)
            .args(["serve", "--config"])
            .arg(&file)
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("txguard starts");
        let stderr = child.stderr.take().expect("a pipe");
        let log = Arc::new(Mutex::new(String::new()));
        let (found, address) = mpsc::channel();
        let kept = log.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if line.contains("serving MySQL clients")
                    && let Some(rest) = line.split("address=").nth(1)
                    && let Some(address) = rest.split(' ').next()
                {
                    let _ = found.send(address.parse().expect("an address"));
                }
                let mut log = kept.lock().expect("no panic");
                log.push_str(&line);
                log.push('\n');
            }
        });
        let address = address.recv_timeout(PATIENCE).expect("txguard says where it listens");
        Self { address, child, log, _folder: folder }
    }

    /// The most memory that it ever had, in bytes (`VmHWM`).
    pub(crate) fn memory_peak(&self) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).expect("the program runs");
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("on Linux");
        let kib = line.split_whitespace().nth(1).and_then(|text| text.parse::<u64>().ok());
        kib.expect("a number") << 10
    }

    /// Checks that it still runs and said nothing of a panic.
    pub(crate) fn check(&mut self) {
        assert!(matches!(self.child.try_wait(), Ok(None)), "txguard ended:\n{}", self.log());
        assert!(!self.log().contains("panicked"), "{}", self.log());
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        self.log.lock().expect("no panic").clone()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
