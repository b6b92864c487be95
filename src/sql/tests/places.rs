//! A refused function is found wherever it stands, and whatever it is written like.

use super::{class, class_in};
use crate::sql::{Kind, Lexing, Reason};

/// `%` is the place of the call.
const PLACES: &[&str] = &[
    "SELECT %",
    "SELECT a, % AS b FROM t",
    "SELECT DISTINCT % FROM t",
    "SELECT (%)",
    "SELECT -%",
    "SELECT 1 + %",
    "SELECT 'a'=%",
    "SELECT 'a'AND % FROM t",
    "SELECT 1 = 1AND %",
    "SELECT concat('a', upper(%))",
    "SELECT concat(1, 2, 3, %, 4)",
    "SELECT if(a, %, 2) FROM t",
    "SELECT CASE % WHEN 1 THEN 2 END",
    "SELECT CASE WHEN % THEN 2 END",
    "SELECT CASE WHEN a THEN % END FROM t",
    "SELECT CASE WHEN a THEN 1 ELSE % END FROM t",
    "SELECT CAST(% AS CHAR(10))",
    "SELECT CONVERT(%, CHAR)",
    "SELECT CONVERT(% USING utf8mb4)",
    "SELECT EXTRACT(YEAR FROM %)",
    "SELECT TRIM(% FROM 'a')",
    "SELECT TRIM(LEADING 'a' FROM %)",
    "SELECT SUBSTRING('abc' FROM % FOR 1)",
    "SELECT SUBSTRING('abc', 1, %)",
    "SELECT POSITION('a' IN %)",
    "SELECT CEIL(%), FLOOR(1)",
    "SELECT DATE_ADD('2020-01-01', INTERVAL % DAY)",
    "SELECT '2020-01-01' + INTERVAL % DAY",
    "SELECT count(DISTINCT %) FROM t",
    "SELECT group_concat(a ORDER BY %) FROM t",
    "SELECT sum(a) OVER (PARTITION BY %) FROM t",
    "SELECT sum(a) OVER (ORDER BY %) FROM t",
    "SELECT lag(a, 1, %) OVER (ORDER BY b) FROM t",
    "SELECT sum(a) OVER w FROM t WINDOW w AS (PARTITION BY %)",
    "SELECT a FROM t WHERE b = %",
    "SELECT a FROM t WHERE b IN (1, 2, %)",
    "SELECT a FROM t WHERE % IN (1, 2)",
    "SELECT a FROM t WHERE b BETWEEN % AND 2",
    "SELECT a FROM t WHERE b BETWEEN 1 AND %",
    "SELECT a FROM t WHERE b LIKE %",
    "SELECT a FROM t WHERE b REGEXP %",
    "SELECT a FROM t WHERE NOT %",
    "SELECT a FROM t WHERE % IS NULL",
    "SELECT a FROM t WHERE (a, b) = (1, %)",
    "SELECT a FROM t WHERE (a, b) IN ((1, 2), (3, %))",
    "SELECT a FROM t WHERE EXISTS (SELECT % FROM u)",
    "SELECT a FROM t WHERE a = (SELECT %)",
    "SELECT a FROM t WHERE a > ALL (SELECT %)",
    "SELECT a COLLATE utf8mb4_bin = % FROM t",
    "SELECT doc->'$.a' = % FROM t",
    "SELECT % MEMBER OF (doc) FROM t",
    "SELECT a FROM t GROUP BY %",
    "SELECT a FROM t GROUP BY a HAVING %",
    "SELECT a FROM t ORDER BY %",
    "SELECT a FROM t ORDER BY a, % DESC",
    "SELECT a FROM t JOIN u ON %",
    "SELECT a FROM t LEFT JOIN (u JOIN v ON %) ON 1",
    "SELECT a FROM (SELECT % AS a) x",
    "SELECT a FROM t, LATERAL (SELECT %) x",
    "SELECT 1 UNION SELECT %",
    "SELECT % UNION ALL SELECT 1",
    "(SELECT 1) UNION (SELECT % LIMIT 1)",
    "WITH c AS (SELECT %) SELECT * FROM c",
    "WITH c AS (SELECT 1) SELECT %, c.* FROM c",
    "SELECT * FROM JSON_TABLE(%, '$[*]' COLUMNS (a INT PATH '$')) AS jt",
    "SELECT a FROM t FOR UPDATE OF t, %",
    "SELECT a FROM t LIMIT %",
    "SELECT a FROM t LIMIT 1 OFFSET %",
    "INSERT INTO t VALUES (1, %)",
    "INSERT INTO t VALUES (1, 2), (3, 4), (5, %)",
    "INSERT INTO t VALUES (1, %), (1, 2)",
    "INSERT INTO t SET a = %",
    "INSERT INTO t SELECT %",
    "INSERT INTO t SELECT a FROM u WHERE b = %",
    "INSERT INTO t (a) VALUES (1) ON DUPLICATE KEY UPDATE a = %",
    "INSERT INTO t (a) VALUES (1) ON DUPLICATE KEY UPDATE a = 1, b = if(a, %, 2)",
    "INSERT INTO t (a) VALUES (1) RETURNING %",
    "REPLACE INTO t VALUES (%)",
    "UPDATE t SET a = %",
    "UPDATE t SET a = 1, b = 2 WHERE c = %",
    "UPDATE t SET a = 1 ORDER BY %",
    "UPDATE t SET a = 1 LIMIT %",
    "UPDATE t JOIN u ON % SET a = 1",
    "UPDATE t, (SELECT %) u SET a = 1",
    "DELETE FROM t WHERE a = %",
    "DELETE FROM t ORDER BY %",
    "DELETE t FROM t JOIN u ON %",
    "DELETE FROM t USING t JOIN u ON %",
    "WITH c AS (SELECT %) UPDATE t SET a = 1",
];

const CALLS: &[(&str, Reason)] = &[
    ("last_insert_id(/* */ a)", Reason::LastInsertId),
    ("LAST_INSERT_ID (5)", Reason::LastInsertId),
    ("row_count()", Reason::RowCount),
    ("GET_LOCK('x',1)", Reason::LockFunction),
    ("sleep(0)", Reason::Sleep),
    ("database()", Reason::SessionVariable),
    ("tidb_current_tso()", Reason::TsoVisible),
    ("stored(1)", Reason::UnknownFunction),
    ("s.stored(1)", Reason::UnknownFunction),
    ("s.upper('a')", Reason::UnknownFunction),
    ("`upper`('a')", Reason::UnknownFunction),
    ("stored/**/(1)", Reason::UnknownFunction),
    ("stored--\n(1)", Reason::UnknownFunction),
    ("größe(1)", Reason::UnknownFunction),
    ("@x := 1", Reason::UserVariable),
    ("@x:=@x+1", Reason::UserVariable),
    ("@`x y` := 1", Reason::UserVariable),
    ("@@x", Reason::SessionVariable),
    ("@@session.x", Reason::SessionVariable),
];

#[test]
fn a_refused_call_is_found_in_every_place() {
    let mut parsed = 0;
    for place in PLACES {
        for (call, expected) in CALLS {
            let text = place.replace('%', call);
            let class = class(&text);
            let reason = class.unsafe_reason;
            // Where the parser doesn't follow, no reason but the statement's own is promised.
            if class.kind == Kind::Unknown {
                assert!(reason.is_some(), "{text}");
            } else {
                assert_eq!(reason, Some(*expected), "{text}");
                parsed += 1;
            }
        }
    }
    assert!(parsed > PLACES.len() * CALLS.len() * 8 / 10, "only {parsed} were parsed");
}

#[test]
fn an_allowed_call_is_allowed_in_every_place() {
    let mut refused = Vec::new();
    for place in PLACES {
        let text = place.replace('%', "upper('a')");
        let class = class(&text);
        if class.unsafe_reason.is_some() {
            refused.push((text, class.unsafe_reason));
        }
    }
    // MySQL has no calls in LIMIT and behind FOR UPDATE OF.
    assert!(refused.len() <= 4, "{refused:#?}");
}

#[test]
fn nothing_hides_behind_the_session_s_quoting_rules() {
    let raw = Lexing { no_backslash_escapes: true, ..Lexing::default() };
    let ansi = Lexing { ansi_quotes: true, ..Lexing::default() };
    // Where the string ends depends on the mode, and with it whether there is a call.
    for text in [br"SELECT 'a\', sleep(1) -- '".as_slice(), br"SELECT 'a\'', sleep(1) -- '"] {
        assert_eq!(class_in(text, raw).unsafe_reason, Some(Reason::Unparsable));
    }
    assert_eq!(class(r"SELECT 'a\', sleep(1) -- '").unsafe_reason, None);
    assert_eq!(class(r"SELECT 'a\'', sleep(1) -- '").unsafe_reason, Some(Reason::Sleep));
    for text in [br#"SELECT "a\", sleep(1), "b""#.as_slice(), br#"SELECT "a" FROM t"#] {
        let class = class_in(text, ansi);
        assert_eq!((class.kind, class.unsafe_reason), (Kind::Unknown, Some(Reason::Unparsable)));
    }
    // What reads the same in every mode is read.
    for lexing in [raw, ansi] {
        let class = class_in(b"SELECT 'it''s', `a` FROM t", lexing);
        assert_eq!((class.kind, class.unsafe_reason), (Kind::Read, None));
    }
}

#[test]
fn literals_may_hold_any_bytes() {
    let text = b"INSERT INTO t (a, b) VALUES (_binary'\xff\x00\\'\xfe', 'caf\xe9')";
    let class = class_in(text, Lexing::default());
    assert_eq!((class.kind, class.unsafe_reason), (Kind::Insert, None));
    let text = b"SELECT caf\xe9 FROM t";
    assert_eq!(class_in(text, Lexing::default()).unsafe_reason, Some(Reason::Unparsable));
}

#[test]
fn a_table_may_bear_the_name_of_a_function_but_its_call_is_still_found() {
    assert_eq!(class("INSERT INTO stored (a) VALUES (1)").unsafe_reason, None);
    let class = class("INSERT INTO stored (a) VALUES (stored(1))");
    assert_eq!(class.unsafe_reason, Some(Reason::UnknownFunction));
}
