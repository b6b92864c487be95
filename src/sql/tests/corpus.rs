//! What each statement is: a table, one line per statement.

use super::{class, look};
use crate::sql::{Kind, Reason};

/// Statement, kind, reason (`-`: safe), `o` if its answer is compared in order, tables.
const DATA: &[(&str, &str, &str, &str, &str)] = &[
    // Queries.
    ("SELECT 1", "read", "-", "", ""),
    ("select a from t where id = 1", "read", "-", "", "t"),
    ("SELECT a FROM t ORDER BY a", "read", "-", "o", "t"),
    ("SELECT a FROM t LIMIT 1", "read", "-", "o", "t"),
    ("SELECT a FROM t LIMIT 5, 10", "read", "-", "o", "t"),
    ("SELECT a FROM t LIMIT 10 OFFSET 5", "read", "-", "o", "t"),
    ("SELECT a FROM t LIMIT ?", "read", "-", "o", "t"),
    ("(SELECT a FROM t)", "read", "-", "", "t"),
    ("(SELECT a FROM t ORDER BY a)", "read", "-", "o", "t"),
    ("(SELECT a FROM t LIMIT 1)", "read", "-", "o", "t"),
    ("((SELECT a FROM t)) LIMIT 1", "read", "-", "o", "t"),
    ("SELECT * FROM (SELECT a FROM t ORDER BY a LIMIT 1) x", "read", "-", "", "t"),
    ("SELECT a FROM t UNION SELECT b FROM u", "read", "-", "", "t u"),
    ("SELECT a FROM t UNION ALL SELECT b FROM u ORDER BY 1", "read", "-", "o", "t u"),
    ("(SELECT a FROM t LIMIT 1) UNION (SELECT b FROM u LIMIT 1)", "read", "-", "", "t u"),
    ("SELECT a FROM t EXCEPT SELECT b FROM u", "read", "-", "", "t u"),
    ("WITH c AS (SELECT a FROM t) SELECT * FROM c", "read", "-", "", "t"),
    ("WITH c (x) AS (SELECT a FROM t) SELECT x FROM c JOIN s.c ON 1", "read", "-", "", "t s.c"),
    (
        "WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 5) SELECT * FROM c",
        "read",
        "-",
        "",
        "",
    ),
    ("SELECT DISTINCT a FROM t", "read", "-", "", "t"),
    ("SELECT DISTINCT (a), b FROM t", "read", "-", "", "t"),
    ("SELECT SQL_NO_CACHE a FROM t", "read", "-", "", "t"),
    ("SELECT STRAIGHT_JOIN a FROM t, u", "read", "-", "", "t u"),
    ("SELECT /*+ HASH_JOIN(t, u) */ * FROM t JOIN u USING (id)", "read", "-", "", "t u"),
    ("SELECT * FROM t FORCE INDEX (ia) WHERE a IN (1, 2, 3)", "read", "-", "", "t"),
    ("SELECT * FROM t USE INDEX FOR ORDER BY (ia) ORDER BY a", "read", "-", "o", "t"),
    ("SELECT * FROM t PARTITION (p0)", "read", "-", "", "t"),
    ("SELECT * FROM db1.t LEFT JOIN db2.u ON t.a = u.a", "read", "-", "", "db1.t db2.u"),
    ("SELECT `a` FROM `my db`.`t``x`", "read", "-", "", "my db.t`x"),
    ("SELECT t.* FROM t, t AS t2", "read", "-", "", "t"),
    ("SELECT a, count(*) FROM t GROUP BY a WITH ROLLUP HAVING count(*) > 1", "read", "-", "", "t"),
    (
        "SELECT sum(a) OVER (PARTITION BY b ORDER BY c ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM t",
        "read",
        "-",
        "",
        "t",
    ),
    ("SELECT row_number() OVER w FROM t WINDOW w AS (ORDER BY a)", "read", "-", "", "t"),
    ("SELECT CASE WHEN a > (1) THEN 'x' ELSE (2) END FROM t", "read", "-", "", "t"),
    (
        "SELECT CAST(a AS DECIMAL(10, 2)), CONVERT(b USING utf8mb4), CONVERT(c, CHAR(3)) FROM t",
        "read",
        "-",
        "",
        "t",
    ),
    ("SELECT CAST(a AS SIGNED), BINARY (b), CAST(c AS DATETIME(6)) FROM t", "read", "-", "", "t"),
    ("SELECT DATE_ADD(a, INTERVAL 1 DAY), a + INTERVAL (1 + 2) HOUR FROM t", "read", "-", "", "t"),
    (
        "SELECT DATE '2020-01-01', TIMESTAMP '2020-01-01 00:00:00', TIME '10:00:00'",
        "read",
        "-",
        "",
        "",
    ),
    (
        "SELECT EXTRACT(YEAR FROM a), TRIM(BOTH ' ' FROM b), SUBSTRING(c FROM 1 FOR 2) FROM t",
        "read",
        "-",
        "",
        "t",
    ),
    (
        "SELECT POSITION('a' IN b), LEFT(a, 1), RIGHT(a, 1), MOD(a, 2), a MOD 2, a DIV 2 FROM t",
        "read",
        "-",
        "",
        "t",
    ),
    (
        "SELECT TIMESTAMPDIFF(SECOND, a, b), UNIX_TIMESTAMP(a), FROM_UNIXTIME(1) FROM t",
        "read",
        "-",
        "",
        "t",
    ),
    ("SELECT group_concat(DISTINCT a ORDER BY b DESC SEPARATOR ',') FROM t", "read", "-", "", "t"),
    ("SELECT doc->'$.a', doc->>'$.b', json_extract(doc, '$.c') FROM t", "read", "-", "", "t"),
    ("SELECT 1 MEMBER OF (doc) FROM t", "read", "-", "", "t"),
    ("SELECT MATCH (a, b) AGAINST ('x' IN BOOLEAN MODE) FROM t", "read", "-", "", "t"),
    (
        "SELECT IF(a, 1, 2), IFNULL(a, 1), COALESCE(a, b), NULLIF(a, b), GREATEST(1, 2) FROM t",
        "read",
        "-",
        "",
        "t",
    ),
    (
        "SELECT a REGEXP 'x', a RLIKE 'y', a NOT LIKE 'z' ESCAPE '!', a SOUNDS LIKE b FROM t",
        "unknown",
        "unparsable",
        "o",
        "",
    ),
    ("SELECT a REGEXP 'x', a RLIKE 'y', a NOT LIKE 'z' ESCAPE '!' FROM t", "read", "-", "", "t"),
    (
        "SELECT now(), NOW(6), sysdate(), uuid(), rand(), CURRENT_TIMESTAMP, CURRENT_DATE(), utc_date()",
        "read",
        "-",
        "",
        "",
    ),
    (
        "SELECT connection_id(), user(), current_user, current_user(), version()",
        "read",
        "-",
        "",
        "",
    ),
    (
        "SELECT md5('a'), sha2('a', 256), crc32('a'), hex(1), unhex('41'), inet_aton('1.2.3.4')",
        "read",
        "-",
        "",
        "",
    ),
    (
        "SELECT char(65, 66), ascii('a'), repeat('a', 3), replace('a', 'b', 'c'), insert('a', 1, 2, 'b')",
        "read",
        "-",
        "",
        "",
    ),
    ("SELECT tidb_parse_tso(1), tidb_shard(2)", "read", "-", "", ""),
    ("SELECT 0x41, x'41', b'1', 0b1, 1e5, .5, -1, N'a', _utf8mb4'a', 'a' 'b'", "read", "-", "", ""),
    ("SELECT 'it''s', 'a\\'b', \"x\"", "read", "-", "", ""),
    ("SELECT 'select last_insert_id()' FROM t", "read", "-", "", "t"),
    ("SELECT `last_insert_id` FROM t", "read", "-", "", "t"),
    ("SELECT a -- last_insert_id()\n FROM t # sleep(1)", "read", "-", "", "t"),
    ("SELECT a FROM t WHERE (a, b) IN ((1, 2), (3, 4))", "read", "-", "", "t"),
    (
        "SELECT a FROM t WHERE EXISTS (SELECT 1 FROM u) AND a > ALL (SELECT b FROM v)",
        "read",
        "-",
        "",
        "t u v",
    ),
    ("SELECT a && b || !c, ~a, a <=> b, a << 1, a XOR b FROM t", "read", "-", "", "t"),
    ("SELECT 1;", "read", "-", "", ""),
    ("/* comment */ SELECT 1", "read", "-", "", ""),
    ("SELECT a FROM t COLLATE", "read", "-", "", "t"),
    ("SELECT a COLLATE utf8mb4_bin FROM t", "read", "-", "", "t"),
    (
        "SELECT jt.a FROM JSON_TABLE('[1]', '$[*]' COLUMNS (a INT PATH '$')) AS jt",
        "read",
        "-",
        "",
        "",
    ),
    // Locking queries.
    ("SELECT a FROM t FOR UPDATE", "locking_read", "-", "", "t"),
    ("SELECT a FROM t WHERE id = 1 FOR UPDATE NOWAIT", "locking_read", "-", "", "t"),
    ("SELECT a FROM t FOR UPDATE SKIP LOCKED", "locking_read", "-", "", "t"),
    ("SELECT a FROM t FOR UPDATE WAIT 5", "locking_read", "-", "", "t"),
    ("SELECT a FROM t FOR UPDATE OF t", "locking_read", "-", "", "t"),
    ("SELECT a FROM t FOR SHARE", "locking_read", "-", "", "t"),
    ("SELECT a FROM t LOCK IN SHARE MODE", "locking_read", "-", "", "t"),
    ("SELECT a FROM t ORDER BY a LIMIT 1 FOR UPDATE", "locking_read", "-", "o", "t"),
    ("SELECT * FROM (SELECT a FROM t FOR UPDATE) x", "locking_read", "-", "", "t"),
    // INSERT and REPLACE.
    ("INSERT INTO t VALUES (1, 'a')", "insert", "-", "o", "t"),
    ("insert t set a = 1, b = now()", "insert", "-", "o", "t"),
    (
        "INSERT INTO t (a, b) VALUES (1, DEFAULT), (2, DEFAULT(b)), (NULL, uuid())",
        "insert",
        "-",
        "o",
        "t",
    ),
    ("INSERT IGNORE INTO db1.t (a) VALUES (1)", "insert", "-", "o", "db1.t"),
    ("INSERT INTO t () VALUES ()", "insert", "-", "o", "t"),
    ("INSERT INTO t (a) SELECT a FROM u WHERE b = 1", "insert", "-", "o", "t u"),
    ("INSERT INTO t PARTITION (p0) (a) VALUES (1)", "unknown", "unparsable", "o", ""),
    (
        "INSERT INTO t (a) VALUES (1) ON DUPLICATE KEY UPDATE a = VALUES(a) + 1, b = 2",
        "insert",
        "-",
        "o",
        "t",
    ),
    ("INSERT INTO t (a) VALUES (1) AS n ON DUPLICATE KEY UPDATE a = n.a", "insert", "-", "o", "t"),
    (
        "INSERT INTO t (a) VALUES (1) AS n (x) ON DUPLICATE KEY UPDATE a = x",
        "insert",
        "-",
        "o",
        "t",
    ),
    ("INSERT INTO t (a) WITH c AS (SELECT 1 AS a) SELECT a FROM c", "insert", "-", "o", "t"),
    ("INSERT INTO position (a) VALUES (1)", "insert", "-", "o", "position"),
    ("INSERT INTO strange_name (a) VALUES (1)", "insert", "-", "o", "strange_name"),
    ("INSERT INTO t VALUES (_binary'\\0\\'x', x'00')", "insert", "-", "o", "t"),
    ("REPLACE INTO t (a) VALUES (1)", "replace", "-", "o", "t"),
    ("REPLACE t SET a = 1", "replace", "-", "o", "t"),
    ("REPLACE INTO t SELECT * FROM u", "replace", "-", "o", "t u"),
    // UPDATE and DELETE.
    ("UPDATE t SET a = a + 1 WHERE id = 1", "update", "-", "o", "t"),
    ("update `t` set `a`=NULL,b='x' where c is null order by d limit 3", "update", "-", "o", "t"),
    ("UPDATE IGNORE t SET a = 1", "update", "-", "o", "t"),
    ("UPDATE t JOIN u ON t.id = u.id SET t.a = u.a", "update", "-", "o", "t u"),
    ("UPDATE t, u AS v SET t.a = v.a WHERE t.id = v.id", "update", "-", "o", "t u"),
    ("UPDATE t SET a = (SELECT max(b) FROM u)", "update", "-", "o", "t u"),
    (
        "WITH c AS (SELECT 1 AS id) UPDATE t JOIN c ON t.id = c.id SET t.a = 2",
        "update",
        "-",
        "o",
        "t",
    ),
    ("DELETE FROM t WHERE a = 1", "delete", "-", "o", "t"),
    ("DELETE FROM t ORDER BY a LIMIT 10", "delete", "-", "o", "t"),
    ("DELETE t FROM t JOIN u ON t.id = u.id WHERE u.a = 1", "delete", "-", "o", "t u"),
    ("DELETE FROM t USING t JOIN u ON t.id = u.id", "delete", "-", "o", "t u"),
    (
        "WITH c AS (SELECT 1 AS id) DELETE FROM t WHERE id IN (SELECT id FROM c)",
        "delete",
        "-",
        "o",
        "t",
    ),
    // Queries and DML that can't be replayed.
    ("SELECT last_insert_id()", "read", "-", "", ""),
    ("SELECT LAST_INSERT_ID ( )", "read", "-", "", ""),
    ("SELECT last_insert_id/* */( /* */ )", "read", "-", "", ""),
    ("SELECT row_count()", "read", "row_count", "", ""),
    ("SELECT found_rows()", "read", "found_rows", "", ""),
    ("SELECT SQL_CALC_FOUND_ROWS a FROM t LIMIT 1", "read", "found_rows", "o", "t"),
    ("SELECT database()", "read", "session_variable", "", ""),
    ("SELECT schema()", "read", "session_variable", "", ""),
    ("SELECT get_lock('a', 1)", "read", "lock_function", "", ""),
    ("SELECT release_lock('a')", "read", "lock_function", "", ""),
    ("SELECT sleep(1)", "read", "sleep", "", ""),
    ("SELECT benchmark(10, md5('a'))", "read", "sleep", "", ""),
    ("SELECT nextval(s)", "read", "sequence", "", ""),
    ("SELECT lastval(s), setval(s, 1)", "read", "sequence", "", ""),
    ("SELECT NEXT VALUE FOR s", "unknown", "sequence", "o", ""),
    ("INSERT INTO t VALUES (NEXT VALUE FOR s)", "unknown", "sequence", "o", ""),
    ("SELECT tidb_current_tso()", "read", "tso_visible", "", ""),
    ("SELECT load_file('/etc/passwd')", "read", "unknown_function", "", ""),
    ("SELECT f(1)", "read", "unknown_function", "", ""),
    ("SELECT db1.f(1)", "read", "unknown_function", "", ""),
    ("SELECT db1.concat('a')", "read", "unknown_function", "", ""),
    ("SELECT `concat`('a')", "read", "unknown_function", "", ""),
    ("SELECT tidb_decode_key('a')", "read", "unknown_function", "", ""),
    ("SELECT @a", "read", "-", "", ""),
    ("SELECT @a := 1", "read", "user_variable", "", ""),
    ("SELECT a, @n := @n + 1 FROM t", "read", "user_variable", "", "t"),
    ("SELECT @@version", "read", "session_variable", "", ""),
    ("SELECT @@session.sql_mode", "read", "session_variable", "", ""),
    ("SELECT @@tidb_current_ts", "read", "session_variable", "", ""),
    ("SELECT a INTO @x FROM t", "read", "select_into", "", "t"),
    ("SELECT a FROM t INTO @x", "unknown", "select_into", "o", ""),
    ("SELECT a FROM t INTO OUTFILE '/tmp/x'", "unknown", "select_into", "o", ""),
    ("SELECT a INTO u FROM t", "read", "select_into", "", "t"),
    ("SELECT /*+ SET_VAR(sql_mode='') */ 1", "read", "session_variable", "", ""),
    (
        "SELECT * FROM information_schema.tidb_trx",
        "read",
        "system_table",
        "",
        "information_schema.tidb_trx",
    ),
    (
        "SELECT * FROM PERFORMANCE_SCHEMA.session_variables",
        "read",
        "system_table",
        "",
        "PERFORMANCE_SCHEMA.session_variables",
    ),
    ("SELECT * FROM t AS OF TIMESTAMP now()", "unknown", "unparsable", "o", ""),
    ("SELECT * FROM t TABLESAMPLE REGIONS()", "read", "unknown_function", "", "t"),
    ("SELECT FROM WHERE", "unknown", "unparsable", "o", ""),
    ("SELECT 1 FROM t PROCEDURE ANALYSE()", "unknown", "unparsable", "o", ""),
    ("INSERT INTO t (a) VALUES (last_insert_id())", "insert", "-", "o", "t"),
    (
        "INSERT INTO t (a) VALUES (1) ON DUPLICATE KEY UPDATE id = LAST_INSERT_ID(id)",
        "insert",
        "last_insert_id",
        "o",
        "t",
    ),
    ("INSERT INTO t (a) VALUES (@x)", "insert", "-", "o", "t"),
    ("UPDATE t SET a = @x WHERE b = @y", "update", "-", "o", "t"),
    ("UPDATE t SET a = f(a)", "update", "unknown_function", "o", "t"),
    ("DELETE FROM t WHERE a = sleep(1)", "delete", "sleep", "o", "t"),
    ("SELECT 1; SELECT 2", "unknown", "multi_statement", "o", ""),
    ("COMMIT; BEGIN", "unknown", "multi_statement", "o", ""),
    ("SELECT /*!40001 SQL_NO_CACHE */ 1", "unknown", "conditional_comment", "o", ""),
    ("/*!40101 SET NAMES utf8 */", "unknown", "conditional_comment", "o", ""),
    ("SELECT /*T![auto_rand] x */ 1", "unknown", "conditional_comment", "o", ""),
    ("SELECT /*M! x */ 1", "unknown", "conditional_comment", "o", ""),
    // No parser needed.
    ("BEGIN", "control", "-", "o", ""),
    ("BEGIN OPTIMISTIC", "control", "-", "o", ""),
    ("START TRANSACTION WITH CONSISTENT SNAPSHOT", "control", "-", "o", ""),
    ("COMMIT", "control", "-", "o", ""),
    ("rollback", "control", "-", "o", ""),
    ("SAVEPOINT a", "control", "-", "o", ""),
    ("ROLLBACK TO a", "control", "-", "o", ""),
    ("RELEASE SAVEPOINT a", "control", "-", "o", ""),
    ("SET autocommit = 0", "control", "set", "o", ""),
    ("SET @x = 1", "control", "set", "o", ""),
    ("USE db1", "control", "schema_change", "o", ""),
    ("CALL p()", "control", "call", "o", ""),
    ("PREPARE s FROM 'select 1'", "control", "prepare_text", "o", ""),
    ("EXECUTE s USING @a", "control", "prepare_text", "o", ""),
    ("EXECUTE IMMEDIATE 'commit'", "control", "prepare_text", "o", ""),
    ("DEALLOCATE PREPARE s", "control", "prepare_text", "o", ""),
    ("DROP PREPARE s", "control", "prepare_text", "o", ""),
    ("SHOW WARNINGS", "control", "show", "o", ""),
    ("EXPLAIN ANALYZE UPDATE t SET a = 1", "control", "explain", "o", ""),
    ("DESC t", "control", "explain", "o", ""),
    ("CREATE TABLE t (a INT)", "control", "ddl", "o", ""),
    ("CREATE TEMPORARY TABLE t (a INT)", "control", "temporary_table", "o", ""),
    (
        "CREATE GLOBAL TEMPORARY TABLE t (a INT) ON COMMIT DELETE ROWS",
        "control",
        "temporary_table",
        "o",
        "",
    ),
    ("DROP TEMPORARY TABLE t", "control", "temporary_table", "o", ""),
    ("DROP TABLE t", "control", "ddl", "o", ""),
    ("TRUNCATE t", "control", "ddl", "o", ""),
    ("GRANT ALL ON *.* TO 'a'@'%'", "control", "ddl", "o", ""),
    ("LOCK TABLES t WRITE", "control", "lock_tables", "o", ""),
    ("UNLOCK TABLES", "control", "lock_tables", "o", ""),
    ("LOAD DATA LOCAL INFILE 'x' INTO TABLE t", "control", "load_data", "o", ""),
    ("KILL QUERY 5", "control", "other_statement", "o", ""),
    ("XA START 'a'", "control", "other_statement", "o", ""),
    ("DO sleep(1)", "control", "other_statement", "o", ""),
    ("HANDLER t OPEN", "control", "other_statement", "o", ""),
    ("TABLE t", "control", "other_statement", "o", ""),
    ("VALUES ROW(1)", "control", "other_statement", "o", ""),
    ("ANALYZE TABLE t", "control", "other_statement", "o", ""),
    ("BATCH ON id LIMIT 1 DELETE FROM t", "control", "other_statement", "o", ""),
    ("BEGIN NOT ATOMIC", "control", "other_statement", "o", ""),
    ("garbage", "control", "other_statement", "o", ""),
    ("", "control", "other_statement", "o", ""),
];

#[test]
fn every_statement_has_the_class_that_the_table_says() {
    let mut problems = Vec::new();
    for (text, kind, reason, ordered, tables) in DATA {
        let class = class(text);
        let found_tables: Vec<String> = class
            .tables
            .iter()
            .map(|table| match &table.schema {
                Some(schema) => format!("{schema}.{}", table.name),
                None => table.name.to_string(),
            })
            .collect();
        let found = (
            kind_name(class.kind),
            class.unsafe_reason.map_or("-", Reason::as_str),
            if class.ordered { "o" } else { "" },
            found_tables.join(" "),
        );
        if found != (*kind, *reason, *ordered, (*tables).to_owned()) {
            problems.push(format!(
                "{text}\n  expected {:?}\n  found    {found:?}",
                (kind, reason, ordered, tables)
            ));
        }
    }
    assert!(problems.is_empty(), "{} of {}:\n{}", problems.len(), DATA.len(), problems.join("\n"));
}

#[test]
fn what_the_scan_sees_agrees_with_the_class() {
    for (text, kind, reason, ..) in DATA {
        let scan = look(text);
        if matches!(*kind, "read" | "locking_read" | "insert" | "update" | "delete" | "replace") {
            assert!(!scan.multi && !scan.opaque && !scan.empty, "{text}");
        }
        assert!(*reason != "-" || !scan.system_variable, "{text}");
    }
}

#[test]
fn reasons_are_distinct_labels() {
    let mut labels: Vec<&str> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    assert!(labels.is_sorted());
    labels.dedup();
    assert_eq!(labels.len(), Reason::ALL.len());
    assert!(labels.iter().all(|label| label.bytes().all(|b| b == b'_' || b.is_ascii_lowercase())));
}

fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Read => "read",
        Kind::LockingRead => "locking_read",
        Kind::Insert => "insert",
        Kind::Update => "update",
        Kind::Delete => "delete",
        Kind::Replace => "replace",
        Kind::Control(_) => "control",
        Kind::Unknown => "unknown",
    }
}
