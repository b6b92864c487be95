//! An INSERT whose rows are written out, and the same with the ids that it has generated.
//!
//! ```text
//! INSERT INTO t (v, w) VALUES (1, 2), (3, 4)
//!                    ▲              ▲      ▲
//! INSERT INTO t (v, w,`id`) VALUES (1, 2,LAST_INSERT_ID(7)), (3, 4,7+1*@@auto_increment_increment)
//! ```
//!
//! The first row's id is written as `LAST_INSERT_ID(n)`: then the answer and `LAST_INSERT_ID()`
//! are as if the server had generated it (TiDB v7.5 `builtin_info.go`, `lastInsertIDWithIDSig`).
//! The ids of one statement follow each other (`executor/insert_common.go`,
//! `lazyAdjustAutoIncrementDatum`).
//!
//! Invariant: what is understood here has a list of columns, and as many values in each row as the
//! server takes for it. Everything else (SELECT, SET, ON DUPLICATE KEY UPDATE, IGNORE, RETURNING,
//! PARTITION, no list) isn't understood.

use std::ops::Range;

use super::lex::{Kind, Lexing, Token, Tokens};

/// An INSERT with a list of columns and rows of values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Insert<'a> {
    text: &'a [u8],
    lexing: Lexing,
    table: Range<usize>,
    /// Between its parentheses.
    columns: Range<usize>,
    /// Where the parentheses of rows close.
    rows: Vec<usize>,
}

/// The rows of one statement that are looked at.
const ROWS_MAX: usize = 10_000;

/// Reads a statement; `None` if it isn't such an INSERT.
#[must_use]
pub fn insert(text: &[u8], lexing: Lexing) -> Option<Insert<'_>> {
    let mut reader = Reader { text, tokens: Tokens::new(text, 0, lexing) };
    reader.word(b"insert")?;
    let _ = reader.word(b"into");
    let table = reader.table()?;
    let columns = reader.columns()?;
    reader.word(b"values").or_else(|| reader.word(b"value"))?;
    let rows = reader.rows()?;
    Some(Insert { text, lexing, table, columns, rows })
}

impl<'a> Insert<'a> {
    /// The table's name, as it is written.
    #[must_use]
    pub fn table(&self) -> &'a [u8] {
        &self.text[self.table.clone()]
    }

    /// The name says which schema is meant.
    #[must_use]
    pub fn is_qualified(&self) -> bool {
        let mut tokens = Tokens::new(&self.text[..self.table.end], self.table.start, self.lexing);
        std::iter::from_fn(|| tokens.next_solid()).count() > 1
    }

    /// How many rows it has, at least one.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows.len()
    }

    /// The statement gives this column values of its own.
    #[must_use]
    pub fn names(&self, column: &[u8]) -> bool {
        let mut tokens =
            Tokens::new(&self.text[..self.columns.end], self.columns.start, self.lexing);
        std::iter::from_fn(|| tokens.next_solid())
            .any(|token| token.unquoted(self.text).eq_ignore_ascii_case(column))
    }

    /// The statement with one more column, for which the rows have the ids from `first` on.
    #[must_use]
    pub fn with_ids(&self, column: &[u8], first: u64) -> Vec<u8> {
        let mut text = self.text[..self.columns.end].to_vec();
        let between: &[u8] = if self.is_empty() { b"" } else { b"," };
        text.extend_from_slice(between);
        text.push(b'`');
        for byte in column {
            text.extend(std::iter::repeat_n(*byte, if *byte == b'`' { 2 } else { 1 }));
        }
        text.push(b'`');
        let mut from = self.columns.end;
        for (row, end) in self.rows.iter().enumerate() {
            text.extend_from_slice(&self.text[from..*end]);
            text.extend_from_slice(between);
            let value = match row {
                0 => format!("LAST_INSERT_ID({first})"),
                _ => format!("{first}+{row}*@@auto_increment_increment"),
            };
            text.extend_from_slice(value.as_bytes());
            from = *end;
        }
        text.extend_from_slice(&self.text[from..]);
        text
    }

    /// `() VALUES ()`.
    fn is_empty(&self) -> bool {
        let mut tokens =
            Tokens::new(&self.text[..self.columns.end], self.columns.start, self.lexing);
        tokens.next_solid().is_none()
    }
}

struct Reader<'a> {
    text: &'a [u8],
    tokens: Tokens<'a>,
}

impl Reader<'_> {
    /// Steps over this word.
    fn word(&mut self, word: &[u8]) -> Option<()> {
        let token = self.tokens.peek_solid().filter(|token| token.kind == Kind::Word)?;
        token.bytes(self.text).eq_ignore_ascii_case(word).then(|| self.tokens.next_solid())??;
        Some(())
    }

    /// The next token, if it is this sign.
    fn sign(&mut self, sign: u8) -> Option<Token> {
        let token = self.tokens.peek_solid()?;
        (token.kind == Kind::Sign && self.text[token.start] == sign)
            .then(|| self.tokens.next_solid())?
    }

    /// A name in plain letters or in quotes.
    fn name(&mut self) -> Option<Token> {
        self.tokens.next_solid().filter(|token| matches!(token.kind, Kind::Word | Kind::Quoted))
    }

    /// `t`, `s.t`.
    fn table(&mut self) -> Option<Range<usize>> {
        let first = self.name()?;
        let last = match self.sign(b'.') {
            Some(_) => self.name()?,
            None => first,
        };
        // IGNORE and its kin are no names: what follows isn't a list.
        Some(first.start..last.end)
    }

    /// The list of columns.
    fn columns(&mut self) -> Option<Range<usize>> {
        let open = self.sign(b'(')?;
        if let Some(close) = self.sign(b')') {
            return Some(open.end..close.start);
        }
        loop {
            self.name()?;
            if let Some(close) = self.sign(b')') {
                return Some(open.end..close.start);
            }
            self.sign(b',')?;
        }
    }

    /// Rows up to the end of the text.
    fn rows(&mut self) -> Option<Vec<usize>> {
        let mut rows = Vec::new();
        loop {
            self.sign(b'(')?;
            rows.push(self.row_end()?);
            if rows.len() > ROWS_MAX {
                return None;
            }
            if self.sign(b',').is_none() {
                break;
            }
        }
        let _ = self.sign(b';');
        self.tokens.next_solid().is_none().then_some(rows)
    }

    /// Where the parenthesis that is open closes.
    fn row_end(&mut self) -> Option<usize> {
        let mut open = 1_usize;
        loop {
            let token = self.tokens.next_solid()?;
            match (token.kind, self.text[token.start]) {
                (Kind::Opaque, _) => return None,
                (Kind::Sign, b'(') => open += 1,
                (Kind::Sign, b')') => open -= 1,
                _ => {}
            }
            if open == 0 {
                return Some(token.start);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<Insert<'_>> {
        insert(text.as_bytes(), Lexing::default())
    }

    fn with_ids(text: &str) -> String {
        let text = read(text).expect("an INSERT").with_ids(b"id", 7);
        String::from_utf8(text).expect("UTF-8")
    }

    #[test]
    fn ids_stand_in_a_column_of_their_own() {
        for (text, wanted) in [
            ("INSERT INTO t (v) VALUES (1)", "INSERT INTO t (v,`id`) VALUES (1,LAST_INSERT_ID(7))"),
            (
                "insert t(`v`, w /* ) */) value (')', (1 + (2)))  ;",
                "insert t(`v`, w /* ) */,`id`) value (')', (1 + (2)),LAST_INSERT_ID(7))  ;",
            ),
            (
                "/*x*/INSERT INTO `a b`.t (v, w) VALUES (?, ?), (f(1, ')'), -- )\n 2)",
                "/*x*/INSERT INTO `a b`.t (v, w,`id`) VALUES (?, ?,LAST_INSERT_ID(7)), (f(1, ')'), \
                 -- )\n 2,7+1*@@auto_increment_increment)",
            ),
            ("INSERT INTO t () VALUES ()", "INSERT INTO t (`id`) VALUES (LAST_INSERT_ID(7))"),
            (
                "INSERT INTO t ( ) VALUES (),( )",
                "INSERT INTO t ( `id`) VALUES (LAST_INSERT_ID(7)),( 7+1*@@auto_increment_increment)",
            ),
        ] {
            assert_eq!(with_ids(text), wanted);
        }
    }

    #[test]
    fn what_is_not_written_out_is_not_understood() {
        for text in [
            "",
            "INSERT",
            "INSERT INTO t VALUES (1)",
            "INSERT INTO t (v) SELECT 1",
            "INSERT INTO t (v) VALUES (1) ON DUPLICATE KEY UPDATE v = 2",
            "INSERT INTO t (v) VALUES (1) AS new",
            "INSERT INTO t (v) VALUES (1) RETURNING id",
            "INSERT IGNORE INTO t (v) VALUES (1)",
            "INSERT LOW_PRIORITY INTO t (v) VALUES (1)",
            "INSERT INTO t PARTITION (p) (v) VALUES (1)",
            "INSERT INTO t SET v = 1",
            "INSERT INTO t (v) VALUES (1",
            "INSERT INTO t (v) VALUES",
            "INSERT INTO t (v.) VALUES (1)",
            "INSERT INTO t (v) VALUES (1); SELECT 1",
            "INSERT INTO t (v) VALUES (1 /*! + 1 */)",
            "INSERT /*! IGNORE */ INTO t (v) VALUES (1)",
            "INSERT INTO t (v /*!, id */) VALUES (1)",
            "REPLACE INTO t (v) VALUES (1)",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn columns_are_known_by_their_names() {
        let statement = read("INSERT INTO s.`t` (`Id`, v) VALUES (NULL, 1)").expect("an INSERT");
        assert!(statement.names(b"id") && statement.names(b"V") && !statement.names(b"w"));
        assert_eq!((statement.table(), statement.rows()), (&b"s.`t`"[..], 1));
        assert!(statement.is_qualified());
        assert!(!read("INSERT INTO `s.t` (v) VALUES (1)").expect("an INSERT").is_qualified());
        let quoted = String::from_utf8(statement.with_ids(b"a`b", 1)).expect("UTF-8");
        assert!(quoted.contains("v,`a``b`)"), "{quoted}");
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read(text: Vec<u8>, ansi_quotes: bool) {
            let lexing = Lexing { ansi_quotes, ..Lexing::default() };
            if let Some(found) = insert(&text, lexing) {
                let again = found.with_ids(b"id", 7);
                let again = insert(&again, lexing).expect("still an INSERT");
                proptest::prop_assert!(again.names(b"id") && again.rows() == found.rows());
            }
        }
    }
}
