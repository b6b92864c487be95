//! The look that every statement gets: one pass over the bytes, nothing allocated.
//!
//! Owns [`Scan`]. Budget: about one nanosecond per byte, no allocation, no recursion, any bytes
//! (also not UTF-8). Invariant: a flag that says "nothing there" is right for every server under
//! the given [`Lexing`]; where servers disagree about the bytes, `opaque` is set. It must not
//! decide whether a statement is safe; `classify` does.

use super::lex::{self, Kind, Lexing};
use super::verb::{self, Verb};

/// What can be seen in a text without a parser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scan {
    /// What the first statement does. A statement within `/*! … */` isn't seen: `Other`.
    pub verb: Verb,
    /// A `;` is followed by more than white space, comments and `;`.
    pub multi: bool,
    /// Only white space, comments and `;`. Never tagged: the server has its own answer to it.
    pub empty: bool,
    /// The text may execute what the scan can't see: `/*! */`, `/*T! */`, `/*M! */`, or bytes
    /// that servers read in different ways.
    pub opaque: bool,
    /// An optimizer hint `/*+ */`.
    pub hints: bool,
    /// `@@x` outside strings, comments and quoted identifiers.
    pub system_variable: bool,
    /// Offset of the first byte of the statement, behind white space and plain comments.
    pub body: usize,
}

impl Scan {
    /// Whether a change of `sql_mode` or of the client's character set may hide where [`Verb`]
    /// doesn't show it. The caller can't trust its [`Lexing`] afterwards.
    #[must_use]
    pub const fn may_hide_set(&self) -> bool {
        let hidden = match self.verb {
            Verb::Call | Verb::Execute | Verb::Other => !self.empty,
            Verb::Set(kind) => kind.statement,
            _ => false,
        };
        self.multi || self.opaque || hidden
    }
}

/// Looks at a text once.
#[must_use]
pub fn scan(text: &[u8], lexing: Lexing) -> Scan {
    let mut scan = Scan {
        verb: Verb::Other,
        multi: false,
        empty: false,
        opaque: false,
        hints: false,
        system_variable: false,
        body: 0,
    };
    scan.body = scan.skip_blank(text, 0, Semicolons::Stop);
    if scan.body == text.len() {
        scan.empty = true;
        return scan;
    }
    scan.rest(text, lexing);
    if text[scan.body] == b';' {
        scan.empty = !scan.multi && !scan.opaque;
    } else {
        scan.verb = verb::read(text, scan.body, lexing);
    }
    scan
}

/// Whether `;` counts as blank.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Semicolons {
    Skip,
    Stop,
}

impl Scan {
    /// The first byte behind white space and plain comments.
    fn skip_blank(&mut self, text: &[u8], at: usize, semicolons: Semicolons) -> usize {
        let mut at = at;
        while let Some(&byte) = text.get(at) {
            if lex::is_space(byte) || (byte == b';' && semicolons == Semicolons::Skip) {
                at += 1;
                continue;
            }
            match lex::comment(text, at) {
                Some(comment) if comment.kind != Kind::Opaque => {
                    self.hints |= comment.kind == Kind::Hint;
                    at = comment.end;
                }
                _ => break,
            }
        }
        at
    }

    /// Looks at everything from `body` on, stopping only at bytes that can matter.
    fn rest(&mut self, text: &[u8], lexing: Lexing) {
        let mut at = self.body;
        while let Some(skipped) = text[at..].iter().position(|byte| STOPS[usize::from(*byte)]) {
            at += skipped;
            let byte = text[at];
            at = match byte {
                b'\'' => lex::string_end(text, at + 1, byte, lexing),
                b'"' if !lexing.ansi_quotes => lex::string_end(text, at + 1, byte, lexing),
                b'"' | b'`' => lex::name_end(text, at + 1, byte),
                b'@' => self.variable(text, at + 1),
                b';' => self.semicolon(text, at + 1),
                _ => match lex::comment(text, at) {
                    Some(comment) => {
                        self.hints |= comment.kind == Kind::Hint;
                        self.opaque |= comment.kind == Kind::Opaque;
                        comment.end
                    }
                    None => at + 1,
                },
            };
        }
    }

    fn variable(&mut self, text: &[u8], at: usize) -> usize {
        if text.get(at) == Some(&b'@') {
            self.system_variable = true;
            at + 1
        } else {
            at
        }
    }

    fn semicolon(&mut self, text: &[u8], at: usize) -> usize {
        if self.multi {
            return at;
        }
        let next = self.skip_blank(text, at, Semicolons::Skip);
        self.multi = next < text.len();
        next
    }
}

/// Bytes at which something can begin that the scan cares about.
const STOPS: [bool; 256] = {
    let mut stops = [false; 256];
    let bytes = b"'\"`@;#-/";
    let mut index = 0;
    while index < bytes.len() {
        stops[bytes[index] as usize] = true;
        index += 1;
    }
    stops
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::verb::{
        BeginKind, BeginMode, Completion, DdlKind, SetKind, Switch, is_plain_charset,
    };

    fn look(text: &str) -> Scan {
        scan(text.as_bytes(), Lexing::default())
    }

    fn set(text: &str) -> SetKind {
        match look(text).verb {
            Verb::Set(kind) => kind,
            other => panic!("{text}: {other:?}"),
        }
    }

    fn charset(text: &str) -> Option<Option<&[u8]>> {
        set(text).charset.map(|word| word.name(text.as_bytes()))
    }

    #[test]
    fn begin_tells_its_characteristics() {
        let default = BeginKind::default();
        let begin = |text: &str| look(text).verb;
        for text in ["BEGIN", "begin work", "START TRANSACTION", "/* c */ Begin ;", "BEGIN -- x"] {
            assert_eq!(begin(text), Verb::Begin(default), "{text}");
        }
        let mode = |mode| Verb::Begin(BeginKind { mode, ..default });
        assert_eq!(begin("BEGIN OPTIMISTIC"), mode(BeginMode::Optimistic));
        assert_eq!(begin("begin /* x */ pessimistic;"), mode(BeginMode::Pessimistic));
        assert_eq!(begin("START TRANSACTION READ WRITE"), Verb::Begin(default));
        let read_only = BeginKind { read_only: true, ..default };
        assert_eq!(begin("start transaction read only"), Verb::Begin(read_only));
        assert_eq!(
            begin("START TRANSACTION READ ONLY AS OF TIMESTAMP NOW() - INTERVAL 5 SECOND"),
            Verb::Begin(BeginKind { as_of: true, ..read_only })
        );
        assert_eq!(
            begin("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY"),
            Verb::Begin(BeginKind { consistent_snapshot: true, ..read_only })
        );
        assert_eq!(
            begin("START TRANSACTION WITH CAUSAL CONSISTENCY ONLY"),
            Verb::Begin(BeginKind { causal_consistency: true, ..default })
        );
        for text in ["BEGIN NOT ATOMIC", "BEGIN SELECT 1", "START SLAVE", "(BEGIN)", "BEGINS"] {
            assert_eq!(begin(text), Verb::Other, "{text}");
        }
    }

    #[test]
    fn completion_words_are_told() {
        let (chain, release) = (true, true);
        let plain = Completion::default();
        for (text, expected) in [
            ("COMMIT", Verb::Commit(plain)),
            ("commit work", Verb::Commit(plain)),
            ("COMMIT AND CHAIN", Verb::Commit(Completion { chain, ..plain })),
            ("COMMIT WORK AND NO CHAIN RELEASE", Verb::Commit(Completion { release, ..plain })),
            ("COMMIT NO RELEASE", Verb::Commit(plain)),
            ("ROLLBACK", Verb::Rollback(plain)),
            ("ROLLBACK AND CHAIN", Verb::Rollback(Completion { chain, ..plain })),
            ("ROLLBACK RELEASE", Verb::Rollback(Completion { release, ..plain })),
            ("ROLLBACK TO a", Verb::RollbackTo),
            ("ROLLBACK WORK TO SAVEPOINT a", Verb::RollbackTo),
            ("RELEASE SAVEPOINT a", Verb::ReleaseSavepoint),
            ("RELEASE x", Verb::Other),
            ("CREATE OR REPLACE TEMPORARY TABLE t", Verb::Ddl(DdlKind { temporary: true })),
            ("CREATE TABLE temporary", Verb::Ddl(DdlKind { temporary: false })),
        ] {
            assert_eq!(look(text).verb, expected, "{text}");
        }
    }

    #[test]
    fn set_tells_all_its_assignments() {
        let none = SetKind::default();
        for (text, expected) in [
            (
                "SET TRANSACTION ISOLATION LEVEL READ COMMITTED, READ ONLY",
                SetKind { next_transaction: true, ..none },
            ),
            (
                "SET @@transaction_isolation = 'SERIALIZABLE'",
                SetKind { next_transaction: true, ..none },
            ),
            ("SET @@tx_read_only = 1", SetKind { next_transaction: true, ..none }),
            ("SET @@session.tx_isolation = 'x'", SetKind { transaction_default: true, ..none }),
            ("SET tx_isolation = 'x'", SetKind { transaction_default: true, ..none }),
            ("SET SESSION TRANSACTION READ ONLY", SetKind { transaction_default: true, ..none }),
            ("SET GLOBAL TRANSACTION READ ONLY", SetKind { global: true, ..none }),
            ("SET autocommit=0", SetKind { autocommit: Some(Switch::Off), ..none }),
            ("SET AUTOCOMMIT = ON", SetKind { autocommit: Some(Switch::On), ..none }),
            ("SET @@autocommit := '0'", SetKind { autocommit: Some(Switch::Off), ..none }),
            ("SET SESSION `autocommit` = TRUE", SetKind { autocommit: Some(Switch::On), ..none }),
            ("SET @@local.autocommit = 1 ;", SetKind { autocommit: Some(Switch::On), ..none }),
            ("SET autocommit = 1 - 1", SetKind { autocommit: Some(Switch::Unknown), ..none }),
            (
                "SET autocommit = 1, autocommit = 0",
                SetKind { autocommit: Some(Switch::Unknown), ..none },
            ),
            ("SET GLOBAL autocommit = 0", SetKind { global: true, ..none }),
            ("SET @@global.autocommit = 0", SetKind { global: true, ..none }),
            ("SET sql_mode = ''", SetKind { sql_mode: true, ..none }),
            ("SET @@SESSION.SQL_MODE = 'ANSI'", SetKind { sql_mode: true, ..none }),
            (
                "SET @a = (SELECT 1, 2), @b := 'x, autocommit = 1'",
                SetKind { user_variable: true, ..none },
            ),
            ("SET @`a b` = 1", SetKind { user_variable: true, ..none }),
            ("SET tidb_snapshot = ''", SetKind { other: true, ..none }),
            (
                "SET @@tidb_txn_mode = 'optimistic', @x = 1, sql_mode = 'ANSI', autocommit = OFF",
                SetKind {
                    other: true,
                    user_variable: true,
                    sql_mode: true,
                    autocommit: Some(Switch::Off),
                    ..none
                },
            ),
            ("SET PASSWORD = 'x'", SetKind { other: true, ..none }),
            ("SET ROLE a", SetKind { other: true, ..none }),
            (
                "SET STATEMENT max_statement_time = 1 FOR COMMIT",
                SetKind { statement: true, ..none },
            ),
            (
                "SET GLOBAL a = 1, autocommit = 0",
                SetKind { global: true, other: true, autocommit: Some(Switch::Unknown), ..none },
            ),
            ("SET", none),
        ] {
            assert_eq!(set(text), expected, "{text}");
        }
        assert!(set("SET SESSION_STATES '{}'").sql_mode);
        assert!(look("SET STATEMENT a = 1 FOR SELECT 1").may_hide_set());
        assert!(!look("SET a = 1").may_hide_set());
    }

    #[test]
    fn set_tells_the_charset() {
        assert_eq!(charset("SET NAMES utf8mb4"), Some(Some(&b"utf8mb4"[..])));
        assert_eq!(charset("set names 'gbk' collate 'gbk_bin'"), Some(Some(&b"gbk"[..])));
        assert_eq!(charset("SET NAMES \"big5\";"), Some(Some(&b"big5"[..])));
        assert_eq!(charset("SET CHARACTER SET latin1"), Some(Some(&b"latin1"[..])));
        assert_eq!(charset("SET CHARSET utf8, @a = 1"), Some(Some(&b"utf8"[..])));
        assert_eq!(charset("SET character_set_client = sjis"), Some(Some(&b"sjis"[..])));
        assert_eq!(charset("SET @@character_set_client = 'binary'"), Some(Some(&b"binary"[..])));
        assert_eq!(charset("SET NAMES DEFAULT"), Some(Some(&b"DEFAULT"[..])));
        assert_eq!(charset("SET character_set_client = @x"), Some(None));
        assert_eq!(charset("SET character_set_client = concat('g', 'bk')"), Some(None));
        assert_eq!(charset("SET NAMES utf8, NAMES gbk"), Some(None));
        assert_eq!(charset("SET character_set_results = gbk"), None);
        for plain in ["utf8mb4", "UTF8", "latin1", "ascii", "binary"] {
            assert!(is_plain_charset(plain.as_bytes()), "{plain}");
        }
        for other in ["gbk", "gb18030", "big5", "sjis", "cp932", "DEFAULT", "", "utf16"] {
            assert!(!is_plain_charset(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn empty_texts_are_told() {
        for text in ["", " ", ";", " ; ; ", "-- x", "--", "# x\n", "/* x */ ;", "/**/", "/*+ x */"]
        {
            let look = look(text);
            assert!(look.empty && !look.multi, "{text:?} {look:?}");
            assert_eq!(look.verb, Verb::Other);
            assert!(!look.may_hide_set());
        }
        for text in ["/*! x */", "x", ";x", "/*! x */;", ";/*! x */", "--x", "- ", "'"] {
            assert!(!look(text).empty, "{text:?}");
        }
    }

    #[test]
    fn several_statements_are_told() {
        for text in
            ["SELECT 1; SELECT 2", "a;b", "a;;b", ";a", "a; /* x */ b", "a; /*! x */", "a;\0"]
        {
            assert!(look(text).multi, "{text:?}");
        }
        for text in ["a;", "a; -- b", "a; # b", "a; /* b */ ; ", "';'; ", "`;`", "\";\"", "/*;*/ a"]
        {
            assert!(!look(text).multi, "{text:?}");
        }
    }

    #[test]
    fn what_executes_in_comments_is_opaque() {
        for text in [
            "/*! x */",
            "a /*!50000 x */",
            "a /*T! x */",
            "a /*T![f] x */",
            "a /*M! x */",
            "a /*M!100100 x",
            "a --\x01 x",
            "a -- x\0y",
        ] {
            assert!(look(text).opaque, "{text:?}");
        }
        for text in [
            "/* ! */",
            "/*T */",
            "'/*!'",
            "`/*!`",
            "-- /*! x",
            "/*+ x */",
            "/* /*! */",
            "/ *! x",
            "--x",
        ] {
            assert!(!look(text).opaque, "{text:?}");
        }
    }

    #[test]
    fn variables_and_hints_are_told() {
        let of = |text| {
            let look = look(text);
            (look.system_variable, look.hints)
        };
        assert_eq!(of("SELECT @a"), (false, false));
        assert_eq!(of("SELECT @@a"), (true, false));
        assert_eq!(of("SELECT @b, @@a"), (true, false));
        assert_eq!(of("SELECT @'a'"), (false, false));
        assert_eq!(of("SELECT '@', `@`, \"@\" /* @ */ -- @"), (false, false));
        assert_eq!(of("SELECT /*+ h */ 1"), (false, true));
        assert_eq!(of("/*+ h */ SELECT 1"), (false, true));
        assert_eq!(of("SELECT '/*+'"), (false, false));
    }

    #[test]
    fn the_body_begins_behind_blanks_and_plain_comments() {
        for (text, body) in [
            ("SELECT", 0),
            ("  SELECT", 2),
            ("/*a*/ SELECT", 6),
            ("-- a\nSELECT", 5),
            ("#a\n/*b*/\t(SELECT", 9),
            ("/*!a*/ SELECT", 0),
            (" /*!a*/ SELECT", 1),
            ("/*/ SELECT */", 13),
            ("--", 2),
        ] {
            assert_eq!(look(text).body, body, "{text:?}");
        }
    }

    #[test]
    fn quoting_rules_of_the_session_are_kept() {
        let ansi = Lexing { ansi_quotes: true, ..Lexing::default() };
        let raw = Lexing { no_backslash_escapes: true, ..Lexing::default() };
        assert!(!scan(br"SELECT 'a\'; b'", Lexing::default()).multi);
        assert!(scan(br"SELECT 'a\'; b'", raw).multi);
        assert!(!scan(br#"SELECT "a\"; b""#, Lexing::default()).multi);
        assert!(scan(br#"SELECT "a\"; b""#, ansi).multi);
        assert!(!scan(br#"SELECT "a;b""#, ansi).multi);
        assert!(scan(br"SELECT `a\`; b", Lexing::default()).multi);
    }
}
