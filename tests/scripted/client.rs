//! The scripted client.

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::timeout;
use txguard::net::stream::Stream;
use txguard::wire::capability::Capabilities;
use txguard::wire::frame::{HEADER_LEN, Header, write_packet};

use super::harness::LIMIT;
use super::words::{Reply, show};

/// How long silence has to last to be believed.
const SILENCE: std::time::Duration = std::time::Duration::from_secs(5);

/// One end of a connection.
pub(crate) struct End {
    pub(crate) stream: Stream<DuplexStream>,
    name: &'static str,
}

impl End {
    pub(crate) fn new(stream: DuplexStream, name: &'static str) -> Self {
        Self { stream: Stream::new(stream), name }
    }

    pub(crate) fn into_stream(self) -> Stream<DuplexStream> {
        self.stream
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        let write = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        let done = timeout(LIMIT, write).await;
        done.unwrap_or_else(|_| panic!("nobody takes what the {} says", self.name))
            .unwrap_or_else(|_| panic!("the {} speaks to a closed stream", self.name));
    }

    /// Writes what still goes; the other side may have closed.
    pub(crate) async fn try_write(&mut self, bytes: &[u8]) {
        let write = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        let _ = timeout(LIMIT, write).await.expect("nobody takes it");
    }

    pub(crate) async fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        timeout(LIMIT, self.stream.read_exact(&mut bytes))
            .await
            .unwrap_or_else(|_| panic!("the {} waits in vain", self.name))
            .unwrap_or_else(|_| panic!("the stream to the {} ended", self.name));
        bytes
    }

    /// A logical packet and its first sequence id.
    pub(crate) async fn packet(&mut self) -> (u8, Vec<u8>) {
        let mut first = None;
        let mut payload = Vec::new();
        loop {
            let header = self.bytes(HEADER_LEN).await;
            let header = Header::read(&header).expect("four bytes");
            payload.extend(self.bytes(header.len).await);
            let seq = *first.get_or_insert(header.seq);
            if !header.continues() {
                return (seq, payload);
            }
        }
    }

    /// The next packet; `None` at the end of the stream.
    pub(crate) async fn next(&mut self) -> Option<Vec<u8>> {
        let mut first = [0; 1];
        match timeout(LIMIT * 10, self.stream.read(&mut first)).await.expect("bytes or the end") {
            Ok(1) => {}
            _ => return None,
        }
        let rest = self.bytes(HEADER_LEN - 1).await;
        let header = Header::read(&[&first[..], &rest].concat()).expect("four bytes");
        Some(self.bytes(header.len).await)
    }

    /// Nothing comes.
    pub(crate) async fn silent(&mut self) {
        let mut bytes = [0; 256];
        match timeout(SILENCE, self.stream.read(&mut bytes)).await {
            Err(_) => {}
            Ok(Ok(0) | Err(_)) => panic!("the stream to the {} ended", self.name),
            Ok(Ok(len)) => {
                panic!("the {} hears {}", self.name, show(&bytes[..len]))
            }
        }
    }

    /// The stream ends, with nothing before.
    pub(crate) async fn gone(&mut self) {
        let mut rest = Vec::new();
        timeout(LIMIT, self.stream.read_to_end(&mut rest))
            .await
            .unwrap_or_else(|_| panic!("the stream to the {} stays open", self.name))
            .unwrap_or_else(|_| panic!("the stream to the {} broke", self.name));
        assert!(rest.is_empty(), "the {} hears {} before the end", self.name, show(&rest));
    }

    /// Everything up to the end of the stream.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        timeout(LIMIT, self.stream.read_to_end(&mut rest))
            .await
            .unwrap_or_else(|_| panic!("the stream to the {} stays open", self.name))
            .unwrap_or_else(|_| panic!("the stream to the {} broke", self.name));
        rest
    }
}

pub(crate) struct Client {
    end: End,
}

impl Client {
    pub(crate) fn new(stream: DuplexStream) -> Self {
        Self { end: End::new(stream, "client") }
    }

    /// Sends a command.
    pub(crate) async fn send(&mut self, payload: &[u8]) {
        self.send_from(0, payload).await;
    }

    /// Sends several commands in one go.
    pub(crate) async fn send_all(&mut self, payloads: &[Vec<u8>]) {
        let mut bytes = Vec::new();
        for payload in payloads {
            write_packet(&mut bytes, 0, payload);
        }
        self.end.write(&bytes).await;
    }

    pub(crate) async fn query(&mut self, text: &str) {
        self.send(&super::words::query(text)).await;
    }

    /// A packet with this sequence id.
    pub(crate) async fn send_from(&mut self, seq: u8, payload: &[u8]) {
        let mut bytes = Vec::new();
        write_packet(&mut bytes, seq, payload);
        self.end.write(&bytes).await;
    }

    pub(crate) async fn raw(&mut self, bytes: &[u8]) {
        self.end.write(bytes).await;
    }

    /// Exactly the bytes of this reply come, as the answer to a command.
    pub(crate) async fn expect(&mut self, reply: &Reply) {
        self.expect_from(1, reply).await;
    }

    pub(crate) async fn expect_from(&mut self, seq: u8, reply: &Reply) {
        let wanted = reply.frames(seq);
        let got = self.end.bytes(wanted.len()).await;
        assert!(got == wanted, "the client hears {}, not {}", show(&got), show(&wanted));
    }

    pub(crate) async fn packet(&mut self) -> (u8, Vec<u8>) {
        self.end.packet().await
    }

    pub(crate) async fn silent(&mut self) {
        self.end.silent().await;
    }

    pub(crate) async fn gone(&mut self) {
        self.end.gone().await;
    }

    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        self.end.rest().await
    }

    /// Ends the connection.
    pub(crate) fn close(&mut self) {
        self.end = End::new(tokio::io::duplex(1).0, "closed client");
    }

    pub(crate) fn end(&mut self) -> &mut End {
        &mut self.end
    }

    pub(crate) fn into_stream(self) -> Stream<DuplexStream> {
        self.end.into_stream()
    }

    /// Takes the greeting.
    pub(crate) async fn greeting(&mut self) -> Vec<u8> {
        let (seq, payload) = self.packet().await;
        assert_eq!((seq, payload[0]), (0, 10), "a greeting");
        payload
    }

    pub(crate) async fn login(
        &mut self,
        flags: u32,
        collation: u8,
        user: &str,
        schema: Option<&str>,
    ) {
        self.send_from(1, &login(flags, collation, user, schema)).await;
    }
}

/// The payload of a login.
pub(crate) fn login(flags: u32, collation: u8, user: &str, schema: Option<&str>) -> Vec<u8> {
    let flags = flags | if schema.is_some() { Capabilities::CONNECT_WITH_DB } else { 0 };
    let mut payload = flags.to_le_bytes().to_vec();
    payload.extend_from_slice(&[0, 0, 0, 1, collation]);
    payload.extend_from_slice(&[0; 23]);
    payload.extend_from_slice(user.as_bytes());
    payload.extend_from_slice(b"\0\x14abcdefghijklmnopqrst");
    if let Some(schema) = schema {
        payload.extend_from_slice(schema.as_bytes());
        payload.push(0);
    }
    payload.extend_from_slice(b"mysql_native_password\0");
    payload
}
