//! THE hot path: both directions of one client in one task. Budget per query: one read and one
//! write on either side, no copy, no allocation.
//!
//! The relay moves bytes; what they mean is the business of a [`Tap`], which looks at pending
//! bytes in place, releases them, changes them, or stops the relay to take over.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::lane::Lane;

/// What to do after looking at pending bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// Go on; what is still pending waits for more bytes.
    Relay,
    /// Hand control back to the caller of [`Link::run`].
    Stop,
}

/// Decides on bytes in both directions. It does no I/O and never waits.
pub trait Tap {
    /// Bytes from the client are pending in `up`. Called again after every look at the backend's
    /// bytes, as an answer may have been what held them back.
    fn on_client(&mut self, up: &mut Lane) -> Flow;

    /// Bytes from the backend are pending in `down`. Statements of our own may be put into `up`.
    fn on_backend(&mut self, down: &mut Lane, up: &mut Lane) -> Flow;

    /// False while no more bytes of the client should be read.
    fn wants_client(&self, up: &Lane) -> bool;
}

/// Why the relay stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The tap asked for it.
    Tap,
    /// The client closed or its connection broke. What it said last may still be in the lane.
    ClientGone,
    /// The backend closed or its connection broke; everything released has been written.
    BackendGone,
}

/// A client and its backend connection with their buffers.
#[derive(Debug)]
pub struct Link<C, B> {
    /// The client's stream.
    pub client: C,
    /// The backend's stream.
    pub backend: B,
    /// Client to backend.
    pub up: Lane,
    /// Backend to client.
    pub down: Lane,
    backend_gone: bool,
    client_gone: bool,
    /// Bytes were written that may still wait in TLS or compression.
    up_unflushed: bool,
    down_unflushed: bool,
}

impl<C, B> Link<C, B>
where
    C: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    /// Two streams with nothing read yet.
    pub fn new(client: C, backend: B) -> Self {
        Self {
            client,
            backend,
            up: Lane::default(),
            down: Lane::default(),
            backend_gone: false,
            client_gone: false,
            up_unflushed: false,
            down_unflushed: false,
        }
    }

    /// Relays until the tap stops it or one side is gone.
    ///
    /// Cancel safe: nothing that was read is lost; call it again to go on.
    pub async fn run<T: Tap>(&mut self, tap: &mut T) -> Stop {
        // What was held back before the relay was stopped may be free to go now.
        if !self.down.pending().is_empty()
            && tap.on_backend(&mut self.down, &mut self.up) == Flow::Stop
        {
            return Stop::Tap;
        }
        if !self.up.pending().is_empty() && tap.on_client(&mut self.up) == Flow::Stop {
            return Stop::Tap;
        }
        poll_fn(|cx| self.poll_run(cx, tap)).await
    }

    fn poll_run<T: Tap>(&mut self, cx: &mut Context<'_>, tap: &mut T) -> Poll<Stop> {
        loop {
            let mut moved = self.poll_flush(cx);
            let gone = (self.client_gone, self.backend_gone);
            if self.client_gone {
                return Poll::Ready(Stop::ClientGone);
            }
            if self.backend_gone && self.down.released().is_empty() && !self.down_unflushed {
                return Poll::Ready(Stop::BackendGone);
            }
            if !self.up.is_full() && tap.wants_client(&self.up) && self.poll_fill_up(cx) {
                moved = true;
                if tap.on_client(&mut self.up) == Flow::Stop {
                    return Poll::Ready(Stop::Tap);
                }
                // Written before anything else is read: the backend can begin at once.
                continue;
            }
            if !self.backend_gone && !self.down.is_full() && self.poll_fill_down(cx) {
                moved = true;
                if tap.on_backend(&mut self.down, &mut self.up) == Flow::Stop {
                    return Poll::Ready(Stop::Tap);
                }
                if !self.up.pending().is_empty() && tap.on_client(&mut self.up) == Flow::Stop {
                    return Poll::Ready(Stop::Tap);
                }
            }
            // An end of stream wakes nobody a second time: look again at once.
            if !moved && gone == (self.client_gone, self.backend_gone) {
                return Poll::Pending;
            }
        }
    }

    /// Writes what is released in both directions; true if anything moved.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> bool {
        let mut moved = false;
        if !self.up.released().is_empty() && !self.backend_gone {
            match poll_write(&mut self.backend, &mut self.up, cx) {
                Poll::Ready(Ok(())) => {
                    self.up_unflushed = true;
                    moved = true;
                }
                // What the backend said before it closed is still to be read.
                Poll::Ready(Err(_)) => self.up.written(self.up.released().len()),
                Poll::Pending => {}
            }
        }
        if self.up_unflushed && self.up.released().is_empty() {
            // An error shows at the next read.
            self.up_unflushed = poll_flush(&mut self.backend, cx).is_pending();
        }
        if !self.down.released().is_empty() {
            match poll_write(&mut self.client, &mut self.down, cx) {
                Poll::Ready(Ok(())) => {
                    self.down_unflushed = true;
                    moved = true;
                }
                Poll::Ready(Err(_)) => {
                    self.client_gone = true;
                    moved = true;
                }
                Poll::Pending => {}
            }
        }
        if self.down_unflushed && self.down.released().is_empty() {
            match poll_flush(&mut self.client, cx) {
                Poll::Ready(Ok(())) => {
                    self.down_unflushed = false;
                    // Who waits for the last words of a backend that is gone looks again.
                    moved |= self.backend_gone;
                }
                Poll::Ready(Err(_)) => {
                    self.client_gone = true;
                    moved = true;
                }
                Poll::Pending => {}
            }
        }
        moved
    }

    /// Reads from the client; true if bytes came.
    fn poll_fill_up(&mut self, cx: &mut Context<'_>) -> bool {
        match poll_read(&mut self.client, &mut self.up, cx) {
            Poll::Ready(Ok(0) | Err(_)) => {
                self.client_gone = true;
                false
            }
            Poll::Ready(Ok(_)) => true,
            Poll::Pending => false,
        }
    }

    /// Reads from the backend; true if bytes came.
    fn poll_fill_down(&mut self, cx: &mut Context<'_>) -> bool {
        match poll_read(&mut self.backend, &mut self.down, cx) {
            Poll::Ready(Ok(0) | Err(_)) => {
                self.backend_gone = true;
                false
            }
            Poll::Ready(Ok(_)) => true,
            Poll::Pending => false,
        }
    }

    /// The client has not taken everything yet that is released towards it.
    #[must_use]
    pub fn client_lags(&self) -> bool {
        self.down_unflushed || !self.down.released().is_empty()
    }

    /// Writes everything that is released towards the backend.
    ///
    /// Not cancel safe in meaning: a part may have been written; the rest stays in the lane.
    pub async fn flush_up(&mut self) -> io::Result<()> {
        poll_fn(|cx| {
            while !self.up.released().is_empty() {
                ready!(poll_write(&mut self.backend, &mut self.up, cx))?;
            }
            ready!(poll_flush(&mut self.backend, cx))?;
            self.up_unflushed = false;
            Poll::Ready(Ok(()))
        })
        .await
    }

    /// Writes everything that is released towards the client.
    ///
    /// Cancel safe: what was not written stays in the lane.
    pub async fn flush_down(&mut self) -> io::Result<()> {
        poll_fn(|cx| {
            while !self.down.released().is_empty() {
                ready!(poll_write(&mut self.client, &mut self.down, cx))?;
            }
            ready!(poll_flush(&mut self.client, cx))?;
            self.down_unflushed = false;
            Poll::Ready(Ok(()))
        })
        .await
    }

    /// Reads more from the backend, writing towards it meanwhile. An end of stream is an error of
    /// kind `UnexpectedEof`.
    ///
    /// Cancel safe: bytes are in the lane or not read.
    pub async fn fill_down(&mut self) -> io::Result<()> {
        poll_fn(|cx| {
            if !self.up.released().is_empty() {
                while let Poll::Ready(done) = poll_write(&mut self.backend, &mut self.up, cx) {
                    done?;
                    self.up_unflushed = true;
                    if self.up.released().is_empty() {
                        break;
                    }
                }
            }
            if self.up_unflushed && self.up.released().is_empty() {
                self.up_unflushed = poll_flush(&mut self.backend, cx).is_pending();
            }
            match ready!(poll_read(&mut self.backend, &mut self.down, cx))? {
                0 => {
                    self.backend_gone = true;
                    Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()))
                }
                _ => Poll::Ready(Ok(())),
            }
        })
        .await
    }

    /// Reads more from the client. An end of stream is an error of kind `UnexpectedEof`.
    ///
    /// Cancel safe: bytes are in the lane or not read.
    pub async fn fill_up(&mut self) -> io::Result<()> {
        poll_fn(|cx| match ready!(poll_read(&mut self.client, &mut self.up, cx))? {
            0 => {
                self.client_gone = true;
                Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()))
            }
            _ => Poll::Ready(Ok(())),
        })
        .await
    }

    /// Says good-bye on both sides as far as that needs no waiting; TLS takes an end without it for
    /// an attack.
    pub async fn close(&mut self) {
        poll_fn(|cx| {
            // Nobody is left to be told of an error.
            let _ = Pin::new(&mut self.client).poll_shutdown(cx);
            let _ = Pin::new(&mut self.backend).poll_shutdown(cx);
            Poll::Ready(())
        })
        .await;
    }

    /// Ends when the client is gone, and only then. Bytes that come meanwhile are kept, up to a
    /// limit behind which a client that left can't be noticed.
    ///
    /// Cancel safe.
    pub async fn client_gone(&mut self) {
        poll_fn(|cx| {
            while self.up.pending().len() < PENDING_WHILE_WATCHING {
                match ready!(poll_read(&mut self.client, &mut self.up, cx)) {
                    Ok(0) | Err(_) => {
                        self.client_gone = true;
                        return Poll::Ready(());
                    }
                    Ok(_) => {}
                }
            }
            Poll::Pending
        })
        .await;
    }
}

/// How much of a client's bytes is kept while only its going away is watched.
const PENDING_WHILE_WATCHING: usize = 64 << 10;

fn poll_write<W: AsyncWrite + Unpin>(
    to: &mut W,
    lane: &mut Lane,
    cx: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    match ready!(Pin::new(to).poll_write(cx, lane.released()))? {
        0 => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
        len => {
            lane.written(len);
            Poll::Ready(Ok(()))
        }
    }
}

fn poll_flush<W: AsyncWrite + Unpin>(to: &mut W, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
    Pin::new(to).poll_flush(cx)
}

fn poll_read<R: AsyncRead + Unpin>(
    from: &mut R,
    lane: &mut Lane,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let mut space = ReadBuf::new(lane.space());
    ready!(Pin::new(from).poll_read(cx, &mut space))?;
    let len = space.filled().len();
    lane.filled(len);
    Poll::Ready(Ok(len))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    /// Relays everything; stops at the byte `!` from the client.
    struct Plain;

    impl Tap for Plain {
        fn on_client(&mut self, up: &mut Lane) -> Flow {
            if up.pending().contains(&b'!') {
                return Flow::Stop;
            }
            up.release_all();
            Flow::Relay
        }

        fn on_backend(&mut self, down: &mut Lane, _: &mut Lane) -> Flow {
            down.release_all();
            Flow::Relay
        }

        fn wants_client(&self, _: &Lane) -> bool {
            true
        }
    }

    #[tokio::test]
    async fn bytes_flow_both_ways_through_narrow_pipes() {
        let (mut client, near) = duplex(7);
        let (far, mut backend) = duplex(5);
        let mut link = Link::new(near, far);
        let sent: Vec<u8> = (0..100_000u32).map(|n| n as u8).collect();
        let sent = sent.into_iter().map(|b| if b == b'!' { 0 } else { b }).collect::<Vec<u8>>();
        let (to_backend, to_client) = (sent.clone(), sent.clone());
        let talk = async {
            let (mut read_c, mut write_c) = tokio::io::split(&mut client);
            let (mut read_b, mut write_b) = tokio::io::split(&mut backend);
            let (mut got_c, mut got_b) = (vec![0; sent.len()], vec![0; sent.len()]);
            let all = tokio::join!(
                write_c.write_all(&to_backend),
                write_b.write_all(&to_client),
                read_c.read_exact(&mut got_c),
                read_b.read_exact(&mut got_b),
            );
            assert!(all.0.is_ok() && all.1.is_ok() && all.2.is_ok() && all.3.is_ok());
            assert!(got_c == sent && got_b == sent);
        };
        let mut plain = Plain;
        tokio::select! {
            () = talk => {}
            stop = link.run(&mut plain) => panic!("the relay stopped: {stop:?}"),
        }
    }

    #[tokio::test]
    async fn a_stop_keeps_what_was_not_released() {
        let (mut client, near) = duplex(64);
        let (far, _backend) = duplex(64);
        let mut link = Link::new(near, far);
        client.write_all(b"stop!").await.expect("pipe");
        assert_eq!(link.run(&mut Plain).await, Stop::Tap);
        assert_eq!(link.up.pending(), b"stop!");
    }

    #[tokio::test]
    async fn a_backend_that_closes_is_told_after_its_last_words() {
        let (mut client, near) = duplex(3);
        let (far, mut backend) = duplex(64);
        let mut link = Link::new(near, far);
        backend.write_all(b"last words").await.expect("pipe");
        drop(backend);
        let mut got = vec![0; 10];
        let mut plain = Plain;
        let (stop, read) = tokio::join!(link.run(&mut plain), client.read_exact(&mut got));
        assert_eq!((stop, read.is_ok()), (Stop::BackendGone, true));
        assert_eq!(got, b"last words");
    }
}
