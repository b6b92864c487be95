//! txguard: a transparent MySQL-protocol transaction proxy between applications and TiDB.
//!
//! Applications keep driver, ORM and SQL and point at txguard. Every transaction gets an
//! identity, its timestamps, and a verified replay when TiDB's optimistic concurrency control
//! refuses it. This page is the map of the house; [`manual`] holds the prose.
//!
//! # Rooms, by floor
//!
//! A room imports only from floors below its own, never from its own floor; `tests/layers.rs`
//! enforces that. Rooms marked *pure* name no socket, file, clock, task or metrics registry:
//! bytes and values go in, bytes and decisions come out.
//!
//! | floor | room | what it owns |
//! |---|---|---|
//! | 9 | `app` | the only constructor of concrete types, the accept loop, the command line |
//! | 8 | `control` | HTTP: metrics and health |
//! | 7 | `session` | one client: the step loop, one file per verb |
//! | 6 | `coordinator` | what outlives a client: the resolver of commit receipts |
//! | 6 | `inspect` | what is looked at from time to time: the drift of clocks |
//! | 5 | `store` | txguard's own account at the backends; one file per table of its schema |
//! | 4 | `txn` *pure* | phase, journal, fingerprint, guard, replay rule |
//! | 3 | `policy` *pure* | policy rules compiled to a plan |
//! | 3 | `net` | the relay (the hot path), backend connections, the listener |
//! | 3 | `embedded` | the built-in backend: a small engine (*pure*) and its protocol front |
//! | 3 | `load` | workloads for demo and benchmark |
//! | 2 | `sql` *pure* | scan, classify, shape, tag |
//! | 2 | `wire` *pure* | MySQL packets, one file each; frames; response tracking |
//! | 2 | `tso` *pure* | timestamps, where they come from, drift |
//! | 1 | `base` | identifiers, the error table, clock, tasks, configuration, metrics |
//!
//! # Life of a statement
//!
//! ```text
//! client ─bytes─▶ net::relay ─frame─▶ session::request ─▶ sql::scan ─▶ txn::guard: relay, tag,
//!                     │                                               journal, hold
//! client ◀─bytes─ net::relay ◀─frame─ session::reply ◀─ wire::response ◀─ backend
//!                                         └─ conflict? session::replay: ROLLBACK, the journal
//!                                            again, every answer compared
//! ```
//!
//! # Glossary
//!
//! - *client / proxy / backend*: the application's connection, txguard, the database server.
//! - *command*: a `COM_*` request. *statement*: the SQL in it. *packet*: one logical protocol
//!   message; *frame*: its physical piece of at most 16 MiB.
//! - *relay*: bytes pass unchanged. *tag*: the comment put before a statement.
//! - *guarded*: the transaction can be replayed. *journal*: its requests and the fingerprints of
//!   the answers, in memory, gone at its end.
//! - *replay*: the whole journal is run again and accepted only if every answer comes out equal.
//! - *commit point*: a command that ends a transaction by committing it.
//! - *receipt*: a row that a transaction writes with its COMMIT; it says afterwards that it happened.
//! - *start_ts, commit_ts, TSO*: TiDB's timestamps; see `tso`.

pub mod manual;

// Floor 1
pub mod base;

// Floor 2
pub mod sql;
pub mod tso;
pub mod wire;

// Floor 3
#[cfg(feature = "demo")]
pub mod embedded;
#[cfg(feature = "demo")]
pub mod load;
pub mod net;
pub mod policy;

// Floor 4
pub mod txn;

// Floor 5
pub mod store;

// Floor 6
pub mod coordinator;
pub mod inspect;

// Floor 7
pub mod session;

// Floor 8
pub mod control;

// Floor 9
pub mod app;
