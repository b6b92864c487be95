//! Floor 6: what must outlive a client.
//!
//! ```text
//! resolver    what became of a transaction whose COMMIT was not answered
//! purge       removes what is older than the retention
//! commit_ts   when a transaction has committed, from its receipt
//! ```

pub mod commit_ts;
pub mod purge;
pub mod resolver;
