//! What would become of the transactions in a text, before any of it is sent.
//!
//! [`Explainer`] reads statements as the session would, one packet after the other, and asks
//! where the session asks: [`Turn`], [`Effects`], the classifier, [`Guard`], [`Journal`]. Where
//! the session waits for an answer, the explainer takes it that every statement succeeds; what
//! else the answer may hold is said as a [`Condition`]. Nothing is guessed.

use crate::sql::{
    self, Class, Classifier, Kind, Lexing, Piece, Reason, Scan, Splitter, Switch, Verb,
};
use crate::wire::command::Command;
use crate::wire::frame::HEADER_LEN;

use super::effect::{Effects, Turn, WHOLE_MAX, declines_retry};
use super::guard::{Guard, Unguarded};
use super::journal::{Budget, Journal, Role};

/// A statement, as a report names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The line on which it begins, from 1.
    pub line: u64,
    /// The beginning of it, without literals.
    pub shape: Box<str>,
}

impl Source {
    fn new(line: u64, text: &[u8], lexing: Lexing) -> Self {
        const LOOKED_AT: usize = 1024;
        const SHOWN: usize = 60;
        let mut shape = Vec::new();
        sql::shape(&text[..text.len().min(LOOKED_AT)], lexing, &mut shape);
        let shape = String::from_utf8_lossy(&shape);
        // One line, and nothing that a terminal would obey.
        let plain = |c: char| if c.is_control() { ' ' } else { c };
        let mut shown: String = shape.trim().chars().take(SHOWN).map(plain).collect();
        if shape.trim().chars().nth(SHOWN).is_some() {
            shown.push('…');
        }
        Self { line, shape: shown.into() }
    }
}

/// What the text can't tell, and the verdict depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Unknown {
    /// Whether autocommit is on at the beginning.
    Autocommit,
    /// Whether the server heeds AND CHAIN.
    Chain,
    /// Whether the transaction is ended by COMMIT, and by nothing else.
    End,
    /// Whether the first statement succeeds, with autocommit off.
    FirstSucceeds,
    /// Whether the answer carries a generated id.
    GeneratedId,
    /// Whether the server is one where a replay gives generated ids again.
    IdsPinned,
    /// Whether a schema was in use before USE.
    Schema,
    /// Whether a trigger may set user variables.
    Triggers,
    /// Whether the statement commits.
    MayCommit,
    /// Whether the statement opens a transaction.
    MayOpen,
    /// Whether a statement had ended the transaction before this one.
    EndedBefore,
}

impl Unknown {
    /// It doesn't matter to a transaction that is not replayed anyway.
    const fn is_about_a_replay(self) -> bool {
        matches!(
            self,
            Self::End
                | Self::FirstSucceeds
                | Self::GeneratedId
                | Self::IdsPinned
                | Self::Schema
                | Self::Triggers
                | Self::EndedBefore
        )
    }

    /// The label in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Autocommit => "autocommit_on",
            Self::Chain => "chain_heeded",
            Self::End => "ends_by_commit",
            Self::FirstSucceeds => "first_statement_succeeds",
            Self::GeneratedId => "no_generated_id",
            Self::IdsPinned => "ids_pinned",
            Self::Schema => "schema_in_use",
            Self::Triggers => "no_triggers",
            Self::MayCommit => "does_not_commit",
            Self::MayOpen => "opens_nothing",
            Self::EndedBefore => "did_not_end_before",
        }
    }

    /// The condition under which the verdict holds, and what else is so.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Autocommit => {
                "if autocommit is on at the beginning; with autocommit off (--autocommit-off) a \
                 statement may open a transaction"
            }
            Self::Chain => {
                "if the server heeds AND CHAIN (MySQL, MariaDB); TiDB doesn't, and the statements \
                 stand alone"
            }
            Self::End => "if a COMMIT follows, and nothing else before it",
            Self::FirstSucceeds => {
                "if the first statement, which opens the transaction, succeeds; else begin_not_seen"
            }
            Self::GeneratedId => "if the answer carries no generated id; else generated_id",
            Self::IdsPinned => {
                "if the server is TiDB, where a replay gives generated ids again; else \
                 generated_id, if the answer carries one"
            }
            Self::Schema => "if a schema was in use before USE; else schema_change",
            Self::Triggers => {
                "if the server is TiDB, which has no triggers to set user variables; else \
                 user_variable"
            }
            Self::MayCommit => {
                "if the statement doesn't commit on its way; else what follows stands alone"
            }
            Self::MayOpen => {
                "if the statement opens no transaction; else the transaction is not replayable"
            }
            Self::EndedBefore => {
                "if the statement did not end the transaction before; else this one begins in \
                 another state (begin_not_seen, one_shot_characteristics)"
            }
        }
    }
}

/// What the text can't tell, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// What.
    pub unknown: Unknown,
    /// The first statement of the transaction that asks for it.
    pub by: Source,
}

/// What txguard could do for a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Protection {
    /// A statement of its own: there is nothing to replay.
    Alone,
    /// It would be replayed.
    Replayable,
    /// The same, with the ids that its first run generated.
    Pinned,
    /// It would not.
    Unguarded {
        /// The first reason.
        why: Unguarded,
        /// The statement that caused it.
        by: Source,
    },
}

/// What would become of one transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The lines of its first and its last statement.
    pub lines: (u64, u64),
    /// How many packets it has, BEGIN and COMMIT included.
    pub statements: u64,
    /// What txguard could do.
    pub protection: Protection,
    /// What this depends on; none twice.
    pub conditions: Vec<Condition>,
}

/// A transaction that is open.
#[derive(Debug)]
struct Txn {
    begun: Source,
    last: u64,
    statements: u64,
    unguarded: Option<(Unguarded, Source)>,
    conditions: Vec<Condition>,
    /// Nobody said BEGIN; it is asked about as if somebody had.
    assumed: bool,
}

impl Txn {
    fn new(begun: Source, unguarded: Option<(Unguarded, Source)>) -> Self {
        let last = begun.line;
        Self { begun, last, statements: 0, unguarded, conditions: Vec::new(), assumed: false }
    }

    fn depends(&mut self, unknown: Unknown, by: &Source) {
        if self.conditions.iter().all(|known| known.unknown != unknown) {
            self.conditions.push(Condition { unknown, by: by.clone() });
        }
    }

    /// The first statement that may have ended it on its way.
    fn may_have_ended(&self) -> Option<&Source> {
        let first = self.conditions.iter().find(|known| known.unknown == Unknown::MayCommit);
        first.map(|known| &known.by)
    }

    fn verdict(mut self) -> Verdict {
        if self.unguarded.is_some() {
            self.conditions.retain(|condition| !condition.unknown.is_about_a_replay());
        }
        let pins = self.conditions.iter().any(|known| known.unknown == Unknown::IdsPinned);
        Verdict {
            lines: (self.begun.line, self.last),
            statements: self.statements,
            protection: match self.unguarded {
                Some((why, by)) => Protection::Unguarded { why, by },
                None if pins => Protection::Pinned,
                None => Protection::Replayable,
            },
            conditions: self.conditions,
        }
    }
}

/// A packet that is being read.
struct Here<'a> {
    text: &'a [u8],
    scan: Scan,
    whole: bool,
    /// Lines of its first and its last byte that isn't blank.
    lines: (u64, u64),
    source: Source,
}

/// The flags of an answer, as the text foretells them.
#[derive(Debug, Clone, Copy)]
struct Flags {
    open: bool,
    autocommit: bool,
    /// A transaction was open at some point on the way.
    opened: bool,
}

/// Reads statements, tells of transactions.
pub struct Explainer<'a> {
    classifier: &'a Classifier,
    guard: Guard,
    journal: Journal,
    journal_bytes_max: usize,
    lexing: Lexing,
    /// The schema in use, once the text has said it.
    schema: Option<Box<str>>,
    /// It may have been changed where it can't be seen.
    schema_hidden: bool,
    autocommit: bool,
    /// The text has said whether autocommit is on.
    autocommit_said: bool,
    /// What has set a character set that can hide quotes.
    hides_quotes: Option<Source>,
    /// What has said that the session wants no retry.
    declines: Option<Source>,
    /// What may have set something that holds for the next transaction only.
    one_shot: Option<Source>,
    /// The same, within the transaction that is open.
    one_shot_behind: Option<Source>,
    /// What would have set it, if it had ended the transaction before; the same within one.
    one_shot_maybe: Option<Source>,
    one_shot_maybe_behind: Option<Source>,
    txn: Option<Txn>,
    scratch: Vec<u8>,
}

impl<'a> Explainer<'a> {
    /// A session that has just logged in with a plain character set; autocommit is on.
    #[must_use]
    pub fn new(classifier: &'a Classifier, journal_bytes_max: usize) -> Self {
        Self {
            classifier,
            guard: Guard::default(),
            journal: Journal::new(journal_bytes_max, Budget::new(journal_bytes_max)),
            journal_bytes_max,
            lexing: Lexing::default(),
            schema: None,
            schema_hidden: false,
            autocommit: true,
            autocommit_said: false,
            hides_quotes: None,
            declines: None,
            one_shot: None,
            one_shot_behind: None,
            one_shot_maybe: None,
            one_shot_maybe_behind: None,
            txn: None,
            scratch: Vec::new(),
        }
    }

    /// Autocommit is off at the beginning.
    #[must_use]
    pub fn autocommit_off(mut self) -> Self {
        self.autocommit = false;
        self.autocommit_said = true;
        self
    }

    /// What follows is asked about as a part of a transaction that has just begun.
    #[must_use]
    pub fn within(mut self) -> Self {
        let _ = self.read(Piece { text: b"BEGIN", cut: false, line: 1 });
        if let Some(txn) = self.txn.as_mut() {
            txn.assumed = true;
            txn.statements = 0;
        }
        self
    }

    /// How much of a packet [`Self::read`] needs at most, in bytes.
    #[must_use]
    pub fn packet_bytes_max(&self) -> usize {
        WHOLE_MAX.max(self.journal_bytes_max)
    }

    /// How the next text reads.
    #[must_use]
    pub const fn lexing(&self) -> Lexing {
        self.lexing
    }

    /// Reads one packet; returns the transaction that it ends, or itself if it stands alone.
    pub fn read(&mut self, piece: Piece<'_>) -> Option<Verdict> {
        let here = self.look(piece)?;
        let turn = Turn::of(&here.scan, here.whole, self.txn.is_some());
        if let Some(txn) = self.txn.as_mut().filter(|_| turn != Turn::Begin) {
            txn.last = here.lines.1;
            txn.statements += 1;
        }
        match (turn, self.txn.is_some()) {
            (Turn::Begin, false) => {
                self.begin(&here);
                None
            }
            (Turn::Begin, true) => self.begin_inside(&here),
            (Turn::Commit | Turn::Rollback, true) => self.end(&here),
            (_, true) => self.inside(&here),
            (_, false) => self.outside(&here),
        }
    }

    /// The input ends.
    pub fn finish(&mut self) -> Option<Verdict> {
        let txn = self.txn.as_mut()?;
        if txn.statements == 0 {
            self.txn = None;
        } else if !txn.assumed {
            let begun = txn.begun.clone();
            txn.depends(Unknown::End, &begun);
        }
        self.finish_txn()
    }

    fn look<'b>(&self, piece: Piece<'b>) -> Option<Here<'b>> {
        let guarded = self.txn.as_ref().is_some_and(|txn| txn.unguarded.is_none());
        let whole_max = if guarded { self.packet_bytes_max() } else { WHOLE_MAX };
        let whole = !piece.cut && HEADER_LEN + 1 + piece.text.len() <= whole_max;
        let shown = if whole { piece.text.len() } else { piece.text.len().min(WHOLE_MAX) };
        let text = &piece.text[..shown];
        let scan = sql::scan(text, self.lexing);
        if scan.empty {
            return None;
        }
        let line = |end: usize| {
            let breaks = piece.text[..end].iter().filter(|byte| **byte == b'\n').count();
            piece.line + u64::try_from(breaks).unwrap_or(u64::MAX)
        };
        let lines = (line(scan.body), line(piece.text.trim_ascii_end().len()));
        let source = Source::new(lines.0, text, self.lexing);
        Some(Here { text, scan, whole, lines, source })
    }

    fn begin(&mut self, here: &Here<'_>) {
        let mut txn = self.new_txn(here);
        txn.last = here.lines.1;
        txn.statements = 1;
        self.open(txn);
        self.record(here, Role::Begin);
    }

    fn new_txn(&self, here: &Here<'_>) -> Txn {
        let admitted = Guard::admit_begin(self.one_shot.is_some(), self.hides_quotes.is_none());
        let here_declined = declines_retry(here.text).then_some(&here.source);
        let declined = here_declined.or(self.declines.as_ref());
        let unguarded = admitted.err().map(|why| {
            let by = match why {
                Unguarded::OneShot => self.one_shot.clone(),
                _ => self.hides_quotes.clone(),
            };
            (why, by.unwrap_or_else(|| here.source.clone()))
        });
        let unguarded = declined.map(|by| (Unguarded::Declined, by.clone())).or(unguarded);
        let mut txn = Txn::new(here.source.clone(), unguarded);
        if let Some(by) = &self.one_shot_maybe {
            txn.depends(Unknown::EndedBefore, by);
        }
        txn
    }

    fn open(&mut self, txn: Txn) {
        self.guard.begin();
        self.journal.clear();
        self.txn = Some(txn);
    }

    /// BEGIN inside a transaction commits it. It belongs to both, and is counted in the next one.
    fn begin_inside(&mut self, here: &Here<'_>) -> Option<Verdict> {
        let mut next = self.new_txn(here);
        let guarded = self.is_guarded();
        let ended = self.txn.as_ref().and_then(Txn::may_have_ended).cloned();
        if let Some(by) = ended.filter(|_| here.scan.opaque) {
            next.depends(Unknown::EndedBefore, &by);
        }
        self.record(here, Role::Commit);
        if guarded && !self.is_guarded() && next.unguarded.is_none() {
            next.unguarded = Some((Unguarded::BeginNotSeen, here.source.clone()));
        }
        if self.txn.as_ref().is_some_and(|txn| txn.statements == 0) {
            self.txn = None;
        }
        let verdict = self.finish_txn();
        next.last = here.lines.1;
        next.statements = 1;
        self.open(next);
        self.record(here, Role::Begin);
        verdict
    }

    fn end(&mut self, here: &Here<'_>) -> Option<Verdict> {
        let chain = match here.scan.verb {
            Verb::Commit(completion) => {
                self.record(here, Role::Commit);
                completion.chain
            }
            Verb::Rollback(completion) => completion.chain,
            _ => false,
        };
        let verdict = self.finish_txn();
        if chain {
            let by = here.source.clone();
            let mut next = Txn::new(by.clone(), Some((Unguarded::Chained, by.clone())));
            next.depends(Unknown::Chain, &by);
            self.open(next);
        }
        verdict
    }

    fn finish_txn(&mut self) -> Option<Verdict> {
        let txn = self.txn.take()?;
        self.journal.clear();
        self.one_shot = self.one_shot_behind.take();
        self.one_shot_maybe = self.one_shot_maybe_behind.take();
        Some(txn.verdict())
    }

    /// A statement within a transaction.
    fn inside(&mut self, here: &Here<'_>) -> Option<Verdict> {
        self.admit(here);
        let effects = self.note_effects(here, true);
        let flags = self.answered(here, effects);
        if !flags.open {
            return self.finish_txn();
        }
        // Inside a transaction every server refuses SET TRANSACTION, and the session then waits
        // for what comes; any other statement has succeeded, and set nothing if it is still open.
        if !matches!(here.scan.verb, Verb::Set(kind) if kind.next_transaction) {
            let ended = self.txn.as_ref().is_some_and(|txn| txn.may_have_ended().is_some());
            let set = self.one_shot_behind.take().filter(|_| effects.one_shot || ended);
            self.one_shot_maybe_behind = set.or(self.one_shot_maybe_behind.take());
        }
        if let Some(txn) = self.txn.as_mut().filter(|_| effects.may_commit) {
            txn.depends(Unknown::MayCommit, &here.source);
        }
        None
    }

    /// A statement while no transaction is open.
    fn outside(&mut self, here: &Here<'_>) -> Option<Verdict> {
        let said = self.autocommit_said;
        let implicit =
            !self.autocommit && !matches!(here.scan.verb, Verb::Commit(_) | Verb::Rollback(_));
        let mut txn = self.new_txn(here);
        txn.last = here.lines.1;
        txn.statements = 1;
        if implicit {
            self.open(txn);
            self.admit(here);
            txn = self.txn.take()?;
        }
        let effects = self.note_effects(here, false);
        let flags = self.answered(here, effects);
        match (flags.open, implicit) {
            (true, true) => txn.depends(Unknown::FirstSucceeds, &here.source),
            (true, false) => txn.unguarded = Some((Unguarded::BeginNotSeen, here.source.clone())),
            (false, _) => return Some(Self::alone(here, txn, flags, implicit, said)),
        }
        self.txn = Some(txn);
        None
    }

    /// A packet that leaves no transaction open.
    fn alone(here: &Here<'_>, txn: Txn, flags: Flags, implicit: bool, said: bool) -> Verdict {
        let mut txn = Txn { unguarded: None, conditions: Vec::new(), ..txn };
        if flags.opened {
            // All of a transaction in one packet: nobody looks at it.
            let why = Unguarded::Statement(Reason::MultiStatement);
            txn.unguarded = Some((why, here.source.clone()));
            return txn.verdict();
        }
        if implicit || here.scan.may_hide_set() || here.scan.verb == Verb::Xa {
            txn.depends(Unknown::MayOpen, &here.source);
        } else if !said {
            txn.depends(Unknown::Autocommit, &here.source);
        }
        Verdict { protection: Protection::Alone, ..txn.verdict() }
    }

    fn is_guarded(&self) -> bool {
        self.txn.as_ref().is_some_and(|txn| txn.unguarded.is_none())
    }

    fn unguard(&mut self, why: Unguarded, here: &Here<'_>) {
        let Some(txn) = self.txn.as_mut().filter(|txn| txn.unguarded.is_none()) else { return };
        txn.unguarded = Some((why, here.source.clone()));
        self.journal.clear();
    }

    /// Puts a packet into the journal, if there is one.
    fn record(&mut self, here: &Here<'_>, role: Role) {
        if !self.is_guarded() {
            return;
        }
        self.scratch.clear();
        self.scratch.push(Command::QUERY.0);
        self.scratch.extend_from_slice(here.text);
        if let Err(full) = self.journal.push(&self.scratch, role, true) {
            self.unguard(full.into(), here);
        }
    }

    fn admit(&mut self, here: &Here<'_>) {
        if !self.is_guarded() {
            return;
        }
        if !here.whole {
            return self.unguard(Unguarded::JournalTransaction, here);
        }
        if declines_retry(here.text) {
            return self.unguard(Unguarded::Declined, here);
        }
        let class = self.classify(here.text, &here.scan);
        let admitted = match class.unsafe_reason {
            Some(Reason::SchemaChange) => self.admit_use(here),
            Some(Reason::Set) => {
                let set = sql::assigned(here.text, &here.scan, self.lexing);
                self.guard.admit_set(set).map(|(role, _)| role)
            }
            _ => self.guard.admit(&class),
        };
        match admitted {
            Ok(role) => self.record(here, role),
            Err(why) => return self.unguard(why, here),
        }
        let needs_no_triggers = self.guard.needs_no_triggers();
        if let Some(txn) = self.txn.as_mut().filter(|_| needs_no_triggers) {
            txn.depends(Unknown::Triggers, &here.source);
        }
        if matches!(class.kind, Kind::Insert | Kind::Replace) {
            let pinned = self.pins(here) && self.guard.id_told(true).is_ok();
            let unknown = if pinned { Unknown::IdsPinned } else { Unknown::GeneratedId };
            if let Some(txn) = self.txn.as_mut().filter(|txn| txn.unguarded.is_none()) {
                txn.depends(unknown, &here.source);
            }
        }
    }

    /// A replay can give the ids of this INSERT again, as far as its text tells.
    fn pins(&self, here: &Here<'_>) -> bool {
        let insert = sql::insert(here.text, self.lexing);
        insert.is_some_and(|insert| insert.is_qualified() || !self.guard.restore().changes_schema())
    }

    fn admit_use(&mut self, here: &Here<'_>) -> Result<Role, Unguarded> {
        const OF_THE_LOGIN: &str = "login";
        let schema = self.schema.as_deref().unwrap_or(OF_THE_LOGIN);
        let role = self.guard.admit_use(Some(schema).filter(|_| !self.schema_hidden))?;
        if let Some(txn) = self.txn.as_mut().filter(|_| self.schema.is_none()) {
            txn.depends(Unknown::Schema, &here.source);
        }
        Ok(role)
    }

    fn classify(&mut self, text: &[u8], scan: &Scan) -> std::sync::Arc<Class> {
        self.classifier.classify(text, scan, self.lexing, &mut self.scratch)
    }

    /// What counts at once, whether the statement succeeds or not.
    fn note_effects(&mut self, here: &Here<'_>, open: bool) -> Effects {
        let effects = Effects::of(here.text, &here.scan, here.whole);
        if effects.one_shot {
            match open {
                true => self.one_shot_behind = Some(here.source.clone()),
                false => self.one_shot = Some(here.source.clone()),
            }
        }
        if effects.hides_quotes && self.hides_quotes.is_none() {
            self.hides_quotes = Some(here.source.clone());
        }
        self.lexing.ansi_quotes |= effects.turns_ansi_quotes_on;
        self.schema_hidden |= effects.hides_schema;
        effects
    }

    /// The statement has succeeded.
    fn answered(&mut self, here: &Here<'_>, effects: Effects) -> Flags {
        let open = self.txn.is_some();
        let before = Flags { open, autocommit: self.autocommit, opened: false };
        let flags = self.foretell(here.text, &here.scan, before);
        if let Some(reads) = effects.settles {
            if reads.charset_plain == Some(true) {
                self.hides_quotes = None;
            }
            if let Some(declines) = reads.declines_retry {
                self.declines = declines.then(|| here.source.clone());
            }
            if let Some(ansi_quotes) = reads.ansi_quotes {
                self.lexing.ansi_quotes = ansi_quotes;
                self.lexing.no_backslash_escapes = says_no_backslash_escapes(here.text);
            }
        }
        if here.scan.verb == Verb::Use && !here.scan.multi {
            self.schema = Some(sql::schema_name(&here.text[here.scan.body..]));
            self.schema_hidden = false;
        }
        let said = matches!(here.scan.verb, Verb::Set(kind) if kind.autocommit.is_some());
        self.autocommit_said |= said;
        self.autocommit = flags.autocommit;
        flags
    }

    /// The flags of the last answer to a packet.
    fn foretell(&mut self, text: &[u8], scan: &Scan, flags: Flags) -> Flags {
        if !scan.multi {
            return self.foretell_one(text, scan, flags);
        }
        let (mut splitter, mut rest, mut flags) = (Splitter::new(text.len()), text, flags);
        while !rest.is_empty() {
            let (len, _) = splitter.take(rest, self.lexing);
            rest = &rest[len..];
            let piece = splitter.piece();
            let scan = sql::scan(piece.text, self.lexing);
            if !scan.empty {
                flags = self.foretell_one(piece.text, &scan, flags);
                flags.opened |= flags.open;
            }
        }
        flags
    }

    fn foretell_one(&mut self, text: &[u8], scan: &Scan, flags: Flags) -> Flags {
        let mut after = flags;
        match scan.verb {
            Verb::Begin(_) => after.open = true,
            Verb::Commit(_) | Verb::Rollback(_) => after.open = false,
            Verb::Ddl(kind) => after.open &= kind.temporary,
            Verb::Set(kind) => match kind.autocommit {
                Some(Switch::On) => {
                    after.open &= flags.autocommit;
                    after.autocommit = true;
                }
                Some(Switch::Off) => after.autocommit = false,
                Some(Switch::Unknown) | None => {}
            },
            _ if !flags.open && !flags.autocommit => after.open = self.opens(text, scan),
            _ => {}
        }
        after
    }

    /// With autocommit off: does the statement open a transaction? Servers open one where data is
    /// touched.
    fn opens(&mut self, text: &[u8], scan: &Scan) -> bool {
        let class = self.classify(text, scan);
        match class.kind {
            Kind::Control(_) => false,
            Kind::Read => !class.tables.is_empty(),
            Kind::LockingRead | Kind::Insert | Kind::Update | Kind::Delete | Kind::Replace => true,
            Kind::Unknown => scan.verb != Verb::Other,
        }
    }
}

/// The session learns this from the flags of the answer.
fn says_no_backslash_escapes(text: &[u8]) -> bool {
    const MODE: &[u8] = b"no_backslash_escapes";
    text.windows(MODE.len()).any(|part| part.eq_ignore_ascii_case(MODE))
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOURNAL: usize = 4096;

    /// Reads packets, one a line.
    fn read(explainer: Explainer<'_>, packets: &[&str]) -> Vec<Verdict> {
        let mut explainer = explainer;
        let mut found = Vec::new();
        for (line, text) in (1..).zip(packets) {
            found.extend(explainer.read(Piece { text: text.as_bytes(), cut: false, line }));
        }
        found.extend(explainer.finish());
        found
    }

    fn told(verdict: &Verdict) -> String {
        let mut text = match &verdict.protection {
            Protection::Alone => "alone".to_owned(),
            Protection::Replayable => "yes".to_owned(),
            Protection::Pinned => "pinned".to_owned(),
            Protection::Unguarded { why, by } => format!("{}@{}", why.as_str(), by.line),
        };
        for Condition { unknown, by } in &verdict.conditions {
            text += &format!(" {}@{}", unknown.as_str(), by.line);
        }
        let (first, last) = verdict.lines;
        format!("{first}-{last}/{} {text}", verdict.statements)
    }

    fn verdicts(packets: &[&str]) -> Vec<String> {
        let classifier = Classifier::new(64);
        let verdicts = read(Explainer::new(&classifier, JOURNAL), packets);
        verdicts.iter().map(told).collect()
    }

    #[test]
    fn transactions_and_statements_alone() {
        let found = verdicts(&[
            "BEGIN",
            "UPDATE t SET v = 1",
            "COMMIT",
            "-- nothing",
            "SELECT 1",
            "START TRANSACTION",
            "SELECT v FROM t",
            "SET @x = 'secret'",
            "SELECT @@autocommit",
            "ROLLBACK",
        ]);
        assert_eq!(
            found,
            ["1-3/3 yes", "5-5/1 alone autocommit_on@5", "6-10/5 session_variable@9"]
        );
    }

    #[test]
    fn the_statement_that_caused_it_is_shown_without_its_literals() {
        let classifier = Classifier::new(64);
        let packets = ["BEGIN", "/* a */\nUPDATE t\nSET v = 'secret', w = f(1)", "COMMIT"];
        let found = read(Explainer::new(&classifier, JOURNAL), &packets);
        let Protection::Unguarded { by, .. } = &found[0].protection else { panic!("{found:?}") };
        assert_eq!((by.line, &*by.shape), (3, "UPDATE t SET v = 0,w = f(0)"));
    }

    #[test]
    fn what_ends_a_transaction_on_its_way() {
        assert_eq!(
            verdicts(&["BEGIN", "CREATE TABLE a (v INT)", "UPDATE t SET v = 1"]),
            ["1-2/2 ddl@2", "3-3/1 alone autocommit_on@3"]
        );
        assert_eq!(
            verdicts(&["BEGIN", "UPDATE t SET v = 1", "BEGIN", "SELECT @x := 1", "COMMIT"]),
            ["1-2/2 yes", "3-5/3 user_variable@4"]
        );
        assert_eq!(
            verdicts(&["BEGIN", "COMMIT AND CHAIN", "UPDATE t SET v = 1", "COMMIT"]),
            ["1-2/2 yes", "2-4/2 chained@2 chain_heeded@2"]
        );
        assert_eq!(
            verdicts(&["BEGIN", "CALL p()", "UPDATE t SET v = 1", "COMMIT", "BEGIN", "COMMIT"]),
            ["1-4/4 call@2 does_not_commit@2", "5-6/2 yes did_not_end_before@2"]
        );
        assert_eq!(verdicts(&["BEGIN", "SELECT 1"]), ["1-2/2 yes ends_by_commit@1"]);
    }

    #[test]
    fn what_a_trigger_may_change() {
        let found = verdicts(&["BEGIN", "SELECT @x", "SELECT 1", "UPDATE t SET v = 1", "COMMIT"]);
        assert_eq!(found, ["1-5/5 yes no_triggers@4"]);
        assert_eq!(verdicts(&["BEGIN", "SELECT @x", "COMMIT"]), ["1-3/3 yes"]);
    }

    #[test]
    fn what_stands_before_a_transaction() {
        let one_shot = "2-3/2 one_shot_characteristics@1";
        for text in ["SET TRANSACTION READ ONLY", "/*! SET TRANSACTION READ ONLY */"] {
            let found = verdicts(&[text, "BEGIN", "COMMIT", "BEGIN", "COMMIT"]);
            assert_eq!(found[1..], [one_shot, "4-5/2 yes"]);
        }
        let found = verdicts(&["SET NAMES gbk", "BEGIN", "COMMIT", "SET NAMES utf8mb4", "BEGIN"]);
        assert_eq!(found[1], "2-3/2 charset@1");
        assert_eq!(found[3], "5-5/1 yes ends_by_commit@5");
    }

    #[test]
    fn with_autocommit_off_a_statement_opens_a_transaction() {
        let first = "first_statement_succeeds";
        assert_eq!(
            verdicts(&["SET autocommit = 0", "SELECT @@version", "SELECT v FROM t", "COMMIT"]),
            [
                "1-1/1 alone autocommit_on@1".to_owned(),
                "2-2/1 alone opens_nothing@2".to_owned(),
                format!("3-4/2 yes {first}@3"),
            ]
        );
        let classifier = Classifier::new(64);
        let explainer = Explainer::new(&classifier, JOURNAL).autocommit_off();
        let found = read(explainer, &["INSERT INTO t VALUES (1)", "COMMIT"]);
        assert_eq!(told(&found[0]), format!("1-2/2 yes no_generated_id@1 {first}@1"));
    }

    #[test]
    fn ids_are_pinned_where_the_rows_are_written_out() {
        let insert = "INSERT INTO t (v) VALUES (1)";
        assert_eq!(verdicts(&["BEGIN", insert, "COMMIT"]), ["1-3/3 pinned ids_pinned@2"]);
        assert_eq!(
            verdicts(&["BEGIN", insert, "REPLACE INTO t (v) VALUES (1)", "COMMIT"]),
            ["1-4/4 pinned ids_pinned@2 no_generated_id@3"]
        );
        let read = "SELECT LAST_INSERT_ID()";
        assert_eq!(verdicts(&["BEGIN", insert, read, "COMMIT"]), ["1-4/4 pinned ids_pinned@2"]);
        assert_eq!(verdicts(&["BEGIN", read, insert, "COMMIT"]), ["1-4/4 yes no_generated_id@3"]);
        let found = verdicts(&["USE a", "BEGIN", "USE b", insert, "COMMIT"]);
        assert_eq!(found[1], "2-5/4 yes no_generated_id@4");
    }

    #[test]
    fn several_statements_in_one_packet() {
        assert_eq!(verdicts(&["BEGIN; UPDATE t SET v = 1; COMMIT"]), ["1-1/1 multi_statement@1"]);
        assert_eq!(verdicts(&["BEGIN; SELECT 1", "COMMIT"]), ["1-2/2 begin_not_seen@1"]);
        assert_eq!(
            verdicts(&["BEGIN", "SELECT 1; COMMIT", "SELECT 1"]),
            ["1-2/2 multi_statement@2", "3-3/1 alone autocommit_on@3"]
        );
        let alone = verdicts(&["SELECT 1; SELECT 2"]);
        assert_eq!(alone, ["1-1/1 alone opens_nothing@1"]);
    }

    #[test]
    fn the_journal_has_its_limit() {
        let long = format!("UPDATE t SET v = '{}'", "x".repeat(JOURNAL / 2));
        let found = verdicts(&["BEGIN", &long, &long, "COMMIT"]);
        assert_eq!(found, ["1-4/4 journal_transaction@3"]);
        let huge = format!("UPDATE t SET v = '{}'", "x".repeat(WHOLE_MAX));
        assert_eq!(verdicts(&["BEGIN", &huge, "COMMIT"]), ["1-3/3 journal_transaction@2"]);
    }

    #[test]
    fn a_text_without_begin_is_asked_about_as_a_part_of_one() {
        let classifier = Classifier::new(64);
        let found = read(Explainer::new(&classifier, JOURNAL).within(), &["SELECT UUID()"]);
        assert_eq!(found.iter().map(told).collect::<Vec<_>>(), ["1-1/1 yes"]);
    }
}
