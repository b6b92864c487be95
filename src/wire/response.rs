//! Hot path: where the reply to a command ends, packet by packet. Budget: a few branches per
//! packet, no allocation.
//!
//! ```text
//!            ┌──────────── MORE_RESULTS ───────────┐
//!            ▼                                     │
//! Results: First ─count─▶ Columns ─▶ (EOF) ─▶ Rows ─EOF/OK─▶ end
//!            ├─OK/ERR─▶ end            └─ cursor ─▶ end
//!            └─0xFB──▶ Infile (the client sends) ─▶ First
//! Prepare: First ─▶ params ─▶ (EOF) ─▶ columns ─▶ (EOF) ─▶ end
//! ```
//!
//! Columns are counted, never recognised; a row is told from the terminator by first byte and
//! length ("Text Resultset", "EOF_Packet"). Only the first frame of a logical packet is shown to
//! [`Response::classify`]; continuation frames can begin with anything.

use super::Malformed;
use super::capability::Capabilities;
use super::command::Reply;
use super::frame::PAYLOAD_MAX;
use super::lenenc::Reader;
use super::packet::err::Err as ErrPacket;
use super::packet::ok::Ok as OkPacket;
use super::packet::prepare_ok::PrepareOk;
use super::status::Status;

/// What a packet of a reply is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Part of an authentication exchange.
    Authentication,
    /// A column or parameter definition. May be relayed piece by piece.
    Column,
    /// The number of columns.
    ColumnCount,
    /// The EOF behind column definitions.
    ColumnsEnd,
    /// An error: the reply ends, also a chain of results.
    Err,
    /// LOCAL INFILE: the client now sends a file.
    Infile,
    /// OK without rows.
    Ok,
    /// Prepare-OK.
    PrepareOk,
    /// A row. May be relayed piece by piece.
    Row,
    /// The end of the rows.
    RowsEnd,
    /// A packet of plain text. May be relayed piece by piece.
    Text,
}

impl Kind {
    /// True if the tracker doesn't need to see the whole packet.
    #[inline]
    #[must_use]
    pub const fn may_stream(self) -> bool {
        matches!(self, Self::Row | Self::Column | Self::Text)
    }
}

/// What a packet said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Seen {
    /// The reply is complete with this packet.
    pub ends: bool,
    /// Server status, where the packet carries one.
    pub status: Option<Status>,
    /// The code of an ERR packet.
    pub error: Option<u16>,
    /// The fields of a Prepare-OK.
    pub prepared: Option<PrepareOk>,
    /// Rows or column definitions went before this error: the client already has a part.
    pub partial: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    First,
    Columns(u64),
    ColumnsEnd,
    Rows,
    Infile,
    PrepareParams { left: u16, columns: u16 },
    PrepareParamsEnd { columns: u16 },
    PrepareColumns { left: u16 },
    PrepareColumnsEnd,
}

/// The reply to one command.
#[derive(Debug, Clone, Copy)]
pub struct Response {
    reply: Reply,
    deprecate_eof: bool,
    state: State,
    results: u32,
}

impl Response {
    /// Starts with the first packet of a reply. [`Reply::Nothing`] has none and must not come here.
    #[must_use]
    pub fn new(reply: Reply, capabilities: Capabilities) -> Self {
        debug_assert!(!matches!(reply, Reply::Nothing));
        let state = if matches!(reply, Reply::Fetch) { State::Rows } else { State::First };
        let deprecate_eof = capabilities.has(Capabilities::DEPRECATE_EOF);
        Self { reply, deprecate_eof, state, results: 0 }
    }

    /// What the next packet is, from its payload length and first byte (0 if it is empty).
    #[inline]
    pub fn classify(&self, len: usize, first: u8) -> Result<Kind, Malformed> {
        if len == 0 {
            return Err(Malformed("empty packet in a reply"));
        }
        match self.state {
            State::Rows => Ok(self.classify_row(len, first)),
            State::First => self.classify_first(len, first),
            _ if first == 0xFF => Ok(Kind::Err),
            State::Columns(_) | State::PrepareParams { .. } | State::PrepareColumns { .. } => {
                Ok(Kind::Column)
            }
            State::ColumnsEnd | State::PrepareParamsEnd { .. } | State::PrepareColumnsEnd => {
                (first == 0xFE).then_some(Kind::ColumnsEnd).ok_or(Malformed("EOF expected"))
            }
            State::Infile => (first == 0).then_some(Kind::Ok).ok_or(Malformed("OK expected")),
        }
    }

    #[inline]
    fn classify_row(&self, len: usize, first: u8) -> Kind {
        match first {
            0xFF => Kind::Err,
            0xFE if self.deprecate_eof && len < PAYLOAD_MAX => Kind::RowsEnd,
            0xFE if !self.deprecate_eof && len < 9 => Kind::RowsEnd,
            _ => Kind::Row,
        }
    }

    fn classify_first(&self, len: usize, first: u8) -> Result<Kind, Malformed> {
        if first == 0xFF {
            return Ok(Kind::Err);
        }
        match self.reply {
            Reply::Results => match first {
                0x00 => Ok(Kind::Ok),
                0xFB => Ok(Kind::Infile),
                0xFE => Err(Malformed("terminator where a result begins")),
                _ => Ok(Kind::ColumnCount),
            },
            Reply::Prepare => {
                (first == 0).then_some(Kind::PrepareOk).ok_or(Malformed("Prepare-OK expected"))
            }
            Reply::Single => match first {
                0x00 => Ok(Kind::Ok),
                0xFE => Ok(Kind::RowsEnd),
                _ => Err(Malformed("OK or EOF expected")),
            },
            Reply::FieldList => Ok(match first {
                0xFE if self.deprecate_eof || len < 9 => Kind::RowsEnd,
                _ => Kind::Column,
            }),
            Reply::Text => Ok(Kind::Text),
            Reply::Authentication => Ok(match first {
                0x00 => Kind::Ok,
                _ => Kind::Authentication,
            }),
            Reply::Unknown => Err(Malformed("a command whose reply has no known end")),
            Reply::Complaint | Reply::Fetch | Reply::Nothing => {
                Err(Malformed("no reply was expected"))
            }
        }
    }

    /// Takes the packet in. `payload` must be whole unless `kind` may stream; of a streamed
    /// packet any prefix will do.
    #[inline]
    pub fn advance(&mut self, kind: Kind, payload: &[u8]) -> Result<Seen, Malformed> {
        match kind {
            Kind::Row => Ok(Seen::default()),
            Kind::Column => Ok(self.column()),
            Kind::Authentication => Ok(Seen::default()),
            Kind::Text => Ok(Seen { ends: true, ..Seen::default() }),
            Kind::ColumnCount => self.column_count(payload),
            Kind::ColumnsEnd => self.columns_end(payload),
            Kind::Infile => {
                self.state = State::Infile;
                Ok(Seen::default())
            }
            Kind::Ok => self.result_end(OkPacket::read(payload)?.status),
            Kind::RowsEnd if payload.len() < 7 => {
                self.result_end(OkPacket::read_eof(payload)?.status)
            }
            Kind::RowsEnd => self.result_end(OkPacket::read(payload)?.status),
            Kind::PrepareOk => self.prepare_ok(payload),
            Kind::Err => {
                let error = Some(ErrPacket::read(payload)?.code);
                let partial = self.state != State::First || self.results > 0;
                Ok(Seen { ends: true, error, partial, ..Seen::default() })
            }
        }
    }

    fn column_count(&mut self, payload: &[u8]) -> Result<Seen, Malformed> {
        match Reader::new(payload).lenenc()? {
            0 => Err(Malformed("result without columns")),
            count => {
                self.state = State::Columns(count);
                Ok(Seen::default())
            }
        }
    }

    fn column(&mut self) -> Seen {
        match self.state {
            State::Columns(left) if left > 1 => self.state = State::Columns(left - 1),
            State::Columns(_) if self.deprecate_eof => self.state = State::Rows,
            State::Columns(_) => self.state = State::ColumnsEnd,
            State::PrepareParams { left, columns } if left > 1 => {
                self.state = State::PrepareParams { left: left - 1, columns };
            }
            State::PrepareParams { columns, .. } if self.deprecate_eof => {
                return self.prepare_columns(columns);
            }
            State::PrepareParams { columns, .. } => {
                self.state = State::PrepareParamsEnd { columns };
            }
            State::PrepareColumns { left } if left > 1 => {
                self.state = State::PrepareColumns { left: left - 1 };
            }
            State::PrepareColumns { .. } if self.deprecate_eof => {
                return Seen { ends: true, ..Seen::default() };
            }
            State::PrepareColumns { .. } => self.state = State::PrepareColumnsEnd,
            // COM_FIELD_LIST sends columns without a count.
            _ => {}
        }
        Seen::default()
    }

    fn columns_end(&mut self, payload: &[u8]) -> Result<Seen, Malformed> {
        let status = OkPacket::read_eof(payload)?.status;
        match self.state {
            State::PrepareParamsEnd { columns } => Ok(self.prepare_columns(columns)),
            State::PrepareColumnsEnd => Ok(Seen { ends: true, ..Seen::default() }),
            _ if status.has(Status::CURSOR_EXISTS) => self.result_end(status),
            _ => {
                self.state = State::Rows;
                Ok(Seen::default())
            }
        }
    }

    fn result_end(&mut self, status: Status) -> Result<Seen, Malformed> {
        let more = self.reply == Reply::Results && status.has(Status::MORE_RESULTS);
        self.state = State::First;
        self.results += 1;
        Ok(Seen { ends: !more, status: Some(status), ..Seen::default() })
    }

    fn prepare_ok(&mut self, payload: &[u8]) -> Result<Seen, Malformed> {
        let ok = PrepareOk::read(payload)?;
        let mut seen = match ok.params {
            0 => self.prepare_columns(ok.columns),
            left => {
                self.state = State::PrepareParams { left, columns: ok.columns };
                Seen::default()
            }
        };
        seen.prepared = Some(ok);
        Ok(seen)
    }

    fn prepare_columns(&mut self, columns: u16) -> Seen {
        self.state = State::PrepareColumns { left: columns };
        Seen { ends: columns == 0, ..Seen::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: Capabilities = Capabilities(0);
    const NEW: Capabilities = Capabilities(Capabilities::DEPRECATE_EOF);

    /// Feeds packets and tells at which the reply ended.
    fn run(reply: Reply, capabilities: Capabilities, packets: &[&[u8]]) -> Vec<Kind> {
        let mut response = Response::new(reply, capabilities);
        let mut kinds = Vec::new();
        for (index, packet) in packets.iter().enumerate() {
            let kind = response.classify(packet.len(), packet[0]).expect("legal packet");
            kinds.push(kind);
            let seen = response.advance(kind, packet).expect("legal packet");
            assert_eq!(seen.ends, index + 1 == packets.len(), "packet {index}");
        }
        kinds
    }

    const OK: &[u8] = &[0, 1, 0, 2, 0, 0, 0];
    const OK_MORE: &[u8] = &[0, 1, 0, 0x0A, 0, 0, 0];
    const EOF: &[u8] = &[0xFE, 0, 0, 2, 0];
    const EOF_MORE: &[u8] = &[0xFE, 0, 0, 0x0A, 0];
    const EOF_CURSOR: &[u8] = &[0xFE, 0, 0, 0x42, 0];
    const OK_EOF: &[u8] = &[0xFE, 0, 0, 2, 0, 0, 0];
    const OK_CURSOR: &[u8] = &[0xFE, 0, 0, 0x42, 0, 0, 0];
    const ERR: &[u8] = b"\xFF\x28\x04#42000no";
    const COLUMN: &[u8] = b"\x03def";
    const ROW: &[u8] = b"\x011";

    #[test]
    fn every_legal_reply_ends_where_the_protocol_says() {
        use Kind::{Column, ColumnCount, ColumnsEnd, Row, RowsEnd};
        run(Reply::Results, OLD, &[OK]);
        run(Reply::Results, OLD, &[ERR]);
        run(Reply::Results, OLD, &[OK_MORE, OK_MORE, OK]);
        run(Reply::Results, OLD, &[OK_MORE, ERR]);
        assert_eq!(
            run(Reply::Results, OLD, &[&[2], COLUMN, COLUMN, EOF, ROW, ROW, EOF]),
            [ColumnCount, Column, Column, ColumnsEnd, Row, Row, RowsEnd]
        );
        run(Reply::Results, NEW, &[&[1], COLUMN, ROW, OK_EOF]);
        run(Reply::Results, OLD, &[&[1], COLUMN, EOF, EOF_MORE, OK]);
        run(Reply::Results, OLD, &[&[1], COLUMN, EOF, ROW, ERR]);
        run(Reply::Results, OLD, &[&[1], COLUMN, EOF_CURSOR]);
        run(Reply::Results, NEW, &[&[1], COLUMN, OK_CURSOR]);
        run(Reply::Fetch, OLD, &[ROW, EOF]);
        run(Reply::Fetch, NEW, &[ROW, OK_EOF]);
        run(Reply::FieldList, OLD, &[COLUMN, COLUMN, EOF]);
        run(Reply::FieldList, NEW, &[COLUMN, OK_EOF]);
        run(Reply::Single, OLD, &[EOF]);
        run(Reply::Single, NEW, &[OK_EOF]);
        run(Reply::Text, OLD, &[b"Uptime: 1"]);
        run(Reply::Authentication, OLD, &[&[0xFE, 1], &[1, 4], OK]);
        run(Reply::Prepare, OLD, &[&[0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]]);
        let both: &[u8] = &[0, 1, 0, 0, 0, 1, 0, 2, 0, 0, 0, 0];
        run(Reply::Prepare, OLD, &[both, COLUMN, COLUMN, EOF, COLUMN, EOF]);
        run(Reply::Prepare, NEW, &[both, COLUMN, COLUMN, COLUMN]);
    }

    #[test]
    fn rows_may_begin_with_any_byte_that_is_no_terminator() {
        let mut response = Response::new(Reply::Fetch, OLD);
        assert_eq!(response.classify(9, 0xFE), Ok(Kind::Row));
        assert_eq!(response.classify(8, 0xFE), Ok(Kind::RowsEnd));
        response.deprecate_eof = true;
        assert_eq!(response.classify(PAYLOAD_MAX, 0xFE), Ok(Kind::Row));
        assert_eq!(response.classify(300, 0xFE), Ok(Kind::RowsEnd));
        assert_eq!(response.classify(5, 0xFB), Ok(Kind::Row));
        assert_eq!(response.classify(5, 0x00), Ok(Kind::Row));
    }

    #[test]
    fn a_file_is_sent_by_the_client_and_answered_by_ok() {
        let mut response = Response::new(Reply::Results, OLD);
        let kind = response.classify(4, 0xFB).expect("infile");
        assert!(!response.advance(kind, b"\xFBfoo").expect("infile").ends);
        let kind = response.classify(OK.len(), 0).expect("ok");
        assert!(response.advance(kind, OK).expect("ok").ends);
    }

    #[test]
    fn of_an_unknown_command_only_a_refusal_is_understood() {
        assert_eq!(run(Reply::Unknown, OLD, &[ERR]), [Kind::Err]);
        for first in [0x00, 0x01, 0xFB, 0xFE] {
            assert!(Response::new(Reply::Unknown, OLD).classify(7, first).is_err());
        }
    }

    #[test]
    fn an_error_behind_a_part_of_the_answer_says_so() {
        let mut response = Response::new(Reply::Results, OLD);
        assert!(!response.advance(Kind::Err, ERR).expect("error").partial);
        for packet in [&[1][..], COLUMN, EOF, ROW] {
            let kind = response.classify(packet.len(), packet[0]).expect("legal");
            response.advance(kind, packet).expect("legal");
        }
        assert!(response.advance(Kind::Err, ERR).expect("error").partial);
    }

    #[test]
    fn noise_is_an_error_value() {
        assert!(Response::new(Reply::Results, OLD).classify(0, 0).is_err());
        assert!(Response::new(Reply::Results, OLD).classify(3, 0xFE).is_err());
        assert!(Response::new(Reply::Prepare, OLD).classify(3, 0x05).is_err());
        assert!(Response::new(Reply::Single, OLD).classify(3, 0x05).is_err());
    }
}
