//! `Protocol::HandshakeResponse41`, the client's login, and what `COM_CHANGE_USER` repeats of it.

use super::greeting::and_at;
use crate::wire::Malformed;
use crate::wire::capability::Capabilities;
use crate::wire::compress::{Algorithm, ZSTD_LEVEL};
use crate::wire::lenenc::Reader;

/// What txguard reads from a login. The answer to the salt is skipped, never kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Login<'a> {
    /// The client's capabilities as sent.
    pub capabilities: Capabilities,
    /// The collation id, which names the character set of the connection.
    pub collation: u8,
    /// The account's name.
    pub user: &'a [u8],
    /// The schema in use from the start.
    pub schema: Option<&'a [u8]>,
    /// The authentication plugin that the answer to the salt was made for, if it is named.
    pub plugin: Option<&'a [u8]>,
}

/// Bytes of a request for TLS: a login up to the account's name (`Protocol::SSLRequest`).
pub const TLS_REQUEST_LEN: usize = 32;

/// What the backend's leg agrees on, whatever the client's leg has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Leg {
    /// The login goes through TLS.
    pub tls: bool,
    /// Packets behind the login are compressed.
    pub compression: Option<Algorithm>,
}

impl<'a> Login<'a> {
    /// Reads a login of protocol 4.1.
    pub fn read(payload: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(payload);
        let capabilities = Capabilities(reader.u32()?);
        if !capabilities.has(Capabilities::PROTOCOL_41) {
            return Err(Malformed("login before protocol 4.1"));
        }
        reader.u32()?;
        let collation = reader.u8()?;
        reader.bytes(23)?;
        let user = reader.nul_bytes()?;
        if capabilities.has(Capabilities::PLUGIN_AUTH_LENENC) {
            reader.lenenc_bytes()?;
        } else if capabilities.has(Capabilities::SECURE_CONNECTION) {
            let len = reader.u8()?;
            reader.bytes(usize::from(len))?;
        } else {
            reader.nul_bytes()?;
        }
        let schema = match capabilities.has(Capabilities::CONNECT_WITH_DB) {
            true => Some(last_string(&mut reader)?).filter(|name| !name.is_empty()),
            false => None,
        };
        let plugin = match capabilities.has(Capabilities::PLUGIN_AUTH) {
            true => Some(last_string(&mut reader)?).filter(|name| !name.is_empty()),
            false => None,
        };
        Ok(Self { capabilities, collation, user, schema, plugin })
    }

    /// True if the client asks for TLS before it says who it is.
    #[must_use]
    pub fn is_tls_request(payload: &[u8]) -> bool {
        let flags = Reader::new(payload).u32().unwrap_or(0);
        payload.len() == TLS_REQUEST_LEN && flags & Capabilities::SSL != 0
    }

    /// What the client wants for the packets behind its login. zlib goes before zstd where both
    /// are asked for, as servers do (TiDB `pkg/server/conn.go`, `openSession`).
    #[must_use]
    pub fn compression(payload: &[u8], capabilities: Capabilities) -> Option<Algorithm> {
        if capabilities.has(Capabilities::COMPRESS) {
            return Some(Algorithm::Zlib);
        }
        let level = payload.last().copied().unwrap_or(ZSTD_LEVEL);
        capabilities.has(Capabilities::ZSTD).then_some(Algorithm::Zstd(level))
    }

    /// The login for the backend: without what txguard can't carry, and with what that leg agrees
    /// on in place of the client's.
    ///
    /// # Errors
    /// It is shorter than any login.
    pub fn forward(payload: &[u8], leg: Leg) -> Result<Vec<u8>, Malformed> {
        let flags = Reader::new(payload).u32()?;
        if payload.len() < TLS_REQUEST_LEN {
            return Err(Malformed("login too short"));
        }
        let mut login = payload.to_vec();
        let mut agreed = flags & !Capabilities::MASKED;
        if flags & Capabilities::ZSTD != 0 {
            // The level is the last byte, whatever else the client has agreed on.
            login.pop();
        }
        if leg.tls {
            agreed |= Capabilities::SSL;
        }
        match leg.compression {
            Some(Algorithm::Zlib) => agreed |= Capabilities::COMPRESS,
            Some(Algorithm::Zstd(level)) => {
                agreed |= Capabilities::ZSTD;
                login.push(level);
            }
            None => {}
        }
        login[..4].copy_from_slice(&agreed.to_le_bytes());
        if flags & Capabilities::CLIENT_MYSQL == 0 {
            and_at(&mut login, 28, &(!Capabilities::MASKED_MARIADB).to_le_bytes());
        }
        Ok(login)
    }
}

/// What txguard reads from a `COM_CHANGE_USER`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChangeUser<'a> {
    /// The account's name.
    pub user: &'a [u8],
    /// The schema in use; may be empty.
    pub schema: &'a [u8],
    /// The collation id, if the packet goes so far.
    pub collation: Option<u8>,
    /// The authentication plugin, if the packet goes so far.
    pub plugin: Option<&'a [u8]>,
}

/// Reads a `COM_CHANGE_USER`.
pub fn change_user(
    payload: &[u8],
    capabilities: Capabilities,
) -> Result<ChangeUser<'_>, Malformed> {
    let mut reader = Reader::new(payload);
    reader.u8()?;
    let user = reader.nul_bytes()?;
    if capabilities.has(Capabilities::SECURE_CONNECTION) {
        let len = reader.u8()?;
        reader.bytes(usize::from(len))?;
    } else {
        reader.nul_bytes()?;
    }
    let schema = last_string(&mut reader)?;
    // Two bytes; ids beyond one byte are all of utf8mb4.
    let collation = reader.u16().ok().map(|id| u8::try_from(id).unwrap_or(u8::MAX));
    let plugin = last_string(&mut reader).ok().filter(|name| !name.is_empty());
    Ok(ChangeUser { user, schema, collation, plugin })
}

/// Some clients leave the NUL of the last field out.
fn last_string<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], Malformed> {
    match reader.rest().contains(&0) {
        true => reader.nul_bytes(),
        false => reader.bytes(reader.rest().len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(flags: u32) -> Vec<u8> {
        let mut payload = flags.to_le_bytes().to_vec();
        payload.extend_from_slice(&[0, 0, 0, 1, 45]);
        payload.extend_from_slice(&[0xFF; 23]);
        payload.extend_from_slice(b"app\0\x03abcshop\0mysql_native_password\0");
        payload
    }

    const FLAGS: u32 = Capabilities::PROTOCOL_41
        | Capabilities::SECURE_CONNECTION
        | Capabilities::CONNECT_WITH_DB
        | Capabilities::PLUGIN_AUTH;

    #[test]
    fn user_schema_and_collation_are_read() {
        let payload = login(FLAGS | 1);
        let read = Login::read(&payload).expect("a login");
        assert_eq!((read.user, read.schema), (&b"app"[..], Some(&b"shop"[..])));
        assert_eq!(read.plugin, Some(&b"mysql_native_password"[..]));
        assert_eq!(read.collation, 45);
    }

    #[test]
    fn the_backends_login_has_its_own_legs_bits() {
        let payload = login(FLAGS | Capabilities::MASKED & !Capabilities::ZSTD);
        let plain = Login::forward(&payload, Leg::default()).expect("a login");
        assert_eq!(Login::read(&plain).expect("still a login").capabilities.0, FLAGS);
        assert_eq!(plain[28], 0b1110_1110);
        assert_eq!(plain[32..], login(FLAGS)[32..]);
        let leg = Leg { tls: true, compression: Some(Algorithm::Zlib) };
        let dressed = Login::forward(&payload, leg).expect("a login");
        let flags = FLAGS | Capabilities::SSL | Capabilities::COMPRESS;
        assert_eq!(Login::read(&dressed).expect("still a login").capabilities.0, flags);
    }

    #[test]
    fn the_level_of_zstd_belongs_to_its_leg() {
        let mut payload = login(FLAGS | Capabilities::ZSTD);
        payload.push(7);
        let wanted = Login::compression(&payload, Capabilities(FLAGS | Capabilities::ZSTD));
        assert_eq!(wanted, Some(Algorithm::Zstd(7)));
        let plain = Login::forward(&payload, Leg::default()).expect("a login");
        assert_eq!(plain.len(), payload.len() - 1);
        let leg = Leg { tls: false, compression: Some(Algorithm::Zstd(3)) };
        let packed = Login::forward(&payload, leg).expect("a login");
        assert_eq!((packed.len(), packed.last()), (payload.len(), Some(&3)));
    }

    #[test]
    fn a_request_for_tls_is_the_beginning_of_a_login() {
        let payload = login(FLAGS | Capabilities::SSL);
        assert!(Login::is_tls_request(&payload[..TLS_REQUEST_LEN]));
        assert!(!Login::is_tls_request(&payload));
        assert!(!Login::is_tls_request(&login(FLAGS)[..TLS_REQUEST_LEN]));
    }

    #[test]
    fn a_change_of_user_names_user_and_schema() {
        let payload = b"\x11bob\0\x02xxother\0\x2d\0";
        let flags = Capabilities(FLAGS);
        let bob =
            ChangeUser { user: b"bob", schema: b"other", collation: Some(0x2d), plugin: None };
        assert_eq!(change_user(payload, flags), Ok(bob));
        let named = [&payload[..], b"mysql_clear_password\0"].concat();
        let plugin = Some(&b"mysql_clear_password"[..]);
        assert_eq!(change_user(&named, flags), Ok(ChangeUser { plugin, ..bob }));
        let short = ChangeUser { collation: None, ..bob };
        assert_eq!(change_user(&payload[..payload.len() - 2], flags), Ok(short));
    }

    #[test]
    fn cut_logins_are_malformed() {
        let payload = login(FLAGS);
        for len in 0..36 {
            assert!(Login::read(&payload[..len]).is_err(), "{len}");
        }
    }
}
