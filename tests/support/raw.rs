//! A client that shows every byte. It finds the end of an answer by rules of its own, written
//! from the protocol's description and not with `txguard::wire`, whose mistakes it shall find.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::soon;

/// The longest payload of a frame.
const FRAME_MAX: usize = 0xFF_FFFF;

/// Capability flags (MySQL protocol, "Capabilities Flags").
pub(crate) mod caps {
    pub(crate) const CONNECT_WITH_DB: u32 = 1 << 3;
    pub(crate) const LOCAL_FILES: u32 = 1 << 7;
    pub(crate) const PROTOCOL_41: u32 = 1 << 9;
    pub(crate) const TRANSACTIONS: u32 = 1 << 13;
    pub(crate) const SECURE_CONNECTION: u32 = 1 << 15;
    pub(crate) const MULTI_STATEMENTS: u32 = 1 << 16;
    pub(crate) const MULTI_RESULTS: u32 = 1 << 17;
    pub(crate) const PS_MULTI_RESULTS: u32 = 1 << 18;
    pub(crate) const PLUGIN_AUTH: u32 = 1 << 19;
    pub(crate) const DEPRECATE_EOF: u32 = 1 << 24;

    /// What a complete client asks for: `LONG_PASSWORD`, `LONG_FLAG` and the flags above.
    pub(crate) const USUAL: u32 = 1
        | 1 << 2
        | LOCAL_FILES
        | PROTOCOL_41
        | TRANSACTIONS
        | SECURE_CONNECTION
        | MULTI_STATEMENTS
        | MULTI_RESULTS
        | PS_MULTI_RESULTS
        | PLUGIN_AUTH;
}

/// Commands by their first byte.
pub(crate) mod com {
    pub(crate) const QUIT: u8 = 0x01;
    pub(crate) const INIT_DB: u8 = 0x02;
    pub(crate) const QUERY: u8 = 0x03;
    pub(crate) const FIELD_LIST: u8 = 0x04;
    pub(crate) const STATISTICS: u8 = 0x09;
    pub(crate) const PROCESS_INFO: u8 = 0x0A;
    pub(crate) const PROCESS_KILL: u8 = 0x0C;
    pub(crate) const DEBUG: u8 = 0x0D;
    pub(crate) const PING: u8 = 0x0E;
    pub(crate) const CHANGE_USER: u8 = 0x11;
    pub(crate) const BINLOG_DUMP: u8 = 0x12;
    pub(crate) const REGISTER_SLAVE: u8 = 0x15;
    pub(crate) const STMT_PREPARE: u8 = 0x16;
    pub(crate) const STMT_EXECUTE: u8 = 0x17;
    pub(crate) const STMT_SEND_LONG_DATA: u8 = 0x18;
    pub(crate) const STMT_CLOSE: u8 = 0x19;
    pub(crate) const STMT_RESET: u8 = 0x1A;
    pub(crate) const SET_OPTION: u8 = 0x1B;
    pub(crate) const STMT_FETCH: u8 = 0x1C;
    pub(crate) const RESET_CONNECTION: u8 = 0x1F;
    pub(crate) const STMT_BULK_EXECUTE: u8 = 0xFA;
}

/// A logical packet, and the sequence ids of its frames.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Packet {
    pub(crate) seqs: Vec<u8>,
    pub(crate) payload: Vec<u8>,
}

impl Packet {
    fn first(&self) -> u8 {
        self.payload.first().copied().unwrap_or_default()
    }

    /// The code of an ERR packet.
    pub(crate) fn error(&self) -> Option<u16> {
        match self.payload[..] {
            [0xFF, low, high, ..] => Some(u16::from_le_bytes([low, high])),
            _ => None,
        }
    }

    /// The payload as text, for messages.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.payload).into_owned()
    }
}

/// How an answer is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// OK, EOF or ERR.
    Single,
    /// Results, as long as the flags say that more follow.
    Results,
    Prepare,
    Fetch,
    FieldList,
    /// One packet of text.
    Text,
    /// OK or ERR, with questions before.
    Login,
    Nothing,
}

/// A complete answer, or what came of it before the server closed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Answer {
    pub(crate) packets: Vec<Packet>,
    pub(crate) closed: bool,
}

impl Answer {
    /// The code of its error.
    pub(crate) fn error(&self) -> Option<u16> {
        self.packets.last().and_then(Packet::error)
    }

    /// The status flags at its end.
    pub(crate) fn status(&self) -> Option<u16> {
        self.packets.last().and_then(|last| status(&last.payload))
    }
}

/// A file for LOCAL INFILE.
#[derive(Debug, Clone)]
pub(crate) struct Upload {
    pub(crate) bytes: Vec<u8>,
    /// It is sent in packets of this length.
    pub(crate) packet: usize,
}

/// A connection of single packets.
pub(crate) struct Raw {
    read: BufReader<OwnedReadHalf>,
    write: OwnedWriteHalf,
    /// Flags in force; those of the client and the server.
    pub(crate) capabilities: u32,
    /// The server's first packet.
    pub(crate) greeting: Packet,
    /// What came between the greeting and the end of the login.
    pub(crate) login: Answer,
}

impl Raw {
    /// Logs in as root without a password.
    pub(crate) async fn login(address: &str, schema: Option<&str>, capabilities: u32) -> Self {
        let mut raw = Self::greeted(address).await;
        let packet = raw.login_packet("root", schema, capabilities);
        raw.send(1, &packet).await.expect("the server reads");
        raw.login = raw.answer(Shape::Login).await;
        assert_eq!(raw.login.error(), None, "login: {:?}", raw.login);
        raw
    }

    /// Connects and reads the greeting, which may be an error.
    pub(crate) async fn greeted(address: &str) -> Self {
        let stream = soon("connecting", TcpStream::connect(address)).await.expect("a listener");
        stream.set_nodelay(true).expect("TCP");
        let (read, write) = stream.into_split();
        let mut raw = Self {
            read: BufReader::with_capacity(64 << 10, read),
            write,
            capabilities: 0,
            greeting: Packet { seqs: Vec::new(), payload: Vec::new() },
            login: Answer::default(),
        };
        raw.greeting = soon("the greeting", raw.packet()).await.expect("a greeting");
        raw
    }

    /// The login packet with an empty password; remembers the flags.
    pub(crate) fn login_packet(
        &mut self,
        user: &str,
        schema: Option<&str>,
        capabilities: u32,
    ) -> Vec<u8> {
        let with_schema = if schema.is_some() { caps::CONNECT_WITH_DB } else { 0 };
        self.capabilities = (capabilities | with_schema) & greeting_caps(&self.greeting.payload);
        let mut packet = Vec::new();
        packet.extend(self.capabilities.to_le_bytes());
        packet.extend((64u32 << 20).to_le_bytes());
        // utf8mb4_general_ci
        packet.push(45);
        packet.extend([0; 23]);
        packet.extend(user.bytes());
        packet.extend([0, 0]);
        if let Some(schema) = schema {
            packet.extend(schema.bytes());
            packet.push(0);
        }
        packet.extend(b"mysql_native_password\0");
        packet
    }

    /// A packet in as many frames as it takes.
    pub(crate) async fn send(&mut self, first_seq: u8, payload: &[u8]) -> io::Result<()> {
        self.write.write_all(&frames(first_seq, payload)).await
    }

    /// Bytes as they are.
    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write.write_all(bytes).await
    }

    /// A command and its answer.
    pub(crate) async fn ask(&mut self, command: &[u8], shape: Shape) -> Answer {
        // A server that has closed is seen in the answer.
        let _ = soon("sending", self.send(0, command)).await;
        self.answer(shape).await
    }

    /// A statement and its answer.
    pub(crate) async fn query(&mut self, statement: &str) -> Answer {
        self.ask(&query(statement), Shape::Results).await
    }

    /// The next answer.
    pub(crate) async fn answer(&mut self, shape: Shape) -> Answer {
        self.answer_with_file(shape, None).await
    }

    /// The next answer; a LOCAL INFILE request gets this file, or none.
    pub(crate) async fn answer_with_file(&mut self, shape: Shape, file: Option<Upload>) -> Answer {
        let mut answer = Answer::default();
        let file = file.as_ref();
        let done = soon("an answer", self.read_answer(shape, file, &mut answer.packets)).await;
        answer.closed = done.is_err();
        answer
    }

    /// The rest of the stream, up to its end.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        // A reset in place of an end says the same.
        let _ = soon("the end", self.read.read_to_end(&mut rest)).await;
        rest
    }

    /// So many bytes, whatever they are.
    pub(crate) async fn some(&mut self, len: usize, out: &mut Vec<u8>) {
        out.resize(len, 0);
        self.read.read_exact(out).await.expect("so many bytes");
    }

    /// Says good-bye; what the server still says.
    pub(crate) async fn quit(mut self) -> Vec<u8> {
        let _ = self.send(0, &[com::QUIT]).await;
        self.rest().await
    }

    /// The next packet.
    pub(crate) async fn packet(&mut self) -> io::Result<Packet> {
        let mut packet = Packet { seqs: Vec::new(), payload: Vec::new() };
        loop {
            let [a, b, c, seq] = {
                let mut header = [0; 4];
                self.read.read_exact(&mut header).await?;
                header
            };
            let len = u32::from_le_bytes([a, b, c, 0]) as usize;
            packet.seqs.push(seq);
            let start = packet.payload.len();
            packet.payload.resize(start + len, 0);
            self.read.read_exact(&mut packet.payload[start..]).await?;
            if len < FRAME_MAX {
                return Ok(packet);
            }
        }
    }

    async fn next<'a>(&mut self, packets: &'a mut Vec<Packet>) -> io::Result<&'a Packet> {
        let packet = self.packet().await?;
        packets.push(packet);
        Ok(packets.last().expect("just pushed"))
    }

    async fn read_answer(
        &mut self,
        shape: Shape,
        file: Option<&Upload>,
        packets: &mut Vec<Packet>,
    ) -> io::Result<()> {
        match shape {
            Shape::Nothing => Ok(()),
            Shape::Single | Shape::Text => self.next(packets).await.map(drop),
            Shape::Results => self.read_results(file, packets).await,
            Shape::Prepare => self.read_prepare(packets).await,
            Shape::Fetch => self.read_rows(packets).await.map(drop),
            Shape::FieldList => loop {
                let packet = self.next(packets).await?;
                if packet.first() == 0xFF || packet.first() == 0xFE && packet.payload.len() < 9 {
                    return Ok(());
                }
            },
            Shape::Login => self.read_login(packets).await,
        }
    }

    async fn read_login(&mut self, packets: &mut Vec<Packet>) -> io::Result<()> {
        loop {
            let packet = self.next(packets).await?;
            if matches!(packet.first(), 0x00 | 0xFF) {
                return Ok(());
            }
            // Another plugin is asked for: an empty password has an empty answer.
            let seq = packet.seqs.last().copied().unwrap_or_default();
            self.send(seq.wrapping_add(1), &[]).await?;
        }
    }

    async fn read_results(
        &mut self,
        file: Option<&Upload>,
        packets: &mut Vec<Packet>,
    ) -> io::Result<()> {
        const MORE: u16 = 8;
        loop {
            let packet = self.next(packets).await?;
            let flags = match packet.first() {
                0xFF => return Ok(()),
                0x00 => status(&packet.payload),
                0xFB => {
                    let seq = packet.seqs[0].wrapping_add(1);
                    self.send_file(seq, file).await?;
                    let packet = self.next(packets).await?;
                    if packet.first() == 0xFF {
                        return Ok(());
                    }
                    status(&packet.payload)
                }
                _ => {
                    let columns = lenenc(&packet.payload).0;
                    for _ in 0..columns {
                        self.next(packets).await?;
                    }
                    self.read_rows_of_result(packets).await?
                }
            };
            if flags.is_none_or(|flags| flags & MORE == 0) {
                return Ok(());
            }
        }
    }

    async fn read_rows_of_result(&mut self, packets: &mut Vec<Packet>) -> io::Result<Option<u16>> {
        const CURSOR: u16 = 0x40;
        if self.capabilities & caps::DEPRECATE_EOF == 0 {
            let packet = self.next(packets).await?;
            let flags = status(&packet.payload);
            if packet.first() == 0xFF || flags.is_some_and(|flags| flags & CURSOR != 0) {
                return Ok(flags);
            }
        }
        self.read_rows(packets).await
    }

    async fn read_rows(&mut self, packets: &mut Vec<Packet>) -> io::Result<Option<u16>> {
        let deprecate_eof = self.capabilities & caps::DEPRECATE_EOF != 0;
        loop {
            let packet = self.next(packets).await?;
            let ends = match packet.first() {
                0xFF => true,
                0xFE if deprecate_eof => packet.payload.len() < FRAME_MAX,
                0xFE => packet.payload.len() < 9,
                _ => false,
            };
            if ends {
                return Ok(status(&packet.payload));
            }
        }
    }

    async fn read_prepare(&mut self, packets: &mut Vec<Packet>) -> io::Result<()> {
        let packet = self.next(packets).await?;
        if packet.first() == 0xFF {
            return Ok(());
        }
        let u16_at = |at: usize| u16::from_le_bytes([packet.payload[at], packet.payload[at + 1]]);
        let eof = usize::from(self.capabilities & caps::DEPRECATE_EOF == 0);
        let groups = [u16_at(7), u16_at(5)];
        for count in groups.into_iter().filter(|count| *count > 0) {
            for _ in 0..usize::from(count) + eof {
                self.next(packets).await?;
            }
        }
        Ok(())
    }

    async fn send_file(&mut self, first_seq: u8, file: Option<&Upload>) -> io::Result<()> {
        let mut seq = first_seq;
        for packet in file.iter().flat_map(|file| file.bytes.chunks(file.packet.max(1))) {
            self.send(seq, packet).await?;
            // As many frames as it took.
            seq = seq.wrapping_add((packet.len() / FRAME_MAX) as u8 + 1);
        }
        self.send(seq, &[]).await
    }
}

/// A COM_QUERY.
pub(crate) fn query(statement: &str) -> Vec<u8> {
    command(com::QUERY, statement.as_bytes())
}

/// A command with what follows its first byte.
pub(crate) fn command(first: u8, rest: &[u8]) -> Vec<u8> {
    let mut payload = vec![first];
    payload.extend_from_slice(rest);
    payload
}

/// A packet in as many frames as it takes.
pub(crate) fn frames(first_seq: u8, payload: &[u8]) -> Vec<u8> {
    let (mut bytes, mut seq, mut rest) =
        (Vec::with_capacity(payload.len() + 8), first_seq, payload);
    loop {
        let len = rest.len().min(FRAME_MAX);
        bytes.extend_from_slice(&u32::try_from(len).expect("24 bits").to_le_bytes()[..3]);
        bytes.push(seq);
        bytes.extend_from_slice(&rest[..len]);
        (seq, rest) = (seq.wrapping_add(1), &rest[len..]);
        if len < FRAME_MAX {
            return bytes;
        }
    }
}

/// The flags of an OK or EOF packet.
fn status(payload: &[u8]) -> Option<u16> {
    let at = match payload {
        [0xFE, _, _, _, _] => 3,
        [0x00 | 0xFE, rest @ ..] => {
            let first = lenenc(rest).1;
            1 + first + lenenc(&rest[first..]).1
        }
        _ => return None,
    };
    payload.get(at..at + 2).map(|two| u16::from_le_bytes([two[0], two[1]]))
}

/// A length-encoded integer, and how many bytes it takes.
pub(crate) fn lenenc(bytes: &[u8]) -> (u64, usize) {
    let width = match bytes[0] {
        0xFC => 2,
        0xFD => 3,
        0xFE => 8,
        small => return (u64::from(small), 1),
    };
    let mut wide = [0; 8];
    wide[..width].copy_from_slice(&bytes[1..=width]);
    (u64::from_le_bytes(wide), width + 1)
}

/// Where the fields of a greeting are, from the length of its version text.
pub(crate) struct GreetingPlaces {
    pub(crate) connection_id: std::ops::Range<usize>,
    pub(crate) salt: [std::ops::Range<usize>; 2],
    /// The lower and the upper two bytes.
    pub(crate) capabilities: [std::ops::Range<usize>; 2],
    /// MariaDB's own, in the last four of the reserved bytes.
    pub(crate) mariadb: std::ops::Range<usize>,
}

impl GreetingPlaces {
    pub(crate) fn of(greeting: &[u8]) -> Self {
        let version = 1 + greeting[1..].iter().position(|byte| *byte == 0).expect("a NUL");
        let id = version + 1;
        let caps = id + 4 + 9;
        Self {
            connection_id: id..id + 4,
            salt: [id + 4..id + 12, caps + 18..caps + 30],
            capabilities: [caps..caps + 2, caps + 5..caps + 7],
            mariadb: caps + 14..caps + 18,
        }
    }
}

fn greeting_caps(greeting: &[u8]) -> u32 {
    let [low, high] = GreetingPlaces::of(greeting).capabilities;
    let part = |range: std::ops::Range<usize>| {
        u32::from(greeting[range.start]) | u32::from(greeting[range.start + 1]) << 8
    };
    part(low) | part(high) << 16
}
