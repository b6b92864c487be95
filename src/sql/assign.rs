//! The assignments of a SET, where a server is sure to parse them and their values are written
//! out.
//!
//! Owns the list of session variables whose value survives the way into a user variable and back.
//! Invariant: a text that is understood here succeeds or fails at every server by its values, not
//! by its syntax, and gives the same values at any time. It must not understand more than that:
//! expressions, DEFAULT and everything with another scope are for nobody to repeat.

use super::lex::{Kind, Lexing, Token, Tokens};
use super::scan::Scan;
use super::verb::{Verb, lowered};

/// What is assigned to; the name in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Variable {
    /// `@x`.
    User(Box<str>),
    /// A session variable of [`SESSION_VARIABLES`].
    Session(Box<str>),
}

/// Session variables that a transaction may set and a replay can put back: of the servers that
/// know them at all, each takes the value back that `@@session.x` gave (tried on TiDB v7.5 and
/// MariaDB 10.11 by `tests/pitfalls`). Not among them: what has a meaning of its own when it is
/// read (`timestamp`, `insert_id`, `last_insert_id`, `rand_seed1`), what decides how transactions
/// begin, and character sets. Sorted.
pub const SESSION_VARIABLES: &[&str] = &[
    "block_encryption_mode",
    "cte_max_recursion_depth",
    "default_week_format",
    "div_precision_increment",
    "foreign_key_checks",
    "group_concat_max_len",
    "innodb_lock_wait_timeout",
    "lock_wait_timeout",
    "max_execution_time",
    "max_statement_time",
    "net_read_timeout",
    "net_write_timeout",
    "sql_mode",
    "sql_safe_updates",
    "tidb_allow_mpp",
    "tidb_constraint_check_in_place",
    "tidb_distsql_scan_concurrency",
    "tidb_enable_index_merge",
    "tidb_executor_concurrency",
    "tidb_isolation_read_engines",
    "tidb_max_chunk_size",
    "tidb_mem_quota_query",
    "tidb_replica_read",
    "time_zone",
    "unique_checks",
];

/// How names of txguard's own user variables begin.
pub const OWN_PREFIX: &str = "__txguard_";

/// How names of user variables begin that tell txguard what to do.
const SAID_PREFIX: &str = "txguard_";

/// The longest name and the longest number that are understood, in bytes.
const LENGTH_MAX: usize = 64;

/// What a SET assigns to, in order; `None` if any part of it isn't understood. `scan` must be that
/// of `text` under `lexing`.
#[must_use]
pub fn assigned(text: &[u8], scan: &Scan, lexing: Lexing) -> Option<Vec<Variable>> {
    let plain = !scan.multi && !scan.opaque && !scan.hints;
    if !plain || !matches!(scan.verb, Verb::Set(_)) {
        return None;
    }
    let mut words = Words { text, tokens: Tokens::new(text, scan.body, lexing) };
    words.word(&[b"set"])?;
    let mut variables = Vec::new();
    loop {
        let variable = words.variable()?;
        words.equals()?;
        words.value(matches!(variable, Variable::User(_)))?;
        variables.push(variable);
        match words.sign() {
            Some(b',') => {}
            Some(b';') | None => return Some(variables),
            Some(_) => return None,
        }
    }
}

struct Words<'a> {
    text: &'a [u8],
    tokens: Tokens<'a>,
}

impl Words<'_> {
    /// The next byte, if it is a sign; 0 for anything else.
    fn sign(&mut self) -> Option<u8> {
        let token = self.tokens.next_solid()?;
        Some(if token.kind == Kind::Sign { self.text[token.start] } else { 0 })
    }

    fn peek(&self, sign: u8) -> bool {
        let next = self.tokens.peek_solid();
        next.is_some_and(|next| next.kind == Kind::Sign && self.text[next.start] == sign)
    }

    /// Steps over one of these words.
    fn word(&mut self, words: &[&[u8]]) -> Option<()> {
        let token = self.tokens.peek_solid().filter(|token| token.kind == Kind::Word)?;
        let bytes = token.bytes(self.text);
        words.iter().find(|word| bytes.eq_ignore_ascii_case(word))?;
        self.tokens.next_solid().map(|_| ())
    }

    /// `@x`, `x`, `SESSION x`, `@@x`, `@@session.x`. The pieces behind `@` must touch.
    fn variable(&mut self) -> Option<Variable> {
        const SCOPES: [&[u8]; 2] = [b"session", b"local"];
        if !self.peek(b'@') {
            let _ = self.word(&SCOPES);
            let token = self.tokens.next_solid()?;
            return self.session_variable(token);
        }
        self.tokens.next_solid()?;
        let mut token = self.tokens.next()?;
        if token.kind == Kind::Word {
            let name = self.name(token)?;
            let ours = [OWN_PREFIX, SAID_PREFIX].iter().any(|prefix| name.starts_with(prefix));
            return (!ours).then_some(Variable::User(name));
        }
        if token.bytes(self.text) != b"@" {
            return None;
        }
        token = self.tokens.next()?;
        if SCOPES.iter().any(|scope| token.bytes(self.text).eq_ignore_ascii_case(scope)) {
            self.tokens.next().filter(|dot| dot.bytes(self.text) == b".")?;
            token = self.tokens.next()?;
        }
        self.session_variable(token)
    }

    fn session_variable(&self, token: Token) -> Option<Variable> {
        let name = self.name(token)?;
        SESSION_VARIABLES.binary_search(&&*name).is_ok().then_some(Variable::Session(name))
    }

    /// A word of plain letters that doesn't begin like a number.
    fn name(&self, token: Token) -> Option<Box<str>> {
        let mut buffer = [0; LENGTH_MAX];
        let bytes = lowered(token.bytes(self.text), &mut buffer);
        let short = bytes.len() <= LENGTH_MAX;
        let plain = bytes
            .iter()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'_');
        let named = short && token.kind == Kind::Word && !bytes[0].is_ascii_digit();
        std::str::from_utf8(bytes).ok().filter(|_| plain && named).map(Into::into)
    }

    /// `=` or `:=`.
    fn equals(&mut self) -> Option<()> {
        match self.sign()? {
            b'=' => Some(()),
            b':' => self.tokens.next().filter(|next| next.bytes(self.text) == b"=").map(|_| ()),
            _ => None,
        }
    }

    /// A number, a string, or a word that stands for one.
    fn value(&mut self, user: bool) -> Option<()> {
        let minus = self.peek(b'-') && self.tokens.next_solid().is_some();
        let token = self.tokens.next_solid()?;
        let bytes = token.bytes(self.text);
        let understood = match token.kind {
            Kind::Number => is_plain_number(bytes),
            // With the opening quote in its place, and nothing in it that could escape another.
            Kind::Text => !minus && is_plain_text(bytes),
            Kind::Word => {
                let words: &[&[u8]] = if user {
                    &[b"null", b"true", b"false"]
                } else {
                    &[b"on", b"off", b"true", b"false"]
                };
                !minus && words.iter().any(|word| bytes.eq_ignore_ascii_case(word))
            }
            _ => false,
        };
        understood.then_some(())
    }
}

/// Digits, and a fraction: what no server refuses while it parses.
fn is_plain_number(bytes: &[u8]) -> bool {
    let mut parts = bytes.splitn(2, |byte| *byte == b'.');
    bytes.len() <= LENGTH_MAX
        && parts.all(|part| !part.is_empty() && part.iter().all(u8::is_ascii_digit))
}

fn is_plain_text(bytes: &[u8]) -> bool {
    let (b'\'' | b'"', [inner @ .., last]) = (bytes[0], &bytes[1..]) else { return false };
    *last == bytes[0] && inner.iter().all(|byte| byte.is_ascii() && !b"'\"\\\0".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::scan;

    fn names(text: &str) -> Option<Vec<String>> {
        let scan = scan(text.as_bytes(), Lexing::default());
        let variables = assigned(text.as_bytes(), &scan, Lexing::default())?;
        let name = |variable: Variable| match variable {
            Variable::User(name) => format!("@{name}"),
            Variable::Session(name) => name.into(),
        };
        Some(variables.into_iter().map(name).collect())
    }

    #[test]
    fn the_list_is_sorted() {
        assert!(SESSION_VARIABLES.is_sorted());
    }

    #[test]
    fn values_that_are_written_out_are_understood() {
        for (text, expected) in [
            ("SET @x = 1", &["@x"][..]),
            ("set @X:=-1.5;", &["@x"]),
            ("/* a */ SET @a = 'it', @b=NULL -- c", &["@a", "@b"]),
            ("SET SESSION sql_mode = ''", &["sql_mode"]),
            ("SET time_zone = \"+00:00\"", &["time_zone"]),
            ("SET @@time_zone = 'SYSTEM'", &["time_zone"]),
            ("SET @@SESSION.Unique_Checks = OFF", &["unique_checks"]),
            ("SET LOCAL foreign_key_checks = 0, @x = true", &["foreign_key_checks", "@x"]),
        ] {
            let expected = expected.iter().map(|name| (*name).to_owned()).collect();
            assert_eq!(names(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn everything_else_is_not() {
        for text in [
            "SET",
            "SET @x",
            "SET @x =",
            "SET @x = 1,",
            "SET @ x = 1",
            "SET @x = y",
            "SET @x = @y",
            "SET @x = 1 + 1",
            "SET @x = NOW()",
            "SET @x = (SELECT 1)",
            "SET @x = 'a' 'b'",
            "SET @x = 'a\\'",
            "SET @x = 'a",
            "SET @x = '",
            "SET @x = N'a'",
            "SET @x = _utf8mb4'a'",
            "SET @x = 'ü'",
            "SET @x = 1e400",
            "SET @x = 0x1F",
            "SET @x = .5",
            "SET @x = - - 1",
            "SET @x = DEFAULT",
            "SET @x : = 1",
            "SET @`x` = 1",
            "SET @x.y = 1",
            "SET @__txguard_0 = 1",
            "SET @TXGUARD_retry = 'off'",
            "SET @1 = 1",
            "SET sql_mode = DEFAULT",
            "SET sql_mode = ANSI",
            "SET sql_mode = @x",
            "SET GLOBAL sql_mode = ''",
            "SET @@global.sql_mode = ''",
            "SET PERSIST sql_mode = ''",
            "SET autocommit = 1",
            "SET timestamp = 1",
            "SET NAMES utf8mb4",
            "SET TRANSACTION READ ONLY",
            "SET transaction_isolation = 'READ-COMMITTED'",
            "SET STATEMENT max_statement_time = 1 FOR SELECT 1",
            "SET @x = 1 FOR SELECT 1",
            "SET @x = 1; SELECT 1",
            "SET /*!40000 @x = 1, */ @y = 2",
            "SET /*+ a */ @x = 1",
            "SELECT 1",
        ] {
            assert_eq!(names(text), None, "{text}");
        }
    }
}
