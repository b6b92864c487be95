//! Running txguard.
//!
//! # Start and stop
//!
//! `txguard serve --config FILE` ends with code 0 after SIGTERM or SIGINT, 2 for a mistake in the
//! configuration, 3 for an address that can't be listened on. A signal stops new clients, closes
//! idle ones, and lets open transactions finish for up to ten seconds; a second signal ends at
//! once. An unreachable backend is not fatal: clients get error 17001 and `/readyz` says why.
//!
//! # Changing the configuration
//!
//! Policies and `enabled` follow the file: on SIGHUP, and within two seconds of a change. A
//! transaction keeps the plan of its BEGIN. A file with a mistake changes nothing: the log says
//! why, and `txguard_config_rejected` is 1 until it is mended. The other sections need a restart,
//! and the log names them.
//!
//! # What to watch
//!
//! - `txguard_transactions_total{outcome}`: `conflict` are conflicts that reached a client,
//!   `unknown` are commits whose answer was lost.
//! - `txguard_replays_total{outcome,code}`: `succeeded` against `mismatch` and `exhausted` tells
//!   what the policy earns.
//! - `txguard_unguarded_total{reason}`: why transactions could not be replayed.
//! - `txguard_log_dropped_total`: log lines that the writer could not keep up with. The log never
//!   slows the relay.
//!
//! # KILL with several backends
//!
//! A client may land on another backend than the connection that it wants to kill. Nodes of one
//! TiDB cluster route a KILL themselves. For other servers give txguard an account on each of
//! them that may kill, and nothing else:
//!
//! ```sql
//! CREATE USER 'txguard'@'%' IDENTIFIED BY '…';
//! GRANT CONNECTION_ADMIN ON *.* TO 'txguard'@'%';    -- MariaDB: CONNECTION ADMIN
//! ```
//!
//! and name it in `[backend] service_user`. It is used for connections of the user who asks, for
//! one statement at a time. Without it such a KILL is answered by error 17010.
//!
//! # Log
//!
//! Lines go to standard error, as text or JSON. A transaction's record is a line of target
//! `txguard::transaction` with its id, outcome, attempts, reason, timestamps. `notable` (the
//! default) writes those that were replayed, refused, unguarded, unknown, failed, or slower than a
//! second. No statement text, literal or secret appears in any line.
//!
//! # Taking it out
//!
//! Point the application back at TiDB. txguard keeps nothing: no files, and in this version no
//! tables. What changes is that conflicts reach the application again.
