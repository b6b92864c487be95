//! The receipt in one packet with COMMIT, and what is done when COMMIT's answer is lost.
//!
//! ```text
//! COMMIT ─▶ every answer before it is in; behind an error COM_PING asks for the flags
//!   │  one packet: INSERT receipt; [INSERT idempotency key;] COMMIT
//!   ├─ the INSERT is refused ── no right, no table ─▶ COMMIT alone, counted
//!   │                        ├─ the transaction is gone ─▶ as if COMMIT had said so
//!   │                        └─ anything else ─▶ not committed: ROLLBACK, replay or a clear error
//!   ├─ COMMIT: OK, or an error that proves an abort ─▶ the client's answer, as without a receipt
//!   └─ COMMIT: an error that proves nothing, or the end of the stream ─▶ the resolver decides
//!        ├─ committed ─────▶ OK
//!        ├─ not committed ─▶ replayed, if the connection lives and it is guarded; else 17014
//!        └─ pending ───────▶ closed without an answer, as TiDB does; decided behind the scenes
//! ```
//!
//! An error stops a packet of several statements, so COMMIT never runs without its receipt. Two
//! commands would not do: the second one runs whatever the first one's answer is, also when a
//! resolver has decided meanwhile and the INSERT fails for that.
//!
//! The receipt is written as the client's own user. Whether he may is asked once per user, before
//! his first transaction with a receipt begins.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use dashmap::DashMap;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use crate::base::error::{Own, StatementError, code};
use crate::base::metrics::ReceiptOutcome;
use crate::coordinator::resolver::{Fate, Resolver};
use crate::net::lane::Lane;
use crate::policy::{Plan, Tag};
use crate::sql;
use crate::store::idempotency::{IdempotencyKey, Used};
use crate::store::receipts::{self, Receipt, ReceiptKey};
use crate::store::service::ServiceError;
use crate::txn::record::Outcome;
use crate::wire::command::Command;
use crate::wire::frame::{HEADER_LEN, frames};
use crate::wire::response::Seen;
use crate::wire::status::Status;

use super::key::{self, LookUp};
use super::request::{Request, Step};
use super::{
    Ask, Conflict, Conversation, End, Event, Injected, Session, Txn, What, own_error, own_ok,
};

/// Decides what became of transactions whose COMMIT was not answered.
///
/// The product has one; the scripted tests put a verdict in its place.
pub trait Fates: Send + Sync {
    /// The tables are there.
    fn is_ready(&self) -> bool;

    /// Decides within a limit. `at` is the client's backend, HOST:PORT.
    fn resolve<'a>(&'a self, key: ReceiptKey, at: &'a str) -> Deciding<'a>;

    /// Decides when it can be done; nobody waits.
    fn resolve_later(&self, key: ReceiptKey, at: &str);

    /// Takes a receipt back that was written outside of any transaction, and its idempotency key.
    fn discard(&self, key: ReceiptKey, used: Option<&IdempotencyKey>, at: &str);

    /// Which transaction has used a key up.
    fn used<'a>(&'a self, key: &'a IdempotencyKey, at: &'a str) -> LookUp<'a>;
}

/// A decision under way.
pub type Deciding<'a> = Pin<Box<dyn Future<Output = Fate> + Send + 'a>>;

impl Fates for Resolver {
    fn is_ready(&self) -> bool {
        self.is_ready()
    }

    fn resolve<'a>(&'a self, key: ReceiptKey, at: &'a str) -> Deciding<'a> {
        Box::pin(self.resolve(key, at))
    }

    fn resolve_later(&self, key: ReceiptKey, at: &str) {
        self.resolve_later(key, at);
    }

    fn discard(&self, key: ReceiptKey, used: Option<&IdempotencyKey>, at: &str) {
        self.discard_later(key, used, at);
    }

    fn used<'a>(&'a self, key: &'a IdempotencyKey, at: &'a str) -> LookUp<'a> {
        Box::pin(self.committed_by(key, at))
    }
}

/// What receipts need, shared by all sessions.
#[derive(Clone)]
pub struct Receipts {
    fates: Arc<dyn Fates>,
    /// Who may write receipts, by user name; when that was found out.
    rights: Arc<DashMap<Box<str>, (Right, Instant)>>,
}

/// What is known of a user's right to write receipts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Right {
    Granted,
    /// The server refused with this code.
    Denied(u16),
}

/// A refusal is asked again after this time: the GRANT may have been given.
const DENIED_FOR: Duration = Duration::from_secs(60);

impl Receipts {
    /// Nobody's right is known yet.
    #[must_use]
    pub fn new(fates: Arc<dyn Fates>) -> Self {
        Self { fates, rights: Arc::default() }
    }

    fn right(&self, user: &str, now: Instant) -> Option<Right> {
        let known = self.rights.get(user)?;
        let (right, since) = *known;
        (right == Right::Granted || now - since < DENIED_FOR).then_some(right)
    }

    /// Notes what the server said. True if that is new and a refusal.
    fn note(&self, user: &str, right: Right, now: Instant) -> bool {
        let before = self.rights.insert(user.into(), (right, now));
        right != Right::Granted && before.is_none_or(|(before, _)| before != right)
    }
}

/// The receipt of the open transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OfTxn {
    /// There is none.
    Off,
    /// COMMIT will carry one, if the user may write it.
    Wanted,
    /// It is on its way, in one packet with COMMIT.
    Sent(ReceiptKey),
    /// It was taken; the answer to COMMIT is to come.
    Written(ReceiptKey),
    /// It was written outside of any transaction; the answer to COMMIT is to come.
    Void(ReceiptKey),
}

/// A COMMIT that has not happened, or that may have happened, on a connection that lives.
#[derive(Debug)]
pub(super) struct Doubt {
    /// The error that says so.
    code: u16,
    why: Why,
    what: What,
    sent: Instant,
}

/// Why COMMIT is in doubt.
#[derive(Debug)]
enum Why {
    /// An error says nothing, and the receipt was written: the resolver decides.
    Unknown(ReceiptKey),
    /// It was stopped ahead of it; nothing has happened.
    Stopped,
    /// The same, by an error behind which the transaction may still be open.
    Refused,
    /// Its idempotency key can't be written; nothing has happened.
    KeyUnusable,
    /// A row was there already: the key's, if another transaction has used that up. Else the client
    /// gets this error.
    Duplicate(Box<[u8]>),
}

impl Doubt {
    /// A COMMIT that would lose its key.
    pub(super) fn of_key(now: Instant) -> Self {
        Self { code: 0, why: Why::KeyUnusable, what: What::Commit, sent: now }
    }
}

/// The right to write receipts is missing, or the table is: the transaction is none the worse.
/// `ER_OPEN_AS_READONLY`, `ER_DBACCESS_DENIED_ERROR`, `ER_BAD_DB_ERROR`, `ER_BAD_FIELD_ERROR`,
/// `ER_TABLEACCESS_DENIED_ERROR`, `ER_COLUMNACCESS_DENIED_ERROR`, `ER_NO_SUCH_TABLE`,
/// `ER_NO_SUCH_TABLE_IN_ENGINE`.
fn is_not_allowed(code: u16) -> bool {
    matches!(code, 1036 | 1044 | 1049 | 1054 | 1142 | 1143 | 1146 | 1932)
}

/// Nothing can be written here, so nothing was, and no resolver is the reason: under LOCK TABLES
/// (`ER_TABLE_NOT_LOCKED_FOR_WRITE`, `ER_TABLE_NOT_LOCKED`) or a global read lock
/// (`ER_CANT_UPDATE_WITH_READLOCK`), on a server or in a transaction that only reads
/// (`ER_OPTION_PREVENTS_STATEMENT`, `ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION`,
/// `ER_READ_ONLY_MODE`; TiDB's 1105 where a snapshot is read, which can also mean that the
/// transaction is gone), within XA (`ER_XAER_RMFAIL`), where
/// the binary log can't take it (`ER_BINLOG_STMT_MODE_AND_ROW_ENGINE`), in a packet that TiDB
/// can't parse because of what the client wrote behind COMMIT (`ER_PARSE_ERROR`), and TiDB's 8130, "client
/// has multi-statement capability disabled".
fn is_not_possible(code: u16) -> bool {
    matches!(code, 1064 | 1099 | 1100 | 1105 | 1223 | 1290 | 1399 | 1665 | 1792 | 1836 | 8130)
}

impl Conversation {
    /// A transaction that begins now shall have a receipt.
    pub(super) fn wants_receipt(&self, plan: &Plan) -> OfTxn {
        let ready = self.deps.receipts.as_ref().is_some_and(|receipts| receipts.fates.is_ready());
        match plan.receipt && !plan.observe_only && ready {
            true => OfTxn::Wanted,
            false => OfTxn::Off,
        }
    }

    /// Asks whether the user may write receipts, if that isn't known: an INSERT of no row, ahead of
    /// BEGIN, which resets what it disturbed.
    ///
    /// Not where it would disturb more: in a transaction that is open without having been noticed
    /// (a reload brought the policy), or behind a SET TRANSACTION, which holds for what comes next.
    pub(super) fn ask_for_right(&mut self, plan: &Plan, up: &mut Lane) {
        if self.wants_receipt(plan) == OfTxn::Off || self.right().is_some() {
            return;
        }
        if self.status.in_trans() || self.one_shot {
            return;
        }
        self.inject(receipts::PROBE, Injected::Right, up);
        if !self.status.autocommit() {
            // It has opened a transaction.
            self.inject("ROLLBACK", Injected::Restore, up);
        }
    }

    pub(super) fn may_not_write_receipts(&self) -> bool {
        matches!(self.right(), Some(Right::Denied(_)))
    }

    fn right(&self) -> Option<Right> {
        let receipts = self.deps.receipts.as_ref()?;
        receipts.right(&self.user, self.deps.clock.now())
    }

    /// The answer to [`Self::ask_for_right`].
    pub(super) fn told_right(&self, error: Option<u16>) {
        let Some(receipts) = &self.deps.receipts else { return };
        let right = match error {
            None => Right::Granted,
            // That is said of this session, not of the user.
            Some(code) if is_not_possible(code) => return,
            Some(code) => Right::Denied(code),
        };
        if receipts.note(&self.user, right, self.deps.clock.now()) {
            tracing::warn!(
                user = &*self.user,
                code = error,
                remedy = "txguard schema print --for USER",
                "the user may not write receipts; transactions go without"
            );
        }
    }

    /// COMMIT shall carry a receipt.
    pub(super) fn carries_receipt(&self) -> bool {
        self.txn.as_ref().is_some_and(|txn| txn.open && txn.receipt == OfTxn::Wanted)
            && self.status.in_trans()
            // Where it could not be asked for, the receipt asks.
            && !self.may_not_write_receipts()
            // Whether a COMMIT of reads alone has happened makes no difference, but to a key.
            && (!self.is_guarded() || self.journal.writes() || self.has_key())
    }

    /// The flags are those behind the last answer; else they are asked for.
    pub(super) fn is_sure_of_flags(&mut self, up: &mut Lane) -> bool {
        if self.expected.is_empty() && self.flags_stale {
            self.ping(Injected::Flags, up);
        }
        self.expected.is_empty()
    }

    /// A statement joins the digest of the transaction, where that will be needed. Comments around
    /// it carry traces and don't count.
    pub(super) fn note_said(&mut self, request: Request, up: &Lane) {
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
    pub(super) fn carries_receipt_again(&self, commit: &[u8]) -> bool {
        let wanted = self.txn.as_ref().is_some_and(|txn| txn.receipt != OfTxn::Off);
        self.is_plain_commit(commit) && (self.has_key() || wanted && !self.may_not_write_receipts())
    }

    /// The answer that comes next is the one to a COMMIT behind a receipt.
    pub(super) fn is_behind_receipt(&self) -> bool {
        let written = |receipt| matches!(receipt, OfTxn::Written(_) | OfTxn::Void(_));
        self.txn.as_ref().is_some_and(|txn| written(txn.receipt))
    }

    /// A receipt was refused.
    pub(super) fn refuses_receipt(&self, seen: Seen) -> bool {
        let front = self.expected.front().map(|front| &front.context);
        let ours = matches!(front, Some(Ask::Proxy(Injected::Receipt | Injected::Key)));
        seen.error.is_some() && ours
    }

    /// The receipt whose COMMIT has not been answered.
    pub(super) fn receipt_under_way(&self) -> Option<ReceiptKey> {
        match self.txn.as_ref()?.receipt {
            OfTxn::Sent(key) | OfTxn::Written(key) => Some(key),
            OfTxn::Off | OfTxn::Wanted | OfTxn::Void(_) => None,
        }
    }

    /// Takes COMMIT out of the lane and sends it with its receipt.
    pub(super) fn commit_with_receipt(&mut self, request: Request, up: &mut Lane) -> Step {
        let payload = request.payload(up).to_vec();
        up.discard(request.frame_len);
        let sent = self.deps.clock.now();
        self.limit.heard(sent);
        self.count.command(0);
        self.send_with_receipt(&payload, What::Commit, sent, up);
        Step::Next
    }

    /// Sends a COMMIT behind the receipt of the attempt under way.
    pub(super) fn send_with_receipt(
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
            super::inject::tag(txn, &mut self.scratch);
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
    pub(super) fn receipt_taken(&mut self, status: Option<Status>) {
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
    pub(super) fn receipt_refused(
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
    fn commit_without_receipt(&mut self, what: What, sent: Instant, up: &mut Lane) {
        if let Some(txn) = self.txn.as_mut() {
            txn.receipt = OfTxn::Off;
            txn.committing = true;
        }
        let commit = std::mem::take(&mut self.commit_alone);
        let tag = self.send_again(&commit, true, up);
        self.expected.push(Command(commit[0]), Ask::Client { what, sent, tag });
    }

    /// COMMIT was answered by an error that proves nothing, or that may be about its idempotency
    /// key; its receipt was written. True if that has to be found out before the client hears it.
    pub(super) fn doubts(
        &mut self,
        code: u16,
        ends: Option<Outcome>,
        what: &mut What,
        sent: Instant,
        frame: &[u8],
    ) -> bool {
        let Some(txn) = self.txn.as_ref() else { return false };
        let OfTxn::Written(key) = txn.receipt else { return false };
        let why = match ends {
            Some(Outcome::Unknown) => Why::Unknown(key),
            Some(Outcome::Failed(code::DUPLICATE_ENTRY)) if txn.key.is_some() => {
                Why::Duplicate(frame.into())
            }
            _ => return false,
        };
        let what = std::mem::replace(what, What::Other);
        self.event = Some(Event::Doubt(Box::new(Doubt { code, why, what, sent })));
        true
    }

    /// An OK to COMMIT that the backend could not give; nothing is open behind it.
    fn committed_after_all(&mut self, down: &mut Lane, up: &mut Lane) {
        self.status.0 &= !Status::IN_TRANS;
        down.push(&own_ok(self.status, 1));
        self.deps.metrics.receipt(ReceiptOutcome::Committed);
        if let Some(txn) = self.txn.as_mut() {
            txn.receipt = OfTxn::Off;
        }
        self.finish(Outcome::Committed, up);
    }

    /// The client gets to know that nothing has happened; nothing is open behind it.
    fn not_committed(&mut self, code: u16, said: &[u8], down: &mut Lane, up: &mut Lane) {
        self.status.0 &= !Status::IN_TRANS;
        if let Some(txn) = self.txn.as_mut() {
            txn.committing = false;
        }
        down.push(said);
        self.finish(Outcome::Failed(code), up);
    }

    /// A transaction has ended.
    pub(super) fn close_receipt(&self, txn: &Txn, outcome: Outcome) {
        match (txn.receipt, outcome) {
            // Not before the whole packet was answered: its key would come behind.
            (OfTxn::Void(key), _) => {
                if let Some(receipts) = &self.deps.receipts {
                    receipts.fates.discard(key, txn.key.as_ref(), self.registered.backend());
                }
            }
            (OfTxn::Written(_), Outcome::Committed) => {
                self.deps.metrics.receipt(ReceiptOutcome::Written);
            }
            (OfTxn::Wanted, Outcome::Committed) => {
                self.deps.metrics.receipt(ReceiptOutcome::Without);
            }
            _ => {}
        }
    }
}

/// The code that a record of an attempt that was decided carries, where no server gave one.
const LOST: u16 = 0;

impl<C, B> Session<C, B>
where
    C: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    /// The backend is gone. If it has swallowed the answer to a COMMIT with a receipt, the client
    /// gets that answer all the same.
    ///
    /// Takes no longer than the resolver's limit. Cancel safe: the resolver's work is repeatable.
    pub(super) async fn last_answer(&mut self) -> End {
        let Some(key) = self.talk.receipt_under_way().filter(|_| !self.talk.bare) else {
            return End::BackendGone;
        };
        let (talk, link) = (&mut self.talk, &mut self.link);
        match talk.resolve(key).await {
            Fate::Committed => talk.committed_after_all(&mut link.down, &mut link.up),
            Fate::NotCommitted => {
                talk.deps.metrics.receipt(ReceiptOutcome::NotCommitted);
                let said = own_error(Own::NotCommitted, 1);
                talk.not_committed(LOST, &said, &mut link.down, &mut link.up);
            }
            Fate::Pending => {}
        }
        let _ = link.flush_down().await;
        End::BackendGone
    }

    /// COMMIT has not happened, or that has to be found out. An error means that the session ends.
    ///
    /// Not cancel safe: the client may stay without an answer.
    pub(super) async fn settle(&mut self, doubt: Doubt) -> Result<(), End> {
        let Doubt { code, why, what, sent } = doubt;
        let key = match why {
            Why::Unknown(key) => key,
            Why::Stopped => return self.again_or_not(code, what, sent).await,
            Why::Refused if self.is_open().await? => {
                self.talk.deps.metrics.receipt(ReceiptOutcome::Refused);
                self.talk.commit_without_receipt(what, sent, &mut self.link.up);
                return Ok(());
            }
            Why::Refused => return self.again_or_not(code, what, sent).await,
            Why::KeyUnusable => {
                let said = own_error(Own::KeyUnusable, 1);
                return self.not_at_all(code, &said, &what, sent).await;
            }
            Why::Duplicate(frame) => {
                let own = self.used_up().await.map(|own| own_error(own, 1));
                let said = own.as_deref().unwrap_or(&frame);
                return self.not_at_all(code, said, &what, sent).await;
            }
        };
        match self.talk.resolve(key).await {
            Fate::Committed => {
                self.talk.measure(Command::QUERY, &what, sent);
                self.talk.committed_after_all(&mut self.link.down, &mut self.link.up);
                Ok(())
            }
            Fate::NotCommitted => self.again_or_not(code, what, sent).await,
            // As TiDB does when it doesn't know either.
            Fate::Pending => Err(End::BackendGone),
        }
    }

    /// Nothing has happened, and the client hears this.
    async fn not_at_all(
        &mut self,
        code: u16,
        said: &[u8],
        what: &What,
        sent: Instant,
    ) -> Result<(), End> {
        // Where the connection is lost meanwhile, that has rolled back.
        let rolled_back = self.roll_back().await;
        self.talk.measure(Command::QUERY, what, sent);
        let mut said = said.to_vec();
        // It may have been the second answer of a packet.
        said[HEADER_LEN - 1] = 1;
        self.talk.not_committed(code, &said, &mut self.link.down, &mut self.link.up);
        rolled_back.map(|_| ())
    }

    async fn again_or_not(&mut self, code: u16, what: What, sent: Instant) -> Result<(), End> {
        self.talk.deps.metrics.receipt(ReceiptOutcome::NotCommitted);
        if let Some(txn) = self.talk.txn.as_mut() {
            txn.receipt = OfTxn::Wanted;
            txn.committing = false;
        }
        if self.talk.is_guarded() {
            let frame = own_error(Own::NotCommitted, 1).into();
            return self.replay(Conflict { code, frame, what, sent }).await;
        }
        self.not_at_all(code, &own_error(Own::NotCommitted, 1), &what, sent).await
    }
}

impl Conversation {
    /// Which transaction has used a key up.
    pub(super) async fn used(&self, key: &IdempotencyKey) -> Result<Option<Used>, ServiceError> {
        match &self.deps.receipts {
            Some(receipts) => receipts.fates.used(key, self.registered.backend()).await,
            None => Ok(None),
        }
    }

    async fn resolve(&self, key: ReceiptKey) -> Fate {
        let Some(receipts) = &self.deps.receipts else { return Fate::Pending };
        let at = self.registered.backend();
        let fate = receipts.fates.resolve(key, at).await;
        if fate == Fate::Pending {
            self.deps.metrics.receipt(ReceiptOutcome::Pending);
            receipts.fates.resolve_later(key, at);
        }
        fate
    }
}
