//! COM_QUERY.

use crate::net::lane::Lane;
use crate::policy::Tag;
use crate::sql::{self, Completion, Reason, Scan, Verb, schema_name};
use crate::txn::effect::{Effects, Turn, declines_retry};
use crate::txn::fingerprint::Fingerprint;
use crate::txn::guard::Unguarded;
use crate::txn::journal::Role;

use super::key::Claim;
use super::request::{Request, Step};
use super::{Conversation, Injected, What};

/// Why a KILL isn't part of a guarded transaction.
pub(super) const KILL: Unguarded = Unguarded::Statement(Reason::OtherStatement);

impl Conversation {
    pub(super) fn query(&mut self, request: Request, up: &mut Lane) -> Step {
        let text = &request.payload(up)[1..];
        let scan = sql::scan(text, self.lexing);
        if scan.verb == Verb::Kill && !scan.multi && request.whole {
            let kill = sql::kill(text, &scan, self.lexing);
            if let Some(errand) = kill.and_then(|kill| self.errand(kill)) {
                return self.divert(request, errand, KILL, up);
            }
        }
        if let Some(step) = self.call(request, &scan, up) {
            return step;
        }
        if let Some(step) = self.guard_key(request, &scan, up) {
            return step;
        }
        if self.txn.is_none() {
            return self.query_outside(request, scan, up);
        }
        self.note_trace(request, up);
        let role = match Turn::of(&scan, request.whole, true) {
            Turn::Begin => return self.begin_inside(request, up),
            Turn::Commit => return self.commit(request, is_plain(scan.verb), up),
            Turn::Rollback => return self.rollback(request, up),
            Turn::Empty => None,
            Turn::Statement => self.admit_text(request, &scan, up),
        };
        let what = self.note_effects(request, &scan, up);
        self.statement(request, role, !scan.empty, what, up)
    }

    /// Drivers begin a transaction without a comment; the first statement that carries a trace
    /// names it.
    fn note_trace(&mut self, request: Request, up: &Lane) {
        let text = &request.payload(up)[1..];
        let commented = text.starts_with(b"/*") || text.trim_ascii_end().ends_with(b"*/");
        if let Some(txn) = self.txn.as_mut().filter(|txn| commented && txn.traceparent.is_none()) {
            txn.traceparent = sql::traceparent(text).map(Into::into);
        }
    }

    /// No transaction is open: does this open one?
    fn query_outside(&mut self, request: Request, scan: Scan, up: &mut Lane) -> Step {
        match Turn::of(&scan, request.whole, false) {
            Turn::Begin => self.begin(request, up),
            _ if !self.status.autocommit() && !scan.empty => self.begin_implicit(request, scan, up),
            _ => {
                let what = self.note_effects(request, &scan, up);
                self.send(request, what, 0, up);
                Step::Next
            }
        }
    }

    /// With autocommit off any statement may open a transaction; the flags of its answer tell.
    fn begin_implicit(&mut self, request: Request, scan: Scan, up: &mut Lane) -> Step {
        let plan = self.plan();
        let bare = plan.is_bare() && self.next_key.is_none();
        if bare || matches!(scan.verb, Verb::Commit(_) | Verb::Rollback(_)) {
            let what = self.note_effects(request, &scan, up);
            self.send(request, what, 0, up);
            return Step::Next;
        }
        if !self.expected.is_empty() {
            return Step::Wait;
        }
        let key = match self.claim(request, &plan, up) {
            Claim::Free(key) => key,
            Claim::Stop(step) => return step,
        };
        self.ask_for_right(&plan, up);
        let text = &request.payload(up)[1..];
        let traceparent = sql::traceparent(text).map(str::to_owned);
        self.begin_with(plan, declines_retry(text), traceparent.as_deref(), key);
        let role = self.admit_text(request, &scan, up);
        let what = self.note_effects(request, &scan, up);
        self.statement(request, role, true, what, up)
    }

    /// Records a statement if the transaction stays guarded with it, tags it, lets it go.
    pub(super) fn statement(
        &mut self,
        request: Request,
        role: Option<(Role, bool)>,
        taggable: bool,
        what: What,
        up: &mut Lane,
    ) -> Step {
        if let Some(txn) = self.txn.as_mut() {
            txn.statements += 1;
        }
        self.note_said(request, up);
        if let Some((role, ordered)) = role {
            self.record(request, role, ordered, up);
        }
        let tag = if taggable { self.tag(request, up) } else { 0 };
        let request = Request { frame_len: request.frame_len + tag, ..request };
        self.send(request, what, tag, up);
        Step::Next
    }

    /// Puts a request into the journal and starts the fingerprint of its answer.
    pub(super) fn record(&mut self, request: Request, role: Role, ordered: bool, up: &mut Lane) {
        if !self.is_guarded() {
            return;
        }
        match self.journal.push(request.payload(up), role, ordered) {
            Ok(()) => self.fingerprint = Some(Fingerprint::new(self.deps.seed, ordered)),
            Err(full) => self.unguard(full.into(), up),
        }
    }

    /// Is this text on the known-safe list, and may it be run again? If not, the guard goes off.
    fn admit_text(&mut self, request: Request, scan: &Scan, up: &mut Lane) -> Option<(Role, bool)> {
        if !self.is_guarded() {
            return None;
        }
        if !request.whole {
            self.unguard(Unguarded::JournalTransaction, up);
            return None;
        }
        let text = &request.payload(up)[1..];
        if declines_retry(text) {
            self.unguard(Unguarded::Declined, up);
            return None;
        }
        let class = self.deps.classifier.classify(text, scan, self.lexing, &mut self.scratch);
        let admitted = match class.unsafe_reason {
            Some(Reason::SchemaChange) => self.judge_use(),
            Some(Reason::Set) => self.judge_set(request, scan, up),
            _ => self.guard.admit(&class),
        };
        match admitted {
            Ok(role) => Some((role, class.ordered)),
            Err(why) => {
                self.unguard(why, up);
                None
            }
        }
    }

    /// May a change of the schema in use be replayed?
    pub(super) fn judge_use(&mut self) -> Result<Role, Unguarded> {
        let known = self.schema_known && self.txn.as_ref().is_some_and(|txn| txn.open);
        self.guard.admit_use(self.schema.as_deref().filter(|_| known))
    }

    /// May a SET be replayed? If so, what it changes is saved first.
    fn judge_set(
        &mut self,
        request: Request,
        scan: &Scan,
        up: &mut Lane,
    ) -> Result<Role, Unguarded> {
        let text = &request.payload(up)[1..];
        let open = self.txn.as_ref().filter(|txn| txn.open);
        let acts = open.is_some_and(|txn| !txn.plan.observe_only);
        let set = open.and_then(|_| sql::assigned(text, scan, self.lexing));
        let (role, saves) = self.guard.admit_set(set)?;
        if acts && !saves.is_empty() {
            self.inject(&saves, Injected::Save, up);
        }
        Ok(role)
    }

    /// COM_INIT_DB: USE without a text.
    pub(super) fn init_db(&mut self, request: Request, up: &mut Lane) -> Step {
        let schema = String::from_utf8_lossy(&request.payload(up)[1..]).into();
        if self.is_guarded() {
            let whole = request.whole;
            match if whole { self.judge_use() } else { Err(Unguarded::JournalTransaction) } {
                Ok(role) => self.record(request, role, true, up),
                Err(why) => self.unguard(why, up),
            }
        }
        self.send(request, What::Use(schema), 0, up);
        Step::Next
    }

    /// What a statement does to the session, as far as it concerns later transactions.
    fn note_effects(&mut self, request: Request, scan: &Scan, up: &Lane) -> What {
        let text = &request.payload(up)[1..];
        let effects = Effects::of(text, scan, request.whole);
        if effects.may_commit {
            self.commits_maybe();
        }
        if effects.one_shot {
            self.may_be_one_shot();
        }
        self.charset_plain &= !effects.hides_quotes;
        self.lexing.ansi_quotes |= effects.turns_ansi_quotes_on;
        self.schema_known &= !effects.hides_schema;
        self.readings += u64::from(effects.reads_otherwise);
        match (scan.verb, effects.settles) {
            (Verb::Use, _) if !scan.multi => What::Use(schema_name(&text[scan.body..])),
            (_, Some(reads)) => What::Set(reads),
            _ if self.txn.is_some() => What::Statement,
            _ => What::Other,
        }
    }

    /// The statement under way may commit: if its answer is lost, the outcome is unknown.
    pub(super) fn commits_maybe(&mut self) {
        if let Some(txn) = self.txn.as_mut() {
            txn.committing = true;
        }
    }

    /// Something that holds for the next transaction only may have been set.
    pub(super) fn may_be_one_shot(&mut self) {
        match self.txn.as_ref().is_some_and(|txn| txn.open) {
            true => self.one_shot_behind = true,
            false => self.one_shot = true,
        }
    }

    /// Puts the tag before the text of the request at the beginning of the lane; returns its
    /// length.
    pub(super) fn tag(&mut self, request: Request, up: &mut Lane) -> usize {
        let Some(txn) = self.txn.as_ref().filter(|txn| txn.plan.tag == Tag::Comment) else {
            return 0;
        };
        if txn.plan.observe_only || !request.whole {
            return 0;
        }
        super::inject::tag(txn, &mut self.scratch);
        super::inject::splice(up, request.frame_len, &self.scratch)
    }
}

/// COMMIT and nothing else.
pub(super) fn is_plain(verb: Verb) -> bool {
    matches!(verb, Verb::Commit(Completion { chain: false, release: false }))
}
