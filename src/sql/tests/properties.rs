//! Properties over random text.

use proptest::prelude::*;
use sqlparser::ast::Statement;
use sqlparser::dialect::MySqlDialect;
use sqlparser::parser::Parser;

use super::class_in;
use crate::sql::{Kind, Lexing, Verb, comment_value, scan, shape, write_tag};

/// Pieces that make lexers stumble, and pieces that make statements.
const PIECES: &[&str] = &[
    "SELECT ",
    "a",
    "t",
    " FROM ",
    "INSERT INTO ",
    " VALUES ",
    "(",
    ")",
    ",",
    ", ",
    "1",
    "-1",
    "1e5",
    "0x1F",
    ".5",
    "1a",
    "x'41'",
    "b'1'",
    "N'x'",
    "_utf8",
    "_utf8mb4'x'",
    "'",
    "''",
    "\"",
    "`",
    "``",
    "\\",
    "\\'",
    "'a'",
    "'a''b'",
    "\"b\"",
    "`c`",
    "NULL",
    "TRUE",
    "(1,2)",
    "(1, 'a')",
    "?",
    "--",
    "-- ",
    "--\n",
    "-",
    "- ",
    "+",
    "#",
    "\n",
    "/*",
    "*/",
    "/*!",
    "/*T!",
    "/*+ h */",
    "/**/",
    "/",
    "*",
    ";",
    "@",
    "@@",
    "=",
    "<",
    ">",
    "!",
    ".",
    "AND",
    " ",
    "\t",
    "\0",
    "é",
    "last_insert_id",
    "sleep(1)",
    " WHERE ",
    "IN",
    "INTO",
    "SET ",
    "names ",
    "BEGIN",
    "COMMIT",
    ":=",
    "{",
    "}",
    "%",
];

fn pieces() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop::sample::select(PIECES), 0..40)
        .prop_map(|pieces| pieces.concat().into_bytes())
}

fn lexing() -> impl Strategy<Value = Lexing> {
    (any::<bool>(), any::<bool>()).prop_map(|(ansi_quotes, no_backslash_escapes)| Lexing {
        ansi_quotes,
        no_backslash_escapes,
    })
}

fn shaped(text: &[u8], lexing: Lexing) -> Vec<u8> {
    let mut out = Vec::new();
    shape(text, lexing, &mut out);
    out
}

/// `PROPTEST_CASES` asks for more.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(2_000)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: cases(),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_bytes_are_scanned_and_shaped(
        text in prop::collection::vec(any::<u8>(), 0..300),
        lexing in lexing(),
    ) {
        let scan = scan(&text, lexing);
        prop_assert!(scan.body <= text.len());
        prop_assert!(shaped(&text, lexing).len() <= 3 * text.len() + 2);
    }

    #[test]
    fn the_shape_of_a_shape_is_the_shape(text in pieces(), lexing in lexing()) {
        // Several introducers of one string go one by one.
        if String::from_utf8_lossy(&text).matches("_utf8").count() > 1 {
            return Ok(());
        }
        let once = shaped(&text, lexing);
        let twice = shaped(&once, Lexing::default());
        prop_assert_eq!(
            String::from_utf8_lossy(&once), String::from_utf8_lossy(&twice),
            "of {:?}", String::from_utf8_lossy(&text)
        );
    }

    #[test]
    fn what_the_scan_sees_survives_in_the_shape(text in pieces(), lexing in lexing()) {
        let of_text = scan(&text, lexing);
        if of_text.opaque || of_text.multi {
            return Ok(());
        }
        let shaped = shaped(&text, lexing);
        let of_shape = scan(&shaped, Lexing::default());
        prop_assert_eq!(of_text.system_variable, of_shape.system_variable);
        prop_assert!(!of_shape.opaque && !of_shape.multi);
    }

    #[test]
    fn a_safe_class_names_no_refused_word(text in pieces(), lexing in lexing()) {
        let class = class_in(&text, lexing);
        if class.unsafe_reason.is_none() && !matches!(class.kind, Kind::Control(_)) {
            let shape = shaped(&text, lexing);
            let shape = String::from_utf8_lossy(&shape).to_lowercase();
            prop_assert!(!shape.contains("sleep("), "{shape}");
            prop_assert!(!scan(&text, lexing).system_variable, "{shape}");
        }
    }

    #[test]
    fn no_value_ends_a_tag(
        key in "[a-zA-Z].{0,8}",
        value in any::<String>(),
        text in pieces(),
        lexing in lexing(),
    ) {
        let mut tagged = Vec::new();
        let length = write_tag(&mut tagged, &[(&key, &value)]);
        prop_assert_eq!(length, tagged.len());
        prop_assert!(!tagged.contains(&b'\n'));
        prop_assert!(tagged[2].is_ascii_alphabetic() && tagged[3] != b'!');
        tagged.extend_from_slice(&text);
        let (bare, found) = (scan(&text, lexing), scan(&tagged, lexing));
        prop_assert_eq!(found.body, bare.body + length);
        prop_assert_eq!((found.multi, found.empty, found.opaque), (bare.multi, bare.empty, bare.opaque));
        prop_assert_eq!((found.system_variable, found.hints), (bare.system_variable, bare.hints));
        prop_assert_eq!(std::mem::discriminant(&found.verb), std::mem::discriminant(&bare.verb));
    }

    #[test]
    fn a_tag_s_value_reads_back(value in any::<String>(), other in any::<String>()) {
        let mut tagged = Vec::new();
        write_tag(&mut tagged, &[("b", &value), ("a", &other)]);
        tagged.extend_from_slice(b"SELECT 1");
        let found = (comment_value(&tagged, "a"), comment_value(&tagged, "b"));
        prop_assert_eq!(found, (Some(other.into()), Some(value.into())));
    }

    #[test]
    fn the_verb_is_what_the_parser_says(text in pieces()) {
        let Ok(text) = String::from_utf8(text) else { return Ok(()) };
        agree(&text)?;
    }
}

/// Where sqlparser understands a text, the scan saw the same kind of statement.
fn agree(text: &str) -> Result<(), TestCaseError> {
    let look = scan(text.as_bytes(), Lexing::default());
    let Ok(statements) = Parser::parse_sql(&MySqlDialect {}, text) else { return Ok(()) };
    // sqlparser executes `/*! */`, reads `--` otherwise and takes NUL for white space.
    let [statement] = statements.as_slice() else { return Ok(()) };
    if look.opaque || look.multi || text.contains("--") || text.starts_with(';') {
        return Ok(());
    }
    let agreed = match statement {
        Statement::Query(_) => matches!(look.verb, Verb::Select | Verb::With | Verb::Other),
        Statement::Insert(insert) if insert.replace_into => look.verb == Verb::Replace,
        Statement::Insert(_) => look.verb == Verb::Insert,
        Statement::Update(_) => look.verb == Verb::Update,
        Statement::Delete(_) => look.verb == Verb::Delete,
        Statement::StartTransaction { .. } => matches!(look.verb, Verb::Begin(_)),
        Statement::Commit { .. } => matches!(look.verb, Verb::Commit(_)),
        Statement::Rollback { savepoint: None, .. } => matches!(look.verb, Verb::Rollback(_)),
        Statement::Rollback { .. } => look.verb == Verb::RollbackTo,
        Statement::Savepoint { .. } => look.verb == Verb::Savepoint,
        Statement::ReleaseSavepoint { .. } => look.verb == Verb::ReleaseSavepoint,
        Statement::Set(_) => matches!(look.verb, Verb::Set(_)),
        Statement::Use(_) => look.verb == Verb::Use,
        Statement::Call(_) => look.verb == Verb::Call,
        _ => true,
    };
    prop_assert!(agreed, "{text}: {:?}", look.verb);
    Ok(())
}

#[test]
fn verbs_agree_with_the_parser_on_whole_statements() {
    let texts = [
        "BEGIN",
        "BEGIN WORK",
        "START TRANSACTION",
        "START TRANSACTION READ ONLY",
        "COMMIT",
        "COMMIT AND CHAIN",
        "COMMIT AND NO CHAIN",
        "ROLLBACK",
        "ROLLBACK AND CHAIN",
        "ROLLBACK TO SAVEPOINT a",
        "SAVEPOINT a",
        "RELEASE SAVEPOINT a",
        "SET autocommit = 0",
        "SET NAMES utf8mb4",
        "SET @a = 1",
        "SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE",
        "USE d",
        "CALL p(1)",
        "SELECT 1",
        "(SELECT 1)",
        "WITH c AS (SELECT 1) SELECT * FROM c",
        "VALUES (1)",
        "INSERT INTO t VALUES (1)",
        "REPLACE INTO t VALUES (1)",
        "UPDATE t SET a = 1",
        "DELETE FROM t",
        "/* c */ DELETE FROM t",
        "# c\nUPDATE t SET a = 1",
    ];
    for text in texts {
        assert!(Parser::parse_sql(&MySqlDialect {}, text).is_ok(), "{text}");
        agree(text).expect(text);
    }
}
