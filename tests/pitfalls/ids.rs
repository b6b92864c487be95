//! R46: generated ids, given again. A table made anew gives the same ids to each run, so that what
//! a replay answers is compared to the byte.

use txguard::base::metrics::ReplayOutcome;

use crate::play::{Case, On, play_on_tidb};
use crate::support::proxy::policy;
use crate::support::raw::{self, Answer, Raw, Shape, caps, com};
use crate::support::{Proxy, Schema, client, need, tidb};

/// A table that begins to count.
const ANEW: &[&str] = &[
    "DROP TABLE g",
    "DROP TABLE r",
    "CREATE TABLE g (id BIGINT AUTO_INCREMENT PRIMARY KEY, v INT)",
    "CREATE TABLE r (id BIGINT AUTO_RANDOM PRIMARY KEY, v INT)",
    "SET auto_increment_increment = 1",
    "SELECT LAST_INSERT_ID(99)",
];

const IN_FIVES: &[&str] = &[
    "DROP TABLE g",
    "CREATE TABLE g (id BIGINT AUTO_INCREMENT PRIMARY KEY, v INT)",
    "SET auto_increment_increment = 5",
];

const BEHIND: &[&str] = &[
    "SELECT FOUND_ROWS(), LAST_INSERT_ID()",
    "SELECT * FROM g ORDER BY id",
    "SELECT * FROM t WHERE id > 1 ORDER BY id",
    "INSERT INTO g (v) VALUES (100)",
];

const fn replayed(name: &'static str, steps: &'static [&'static str]) -> Case {
    Case::replayed(name, steps).before(ANEW).after(BEHIND).on(On::TiDb)
}

const CASES: &[Case] = &[
    replayed("R46 a generated id", &["INSERT INTO g (v) VALUES (7)"]),
    replayed("R46 of several rows", &["INSERT INTO {schema}.g (v) VALUES (7), (8), (9)"]),
    replayed("R46 of several rows, in fives", &["INSERT INTO `g` (v) VALUES (7), (8), (9)"])
        .before(IN_FIVES),
    replayed("R46 of no values", &["INSERT INTO g () VALUES (), ()"]),
    replayed(
        "R46 the id of the parent",
        &[
            "INSERT INTO g (v) VALUES (7)",
            "INSERT INTO t VALUES (LAST_INSERT_ID() + 50, 1, 'child')",
            "SELECT LAST_INSERT_ID()",
            "INSERT INTO g (v) VALUES (8), (9)",
            "INSERT INTO t VALUES (LAST_INSERT_ID() + 50, 2, 'child')",
        ],
    ),
    replayed(
        "R46 into a schema that is named",
        &["USE {other}", "INSERT INTO {schema}.g (v) VALUES (7)", "USE {schema}"],
    ),
    Case::told(
        "R46 behind USE",
        &["USE {other}", "USE {schema}", "INSERT INTO g (v) VALUES (7)"],
        "generated_id",
    )
    .before(ANEW)
    .after(BEHIND)
    .on(On::TiDb),
    replayed("R46 an id that the client gave", &["INSERT INTO g (v, id) VALUES (7, 50)"]),
    Case::differs("R46 a column that is named", &["INSERT INTO g (id, v) VALUES (NULL, 7)"])
        .before(ANEW)
        .after(BEHIND)
        .on(On::TiDb)
        .varying(),
    Case::refused(
        "R46 LAST_INSERT_ID() of an INSERT that sets none",
        &[
            "INSERT INTO g (id, v) VALUES (50, 7)",
            "INSERT INTO t VALUES (LAST_INSERT_ID() + 50, 1, 'child')",
        ],
    )
    .before(ANEW)
    .after(BEHIND)
    .on(On::TiDb),
    Case::told(
        "R46 LAST_INSERT_ID() from before BEGIN",
        &["SELECT LAST_INSERT_ID()", "INSERT INTO g (v) VALUES (7)"],
        "last_insert_id",
    )
    .before(ANEW)
    .after(BEHIND)
    .on(On::TiDb),
    // The hot row comes out different when the first INSERT has been run again.
    Case::differs(
        "R46 LAST_INSERT_ID() behind a replay that is given up",
        &[
            "INSERT INTO g (v) VALUES (7)",
            "SELECT v FROM t WHERE id = 1",
            "INSERT INTO g (v) VALUES (8)",
        ],
    )
    .before(ANEW)
    .after(BEHIND)
    .on(On::TiDb),
    // An id that is another one fails on the row that is there.
    Case::replayed(
        "R46 AUTO_RANDOM",
        &[
            "INSERT INTO r (v) VALUES (7)",
            "INSERT INTO t (id, v) SELECT 50, COUNT(*) FROM r WHERE id = LAST_INSERT_ID()",
        ],
    )
    .before(ANEW)
    .after(&[
        "INSERT INTO t (id) SELECT 1 FROM r WHERE id <> LAST_INSERT_ID()",
        "INSERT INTO t (id) SELECT 1 FROM t WHERE id = 50 AND v <> 1",
        "INSERT INTO r (v, id) VALUES (8, 5)",
    ])
    .on(On::TiDb)
    .varying(),
    Case::refused("R46 AUTO_RANDOM of several rows", &["INSERT INTO r (v) VALUES (7), (8)"])
        .before(ANEW)
        .on(On::TiDb)
        .varying(),
];

#[tokio::test]
async fn on_tidb() {
    play_on_tidb(CASES).await;
}

/// Prepared: an execution that carries the types of its parameters, one that inherits them within
/// the transaction, and one that inherits them from before BEGIN.
#[tokio::test]
async fn prepared_on_tidb() {
    let backend = need!(tidb::start());
    for bound in [BOUND_INSIDE, BOUND_BEFORE] {
        let schema = backend
            .schema(&[
                "CREATE TABLE hot (id INT PRIMARY KEY, v INT)",
                "INSERT INTO hot VALUES (1, 10)",
                "CREATE TABLE g (id BIGINT AUTO_INCREMENT PRIMARY KEY, v INT, s VARCHAR(9))",
                "CREATE TABLE child (g BIGINT PRIMARY KEY, v INT)",
            ])
            .await;
        let proxy = Proxy::start(&backend, policy::RETRY).await;
        let address = proxy.address.to_string();
        let mut raw = Raw::login(&address, Some(&schema.name), caps::USUAL).await;
        let insert = prepare(&mut raw, "INSERT INTO g (v, s) VALUES (?, ?)").await;
        let child = prepare(&mut raw, "INSERT INTO child VALUES (LAST_INSERT_ID(), ?)").await;

        if bound == BOUND_BEFORE {
            ask(&mut raw, &two(insert, 1, "a", true)).await;
            ask(&mut raw, &one_int(child, 1, true)).await;
        }
        ask(&mut raw, &raw::query("BEGIN OPTIMISTIC")).await;
        ask(&mut raw, &raw::query("UPDATE hot SET v = v + 1")).await;
        let mut ids = Vec::new();
        for n in 2..5 {
            let types = bound == BOUND_INSIDE && n == 2;
            ids.push(insert_id(&ask(&mut raw, &two(insert, n, "bc", types)).await));
            ask(&mut raw, &one_int(child, n, types)).await;
        }
        // The client closes what it has used, and prepares something else.
        raw.ask(&raw::command(com::STMT_CLOSE, &child.to_le_bytes()), Shape::Nothing).await;
        let mut other = schema.connect().await;
        client::run(&mut other, &["UPDATE hot SET v = v + 100"]).await;
        ask(&mut raw, &raw::query("COMMIT")).await;

        assert_eq!(proxy.replays(ReplayOutcome::Succeeded), 1, "{bound}");
        let rows: Vec<(u64, i32, String)> =
            client::rows(&mut other, "SELECT id, v, s FROM g WHERE v > 1 ORDER BY id").await;
        let told: Vec<(u64, i32, String)> =
            ids.iter().zip(2..).map(|(id, n)| (*id, n, "bc".to_owned())).collect();
        assert_eq!(rows, told, "{bound}");
        let children: Vec<(u64, i32)> =
            client::rows(&mut other, "SELECT * FROM child WHERE v > 1 ORDER BY g").await;
        let told: Vec<(u64, i32)> = ids.iter().copied().zip(2..).collect();
        assert_eq!(children, told, "{bound}");
        // The client's own statement is still there, with its types.
        ask(&mut raw, &two(insert, 9, "z", false)).await;
        raw.quit().await;
        proxy.stop().await;
    }
}

/// A name without a schema means what it meant when it was prepared, also in a sub-query.
#[tokio::test]
async fn prepared_in_another_schema_on_tidb() {
    let backend = need!(tidb::start());
    let n = ["CREATE TABLE n (v INT)", "INSERT INTO n VALUES (10)"];
    for table in ["g", "{schema}.g"] {
        let schema = backend.schema(&[&HOT[..], G, &n].concat()).await;
        let other = backend.schema(&[G, &n[..1]].concat()).await;
        let proxy = Proxy::start(&backend, policy::RETRY).await;
        let mut raw = Raw::login(&proxy.address.to_string(), Some(&schema.name), caps::USUAL).await;
        let table = table.replace("{schema}", &schema.name);
        let text = format!("INSERT INTO {table} (v) VALUES (? + (SELECT SUM(v) FROM n))");
        // Its warnings would make the answers differ.
        ask(&mut raw, &raw::query("SET tidb_enable_prepared_plan_cache = OFF")).await;
        let insert = prepare(&mut raw, &text).await;
        let hot = format!("{}.hot", schema.name);

        ask(&mut raw, &raw::query(&format!("USE {}", other.name))).await;
        begin(&mut raw, &hot).await;
        ask(&mut raw, &one_int(insert, 7, true)).await;
        let committed = commit(&mut raw, &schema, &hot).await;

        assert_eq!(committed.error(), Some(9007), "{table}");
        let records = proxy.records();
        assert_eq!(records.last().expect("a record").field("unguarded"), "generated_id");
        raw.quit().await;
        proxy.stop().await;
    }
}

/// A text means what it meant when it was prepared, whatever its session says now of backslashes
/// and letters.
#[tokio::test]
async fn prepared_when_texts_read_otherwise_on_tidb() {
    const SLASH: &str = "'\\\\é'";
    let backend = need!(tidb::start());
    for (set, inside, value) in [
        ("SET sql_mode = 'NO_BACKSLASH_ESCAPES'", false, SLASH),
        ("SET @@session.`sql_mode` = 'NO_BACKSLASH_ESCAPES'", false, SLASH),
        ("/*! SET sql_mode = 'NO_BACKSLASH_ESCAPES' */", false, SLASH),
        ("SET NAMES latin1", false, SLASH),
        ("SET character_set_client = latin1", false, SLASH),
        ("SET sql_mode = 'PIPES_AS_CONCAT'", false, "'1' || '2'"),
        ("SET sql_mode = 'PIPES_AS_CONCAT'", true, "'1' || '2'"),
    ] {
        let text = format!("INSERT INTO g (v, s) VALUES (?, {value})");
        let schema = backend.schema(&[&HOT[..], G].concat()).await;
        let proxy = Proxy::start(&backend, policy::RETRY).await;
        let mut raw = Raw::login(&proxy.address.to_string(), Some(&schema.name), caps::USUAL).await;
        let insert = if inside {
            begin(&mut raw, "hot").await;
            ask(&mut raw, &raw::query(set)).await;
            prepare(&mut raw, &text).await
        } else {
            let insert = prepare(&mut raw, &text).await;
            ask(&mut raw, &raw::query(set)).await;
            begin(&mut raw, "hot").await;
            insert
        };
        ask(&mut raw, &one_int(insert, 7, true)).await;
        let committed = commit(&mut raw, &schema, "hot").await;
        assert_eq!(committed.error(), Some(9007), "{set}");
        let records = proxy.records();
        assert_eq!(records.last().expect("a record").field("unguarded"), "generated_id", "{set}");
        raw.quit().await;
        proxy.stop().await;
    }
}

/// An execution without types means those that its client has bound last, not those of the part
/// of a transaction that a replay has run again.
#[tokio::test]
async fn types_behind_a_replay_on_tidb() {
    const UNSIGNED: &[u8] = &[3, 0x80];
    const SIGNED: &[u8] = &[3, 0];
    let backend = need!(tidb::start());
    let n = ["CREATE TABLE n (v BIGINT)"];
    for pinned in [true, false] {
        let unique = ["CREATE TABLE g (id BIGINT AUTO_INCREMENT PRIMARY KEY, v BIGINT UNIQUE)"];
        let schema = backend.schema(&[&HOT[..], &unique, &n].concat()).await;
        let proxy = Proxy::start(&backend, policy::RETRY).await;
        let mut raw = Raw::login(&proxy.address.to_string(), Some(&schema.name), caps::USUAL).await;
        ask(&mut raw, &raw::query("SET tidb_constraint_check_in_place = ON")).await;
        ask(&mut raw, &raw::query("INSERT INTO g (v) VALUES (5)")).await;
        let table = if pinned { "g" } else { "n" };
        let insert = prepare(&mut raw, &format!("INSERT INTO {table} (v) VALUES (?)")).await;
        let execute = |n: i32, types: &[u8]| {
            let mut payload = execution(insert, types);
            payload.extend_from_slice(&n.to_le_bytes());
            payload
        };
        begin(&mut raw, "hot").await;
        // In g it is there already, so this one generates no id that is told.
        let _ = raw.ask(&execute(5, UNSIGNED), Shape::Results).await;
        if !pinned {
            ask(&mut raw, &raw::query("SELECT * FROM hot")).await;
        }
        ask(&mut raw, &execute(-2, SIGNED)).await;
        let committed = commit(&mut raw, &schema, "hot").await;
        assert_eq!(committed.error(), (!pinned).then_some(9007));
        ask(&mut raw, &execute(-1, &[])).await;

        let mut conn = schema.connect().await;
        let rows = format!("SELECT v FROM {table} WHERE v <> 5 ORDER BY v");
        let rows: Vec<i64> = client::rows(&mut conn, &rows).await;
        assert_eq!(rows, if pinned { vec![-2, -1] } else { vec![-1] });
        raw.quit().await;
        proxy.stop().await;
    }
}

const HOT: [&str; 2] = ["CREATE TABLE hot (v INT)", "INSERT INTO hot VALUES (10)"];

const G: &[&str] = &["CREATE TABLE g (id BIGINT AUTO_INCREMENT PRIMARY KEY, v INT, s VARCHAR(9))"];

/// Begins a transaction that writes the hot row.
async fn begin(raw: &mut Raw, hot: &str) {
    ask(raw, &raw::query("BEGIN OPTIMISTIC")).await;
    ask(raw, &raw::query(&format!("UPDATE {hot} SET v = v + 1"))).await;
}

/// Another one writes it, too, and commits first.
async fn commit(raw: &mut Raw, schema: &Schema, hot: &str) -> Answer {
    let write = format!("UPDATE {hot} SET v = v + 100");
    client::run(&mut schema.connect().await, &[&write]).await;
    raw.ask(&raw::query("COMMIT"), Shape::Results).await
}

const BOUND_INSIDE: &str = "types are bound inside";
const BOUND_BEFORE: &str = "types are bound before BEGIN";

async fn ask(raw: &mut Raw, command: &[u8]) -> Answer {
    let answer = raw.ask(command, Shape::Results).await;
    assert_eq!(answer.error(), None, "{answer:?}");
    answer
}

async fn prepare(raw: &mut Raw, text: &str) -> u32 {
    let answer = raw.ask(&raw::command(com::STMT_PREPARE, text.as_bytes()), Shape::Prepare).await;
    let ok = &answer.packets[0].payload;
    assert_eq!(ok[0], 0, "{answer:?}");
    u32::from_le_bytes(ok[1..5].try_into().expect("four bytes"))
}

/// Executes with an INT and a VARCHAR.
fn two(statement: u32, n: i32, s: &str, types: bool) -> Vec<u8> {
    let mut payload = execution(statement, if types { &[3, 0, 0xFD, 0] } else { &[] });
    payload.extend_from_slice(&n.to_le_bytes());
    payload.push(u8::try_from(s.len()).expect("short"));
    payload.extend_from_slice(s.as_bytes());
    payload
}

/// Executes with an INT.
fn one_int(statement: u32, n: i32, types: bool) -> Vec<u8> {
    let mut payload = execution(statement, if types { &[3, 0] } else { &[] });
    payload.extend_from_slice(&n.to_le_bytes());
    payload
}

/// Up to the values: no NULL, and the types if they are given.
fn execution(statement: u32, types: &[u8]) -> Vec<u8> {
    let mut rest = statement.to_le_bytes().to_vec();
    rest.extend_from_slice(&[0, 1, 0, 0, 0, 0, u8::from(!types.is_empty())]);
    rest.extend_from_slice(types);
    raw::command(com::STMT_EXECUTE, &rest)
}

/// The id that an OK tells: behind the count of rows, both short.
fn insert_id(answer: &Answer) -> u64 {
    let ok = &answer.packets[0].payload;
    let (_, rows) = raw::lenenc(&ok[1..]);
    raw::lenenc(&ok[1 + rows..]).0
}
