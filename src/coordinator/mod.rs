//! Floor 6: what must outlive a client.

pub mod resolver;
