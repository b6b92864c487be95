//! COM_QUERY.

use crate::net::lane::Lane;
use crate::policy::Tag;
use crate::sql::{self, Reason, Scan, SetKind, Verb};
use crate::txn::fingerprint::Fingerprint;
use crate::txn::guard::Unguarded;
use crate::txn::journal::Role;

use super::request::{Request, Step};
use super::{Conversation, Reads, What};

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
        if self.txn.is_none() {
            return self.query_outside(request, scan, up);
        }
        self.note_trace(request, up);
        let role = match scan.verb {
            _ if scan.empty => None,
            // What passes in pieces can't have statements of ours around it.
            _ if scan.multi || !request.whole => self.admit_text(request, &scan, up),
            Verb::Begin(_) => return self.begin_inside(request, up),
            Verb::Commit(_) => return self.commit(request, up),
            Verb::Rollback(_) => return self.rollback(request, up),
            _ => self.admit_text(request, &scan, up),
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
        match scan.verb {
            Verb::Begin(_) if !scan.multi && !scan.opaque && request.whole => {
                self.begin(request, up)
            }
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
        if plan.is_bare() || matches!(scan.verb, Verb::Commit(_) | Verb::Rollback(_)) {
            let what = self.note_effects(request, &scan, up);
            self.send(request, what, 0, up);
            return Step::Next;
        }
        if !self.expected.is_empty() {
            return Step::Wait;
        }
        let text = &request.payload(up)[1..];
        let traceparent = sql::traceparent(text).map(str::to_owned);
        self.begin_with(plan, traceparent.as_deref());
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

    /// Is this text on the known-safe list? If not, the guard goes off.
    fn admit_text(&mut self, request: Request, scan: &Scan, up: &mut Lane) -> Option<(Role, bool)> {
        if !self.is_guarded() {
            return None;
        }
        if !request.whole {
            self.unguard(Unguarded::JournalTransaction, up);
            return None;
        }
        let text = &request.payload(up)[1..];
        let class = self.deps.classifier.classify(text, scan, self.lexing, &mut self.scratch);
        match self.guard.admit(&class) {
            Ok(role) => Some((role, class.ordered)),
            Err(why) => {
                self.unguard(why, up);
                None
            }
        }
    }

    /// What a statement does to the session, as far as it concerns later transactions.
    fn note_effects(&mut self, request: Request, scan: &Scan, up: &Lane) -> What {
        let text = &request.payload(up)[1..];
        if !scan.empty && (scan.multi || scan.opaque || may_commit(scan.verb)) {
            self.commits_maybe();
        }
        let mut set = None;
        if let Verb::Set(kind) = scan.verb {
            set = Some(self.note_set(kind, text)).filter(|_| !scan.multi);
        }
        let unseen = matches!(scan.verb, Verb::Call | Verb::Execute)
            || !request.whole && !is_plain_write(scan.verb);
        if unseen || scan.may_hide_set() && names_characteristics(text) {
            // It may hold a SET TRANSACTION for the next transaction.
            self.may_be_one_shot();
        }
        if scan.may_hide_set() || scan.verb == Verb::Prepare {
            self.note_hidden(text);
        }
        if !request.whole && !is_plain_write(scan.verb) {
            self.note_unseen();
        }
        match (scan.verb, set) {
            (Verb::Use, _) if !scan.multi => What::Use(schema_name(&text[scan.body..])),
            (_, Some(reads)) => What::Set(reads),
            _ if self.txn.is_some() => What::Statement,
            _ => What::Other,
        }
    }

    /// What a SET within a text that we can't see into may do to the reading of later texts.
    fn note_hidden(&mut self, text: &[u8]) {
        const CHARSETS: [&[u8]; 3] = [b"names", b"character", b"charset"];
        self.charset_plain &= !CHARSETS.iter().any(|word| has_word(text, word));
        self.lexing.ansi_quotes |= has_word(text, b"sql_mode");
    }

    /// Of a long text only the beginning is seen. (A procedure gives the character set and the
    /// sql_mode back that it found.)
    fn note_unseen(&mut self) {
        self.charset_plain = false;
        self.lexing.ansi_quotes = true;
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

    /// What makes texts harder to read counts at once, what makes them easier when it has
    /// succeeded.
    fn note_set(&mut self, kind: SetKind, text: &[u8]) -> Reads {
        if kind.next_transaction || kind.statement {
            self.may_be_one_shot();
        }
        let mut reads = Reads::default();
        if let Some(charset) = kind.charset {
            let plain = charset.name(text).is_some_and(sql::is_plain_charset);
            self.charset_plain &= plain;
            reads.charset_plain = Some(plain);
        }
        if kind.sql_mode {
            // With ANSI quotes a text with a double quote reads otherwise.
            let quotes = may_turn_on_ansi_quotes(text);
            self.lexing.ansi_quotes |= quotes;
            reads.ansi_quotes = Some(quotes);
        }
        reads
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

/// A statement that may commit the transaction that it stands in.
pub(super) fn may_commit(verb: Verb) -> bool {
    match verb {
        Verb::Begin(_)
        | Verb::Call
        | Verb::Commit(_)
        | Verb::Ddl(_)
        | Verb::Execute
        | Verb::Load
        | Verb::Lock
        | Verb::Other
        | Verb::Unlock
        | Verb::Xa => true,
        Verb::Set(kind) => kind.autocommit.is_some() || kind.statement,
        _ => false,
    }
}

fn is_plain_write(verb: Verb) -> bool {
    matches!(verb, Verb::Insert | Verb::Update | Verb::Delete | Verb::Replace | Verb::Select)
}

/// The text has a word that every way to set the next transaction's characteristics has.
fn names_characteristics(text: &[u8]) -> bool {
    has_word(text, b"transaction") || has_word(text, b"tx_")
}

/// The text has these letters, in whatever case.
fn has_word(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|part| part.eq_ignore_ascii_case(word))
}

/// Modes that stand for several others may hold ANSI_QUOTES, and so may a number, a variable, or
/// a default.
fn may_turn_on_ansi_quotes(text: &[u8]) -> bool {
    const SUSPECTS: [&[u8]; 7] =
        [b"ansi", b"db2", b"default", b"maxdb", b"mssql", b"oracle", b"postgresql"];
    let value = text.iter().position(|byte| *byte == b'=').map_or(text, |at| &text[at..]);
    let computed = value.iter().any(|byte| byte.is_ascii_digit() || matches!(byte, b'(' | b'@'));
    computed || SUSPECTS.iter().any(|word| has_word(value, word))
}

/// The name behind USE, without its quotes.
pub(super) fn schema_name(statement: &[u8]) -> Box<str> {
    let name = statement.get(3..).unwrap_or_default();
    let name = String::from_utf8_lossy(name);
    let name = name.trim().trim_end_matches(';').trim_end();
    match name.strip_prefix('`').and_then(|name| name.strip_suffix('`')) {
        Some(quoted) => quoted.replace("``", "`").into(),
        // Nothing but a comment can follow.
        None => name
            .split(|c: char| c.is_whitespace() || "/#;".contains(c))
            .next()
            .map_or("".into(), Into::into),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ansi_quotes_are_suspected_where_they_may_hide() {
        for (text, may) in [
            ("SET sql_mode='STRICT_TRANS_TABLES,NO_ZERO_DATE'", false),
            ("SET SESSION sql_mode = \"TRADITIONAL\"", false),
            ("SET sql_mode='ansi_quotes'", true),
            ("SET sql_mode='ORACLE'", true),
            ("SET sql_mode=4", true),
            ("SET @@sql_mode='NO_ZERO_DATE'", false),
            ("SET @@sql_mode=@x", true),
            ("SET sql_mode=@old", true),
            ("SET sql_mode=DEFAULT", true),
            ("SET sql_mode=@@GLOBAL.sql_mode", true),
            ("SET sql_mode=CONCAT(@@sql_mode,',STRICT_ALL_TABLES')", true),
        ] {
            assert_eq!(may_turn_on_ansi_quotes(text.as_bytes()), may, "{text}");
        }
    }

    #[test]
    fn the_schema_behind_use_is_read_with_and_without_quotes() {
        for (text, name) in [
            ("USE a", "a"),
            ("USE a -- it", "a"),
            ("use a/* it */", "a"),
            ("use  `a`` b` ;", "a` b"),
            ("USE\tshop;", "shop"),
            ("use", ""),
        ] {
            assert_eq!(&*schema_name(text.as_bytes()), name, "{text}");
        }
    }
}
