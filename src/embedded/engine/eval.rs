//! Expressions: what they are worth on a row, over a group of rows, or without any row. Whatever
//! is not named here is refused.

use std::cmp::Ordering;
use std::ops::ControlFlow;

use sqlparser::ast::{self, BinaryOperator, Expr, FunctionArguments, UnaryOperator};

use super::SERVER_VERSION;
use super::error::SqlError;
use super::parse;
use super::settings::{self, Settings};
use super::store::Row;
use super::value::{Column, Kind, Value};

/// What an expression can refer to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scope<'a> {
    pub(super) settings: &'a Settings,
    pub(super) params: &'a [Value],
    pub(super) columns: &'a [Column],
    pub(super) row: Option<&'a [Value]>,
    /// The rows that aggregates are made of.
    pub(super) group: Option<&'a [Row]>,
    /// The clause, for the text of an error.
    pub(super) place: &'static str,
}

impl<'a> Scope<'a> {
    /// A place without columns.
    pub(super) fn constant(settings: &'a Settings, params: &'a [Value]) -> Self {
        Self { settings, params, columns: &[], row: None, group: None, place: "field list" }
    }

    pub(super) fn with_columns(self, columns: &'a [Column], place: &'static str) -> Self {
        Self { columns, place, ..self }
    }

    pub(super) fn with_row(self, row: &'a [Value]) -> Self {
        Self { row: Some(row), ..self }
    }

    pub(super) fn with_group(self, group: &'a [Row]) -> Self {
        Self { group: Some(group), ..self }
    }

    /// The value of an expression.
    pub(super) fn eval(&self, expr: &Expr) -> Result<Value, SqlError> {
        match expr {
            Expr::Value(literal) => self.literal(&literal.value),
            Expr::Identifier(_) | Expr::CompoundIdentifier(_) => self.name(expr),
            Expr::Nested(inner) => self.eval(inner),
            Expr::UnaryOp { op, expr } => self.unary(*op, &self.eval(expr)?),
            Expr::BinaryOp { left, op, right } => binary(&self.eval(left)?, op, &self.eval(right)?),
            Expr::IsNull(inner) => Ok(Value::from(self.eval(inner)? == Value::Null)),
            Expr::IsNotNull(inner) => Ok(Value::from(self.eval(inner)? != Value::Null)),
            Expr::Between { expr, negated, low, high } => {
                let value = self.eval(expr)?;
                let above = value.compare(&self.eval(low)?).map(Ordering::is_ge);
                let below = value.compare(&self.eval(high)?).map(Ordering::is_le);
                Ok(logical(and(above, below).map(|inside| inside != *negated)))
            }
            Expr::InList { expr, list, negated } => {
                let value = self.eval(expr)?;
                let mut found = Some(false);
                for item in list {
                    found = or(found, value.compare(&self.eval(item)?).map(Ordering::is_eq));
                }
                Ok(logical(found.map(|found| found != *negated)))
            }
            Expr::Like { negated, any: false, expr, pattern, escape_char: None } => {
                match (self.eval(expr)?, self.eval(pattern)?) {
                    (Value::Null, _) | (_, Value::Null) => Ok(Value::Null),
                    (text, pattern) => {
                        let matches = like(&text.to_string(), &pattern.to_string());
                        Ok(Value::from(matches != *negated))
                    }
                }
            }
            Expr::Function(function) => self.call(function),
            other => Err(SqlError::unsupported(format_args!("the expression {other}"))),
        }
    }

    /// True only if the condition is true, not if it is NULL.
    pub(super) fn holds(&self, condition: Option<&Expr>) -> Result<bool, SqlError> {
        condition.map_or(Ok(true), |expr| Ok(self.eval(expr)?.truth() == Some(true)))
    }

    /// What the expression's column holds in a result.
    pub(super) fn kind(&self, expr: &Expr) -> Result<Kind, SqlError> {
        match expr {
            Expr::Nested(inner) | Expr::UnaryOp { op: UnaryOperator::Plus, expr: inner } => {
                self.kind(inner)
            }
            Expr::Identifier(_) | Expr::CompoundIdentifier(_) => match self.find(expr)? {
                Name::Column(index) => Ok(self.columns[index].kind),
                Name::Variable(Value::Int(_)) => Ok(Kind::BigInt),
                Name::Variable(_) => Ok(Kind::Text),
            },
            Expr::Value(literal) => match &literal.value {
                ast::Value::Number(..) | ast::Value::Boolean(_) => Ok(Kind::BigInt),
                _ => Ok(Kind::Text),
            },
            Expr::Function(function) => match (&*function_name(function)?, argument(function)) {
                ("sum", _) => Ok(Kind::Decimal),
                ("min" | "max", Some(inner)) => self.kind(inner),
                ("count" | "connection_id" | "last_insert_id", _) => Ok(Kind::BigInt),
                _ => Ok(Kind::Text),
            },
            _ => Ok(Kind::BigInt),
        }
    }

    fn literal(&self, literal: &ast::Value) -> Result<Value, SqlError> {
        match literal {
            ast::Value::Null => Ok(Value::Null),
            ast::Value::Boolean(truth) => Ok(Value::from(*truth)),
            ast::Value::Number(digits, _) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                digits.parse().map(Value::Int).map_err(|_| SqlError::overflow())
            }
            ast::Value::SingleQuotedString(text) | ast::Value::DoubleQuotedString(text) => {
                Ok(Value::Text(text.clone()))
            }
            ast::Value::Placeholder(name) => {
                let index: Option<usize> = name.trim_start_matches('?').parse().ok();
                let value = index.and_then(|index| self.params.get(index));
                value.cloned().ok_or_else(SqlError::wrong_parameter_count)
            }
            other => Err(SqlError::unsupported(format_args!("the literal {other}"))),
        }
    }

    fn name(&self, expr: &Expr) -> Result<Value, SqlError> {
        match (self.find(expr)?, self.row) {
            (Name::Variable(value), _) => Ok(value),
            (Name::Column(index), Some(row)) => Ok(row[index].clone()),
            (Name::Column(_), None) => Err(SqlError::column_outside_aggregate(&expr.to_string())),
        }
    }

    fn find(&self, expr: &Expr) -> Result<Name, SqlError> {
        let parts: Vec<String> = match expr {
            Expr::Identifier(ident) => vec![ident.value.to_lowercase()],
            Expr::CompoundIdentifier(idents) => {
                idents.iter().map(|ident| ident.value.to_lowercase()).collect()
            }
            other => return Err(SqlError::unsupported(format_args!("the name {other}"))),
        };
        if parts[0].starts_with('@') {
            let name = settings::variable(&parts)?;
            let value = self.settings.read(&name);
            return value.map(Name::Variable).ok_or_else(|| SqlError::unknown_variable(&name));
        }
        let (column, table) = match &*parts {
            [column] => (column, None),
            [.., table, column] => (column, Some(table)),
            [] => return Err(SqlError::unknown_column("", self.place)),
        };
        let found = self.columns.iter().position(|known| {
            known.name.eq_ignore_ascii_case(column)
                && table.is_none_or(|table| known.table.eq_ignore_ascii_case(table))
        });
        let found = found.map(Name::Column);
        found.ok_or_else(|| SqlError::unknown_column(&parts.join("."), self.place))
    }

    fn unary(&self, op: UnaryOperator, value: &Value) -> Result<Value, SqlError> {
        match op {
            UnaryOperator::Plus => Ok(value.clone()),
            UnaryOperator::Not => Ok(logical(value.truth().map(|truth| !truth))),
            UnaryOperator::Minus => binary(&Value::Int(0), &BinaryOperator::Minus, value),
            other => Err(SqlError::unsupported(format_args!("the operator {other}"))),
        }
    }

    fn call(&self, function: &ast::Function) -> Result<Value, SqlError> {
        let name = function_name(function)?;
        if is_aggregate(&name) {
            return self.aggregate(&name, function);
        }
        if !matches!(&function.args, FunctionArguments::None)
            && !matches!(&function.args, FunctionArguments::List(list) if list.args.is_empty())
        {
            return Err(SqlError::unsupported(format_args!("the function {function}")));
        }
        match &*name {
            "version" => Ok(Value::from(SERVER_VERSION)),
            "database" | "schema" => {
                Ok(self.settings.database.as_deref().map_or(Value::Null, Value::from))
            }
            "connection_id" => Ok(Value::Int(self.settings.connection_id.into())),
            "last_insert_id" => Ok(Value::Int(self.settings.last_insert_id.cast_signed())),
            "user" | "current_user" | "session_user" | "system_user" => Ok(Value::from("root@%")),
            _ => Err(SqlError::unsupported(format_args!("the function {function}"))),
        }
    }

    fn aggregate(&self, name: &str, function: &ast::Function) -> Result<Value, SqlError> {
        let rows = self.group.ok_or_else(SqlError::misplaced_aggregate)?;
        let argument = argument(function);
        if argument.is_none() && !(name == "count" && counts_rows(function)) {
            return Err(SqlError::unsupported(format_args!("the function {function}")));
        }
        let scope = Self { group: None, ..*self };
        let mut values = Vec::with_capacity(rows.len());
        for row in rows {
            let value = match argument {
                Some(expr) => scope.with_row(row).eval(expr)?,
                None => Value::Int(1),
            };
            if value != Value::Null {
                values.push(value);
            }
        }
        let extreme = |value: Option<Value>| value.unwrap_or(Value::Null);
        match name {
            "count" => Ok(Value::Int(i64::try_from(values.len()).unwrap_or(i64::MAX))),
            "min" => Ok(extreme(values.into_iter().min())),
            "max" => Ok(extreme(values.into_iter().max())),
            _ => sum(&values),
        }
    }
}

enum Name {
    Column(usize),
    Variable(Value),
}

/// True if the expression contains an aggregate.
pub(super) fn has_aggregate(expr: &Expr) -> bool {
    let found = ast::visit_expressions(expr, |inner| match inner {
        Expr::Function(function)
            if function_name(function).is_ok_and(|name| is_aggregate(&name)) =>
        {
            ControlFlow::Break(())
        }
        _ => ControlFlow::Continue(()),
    });
    found.is_break()
}

fn is_aggregate(name: &str) -> bool {
    ["count", "max", "min", "sum"].contains(&name)
}

fn function_name(function: &ast::Function) -> Result<String, SqlError> {
    let plain = function.over.is_none() && function.filter.is_none();
    match &*parse::parts(&function.name)? {
        [name] if plain => Ok(name.clone()),
        _ => Err(SqlError::unsupported(format_args!("the function {function}"))),
    }
}

/// The only argument, if there is exactly one and it is an expression.
fn argument(function: &ast::Function) -> Option<&Expr> {
    let FunctionArguments::List(list) = &function.args else { return None };
    match &*list.args {
        [ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(expr))]
            if list.duplicate_treatment.is_none() && list.clauses.is_empty() =>
        {
            Some(expr)
        }
        _ => None,
    }
}

/// `COUNT(*)`.
fn counts_rows(function: &ast::Function) -> bool {
    let FunctionArguments::List(list) = &function.args else { return false };
    matches!(&*list.args, [ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Wildcard)])
}

fn sum(values: &[Value]) -> Result<Value, SqlError> {
    if values.is_empty() {
        return Ok(Value::Null);
    }
    let numbers: Result<Vec<i64>, _> = values.iter().map(integer).collect();
    let sum: i128 = numbers?.into_iter().map(i128::from).sum();
    i64::try_from(sum).map(Value::Int).map_err(|_| SqlError::overflow())
}

fn integer(value: &Value) -> Result<i64, SqlError> {
    match value {
        Value::Int(number) => Ok(*number),
        Value::Text(text) => text.parse().map_err(|_| {
            SqlError::unsupported(format_args!("arithmetic on '{text}' (only integers)"))
        }),
        Value::Null => Ok(0),
    }
}

fn binary(left: &Value, op: &BinaryOperator, right: &Value) -> Result<Value, SqlError> {
    let compared = |test: fn(Ordering) -> bool| Ok(logical(left.compare(right).map(test)));
    match op {
        BinaryOperator::And => Ok(logical(and(left.truth(), right.truth()))),
        BinaryOperator::Or => Ok(logical(or(left.truth(), right.truth()))),
        BinaryOperator::Eq => compared(Ordering::is_eq),
        BinaryOperator::NotEq => compared(Ordering::is_ne),
        BinaryOperator::Lt => compared(Ordering::is_lt),
        BinaryOperator::LtEq => compared(Ordering::is_le),
        BinaryOperator::Gt => compared(Ordering::is_gt),
        BinaryOperator::GtEq => compared(Ordering::is_ge),
        BinaryOperator::Plus | BinaryOperator::Minus | BinaryOperator::Multiply => {
            if *left == Value::Null || *right == Value::Null {
                return Ok(Value::Null);
            }
            let (left, right) = (integer(left)?, integer(right)?);
            let result = match op {
                BinaryOperator::Plus => left.checked_add(right),
                BinaryOperator::Minus => left.checked_sub(right),
                _ => left.checked_mul(right),
            };
            result.map(Value::Int).ok_or_else(SqlError::overflow)
        }
        other => Err(SqlError::unsupported(format_args!("the operator {other}"))),
    }
}

/// SQL's AND over true, false and NULL.
fn and(left: Option<bool>, right: Option<bool>) -> Option<bool> {
    match (left, right) {
        (Some(false), _) | (_, Some(false)) => Some(false),
        (Some(true), Some(true)) => Some(true),
        _ => None,
    }
}

/// SQL's OR over true, false and NULL.
fn or(left: Option<bool>, right: Option<bool>) -> Option<bool> {
    and(left.map(|truth| !truth), right.map(|truth| !truth)).map(|truth| !truth)
}

fn logical(truth: Option<bool>) -> Value {
    truth.map_or(Value::Null, Value::from)
}

/// LIKE with `%`, `_` and the backslash; letters of any case are equal, as in the names of
/// variables that it is mostly used for.
pub(super) fn like(text: &str, pattern: &str) -> bool {
    let text: Vec<char> = text.to_lowercase().chars().collect();
    let pattern: Vec<char> = pattern.to_lowercase().chars().collect();
    // reachable[i]: the pattern so far can match the first i characters.
    let mut reachable = vec![false; text.len() + 1];
    reachable[0] = true;
    let mut at = 0;
    while at < pattern.len() {
        let mut next = vec![false; text.len() + 1];
        if pattern[at] == '%' {
            let first = reachable.iter().position(|&here| here).unwrap_or(text.len() + 1);
            next[first.min(text.len() + 1)..].fill(true);
        } else {
            let literal = pattern[at] == '\\' && at + 1 < pattern.len();
            at += usize::from(literal);
            for index in 0..text.len() {
                let same = text[index] == pattern[at] || pattern[at] == '_' && !literal;
                next[index + 1] = reachable[index] && same;
            }
        }
        reachable = next;
        at += 1;
    }
    reachable[text.len()]
}
