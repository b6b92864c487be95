//! Prose: what was decided and why, when a retry is safe, what the wire taught, how to operate.
//!
//! - [`decisions`]: numbered and dated, with the options that were rejected.
//! - [`retry_safety`]: the argument behind verified replay, and its limits.
//! - [`protocol`]: facts of the protocol and of TiDB that the code relies on.
//! - [`operations`]: running txguard, taking it out again.

pub mod decisions;
pub mod operations;
pub mod protocol;
pub mod retry_safety;
