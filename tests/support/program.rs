//! txguard as a program of its own, for what only a process can show: signals, exit codes, its
//! file.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStderr, Command};

use super::soon;

/// A running `txguard serve --config`; killed at the end.
pub(crate) struct Program {
    /// Where it serves MySQL clients.
    pub(crate) mysql: String,
    /// Where it serves HTTP.
    pub(crate) http: String,
    pub(crate) child: Child,
    lines: Lines<BufReader<ChildStderr>>,
    file: tempfile::NamedTempFile,
}

/// Any free ports.
pub(crate) const LISTEN: &str = "[listen]\nmysql = \"127.0.0.1:0\"\nhttp = \"127.0.0.1:0\"\n";

impl Program {
    /// Serves with this text behind [`LISTEN`], and answers on its HTTP port, so it listens to
    /// signals.
    pub(crate) async fn start(binary: &str, toml: &str) -> Self {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), format!("{LISTEN}{toml}")).expect("written");
        let mut child = command(binary, file.path()).spawn().expect("the program starts");
        let lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let (mysql, http) = (String::new(), String::new());
        let mut program = Self { mysql, http, child, lines, file };
        program.mysql = address(&program.says("serving MySQL clients").await);
        program.http = address(&program.says("serving /metrics").await);
        assert_eq!(program.get("/healthz").await, (200, "ok".to_owned()));
        program
    }

    /// Runs to its end, which must come by itself: exit code and log.
    pub(crate) async fn fails(binary: &str, toml: &str) -> (Option<i32>, String) {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), toml).expect("written");
        let run = command(binary, file.path()).output();
        let output = soon("the end", run).await.expect("the program starts");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// Reads the log up to a line with these words, and returns it.
    pub(crate) async fn says(&mut self, words: &str) -> String {
        let find = async {
            while let Some(line) = self.lines.next_line().await.expect("text") {
                if line.contains(words) {
                    return line;
                }
            }
            panic!("it ended without saying {words:?}");
        };
        soon(words, find).await
    }

    /// The rest of the log up to its end.
    pub(crate) async fn log(&mut self) -> String {
        let mut log = String::new();
        while let Some(line) = soon("the log", self.lines.next_line()).await.expect("text") {
            log += &line;
            log += "\n";
        }
        log
    }

    /// Sends it a signal.
    pub(crate) async fn signal(&self, name: &str) {
        let pid = self.child.id().expect("it runs").to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status().await;
        assert!(sent.expect("kill").success());
    }

    /// Changes its file, without telling it.
    pub(crate) fn write(&self, toml: &str) {
        std::fs::write(self.file.path(), format!("{LISTEN}{toml}")).expect("written");
    }

    /// Changes its file and waits until it has been taken into force.
    pub(crate) async fn reload(&mut self, toml: &str) {
        self.write(toml);
        self.signal("HUP").await;
        self.says("taken into force").await;
    }

    /// Status code and body of a page.
    pub(crate) async fn get(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.http).await.expect("it listens");
        let request = format!("GET {path} HTTP/1.1\r\nHost: txguard\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut text = String::new();
        soon(path, stream.read_to_string(&mut text)).await.expect("text");
        let code = text.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a code");
        (code, text.split_once("\r\n\r\n").expect("a body").1.to_owned())
    }

    /// Waits until a page has a status code and these words.
    pub(crate) async fn shows(&self, path: &str, code: u16, words: &str) -> String {
        let look = async {
            loop {
                let (found, body) = self.get(path).await;
                if found == code && body.contains(words) {
                    return body;
                }
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        soon(&format!("{path}: {code} {words}"), look).await
    }

    /// Its exit code, once it has ended.
    pub(crate) async fn ended(&mut self) -> Option<i32> {
        soon("the end", self.child.wait()).await.expect("it ends").code()
    }
}

fn command(binary: &str, file: &Path) -> Command {
    let mut command = Command::new(binary);
    command.args(["serve", "--config"]).arg(file).env_remove("RUST_LOG");
    command.stdin(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

fn address(line: &str) -> String {
    let rest = line.split("address=").nth(1).expect("an address");
    let address = rest.split(' ').next().expect("an address").trim();
    address.parse::<SocketAddr>().expect("an address").to_string()
}
