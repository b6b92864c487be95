//! Floor 6: what is looked at from time to time, beside all clients.
//!
//! ```text
//! drift   PD's clock against the local one and those of the backends
//! ```

pub mod drift;
