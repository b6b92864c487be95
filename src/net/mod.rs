//! Floor 3: sockets. The relay, and how a backend connection and a listener are opened.
//!
//! ```text
//! lane     the buffer of one direction: written | released | pending
//! relay    THE hot path: both directions of one client, decisions left to a Tap
//! backend  the database servers: choosing, connecting, health
//! legs     how both legs of a connection are dressed
//! listen   listening
//! pd       PD: timestamps of a TiDB cluster
//! origin   who a client is, by the PROXY protocol
//! stream   one leg: a socket, TLS around it, compression within
//! tls      certificates
//! ```

pub mod backend;
pub mod lane;
pub mod legs;
pub mod listen;
pub mod origin;
pub mod pd;
pub mod relay;
pub mod stream;
pub mod tls;
