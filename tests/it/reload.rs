//! The program itself follows its file: by signal, as an operator would.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};

use crate::support::soon;

const START: &str = "[listen]\nmysql = \"127.0.0.1:0\"\nhttp = \"127.0.0.1:0\"\n\
    [backend]\naddresses = [\"127.0.0.1:1\"]\n";

struct Program {
    child: Child,
    lines: Lines<BufReader<ChildStderr>>,
}

impl Program {
    fn start(file: &std::path::Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_txguard"))
            .args(["serve", "--config"])
            .arg(file)
            .env_remove("RUST_LOG")
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the program starts");
        let lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        Self { child, lines }
    }

    /// Reads the log up to a line with these words, and returns it.
    async fn says(&mut self, words: &str) -> String {
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

    async fn signal(&self, name: &str) {
        let pid = self.child.id().expect("it runs").to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status().await;
        assert!(sent.expect("kill").success());
    }
}

async fn metrics(address: &str) -> String {
    let mut stream = tokio::net::TcpStream::connect(address).await.expect("it listens");
    let request = b"GET /metrics HTTP/1.1\r\nHost: txguard\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await.expect("sent");
    let mut text = String::new();
    soon("the metrics", stream.read_to_string(&mut text)).await.expect("text");
    text
}

#[tokio::test]
async fn a_signal_takes_a_changed_file_into_force_and_a_bad_one_changes_nothing() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), START).expect("written");
    let mut program = Program::start(file.path());
    let line = program.says("serving /metrics").await;
    let address = line.split("address=").nth(1).expect("an address").trim().to_owned();
    // It listens to signals before it answers.
    assert!(metrics(&address).await.contains("txguard_config_generation 1"));

    let good = format!("{START}[[policy]]\nname = \"a\"\nretry = {{}}\n");
    std::fs::write(file.path(), &good).expect("written");
    program.signal("HUP").await;
    program.says("taken into force").await;

    std::fs::write(file.path(), format!("{good}nonsense = 1\n")).expect("written");
    program.signal("HUP").await;
    program.says("stays as it was").await;
    let now = metrics(&address).await;
    assert!(now.contains("txguard_config_rejected 1"), "{now}");

    program.signal("TERM").await;
    program.says("stopping").await;
    let ended = soon("the end", program.child.wait()).await.expect("it ends");
    assert_eq!(ended.code(), Some(0));
}
