//! One leg of a connection: a socket, perhaps TLS around it, perhaps compression within.
//!
//! ```text
//! relay ⇄ [ compression ] ⇄ [ TLS ] ⇄ socket
//! ```
//!
//! Both are switched on in the middle of a login, when bytes of what follows may have been read
//! already; those are handed over as `early`. A plain leg costs one comparison per call.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsStream;

use crate::wire::compress::{Algorithm, Codec, Turn};

use super::tls::{Acceptor, Connector, Name};

/// One leg.
#[derive(Debug)]
pub struct Stream<S> {
    carrier: Carrier<S>,
    packing: Option<Box<Packing>>,
}

#[derive(Debug)]
enum Carrier<S> {
    Plain(S),
    Tls(Box<TlsStream<Early<S>>>),
    /// A TLS handshake is under way, or has failed.
    Between,
}

/// A stream whose first bytes have been read by somebody else.
#[derive(Debug)]
struct Early<S> {
    bytes: Vec<u8>,
    at: usize,
    stream: S,
}

#[derive(Debug)]
struct Packing {
    codec: Codec,
    /// Frames that are not written yet.
    out: Vec<u8>,
    written: usize,
    /// What is read is fed to the codec from here.
    raw: Box<[u8]>,
}

/// Bytes wait to be packed, and frames to be written, up to this; beyond it the writer waits.
const OUT_MAX: usize = 256 << 10;

/// How much is read at once.
const RAW_LEN: usize = 16 << 10;

impl<S> Stream<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    /// Neither TLS nor compression.
    pub fn new(socket: S) -> Self {
        Self { carrier: Carrier::Plain(socket), packing: None }
    }

    /// True behind a TLS handshake.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        matches!(self.carrier, Carrier::Tls(_))
    }

    /// True where packets are in compressed frames.
    #[must_use]
    pub fn is_compressed(&self) -> bool {
        self.packing.is_some()
    }

    /// Answers the client's TLS handshake.
    ///
    /// Not cancel safe: the stream can't be used after a cancelled or failed handshake.
    pub async fn accept(&mut self, tls: &Acceptor, early: Vec<u8>) -> io::Result<()> {
        let socket = self.take()?;
        let stream = tls.0.accept(Early { bytes: early, at: 0, stream: socket }).await?;
        self.carrier = Carrier::Tls(Box::new(stream.into()));
        Ok(())
    }

    /// Begins a TLS handshake with the server, whose certificate is for `name` where it is
    /// checked.
    ///
    /// Not cancel safe: the stream can't be used after a cancelled or failed handshake.
    pub async fn connect(&mut self, tls: &Connector, name: Name) -> io::Result<()> {
        let socket = self.take()?;
        let early = Early { bytes: Vec::new(), at: 0, stream: socket };
        let stream = tls.0.connect(name.0, early).await?;
        self.carrier = Carrier::Tls(Box::new(stream.into()));
        Ok(())
    }

    fn take(&mut self) -> io::Result<S> {
        match std::mem::replace(&mut self.carrier, Carrier::Between) {
            Carrier::Plain(socket) => Ok(socket),
            _ => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// From here on packets are in compressed frames.
    pub fn compress(&mut self, algorithm: Algorithm, turn: Turn, early: &[u8]) {
        let mut codec = Codec::new(algorithm, turn);
        codec.feed(early);
        let raw = vec![0; RAW_LEN].into_boxed_slice();
        self.packing = Some(Box::new(Packing { codec, out: Vec::new(), written: 0, raw }));
    }
}

impl Packing {
    fn poll_read<S>(
        &mut self,
        carrier: &mut Carrier<S>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        loop {
            let read = self.codec.read(buf.initialize_unfilled());
            match read.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))? {
                0 => {}
                len => {
                    buf.advance(len);
                    return Poll::Ready(Ok(()));
                }
            }
            let mut raw = ReadBuf::new(&mut self.raw);
            ready!(carrier.poll_read(cx, &mut raw))?;
            if raw.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            self.codec.feed(raw.filled());
        }
    }

    fn poll_write<S>(
        &mut self,
        carrier: &mut Carrier<S>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        if self.codec.waiting() >= OUT_MAX {
            self.codec.frames(&mut self.out)?;
        }
        if self.out.len() - self.written >= OUT_MAX {
            ready!(self.poll_drain(carrier, cx))?;
        }
        let len = bytes.len().min(OUT_MAX);
        self.codec.write(&bytes[..len]);
        Poll::Ready(Ok(len))
    }

    /// Writes all frames.
    fn poll_drain<S>(
        &mut self,
        carrier: &mut Carrier<S>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        while self.written < self.out.len() {
            match ready!(carrier.poll_write(cx, &self.out[self.written..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                len => self.written += len,
            }
        }
        self.written = 0;
        self.out.clear();
        self.out.shrink_to(OUT_MAX);
        Poll::Ready(Ok(()))
    }
}

impl<S> Carrier<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    #[inline]
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(socket) => Pin::new(socket).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Between => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    #[inline]
    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(socket) => Pin::new(socket).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Between => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    #[inline]
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
            Self::Between => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Between => Poll::Ready(Ok(())),
        }
    }
}

impl<S> AsyncRead for Stream<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    #[inline]
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { carrier, packing } = &mut *self;
        match packing {
            None => carrier.poll_read(cx, buf),
            Some(packing) => packing.poll_read(carrier, cx, buf),
        }
    }
}

impl<S> AsyncWrite for Stream<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    #[inline]
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let Self { carrier, packing } = &mut *self;
        match packing {
            None => carrier.poll_write(cx, bytes),
            Some(packing) => packing.poll_write(carrier, cx, bytes),
        }
    }

    #[inline]
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { carrier, packing } = &mut *self;
        if let Some(packing) = packing {
            packing.codec.frames(&mut packing.out)?;
            ready!(packing.poll_drain(carrier, cx))?;
        }
        carrier.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(packing) = &mut self.packing {
            packing.codec.last_frames(&mut packing.out)?;
        }
        ready!(self.as_mut().poll_flush(cx))?;
        self.carrier.poll_shutdown(cx)
    }
}

impl<S> AsyncRead for Early<S>
where
    S: AsyncRead + Unpin,
{
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { bytes, at, stream } = &mut *self;
        if *at == bytes.len() {
            return Pin::new(stream).poll_read(cx, buf);
        }
        let len = buf.remaining().min(bytes.len() - *at);
        buf.put_slice(&bytes[*at..*at + len]);
        *at += len;
        if *at == bytes.len() {
            *bytes = Vec::new();
            *at = 0;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S> AsyncWrite for Early<S>
where
    S: AsyncWrite + Unpin,
{
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
