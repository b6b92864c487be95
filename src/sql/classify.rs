//! The class of a statement: what a replay rule or a policy may ask about it.
//!
//! Owns [`Class`], [`Reason`] and the cache in front of the parser. Invariants: a cached class is
//! found by its whole shape, never by a hash alone; the cache never holds more than it was told
//! to; the parser sees at most [`TEXT_BYTES_MAX`] bytes. It must not read a clock, and the text
//! itself is never printed, kept or logged: a shape holds no literals.

use std::collections::hash_map::RandomState;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use dashmap::DashMap;

use super::analyse;
use super::lex::Lexing;
use super::scan::Scan;
use super::shape::shape;
use super::verb::Verb;

/// Longer texts are neither shaped nor parsed. sqlparser's trees cost about 200 bytes of memory
/// per byte of text, and their destructors recurse.
pub const TEXT_BYTES_MAX: usize = 64 * 1024;

/// Memory for keys per cached class, on average: shapes of ordinary statements are shorter, and
/// a few long ones have room.
const KEY_BYTES_MEAN: usize = 1024;

/// What a statement does to data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A query without locks.
    Read,
    /// A query with `FOR UPDATE` or `FOR SHARE` anywhere.
    LockingRead,
    /// INSERT.
    Insert,
    /// UPDATE.
    Update,
    /// DELETE.
    Delete,
    /// REPLACE.
    Replace,
    /// Anything that isn't a query or DML.
    Control(Verb),
    /// Not understood: may write.
    Unknown,
}

/// Why a transaction that contains the statement can't be replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// CALL.
    Call,
    /// `/*! … */` and its kin.
    ConditionalComment,
    /// A schema change commits.
    Ddl,
    /// EXPLAIN.
    Explain,
    /// FOUND_ROWS(), SQL_CALC_FOUND_ROWS.
    FoundRows,
    /// `LAST_INSERT_ID(x)`, or `LAST_INSERT_ID()` where an INSERT has failed.
    LastInsertId,
    /// LOAD DATA and its kin.
    LoadData,
    /// GET_LOCK() and its kin.
    LockFunction,
    /// LOCK TABLES, UNLOCK TABLES.
    LockTables,
    /// More than one statement in a text.
    MultiStatement,
    /// A statement that isn't on the list of safe ones.
    OtherStatement,
    /// PREPARE, EXECUTE and DEALLOCATE as text.
    PrepareText,
    /// ROW_COUNT().
    RowCount,
    /// USE.
    SchemaChange,
    /// SELECT … INTO.
    SelectInto,
    /// NEXTVAL() and its kin.
    Sequence,
    /// `@@x`, or a function that reads state of the session.
    SessionVariable,
    /// SET; whether it can be repeated all the same is for [`super::assigned`] to say.
    Set,
    /// SHOW.
    Show,
    /// SLEEP(), BENCHMARK().
    Sleep,
    /// A table of a schema that shows the state of sessions and servers.
    SystemTable,
    /// A temporary table is made or dropped.
    TemporaryTable,
    /// Beyond the limits of the parser.
    TooLarge,
    /// The transaction's own timestamp is read.
    TsoVisible,
    /// A function that isn't on the list of safe ones, maybe a stored one.
    UnknownFunction,
    /// The parser doesn't understand it.
    Unparsable,
    /// `@x := …` within a query.
    UserVariable,
}

impl Reason {
    /// Every reason, for registering metrics.
    pub const ALL: [Self; 27] = [
        Self::Call,
        Self::ConditionalComment,
        Self::Ddl,
        Self::Explain,
        Self::FoundRows,
        Self::LastInsertId,
        Self::LoadData,
        Self::LockFunction,
        Self::LockTables,
        Self::MultiStatement,
        Self::OtherStatement,
        Self::PrepareText,
        Self::RowCount,
        Self::SchemaChange,
        Self::SelectInto,
        Self::Sequence,
        Self::SessionVariable,
        Self::Set,
        Self::Show,
        Self::Sleep,
        Self::SystemTable,
        Self::TemporaryTable,
        Self::TooLarge,
        Self::TsoVisible,
        Self::UnknownFunction,
        Self::Unparsable,
        Self::UserVariable,
    ];

    /// The label in metrics and records.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Call => "call",
            Self::ConditionalComment => "conditional_comment",
            Self::Ddl => "ddl",
            Self::Explain => "explain",
            Self::FoundRows => "found_rows",
            Self::LastInsertId => "last_insert_id",
            Self::LoadData => "load_data",
            Self::LockFunction => "lock_function",
            Self::LockTables => "lock_tables",
            Self::MultiStatement => "multi_statement",
            Self::OtherStatement => "other_statement",
            Self::PrepareText => "prepare_text",
            Self::RowCount => "row_count",
            Self::SchemaChange => "schema_change",
            Self::SelectInto => "select_into",
            Self::Sequence => "sequence",
            Self::SessionVariable => "session_variable",
            Self::Set => "set",
            Self::Show => "show",
            Self::Sleep => "sleep",
            Self::SystemTable => "system_table",
            Self::TemporaryTable => "temporary_table",
            Self::TooLarge => "too_large",
            Self::TsoVisible => "tso_visible",
            Self::UnknownFunction => "unknown_function",
            Self::Unparsable => "unparsable",
            Self::UserVariable => "user_variable",
        }
    }
}

/// A table that a statement names, as written.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TableName {
    /// The schema, if the text says it.
    pub schema: Option<Box<str>>,
    /// The table.
    pub name: Box<str>,
}

/// What a rule may ask of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Class {
    /// What it does to data.
    pub kind: Kind,
    /// Why a transaction that contains it can't be replayed; `None`: it can.
    pub unsafe_reason: Option<Reason>,
    /// The rows of its answer must be compared in order. `false` only for a single query
    /// without ORDER BY and LIMIT at its outermost level: its rows are a multiset.
    pub ordered: bool,
    /// It reads `LAST_INSERT_ID()`, without changing it.
    pub reads_insert_id: bool,
    /// It reads user variables, without setting any.
    pub reads_user_variables: bool,
    /// The tables it names, each once, common table expressions left out. Empty where it isn't
    /// parsed.
    pub tables: Vec<TableName>,
}

impl Class {
    /// Of a text that is longer than what is looked at.
    #[must_use]
    pub const fn too_large() -> Self {
        Self::unknown(Reason::TooLarge)
    }

    const fn unparsed(kind: Kind, unsafe_reason: Option<Reason>) -> Self {
        Self {
            kind,
            unsafe_reason,
            ordered: true,
            reads_insert_id: false,
            reads_user_variables: false,
            tables: Vec::new(),
        }
    }

    const fn unknown(reason: Reason) -> Self {
        Self::unparsed(Kind::Unknown, Some(reason))
    }

    const fn control(verb: Verb, reason: Option<Reason>) -> Self {
        Self::unparsed(Kind::Control(verb), reason)
    }
}

/// Classes by shape. Shared by all connections.
#[derive(Debug)]
pub struct Classifier {
    classes: DashMap<Box<[u8]>, Kept, RandomState>,
    entries_max: usize,
    bytes_max: usize,
    bytes: AtomicUsize,
    sweeping: AtomicBool,
    hits: AtomicU64,
    misses: AtomicU64,
    parses: AtomicU64,
}

#[derive(Debug)]
struct Kept {
    class: Arc<Class>,
    /// Asked for since the last sweep.
    used: AtomicBool,
}

impl Classifier {
    /// Keeps at most about `entries_max` classes, and keys of 1 KiB for each on average.
    #[must_use]
    pub fn new(entries_max: usize) -> Self {
        Self {
            classes: DashMap::with_hasher(RandomState::new()),
            entries_max: entries_max.max(1),
            bytes_max: entries_max.max(1).saturating_mul(KEY_BYTES_MEAN).max(TEXT_BYTES_MAX),
            bytes: AtomicUsize::new(0),
            sweeping: AtomicBool::new(false),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            parses: AtomicU64::new(0),
        }
    }

    /// The class of a statement. `scan` must be that of `text` under `lexing`; `scratch` is
    /// overwritten.
    #[must_use]
    pub fn classify(
        &self,
        text: &[u8],
        scan: &Scan,
        lexing: Lexing,
        scratch: &mut Vec<u8>,
    ) -> Arc<Class> {
        if let Some(class) = without_parser(text, scan, lexing) {
            return Arc::new(class);
        }
        shape(text, lexing, scratch);
        let class = self.lookup(scratch);
        match scan_reason(scan) {
            // The shape names it as well; this line only matters if that ever broke.
            Some(reason) if class.unsafe_reason.is_none() => {
                Arc::new(Class { unsafe_reason: Some(reason), ..Class::clone(&class) })
            }
            _ => class,
        }
    }

    /// How often the class was found in the cache.
    #[must_use]
    pub fn hits(&self) -> u64 {
        self.hits.load(Ordering::Relaxed)
    }

    /// How often it wasn't.
    #[must_use]
    pub fn misses(&self) -> u64 {
        self.misses.load(Ordering::Relaxed)
    }

    /// How often a shape was given to the parser.
    #[must_use]
    pub fn parses(&self) -> u64 {
        self.parses.load(Ordering::Relaxed)
    }

    /// How many classes are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.classes.len()
    }

    /// Whether none is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.classes.is_empty()
    }

    fn lookup(&self, shape: &[u8]) -> Arc<Class> {
        if let Some(kept) = self.classes.get(shape) {
            self.hits.fetch_add(1, Ordering::Relaxed);
            if !kept.used.load(Ordering::Relaxed) {
                kept.used.store(true, Ordering::Relaxed);
            }
            return Arc::clone(&kept.class);
        }
        self.misses.fetch_add(1, Ordering::Relaxed);
        self.parses.fetch_add(1, Ordering::Relaxed);
        let Some(class) = analyse::class(shape).map(Arc::new) else {
            return Arc::new(Class::unknown(Reason::Unparsable));
        };
        self.keep(shape, Arc::clone(&class));
        class
    }

    fn keep(&self, shape: &[u8], class: Arc<Class>) {
        let kept = Kept { class, used: AtomicBool::new(false) };
        if self.classes.insert(shape.into(), kept).is_none() {
            self.bytes.fetch_add(shape.len(), Ordering::Relaxed);
        }
        if self.is_full(1, 1) && !self.sweeping.swap(true, Ordering::Acquire) {
            self.sweep();
            self.sweeping.store(false, Ordering::Release);
        }
    }

    /// Whether more than `part` of `whole` of the room is taken.
    fn is_full(&self, part: usize, whole: usize) -> bool {
        self.classes.len() > self.entries_max / whole * part
            || self.bytes.load(Ordering::Relaxed) > self.bytes_max / whole * part
    }

    /// Second chance: drops what nobody asked for since the last sweep. If that frees less than
    /// half of the room, every second of the others goes too, so that sweeps stay rare.
    fn sweep(&self) {
        self.retain(|kept| kept.used.swap(false, Ordering::Relaxed));
        let mut stays = false;
        while self.is_full(1, 2) {
            self.retain(|_| {
                stays = !stays;
                stays
            });
            if self.classes.len() <= 1 {
                break;
            }
        }
    }

    fn retain(&self, mut stays: impl FnMut(&Kept) -> bool) {
        self.classes.retain(|shape, kept| {
            let stays = stays(kept);
            if !stays {
                self.bytes.fetch_sub(shape.len(), Ordering::Relaxed);
            }
            stays
        });
    }
}

/// The class, where no parser is needed for it.
fn without_parser(text: &[u8], scan: &Scan, lexing: Lexing) -> Option<Class> {
    if scan.multi {
        return Some(Class::unknown(Reason::MultiStatement));
    }
    if scan.opaque {
        return Some(Class::unknown(Reason::ConditionalComment));
    }
    let reason = match scan.verb {
        Verb::Select | Verb::With | Verb::Insert | Verb::Replace | Verb::Update | Verb::Delete => {
            return refused_unread(text, lexing).map(Class::unknown);
        }
        Verb::Begin(_) | Verb::Commit(_) | Verb::Rollback(_) => None,
        // Replayed in place, each with its answer: what was rolled back to one was seen as well.
        Verb::ReleaseSavepoint | Verb::RollbackTo | Verb::Savepoint => None,
        Verb::Call => Some(Reason::Call),
        Verb::Ddl(kind) if kind.temporary => Some(Reason::TemporaryTable),
        Verb::Ddl(_) => Some(Reason::Ddl),
        Verb::Deallocate | Verb::Execute | Verb::Prepare => Some(Reason::PrepareText),
        Verb::Explain => Some(Reason::Explain),
        Verb::Kill | Verb::Other | Verb::Xa => Some(Reason::OtherStatement),
        Verb::Load => Some(Reason::LoadData),
        Verb::Lock | Verb::Unlock => Some(Reason::LockTables),
        Verb::Set(_) => Some(Reason::Set),
        Verb::Show => Some(Reason::Show),
        Verb::Use => Some(Reason::SchemaChange),
    };
    Some(Class::control(scan.verb, reason))
}

/// Why a query or DML isn't even given a shape.
///
/// Callers set the flags of [`Lexing`] also when they only suspect the mode. So a text that reads
/// differently with the mode than without is refused, not read with it.
fn refused_unread(text: &[u8], lexing: Lexing) -> Option<Reason> {
    let ambiguous = lexing.ansi_quotes && text.contains(&b'"')
        || lexing.no_backslash_escapes && text.contains(&b'\\');
    if text.len() > TEXT_BYTES_MAX {
        Some(Reason::TooLarge)
    } else if ambiguous {
        Some(Reason::Unparsable)
    } else {
        None
    }
}

fn scan_reason(scan: &Scan) -> Option<Reason> {
    scan.system_variable.then_some(Reason::SessionVariable)
}
