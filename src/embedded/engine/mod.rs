//! A small multi-version store and executor with TiDB's optimistic transactions.
//!
//! # Rules it keeps
//!
//! - A transaction reads the snapshot of its `start_ts`, taken at BEGIN (with `autocommit = 0`: at
//!   the first statement that needs data), plus its own writes.
//! - Writes are buffered. COMMIT checks every written key and every key locked by FOR UPDATE: a
//!   version newer than `start_ts` is error 9007 and the transaction is gone. The first committer
//!   wins; different rows never conflict, so write skew passes, as in TiDB.
//! - A duplicate key that was committed before the transaction began is found at COMMIT (1062), as
//!   TiDB does with `tidb_constraint_check_in_place = OFF`; a duplicate within the transaction and
//!   in an autocommit statement is found at once.
//! - An autocommit statement runs and commits under one lock: it never conflicts, as TiDB's never
//!   do after its internal retry.
//! - An error inside an explicit transaction undoes that statement only.
//! - A second BEGIN and DDL commit the open transaction first; DDL takes effect at once, and a
//!   transaction that wrote a table dropped meanwhile gets 8028 at COMMIT.
//!
//! Pessimistic mode is refused, not imitated. The engine is deterministic: time comes from
//! [`Engine::advance_to`], ids count up from 1. One lock guards everything and is held for one
//! statement; the engine waits for nothing.

mod ddl;
mod error;
mod eval;
mod execute;
mod parse;
mod session;
mod settings;
mod store;
#[cfg(test)]
mod tests;
mod value;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use error::SqlError;
pub use session::{Prepared, Session};
pub use value::{Answer, Column, Kind, Value};

use store::Store;

/// What `VERSION()` and the greeting say: MySQL's 8.0.11 as TiDB says it, and an honest name.
pub const SERVER_VERSION: &str = "8.0.11-txguard-embedded";

/// A database server without a network: make sessions with [`Engine::session`].
#[derive(Debug)]
pub struct Engine {
    shared: Shared,
}

/// The state that all sessions of an engine work on.
#[derive(Debug, Clone)]
struct Shared(Arc<Mutex<Store>>);

impl Shared {
    /// A statement that panicked has changed nothing but its own transaction's buffer, so the
    /// store behind a poisoned lock is whole.
    fn lock(&self) -> MutexGuard<'_, Store> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Engine {
    fn default() -> Self {
        Self::new()
    }
}

impl Engine {
    /// How many old versions are kept for open transactions before the oldest ones lose their
    /// snapshot (9006): about 100 MB of small rows, ten minutes of a busy demo.
    const GARBAGE_MAX: usize = 500_000;

    /// An engine with one empty database `test`.
    #[must_use]
    pub fn new() -> Self {
        Self::with_garbage_max(Self::GARBAGE_MAX)
    }

    fn with_garbage_max(garbage_max: usize) -> Self {
        Self { shared: Shared(Arc::new(Mutex::new(Store::new(garbage_max)))) }
    }

    /// A new session in no database, with `autocommit = 1`.
    #[must_use]
    pub fn session(&self) -> Session {
        Session::new(self.shared.clone())
    }

    /// Tells the engine the time, in milliseconds since the Unix epoch. Timestamps never go back,
    /// even if the time does.
    pub fn advance_to(&self, wall_ms: u64) {
        self.shared.lock().advance_to(wall_ms);
    }
}
