//! Tests of the front with a real driver, and with bytes where a driver is too polite.

use std::sync::Arc;

use mysql_async::consts::StatusFlags;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error, Opts, OptsBuilder, Row, Value};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::base::tasks::Tasks;
use crate::embedded::engine::Engine;

/// A backend on a free port, with the table `test.t` of three accounts of 100.
struct Backend {
    port: u16,
    tasks: Tasks,
}

impl Backend {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let engine = Arc::new(Engine::new());
        let mut setup = engine.session();
        for sql in [
            "CREATE TABLE test.t (id INT PRIMARY KEY, v BIGINT NOT NULL, s VARCHAR(20))",
            "INSERT INTO test.t VALUES (1, 100, 'one'), (2, 100, NULL), (3, 100, 'three')",
        ] {
            setup.execute(sql).expect("setup");
        }
        let tasks = Tasks::default();
        tasks.spawn(super::serve(listener, engine, tasks.token().clone()));
        Self { port, tasks }
    }

    fn opts(&self) -> Opts {
        let opts = OptsBuilder::default()
            .ip_or_hostname("127.0.0.1")
            .tcp_port(self.port)
            .user(Some("root"))
            .pass(Some("anything"))
            .db_name(Some("test"));
        opts.into()
    }

    async fn connect(&self) -> Conn {
        Conn::new(self.opts()).await.expect("a connection")
    }

    async fn stop(self) {
        self.tasks.cancel();
        self.tasks.wait().await;
    }
}

fn code(result: Result<(), Error>) -> (u16, String) {
    match result {
        Err(Error::Server(error)) => (error.code, error.state),
        other => panic!("a server error was expected, not {other:?}"),
    }
}

/// The flags of the last OK or EOF: IN_TRANS and AUTOCOMMIT.
fn flags(conn: &Conn) -> (bool, bool) {
    let flags = conn.last_ok_packet().expect("an OK").status_flags();
    (
        flags.contains(StatusFlags::SERVER_STATUS_IN_TRANS),
        flags.contains(StatusFlags::SERVER_STATUS_AUTOCOMMIT),
    )
}

#[tokio::test]
async fn a_conflict_arrives_as_9007() {
    let backend = Backend::start().await;
    let (mut a, mut b) = (backend.connect().await, backend.connect().await);
    for conn in [&mut a, &mut b] {
        conn.query_drop("BEGIN OPTIMISTIC").await.expect("begins");
        conn.query_drop("UPDATE t SET v = v + 1 WHERE id = 1").await.expect("writes");
    }
    a.query_drop("COMMIT").await.expect("the first committer wins");
    assert_eq!(code(b.query_drop("COMMIT").await), (9007, "HY000".to_owned()));
    assert_eq!(b.query_first("SELECT v FROM t WHERE id = 1").await.expect("reads"), Some(101));
    assert_eq!(flags(&b), (false, true));
    backend.stop().await;
}

#[tokio::test]
async fn status_flags_follow_the_transaction_after_every_kind_of_answer() {
    let backend = Backend::start().await;
    let mut conn = backend.connect().await;
    assert_eq!(flags(&conn), (false, true), "after the login");
    for (sql, expected) in [
        ("SELECT 1", (false, true)),
        ("BEGIN", (true, true)),
        ("SELECT * FROM t", (true, true)),
        ("UPDATE t SET v = 1", (true, true)),
        ("COMMIT", (false, true)),
        ("SET autocommit = 0", (false, false)),
        ("SELECT 1", (false, false)),
        ("SELECT * FROM t", (true, false)),
        ("ROLLBACK", (false, false)),
        ("SET autocommit = 1", (false, true)),
    ] {
        conn.query_drop(sql).await.expect(sql);
        assert_eq!(flags(&conn), expected, "text: {sql}");
    }
    for (sql, expected) in [
        ("BEGIN", (true, true)),
        ("SELECT * FROM t", (true, true)),
        ("UPDATE t SET v = 2", (true, true)),
        ("COMMIT", (false, true)),
    ] {
        conn.exec_drop(sql, ()).await.expect(sql);
        assert_eq!(flags(&conn), expected, "prepared: {sql}");
    }
    conn.query_drop("BEGIN").await.expect("begins");
    conn.ping().await.expect("pings");
    assert_eq!(flags(&conn), (true, true), "a ping carries the flags");
    backend.stop().await;
}

#[tokio::test]
async fn values_come_out_equal_in_both_protocols() {
    let backend = Backend::start().await;
    let mut conn = backend.connect().await;
    let sql = "SELECT id, v, s, SUM(v), COUNT(*) FROM t";
    assert!(conn.query_drop(sql).await.is_err(), "mixed with aggregates");
    let text: Vec<(i32, i64, Option<String>)> = conn.query("SELECT * FROM t").await.expect("text");
    let binary: Vec<(i32, i64, Option<String>)> =
        conn.exec("SELECT * FROM t", ()).await.expect("binary");
    assert_eq!(text, binary);
    assert_eq!(text[1], (2, 100, None));
    let sums: Option<(i64, i64, Option<i32>)> =
        conn.exec_first("SELECT SUM(v), COUNT(*), MIN(id) FROM t", ()).await.expect("sums");
    assert_eq!(sums, Some((300, 3, Some(1))));
    let row: Row =
        conn.exec_first("SELECT @@autocommit, VERSION()", ()).await.expect("runs").expect("a row");
    assert_eq!(row.unwrap()[0], Value::Int(1));
    backend.stop().await;
}

#[tokio::test]
async fn prepared_statements_take_parameters_and_are_refused_when_unknown() {
    let backend = Backend::start().await;
    let mut conn = backend.connect().await;
    let statement =
        conn.prep("UPDATE t SET v = v - ?, s = ? WHERE id = ?").await.expect("prepares");
    assert_eq!((statement.num_params(), statement.num_columns()), (3, 0));
    for id in [1, 2, 99] {
        conn.exec_drop(&statement, (30, "x", id)).await.expect("runs");
        assert_eq!(conn.affected_rows(), u64::from(id < 99));
    }
    conn.exec_drop(&statement, (-5, None::<String>, 3)).await.expect("runs");
    let rows: Vec<(i64, Option<String>)> =
        conn.exec("SELECT v, s FROM t WHERE id >= ? ORDER BY id", (1,)).await.expect("reads");
    assert_eq!(rows, [(70, Some("x".into())), (70, Some("x".into())), (105, None)]);
    assert_eq!(code(conn.exec_drop("SELECT * FROM nope", ()).await).0, 1146);
    conn.exec_drop("INSERT INTO t VALUES (?, ?, ?)", (9, u32::MAX, "é")).await.expect("inserts");
    conn.reset().await.expect("resets");
    assert_eq!(code(conn.exec_drop(&statement, (0, "x", 1)).await).0, 1243);
    backend.stop().await;
}

#[tokio::test]
async fn a_reset_connection_has_lost_its_transaction_and_settings() {
    let backend = Backend::start().await;
    let mut conn = backend.connect().await;
    conn.query_drop("SET autocommit = 0").await.expect("sets");
    conn.query_drop("UPDATE t SET v = 0").await.expect("writes");
    assert!(conn.reset().await.expect("the driver asks for COM_RESET_CONNECTION"));
    conn.ping().await.expect("pings");
    assert_eq!(flags(&conn), (false, true));
    assert_eq!(conn.query_first("SELECT SUM(v) FROM t").await.expect("reads"), Some(300));
    backend.stop().await;
}

#[tokio::test]
async fn what_is_not_supported_says_so() {
    let backend = Backend::start().await;
    let mut conn = backend.connect().await;
    let error = conn.query_drop("BEGIN PESSIMISTIC").await.expect_err("not supported");
    assert!(error.to_string().contains("BEGIN PESSIMISTIC"), "{error}");
    assert_eq!(code(conn.query_drop("SELECT NOW()").await), (1235, "42000".to_owned()));
    assert_eq!(code(conn.query_drop("SELEC 1").await).0, 1064);
    assert_eq!(code(conn.query_drop("USE nope").await).0, 1049);
    assert_eq!(code(conn.query_drop("INSERT INTO t VALUES (1, 1, '')").await).0, 1062);
    let elsewhere = OptsBuilder::from_opts(backend.opts()).db_name(Some("nope"));
    assert_eq!(code(Conn::new(elsewhere).await.map(drop)).0, 1049);
    conn.query_drop("SELECT 1").await.expect("the connection is as good as before");
    backend.stop().await;
}

#[tokio::test]
async fn results_longer_than_a_buffer_arrive() {
    let backend = Backend::start().await;
    let mut conn = backend.connect().await;
    conn.query_drop("CREATE TABLE long_rows (id INT PRIMARY KEY, s TEXT)").await.expect("creates");
    let long = "x".repeat(60_000);
    for id in 0..20 {
        let row = (id, &long);
        conn.exec_drop("INSERT INTO long_rows VALUES (?, ?)", row).await.expect("inserts");
    }
    let rows: Vec<(i32, String)> = conn.query("SELECT * FROM long_rows").await.expect("reads");
    assert!(rows.len() == 20 && rows.iter().all(|(_, text)| *text == long));
    backend.stop().await;
}

#[tokio::test]
async fn cancelling_ends_the_connections() {
    let backend = Backend::start().await;
    let mut conn = backend.connect().await;
    backend.stop().await;
    assert!(conn.ping().await.is_err());
}

// ── Bytes ───────────────────────────────────────────────────────────────────────────────────

/// A client without manners.
struct Raw(TcpStream);

impl Raw {
    /// Logs in; with the capabilities DEPRECATE_EOF or without.
    async fn login(backend: &Backend, deprecate_eof: bool) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", backend.port)).await.expect("connects");
        let mut raw = Self(stream);
        let greeting = raw.packet().await;
        let version = b"8.0.11-txguard-embedded\0";
        assert_eq!((greeting[0], &greeting[1..=version.len()]), (10, &version[..]));
        let status = 1 + version.len() + 4 + 8 + 1 + 2 + 1;
        assert_eq!(greeting[status..status + 2], [2, 0], "autocommit in the greeting");
        // PROTOCOL_41, SECURE_CONNECTION, PLUGIN_AUTH.
        let capabilities = 0x0000_0200_u32
            | 0x0000_8000
            | 0x0008_0000
            | if deprecate_eof { 0x0100_0000 } else { 0 };
        let mut response = capabilities.to_le_bytes().to_vec();
        response.extend([0, 0, 0, 1, 45]);
        response.extend([0; 23]);
        response.extend(b"root\0\0mysql_native_password\0");
        raw.send(1, &response).await;
        assert_eq!(raw.packet().await, [0, 0, 0, 2, 0, 0, 0]);
        raw
    }

    async fn send(&mut self, sequence: u8, payload: &[u8]) {
        let mut bytes = u32::try_from(payload.len()).expect("short").to_le_bytes();
        bytes[3] = sequence;
        self.0.write_all(&[&bytes, payload].concat()).await.expect("sends");
    }

    async fn packet(&mut self) -> Vec<u8> {
        let mut header = [0; 4];
        self.0.read_exact(&mut header).await.expect("a header");
        header[3] = 0;
        let length = u32::from_le_bytes(header) as usize;
        let mut payload = vec![0; length];
        self.0.read_exact(&mut payload).await.expect("a payload");
        payload
    }

    async fn ends(mut self) -> bool {
        matches!(self.0.read(&mut [0; 16]).await, Ok(0) | Err(_))
    }
}

#[tokio::test]
async fn commands_that_opensrv_would_wave_through_are_refused() {
    let backend = Backend::start().await;
    let mut raw = Raw::login(&backend, true).await;
    // FIELD_LIST, STATISTICS, PROCESS_KILL, CHANGE_USER, STMT_RESET, SET_OPTION, STMT_FETCH, an
    // unknown one and an empty one.
    for command in [
        &b"\x04t\0"[..],
        b"\x09",
        b"\x0c\x01\0\0\0",
        b"\x11root\0\0test\0",
        b"\x1a\x01\0\0\0",
        b"\x1b\0\0",
        b"\x1c\x01\0\0\0\x01\0\0\0",
        b"\xfe",
        b"",
    ] {
        raw.send(0, command).await;
        let answer = raw.packet().await;
        assert_eq!(answer[..9], *b"\xff\x17\x04#08S01", "{command:?}");
    }
    raw.send(0, b"\x17\x07\0\0\0\0\x01\0\0\0").await;
    assert_eq!(raw.packet().await[..9], *b"\xff\xdb\x04#HY000", "unknown statement");
    raw.send(0, b"\x03SELECT '\xff'").await;
    assert_eq!(raw.packet().await[..9], *b"\xff\x14\x05#HY000", "not UTF-8");
    raw.send(0, b"\x0e").await;
    assert_eq!(raw.packet().await, [0, 0, 0, 2, 0, 0, 0]);
    backend.stop().await;
}

#[tokio::test]
async fn clients_without_deprecate_eof_see_the_flags_in_both_eofs() {
    let backend = Backend::start().await;
    let mut raw = Raw::login(&backend, false).await;
    raw.send(0, b"\x03BEGIN").await;
    assert_eq!(raw.packet().await, [0, 0, 0, 3, 0, 0, 0]);
    raw.send(0, b"\x03SELECT id FROM test.t WHERE id = 1").await;
    assert_eq!(raw.packet().await, [1]);
    raw.packet().await;
    assert_eq!(raw.packet().await, [0xfe, 0, 0, 3, 0]);
    assert_eq!(raw.packet().await, [1, b'1']);
    assert_eq!(raw.packet().await, [0xfe, 0, 0, 3, 0]);
    backend.stop().await;
}

#[tokio::test]
async fn pipelined_commands_are_answered_in_order() {
    let backend = Backend::start().await;
    let mut raw = Raw::login(&backend, true).await;
    let mut bytes = Vec::new();
    for command in [&b"\x03BEGIN"[..], b"\x11x", b"\x0e", b"\x03COMMIT"] {
        bytes.extend([u8::try_from(command.len()).expect("short"), 0, 0, 0]);
        bytes.extend(command);
    }
    for byte in bytes {
        raw.0.write_all(&[byte]).await.expect("sends");
    }
    assert_eq!(raw.packet().await, [0, 0, 0, 3, 0, 0, 0]);
    assert_eq!(raw.packet().await[0], 0xff);
    assert_eq!(raw.packet().await, [0, 0, 0, 3, 0, 0, 0]);
    assert_eq!(raw.packet().await, [0, 0, 0, 2, 0, 0, 0]);
    backend.stop().await;
}

#[tokio::test]
async fn broken_bytes_end_their_connection_only() {
    let backend = Backend::start().await;
    let mut wrong_sequence = Raw::login(&backend, true).await;
    wrong_sequence.send(7, b"\x0e").await;
    assert!(wrong_sequence.ends().await);
    let mut too_long = Raw::login(&backend, true).await;
    let frame = vec![b'x'; 0xff_ff_ff];
    for sequence in 0..4 {
        let header = [0xff, 0xff, 0xff, sequence];
        let sent = too_long.0.write_all(&[&header[..], &frame].concat()).await;
        if sent.is_err() {
            break;
        }
    }
    assert!(too_long.ends().await);
    let mut garbage = TcpStream::connect(("127.0.0.1", backend.port)).await.expect("connects");
    garbage.write_all(&[0x55; 300]).await.expect("sends");
    garbage.shutdown().await.expect("closes");
    let mut fine = backend.connect().await;
    fine.ping().await.expect("others don't notice");
    backend.stop().await;
}

#[tokio::test]
async fn a_dropped_connection_releases_its_transaction() {
    let backend = Backend::start().await;
    let mut a = backend.connect().await;
    a.query_drop("BEGIN").await.expect("begins");
    a.query_drop("UPDATE t SET v = 0").await.expect("writes");
    drop(a);
    let mut b = backend.connect().await;
    b.query_drop("UPDATE t SET v = v + 1").await.expect("writes");
    assert_eq!(b.query_first("SELECT SUM(v) FROM t").await.expect("reads"), Some(303));
    backend.stop().await;
}

#[tokio::test]
async fn serve_returns_at_once_when_it_is_cancelled_before() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let cancel = CancellationToken::new();
    cancel.cancel();
    super::serve(listener, Arc::new(Engine::new()), cancel).await;
}
