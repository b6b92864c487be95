//! Scripted wire dialogues: a client and a server that say exactly what the test says, and a
//! session between them. No socket, no database, and time stands still until nothing else can
//! happen, so a wait that is never answered fails at once instead of hanging.

mod bad;
mod capture;
#[allow(dead_code, reason = "the tests of real servers use the rest")]
#[path = "../support/certificates.rs"]
mod certificates;
mod client;
mod contention;
#[allow(dead_code, reason = "other tests use the rest")]
#[path = "../support/dice.rs"]
mod dice;
mod explain;
mod gone;
mod harness;
mod inputs;
mod key;
mod kill;
mod legs;
mod limit;
mod local;
mod login;
mod mismatch;
mod never;
mod observe;
mod oracle;
mod pipeline;
mod prepared;
mod random;
mod receipt;
mod relay;
mod replay;
mod server;
mod session;
mod statement;
mod tag;
mod track;
mod unguarded;
mod words;
