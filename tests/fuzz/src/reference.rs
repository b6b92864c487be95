//! Where a reply ends, told from the whole of it: the grammar of the protocol read by recursive
//! descent, without state kept between packets. Slow, and written from the protocol's
//! description, so that it shares no line and no idea with what it is compared to.

use txguard::wire::command::Reply;

/// What the packets up to now are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The reply is complete with the packet of this index. The status is that of the last
    /// result, if there was one.
    Ends(usize, Option<u16>),
    /// Packets are missing.
    Open,
    /// No server says this.
    Malformed,
}

/// Reads all packets that came behind a command.
#[must_use]
pub fn judge(reply: Reply, deprecate_eof: bool, packets: &[Vec<u8>]) -> Verdict {
    let mut parser = Parser { packets, next: 0, deprecate_eof, status: None };
    match parser.reply(reply) {
        Ok(()) => Verdict::Ends(parser.next - 1, parser.status),
        Err(Stop::Error) => Verdict::Ends(parser.next - 1, parser.status),
        Err(Stop::Open) => Verdict::Open,
        Err(Stop::Malformed) => Verdict::Malformed,
    }
}

/// Why parsing stops early.
enum Stop {
    /// An ERR packet ends any reply, wherever it stands.
    Error,
    Open,
    Malformed,
}

struct Parser<'a> {
    packets: &'a [Vec<u8>],
    next: usize,
    deprecate_eof: bool,
    status: Option<u16>,
}

impl<'a> Parser<'a> {
    fn reply(&mut self, reply: Reply) -> Result<(), Stop> {
        match reply {
            Reply::Results => {
                while self.result()? & 0x08 != 0 {}
                Ok(())
            }
            Reply::Prepare => self.prepare(),
            Reply::Fetch => self.rows().map(|_| ()),
            Reply::FieldList => {
                while !self.field()? {}
                Ok(())
            }
            Reply::Text => self.packet().map(|_| ()),
            Reply::Authentication => {
                while !self.authentication()? {}
                Ok(())
            }
            Reply::Single => match self.packet()? {
                packet @ [0x00, ..] => self.ok(packet).map(|_| ()),
                packet @ [0xFE, ..] => self.rows_end(packet).map(|_| ()),
                _ => Err(Stop::Malformed),
            },
            // A refusal, which doesn't come out of here.
            Reply::Unknown => self.packet().and(Err(Stop::Malformed)),
            Reply::Nothing | Reply::Complaint => Err(Stop::Malformed),
        }
    }

    /// The next packet; an ERR doesn't come out of here.
    fn packet(&mut self) -> Result<&'a [u8], Stop> {
        let packet: &[u8] = self.packets.get(self.next).ok_or(Stop::Open)?;
        self.next += 1;
        match packet {
            [] => Err(Stop::Malformed),
            // Code, then `#` and five characters, or text at once.
            [0xFF, _, _, b'#', text @ ..] if text.len() < 5 => Err(Stop::Malformed),
            [0xFF, _, _, ..] => Err(Stop::Error),
            [0xFF, ..] => Err(Stop::Malformed),
            _ => Ok(packet),
        }
    }

    /// One result of a statement; returns its status.
    fn result(&mut self) -> Result<u16, Stop> {
        let first = self.packet()?;
        match first[0] {
            0x00 => return self.ok(first),
            // The client sends a file, which isn't in this stream.
            0xFB => {
                let answer = self.packet()?;
                return if answer[0] == 0 { self.ok(answer) } else { Err(Stop::Malformed) };
            }
            0xFE => return Err(Stop::Malformed),
            _ => {}
        }
        let columns = integer(first).map(|(value, _)| value).filter(|columns| *columns > 0);
        for _ in 0..columns.ok_or(Stop::Malformed)? {
            self.packet()?;
        }
        if !self.deprecate_eof {
            let status = self.eof()?;
            // The rows of a cursor come by another command.
            if status & 0x40 != 0 {
                return Ok(self.note(status));
            }
        }
        self.rows()
    }

    fn rows(&mut self) -> Result<u16, Stop> {
        loop {
            let packet = self.packet()?;
            // A row may begin with 0xFE where its first value has 16 MiB or more, or where a
            // length of eight bytes follows.
            let end_max = if self.deprecate_eof { 0xFF_FFFE } else { 8 };
            if packet[0] == 0xFE && packet.len() <= end_max {
                return self.rows_end(packet);
            }
        }
    }

    /// True at the end of a list of fields.
    fn field(&mut self) -> Result<bool, Stop> {
        let packet = self.packet()?;
        if packet[0] != 0xFE || !self.deprecate_eof && packet.len() > 8 {
            return Ok(false);
        }
        self.rows_end(packet).map(|_| true)
    }

    fn prepare(&mut self) -> Result<(), Stop> {
        let [0, _, _, _, _, c0, c1, p0, p1, ..] = *self.packet()? else {
            return Err(Stop::Malformed);
        };
        for count in [u16::from_le_bytes([p0, p1]), u16::from_le_bytes([c0, c1])] {
            for _ in 0..count {
                self.packet()?;
            }
            if count > 0 && !self.deprecate_eof {
                self.eof()?;
            }
        }
        Ok(())
    }

    /// True at the end of the exchange.
    fn authentication(&mut self) -> Result<bool, Stop> {
        match self.packet()? {
            packet @ [0x00, ..] => self.ok(packet).map(|_| true),
            _ => Ok(false),
        }
    }

    /// Header, two integers, status, warnings.
    fn ok(&mut self, packet: &[u8]) -> Result<u16, Stop> {
        let rest = &packet[1..];
        let (_, rest) = integer(rest).ok_or(Stop::Malformed)?;
        let (_, rest) = integer(rest).ok_or(Stop::Malformed)?;
        match rest {
            [low, high, _, _, ..] => Ok(self.note(u16::from_le_bytes([*low, *high]))),
            _ => Err(Stop::Malformed),
        }
    }

    /// An EOF packet, or the OK that stands in its place.
    fn rows_end(&mut self, packet: &[u8]) -> Result<u16, Stop> {
        match packet {
            [_, _, _, low, high] | [_, _, _, low, high, _] => {
                Ok(self.note(u16::from_le_bytes([*low, *high])))
            }
            _ => self.ok(packet),
        }
    }

    /// Header, warnings, status.
    fn eof(&mut self) -> Result<u16, Stop> {
        match self.packet()? {
            [0xFE, _, _, low, high, ..] => Ok(u16::from_le_bytes([*low, *high])),
            _ => Err(Stop::Malformed),
        }
    }

    fn note(&mut self, status: u16) -> u16 {
        self.status = Some(status);
        status
    }
}

/// A length-encoded integer and what follows it.
fn integer(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (first, rest) = bytes.split_first()?;
    let len = match first {
        0..=0xFA => return Some((u64::from(*first), rest)),
        0xFC => 2,
        0xFD => 3,
        0xFE => 8,
        0xFB | 0xFF => return None,
    };
    let (digits, rest) = rest.split_at_checked(len)?;
    Some((digits.iter().rev().fold(0, |value, digit| value << 8 | u64::from(*digit)), rest))
}
