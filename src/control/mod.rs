//! Floor 8: how txguard itself is watched.

pub mod http;
