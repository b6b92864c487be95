//! `OK_Packet` (header 0x00, or 0xFE at the end of rows with `CLIENT_DEPRECATE_EOF`) and
//! `EOF_Packet` (header 0xFE, shorter than nine bytes).

use crate::wire::Malformed;
use crate::wire::lenenc::{Reader, write_lenenc};
use crate::wire::status::Status;

/// The fields of an OK or EOF packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ok<'a> {
    /// Rows changed; 0 in an EOF packet.
    pub affected_rows: u64,
    /// The first generated id of the statement, or 0.
    pub last_insert_id: u64,
    /// Server status flags.
    pub status: Status,
    /// Number of warnings.
    pub warnings: u16,
    /// What follows: information text and session state, as sent.
    pub info: &'a [u8],
}

impl<'a> Ok<'a> {
    /// Reads an OK packet of either header.
    pub fn read(payload: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(payload);
        reader.u8()?;
        Ok(Self {
            affected_rows: reader.lenenc()?,
            last_insert_id: reader.lenenc()?,
            status: Status(reader.u16()?),
            warnings: reader.u16()?,
            info: reader.rest(),
        })
    }

    /// Reads an EOF packet of protocol 4.1.
    pub fn read_eof(payload: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(payload);
        reader.u8()?;
        let warnings = reader.u16()?;
        let status = Status(reader.u16()?);
        Ok(Self { affected_rows: 0, last_insert_id: 0, status, warnings, info: &[] })
    }

    /// The payload of an OK packet with header 0x00.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.push(0x00);
        write_lenenc(out, self.affected_rows);
        write_lenenc(out, self.last_insert_id);
        out.extend_from_slice(&self.status.0.to_le_bytes());
        out.extend_from_slice(&self.warnings.to_le_bytes());
        out.extend_from_slice(self.info);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ok_packet_reads_back() {
        let ok = Ok {
            affected_rows: 300,
            last_insert_id: 70_000,
            status: Status(Status::IN_TRANS | Status::AUTOCOMMIT),
            warnings: 2,
            info: b"Rows matched: 1",
        };
        let mut payload = Vec::new();
        ok.write(&mut payload);
        assert_eq!(Ok::read(&payload).expect("an OK packet"), ok);
    }

    #[test]
    fn an_eof_packet_has_warnings_before_status() {
        let eof = Ok::read_eof(&[0xFE, 1, 0, 3, 0]).expect("five bytes");
        assert_eq!((eof.warnings, eof.status.in_trans()), (1, true));
    }

    #[test]
    fn a_cut_packet_is_malformed() {
        assert!(Ok::read(&[0, 0, 0, 2]).is_err());
        assert!(Ok::read_eof(&[0xFE, 0]).is_err());
    }
}
