//! SELECT, INSERT, UPDATE and DELETE over one table. A clause that is not understood refuses the
//! statement; none is skipped.

use std::cmp::Reverse;
use std::sync::Arc;

use sqlparser::ast::{self, Expr, SelectItem, SetExpr, TableFactor};

use super::ddl;
use super::error::SqlError;
use super::eval::{self, Scope};
use super::parse;
use super::settings::Settings;
use super::store::{Changes, ColumnDef, Key, Row, Schema, Store, Txn};
use super::value::{Answer, Column, Kind, Value};

/// What a statement works with.
pub(super) struct Work<'a> {
    pub(super) store: &'a mut Store,
    pub(super) settings: &'a Settings,
    pub(super) params: &'a [Value],
}

/// A SELECT taken apart.
pub(super) struct Selection<'a> {
    /// The table and the name it goes by; none for a SELECT without FROM.
    table: Option<(Arc<Schema>, String)>,
    projection: &'a [SelectItem],
    filter: Option<&'a Expr>,
    order: Vec<(&'a Expr, bool)>,
    offset: Option<&'a Expr>,
    limit: Option<&'a Expr>,
    for_update: bool,
}

impl Selection<'_> {
    /// True if it needs a transaction.
    pub(super) fn reads(&self) -> bool {
        self.table.is_some()
    }
}

/// Takes a SELECT apart and refuses what is not supported.
pub(super) fn selection<'a>(
    store: &Store,
    settings: &Settings,
    query: &'a ast::Query,
) -> Result<Selection<'a>, SqlError> {
    let refused = |what: &str| Err(SqlError::unsupported(what));
    let SetExpr::Select(select) = &*query.body else { return refused("UNION or VALUES") };
    if query.with.is_some() {
        return refused("WITH");
    }
    let plain_group = ast::GroupByExpr::Expressions(Vec::new(), Vec::new());
    if select.distinct.is_some() || select.group_by != plain_group || select.having.is_some() {
        return refused("DISTINCT, GROUP BY or HAVING");
    }
    if select.into.is_some() || select.select_modifiers.is_some() {
        return refused("INTO or a SELECT modifier");
    }
    if !select.named_window.is_empty() || select.qualify.is_some() || select.top.is_some() {
        return refused("a window");
    }
    if query.fetch.is_some() || !query.pipe_operators.is_empty() || query.for_clause.is_some() {
        return refused("FETCH or FOR XML");
    }
    let table = match &*select.from {
        [] => None,
        [only] => single_table(store, settings, only)?,
        _ => return refused("a join"),
    };
    let for_update = match &*query.locks {
        [] => false,
        [ast::LockClause { lock_type: ast::LockType::Update, of: None, nonblock: None }] => true,
        _ => return refused("this lock clause"),
    };
    let (limit, offset) = match &query.limit_clause {
        None => (None, None),
        Some(ast::LimitClause::LimitOffset { limit, offset, limit_by }) if limit_by.is_empty() => {
            (limit.as_ref(), offset.as_ref().map(|offset| &offset.value))
        }
        Some(ast::LimitClause::OffsetCommaLimit { offset, limit }) => (Some(limit), Some(offset)),
        Some(_) => return refused("this LIMIT"),
    };
    let order = match &query.order_by {
        None => Vec::new(),
        Some(ast::OrderBy { kind: ast::OrderByKind::Expressions(list), interpolate: None }) => {
            order(list)?
        }
        Some(_) => return refused("this ORDER BY"),
    };
    let filter = select.selection.as_ref();
    let projection = &*select.projection;
    Ok(Selection { table, projection, filter, order, offset, limit, for_update })
}

/// The expressions to sort by, with true for DESC.
fn order(list: &[ast::OrderByExpr]) -> Result<Vec<(&Expr, bool)>, SqlError> {
    list.iter()
        .map(|item| match (&item.options.sort, item.options.nulls_first, &item.with_fill) {
            (None | Some(ast::OrderBySort::Asc), None, None) => Ok((&item.expr, false)),
            (Some(ast::OrderBySort::Desc), None, None) => Ok((&item.expr, true)),
            _ => Err(SqlError::unsupported("this ORDER BY")),
        })
        .collect()
}

/// The columns of a SELECT's result, without running it.
pub(super) fn describe(
    selection: &Selection<'_>,
    settings: &Settings,
) -> Result<Vec<Column>, SqlError> {
    let source = source(selection);
    let scope = Scope::constant(settings, &[]).with_columns(&source, "field list");
    let mut columns = Vec::new();
    for item in selection.projection {
        match item {
            SelectItem::Wildcard(_) if selection.table.is_some() => {
                columns.extend(source.iter().cloned());
            }
            SelectItem::UnnamedExpr(expr) => columns.push(heading(&scope, expr, None)?),
            SelectItem::ExprWithAlias { expr, alias } => {
                columns.push(heading(&scope, expr, Some(&alias.value))?);
            }
            other => return Err(SqlError::unsupported(format_args!("{other} in a SELECT"))),
        }
    }
    Ok(columns)
}

fn heading(scope: &Scope<'_>, expr: &Expr, alias: Option<&str>) -> Result<Column, SqlError> {
    let name = match (alias, expr) {
        (Some(alias), _) => alias.to_owned(),
        (None, Expr::Identifier(ident)) => ident.value.clone(),
        (None, Expr::CompoundIdentifier(parts)) if !parts[0].value.starts_with('@') => {
            parts.last().map(|part| part.value.clone()).unwrap_or_default()
        }
        (None, other) => other.to_string(),
    };
    Ok(Column { table: String::new(), name, kind: scope.kind(expr)? })
}

/// The columns that the expressions of a SELECT can name.
fn source(selection: &Selection<'_>) -> Vec<Column> {
    selection.table.as_ref().map(|(schema, alias)| columns(schema, alias)).unwrap_or_default()
}

fn columns(schema: &Schema, alias: &str) -> Vec<Column> {
    let column = |def: &ColumnDef| Column {
        table: alias.to_owned(),
        name: def.name.clone(),
        kind: def.kind,
    };
    schema.columns.iter().map(column).collect()
}

impl Work<'_> {
    /// A SELECT that names no table.
    pub(super) fn select_constants(&self, selection: &Selection<'_>) -> Result<Answer, SqlError> {
        let columns = describe(selection, self.settings)?;
        let scope = Scope::constant(self.settings, self.params);
        let row = project(selection, &scope.with_row(&[]))?;
        let keep = scope.holds(selection.filter)?;
        let rows = self.limited(selection, if keep { vec![row] } else { Vec::new() })?;
        Ok(Answer::Rows { columns, rows })
    }

    pub(super) fn select(
        &self,
        txn: &mut Txn,
        selection: &Selection<'_>,
    ) -> Result<Answer, SqlError> {
        let Some((schema, alias)) = &selection.table else {
            return self.select_constants(selection);
        };
        let headings = describe(selection, self.settings)?;
        let source = columns(schema, alias);
        let scope = Scope::constant(self.settings, self.params).with_columns(&source, "field list");
        let aggregates = selection.projection.iter().any(|item| match item {
            SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
                eval::has_aggregate(expr)
            }
            _ => false,
        });
        let blank = [blank(schema)];
        project(
            selection,
            &if aggregates { scope.with_group(&blank) } else { scope.with_row(&blank[0]) },
        )?;
        let mut found = self.matching(txn, schema, &source, selection.filter)?;
        self.sort(&mut found, &scope.with_row(&blank[0]), &selection.order)?;
        if selection.for_update {
            for (key, _) in &found {
                txn.lock(schema.id, key.clone());
            }
        }
        let found: Vec<Row> = found.into_iter().map(|(_, row)| row).collect();
        let rows = if aggregates {
            let row = project(selection, &scope.with_group(&found))?;
            self.limited(selection, vec![row])?
        } else {
            let found = self.limited(selection, found)?;
            found
                .iter()
                .map(|row| project(selection, &scope.with_row(row)))
                .collect::<Result<_, _>>()?
        };
        Ok(Answer::Rows { columns: headings, rows })
    }

    /// The rows for which the condition is true, in the order of their keys. A condition that
    /// fixes the whole primary key is one look-up.
    fn matching(
        &self,
        txn: &Txn,
        schema: &Schema,
        source: &[Column],
        filter: Option<&Expr>,
    ) -> Result<Vec<(Key, Row)>, SqlError> {
        let scope =
            Scope::constant(self.settings, self.params).with_columns(source, "where clause");
        scope.with_row(&blank(schema)).holds(filter)?;
        let candidates = match self.point(schema, filter)? {
            Some(key) => {
                let row = self.store.read(txn, schema.id, &key);
                row.map(|row| (key, row)).into_iter().collect()
            }
            None => self.store.scan(txn, schema.id),
        };
        let mut found = Vec::new();
        for (key, row) in candidates {
            if scope.with_row(&row).holds(filter)? {
                found.push((key, row));
            }
        }
        Ok(found)
    }

    /// The only key that can match, if the condition says `=` for every column of it.
    fn point(&self, schema: &Schema, filter: Option<&Expr>) -> Result<Option<Key>, SqlError> {
        let mut equal = Vec::new();
        if let Some(filter) = filter {
            equalities(filter, &mut equal);
        }
        let scope = Scope::constant(self.settings, self.params);
        let mut key = Key::new();
        for &index in &schema.primary {
            let column = &schema.columns[index];
            let side = equal.iter().find(|(name, _)| name.eq_ignore_ascii_case(&column.name));
            let Some((_, expr)) = side else { return Ok(None) };
            match (scope.eval(expr)?, column.kind) {
                (value @ Value::Int(_), Kind::BigInt | Kind::Int)
                | (value @ Value::Text(_), Kind::Text) => key.push(value),
                _ => return Ok(None),
            }
        }
        Ok((!key.is_empty()).then_some(key))
    }

    fn sort(
        &self,
        rows: &mut [(Key, Row)],
        scope: &Scope<'_>,
        order: &[(&Expr, bool)],
    ) -> Result<(), SqlError> {
        let scope = Scope { place: "order clause", ..*scope };
        // A stable sort by the last expression first gives the order by all of them.
        for (expr, descending) in order.iter().rev() {
            scope.eval(expr)?;
            for (_, row) in &*rows {
                scope.with_row(row).eval(expr)?;
            }
            let value = |row: &Row| scope.with_row(row).eval(expr).unwrap_or(Value::Null);
            if *descending {
                rows.sort_by_cached_key(|(_, row)| Reverse(value(row)));
            } else {
                rows.sort_by_cached_key(|(_, row)| value(row));
            }
        }
        Ok(())
    }

    fn limited<T>(&self, selection: &Selection<'_>, rows: Vec<T>) -> Result<Vec<T>, SqlError> {
        let scope = Scope::constant(self.settings, self.params);
        let count = |expr: Option<&Expr>, otherwise: usize| match expr {
            None => Ok(otherwise),
            Some(expr) => match scope.eval(expr)? {
                Value::Int(number) => Ok(usize::try_from(number).unwrap_or(0)),
                other => Err(SqlError::unsupported(format_args!("LIMIT {other}"))),
            },
        };
        let offset = count(selection.offset, 0)?;
        let limit = count(selection.limit, usize::MAX)?;
        Ok(rows.into_iter().skip(offset).take(limit).collect())
    }

    pub(super) fn insert(
        &mut self,
        txn: &mut Txn,
        insert: &ast::Insert,
    ) -> Result<Answer, SqlError> {
        let ast::TableObject::TableName(name) = &insert.table else {
            return Err(SqlError::unsupported("INSERT into this"));
        };
        let plain = insert.on.is_none()
            && !insert.ignore
            && !insert.replace_into
            && insert.assignments.is_empty()
            && insert.partitioned.is_none()
            && insert.insert_alias.is_none()
            && insert.table_alias.is_none()
            && insert.returning.is_none();
        if !plain {
            return Err(SqlError::unsupported(
                "INSERT with IGNORE, SET, ON DUPLICATE KEY or an alias, and REPLACE",
            ));
        }
        let rows = match insert.source.as_deref() {
            Some(ast::Query { body, .. }) => match &**body {
                SetExpr::Values(values) => &values.rows,
                _ => return Err(SqlError::unsupported("INSERT … SELECT")),
            },
            None => return Err(SqlError::unsupported("INSERT without VALUES")),
        };
        let schema = ddl::table(self.store, self.settings, name)?;
        let targets = self.targets(&schema, &insert.columns)?;
        let mut changes = Changes::default();
        let mut first_generated = 0;
        for (number, values) in rows.iter().enumerate() {
            if values.content.len() != targets.len() {
                return Err(SqlError::wrong_value_count(number + 1));
            }
            let (row, generated) = self.new_row(&schema, &targets, &values.content)?;
            if first_generated == 0 {
                first_generated = generated.unwrap_or(0);
            }
            let key = match schema.key_of(&row) {
                Some(key) => key,
                None => vec![Value::Int(self.store.next_id(schema.id))],
            };
            self.store.insert(txn, &schema, &mut changes, key, row.into())?;
        }
        changes.apply(txn, schema.id);
        let last_insert_id = first_generated.cast_unsigned();
        Ok(Answer::Done { affected_rows: rows.len() as u64, last_insert_id })
    }

    /// The columns that an INSERT names, or all.
    fn targets(&self, schema: &Schema, names: &[ast::ObjectName]) -> Result<Vec<usize>, SqlError> {
        if names.is_empty() {
            return Ok((0..schema.columns.len()).collect());
        }
        let index = |name| {
            let name = parse::last_part(name)?;
            schema.column(&name).ok_or_else(|| SqlError::unknown_column(&name, "field list"))
        };
        names.iter().map(index).collect()
    }

    /// A row with its defaults, and the value generated for it.
    fn new_row(
        &mut self,
        schema: &Schema,
        targets: &[usize],
        exprs: &[Expr],
    ) -> Result<(Vec<Value>, Option<i64>), SqlError> {
        let mut given: Vec<Option<Value>> = vec![None; schema.columns.len()];
        for (&index, expr) in targets.iter().zip(exprs) {
            let is_default = matches!(expr, Expr::Identifier(word)
                if word.quote_style.is_none() && word.value.eq_ignore_ascii_case("default"));
            if !is_default {
                let value = Scope::constant(self.settings, self.params).eval(expr)?;
                given[index] = Some(value);
            }
        }
        let mut generated = None;
        let mut row = Vec::with_capacity(given.len());
        for (index, (column, value)) in schema.columns.iter().zip(given).enumerate() {
            let value = match value {
                None | Some(Value::Null | Value::Int(0)) if schema.auto == Some(index) => {
                    let id = self.store.next_id(schema.id);
                    generated = Some(id);
                    Value::Int(id)
                }
                Some(value) => stored(column, value)?,
                None => match &column.default {
                    Some(default) => default.clone(),
                    None if column.nullable => Value::Null,
                    None => return Err(SqlError::no_default(&column.name)),
                },
            };
            if let (Some(auto), Value::Int(used)) = (schema.auto, &value)
                && auto == index
            {
                self.store.skip_id(schema.id, *used);
            }
            row.push(value);
        }
        Ok((row, generated))
    }

    pub(super) fn update(
        &mut self,
        txn: &mut Txn,
        update: &ast::Update,
    ) -> Result<Answer, SqlError> {
        let plain = update.from.is_none()
            && update.returning.is_none()
            && update.or.is_none()
            && update.order_by.is_empty()
            && update.limit.is_none();
        if !plain {
            return Err(SqlError::unsupported("UPDATE with ORDER BY or LIMIT"));
        }
        let (schema, alias) = single_table(self.store, self.settings, &update.table)?
            .ok_or_else(|| SqlError::unsupported("UPDATE of this"))?;
        let source = columns(&schema, &alias);
        let scope = Scope::constant(self.settings, self.params).with_columns(&source, "field list");
        let mut assignments = Vec::new();
        for assignment in &update.assignments {
            let ast::AssignmentTarget::ColumnName(name) = &assignment.target else {
                return Err(SqlError::unsupported("UPDATE of a tuple"));
            };
            let name = parse::last_part(name)?;
            let index = schema.column(&name);
            let index = index.ok_or_else(|| SqlError::unknown_column(&name, "field list"))?;
            scope.with_row(&blank(&schema)).eval(&assignment.value)?;
            assignments.push((index, &assignment.value));
        }
        let mut changes = Changes::default();
        let mut affected_rows = 0;
        for (key, row) in self.matching(txn, &schema, &source, update.selection.as_ref())? {
            let mut changed = row.to_vec();
            for (index, expr) in &assignments {
                // As in MySQL, an assignment sees what those to its left have done.
                let value = scope.with_row(&changed).eval(expr)?;
                changed[*index] = stored(&schema.columns[*index], value)?;
            }
            if changed[..] == row[..] {
                continue;
            }
            affected_rows += 1;
            match schema.key_of(&changed) {
                Some(moved) if moved != key => {
                    changes.write(txn, schema.id, key, None);
                    self.store.insert(txn, &schema, &mut changes, moved, changed.into())?;
                }
                _ => changes.write(txn, schema.id, key, Some(changed.into())),
            }
        }
        changes.apply(txn, schema.id);
        Ok(Answer::Done { affected_rows, last_insert_id: 0 })
    }

    pub(super) fn delete(
        &mut self,
        txn: &mut Txn,
        delete: &ast::Delete,
    ) -> Result<Answer, SqlError> {
        let plain = delete.tables.is_empty()
            && delete.using.is_none()
            && delete.returning.is_none()
            && delete.order_by.is_empty()
            && delete.limit.is_none();
        let ast::FromTable::WithFromKeyword(from) = &delete.from else {
            return Err(SqlError::unsupported("DELETE without FROM"));
        };
        let [table] = &**from else {
            return Err(SqlError::unsupported("DELETE from several tables"));
        };
        if !plain {
            return Err(SqlError::unsupported("DELETE with ORDER BY, LIMIT or several tables"));
        }
        let (schema, alias) = single_table(self.store, self.settings, table)?
            .ok_or_else(|| SqlError::unsupported("DELETE from this"))?;
        let source = columns(&schema, &alias);
        let mut changes = Changes::default();
        let found = self.matching(txn, &schema, &source, delete.selection.as_ref())?;
        let affected_rows = found.len() as u64;
        for (key, _) in found {
            changes.write(txn, schema.id, key, None);
        }
        changes.apply(txn, schema.id);
        Ok(Answer::Done { affected_rows, last_insert_id: 0 })
    }
}

/// A row of NULLs. Every expression is tried on it once, so that an error in an expression does not
/// depend on there being rows.
fn blank(schema: &Schema) -> Row {
    vec![Value::Null; schema.columns.len()].into()
}

/// One row of a result.
fn project(selection: &Selection<'_>, scope: &Scope<'_>) -> Result<Vec<Value>, SqlError> {
    let mut row = Vec::new();
    for item in selection.projection {
        match item {
            SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
                row.push(scope.eval(expr)?);
            }
            _ => row.extend_from_slice(
                scope.row.ok_or_else(|| SqlError::column_outside_aggregate("*"))?,
            ),
        }
    }
    Ok(row)
}

/// Collects `column = something without columns` from a condition's outermost ANDs.
fn equalities<'a>(filter: &'a Expr, found: &mut Vec<(&'a str, &'a Expr)>) {
    match filter {
        Expr::Nested(inner) => equalities(inner, found),
        Expr::BinaryOp { left, op: ast::BinaryOperator::And, right } => {
            equalities(left, found);
            equalities(right, found);
        }
        Expr::BinaryOp { left, op: ast::BinaryOperator::Eq, right } => match (&**left, &**right) {
            (Expr::Identifier(name), value @ Expr::Value(_))
            | (value @ Expr::Value(_), Expr::Identifier(name)) => {
                found.push((&name.value, value));
            }
            _ => {}
        },
        _ => {}
    }
}

/// The table and the name it goes by.
fn single_table(
    store: &Store,
    settings: &Settings,
    from: &ast::TableWithJoins,
) -> Result<Option<(Arc<Schema>, String)>, SqlError> {
    let unsupported = || SqlError::unsupported(format_args!("FROM {from}"));
    let TableFactor::Table { name, alias, args: None, partitions, version: None, .. } =
        &from.relation
    else {
        return Err(unsupported());
    };
    if !from.joins.is_empty() || !partitions.is_empty() {
        return Err(unsupported());
    }
    // FROM DUAL means no table.
    if parse::parts(name)?.join(".") == "dual" {
        return Ok(None);
    }
    let schema = ddl::table(store, settings, name)?;
    let alias =
        alias.as_ref().map_or_else(|| schema.name.clone(), |alias| alias.name.value.clone());
    Ok(Some((schema, alias)))
}

/// A value as its column keeps it, or the error that strict mode gives.
pub(super) fn stored(column: &ColumnDef, value: Value) -> Result<Value, SqlError> {
    match (column.kind, value) {
        (_, Value::Null) if column.nullable => Ok(Value::Null),
        (_, Value::Null) => Err(SqlError::null_value(&column.name)),
        (Kind::Text, value) => {
            let text = value.to_string();
            if text.chars().count() > column.length_max {
                return Err(SqlError::too_long(&column.name));
            }
            Ok(Value::Text(text))
        }
        (Kind::BigInt | Kind::Decimal | Kind::Int, value) => {
            let number = match value {
                Value::Int(number) => number,
                other => {
                    let text = other.to_string();
                    let parsed = text.trim().parse();
                    parsed.map_err(|_| SqlError::not_an_integer(&text, &column.name))?
                }
            };
            let shift = 64 - column.bits;
            if number << shift >> shift != number {
                return Err(SqlError::out_of_range(&column.name));
            }
            Ok(Value::Int(number))
        }
    }
}
