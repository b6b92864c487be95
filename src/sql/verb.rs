//! What a statement does, from its first words.
//!
//! Owns [`Verb`] and the parts of statements that the session must understand without a parser:
//! the characteristics of BEGIN, the completion words of COMMIT, the assignments of SET.
//! Invariant: reading a verb allocates nothing and looks at no more than the head of a statement,
//! except for SET, which is read to its end. It must not decide what is safe; `classify` does.

use super::lex::{Kind, Lexing, Token, Tokens};

/// What the first statement of a text does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// `BEGIN …` or `START TRANSACTION …`.
    Begin(BeginKind),
    /// `CALL`.
    Call,
    /// `COMMIT`.
    Commit(Completion),
    /// `CREATE`, `ALTER`, `DROP`, `TRUNCATE`, `RENAME`, `GRANT`, `REVOKE`, `FLASHBACK`, `RECOVER`.
    Ddl(DdlKind),
    /// `DEALLOCATE PREPARE` or `DROP PREPARE`.
    Deallocate,
    /// `DELETE`.
    Delete,
    /// `EXECUTE` of a statement prepared as text, and `EXECUTE IMMEDIATE`.
    Execute,
    /// `EXPLAIN`, `DESCRIBE`, `DESC`. `EXPLAIN ANALYZE` executes what it explains.
    Explain,
    /// `INSERT`.
    Insert,
    /// `KILL`.
    Kill,
    /// `LOAD DATA`, `LOAD XML`, `LOAD STATS`.
    Load,
    /// `LOCK TABLES`, `LOCK INSTANCE`, `LOCK STATS`.
    Lock,
    /// Everything else: `DO`, `HANDLER`, `TABLE t`, `VALUES`, `ANALYZE`, `FLUSH`, garbage.
    Other,
    /// `PREPARE`.
    Prepare,
    /// `RELEASE SAVEPOINT`.
    ReleaseSavepoint,
    /// `REPLACE`.
    Replace,
    /// `ROLLBACK` of the transaction.
    Rollback(Completion),
    /// `ROLLBACK TO [SAVEPOINT] x`.
    RollbackTo,
    /// `SAVEPOINT`.
    Savepoint,
    /// `SELECT`, also behind opening brackets.
    Select,
    /// `SET`.
    Set(SetKind),
    /// `SHOW`.
    Show,
    /// `UNLOCK`.
    Unlock,
    /// `UPDATE`.
    Update,
    /// `USE`.
    Use,
    /// `WITH`: a query, or an UPDATE or DELETE behind common table expressions.
    With,
    /// `XA`.
    Xa,
}

/// The mode that BEGIN asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum BeginMode {
    /// None named: `tidb_txn_mode` decides.
    #[default]
    Default,
    /// `BEGIN OPTIMISTIC`.
    Optimistic,
    /// `BEGIN PESSIMISTIC`.
    Pessimistic,
}

/// The characteristics of a BEGIN or START TRANSACTION.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BeginKind {
    /// Optimistic, pessimistic or unsaid.
    pub mode: BeginMode,
    /// `READ ONLY`.
    pub read_only: bool,
    /// `AS OF TIMESTAMP`: a stale read.
    pub as_of: bool,
    /// `WITH CONSISTENT SNAPSHOT`.
    pub consistent_snapshot: bool,
    /// `WITH CAUSAL CONSISTENCY ONLY`.
    pub causal_consistency: bool,
}

/// The words behind COMMIT or ROLLBACK. TiDB parses and ignores them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Completion {
    /// `AND CHAIN`.
    pub chain: bool,
    /// `RELEASE`.
    pub release: bool,
}

/// Which schema change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DdlKind {
    /// It names a temporary table.
    pub temporary: bool,
}

/// A value given to `autocommit`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Switch {
    /// 0, OFF or FALSE.
    Off,
    /// 1, ON or TRUE.
    On,
    /// An expression, DEFAULT, or several assignments that differ.
    Unknown,
}

/// The character set in which a SET says that the client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CharsetWord {
    /// The bytes `start..end` of the text name it, without quotes.
    Named {
        /// Offset of the first byte of the name.
        start: usize,
        /// Offset behind its last byte.
        end: usize,
    },
    /// Taken from an expression, or said more than once.
    Unknown,
}

impl CharsetWord {
    /// The name, when the text says it; `text` is the one that was scanned.
    #[must_use]
    pub fn name<'a>(&self, text: &'a [u8]) -> Option<&'a [u8]> {
        match *self {
            Self::Named { start, end } => text.get(start..end),
            Self::Unknown => None,
        }
    }
}

/// What the assignments of one SET change. Several can hold at once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SetKind {
    /// Something that holds for the next transaction only: `SET TRANSACTION …`,
    /// `SET @@transaction_isolation = …` and its kin, without a scope.
    pub next_transaction: bool,
    /// `SET SESSION TRANSACTION …`, or the same variables with session scope.
    pub transaction_default: bool,
    /// `autocommit` of the session.
    pub autocommit: Option<Switch>,
    /// `NAMES`, `CHARACTER SET`, `character_set_client`.
    pub charset: Option<CharsetWord>,
    /// `sql_mode` of the session: the meaning of later bytes may change, see [`Lexing`].
    pub sql_mode: bool,
    /// `@x`.
    pub user_variable: bool,
    /// Anything with GLOBAL or PERSIST scope.
    pub global: bool,
    /// MariaDB's `SET STATEMENT … FOR <any statement>`.
    pub statement: bool,
    /// Any other session variable, `PASSWORD`, `ROLE`, `SESSION_STATES` …
    pub other: bool,
}

/// Whether every byte below 0x80 means itself in this character set, wherever it stands. Only
/// then a byte-wise look at a text finds the right ends of strings; in gbk, big5, sjis and their
/// kin a backslash or a quote can be the second half of a letter.
#[must_use]
pub fn is_plain_charset(name: &[u8]) -> bool {
    const PLAIN: [&[u8]; 20] = [
        b"armscii8",
        b"ascii",
        b"binary",
        b"cp1250",
        b"cp1251",
        b"cp1256",
        b"cp1257",
        b"cp850",
        b"cp852",
        b"cp866",
        b"greek",
        b"hebrew",
        b"koi8r",
        b"koi8u",
        b"latin1",
        b"latin2",
        b"latin5",
        b"latin7",
        b"utf8",
        b"utf8mb3",
    ];
    name.eq_ignore_ascii_case(b"utf8mb4")
        || PLAIN.iter().any(|plain| name.eq_ignore_ascii_case(plain))
}

/// The same for the collation id of a login (`information_schema.collations`).
#[must_use]
pub fn is_plain_collation(id: u8) -> bool {
    // big5, ujis, sjis, euckr, gb2312, gbk, cp932, eucjpms, gb18030; ucs2, utf16, utf32.
    const OTHERS: [u8; 19] =
        [1, 12, 13, 19, 24, 28, 84, 85, 86, 87, 88, 91, 95, 96, 97, 98, 248, 249, 250];
    let wide = matches!(id, 35 | 54..=56 | 60..=62 | 90 | 101..=124 | 128..=151 | 160..=183);
    !wide && !OTHERS.contains(&id)
}

/// Reads the verb of the statement that begins at `body`.
pub(super) fn read(text: &[u8], body: usize, lexing: Lexing) -> Verb {
    let mut words = Words { text, tokens: Tokens::new(text, body, lexing) };
    let Some(first) = words.head() else { return Verb::Other };
    let in_brackets = text[body] == b'(';
    let mut buffer = [0; 16];
    match lowered(first.bytes(text), &mut buffer) {
        b"select" => Verb::Select,
        b"with" => Verb::With,
        _ if in_brackets => Verb::Other,
        b"alter" | b"truncate" | b"rename" | b"grant" | b"revoke" | b"flashback" | b"recover" => {
            Verb::Ddl(DdlKind::default())
        }
        b"begin" => words.begin(),
        b"call" => Verb::Call,
        b"commit" => Verb::Commit(words.completion()),
        b"create" => words.ddl(),
        b"deallocate" => Verb::Deallocate,
        b"delete" => Verb::Delete,
        b"desc" | b"describe" | b"explain" => Verb::Explain,
        b"drop" if words.peek_is(b"prepare") => Verb::Deallocate,
        b"drop" => words.ddl(),
        b"execute" => Verb::Execute,
        b"insert" => Verb::Insert,
        b"kill" => Verb::Kill,
        b"load" => Verb::Load,
        b"lock" => Verb::Lock,
        b"prepare" => Verb::Prepare,
        b"release" if words.take(b"savepoint") => Verb::ReleaseSavepoint,
        b"replace" => Verb::Replace,
        b"rollback" => words.rollback(),
        b"savepoint" => Verb::Savepoint,
        b"set" => Verb::Set(words.set()),
        b"show" => Verb::Show,
        b"start" if words.take(b"transaction") => Verb::Begin(words.characteristics()),
        b"unlock" => Verb::Unlock,
        b"update" => Verb::Update,
        b"use" => Verb::Use,
        b"xa" => Verb::Xa,
        _ => Verb::Other,
    }
}

/// Lower-cases a word into `buffer`; a word that doesn't fit is no keyword and stays as it is.
pub(super) fn lowered<'a, const N: usize>(word: &'a [u8], buffer: &'a mut [u8; N]) -> &'a [u8] {
    match buffer.get_mut(..word.len()) {
        Some(target) => {
            target.copy_from_slice(word);
            target.make_ascii_lowercase();
            target
        }
        None => word,
    }
}

/// The solid tokens of a statement, asked word by word.
struct Words<'a> {
    text: &'a [u8],
    tokens: Tokens<'a>,
}

impl Words<'_> {
    /// The first word; opening brackets before it are skipped.
    fn head(&mut self) -> Option<Token> {
        loop {
            let token = self.tokens.next_solid()?;
            match token.kind {
                Kind::Word => return Some(token),
                Kind::Sign if self.text[token.start] == b'(' => {}
                _ => return None,
            }
        }
    }

    fn is_sign(&self, token: &Token, sign: u8) -> bool {
        token.kind == Kind::Sign && self.text[token.start] == sign
    }

    fn is_word(&self, token: &Token, word: &[u8]) -> bool {
        token.kind == Kind::Word && token.bytes(self.text).eq_ignore_ascii_case(word)
    }

    fn peek_is(&self, word: &[u8]) -> bool {
        self.tokens.peek_solid().is_some_and(|token| self.is_word(&token, word))
    }

    fn peek_sign(&self, sign: u8) -> bool {
        self.tokens.peek_solid().is_some_and(|token| self.is_sign(&token, sign))
    }

    /// Steps over `word` if it comes next.
    fn take(&mut self, word: &[u8]) -> bool {
        let found = self.peek_is(word);
        if found {
            self.tokens.next_solid();
        }
        found
    }

    fn take_sign(&mut self, sign: u8) -> bool {
        let found = self.peek_sign(sign);
        if found {
            self.tokens.next_solid();
        }
        found
    }

    /// Whether the statement ends here.
    fn at_end(&self) -> bool {
        self.tokens.peek_solid().is_none_or(|token| self.is_sign(&token, b';'))
    }

    /// `BEGIN [WORK | OPTIMISTIC | PESSIMISTIC]`; anything else is a compound statement.
    fn begin(&mut self) -> Verb {
        let mode = if self.take(b"optimistic") {
            BeginMode::Optimistic
        } else if self.take(b"pessimistic") {
            BeginMode::Pessimistic
        } else {
            self.take(b"work");
            BeginMode::Default
        };
        match self.at_end() {
            true => Verb::Begin(BeginKind { mode, ..BeginKind::default() }),
            false => Verb::Other,
        }
    }

    fn characteristics(&mut self) -> BeginKind {
        let mut kind = BeginKind::default();
        while !self.at_end() {
            if self.take(b"read") {
                kind.read_only |= self.peek_is(b"only");
            } else if self.take(b"as") {
                kind.as_of |= self.peek_is(b"of");
            } else if self.take(b"consistent") {
                kind.consistent_snapshot |= self.peek_is(b"snapshot");
            } else if self.take(b"causal") {
                kind.causal_consistency |= self.peek_is(b"consistency");
            } else {
                self.tokens.next_solid();
            }
        }
        kind
    }

    /// `[WORK] [AND [NO] CHAIN] [[NO] RELEASE]`.
    fn completion(&mut self) -> Completion {
        self.take(b"work");
        let mut completion = Completion::default();
        if self.take(b"and") {
            completion.chain = !self.take(b"no") && self.take(b"chain");
            self.take(b"chain");
        }
        completion.release = !self.take(b"no") && self.take(b"release");
        completion
    }

    fn rollback(&mut self) -> Verb {
        let mut ahead = Words { text: self.text, tokens: self.tokens.clone() };
        ahead.take(b"work");
        match ahead.take(b"to") {
            true => Verb::RollbackTo,
            false => Verb::Rollback(self.completion()),
        }
    }

    /// `CREATE [OR REPLACE] [GLOBAL | LOCAL] TEMPORARY`, `DROP TEMPORARY`.
    fn ddl(&mut self) -> Verb {
        if self.take(b"or") {
            self.take(b"replace");
        }
        let _ = self.take(b"global") || self.take(b"local");
        Verb::Ddl(DdlKind { temporary: self.take(b"temporary") })
    }

    fn set(&mut self) -> SetKind {
        let mut kind = SetKind::default();
        if self.take(b"statement") {
            kind.statement = true;
            return kind;
        }
        let mut global_before = false;
        while !self.at_end() {
            self.assignment(&mut kind, &mut global_before);
            self.skip_value();
        }
        kind
    }

    /// Reads up to the value; the value itself is left to `skip_value`.
    fn assignment(&mut self, kind: &mut SetKind, global_before: &mut bool) {
        if self.take_sign(b'@') {
            if !self.take_sign(b'@') {
                kind.user_variable = true;
                return;
            }
            let scope = match self.scope() {
                Scope::Unsaid => Scope::Next,
                said => said,
            };
            self.take_sign(b'.');
            self.variable(kind, scope);
            return;
        }
        let scope = self.scope();
        // MySQL: GLOBAL holds for the assignments behind it as well; TiDB: only for its own.
        if scope == Scope::Unsaid && *global_before {
            kind.global = true;
            kind.other = true;
        }
        *global_before |= scope == Scope::Global;
        self.variable(kind, scope);
        if *global_before && scope != Scope::Global && kind.autocommit.is_some() {
            kind.autocommit = Some(Switch::Unknown);
        }
    }

    fn scope(&mut self) -> Scope {
        if self.take(b"global") || self.take(b"persist") || self.take(b"persist_only") {
            Scope::Global
        } else if self.take(b"session") || self.take(b"local") {
            Scope::Session
        } else {
            Scope::Unsaid
        }
    }

    /// The name behind the scope, and its value where it matters.
    fn variable(&mut self, kind: &mut SetKind, scope: Scope) {
        let Some(name) = self.tokens.next_solid() else { return };
        let mut buffer = [0; 32];
        let word = lowered(name.unquoted(self.text), &mut buffer);
        if scope == Scope::Global {
            kind.global = true;
            return;
        }
        match word {
            b"transaction" => {
                match scope {
                    Scope::Unsaid => kind.next_transaction = true,
                    Scope::Next | Scope::Session | Scope::Global => kind.transaction_default = true,
                }
                // What follows are characteristics, not assignments.
                while !self.at_end() {
                    self.tokens.next_solid();
                }
            }
            b"transaction_isolation"
            | b"tx_isolation"
            | b"transaction_read_only"
            | b"tx_read_only" => match scope {
                Scope::Next => kind.next_transaction = true,
                Scope::Unsaid | Scope::Session | Scope::Global => kind.transaction_default = true,
            },
            b"autocommit" => kind.autocommit = Some(self.switch(kind.autocommit)),
            b"names" | b"charset" => self.charset(kind),
            b"character" | b"char" if self.take(b"set") => self.charset(kind),
            b"character_set_client" => {
                self.assign();
                self.charset(kind);
            }
            b"sql_mode" => kind.sql_mode = true,
            b"session_states" => {
                kind.sql_mode = true;
                kind.other = true;
                kind.charset = Some(CharsetWord::Unknown);
            }
            _ => kind.other = true,
        }
    }

    /// Steps over `=` or `:=`.
    fn assign(&mut self) {
        self.take_sign(b':');
        self.take_sign(b'=');
    }

    fn switch(&mut self, before: Option<Switch>) -> Switch {
        self.assign();
        let mut ahead = Words { text: self.text, tokens: self.tokens.clone() };
        let value = ahead.tokens.next_solid().filter(|_| ahead.at_value_end());
        let mut buffer = [0; 16];
        let said = match value.map(|token| lowered(token.unquoted(self.text), &mut buffer)) {
            Some(b"0" | b"off" | b"false") => Switch::Off,
            Some(b"1" | b"on" | b"true") => Switch::On,
            _ => Switch::Unknown,
        };
        match before {
            Some(before) if before != said => Switch::Unknown,
            _ => said,
        }
    }

    fn charset(&mut self, kind: &mut SetKind) {
        let first = kind.charset.is_none();
        let token = self.tokens.peek_solid();
        let mut ahead = Words { text: self.text, tokens: self.tokens.clone() };
        ahead.tokens.next_solid();
        let whole = ahead.at_value_end() || ahead.peek_is(b"collate");
        kind.charset = Some(match token {
            Some(token) if first && whole && matches!(token.kind, Kind::Word | Kind::Text) => {
                let quotes = usize::from(token.kind == Kind::Text);
                let (start, end) = (token.start + quotes, token.end.saturating_sub(quotes));
                CharsetWord::Named { start: start.min(end), end }
            }
            _ => CharsetWord::Unknown,
        });
    }

    fn at_value_end(&self) -> bool {
        self.at_end() || self.peek_sign(b',')
    }

    /// Steps behind the comma that ends this assignment; commas in brackets don't.
    fn skip_value(&mut self) {
        let mut depth = 0_usize;
        while !self.at_end() {
            let Some(token) = self.tokens.next_solid() else { return };
            if self.is_sign(&token, b'(') {
                depth += 1;
            } else if self.is_sign(&token, b')') {
                depth = depth.saturating_sub(1);
            } else if depth == 0 && self.is_sign(&token, b',') {
                return;
            }
        }
    }
}

/// The scope of a system variable in SET.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// `x` or `SET TRANSACTION`: the variable's own rule.
    Unsaid,
    /// `@@x`: for isolation level and access mode the next transaction only.
    Next,
    /// `SESSION x`, `LOCAL x`, `@@session.x`.
    Session,
    /// `GLOBAL x`, `PERSIST x`.
    Global,
}
