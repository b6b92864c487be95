//! Hot path: frames of the backend. Whose are they, what do they say, may they pass.

use crate::base::error::CommitError;
use crate::net::lane::Lane;
use crate::net::relay::Flow;
use crate::sql::{self, Reason};
use crate::txn::guard::Unguarded;
use crate::txn::record::Outcome;
use crate::txn::replay::ReplayOutcome;
use crate::wire::Malformed;
use crate::wire::command::{Command, Reply};
use crate::wire::expect::Expected;
use crate::wire::frame::{HEADER_LEN, Header, frames};
use crate::wire::packet::ok::Ok as OkPacket;
use crate::wire::response::{Kind, Response, Seen};
use crate::wire::status::Status;

use super::receipt::OfTxn;
use super::walk::Look;
use super::{Ask, Conflict, Conversation, Event, Injected, What};

/// `ErrParse`: the one error whose text names a column.
const PARSE_ERROR: u16 = 1064;

/// A server that says good-bye is short.
const UNASKED_MAX: usize = 64 << 10;

impl Conversation {
    /// Looks at what the backend sent and lets go what may go.
    pub(super) fn replies(&mut self, down: &mut Lane, up: &mut Lane) -> Flow {
        loop {
            if self.bare {
                down.release_all();
                return Flow::Relay;
            }
            let refused = matches!(self.event, Some(Event::Refused { .. }));
            if refused || self.event.is_some() && self.expected.is_empty() {
                return Flow::Stop;
            }
            if down.pending().is_empty() {
                return Flow::Relay;
            }
            let Some(front) = self.expected.front() else {
                match self.unasked(down, up) {
                    true => continue,
                    false => return Flow::Relay,
                }
            };
            let (command, ours) = (front.command, matches!(front.context, Ask::Proxy(_)));
            if command.reply() == Reply::Complaint {
                match down.pending().get(HEADER_LEN) {
                    None => return Flow::Relay,
                    Some(0xFF) => {}
                    // There is none: this is the answer to the COM_PING behind it.
                    Some(_) => {
                        self.expected.pop();
                        continue;
                    }
                }
            }
            let reply = front.context.reply(command);
            if self.response.is_none() {
                self.count.reply(self.is_behind_receipt());
            }
            let capabilities = self.capabilities;
            let response = self.response.get_or_insert_with(|| Response::new(reply, capabilities));
            let looked = match self.walk.look(down.pending(), response) {
                Ok((Look::More, _)) => return Flow::Relay,
                Ok(looked) => looked,
                Err(Malformed(why)) => {
                    self.lose(why, up);
                    continue;
                }
            };
            if looked.0.begins_frame() {
                self.count.answer(down.pending_mut());
            }
            match (ours, looked) {
                (true, (Look::Packet { frame_len, .. }, seen)) if self.refuses_receipt(seen) => {
                    self.receipt_refused(frame_len, seen, down, up);
                }
                (true, looked) => self.swallow(looked, down, up),
                (false, looked) => self.take(looked, down, up),
            }
        }
    }

    /// Nobody asked: a server that says good-bye. The client gets to hear it, but whole: a command
    /// may go out before the rest has come, and then the packet is taken for its answer. False if
    /// more bytes are needed.
    fn unasked(&mut self, down: &mut Lane, up: &mut Lane) -> bool {
        let Some(header) = Header::read(down.pending()) else { return false };
        let len = header.frame_len();
        if len > UNASKED_MAX {
            self.lose("a long packet that nobody asked for", up);
            return true;
        }
        let whole = down.pending().len() >= len;
        if whole {
            down.release(len);
        }
        whole
    }

    /// A piece of a reply to a statement of ours.
    fn swallow(&mut self, (look, seen): (Look, Seen), down: &mut Lane, up: &mut Lane) {
        match look {
            Look::More => {}
            Look::Piece { len, .. } => down.discard(len),
            Look::Packet { kind, frame_len } => {
                if kind == Kind::Row {
                    let payload = down.pending()[HEADER_LEN..frame_len].to_vec();
                    self.capture_row(&payload);
                }
                down.discard(frame_len);
            }
        }
        if seen.ends {
            self.response = None;
            if let Some(Expected { context: Ask::Proxy(what), .. }) = self.expected.pop() {
                self.captured(what);
                match (what, seen.status) {
                    (Injected::Probe, Some(status)) => self.probed(status, up),
                    (Injected::Flags, Some(status)) => self.note_flags(status),
                    (Injected::Receipt, status) => self.receipt_taken(status),
                    (Injected::Right, _) => self.told_right(seen.error),
                    // What can't be saved can't be put back.
                    (Injected::Save, None) => {
                        self.unguard(Unguarded::Statement(Reason::Set), up);
                    }
                    _ => {}
                }
            }
            self.drain_if_idle();
        }
    }

    /// A piece of a reply to the client.
    fn take(&mut self, (look, seen): (Look, Seen), down: &mut Lane, up: &mut Lane) {
        match look {
            Look::More => {}
            Look::Piece { kind, header, len, ends } => {
                if let Some(fingerprint) = self.fingerprint.as_mut() {
                    fingerprint.piece(kind, &down.pending()[header..len]);
                    if ends {
                        fingerprint.pieces_end();
                    }
                }
                if ends {
                    self.count_rows(kind, seen.status);
                }
                down.release(len);
                if seen.ends {
                    self.reply_ends(seen, up);
                }
            }
            Look::Packet { kind, frame_len } => {
                self.take_packet(kind, frame_len, seen, down, up);
            }
        }
    }

    fn take_packet(
        &mut self,
        kind: Kind,
        frame_len: usize,
        seen: Seen,
        down: &mut Lane,
        up: &mut Lane,
    ) {
        if kind == Kind::Infile {
            self.up.ask_for_file();
            self.unguard(Unguarded::Infile, up);
        }
        if kind == Kind::Authentication {
            self.up.ask_for_login();
            let payload = &down.pending()[HEADER_LEN..frame_len];
            if let Err(own) = self.passwords.asked(payload) {
                let seq = down.pending()[HEADER_LEN - 1];
                self.event = Some(Event::Refused { own, seq });
                return;
            }
        }
        self.count_rows(kind, seen.status);
        if let Some(code) = seen.error {
            return self.take_error(code, frame_len, seen, down, up);
        }
        let payload = &down.pending()[HEADER_LEN..frame_len];
        if let Some(fingerprint) = self.fingerprint.as_mut() {
            if fingerprint.packet(kind, payload).is_err() {
                self.unguard(Unguarded::Command, up);
            }
            if kind == Kind::Ok
                && let Ok(OkPacket { last_insert_id: id @ 1.., .. }) = OkPacket::read(payload)
            {
                self.id_told(id, up);
            }
            if kind == Kind::ColumnCount {
                self.no_id_told(up);
            }
        }
        down.release(frame_len);
        if let Some(status) = seen.status {
            self.note_flags(status);
            self.lexing.no_backslash_escapes = status.has(Status::NO_BACKSLASH_ESCAPES);
        }
        if seen.prepared.is_some() {
            self.prepared_ok = seen.prepared;
        }
        if seen.ends {
            self.reply_ends(seen, up);
        }
    }

    /// The reply to a command of the client is complete, and it is no error.
    fn reply_ends(&mut self, seen: Seen, up: &mut Lane) {
        self.response = None;
        let Some(expected) = self.expected.pop() else { return };
        let Ask::Client { mut what, sent, .. } = expected.context else { return };
        if let Some(fingerprint) = self.fingerprint.take() {
            self.journal.answer(fingerprint.finish());
        }
        self.measure(expected.command, &what, sent);
        self.replay_ended(ReplayOutcome::Succeeded);
        self.apply(&mut what);
        match what {
            What::Commit => self.capture_behind(up),
            What::Rollback => self.clear_alias(up),
            _ => {}
        }
        if let Some(status) = seen.status {
            // The same transaction is still open, whatever was feared: nothing has committed, and
            // inside a transaction no server takes a SET TRANSACTION.
            let ends = matches!(what, What::Begin { .. } | What::Commit | What::Rollback);
            if status.in_trans() && !ends && self.expected.is_empty() {
                self.one_shot_behind = false;
                if let Some(txn) = self.txn.as_mut() {
                    txn.doubt = None;
                    txn.committing = false;
                }
            }
            match status.in_trans() {
                true if matches!(what, What::Commit | What::Rollback | What::Begin { .. }) => {
                    self.opened(&mut what, up);
                    if matches!(what, What::Begin { .. }) {
                        self.set_alias(up);
                    }
                }
                true => match self.txn.as_mut() {
                    Some(txn) => txn.open = true,
                    None => self.begin_unseen(Unguarded::BeginNotSeen),
                },
                false => self.closed(&what, up),
            }
        }
        self.drain_if_idle();
    }

    /// What a successful command did to the session.
    fn apply(&mut self, what: &mut What) {
        match what {
            What::Prepare(prepared) => {
                // Prepare-OK came first; the last packet doesn't carry it any more.
                if let Some(ok) = self.prepared_ok.take() {
                    self.statements.add(ok, (**prepared).clone());
                }
            }
            What::Use(schema) => {
                self.schema = Some(schema.clone()).filter(|name| !name.is_empty());
                // What went out behind it may hide another USE.
                self.schema_known = self.expected.is_empty();
            }
            What::Reset => {
                self.session_reset();
                self.charset_plain &= self.login_plain;
                // TiDB goes back to the schema of the login, MariaDB stays.
                self.schema_known = false;
            }
            What::Set(reads) => {
                self.charset_plain = reads.charset_plain.unwrap_or(self.charset_plain);
                self.lexing.ansi_quotes = reads.ansi_quotes.unwrap_or(self.lexing.ansi_quotes);
                self.declines_retry = reads.declines_retry.unwrap_or(self.declines_retry);
            }
            What::ChangeUser { user, schema, plain } => {
                self.user = user.clone();
                self.registered.rename(user);
                self.schema = schema.clone();
                self.schema_known = true;
                self.user_policies = self.policies.borrow().for_user(&self.user);
                self.session_reset();
                self.charset_plain = *plain;
                self.login_plain = *plain;
            }
            What::MultiStatements(on) => self.multi_statements = *on,
            What::Begin { .. } | What::Commit | What::Other | What::Rollback | What::Statement => {}
        }
    }

    /// The session is as after login.
    fn session_reset(&mut self) {
        self.statements.clear();
        self.calls.clear();
        self.next_key = None;
        self.closes.clear();
        self.found_rows = Some(0);
        self.one_shot = false;
        self.one_shot_behind = false;
        self.declines_retry = false;
        self.lexing.ansi_quotes = false;
    }

    pub(super) fn take_error(
        &mut self,
        code: u16,
        frame_len: usize,
        seen: Seen,
        down: &mut Lane,
        up: &mut Lane,
    ) {
        self.response = None;
        self.prepared_ok = None;
        let Some(expected) = self.expected.pop() else { return };
        let Ask::Client { mut what, sent, tag } = expected.context else { return };
        self.flags_stale = true;
        let ends = match self.txn.as_ref() {
            // With autocommit off the first statement may meet a conflict before any answer has
            // said that a transaction is open.
            Some(txn) if txn.open || !txn.explicit => Self::outcome_of_error(&what, code),
            // BEGIN itself failed.
            _ => None,
        };
        let frame_len = self.correct_column(code, tag, frame_len, down);
        if self.doubts(code, ends, &mut what, sent, &down.pending()[..frame_len]) {
            down.discard(frame_len);
            return;
        }
        self.no_id_told(up);
        // Only what is in the journal can be sent again.
        let recorded = self.fingerprint.is_some() || self.observes();
        let replayable = self.is_guarded() && recorded && !seen.partial;
        if matches!(ends, Some(Outcome::Conflict(_))) && replayable {
            if self.observes() {
                self.deps.metrics_replay(ReplayOutcome::Observed, code);
            } else {
                let frame = down.pending()[..frame_len].into();
                down.discard(frame_len);
                self.event = Some(Event::Conflict(Box::new(Conflict { code, frame, what, sent })));
                return;
            }
        }
        if self.is_guarded() && self.fingerprint.is_none() {
            // The client acts on an error that a replay would not ask for again.
            self.unguard(Unguarded::Command, up);
        }
        if let Some(mut fingerprint) = self.fingerprint.take() {
            let payload = &down.pending()[HEADER_LEN..frame_len];
            if fingerprint.packet(Kind::Err, payload).is_ok() {
                self.journal.answer(fingerprint.finish());
            }
        }
        down.release(frame_len);
        self.measure(expected.command, &what, sent);
        self.replay_ended(ReplayOutcome::OtherError);
        self.after_error(code, ends, up);
        self.drain_if_idle();
    }

    /// The answer to the request under way can't tell of an id that it generated.
    fn no_id_told(&mut self, up: &mut Lane) {
        let role = self.journal.last_role().filter(|_| self.fingerprint.is_some());
        if let Some(Err(why)) = role.map(|role| self.guard.no_id_told(role)) {
            self.unguard(why, up);
        }
    }

    fn after_error(&mut self, code: u16, ends: Option<Outcome>, up: &mut Lane) {
        match (ends, self.txn.as_mut()) {
            (Some(Outcome::Conflict(_)), _) => self.gone(ends, up),
            // COMMIT may have failed, or may not have been run at all (a syntax error).
            (Some(outcome), Some(txn)) if txn.committing => {
                txn.probed = Some(outcome);
                self.unguard(Unguarded::CommitFailed, up);
                self.probe(up);
            }
            (Some(_), _) => self.gone(ends, up),
            (None, Some(txn)) if !txn.open && txn.explicit => {
                self.forget(up);
            }
            // With autocommit off a statement that failed may have opened the transaction: the
            // next flags tell. Which snapshot the error was read from isn't known, so there is
            // nothing to compare a second run with.
            (None, Some(txn)) if !txn.open => self.unguard(Unguarded::BeginNotSeen, up),
            (None, Some(txn)) => {
                // With more answers to come it isn't known which statement may commit.
                let last = self.expected.is_empty();
                let telling = CommitError::classify(code) != CommitError::Aborted;
                if txn.committing && (last || telling) {
                    txn.doubt = Some(code);
                }
                txn.committing &= !last;
            }
            (None, None) => {}
        }
    }

    /// An error has proven that the transaction is gone.
    fn gone(&mut self, outcome: Option<Outcome>, up: &mut Lane) {
        if let Some(outcome) = outcome {
            self.status.0 &= !Status::IN_TRANS;
            self.finish(outcome, up);
        }
    }

    fn note_flags(&mut self, status: Status) {
        self.status = status;
        self.flags_stale = false;
    }

    /// The answer to a probe behind an error at a commit point.
    fn probed(&mut self, status: Status, up: &mut Lane) {
        self.note_flags(status);
        let Some(txn) = self.txn.as_mut() else { return };
        let Some(outcome) = txn.probed.take() else { return };
        txn.committing = false;
        txn.ending = false;
        if !status.in_trans() {
            return self.finish(outcome, up);
        }
        if matches!(txn.receipt, OfTxn::Written(_)) {
            // It is in the transaction, unless a savepoint takes it out: it says nothing any more.
            txn.receipt = OfTxn::Off;
        }
    }

    fn observes(&self) -> bool {
        self.txn.as_ref().is_some_and(|txn| txn.plan.observe_only)
    }

    /// TiDB counts the tag when it names the column of a syntax error; the client doesn't know of
    /// the tag. Returns the new length of the frame.
    pub(super) fn correct_column(
        &mut self,
        code: u16,
        tag: usize,
        frame_len: usize,
        down: &mut Lane,
    ) -> usize {
        if code != PARSE_ERROR || tag == 0 {
            return frame_len;
        }
        let seq = down.pending()[HEADER_LEN - 1];
        let mut payload = down.pending()[HEADER_LEN..frame_len].to_vec();
        sql::correct_column(&mut payload, tag);
        let frame = frames(seq, &payload);
        down.discard(frame_len);
        down.insert(0, &frame);
        frame.len()
    }

    pub(super) fn measure(&mut self, command: Command, what: &What, sent: tokio::time::Instant) {
        let now = self.deps.clock.now();
        self.limit.heard(now);
        if !matches!(command, Command::QUERY | Command::STMT_EXECUTE) {
            return;
        }
        let took = now - sent;
        match what {
            What::Commit => self.deps.metrics.commit(took),
            _ => self.deps.metrics.statement(took),
        }
    }

    /// The request that had met a conflict has its answer.
    fn replay_ended(&mut self, outcome: ReplayOutcome) {
        let Some(txn) = self.txn.as_mut() else { return };
        if let Some((code, _, _)) = txn.conflict.take() {
            txn.replay = Some((outcome, code));
            self.replay_over(outcome, code);
        }
    }

    fn drain_if_idle(&mut self) {
        if self.draining && self.event.is_none() && self.is_idle() {
            self.event = Some(Event::Drained);
        }
    }
}
