//! What a transaction changes in its session, and how that is taken back.
//!
//! ROLLBACK takes rows back, not the session. What the first run of a transaction found at BEGIN
//! is remembered when it is about to be changed for the first time:
//!
//! ```text
//! first run   BEGIN ─ USE b ─ …              remembered: the schema at BEGIN
//! replay      ROLLBACK ─ [restore] ─ BEGIN ─ USE b ─ …
//! given up    ROLLBACK ─ [restore] ─ the entries of the journal that change the session
//! ```
//!
//! So a replay starts from equal inputs, and one that is given up leaves the session as the first
//! run left it, which is what the client believes in. What can't be brought back to the letter
//! isn't admitted by the guard.

use crate::wire::command::Command;

/// How the session was at BEGIN, as far as the transaction has changed it.
#[derive(Debug, Default)]
pub struct Restore {
    schema: Option<Box<str>>,
}

impl Restore {
    /// Forgets the transaction before.
    pub(super) fn clear(&mut self) {
        self.schema = None;
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

    /// Nothing has been changed.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.schema.is_none()
    }

    /// The commands that bring the session back, as payloads; outside of a transaction.
    #[must_use]
    pub fn commands(&self) -> Vec<Vec<u8>> {
        let schema = self.schema.iter();
        schema.map(|name| [&[Command::INIT_DB.0], name.as_bytes()].concat()).collect()
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
    fn a_name_that_may_be_another_ones_is_not_remembered() {
        let mut restore = Restore::default();
        for name in ["", "ü", "a b", "`a`", "a.b", "a\u{FFFD}"] {
            assert!(!restore.remember_schema(name), "{name}");
        }
        assert!(restore.is_empty());
    }
}
