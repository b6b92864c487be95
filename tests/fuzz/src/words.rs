//! Packets that are worth saying: pieces of real dialogues, for the fuzzer to put together.

/// Autocommit, no transaction.
pub const AUTO: u16 = 0x0002;
/// In a transaction.
pub const TX: u16 = 0x0003;
/// Another result follows.
pub const MORE: u16 = 0x000A;

/// The version of a TiDB.
pub const TIDB: &str = "8.0.11-TiDB-v8.5.3";
/// The version of another server.
pub const MYSQL: &str = "8.0.36";

/// Protocol 4.1, secure connection, plug-ins, multi-statements.
const FLAGS: u32 = 1 | 1 << 9 | 1 << 15 | 1 << 16 | 1 << 19;
const DEPRECATE_EOF: u32 = 1 << 24;

/// A greeting that offers everything.
#[must_use]
pub fn greeting(version: &str) -> Vec<u8> {
    let mut payload = [&b"\x0A"[..], version.as_bytes(), b"\0\x67\x12\0\x0012345678\0"].concat();
    payload.extend_from_slice(&[0xFF, 0xFF, 46, 2, 0, 0xFF, 0xFF, 21]);
    payload.extend_from_slice(&[0; 10]);
    payload.extend_from_slice(b"abcdefghijkl\0mysql_native_password\0");
    payload
}

/// The login of an ordinary client.
#[must_use]
pub fn login(deprecate_eof: bool) -> Vec<u8> {
    let flags = FLAGS | if deprecate_eof { DEPRECATE_EOF } else { 0 };
    let mut payload = flags.to_le_bytes().to_vec();
    payload.extend_from_slice(&[0, 0, 0, 1, 46]);
    payload.extend_from_slice(&[0; 23]);
    payload.extend_from_slice(b"app\0\x14abcdefghijklmnopqrstmysql_native_password\0");
    payload
}

/// OK.
#[must_use]
pub fn ok(status: u16) -> Vec<u8> {
    let [low, high] = status.to_le_bytes();
    vec![0, 0, 0, low, high, 0, 0]
}

/// The OK that ends rows where EOF is deprecated.
#[must_use]
pub fn rows_ok(status: u16) -> Vec<u8> {
    let mut payload = ok(status);
    payload[0] = 0xFE;
    payload
}

/// EOF.
#[must_use]
pub fn eof(status: u16) -> Vec<u8> {
    let [low, high] = status.to_le_bytes();
    vec![0xFE, 0, 0, low, high]
}

/// ERR.
#[must_use]
pub fn err(code: u16) -> Vec<u8> {
    let [low, high] = code.to_le_bytes();
    [&[0xFF, low, high], &b"#HY000no [try again later]"[..]].concat()
}

/// A column definition.
#[must_use]
pub fn column() -> Vec<u8> {
    b"\x03def\x01d\x01t\x01t\x01v\x01v\x0C\x2E\0\x14\0\0\0\x08\0\0\0\0\0".to_vec()
}

/// Prepare-OK of statement 1.
#[must_use]
pub fn prepare_ok(params: u8, columns: u8) -> Vec<u8> {
    vec![0, 1, 0, 0, 0, columns, 0, params, 0, 0, 0, 0]
}

/// What a server may say.
#[must_use]
pub fn of_server() -> Vec<Vec<u8>> {
    vec![
        ok(AUTO),
        ok(TX),
        ok(MORE),
        eof(AUTO),
        eof(TX),
        eof(MORE),
        eof(AUTO | 0x40),
        rows_ok(AUTO),
        rows_ok(MORE),
        rows_ok(TX | 0x80),
        err(1064),
        err(9007),
        vec![1],
        vec![2],
        column(),
        b"\x011".to_vec(),
        vec![0xFB],
        b"\xFBfile".to_vec(),
        prepare_ok(0, 0),
        prepare_ok(1, 0),
        prepare_ok(1, 2),
        greeting(TIDB),
        b"\xFEmysql_native_password\0abcdefghijklmnopqrst\0".to_vec(),
        vec![1, 3],
        vec![1, 4],
    ]
}

/// What a client may say.
#[must_use]
pub fn of_client() -> Vec<Vec<u8>> {
    let text = |text: &str| [&[3], text.as_bytes()].concat();
    vec![
        text("BEGIN"),
        text("COMMIT"),
        text("ROLLBACK"),
        text("SELECT v FROM t WHERE id = 1"),
        text("UPDATE t SET v = 6 WHERE id = 1"),
        text("SET autocommit=0"),
        text("SET NAMES gbk"),
        text("SET TRANSACTION READ ONLY"),
        text("BEGIN; UPDATE t SET v = 1; COMMIT"),
        text("COMMIT AND CHAIN"),
        text("CREATE TABLE x (v INT)"),
        text("LOAD DATA LOCAL INFILE 'f' INTO TABLE t"),
        text("/*traceparent='00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'*/ SELECT 1"),
        [&[0x16], &b"UPDATE t SET v = ? WHERE id = 1"[..]].concat(),
        [&[0x16], &b"COMMIT"[..]].concat(),
        vec![0x17, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 8, 0, 5, 0, 0, 0, 0, 0, 0, 0],
        vec![0x17, 1, 0, 0, 0, 1, 1, 0, 0, 0],
        vec![0x18, 1, 0, 0, 0, 0, 0, b'x'],
        vec![0x19, 1, 0, 0, 0],
        vec![0x1A, 1, 0, 0, 0],
        vec![0x1C, 1, 0, 0, 0, 9, 0, 0, 0],
        vec![0x0E],
        vec![0x01],
        vec![0x09],
        vec![0x1F],
        b"\x02bank".to_vec(),
        b"\x04t\0".to_vec(),
        b"\x11bob\0\x02xxshop\0\x2d\0mysql_native_password\0".to_vec(),
        vec![0x1B, 0, 0],
        vec![],
        login(true),
        login(false),
    ]
}
