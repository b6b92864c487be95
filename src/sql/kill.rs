//! KILL, as far as it names a connection by its number.
//!
//! ```text
//! KILL [TIDB | HARD | SOFT] [CONNECTION | QUERY] number        TiDB, MySQL, MariaDB
//! KILL … USER name,  KILL QUERY ID number,  KILL CONNECTION_ID()   no number of a connection
//! ```

use super::lex::{Kind, Lexing, Token, Tokens};
use super::scan::Scan;

/// A connection to end, or what it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kill {
    /// The connection's id. TiDB's can have 64 bits.
    pub id: u64,
    /// `QUERY`: the connection stays.
    pub query: bool,
    /// MariaDB's `SOFT`: what must not be left half done goes on.
    pub soft: bool,
}

/// Reads the KILL that `scan` has found in `text`. `None` if it names no connection by its number,
/// or holds anything that servers may read in different ways.
#[must_use]
pub fn kill(text: &[u8], scan: &Scan, lexing: Lexing) -> Option<Kill> {
    let mut tokens = Tokens::new(text, scan.body, lexing);
    tokens.next_solid()?;
    let mut take = |word: &[u8]| {
        let found = tokens.peek_solid().is_some_and(|token| is(&token, word, text));
        if found {
            tokens.next_solid();
        }
        found
    };
    let soft = !take(b"tidb") && !take(b"hard") && take(b"soft");
    let query = !take(b"connection") && take(b"query");
    let number = tokens.next_solid().filter(|token| token.kind == Kind::Number)?;
    let id = std::str::from_utf8(number.bytes(text)).ok()?.parse().ok()?;
    let ends = tokens.next_solid().is_none_or(|token| token.bytes(text) == b";");
    ends.then_some(Kill { id, query, soft })
}

fn is(token: &Token, word: &[u8], text: &[u8]) -> bool {
    token.kind == Kind::Word && token.bytes(text).eq_ignore_ascii_case(word)
}

impl Kill {
    /// The same as a statement for TiDB or another server.
    #[must_use]
    pub fn statement(&self, is_tidb: bool) -> String {
        // Without global kill TiDB takes a KILL only if it says that it knows whom it speaks to.
        let how = match (is_tidb, self.soft) {
            (true, _) => "TIDB ",
            (false, true) => "SOFT ",
            (false, false) => "",
        };
        format!("KILL {how}{} {}", if self.query { "QUERY" } else { "CONNECTION" }, self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::scan;

    fn read(text: &str) -> Option<Kill> {
        kill(text.as_bytes(), &scan(text.as_bytes(), Lexing::default()), Lexing::default())
    }

    #[test]
    fn a_connection_is_named_by_its_number() {
        let connection = Kill { id: 5, query: false, soft: false };
        let query = Kill { query: true, ..connection };
        for (text, expected) in [
            ("KILL 5", connection),
            ("kill connection 5;", connection),
            ("/* x */ KILL\tTIDB 5 -- it", connection),
            ("KILL HARD CONNECTION 5", connection),
            ("KILL QUERY 5", query),
            ("KILL TIDB QUERY 5", query),
            ("KILL SOFT QUERY 5", Kill { soft: true, ..query }),
            ("KILL 9223372036854775807", Kill { id: 9_223_372_036_854_775_807, ..connection }),
        ] {
            assert_eq!(read(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_names_none_is_left_to_the_server() {
        for text in [
            "KILL",
            "KILL QUERY",
            "KILL QUERY ID 5",
            "KILL USER 'a'@'b'",
            "KILL SOFT USER a",
            "KILL CONNECTION_ID()",
            "KILL @x",
            "KILL ?",
            "KILL -5",
            "KILL 5 + 1",
            "KILL 0x5",
            "KILL 5.0",
            "KILL '5'",
            "KILL /*! QUERY */ 5",
            "KILL 99999999999999999999",
            "KILL 5 5",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn the_statement_means_the_same() {
        for (text, tidb, other) in [
            ("KILL 5", "KILL TIDB CONNECTION 5", "KILL CONNECTION 5"),
            ("KILL SOFT QUERY 5", "KILL TIDB QUERY 5", "KILL SOFT QUERY 5"),
        ] {
            let kill = read(text).expect("a number");
            assert_eq!((&*kill.statement(true), &*kill.statement(false)), (tidb, other));
        }
    }
}
