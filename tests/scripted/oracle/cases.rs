//! Every command with every legal reply, by name.

use txguard::wire::command::{Command, Reply as Kind};
use txguard::wire::frame::PAYLOAD_MAX;
use txguard::wire::lenenc::write_lenenc;
use txguard::wire::status::Status;

use super::play::{Flow, Turn};
use crate::words::{
    AUTO, Done, Reply, about, column, command, err, execute, execute_with, ok, prepare, prepare_ok,
    query, row, rows_end,
};

const MORE: u16 = Status::MORE_RESULTS;

/// What the replies of a session look like.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    /// `CLIENT_DEPRECATE_EOF` was agreed on.
    pub(super) eof_gone: bool,
    /// The flags of OK and EOF packets.
    pub(super) status: u16,
}

/// A command, and all that follows until its reply is complete.
pub(super) struct Case {
    pub(super) name: String,
    /// What has to happen first.
    before: Vec<(Vec<u8>, Reply)>,
    command: Vec<u8>,
    turns: Vec<Turn>,
    /// Nothing can follow.
    pub(super) leaves: bool,
    /// The session is as after login: what happened first is forgotten.
    forgets: bool,
    /// The client says nothing ahead of its reply, nor this ahead of another one.
    pub(super) alone: bool,
}

impl Case {
    fn new(name: impl Into<String>, command: Vec<u8>, turns: Vec<Turn>) -> Self {
        let name = name.into();
        Self { name, before: vec![], command, turns, leaves: false, forgets: false, alone: false }
    }

    fn reply(name: impl Into<String>, command: Vec<u8>, reply: Reply) -> Self {
        Self::new(name, command, vec![Turn::Server(reply.packets)])
    }

    /// Without an answer.
    fn silent(name: impl Into<String>, command: Vec<u8>) -> Self {
        Self::new(name, command, vec![])
    }

    fn behind(mut self, command: Vec<u8>, reply: Reply) -> Self {
        self.before.push((command, reply));
        self
    }

    /// Can be said behind `first`, when all has happened that both need first.
    pub(super) fn fits_behind(&self, first: &Self) -> bool {
        !first.leaves && (!first.forgets || self.before.is_empty())
    }

    pub(super) fn before(&self, flow: &mut Flow) {
        for (command, reply) in &self.before {
            flow.exchange(command, reply);
        }
    }

    pub(super) fn say(&self, flow: &mut Flow, ahead: bool) {
        flow.turns(&self.command, &self.turns, ahead);
    }
}

impl Shape {
    fn ok(self) -> Reply {
        ok(self.status)
    }

    fn end(self) -> Vec<u8> {
        rows_end(self.eof_gone, self.status)
    }

    /// A result with these rows.
    fn rows(self, columns: usize, rows: Vec<Vec<u8>>, status: u16) -> Reply {
        let mut count = Vec::new();
        write_lenenc(&mut count, columns as u64);
        let mut packets = vec![count];
        packets.extend((0..columns).map(|number| column(&format!("c{number}"))));
        if !self.eof_gone {
            packets.push(rows_end(false, status));
        }
        packets.extend(rows);
        packets.push(rows_end(self.eof_gone, status));
        Reply { packets }
    }

    /// A result of so many columns and rows.
    fn table(self, columns: usize, rows: usize) -> Reply {
        self.rows(columns, vec![row(&vec!["x"; columns]); rows], self.status)
    }

    /// The same with another result behind it.
    fn table_and(self, columns: usize, rows: usize, next: Reply) -> Reply {
        self.rows(columns, vec![row(&vec!["x"; columns]); rows], self.status | MORE).then(next)
    }

    fn prepared(self, params: u16, columns: u16) -> Reply {
        prepare_ok(self.eof_gone, 1, params, columns)
    }
}

/// The first packets of a reply, and an error in place of the others.
fn cut(mut reply: Reply, keep: usize) -> Reply {
    reply.packets.truncate(keep);
    reply.then(err(1105, "cut"))
}

/// All of them but the huge ones.
pub(super) fn all(shape: Shape) -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, reply) in results(shape) {
        cases.push(Case::reply(format!("query: {name}"), query("SELECT v FROM t"), reply.clone()));
        let executed = Case::reply(format!("execute: {name}"), execute(1), reply);
        cases.push(executed.behind(prepare("SELECT v FROM t"), shape.prepared(0, 1)));
    }
    cases.extend(texts(shape));
    cases.extend(relatives(shape));
    cases.extend(prepared(shape));
    cases.extend(cursors(shape));
    cases.extend(fields(shape));
    cases.extend(singles(shape));
    cases.extend(files(shape));
    cases.extend(logins());
    cases.extend(odd(shape));
    cases
}

/// Every legal reply of a statement.
fn results(shape: Shape) -> Vec<(String, Reply)> {
    let of = |name: &str, reply: Reply| (name.to_owned(), reply);
    let (status, ok) = (shape.status, shape.ok());
    let one = || shape.table(1, 2);
    let done =
        Done { affected: 300, insert_id: 0, warnings: 3, info: "\x0fRows matched: 1", status };
    let state = Done {
        info: "\x00\x0b\x05\x09\x08autocommit",
        ..Done::at(status | Status::SESSION_STATE_CHANGED)
    };
    let generated = Done { affected: 70_000, insert_id: 1 << 40, ..Done::at(status) };
    let mut cases = vec![
        of("ok", ok.clone()),
        of("ok with info", done.reply()),
        of("ok with session state", state.reply()),
        of("ok with a generated id", generated.reply()),
        of("error", err(1064, "You have an error near 'x'")),
        of("error that names a column", err(1064, "... line 1 column 8 near \"x\" ")),
        of("two rows", one()),
        of("no rows", shape.table(1, 0)),
        of("300 columns", shape.table(300, 1)),
        of("rows beyond the sequence ids", shape.table(1, 600)),
        of("error in place of columns", cut(one(), 1)),
        of("error behind columns", cut(one(), 2)),
        of("error behind a row", cut(one(), 4)),
        of("three results, ok at last", shape.table_and(1, 1, shape.table_and(2, 3, ok.clone()))),
        of("ok, ok, rows", crate::words::ok(status | MORE).then(one())),
        of("ok, error", crate::words::ok(status | MORE).then(err(1062, "Duplicate"))),
        of("rows, error behind a row", shape.table_and(1, 1, cut(one(), 4))),
        of("rows, error in place of columns", shape.table_and(1, 1, cut(one(), 1))),
        of("rows of strange bytes", shape.rows(3, strange_rows(shape), status)),
        of("an eof that warns", warned(shape)),
    ];
    let sizes = [250, 251, 252, 65_535, 65_536, 70_000];
    let long = sizes.iter().map(|len| row(&[&"x".repeat(*len)])).collect();
    cases.push(of("values as long as their length's encoding", shape.rows(1, long, status)));
    cases
}

/// Rows that look like something else.
fn strange_rows(shape: Shape) -> Vec<Vec<u8>> {
    let mut rows = vec![
        // NULL first; three empty strings; a binary row; a long first value.
        vec![0xFB, 0xFB, 0xFB],
        vec![0, 0, 0],
        vec![0x00, 0x04, 1, b'1', 1, b'2'],
        [&[0xFC, 0, 1][..], &[0xFF; 256], &[0, 0]].concat(),
        [&[0x00, 0x00][..], &[0xFE; 300]].concat(),
        [&[1, 0xFF][..], &[1, 0xFE], &[1, 0x00]].concat(),
    ];
    if !shape.eof_gone {
        // A value announced with eight bytes of length; so long a packet is no EOF.
        rows.push([&[0xFE, 1, 0, 0, 0, 0, 0, 0, 0, b'x'][..], &[0, 0]].concat());
    }
    rows
}

/// A result whose end has warnings.
fn warned(shape: Shape) -> Reply {
    let mut reply = shape.table(1, 1);
    let end = reply.packets.last_mut().expect("an end");
    let warnings = if shape.eof_gone { 5 } else { 1 };
    end[warnings] = 7;
    reply
}

/// Texts that txguard reads, each answered with OK.
fn texts(shape: Shape) -> Vec<Case> {
    [
        "SET NAMES utf8mb4",
        "USE bank",
        "INSERT INTO t VALUES (1)",
        "UPDATE t SET v = 'it''s' WHERE id = 1",
        "SELECT 1 /* with a comment */ -- and another",
        "/* first */ SELECT 1",
        "/*+ hint */ SELECT 1",
        "/*! SELECT */ 1",
        "SELECT 1; SELECT 2",
        "SAVEPOINT a",
        "CALL p()",
        "  ",
        ";",
        "",
        "\u{0}\u{1}",
        "SELECT 'unfinished",
        "SELECT \"\u{1F980}\"",
    ]
    .iter()
    .map(|text| Case::reply(format!("text: {text:?}"), query(text), shape.ok()))
    .chain([Case::reply(
        "text: as long as is looked at",
        query(&format!("SELECT '{}'", "x".repeat(70_000))),
        shape.table(1, 1),
    )])
    .collect()
}

/// Commands that are answered like statements.
fn relatives(shape: Shape) -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, first, rest) in [
        ("bulk execute", Command::STMT_BULK_EXECUTE, &[1, 0, 0, 0, 128, 0][..]),
        ("process info", Command::PROCESS_INFO, &[]),
    ] {
        let command = command(first, rest);
        for (what, reply) in
            [("ok", shape.ok()), ("rows", shape.table(8, 3)), ("error", err(1227, "Access denied"))]
        {
            cases.push(Case::reply(format!("{name}: {what}"), command.clone(), reply));
        }
    }
    cases
}

/// COM_STMT_* but for cursors.
fn prepared(shape: Shape) -> Vec<Case> {
    let select = || prepare("SELECT ?");
    let mut cases = Vec::new();
    for (params, columns) in
        [(0, 0), (1, 0), (0, 1), (3, 2), (300, 300), (4096, 0), (0, 4096), (4096, 4096)]
    {
        let name = format!("prepare: {params} parameters, {columns} columns");
        cases.push(Case::reply(name, select(), shape.prepared(params, columns)));
    }
    cases.push(Case::reply("prepare: error", select(), err(1064, "no")));
    cases.push(Case::reply("prepare: error behind a parameter", select(), {
        let mut reply = shape.prepared(2, 1);
        reply.packets.truncate(2);
        reply.then(err(1105, "cut"))
    }));
    cases.push(Case::reply("query: 4096 columns", query("SELECT * FROM t"), shape.table(4096, 2)));
    let behind = |case: Case| case.behind(select(), shape.prepared(1, 1));
    let binary = vec![0x00, 0x00, 5, 0, 0, 0, 0, 0, 0, 0];
    let rows = || shape.rows(1, vec![binary.clone(), vec![0x00, 0x04]], shape.status);
    let reset = about(Command::STMT_RESET, 1);
    cases.extend([
        behind(Case::reply("execute: types bound", execute_with(1, true, 7), rows())),
        behind(Case::reply("execute: types of before", execute_with(1, false, 7), rows()))
            .behind(execute_with(1, true, 6), rows()),
        behind(Case::reply("execute: nobody's", execute(9), err(1243, "Unknown"))),
        sent(shape, "long data", b"x"),
        sent(shape, "long data, 100 KB", &[7; 100_000]),
        behind(Case::silent("close", about(Command::STMT_CLOSE, 1))),
        Case::silent("close: nobody's", about(Command::STMT_CLOSE, 9)),
        behind(Case::reply("reset: ok", reset.clone(), shape.ok())),
        Case::reply("reset: error", reset, err(1243, "Unknown")),
    ]);
    cases
}

/// Long data for a statement that no other case prepares anew: TiDB may complain of a parameter
/// that is not there, and txguard asks it then.
fn sent(shape: Shape, name: &str, bytes: &[u8]) -> Case {
    let data = [&about(Command::STMT_SEND_LONG_DATA, 2)[..], &[0, 0], bytes].concat();
    let prepared = prepare_ok(shape.eof_gone, 2, 1, 1);
    Case::silent(name, data).behind(prepare("SELECT ?"), prepared)
}

/// Cursors, opened and fetched from.
fn cursors(shape: Shape) -> Vec<Case> {
    let open = {
        let mut packets = vec![vec![2], column("a"), column("b")];
        packets.push(rows_end(shape.eof_gone, shape.status | Status::CURSOR_EXISTS));
        Reply { packets }
    };
    let batch = |rows: usize, flags: u16| {
        let mut packets = vec![vec![0x00, 0x00, 1, b'a', 1, b'b']; rows];
        packets.push(rows_end(shape.eof_gone, shape.status | flags));
        Reply { packets }
    };
    let mut execute = execute(1);
    execute[5] = 1;
    let fetch = [&about(Command::STMT_FETCH, 1)[..], &[100, 0, 0, 0]].concat();
    let behind = |case: Case| {
        case.behind(prepare("SELECT a, b FROM t"), shape.prepared(0, 2))
            .behind(execute.clone(), open.clone())
    };
    let (exists, last) = (Status::CURSOR_EXISTS, Status::CURSOR_EXISTS | Status::LAST_ROW_SENT);
    let open_case = Case::reply("cursor: opened", execute.clone(), open.clone());
    vec![
        open_case.behind(prepare("SELECT a, b FROM t"), shape.prepared(0, 2)),
        behind(Case::reply("fetch: a batch", fetch.clone(), batch(100, exists))),
        behind(Case::reply("fetch: the last batch", fetch.clone(), batch(3, last))),
        behind(Case::reply("fetch: nothing", fetch.clone(), batch(0, last))),
        behind(Case::reply("fetch: error", fetch.clone(), err(1421, "no cursor"))),
        behind(Case::reply("fetch: error behind a row", fetch, cut(batch(3, exists), 1))),
    ]
}

fn fields(shape: Shape) -> Vec<Case> {
    let list = command(Command::FIELD_LIST, b"t\0%");
    let columns = |count: usize| {
        Reply::of((0..count).map(|number| column(&format!("c{number}"))).chain([shape.end()]))
    };
    [
        ("none", columns(0)),
        ("one", columns(1)),
        ("4096", columns(4096)),
        ("error", err(1146, "no such table")),
        ("error behind a column", cut(columns(2), 1)),
    ]
    .map(|(name, reply)| Case::reply(format!("field list: {name}"), list.clone(), reply))
    .into()
}

/// Commands with one packet for an answer.
fn singles(shape: Shape) -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, first, rest) in [
        ("init db", Command::INIT_DB, &b"bank"[..]),
        ("refresh", Command::REFRESH, &[1]),
        ("process kill", Command::PROCESS_KILL, &[1, 0, 0, 0]),
        ("debug", Command::DEBUG, &[]),
        ("ping", Command::PING, &[]),
        ("set option", Command::SET_OPTION, &[0, 0]),
    ] {
        let command = command(first, rest);
        debug_assert!(Command(command[0]).reply() == Kind::Single);
        for (what, reply) in [
            ("ok", shape.ok()),
            ("eof", Reply::of([shape.end()])),
            ("short eof", Reply::of([rows_end(false, shape.status)])),
            ("error", err(1105, "no")),
        ] {
            cases.push(Case::reply(format!("{name}: {what}"), command.clone(), reply));
        }
    }
    let reset = command(Command::RESET_CONNECTION, &[]);
    let statistics = command(Command::STATISTICS, &[]);
    let text = |text: &[u8]| Reply::of([text.to_vec()]);
    cases.extend([
        // It ends the transaction.
        Case { forgets: true, ..Case::reply("reset connection: ok", reset.clone(), ok(AUTO)) },
        Case::reply("reset connection: error", reset, err(1105, "no")),
        Case::reply("statistics", statistics.clone(), text(b"Uptime: 1  Threads: 2")),
        Case::reply("statistics: long", statistics.clone(), text(&[b'x'; 100_000])),
        Case::reply("statistics: error", statistics, err(1105, "no")),
    ]);
    let quit = Case::silent("quit", command(Command::QUIT, &[]));
    cases.push(Case { leaves: true, ..quit });
    cases
}

/// LOCAL INFILE, taken and refused.
fn files(shape: Shape) -> Vec<Case> {
    let load = |name: &str, parts: &[Vec<u8>], answer: Reply| {
        let mut turns = vec![Turn::Server(vec![b"\xFBfile".to_vec()])];
        turns.extend(parts.iter().cloned().map(Turn::Client));
        turns.push(Turn::Client(vec![]));
        turns.push(Turn::Server(answer.packets));
        Case::new(name, query("LOAD DATA LOCAL INFILE 'f' INTO TABLE t"), turns)
    };
    let more = ok(shape.status | MORE);
    vec![
        load("file: two parts", &[vec![b'x'; 500], vec![b'y'; 3]], shape.ok()),
        load("file: 100 KB", &[vec![0x03; 100_000]], shape.ok()),
        load("file: empty", &[], shape.ok()),
        load("file: refused", &[vec![b'x'; 9]], err(1062, "Duplicate")),
        load("file: a result behind it", &[b"\x03BEGIN".to_vec()], more.then(shape.table(1, 1))),
    ]
}

/// COM_CHANGE_USER; it ends the transaction.
fn logins() -> Vec<Case> {
    let login = command(Command::CHANGE_USER, b"bob\0\x02xxshop\0\x2d\0mysql_native_password\0");
    let switch = b"\xFEcaching_sha2_password\0abcdefghijklmnopqrst\0".to_vec();
    let answer = Turn::Client(vec![Command::QUERY.0; 32]);
    let said = |packets: &[Vec<u8>]| Turn::Server(packets.to_vec());
    let ok = ok(AUTO).packets;
    let refused = err(1045, "Access denied").packets;
    [
        ("ok at once", vec![said(&ok)]),
        ("refused at once", vec![said(&refused)]),
        ("switch", vec![said(std::slice::from_ref(&switch)), answer.clone(), said(&ok)]),
        (
            "switch, refused",
            vec![said(std::slice::from_ref(&switch)), answer.clone(), said(&refused)],
        ),
        (
            "switch, fast path",
            vec![
                said(std::slice::from_ref(&switch)),
                answer.clone(),
                said(&[vec![1, 3], ok[0].clone()]),
            ],
        ),
        (
            "switch, full exchange",
            vec![
                said(&[switch]),
                answer.clone(),
                said(&[vec![1, 4]]),
                Turn::Client(vec![2]),
                said(&[[&b"\x01-----BEGIN PUBLIC KEY-----"[..], &[b'k'; 400]].concat()]),
                answer,
                said(&ok),
            ],
        ),
    ]
    .into_iter()
    .map(|(name, turns)| {
        let forgets = !name.contains("refused");
        let case = Case::new(format!("change user: {name}"), login.clone(), turns);
        Case { alone: true, forgets, ..case }
    })
    .collect()
}

/// What no client should say.
fn odd(shape: Shape) -> Vec<Case> {
    let mut cases = vec![Case::reply("an empty packet", vec![], err(1105, "malform packet"))];
    for first in [0x00, 0x05, 0x08, 0x12, 0x1D, 0x20, 0x50, 0xFB, 0xFF] {
        let name = format!("unknown command {first:#04x}");
        cases.push(Case::reply(name, vec![first, 1, 2], err(1105, "not supported")));
    }
    cases.push(Case::reply("unknown command with rows", vec![0x20], shape.table(2, 2)));
    cases
}

/// Packets of 16 MiB and more, in both directions.
pub(super) fn huge(shape: Shape) -> Vec<Case> {
    let mut cases = Vec::new();
    let tall = |first: u8, len: usize| {
        let mut row = vec![first; len];
        row[len - 1] = 0;
        row
    };
    for (name, len) in [
        ("one byte less than 16 MiB", PAYLOAD_MAX - 1),
        ("16 MiB", PAYLOAD_MAX),
        ("one byte more", PAYLOAD_MAX + 1),
        ("32 MiB", 2 * PAYLOAD_MAX),
    ] {
        let text = query(&format!("SELECT '{}'", "x".repeat(len - 10)));
        cases.push(Case::reply(format!("a query of {name}"), text, shape.table(1, 1)));
        // 0xFE and so short would be an end.
        let first = if len >= PAYLOAD_MAX { 0xFE } else { 0xFD };
        let rows = vec![tall(first, len), row(&["x"]), tall(0xFD, len)];
        let reply = shape.rows(1, rows, shape.status);
        cases.push(Case::reply(format!("rows of {name}"), query("SELECT v FROM t"), reply));
    }
    let behind = |case: Case| case.behind(prepare("SELECT ?"), shape.prepared(1, 1));
    let parameter = [&execute_with(1, true, 7)[..], &vec![7; PAYLOAD_MAX][..]].concat();
    let binary = shape.rows(1, vec![tall(0x00, PAYLOAD_MAX + 5)], shape.status);
    let cut_off = cut(
        shape.rows(1, vec![tall(1, 2 * PAYLOAD_MAX)], shape.status),
        if shape.eof_gone { 3 } else { 4 },
    );
    let file = vec![
        Turn::Server(vec![b"\xFBfile".to_vec()]),
        Turn::Client(vec![b'x'; PAYLOAD_MAX]),
        Turn::Client(vec![b'y'; PAYLOAD_MAX + 1]),
        Turn::Client(vec![]),
        Turn::Server(shape.ok().packets),
    ];
    cases.extend([
        behind(Case::reply("an execution of more than 16 MiB", parameter, binary)),
        sent(shape, "long data of 16 MiB", &vec![7; PAYLOAD_MAX - 7]),
        Case::reply(
            "a statement of 16 MiB to prepare",
            prepare(&"x".repeat(PAYLOAD_MAX - 1)),
            shape.prepared(0, 0),
        ),
        Case::reply("an error behind a row of 32 MiB", query("SELECT v FROM t"), cut_off),
        Case::new("a file in packets of 16 MiB", query("LOAD DATA LOCAL INFILE 'f'"), file),
    ]);
    cases
}
