//! `ERR_Packet`: header 0xFF, code, `#` and SQLSTATE, text. It carries no status flags.

use crate::wire::Malformed;
use crate::wire::lenenc::Reader;

/// The fields of an ERR packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Err<'a> {
    /// The error number.
    pub code: u16,
    /// Five characters; empty in an ERR that comes before the login.
    pub sqlstate: &'a [u8],
    /// The text, in the character set of the connection.
    pub message: &'a [u8],
}

impl<'a> Err<'a> {
    /// Reads an ERR packet.
    pub fn read(payload: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(payload);
        reader.u8()?;
        let code = reader.u16()?;
        let sqlstate = match reader.rest() {
            [b'#', ..] => {
                reader.u8()?;
                reader.bytes(5)?
            }
            _ => &[],
        };
        Ok(Self { code, sqlstate, message: reader.rest() })
    }

    /// The payload.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.push(0xFF);
        out.extend_from_slice(&self.code.to_le_bytes());
        if !self.sqlstate.is_empty() {
            out.push(b'#');
            out.extend_from_slice(self.sqlstate);
        }
        out.extend_from_slice(self.message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_reads_back_with_and_without_sqlstate() {
        for sqlstate in [&b"HY000"[..], &[]] {
            let err = Err { code: 9007, sqlstate, message: b"Write conflict" };
            let mut payload = Vec::new();
            err.write(&mut payload);
            assert_eq!(Err::read(&payload), Ok(err));
        }
    }
}
