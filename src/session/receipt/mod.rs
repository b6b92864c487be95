//! The receipt in one packet with COMMIT, and what is done when COMMIT's answer is lost.
//!
//! ```text
//! COMMIT ─▶ every answer before it is in; behind an error COM_PING asks for the flags
//!   │  one packet: INSERT receipt; [INSERT idempotency key;] COMMIT
//!   ├─ the INSERT is refused ── no right, no table ─▶ COMMIT alone, counted
//!   │                        ├─ the transaction is gone ─▶ as if COMMIT had said so
//!   │                        └─ anything else ─▶ not committed: ROLLBACK, replay or a clear error
//!   ├─ COMMIT: OK, or an error that proves an abort ─▶ the client's answer, as without a receipt
//!   └─ COMMIT: an error that proves nothing, or the end of the stream ─▶ the resolver decides
//!        ├─ committed ─────▶ OK
//!        ├─ not committed ─▶ replayed, if the connection lives and it is guarded; else 17014
//!        └─ pending ───────▶ closed without an answer, as TiDB does; decided behind the scenes
//! ```
//!
//! An error stops a packet of several statements, so COMMIT never runs without its receipt. Two
//! commands would not do: the second one runs whatever the first one's answer is, also when a
//! resolver has decided meanwhile and the INSERT fails for that.
//!
//! The receipt is written as the client's own user. Whether he may is asked once per user, before
//! his first transaction with a receipt begins.
//!
//! | file | what it does |
//! |---|---|
//! | `right` | may the user write receipts? |
//! | `packet` | the packet with COMMIT, and the answers to it |
//! | `settle` | a COMMIT that may have happened |

mod packet;
mod right;
mod settle;

use std::pin::Pin;
use std::sync::Arc;

use dashmap::DashMap;
use tokio::time::Instant;

use crate::coordinator::resolver::{Fate, Resolver};
use crate::store::idempotency::IdempotencyKey;
use crate::store::receipts::ReceiptKey;

use super::What;
use super::key::LookUp;

use right::Right;

/// Decides what became of transactions whose COMMIT was not answered.
///
/// The product has one; the scripted tests put a verdict in its place.
pub trait Fates: Send + Sync {
    /// The tables are there.
    fn is_ready(&self) -> bool;

    /// Decides within a limit. `at` is the client's backend, HOST:PORT.
    fn resolve<'a>(&'a self, key: ReceiptKey, at: &'a str) -> Deciding<'a>;

    /// Decides when it can be done; nobody waits.
    fn resolve_later(&self, key: ReceiptKey, at: &str);

    /// Takes a receipt back that was written outside of any transaction, and its idempotency key.
    fn discard(&self, key: ReceiptKey, used: Option<&IdempotencyKey>, at: &str);

    /// Which transaction has used a key up.
    fn used<'a>(&'a self, key: &'a IdempotencyKey, at: &'a str) -> LookUp<'a>;
}

/// A decision under way.
pub type Deciding<'a> = Pin<Box<dyn Future<Output = Fate> + Send + 'a>>;

impl Fates for Resolver {
    fn is_ready(&self) -> bool {
        self.is_ready()
    }

    fn resolve<'a>(&'a self, key: ReceiptKey, at: &'a str) -> Deciding<'a> {
        Box::pin(self.resolve(key, at))
    }

    fn resolve_later(&self, key: ReceiptKey, at: &str) {
        self.resolve_later(key, at);
    }

    fn discard(&self, key: ReceiptKey, used: Option<&IdempotencyKey>, at: &str) {
        self.discard_later(key, used, at);
    }

    fn used<'a>(&'a self, key: &'a IdempotencyKey, at: &'a str) -> LookUp<'a> {
        Box::pin(self.committed_by(key, at))
    }
}
/// What receipts need, shared by all sessions.
#[derive(Clone)]
pub struct Receipts {
    fates: Arc<dyn Fates>,
    /// Who may write receipts, by user name; when that was found out.
    rights: Arc<DashMap<Box<str>, (Right, Instant)>>,
}
impl Receipts {
    /// Nobody's right is known yet.
    #[must_use]
    pub fn new(fates: Arc<dyn Fates>) -> Self {
        Self { fates, rights: Arc::default() }
    }
}

/// The receipt of the open transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OfTxn {
    /// There is none.
    Off,
    /// COMMIT will carry one, if the user may write it.
    Wanted,
    /// It is on its way, in one packet with COMMIT.
    Sent(ReceiptKey),
    /// It was taken; the answer to COMMIT is to come.
    Written(ReceiptKey),
    /// It was written outside of any transaction; the answer to COMMIT is to come.
    Void(ReceiptKey),
}

/// A COMMIT that has not happened, or that may have happened, on a connection that lives.
#[derive(Debug)]
pub(super) struct Doubt {
    /// The error that says so.
    code: u16,
    why: Why,
    what: What,
    sent: Instant,
}

/// Why COMMIT is in doubt.
#[derive(Debug)]
enum Why {
    /// An error says nothing, and the receipt was written: the resolver decides.
    Unknown(ReceiptKey),
    /// It was stopped ahead of it; nothing has happened.
    Stopped,
    /// The same, by an error behind which the transaction may still be open.
    Refused,
    /// Its idempotency key can't be written; nothing has happened.
    KeyUnusable,
    /// A row was there already: the key's, if another transaction has used that up. Else the client
    /// gets this error.
    Duplicate(Box<[u8]>),
}

impl Doubt {
    /// A COMMIT that would lose its key.
    pub(super) fn of_key(now: Instant) -> Self {
        Self { code: 0, why: Why::KeyUnusable, what: What::Commit, sent: now }
    }
}

/// The right to write receipts is missing, or the table is: the transaction is none the worse.
/// `ER_OPEN_AS_READONLY`, `ER_DBACCESS_DENIED_ERROR`, `ER_BAD_DB_ERROR`, `ER_BAD_FIELD_ERROR`,
/// `ER_TABLEACCESS_DENIED_ERROR`, `ER_COLUMNACCESS_DENIED_ERROR`, `ER_NO_SUCH_TABLE`,
/// `ER_NO_SUCH_TABLE_IN_ENGINE`.
fn is_not_allowed(code: u16) -> bool {
    matches!(code, 1036 | 1044 | 1049 | 1054 | 1142 | 1143 | 1146 | 1932)
}

/// Nothing can be written here, so nothing was, and no resolver is the reason: under LOCK TABLES
/// (`ER_TABLE_NOT_LOCKED_FOR_WRITE`, `ER_TABLE_NOT_LOCKED`) or a global read lock
/// (`ER_CANT_UPDATE_WITH_READLOCK`), on a server or in a transaction that only reads
/// (`ER_OPTION_PREVENTS_STATEMENT`, `ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION`,
/// `ER_READ_ONLY_MODE`; TiDB's 1105 where a snapshot is read, which can also mean that the
/// transaction is gone), within XA (`ER_XAER_RMFAIL`), where
/// the binary log can't take it (`ER_BINLOG_STMT_MODE_AND_ROW_ENGINE`), in a packet that TiDB
/// can't parse because of what the client wrote behind COMMIT (`ER_PARSE_ERROR`), and TiDB's 8130, "client
/// has multi-statement capability disabled".
fn is_not_possible(code: u16) -> bool {
    matches!(code, 1064 | 1099 | 1100 | 1105 | 1223 | 1290 | 1399 | 1665 | 1792 | 1836 | 8130)
}
