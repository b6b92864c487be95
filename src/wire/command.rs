//! Hot path: the first byte of a client's packet, and which kind of reply it gets.

/// How the reply to a command is shaped (MySQL protocol, "Command Phase").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// An authentication exchange that ends with OK or ERR.
    Authentication,
    /// Nothing, or one ERR: TiDB answers long data that it can't take, where MySQL keeps the error
    /// for the execution (TiDB `server.handleStmtSendLongData`).
    Complaint,
    /// Rows of a cursor up to their terminator.
    Fetch,
    /// Column definitions without a count, up to EOF.
    FieldList,
    /// No reply at all.
    Nothing,
    /// Prepare-OK with parameter and column definitions.
    Prepare,
    /// One or more results.
    Results,
    /// One OK, EOF or ERR.
    Single,
    /// One packet of plain text.
    Text,
    /// A stream without an end (a binlog), or a command that txguard doesn't know. A server
    /// refuses it with one ERR; of anything else the end can't be told.
    Unknown,
}

/// A command by its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Command(pub u8);

impl Command {
    /// No command: an empty packet counts as one (MariaDB `do_command`).
    pub const SLEEP: Self = Self(0x00);
    /// The client says good-bye.
    pub const QUIT: Self = Self(0x01);
    /// Changes the schema in use.
    pub const INIT_DB: Self = Self(0x02);
    /// SQL text.
    pub const QUERY: Self = Self(0x03);
    /// Column definitions of a table.
    pub const FIELD_LIST: Self = Self(0x04);
    /// Creates a schema; servers of today refuse it.
    pub const CREATE_DB: Self = Self(0x05);
    /// Drops a schema; servers of today refuse it.
    pub const DROP_DB: Self = Self(0x06);
    /// Various caches are flushed.
    pub const REFRESH: Self = Self(0x07);
    /// Stops the server.
    pub const SHUTDOWN: Self = Self(0x08);
    /// One line of text about the server.
    pub const STATISTICS: Self = Self(0x09);
    /// `SHOW PROCESSLIST` in another dress.
    pub const PROCESS_INFO: Self = Self(0x0A);
    /// Ends another connection.
    pub const PROCESS_KILL: Self = Self(0x0C);
    /// Debug output into the server's log.
    pub const DEBUG: Self = Self(0x0D);
    /// Is the server alive?
    pub const PING: Self = Self(0x0E);
    /// A new login on the same connection.
    pub const CHANGE_USER: Self = Self(0x11);
    /// A replica introduces itself.
    pub const REGISTER_SLAVE: Self = Self(0x15);
    /// Prepares a statement.
    pub const STMT_PREPARE: Self = Self(0x16);
    /// Executes a prepared statement.
    pub const STMT_EXECUTE: Self = Self(0x17);
    /// Sends a piece of a parameter; the reply is nothing or a complaint.
    pub const STMT_SEND_LONG_DATA: Self = Self(0x18);
    /// Drops a prepared statement; no reply.
    pub const STMT_CLOSE: Self = Self(0x19);
    /// Forgets long data and closes a cursor.
    pub const STMT_RESET: Self = Self(0x1A);
    /// Switches multi-statements.
    pub const SET_OPTION: Self = Self(0x1B);
    /// Fetches rows of a cursor.
    pub const STMT_FETCH: Self = Self(0x1C);
    /// The session as after login.
    pub const RESET_CONNECTION: Self = Self(0x1F);
    /// MariaDB's bulk execution.
    pub const STMT_BULK_EXECUTE: Self = Self(0xFA);

    /// The kind of reply.
    #[must_use]
    pub const fn reply(self) -> Reply {
        match self {
            Self::QUERY | Self::STMT_EXECUTE | Self::PROCESS_INFO | Self::STMT_BULK_EXECUTE => {
                Reply::Results
            }
            Self::STMT_PREPARE => Reply::Prepare,
            Self::STMT_FETCH => Reply::Fetch,
            Self::FIELD_LIST => Reply::FieldList,
            Self::STATISTICS => Reply::Text,
            Self::QUIT | Self::STMT_CLOSE => Reply::Nothing,
            Self::STMT_SEND_LONG_DATA => Reply::Complaint,
            Self::CHANGE_USER => Reply::Authentication,
            Self::INIT_DB
            | Self::CREATE_DB
            | Self::DROP_DB
            | Self::REFRESH
            | Self::SHUTDOWN
            | Self::REGISTER_SLAVE
            | Self::PROCESS_KILL
            | Self::DEBUG
            | Self::PING
            | Self::STMT_RESET
            | Self::SET_OPTION
            | Self::RESET_CONNECTION => Reply::Single,
            _ => Reply::Unknown,
        }
    }
}
