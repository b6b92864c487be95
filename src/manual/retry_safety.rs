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
//!    the same connection, so they are equal as long as nothing in the transaction changes them,
//!    or what it changes is put back first. Where neither holds the transaction is not guarded.
//!
//! # What is put back
//!
//! ROLLBACK takes rows back, not the session. A transaction may change the schema in use (USE,
//! COM_INIT_DB) if txguard knows the one at BEGIN: from the login, or from a USE that it has seen
//! succeed, not behind texts that may hide another one. A replay goes back to it before BEGIN and
//! runs each USE in its place.
//!
//! It may also SET user variables and the session variables of `sql::SESSION_VARIABLES`, to values
//! that are written out. Right before the first SET of a variable txguard sends one of its own that
//! keeps the value in `@__txguard_0` and so on; a transaction without SET costs nothing. A replay
//! puts the values back before BEGIN and runs each SET in its place. So a statement may read user
//! variables, if no trigger can have set them: on servers other than TiDB, a transaction that reads
//! one doesn't write. A user variable that had never been set is NULL afterwards, and MariaDB types
//! the two differently: if the client has looked at it the replay is refused.
//!
//! LAST_INSERT_ID() without an argument is the one from before BEGIN as long as no answer has told
//! of a generated id (2905 statements of all kinds on TiDB v7.5 and MariaDB 10.11 agree), except
//! behind an INSERT that fails, by a conflict too, or that is answered by rows (RETURNING): its id may
//! stay without a word, and nothing puts it back.
//!
//! An id that an INSERT has generated is given again (TiDB only): a replay writes it into the
//! statement, `INSERT INTO t (v, id) VALUES (1, LAST_INSERT_ID(7))`, so that the answer, the row and
//! LAST_INSERT_ID() are those of the first run. Which column generates ids the server is asked
//! before BEGIN, by preparing `SELECT * FROM t`, for which the user needs SELECT. The statement must
//! have a list of columns and its rows written out, in text or prepared. What can't be given again
//! (NULL in a column that is named, AUTO_RANDOM of several rows) makes the answers differ. A
//! statement that reads LAST_INSERT_ID() must come behind the first INSERT that generates an id.
//!
//! If the replay is given up, the session is brought to where the first run left it, which is what
//! the client believes in; if even that fails (somebody has dropped the schema), the client gets
//! its error and the connection is closed.
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
//! Each reason is a label of `txguard_unguarded_total` and stands in the transaction's record; the
//! first one counts. An unguarded transaction behaves as without a proxy. `txguard explain` says
//! beforehand which reasons a file of statements would meet.
//!
//! | reason | what is in the way | what to do |
//! |---|---|---|
//! | `begin_not_seen` | The transaction was open before txguard saw it begin. | Send BEGIN in a packet of its own. |
//! | `chained` | COMMIT AND CHAIN opened it, without a BEGIN that could be sent again. | Send COMMIT, then BEGIN. |
//! | `charset` | The client's character set can hide quotes from a lexer. | Connect with utf8mb4. |
//! | `command` | A command that is no statement changed or read the session, or failed. | Send such commands (COM_FIELD_LIST, COM_STMT_FETCH …) outside of transactions. |
//! | `commit_failed` | COMMIT was answered by an error, and the transaction may still be open. | |
//! | `cursor` | A cursor was opened. | Fetch whole results (Connector/J: useCursorFetch=false). |
//! | `declined` | The client wants no retry: retry='off' in a comment, or @txguard_retry. | |
//! | `generated_id` | The answer carried a generated id that a replay can't give again (MariaDB; or no plain INSERT). | On TiDB, write INSERT INTO t (columns) VALUES (…); elsewhere use keys that the application makes. |
//! | `local_infile` | LOCAL INFILE: the client's file is gone when it is run again. | |
//! | `journal_process` | The journals of all transactions together are at their limit. | Raise `[limits] journal_total`. |
//! | `journal_transaction` | The statements of the transaction are longer than its journal. | Raise `[limits] journal_per_transaction`, or commit more often. |
//! | `long_data` | Parameters were sent in pieces (COM_STMT_SEND_LONG_DATA). | Bind values instead of streams. |
//! | `one_shot_characteristics` | SET TRANSACTION, or a text that may hold one, stands before BEGIN and works once. | Use SET SESSION TRANSACTION, or say it in START TRANSACTION. |
//! | `parameter_types` | Parameter types bound before the transaction were bound anew inside it. | Prepare the statement anew, or keep the types of its parameters. |
//! | `prepared_open` | Prepared statements were closed and used again, or too many were closed. | Close prepared statements after the transaction. |
//! | `statement_unknown` | A prepared statement that txguard did not see being prepared. | |
//! | `call` | What a stored procedure does can't be seen. | Send its statements one by one. |
//! | `conditional_comment` | A comment that some servers execute: /*! … */, /*T! … */, /*M! … */. | Write the statement out; hints (/*+ … */) may stay. |
//! | `ddl` | A schema change commits on its way. | Change the schema outside of transactions. |
//! | `explain` | EXPLAIN shows plans, which change. | Send it outside of transactions. |
//! | `found_rows` | FOUND_ROWS() and SQL_CALC_FOUND_ROWS tell of the statement before. | Use SELECT COUNT(*). |
//! | `last_insert_id` | LAST_INSERT_ID(x) changes the session; LAST_INSERT_ID() can't be trusted beside an INSERT that failed or gave rows, nor ahead of one that generates an id. | Take the id from the answer to the INSERT, and send it as a value. |
//! | `load_data` | LOAD DATA reads what may be gone. | Load outside of transactions. |
//! | `lock_function` | Locks by function (GET_LOCK() …) outlive the transaction. | Take them outside, or lock a row with SELECT … FOR UPDATE. |
//! | `lock_tables` | LOCK TABLES and UNLOCK TABLES commit. | Lock rows with SELECT … FOR UPDATE. |
//! | `multi_statement` | Several statements in one packet. | Send them one by one (switch allowMultiQueries, multiStatements off). |
//! | `other_statement` | A statement that isn't on the known-safe list. | Send it outside. |
//! | `prepare_text` | PREPARE, EXECUTE and DEALLOCATE as text hide what is run. | Use the driver's prepared statements. |
//! | `row_count` | ROW_COUNT() tells of the statement before. | Take the number of rows from the answer. |
//! | `schema_change` | USE, where the schema in use before it isn't known, so that nothing can go back to it. | Name a schema at login, or send USE outside of transactions. |
//! | `select_into` | SELECT … INTO writes a variable or a file. | Fetch the value, and send it as a value. |
//! | `sequence` | A sequence never gives the same value twice. | Fetch it before BEGIN, and send it as a value. |
//! | `session_variable` | It reads the state of the session: @@x, DATABASE(), a SET_VAR hint … | Read it before BEGIN. |
//! | `set` | SET of something that can't be put back, or to a value that isn't written out. | Send it before BEGIN. |
//! | `show` | SHOW tells what may change. | Send it outside of transactions. |
//! | `sleep` | SLEEP() and BENCHMARK() take their time again. | |
//! | `system_table` | It reads tables that show the state of sessions and servers. | Read them outside of transactions. |
//! | `temporary_table` | A temporary table outlives the transaction. | Make and drop it outside of transactions. |
//! | `too_large` | It is longer or nested deeper than what is parsed (64 KiB). | Send fewer rows in a statement, or bind long values as parameters. |
//! | `tso_visible` | It reads the transaction's own timestamp. | |
//! | `unknown_function` | It calls a function that isn't on the known-safe list, maybe a stored one. | Compute the value in the application. |
//! | `unparsable` | The parser doesn't understand it. | Check its syntax; with ANSI_QUOTES, write strings in single quotes. |
//! | `user_variable` | A query assigns a user variable (@x := …), or reads one that a trigger may set (not on TiDB). | Keep the value in the application. |
//!
//! # The pitfalls, and where each is shown
//!
//! What is known to go wrong with transparent replays, by number: the test that shows it doesn't,
//! or the decision. Cases of `tests/pitfalls` run on TiDB v7.5 and MariaDB 10.11, each left alone,
//! replayed and given up, beside a direct connection.
//!
//! | number | pitfall | shown by |
//! |---|---|---|
//! | R1 | only the writes are run again | `tests/scripted/mismatch.rs::canary_a_rule_that_repeats_only_writes`, `tests/load/broken.rs` |
//! | R2 | what "equal" covers | `tests/scripted/mismatch.rs::fn different` |
//! | R3 | rows come in another order | `tests/pitfalls/values.rs` |
//! | R4 | sums of floats | `tests/pitfalls/values.rs`, compared to the last bit |
//! | R5 | what a mismatch does | `tests/scripted/mismatch.rs::any_difference_gives_the_original_error` |
//! | R6 | the client has a part of a result | D-034 |
//! | R7 | the answer to COMMIT is lost | `tests/scripted/gone.rs::behind_every_commit_point_the_outcome_is_unknown` |
//! | R8 | an ordinary error hides a commit | `tests/scripted/never.rs::an_error_at_commit_that_does_not_prove_a_conflict_passes` |
//! | R9 | an autocommit write is sent twice | `tests/scripted/never.rs::autocommit_statements_are_never_sent_twice` |
//! | R10 | TiDB has retried it already | `tests/scripted/never.rs::autocommit_statements_are_never_sent_twice` |
//! | R11 | one statement is retried | `tests/scripted/pipeline.rs::nothing_autocommits_behind_a_deadlock` |
//! | R12 | the clock | `tests/pitfalls/values.rs`; pinning: D-030 |
//! | R13 | chance | `tests/pitfalls/values.rs`; pinning: D-030 |
//! | R14 | the transaction's own timestamp | `tests/pitfalls/values.rs` |
//! | R15 | generated ids | `tests/pitfalls/ids.rs`, `tests/pitfalls/values.rs`; D-031 |
//! | R16 | sequences | `tests/pitfalls/values.rs` |
//! | R17 | SET and USE inside | `tests/pitfalls/session.rs` |
//! | R18 | temporary tables | `tests/pitfalls/state.rs` |
//! | R19 | locks that outlive the transaction | `tests/pitfalls/state.rs` |
//! | R20 | NOWAIT, SKIP LOCKED | `tests/pitfalls/state.rs` |
//! | R21 | savepoints | `tests/pitfalls/statements.rs` |
//! | R22 | errors that end nothing | `tests/pitfalls/statements.rs` |
//! | R23 | implicit commits | `tests/pitfalls/state.rs`, `tests/scripted/never.rs::what_has_been_committed_on_the_way` |
//! | R24 | ways to begin, and the mode of the replay | `tests/pitfalls/session.rs`, `tests/scripted/replay.rs::with_autocommit_off_the_replay_begins`, `tests/scripted/never.rs::a_chained_transaction`, `tests/load/broken.rs` |
//! | R25 | hidden boundaries | `tests/pitfalls/statements.rs`, `tests/scripted/track.rs` |
//! | R26 | several statements in one packet | `tests/pitfalls/statements.rs`; D-032 |
//! | R27 | streams and long values | `tests/scripted/prepared.rs::long_data_is_not_replayed`, `tests/scripted/unguarded.rs::load_data` |
//! | R28 | prepared statements and cursors | `tests/scripted/prepared.rs::types_bound_before_the_transaction`, `tests/pitfalls/ids.rs::types_behind_a_replay` |
//! | R29 | another connection | `tests/pitfalls/session.rs`; it is the same one: D-034 |
//! | R30 | another schema of the tables | `tests/scripted/mismatch.rs::fn different`, `tests/scripted/replay.rs::each_conflict_code_at_commit` |
//! | R31 | nobody waits any more | `tests/scripted/gone.rs::a_client_that_leaves_during_a_replay_ends_it` |
//! | R32 | failures that overlap | `tests/scripted/replay.rs::a_conflict_of_the_replayed_commit`, `tests/scripted/random.rs` |
//! | R33 | the client's own timeout | `tests/scripted/replay.rs::when_the_time_budget_is_used_up` |
//! | R34 | retry storms | `tests/scripted/replay.rs::the_replay_waits_before_it_begins`, `tests/scripted/contention.rs`, `tests/load/hot_row.rs` |
//! | R35 | isolation levels | D-034 |
//! | R36 | read-only transactions and AS OF | D-034 |
//! | R37 | too old for the garbage collector | `tests/scripted/never.rs::an_error_at_commit_that_does_not_prove_a_conflict_passes` |
//! | R38 | memory and secrets | `tests/scripted/unguarded.rs::a_journal_beyond_its_limit_is_no_error` |
//! | R39 | diagnostics statements | `tests/pitfalls/session.rs` |
//! | R40 | statements of our own are noticed | `tests/pitfalls/session.rs`, `tests/scripted/capture.rs` |
//! | R45 | equal answers from other inputs | `tests/pitfalls/session.rs` |
//! | R46 | a pinned id that LAST_INSERT_ID() misses | `tests/pitfalls/ids.rs`, `tests/pitfalls/session.rs`, `tests/pitfalls/values.rs`, `tests/load/orders.rs`; D-031 |
//! | R47 | commands that are sent ahead | `tests/scripted/pipeline.rs::in_a_guarded_transaction_a_command_goes_out_behind` |
//! | R48 | prepared, executed and closed each time | `tests/scripted/prepared.rs::a_close_is_held_until_the_transaction_ends` |
//! | R49 | BEGIN without ROLLBACK | `tests/scripted/mismatch.rs::a_rollback_that_warns_or_fails_refuses_the_replay` |
//! | R50 | hashes that cancel out | `tests/pitfalls/values.rs`, `tests/scripted/mismatch.rs` |
//! | R51 | a SELECT of ours behind COMMIT | `tests/scripted/capture.rs` |
//! | R52 | a tag before the text | `tests/scripted/tag.rs` |
//! | R53 | what TiDB's default mode permits itself | `tests/load/read_then_write.rs` |
//! | R54 | promotion of reads | D-034 |
//!
//! # Limits of the promise
//!
//! - The promise is "as one run without a proxy at the isolation level asked for". Snapshot
//!   isolation allows write skew, with and without txguard.
//! - A trigger of MariaDB may keep state in user variables where no statement of the transaction
//!   names one; views may hide function calls. TiDB has neither triggers nor stored
//!   functions. Don't guard MariaDB users whose triggers do that.
//! - A view that calls LAST_INSERT_ID() isn't seen to: ahead of the first generated id of its
//!   transaction, a replay at TiDB reads the last id of the first run there, not the one from before
//!   BEGIN. Don't guard users that write what such a view gives.
//! - Answers to commands that are not recorded (COM_STMT_PREPARE, COM_PING) are not asked for
//!   again; an error among them switches the guard off.
//! - Behind a replay that was refused, `SHOW WARNINGS` is empty where TiDB would show the conflict.
//!   The error itself is the original one.
//! - LAST_INSERT_ID(), FOUND_ROWS() and ROW_COUNT() behind a replay that was refused may tell of the
//!   replay.
//! - `tag = "alias"` takes `@@tidb_session_alias` for itself; an application that sets its own
//!   should be tagged by comment.
//! - Timing is not an answer: `NOWAIT`, `SKIP LOCKED` and timeouts are compared by what they
//!   returned.
