//! Start, several backends, limits and end, on the program itself.

use std::net::TcpListener;
use std::time::Duration;

use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use tokio::net::TcpStream;

use crate::support::fake::{Fake, Fault};
use crate::support::program::{LISTEN, Program};
use crate::support::raw::{Raw, Shape, caps, com};
use crate::support::{client, connect_to, eventually, need, one, soon, tidb};

pub(super) const BINARY: &str = env!("CARGO_BIN_EXE_txguard");

/// `[backend]` with these addresses.
fn backends(addresses: &[&str]) -> String {
    format!("[backend]\naddresses = {addresses:?}\n")
}

async fn port(conn: &mut Conn) -> u16 {
    one(conn, "SELECT @@port").await
}

async fn is_closed(conn: &mut Conn) {
    let error = soon("a statement", conn.query_drop("DO 0")).await.expect_err("it is closed");
    assert_eq!(client::code(&error), None, "closed without a word: {error}");
}

/// The gauge of connections to an address.
async fn connections(program: &Program, backend: &str, count: usize) {
    let line = format!("txguard_backend_connections{{backend=\"{backend}\"}} {count}\n");
    program.shows("/metrics", 200, &line).await;
}

// ------------------------------------------------------------------------------- start and end

#[tokio::test]
async fn a_signal_lets_an_open_transaction_commit() {
    let backend = need!(tidb::start());
    let schema = backend.schema(&["CREATE TABLE t (id INT PRIMARY KEY)"]).await;
    let mut program = Program::start(BINARY, &backends(&[&backend.address])).await;
    let mut open = connect_to(&program.mysql, Some(&schema.name)).await;
    let mut idle = Raw::login(&program.mysql, None, caps::USUAL).await;
    // Its login is not complete: nobody waits for it.
    let mut half = Raw::greeted(&program.mysql).await;
    client::run(&mut open, &["BEGIN", "INSERT INTO t VALUES (1)"]).await;

    program.signal("TERM").await;
    program.says("stopping").await;
    program.shows("/readyz", 503, "draining").await;
    for raw in [&mut idle, &mut half] {
        assert!(raw.rest().await.is_empty(), "closed without a word");
    }
    let refused = TcpStream::connect(&program.mysql).await;
    assert_eq!(refused.expect_err("nobody listens").kind(), std::io::ErrorKind::ConnectionRefused);

    client::run(&mut open, &["INSERT INTO t VALUES (2)", "COMMIT"]).await;
    assert_eq!(program.ended().await, Some(0));
    is_closed(&mut open).await;
    assert_eq!(one::<i64>(&mut schema.connect().await, "SELECT COUNT(*) FROM t").await, 2);
}

#[tokio::test]
async fn what_does_not_end_is_cut_off_by_the_limit_or_a_second_signal() {
    let backend = need!(tidb::start());
    let schema = backend.schema(&["CREATE TABLE t (id INT PRIMARY KEY)"]).await;
    for (timeout, second) in [("200ms", false), ("1h", true)] {
        let limits = format!("[limits]\ndrain_timeout = \"{timeout}\"\n");
        let toml = backends(&[&backend.address]) + &limits;
        let mut program = Program::start(BINARY, &toml).await;
        let mut open = connect_to(&program.mysql, Some(&schema.name)).await;
        client::run(&mut open, &["BEGIN", "INSERT INTO t VALUES (1)"]).await;
        program.signal("TERM").await;
        program.says("stopping").await;
        if second {
            program.signal("TERM").await;
            program.says("stopping at once").await;
        }
        program.says("open transactions were cut off").await;
        assert_eq!(program.ended().await, Some(1));
        is_closed(&mut open).await;
    }
    assert_eq!(one::<i64>(&mut schema.connect().await, "SELECT COUNT(*) FROM t").await, 0);
}

#[tokio::test]
async fn a_load_balancer_gets_time_to_notice() {
    let fake = Fake::start(&[Fault::None]).await;
    let toml = backends(&[&fake.address]) + "[limits]\ndrain_delay = \"1h\"\n";
    let mut program = Program::start(BINARY, &toml).await;
    program.shows("/readyz", 200, "up").await;
    program.signal("TERM").await;
    program.shows("/readyz", 503, "draining").await;
    let mut late = Raw::login(&program.mysql, None, caps::USUAL).await;
    assert_eq!(late.ask(&[com::PING], Shape::Single).await.error(), None);
    late.quit().await;
    connections(&program, &fake.address, 0).await;
    program.signal("TERM").await;
    assert_eq!(program.ended().await, Some(0), "nobody was cut off");
}

#[tokio::test]
async fn mistakes_and_taken_ports_have_their_exit_codes() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = taken.local_addr().expect("bound");
    let nobody = backends(&["127.0.0.1:1"]);
    for [mysql, http] in
        [[address.to_string(), "127.0.0.1:0".into()], ["127.0.0.1:0".into(), address.to_string()]]
    {
        let toml = format!("[listen]\nmysql = \"{mysql}\"\nhttp = \"{http}\"\n{nobody}");
        let (code, log) = Program::fails(BINARY, &toml).await;
        assert_eq!(code, Some(3), "{log}");
        assert!(
            log.contains(&format!("can't listen on {address}: Address already in use")),
            "{log}"
        );
    }
    let (code, log) = Program::fails(BINARY, &format!("{LISTEN}{nobody}clients = 5\n")).await;
    assert_eq!(code, Some(2), "{log}");
    assert!(log.contains("unknown key `clients` in [backend]"), "{log}");
}

#[tokio::test]
async fn a_backend_that_is_not_there_is_not_fatal() {
    let reserved = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = reserved.local_addr().expect("bound").to_string();
    drop(reserved);
    let mut program = Program::start(BINARY, &backends(&[&address])).await;
    let body = program.shows("/readyz", 503, "no backend reachable").await;
    assert!(body.contains(&address) && body.contains("Connection refused"), "{body}");
    let raw = Raw::greeted(&program.mysql).await;
    assert_eq!(raw.greeting.error(), Some(17001));
    program.says("client turned away").await;

    let listener = tokio::net::TcpListener::bind(&address).await.expect("still free");
    let _fake = Fake::on(listener, &[Fault::None]);
    // By its own look: no client has told it.
    program.shows("/readyz", 200, "\"ready\":true").await;
    program
        .shows("/metrics", 200, &format!("txguard_backend_up{{backend=\"{address}\"}} 1\n"))
        .await;
    let raw = Raw::login(&program.mysql, None, caps::USUAL).await;
    raw.quit().await;
}

#[tokio::test]
async fn a_backend_that_never_greets_is_not_waited_for() {
    // It accepts, as the system does for it, and says nothing.
    let hung = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = hung.local_addr().expect("bound").to_string();
    let toml = backends(&[&address]) + "connect_timeout = \"300ms\"\n";
    let mut program = Program::start(BINARY, &toml).await;
    assert_eq!(refusal(&program).await, Some(17001));
    assert!(program.says("client turned away").await.contains("timed out"));
    connections(&program, &address, 0).await;
}

// ------------------------------------------------------------------------------------- reload

#[tokio::test]
async fn limits_and_backends_are_replaced_together_or_not_at_all() {
    let (old, new) = (Fake::start(&[Fault::None]).await, Fake::start(&[Fault::None]).await);
    let limit = |clients| format!("[limits]\nclients = {clients}\n");
    let mut program = Program::start(BINARY, &(backends(&[&old.address]) + &limit(1))).await;
    let first = Raw::login(&program.mysql, None, caps::USUAL).await;
    assert_eq!(refusal(&program).await, Some(1040));

    // A right limit, and an address that is none.
    program.write(&(backends(&["nowhere"]) + &limit(100)));
    program.signal("HUP").await;
    program.says("stays as it was").await;
    assert_eq!(refusal(&program).await, Some(1040));
    program.shows("/readyz", 200, &old.address).await;
    program.shows("/metrics", 200, "txguard_config_rejected 1\n").await;

    program.reload(&(backends(&[&new.address]) + &limit(100))).await;
    assert_eq!(refusal(&program).await, None);
    let body = program.shows("/readyz", 200, &new.address).await;
    assert!(!body.contains(&old.address), "{body}");
    program.shows("/metrics", 200, "txguard_config_rejected 0\n").await;
    // The old server's idle session has been sent away.
    connections_gone(&program, &old.address).await;
    drop(first);
}

/// The error in place of a greeting that one more client gets.
async fn refusal(program: &Program) -> Option<u16> {
    Raw::greeted(&program.mysql).await.greeting.error()
}

/// Nothing is shown of an address any more.
async fn connections_gone(program: &Program, address: &str) {
    let look = async {
        while program.get("/metrics").await.1.contains(address) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    soon("the address is forgotten", look).await;
}

// ----------------------------------------------------------------------------- several backends

#[tokio::test]
async fn clients_are_spread_over_two_servers_and_one_is_drained() {
    let (one_tidb, other) = (need!(tidb::start()), need!(tidb::Own::start()));
    let (a, b) = (one_tidb.address, other.backend().address);
    let toml = backends(&[&a, &b]);
    let mut program = Program::start(BINARY, &toml).await;
    for address in [&a, &b] {
        let up = format!("txguard_backend_up{{backend=\"{address}\"}} 1\n");
        program.shows("/metrics", 200, &up).await;
    }

    let (mut at_a, mut at_b) = (Vec::new(), Vec::new());
    for _ in 0..6 {
        let mut conn = connect_to(&program.mysql, None).await;
        let home = if port(&mut conn).await == other.port { &mut at_b } else { &mut at_a };
        home.push(conn);
    }
    assert_eq!((at_a.len(), at_b.len()), (3, 3));
    at_a.clear();
    connections(&program, &a, 0).await;
    for _ in 0..3 {
        let mut conn = connect_to(&program.mysql, None).await;
        assert_ne!(port(&mut conn).await, other.port, "the fewest are at the other one");
        at_a.push(conn);
    }

    let mut open = at_b.pop().expect("three");
    client::run(&mut open, &["BEGIN", "SELECT 1"]).await;
    program.reload(&format!("{toml}drain = [{b:?}]\n")).await;
    program.shows("/readyz", 200, "\"draining\":true").await;
    connections(&program, &b, 1).await;
    for conn in &mut at_b {
        is_closed(conn).await;
    }
    for _ in 0..4 {
        let mut conn = connect_to(&program.mysql, None).await;
        assert_ne!(port(&mut conn).await, other.port, "it gets no new clients");
    }
    assert_eq!(port(&mut open).await, other.port, "the transaction goes on");
    client::run(&mut open, &["COMMIT"]).await;
    is_closed(&mut open).await;
    connections(&program, &b, 0).await;

    program.reload(&toml).await;
    let mut conn = connect_to(&program.mysql, None).await;
    assert_eq!(port(&mut conn).await, other.port, "it is used again");
    for conn in &mut at_a {
        assert_ne!(port(conn).await, other.port, "nobody else noticed");
    }
}

/// What clients met while a server was killed and started again.
#[derive(Default)]
struct Met {
    lost: u32,
    /// Statements at each server since the last look.
    here: u32,
    there: u32,
}

#[tokio::test]
async fn a_server_killed_under_load_costs_its_own_clients_their_connection_and_nobody_else() {
    let (stays, mut dies) = (need!(tidb::start()), need!(tidb::Own::start()));
    let (a, b) = (stays.address, dies.backend().address);
    let program = Program::start(BINARY, &backends(&[&a, &b])).await;
    let met = std::sync::Arc::new(std::sync::Mutex::new(Met::default()));
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..6 {
        let (mysql, met, there) = (program.mysql.clone(), met.clone(), dies.port);
        clients.spawn(async move {
            loop {
                let opened = soon("connecting", Conn::new(client::options(&mysql, None))).await;
                let mut conn = match opened {
                    Ok(conn) => conn,
                    Err(error) => {
                        let code = client::code(&error);
                        assert!(matches!(code, None | Some(17002)), "cut off in a login: {error}");
                        met.lock().expect("no panic").lost += 1;
                        continue;
                    }
                };
                for _ in 0..20 {
                    match soon("a statement", conn.query_first::<u16, _>("SELECT @@port")).await {
                        Ok(port) => {
                            let mut met = met.lock().expect("no panic");
                            if port == Some(there) { met.there += 1 } else { met.here += 1 }
                        }
                        Err(error) => {
                            assert_eq!(client::code(&error), None, "a lost connection: {error}");
                            met.lock().expect("no panic").lost += 1;
                            break;
                        }
                    }
                }
            }
        });
    }
    let both = || {
        let met = met.lock().expect("no panic");
        met.here > 50 && met.there > 50
    };
    let forget = || *met.lock().expect("no panic") = Met::default();
    eventually("both are used", both).await;
    assert_eq!(met.lock().expect("no panic").lost, 0);

    dies.kill();
    program.shows("/readyz", 200, "\"state\":\"down\"").await;
    eventually("its clients have noticed", || met.lock().expect("no panic").lost > 0).await;
    connections(&program, &b, 0).await;
    forget();
    eventually("the other one serves all", || met.lock().expect("no panic").here > 500).await;
    assert_eq!(met.lock().expect("no panic").there, 0);
    forget();

    dies.restart();
    eventually("both are used again", both).await;
    assert_eq!(met.lock().expect("no panic").lost, 0, "only the cut cost anybody anything");
    clients.abort_all();
    while let Some(ended) = clients.join_next().await {
        assert!(ended.is_err_and(|error| error.is_cancelled()), "a client failed");
    }
}

#[tokio::test]
async fn a_server_that_says_it_is_shutting_down_gets_no_new_clients() {
    let real = need!(tidb::Own::start());
    // The same port for the status of all servers: the second one has an address of its own.
    let other = tokio::net::TcpListener::bind("127.0.0.2:0").await.expect("loopback");
    let address = other.local_addr().expect("bound").to_string();
    let status = tokio::net::TcpListener::bind(("127.0.0.2", real.status_port)).await;
    let status = Status::serve(status.expect("a free port there"));
    let _fake = Fake::on(other, &[Fault::None]);
    let a = real.backend().address;
    let toml = format!("{}status_port = {}\n", backends(&[&a, &address]), real.status_port);
    let program = Program::start(BINARY, &toml).await;
    program.shows("/readyz", 200, "\"stopping\"").await;
    // TiDB's own page.
    program.shows("/metrics", 200, &format!("txguard_backend_up{{backend=\"{a}\"}} 1\n")).await;
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(Raw::login(&program.mysql, None, caps::USUAL).await);
    }
    connections(&program, &a, 4).await;

    status.up();
    program
        .shows("/metrics", 200, &format!("txguard_backend_up{{backend=\"{address}\"}} 1\n"))
        .await;
    let mut there = Raw::login(&program.mysql, None, caps::USUAL).await;
    connections(&program, &address, 1).await;
    status.down();
    program.shows("/readyz", 200, "\"stopping\"").await;
    held.push(Raw::login(&program.mysql, None, caps::USUAL).await);
    connections(&program, &a, 5).await;
    assert_eq!(there.ask(&[com::PING], Shape::Single).await.error(), None, "who is there stays");
}

/// A status port that says 500 or 200.
struct Status {
    up: std::sync::Arc<std::sync::atomic::AtomicBool>,
    _serving: tokio::task::JoinSet<()>,
}

impl Status {
    fn serve(listener: tokio::net::TcpListener) -> Self {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let up = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let (mut serving, shared) = (tokio::task::JoinSet::new(), up.clone());
        serving.spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = [0; 1024];
                let _ = stream.read(&mut request).await;
                let is_up = shared.load(std::sync::atomic::Ordering::Relaxed);
                let code = if is_up { "200 OK" } else { "500 Internal Server Error" };
                let answer = format!("HTTP/1.1 {code}\r\nContent-Length: 0\r\n\r\n");
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        Self { up, _serving: serving }
    }

    fn up(&self) {
        self.up.store(true, std::sync::atomic::Ordering::Relaxed);
    }

    fn down(&self) {
        self.up.store(false, std::sync::atomic::Ordering::Relaxed);
    }
}

// -------------------------------------------------------------------------------------- limits

/// Code, SQLSTATE and text of an ERR packet.
fn error(payload: &[u8]) -> (u16, String) {
    assert_eq!((payload[0], payload[3]), (0xFF, b'#'), "an error");
    let code = u16::from_le_bytes([payload[1], payload[2]]);
    (code, String::from_utf8_lossy(&payload[4..]).into_owned())
}

#[tokio::test]
async fn one_client_too_many_gets_the_servers_error_and_a_flood_of_them_one_line() {
    let fake = Fake::start(&[Fault::None]).await;
    let toml = backends(&[&fake.address]) + "[limits]\nclients = 2\ndrain_timeout = \"0s\"\n";
    let mut program = Program::start(BINARY, &toml).await;
    let _first = Raw::login(&program.mysql, None, caps::USUAL).await;
    let second = Raw::login(&program.mysql, None, caps::USUAL).await;
    for _ in 0..50 {
        let mut third = Raw::greeted(&program.mysql).await;
        assert_eq!(third.greeting.seqs, [0]);
        let expected = (1040, "08004txguard: Too many connections".to_owned());
        assert_eq!(error(&third.greeting.payload), expected);
        assert!(third.rest().await.is_empty());
    }
    second.quit().await;
    connections(&program, &fake.address, 1).await;
    let look = async {
        while refusal(&program).await.is_some() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    soon("there is room again", look).await;
    program.signal("TERM").await;
    let log = program.log().await;
    let lines = log.lines().filter(|line| line.contains("too many clients")).count();
    assert!((1..10).contains(&lines), "{log}");
}

#[tokio::test]
async fn silent_clients_hear_why_they_are_closed() {
    let backend = need!(tidb::start());
    let schema = backend.schema(&["CREATE TABLE t (id INT PRIMARY KEY)"]).await;
    let limits = "[limits]\nidle = \"2s\"\nidle_in_transaction = \"1s\"\n";
    let program = Program::start(BINARY, &(backends(&[&backend.address]) + limits)).await;
    let mut open = Raw::login(&program.mysql, Some(&schema.name), caps::USUAL).await;
    for statement in ["BEGIN", "INSERT INTO t VALUES (1)"] {
        assert_eq!(open.query(statement).await.error(), None);
    }
    let mut idle = Raw::login(&program.mysql, None, caps::USUAL).await;
    for raw in [&mut open, &mut idle] {
        let said = soon("the error", raw.packet()).await.expect("an error");
        let text = "HY000txguard: The client was disconnected because of inactivity";
        assert_eq!(
            (said.seqs.as_slice(), error(&said.payload)),
            (&[0][..], (4031, text.to_owned()))
        );
        assert!(raw.rest().await.is_empty());
    }
    connections(&program, &backend.address, 0).await;
    // The row isn't locked any more, and isn't there.
    let mut direct = schema.connect().await;
    client::run(&mut direct, &["INSERT INTO t VALUES (1)"]).await;
}

#[tokio::test]
async fn a_statement_that_is_too_long_is_refused_by_its_header() {
    let backend = need!(tidb::start());
    let limits = "[limits]\nstatement = \"1MiB\"\n";
    let program = Program::start(BINARY, &(backends(&[&backend.address]) + limits)).await;
    let of = |len: usize| {
        let mut statement = b"\x03SELECT LENGTH('".to_vec();
        statement.resize(len - 2, b'x');
        statement.extend(b"')");
        statement
    };
    let mut raw = Raw::login(&program.mysql, None, caps::USUAL).await;
    assert_eq!(raw.ask(&of(1 << 20), Shape::Results).await.error(), None);
    // 40 MiB, in three frames, most of which are still to come when it is refused.
    for len in [(1 << 20) + 1, 40 << 20] {
        let mut raw = Raw::login(&program.mysql, None, caps::USUAL).await;
        let answer = raw.ask(&of(len), Shape::Single).await;
        let text = "08S01txguard: Got a packet bigger than 'max_allowed_packet' bytes";
        assert_eq!(answer.packets.len(), 1, "the error, not a broken connection");
        assert_eq!(error(&answer.packets[0].payload), (1153, text.to_owned()));
        assert_eq!(answer.packets[0].seqs, [1]);
        assert!(raw.rest().await.is_empty());
    }
}
