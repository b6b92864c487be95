//! Floor 1: words that every room uses. No room below this one.

pub mod clock;
pub mod config;
pub mod error;
pub mod metrics;
pub mod tasks;
pub mod types;
