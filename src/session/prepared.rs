//! COM_STMT_*: what a prepared statement does is decided when it is prepared, and used when it is
//! executed. Statements stay prepared over a replay, as it runs on the same connection; what the
//! client closes is kept open until its transaction ends.

use std::collections::HashMap;
use std::sync::Arc;

use crate::base::error::Own;
use crate::net::lane::Lane;
use crate::sql::{self, Class, Kill, Reason, Scan, SetKind, Verb, schema_name};
use crate::txn::digest::Digest;
use crate::txn::effect::may_commit;
use crate::txn::guard::{Execution, Unguarded};
use crate::txn::journal::Role;
use crate::wire::command::Command;
use crate::wire::frame::{HEADER_LEN, frames};
use crate::wire::packet::execute::{Execute, Parameters, long_data, statement_id, types_at};
use crate::wire::packet::prepare_ok::PrepareOk;

use super::key::Claim;
use super::query::{KILL, is_plain};
use super::request::{Request, Step};
use super::{Conversation, What};

/// A prepared statement.
#[derive(Debug, Clone)]
pub(super) struct Prepared {
    class: Arc<Class>,
    verb: Verb,
    /// Of its text.
    said: Digest,
    /// Its charset word could not be kept: a SET of the character set.
    changes_charset: bool,
    schema: Option<Box<str>>,
    may_hide_set: bool,
    kill: Option<Kill>,
    /// Its text, if a replay may have to give its ids again.
    insert: Option<Arc<PreparedInsert>>,
    params: u16,
    /// A parameter was sent in pieces and waits for the execution.
    long_data: bool,
    /// A replay has run executions of it again: the types that the server knows of its parameters
    /// may be older ones than those that the client has bound last.
    replayed: bool,
}

/// An INSERT whose ids a replay may have to give again.
#[derive(Debug)]
pub(super) struct PreparedInsert {
    pub(super) text: Box<[u8]>,
    /// The schema that was in use when it was prepared: names without one mean that for ever.
    /// `None` if it wasn't known.
    pub(super) schema: Option<Box<str>>,
    /// Those of the session then: a text that is prepared anew must read as it did.
    pub(super) readings: u64,
    /// Each table in it is named with its schema.
    pub(super) is_qualified: bool,
}

/// The prepared statements of a connection, by the backend's ids.
#[derive(Debug, Default)]
pub(super) struct Statements {
    by_id: HashMap<u32, Prepared>,
    /// The parameter types that the client has bound last.
    types: HashMap<u32, Box<[u8]>>,
}

impl Statements {
    pub(super) fn add(&mut self, ok: PrepareOk, mut prepared: Prepared) {
        prepared.params = ok.params;
        self.by_id.insert(ok.statement, prepared);
    }

    pub(super) fn clear(&mut self) {
        self.by_id.clear();
        self.types.clear();
    }

    /// They may have been bound where nobody looks.
    pub(super) fn forget_types(&mut self) {
        self.types.clear();
    }

    fn remove(&mut self, id: u32) {
        self.by_id.remove(&id);
        self.types.remove(&id);
    }

    /// An INSERT whose ids a replay may have to give again.
    pub(super) fn insert(&self, id: u32) -> Option<&PreparedInsert> {
        self.by_id.get(&id)?.insert.as_deref()
    }

    /// How many parameters it has.
    pub(super) fn params(&self, id: u32) -> Option<u16> {
        self.by_id.get(&id).map(|prepared| prepared.params)
    }

    /// The parameter types that the client has bound last.
    pub(super) fn types(&self, id: u32) -> Option<&[u8]> {
        self.types.get(&id).map(|types| &**types)
    }

    /// A replay has run an execution of it again, or has left one out.
    pub(super) fn replayed(&mut self, id: u32) {
        if let Some(prepared) = self.by_id.get_mut(&id) {
            prepared.replayed = true;
        }
    }

    /// Keeps the types that travel with an execution, of which the beginning is here.
    fn bind(&mut self, id: u32, execution: &[u8], params: u16) {
        match Parameters::read(execution, params) {
            Ok(Parameters { types: [], .. }) => {}
            Ok(Parameters { types, .. }) if self.types(id) == Some(types) => {}
            Ok(Parameters { types, .. }) => {
                self.types.insert(id, types.into());
            }
            Err(_) => {
                self.types.remove(&id);
            }
        }
    }
}

/// How many closed statements a transaction keeps open at most.
const CLOSES_MAX: usize = 1024;

impl Conversation {
    pub(super) fn prepare(&mut self, request: Request, up: &mut Lane) -> Step {
        let text = &request.payload(up)[1..];
        let scan = sql::scan(text, self.lexing);
        if let Some(step) = self.prepare_call(request, &scan, up) {
            return step;
        }
        let text = &request.payload(up)[1..];
        if matches!(scan.verb, Verb::Begin(_))
            && sql::comment_value(text, "idempotency_key").is_some()
        {
            // A key is for one transaction, and this may begin many.
            return self.refuse_with(request, Own::KeyUnusable, up);
        }
        let class = match request.whole {
            true => self.deps.classifier.classify(text, &scan, self.lexing, &mut self.scratch),
            // Only its beginning is here, and that says nothing of the rest.
            false => Arc::new(Class::too_large()),
        };
        let changes_charset = matches!(scan.verb, Verb::Set(SetKind { charset: Some(_), .. }));
        let insert = self.keep_insert(request, &scan, &class, text);
        let prepared = Prepared {
            class,
            // Without an account of txguard's own no receipt will ask for it.
            said: self.deps.receipts.as_ref().map_or_else(Digest::default, |_| Digest::of(text)),
            verb: if scan.multi || !request.whole { Verb::Other } else { scan.verb },
            changes_charset,
            schema: (scan.verb == Verb::Use).then(|| schema_name(&text[scan.body..])),
            may_hide_set: scan.may_hide_set(),
            kill: (scan.verb == Verb::Kill && !scan.multi && request.whole)
                .then(|| sql::kill(text, &scan, self.lexing))
                .flatten(),
            insert,
            params: 0,
            long_data: false,
            replayed: false,
        };
        let tag = if scan.empty || !request.whole { 0 } else { self.tag_constant(request, up) };
        let request = Request { frame_len: request.frame_len + tag, ..request };
        self.send(request, What::Prepare(Box::new(prepared)), tag, up);
        Step::Next
    }

    /// A text that a replay may have to prepare again, with ids in it.
    fn keep_insert(
        &self,
        request: Request,
        scan: &Scan,
        class: &Class,
        text: &[u8],
    ) -> Option<Arc<PreparedInsert>> {
        let whole = scan.verb == Verb::Insert && request.whole && self.is_tidb;
        whole.then(|| sql::insert(text, self.lexing))??;
        let schema = self.schema.clone().filter(|_| self.schema_known);
        let mut tables = class.tables.iter();
        let is_qualified = tables.len() > 0 && tables.all(|table| table.schema.is_some());
        Some(Arc::new(PreparedInsert {
            text: text.into(),
            schema,
            readings: self.readings,
            is_qualified,
        }))
    }

    fn tag_constant(&mut self, request: Request, up: &mut Lane) -> usize {
        let plan = match &self.txn {
            Some(txn) => txn.plan.clone(),
            None => self.plan(),
        };
        super::inject::constant_tag(&plan, &mut self.scratch);
        super::inject::splice(up, request.frame_len, &self.scratch)
    }

    pub(super) fn execute(&mut self, request: Request, up: &mut Lane) -> Step {
        if let Some(step) = self.about_call(request, up) {
            return step;
        }
        let id = Self::statement_of(request, up);
        let Some((id, prepared)) =
            id.and_then(|id| self.statements.by_id.get(&id).map(|prepared| (id, prepared.clone())))
        else {
            return self.execute_unknown(request, up);
        };
        let kill = prepared.kill.filter(|_| request.whole);
        if let Some(errand) = kill.and_then(|kill| self.errand(kill)) {
            return self.divert(request, errand, KILL, up);
        }
        let commits = may_commit(prepared.verb) || prepared.verb == Verb::Other;
        if let Some(step) = self.guard_key_prepared(request, prepared.verb, commits, up) {
            return step;
        }
        if self.closes.contains(&id) {
            // The client closed it, and the server would say so.
            self.unguard(Unguarded::PreparedOpen, up);
        }
        if let Some(known) = self.statements.by_id.get_mut(&id) {
            known.long_data = false;
        }
        let request = if prepared.replayed {
            self.carry_types(request, id, prepared.params, up)
        } else {
            request
        };
        self.statements.bind(id, request.payload(up), prepared.params);
        let verb = if request.whole { prepared.verb } else { Verb::Other };
        match (verb, self.txn.is_some()) {
            (Verb::Begin(_), false) => self.begin(request, up),
            (Verb::Begin(_), true) => self.begin_inside(request, up),
            (Verb::Commit(_), true) => self.commit(request, is_plain(verb), up),
            (Verb::Rollback(_), true) => self.rollback(request, up),
            (_, false) => self.execute_outside(request, &prepared, up),
            (_, true) => {
                let role = self.admit_execution(request, id, &prepared, up);
                let what = self.note_prepared_effects(&prepared);
                self.statement(request, role, false, what, up)
            }
        }
    }

    /// Makes an execution that relies on the types bound last carry them. (In the one frame that
    /// has no room for them it goes out as it is.)
    fn carry_types(&self, request: Request, id: u32, params: u16, up: &mut Lane) -> Request {
        let read = Execute::read(request.payload(up), params);
        let types = self.statements.types(id).filter(|_| params > 0);
        let Some(types) = types.filter(|_| read.is_ok_and(|execute| !execute.types_bound)) else {
            return request;
        };
        let at = types_at(params);
        let more = super::inject::splice_at(up, request.frame_len, at, types);
        if more > 0 {
            up.pending_mut()[HEADER_LEN + at - 1] = 1;
        }
        Request { frame_len: request.frame_len + more, ..request }
    }

    fn execute_outside(&mut self, request: Request, prepared: &Prepared, up: &mut Lane) -> Step {
        let plan = self.plan();
        let ends = matches!(prepared.verb, Verb::Commit(_) | Verb::Rollback(_));
        let bare = plan.is_bare() && self.next_key.is_none();
        if self.status.autocommit() || bare || ends {
            let what = self.note_prepared_effects(prepared);
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
        self.begin_with(plan, false, None, key);
        let id = Self::statement_of(request, up).unwrap_or_default();
        let role = self.admit_execution(request, id, prepared, up);
        let what = self.note_prepared_effects(prepared);
        self.statement(request, role, false, what, up)
    }

    /// COMMIT and nothing else, as text or prepared.
    pub(super) fn is_plain_commit(&self, request: &[u8]) -> bool {
        match request {
            [first, text @ ..] if *first == Command::QUERY.0 => {
                is_plain(sql::scan(text, self.lexing).verb)
            }
            _ => statement_id(request)
                .ok()
                .and_then(|id| self.statements.by_id.get(&id))
                .is_some_and(|prepared| is_plain(prepared.verb)),
        }
    }

    /// The statement was prepared before txguard looked, or never.
    fn execute_unknown(&mut self, request: Request, up: &mut Lane) -> Step {
        if self.has_key() || self.next_key.is_some() {
            // It may be a COMMIT: MariaDB's id -1 is what was prepared last.
            return self.refuse_with(request, Own::KeyUnusable, up);
        }
        self.unguard(Unguarded::StatementUnknown, up);
        // MariaDB's id -1 may bind those of any statement.
        self.statements.forget_types();
        self.may_be_one_shot();
        self.schema_known = false;
        let what = if self.txn.is_some() { What::Statement } else { What::Other };
        self.send(request, what, 0, up);
        Step::Next
    }

    fn admit_execution(
        &mut self,
        request: Request,
        id: u32,
        prepared: &Prepared,
        up: &mut Lane,
    ) -> Option<(Role, bool)> {
        if !self.is_guarded() {
            return None;
        }
        match self.judge_execution(request, id, prepared, up) {
            Ok(role) => Some((role, prepared.class.ordered)),
            Err(why) => {
                self.unguard(why, up);
                None
            }
        }
    }

    fn judge_execution(
        &mut self,
        request: Request,
        id: u32,
        prepared: &Prepared,
        up: &Lane,
    ) -> Result<Role, Unguarded> {
        if !request.whole {
            return Err(Unguarded::JournalTransaction);
        }
        let role = match prepared.class.unsafe_reason {
            Some(Reason::SchemaChange) => self.judge_use()?,
            _ => self.guard.admit(&prepared.class)?,
        };
        let execute = Execute::read(request.payload(up), prepared.params)
            .map_err(|_| Unguarded::StatementUnknown)?;
        self.guard.admit_execution(Execution {
            statement: id,
            flags: execute.flags,
            has_params: prepared.params > 0,
            types_bound: execute.types_bound,
            long_data: prepared.long_data,
        })?;
        Ok(role)
    }

    /// The digest of a prepared statement's execution joins that of its transaction.
    pub(super) fn note_executed(&mut self, digest: &mut Digest, payload: &[u8]) {
        let known = statement_id(payload).ok().and_then(|id| self.statements.by_id.get(&id));
        let noted = known.map(|known| digest.execution(known.said, payload, known.params));
        // Not known, or too short: what was sent counts as it is.
        if !matches!(noted, Some(Ok(()))) {
            digest.fold(payload);
        }
    }

    fn note_prepared_effects(&mut self, prepared: &Prepared) -> What {
        if let Verb::Set(kind) = prepared.verb {
            // The words of the text are gone; the careful answer to each of them is the same.
            if kind.next_transaction || kind.statement {
                self.may_be_one_shot();
            }
            self.lexing.ansi_quotes |= kind.sql_mode;
            self.charset_plain &= !prepared.changes_charset;
        }
        if may_commit(prepared.verb) {
            self.commits_maybe();
        }
        // The words are gone: any variable may be one that decides how texts are read.
        let sets = matches!(prepared.verb, Verb::Set(_) | Verb::Call | Verb::Execute);
        self.readings += u64::from(sets || prepared.may_hide_set);
        if prepared.may_hide_set {
            self.may_be_one_shot();
        }
        self.schema_known &= !prepared.may_hide_set && !matches!(prepared.verb, Verb::Ddl(_));
        match (&prepared.schema, self.txn.is_some()) {
            (Some(schema), _) => What::Use(schema.clone()),
            (None, true) => What::Statement,
            (None, false) => What::Other,
        }
    }

    /// COM_STMT_CLOSE has no answer, so it can be kept back without anyone noticing.
    pub(super) fn close(&mut self, request: Request, up: &mut Lane) -> Step {
        if let Some(step) = self.about_call(request, up) {
            return step;
        }
        let id = Self::statement_of(request, up);
        let holds = self.is_guarded()
            && request.whole
            && self.txn.as_ref().is_some_and(|txn| !txn.plan.observe_only);
        if let Some(id) = id.filter(|_| holds) {
            if self.closes.len() < CLOSES_MAX {
                self.closes.push(id);
                up.discard(request.frame_len);
                return Step::Next;
            }
            self.unguard(Unguarded::PreparedOpen, up);
        }
        if let Some(id) = id {
            self.statements.remove(id);
        }
        self.send(request, What::Other, 0, up);
        Step::Next
    }

    /// Sends the closes that were kept back.
    pub(super) fn flush_closes(&mut self, up: &mut Lane) {
        for id in std::mem::take(&mut self.closes) {
            send_close(id, up);
            self.statements.remove(id);
        }
    }

    pub(super) fn long_data(&mut self, request: Request, up: &mut Lane) -> Step {
        // Whether there will be an answer depends on those under way.
        if self.is_tidb && !self.expected.is_empty() {
            return Step::Wait;
        }
        self.unguard(Unguarded::LongData, up);
        self.note_said(request, up);
        self.up.fence = !self.takes_long_data(request, up) && self.is_tidb;
        self.send(request, What::Other, 0, up);
        Step::Next
    }

    /// The statement is known, has this parameter, and is marked to have been sent a piece of it.
    fn takes_long_data(&mut self, request: Request, up: &Lane) -> bool {
        let Ok((id, param)) = long_data(request.payload(up)) else { return false };
        let known = self.statements.by_id.get_mut(&id).filter(|known| param < known.params);
        known.map(|prepared| prepared.long_data = true).is_some()
    }

    pub(super) fn reset_statement(&mut self, request: Request, up: &mut Lane) -> Step {
        if let Some(step) = self.about_call(request, up) {
            return step;
        }
        if let Some(prepared) =
            Self::statement_of(request, up).and_then(|id| self.statements.by_id.get_mut(&id))
        {
            prepared.long_data = false;
        }
        self.send(request, What::Other, 0, up);
        Step::Next
    }
}

/// Closes a statement of the backend; there is no answer to it.
pub(super) fn send_close(id: u32, up: &mut Lane) {
    up.push(&frames(0, &[&[Command::STMT_CLOSE.0], &id.to_le_bytes()[..]].concat()));
}
