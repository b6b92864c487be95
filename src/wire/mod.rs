//! Floor 2, pure: the MySQL client/server protocol as bytes and values.
//!
//! ```text
//! frame      the 4-byte header; what one physical packet is
//! command    the first byte of a client packet and the kind of reply it gets
//! packet/    one file per message that txguard reads or writes
//! response   where a reply ends, packet by packet
//! expect     the queue of replies still to come, and whose they are
//! compress   the compressed protocol: frames around all that
//! origin     the PROXY protocol's header ahead of it: whose connection this is
//! ```
//!
//! Nothing here allocates on the relay path. What can't be understood is an error value, and the
//! caller then relays without understanding; nothing here panics on bytes from outside.

pub mod capability;
pub mod command;
pub mod compress;
pub mod expect;
pub mod frame;
pub mod lenenc;
pub mod origin;
pub mod packet;
pub mod response;
pub mod status;

/// Bytes that are not what the protocol says; the text names what was expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed packet: {0}")]
pub struct Malformed(pub &'static str);
