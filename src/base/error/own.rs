//! txguard's own errors. README and `txguard errors` are made from this table.

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// Which error it is.
    pub own: Own,
    /// The MySQL error number that the client sees; 17000 to 17099 is used by no server.
    pub code: u16,
    /// `08S01` for the connection, `40001` where the client may run the transaction again,
    /// `HY000` else.
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
    /// txguard is at its limit of clients.
    TooManyClients,
    /// The login took longer than the limit.
    HandshakeTimeout,
}

/// All rows, by code.
pub const ALL: &[Row] = &[
    Row {
        own: Own::BackendUnreachable,
        code: 17001,
        sqlstate: "08S01",
        text: "no backend can be reached",
        cause: "No address in `[backend] addresses` accepted a connection within the time limit.",
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
        own: Own::TooManyClients,
        code: 17005,
        sqlstate: "08S01",
        text: "too many clients",
        cause: "`[limits] clients` connections are open.",
        remedy: "Raise `[limits] clients` or close idle connections.",
    },
    Row {
        own: Own::HandshakeTimeout,
        code: 17006,
        sqlstate: "08S01",
        text: "the login took too long",
        cause: "The client did not finish the login within `[limits] handshake`.",
        remedy: "Look for a stalled client, or raise `[limits] handshake`.",
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

    #[test]
    fn codes_are_unique_ascending_and_in_our_range() {
        assert!(ALL.windows(2).all(|pair| pair[0].code < pair[1].code));
        assert!(ALL.iter().all(|row| (17000..17100).contains(&row.code)));
        assert!(ALL.iter().all(|row| ["08S01", "40001", "HY000"].contains(&row.sqlstate)));
    }

    #[test]
    fn every_error_has_a_row() {
        for own in [
            Own::BackendUnreachable,
            Own::BackendHandshake,
            Own::ClientProtocol,
            Own::TooManyClients,
            Own::HandshakeTimeout,
        ] {
            assert_eq!(own.row().own, own);
        }
    }
}
