//! What a transaction changes in its session, and how that is taken back.
//!
//! ROLLBACK takes rows back, not the session. What the first run of a transaction found at BEGIN
//! is remembered when it is about to be changed for the first time:
//!
//! ```text
//! first run   BEGIN ─ USE b ─ [save x] ─ SET x = 1 ─ …   remembered: the schema at BEGIN
//! replay      ROLLBACK ─ [restore] ─ BEGIN ─ USE b ─ SET x = 1 ─ …
//! given up    ROLLBACK ─ [restore] ─ the entries of the journal that change the session
//! ```
//!
//! So a replay starts from equal inputs, and one that is given up leaves the session as the first
//! run left it, which is what the client believes in. What can't be brought back to the letter
//! isn't admitted by the guard.
//!
//! Variables are kept by the server itself, in user variables of txguard's: their values never
//! have to be written as literals. The SET that saves a value goes out right before the first SET
//! that changes it, and leaves nothing to be seen that the client's own doesn't leave: both servers
//! set ROW_COUNT() to 0 and keep FOUND_ROWS(), LAST_INSERT_ID() and, at MariaDB, the warnings; TiDB
//! clears the warnings at either (seen on TiDB v7.5 and MariaDB 10.11). That holds only if the
//! client's SET is parsed, so it must be one of which that is certain (see [`sql::assigned`]).

use std::fmt::Write;

use crate::sql::{self, Variable};
use crate::wire::command::Command;

/// How many variables a transaction may change.
const SAVED_MAX: usize = 32;

/// How the session was at BEGIN, as far as the transaction has changed it.
#[derive(Debug, Default)]
pub struct Restore {
    schema: Option<Box<str>>,
    /// Their values are in the user variable of their index.
    saved: Vec<Variable>,
}

impl Restore {
    /// Forgets the transaction before.
    pub(super) fn clear(&mut self) {
        self.schema = None;
        self.saved.clear();
    }

    /// Remembers the schema in use before the first USE. False if the name may not be the
    /// server's: only plain letters mean the same in every character set and behind every quote.
    pub(super) fn remember_schema(&mut self, name: &str) -> bool {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_$-".contains(&byte);
        let known = !name.is_empty() && name.bytes().all(plain);
        if known {
            self.schema.get_or_insert_with(|| name.into());
        }
        known
    }

    /// Remembers that these variables are changed: the statement that saves those that weren't
    /// before, empty if there is none; `None` if they are too many.
    pub(super) fn save(&mut self, variables: Vec<Variable>) -> Option<String> {
        let mut text = String::new();
        for variable in variables {
            if self.saved.contains(&variable) {
                continue;
            }
            let (next, place) = (if text.is_empty() { "SET " } else { "," }, self.saved.len());
            let _ = match &variable {
                Variable::User(name) => write!(text, "{next}@{}{place}=@{name}", sql::OWN_PREFIX),
                Variable::Session(name) => {
                    write!(text, "{next}@{}{place}=@@session.{name}", sql::OWN_PREFIX)
                }
            };
            self.saved.push(variable);
        }
        (self.saved.len() <= SAVED_MAX).then_some(text)
    }

    /// The schema in use has been changed.
    #[must_use]
    pub const fn changes_schema(&self) -> bool {
        self.schema.is_some()
    }

    /// Nothing has been changed.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.schema.is_none() && self.saved.is_empty()
    }

    /// The commands that bring the session back, as payloads; outside of a transaction.
    #[must_use]
    pub fn commands(&self) -> Vec<Vec<u8>> {
        let schema = self.schema.iter();
        let schema = schema.map(|name| [&[Command::INIT_DB.0], name.as_bytes()].concat());
        let saved = self.saved.iter().enumerate().map(|(place, variable)| {
            let to = match variable {
                Variable::User(name) => format!("@{name}"),
                Variable::Session(name) => format!("@@session.{name}"),
            };
            let text = format!("SET {to}=@{}{place}", sql::OWN_PREFIX);
            [&[Command::QUERY.0], text.as_bytes()].concat()
        });
        schema.chain(saved).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_schema_is_the_one_at_begin() {
        let mut restore = Restore::default();
        assert!(restore.is_empty());
        assert!(restore.remember_schema("shop") && restore.remember_schema("other"));
        assert_eq!(restore.commands(), [b"\x02shop".to_vec()]);
        restore.clear();
        assert!(restore.is_empty() && restore.commands().is_empty());
    }

    #[test]
    fn a_variable_is_saved_before_its_first_change() {
        let x = || Variable::User("x".into());
        let zone = || Variable::Session("time_zone".into());
        let mut restore = Restore::default();
        let first = restore.save(vec![x(), zone(), x()]);
        assert_eq!(first.as_deref(), Some("SET @__txguard_0=@x,@__txguard_1=@@session.time_zone"));
        assert_eq!(restore.save(vec![zone()]).as_deref(), Some(""));
        assert_eq!(
            restore.commands(),
            [
                b"\x03SET @x=@__txguard_0".to_vec(),
                b"\x03SET @@session.time_zone=@__txguard_1".to_vec()
            ]
        );
        let many = (0..SAVED_MAX).map(|name| Variable::User(format!("x{name}").into()));
        assert_eq!(restore.save(many.collect()), None);
    }

    #[test]
    fn a_name_that_may_be_another_ones_is_not_remembered() {
        let mut restore = Restore::default();
        for name in ["", "ü", "a b", "`a`", "a.b", "a\u{FFFD}"] {
            assert!(!restore.remember_schema(name), "{name}");
        }
        assert!(restore.is_empty());
    }
}
