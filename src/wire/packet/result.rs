//! A result of our own: column definitions, rows as text or binary, the end.
//!
//! "Text Resultset", "Binary Protocol Resultset" and "Column Definition" of the MySQL protocol.

use crate::wire::frame::write_packet;
use crate::wire::lenenc::write_lenenc;
use crate::wire::packet::ok::Ok as OkPacket;
use crate::wire::status::Status;

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// For COM_STMT_EXECUTE.
    Binary,
    /// For COM_QUERY.
    Text,
}

/// A column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column {
    /// BIGINT UNSIGNED.
    Number(&'static str),
    /// VARCHAR in utf8mb4.
    Text(&'static str),
}

/// A value; of the type of its column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// NULL.
    Null,
    /// In a column of numbers.
    Number(u64),
    /// In a column of texts.
    Text(String),
}

/// Columns and rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResultSet {
    columns: Vec<Column>,
    rows: Vec<Vec<Value>>,
}

/// `MYSQL_TYPE_LONGLONG`, `UNSIGNED_FLAG` with `NUM_FLAG`, and the collation `binary`.
const LONGLONG: (u8, u16, u16) = (0x08, 0x8020, 63);
/// `MYSQL_TYPE_VAR_STRING` and `utf8mb4_bin`.
const VAR_STRING: (u8, u16, u16) = (0xFD, 0, 46);

impl ResultSet {
    /// No rows yet.
    #[must_use]
    pub fn new(columns: &[Column]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new() }
    }

    /// One more row, with a value for each column.
    pub fn row(&mut self, values: Vec<Value>) {
        debug_assert_eq!(values.len(), self.columns.len());
        self.rows.push(values);
    }

    /// All its frames, with sequence ids from `seq` on.
    #[must_use]
    pub fn frames(&self, form: Form, status: Status, eof_gone: bool, seq: u8) -> Vec<u8> {
        let mut frames = Vec::new();
        let mut payload = Vec::new();
        write_lenenc(&mut payload, self.columns.len() as u64);
        let mut seq = write_packet(&mut frames, seq, &payload);
        for column in &self.columns {
            seq = write_packet(&mut frames, seq, &column.definition());
        }
        if !eof_gone {
            seq = write_packet(&mut frames, seq, &eof(status));
        }
        for row in &self.rows {
            let row = match form {
                Form::Text => text_row(row),
                Form::Binary => binary_row(row),
            };
            seq = write_packet(&mut frames, seq, &row);
        }
        let end = if eof_gone { ok_at_the_end(status) } else { eof(status) };
        write_packet(&mut frames, seq, &end);
        frames
    }
}

impl Column {
    fn definition(self) -> Vec<u8> {
        let (name, (kind, flags, collation)) = match self {
            Self::Number(name) => (name, LONGLONG),
            Self::Text(name) => (name, VAR_STRING),
        };
        definition(name, kind, flags, collation)
    }
}

/// A column definition; parameters of prepared statements have one too.
pub(super) fn definition(name: &str, kind: u8, flags: u16, collation: u16) -> Vec<u8> {
    let mut payload = Vec::new();
    for text in ["def", "", "", "", name, name] {
        bytes(&mut payload, text.as_bytes());
    }
    payload.push(0x0C);
    payload.extend_from_slice(&collation.to_le_bytes());
    // The longest that any of our values is.
    payload.extend_from_slice(&1024_u32.to_le_bytes());
    payload.push(kind);
    payload.extend_from_slice(&flags.to_le_bytes());
    payload.extend_from_slice(&[0, 0, 0]);
    payload
}

/// A parameter of a prepared statement: its type is the client's to choose.
pub(super) fn parameter() -> Vec<u8> {
    let (kind, flags, collation) = VAR_STRING;
    definition("?", kind, flags, collation)
}

fn text_row(row: &[Value]) -> Vec<u8> {
    let mut payload = Vec::new();
    for value in row {
        match value {
            Value::Null => payload.push(0xFB),
            Value::Number(number) => bytes(&mut payload, number.to_string().as_bytes()),
            Value::Text(text) => bytes(&mut payload, text.as_bytes()),
        }
    }
    payload
}

fn binary_row(row: &[Value]) -> Vec<u8> {
    // The bitmap of NULLs begins at its third bit.
    let mut payload = vec![0; 1 + (row.len() + 2).div_ceil(8)];
    for (place, value) in row.iter().enumerate() {
        match value {
            Value::Null => payload[1 + (place + 2) / 8] |= 1 << ((place + 2) % 8),
            Value::Number(number) => payload.extend_from_slice(&number.to_le_bytes()),
            Value::Text(text) => bytes(&mut payload, text.as_bytes()),
        }
    }
    payload
}

fn bytes(out: &mut Vec<u8>, value: &[u8]) {
    write_lenenc(out, value.len() as u64);
    out.extend_from_slice(value);
}

/// `EOF_Packet`.
pub(super) fn eof(status: Status) -> Vec<u8> {
    let [low, high] = status.0.to_le_bytes();
    vec![0xFE, 0, 0, low, high]
}

/// The OK that stands for it where EOF is deprecated.
fn ok_at_the_end(status: Status) -> Vec<u8> {
    let mut payload = Vec::new();
    OkPacket { affected_rows: 0, last_insert_id: 0, status, warnings: 0, info: &[] }
        .write(&mut payload);
    payload[0] = 0xFE;
    payload
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::capability::Capabilities;
    use crate::wire::command::Reply;
    use crate::wire::frame::{HEADER_LEN, Header};
    use crate::wire::response::Response;

    fn result() -> ResultSet {
        let mut result = ResultSet::new(&[Column::Text("a"), Column::Number("b")]);
        result.row(vec![Value::Text("x".into()), Value::Number(7)]);
        result.row(vec![Value::Null, Value::Null]);
        result
    }

    /// Payloads of frames whose ids are in order.
    fn payloads(mut frames: &[u8], mut seq: u8) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        while let Some(header) = Header::read(frames) {
            assert_eq!(header.seq, seq);
            seq += 1;
            found.push(frames[HEADER_LEN..header.frame_len()].to_vec());
            frames = &frames[header.frame_len()..];
        }
        found
    }

    #[test]
    fn a_result_ends_where_its_reader_says() {
        for (flags, eof_gone) in [(0, false), (Capabilities::DEPRECATE_EOF, true)] {
            for form in [Form::Text, Form::Binary] {
                let frames = result().frames(form, Status(2), eof_gone, 1);
                let mut response = Response::new(Reply::Results, Capabilities(flags));
                let packets = payloads(&frames, 1);
                for (place, packet) in packets.iter().enumerate() {
                    let kind = response.classify(packet.len(), packet[0]).expect("legal");
                    let seen = response.advance(kind, packet).expect("legal");
                    assert_eq!(seen.ends, place + 1 == packets.len(), "{place}");
                }
                assert_eq!(packets.len(), if eof_gone { 6 } else { 7 });
            }
        }
    }

    #[test]
    fn rows_are_written_in_both_forms() {
        let result = result();
        assert_eq!(text_row(&result.rows[0]), b"\x01x\x017");
        assert_eq!(text_row(&result.rows[1]), b"\xFB\xFB");
        assert_eq!(binary_row(&result.rows[0]), b"\0\0\x01x\x07\0\0\0\0\0\0\0");
        assert_eq!(binary_row(&result.rows[1]), [0, 0b1100]);
    }
}
