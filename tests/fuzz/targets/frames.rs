//! Any bytes of a client behind its login, against a server that answers whatever comes, also with
//! nonsense. Without a policy each side hears what the other one said, byte for byte; behind
//! nonsense, which may be a reply without an end, maybe not all of it. Under any policy the session
//! ends with its sides.

#![no_main]

use libfuzzer_sys::fuzz_target;
use txguard::wire::command::{Command, Reply};
use txguard::wire::frame::{HEADER_LEN, Header};
use txguard_fuzz::dialogue::{Dialogue, PIPES, POLICIES, Side, run};
use txguard_fuzz::input::Input;
use txguard_fuzz::words::{self, AUTO, TX};

fuzz_target!(|data: &[u8]| run(play(Input::new(data))));

async fn play(mut input: Input<'_>) {
    let (of_server, of_client) = (words::of_server(), words::of_client());
    let flags = input.byte();
    let policy = usize::from(flags) % POLICIES.len();
    let mut talk = Dialogue::open(policy, *input.pick(&PIPES), flags & 0x80 != 0).await;
    let mut server = Server { deprecate_eof: flags & 0x80 != 0, ..Server::default() };
    while !input.is_empty() {
        match input.byte() % 8 {
            0 => drop(talk.client.packet(0, input.string())),
            1 => talk.client.say(input.string()),
            2 => server.style = input.byte(),
            3 => server.words.push(input.string().to_vec()),
            4 => server.words.push(input.pick(&of_server).clone()),
            5 => drop(talk.client.packet(input.byte(), input.string())),
            6 => drop(talk.client.packet(0, input.pick(&of_client).as_slice())),
            _ => serve(&mut talk, &mut server).await,
        }
    }
    serve(&mut talk, &mut server).await;
    talk.close().await;
    if policy == 0 {
        unchanged("server", &talk.server.heard, talk.client.said(), !server.spoke_nonsense);
        unchanged("client", &talk.client.heard, talk.server.said(), true);
    }
}

/// The server answers until nobody asks any more.
async fn serve(talk: &mut Dialogue, server: &mut Server) {
    loop {
        talk.settle().await;
        if !server.answer(&mut talk.server) {
            return;
        }
    }
}

/// Nothing else was heard; `all`: nothing is missing but a frame that never became whole.
fn unchanged(who: &str, heard: &[u8], said: &[u8], all: bool) {
    assert!(said.starts_with(heard), "the {who} hears something else");
    if !all {
        return;
    }
    let mut rest = said;
    let mut whole = 0;
    while let Some(header) = Header::read(rest).filter(|header| header.frame_len() <= rest.len()) {
        whole += header.frame_len();
        rest = &rest[header.frame_len()..];
    }
    assert!(heard.len() >= whole, "the {who} hears {} of {whole} bytes", heard.len());
}

/// Answers each command.
#[derive(Default)]
struct Server {
    /// Bytes that it has read.
    read: usize,
    deprecate_eof: bool,
    in_trans: bool,
    /// How it likes to answer.
    style: u8,
    /// What it says in place of an answer.
    words: Vec<Vec<u8>>,
    spoke_nonsense: bool,
}

impl Server {
    /// Answers what has come; false if there was nothing.
    fn answer(&mut self, side: &mut Side) -> bool {
        let mut answered = false;
        while let Some(payload) = self.next(side) {
            answered = true;
            let mut seq = 1;
            for packet in self.reply(&payload) {
                seq = side.packet(seq, &packet);
            }
        }
        answered
    }

    /// The next frame.
    fn next(&mut self, side: &Side) -> Option<Vec<u8>> {
        let rest = &side.heard[self.read..];
        let header = Header::read(rest).filter(|header| header.frame_len() <= rest.len())?;
        self.read += header.frame_len();
        Some(rest[HEADER_LEN..header.frame_len()].to_vec())
    }

    fn reply(&mut self, payload: &[u8]) -> Vec<Vec<u8>> {
        let Some(first) = payload.first() else { return vec![words::err(1105)] };
        let command = Command(*first);
        if matches!(command.reply(), Reply::Nothing | Reply::Complaint) {
            return vec![];
        }
        if !self.words.is_empty() {
            self.spoke_nonsense = true;
            return std::mem::take(&mut self.words);
        }
        let text = String::from_utf8_lossy(&payload[1..]).to_ascii_uppercase();
        let text = text.rsplit("*/ ").next().unwrap_or_default();
        let commits = text.starts_with("COMMIT");
        if commits && self.in_trans && self.style & 1 != 0 {
            self.in_trans = false;
            self.style = self.style.wrapping_shr(1);
            return vec![words::err(9007)];
        }
        match text {
            _ if text.starts_with("BEGIN") => self.in_trans = true,
            _ if commits || text.starts_with("ROLLBACK") => self.in_trans = false,
            _ => {}
        }
        let status = if self.in_trans { TX } else { AUTO };
        match command.reply() {
            Reply::Prepare => vec![words::prepare_ok(0, 0)],
            Reply::Text => vec![b"Uptime: 1".to_vec()],
            Reply::FieldList | Reply::Fetch => vec![self.rows_end(status)],
            Reply::Results if text.starts_with("SELECT") => self.rows(status),
            _ => vec![words::ok(status)],
        }
    }

    fn rows(&self, status: u16) -> Vec<Vec<u8>> {
        let mut packets = vec![vec![1], words::column()];
        if !self.deprecate_eof {
            packets.push(words::eof(status));
        }
        packets.push(b"\x015".to_vec());
        packets.push(self.rows_end(status));
        packets
    }

    fn rows_end(&self, status: u16) -> Vec<u8> {
        if self.deprecate_eof { words::rows_ok(status) } else { words::eof(status) }
    }
}
