//! txguard's own errors. README and `txguard errors` are made from this table.

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// Which error it is.
    pub own: Own,
    /// The MySQL error number that the client sees: the server's own where a server has one for
    /// the case, else one from 17000 to 17099, which no server uses.
    pub code: u16,
    /// The server's own with its code; else `08S01` for the connection, `40001` where the client
    /// may run the transaction again, `HY000` for the rest.
    pub sqlstate: &'static str,
    /// The text behind the `txguard: ` prefix.
    pub text: &'static str,
    /// When it is raised.
    pub cause: &'static str,
    /// What to do about it.
    pub remedy: &'static str,
}

/// txguard's own errors by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Own {
    /// No backend address accepted a connection.
    BackendUnreachable,
    /// The backend closed or spoke another protocol before the login was complete.
    BackendHandshake,
    /// The client sent bytes that are not the MySQL protocol.
    ClientProtocol,
    /// The client said nothing for too long.
    Idle,
    /// A statement is longer than the limit.
    StatementTooLarge,
    /// txguard is at its limit of clients.
    TooManyClients,
    /// The login took longer than the limit.
    HandshakeTimeout,
    /// TLS with the backend was wanted and failed.
    BackendTls,
    /// The password would cross the backend's leg in the clear.
    CleartextPassword,
    /// The password can't cross a client's leg without TLS.
    PasswordNeedsTls,
    /// The client came without TLS.
    TlsRequired,
    /// KILL of a connection on another backend, and no account to say it there.
    KillElsewhere,
    /// KILL of an id that connections on several backends have.
    KillAmbiguous,
    /// The service account could not say KILL on another backend.
    KillNotSent,
    /// KILL QUERY on another backend that may not survive it.
    KillFragile,
    /// COMMIT did not happen, and never will.
    NotCommitted,
    /// Another transaction with the same idempotency key has committed.
    AlreadyCommitted,
    /// The same, and it said something else.
    KeyReused,
    /// An idempotency key can't be honoured.
    KeyUnusable,
    /// A procedure of txguard's own got other arguments than it takes.
    CallArguments,
}

/// All rows, by code.
pub const ALL: &[Row] = &[
    Row {
        own: Own::TooManyClients,
        code: 1040,
        sqlstate: "08004",
        text: "Too many connections",
        cause: "`[limits] clients` connections are open.",
        remedy: "Raise `[limits] clients` or close idle connections.",
    },
    Row {
        own: Own::StatementTooLarge,
        code: 1153,
        sqlstate: "08S01",
        text: "Got a packet bigger than 'max_allowed_packet' bytes",
        cause: "A statement is longer than `[limits] statement`; the connection is closed.",
        remedy: "Send it in smaller pieces, or raise `[limits] statement`.",
    },
    Row {
        own: Own::TlsRequired,
        code: 3159,
        sqlstate: "HY000",
        text: "Connections using insecure transport are prohibited",
        cause: "`[listen] require_tls` is set and the client came without TLS.",
        remedy: "Switch TLS on in the client (`--ssl-mode=REQUIRED`, `sslMode=REQUIRED`, `tls=true`).",
    },
    Row {
        own: Own::Idle,
        code: 4031,
        sqlstate: "HY000",
        text: "The client was disconnected because of inactivity",
        cause: "The client said nothing for `[limits] idle`, or with a transaction open for `idle_in_transaction`.",
        remedy: "Let the connection pool close idle connections earlier, or raise the limit.",
    },
    Row {
        own: Own::BackendUnreachable,
        code: 17001,
        sqlstate: "08S01",
        text: "no backend can be reached",
        cause: "No address in `[backend] addresses` accepted a connection and greeted within the time limit.",
        remedy: "Start the database or correct the addresses; `/readyz` says what each one answered.",
    },
    Row {
        own: Own::BackendHandshake,
        code: 17002,
        sqlstate: "08S01",
        text: "the backend ended the login",
        cause: "The backend closed the connection, or sent something that is not a MySQL greeting, before the login was complete.",
        remedy: "Look into the backend's log; check that the address is a MySQL protocol port.",
    },
    Row {
        own: Own::ClientProtocol,
        code: 17004,
        sqlstate: "08S01",
        text: "these bytes are not the MySQL protocol",
        cause: "The client's packet was out of order, too short, or not a login.",
        remedy: "Check that a MySQL client speaks to this port, without TLS or compression where it is not configured.",
    },
    Row {
        own: Own::HandshakeTimeout,
        code: 17006,
        sqlstate: "08S01",
        text: "the login took too long",
        cause: "The client did not finish the login within `[limits] handshake`.",
        remedy: "Look for a stalled client, or raise `[limits] handshake`.",
    },
    Row {
        own: Own::BackendTls,
        code: 17007,
        sqlstate: "08S01",
        text: "no TLS connection to the backend",
        cause: "`[backend] tls` wants TLS, and the server doesn't offer it, or its certificate is expired, of an unknown CA or for another name; the log says which.",
        remedy: "Mend the server's certificate, correct `tls_ca` and `tls_name`, or choose another `[backend] tls`.",
    },
    Row {
        own: Own::CleartextPassword,
        code: 17008,
        sqlstate: "08S01",
        text: "the password would go to the backend in the clear; set [backend] tls",
        cause: "The client uses TLS and sends its password in the clear (caching_sha2_password, mysql_clear_password), and the backend's side has no TLS.",
        remedy: "Set `[backend] tls` and give the server a certificate; or use mysql_native_password; or allow it with `[backend] allow_cleartext_password`.",
    },
    Row {
        own: Own::PasswordNeedsTls,
        code: 17009,
        sqlstate: "08S01",
        text: "this account's password needs TLS to txguard, or mysql_native_password",
        cause: "The client has no TLS, and its account needs the password itself: mysql_clear_password, or caching_sha2_password with TLS to the backend.",
        remedy: "Let the client use TLS (`[listen] tls_certificate`), or use mysql_native_password, or set `[backend] tls = \"disable\"` where the server has its own key exchange.",
    },
    Row {
        own: Own::KillElsewhere,
        code: 17010,
        sqlstate: "HY000",
        text: "the connection to kill is on another backend",
        cause: "KILL named a connection that another backend issued, and txguard has no account of its own there.",
        remedy: "Set `[backend] service_user` to an account with PROCESS and CONNECTION_ADMIN (MariaDB: CONNECTION ADMIN), or connect to that backend.",
    },
    Row {
        own: Own::KillAmbiguous,
        code: 17011,
        sqlstate: "HY000",
        text: "connections on several backends have this id",
        cause: "KILL named an id that connections on more than one backend have, this txguard's or others'; nothing was killed.",
        remedy: "Connect to the backend itself and kill the connection there.",
    },
    Row {
        own: Own::KillNotSent,
        code: 17012,
        sqlstate: "HY000",
        text: "the KILL could not be sent to the other backend",
        cause: "The service account could not connect or log in, or had no answer within `[backend] connect_timeout`.",
        remedy: "Look into txguard's log for the reason; check `[backend] service_user` and its password.",
    },
    Row {
        own: Own::KillFragile,
        code: 17013,
        sqlstate: "HY000",
        text: "this version of TiDB may not survive a KILL QUERY",
        cause: "KILL QUERY named a connection on another backend, a TiDB v8.5.0 to v8.5.3, where it can end the whole server (tidb#63956).",
        remedy: "Use KILL CONNECTION, which txguard carries out by closing the connection, or upgrade TiDB.",
    },
    Row {
        own: Own::NotCommitted,
        code: 17014,
        sqlstate: "40001",
        text: "the transaction was not committed; it can be run again",
        cause: "The answer to COMMIT was lost or proves nothing, and the receipt shows that it has not happened and never will.",
        remedy: "Run the transaction again.",
    },
    Row {
        own: Own::AlreadyCommitted,
        code: 17015,
        sqlstate: "HY000",
        text: "a transaction with this idempotency key has already committed",
        cause: "At BEGIN or at COMMIT: the work of this key is done; this transaction has changed nothing.",
        remedy: "Take the transaction for done.",
    },
    Row {
        own: Own::KeyReused,
        code: 17016,
        sqlstate: "HY000",
        text: "this idempotency key was used by a transaction with other statements",
        cause: "At COMMIT: a transaction with the same key and other statements has committed; this one has changed nothing.",
        remedy: "Use a key of its own for each piece of work.",
    },
    Row {
        own: Own::KeyUnusable,
        code: 17017,
        sqlstate: "HY000",
        text: "the idempotency key can't be used here",
        cause: "It is empty or longer than 255 bytes; or the policy has no `receipt`, or the user no right to write one, or the tables can't be read; or a statement would commit the transaction without its key, or is a write without a transaction. The statement was not run.",
        remedy: "Set `receipt = true`, run `txguard schema install` and grant what `txguard schema print --for USER` says; end the transaction with a plain COMMIT in a packet of its own.",
    },
    Row {
        own: Own::CallArguments,
        code: 17018,
        sqlstate: "HY000",
        text: "this procedure takes other arguments",
        cause: "A CALL of one of txguard's own procedures with too few, too many or other arguments than strings.",
        remedy: "Look the procedure up in the manual.",
    },
];

impl Own {
    /// The row of this error.
    #[must_use]
    pub fn row(self) -> &'static Row {
        ALL.iter().find(|row| row.own == self).expect("every error has its row, see the test")
    }

    /// The text that the client sees, with the prefix.
    #[must_use]
    pub fn message(self) -> String {
        format!("txguard: {}", self.row().text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `ER_CON_COUNT_ERROR`, `ER_NET_PACKET_TOO_LARGE`, `ER_SECURE_TRANSPORT_REQUIRED`,
    /// `ER_CLIENT_INTERACTION_TIMEOUT` with the states of MySQL's `messages_to_clients.txt`.
    const SERVERS: [(u16, &str); 4] =
        [(1040, "08004"), (1153, "08S01"), (3159, "HY000"), (4031, "HY000")];

    #[test]
    fn codes_are_unique_ascending_and_the_servers_or_in_our_range() {
        assert!(ALL.windows(2).all(|pair| pair[0].code < pair[1].code));
        for row in ALL {
            let ours = (17000..17100).contains(&row.code)
                && ["08S01", "40001", "HY000"].contains(&row.sqlstate);
            assert!(ours || SERVERS.contains(&(row.code, row.sqlstate)), "{}", row.code);
        }
    }

    #[test]
    fn every_error_has_a_row() {
        for own in [
            Own::BackendUnreachable,
            Own::BackendHandshake,
            Own::ClientProtocol,
            Own::Idle,
            Own::StatementTooLarge,
            Own::TooManyClients,
            Own::HandshakeTimeout,
            Own::BackendTls,
            Own::CleartextPassword,
            Own::PasswordNeedsTls,
            Own::TlsRequired,
            Own::KillElsewhere,
            Own::KillAmbiguous,
            Own::KillNotSent,
            Own::KillFragile,
            Own::NotCommitted,
            Own::AlreadyCommitted,
            Own::KeyReused,
            Own::KeyUnusable,
            Own::CallArguments,
        ] {
            assert_eq!(own.row().own, own);
        }
    }
}
