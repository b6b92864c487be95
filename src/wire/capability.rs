//! Capability flags, and which of them txguard can carry.

/// Capability flags of one side, or of both together (MySQL protocol, "Capabilities Flags").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Capabilities(pub u32);

impl Capabilities {
    /// Also `CLIENT_LONG_PASSWORD`: unset means that MariaDB's extended flags are in use.
    pub const CLIENT_MYSQL: u32 = 1;
    /// A schema name is in the login.
    pub const CONNECT_WITH_DB: u32 = 1 << 3;
    /// zlib.
    pub const COMPRESS: u32 = 1 << 5;
    /// The protocol of MySQL 4.1 and later.
    pub const PROTOCOL_41: u32 = 1 << 9;
    /// TLS.
    pub const SSL: u32 = 1 << 11;
    /// The authentication answer is prefixed by one length byte.
    pub const SECURE_CONNECTION: u32 = 1 << 15;
    /// Several statements in one COM_QUERY.
    pub const MULTI_STATEMENTS: u32 = 1 << 16;
    /// Names of authentication plugins are sent.
    pub const PLUGIN_AUTH: u32 = 1 << 19;
    /// The authentication answer is prefixed by a length-encoded integer.
    pub const PLUGIN_AUTH_LENENC: u32 = 1 << 21;
    /// OK packets carry session state.
    pub const SESSION_TRACK: u32 = 1 << 23;
    /// No EOF packet behind column definitions; an OK with header 0xFE ends the rows.
    pub const DEPRECATE_EOF: u32 = 1 << 24;
    /// Column definitions may be left out.
    pub const OPTIONAL_METADATA: u32 = 1 << 25;
    /// zstd.
    pub const ZSTD: u32 = 1 << 26;
    /// Parameters ahead of the text of COM_QUERY.
    pub const QUERY_ATTRIBUTES: u32 = 1 << 27;
    /// Several factors of authentication.
    pub const MULTI_FACTOR: u32 = 1 << 28;

    /// What txguard can't carry, or what would make TiDB misread a packet (QUERY_ATTRIBUTES:
    /// tidb#55174).
    pub const MASKED: u32 =
        Self::QUERY_ATTRIBUTES | Self::OPTIONAL_METADATA | Self::MULTI_FACTOR | Self::LEG;

    /// What each leg agrees on for itself; neither side hears of the other's.
    pub const LEG: u32 = Self::SSL | Self::COMPRESS | Self::ZSTD;

    /// MariaDB's extended flags that change the shape of a reply: progress reports (bit 0) come
    /// as ERR packets in the middle of a reply, cached metadata (bit 4) leaves columns out.
    pub const MASKED_MARIADB: u32 = 1 | 1 << 4;

    /// True if all bits of `flags` are set.
    #[must_use]
    pub const fn has(self, flags: u32) -> bool {
        self.0 & flags == flags
    }
}
