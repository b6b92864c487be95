//! Bytes that no client and no server should send, and sizes that no one should use: no panic, no
//! hang, bounded memory, a clear word where one is due, and nobody else notices.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Instant;
use txguard::app::build::Parts;
use txguard::base::metrics::{Side, TransactionOutcome};

use crate::support::client::{code, options, run};
use crate::support::fake::{Fake, Fault};
use crate::support::proxy::policy;
use crate::support::raw::{Answer, Raw, Shape, caps, frames, query};
use crate::support::server::Program;
use crate::support::{
    Backend, Proxy, connect_to, dump, eventually, full, mariadb, need, one, soon, tidb,
};

/// A connection that goes on all the time: it notices what happens to others.
struct Neighbour {
    answers: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    task: JoinSet<()>,
}

impl Neighbour {
    async fn at(address: &str) -> Self {
        let mut conn = connect_to(address, None).await;
        let (answers, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let mut task = JoinSet::new();
        task.spawn({
            let (answers, stop) = (answers.clone(), stop.clone());
            async move {
                while !stop.load(Ordering::Relaxed) {
                    soon("the neighbour's answer", conn.ping()).await.expect("an answer");
                    answers.fetch_add(1, Ordering::Relaxed);
                    tokio::task::yield_now().await;
                }
            }
        });
        Self { answers, stop, task }
    }

    /// Waits until it has had some more answers.
    async fn goes_on(&self) {
        let enough = self.answers.load(Ordering::Relaxed) + 5;
        eventually("the neighbour goes on", || {
            self.answers.load(Ordering::Relaxed) >= enough || self.task.is_empty()
        })
        .await;
    }

    async fn leaves(mut self) {
        self.goes_on().await;
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.task.join_next().await {
            ended.expect("the neighbour noticed nothing");
        }
    }
}

/// The connection's last words: an ERR of txguard's own in one packet, then the end.
async fn refused(raw: &mut Raw, expected: u16) {
    let answer = raw.answer(Shape::Single).await;
    assert_eq!(answer.error(), Some(expected), "{answer:?}");
    is_own_error(&answer);
    assert!(raw.rest().await.is_empty());
}

fn is_own_error(answer: &Answer) {
    let text = answer.packets.last().expect("a packet").text();
    assert!(text.contains("#08S01txguard: "), "{text}");
}

/// All connections but so many are closed on both sides.
async fn only(proxy: &Proxy, count: u64) {
    eventually("the others are closed", || {
        [Side::Client, Side::Backend].iter().all(|side| proxy.metrics().connections(*side) == count)
    })
    .await;
}

#[tokio::test]
async fn garbage_in_place_of_a_login() {
    let backend = need!(mariadb::start());
    let proxy = Proxy::start(&backend, policy::RETRY).await;
    let neighbour = Neighbour::at(&proxy.address.to_string()).await;
    let long = vec![0xA5; 300_000];
    let mut old_login = 0x0000_0085u32.to_le_bytes().to_vec();
    old_login.extend([0; 40]);
    let mut tls = (caps::USUAL | 1 << 11).to_le_bytes().to_vec();
    tls.extend([0; 28]);
    let mut endless_user = caps::USUAL.to_le_bytes().to_vec();
    endless_user.extend(vec![b'u'; 200]);
    let inputs: &[(&str, Vec<u8>)] = &[
        ("zeros", vec![0; 64]),
        ("0xFF", vec![0xFF; 64]),
        ("HTTP", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()),
        ("TLS ClientHello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".repeat(20)),
        ("a packet without content", frames(1, b"")),
        ("one byte", frames(1, b"\x0e")),
        ("a command", frames(0, &query("SELECT 1"))),
        ("a login before protocol 4.1", frames(1, &old_login)),
        ("a request for TLS", frames(1, &tls)),
        ("a user without an end", frames(1, &endless_user)),
        ("a login of 300 KB", frames(1, &long)),
        ("noise", (0u32..5000).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect()),
    ];
    for (name, bytes) in inputs {
        let mut raw = Raw::greeted(&proxy.address.to_string()).await;
        // It may have been refused before the last byte.
        let _ = raw.send_bytes(bytes).await;
        let answer = raw.answer(Shape::Single).await;
        assert_eq!(answer.error(), Some(17004), "{name}: {answer:?}");
        is_own_error(&answer);
        assert!(raw.rest().await.is_empty(), "{name}");
    }
    let told = |line: &crate::support::log::Line| line.field("message") == "login failed";
    eventually("each is told in the log", || {
        proxy.lines().iter().filter(|line| told(line)).count() == inputs.len()
    })
    .await;
    only(&proxy, 1).await;
    neighbour.leaves().await;
    proxy.stop().await;
}

#[tokio::test]
async fn half_packets_before_tidb() {
    half_packets(&need!(tidb::start())).await;
}

#[tokio::test]
async fn half_packets_before_mariadb() {
    half_packets(&need!(mariadb::start())).await;
}

/// A part of a packet and then nothing, at every byte of a login and of a statement.
async fn half_packets(backend: &Backend) {
    let proxy = Proxy::start(backend, policy::RETRY).await;
    let address = proxy.address.to_string();
    let neighbour = Neighbour::at(&address).await;
    let mut whole = Raw::greeted(&address).await;
    let login = whole.login_packet("root", None, caps::USUAL);
    let login = frames(1, &login);
    drop(whole);
    for end in 0..=login.len() {
        let mut raw = Raw::greeted(&address).await;
        raw.send_bytes(&login[..end]).await.expect("sent");
    }
    let statement = frames(0, &query("SELECT 'half'"));
    for begin in ["", "BEGIN"] {
        for end in 1..=statement.len() {
            let mut raw = Raw::login(&address, None, caps::USUAL).await;
            raw.query(begin).await;
            raw.send_bytes(&statement[..end]).await.expect("sent");
        }
    }
    only(&proxy, 1).await;
    let rolled_back = proxy.transactions(TransactionOutcome::RolledBack);
    assert_eq!(rolled_back, statement.len() as u64, "those that were open");
    neighbour.leaves().await;
    proxy.stop().await;
}

#[tokio::test]
async fn wrong_sequence_ids() {
    for backend in [need!(tidb::start()), need!(mariadb::start())] {
        let proxy = Proxy::start(&backend, policy::RETRY).await;
        let neighbour = Neighbour::at(&proxy.address.to_string()).await;
        for begin in ["", "BEGIN"] {
            let mut answers = Vec::new();
            for address in [&backend.address, &proxy.address.to_string()] {
                let mut raw = Raw::login(address, None, caps::USUAL).await;
                raw.query(begin).await;
                raw.send(7, &query("SELECT 1")).await.expect("sent");
                let first = raw.answer(Shape::Results).await;
                // Whatever the server makes of it, the end included.
                let rest = raw.rest().await;
                answers.push((first, rest));
            }
            let difference = dump::difference(&answers[0].0, &answers[1].0);
            assert_eq!(difference, None, "{begin}");
            assert_eq!(answers[0].1, answers[1].1, "{begin}");
        }
        only(&proxy, 1).await;
        neighbour.leaves().await;
        proxy.stop().await;
    }
}

/// A statement of `len` bytes, most of them comment.
fn long_statement(len: usize) -> String {
    let (before, after) = ("SELECT 1 /*", "*/");
    format!("{before}{}{after}", "x".repeat(len - before.len() - after.len()))
}

const BINARY: &str = env!("CARGO_BIN_EXE_txguard");

/// What a proxy may hold more than before, whatever passes through it.
const MEMORY_MAX: u64 = 8 << 20;

#[tokio::test]
async fn a_statement_of_64_mib_before_tidb() {
    a_statement_of_64_mib(&need!(tidb::start())).await;
}

#[tokio::test]
async fn a_statement_of_64_mib_before_mariadb() {
    a_statement_of_64_mib(&need!(mariadb::start())).await;
}

async fn a_statement_of_64_mib(backend: &Backend) {
    let mut program = Program::start(BINARY, backend, policy::RETRY);
    let address = program.address.to_string();
    let neighbour = Neighbour::at(&address).await;
    let before = program.memory_peak();
    // TiDB's limit by default is 64 MiB, which such a statement just keeps.
    let statement = long_statement((64 << 20) - 100);
    for begin in ["DO 0", "BEGIN"] {
        let mut raw = Raw::login(&address, None, caps::USUAL).await;
        assert_eq!(raw.query(begin).await.error(), None);
        let answer = raw.query(&statement).await;
        assert_eq!((answer.error(), answer.packets.len()), (None, 5), "{begin}");
        assert_eq!(raw.query("COMMIT").await.error(), None);
        assert_eq!(raw.query("SELECT 1").await.error(), None);
    }
    neighbour.leaves().await;
    let grown = program.memory_peak() - before;
    assert!(grown < MEMORY_MAX, "{grown} bytes more");
    eventually("the log says why it can't be replayed", || {
        program.log().contains("unguarded=\"journal_transaction\"")
    })
    .await;
    program.check();
}

#[tokio::test]
async fn a_statement_that_is_too_long_for_the_server() {
    let tidb = need!(tidb::start());
    let proxy = Proxy::start(&tidb, policy::RETRY).await;
    let neighbour = Neighbour::at(&proxy.address.to_string()).await;
    let statement = long_statement((64 << 20) + 100);
    for begin in ["DO 0", "BEGIN"] {
        let mut answers = Vec::new();
        for address in [&tidb.address, &proxy.address.to_string()] {
            let mut raw = Raw::login(address, None, caps::USUAL).await;
            raw.query(begin).await;
            let answer = raw.query(&statement).await;
            // The server closes with bytes unread, so its last words may be lost on the way.
            assert!(answer.closed || answer.error().is_some(), "{answer:?}");
            answers.push(raw.rest().await.is_empty());
        }
        assert_eq!(answers, [true, true]);
    }
    only(&proxy, 1).await;
    neighbour.leaves().await;
    proxy.stop().await;
}

#[tokio::test]
async fn a_client_that_stops_reading_before_tidb() {
    a_client_that_stops_reading(&need!(tidb::start())).await;
}

#[tokio::test]
async fn a_client_that_stops_reading_before_mariadb() {
    a_client_that_stops_reading(&need!(mariadb::start())).await;
}

async fn a_client_that_stops_reading(backend: &Backend) {
    const ROWS: usize = 800;
    const ROW: usize = 250_000;
    let result = format!(
        "WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS}) \
         SELECT REPEAT('x', {ROW}) FROM n"
    );
    for text in [policy::NONE, policy::RETRY] {
        let mut program = Program::start(BINARY, backend, text);
        let address = program.address.to_string();
        let neighbour = Neighbour::at(&address).await;
        let mut raw = Raw::login(&address, None, caps::USUAL).await;
        raw.query("BEGIN").await;
        let before = program.memory_peak();
        raw.send(0, &query(&result)).await.expect("sent");
        // Half a second is enough for some hundred megabytes, if they were taken.
        let end = Instant::now() + Duration::from_millis(500);
        while Instant::now() < end {
            neighbour.goes_on().await;
        }
        let grown = program.memory_peak() - before;
        assert!(grown < MEMORY_MAX, "{grown} bytes more while nobody reads");
        // It was only waiting.
        let answer = raw.answer(Shape::Results).await;
        let bytes: usize = answer.packets.iter().map(|packet| packet.payload.len()).sum();
        assert!(bytes > ROWS * ROW && answer.packets.len() == ROWS + 4, "{bytes}");
        assert_eq!(raw.query("COMMIT").await.error(), None);
        // And one that never reads again.
        raw.send(0, &query(&result)).await.expect("sent");
        neighbour.goes_on().await;
        drop(raw);
        neighbour.leaves().await;
        let grown = program.memory_peak() - before;
        assert!(grown < MEMORY_MAX, "{grown} bytes more in all");
        program.check();
    }
}

#[tokio::test]
async fn ten_megabytes_of_or() {
    let mut backends = vec![need!(mariadb::start())];
    if full() {
        // It takes 16 s for each.
        backends.push(need!(tidb::start()));
    }
    let statement = format!("SELECT 1 WHERE {}1", "a OR b OR ".repeat(1 << 20));
    for backend in backends {
        same_in_and_out_of_transactions(&backend, std::slice::from_ref(&statement)).await;
    }
}

#[tokio::test]
async fn nested_brackets_before_tidb() {
    let shallow = nested(50);
    // TiDB's own parser takes them all.
    same_in_and_out_of_transactions(
        &need!(tidb::start()),
        &[shallow, nested(4000), nested(100_000)],
    )
    .await;
}

#[tokio::test]
async fn nested_brackets_before_mariadb() {
    let deep = [nested(50), nested(4000), nested(100_000)];
    same_in_and_out_of_transactions(&need!(mariadb::start()), &deep).await;
    let many = ["a OR b OR ".repeat(3000), "NOT ".repeat(8000), "- ".repeat(8000)];
    let many = many.map(|text| format!("SELECT {text}1"));
    same_in_and_out_of_transactions(&need!(mariadb::start()), &many).await;
}

fn nested(depth: usize) -> String {
    format!("SELECT {}1{}", "(".repeat(depth), ")".repeat(depth))
}

/// The answers are those of the server, with a journal of the usual size and with one that would
/// hold all of it, so that the statement is looked at.
async fn same_in_and_out_of_transactions(backend: &Backend, statements: &[String]) {
    let usual = Proxy::start(backend, policy::RETRY).await;
    let large = format!("[limits]\njournal_per_transaction = \"64MiB\"\n{}", policy::RETRY);
    let large = Proxy::start(backend, &large).await;
    let neighbours = [
        Neighbour::at(&usual.address.to_string()).await,
        Neighbour::at(&large.address.to_string()).await,
    ];
    for statement in statements {
        let mut direct = Raw::login(&backend.address, None, caps::USUAL).await;
        assert_eq!(direct.query("DO 0").await.error(), None);
        let outside = direct.query(statement).await;
        let transaction = ["BEGIN", "SELECT 2", "COMMIT"];
        let mut paths = Vec::new();
        if statement.len() < 1 << 20 {
            paths.push((&usual, "DO 0"));
        }
        paths.extend([(&usual, "BEGIN"), (&large, "BEGIN")]);
        for (proxy, begin) in paths {
            let mut raw = Raw::login(&proxy.address.to_string(), None, caps::USUAL).await;
            assert_eq!(raw.query(begin).await.error(), None);
            let mut answer = raw.query(statement).await;
            if begin == "BEGIN" {
                // The flag of the open transaction is the only difference.
                clear_in_trans(&mut answer);
            }
            let difference = dump::difference(&outside, &answer);
            assert_eq!(difference, None, "{begin} · {} bytes", statement.len());
            for after in transaction.iter().skip(usize::from(begin == "BEGIN")) {
                assert_eq!(raw.query(after).await.error(), None);
            }
        }
    }
    for neighbour in neighbours {
        neighbour.leaves().await;
    }
    usual.stop().await;
    large.stop().await;
}

/// Takes the flag of an open transaction out of EOF packets.
fn clear_in_trans(answer: &mut Answer) {
    for packet in &mut answer.packets {
        if let [0xFE, _, _, flags, _] = packet.payload.as_mut_slice() {
            *flags &= !1;
        }
    }
}

#[tokio::test]
async fn no_backend_at_all() {
    // A port that was free a moment ago; a connection to it is refused.
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let address = listener.local_addr().expect("bound").to_string();
    drop(listener);
    let proxy = Proxy::start_at(&address, policy::RETRY, Parts::default()).await;
    let raw = Raw::greeted(&proxy.address.to_string()).await;
    assert_eq!(raw.greeting.error(), Some(17001), "{:?}", raw.greeting);
    assert_eq!(raw.greeting.seqs, [0]);
    let error = Conn::new(options(&proxy.address.to_string(), None)).await.expect_err("refused");
    assert_eq!(code(&error), Some(17001));
    assert!(error.to_string().contains("txguard: no backend can be reached"), "{error}");
    assert!(proxy.lines().iter().any(|line| line.field("message") == "client turned away"));
    only(&proxy, 0).await;
    proxy.stop().await;
}

#[tokio::test]
async fn too_many_clients() {
    let backend = need!(mariadb::start());
    let proxy = Proxy::start(&backend, "[limits]\nclients = 2\n").await;
    let address = proxy.address.to_string();
    let neighbour = Neighbour::at(&address).await;
    let mut second = connect_to(&address, None).await;
    for _ in 0..3 {
        let mut third = Raw::greeted(&address).await;
        assert_eq!(third.greeting.error(), Some(1040), "{:?}", third.greeting);
        assert!(third.rest().await.is_empty());
    }
    assert_eq!(one::<i64>(&mut second, "SELECT 2").await, 2);
    second.disconnect().await.expect("a clean end");
    only(&proxy, 1).await;
    // Those who were turned away are gone as well: there is room again.
    let third = Raw::login(&address, None, caps::USUAL).await;
    drop(third);
    neighbour.leaves().await;
    proxy.stop().await;
}

#[tokio::test]
async fn a_login_that_takes_too_long() {
    let backend = need!(mariadb::start());
    let proxy = Proxy::start(&backend, "[limits]\nhandshake = \"300ms\"\n").await;
    let address = proxy.address.to_string();
    let neighbour = Neighbour::at(&address).await;
    for part in [0, 3, 20] {
        let mut raw = Raw::greeted(&address).await;
        let login = raw.login_packet("root", None, caps::USUAL);
        raw.send_bytes(&frames(1, &login)[..part]).await.expect("sent");
        refused(&mut raw, 17006).await;
    }
    only(&proxy, 1).await;
    neighbour.leaves().await;
    proxy.stop().await;
}

#[tokio::test]
async fn backends_that_say_garbage_in_place_of_a_greeting() {
    const FAULTS: &[Fault] = &[
        Fault::None,
        Fault::Greeting(b""),
        Fault::Greeting(b"\x4a"),
        Fault::Greeting(b"\x4a\0\0\0\x0a8.0"),
        Fault::Greeting(b"\0\0\0\0"),
        Fault::Greeting(b"\x05\0\0\0\x098.0\0"),
        Fault::Greeting(b"\x05\0\0\0\x0a8.0\0"),
        Fault::Greeting(b"\xFF\xFF\xFF\0\x0a8.0\0"),
        Fault::Greeting(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        Fault::Greeting(b"SSH-2.0-OpenSSH_9.2\r\n"),
    ];
    let fake = Fake::start(FAULTS).await;
    // The first connection is the watch's, which looks whether the address is there.
    let proxy = Proxy::start_at(&fake.address, policy::RETRY, Parts::default()).await;
    let address = proxy.address.to_string();
    let mut refusals = 0;
    for _ in FAULTS {
        let mut raw = Raw::greeted(&address).await;
        if raw.greeting.error().is_none() {
            // The one that serves.
            continue;
        }
        assert_eq!(raw.greeting.error(), Some(17002), "{:?}", raw.greeting);
        assert!(raw.rest().await.is_empty());
        refusals += 1;
    }
    assert!(refusals >= FAULTS.len() - 1, "{refusals}");
    only(&proxy, 0).await;
    proxy.stop().await;
}

#[tokio::test]
async fn an_error_in_place_of_a_greeting_is_the_servers_own() {
    const FULL: &[u8] = b"\x1d\0\0\0\xff\x10\x04#08004Too many connections";
    let fake = Fake::start(&[Fault::Greeting(FULL)]).await;
    let proxy = Proxy::start_at(&fake.address, policy::RETRY, Parts::default()).await;
    let mut raw = Raw::greeted(&proxy.address.to_string()).await;
    assert_eq!(raw.greeting.error(), Some(1040));
    assert_eq!(raw.greeting.text(), String::from_utf8_lossy(&FULL[4..]));
    assert!(raw.rest().await.is_empty());
    proxy.stop().await;
}

#[tokio::test]
async fn backends_that_break_off() {
    const GARBAGE: &[u8] = &[0xA5; 100];
    const HALF_OK: &[u8] = b"\x07\0\0\x01\0\0\0";
    const HALF_RESULT: &[u8] = b"\x01\0\0\x01\x01\x20\0\0\x02\x03def";
    // The end of rows, where a result begins.
    const NO_RESULT: &[u8] = b"\x05\0\0\x01\xfe\0\0\x02\0";
    const EMPTY_PACKET: &[u8] = b"\0\0\0\x01";
    const FAULTS: [Fault; 9] = [
        Fault::Login(b""),
        Fault::Login(b"\x07\0\0\x02\0\0"),
        Fault::Login(GARBAGE),
        Fault::Answer(b""),
        Fault::Answer(HALF_OK),
        Fault::Answer(HALF_RESULT),
        Fault::Answer(GARBAGE),
        Fault::AnswerAndStay(EMPTY_PACKET),
        Fault::AnswerAndStay(NO_RESULT),
    ];
    for fault in &FAULTS {
        let faults: &'static [Fault] = std::slice::from_ref(fault);
        let fake = Fake::start(faults).await;
        let proxy = Proxy::start_at(&fake.address, policy::RETRY, Parts::default()).await;
        for begin in ["DO 0", "BEGIN"] {
            let mut raw = Raw::greeted(&proxy.address.to_string()).await;
            let login = raw.login_packet("root", None, caps::USUAL);
            raw.send(1, &login).await.expect("sent");
            let answer = raw.answer(Shape::Single).await;
            if matches!(fault, Fault::Login(_)) {
                assert!(answer.closed || raw.rest().await.is_empty(), "{fault:?}: {answer:?}");
                continue;
            }
            assert_eq!(raw.query(begin).await.error(), None);
            raw.send(0, &query("fault")).await.expect("sent");
            match fault {
                Fault::AnswerAndStay(bytes) => {
                    // Not understood, so it is passed on as it is.
                    let mut got = Vec::new();
                    soon("the bytes", raw.some(bytes.len(), &mut got)).await;
                    assert_eq!(got, *bytes);
                }
                _ => {
                    let rest = raw.rest().await;
                    let Fault::Answer(bytes) = fault else { panic!("all others are handled") };
                    assert!(
                        rest.is_empty() || bytes.starts_with(&rest) || rest.starts_with(bytes),
                        "{fault:?} · {begin}: {rest:02x?}"
                    );
                }
            }
        }
        only(&proxy, 0).await;
        proxy.stop().await;
    }
}

#[tokio::test]
async fn clients_that_come_and_go_leave_nothing_behind() {
    let backend = need!(mariadb::start());
    let proxy = Proxy::start(&backend, policy::RETRY).await;
    let address = proxy.address;
    let neighbour = Neighbour::at(&address.to_string()).await;
    for _ in 0..if full() { 2000 } else { 200 } {
        // No word at all.
        let mut stream = TcpStream::connect(address).await.expect("a listener");
        stream.shutdown().await.expect("closed");
    }
    only(&proxy, 1).await;
    neighbour.leaves().await;
    proxy.stop().await;
}

#[tokio::test]
async fn a_wrong_password_is_the_servers_own_error() {
    for backend in [need!(tidb::start()), need!(mariadb::start())] {
        let proxy = Proxy::start(&backend, policy::RETRY).await;
        let name = format!("it_{}", std::process::id());
        let create = format!("CREATE USER IF NOT EXISTS {name} IDENTIFIED BY 'right'");
        backend.run(&[&create]).await;
        let login = async |address: &str, password: &'static str| {
            let options = options(address, None).user(Some(name.clone())).pass(Some(password));
            Conn::new(options).await
        };
        let address = proxy.address.to_string();
        let mut conn = login(&address, "right").await.expect("the right one");
        let user: String = one(&mut conn, "SELECT CURRENT_USER()").await;
        assert!(user.starts_with(&name), "{user}");
        run(&mut conn, &["BEGIN", "SELECT 1", "COMMIT"]).await;
        let direct = login(&backend.address, "wrong").await.expect_err("refused");
        let through = login(&address, "wrong").await.expect_err("refused");
        assert_eq!(direct.to_string(), through.to_string());
        assert_eq!(code(&through), Some(1045));
        conn.query_drop("SELECT 1").await.expect("still there");
        drop(conn);
        backend.run(&[&format!("DROP USER {name}")]).await;
        proxy.stop().await;
    }
}
