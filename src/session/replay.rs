//! The transaction again, on the same connection, in the same mode, every answer compared.
//!
//! ```text
//! conflict ─▶ ROLLBACK ─▶ wait ─▶ journal, each answer equal? ─▶ the request that met the
//!    ▲                                                           conflict, through the relay
//!    └──────────── the next conflict, until attempts or time are used up ──┘
//! ```
//!
//! ROLLBACK always goes first: BEGIN would commit what an error left open, and nobody may hold a
//! lock while it waits. If it warns (1196: a table without transactions was changed), the first run
//! has left something behind and the replay is refused. What the transaction has changed in the
//! session is put back behind it (see `txn::restore`). The wait is a random pause at first; behind
//! a second conflict, if it names its key, it is one's turn among those that lost on that, and a
//! replay that loses once more on it keeps its turn.
//!
//! Until the request that met the conflict is sent, nothing that happens here can be seen by the
//! client; if it is given up, the client gets its original error and a connection without a
//! transaction, as if there were no proxy.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::base::error::{StatementError, code};
use crate::net::lane::Lane;
use crate::policy::{Retry, Tag};
use crate::txn::contention::{Ended, HotKey};
use crate::txn::fingerprint::{Answer, Fingerprint};
use crate::txn::journal::Role;
use crate::txn::record::Outcome;
use crate::txn::replay::ReplayOutcome;
use crate::wire::command::{Command, Reply};
use crate::wire::frame::{HEADER_LEN, frames};
use crate::wire::lenenc::Reader;
use crate::wire::packet::err::Err as ErrPacket;
use crate::wire::packet::ok::Ok as OkPacket;
use crate::wire::response::{Kind, Response};
use crate::wire::status::Status;

use super::pin::Pins;
use super::queue::{NoTurn, Place};
use super::walk::Look;
use super::{Ask, Conflict, Conversation, End, Session, What};

/// How one run of the journal ended.
enum Run {
    /// Every answer was equal; the last request can be sent.
    Equal,
    /// The run met a conflict itself.
    Conflict,
    /// It must not go on.
    Stop(ReplayOutcome),
}

/// The reply to a command of the replay.
pub(super) struct Replied {
    pub(super) answer: Answer,
    warnings: u16,
}

/// Gets to see each packet of a reply, whole.
type LookAt<'a> = &'a mut (dyn FnMut(Kind, &[u8]) + Send);

impl<C, B> Session<C, B>
where
    C: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    /// Replays the open transaction after a conflict, or gives its error to the client.
    ///
    /// An error means that one side is gone. Not cancel safe: the backend is left in the middle
    /// of a transaction; closing the connection rolls it back.
    pub(super) async fn replay(&mut self, conflict: Conflict) -> Result<(), End> {
        let now = self.talk.deps.clock.now();
        let Some(txn) = self.talk.txn.as_mut() else { return Ok(()) };
        let Some(retry) = txn.plan.retry else { return Ok(()) };
        let Conflict { code, frame, what, sent } = conflict;
        let mut key = hot_key(code, &frame);
        // The error to give back is the first one: it is what the client would have seen.
        let since = txn.conflict.get_or_insert((code, frame, now)).2;
        // The answer that came proves an abort; until COMMIT goes out again nothing can commit.
        txn.committing = false;
        self.save_id().await.map_err(|end| self.cut_off(end))?;
        let mut pins = None;
        let stopped = loop {
            let spent = self.talk.deps.clock.now() - since;
            let Some(wait) = self.talk.next_attempt(&retry, spent) else {
                break Some(ReplayOutcome::Exhausted);
            };
            let run = match self.ready(key, wait, since + retry.budget).await {
                Ok(Ok(())) => self.run_journal(&mut pins).await,
                Ok(Err(outcome)) => Ok(Run::Stop(outcome)),
                Err(end) => Err(end),
            };
            match run {
                Ok(Run::Equal) => break None,
                Ok(Run::Conflict) => key = None,
                Ok(Run::Stop(outcome)) => break Some(outcome),
                Err(end) => return Err(self.cut_off(end)),
            }
        };
        self.close_pins(pins);
        self.talk.note_replayed();
        match stopped {
            Some(outcome) => self.give_up(outcome).await,
            None => {
                self.talk.resend(what, sent, &mut self.link.up);
                Ok(())
            }
        }
    }

    /// Ends what the conflict left open, and waits until the next attempt may begin; `Ok(Err)` if
    /// none may.
    ///
    /// Not cancel safe: a reply may be under way.
    async fn ready(
        &mut self,
        key: Option<HotKey>,
        pause: Duration,
        deadline: Instant,
    ) -> Result<Result<(), ReplayOutcome>, End> {
        if self.left_behind().await? || !self.roll_back().await? {
            return Ok(Err(ReplayOutcome::Refused));
        }
        let (begun, killed) = (self.talk.deps.clock.now(), self.talk.registered.end());
        let place = match self.talk.place(key) {
            Ok(place) => place,
            Err(outcome) => return Ok(Err(outcome)),
        };
        let queues = place.queues() && !place.has_turn();
        let turn = async {
            if !queues {
                sleep(pause).await;
            }
            place.turn(deadline).await
        };
        let come = tokio::select! {
            biased;
            () = killed.cancelled() => return Err(End::Killed),
            () = self.link.client_gone() => return Err(End::ClientGone),
            come = turn => come,
        };
        if queues {
            self.talk.deps.metrics.replay_waited(self.talk.deps.clock.now() - begun);
        }
        Ok(come.map_err(|no| self.talk.no_turn(no)))
    }

    /// Everything up to the request that met the conflict. What takes time and can be done before
    /// BEGIN is: the longer a run, the likelier its next conflict.
    async fn run_journal(&mut self, pins: &mut Option<Pins>) -> Result<Run, End> {
        if !self.restore().await? {
            return Ok(Run::Stop(ReplayOutcome::Refused));
        }
        let pins = match pins {
            Some(pins) => pins,
            None => pins.insert(self.pins().await?),
        };
        if pins.refused {
            return Ok(Run::Stop(ReplayOutcome::Refused));
        }
        self.allow_random_ids(pins, true).await?;
        let run = self.run_entries(pins).await?;
        self.allow_random_ids(pins, false).await?;
        Ok(run)
    }

    async fn run_entries(&mut self, pins: &Pins) -> Result<Run, End> {
        let rule = self.talk.deps.rule.clone();
        for index in 0..self.talk.journal.len() {
            let Some((entry, request)) = self.talk.journal.get(index) else { break };
            // The last one has no answer yet: it is what met the conflict.
            if entry.answer.is_none() {
                break;
            }
            let Some(request) = rule.resend(&entry, request).map(|bytes| bytes.into_owned()) else {
                continue;
            };
            let request = pins.instead_of(index).unwrap_or(&request);
            let again = self.exchange(request, entry.ordered).await?.answer;
            if is_conflict(&again, entry.answer.and_then(|answer| answer.error)) {
                // The next run may begin with another LAST_INSERT_ID().
                let equal = self.talk.guard.no_id_told(entry.role).is_ok();
                return Ok(if equal { Run::Conflict } else { Run::Stop(ReplayOutcome::Mismatch) });
            }
            if !rule.accepts(&entry, &again) {
                return Ok(Run::Stop(ReplayOutcome::Mismatch));
            }
        }
        Ok(Run::Equal)
    }

    /// A server that rolled back by itself told then what it could not take back: warning 1196 is
    /// among those of the failed statement. TiDB has no tables without transactions.
    async fn left_behind(&mut self) -> Result<bool, End> {
        if self.talk.is_tidb {
            return Ok(false);
        }
        let request = query("SHOW WARNINGS");
        let mut found = false;
        let mut look =
            |kind, payload: &[u8]| found |= kind == Kind::Row && is_not_rolled_back(payload);
        self.exchange_with(&request, true, Some(&mut look)).await?;
        Ok(found)
    }

    /// Ends whatever the backend holds open. False if that left something behind.
    pub(super) async fn roll_back(&mut self) -> Result<bool, End> {
        let replied = self.exchange(&query("ROLLBACK"), true).await?;
        let clean = replied.answer.status.is_some_and(|status| {
            !status.in_trans() && status.autocommit() == self.talk.status.autocommit()
        });
        Ok(clean && replied.warnings == 0)
    }

    /// Brings the session back to what it was at BEGIN. False if the server refuses that.
    async fn restore(&mut self) -> Result<bool, End> {
        for command in self.talk.guard.restore().commands() {
            let answer = self.exchange(&command, true).await?.answer;
            if answer.status.is_none_or(|status| status.in_trans()) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Brings the session to what it was after the first run, outside of a transaction: what the
    /// client believes in. If that fails it can't go on, as later statements would mean something
    /// else than the client thinks.
    async fn reinstate(&mut self) -> Result<(), End> {
        self.reinstate_id().await?;
        if self.talk.guard.restore().is_empty() {
            return Ok(());
        }
        if !self.restore().await? {
            return Err(End::BackendGone);
        }
        for index in 0..self.talk.journal.len() {
            let Some((entry, request)) = self.talk.journal.get(index) else { break };
            let Some(first) = entry.answer.filter(|_| entry.role == Role::Session) else {
                continue;
            };
            let request = request.to_vec();
            if self.exchange(&request, true).await?.answer.error != first.error {
                return Err(End::BackendGone);
            }
        }
        Ok(())
    }

    /// The transaction is still open.
    pub(super) async fn is_open(&mut self) -> Result<bool, End> {
        let replied = self.exchange(&[Command::PING.0], true).await?;
        Ok(replied.answer.status.is_some_and(Status::in_trans))
    }

    /// Sends a request and takes its whole reply in, unseen by the client.
    pub(super) async fn exchange(&mut self, request: &[u8], ordered: bool) -> Result<Replied, End> {
        self.exchange_with(request, ordered, None).await
    }

    /// The same with a look at each packet.
    pub(super) async fn exchange_with(
        &mut self,
        request: &[u8],
        ordered: bool,
        mut look_at: Option<LookAt<'_>>,
    ) -> Result<Replied, End> {
        let tag = self.talk.send_again(request, true, &mut self.link.up);
        let command = Command(request[0]);
        let mut response = Response::new(command.reply(), self.talk.capabilities);
        let mut fingerprint = Fingerprint::new(self.talk.deps.seed, ordered);
        let mut warnings = 0;
        let mut pieces = Vec::new();
        loop {
            let (look, seen) = self
                .talk
                .walk
                .look(self.link.down.pending(), &mut response)
                .map_err(|_| End::BackendGone)?;
            match look {
                Look::More => {
                    self.fill_down().await?;
                    continue;
                }
                Look::Piece { kind, header, len, ends } => {
                    let piece = &self.link.down.pending()[header..len];
                    fingerprint.piece(kind, piece);
                    if let Some(look_at) = look_at.as_mut() {
                        pieces.extend_from_slice(piece);
                        if ends {
                            look_at(kind, &std::mem::take(&mut pieces));
                        }
                    }
                    if ends {
                        fingerprint.pieces_end();
                    }
                    self.link.down.discard(len);
                }
                Look::Packet { kind, frame_len } => {
                    // The first answer was compared as the client got it, without the tag.
                    let code = seen.error.unwrap_or_default();
                    let down = &mut self.link.down;
                    let frame_len = self.talk.correct_column(code, tag, frame_len, down);
                    let payload = &self.link.down.pending()[HEADER_LEN..frame_len];
                    if let Some(look_at) = look_at.as_mut() {
                        look_at(kind, payload);
                    }
                    if kind == Kind::Ok {
                        warnings = OkPacket::read(payload).map_or(0, |ok| ok.warnings);
                    }
                    fingerprint.packet(kind, payload).map_err(|_| End::BackendGone)?;
                    self.link.down.discard(frame_len);
                }
            }
            if seen.ends {
                return Ok(Replied { answer: fingerprint.finish(), warnings });
            }
        }
    }

    /// Reads more from the backend, unless the client leaves: nobody needs the replay then.
    async fn fill_down(&mut self) -> Result<(), End> {
        let link = &mut self.link;
        // Both futures keep nothing over a poll, so they can be made anew for each.
        poll_fn(|cx| {
            if let Poll::Ready(done) = pin!(link.fill_down()).poll(cx) {
                return Poll::Ready(done.map_err(|_| End::BackendGone));
            }
            pin!(link.client_gone()).poll(cx).map(|()| Err(End::ClientGone))
        })
        .await
    }

    /// One side is gone in the middle of a replay, or was killed. Nothing has been committed, and a
    /// client that is still there gets to know that.
    fn cut_off(&mut self, end: End) -> End {
        let outcome = match end {
            End::ClientGone | End::Killed => ReplayOutcome::ClientGone,
            _ => ReplayOutcome::BackendLost,
        };
        self.give_back(outcome);
        end
    }

    /// Gives the original error to the client, with no transaction open behind it.
    async fn give_up(&mut self, outcome: ReplayOutcome) -> Result<(), End> {
        // A first error that never reached the backend's ROLLBACK is answered all the same.
        let mut settled = self.roll_back().await.map(|_| ());
        if settled.is_ok() {
            settled = self.reinstate().await;
        }
        self.give_back(outcome);
        settled
    }

    /// The client has the first error, and the transaction has ended with it.
    fn give_back(&mut self, outcome: ReplayOutcome) {
        let code = self.talk.answer_with_original(outcome, &mut self.link.down);
        self.talk.finish(Outcome::Conflict(code), &mut self.link.up);
    }
}

/// What a conflict was about, if its error says so.
fn hot_key(code: u16, frame: &[u8]) -> Option<HotKey> {
    if code != code::WRITE_CONFLICT {
        return None;
    }
    let payload = frame.get(HEADER_LEN..).unwrap_or_default();
    ErrPacket::read(payload).ok().and_then(|error| HotKey::of(error.message))
}

/// Why nothing is tried.
fn outcome_of(no: NoTurn) -> ReplayOutcome {
    match no {
        NoTurn::CircuitOpen => ReplayOutcome::CircuitOpen,
        NoTurn::TimeUp => ReplayOutcome::Exhausted,
    }
}

/// The payload of a COM_QUERY.
pub(super) fn query(text: &str) -> Vec<u8> {
    [&[Command::QUERY.0], text.as_bytes()].concat()
}

/// A row of SHOW WARNINGS (level, code, text) that says `ER_WARNING_NOT_COMPLETE_ROLLBACK`.
fn is_not_rolled_back(row: &[u8]) -> bool {
    let mut reader = Reader::new(row);
    let code = reader.lenenc_bytes().and_then(|_| reader.lenenc_bytes());
    code == Ok(b"1196")
}

/// The run itself met a conflict, where the first one had none.
fn is_conflict(again: &Answer, first_error: Option<u16>) -> bool {
    again.error.is_some_and(|code| {
        first_error != Some(code) && StatementError::classify(code) == StatementError::Conflict
    })
}

impl Conversation {
    /// Starts the next attempt; tells how long to wait before it, or that none is left.
    fn next_attempt(&mut self, retry: &Retry, spent: Duration) -> Option<Duration> {
        let wall = self.deps.clock.wall().as_nanos().to_le_bytes();
        let random = xxh3_64_with_seed(&wall, self.deps.seed ^ u64::from(self.connection_id));
        self.txn.as_mut()?.attempts.next(retry, spent, random)
    }

    /// The place of the open transaction among those that lost on this key: the one that it has,
    /// or a new one. It stands in one queue only, as two could wait for each other.
    fn place(&mut self, key: Option<HotKey>) -> Result<&mut Place, ReplayOutcome> {
        let Some(txn) = self.txn.as_mut() else { return Err(ReplayOutcome::Refused) };
        let had = txn.place.take();
        let again = had.as_ref().is_some_and(|place| place.key().is_some());
        let place = match had.filter(|place| place.key() == key && place.queues() == again) {
            Some(place) => place,
            None => self.deps.queues.enter(key, again).map_err(outcome_of)?,
        };
        if !self.deps.queues.tokens().take() {
            return Err(ReplayOutcome::Throttled);
        }
        Ok(txn.place.insert(place))
    }

    /// The turn does not come: the place is given up.
    fn no_turn(&mut self, no: NoTurn) -> ReplayOutcome {
        if let Some(txn) = self.txn.as_mut() {
            txn.place = None;
        }
        // It was not tried.
        self.deps.queues.tokens().give();
        outcome_of(no)
    }

    /// The replay is over; the next one that waits for the same key can go.
    pub(super) fn replay_over(&mut self, outcome: ReplayOutcome, code: u16) {
        self.deps.metrics_replay(outcome, code);
        if outcome == ReplayOutcome::Succeeded {
            self.deps.queues.tokens().give();
        }
        let Some(place) = self.txn.as_mut().and_then(|txn| txn.place.take()) else { return };
        place.end(match outcome {
            ReplayOutcome::Succeeded => Ended::Succeeded,
            ReplayOutcome::Exhausted | ReplayOutcome::Mismatch => Ended::Failed,
            _ => Ended::Left,
        });
    }

    /// Puts a request of the journal into the lane, with the tag of the current attempt.
    pub(super) fn send_again(&mut self, request: &[u8], tagged: bool, up: &mut Lane) -> usize {
        self.scratch.clear();
        if let Some(txn) = self.txn.as_deref()
            && tagged
            && request[0] == Command::QUERY.0
            && txn.plan.tag == Tag::Comment
        {
            super::inject::tag(txn, &mut self.scratch);
        }
        let tag = &self.scratch;
        let mut payload = Vec::with_capacity(request.len() + tag.len());
        payload.push(request[0]);
        payload.extend_from_slice(tag);
        payload.extend_from_slice(&request[1..]);
        up.push(&frames(0, &payload));
        tag.len()
    }

    /// Sends the request that met the conflict once more, as if the client had just sent it.
    fn resend(&mut self, what: What, sent: Instant, up: &mut Lane) {
        let Some((entry, request)) = self.last_request() else { return };
        debug_assert!(entry.answer.is_none(), "the request that met the conflict has no answer");
        let command = Command(request[0]);
        debug_assert!(command.reply() == Reply::Results);
        let commits = entry.role == Role::Commit && matches!(what, What::Commit);
        self.fingerprint = Some(Fingerprint::new(self.deps.seed, entry.ordered));
        if let Some(txn) = self.txn.as_mut() {
            txn.committing = entry.role == Role::Commit;
        }
        if commits {
            self.capture_before(up);
        }
        if commits && self.carries_receipt_again(&request) {
            return self.send_with_receipt(&request, what, sent, up);
        }
        // A BEGIN that commits the transaction before it carries no tag of that one.
        let tagged = !matches!(what, What::Begin { next: Some(_) });
        let tag = self.send_again(&request, tagged, up);
        self.expected.push(command, Ask::Client { what, sent, tag });
    }

    /// Lets the client have the first error; returns its code.
    fn answer_with_original(&mut self, outcome: ReplayOutcome, down: &mut Lane) -> u16 {
        let Some((code, frame, _)) = self.txn.as_mut().and_then(|txn| txn.conflict.take()) else {
            return 0;
        };
        if let Some(txn) = self.txn.as_mut() {
            txn.replay = Some((outcome, code));
        }
        self.replay_over(outcome, code);
        self.status.0 &= !Status::IN_TRANS;
        down.push(&frame);
        code
    }
}
