//! Floor 3: sockets. The relay, and how a backend connection and a listener are opened.
//!
//! ```text
//! lane     the buffer of one direction: written | released | pending
//! relay    THE hot path: both directions of one client, decisions left to a Tap
//! backend  connecting
//! listen   listening
//! ```

pub mod backend;
pub mod lane;
pub mod listen;
pub mod relay;
