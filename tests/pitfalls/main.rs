//! The pitfalls of a transparent replay, on TiDB v7.5 and MariaDB 10.11: one file per group, the
//! numbers of `txguard::manual::retry_safety` as names of the cases.

#[path = "../support/mod.rs"]
mod support;

mod manual;
mod play;

mod ids;
mod session;
mod state;
mod statements;
mod values;
