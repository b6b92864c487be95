//! Floor 6: what is looked at from time to time, beside all clients.
//!
//! ```text
//! drift      PD's clock against that of this machine
//! backends   PD against the backends: their clocks, and whether their timestamps are its own
//! ```
//!
//! Of a drift only what is sure is shown (`tso::Offset`). txguard decides nothing by these clocks; a
//! drift is told because TiDB's stale reads, TTLs and lock times suffer from it.

pub mod backends;
pub mod drift;
