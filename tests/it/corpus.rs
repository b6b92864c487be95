//! Dialogues as data: what a client sends. The answers are whatever the server says; the tests
//! ask only that they are the same through txguard.

use crate::support::raw::{Shape, caps, com};

/// Which servers understand a dialogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum On {
    Both,
    TiDb,
    MariaDb,
}

/// One thing that a client sends.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Step {
    /// COM_QUERY; `{schema}` is the name of the schema, for names that the whole server shares.
    Query(&'static str),
    /// COM_QUERY with a text that is too long to be written down.
    Made(fn() -> String),
    /// Any command: first byte, the rest, the shape of the answer.
    Command(u8, &'static [u8], Shape),
    /// The same; numbers in the answer may differ.
    Varying(u8, &'static [u8], Shape),
    /// COM_QUERY that asks for a file, and the file; `None` refuses.
    File(&'static str, Option<&'static [u8]>),
    /// The same with a file that is too long to be written down.
    BigFile(&'static str, fn() -> Vec<u8>),
    /// The same with a file of this length that is sent as one packet.
    OnePacket(&'static str, usize),
    /// COM_STMT_PREPARE; statements are numbered from 0 in this order.
    Prepare(&'static str),
    /// COM_STMT_EXECUTE with types.
    Execute(usize, &'static [Param]),
    /// COM_STMT_EXECUTE with the types of the last time.
    ExecuteAgain(usize, &'static [Param]),
    /// COM_STMT_EXECUTE that opens a cursor.
    Cursor(usize, &'static [Param]),
    /// COM_STMT_FETCH of so many rows.
    Fetch(usize, u32),
    /// COM_STMT_SEND_LONG_DATA: parameter, byte, how often.
    LongData(usize, u16, u8, usize),
    /// COM_STMT_RESET.
    Reset(usize),
    /// COM_STMT_CLOSE.
    Close(usize),
    /// COM_CHANGE_USER to root without a password, into the test's schema or none.
    ChangeUser { into_schema: bool },
    /// All of these in one write, before the first answer.
    Pipeline(&'static [Step]),
}

/// A parameter in the binary protocol.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Param {
    Null,
    Tiny(i8),
    Int(i32),
    Long(i64),
    Unsigned(u64),
    Float(f32),
    Double(f64),
    Text(&'static str),
    Blob(&'static [u8]),
    /// A blob of this byte, so many times.
    Big(u8, usize),
    /// Comes by [`Step::LongData`].
    Sent,
    /// Year, month, day, hour, minute, second, microsecond.
    Time(u16, [u8; 5], u32),
    /// Days, hours, minutes, seconds, microseconds; negative if the flag is set.
    Span(bool, u32, [u8; 3], u32),
}

/// A dialogue on a connection of its own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dialogue {
    pub(crate) name: &'static str,
    pub(crate) on: On,
    pub(crate) steps: &'static [Step],
    /// Takes seconds: at gate size it runs with one set of client flags and two policies.
    pub(crate) heavy: bool,
}

const fn both(name: &'static str, steps: &'static [Step]) -> Dialogue {
    Dialogue { name, on: On::Both, steps, heavy: false }
}

const fn tidb(name: &'static str, steps: &'static [Step]) -> Dialogue {
    Dialogue { name, on: On::TiDb, steps, heavy: false }
}

const fn mariadb(name: &'static str, steps: &'static [Step]) -> Dialogue {
    Dialogue { name, on: On::MariaDb, steps, heavy: false }
}

const fn heavy(dialogue: Dialogue) -> Dialogue {
    Dialogue { heavy: true, ..dialogue }
}

/// Tables that dialogues find; `kv` is for writing, and empty at the beginning.
pub(crate) const TABLES: &[&str] = &[
    "CREATE TABLE kv (id INT PRIMARY KEY, v INT, s VARCHAR(100) CHARACTER SET utf8mb4)",
    "CREATE TABLE types (id INT PRIMARY KEY, ti TINYINT, tu TINYINT UNSIGNED, si SMALLINT, \
     su SMALLINT UNSIGNED, mi MEDIUMINT, mu MEDIUMINT UNSIGNED, i INT, iu INT UNSIGNED, \
     bi BIGINT, bu BIGINT UNSIGNED, f FLOAT, d DOUBLE, dc DECIMAL(65,30), b1 BIT(1), b BIT(64), \
     da DATE, tm TIME(6), dt DATETIME(6), ts TIMESTAMP(6) NULL, y YEAR, c CHAR(10), \
     vc VARCHAR(100) CHARACTER SET utf8mb4, bin BINARY(4), vb VARBINARY(100), tb TINYBLOB, \
     bl BLOB, mb MEDIUMBLOB, lb LONGBLOB, tt TINYTEXT, tx TEXT, mt MEDIUMTEXT, lt LONGTEXT, \
     e ENUM('a','b','c'), s SET('x','y','z'), j JSON)",
    "SET sql_mode='', time_zone='+00:00'",
    "INSERT INTO types VALUES (1, -128, 0, -32768, 0, -8388608, 0, -2147483648, 0, \
     -9223372036854775808, 0, -3.402823e38, -1.7976931348623157e308, \
     -99999999999999999999999999999999999.999999999999999999999999999999, b'0', b'0', \
     '1000-01-01', '-838:59:59.000000', '1000-01-01 00:00:00.000000', \
     '1970-01-01 00:00:01.000000', 1901, '', '', '', '', '', '', '', '', '', '', '', '', 'a', \
     '', '{}')",
    "INSERT INTO types VALUES (2, 127, 255, 32767, 65535, 8388607, 16777215, 2147483647, \
     4294967295, 9223372036854775807, 18446744073709551615, 3.402823e38, \
     1.7976931348623157e308, 99999999999999999999999999999999999.999999999999999999999999999999, \
     b'1', x'FFFFFFFFFFFFFFFF', '9999-12-31', '838:59:59.000000', '9999-12-31 23:59:59.999999', \
     '2038-01-19 03:14:07.999999', 2155, 'zzzzzzzzzz', '😀🎉𝒳 ünïcödé', x'FFFFFFFF', \
     x'00FF27225C0A0D1A', REPEAT('t', 255), REPEAT(x'FF', 65535), REPEAT('m', 70000), \
     REPEAT('l', 300000), REPEAT('t', 255), REPEAT('x', 65535), REPEAT('m', 70000), \
     REPEAT('😀', 70000), 'c', 'x,y,z', '{\"a\": [1, 2.5, null, \"😀\"]}')",
    "INSERT INTO types (id) VALUES (3)",
    "INSERT INTO types VALUES (4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, '0000-00-00', 0, \
     '0000-00-00 00:00:00', '0000-00-00 00:00:00', 0, '', '', '', '', '', '', '', '', '', '', \
     '', '', '', '', '0')",
];

/// More tables for MariaDB.
pub(crate) const MARIADB_TABLES: &[&str] = &[
    "CREATE PROCEDURE two_results() BEGIN SELECT 1 AS a; SELECT 'x' AS b, NULL AS c; END",
    "CREATE PROCEDURE out_value(OUT result INT) BEGIN SET result = 42; SELECT 7; END",
    "CREATE PROCEDURE fails() BEGIN SELECT 1; SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'no'; END",
    "CREATE TABLE archive (id INT PRIMARY KEY) ENGINE=MyISAM",
];

use Param::{Big, Blob, Double, Float, Int, Long, Null, Sent, Span, Text, Time, Tiny, Unsigned};
use Step::{
    BigFile, ChangeUser, Close, Command, Cursor, Execute, ExecuteAgain, Fetch, File, LongData,
    Made, OnePacket, Pipeline, Prepare, Query, Reset, Varying,
};

/// Also gives the diagnostics functions a value that is not of the connection before (MariaDB).
const KV_IS_EMPTY: Step = Query("SELECT COUNT(*) FROM kv");
const THREE_ROWS: Step =
    Query("INSERT INTO kv VALUES (1, 10, 'one'), (2, 20, NULL), (3, 30, '😀')");

/// What is said before a test: everything that diagnostics functions and flags tell.
const DIAGNOSTICS: Step =
    Query("SELECT ROW_COUNT(), FOUND_ROWS(), LAST_INSERT_ID(), @@warning_count");

pub(crate) const CORPUS: &[Dialogue] = &[
    // ------------------------------------------------------------------ results, text protocol
    both("types at their extremes, text", &[Query("SELECT * FROM types ORDER BY id")]),
    both(
        "types one by one",
        &[
            Query("SELECT id, ti, tu, si, su, mi, mu, i, iu, bi, bu FROM types ORDER BY id"),
            Query("SELECT f, d, dc, b1, b FROM types ORDER BY id"),
            Query("SELECT da, tm, dt, ts, y FROM types ORDER BY id"),
            Query("SELECT e, s, j FROM types ORDER BY id"),
        ],
    ),
    both(
        "empty results",
        &[
            Query("SELECT * FROM types WHERE id = 99"),
            Query("SELECT 1 FROM kv WHERE 1 = 0"),
            Query("SELECT NULL, NULL, ''"),
        ],
    ),
    both(
        "texts of four bytes",
        &[
            Query("SELECT '😀', _utf8mb4'🎉' AS `ünïcödé`, HEX('𝒳')"),
            Query("SELECT 1 AS `sp😀t`"),
            Query("SELECT '\\\\', '\\'', \"\\\"\", 'a''b', '\\0', '\\n' "),
        ],
    ),
    both(
        "many columns",
        &[Made(|| {
            let columns: Vec<String> = (0..1000).map(|n| format!("{n} AS c{n}")).collect();
            format!("SELECT {}", columns.join(","))
        })],
    ),
    both(
        "many rows",
        &[Query(
            "WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 900) \
             SELECT i, REPEAT('x', i), NULL FROM n ORDER BY i",
        )],
    ),
    both(
        "rows that begin with 0xFB and 0xFE bytes",
        &[
            Query("SELECT NULL, 1 UNION ALL SELECT x'FE', 2 UNION ALL SELECT x'FF', 3 ORDER BY 2"),
            Query(
                "SELECT REPEAT('a', 250), 1 UNION ALL SELECT REPEAT('a', 251), 2 \
               UNION ALL SELECT REPEAT('a', 65536), 3 ORDER BY 2",
            ),
        ],
    ),
    both(
        "statements that return nothing",
        &[
            Query("SET @a = 1"),
            Query("DO 1"),
            Query("SET NAMES utf8mb4"),
            Query("SET @b = 'x', @c = NULL"),
            Query("SELECT @a, @b, @c"),
        ],
    ),
    both(
        "empty and nearly empty statements",
        &[
            Query(""),
            Query(";"),
            Query(" "),
            Query("-- nothing"),
            Query("/* nothing */"),
            Query("# nothing\n"),
            Query("SELECT 1;"),
            Query("SELECT 1; "),
            Command(com::QUERY, b"SELECT 2\0", Shape::Results),
        ],
    ),
    both(
        "names of columns are the client's own words",
        &[
            Query("SELECT 1+1"),
            Query("SELECT /* a */ 1 + 1 /* b */"),
            Query("SELECT 1+1 -- x"),
            Query("/*! SELECT 5 */"),
            Query("select(1),'a b',NOW() = NOW()"),
        ],
    ),
    both(
        "SHOW and friends",
        &[
            Query("SHOW TABLES"),
            Query("SHOW CREATE TABLE kv"),
            Query("SHOW COLUMNS FROM types"),
            Query("SHOW INDEX FROM kv"),
            Query("SHOW VARIABLES LIKE 'autocommit'"),
            Query("DESCRIBE kv"),
            Query("EXPLAIN SELECT * FROM kv WHERE id = 1"),
            Query("SHOW WARNINGS"),
            Query("SHOW ERRORS"),
            Query("SELECT DATABASE(), USER(), CURRENT_USER()"),
        ],
    ),
    both(
        "USE",
        &[
            Query("USE mysql"),
            Query("SELECT DATABASE()"),
            Query("USE no_such_schema"),
            Query("SELECT DATABASE()"),
            Query("use `information_schema`"),
            Query("SELECT DATABASE()"),
        ],
    ),
    both(
        "character sets",
        &[
            Query("SET NAMES latin1"),
            Query("SELECT x'E4', _latin1 x'E4', CHARSET('a')"),
            Query("SET NAMES gbk"),
            Query("SELECT 'a', CHARSET('a')"),
            Command(com::QUERY, b"SELECT '\xD0\xCE'", Shape::Results),
            Query("SET NAMES binary"),
            Query("SELECT '\u{e4}'"),
            Query("SET NAMES utf8mb4"),
            Command(com::QUERY, b"SELECT '\xFF\xFE'", Shape::Results),
        ],
    ),
    both(
        "sql_mode turns quotes and backslashes round",
        &[
            Query("SET sql_mode = 'NO_BACKSLASH_ESCAPES'"),
            Query("SELECT '\\', 'x'"),
            Query("SET sql_mode = 'ANSI_QUOTES'"),
            Query("SELECT \"id\" FROM kv"),
            Query("BEGIN"),
            Query("SELECT \"v\" FROM \"kv\""),
            Query("COMMIT"),
        ],
    ),
    // ------------------------------------------------------------------------ errors, warnings
    both(
        "errors",
        &[
            Query("SELEC 1"),
            Query("SELECT * FROM no_such_table"),
            Query("SELECT no_such_column FROM kv"),
            Query("SELECT NO_SUCH_FUNCTION(1)"),
            KV_IS_EMPTY,
            THREE_ROWS,
            Query("INSERT INTO kv VALUES (1, 1, 'x')"),
            Query("SHOW WARNINGS"),
            Query("INSERT INTO kv VALUES ('x', 1, 'x')"),
            Query("SELECT 1"),
            Query("SELECT CAST('x' AS JSON)"),
            Query("KILL 18446744073709551615"),
        ],
    ),
    both(
        "an error after rows have been sent",
        &[
            KV_IS_EMPTY,
            THREE_ROWS,
            Query("SELECT id, (SELECT id FROM kv k WHERE k.id >= kv.id) FROM kv ORDER BY id DESC"),
            Query("SELECT 1"),
        ],
    ),
    both(
        "warnings",
        &[
            Query("SELECT CAST('1x' AS SIGNED), 1 / 0"),
            Query("SHOW WARNINGS"),
            Query("SELECT @@warning_count"),
            KV_IS_EMPTY,
            Query("SET sql_mode = ''"),
            Query("INSERT INTO kv VALUES (1, 'x', REPEAT('y', 200)), (2, 99999999999, '')"),
            Query("SHOW COUNT(*) WARNINGS"),
            Query("SHOW WARNINGS LIMIT 1"),
            Query("DROP TABLE IF EXISTS no_such_table"),
            Query("SHOW WARNINGS"),
        ],
    ),
    both(
        "changes and their counts",
        &[
            KV_IS_EMPTY,
            THREE_ROWS,
            DIAGNOSTICS,
            Query("UPDATE kv SET v = v + 1 WHERE id < 3"),
            DIAGNOSTICS,
            Query("UPDATE kv SET v = v"),
            DIAGNOSTICS,
            Query("REPLACE INTO kv VALUES (1, 1, 'r')"),
            DIAGNOSTICS,
            Query("INSERT INTO kv VALUES (1, 1, 'r') ON DUPLICATE KEY UPDATE v = v + 1"),
            DIAGNOSTICS,
            Query("INSERT IGNORE INTO kv VALUES (1, 1, 'r')"),
            Query("SHOW WARNINGS"),
            Query("DELETE FROM kv WHERE id = 2"),
            DIAGNOSTICS,
            Query("SELECT * FROM kv ORDER BY id"),
            DIAGNOSTICS,
        ],
    ),
    both(
        "generated ids",
        &[
            KV_IS_EMPTY,
            Query("CREATE TABLE numbered (id INT AUTO_INCREMENT PRIMARY KEY, v INT)"),
            Query("INSERT INTO numbered (v) VALUES (1), (2)"),
            DIAGNOSTICS,
            Query("BEGIN"),
            Query("INSERT INTO numbered (v) VALUES (3)"),
            Query("SELECT LAST_INSERT_ID()"),
            Query("COMMIT"),
            Query("SELECT LAST_INSERT_ID()"),
            Query("INSERT INTO numbered VALUES (NULL, LAST_INSERT_ID(77))"),
            Query("SELECT v FROM numbered ORDER BY v"),
            Query("DROP TABLE numbered"),
        ],
    ),
    // --------------------------------------------------------------------------- multi-results
    both(
        "several statements in one packet",
        &[
            KV_IS_EMPTY,
            Query("SELECT 1; SELECT 2, 3; SELECT 4"),
            Query("INSERT INTO kv VALUES (1, 1, ''); SELECT * FROM kv; DELETE FROM kv; SELECT 1"),
            Query("SELECT 1; SELEC 2; SELECT 3"),
            Query("SELECT 1; SELECT * FROM no_such_table; SELECT 3"),
            Query("BEGIN; INSERT INTO kv VALUES (2, 2, ''); COMMIT; SELECT v FROM kv"),
            Query("BEGIN; INSERT INTO kv VALUES (3, 3, '')"),
            Query("SELECT COUNT(*) FROM kv; ROLLBACK; SELECT COUNT(*) FROM kv"),
            Query(
                "BEGIN; INSERT INTO kv VALUES (4, 4, ''); INSERT INTO kv VALUES (4, 4, ''); COMMIT",
            ),
            Query("SELECT COUNT(*) FROM kv"),
            Query("ROLLBACK"),
            Query(";;"),
            Query("SELECT 1;;SELECT 2"),
            Query("SET @a = 5; SELECT @a; SET @a = 6"),
        ],
    ),
    both(
        "several statements, switched off and on",
        &[
            Command(com::SET_OPTION, &[1, 0], Shape::Single),
            Query("SELECT 1; SELECT 2"),
            Command(com::SET_OPTION, &[0, 0], Shape::Single),
            Query("SELECT 1; SELECT 2"),
            Command(com::SET_OPTION, &[9, 0], Shape::Single),
            Query("SELECT 1"),
        ],
    ),
    mariadb(
        "procedures",
        &[
            Query("CALL two_results()"),
            Query("CALL two_results(); SELECT 3"),
            Query("CALL out_value(@x)"),
            Query("SELECT @x"),
            Query("CALL fails()"),
            Prepare("CALL two_results()"),
            Execute(0, &[]),
            Prepare("CALL out_value(?)"),
            Execute(1, &[Int(1)]),
            Query("BEGIN"),
            Query("CALL two_results()"),
            Execute(0, &[]),
            Query("COMMIT"),
        ],
    ),
    // ----------------------------------------------------------------------- prepared protocol
    both(
        "types at their extremes, binary",
        &[
            Prepare("SELECT * FROM types WHERE id >= ? ORDER BY id"),
            Execute(0, &[Int(0)]),
            ExecuteAgain(0, &[Int(3)]),
            Close(0),
            Query("SELECT 1"),
        ],
    ),
    both(
        "parameters of every kind",
        &[
            Prepare("SELECT ?, ?, ?, ?, ?, ?, ?"),
            Execute(
                0,
                &[
                    Null,
                    Tiny(-128),
                    Int(-1),
                    Long(i64::MIN),
                    Unsigned(u64::MAX),
                    Float(1.5),
                    Double(-0.0),
                ],
            ),
            ExecuteAgain(
                0,
                &[Null, Tiny(1), Int(2), Long(3), Unsigned(4), Float(5.0), Double(6.0)],
            ),
            Prepare("SELECT ?, ?, ?, ?, ?"),
            Execute(
                1,
                &[
                    Text("😀"),
                    Blob(&[0, 255, 39]),
                    Text(""),
                    Time(2024, [2, 29, 23, 59, 58], 999_999),
                    Span(true, 33, [22, 59, 59], 1),
                ],
            ),
            Execute(1, &[Null, Null, Null, Null, Null]),
            Reset(0),
            Reset(1),
            Execute(0, &[Null, Null, Null, Null, Null, Null, Null]),
        ],
    ),
    both(
        "no parameters, no columns",
        &[
            Prepare("SELECT 1"),
            Execute(0, &[]),
            Execute(0, &[]),
            Prepare("SET @a = ?"),
            Execute(1, &[Long(7)]),
            ExecuteAgain(1, &[Long(8)]),
            Query("SELECT @a"),
            Prepare("DO 1"),
            Execute(2, &[]),
        ],
    ),
    both(
        "prepared errors",
        &[
            Prepare("SELEC ?"),
            Prepare("SELECT * FROM no_such_table WHERE a = ?"),
            Prepare("SELECT 1; SELECT 2"),
            Prepare(""),
            Command(com::STMT_EXECUTE, &[99, 0, 0, 0, 0, 1, 0, 0, 0], Shape::Results),
            Command(com::STMT_RESET, &[99, 0, 0, 0], Shape::Single),
            Command(com::STMT_FETCH, &[99, 0, 0, 0, 1, 0, 0, 0], Shape::Fetch),
            Command(com::STMT_CLOSE, &[99, 0, 0, 0], Shape::Nothing),
            KV_IS_EMPTY,
            THREE_ROWS,
            Prepare("INSERT INTO kv VALUES (?, ?, ?)"),
            Execute(0, &[Int(1), Int(1), Text("twice")]),
            Execute(0, &[Int(4), Int(1), Text("once")]),
        ],
    ),
    both(
        "a statement closed and prepared again",
        &[
            Prepare("SELECT 1"),
            Execute(0, &[]),
            Close(0),
            Prepare("SELECT 2"),
            Execute(1, &[]),
            Execute(0, &[]),
            Query("SELECT 3"),
        ],
    ),
    both(
        "long data",
        &[
            KV_IS_EMPTY,
            Prepare("INSERT INTO kv VALUES (?, LENGTH(?), ?)"),
            LongData(0, 1, b'a', 1000),
            LongData(0, 1, b'b', 100_000),
            Execute(0, &[Int(1), Sent, Text("x")]),
            Execute(0, &[Int(2), Text("abc"), Text("y")]),
            LongData(0, 1, b'a', 1000),
            Reset(0),
            Execute(0, &[Int(3), Text("abcd"), Text("z")]),
            Query("SELECT * FROM kv ORDER BY id"),
            Query("BEGIN"),
            LongData(0, 1, b'a', 7),
            Execute(0, &[Int(4), Sent, Text("in a transaction")]),
            Query("COMMIT"),
            Query("SELECT * FROM kv ORDER BY id"),
        ],
    ),
    tidb(
        "long data for a statement that is not there",
        &[
            Command(com::STMT_SEND_LONG_DATA, &[99, 0, 0, 0, 0, 0, b'x'], Shape::Single),
            Query("BEGIN"),
            Query("SELECT 1"),
            Command(com::STMT_SEND_LONG_DATA, &[99, 0, 0, 0, 0, 0, b'x'], Shape::Single),
            Command(com::STMT_SEND_LONG_DATA, &[99], Shape::Single),
            Query("COMMIT"),
        ],
    ),
    mariadb(
        "long data for a statement that is not there",
        &[
            Command(com::STMT_SEND_LONG_DATA, &[99, 0, 0, 0, 0, 0, b'x'], Shape::Nothing),
            Query("SELECT 1"),
        ],
    ),
    both(
        "cursors",
        &[
            KV_IS_EMPTY,
            THREE_ROWS,
            Prepare("SELECT * FROM kv WHERE id > ? ORDER BY id"),
            Cursor(0, &[Int(0)]),
            Fetch(0, 1),
            Fetch(0, 1),
            Fetch(0, 10),
            Fetch(0, 10),
            Cursor(0, &[Int(1)]),
            Fetch(0, 1),
            Reset(0),
            Fetch(0, 1),
            Cursor(0, &[Int(99)]),
            Fetch(0, 1),
            Query("BEGIN"),
            Cursor(0, &[Int(0)]),
            Fetch(0, 2),
            Query("COMMIT"),
            Fetch(0, 2),
            Close(0),
            Query("SELECT 1"),
        ],
    ),
    both(
        "transactions by prepared statements",
        &[
            KV_IS_EMPTY,
            Prepare("BEGIN"),
            Prepare("INSERT INTO kv VALUES (?, ?, ?)"),
            Prepare("COMMIT"),
            Prepare("ROLLBACK"),
            Prepare("SELECT COUNT(*) FROM kv"),
            Execute(0, &[]),
            Execute(1, &[Int(1), Int(1), Null]),
            Execute(4, &[]),
            Execute(2, &[]),
            Execute(0, &[]),
            Execute(1, &[Int(2), Int(1), Null]),
            ExecuteAgain(1, &[Int(3), Int(1), Null]),
            Execute(4, &[]),
            Execute(3, &[]),
            Execute(4, &[]),
            DIAGNOSTICS,
        ],
    ),
    both(
        "prepared, executed and closed within transactions",
        &[
            KV_IS_EMPTY,
            Query("BEGIN"),
            Prepare("INSERT INTO kv VALUES (?, ?, ?)"),
            Execute(0, &[Int(1), Int(1), Null]),
            Close(0),
            Prepare("UPDATE kv SET v = v + ? WHERE id = ?"),
            Execute(1, &[Int(5), Int(1)]),
            Execute(1, &[Text("6"), Int(1)]),
            Close(1),
            Execute(1, &[Text("6"), Int(1)]),
            Query("SELECT * FROM kv"),
            Query("COMMIT"),
            Execute(1, &[Int(5), Int(1)]),
            Query("SELECT * FROM kv"),
        ],
    ),
    both(
        "text PREPARE",
        &[
            Query("PREPARE p FROM 'SELECT ? + ?'"),
            Query("SET @a = 1, @b = 2"),
            Query("EXECUTE p USING @a, @b"),
            Query("BEGIN"),
            Query("EXECUTE p USING @b, @b"),
            Query("COMMIT"),
            Query("DEALLOCATE PREPARE p"),
            Query("EXECUTE p USING @a, @b"),
        ],
    ),
    // -------------------------------------------------------------------------- other commands
    both(
        "small commands",
        &[
            Command(com::PING, b"", Shape::Single),
            Varying(com::STATISTICS, b"", Shape::Text),
            Command(com::INIT_DB, b"mysql", Shape::Single),
            Query("SELECT DATABASE()"),
            Command(com::INIT_DB, b"no_such_schema", Shape::Single),
            Query("SELECT DATABASE()"),
            Command(0x07, &[1], Shape::Single),
        ],
    ),
    both(
        "small commands in a transaction",
        &[
            KV_IS_EMPTY,
            Query("BEGIN"),
            Query("INSERT INTO kv VALUES (1, 1, '')"),
            Command(com::PING, b"", Shape::Single),
            Varying(com::STATISTICS, b"", Shape::Text),
            Command(com::FIELD_LIST, b"kv\0", Shape::FieldList),
            Command(com::INIT_DB, b"mysql", Shape::Single),
            Command(com::SET_OPTION, &[0, 0], Shape::Single),
            Query("COMMIT"),
            Query("SELECT DATABASE()"),
        ],
    ),
    both(
        "column definitions of a table",
        &[
            Command(com::FIELD_LIST, b"types\0", Shape::FieldList),
            Command(com::FIELD_LIST, b"types\0t%", Shape::FieldList),
            Command(com::FIELD_LIST, b"no_such_table\0", Shape::FieldList),
            Command(com::FIELD_LIST, b"kv\0nothing", Shape::FieldList),
            Query("SELECT 1"),
        ],
    ),
    both(
        "the session is reset",
        &[
            KV_IS_EMPTY,
            Query("SET @a = 1"),
            Prepare("SELECT 1"),
            Query("BEGIN"),
            Query("INSERT INTO kv VALUES (1, 1, '')"),
            Command(com::RESET_CONNECTION, b"", Shape::Single),
            Query("SELECT @a, (SELECT COUNT(*) FROM kv)"),
            Execute(0, &[]),
            Prepare("SELECT 2"),
            Execute(1, &[]),
            Query("BEGIN"),
            Query("INSERT INTO kv VALUES (2, 2, '')"),
            Query("COMMIT"),
            Query("SELECT * FROM kv"),
        ],
    ),
    both(
        "the user is changed",
        &[
            KV_IS_EMPTY,
            Query("SET @a = 1"),
            Query("BEGIN"),
            Query("INSERT INTO kv VALUES (1, 1, '')"),
            ChangeUser { into_schema: true },
            Query("SELECT @a, DATABASE(), CURRENT_USER(), (SELECT COUNT(*) FROM kv)"),
            Query("BEGIN"),
            Query("INSERT INTO kv VALUES (2, 2, '')"),
            Query("COMMIT"),
            ChangeUser { into_schema: false },
            Query("SELECT DATABASE()"),
            Query("SELECT * FROM kv"),
        ],
    ),
    both(
        "commands that the server doesn't know",
        &[
            KV_IS_EMPTY,
            Pipeline(REFUSED),
            Query("BEGIN"),
            Query("INSERT INTO kv VALUES (1, 1, '')"),
            Pipeline(REFUSED),
            Query("COMMIT"),
            Query("BEGIN"),
            Query("SELECT * FROM kv"),
            Command(0x20, b"x", Shape::Single),
            Query("UPDATE kv SET v = 2"),
            Query("COMMIT"),
            Query("SELECT * FROM kv"),
        ],
    ),
    tidb(
        "commands that TiDB doesn't know",
        &[
            Command(com::PROCESS_INFO, b"", Shape::Single),
            Command(com::PROCESS_KILL, &[1, 0, 0, 0], Shape::Single),
            Command(com::DEBUG, b"", Shape::Single),
            Command(com::REGISTER_SLAVE, &[0; 17], Shape::Single),
            Command(com::BINLOG_DUMP, &[4, 0, 0, 0, 0, 0, 1, 0, 0, 0], Shape::Single),
            Command(com::STMT_BULK_EXECUTE, &[1, 0, 0, 0, 128, 0], Shape::Single),
            Query("BEGIN"),
            Pipeline(&[
                Query("SELECT 1"),
                Command(com::DEBUG, b"", Shape::Single),
                Command(com::BINLOG_DUMP, &[4, 0, 0, 0, 0, 0, 1, 0, 0, 0], Shape::Single),
                Query("SELECT 2"),
            ]),
            Query("COMMIT"),
            Query("SELECT 1"),
        ],
    ),
    mariadb(
        "commands that only MariaDB knows",
        &[
            Command(com::DEBUG, b"", Shape::Single),
            // No such connection.
            Command(com::PROCESS_KILL, &[0xFE, 0xFF, 0xFF, 0x7F], Shape::Single),
            Command(com::PROCESS_KILL, &[1], Shape::Single),
            // No binlog is written.
            Command(com::REGISTER_SLAVE, &[0; 18], Shape::Single),
            Command(com::STMT_BULK_EXECUTE, &[9, 0, 0, 0, 128, 0], Shape::Results),
            Query("BEGIN"),
            Command(com::DEBUG, b"", Shape::Single),
            Pipeline(&[
                Query("SELECT 1"),
                Command(com::DEBUG, b"", Shape::Single),
                Query("SELECT 2"),
            ]),
            Query("COMMIT"),
            Query("SELECT 1"),
        ],
    ),
    both(
        "connections that nobody has are killed",
        &[
            KV_IS_EMPTY,
            Query("KILL 2000000001"),
            Query("KILL QUERY 2000000001"),
            Query("SHOW WARNINGS"),
            Query("KILL TIDB 2000000001"),
            Query("KILL HARD QUERY ID 2000000001"),
            Query("KILL SOFT CONNECTION 2000000001"),
            Query("KILL USER nobody_has_this_name"),
            Query("KILL 9223372036854775806"),
            Query("KILL"),
            Prepare("KILL QUERY 2000000001"),
            Execute(0, &[]),
            Query("BEGIN"),
            Query("INSERT INTO kv VALUES (1, 1, '')"),
            Query("KILL QUERY 2000000001"),
            Execute(0, &[]),
            Pipeline(&[
                Query("SELECT 1"),
                Query("KILL 2000000001"),
                Execute(0, &[]),
                Query("SELECT 2"),
            ]),
            Query("COMMIT"),
            Query("SELECT * FROM kv"),
        ],
    ),
    both(
        "options are switched",
        &[
            Command(com::SET_OPTION, &[1, 0], Shape::Single),
            Query("SELECT 1; SELECT 2"),
            Command(com::SET_OPTION, &[0, 0], Shape::Single),
            Command(com::SET_OPTION, &[7, 0], Shape::Single),
            Command(com::SET_OPTION, &[1], Shape::Single),
            Query("BEGIN"),
            Pipeline(&[
                Command(com::SET_OPTION, &[1, 0], Shape::Single),
                Query("SELECT 3"),
                Command(com::RESET_CONNECTION, b"", Shape::Single),
                Query("SELECT 4"),
            ]),
        ],
    ),
    both(
        "what is sent behind a change of user",
        &[
            KV_IS_EMPTY,
            Query("BEGIN"),
            Pipeline(&[
                Query("INSERT INTO kv VALUES (1, 1, '')"),
                Command(com::RESET_CONNECTION, b"", Shape::Single),
                Query("BEGIN"),
                Query("INSERT INTO kv VALUES (2, 2, '')"),
                Query("COMMIT"),
                Query("SELECT * FROM kv"),
            ]),
            ChangeUser { into_schema: true },
            Query("BEGIN"),
            Query("INSERT INTO kv VALUES (3, 3, '')"),
            Query("ROLLBACK"),
            Query("SELECT * FROM kv"),
        ],
    ),
    both(
        "long data that the server can't take",
        &[
            KV_IS_EMPTY,
            Prepare("SELECT LENGTH(?)"),
            // TiDB answers each of these, and the client takes it for the next command's.
            LongData(5, 0, b'x', 10),
            Query("SELECT 1"),
            Query("SELECT 2"),
            LongData(0, 7, b'x', 10),
            LongData(5, 0, b'x', 100_000),
            Query("BEGIN"),
            Query("INSERT INTO kv VALUES (1, 1, '')"),
            LongData(5, 0, b'x', 10),
            Query("COMMIT"),
            Query("SELECT 3"),
            Pipeline(&[
                Query("SELECT 4"),
                LongData(5, 0, b'x', 10),
                LongData(5, 0, b'x', 10),
                Query("SELECT 5"),
                LongData(0, 0, b'x', 10),
            ]),
            Execute(0, &[Sent]),
            Close(0),
            LongData(0, 0, b'x', 10),
            Query("SELECT * FROM kv"),
            Query("BEGIN"),
            Query("COMMIT"),
        ],
    ),
    // ----------------------------------------------------------------------------- big packets
    heavy(both(
        "a row of more than 16 MiB",
        &[
            Query("SELECT REPEAT('x', 17000000) AS big"),
            // Four bytes of length before it: exactly one frame, and an empty one behind.
            Query("SELECT REPEAT('y', 16777211) AS big"),
            Query("SELECT REPEAT('y', 16777210) AS big, NULL"),
            Query("BEGIN"),
            Query("SELECT REPEAT('z', 17000000) AS big, 1"),
            Query("COMMIT"),
            Query("SELECT 1"),
        ],
    )),
    heavy(both(
        "a statement of more than 16 MiB",
        &[
            Made(|| select_length(17_000_000)),
            // One byte of command before it: exactly one frame, and an empty one behind.
            Made(|| commented(0xFF_FFFF - 1)),
            Made(|| commented(0xFF_FFFF - 2)),
            Query("BEGIN"),
            Made(|| commented(17_000_000)),
            // A tag would push it over the frame.
            Made(|| commented(0xFF_FFFF - 10)),
            Query("COMMIT"),
            Query("SELECT 1"),
        ],
    )),
    heavy(both(
        "a parameter of more than 16 MiB",
        &[
            Prepare("SELECT LENGTH(?)"),
            Execute(0, &[Big(b'x', 17_000_000)]),
            ExecuteAgain(0, &[Big(b'x', 5)]),
            LongData(0, 0, b'x', 17_000_000),
            Execute(0, &[Sent]),
            Query("BEGIN"),
            Execute(0, &[Big(b'x', 17_000_000)]),
            Query("COMMIT"),
        ],
    )),
    heavy(both(
        "a statement larger than a journal may be",
        &[
            Query("BEGIN"),
            Query("SELECT 1"),
            Made(|| commented(5 << 20)),
            Query("SELECT 2"),
            Query("COMMIT"),
        ],
    )),
    // ------------------------------------------------------------------------------- pipelines
    both(
        "commands sent ahead",
        &[
            KV_IS_EMPTY,
            Pipeline(&[
                Query("SELECT 1"),
                Query("SELECT 2"),
                Command(com::PING, b"", Shape::Single),
            ]),
            Pipeline(&[Query("SELEC"), Query("SELECT 2"), Query("")]),
            Pipeline(&[
                Query("BEGIN"),
                Query("INSERT INTO kv VALUES (1, 1, '')"),
                Query("SELECT v FROM kv"),
                Query("COMMIT"),
                DIAGNOSTICS,
                Query("SELECT v FROM kv"),
            ]),
            Prepare("SELECT ?"),
            Pipeline(&[
                Query("BEGIN"),
                Execute(0, &[Int(1)]),
                ExecuteAgain(0, &[Int(2)]),
                Close(0),
                Execute(0, &[Int(3)]),
                Query("ROLLBACK"),
                Query("SELECT 3"),
            ]),
            Pipeline(&[Query("BEGIN"), Query("COMMIT"), Query("BEGIN"), Query("ROLLBACK")]),
            Pipeline(&[
                Query("SET autocommit = 0"),
                Query("INSERT INTO kv VALUES (5, 5, '')"),
                Query("COMMIT"),
                Query("SET autocommit = 1"),
                Query("SELECT COUNT(*) FROM kv"),
            ]),
        ],
    ),
    both(
        "the last command is a good-bye",
        &[Pipeline(&[Query("SELECT 1"), Command(com::QUIT, b"", Shape::Nothing)])],
    ),
    // ---------------------------------------------------------------------------- LOCAL INFILE
    both(
        "a file is sent",
        &[
            KV_IS_EMPTY,
            File(
                "LOAD DATA LOCAL INFILE 'any' INTO TABLE kv FIELDS TERMINATED BY ','",
                Some(b"1,10,one\n2,20,two\n3,30,three\n"),
            ),
            Query("SELECT * FROM kv ORDER BY id"),
            Query("BEGIN"),
            File(
                "LOAD DATA LOCAL INFILE 'any' INTO TABLE kv FIELDS TERMINATED BY ','",
                Some(b"4,10,four\n"),
            ),
            Query("SELECT COUNT(*) FROM kv"),
            Query("ROLLBACK"),
            Query("SELECT COUNT(*) FROM kv"),
        ],
    ),
    both(
        "a file is refused",
        &[
            KV_IS_EMPTY,
            File("LOAD DATA LOCAL INFILE 'any' INTO TABLE kv", None),
            Query("SELECT COUNT(*) FROM kv"),
            File("LOAD DATA LOCAL INFILE 'any' INTO TABLE no_such_table", None),
            Query("SELECT 1"),
        ],
    ),
    both(
        "a file with nothing in it",
        &[
            KV_IS_EMPTY,
            File("LOAD DATA LOCAL INFILE 'any' INTO TABLE kv", Some(b"")),
            DIAGNOSTICS,
            Query("SELECT COUNT(*) FROM kv"),
        ],
    ),
    both(
        "a file that the server finds wrong in the middle",
        &[
            KV_IS_EMPTY,
            Made(|| "INSERT INTO kv VALUES (3, 3, '')".to_owned()),
            Query("SET sql_mode = 'STRICT_ALL_TABLES'"),
            BigFile("LOAD DATA LOCAL INFILE 'any' INTO TABLE kv FIELDS TERMINATED BY ','", || {
                lines(5000, 3000)
            }),
            Query("SELECT COUNT(*) FROM kv"),
            Query("BEGIN"),
            BigFile("LOAD DATA LOCAL INFILE 'any' INTO TABLE kv FIELDS TERMINATED BY ','", || {
                lines(5000, 10)
            }),
            Query("SELECT COUNT(*) FROM kv"),
            Query("COMMIT"),
            Query("SELECT COUNT(*) FROM kv"),
        ],
    ),
    both(
        "a file in a transaction, and statements around it",
        &[
            KV_IS_EMPTY,
            Query("BEGIN"),
            Query("INSERT INTO kv VALUES (90000, 1, '')"),
            BigFile("LOAD DATA LOCAL INFILE 'any' INTO TABLE kv FIELDS TERMINATED BY ','", || {
                lines(3000, usize::MAX)
            }),
            Query("UPDATE kv SET v = v + 1 WHERE id = 90000"),
            Query("COMMIT"),
            Query("SELECT COUNT(*), SUM(v) FROM kv"),
            Query("BEGIN"),
            File("LOAD DATA LOCAL INFILE 'any' INTO TABLE kv", None),
            Query("COMMIT"),
            File("LOAD DATA LOCAL INFILE 'any' INTO TABLE kv; SELECT 5", Some(b"")),
            Query("DELETE FROM kv"),
        ],
    ),
    heavy(both(
        "a file with a packet of more than 16 MiB",
        &[
            KV_IS_EMPTY,
            OnePacket("LOAD DATA LOCAL INFILE 'any' INTO TABLE kv (id, @rest)", 17_000_000),
            Query("SELECT COUNT(*) FROM kv"),
            // Exactly one frame, and an empty one behind that is not the end.
            OnePacket("LOAD DATA LOCAL INFILE 'any' INTO TABLE kv (id, @rest)", 0xFF_FFFF),
            Query("SELECT COUNT(*) FROM kv"),
        ],
    )),
    // ---------------------------------------------------------------------------- transactions
    both(
        "a transaction commits",
        &[
            KV_IS_EMPTY,
            THREE_ROWS,
            Query("BEGIN"),
            DIAGNOSTICS,
            Query("UPDATE kv SET v = v + 1"),
            Query("SELECT * FROM kv ORDER BY id FOR UPDATE"),
            DIAGNOSTICS,
            Query("COMMIT"),
            DIAGNOSTICS,
            Query("SELECT * FROM kv ORDER BY id"),
        ],
    ),
    both(
        "a transaction is rolled back",
        &[
            KV_IS_EMPTY,
            THREE_ROWS,
            Query("START TRANSACTION"),
            Query("DELETE FROM kv"),
            Query("ROLLBACK"),
            DIAGNOSTICS,
            Query("SELECT COUNT(*) FROM kv"),
        ],
    ),
    both(
        "what is left behind COMMIT",
        &[
            KV_IS_EMPTY,
            THREE_ROWS,
            Query("BEGIN"),
            Query("UPDATE kv SET v = v + 1"),
            Query("COMMIT"),
            Query("SELECT ROW_COUNT()"),
            Query("BEGIN"),
            Query("SELECT ROW_COUNT()"),
            Query("SELECT * FROM kv"),
            Query("COMMIT"),
            Query("SELECT FOUND_ROWS()"),
            Query("BEGIN"),
            Query("SELECT FOUND_ROWS()"),
            Query("SELECT CAST('1x' AS SIGNED)"),
            Query("COMMIT"),
            Query("SHOW WARNINGS"),
            Query("SELECT CAST('1x' AS SIGNED)"),
            Query("BEGIN"),
            Query("SHOW WARNINGS"),
            Query("SELECT 1 FROM no_such_table"),
            Query("COMMIT"),
            Query("SHOW ERRORS"),
            Query("BEGIN"),
            Query("UPDATE kv SET v = v + 1"),
            Query("COMMIT"),
            // TiDB repeats the information of the statement before.
            Query(""),
            Query("DO 0"),
            Query("BEGIN"),
            Query("ROLLBACK"),
            DIAGNOSTICS,
            Query("BEGIN"),
            Query(";"),
            Query("COMMIT"),
        ],
    ),
    tidb(
        "FOUND_ROWS before there is a result",
        &[
            Query("BEGIN"),
            Query("COMMIT"),
            DIAGNOSTICS,
            Command(com::RESET_CONNECTION, b"", Shape::Single),
            Query("BEGIN"),
            Query("COMMIT"),
            DIAGNOSTICS,
        ],
    ),
    both(
        "FOUND_ROWS behind COMMIT",
        &[
            Query("SELECT 1 FROM kv"),
            Query("BEGIN"),
            Query("COMMIT"),
            DIAGNOSTICS,
            Query("SELECT 1 FROM types"),
            Query("BEGIN"),
            Query("INSERT INTO kv VALUES (1, 1, '')"),
            Query("COMMIT"),
            DIAGNOSTICS,
            Query("BEGIN"),
            Query(
                "WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 900) \
                 SELECT i FROM n",
            ),
            Query("UPDATE kv SET v = 2"),
            Query("COMMIT"),
            DIAGNOSTICS,
            Query("BEGIN"),
            Query(
                "SELECT a.id FROM types a, types b, types c, types d, types e, types f, types g, types h",
            ),
            Query("COMMIT"),
            DIAGNOSTICS,
            Query("SELECT 1 FROM types; SELECT 1 FROM types WHERE id < 3; DO 1"),
            Query("BEGIN"),
            Command(com::FIELD_LIST, b"kv\0", Shape::FieldList),
            Command(com::SET_OPTION, &[0, 0], Shape::Single),
            Query("SELECT * FROM no_such_table"),
            Query("COMMIT"),
            DIAGNOSTICS,
            Prepare("SELECT id FROM types WHERE id > ?"),
            Execute(0, &[Int(1)]),
            Query("BEGIN"),
            Query("COMMIT"),
            DIAGNOSTICS,
            Cursor(0, &[Int(2)]),
            Query("BEGIN"),
            Query("COMMIT"),
            DIAGNOSTICS,
            Fetch(0, 1),
            Query("BEGIN"),
            Query("COMMIT"),
            DIAGNOSTICS,
            Query("SHOW TABLES"),
            Query("BEGIN"),
            Query("COMMIT"),
            DIAGNOSTICS,
            Command(com::RESET_CONNECTION, b"", Shape::Single),
            Query("BEGIN"),
            Query("COMMIT"),
            DIAGNOSTICS,
        ],
    ),
    both(
        "COMMIT and ROLLBACK outside of a transaction",
        &[
            KV_IS_EMPTY,
            Query("COMMIT"),
            Query("ROLLBACK"),
            DIAGNOSTICS,
            Query("ROLLBACK TO SAVEPOINT nowhere"),
        ],
    ),
    both(
        "all the words for it",
        &[
            KV_IS_EMPTY,
            Query("/* x */ begin /* y */"),
            Query("SELECT 1"),
            Query("commit /* z */"),
            Query("START TRANSACTION READ WRITE"),
            Query("ROLLBACK"),
            Query("START TRANSACTION WITH CONSISTENT SNAPSHOT"),
            Query("COMMIT"),
            Query("BEGIN WORK"),
            Query("COMMIT WORK"),
            Query("ROLLBACK WORK"),
            Query("BEGIN;"),
            Query("COMMIT;"),
            Query("BEGIN"),
            Query("COMMIT AND CHAIN"),
            Query("INSERT INTO kv VALUES (1, 1, '')"),
            Query("ROLLBACK"),
            Query("SELECT COUNT(*) FROM kv"),
            Query("BEGIN"),
            Query("COMMIT NO RELEASE"),
            Query("ROLLBACK"),
            Query("START TRANSACTION READ ONLY"),
            Query("ROLLBACK"),
        ],
    ),
    tidb(
        "TiDB's words for it",
        &[
            KV_IS_EMPTY,
            THREE_ROWS,
            Query("BEGIN OPTIMISTIC"),
            Query("UPDATE kv SET v = 1 WHERE id = 1"),
            Query("COMMIT"),
            Query("BEGIN PESSIMISTIC"),
            Query("UPDATE kv SET v = 2 WHERE id = 1"),
            Query("SELECT * FROM kv WHERE id = 1 FOR UPDATE"),
            Query("COMMIT"),
            Query("START TRANSACTION WITH CAUSAL CONSISTENCY ONLY"),
            Query("COMMIT"),
            Query("SELECT @@tidb_current_ts"),
            Query("SELECT /*+ MAX_EXECUTION_TIME(1000) */ v FROM kv WHERE id = 1"),
        ],
    ),
    tidb(
        "COMMIT fails",
        &[
            Query("SELECT 1"),
            Query("BEGIN OPTIMISTIC"),
            Query("INSERT INTO types (id) VALUES (1)"),
            Query("COMMIT"),
            Query("SELECT ROW_COUNT(), FOUND_ROWS()"),
            Query("BEGIN OPTIMISTIC"),
            Query("INSERT INTO types (id) VALUES (1)"),
            Query("BEGIN"),
            Query("COMMIT"),
            Query("SELECT 1"),
        ],
    ),
    tidb(
        "the warnings of a COMMIT that failed",
        &[
            Query("BEGIN OPTIMISTIC"),
            Query("INSERT INTO types (id) VALUES (1)"),
            Query("COMMIT"),
            Query("SHOW WARNINGS"),
        ],
    ),
    tidb(
        "the warnings of a BEGIN that failed",
        &[
            Query("BEGIN OPTIMISTIC"),
            Query("INSERT INTO types (id) VALUES (1)"),
            Query("BEGIN"),
            Query("SHOW ERRORS"),
        ],
    ),
    both(
        "BEGIN within a transaction",
        &[
            KV_IS_EMPTY,
            Query("BEGIN"),
            Query("INSERT INTO kv VALUES (1, 1, '')"),
            Query("BEGIN"),
            Query("INSERT INTO kv VALUES (2, 2, '')"),
            Query("ROLLBACK"),
            Query("SELECT * FROM kv"),
            DIAGNOSTICS,
        ],
    ),
    both(
        "savepoints",
        &[
            KV_IS_EMPTY,
            Query("BEGIN"),
            Query("INSERT INTO kv VALUES (1, 1, '')"),
            Query("SAVEPOINT a"),
            Query("INSERT INTO kv VALUES (2, 2, '')"),
            Query("ROLLBACK TO SAVEPOINT a"),
            Query("SELECT * FROM kv"),
            Query("SAVEPOINT b"),
            Query("RELEASE SAVEPOINT b"),
            Query("ROLLBACK TO b"),
            Query("COMMIT"),
            Query("SELECT * FROM kv"),
        ],
    ),
    both(
        "autocommit off",
        &[
            KV_IS_EMPTY,
            Query("SET autocommit = 0"),
            Query("SELECT 1"),
            Query("INSERT INTO kv VALUES (1, 1, '')"),
            Command(com::PING, b"", Shape::Single),
            Query("COMMIT"),
            DIAGNOSTICS,
            Query("INSERT INTO kv VALUES (2, 2, '')"),
            Query("ROLLBACK"),
            Query("SELECT * FROM kv"),
            Query("SET autocommit = 1"),
            Query("SET autocommit = 0"),
            Query("UPDATE kv SET v = 9"),
            Query("SET autocommit = 1"),
            DIAGNOSTICS,
            Query("SELECT * FROM kv"),
            Query("SET @@session.autocommit = OFF"),
            Query("SELEC"),
            Query("INSERT INTO kv VALUES (1, 1, '')"),
            Query("ROLLBACK"),
        ],
    ),
    both(
        "DDL commits on its way",
        &[
            KV_IS_EMPTY,
            Query("BEGIN"),
            Query("INSERT INTO kv VALUES (1, 1, '')"),
            Query("CREATE TABLE made (a INT)"),
            Query("ROLLBACK"),
            Query("SELECT COUNT(*) FROM kv"),
            Query("BEGIN"),
            Query("INSERT INTO kv VALUES (2, 2, '')"),
            Query("DROP TABLE made"),
            DIAGNOSTICS,
            Query("SELECT COUNT(*) FROM kv"),
            Query("BEGIN"),
            Query("DROP TABLE no_such_table"),
            Query("COMMIT"),
        ],
    ),
    both(
        "errors within a transaction",
        &[
            KV_IS_EMPTY,
            THREE_ROWS,
            Query("BEGIN"),
            Query("INSERT INTO kv VALUES (1, 1, '')"),
            Query("SHOW WARNINGS"),
            Query("SELECT * FROM no_such_table"),
            Query("UPDATE kv SET v = 11 WHERE id = 1"),
            Query("COMMIT"),
            Query("SELECT v FROM kv WHERE id = 1"),
        ],
    ),
    both(
        "syntax errors within a transaction name the client's own column",
        &[
            Query("SELECT 1 FRM kv"),
            Query("BEGIN"),
            Query("SELEC 1"),
            Query("SELECT 1 FRM kv"),
            Query("SELECT * FROM kv WHERE WHERE id = 1"),
            Query("SELECT 'line 1 column 5 near' FROM FROM kv"),
            Query("SELECT 1,\n2,\n3 FRM kv"),
            Query("  \tSELECT )"),
            Query("/* a comment */ SELECT 1 1 1"),
            Query("SELECT '😀' FRM kv"),
            Query("SELECT 1; SELEC 2"),
            Query("SELEC 1; SELECT 2"),
            Made(|| format!("SELECT {} FRM kv", "1,".repeat(3000))),
            Query("SELECT"),
            Query("'"),
            Query("/*"),
            Query("COMMIT"),
            Query("SELEC 1"),
            Query("BEGIN"),
            Query("COMMIT FRM"),
            Query("ROLLBACK TOO"),
            Query("BEGIN BEGIN"),
            Query("ROLLBACK"),
        ],
    ),
    both(
        "statements that only some transactions hold",
        &[
            KV_IS_EMPTY,
            THREE_ROWS,
            Query("BEGIN"),
            Query("SET @v = 5"),
            Query("UPDATE kv SET v = @v WHERE id = 1"),
            Query("SELECT NOW() IS NULL, RAND() < 2, LENGTH(UUID())"),
            Query("SELECT LAST_INSERT_ID(), ROW_COUNT(), FOUND_ROWS()"),
            Query("SHOW TABLES LIKE 'kv'"),
            Query("USE mysql"),
            Query("COMMIT"),
            Query("SELECT DATABASE()"),
        ],
    ),
    both(
        "tables for one session",
        &[
            Query("BEGIN"),
            Query("CREATE TEMPORARY TABLE own (a INT)"),
            Query("INSERT INTO own VALUES (1)"),
            Query("SELECT * FROM own"),
            Query("COMMIT"),
            Query("SELECT * FROM own"),
            Query("DROP TEMPORARY TABLE own"),
        ],
    ),
    both(
        "comments of the client's own",
        &[
            KV_IS_EMPTY,
            Query(
                "/*traceparent='00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'*/ BEGIN",
            ),
            Query("/*a='b'*/ INSERT INTO kv VALUES (1, 1, '/* not a comment */') /*c='d'*/"),
            Query("SELECT * FROM kv -- the end"),
            Query("SELECT /*+ NO_INDEX_MERGE() */ * FROM kv"),
            Query("COMMIT"),
        ],
    ),
    mariadb(
        "MariaDB's own",
        &[
            KV_IS_EMPTY,
            Query("INSERT INTO kv VALUES (1, 1, '') RETURNING id, v"),
            Query("BEGIN"),
            Query("DELETE FROM kv RETURNING *"),
            Query("ROLLBACK"),
            Query("BEGIN"),
            Query("INSERT INTO archive VALUES (1)"),
            Query("ROLLBACK"),
            Query("SHOW WARNINGS"),
            Query("DELETE FROM archive"),
            Query("XA START '{schema}'"),
            Query("INSERT INTO kv VALUES (2, 2, '')"),
            Query("XA END '{schema}'"),
            Query("XA ROLLBACK '{schema}'"),
            Query("SET STATEMENT max_statement_time = 10 FOR SELECT 1"),
            Query("BEGIN NOT ATOMIC SELECT 1; SELECT 2; END"),
            Query("EXECUTE IMMEDIATE 'SELECT 1'"),
            Query("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE"),
            Query("START TRANSACTION READ ONLY"),
            Query("INSERT INTO kv VALUES (3, 3, '')"),
            Query("COMMIT RELEASE"),
        ],
    ),
];

/// What both servers refuse, one command behind the other.
const REFUSED: &[Step] = &[
    Command(0x00, b"", Shape::Single),
    Command(0x05, b"made_by_command", Shape::Single),
    Command(0x06, b"made_by_command", Shape::Single),
    Command(0x0B, b"", Shape::Single),
    Command(0x0F, b"", Shape::Single),
    Command(0x10, b"x", Shape::Single),
    Command(0x13, b"xy", Shape::Single),
    Command(0x14, b"", Shape::Single),
    Command(0x1D, b"", Shape::Single),
    Command(0x1E, &[0; 20], Shape::Single),
    Command(0x20, b"x", Shape::Single),
    Command(0x50, b"x", Shape::Single),
    Command(0xF0, b"", Shape::Single),
    Query("SELECT 1"),
    Command(0xFF, b"", Shape::Single),
];

/// So many lines of a file for `kv`; the one at `wrong` is not a number.
fn lines(count: usize, wrong: usize) -> Vec<u8> {
    let line = |n: usize| match n == wrong {
        true => "x,y,z\n".to_owned(),
        false => format!("{},{n},line {n}\n", n + 1000),
    };
    (0..count).map(line).collect::<String>().into_bytes()
}

/// A statement of this length with a long comment, which TiDB reads faster than a long text.
fn commented(len: usize) -> String {
    let (before, after) = ("SELECT 1 /*", "*/");
    format!("{before}{}{after}", "x".repeat(len - before.len() - after.len()))
}

/// `SELECT LENGTH('xxx…')` of this length.
fn select_length(len: usize) -> String {
    let (before, after) = ("SELECT LENGTH('", "')");
    format!("{before}{}{after}", "x".repeat(len - before.len() - after.len()))
}

/// Client flags under which the corpus runs.
pub(crate) const WITH_EOF: u32 = caps::USUAL;
/// Without EOF packets.
pub(crate) const WITHOUT_EOF: u32 = caps::USUAL | caps::DEPRECATE_EOF;
/// And with session state in OK packets (MariaDB).
pub(crate) const WITH_STATE: u32 = caps::USUAL | caps::DEPRECATE_EOF | 1 << 23;
