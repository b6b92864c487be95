//! `txguard.idempotency_keys`: which transaction used up a key that an application gave it.
//!
//! The primary key is (user, schema_name, idempotency_key). Columns are binary: two keys are one
//! only if they are equal byte by byte (a collation would ignore trailing spaces). A part that is
//! too long is refused here, because a server without strict mode would cut it, and then two keys
//! could be one.

use std::time::Duration;

use crate::base::types::TxnId;

use super::hex;
use super::receipts::{BATCH, ReceiptKey, first_of};
use super::schema::Column;

/// The longest user name, in bytes: MariaDB's 128 characters.
pub const USER_MAX: usize = 512;

/// The longest schema name, in bytes: 64 characters.
pub const SCHEMA_MAX: usize = 256;

/// The longest key that an application may give, in bytes.
pub const KEY_MAX: usize = 255;

/// What the table must look like.
pub(super) const COLUMNS: &[Column] = &[
    Column::key("user", "varbinary"),
    Column::key("schema_name", "varbinary"),
    Column::key("idempotency_key", "varbinary"),
    Column::new("txn", "binary"),
    Column::new("attempt", "int"),
    Column::new("fingerprint", "binary"),
    Column::new("created", "timestamp"),
];

/// A key within its scope.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IdempotencyKey {
    user: Box<str>,
    schema: Box<str>,
    key: Box<str>,
}

/// A key that can't be stored: empty, or a part of it is too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an idempotency key has 1 to {KEY_MAX} bytes")]
pub struct BadKey;

/// Which transaction has used a key up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Used {
    /// The attempt that committed.
    pub by: ReceiptKey,
    /// Of its statements.
    pub fingerprint: u128,
}

impl IdempotencyKey {
    /// A key of this user while this schema (none: empty) is in use.
    ///
    /// # Errors
    /// It is empty or a part is too long.
    pub fn new(user: &str, schema: &str, key: &str) -> Result<Self, BadKey> {
        let fits = user.len() <= USER_MAX && schema.len() <= SCHEMA_MAX;
        if !fits || key.is_empty() || key.len() > KEY_MAX {
            return Err(BadKey);
        }
        Ok(Self { user: user.into(), schema: schema.into(), key: key.into() })
    }

    /// What goes between the receipt and COMMIT, as the client's own user. If another transaction
    /// has used the key up, the answer is 1062 (in an optimistic one at COMMIT).
    #[must_use]
    pub fn insert(&self, by: ReceiptKey, fingerprint: u128) -> String {
        let [user, schema, key] = self.parts();
        let (txn, attempt) = (hex(by.txn.as_bytes()), by.attempt);
        let fingerprint = hex(&fingerprint.to_be_bytes());
        format!(
            "INSERT INTO txguard.idempotency_keys (user, schema_name, idempotency_key, txn, \
             attempt, fingerprint) VALUES ({user}, {schema}, {key}, {txn}, {attempt}, \
             {fingerprint})"
        )
    }

    /// Reads who has used it up: the columns of [`Row`].
    pub(crate) fn read(&self) -> String {
        let columns = "txn, attempt, fingerprint";
        format!("SELECT {columns} FROM txguard.idempotency_keys WHERE {}", self.condition())
    }

    /// Takes back what this attempt has written.
    pub(crate) fn delete(&self, by: ReceiptKey) -> String {
        let (txn, attempt) = (hex(by.txn.as_bytes()), by.attempt);
        format!(
            "DELETE FROM txguard.idempotency_keys WHERE {} AND txn = {txn} AND attempt = {attempt}",
            self.condition()
        )
    }

    fn condition(&self) -> String {
        let [user, schema, key] = self.parts();
        format!("user = {user} AND schema_name = {schema} AND idempotency_key = {key}")
    }

    fn parts(&self) -> [String; 3] {
        [&self.user, &self.schema, &self.key].map(|part| hex(part.as_bytes()))
    }
}

/// The columns of [`IdempotencyKey::read`].
pub(crate) type Row = (Vec<u8>, u32, Vec<u8>);

impl Used {
    /// `None` if it is no row of txguard's.
    pub(crate) fn from_row((txn, attempt, fingerprint): Row) -> Option<Self> {
        let txn = TxnId::from_bytes(txn.try_into().ok()?);
        let fingerprint = u128::from_be_bytes(fingerprint.try_into().ok()?);
        Some(Self { by: ReceiptKey { txn, attempt }, fingerprint })
    }
}

/// Removes rows whose transaction began before this time (since the Unix epoch), and that were
/// written before it too.
#[must_use]
pub fn purge(before: Duration) -> String {
    format!(
        "DELETE FROM txguard.idempotency_keys WHERE txn < {} \
         AND created < FROM_UNIXTIME({}) LIMIT {BATCH}",
        hex(&first_of(before)),
        before.as_secs()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_statement_is_numbers_and_hexadecimal_digits() {
        let txn = "01890a5d-ac96-774b-bcce-b302099a8057".parse().expect("an id");
        let key = IdempotencyKey::new("app", "", "a'b\\").expect("short");
        assert_eq!(
            key.insert(ReceiptKey { txn, attempt: 1 }, 7),
            "INSERT INTO txguard.idempotency_keys (user, schema_name, idempotency_key, txn, \
             attempt, fingerprint) VALUES (X'617070', X'', X'6127625C', \
             X'01890A5DAC96774BBCCEB302099A8057', 1, X'00000000000000000000000000000007')"
        );
    }

    #[test]
    fn a_key_that_a_server_could_cut_is_refused() {
        let long = |bytes: usize| "k".repeat(bytes);
        assert!(IdempotencyKey::new("u", "s", &long(KEY_MAX)).is_ok());
        assert!(IdempotencyKey::new("u", "s", &long(KEY_MAX + 1)).is_err());
        assert!(IdempotencyKey::new("u", "s", "").is_err());
        assert!(IdempotencyKey::new(&long(USER_MAX + 1), "s", "k").is_err());
        assert!(IdempotencyKey::new("u", &long(SCHEMA_MAX + 1), "k").is_err());
    }
}
