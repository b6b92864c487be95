//! Tests of the engine: its transactions against TiDB's rules, its answers against MySQL's, and
//! random statements of one session against a plain map.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{Answer, Engine, Kind, Session, SqlError, Value};

/// An engine with accounts 1 to 3 of 100 each, and a session per client.
fn bank<const N: usize>() -> (Engine, [Session; N]) {
    let engine = Engine::new();
    let mut setup = engine.session();
    run(&mut setup, "CREATE TABLE test.t (id INT PRIMARY KEY, v BIGINT NOT NULL)");
    run(&mut setup, "INSERT INTO test.t VALUES (1, 100), (2, 100), (3, 100)");
    let sessions = std::array::from_fn(|_| {
        let mut session = engine.session();
        session.use_database("test").expect("there");
        session
    });
    (engine, sessions)
}

fn run(session: &mut Session, sql: &str) -> Answer {
    session.execute(sql).unwrap_or_else(|error| panic!("{sql}: {error}"))
}

fn fails(session: &mut Session, sql: &str) -> SqlError {
    match session.execute(sql) {
        Ok(answer) => panic!("{sql} should fail, not answer {answer:?}"),
        Err(error) => error,
    }
}

fn rows(session: &mut Session, sql: &str) -> Vec<Vec<Value>> {
    match run(session, sql) {
        Answer::Rows { columns, rows } => {
            assert!(rows.iter().all(|row| row.len() == columns.len()));
            rows
        }
        Answer::Done { .. } => panic!("{sql} has no rows"),
    }
}

/// Rows as text, for short expectations: `1 100, 2 NULL`.
fn text(session: &mut Session, sql: &str) -> String {
    let line = |row: &Vec<Value>| row.iter().map(Value::to_string).collect::<Vec<_>>().join(" ");
    rows(session, sql).iter().map(line).collect::<Vec<_>>().join(", ")
}

fn affected(session: &mut Session, sql: &str) -> u64 {
    match run(session, sql) {
        Answer::Done { affected_rows, .. } => affected_rows,
        Answer::Rows { .. } => panic!("{sql} has rows"),
    }
}

// ── Transactions ────────────────────────────────────────────────────────────────────────────

#[test]
fn the_second_committer_of_a_row_gets_9007_with_tidbs_text_and_loses_its_transaction() {
    let (_, [mut a, mut b]) = bank();
    run(&mut a, "BEGIN OPTIMISTIC");
    run(&mut b, "BEGIN");
    run(&mut a, "UPDATE t SET v = v + 1 WHERE id = 1");
    run(&mut b, "UPDATE t SET v = v + 1 WHERE id = 1");
    run(&mut b, "UPDATE t SET v = v + 1 WHERE id = 2");
    run(&mut a, "COMMIT");
    let error = fails(&mut b, "COMMIT");
    assert_eq!((error.code, error.sqlstate), (9007, "HY000"));
    for part in [
        "Write conflict, txnStartTS=",
        ", conflictStartTS=",
        ", conflictCommitTS=",
        ", key={tableID=101, tableName=test.t, handle=1}, originalKey=7480000000000000655f728000000000000001, primary={",
        ", reason=Optimistic [try again later]",
    ] {
        assert!(error.message.contains(part), "{part} in {}", error.message);
    }
    assert!(!b.in_transaction());
    assert_eq!(text(&mut b, "SELECT * FROM t"), "1 101, 2 100, 3 100");
}

#[test]
fn different_rows_do_not_conflict_and_write_skew_passes() {
    let (_, [mut a, mut b]) = bank();
    for session in [&mut a, &mut b] {
        run(session, "BEGIN");
        assert_eq!(text(session, "SELECT SUM(v) FROM t"), "300");
    }
    run(&mut a, "UPDATE t SET v = v - 100 WHERE id = 1");
    run(&mut b, "UPDATE t SET v = v - 100 WHERE id = 2");
    run(&mut a, "COMMIT");
    run(&mut b, "COMMIT");
    assert_eq!(text(&mut a, "SELECT SUM(v) FROM t"), "100");
}

#[test]
fn for_update_makes_a_read_conflict() {
    let (_, [mut a, mut b]) = bank();
    for (reads, writes) in [("1", "2"), ("2", "1")] {
        run(&mut a, "BEGIN");
        run(&mut b, "BEGIN");
        run(&mut a, &format!("SELECT v FROM t WHERE id = {reads} FOR UPDATE"));
        run(&mut b, &format!("UPDATE t SET v = 0 WHERE id = {reads}"));
        run(&mut a, &format!("UPDATE t SET v = 0 WHERE id = {writes}"));
        run(&mut b, "COMMIT");
        assert_eq!(fails(&mut a, "COMMIT").code, 9007);
    }
    // A lock alone is enough to refuse a later writer, as TiDB's lock records do.
    run(&mut a, "BEGIN");
    run(&mut b, "BEGIN");
    run(&mut a, "SELECT v FROM t WHERE id = 3 FOR UPDATE");
    run(&mut b, "UPDATE t SET v = 0 WHERE id = 3");
    run(&mut a, "COMMIT");
    assert_eq!(fails(&mut b, "COMMIT").code, 9007);
}

#[test]
fn a_transaction_reads_its_snapshot_and_its_own_writes() {
    let (_, [mut a, mut b]) = bank();
    run(&mut a, "START TRANSACTION WITH CONSISTENT SNAPSHOT");
    run(&mut b, "UPDATE t SET v = 7 WHERE id = 1");
    run(&mut b, "DELETE FROM t WHERE id = 2");
    run(&mut b, "INSERT INTO t VALUES (4, 4)");
    assert_eq!(text(&mut a, "SELECT * FROM t"), "1 100, 2 100, 3 100");
    run(&mut a, "UPDATE t SET v = 30 WHERE id = 3");
    run(&mut a, "INSERT INTO t VALUES (5, 50)");
    run(&mut a, "DELETE FROM t WHERE id = 1");
    assert_eq!(text(&mut a, "SELECT * FROM t"), "2 100, 3 30, 5 50");
    assert_eq!(text(&mut a, "SELECT v FROM t WHERE id = 1"), "");
    assert_eq!(text(&mut b, "SELECT * FROM t"), "1 7, 3 100, 4 4");
    run(&mut a, "ROLLBACK");
    assert_eq!(text(&mut a, "SELECT * FROM t"), "1 7, 3 100, 4 4");
}

#[test]
fn autocommit_statements_never_conflict() {
    let (_, [mut a, mut b]) = bank();
    run(&mut a, "BEGIN");
    run(&mut a, "UPDATE t SET v = v + 1 WHERE id = 1");
    for _ in 0..10 {
        run(&mut b, "UPDATE t SET v = v + 1 WHERE id = 1");
    }
    assert_eq!(fails(&mut a, "COMMIT").code, 9007);
    assert_eq!(text(&mut a, "SELECT v FROM t WHERE id = 1"), "110");
}

#[test]
fn with_autocommit_off_a_transaction_begins_with_the_first_statement_that_needs_data() {
    let (_, [mut a, mut b]) = bank();
    run(&mut a, "SET autocommit = 0");
    run(&mut a, "SELECT 1");
    assert!(!a.in_transaction() && !a.autocommit());
    run(&mut a, "UPDATE t SET v = 1 WHERE id = 1");
    assert!(a.in_transaction());
    assert_eq!(text(&mut b, "SELECT v FROM t WHERE id = 1"), "100");
    run(&mut b, "UPDATE t SET v = 2 WHERE id = 1");
    // Switching it on commits, and that can conflict.
    assert_eq!(fails(&mut a, "SET autocommit = ON").code, 9007);
    assert!(!a.in_transaction());
    run(&mut a, "BEGIN");
    run(&mut a, "SET autocommit = 1");
    assert!(a.in_transaction(), "it was on already: no commit");
}

#[test]
fn begin_and_ddl_commit_what_is_open_and_can_conflict() {
    for implicit in ["BEGIN", "CREATE TABLE u (id INT PRIMARY KEY)", "DROP TABLE t"] {
        let (_, [mut a, mut b]) = bank();
        run(&mut a, "BEGIN");
        run(&mut a, "UPDATE t SET v = 1 WHERE id = 1");
        run(&mut b, "UPDATE t SET v = 2 WHERE id = 1");
        assert_eq!(fails(&mut a, implicit).code, 9007, "{implicit}");
        assert!(!a.in_transaction());
        assert_eq!(text(&mut a, "SHOW TABLES"), "t", "{implicit} was not executed");
        run(&mut a, "BEGIN");
        run(&mut a, "UPDATE t SET v = 3 WHERE id = 1");
        run(&mut a, implicit);
        assert_eq!(a.in_transaction(), implicit == "BEGIN");
    }
}

#[test]
fn a_dropped_table_fails_the_commit_of_its_writer() {
    let (_, [mut a, mut b]) = bank();
    run(&mut a, "BEGIN");
    run(&mut a, "UPDATE t SET v = 1 WHERE id = 1");
    run(&mut b, "DROP TABLE t");
    assert_eq!(fails(&mut a, "COMMIT").code, 8028);
}

#[test]
fn an_error_undoes_its_statement_and_keeps_the_transaction() {
    let (_, [mut a]) = bank();
    run(&mut a, "BEGIN");
    run(&mut a, "INSERT INTO t VALUES (4, 4)");
    let error = fails(&mut a, "INSERT INTO t VALUES (5, 5), (4, 4)");
    assert_eq!((error.code, error.sqlstate), (1062, "23000"));
    assert_eq!(error.message, "Duplicate entry '4' for key 't.PRIMARY'");
    assert_eq!(fails(&mut a, "UPDATE t SET v = NULL WHERE id = 1").code, 1048);
    assert!(a.in_transaction());
    run(&mut a, "COMMIT");
    assert_eq!(text(&mut a, "SELECT id FROM t"), "1, 2, 3, 4");
}

#[test]
fn duplicate_keys_are_found_at_once_by_autocommit_and_at_commit_otherwise() {
    let (_, [mut a, mut b]) = bank();
    assert_eq!(fails(&mut a, "INSERT INTO t VALUES (1, 0)").code, 1062);
    run(&mut a, "BEGIN");
    run(&mut a, "INSERT INTO t VALUES (1, 0)");
    assert_eq!(fails(&mut a, "COMMIT").code, 1062);
    assert!(!a.in_transaction());
    // Inserted meanwhile: a conflict.
    run(&mut a, "BEGIN");
    run(&mut a, "INSERT INTO t VALUES (9, 0)");
    run(&mut b, "INSERT INTO t VALUES (9, 1)");
    assert_eq!(fails(&mut a, "COMMIT").code, 9007);
    // Deleted in the same transaction: no duplicate.
    run(&mut a, "BEGIN");
    run(&mut a, "DELETE FROM t WHERE id = 9");
    run(&mut a, "INSERT INTO t VALUES (9, 2)");
    run(&mut a, "COMMIT");
    // Inserted and deleted again over a row that exists: TiDB checks that, too.
    run(&mut a, "BEGIN");
    run(&mut a, "INSERT INTO t VALUES (9, 3)");
    run(&mut a, "DELETE FROM t WHERE id = 9");
    assert_eq!(fails(&mut a, "COMMIT").code, 1062);
    assert_eq!(text(&mut a, "SELECT v FROM t WHERE id = 9"), "2");
}

#[test]
fn timestamps_come_from_the_given_time_and_never_repeat() {
    let (engine, [mut a]) = bank();
    engine.advance_to(1_700_000_000_000);
    run(&mut a, "BEGIN");
    let start = text(&mut a, "SELECT @@tidb_current_ts");
    assert_eq!(start, (1_700_000_000_000_u64 << 18).to_string());
    run(&mut a, "UPDATE t SET v = 1 WHERE id = 1");
    run(&mut a, "COMMIT");
    assert_eq!(text(&mut a, "SELECT @@tidb_current_ts"), "0");
    let commit = (1_700_000_000_000_u64 << 18) + 1;
    let info = text(&mut a, "SELECT @@tidb_last_txn_info");
    let begins = format!("{{\"txn_scope\":\"global\",\"start_ts\":{start},\"commit_ts\":{commit},");
    assert!(info.starts_with(&begins), "{info}");
    // Neither a rollback nor a transaction without effect leaves a trace.
    for sql in ["BEGIN", "SELECT * FROM t", "COMMIT", "BEGIN", "DELETE FROM t", "ROLLBACK"] {
        run(&mut a, sql);
    }
    run(&mut a, "UPDATE t SET v = 1 WHERE id = 1");
    assert_eq!(text(&mut a, "SELECT @@tidb_last_txn_info"), info);
    engine.advance_to(5);
    run(&mut a, "UPDATE t SET v = 2 WHERE id = 1");
    assert_ne!(text(&mut a, "SELECT @@tidb_last_txn_info"), info);
}

#[test]
fn a_failed_commit_is_in_the_last_txn_info() {
    let (_, [mut a, mut b]) = bank();
    run(&mut a, "BEGIN");
    run(&mut a, "UPDATE t SET v = 1 WHERE id = 1");
    run(&mut b, "UPDATE t SET v = 2 WHERE id = 1");
    let error = fails(&mut a, "COMMIT");
    let info = text(&mut a, "SELECT @@tidb_last_txn_info");
    let info: serde_json::Value = serde_json::from_str(&info).expect("JSON");
    assert_eq!(info["commit_ts"], 0);
    assert_eq!(info["error"], error.message);
}

#[test]
fn dropping_a_session_and_resetting_it_roll_back() {
    let (_, [mut a, mut b]) = bank();
    run(&mut a, "BEGIN");
    run(&mut a, "UPDATE t SET v = 1 WHERE id = 1");
    run(&mut a, "SET time_zone = '+00:00'");
    a.reset();
    assert!(!a.in_transaction());
    assert_eq!(text(&mut a, "SELECT @@time_zone, DATABASE()"), "SYSTEM test");
    run(&mut a, "BEGIN");
    run(&mut a, "UPDATE t SET v = 1 WHERE id = 1");
    drop(a);
    assert_eq!(text(&mut b, "SELECT v FROM t WHERE id = 1"), "100");
}

#[test]
fn old_versions_go_when_no_snapshot_needs_them() {
    let (engine, [mut a, mut b]) = bank();
    let before = engine.shared.lock().versions();
    run(&mut a, "BEGIN");
    for round in 0..50 {
        run(&mut b, "UPDATE t SET v = v + 1 WHERE id = 1");
        run(&mut b, &format!("INSERT INTO t VALUES ({}, 1)", 100 + round));
        run(&mut b, &format!("DELETE FROM t WHERE id = {}", 100 + round));
    }
    assert_eq!(text(&mut a, "SELECT v FROM t WHERE id = 1"), "100");
    run(&mut a, "ROLLBACK");
    assert_eq!(engine.shared.lock().versions(), before);
}

#[test]
fn a_snapshot_that_holds_too_much_back_is_given_up() {
    let engine = Engine::with_garbage_max(20);
    let (mut a, mut b) = (engine.session(), engine.session());
    run(&mut a, "CREATE TABLE test.t (id INT PRIMARY KEY, v INT)");
    run(&mut a, "INSERT INTO test.t VALUES (1, 0)");
    run(&mut a, "BEGIN");
    for _ in 0..30 {
        run(&mut b, "UPDATE test.t SET v = v + 1 WHERE id = 1");
    }
    assert!(engine.shared.lock().versions() < 45);
    assert_eq!(fails(&mut a, "SELECT * FROM test.t").code, 9006);
    run(&mut a, "ROLLBACK");
    assert_eq!(text(&mut a, "SELECT v FROM test.t"), "30");
}

// ── Statements ──────────────────────────────────────────────────────────────────────────────

#[test]
fn conditions_choose_rows_as_in_mysql() {
    let (_, [mut a]) = bank();
    run(&mut a, "CREATE TABLE c (id INT PRIMARY KEY, v INT, s VARCHAR(10))");
    run(&mut a, "INSERT INTO c VALUES (1, 10, 'a'), (2, 20, 'B'), (3, NULL, NULL), (4, 20, 'b')");
    for (condition, ids) in [
        ("id = 2", "2"),
        ("2 = id", "2"),
        ("id = '2'", "2"),
        ("id <> 2", "1, 3, 4"),
        ("id < 2 OR id >= 4", "1, 4"),
        ("id > 1 AND id <= 3", "2, 3"),
        ("id BETWEEN 2 AND 3", "2, 3"),
        ("id NOT BETWEEN 2 AND 3", "1, 4"),
        ("id IN (1, 4, 9)", "1, 4"),
        ("v NOT IN (10, NULL)", ""),
        ("NOT v = 10", "2, 4"),
        ("v IS NULL", "3"),
        ("v IS NOT NULL", "1, 2, 4"),
        ("v = NULL", ""),
        ("s = 'b'", "4"),
        ("v + 1 = 21 AND (id = 2 OR s = 'b')", "2, 4"),
        ("c.id = 1", "1"),
        ("id = 1 AND id = 2", ""),
        ("-1 = 0 - id", "1"),
        ("TRUE", "1, 2, 3, 4"),
    ] {
        assert_eq!(
            text(&mut a, &format!("SELECT id FROM c WHERE {condition}")),
            ids,
            "{condition}"
        );
    }
}

#[test]
fn results_are_ordered_and_cut() {
    let (_, [mut a]) = bank();
    run(&mut a, "CREATE TABLE o (id INT PRIMARY KEY, v INT)");
    run(&mut a, "INSERT INTO o VALUES (4, 1), (3, 2), (2, 1), (1, NULL)");
    for (tail, ids) in [
        ("", "1, 2, 3, 4"),
        ("ORDER BY id DESC", "4, 3, 2, 1"),
        ("ORDER BY v", "1, 2, 4, 3"),
        ("ORDER BY v DESC", "3, 2, 4, 1"),
        ("ORDER BY v DESC, id DESC", "3, 4, 2, 1"),
        ("LIMIT 2", "1, 2"),
        ("LIMIT 1, 2", "2, 3"),
        ("LIMIT 2 OFFSET 1", "2, 3"),
        ("LIMIT 0", ""),
    ] {
        assert_eq!(text(&mut a, &format!("SELECT id FROM o {tail}")), ids, "{tail}");
    }
    assert_eq!(fails(&mut a, "SELECT id FROM o ORDER BY nope").code, 1054);
}

#[test]
fn aggregates_cover_all_matching_rows() {
    let (_, [mut a]) = bank();
    run(&mut a, "CREATE TABLE g (id INT PRIMARY KEY, v INT)");
    let all = "SELECT COUNT(*), COUNT(v), SUM(v), MIN(v), MAX(v), SUM(v) + 1 FROM g";
    assert_eq!(text(&mut a, all), "0 0 NULL NULL NULL NULL");
    run(&mut a, "INSERT INTO g VALUES (1, 5), (2, NULL), (3, -7)");
    assert_eq!(text(&mut a, all), "3 2 -2 -7 5 -1");
    assert_eq!(text(&mut a, "SELECT SUM(v) AS s FROM g WHERE id < 3"), "5");
    assert_eq!(fails(&mut a, "SELECT id, COUNT(*) FROM g").code, 8123);
    assert_eq!(fails(&mut a, "SELECT id FROM g WHERE COUNT(*) = 1").code, 1111);
}

#[test]
fn errors_do_not_depend_on_there_being_rows() {
    let (_, [mut a]) = bank();
    run(&mut a, "CREATE TABLE e (id INT PRIMARY KEY, v INT)");
    for (sql, code) in [
        ("SELECT nope FROM e", 1054),
        ("SELECT SUM(nope) FROM e", 1054),
        ("SELECT id FROM e WHERE nope = 1", 1054),
        ("SELECT id FROM e WHERE u.id = 1", 1054),
        ("SELECT id FROM e WHERE NOW() = 1", 1235),
        ("SELECT id FROM e ORDER BY nope", 1054),
        ("UPDATE e SET v = nope", 1054),
        ("DELETE FROM e WHERE v / 2 = 1", 1235),
    ] {
        assert_eq!(fails(&mut a, sql).code, code, "{sql}");
    }
}

#[test]
fn columns_have_names_and_kinds() {
    let (_, [a]) = bank();
    let prepared = a.prepare("SELECT *, v AS w, SUM(v), @@version FROM t").expect("parses");
    let columns = prepared.columns;
    let shown: Vec<_> = columns.iter().map(|column| (&*column.name, column.kind)).collect();
    assert_eq!(
        shown,
        [
            ("id", Kind::Int),
            ("v", Kind::BigInt),
            ("w", Kind::BigInt),
            ("SUM(v)", Kind::Decimal),
            ("@@version", Kind::Text)
        ]
    );
}

#[test]
fn writes_check_types_defaults_and_counts() {
    let (_, [mut a]) = bank();
    run(
        &mut a,
        "CREATE TABLE IF NOT EXISTS w (a INT, b BIGINT NOT NULL DEFAULT 7, s VARCHAR(3) \
         NOT NULL DEFAULT '', PRIMARY KEY (a, s), KEY ignored (b))",
    );
    run(&mut a, "INSERT INTO w (a) VALUES (1)");
    run(&mut a, "INSERT INTO w (s, a, b) VALUES ('x', '1', DEFAULT)");
    assert_eq!(text(&mut a, "SELECT a, b, s FROM w"), "1 7 , 1 7 x");
    let error = fails(&mut a, "INSERT INTO w (a, s) VALUES (1, 'x')");
    assert_eq!(error.message, "Duplicate entry '1-x' for key 'w.PRIMARY'");
    for (sql, code) in [
        ("INSERT INTO w (b) VALUES (1)", 1364),
        ("INSERT INTO w (a) VALUES (NULL)", 1048),
        ("INSERT INTO w (a) VALUES (3000000000)", 1264),
        ("INSERT INTO w (a) VALUES ('x')", 1366),
        ("INSERT INTO w (a, s) VALUES (2, 'xxxx')", 1406),
        ("INSERT INTO w (a, s) VALUES (2)", 1136),
        ("INSERT INTO w (a, z) VALUES (2, 1)", 1054),
        ("INSERT INTO nope VALUES (1)", 1146),
        ("UPDATE w SET b = 9223372036854775807 + 1", 1690),
        ("CREATE TABLE w (a INT)", 1050),
        ("CREATE TABLE x (a INT, a INT)", 1060),
        ("CREATE TABLE x (a INT PRIMARY KEY, b INT, PRIMARY KEY (b))", 1068),
        ("CREATE TABLE x (a INT, PRIMARY KEY (b))", 1072),
        ("CREATE TABLE x (a INT AUTO_INCREMENT)", 1075),
        ("DROP TABLE nope", 1051),
        ("USE nope", 1049),
        ("CREATE DATABASE test", 1007),
        ("DROP DATABASE nope", 1008),
    ] {
        assert_eq!(fails(&mut a, sql).code, code, "{sql}");
    }
    assert_eq!(affected(&mut a, "UPDATE w SET b = 8 WHERE s = ''"), 1);
    assert_eq!(affected(&mut a, "UPDATE w SET b = 8"), 1, "unchanged rows don't count");
    assert_eq!(affected(&mut a, "UPDATE w SET s = 'y', b = b * 2 - 1 WHERE s = 'x'"), 1);
    assert_eq!(text(&mut a, "SELECT b, s FROM w"), "8 , 15 y");
    assert_eq!(fails(&mut a, "UPDATE w SET s = ''").code, 1062);
    assert_eq!(affected(&mut a, "DELETE FROM w"), 2);
}

#[test]
fn tables_without_a_key_and_with_generated_values_work() {
    let (_, [mut a, mut b]) = bank();
    run(&mut a, "CREATE TABLE h (v INT)");
    run(&mut a, "INSERT INTO h VALUES (1), (1)");
    assert_eq!(text(&mut a, "SELECT v FROM h"), "1, 1");
    run(&mut a, "CREATE TABLE n (id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, v INT)");
    run(&mut a, "BEGIN");
    let Answer::Done { last_insert_id, .. } = run(&mut a, "INSERT INTO n (v) VALUES (1), (2)")
    else {
        panic!("rows")
    };
    assert_eq!(last_insert_id, 1);
    run(&mut b, "INSERT INTO n (v) VALUES (3)");
    run(&mut a, "ROLLBACK");
    run(&mut a, "INSERT INTO n VALUES (10, 4)");
    run(&mut a, "INSERT INTO n VALUES (NULL, 5)");
    assert_eq!(text(&mut a, "SELECT id FROM n"), "3, 10, 11");
    assert_eq!(text(&mut a, "SELECT LAST_INSERT_ID()"), "11");
    assert_eq!(text(&mut b, "SELECT LAST_INSERT_ID()"), "3");
}

#[test]
fn what_drivers_send_at_connect_is_answered() {
    let (_, [mut a]) = bank();
    for sql in [
        "",
        "-- nothing",
        "SET NAMES utf8mb4",
        "SET NAMES utf8mb4 COLLATE utf8mb4_bin",
        "SET autocommit=1",
        "SET SESSION sql_mode='STRICT_TRANS_TABLES', wait_timeout = 100",
        "SET @@session.time_zone = '+00:00'",
        "SET character_set_results = NULL",
        "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
        "SET tidb_txn_mode = 'optimistic'",
        "SHOW WARNINGS",
        "SHOW DATABASES;",
    ] {
        run(&mut a, sql);
    }
    for (sql, expected) in [
        ("SELECT 1", "1"),
        ("SELECT 1 FROM DUAL", "1"),
        ("SELECT VERSION()", "8.0.11-txguard-embedded"),
        ("SELECT DATABASE(), SCHEMA()", "test test"),
        (
            "/* driver */ SELECT @@session.wait_timeout AS t, @@socket, @@max_allowed_packet",
            "100  67108864",
        ),
        ("select @@autocommit", "1"),
        ("SHOW VARIABLES LIKE 'sql\\_mode'", "sql_mode STRICT_TRANS_TABLES"),
        (
            "SHOW VARIABLES WHERE Variable_name IN ('version', 'time_zone')",
            "time_zone +00:00, version 8.0.11-txguard-embedded",
        ),
        ("SHOW VARIABLES LIKE 'nope%'", ""),
    ] {
        assert_eq!(text(&mut a, sql), expected, "{sql}");
    }
    assert_eq!(fails(&mut a, "SELECT @@nope").code, 1193);
    assert_eq!(fails(&mut a, "SET nope = 1").code, 1193);
    assert_eq!(fails(&mut a, "SET version = 'x'").code, 1238);
}

#[test]
fn everything_else_is_a_clear_error() {
    let (_, [mut a]) = bank();
    for sql in [
        "BEGIN PESSIMISTIC",
        "START TRANSACTION READ ONLY",
        "COMMIT AND CHAIN",
        "SAVEPOINT a",
        "ROLLBACK TO a",
        "SET tidb_txn_mode = 'pessimistic'",
        "SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE",
        "SET GLOBAL time_zone = 'UTC'",
        "SET @a = 1",
        "SELECT @a",
        "SELECT NOW()",
        "SELECT 1.5",
        "SELECT 1 / 2",
        "SELECT DISTINCT v FROM t",
        "SELECT v, COUNT(*) FROM t GROUP BY v",
        "SELECT COUNT(*) FROM t HAVING COUNT(*) > 1",
        "SELECT COUNT(DISTINCT v) FROM t",
        "SELECT SUM(v) OVER () FROM t",
        "SELECT * FROM t a JOIN t b ON a.id = b.id",
        "SELECT * FROM t, t AS u",
        "SELECT * FROM (SELECT 1) x",
        "SELECT * FROM t WHERE id IN (SELECT 1)",
        "SELECT 1 UNION SELECT 2",
        "WITH x AS (SELECT 1) SELECT 1",
        "SELECT * FROM t FOR UPDATE NOWAIT",
        "SELECT * FROM t FOR SHARE",
        "SELECT * FROM information_schema.tables",
        "INSERT IGNORE INTO t VALUES (1, 1)",
        "INSERT INTO t SELECT 1, 1",
        "INSERT INTO t VALUES (1, 1) ON DUPLICATE KEY UPDATE v = 1",
        "REPLACE INTO t VALUES (1, 1)",
        "UPDATE t SET v = 1 LIMIT 1",
        "UPDATE t JOIN t u ON t.id = u.id SET t.v = 1",
        "DELETE FROM t ORDER BY id",
        "DELETE t FROM t JOIN t u ON t.id = u.id",
        "CREATE TABLE x (a DATETIME)",
        "CREATE TABLE x (a INT UNIQUE)",
        "CREATE TABLE x AS SELECT 1",
        "CREATE INDEX i ON t (v)",
        "ALTER TABLE t ADD COLUMN x INT",
        "TRUNCATE TABLE t",
        "EXPLAIN SELECT 1",
        "KILL 1",
    ] {
        let error = fails(&mut a, sql);
        assert_eq!(error.code, 1235, "{sql}: {error}");
        assert!(error.message.starts_with("embedded backend: "), "{error}");
    }
    assert_eq!(fails(&mut a, "SELEC 1").code, 1064);
    assert_eq!(fails(&mut a, "SELECT 'x").code, 1064);
    assert_eq!(fails(&mut a, "SELECT 1; SELECT 2").code, 8130);
    assert_eq!(text(&mut a, "SELECT SUM(v) FROM t"), "300");
}

#[test]
fn hostile_statements_are_refused_and_harm_nothing() {
    let (_, [mut a]) = bank();
    let chain = "id = 1 OR ".repeat(1_500);
    let nested = format!("{}1{}", "(".repeat(20_000), ")".repeat(20_000));
    for sql in [
        format!("SELECT 1 FROM t WHERE {chain}TRUE"),
        format!("SELECT {nested}"),
        format!("SELECT {}1", "1 + ".repeat(50_000)),
        format!("SELECT {}1", "NOT ".repeat(2_000)),
        "(".repeat(60_000),
    ] {
        assert!([1235, 1064].contains(&fails(&mut a, &sql).code));
    }
    run(&mut a, &format!("SELECT id FROM t WHERE {}TRUE", "id = 1 OR ".repeat(30)));
}

#[test]
fn prepared_statements_take_values() {
    let (_, [mut a]) = bank();
    let update = a.prepare("UPDATE t SET v = v + ? WHERE id = ?").expect("parses");
    assert_eq!((update.params, update.columns.len()), (2, 0));
    a.execute_prepared(&update, &[Value::Int(-5), Value::Int(2)]).expect("runs");
    let select = a.prepare("SELECT v, ? FROM t WHERE id IN (?, ?) LIMIT ?").expect("parses");
    assert_eq!((select.params, select.columns.len()), (4, 2));
    let values = [Value::from("x"), Value::Int(2), Value::Int(3), Value::Int(1)];
    let Answer::Rows { rows, .. } = a.execute_prepared(&select, &values).expect("runs") else {
        panic!("no rows")
    };
    assert_eq!(rows, [[Value::Int(95), Value::from("x")]]);
    let begin = a.prepare("BEGIN").expect("parses");
    a.execute_prepared(&begin, &[]).expect("runs");
    assert!(a.in_transaction());
    assert_eq!(a.execute_prepared(&begin, &[Value::Null]).expect_err("too many").code, 1210);
    assert_eq!(a.prepare("SELECT * FROM nope").expect_err("no table").code, 1146);
    assert_eq!(fails(&mut a, "SELECT ?").code, 1210);
}

// ── One session against a map ───────────────────────────────────────────────────────────────

#[derive(Debug, Clone)]
enum Step {
    Begin,
    Commit,
    Delete(i64, i64),
    Insert(i64, i64),
    Rollback,
    Set(i64, i64),
    Add(i64, i64, i64),
}

fn step() -> impl Strategy<Value = Step> {
    let id = 0..6_i64;
    prop_oneof![
        1 => Just(Step::Begin),
        1 => Just(Step::Commit),
        1 => Just(Step::Rollback),
        2 => (id.clone(), 0..3_i64).prop_map(|(low, span)| Step::Delete(low, low + span)),
        4 => (id.clone(), -9..9_i64).prop_map(|(id, v)| Step::Insert(id, v)),
        2 => (id.clone(), -9..9_i64).prop_map(|(id, v)| Step::Set(id, v)),
        3 => (id, 0..4_i64, -9..9_i64).prop_map(|(low, span, v)| Step::Add(low, low + span, v)),
    ]
}

/// What one session must see: a map, and the map at BEGIN with the keys that exist only at COMMIT.
#[derive(Debug, Default)]
struct Model {
    rows: BTreeMap<i64, i64>,
    saved: Option<BTreeMap<i64, i64>>,
    /// Keys inserted without a check over rows that exist: COMMIT must fail.
    doomed: bool,
    touched: BTreeMap<i64, bool>,
}

impl Model {
    /// The expected result: rows affected or the error's code.
    fn apply(&mut self, step: &Step) -> Result<u64, u16> {
        match *step {
            Step::Begin => {
                self.commit()?;
                self.saved = Some(self.rows.clone());
                Ok(0)
            }
            Step::Commit => self.commit(),
            Step::Rollback => {
                self.restore();
                Ok(0)
            }
            Step::Insert(id, v) => {
                let own = self.touched.get(&id).copied();
                let in_txn = self.saved.is_some();
                let visible = self.rows.contains_key(&id);
                if visible && (!in_txn || own.is_some()) {
                    return Err(1062);
                }
                self.doomed |= visible;
                self.write(id, Some(v));
                Ok(1)
            }
            Step::Set(id, v) => Ok(self.change(id, id, |_| v)),
            Step::Add(low, high, v) => Ok(self.change(low, high, |old| old + v)),
            Step::Delete(low, high) => {
                let ids: Vec<i64> = self.rows.range(low..=high).map(|(id, _)| *id).collect();
                for id in &ids {
                    self.write(*id, None);
                }
                Ok(ids.len() as u64)
            }
        }
    }

    fn change(&mut self, low: i64, high: i64, new: impl Fn(i64) -> i64) -> u64 {
        let found: Vec<(i64, i64)> = self.rows.range(low..=high).map(|(k, v)| (*k, *v)).collect();
        let mut changed = 0;
        for (id, old) in found {
            if new(old) != old {
                self.write(id, Some(new(old)));
                changed += 1;
            }
        }
        changed
    }

    fn write(&mut self, id: i64, value: Option<i64>) {
        if self.saved.is_some() {
            self.touched.insert(id, value.is_some());
        }
        match value {
            Some(value) => self.rows.insert(id, value),
            None => self.rows.remove(&id),
        };
    }

    fn commit(&mut self) -> Result<u64, u16> {
        if std::mem::take(&mut self.doomed) {
            self.restore();
            return Err(1062);
        }
        self.saved = None;
        self.touched.clear();
        Ok(0)
    }

    fn restore(&mut self) {
        if let Some(saved) = self.saved.take() {
            self.rows = saved;
        }
        self.touched.clear();
        self.doomed = false;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn one_session_behaves_as_a_map(steps in prop::collection::vec(step(), 1..60)) {
        let engine = Engine::new();
        let mut session = engine.session();
        run(&mut session, "CREATE TABLE test.t (id INT PRIMARY KEY, v BIGINT NOT NULL)");
        let mut model = Model::default();
        for step in &steps {
            let sql = match step {
                Step::Begin => "BEGIN".to_owned(),
                Step::Commit => "COMMIT".to_owned(),
                Step::Rollback => "ROLLBACK".to_owned(),
                Step::Insert(id, v) => format!("INSERT INTO test.t VALUES ({id}, {v})"),
                Step::Set(id, v) => format!("UPDATE test.t SET v = {v} WHERE id = {id}"),
                Step::Add(low, high, v) => {
                    format!("UPDATE test.t SET v = v + {v} WHERE id BETWEEN {low} AND {high}")
                }
                Step::Delete(low, high) => {
                    format!("DELETE FROM test.t WHERE id >= {low} AND id <= {high}")
                }
            };
            let result = match session.execute(&sql) {
                Ok(Answer::Done { affected_rows, .. }) => Ok(affected_rows),
                Ok(Answer::Rows { .. }) => panic!("{sql} has rows"),
                Err(error) => Err(error.code),
            };
            prop_assert_eq!(result, model.apply(step), "{}", sql);
            prop_assert_eq!(session.in_transaction(), model.saved.is_some());
            let expected: Vec<Vec<Value>> =
                model.rows.iter().map(|(id, v)| vec![Value::Int(*id), Value::Int(*v)]).collect();
            prop_assert_eq!(rows(&mut session, "SELECT * FROM test.t"), expected);
        }
    }
}

#[test]
fn what_the_parser_would_overflow_its_stack_on_is_refused() {
    let engine = Engine::new();
    let mut session = engine.session();
    for text in
        [format!("SELECT 1 FROM t{}", " JOIN t".repeat(3_000)), "SELECT * FROM a join b".into()]
    {
        let refused = session.execute(&text).expect_err("not supported");
        assert_eq!(refused.code, 1235, "{}", refused.message);
    }
}
