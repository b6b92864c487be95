//! What a text means to the transaction in which it stands, and to later ones.
//!
//! Only what the bytes of a request tell: whether the statement begins or ends a transaction,
//! whether it may commit on its way, and what it may change in how later texts read. What has
//! happened is for the answer to say.

use crate::sql::{self, Scan, SetKind, Verb};

/// A command is looked at as a whole up to this length, and passes in pieces beyond. A guarded
/// transaction looks further, up to the limit of its journal.
pub const WHOLE_MAX: usize = 64 << 10;

/// What a text is to the transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// It begins a transaction; inside another one it commits that first.
    Begin,
    /// It commits the one that is open.
    Commit,
    /// It says nothing.
    Empty,
    /// It rolls the one that is open back.
    Rollback,
    /// Any other statement.
    Statement,
}

impl Turn {
    /// Of a text that is there as a `whole` or not, while a transaction is `open` or not.
    #[must_use]
    pub fn of(scan: &Scan, whole: bool, open: bool) -> Self {
        match scan.verb {
            _ if scan.empty => Self::Empty,
            // What passes in pieces can't have statements of ours around it.
            _ if scan.multi || !whole => Self::Statement,
            // What else it may do can't be seen, and there is no need to guard it.
            _ if scan.opaque && !open => Self::Statement,
            Verb::Begin(_) => Self::Begin,
            Verb::Commit(_) if open => Self::Commit,
            Verb::Rollback(_) if open => Self::Rollback,
            _ => Self::Statement,
        }
    }
}

/// What holds behind a SET, how texts read above all; `None` for what it leaves as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reads {
    /// The character set shows every quote and backslash to a lexer.
    pub charset_plain: Option<bool>,
    /// `"x"` may be an identifier.
    pub ansi_quotes: Option<bool>,
    /// The session's transactions are not to be retried.
    pub declines_retry: Option<bool>,
}

/// What a text does beside its own work. What makes later texts harder to read counts at once,
/// what makes them easier when the statement has succeeded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Effects {
    /// It may commit the transaction that it stands in.
    pub may_commit: bool,
    /// Something that holds for the next transaction only may be set.
    pub one_shot: bool,
    /// Later texts may be in a character set that hides quotes from a lexer.
    pub hides_quotes: bool,
    /// In later texts `"x"` may be an identifier.
    pub turns_ansi_quotes_on: bool,
    /// The schema in use may be another one.
    pub hides_schema: bool,
    /// A text may mean something else behind it than ahead of it (`sql_mode`, character sets).
    pub reads_otherwise: bool,
    /// How texts read when it has succeeded.
    pub settles: Option<Reads>,
}

impl Effects {
    /// Of a text, or of the beginning of one that isn't there as a `whole`.
    #[must_use]
    pub fn of(text: &[u8], scan: &Scan, whole: bool) -> Self {
        let mut effects = Self {
            may_commit: !scan.empty && (scan.multi || scan.opaque || may_commit(scan.verb)),
            ..Self::default()
        };
        if let Verb::Set(kind) = scan.verb {
            let reads = effects.note_set(kind, text);
            let declines_retry = retry_variable(&text[scan.body..]).map(is_off);
            let reads = Reads { declines_retry, ..reads };
            effects.settles = Some(reads).filter(|_| !scan.multi);
        }
        let pieces = !whole && !is_plain_write(scan.verb);
        let unseen = matches!(scan.verb, Verb::Call | Verb::Execute) || pieces;
        // It may hold a SET TRANSACTION for the next transaction.
        effects.one_shot |= unseen || scan.may_hide_set() && names_characteristics(text);
        if scan.may_hide_set() || scan.verb == Verb::Prepare {
            effects.note_hidden(text);
        }
        if scan.may_hide_set() || matches!(scan.verb, Verb::Ddl(_)) {
            // DROP DATABASE of the one in use leaves none.
            let words: [&[u8]; 3] = [b"use", b"database", b"schema"];
            effects.hides_schema = words.iter().any(|word| has_word(text, word));
        }
        effects.reads_otherwise = !whole || may_read_otherwise(text, scan);
        // Of a long text only the beginning is seen. (A procedure gives the character set and the
        // sql_mode back that it found.)
        effects.hides_schema |= pieces || scan.verb == Verb::Execute;
        effects.hides_quotes |= pieces;
        effects.turns_ansi_quotes_on |= pieces;
        effects
    }

    fn note_set(&mut self, kind: SetKind, text: &[u8]) -> Reads {
        self.one_shot |= kind.next_transaction || kind.statement;
        let mut reads = Reads::default();
        if let Some(charset) = kind.charset {
            let plain = charset.name(text).is_some_and(sql::is_plain_charset);
            self.hides_quotes |= !plain;
            reads.charset_plain = Some(plain);
        }
        if kind.sql_mode {
            // With ANSI quotes a text with a double quote reads otherwise.
            let quotes = may_turn_on_ansi_quotes(text);
            self.turns_ansi_quotes_on |= quotes;
            reads.ansi_quotes = Some(quotes);
        }
        reads
    }

    /// What a SET within a text that we can't see into may do to the reading of later texts.
    fn note_hidden(&mut self, text: &[u8]) {
        const CHARSETS: [&[u8]; 3] = [b"names", b"character", b"charset"];
        self.hides_quotes |= CHARSETS.iter().any(|word| has_word(text, word));
        self.turns_ansi_quotes_on |= has_word(text, b"sql_mode");
    }
}

/// A leading comment says `retry='off'`: the transaction is not to be retried.
#[must_use]
pub fn declines_retry(text: &[u8]) -> bool {
    // Only a text that begins with a comment is looked into.
    text.trim_ascii_start().starts_with(b"/*")
        && sql::comment_value(text, "retry").is_some_and(|value| is_off(value.as_bytes()))
}

/// The value that `SET @txguard_retry = …` sets, with nothing else in the statement.
fn retry_variable(set: &[u8]) -> Option<&[u8]> {
    const NAME: &[u8] = b"@txguard_retry";
    let target = set.get(b"SET".len()..)?.trim_ascii_start();
    let (name, rest) = target.split_at_checked(NAME.len())?;
    if !name.eq_ignore_ascii_case(NAME) {
        return None;
    }
    let rest = rest.trim_ascii_start();
    let value = rest.strip_prefix(b":=").or_else(|| rest.strip_prefix(b"="))?;
    let value = value.trim_ascii();
    Some(value.strip_suffix(b";").unwrap_or(value).trim_ascii_end())
}

/// The word that switches off, with or without quotes.
fn is_off(value: &[u8]) -> bool {
    let bare = |quote: u8| value.strip_prefix(&[quote]).and_then(|v| v.strip_suffix(&[quote]));
    let word = bare(b'\'').or_else(|| bare(b'"')).unwrap_or(value);
    word.eq_ignore_ascii_case(b"off") || word == b"0"
}

/// A statement that may commit the transaction that it stands in.
#[must_use]
pub fn may_commit(verb: Verb) -> bool {
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

/// A SET, or what may hide one, names what decides how texts are read.
fn may_read_otherwise(text: &[u8], scan: &Scan) -> bool {
    const WORDS: [&[u8]; 5] = [b"sql_mode", b"names", b"char", b"collation", b"session_states"];
    let unseen = matches!(scan.verb, Verb::Call | Verb::Execute);
    let sets = matches!(scan.verb, Verb::Set(_)) || scan.may_hide_set();
    unseen || sets && WORDS.iter().any(|word| has_word(text, word))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_declines_retries_by_a_variable() {
        let lexing = sql::Lexing::default();
        for (text, declines) in [
            ("SET @txguard_retry = 'off'", Some(true)),
            ("/* x */ set @TXGUARD_RETRY:=\"OFF\" ;", Some(true)),
            ("SET @txguard_retry=0", Some(true)),
            ("SET @txguard_retry = 'on'", Some(false)),
            ("SET @txguard_retry = NULL", Some(false)),
            ("SET @txguard_retry2 = 'off'", None),
            ("SET @x = 'off', @txguard_retry = 'off'", None),
            ("SET @txguard_retry", None),
            ("SET NAMES utf8mb4", None),
        ] {
            let effects = Effects::of(text.as_bytes(), &sql::scan(text.as_bytes(), lexing), true);
            let settles = effects.settles.expect("a SET");
            assert_eq!(settles.declines_retry, declines, "{text}");
        }
    }

    #[test]
    fn a_transaction_declines_retries_by_a_comment() {
        for (text, declines) in [
            ("/*retry='off'*/ BEGIN", true),
            (" /* x */ /*a='b',retry='OFF'*/ BEGIN", true),
            ("/*retry='on'*/ BEGIN", false),
            ("/*retry=off*/ BEGIN", false),
            ("BEGIN /*retry='off'*/", false),
            ("SELECT '/*retry=''off''*/'", false),
        ] {
            assert_eq!(declines_retry(text.as_bytes()), declines, "{text}");
        }
    }

    #[test]
    fn later_texts_read_otherwise_behind_a_set_of_modes_or_letters() {
        for (text, otherwise) in [
            ("SET sql_mode = ''", true),
            ("SET @x = 1, @@SESSION.`SQL_MODE` = ''", true),
            ("SET NAMES utf8mb4", true),
            ("SET CHARACTER SET utf8mb4", true),
            ("SET collation_connection = utf8mb4_bin", true),
            ("/*!40101 SET NAMES utf8 */", true),
            ("DO 1; SET sql_mode = ''", true),
            ("EXECUTE s", true),
            ("SET autocommit = 1", false),
            ("SET @x = 1", false),
            ("SELECT 'sql_mode'", false),
            ("USE names", false),
        ] {
            let scan = sql::scan(text.as_bytes(), sql::Lexing::default());
            let effects = Effects::of(text.as_bytes(), &scan, true);
            assert_eq!(effects.reads_otherwise, otherwise, "{text}");
        }
        let text = b"INSERT INTO t VALUES (1";
        assert!(Effects::of(text, &sql::scan(text, sql::Lexing::default()), false).reads_otherwise);
    }

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
}
