//! Decisions, numbered and dated; code cites them as D-001 and so on.
//!
//! # D-001 The relay is one task with two lanes and a poll loop (2026-11-22)
//!
//! One task per client polls both sockets; a `Tap` looks at bytes in place and decides. Rejected:
//! a task per direction (a lock or channel between them, and no order between a held answer and
//! the command behind it); `tokio::io::copy_bidirectional` (can't hold or insert);
//! a codec with owned packets (allocates per packet).
//!
//! # D-002 One backend connection per client, opened at once (2026-11-22)
//!
//! The server's own greeting and salt are relayed, so txguard needs no password and no user table,
//! and session state is never shared. Non-goal: connection pooling.
//!
//! # D-003 Known-safe list instead of known-unsafe list (2026-11-22)
//!
//! A statement is replayable only if it parses and every function in it is on a list of functions
//! that depend on arguments, data, clock or chance alone. What is unknown switches the guard off.
//! The cost is a transaction that could have been replayed and isn't; the other way round the cost
//! is somebody's money.
//!
//! # D-004 Clock and random functions are on the list (2026-11-22)
//!
//! `NOW()`, `UUID()`, `RAND()` differ from run to run, and the comparison of answers catches that
//! wherever the client saw it. Marking them unsafe would give nothing and lose the common
//! `INSERT … VALUES (…, NOW())`.
//!
//! # D-005 A request that met a conflict is re-sent through the relay (2026-11-22)
//!
//! A replay runs the journal unseen, then sends the last request as if the client had just sent
//! it. COMMIT and a statement that met a deadlock are then one case, and a second conflict is
//! handled like the first.
//!
//! # D-006 The error given back is the first one (2026-11-22)
//!
//! Later attempts may fail with another code or text. The client gets the bytes that TiDB answered
//! first: it is what it would have seen without a proxy.
//!
//! # D-007 One-shot characteristics (2026-11-22)
//!
//! `SET TRANSACTION …` without scope holds for the next transaction only, and lies before its
//! BEGIN, so a replay would run without it. Such a transaction is not guarded; nor is one behind a
//! statement that may hide such a SET (CALL, EXECUTE of text, several statements in one packet).
//!
//! # D-008 Session tracking is relayed and not compared (2026-11-22)
//!
//! MariaDB's session state in OK packets may hold GTIDs, which differ in each run. Everything that
//! could change session state switches the guard off by other rules.
//!
//! # D-009 xxh3 with a secret seed for fingerprints (2026-11-22)
//!
//! 128 bits per answer, seeded per process. Collisions by chance are out of reach; a client that
//! wanted to prepare two answers with one hash doesn't know the seed, and would only betray its
//! own transaction.
//!
//! # D-010 No probe connections to a backend that is up (2026-11-22)
//!
//! A connection that leaves before its login counts as an error of the host at MySQL and MariaDB
//! (`max_connect_errors`), which then block txguard. What clients meet is the probe; only an
//! address that is down is tried from the side.
//!
//! # D-011 Transaction ids without a system call (2026-11-22)
//!
//! UUIDv7 with a sub-millisecond counter that never repeats in a process, and hashed noise. Asking
//! the system for random bytes at every BEGIN would be the most expensive step of it.
//!
//! # D-012 An error at a commit point is followed by a COM_PING of ours (2026-11-22)
//!
//! Most errors of COMMIT leave no transaction, but `COMMIT WORK` is a syntax error to TiDB and
//! changes nothing, and ERR packets carry no flags. Unless the code proves an abort, the flags of a
//! PING tell. It leaves warnings and diagnostics functions alone, and costs nothing where nothing
//! fails. Rejected: a list of codes that are raised before a commit begins (it would never be
//! complete).
//!
//! # D-013 Every connection is followed, also without a policy (2026-11-22)
//!
//! Flags, schema and character set must be known when a policy comes into force, and a shutdown
//! must know who is idle. Only a connection whose protocol was not understood is relayed blind.
//!
//! # D-014 `tls = "prefer"` follows the client (2026-11-22)
//!
//! Towards the backend TLS is used for a client that uses it itself. TLS for everyone the server
//! offers it to would break plain clients with `caching_sha2_password` (the client asks for the
//! server's key, the server expects the password), and TLS for nobody would let a client believe
//! in a protection that ends at txguard. `require` and `verify` are for everyone.
//!
//! # D-015 txguard decrypts no password (2026-11-22)
//!
//! With the server's part of the RSA exchange a plain client could log in to a TLS backend. The one
//! Rust crate for it has an open advisory without a fix (RUSTSEC-2023-0071, timing), and a proxy
//! that decrypts passwords is a place to steal them from. The login is refused with the remedy.
//!
//! # D-016 `dialog` counts as a password in the clear (2026-11-22)
//!
//! MariaDB's PAM accounts mostly use it to ask for the password and nothing else. It needs TLS like
//! `mysql_clear_password`.
//!
//! # D-017 A command that nobody knows is followed as long as it is refused (2026-11-22)
//!
//! Servers refuse what they don't know with one ERR and go on, so that is the one reply that is
//! understood. Such a command goes out alone: if the answer is anything else (a binlog), the
//! connection is relayed without a look from there on, and nothing of txguard's own is under way
//! then. The same holds for an empty packet.
//!
//! # D-018 Long data that TiDB may complain of is followed by a COM_PING of ours (2026-11-22)
//!
//! COM_STMT_SEND_LONG_DATA has no answer, but TiDB sends an ERR if it knows no such statement or
//! parameter. Only then, and only to TiDB, a PING goes out behind it: an ERR before its OK is the
//! complaint, and belongs where the server put it. Rejected: trusting that the ERR comes (a
//! version that doesn't send it would shift every answer by one).
//!
//! # D-019 KILL is relayed unless that would be wrong (2026-11-22)
//!
//! Clients see their backend's own connection ids, and the server knows who may kill whom, so a
//! KILL is relayed as it is: where the id was issued by the same backend, where nobody has it
//! (somebody may be connected past txguard), and where no single number names the connection
//! (`KILL USER`, `KILL QUERY ID`, an expression).
//!
//! Between two nodes of one TiDB cluster it is relayed too: with `enable-global-kill` (the default)
//! an id holds the number of its node, and TiDB routes the KILL. Two ids with different numbers
//! are of one cluster (backends are nodes of one database), as nodes that stand alone all have number 1 and ids without global kill have
//! none (a node without it reaches such ids after a million connections; then its KILL does nothing,
//! as it does without txguard). TiDB answers OK to a KILL of an id it doesn't know, so relaying in
//! doubt would look like success.
//!
//! An id that only another backend has issued is killed there by the service account, in a
//! connection of its own, and the answer is made by txguard or is that server's ERR. The account
//! may do more than the client, so it kills only connections of the same user name, which is what
//! the servers let a user do; for anyone else the answer is 1095. Rejected: a connection as the
//! user (txguard has no password), ending our own session with the victim (what it runs would go
//! on in the server until that notices). An id that several backends have issued is refused.
//!
//! # D-020 No KILL of ours to a TiDB v8.5.0 to v8.5.3 (2026-11-22)
//!
//! There a KILL or KILL QUERY of an idle connection with a written transaction can end the whole
//! server (tidb#63956), and whether a connection is idle when the KILL arrives can't be known. For
//! KILL CONNECTION txguard ends its own session with the victim: the server sees a closed connection
//! and rolls back, though a statement may run on until it notices. KILL QUERY is refused. What a
//! client says to its own backend is still relayed: without txguard it would arrive as well.
//!
//! # D-021 Replays queue for the key they lost on (2026-11-22)
//!
//! The queue begins at the first loss: a 9007 names its key, and until then nobody knows it. First
//! runs are not queued. They would have to be held from BEGIN on for a key they may never touch,
//! and whoever had the turn would hold it while its application thinks. They overtake, then: of 64
//! writers on one row about half commit in their first run, and the others wait for their turn.
//! A replay that loses again keeps its turn, and pauses as the policy says (other txguard processes
//! have queues of their own); one that loses on another key gives it up first, so queues can't wait
//! for each other. A turn longer than a second lets the next one go as well: one slow backend must
//! not use up everybody's `budget`.
//!
//! # D-022 A commit pays for a replay in vain (2026-11-22)
//!
//! gRPC gives a tenth of a token for a success. There a failed call is the exception; here a lost
//! conflict is how optimistic transactions wait, and it needs a commit of somebody else to happen.
//! One for one bounds what replays in vain can cost to the work that is done, and 64 writers on one
//! row use about a tenth of that. The circuits are for each key, because an application that writes
//! what it has read fails on its own rows and should not switch others off.
//!
//! # D-050 Receipts are ordered by the time in the transaction's id (2026-11-22)
//!
//! The key is (shard, txn, attempt), clustered, and there is no second index: one key-value pair more
//! in a COMMIT, spread over 256 places. A UUIDv7 begins with the time of BEGIN, so a purge is a range
//! of each shard. Rejected: purge by `created` alone, with an index. It would be a second write at the
//! hot end of an index, and a client decides what CURRENT_TIMESTAMP is in its session
//! (`SET timestamp`): its receipts would go at once, and a committed transaction would look as if it
//! had never been. Both times must be old.
//!
//! # D-051 Nothing is concluded from the absence of an old receipt (2026-11-22)
//!
//! A resolver decides by inserting the key. Once the receipt may have been purged that would succeed
//! for a committed transaction too, so 25 hours (the longest that a COMMIT can be late, and clocks)
//! before the end of the retention it only reads. That also keeps its own row in place for as long
//! as the client's COMMIT could come. The retention is at least three days.
//!
//! # D-052 Only TiDB is asked through another door (2026-11-22)
//!
//! If the client's server is gone, another address of the configuration is asked only if it is TiDB,
//! whose servers share one database. A second MariaDB may be a replica, or have nothing to do with
//! the first: an INSERT that succeeds there proves nothing. The transaction stays undecided until its
//! own server is back.
//!
//! # D-053 `check-transaction` only looks (2026-11-22)
//!
//! To be sure of an absent receipt one has to insert the key, which would end a transaction that is
//! just on its way. A question must not do that, so without a receipt the answer is UNKNOWN.
//!
//! # D-054 commit_ts by bisection (2026-11-22)
//!
//! The receipt of a transaction appears at its commit_ts exactly, and TiDB reads at any timestamp that
//! it still has (`tidb_snapshot`), so some sixty reads find it, on every version. Rejected:
//! TIDB_MVCC_INFO (not on v7.5), a column (a transaction can't know its commit_ts).
//!
//! # D-055 Names in receipts are bytes (2026-11-22)
//!
//! VARBINARY instead of text: a collation would take 'k' and 'k ' for one idempotency key, and a name
//! that isn't valid in the client's character set would fail a COMMIT.
//!
//! # D-060 The right to write receipts is asked ahead of BEGIN (2026-11-22)
//!
//! By an INSERT of no row in the client's own session, once for each user, pipelined with his BEGIN,
//! which resets what it disturbed. Rejected: letting the first receipt fail (with
//! `tidb_constraint_check_in_place_pessimistic = OFF` an error of an INSERT can end the whole
//! transaction); reading grants with the service account (host patterns and roles decide which
//! account a login became).
//!
//! It is not asked in a transaction that is open already (the ROLLBACK behind the question would end
//! it), nor behind a SET TRANSACTION, which it would use up. There the receipt asks after all: of a
//! right that is missing the server speaks before it has run anything, and the COMMIT then goes alone.
//! What is said of a session (read-only, tables locked) is not remembered of its user.
//!
//! # D-061 Which COMMITs carry no receipt (2026-11-22)
//!
//! One of a transaction that has only read: whether it has happened makes no difference. One with AND
//! CHAIN or RELEASE, a BEGIN inside a transaction, and what commits on its way (DDL): they are no
//! COMMIT in a packet of its own. If their answer is lost, the outcome is `unknown`.
//!
//! # D-062 The resolver decides for the client, who is then closed or goes on (2026-11-22)
//!
//! After the end of the backend's stream the client gets its answer and is closed, since txguard can't
//! log in again as the user. On a connection that lives (9001 …) it goes on: a transaction found not
//! committed is replayed if it is guarded, as a new attempt with a key of its own, so nothing that was
//! decided stands in its way.
//!
//! # D-063 What makes two transactions with one idempotency key the same (2026-11-22)
//!
//! A digest of their statements without the comments around them, which carry traces; of prepared
//! ones the text, the NULLs and the values, without the types, which travel only with the first
//! execution. It chooses between two errors (17015, 17016) and never between an error and OK.
//!
//! # D-064 A transaction with a key ends with it or not at all (2026-11-22)
//!
//! What would commit it without its key (DDL, BEGIN, COMMIT AND CHAIN, several statements in a packet)
//! is refused with 17017, and so is a write outside of a transaction while a key waits for its BEGIN
//! or with a key in its comment, and a comment whose key could not be taken (a prepared BEGIN, one inside a transaction, one with
//! more statements behind it). What is too long to be looked at ends the connection.
//! The application has asked for once-only; to go on without would be a wrong answer.
//!
//! # D-065 A queue behind the second conflict (2026-11-22)
//!
//! With the queue behind the first conflict already, 8 writers that move money between 10 accounts
//! lost more by waiting than by another conflict: three rounds of `txguard demo` in turns gave 0.66 to
//! 1.49 times the commits of the direct clients (p99 37 to 47 ms), with the queue behind the second
//! one 1.26 to 1.35 times (p99 28 to 30 ms). 64 writers on one row don't notice: 2.5 to 4 times
//! either way.
//!
//! # D-030 No value of clock or chance is pinned (2026-11-22)
//!
//! A replay with `SET timestamp = <that of the first run>` needs the first run's clock to the
//! microsecond, and a transaction begins without telling it: it would have to be set before the
//! first run, a statement more for every transaction (and `SYSDATE()` doesn't heed it). Reading it
//! from the visible answer isn't exact either: which expression gave it, in which time zone and
//! precision, would have to be understood. RAND() has the same answer (its seeds would have
//! to be read before each use, and TiDB shows 0 for them), and UUID() in a query would have to be
//! replaced in the text by a value that is one column of one row of an answer. So what the client
//! has seen of clock and chance makes the answers differ, and the client gets the original error;
//! what nobody has seen is as good the second time (D-004).
//!
//! # D-031 Generated ids are pinned at TiDB, in a column that is found at the replay (2026-11-22)
//!
//! `LAST_INSERT_ID(n)` in the first row of an INSERT is exact, if it stands in the AUTO_INCREMENT
//! column. Which one that is the text doesn't tell, so the server is asked when a conflict has come:
//! transactions without one pay nothing. Rejected: a cache of table definitions (old after the next
//! ALTER TABLE); SHOW COLUMNS or information_schema (each changes FOUND_ROWS()), where the
//! definitions of a statement that is only prepared tell the same; asking within the replay, which
//! makes it longer than the transactions that it competes with (41 of 1,299 orders were replays
//! before, 180 of 867 since).
//!
//! Not elsewhere: a BEFORE INSERT trigger sees whether the id was given or not, and may read
//! LAST_INSERT_ID(); nobody without the right for triggers can see that there is one. `SET insert_id`
//! would give MariaDB the id without being seen, but not LAST_INSERT_ID() its value from before.
//!
//! Ids of several rows follow each other with `auto_increment_increment`, those of AUTO_RANDOM need
//! not. Without a column, or where the statement names it, the statement is sent as it was, and the
//! answers decide.
//!
//! # D-032 Several statements in one packet stay unguarded (2026-11-22)
//!
//! A conflict in the middle leaves answers that the client already has, half of a packet may be
//! committed, and each statement of it would have to be judged by itself, also for what it does to
//! the ones behind it. Drivers send such packets only where they are told to.
//!
//! # D-033 Variables are saved by the server, before their first SET (2026-11-22)
//!
//! Rejected: saving all variables at BEGIN (a statement more for transactions without SET);
//! reading the value to the proxy (a literal may not give the same type and collation back);
//! saving it when the conflict has come (it is gone by then). A SET that may fail to parse isn't
//! admitted, because behind it ROW_COUNT() and the warnings would tell of ours; nor is a value that
//! has to be computed, because a replay that is given up has to bring the session to the values of
//! the first run, and does it by running the SETs once more. A prepared SET has no text at hand
//! any more; applications don't prepare them. txguard's own variables stay behind until the
//! connection ends, which costs less than a statement that removes them.
//!
//! # D-034 What replays are not for (2026-11-22)
//!
//! On another connection: nothing of a session is moved, so a lost backend ends the transaction,
//! also one that only reads (AS OF included; nothing in it can conflict). Of a result of which the
//! client already has a part the error passes as it came, and the reason is counted. The isolation
//! level is the one asked for: no read is promoted to a lock, write skew passes as it does without
//! txguard. So LOCAL INFILE, cursors and long data aren't kept for a second run either.
//!
//! # D-070 PD's messages by hand (2026-11-22)
//!
//! Nine messages and two calls of `pdpb.PD`, on tonic. Rejected: `tikv-client` (an old tonic, rustls
//! and prometheus below it, with open advisories, and a stream that ends for good when PD's leader
//! changes); code made by `protoc` at build time (a tool that every builder needs).
//!
//! # D-071 BEGIN never waits for PD (2026-11-22)
//!
//! A timestamp asked for at BEGIN would be a millisecond nearer to start_ts, cost every transaction
//! a round trip, and stop them all while PD has no leader. One that is at most 100 ms old is as
//! good for finding a transaction, and is a lower bound all the same. When PD is lost hints stay where
//! they are: an old lower bound is right, a local clock's might be later than start_ts.
//!
//! # D-072 A timestamp that isn't later is no timestamp (2026-11-22)
//!
//! PD's answers must grow for as long as the process runs, under whatever leader. One that doesn't
//! comes from a deposed leader, from another cluster, or from a PD that was restored with an old
//! clock; nobody is given it, and the leader is looked for again.
//!
//! # D-073 Only the sure part of a drift is shown (2026-11-22)
//!
//! Clocks are read over a network, and PD's physical time stands still for 50 ms. A midpoint would
//! show drifts of half a slow answer, and warn of them.
//!
//! # D-074 A PD that isn't the backends' gives no hints (2026-11-22)
//!
//! Its timestamps would look right, and be later than start_ts as soon as its clock is ahead. Order is
//! the check that every TiDB allows: PD, BEGIN, PD. Addresses prove nothing (networks have
//! several), ids are told by few versions. It takes an account, so without one hints go on unchecked;
//! refusing them then would make PD as a source useless to who doesn't want an account.
