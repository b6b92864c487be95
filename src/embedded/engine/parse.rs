//! From SQL text to something the engine can run, with the parser kept within safe bounds.

use std::ops::ControlFlow;

use sqlparser::ast::{self, Expr, Visit, Visitor};
use sqlparser::dialect::MySqlDialect;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Token, Tokenizer};

use super::error::SqlError;

/// The parser survives these sizes on a stack of 2 MiB; beyond them nothing is parsed.
const TEXT_MAX: usize = 64 * 1024;
const TOKENS_MAX: usize = 8192;

/// The evaluator recurses over expressions.
const DEPTH_MAX: usize = 100;

/// A statement the engine can try to run.
#[derive(Debug)]
pub(super) enum Statement {
    Begin,
    Commit,
    /// Nothing but comments.
    Empty,
    Rollback,
    ShowDatabases,
    ShowTables,
    ShowWarnings,
    Sql(Box<ast::Statement>),
}

/// Parses one statement and counts its `?` parameters, which become `?0`, `?1` and so on.
pub(super) fn parse(sql: &str) -> Result<(Statement, usize), SqlError> {
    if sql.len() > TEXT_MAX {
        return Err(SqlError::unsupported(format_args!("a statement over {TEXT_MAX} bytes")));
    }
    let dialect = MySqlDialect {};
    let tokens = Tokenizer::new(&dialect, sql).tokenize().map_err(ast_error)?;
    let mut tokens: Vec<Token> =
        tokens.into_iter().filter(|token| !matches!(token, Token::Whitespace(_))).collect();
    if tokens.len() > TOKENS_MAX {
        return Err(SqlError::unsupported(format_args!("a statement over {TOKENS_MAX} tokens")));
    }
    // The parser's own protection does not cover these, and the engine runs neither.
    if let Some(word) = tokens.iter().find_map(recursive_word) {
        return Err(SqlError::unsupported(format_args!("{word}")));
    }
    while tokens.last() == Some(&Token::SemiColon) {
        tokens.pop();
    }
    if tokens.contains(&Token::SemiColon) {
        return Err(SqlError::several_statements());
    }
    let mut params = 0;
    for token in &mut tokens {
        if let Token::Placeholder(name) = token {
            *name = format!("?{params}");
            params += 1;
        }
    }
    let statement = match by_words(&tokens)? {
        Some(statement) => statement,
        None => Statement::Sql(Box::new(by_parser(&dialect, tokens)?)),
    };
    Ok((statement, params))
}

/// `JOIN` and `JSON_TABLE`, over which the parser recurses without a limit.
fn recursive_word(token: &Token) -> Option<&'static str> {
    let Token::Word(word) = token else { return None };
    let named = |name| word.quote_style.is_none() && word.value.eq_ignore_ascii_case(name);
    ["JOIN", "JSON_TABLE"].into_iter().find(|name| named(name))
}

fn ast_error(error: sqlparser::tokenizer::TokenizerError) -> SqlError {
    sqlparser::parser::ParserError::from(error).into()
}

/// What the parser doesn't know, or what is simpler without it.
fn by_words(tokens: &[Token]) -> Result<Option<Statement>, SqlError> {
    let words: Vec<String> = tokens
        .iter()
        .take(6)
        .map(|token| match token {
            Token::Word(word) if word.quote_style.is_none() => word.value.to_uppercase(),
            _ => "…".to_owned(),
        })
        .collect();
    let statement = match words.join(" ").as_str() {
        "" => Statement::Empty,
        "BEGIN"
        | "BEGIN OPTIMISTIC"
        | "START TRANSACTION"
        | "START TRANSACTION WITH CONSISTENT SNAPSHOT" => Statement::Begin,
        "COMMIT" | "COMMIT WORK" => Statement::Commit,
        "ROLLBACK" | "ROLLBACK WORK" => Statement::Rollback,
        "SHOW DATABASES" => Statement::ShowDatabases,
        "SHOW TABLES" => Statement::ShowTables,
        "SHOW WARNINGS" | "SHOW ERRORS" => Statement::ShowWarnings,
        "BEGIN PESSIMISTIC" => {
            return Err(SqlError::unsupported("BEGIN PESSIMISTIC (only optimistic transactions)"));
        }
        other => {
            let first = words.first().map_or("", String::as_str);
            if ["BEGIN", "START", "COMMIT", "ROLLBACK"].contains(&first) {
                return Err(SqlError::unsupported(other));
            }
            return Ok(None);
        }
    };
    Ok(Some(statement))
}

fn by_parser(dialect: &MySqlDialect, tokens: Vec<Token>) -> Result<ast::Statement, SqlError> {
    let mut parser = Parser::new(dialect).with_tokens(tokens);
    let statement = parser.parse_statement()?;
    let rest = parser.next_token().token;
    if rest != Token::EOF {
        let text = format!("embedded backend: this does not parse: near '{rest}'");
        return Err(SqlError::new(1064, "42000", text));
    }
    match statement.visit(&mut Depth(0)) {
        ControlFlow::Continue(()) => Ok(statement),
        ControlFlow::Break(()) => {
            Err(SqlError::unsupported(format_args!("an expression over {DEPTH_MAX} levels")))
        }
    }
}

/// Stops at an expression that the evaluator should not recurse into.
struct Depth(usize);

impl Visitor for Depth {
    type Break = ();

    fn pre_visit_expr(&mut self, _: &Expr) -> ControlFlow<()> {
        self.0 += 1;
        if self.0 > DEPTH_MAX { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn post_visit_expr(&mut self, _: &Expr) -> ControlFlow<()> {
        self.0 -= 1;
        ControlFlow::Continue(())
    }
}

/// The parts of a name that may be qualified, in lower case: `db.t`, `t.c`, `@@session.x`.
pub(super) fn parts(name: &ast::ObjectName) -> Result<Vec<String>, SqlError> {
    name.0
        .iter()
        .map(|part| part.as_ident().map(|ident| ident.value.to_lowercase()))
        .collect::<Option<_>>()
        .ok_or_else(|| SqlError::unsupported(name))
}

/// The last part of a column's name.
pub(super) fn last_part(name: &ast::ObjectName) -> Result<String, SqlError> {
    parts(name)?.pop().ok_or_else(|| SqlError::unsupported(name))
}
