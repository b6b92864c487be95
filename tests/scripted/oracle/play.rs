//! A client and a server that say given bytes and take down what they hear.
//!
//! Each side says its next words when it has heard so many packets, and listens meanwhile; so it
//! makes no difference how far the other one is.

use std::fmt;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::watch;
use tokio::time::timeout;
use txguard::net::stream::Stream;
use txguard::wire::frame::{HEADER_LEN, Header, write_packet};

use super::compare::is_close;
use crate::harness::{LIMIT, Setup, Talk};
use crate::words::Reply;

/// Everything that was heard.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Heard {
    pub(super) client: Vec<u8>,
    pub(super) server: Vec<u8>,
}

/// How bytes travel.
#[derive(Debug, Clone, Copy)]
pub(super) enum Cut {
    /// In one go.
    Whole,
    /// In pieces of random length, by a seed and up to so many bytes.
    Pieces { seed: usize, most: usize },
}

impl Cut {
    /// One by one.
    const BYTES: Self = Self::Pieces { seed: 0, most: 1 };

    /// One of them.
    pub(super) fn one(number: usize) -> Self {
        match number % 3 {
            0 => Self::Whole,
            1 => Self::BYTES,
            _ => Self::Pieces { seed: number, most: 60 },
        }
    }

    /// In one go and in pieces; `all`: in pieces of every kind.
    pub(super) fn some(number: usize, all: bool) -> Vec<Self> {
        match all {
            true => vec![Self::Whole, Self::BYTES, Self::Pieces { seed: number, most: 60 }],
            false => vec![Self::Whole, Self::one(1 + number % 2)],
        }
    }

    /// The same in about so many pieces at most.
    pub(super) fn bounded(self, flow: &Flow, pieces: usize) -> Self {
        match self {
            Self::Whole => self,
            Self::Pieces { seed, most } => {
                let bytes: usize = flow.both().map(|words| words.len()).sum();
                Self::Pieces { seed, most: most.max(bytes / pieces) }
            }
        }
    }

    /// The size of the pipes.
    fn pipe(self) -> usize {
        match self {
            Self::Whole => 1 << 20,
            Self::Pieces { seed, most } => 1 + seed % 7 + most / 2,
        }
    }

    /// The length of the piece behind `at`.
    fn piece(self, at: usize, left: usize) -> usize {
        match self {
            Self::Whole => left,
            Self::Pieces { seed, most } => {
                let dice = (seed ^ at).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
                left.min(1 + dice % most)
            }
        }
    }
}

/// What one side says, and when.
#[derive(Default)]
struct Words {
    /// Bytes, and how many packets are heard before them.
    says: Vec<(usize, Vec<u8>)>,
    /// How many packets it says altogether, closes left out: they may come late.
    packets: usize,
}

impl Words {
    fn say(&mut self, after: usize, seq: u8, packets: &[Vec<u8>]) -> u8 {
        let (mut bytes, mut seq) = (Vec::new(), seq);
        for packet in packets {
            seq = write_packet(&mut bytes, seq, packet);
            self.packets += usize::from(!is_close(packet));
        }
        self.says.push((after, bytes));
        seq
    }
}

/// A dialogue.
#[derive(Default)]
pub(super) struct Flow {
    client: Words,
    server: Words,
    /// Packets of the server that the client had heard when it said something last.
    known: usize,
}

impl Flow {
    fn both(&self) -> impl Iterator<Item = &Vec<u8>> {
        self.client.says.iter().chain(&self.server.says).map(|(_, bytes)| bytes)
    }

    /// A command and its reply.
    pub(super) fn exchange(&mut self, command: &[u8], reply: &Reply) {
        self.turns(command, &[Turn::Server(reply.packets.clone())], false);
    }

    /// A command and what follows; `ahead`: sent together with what the client said last.
    pub(super) fn turns(&mut self, command: &[u8], turns: &[Turn], ahead: bool) {
        if !ahead {
            self.known = self.server.packets;
        }
        let mut seq = self.client.say(self.known, 0, &[command.to_vec()]);
        for turn in turns {
            match turn {
                Turn::Client(packet) => {
                    self.known = self.server.packets;
                    seq = self.client.say(self.known, seq, std::slice::from_ref(packet));
                }
                Turn::Server(packets) => {
                    seq = self.server.say(self.client.packets, seq, packets);
                }
            }
        }
    }
}

/// What follows a command.
#[derive(Clone)]
pub(super) enum Turn {
    /// A packet of the client: of its file, or of an authentication.
    Client(Vec<u8>),
    /// Packets of the server.
    Server(Vec<Vec<u8>>),
}

impl fmt::Debug for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(packet) => write!(f, "client: {} bytes", packet.len()),
            Self::Server(packets) => write!(f, "server: {} packets", packets.len()),
        }
    }
}

/// Client and server without anything between them.
pub(super) async fn direct(flow: &Flow, cut: Cut) -> Result<Heard, String> {
    let (client, server) = duplex(cut.pipe());
    play(Stream::new(client), Stream::new(server), flow, cut).await
}

/// The same with txguard between them, behind the login.
pub(super) async fn through(setup: Setup, flow: &Flow, cut: Cut) -> Result<Heard, String> {
    let talk = setup.pipes(cut.pipe(), cut.pipe()).open().await;
    let Talk { client, server, drain: _drain, policies: _policies, .. } = talk;
    play(client.into_stream(), server.into_stream(), flow, cut).await
}

/// Plays the dialogue until both streams have ended.
pub(super) async fn play(
    client: Stream<DuplexStream>,
    server: Stream<DuplexStream>,
    flow: &Flow,
    cut: Cut,
) -> Result<Heard, String> {
    let both = async {
        tokio::join!(
            side(client, &flow.client, Some(flow.server.packets), cut),
            side(server, &flow.server, None, cut),
        )
    };
    let (client, server) = timeout(LIMIT, both).await.map_err(|_| "both sides wait".to_owned())?;
    Ok(Heard { client: client?, server: server? })
}

/// One side: says its words, and hears until the end. The client ends it when it has heard
/// `packets`.
async fn side(
    stream: Stream<DuplexStream>,
    words: &Words,
    packets: Option<usize>,
    cut: Cut,
) -> Result<Vec<u8>, String> {
    let (mut read, mut write) = tokio::io::split(stream);
    let (tell, mut told) = watch::channel(0);
    let saying = async {
        for (after, bytes) in &words.says {
            if told.wait_for(|heard| heard >= after).await.is_err() {
                return Err(format!("the stream ended before packet {after}"));
            }
            say(&mut write, bytes, cut).await?;
        }
        if let Some(packets) = packets {
            let _ = told.wait_for(|heard| *heard >= packets).await;
            write.shutdown().await.map_err(|error| error.to_string())?;
        }
        Ok(())
    };
    let hearing = async {
        let mut heard = Vec::new();
        let mut count = Count::default();
        loop {
            let before = heard.len();
            // What is there, in whatever pieces it comes.
            heard.reserve(64 << 10);
            match read.read_buf(&mut heard).await {
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
            debug_assert!(heard.len() > before);
            count.take(&heard);
            tell.send_replace(count.packets);
        }
        drop(tell);
        heard
    };
    let (said, heard) = tokio::join!(saying, hearing);
    said.map(|()| heard)
}

async fn say(
    write: &mut tokio::io::WriteHalf<Stream<DuplexStream>>,
    bytes: &[u8],
    cut: Cut,
) -> Result<(), String> {
    let mut rest = bytes;
    while !rest.is_empty() {
        let at = bytes.len() - rest.len();
        let (piece, later) = rest.split_at(cut.piece(at, rest.len()));
        write.write_all(piece).await.map_err(|error| error.to_string())?;
        rest = later;
        tokio::task::yield_now().await;
    }
    Ok(())
}

/// Counts logical packets, closes left out.
#[derive(Default)]
struct Count {
    packets: usize,
    at: usize,
}

impl Count {
    fn take(&mut self, heard: &[u8]) {
        while let Some(header) = Header::read(&heard[self.at..]) {
            let end = self.at + header.frame_len();
            if heard.len() < end {
                return;
            }
            let payload = &heard[self.at + HEADER_LEN..end];
            self.packets += usize::from(!header.continues() && !is_close(payload));
            self.at = end;
        }
    }
}
