//! From a shape to a class: sqlparser, a walk over the syntax tree, and a second opinion.
//!
//! Owns everything that touches sqlparser. The shield: at most [`TOKENS_MAX`] tokens are parsed,
//! the crate's feature `recursive-protection` is on, a tree is never cloned or printed, a panic
//! counts as "not understood", and what isn't small gets a stack of its own ([`STACK_BYTES`]).
//!
//! That stack is needed: the protection covers expressions and queries only. `a JOIN b JOIN c …`
//! without conditions and nested columns of JSON_TABLE recurse past it (measured with 0.63, debug
//! build: 2 MiB are gone after 300 joins, and 16 joins suffice when expressions around them have
//! used up most of a stack). A thread costs some ten to hundred microseconds, once per shape;
//! small statements do without.
//!
//! Two independent looks decide that a statement is safe, and both must agree:
//! - the walk accepts only nodes that MySQL has and functions on the allow-list;
//! - the tokens of the shape, read by our own lexer: every name before an opening bracket must be
//!   an allowed function, a keyword, or a name that the walk found to be a table or an alias.
//!
//! So a call that a visitor forgets, or that the parser takes for something else, is still found.
//! This file must not know the text of a statement, only its shape.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use sqlparser::ast::{
    Delete, Expr, FromTable, Function, FunctionArguments, Ident, Insert, ObjectName, OnInsert,
    Query, Select, SelectFlavor, SetExpr, Statement, TableAlias, TableFactor, TableObject, Update,
    Visit, Visitor,
};
use sqlparser::dialect::MySqlDialect;
use sqlparser::keywords::Keyword;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer, Whitespace};

use super::classify::{Class, Kind, Reason, TableName};
use super::function;
use super::lex::{self, Lexing, Tokens};

/// Longer statements aren't parsed. Measured: a flat chain of this length is visited and dropped
/// on a stack of 2 MiB, also in a debug build.
const TOKENS_MAX: usize = 8_192;

/// Levels of brackets, and joins, of a statement that is parsed: what `recursive-protection`
/// doesn't bound. MySQL itself joins at most 61 tables.
const NESTING_MAX: usize = 128;

/// Stack of the parser. Only what is touched costs memory.
const STACK_BYTES: usize = 16 * 1024 * 1024;

/// A statement within these limits is parsed on the stack of the caller: tokens, levels of
/// brackets, joins. Measured in a debug build: 93 recursive constructs within them, inside one
/// another, on stacks of every size from 192 KiB to 1.2 MiB.
const SMALL: (usize, usize, usize) = (512, 16, 8);

/// Reserved words that may follow INSERT, REPLACE, UPDATE and DELETE. sqlparser takes some of
/// them for tables.
const MODIFIERS: [&str; 4] = ["DELAYED", "HIGH_PRIORITY", "IGNORE", "LOW_PRIORITY"];

/// Schemas that show the state of servers and sessions instead of rows.
const SYSTEM_SCHEMAS: [&str; 4] =
    ["information_schema", "metrics_schema", "performance_schema", "sys"];

/// The class of the statement with this shape; `None` if no thread could be had for it, which
/// says nothing about the statement.
pub(super) fn class(shape: &[u8]) -> Option<Class> {
    let mut walk = match shielded(|| tokens(shape)) {
        Ok((tokens, nesting)) if nesting.is_small(tokens.len()) => {
            shielded(|| Ok(parse(tokens))).unwrap_or_else(Walk::failed)
        }
        Ok((tokens, _)) => parse_on_own_stack(tokens)?,
        Err(reason) => Walk::failed(reason),
    };
    walk.names.extend(walk.ctes.iter().cloned());
    let look = Look::over(shape, &walk.names);
    let reads_insert_id = walk.reads_insert_id || look.reads_insert_id;
    let reason = match (walk.kind, look.reason) {
        // Without a tree nobody knows which names are tables.
        (Kind::Unknown, Some(Reason::UnknownFunction)) => walk.reason,
        (_, Some(reason)) => Some(reason),
        (_, None) => walk.reason,
    };
    let mut seen = HashSet::new();
    walk.tables.retain(|table| seen.insert(table.clone()));
    Some(Class {
        kind: walk.kind,
        unsafe_reason: reason,
        ordered: walk.ordered,
        reads_insert_id,
        reads_user_variables: look.reads_user_variables,
        tables: walk.tables,
    })
}

/// Runs the parser's code; a panic in it means that the statement isn't understood.
fn shielded<T>(work: impl FnOnce() -> Result<T, Reason>) -> Result<T, Reason> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or(Err(Reason::Unparsable))
}

/// The tokens that the parser gets, if it may get them.
fn tokens(shape: &[u8]) -> Result<(Vec<TokenWithSpan>, Nesting), Reason> {
    let sql = std::str::from_utf8(shape).map_err(|_| Reason::Unparsable)?;
    let mut tokens = Tokenizer::new(&MySqlDialect {}, sql)
        .tokenize_with_location()
        .map_err(|_| Reason::Unparsable)?;
    // Hints are white space to the parser; the second look reads them.
    tokens.retain(|token| !matches!(token.token, Token::Whitespace(_)));
    if tokens.len() > TOKENS_MAX {
        return Err(Reason::TooLarge);
    }
    adapt(&mut tokens);
    let nesting = Nesting::of(&tokens);
    if nesting.brackets.max(nesting.joins) > NESTING_MAX {
        return Err(Reason::TooLarge);
    }
    Ok((tokens, nesting))
}

/// Parses; what can't be parsed comes back as a failed walk. The tree lives and dies here.
fn parse(tokens: Vec<TokenWithSpan>) -> Walk {
    let dialect = MySqlDialect {};
    let parsed = Parser::new(&dialect).with_tokens_with_locations(tokens).parse_statements();
    match parsed.as_deref() {
        Ok([statement]) => Walk::over(statement),
        _ => Walk::failed(Reason::Unparsable),
    }
}

fn parse_on_own_stack(tokens: Vec<TokenWithSpan>) -> Option<Walk> {
    let parser = thread::Builder::new().name("sqlparser".into()).stack_size(STACK_BYTES);
    let running = parser.spawn(move || parse(tokens)).ok()?;
    Some(running.join().unwrap_or_else(|_| Walk::failed(Reason::Unparsable)))
}

/// What can recurse without protection.
struct Nesting {
    /// The deepest level of brackets.
    brackets: usize,
    /// All joins together: whether they nest is for the parser to find out.
    joins: usize,
}

impl Nesting {
    fn of(tokens: &[TokenWithSpan]) -> Self {
        let mut nesting = Self { brackets: 0, joins: 0 };
        let mut depth = 0_usize;
        for token in tokens {
            match &token.token {
                Token::LParen | Token::LBracket | Token::LBrace => depth += 1,
                Token::RParen | Token::RBracket | Token::RBrace => depth = depth.saturating_sub(1),
                Token::Word(word) => {
                    let joins = matches!(word.keyword, Keyword::JOIN | Keyword::STRAIGHT_JOIN);
                    nesting.joins += usize::from(joins);
                }
                _ => {}
            }
            nesting.brackets = nesting.brackets.max(depth);
        }
        nesting
    }

    const fn is_small(&self, tokens: usize) -> bool {
        let (tokens_max, brackets_max, joins_max) = SMALL;
        tokens <= tokens_max && self.brackets <= brackets_max && self.joins <= joins_max
    }
}

/// Rewrites what sqlparser 0.63 doesn't know into what it knows. Only tables, functions, locks
/// and order are read from the tree, and these stay the same. What goes becomes white space.
fn adapt(tokens: &mut [TokenWithSpan]) {
    for at in 0..tokens.len() {
        if words_at(tokens, at, &["LOCK", "IN", "SHARE", "MODE"]) {
            tokens[at].token = Token::make_keyword("FOR");
            tokens[at + 1].token = Token::make_keyword("SHARE");
            blank(&mut tokens[at + 2..at + 4]);
        }
        let waits = words_at(tokens, at, &["FOR", "UPDATE", "WAIT"])
            || words_at(tokens, at, &["FOR", "SHARE", "WAIT"]);
        if waits && matches!(token_at(tokens, at + 3), Some(Token::Number(..))) {
            blank(&mut tokens[at + 2..at + 4]);
        }
        let infix = at > 0
            && words_at(tokens, at, &["MOD"])
            && !matches!(token_at(tokens, at - 1), Some(Token::Period))
            && !matches!(token_at(tokens, at + 1), Some(Token::LParen));
        if infix {
            tokens[at].token = Token::Mod;
        }
        if matches!(tokens[at].token, Token::ExclamationMark) {
            tokens[at].token = Token::make_keyword("NOT");
        }
    }
    let modifiers = (1..tokens.len())
        .take_while(|at| MODIFIERS.iter().any(|word| words_at(tokens, *at, &[word])))
        .count();
    blank(tokens.get_mut(1..1 + modifiers).unwrap_or_default());
    if words_at(tokens, 0, &["UPDATE"]) {
        join_updated_tables(tokens);
    }
}

fn blank(tokens: &mut [TokenWithSpan]) {
    for token in tokens {
        token.token = Token::Whitespace(Whitespace::Space);
    }
}

/// `UPDATE a, b SET` becomes `UPDATE a STRAIGHT_JOIN b SET`.
fn join_updated_tables(tokens: &mut [TokenWithSpan]) {
    let mut depth = 0_usize;
    for at in 0..tokens.len() {
        match tokens[at].token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.saturating_sub(1),
            Token::Comma if depth == 0 => tokens[at].token = Token::make_keyword("STRAIGHT_JOIN"),
            _ if depth == 0 && words_at(tokens, at, &["SET"]) => return,
            _ => {}
        }
    }
}

fn token_at(tokens: &[TokenWithSpan], at: usize) -> Option<&Token> {
    tokens.get(at).map(|token| &token.token)
}

fn words_at(tokens: &[TokenWithSpan], at: usize, words: &[&str]) -> bool {
    words.iter().enumerate().all(|(offset, expected)| match token_at(tokens, at + offset) {
        Some(Token::Word(word)) => {
            word.quote_style.is_none() && word.value.eq_ignore_ascii_case(expected)
        }
        _ => false,
    })
}

/// A name that may turn out to be called.
struct Callee {
    name: String,
    quoted: bool,
    qualified: bool,
}

/// The second look: what the shape's own tokens say.
struct Look<'a> {
    shape: &'a [u8],
    /// Tables and aliases, lower case.
    names: &'a HashSet<String>,
    reason: Option<Reason>,
    reads_insert_id: bool,
    reads_user_variables: bool,
    /// Behind `LAST_INSERT_ID(`.
    in_insert_id: bool,
    /// The statement is INSERT or REPLACE: one INTO belongs to it.
    insert: bool,
    into: usize,
    /// The two words before, lower case.
    last: [String; 2],
    /// The name right before, if it is one.
    call: Option<Callee>,
}

impl<'a> Look<'a> {
    fn over(shape: &'a [u8], names: &'a HashSet<String>) -> Self {
        let mut look = Look {
            shape,
            names,
            reason: None,
            reads_insert_id: false,
            reads_user_variables: false,
            in_insert_id: false,
            insert: false,
            into: 0,
            last: [""; 2].map(String::from),
            call: None,
        };
        for token in Tokens::new(shape, 0, Lexing::default()) {
            look.token(&token);
        }
        look
    }

    fn token(&mut self, token: &lex::Token) {
        let bytes = token.bytes(self.shape);
        if !token.is_blank() && std::mem::take(&mut self.in_insert_id) {
            match bytes {
                b")" => self.reads_insert_id = true,
                // It is given a value, and keeps it.
                _ => self.refuse(Reason::LastInsertId),
            }
        }
        match token.kind {
            lex::Kind::Space | lex::Kind::Comment => {}
            lex::Kind::Hint => {
                if contains_word(bytes, b"set_var") {
                    self.refuse(Reason::SessionVariable);
                }
            }
            lex::Kind::Opaque => self.refuse(Reason::ConditionalComment),
            lex::Kind::Word => self.word(String::from_utf8_lossy(bytes).to_lowercase()),
            lex::Kind::Quoted => self.quoted(token.unquoted(self.shape)),
            lex::Kind::Text | lex::Kind::Number => self.call = None,
            lex::Kind::Sign => self.sign(bytes[0], token.start),
        }
    }

    fn refuse(&mut self, reason: Reason) {
        // The most telling reason wins: what a variable is used for is told by INTO.
        if self.reason.is_none() || reason == Reason::SelectInto {
            self.reason = Some(reason);
        }
    }

    fn word(&mut self, word: String) {
        let [before_last, last] = std::mem::take(&mut self.last);
        if last.is_empty() {
            self.insert = matches!(word.as_str(), "insert" | "replace");
        }
        if word == "into" {
            self.into += 1;
            if !self.insert || self.into > 1 {
                self.refuse(Reason::SelectInto);
            }
        }
        if word == "sql_calc_found_rows" {
            self.refuse(Reason::FoundRows);
        }
        let sequence = matches!(before_last.as_str(), "next" | "previous");
        if word == "for" && last == "value" && sequence {
            self.refuse(Reason::Sequence);
        }
        let qualified = self.is_qualified();
        self.last = [last, word.clone()];
        self.call = Some(Callee { name: word, quoted: false, qualified });
    }

    fn quoted(&mut self, name: &[u8]) {
        let name = String::from_utf8_lossy(name).replace("``", "`").to_lowercase();
        let qualified = self.is_qualified();
        self.last = [std::mem::take(&mut self.last[1]), String::from("`")];
        self.call = Some(Callee { name, quoted: true, qualified });
    }

    /// Whether a `.` stands right before; `sign` leaves an empty name for it.
    fn is_qualified(&self) -> bool {
        self.call.as_ref().is_some_and(|call| call.name.is_empty() && call.qualified)
    }

    fn sign(&mut self, sign: u8, at: usize) {
        let callee = self.call.take();
        match sign {
            b'@' if self.shape.get(at + 1) == Some(&b'@') || self.before(at) == Some(b'@') => {
                self.refuse(Reason::SessionVariable);
            }
            b'@' => self.reads_user_variables = true,
            b':' if self.shape.get(at + 1) == Some(&b'=') => self.refuse(Reason::UserVariable),
            b'.' => {
                self.call = Some(Callee { name: String::new(), quoted: false, qualified: true });
            }
            b'(' => {
                if let Some(reason) = callee.and_then(|callee| self.refusal(&callee)) {
                    self.refuse(reason);
                }
            }
            _ => {}
        }
    }

    fn before(&self, at: usize) -> Option<u8> {
        self.shape.get(at.checked_sub(1)?).copied()
    }

    fn refusal(&mut self, callee: &Callee) -> Option<Reason> {
        if self.names.contains(&callee.name)
            && function::refusal(&callee.name)
                .is_none_or(|reason| reason == Reason::UnknownFunction)
        {
            return None;
        }
        if callee.quoted || callee.qualified {
            return Some(Reason::UnknownFunction);
        }
        if function::is_syntax(&callee.name) {
            return None;
        }
        let refusal = function::refusal(&callee.name);
        self.in_insert_id = refusal == Some(Reason::LastInsertId);
        refusal.filter(|_| !self.in_insert_id)
    }
}

fn contains_word(bytes: &[u8], word: &[u8]) -> bool {
    bytes.windows(word.len()).any(|window| window.eq_ignore_ascii_case(word))
}

/// The first look: what the syntax tree says.
struct Walk {
    kind: Kind,
    ordered: bool,
    reason: Option<Reason>,
    locks: bool,
    reads_insert_id: bool,
    tables: Vec<TableName>,
    /// Names of common table expressions, lower case.
    ctes: HashSet<String>,
    /// Names of tables and aliases, lower case: they may stand before a list of columns.
    names: HashSet<String>,
}

impl Walk {
    fn failed(reason: Reason) -> Self {
        Self { reason: Some(reason), ..Self::empty() }
    }

    fn empty() -> Self {
        Self {
            kind: Kind::Unknown,
            ordered: true,
            reason: None,
            locks: false,
            reads_insert_id: false,
            tables: Vec::new(),
            ctes: HashSet::new(),
            names: HashSet::new(),
        }
    }

    fn over(statement: &Statement) -> Self {
        let mut walk = Self::empty();
        // The walk never breaks off: rules need all tables.
        let _: ControlFlow<()> = statement.visit(&mut walk);
        let Self { tables, ctes, .. } = &mut walk;
        tables.retain(|table| table.schema.is_some() || !ctes.contains(&table.name.to_lowercase()));
        walk.kind = match statement {
            Statement::Query(query) => walk.query_kind(query),
            Statement::Insert(insert) => insert_kind(insert),
            Statement::Update(_) => Kind::Update,
            Statement::Delete(_) => Kind::Delete,
            _ => Kind::Unknown,
        };
        walk.ordered = match statement {
            Statement::Query(query) if matches!(walk.kind, Kind::Read | Kind::LockingRead) => {
                is_ordered(query)
            }
            _ => true,
        };
        if walk.tables.iter().any(is_system_table) {
            walk.refuse(Reason::SystemTable);
        }
        walk
    }

    fn query_kind(&self, query: &Query) -> Kind {
        match innermost(query).body.as_ref() {
            SetExpr::Insert(Statement::Insert(insert)) => insert_kind(insert),
            SetExpr::Update(_) => Kind::Update,
            SetExpr::Delete(_) => Kind::Delete,
            SetExpr::Insert(_) | SetExpr::Merge(_) => Kind::Unknown,
            _ if self.locks => Kind::LockingRead,
            _ => Kind::Read,
        }
    }

    fn refuse(&mut self, reason: Reason) {
        self.reason.get_or_insert(reason);
    }

    /// What MySQL doesn't have: the parser has understood something else than the server will.
    fn demand(&mut self, holds: bool) {
        if !holds {
            self.refuse(Reason::Unparsable);
        }
    }

    fn function(&mut self, function: &Function) {
        let plain = !function.uses_odbc_syntax
            && matches!(function.parameters, FunctionArguments::None)
            && !matches!(function.args, FunctionArguments::Subquery(_))
            && function.filter.is_none();
        self.demand(plain);
        match plain_name(&function.name) {
            Some(name) => match function::refusal(&name.to_lowercase()) {
                Some(Reason::LastInsertId) if has_no_arguments(function) => {
                    self.reads_insert_id = true;
                }
                Some(reason) => self.refuse(reason),
                None => {}
            },
            None => self.refuse(Reason::UnknownFunction),
        }
    }

    fn insert(&mut self, insert: &Insert) {
        self.demand(
            matches!(insert.table, TableObject::TableName(_))
                && insert.or.is_none()
                && !insert.overwrite
                && insert.output.is_none()
                && insert.settings.is_none()
                && insert.format_clause.is_none()
                && insert.multi_table_insert_type.is_none()
                && !matches!(insert.on, Some(OnInsert::OnConflict(_))),
        );
        if let Some(alias) = &insert.insert_alias {
            self.name(alias.row_alias.0.last().and_then(|part| part.as_ident()));
        }
        if let Some(alias) = &insert.table_alias {
            self.name(Some(&alias.alias));
        }
    }

    fn update(&mut self, update: &Update) {
        self.demand(update.from.is_none() && update.or.is_none() && update.output.is_none());
    }

    fn delete(&mut self, delete: &Delete) {
        self.demand(
            delete.output.is_none() && matches!(delete.from, FromTable::WithFromKeyword(_)),
        );
    }

    fn alias(&mut self, alias: Option<&TableAlias>) {
        if let Some(alias) = alias {
            self.demand(alias.at.is_none());
            self.name(Some(&alias.name));
        }
    }

    fn name(&mut self, name: Option<&Ident>) {
        self.names.extend(name.map(|name| name.value.to_lowercase()));
    }

    /// The arms of UNION and its kin. A chain is as deep as it is long: no recursion.
    fn arms(&mut self, query: &Query) {
        let mut open = vec![query.body.as_ref()];
        while let Some(arm) = open.pop() {
            match arm {
                SetExpr::SetOperation { left, right, .. } => {
                    open.push(left);
                    open.push(right);
                }
                SetExpr::Table(_) | SetExpr::Merge(_) => self.demand(false),
                SetExpr::Select(_)
                | SetExpr::Query(_)
                | SetExpr::Values(_)
                | SetExpr::Insert(_)
                | SetExpr::Update(_)
                | SetExpr::Delete(_) => {}
            }
        }
    }
}

impl Visitor for Walk {
    type Break = ();

    fn pre_visit_statement(&mut self, statement: &Statement) -> ControlFlow<()> {
        match statement {
            Statement::Query(_) => {}
            Statement::Insert(insert) => self.insert(insert),
            Statement::Update(update) => self.update(update),
            Statement::Delete(delete) => self.delete(delete),
            _ => self.demand(false),
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        self.demand(
            query.fetch.is_none()
                && query.for_clause.is_none()
                && query.settings.is_none()
                && query.format_clause.is_none()
                && query.pipe_operators.is_empty(),
        );
        self.locks |= !query.locks.is_empty();
        if let Some(with) = &query.with {
            self.ctes.extend(with.cte_tables.iter().map(|cte| cte.alias.name.value.to_lowercase()));
        }
        self.arms(query);
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        if select.into.is_some() {
            self.refuse(Reason::SelectInto);
        }
        if select.select_modifiers.as_ref().is_some_and(|words| words.sql_calc_found_rows) {
            self.refuse(Reason::FoundRows);
        }
        self.demand(
            select.top.is_none()
                && select.exclude.is_none()
                && select.lateral_views.is_empty()
                && select.prewhere.is_none()
                && select.connect_by.is_empty()
                && select.cluster_by.is_empty()
                && select.distribute_by.is_empty()
                && select.sort_by.is_empty()
                && select.qualify.is_none()
                && select.value_table_mode.is_none()
                && select.flavor == SelectFlavor::Standard,
        );
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
        match relation.0.as_slice() {
            [.., schema, table] => self.table(schema.as_ident(), table.as_ident()),
            [table] => self.table(None, table.as_ident()),
            [] => {}
        }
        self.demand(relation.0.len() <= 2);
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        match factor {
            TableFactor::Table {
                alias, args, version, json_path, sample, with_ordinality, ..
            } => {
                self.demand(
                    args.is_none()
                        && version.is_none()
                        && json_path.is_none()
                        && sample.is_none()
                        && !with_ordinality,
                );
                self.alias(alias.as_ref());
            }
            TableFactor::Derived { alias, sample, .. } => {
                self.demand(sample.is_none());
                self.alias(alias.as_ref());
            }
            TableFactor::NestedJoin { alias, .. } | TableFactor::JsonTable { alias, .. } => {
                self.alias(alias.as_ref());
            }
            _ => self.demand(false),
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            Expr::Function(function) => self.function(function),
            Expr::Identifier(_)
            | Expr::CompoundIdentifier(_)
            | Expr::IsFalse(_)
            | Expr::IsNotFalse(_)
            | Expr::IsTrue(_)
            | Expr::IsNotTrue(_)
            | Expr::IsNull(_)
            | Expr::IsNotNull(_)
            | Expr::IsUnknown(_)
            | Expr::IsNotUnknown(_)
            | Expr::InList { .. }
            | Expr::InSubquery { .. }
            | Expr::Between { .. }
            | Expr::BinaryOp { .. }
            | Expr::Like { .. }
            | Expr::RLike { .. }
            | Expr::AnyOp { .. }
            | Expr::AllOp { .. }
            | Expr::UnaryOp { .. }
            | Expr::Convert { .. }
            | Expr::Cast { .. }
            | Expr::Collate { .. }
            | Expr::Extract { .. }
            | Expr::Ceil { .. }
            | Expr::Floor { .. }
            | Expr::Position { .. }
            | Expr::Substring { .. }
            | Expr::Trim { .. }
            | Expr::Nested(_)
            | Expr::Value(_)
            | Expr::Prefixed { .. }
            | Expr::TypedString(_)
            | Expr::Case { .. }
            | Expr::Exists { .. }
            | Expr::Subquery(_)
            | Expr::Tuple(_)
            | Expr::Interval(_)
            | Expr::MatchAgainst { .. }
            | Expr::Wildcard(_)
            | Expr::QualifiedWildcard(..)
            | Expr::MemberOf(_) => {}
            _ => self.demand(false),
        }
        ControlFlow::Continue(())
    }
}

impl Walk {
    fn table(&mut self, schema: Option<&Ident>, name: Option<&Ident>) {
        let Some(name) = name else {
            self.demand(false);
            return;
        };
        self.name(Some(name));
        self.tables.push(TableName {
            schema: schema.map(|schema| schema.value.as_str().into()),
            name: name.value.as_str().into(),
        });
    }
}

fn insert_kind(insert: &Insert) -> Kind {
    if insert.replace_into { Kind::Replace } else { Kind::Insert }
}

fn has_no_arguments(function: &Function) -> bool {
    let FunctionArguments::List(list) = &function.args else { return false };
    list.args.is_empty() && list.clauses.is_empty() && list.duplicate_treatment.is_none()
}

/// A function's name without schema and quotes.
fn plain_name(name: &ObjectName) -> Option<&str> {
    match name.0.as_slice() {
        [part] => part.as_ident().filter(|ident| ident.quote_style.is_none()),
        _ => None,
    }
    .map(|ident| ident.value.as_str())
}

/// The query in the outermost brackets.
fn innermost(query: &Query) -> &Query {
    let mut query = query;
    while let SetExpr::Query(inner) = query.body.as_ref() {
        query = inner;
    }
    query
}

/// Whether ORDER BY or LIMIT holds for the rows that leave the server.
fn is_ordered(query: &Query) -> bool {
    let mut query = query;
    loop {
        if query.order_by.is_some() || query.limit_clause.is_some() || query.fetch.is_some() {
            return true;
        }
        match query.body.as_ref() {
            SetExpr::Query(inner) => query = inner,
            _ => return false,
        }
    }
}

fn is_system_table(table: &TableName) -> bool {
    table
        .schema
        .as_ref()
        .is_some_and(|schema| SYSTEM_SCHEMAS.iter().any(|name| schema.eq_ignore_ascii_case(name)))
}
