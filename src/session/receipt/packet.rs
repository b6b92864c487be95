//! The packet that carries a receipt with COMMIT, and the answers to it.

use tokio::time::Instant;

use crate::base::error::{StatementError, code};
use crate::base::metrics::ReceiptOutcome;
use crate::net::lane::Lane;
use crate::policy::Tag;
use crate::sql;
use crate::store::receipts::{Receipt, ReceiptKey};
use crate::wire::command::Command;
use crate::wire::frame::frames;
use crate::wire::response::Seen;
use crate::wire::status::Status;

use crate::session::key::{self};
use crate::session::request::{Request, Step};
use crate::session::{Ask, Conversation, Event, Injected, What};

use super::{Doubt, OfTxn, Why, is_not_allowed, is_not_possible};

impl Conversation {
    /// COMMIT shall carry a receipt.
    pub(in crate::session) fn carries_receipt(&self) -> bool {
        self.txn.as_ref().is_some_and(|txn| txn.open && txn.receipt == OfTxn::Wanted)
            && self.status.in_trans()
            // Where it could not be asked for, the receipt asks.
            && !self.may_not_write_receipts()
            // Whether a COMMIT of reads alone has happened makes no difference, but to a key.
            && (!self.is_guarded() || self.journal.writes() || self.has_key())
    }

    /// The flags are those behind the last answer; else they are asked for.
    pub(in crate::session) fn is_sure_of_flags(&mut self, up: &mut Lane) -> bool {
        if self.expected.is_empty() && self.flags_stale {
            self.ping(Injected::Flags, up);
        }
        self.expected.is_empty()
    }

    /// A statement joins the digest of the transaction, where that will be needed. Comments around
    /// it carry traces and don't count.
    pub(in crate::session) fn note_said(&mut self, request: Request, up: &Lane) {
        let Some(txn) = self.txn.as_ref().filter(|txn| txn.receipt != OfTxn::Off) else { return };
        let (mut said, payload) = (txn.said, request.payload(up));
        match request.command {
            Command::QUERY => {
                let text = &payload[1..];
                said.fold(sql::without_comments(text, &sql::scan(text, self.lexing)));
            }
            Command::STMT_EXECUTE => self.note_executed(&mut said, payload),
            _ => said.fold(payload),
        }
        if let Some(txn) = self.txn.as_mut() {
            txn.said = said;
        }
    }

    /// A COMMIT that is sent again carries a receipt. One with a key does whatever was said of the
    /// user's right meanwhile: without it it would commit without the key.
    pub(in crate::session) fn carries_receipt_again(&self, commit: &[u8]) -> bool {
        let wanted = self.txn.as_ref().is_some_and(|txn| txn.receipt != OfTxn::Off);
        self.is_plain_commit(commit) && (self.has_key() || wanted && !self.may_not_write_receipts())
    }

    /// The answer that comes next is the one to a COMMIT behind a receipt.
    pub(in crate::session) fn is_behind_receipt(&self) -> bool {
        let written = |receipt| matches!(receipt, OfTxn::Written(_) | OfTxn::Void(_));
        self.txn.as_ref().is_some_and(|txn| written(txn.receipt))
    }

    /// A receipt was refused.
    pub(in crate::session) fn refuses_receipt(&self, seen: Seen) -> bool {
        let front = self.expected.front().map(|front| &front.context);
        let ours = matches!(front, Some(Ask::Proxy(Injected::Receipt | Injected::Key)));
        seen.error.is_some() && ours
    }

    /// The receipt whose COMMIT has not been answered.
    pub(in crate::session) fn receipt_under_way(&self) -> Option<ReceiptKey> {
        match self.txn.as_ref()?.receipt {
            OfTxn::Sent(key) | OfTxn::Written(key) => Some(key),
            OfTxn::Off | OfTxn::Wanted | OfTxn::Void(_) => None,
        }
    }

    /// Takes COMMIT out of the lane and sends it with its receipt.
    pub(in crate::session) fn commit_with_receipt(
        &mut self,
        request: Request,
        up: &mut Lane,
    ) -> Step {
        let payload = request.payload(up).to_vec();
        up.discard(request.frame_len);
        let sent = self.deps.clock.now();
        self.limit.heard(sent);
        self.count.command(0);
        self.send_with_receipt(&payload, What::Commit, sent, up);
        Step::Next
    }

    /// Sends a COMMIT behind the receipt of the attempt under way.
    pub(in crate::session) fn send_with_receipt(
        &mut self,
        commit: &[u8],
        what: What,
        sent: Instant,
        up: &mut Lane,
    ) {
        let Some(packet) = self.packet(commit) else { return };
        let switched = !self.multi_statements;
        if switched {
            self.switch_multi_statements(true, up);
        }
        up.push(&frames(0, &packet));
        self.expected.push(Command::QUERY, Ask::Proxy(Injected::Receipt));
        if self.txn.as_ref().is_some_and(|txn| txn.key.is_some()) {
            self.expected.push(Command::QUERY, Ask::Proxy(Injected::Key));
        }
        self.expected.push(Command::QUERY, Ask::Client { what, sent, tag: 0 });
        if switched {
            self.switch_multi_statements(false, up);
        }
        self.commit_alone = commit.to_vec();
    }

    /// The packet, and notes its receipt as sent.
    fn packet(&mut self, commit: &[u8]) -> Option<Vec<u8>> {
        let txn = self.txn.as_mut()?;
        let key = ReceiptKey { txn: txn.id, attempt: txn.attempts.current() };
        txn.receipt = OfTxn::Sent(key);
        let fingerprint = txn.said.value();
        let receipt = Receipt { key, user: &self.user, on_tidb: self.is_tidb, fingerprint };
        let mut packet = vec![Command::QUERY.0];
        packet.extend_from_slice(receipt.insert().as_bytes());
        packet.push(b';');
        if let Some(insert) = key::insert(txn) {
            packet.extend_from_slice(insert.as_bytes());
            packet.push(b';');
        }
        if txn.plan.tag == Tag::Comment {
            crate::session::inject::tag(txn, &mut self.scratch);
            packet.extend_from_slice(&self.scratch);
        }
        match commit {
            [first, text @ ..] if *first == Command::QUERY.0 => packet.extend_from_slice(text),
            // A prepared one.
            _ => packet.extend_from_slice(b"COMMIT"),
        }
        Some(packet)
    }

    /// COM_SET_OPTION: several statements in one packet are taken, or not.
    fn switch_multi_statements(&mut self, on: bool, up: &mut Lane) {
        up.push(&[3, 0, 0, 0, Command::SET_OPTION.0, u8::from(!on), 0]);
        self.expected.push(Command::SET_OPTION, Ask::Proxy(Injected::Restore));
    }

    /// The receipt was taken.
    pub(in crate::session) fn receipt_taken(&mut self, status: Option<Status>) {
        let inside = status.is_some_and(Status::in_trans);
        let Some(txn) = self.txn.as_mut() else { return };
        let OfTxn::Sent(key) = txn.receipt else { return };
        if inside {
            txn.receipt = OfTxn::Written(key);
            if self.right().is_none() {
                self.told_right(None);
            }
            return;
        }
        // No transaction was open: it was committed at once, and says nothing.
        txn.receipt = OfTxn::Void(key);
        self.deps.metrics.receipt(ReceiptOutcome::Void);
    }

    /// The receipt was refused, and the packet has stopped there: COMMIT has not run.
    pub(in crate::session) fn receipt_refused(
        &mut self,
        frame_len: usize,
        seen: Seen,
        down: &mut Lane,
        up: &mut Lane,
    ) {
        let code = seen.error.unwrap_or_default();
        self.response = None;
        let mut at_key = false;
        while let Some(Ask::Proxy(what)) = self.expected.front().map(|front| &front.context) {
            at_key = *what == Injected::Key;
            self.expected.pop();
        }
        if let Some(txn) = self.txn.as_mut() {
            txn.receipt = OfTxn::Wanted;
            txn.committing = false;
        }
        if StatementError::classify(code) != StatementError::StatementOnly {
            // The transaction is gone, as if COMMIT had said so.
            return self.take_error(code, frame_len, seen, down, up);
        }
        let frame = down.pending()[..frame_len].into();
        down.discard(frame_len);
        let Some(expected) = self.expected.pop() else { return };
        let Ask::Client { what, sent, .. } = expected.context else { return };
        if is_not_allowed(code) && !at_key {
            self.told_right(Some(code));
        }
        let without = is_not_allowed(code) || is_not_possible(code);
        let has_key = self.txn.as_ref().is_some_and(|txn| txn.key.is_some());
        let why = match (without, has_key) {
            (true, false) if code == code::UNKNOWN => Why::Refused,
            (true, false) => {
                self.deps.metrics.receipt(ReceiptOutcome::Refused);
                return self.commit_without_receipt(what, sent, up);
            }
            (true, true) => Why::KeyUnusable,
            (false, _) if at_key && code == code::DUPLICATE_ENTRY => Why::Duplicate(frame),
            (false, _) => Why::Stopped,
        };
        self.event = Some(Event::Doubt(Box::new(Doubt { code, why, what, sent })));
    }

    /// Sends the COMMIT that was stopped once more, alone.
    pub(super) fn commit_without_receipt(&mut self, what: What, sent: Instant, up: &mut Lane) {
        if let Some(txn) = self.txn.as_mut() {
            txn.receipt = OfTxn::Off;
            txn.committing = true;
        }
        let commit = std::mem::take(&mut self.commit_alone);
        let tag = self.send_again(&commit, true, up);
        self.expected.push(Command(commit[0]), Ask::Client { what, sent, tag });
    }
}
