//! `txguard.receipts`: what became of one attempt of a transaction.
//!
//! ```text
//! outcome 1   written by the client's own transaction, in one packet with its COMMIT
//! outcome 0   written by a resolver; whoever writes the same key later can't commit
//! ```
//!
//! The primary key is (shard, txn, attempt). The shard is the last byte of the transaction's id,
//! which is hashed noise, so that commits of one moment don't pile up on one region. Within a shard
//! the id sorts by the time of BEGIN: what is old is found by the primary key, and no second index
//! makes each COMMIT dearer.

use std::time::Duration;

use crate::base::types::{Tso, TxnId};

use super::hex;
use super::schema::Column;
use super::service::{ServiceError, Talk};

/// The longest user name that is kept, in bytes: MariaDB's 128 characters.
const USER_MAX: usize = 512;

/// What the table must look like.
pub(super) const COLUMNS: &[Column] = &[
    Column::key("shard", "tinyint"),
    Column::key("txn", "binary"),
    Column::key("attempt", "int"),
    Column::new("outcome", "tinyint"),
    Column::new("user", "varbinary"),
    Column::new("start_ts", "bigint"),
    Column::new("fingerprint", "binary"),
    Column::new("created", "timestamp"),
];

/// Writes nothing, and is refused to whoever may not write receipts.
pub const PROBE: &str = "INSERT INTO txguard.receipts (shard, txn, attempt, outcome, user, \
    start_ts, fingerprint) SELECT 0, X'00', 0, 1, X'', NULL, X'00' FROM DUAL WHERE FALSE";

/// One attempt of a transaction. A replay is a new attempt, so what a resolver wrote for the last
/// one is not in its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReceiptKey {
    /// The transaction.
    pub txn: TxnId,
    /// Counted from 1, the client's own run.
    pub attempt: u32,
}

/// What the client's transaction writes with its COMMIT.
#[derive(Debug, Clone, Copy)]
pub struct Receipt<'a> {
    /// Which attempt.
    pub key: ReceiptKey,
    /// Who logged in; for people.
    pub user: &'a str,
    /// The server is TiDB and notes its own start_ts.
    pub on_tidb: bool,
    /// Of the transaction's statements; for people.
    pub fingerprint: u128,
}

/// What a receipt says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The attempt has committed.
    Committed,
    /// The attempt has not committed and never will.
    NotCommitted,
}

impl Outcome {
    /// As it stands in the table.
    const fn code(self) -> u8 {
        match self {
            Self::Committed => 1,
            Self::NotCommitted => 0,
        }
    }

    /// From the table; `None` for what no version of txguard has written.
    #[must_use]
    pub const fn from_code(code: i64) -> Option<Self> {
        match code {
            1 => Some(Self::Committed),
            0 => Some(Self::NotCommitted),
            _ => None,
        }
    }
}

impl ReceiptKey {
    /// What a resolver writes: the attempt has not committed.
    #[must_use]
    pub fn fence(&self) -> String {
        let outcome = Outcome::NotCommitted.code();
        format!(
            "INSERT INTO txguard.receipts (shard, txn, attempt, outcome) VALUES ({}, {outcome})",
            self.values()
        )
    }

    /// Reads the outcome as it is now, not as a snapshot has it.
    #[must_use]
    pub fn read(&self) -> String {
        format!("SELECT outcome FROM txguard.receipts WHERE {} FOR UPDATE", self.condition())
    }

    /// Reads the outcome as a snapshot has it.
    #[must_use]
    pub fn look(&self) -> String {
        format!("SELECT outcome FROM txguard.receipts WHERE {}", self.condition())
    }

    /// Takes back what was written outside of any transaction.
    #[must_use]
    pub fn delete(&self) -> String {
        let outcome = Outcome::Committed.code();
        format!("DELETE FROM txguard.receipts WHERE {} AND outcome = {outcome}", self.condition())
    }

    /// The primary key as a list of values.
    fn values(&self) -> String {
        format!("{}, {}, {}", self.shard(), hex(self.txn.as_bytes()), self.attempt)
    }

    fn condition(&self) -> String {
        let (shard, txn) = (self.shard(), hex(self.txn.as_bytes()));
        format!("shard = {shard} AND txn = {txn} AND attempt = {}", self.attempt)
    }

    const fn shard(&self) -> u8 {
        shard(&self.txn)
    }
}

const fn shard(txn: &TxnId) -> u8 {
    txn.as_bytes()[15]
}

/// Rows that one statement of a purge removes at most.
pub const BATCH: u64 = 1000;

/// Removes rows of one shard whose transaction began before this time (since the Unix epoch), and
/// that were written before it too.
#[must_use]
pub fn purge(shard: u8, before: Duration) -> String {
    format!(
        "DELETE FROM txguard.receipts WHERE shard = {shard} AND txn < {} \
         AND created < FROM_UNIXTIME({}) LIMIT {BATCH}",
        hex(&first_of(before)),
        before.as_secs()
    )
}

/// When the oldest transaction of a shard began.
///
/// Cancel safe: nothing is changed.
pub async fn oldest(talk: &mut Talk, shard: u8) -> Result<Option<Duration>, ServiceError> {
    let ask =
        format!("SELECT txn FROM txguard.receipts WHERE shard = {shard} ORDER BY txn LIMIT 1");
    let row: Option<(Vec<u8>,)> = talk.row(&ask).await?;
    let txn = row.and_then(|(txn,)| txn.try_into().ok());
    Ok(txn.map(|txn| TxnId::from_bytes(txn).begun()))
}

/// The smallest id of a transaction that began at this time or later.
pub(super) fn first_of(begun: Duration) -> [u8; 16] {
    let millis = u64::try_from(begun.as_millis()).unwrap_or(u64::MAX);
    (u128::from(millis) << 80).to_be_bytes()
}

/// A row, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Which attempt.
    pub key: ReceiptKey,
    /// What it says; `None` for what no version of txguard has written.
    pub outcome: Option<Outcome>,
    /// Who logged in; a resolver doesn't know it.
    pub user: Option<String>,
    /// The database's own timestamp, where it was known.
    pub start_ts: Option<Tso>,
}

/// The columns of [`Written`].
type Row = (Vec<u8>, u32, i64, Option<Vec<u8>>, Option<u64>);

const ROW: &str = "SELECT txn, attempt, outcome, user, start_ts FROM txguard.receipts";

impl Written {
    fn from_row((txn, attempt, outcome, user, start_ts): Row) -> Option<Self> {
        let txn = TxnId::from_bytes(txn.try_into().ok()?);
        Some(Self {
            key: ReceiptKey { txn, attempt },
            outcome: Outcome::from_code(outcome),
            user: user.map(|user| String::from_utf8_lossy(&user).into_owned()),
            start_ts: start_ts.map(Tso),
        })
    }
}

/// All attempts of a transaction, in order.
///
/// Cancel safe: nothing is changed.
pub async fn of_transaction(talk: &mut Talk, txn: TxnId) -> Result<Vec<Written>, ServiceError> {
    let (shard, id) = (shard(&txn), hex(txn.as_bytes()));
    let ask = format!("{ROW} WHERE shard = {shard} AND txn = {id} ORDER BY attempt");
    let rows = talk.rows(&ask).await?;
    Ok(rows.into_iter().filter_map(Written::from_row).collect())
}

/// How long a BEGIN may lie before its start_ts: without autocommit TiDB takes it at the first
/// statement that needs data.
const BEFORE_START_TS: Duration = Duration::from_secs(25 * 3600);

/// How much a proxy's clock may be ahead of TiDB's.
const AHEAD_OF_START_TS: Duration = Duration::from_secs(3600);

/// The attempt that had this start_ts, if it was written down. It is looked for among the
/// transactions that began not long before; there is no index for it.
///
/// Cancel safe: nothing is changed.
pub async fn of_start_ts(talk: &mut Talk, start_ts: Tso) -> Result<Option<Written>, ServiceError> {
    let at = Duration::from_millis(start_ts.physical_ms());
    let from = hex(&first_of(at.saturating_sub(BEFORE_START_TS)));
    let to = hex(&first_of(at + AHEAD_OF_START_TS));
    for shard in 0..=u8::MAX {
        let ask = format!(
            "{ROW} WHERE shard = {shard} AND txn >= {from} AND txn < {to} \
             AND start_ts = {start_ts} LIMIT 1"
        );
        if let Some(row) = talk.row(&ask).await? {
            return Ok(Written::from_row(row));
        }
    }
    Ok(None)
}

impl Receipt<'_> {
    /// What goes in front of COMMIT, as the client's own user.
    #[must_use]
    pub fn insert(&self) -> String {
        let key = self.key.values();
        let outcome = Outcome::Committed.code();
        let user = hex(cut(self.user));
        let start_ts = if self.on_tidb { "@@tidb_current_ts" } else { "NULL" };
        let fingerprint = hex(&self.fingerprint.to_be_bytes());
        format!(
            "INSERT INTO txguard.receipts (shard, txn, attempt, outcome, user, start_ts, \
             fingerprint) VALUES ({key}, {outcome}, {user}, {start_ts}, {fingerprint})"
        )
    }
}

/// A name that is too long must not fail a COMMIT.
fn cut(user: &str) -> &[u8] {
    &user.as_bytes()[..user.len().min(USER_MAX)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> ReceiptKey {
        let txn = "01890a5d-ac96-774b-bcce-b302099a8057".parse().expect("an id");
        ReceiptKey { txn, attempt: 2 }
    }

    #[test]
    fn the_statements_are_numbers_and_hexadecimal_digits() {
        let receipt = Receipt { key: key(), user: "o'brien\\ü", on_tidb: true, fingerprint: 0xab };
        assert_eq!(
            receipt.insert(),
            "INSERT INTO txguard.receipts (shard, txn, attempt, outcome, user, start_ts, \
             fingerprint) VALUES (87, X'01890A5DAC96774BBCCEB302099A8057', 2, 1, \
             X'6F27627269656E5CC3BC', @@tidb_current_ts, \
             X'000000000000000000000000000000AB')"
        );
        let unknown = Receipt { on_tidb: false, user: "", ..receipt }.insert();
        assert!(unknown.contains("1, X'', NULL, X'"), "{unknown}");
        assert_eq!(
            key().fence(),
            "INSERT INTO txguard.receipts (shard, txn, attempt, outcome) VALUES (87, \
             X'01890A5DAC96774BBCCEB302099A8057', 2, 0)"
        );
    }

    #[test]
    fn a_user_name_of_any_length_fits() {
        let user = "x".repeat(10_000);
        let receipt = Receipt { key: key(), user: &user, on_tidb: false, fingerprint: 0 };
        assert!(receipt.insert().contains(&hex(&[b'x'; USER_MAX])));
        assert!(!receipt.insert().contains(&hex(&[b'x'; USER_MAX + 1])[..USER_MAX * 2 + 4]));
    }
}
