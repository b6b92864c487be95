//! `Protocol::HandshakeV10`, the backend's first packet. It is relayed with some capability bits
//! changed in place; salt, version and connection id stay the backend's own.

use crate::wire::Malformed;
use crate::wire::capability::Capabilities;
use crate::wire::lenenc::Reader;
use crate::wire::status::Status;

/// What txguard reads from a greeting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Greeting<'a> {
    /// The server's version text.
    pub version: &'a [u8],
    /// The connection id that `KILL` uses; the lower 32 bits of it.
    pub connection_id: u32,
    /// The server's capabilities as sent.
    pub capabilities: Capabilities,
    /// Status flags before the login.
    pub status: Status,
}

/// Places of the fields that are masked, relative to the payload.
struct Places {
    caps_low: usize,
    caps_high: usize,
    mariadb: usize,
}

impl<'a> Greeting<'a> {
    /// Reads a greeting of protocol version 10 with 4.1 capabilities.
    pub fn read(payload: &'a [u8]) -> Result<Self, Malformed> {
        let places = places(payload)?;
        let mut reader = Reader::new(payload);
        reader.u8()?;
        let version = reader.nul_bytes()?;
        let connection_id = reader.u32()?;
        let low = u16_at(payload, places.caps_low)?;
        let high = u16_at(payload, places.caps_high)?;
        Ok(Self {
            version,
            connection_id,
            capabilities: Capabilities(u32::from(high) << 16 | u32::from(low)),
            status: Status(u16_at(payload, places.caps_low + 3)?),
        })
    }

    /// Clears what txguard can't carry and sets what it `offers` for the client's leg (bits of
    /// [`Capabilities::LEG`]), in place.
    pub fn dress(payload: &mut [u8], offers: Capabilities) -> Result<(), Malformed> {
        let places = places(payload)?;
        let is_mysql = u32::from(u16_at(payload, places.caps_low)?) & Capabilities::CLIENT_MYSQL;
        let low = u16_at(payload, places.caps_low)?;
        let high = u16_at(payload, places.caps_high)?;
        let flags = (u32::from(high) << 16 | u32::from(low)) & !Capabilities::MASKED | offers.0;
        payload[places.caps_low..][..2].copy_from_slice(&flags.to_le_bytes()[..2]);
        payload[places.caps_high..][..2].copy_from_slice(&flags.to_le_bytes()[2..]);
        if is_mysql == 0 {
            and_at(payload, places.mariadb, &(!Capabilities::MASKED_MARIADB).to_le_bytes());
        }
        Ok(())
    }
}

fn places(payload: &[u8]) -> Result<Places, Malformed> {
    let mut reader = Reader::new(payload);
    if reader.u8()? != 10 {
        return Err(Malformed("not a greeting of protocol version 10"));
    }
    let version = reader.nul_bytes()?;
    // connection id 4, salt 8, filler 1
    let caps_low = 1 + version.len() + 1 + 4 + 8 + 1;
    // character set 1, status 2
    let caps_high = caps_low + 2 + 1 + 2;
    // length of the salt 1, reserved 6
    let mariadb = caps_high + 2 + 1 + 6;
    if payload.len() < mariadb + 4 {
        return Err(Malformed("greeting without 4.1 capabilities"));
    }
    Ok(Places { caps_low, caps_high, mariadb })
}

fn u16_at(payload: &[u8], at: usize) -> Result<u16, Malformed> {
    Reader::new(payload.get(at..).ok_or(Malformed("too short"))?).u16()
}

pub(super) fn and_at(payload: &mut [u8], at: usize, mask: &[u8]) {
    for (byte, keep) in payload[at..].iter_mut().zip(mask) {
        *byte &= keep;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tidb_like() -> Vec<u8> {
        let mut payload = vec![10];
        payload.extend_from_slice(b"8.0.11-TiDB\0");
        payload.extend_from_slice(&77u32.to_le_bytes());
        payload.extend_from_slice(b"12345678\0");
        payload.extend_from_slice(&[0xFF, 0xFF, 46, 2, 0, 0xFF, 0xFF, 21]);
        payload.extend_from_slice(&[0; 10]);
        payload.extend_from_slice(b"abcdefghijkl\0mysql_native_password\0");
        payload
    }

    #[test]
    fn a_greeting_keeps_everything_but_masked_bits() {
        let mut payload = tidb_like();
        let before = Greeting::read(&payload).expect("a greeting").capabilities;
        Greeting::dress(&mut payload, Capabilities(Capabilities::SSL)).expect("a greeting");
        let after = Greeting::read(&payload).expect("still a greeting");
        assert_eq!(after.capabilities.0, before.0 & !Capabilities::MASKED | Capabilities::SSL);
        assert_eq!((after.connection_id, after.version), (77, &b"8.0.11-TiDB"[..]));
        assert!(after.status.autocommit());
    }

    #[test]
    fn mariadb_loses_progress_reports_and_cached_metadata_only() {
        let mut payload = tidb_like();
        let places = places(&payload).expect("a greeting");
        payload[places.caps_low] &= !1;
        payload[places.mariadb] = 0xFF;
        Greeting::dress(&mut payload, Capabilities(0)).expect("a greeting");
        assert_eq!(payload[places.mariadb], 0b1110_1110);
    }

    #[test]
    fn an_error_or_noise_is_no_greeting() {
        assert!(Greeting::read(&[0xFF, 0x10, 0x04]).is_err());
        assert!(Greeting::read(b"SSH-2.0-OpenSSH").is_err());
        assert!(Greeting::read(&[]).is_err());
    }
}
