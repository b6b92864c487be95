//! Floor 5: txguard's own account at the backends, and the tables of the schema `txguard`: one file
//! per table, with its SQL and the types of its rows.
//!
//! ```text
//! schema       the schema as a whole: its version, how it is made, what it must look like
//! service      the account: connections, one statement or several under one limit
//! receipts     one row for each attempt of a transaction: committed, or never to be
//! idempotency  one row for each idempotency key that a committed transaction used up
//! ```
//!
//! Statements are texts in ASCII with numbers and hexadecimal literals only: they mean the same
//! under every `sql_mode` and character set, because some of them run in a client's session.

pub mod idempotency;
pub mod receipts;
pub mod schema;
pub mod service;

use std::fmt::Write;

/// `X'…'`.
fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2 + 3);
    text.push_str("X'");
    for byte in bytes {
        let _ = write!(text, "{byte:02X}");
    }
    text.push('\'');
    text
}
