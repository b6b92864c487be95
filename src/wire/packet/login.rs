//! `Protocol::HandshakeResponse41`, the client's login, and what `COM_CHANGE_USER` repeats of it.

use super::greeting::and_at;
use crate::wire::Malformed;
use crate::wire::capability::Capabilities;
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
        Ok(Self { capabilities, collation, user, schema })
    }

    /// Clears what txguard can't carry, in place.
    pub fn mask(payload: &mut [u8]) -> Result<(), Malformed> {
        let flags = Reader::new(payload).u32()?;
        if payload.len() < 32 {
            return Err(Malformed("login too short"));
        }
        and_at(payload, 0, &(!Capabilities::MASKED).to_le_bytes());
        if flags & Capabilities::CLIENT_MYSQL == 0 {
            and_at(payload, 28, &(!Capabilities::MASKED_MARIADB).to_le_bytes());
        }
        Ok(())
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
    Ok(ChangeUser { user, schema, collation })
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
        assert_eq!(read.collation, 45);
    }

    #[test]
    fn masking_clears_our_bits_and_nothing_else() {
        let mut payload = login(FLAGS | Capabilities::MASKED);
        Login::mask(&mut payload).expect("a login");
        assert_eq!(Login::read(&payload).expect("still a login").capabilities.0, FLAGS);
        assert_eq!(payload[28], 0b1110_1110);
        assert_eq!(payload[32..], login(FLAGS)[32..]);
    }

    #[test]
    fn a_change_of_user_names_user_and_schema() {
        let payload = b"\x11bob\0\x02xxother\0\x2d\0";
        let flags = Capabilities(FLAGS);
        let bob = ChangeUser { user: b"bob", schema: b"other", collation: Some(0x2d) };
        assert_eq!(change_user(payload, flags), Ok(bob));
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
