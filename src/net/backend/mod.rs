//! The database servers: which there are, how they are, and which one the next client gets.
//!
//! ```text
//! choose   the best of them, from what is known (pure)
//! connect  one address: a connection, up to its greeting
//! health   is an address up? TiDB's status port
//! pool     all addresses, kept up to date by clients, checks and reloads
//! ```

mod choose;
mod connect;
mod health;
mod pool;

pub use health::Health;
pub use pool::{Connected, Pool, Report, Seat, Unreachable};
