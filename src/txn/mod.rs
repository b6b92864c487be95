//! Floor 4, pure: what a transaction is to txguard, and when it may be run again.
//!
//! ```text
//! contention   who may replay, and when: queues, tokens, circuits
//! digest       what a transaction has said, in 16 bytes
//! effect       what a text means to the transaction in which it stands, and to later ones
//! explain      what would become of the transactions in a text
//! guard        may this transaction still be replayed, and if not, why
//! journal      its requests and the fingerprints of its answers, bounded
//! fingerprint  what makes two answers equal
//! replay       what to send again, what to accept, how often to try
//! restore      what a transaction changes in its session, and how that is taken back
//! reason       why a transaction is not replayed, in words
//! record       what is told about a transaction when it has ended
//! ```
//!
//! A replay is accepted only if every answer that the client has seen comes out equal, from equal
//! inputs. Whatever could make inputs differ (see [`guard`]) switches the guard off for that
//! transaction: it then behaves as if there were no proxy.

pub mod contention;
pub mod digest;
pub mod effect;
pub mod explain;
pub mod fingerprint;
pub mod guard;
pub mod journal;
pub mod reason;
pub mod record;
pub mod replay;
pub mod restore;
