//! An idempotency key: of all transactions that come with it, one commits.
//!
//! ```text
//! BEGIN with a key ─▶ has a transaction with it committed? (the service account looks)
//!    ├─ yes ─▶ 17015, and no transaction
//!    └─ no ──▶ BEGIN; COMMIT writes the key between its receipt and itself
//!                 └─ 1062 ─▶ another one was faster: 17015, or 17016 if it said something else
//! ```
//!
//! The look at BEGIN spares work; the row that COMMIT writes is what decides. So a transaction with
//! a key ends by COMMIT alone, with the key, or not at all: what would commit it in another way is
//! refused, and where the key can't be written nothing is committed.
//!
//! A key comes in the comment in front of BEGIN (`/*idempotency_key='…'*/`), or by `CALL
//! txguard.idempotency_key('…')` before it. It is for one transaction, of one user and schema.

use std::pin::Pin;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::base::error::Own;
use crate::net::lane::Lane;
use crate::policy::Plan;
use crate::sql::{self, Scan, Verb};
use crate::store::idempotency::{IdempotencyKey, Used};
use crate::store::service::ServiceError;
use crate::txn::effect::{Effects, Turn, may_commit};
use crate::wire::command::Command;
use crate::wire::frame::Header;

use super::query::is_plain;
use super::receipt::{Doubt, OfTxn};
use super::request::{Request, Step, next_seq};
use super::{Conversation, Event, Session, Txn, own_error};

/// Who has used a key up, being asked.
pub type LookUp<'a> = Pin<Box<dyn Future<Output = Result<Option<Used>, ServiceError>> + Send + 'a>>;

/// What comes before BEGIN.
pub(super) enum Claim {
    /// The transaction begins, perhaps with this key, which nobody has used up.
    Free(Option<IdempotencyKey>),
    /// Not now, or not at all.
    Stop(Step),
}

/// What it is called in a comment.
const KEY: &str = "idempotency_key";

impl Conversation {
    /// The key in the scope of this session.
    pub(super) fn key_in_scope(&self, key: &str) -> Result<IdempotencyKey, Own> {
        let schema = self.schema.as_deref().unwrap_or_default();
        IdempotencyKey::new(&self.user, schema, key).map_err(|_| Own::KeyUnusable)
    }

    /// The key of a transaction that is to begin with this request: looks it up once.
    pub(super) fn claim(&mut self, request: Request, plan: &Plan, up: &mut Lane) -> Claim {
        let key = match self.key_said(request, up) {
            Ok(Some(key)) => key,
            Ok(None) => return Claim::Free(None),
            Err(own) => return Claim::Stop(self.refuse_begin(request, own, up)),
        };
        if self.claimed.take().is_some_and(|claimed| claimed == key) {
            self.next_key = None;
            return Claim::Free(Some(key));
        }
        if self.wants_receipt(plan) == OfTxn::Off || self.may_not_write_receipts() {
            return Claim::Stop(self.refuse_begin(request, Own::KeyUnusable, up));
        }
        if self.expected.is_empty() {
            self.event = Some(Event::Claim(key));
            return Claim::Stop(Step::Next);
        }
        Claim::Stop(Step::Wait)
    }

    /// The key in the comment, or the one of the CALL before.
    fn key_said(&self, request: Request, up: &Lane) -> Result<Option<IdempotencyKey>, Own> {
        let said = match request.command {
            Command::QUERY => sql::comment_value(&request.payload(up)[1..], KEY),
            _ => None,
        };
        match said {
            Some(key) => self.key_in_scope(&key).map(Some),
            None => Ok(self.next_key.clone()),
        }
    }

    fn refuse_begin(&mut self, request: Request, own: Own, up: &mut Lane) -> Step {
        if !self.expected.is_empty() {
            return Step::Wait;
        }
        self.next_key = None;
        self.refuse_with(request, own, up)
    }

    /// Answers a request with an error of our own in place of the backend.
    pub(super) fn refuse_with(&mut self, request: Request, own: Own, up: &mut Lane) -> Step {
        if !self.expected.is_empty() {
            return Step::Wait;
        }
        if !request.whole {
            // What follows can't be told from commands.
            return self.refuse(own, up);
        }
        self.take_and_say(request, own_error(own, next_seq(up)), up)
    }

    /// A text that would let a key go astray is refused: it would commit the transaction without
    /// it, or be a transaction of its own while a key waits for one.
    pub(super) fn guard_key(
        &mut self,
        request: Request,
        scan: &Scan,
        up: &mut Lane,
    ) -> Option<Step> {
        let text = &request.payload(up)[1..];
        let holds = self.has_key() || self.next_key.is_some();
        let astray = match (self.has_key(), self.next_key.is_some()) {
            (true, _) => match Turn::of(scan, request.whole, true) {
                Turn::Begin => true,
                Turn::Commit => !is_plain(scan.verb),
                Turn::Empty | Turn::Rollback => false,
                Turn::Statement => Effects::of(text, scan, request.whole).may_commit,
            },
            (false, true) => !self.spares_key(scan.verb, scan.multi || scan.opaque, scan.empty),
            (false, false) => !self.takes_key(text, scan, request.whole),
        };
        (astray || holds && !request.whole).then(|| self.refuse_with(request, Own::KeyUnusable, up))
    }

    /// A key in the comment of this text is taken for the transaction that it begins, or the text
    /// begins none.
    fn takes_key(&self, text: &[u8], scan: &Scan, whole: bool) -> bool {
        let outside = self.txn.is_none();
        let begins = matches!(scan.verb, Verb::Begin(_));
        if !begins && !outside {
            return true;
        }
        if !begins && self.status.autocommit() {
            // A write of its own would be done again with the same key.
            let writes =
                matches!(scan.verb, Verb::Insert | Verb::Update | Verb::Delete | Verb::Replace);
            return !writes || sql::comment_value(text, KEY).is_none();
        }
        match sql::comment_value(text, KEY) {
            Some(_) if begins => outside && Turn::of(scan, whole, false) == Turn::Begin,
            Some(_) => !Effects::of(text, scan, whole).may_commit,
            // Not where it is read, or not written as it should be.
            None => {
                !begins || scan.multi || !text.windows(KEY.len()).any(|part| part == KEY.as_bytes())
            }
        }
    }

    /// The same for an execution of a prepared statement.
    pub(super) fn guard_key_prepared(
        &mut self,
        request: Request,
        verb: Verb,
        commits: bool,
        up: &mut Lane,
    ) -> Option<Step> {
        let astray = match (self.has_key(), self.next_key.is_some()) {
            (true, _) => match verb {
                Verb::Begin(_) => true,
                Verb::Commit(_) => !is_plain(verb),
                Verb::Rollback(_) => false,
                _ => commits,
            },
            (false, true) => !self.spares_key(verb, false, false),
            (false, false) => return None,
        };
        (astray || !request.whole).then(|| self.refuse_with(request, Own::KeyUnusable, up))
    }

    /// What may come between the CALL and its BEGIN.
    fn spares_key(&self, verb: Verb, unclear: bool, empty: bool) -> bool {
        let begins = !self.status.autocommit() && !may_commit(verb);
        let harmless = matches!(
            verb,
            Verb::Begin(_)
                | Verb::Commit(_)
                | Verb::Rollback(_)
                | Verb::Select
                | Verb::Set(_)
                | Verb::Show
                | Verb::Use
        );
        empty || !unclear && (begins || harmless)
    }

    pub(super) fn has_key(&self) -> bool {
        self.txn.as_ref().is_some_and(|txn| txn.key.is_some())
    }

    /// COMMIT of a transaction with a key that can't be written must not go out.
    pub(super) fn must_not_commit(&self, with_receipt: bool) -> bool {
        self.has_key() && !with_receipt
    }

    /// Stops a COMMIT that would lose its key.
    pub(super) fn stop_commit(&mut self, request: Request, up: &mut Lane) -> Step {
        if !self.expected.is_empty() {
            return Step::Wait;
        }
        self.limit.heard(self.deps.clock.now());
        up.discard(request.frame_len);
        self.event = Some(Event::Doubt(Box::new(Doubt::of_key(self.deps.clock.now()))));
        Step::Next
    }
}

/// The statement that writes the key, if the transaction has one.
pub(super) fn insert(txn: &Txn) -> Option<String> {
    let by = match txn.receipt {
        OfTxn::Sent(key) | OfTxn::Written(key) => key,
        OfTxn::Off | OfTxn::Wanted | OfTxn::Void(_) => return None,
    };
    Some(txn.key.as_ref()?.insert(by, txn.said.value()))
}

impl<C, B> Session<C, B>
where
    C: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    /// Looks a key up. The BEGIN that waits at the beginning of the lane goes out behind this, or is
    /// refused. Takes no longer than the resolver's limit.
    ///
    /// Cancel safe: nothing is changed.
    pub(super) async fn claim(&mut self, key: IdempotencyKey) {
        let own = match self.talk.used(&key).await {
            Ok(None) => {
                self.talk.claimed = Some(key);
                return;
            }
            Ok(Some(_)) => Own::AlreadyCommitted,
            Err(error) => {
                let conn = self.talk.connection_id;
                tracing::warn!(conn, %error, "an idempotency key can't be looked up");
                Own::KeyUnusable
            }
        };
        self.talk.next_key = None;
        let Some(header) = Header::read(self.link.up.pending()) else { return };
        self.link.up.discard(header.frame_len());
        self.link.down.push(&own_error(own, header.seq.wrapping_add(1)));
    }

    /// The row of the key was there already, or another row that COMMIT had to write: tells which.
    /// `None` if it was not the key.
    pub(super) async fn used_up(&mut self) -> Option<Own> {
        let txn = self.talk.txn.as_ref()?;
        let (key, said, id) = (txn.key.clone()?, txn.said.value(), txn.id);
        match self.talk.used(&key).await {
            Ok(Some(used)) if used.by.txn == id => None,
            Ok(Some(used)) if used.fingerprint == said => Some(Own::AlreadyCommitted),
            Ok(Some(_)) => Some(Own::KeyReused),
            Ok(None) => None,
            Err(_) => Some(Own::KeyUnusable),
        }
    }
}
