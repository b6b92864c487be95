//! The built-in backend for a first run without a database, and for tests that need a database
//! whose every step is known.
//!
//! It owns a small engine (`engine`, pure) that behaves as TiDB does in optimistic mode, and its
//! protocol front (`front`). It is not a database: nothing is stored on disk, any password is
//! accepted, and whatever lies outside the small grammar is a clear error. Listen with it on
//! loopback only.

pub mod engine;
pub mod front;
