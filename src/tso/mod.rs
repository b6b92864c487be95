//! Floor 2, pure: TiDB timestamps: who makes them, and what can be told from them.
//!
//! ```text
//! local    made from the local clock, in TiDB's format
//! batch    what PD answers: several timestamps at once, later than all before them
//! recent   the latest one of PD, where everybody can see it
//! origin   whether a backend's timestamps come from this PD
//! drift    PD's time against other clocks
//! outage   how long PD has not answered
//! ```
//!
//! A hint is a timestamp that is taken at BEGIN without waiting. One of PD was handed out before
//! the client's BEGIN is sent on, and PD hands out each one once and in order. So the start_ts that
//! TiDB fetches for the transaction is later, for a transaction that writes; one that only reads
//! may be given a timestamp of the past (`AS OF`, `tidb_snapshot`, `tidb_low_resolution_tso`). One
//! of the local clock can be off by as much as that clock.

mod batch;
mod drift;
mod local;
mod origin;
mod outage;
mod recent;

use std::time::Duration;

use crate::base::types::Tso;

pub use batch::{Backwards, BadBatch, Batch, Sequence};
pub use drift::{Alarm, Drift, Offset, Passing};
pub use local::LocalOracle;
pub use origin::{Between, Foreign, same_cluster};
pub use outage::{Outage, Turn};
pub use recent::Recent;

/// Where hints come from.
#[derive(Debug)]
pub enum Oracle {
    /// The local clock.
    Local(LocalOracle),
    /// PD, as recent as the background has it.
    Pd(Recent),
}

impl Default for Oracle {
    fn default() -> Self {
        Self::Local(LocalOracle::default())
    }
}

impl Oracle {
    /// A timestamp for a transaction that begins at `wall` (time since the Unix epoch). Never waits;
    /// `None` as long as PD has not answered for the first time, and while it isn't the backends'.
    /// Hints of PD are shared by the transactions that begin between two of its answers.
    #[must_use]
    pub fn hint(&self, wall: Duration) -> Option<Tso> {
        match self {
            Self::Local(oracle) => Some(oracle.next(wall)),
            Self::Pd(recent) => recent.get(),
        }
    }
}
