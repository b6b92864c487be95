//! The scripted server.

use tokio::io::DuplexStream;
use txguard::net::stream::Stream;
use txguard::wire::capability::Capabilities;
use txguard::wire::command::Command;
use txguard::wire::frame::write_packet;
use txguard::wire::status::Status;

use super::client::End;
use super::words::{Reply, ok, show};

pub(crate) struct Server {
    end: End,
    /// The flags that txguard's own COM_PING is answered with; it asks behind an error at a
    /// commit point.
    pub(crate) probe: u16,
    /// The SETs by which txguard has saved variables; they are answered by themselves.
    pub(crate) saves: Vec<String>,
}

impl Server {
    pub(crate) fn new(stream: DuplexStream) -> Self {
        Self { end: End::new(stream, "server"), probe: Status::AUTOCOMMIT, saves: Vec::new() }
    }

    /// Exactly this command comes next.
    pub(crate) async fn expect(&mut self, payload: &[u8]) {
        let (mut seq, mut got) = self.end.packet().await;
        if got == PING && payload != PING {
            self.answer_probe().await;
            (seq, got) = self.end.packet().await;
        }
        if got.starts_with(SAVE) && payload != got {
            self.saves.push(String::from_utf8(got[1..].to_vec()).expect("plain text"));
            self.say(1, &ok(Status::AUTOCOMMIT | Status::IN_TRANS)).await;
            (seq, got) = self.end.packet().await;
        }
        assert!(got == payload, "the server hears {}, not {}", show(&got), show(payload));
        assert_eq!(seq, 0, "a command begins with sequence id 0");
    }

    /// The next command, which must be a COM_QUERY.
    pub(crate) async fn heard(&mut self) -> String {
        let (_, mut payload) = self.end.packet().await;
        if payload == PING {
            self.answer_probe().await;
            (_, payload) = self.end.packet().await;
        }
        assert_eq!(payload[0], Command::QUERY.0, "a COM_QUERY: {payload:?}");
        String::from_utf8(payload[1..].to_vec()).expect("plain text")
    }

    /// Answers txguard's question whether a transaction is open.
    async fn answer_probe(&mut self) {
        let [low, high] = self.probe.to_le_bytes();
        self.raw(&[7, 0, 0, 1, 0, 0, 0, low, high, 0, 0]).await;
    }

    pub(crate) async fn packet(&mut self) -> (u8, Vec<u8>) {
        self.end.packet().await
    }

    /// Answers a command.
    pub(crate) async fn reply(&mut self, reply: &Reply) {
        self.say(1, reply).await;
    }

    /// Says packets with sequence ids from `seq` on.
    pub(crate) async fn say(&mut self, seq: u8, reply: &Reply) {
        self.end.write(&reply.frames(seq)).await;
    }

    pub(crate) async fn raw(&mut self, bytes: &[u8]) {
        self.end.write(bytes).await;
    }

    pub(crate) async fn silent(&mut self) {
        self.end.silent().await;
    }

    /// Ends the connection.
    pub(crate) fn close(&mut self) {
        self.end = End::new(tokio::io::duplex(1).0, "closed server");
    }

    pub(crate) async fn gone(&mut self) {
        self.end.gone().await;
    }

    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        self.end.rest().await
    }

    pub(crate) fn end(&mut self) -> &mut End {
        &mut self.end
    }

    pub(crate) fn into_stream(self) -> Stream<DuplexStream> {
        self.end.into_stream()
    }

    /// Says hello with these capabilities.
    pub(crate) async fn greet(&mut self, version: &str, flags: u32) {
        self.greet_with(4711, version, flags).await;
    }

    /// The same with a connection id.
    pub(crate) async fn greet_with(&mut self, id: u32, version: &str, flags: u32) {
        let mut payload = greeting(version, flags, [0; 4]);
        let at = 1 + version.len() + 1;
        payload[at..at + 4].copy_from_slice(&id.to_le_bytes());
        let mut bytes = Vec::new();
        write_packet(&mut bytes, 0, &payload);
        self.raw(&bytes).await;
    }

    /// Takes the login.
    pub(crate) async fn login(&mut self) -> Vec<u8> {
        let (seq, payload) = self.packet().await;
        assert_eq!(seq, 1, "the login follows the greeting");
        assert_eq!(payload[1] & (Capabilities::SSL >> 8) as u8, 0, "no TLS");
        payload
    }
}

/// COM_PING.
const PING: &[u8] = &[Command::PING.0];

/// How a statement of txguard's begins that keeps the value of a variable.
const SAVE: &[u8] = b"\x03SET @__txguard_";

/// The payload of a greeting; `mariadb` are its extended capabilities.
pub(crate) fn greeting(version: &str, flags: u32, mariadb: [u8; 4]) -> Vec<u8> {
    let mut payload = vec![10];
    payload.extend_from_slice(version.as_bytes());
    payload.push(0);
    payload.extend_from_slice(&4711u32.to_le_bytes());
    payload.extend_from_slice(b"12345678\0");
    payload.extend_from_slice(&flags.to_le_bytes()[..2]);
    payload.extend_from_slice(&[46, 2, 0]);
    payload.extend_from_slice(&flags.to_le_bytes()[2..]);
    payload.push(21);
    payload.extend_from_slice(&[0; 6]);
    payload.extend_from_slice(&mariadb);
    payload.extend_from_slice(b"abcdefghijkl\0mysql_native_password\0");
    payload
}
