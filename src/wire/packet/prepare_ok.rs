//! `COM_STMT_PREPARE_OK`: twelve bytes, then the definitions.

use crate::wire::Malformed;
use crate::wire::lenenc::Reader;

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
}
