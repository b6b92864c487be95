//! A transaction starts.

use std::sync::Arc;

use crate::net::lane::Lane;
use crate::policy::{Plan, TsoMode};
use crate::sql;
use crate::store::idempotency::IdempotencyKey;
use crate::txn::digest::Digest;
use crate::txn::effect::declines_retry;
use crate::txn::fingerprint::Fingerprint;
use crate::txn::guard::{Guard, Unguarded};
use crate::txn::journal::Role;
use crate::txn::replay::Attempts;

use super::key::Claim;
use super::request::{Request, Step};
use super::{Conversation, Txn, What};

impl Conversation {
    /// BEGIN while no transaction is open.
    pub(super) fn begin(&mut self, request: Request, up: &mut Lane) -> Step {
        let plan = self.plan();
        let key = match self.claim(request, &plan, up) {
            Claim::Free(key) => key,
            Claim::Stop(step) => return step,
        };
        if plan.is_bare() {
            self.send(request, What::Other, 0, up);
            return Step::Next;
        }
        // Earlier answers decide what state this one finds; pipelining clients wait a moment.
        if self.client_waits() {
            return Step::Wait;
        }
        self.ask_for_right(&plan, up);
        let traceparent = self.text_of(request, up).and_then(sql::traceparent);
        let declines = self.text_of(request, up).is_some_and(declines_retry);
        let txn = Txn { key, ..self.new_txn(plan, true, declines, traceparent) };
        self.guard.begin();
        self.txn = Some(Box::new(txn));
        self.record(request, Role::Begin, true, up);
        self.send_begin(request, None, up)
    }

    /// BEGIN inside a transaction commits it: a commit point with a new transaction behind it.
    pub(super) fn begin_inside(&mut self, request: Request, up: &mut Lane) -> Step {
        if !self.expected.is_empty() {
            return Step::Wait;
        }
        let plan = self.plan();
        let traceparent = self.text_of(request, up).and_then(sql::traceparent);
        let declines = self.text_of(request, up).is_some_and(declines_retry);
        let next = Box::new(self.new_txn(plan, true, declines, traceparent));
        match self.is_guarded() {
            true => self.record(request, Role::Commit, true, up),
            // Nothing is recorded of the transaction before; the journal is the next one's.
            false if next.guarded => self.record_first(request, up),
            false => {}
        }
        if let Some(txn) = self.txn.as_mut() {
            txn.committing = true;
            txn.ending = true;
        }
        self.send_begin(request, Some(next), up)
    }

    fn send_begin(&mut self, request: Request, next: Option<Box<Txn>>, up: &mut Lane) -> Step {
        let tag = match request.command {
            crate::wire::command::Command::QUERY if next.is_none() => self.tag(request, up),
            _ => 0,
        };
        let request = Request { frame_len: request.frame_len + tag, ..request };
        self.send(request, What::Begin { next }, tag, up);
        Step::Next
    }

    /// Puts a BEGIN into the empty journal, for the transaction that it opens.
    fn record_first(&mut self, request: Request, up: &Lane) {
        if self.journal.push(request.payload(up), Role::Begin, true).is_ok() {
            self.fingerprint = Some(Fingerprint::new(self.deps.seed, true));
        }
    }

    /// The text of a COM_QUERY.
    fn text_of<'a>(&self, request: Request, up: &'a Lane) -> Option<&'a [u8]> {
        (request.command == crate::wire::command::Command::QUERY).then(|| &request.payload(up)[1..])
    }

    /// The plan for a transaction that begins now, by the policies in force now.
    pub(super) fn plan(&mut self) -> Arc<Plan> {
        if self.policies.has_changed().unwrap_or(false) {
            self.user_policies = self.policies.borrow_and_update().for_user(&self.user);
        }
        self.user_policies.plan(self.schema.as_deref())
    }

    pub(super) fn new_txn(
        &mut self,
        plan: Arc<Plan>,
        explicit: bool,
        declines: bool,
        traceparent: Option<&str>,
    ) -> Txn {
        let wall = self.deps.clock.wall();
        let unguarded = plan.retry.and_then(|_| match declines || self.declines_retry {
            true => Some(Unguarded::Declined),
            false => Guard::admit_begin(self.one_shot, self.charset_plain).err(),
        });
        Txn {
            id: self.deps.ids.next(wall),
            attempts: Attempts::new(),
            started: self.deps.clock.now(),
            open: false,
            explicit,
            hint: (plan.tso != TsoMode::Off).then(|| self.deps.oracle.hint(wall)).flatten(),
            guarded: plan.retry.is_some() && unguarded.is_none(),
            unguarded,
            traceparent: traceparent.map(Into::into),
            statements: 0,
            conflict: None,
            replay: None,
            place: None,
            committing: false,
            doubt: None,
            ending: false,
            probed: None,
            start_ts: None,
            receipt: self.wants_receipt(&plan),
            said: Digest::default(),
            readings: self.readings,
            key: None,
            plan,
        }
    }

    /// With autocommit off any statement may open a transaction; the flags of its answer tell. If
    /// one may be open already, its beginning was not seen.
    pub(super) fn begin_with(
        &mut self,
        plan: Arc<Plan>,
        declines: bool,
        traceparent: Option<&str>,
        key: Option<IdempotencyKey>,
    ) {
        let mut txn = Txn { key, ..self.new_txn(plan, false, declines, traceparent) };
        if self.status.in_trans() && txn.guarded {
            txn.guarded = false;
            txn.unguarded = Some(Unguarded::BeginNotSeen);
        }
        self.guard.begin();
        self.txn = Some(Box::new(txn));
    }

    /// The backend opened a transaction that we did not see begin.
    pub(super) fn begin_unseen(&mut self, why: Unguarded) {
        let plan = self.plan();
        if plan.is_bare() {
            return;
        }
        let mut txn = self.new_txn(plan, false, false, None);
        txn.open = true;
        txn.guarded = false;
        txn.unguarded = txn.plan.retry.is_some().then_some(why);
        self.txn = Some(Box::new(txn));
    }

    /// The transaction can be replayed as things stand.
    pub(super) fn is_guarded(&self) -> bool {
        self.txn.as_ref().is_some_and(|txn| txn.guarded)
    }

    /// Switches the guard off until the transaction ends, and lets go what it held back.
    pub(super) fn unguard(&mut self, why: Unguarded, up: &mut Lane) {
        let Some(txn) = self.txn.as_mut().filter(|txn| txn.guarded) else { return };
        txn.guarded = false;
        txn.unguarded = Some(why);
        self.journal.clear();
        self.fingerprint = None;
        self.flush_closes(up);
    }
}
