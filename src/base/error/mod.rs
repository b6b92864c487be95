//! The one table of error codes: what txguard says itself, and what it knows of the backend's
//! codes.
//!
//! An error that the server itself would raise is relayed as it is; txguard speaks only where
//! there is no server to speak, and every such text begins with `txguard:`.

mod backend;
mod own;

pub use backend::{CommitError, StatementError, code};
pub use own::{ALL, Own, Row};
