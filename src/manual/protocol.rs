//! Facts of the protocol and of TiDB that the code relies on, with their source.
//!
//! - ERR packets carry no status flags. What an error did to the transaction is read from the
//!   table in `base::error`, and corrected by the flags of the next OK or EOF.
//! - TiDB closes the connection without a packet when the result of a commit is undetermined
//!   (`pkg/server/conn.go`, `Run`): an end of stream behind COMMIT means *unknown*.
//! - `COMMIT AND CHAIN` and `RELEASE` are parsed and ignored by TiDB; MariaDB honours them. Flags
//!   decide, never the text.
//! - A failed COMMIT leaves no transaction behind (`pkg/session/session.go`, `doCommit`). MariaDB
//!   rolls the whole transaction back on 1020 with `innodb_snapshot_isolation`, like on 1213.
//! - `@@tidb_last_txn_info` keeps the information of the last transaction that wrote: its
//!   commit_ts counts only if its start_ts is ours.
//! - A comment before a statement is invisible to TiDB's digests and to column names; behind a
//!   SELECT without FROM it becomes part of the column name. So tags go first. TiDB counts a tag
//!   when it names the column of a syntax error; txguard takes it out again.
//! - TiDB's prepared plan cache is keyed by the text: prepared statements get no tag that changes.
//! - Salt, version, and connection id are the backend's own, so `KILL` and the client's idea of
//!   the server stay right.
//! - Capabilities that would change the shape of what is relayed are cleared in greeting and
//!   login: query attributes (TiDB would read them as SQL, tidb#55174), optional metadata, more
//!   than one authentication factor; of MariaDB's own, progress reports and cached metadata. TLS
//!   and compression are agreed on by each side for itself.
//! - A request for TLS takes a sequence id, so with TLS on one side only the login's ids differ.
//!   Behind the login every command begins with 0 again, and ids pass as they are.
//! - With compression the ids of packets may follow those of compressed frames (TiDB
//!   `pkg/server/internal/packetio.go`, `Flush`; libmysqlclient `net_flush`) and aren't checked;
//!   without it TiDB closes the connection at a wrong one. Where one side is compressed, txguard
//!   numbers packets itself.
//! - `caching_sha2_password`: TiDB has neither its cache nor its key exchange, and takes the
//!   password in the clear also without TLS. MySQL asks for the key exchange without TLS.
