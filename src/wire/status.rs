//! Server status flags, the only truth about the state of a transaction.

use std::fmt;

/// The flags of an OK or EOF packet (MySQL protocol, `SERVER_STATUS_flags_enum`).
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Status(pub u16);

impl Status {
    /// A transaction is open.
    pub const IN_TRANS: u16 = 0x0001;
    /// Autocommit is on.
    pub const AUTOCOMMIT: u16 = 0x0002;
    /// Another result follows.
    pub const MORE_RESULTS: u16 = 0x0008;
    /// A read-only cursor is open; rows come by COM_STMT_FETCH.
    pub const CURSOR_EXISTS: u16 = 0x0040;
    /// The cursor is exhausted.
    pub const LAST_ROW_SENT: u16 = 0x0080;
    /// Backslash is an ordinary character in strings.
    pub const NO_BACKSLASH_ESCAPES: u16 = 0x0200;
    /// The OK packet carries session state changes.
    pub const SESSION_STATE_CHANGED: u16 = 0x4000;

    /// `SERVER_STATUS_IN_TRANS_READONLY`: the transaction is read-only.
    pub const IN_TRANS_READONLY: u16 = 0x2000;

    /// Flags that speak of the session, not of the statement that was answered.
    pub const LASTING: u16 =
        Self::IN_TRANS | Self::AUTOCOMMIT | Self::NO_BACKSLASH_ESCAPES | Self::IN_TRANS_READONLY;

    /// Flags that must be equal when an answer comes a second time; the others speak of plans and
    /// cost (`NO_INDEX_USED`, `SLOW`) and may differ.
    pub const COMPARED: u16 = Self::IN_TRANS
        | Self::AUTOCOMMIT
        | Self::MORE_RESULTS
        | Self::CURSOR_EXISTS
        | Self::LAST_ROW_SENT
        | Self::NO_BACKSLASH_ESCAPES;

    /// True if all bits of `flags` are set.
    #[inline]
    #[must_use]
    pub const fn has(self, flags: u16) -> bool {
        self.0 & flags == flags
    }

    /// A transaction is open.
    #[inline]
    #[must_use]
    pub const fn in_trans(self) -> bool {
        self.has(Self::IN_TRANS)
    }

    /// Autocommit is on.
    #[inline]
    #[must_use]
    pub const fn autocommit(self) -> bool {
        self.has(Self::AUTOCOMMIT)
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#06x}", self.0)
    }
}
