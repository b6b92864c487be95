//! Running txguard.
//!
//! # Start and stop
//!
//! `txguard serve --config FILE` ends with code 0 after SIGTERM or SIGINT, 2 for a mistake in the
//! configuration, 3 for an address that can't be listened on. An unreachable backend is not fatal:
//! clients get error 17001 and `/readyz` says why.
//!
//! A signal, step by step: `/readyz` says 503 at once; for `drain_delay` clients are still
//! accepted, so that a load balancer has time to notice; then the listener is closed, idle clients
//! are closed, and open transactions may finish for up to `drain_timeout`. A second signal ends at
//! once. The exit code is 1 if clients were cut off, in either way.
//!
//! # Several backends
//!
//! A new client goes to the address with the fewest connections among those that are up; equal
//! ones take turns. Where one does not accept it, closes before its greeting, or has an error in
//! place of a greeting (too many connections), the next best is tried, each once. If none greets,
//! the client gets what one of them said, or error 17001.
//!
//! Clients tell which addresses are up. One that is down is tried every second, then less often,
//! up to every 8 seconds; one that is up is never probed by a connection, which MySQL and MariaDB
//! would count as an attack (`max_connect_errors`). With `status_port`, TiDB is asked every second
//! whether it is shutting down (its `/status` answers 500 then): it gets no new clients as long as
//! another one is up. TiDB needs `graceful-wait-before-shutdown` for that to have an effect.
//!
//! To take a server out, put its address into `drain` and reload: no new clients, idle sessions are
//! closed, open transactions finish. Taking it out of `addresses` does the same. What a session
//! does that txguard does not understand has no known end: such sessions stay.
//!
//! # Changing the configuration
//!
//! Policies, limits, backends, TLS and `enabled` follow the file: on SIGHUP, and within two seconds
//! of a change, also of a certificate that it names. They are replaced together, or all kept: a
//! file with a mistake changes nothing, the log says why, and `txguard_config_rejected` is 1 until
//! it is mended. A transaction keeps the plan of its BEGIN, a connection the limits and the TLS
//! under which it was accepted. The addresses of `[listen]`, the service account,
//! `[tso]`, `[log]`, `[receipts]` and `statement_shapes` need a restart, and the log names them.
//!
//! # File descriptors
//!
//! Each client takes two. `serve` raises its limit to what the system allows (`ulimit -Hn`), and
//! warns if that is too low for `[limits] clients`.
//!
//! # What to watch
//!
//! - `txguard_transactions_total{outcome}`: `conflict` are conflicts that reached a client,
//!   `unknown` are commits whose answer was lost.
//! - `txguard_replays_total{outcome,code}`: `succeeded` against `mismatch` and `exhausted` tells
//!   what the policy earns.
//! - `txguard_unguarded_total{reason}`: why transactions could not be replayed.
//! - `txguard_replays_waiting`, `txguard_replay_wait_seconds`: replays that wait for others that
//!   lost on the same row; `txguard_retry_tokens`, `txguard_replay_circuits_open`: see below.
//! - `txguard_backend_up{backend}` and `txguard_backend_connections{backend}`: where clients are.
//! - `txguard_receipts_resolved_total{fate}`: COMMITs without an answer, and what became of them;
//!   `txguard_receipts_pending` those that are still being found out.
//! - `txguard_receipts_ready`, `txguard_receipts_oldest_seconds`: the tables of commit receipts.
//! - `txguard_log_dropped_total`: log lines that the writer could not keep up with. The log never
//!   slows the relay.
//!
//! # When many want the same row
//!
//! Replays that lose a second time on the same row or index entry (TiDB's 9007 names it) go one at a
//! time, in order of arrival, and wait at most for the policy's `budget`. Nothing is open in the database
//! meanwhile. Where TiDB doesn't name the row (`tidb_redact_log`, a deadlock, MariaDB) only the
//! policy's pauses spread them, and a storm on one row can use the tokens up. Two limits keep replays
//! from making things worse; beyond them a conflict reaches the client as without txguard:
//!
//! - `[limits] retry_tokens`: a replay in vain costs one, a commit gives one back. Outcome
//!   `throttled` of `txguard_replays_total`.
//! - `[limits] retry_failures`, `retry_pause`: where that many replays were in vain one after the
//!   other on the same row, none is begun there for a while. Outcome `circuit_open`. Applications
//!   that write what they have read do that: `UPDATE … SET v = v + 1` can be run again, `SET v = 8`
//!   behind a `SELECT` mostly can't.
//!
//! # Without a retry
//!
//! A client that would rather see its conflicts says so:
//!
//! - for a transaction: `/*retry='off'*/` before its BEGIN, or before any statement of it sent as
//!   text, from there on;
//! - for a session: `SET @txguard_retry = 'off'`, alone and as text, until it is set to something
//!   else or the connection is reset;
//! - for a user or a schema: a policy without `retry`. What a transaction will do isn't known at its
//!   BEGIN, so policies don't match statements; give the statement the comment.
//!
//! Such transactions are counted as `txguard_unguarded_total{reason="declined"}`.
//!
//! # Timestamps from PD
//!
//! With `[tso] pd = ["pd-0:2379", …]` the hints in tags, records and traces are timestamps of PD, and
//! never later than the start_ts of a transaction that writes. One is fetched every 100 ms in the
//! background, so BEGIN never waits; transactions in between share it. Until the first answer there
//! are no hints. A cluster with TLS needs `tls_ca`, and mostly `tls_certificate` and `tls_key` too; these
//! files are read at the start only.
//!
//! All addresses must belong to one cluster, which is checked when it starts: if two of them answer
//! with different cluster ids, none is followed. The leader is followed wherever it goes. Its timestamps
//! only grow; an answer that doesn't is refused, so a PD that was set back gives no hints until it has
//! caught up.
//!
//! That PD is the backends' own is checked with `[backend] service_user`, before the first hint and then
//! every 15 s: the start_ts of a transaction must lie between two timestamps of PD, and the id of the
//! cluster be the same, where TiDB tells it (from 8.5.6 on, to an account with SELECT on
//! `mysql.tidb`). Otherwise there are no hints until it is right; the log says which backend it is. A PD of
//! another cluster whose clock agrees to the millisecond is only found by the id. Without the
//! account nothing is checked.
//!
//! When PD has not answered for 3 s the log says that it is lost, and later that it is back; hints
//! stay at the last timestamp meanwhile, and everything else goes on, `/readyz` included.
//!
//! - `txguard_tso_unavailable_seconds`: how long it has not answered; 0 while it does.
//! - `txguard_tso_wait_seconds`, `txguard_tso_rpc_seconds`: what a timestamp takes for who waits, and
//!   a request.
//! - `txguard_tso_foreign_backends`: backends that are surely another PD's; must be 0.
//! - `txguard_tso_drift_seconds{against}`: how far PD's clock is ahead of this machine's (`local`) and
//!   of the backend that differs most (`backend`, every 15 s, needs `[backend] service_user`). The
//!   way there and the 50 ms between two updates of PD's clock are taken off: what is shown is sure.
//!   The log says when it is more than `drift_warn`, and when it is at most half of that again. Where
//!   it isn't known, as while PD doesn't answer, there is no such series.
//!
//! # KILL with several backends
//!
//! A client may land on another backend than the connection that it wants to kill. Nodes of one
//! TiDB cluster route a KILL themselves. For other servers give txguard an account on each of
//! them that may kill, and nothing else:
//!
//! ```sql
//! CREATE USER 'txguard'@'%' IDENTIFIED BY '…';
//! GRANT PROCESS, CONNECTION_ADMIN ON *.* TO 'txguard'@'%';    -- MariaDB: CONNECTION ADMIN
//! ```
//!
//! and name it in `[backend] service_user`. It is used for connections of the user who asks, for
//! one statement at a time, and only if the client's own backend has no connection of that id.
//! Without it such a KILL is answered by error 17010. TLS is used as `require` and `verify` say; a
//! header of the PROXY protocol is not sent.
//!
//! # Commit receipts
//!
//! For policies with `receipt = true` txguard keeps tables in the schema `txguard`. Give it an account
//! of its own, name that in `[backend] service_user`, and let it install them:
//!
//! ```text
//! txguard schema print --config FILE               the SQL of the tables and the account's GRANTs
//! txguard schema install --config FILE             creates them, or brings them up to date
//! txguard schema check --config FILE               exit code 0 right, 1 missing or another, 2 not asked
//! txguard schema print --for USER --config FILE    GRANTs for an application's account
//! ```
//!
//! The account needs SELECT, INSERT, UPDATE and DELETE on `txguard.*`; CREATE, ALTER and INDEX only
//! where it installs the tables itself. An application's account needs INSERT on `receipts` and
//! `idempotency_keys` and nothing else: it can't read or change what others wrote. It could write
//! rows that mean nothing, since ids can't be guessed before they are used.
//!
//! `serve` looks at the tables when it starts and from time to time. While they are missing or of
//! another version it says so once, `txguard_receipts_ready` is 0, and transactions run without
//! receipts; with `[receipts] migrate = true` it installs them itself. Rows are removed
//! `[receipts] retention` after the BEGIN of their transaction; `txguard_receipts_oldest_seconds`
//! shows that this goes on.
//!
//! `txguard check-transaction ID --config FILE` says what became of a transaction: `OK` with start_ts,
//! commit_ts and attempts, `NOT COMMITTED`, or `UNKNOWN` and why. The start_ts is known where the
//! policy has `tso = "exact"`. The commit_ts is the first timestamp at which TiDB shows the receipt,
//! so it is found as long as TiDB keeps that history (`tidb_gc_life_time`). A start_ts may stand in
//! place of the id; then receipts of about a day are looked through.
//!
//! Receipts are as durable as the server is told to be: an InnoDB with
//! `innodb_flush_log_at_trx_commit = 0` forgets a COMMIT that it has acknowledged, and its receipt
//! with it. On MariaDB, where BEGIN and COMMIT keep them, SHOW WARNINGS, `@@warning_count` and
//! FOUND_ROWS() are cleared by a receipt and by the question for the right. On TiDB receipts are
//! unproven for async commit and 1PC until they have been run on TiKV: the tests' TiDB has neither.
//!
//! # Behind a load balancer
//!
//! Each connection that is accepted opens one to a backend. A balancer that checks the MySQL port
//! by connecting and leaving makes MySQL and MariaDB count errors of txguard's host, and block it
//! in the end (`max_connect_errors`): let it ask `/readyz`.
//!
//! # Log
//!
//! Lines go to standard error, as text or JSON. A transaction's record is a line of target
//! `txguard::transaction` with its id, outcome, attempts, reason, timestamps. `notable` (the
//! default) writes those that were replayed, refused, unguarded, unknown, failed, or slower than a
//! second. No statement text, literal or secret appears in any line.
//!
//! # Measuring the cost
//!
//! `txguard bench --target direct=HOST:PORT --target txguard=HOST:PORT` compares ways to the same
//! database; any other proxy can be a target, too. To read its numbers:
//!
//! - Name the same address twice first (A/A). Where the interval of their ratio doesn't hold 1, or is
//!   wide, the machine is too busy, or rounds are too few or too short.
//! - The ratio, not the milliseconds, carries over to another day: turns lie side by side.
//! - A closed loop tells the throughput; what users feel at a given load is told by `--rate`, well
//!   below that throughput. "Unfinished" operations mean that the target can't keep the rate up.
//! - The load generator needs CPU itself. At a fixed rate it says if it was late; run it on a machine
//!   of its own where that matters.
//! - Through `--pid` the CPU time of a target's process is counted during its turns, to 10 ms: turns
//!   of a second or more.
//! - Nothing else may use a target's process meanwhile, and only one run a schema. Where a run is
//!   killed its schema stays, and the next run replaces it.
//!
//! # Taking it out
//!
//! Point the application back at TiDB. txguard keeps no files; the only tables are those of commit
//! receipts, which `DROP DATABASE txguard` removes. What changes is that conflicts reach the
//! application again.
