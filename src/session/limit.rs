//! Limits of one client: how long it may say nothing, and how long a statement may be.
//!
//! Silence is looked for by one timer a session, armed for the earliest moment at which the limit
//! could be reached. A query stores a time it has read anyway; it never touches the timer.

use std::future::pending;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, sleep_until, timeout};

use crate::base::error::Own;
use crate::wire::frame::Header;

use super::{Conversation, End, Event, Session, Terms, own_error};

/// How long a refused client may take to read why, what it still sends being thrown away.
const LINGER: Duration = Duration::from_secs(2);

/// What the limits need to know of a conversation.
#[derive(Debug)]
pub(super) struct Limit {
    pub(super) terms: Terms,
    /// The client's last command, or the end of its answer.
    last: Instant,
}

impl Limit {
    pub(super) fn new(terms: &Terms, now: Instant) -> Self {
        Self { terms: terms.clone(), last: now }
    }

    /// The client has said something, or was answered.
    pub(super) fn heard(&mut self, now: Instant) {
        self.last = now;
    }
}

impl Conversation {
    /// When the client is closed if it goes on saying nothing. `None` while it waits for an answer
    /// or may be silent for ever; what a bare session does isn't known.
    fn silent_until(&self) -> Option<Instant> {
        if self.bare || self.event.is_some() || !self.expected.is_empty() {
            return None;
        }
        let Terms { idle, idle_in_transaction, .. } = self.limit.terms;
        let open = self.txn.is_some() || self.status.in_trans();
        Some(self.limit.last + if open { idle_in_transaction? } else { idle? })
    }

    /// True if the client has been silent for too long.
    pub(super) fn is_silent(&self, now: Instant) -> bool {
        self.silent_until().is_some_and(|end| end <= now)
    }

    /// When to look next: no limit can be reached before. `None` if there is no limit.
    pub(super) fn next_look(&self, now: Instant) -> Option<Instant> {
        let Terms { idle, idle_in_transaction, .. } = self.limit.terms;
        let soonest = now + [idle, idle_in_transaction].into_iter().flatten().min()?;
        Some(self.silent_until().map_or(soonest, |end| end.min(soonest)))
    }

    /// With this frame the client's statement is longer than it may be.
    #[inline]
    pub(super) fn is_too_long(&self, header: Header) -> bool {
        self.up.packet_len(header) > self.limit.terms.statement_max && !self.client_sends_data()
    }

    /// Refuses the statement under way, as soon as all before it is answered. A part of it may
    /// have gone out; the backend forgets it when its connection is closed.
    pub(super) fn refuse_statement(&mut self, header: Header) {
        if self.expected.iter().nth(self.up.asked()).is_none() {
            let seq = header.seq.wrapping_add(1);
            self.event = Some(Event::Refused { own: Own::StatementTooLarge, seq });
        }
    }
}

impl<C, B> Session<C, B>
where
    C: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    /// Tells the client why and ends. What it is still sending is read and thrown away for a
    /// moment: closing before would reset the connection, and the error would be lost on its way.
    ///
    /// Not cancel safe: the client may not hear why.
    pub(super) async fn refuse(&mut self, own: Own, seq: u8) -> End {
        self.link.down.push(&own_error(own, seq));
        let tell = async {
            // What is open there ends now, whatever the client does.
            let _ = self.link.backend.shutdown().await;
            self.link.flush_down().await?;
            self.link.client.shutdown().await?;
            let mut rest = [0; 4096];
            while self.link.client.read(&mut rest).await? > 0 {}
            std::io::Result::Ok(())
        };
        // The client may have gone; there is nobody else to tell.
        let _ = timeout(LINGER, tell).await;
        End::Own(own)
    }
}

/// Sleeps until then; for ever without a time. Cancel safe.
pub(super) async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => pending().await,
    }
}
