//! When is a retry safe?
//!
//! # The argument
//!
//! A transaction that TiDB refuses with a write conflict has changed nothing. Running it again is
//! a new transaction, and the only question is whether the application would have done the same
//! things in it. The application saw the first run's answers, and decided by them what to send
//! next and with which values. If a second run gives the same answers to the same requests, an
//! application that had talked to the second run from the start would have sent exactly these
//! requests. So the second run *is* a run without a proxy, and its COMMIT may be acknowledged.
//!
//! Two things are needed for "the same answers to the same requests" to mean that:
//!
//! 1. *Every* request is sent again and *every* answer is compared, reads included. A retry of the
//!    writes alone (TiDB's own, until it was removed) overwrites what the application computed
//!    from a read that is no longer true.
//! 2. The inputs that don't show in the requests are equal: the schema in use, session and user
//!    variables, LAST_INSERT_ID, prepared statements and their parameter types. The replay runs on
//!    the same connection, so they are equal as long as nothing in the transaction changes them.
//!    A transaction that does is not guarded.
//!
//! # The mode stays
//!
//! A replay runs in the mode of the first run. It is tempting to answer repeated conflicts by
//! `BEGIN PESSIMISTIC`, and it is wrong: the replayed SELECT reads a snapshot and may match,
//! another transaction commits, and the replayed `UPDATE … SET c = <value computed by the
//! application>` waits for the lock, reads the current version and overwrites that commit. In
//! optimistic mode the same update would have been refused. `tests/it` keeps such a rule and shows
//! that it loses updates.
//!
//! # What is retried
//!
//! Only errors that prove an abort: at a commit point 9007, 8005, 8022, 8028, 8002 (TiDB) and
//! 1213, 1020 (InnoDB); inside a transaction 1213 and 1020, after which the whole transaction is
//! gone. Everything else is the application's to see. A COMMIT whose answer is lost, or is one of
//! the codes that may hide a commit (1105, 9001 to 9005, 9008, 9010, 9011), is never run again.
//!
//! # What equal means
//!
//! Column definitions, rows, affected rows, insert id, warnings count, information text, and the
//! flags that speak of the transaction; of errors, code, SQLSTATE and text. Rows are compared in
//! order if the statement has ORDER BY or LIMIT, else as a multiset, because TiDB returns unordered
//! rows in varying order. Functions of clock and chance (`NOW()`, `UUID()`, `RAND()`) need no rule
//! of their own: where the client saw their value the answers differ and the replay is refused;
//! where it did not, the second run's value is as good as the first.
//!
//! # What is not guarded
//!
//! Each reason is a label of `txguard_unguarded_total` and stands in the transaction's record.
//! Among them: statements that are not on the known-safe list or don't parse, session and user
//! variables, generated ids, several statements in one packet, cursors, parameters sent in pieces,
//! LOCAL INFILE, DDL, temporary tables, locks by function, a journal beyond its limit. An unguarded
//! transaction behaves as without a proxy.
//!
//! # Limits of the promise
//!
//! - The promise is "as one run without a proxy at the isolation level asked for". Snapshot
//!   isolation allows write skew, with and without txguard.
//! - A trigger or a stored function of MariaDB may keep state in user variables where no
//!   statement names it; views may hide function calls. TiDB has neither triggers nor stored
//!   functions. Don't guard MariaDB users whose triggers do that.
//! - Answers to commands that are not recorded (COM_STMT_PREPARE, COM_PING) are not asked for
//!   again; an error among them switches the guard off.
//! - Behind a replay that was refused, `SHOW WARNINGS` is empty where TiDB would show the conflict.
//!   The error itself is the original one.
//! - `tag = "alias"` takes `@@tidb_session_alias` for itself; an application that sets its own
//!   should be tagged by comment.
//! - Timing is not an answer: `NOWAIT`, `SKIP LOCKED` and timeouts are compared by what they
//!   returned.
