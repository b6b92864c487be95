//! Connections that can't pile up: a bounded number, each with time limits.
//!
//! A client has [`IDLE`] between two of its bytes and for taking ours, and a connection is read
//! from for [`LIFETIME`] at most, so that drip-feeding a header gains nothing. When the lifetime
//! is over, reading ends as if the client had closed; an answer that is being written still goes
//! out.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep};

/// Connections at a time: some monitoring systems, a few people with browsers. More of them wait
/// in the kernel's queue.
pub(super) const CONNECTIONS_MAX: usize = 64;

/// The longest silence, in either direction.
pub(super) const IDLE: Duration = Duration::from_secs(20);

/// The longest life.
pub(super) const LIFETIME: Duration = Duration::from_secs(120);

/// A pause after a failed accept, which is mostly a lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(250);

/// Accepts a bounded number of connections.
pub(super) struct Limited {
    listener: TcpListener,
    slots: Arc<Semaphore>,
}

impl Limited {
    pub(super) fn new(listener: TcpListener) -> Self {
        Self { listener, slots: Arc::new(Semaphore::new(CONNECTIONS_MAX)) }
    }
}

impl Listener for Limited {
    type Io = Timed<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let slot = Arc::clone(&self.slots).acquire_owned().await;
        let slot = slot.expect("the semaphore is never closed");
        loop {
            match self.listener.accept().await {
                Ok((stream, client)) => return (Timed::new(stream, Some(slot)), client),
                Err(_) => sleep(ACCEPT_PAUSE).await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

/// A stream with time limits.
pub(super) struct Timed<S> {
    stream: S,
    life: Pin<Box<Sleep>>,
    /// Since the last byte in either direction.
    silence: Pin<Box<Sleep>>,
    _slot: Option<OwnedSemaphorePermit>,
}

impl<S> Timed<S> {
    pub(super) fn new(stream: S, slot: Option<OwnedSemaphorePermit>) -> Self {
        let (life, silence) = (Box::pin(sleep(LIFETIME)), Box::pin(sleep(IDLE)));
        Self { stream, life, silence, _slot: slot }
    }

    /// Something moved: the silence begins anew.
    fn moved(&mut self) {
        self.silence.set(sleep(IDLE));
    }

    /// Passes a write on, unless nothing has moved for too long.
    fn limit_write<T>(
        &mut self,
        result: Poll<io::Result<T>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.moved();
            return result;
        }
        ready!(self.silence.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Timed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.life.as_mut().poll(context).is_ready() {
            // No more bytes: for HTTP the client has closed.
            return Poll::Ready(Ok(()));
        }
        if let Poll::Ready(result) = Pin::new(&mut this.stream).poll_read(context, buffer) {
            this.moved();
            return Poll::Ready(result);
        }
        this.silence.as_mut().poll(context).map(Ok)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Timed<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.limit_write(result, context)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_flush(context);
        // A flush of nothing is always ready, and nothing has moved.
        if result.is_ready() { result } else { self.limit_write(result, context) }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_shutdown(context);
        self.limit_write(result, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(context, pieces);
        self.limit_write(result, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_silent_client_is_read_to_its_end() {
        let (client, server) = duplex(64);
        let mut server = Timed::new(server, None);
        let begin = Instant::now();
        assert_eq!(server.read(&mut [0; 8]).await.expect("the end"), 0);
        assert_eq!(begin.elapsed(), IDLE);
        drop(client);
    }

    #[tokio::test(start_paused = true)]
    async fn dripping_bytes_gains_no_time_beyond_the_lifetime() {
        let (mut client, server) = duplex(64);
        let mut server = Timed::new(server, None);
        let begin = Instant::now();
        let drip = async {
            while client.write_all(b"x").await.is_ok() {
                sleep(IDLE / 2).await;
            }
        };
        let read = async {
            while server.read(&mut [0; 8]).await.expect("no error") > 0 {}
            begin.elapsed()
        };
        tokio::select! {
            () = drip => panic!("the client goes on"),
            lived = read => assert_eq!(lived, LIFETIME),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_no_answer_is_given_up() {
        let (client, server) = duplex(64);
        let mut server = Timed::new(server, None);
        let begin = Instant::now();
        let error = server.write_all(&[0; 1000]).await.expect_err("nobody reads");
        assert_eq!((error.kind(), begin.elapsed()), (io::ErrorKind::TimedOut, IDLE));
        drop(client);
    }
}
