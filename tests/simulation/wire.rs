//! Packets over one end of a pipe that may be cut at any time.

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use txguard::net::stream::Stream;
use txguard::wire::frame::{HEADER_LEN, Header};

/// The other side is gone, or what it said is incomplete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gone;

/// One end.
pub(crate) struct Wire(Stream<DuplexStream>);

impl Wire {
    pub(crate) fn new(stream: Stream<DuplexStream>) -> Self {
        Self(stream)
    }

    /// The next packet and its sequence id. No packet here is as long as a frame can be.
    pub(crate) async fn packet(&mut self) -> Result<(u8, Vec<u8>), Gone> {
        let mut header = [0; HEADER_LEN];
        self.0.read_exact(&mut header).await.map_err(|_| Gone)?;
        let header = Header::read(&header).expect("four bytes");
        let mut payload = vec![0; header.len];
        self.0.read_exact(&mut payload).await.map_err(|_| Gone)?;
        Ok((header.seq, payload))
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Result<(), Gone> {
        self.0.write_all(bytes).await.map_err(|_| Gone)?;
        self.0.flush().await.map_err(|_| Gone)
    }

    /// Reads some bytes, fewer than a packet has.
    pub(crate) async fn part(&mut self, len: usize) {
        let _ = self.0.read_exact(&mut vec![0; len.min(HEADER_LEN)]).await;
    }
}
