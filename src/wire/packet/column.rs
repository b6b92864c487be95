//! A column definition of a server ("Column Definition 41" of the MySQL protocol).

use crate::wire::Malformed;
use crate::wire::lenenc::Reader;

/// `MYSQL_TYPE_LONGLONG`: BIGINT.
pub const LONGLONG: u8 = 0x08;
/// `PRI_KEY_FLAG`: of the primary key.
pub const PRI_KEY: u16 = 0x0002;
/// `AUTO_INCREMENT_FLAG`.
pub const AUTO_INCREMENT: u16 = 0x0200;

/// What is read of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Definition<'a> {
    /// The column's name in its table.
    pub name: &'a [u8],
    /// Its type.
    pub kind: u8,
    /// Its flags.
    pub flags: u16,
}

impl<'a> Definition<'a> {
    /// Reads a column definition.
    ///
    /// # Errors
    /// It is too short.
    pub fn read(payload: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(payload);
        for _ in ["catalog", "schema", "table", "org_table", "name"] {
            reader.lenenc_bytes()?;
        }
        let name = reader.lenenc_bytes()?;
        let mut fixed = Reader::new(reader.lenenc_bytes()?);
        let (_collation, _length) = (fixed.u16()?, fixed.u32()?);
        Ok(Self { name, kind: fixed.u8()?, flags: fixed.u16()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `id` of `CREATE TABLE t (id BIGINT AUTO_INCREMENT PRIMARY KEY)`, as TiDB v7.5 tells it.
    const ID: &[u8] =
        b"\x03def\x01z\x01t\x01t\x01a\x02id\x0c\x3f\x00\x14\x00\x00\x00\x08\x03\x02\x00\x00\x00";

    #[test]
    fn name_type_and_flags_are_read() {
        let id = Definition::read(ID).expect("a definition");
        assert_eq!((id.name, id.kind), (&b"id"[..], LONGLONG));
        assert_eq!(id.flags & (AUTO_INCREMENT | PRI_KEY), AUTO_INCREMENT | PRI_KEY);
        assert!((0..ID.len() - 3).all(|len| Definition::read(&ID[..len]).is_err()));
    }
}
