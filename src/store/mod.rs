//! Floor 5: txguard's own account at the backends.

pub mod service;
