//! `COM_STMT_PREPARE_OK`: twelve bytes, then the definitions.

use crate::wire::Malformed;
use crate::wire::capability::Capabilities;
use crate::wire::frame::write_packet;
use crate::wire::lenenc::Reader;
use crate::wire::status::Status;

use super::result;

/// The fields of a Prepare-OK.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PrepareOk {
    /// The statement's id on this connection.
    pub statement: u32,
    /// Column definitions that follow behind the parameters.
    pub columns: u16,
    /// Parameter definitions that follow.
    pub params: u16,
}

impl PrepareOk {
    /// Reads a Prepare-OK.
    pub fn read(payload: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(payload);
        reader.u8()?;
        Ok(Self { statement: reader.u32()?, columns: reader.u16()?, params: reader.u16()? })
    }

    /// The whole reply to a COM_STMT_PREPARE whose statement shows no columns yet.
    #[must_use]
    pub fn reply(&self, seq: u8, capabilities: Capabilities) -> Vec<u8> {
        let mut payload = vec![0];
        payload.extend_from_slice(&self.statement.to_le_bytes());
        payload.extend_from_slice(&[0, 0]);
        payload.extend_from_slice(&self.params.to_le_bytes());
        payload.extend_from_slice(&[0, 0, 0]);
        let mut frames = Vec::new();
        let mut seq = write_packet(&mut frames, seq, &payload);
        for _ in 0..self.params {
            seq = write_packet(&mut frames, seq, &result::parameter());
        }
        if self.params > 0 && !capabilities.has(Capabilities::DEPRECATE_EOF) {
            write_packet(&mut frames, seq, &result::eof(Status(0)));
        }
        frames
    }
}
