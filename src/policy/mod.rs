//! Policy rules compiled to plans: which transaction gets what.
//!
//! Pure. `base::config` holds what the file says; this room turns it into a [`Snapshot`] that
//! answers one question fast: user and schema in, [`Plan`] out. A snapshot never changes; a reload
//! compiles a new one with the next generation, and transactions that run keep their plan.
//!
//! Cost: finding a plan takes one hash lookup per kind of user pattern that fits the user (exact
//! name, everyone, each glob), whatever the number of policies; only globs are tried one by one.

mod plan;
mod schemas;
mod snapshot;

pub use plan::{Backoff, Plan, Retry, Tag, TagKeys, TsoMode};
pub use snapshot::{Snapshot, UserPolicies};
