//! The two adaptors around opensrv-mysql that make up for what it can't say.
//!
//! opensrv answers OK to commands it doesn't know, sends status flags 0, and has no name for
//! TiDB's error codes. [`Requests`] hands it one command at a time and replaces those that must not
//! reach it by a `COM_PING`; [`Answers`] writes the status flags into every OK and EOF, and puts the
//! error that the connection has ready in the place of the first packet of the answer.
//!
//! Invariant: opensrv reads the next command only when the answer to the one before is complete, so
//! both adaptors always speak of the same command. Payloads are not looked at beyond that.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::connection::Connection;
use crate::embedded::engine::SqlError;

const HEADER_LEN: usize = 4;

/// A frame this long is followed by another one of the same packet.
const FRAME_MAX: usize = 0xff_ff_ff;

/// TiDB's default `max_allowed_packet`; a longer command ends the connection.
const PACKET_MAX: usize = 64 * 1024 * 1024;

/// Answers are handed on in pieces of about this size when a result is long.
const OUTGOING_MAX: usize = 64 * 1024;

const COM_PING: u8 = 0x0e;

/// The connection that both adaptors and the shim between them work on. No lock is held across an
/// await.
#[derive(Debug, Clone)]
pub(super) struct Shared(Arc<Mutex<Connection>>);

impl Shared {
    pub(super) fn new(connection: Connection) -> Self {
        Self(Arc::new(Mutex::new(connection)))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Connection> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the client sends, one packet at a time.
#[derive(Debug)]
pub(super) struct Requests<R> {
    inner: R,
    connection: Shared,
    /// One packet with its headers, as far as it has come in.
    packet: Vec<u8>,
    /// How much of a complete packet has been handed on.
    handed: Option<usize>,
}

impl<R> Requests<R> {
    pub(super) fn new(inner: R, connection: Shared) -> Self {
        Self { inner, connection, packet: Vec::new(), handed: None }
    }

    /// How many bytes are missing at least; 0 if the packet is complete.
    fn missing(&self) -> io::Result<usize> {
        let mut at = 0;
        let mut expected = None;
        loop {
            let Some(header) = self.packet.get(at..at + HEADER_LEN) else {
                return Ok(at + HEADER_LEN - self.packet.len());
            };
            let length =
                usize::from(header[0]) | usize::from(header[1]) << 8 | usize::from(header[2]) << 16;
            if expected.is_some_and(|sequence| header[3] != sequence) {
                return Err(invalid("a sequence id out of order"));
            }
            expected = Some(header[3].wrapping_add(1));
            at += HEADER_LEN + length;
            if at > PACKET_MAX {
                return Err(invalid("a packet over 64 MiB"));
            }
            if self.packet.len() < at {
                return Ok(at - self.packet.len());
            }
            if length < FRAME_MAX {
                return Ok(0);
            }
        }
    }

    /// A complete packet is on its way to opensrv.
    fn admit(&mut self) -> io::Result<()> {
        self.handed = Some(0);
        let mut connection = self.connection.lock();
        if connection.is_logging_in() {
            return Ok(());
        }
        if self.packet[3] != 0 {
            return Err(invalid("a command whose sequence id is not 0"));
        }
        // A longer command is at least 16 MiB and can't be one of those that are looked into.
        if !connection.on_command(&self.packet[HEADER_LEN..]) {
            self.packet = vec![1, 0, 0, 0, COM_PING];
        }
        Ok(())
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the client sent {what}"))
}

impl<R: AsyncRead + Unpin> AsyncRead for Requests<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if let Some(handed) = this.handed {
                let end = this.packet.len().min(handed + buf.remaining());
                buf.put_slice(&this.packet[handed..end]);
                this.handed = Some(end);
                if end == this.packet.len() {
                    this.packet.clear();
                    this.packet.shrink_to(OUTGOING_MAX);
                    this.handed = None;
                }
                return Poll::Ready(Ok(()));
            }
            let missing = this.missing()?;
            if missing == 0 {
                this.admit()?;
                continue;
            }
            // Never more than the packet needs: the next command stays where it is.
            let mut piece = [0; 4096];
            let limit = missing.min(piece.len());
            let mut piece = ReadBuf::new(&mut piece[..limit]);
            ready!(Pin::new(&mut this.inner).poll_read(cx, &mut piece))?;
            if piece.filled().is_empty() {
                let clean = this.packet.is_empty();
                let cut = || Err(io::Error::from(io::ErrorKind::UnexpectedEof));
                return Poll::Ready(if clean { Ok(()) } else { cut() });
            }
            this.packet.extend_from_slice(piece.filled());
        }
    }
}

/// What opensrv sends, with the flags and errors that it can't say.
#[derive(Debug)]
pub(super) struct Answers<W> {
    inner: W,
    connection: Shared,
    /// The beginning of a frame that is not complete yet.
    incoming: Vec<u8>,
    outgoing: Vec<u8>,
    /// The next frame continues a packet.
    continued: bool,
}

impl<W> Answers<W> {
    pub(super) fn new(inner: W, connection: Shared) -> Self {
        let (incoming, outgoing) = (Vec::new(), Vec::new());
        Self { inner, connection, incoming, outgoing, continued: false }
    }

    fn take_frames(&mut self) {
        let mut done = 0;
        while let Some(header) = self.incoming[done..].first_chunk::<HEADER_LEN>() {
            let length =
                usize::from(header[0]) | usize::from(header[1]) << 8 | usize::from(header[2]) << 16;
            let begin = done + HEADER_LEN;
            let Some(payload) = self.incoming.get(begin..begin + length) else { break };
            done = begin + length;
            let whole = !self.continued && length < FRAME_MAX;
            self.continued = length == FRAME_MAX;
            let replaced = whole.then(|| self.connection.lock().on_answer(payload)).flatten();
            let payload = replaced.as_deref().unwrap_or(payload);
            self.outgoing.extend_from_slice(&payload.len().to_le_bytes()[..3]);
            self.outgoing.push(header[3]);
            self.outgoing.extend_from_slice(payload);
        }
        self.incoming.drain(..done);
    }
}

impl<W: AsyncWrite + Unpin> Answers<W> {
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut sent = 0;
        while sent < self.outgoing.len() {
            match Pin::new(&mut self.inner).poll_write(cx, &self.outgoing[sent..]) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(count)) => sent += count,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    self.outgoing.drain(..sent);
                    return Poll::Pending;
                }
            }
        }
        self.outgoing.clear();
        Poll::Ready(Ok(()))
    }
}

impl<W: AsyncWrite + Unpin> AsyncWrite for Answers<W> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.outgoing.len() >= OUTGOING_MAX {
            ready!(self.poll_drain(cx))?;
        }
        for buf in bufs {
            self.incoming.extend_from_slice(buf);
        }
        self.take_frames();
        Poll::Ready(Ok(bufs.iter().map(|buf| buf.len()).sum()))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// An ERR packet.
pub(super) fn error_packet(error: &SqlError) -> Vec<u8> {
    let mut packet = vec![0xff];
    packet.extend(error.code.to_le_bytes());
    packet.push(b'#');
    packet.extend(error.sqlstate.bytes());
    packet.extend(error.message.bytes());
    packet
}

/// The greeting with status flags. `None` if it is not as expected.
pub(super) fn greeting_with_status(payload: &[u8], status: u16) -> Option<Vec<u8>> {
    // Protocol, version, NUL; then connection id 4, salt 8, filler 1, capabilities 2, charset 1.
    let version_end = payload.iter().skip(1).position(|&byte| byte == 0)? + 1;
    with_status(payload, version_end + 1 + 4 + 8 + 1 + 2 + 1, status)
}

/// An OK packet, also one that ends a result (0xfe), with status flags.
pub(super) fn ok_with_status(payload: &[u8], status: u16) -> Option<Vec<u8>> {
    let affected_end = 1 + integer_len(*payload.get(1)?);
    let insert_id_end = affected_end + integer_len(*payload.get(affected_end)?);
    with_status(payload, insert_id_end, status)
}

/// An EOF packet with status flags.
pub(super) fn eof_with_status(payload: &[u8], status: u16) -> Option<Vec<u8>> {
    with_status(payload, 3, status)
}

fn with_status(payload: &[u8], at: usize, status: u16) -> Option<Vec<u8>> {
    let mut payload = payload.to_vec();
    payload.get_mut(at..at + 2)?.copy_from_slice(&status.to_le_bytes());
    Some(payload)
}

/// The length of a length-encoded integer by its first byte.
fn integer_len(first: u8) -> usize {
    match first {
        0xfc => 3,
        0xfd => 4,
        0xfe => 9,
        _ => 1,
    }
}
