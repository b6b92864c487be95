//! Databases and tables by name. DDL takes effect at once and belongs to no transaction.

use std::sync::Arc;

use sqlparser::ast::{self, ColumnOption, DataType, Expr, ObjectType, TableConstraint};

use super::error::SqlError;
use super::eval::Scope;
use super::execute;
use super::parse;
use super::settings::Settings;
use super::store::{ColumnDef, Schema, Store};
use super::value::Kind;

/// Characters of a TEXT column.
const TEXT_MAX: usize = 65_535;

/// The table that a name means to this session.
pub(super) fn table(
    store: &Store,
    settings: &Settings,
    name: &ast::ObjectName,
) -> Result<Arc<Schema>, SqlError> {
    let (database, table) = qualified(settings, name)?;
    let found = store.schema(&database, &table);
    found.ok_or_else(|| SqlError::unknown_table(&database, &table))
}

/// Runs CREATE TABLE, CREATE DATABASE and DROP.
pub(super) fn run(
    store: &mut Store,
    settings: &mut Settings,
    statement: &ast::Statement,
) -> Result<(), SqlError> {
    match statement {
        ast::Statement::CreateTable(create) => create_table(store, settings, create),
        ast::Statement::CreateDatabase { db_name, if_not_exists, .. } => {
            let name = parse::last_part(db_name)?;
            if store.has_database(&name) && !if_not_exists {
                return Err(SqlError::database_exists(&name));
            }
            store.create_database(&name);
            Ok(())
        }
        ast::Statement::Drop { object_type, if_exists, names, table: None, .. } => {
            for name in names {
                match object_type {
                    ObjectType::Table => drop_table(store, settings, name, *if_exists)?,
                    ObjectType::Database | ObjectType::Schema => {
                        drop_database(store, settings, name, *if_exists)?;
                    }
                    other => return Err(SqlError::unsupported(format_args!("DROP {other}"))),
                }
            }
            Ok(())
        }
        other => Err(SqlError::unsupported(other)),
    }
}

fn qualified(settings: &Settings, name: &ast::ObjectName) -> Result<(String, String), SqlError> {
    match &mut *parse::parts(name)? {
        [table] => {
            let database = settings.database.clone().ok_or_else(SqlError::no_database)?;
            Ok((database, std::mem::take(table)))
        }
        [database, _]
            if ["information_schema", "mysql", "performance_schema"].contains(&&**database) =>
        {
            Err(SqlError::unsupported(format_args!("the schema {database}")))
        }
        [database, table] => Ok((std::mem::take(database), std::mem::take(table))),
        _ => Err(SqlError::unsupported(name)),
    }
}

fn drop_table(
    store: &mut Store,
    settings: &Settings,
    name: &ast::ObjectName,
    if_exists: bool,
) -> Result<(), SqlError> {
    let (database, name) = qualified(settings, name)?;
    if store.schema(&database, &name).is_none() && !if_exists {
        return Err(SqlError::unknown_table_to_drop(&database, &name));
    }
    store.drop_table(&database, &name);
    Ok(())
}

fn drop_database(
    store: &mut Store,
    settings: &mut Settings,
    name: &ast::ObjectName,
    if_exists: bool,
) -> Result<(), SqlError> {
    let name = parse::last_part(name)?;
    if !store.has_database(&name) && !if_exists {
        return Err(SqlError::unknown_database_to_drop(&name));
    }
    store.drop_database(&name);
    settings.database.take_if(|current| *current == name);
    Ok(())
}

fn create_table(
    store: &mut Store,
    settings: &Settings,
    create: &ast::CreateTable,
) -> Result<(), SqlError> {
    if create.temporary || create.query.is_some() || create.like.is_some() {
        return Err(SqlError::unsupported("CREATE TEMPORARY TABLE, … AS SELECT and … LIKE"));
    }
    let (database, name) = qualified(settings, &create.name)?;
    if !store.has_database(&database) {
        return Err(SqlError::unknown_database(&database));
    }
    if store.schema(&database, &name).is_some() {
        return if create.if_not_exists {
            Ok(())
        } else {
            Err(SqlError::table_exists(&database, &name))
        };
    }
    // The store gives the id.
    let mut schema =
        Schema { id: 0, database, name, columns: Vec::new(), primary: Vec::new(), auto: None };
    for definition in &create.columns {
        if schema.column(&definition.name.value).is_some() {
            return Err(SqlError::duplicate_column(&definition.name.value));
        }
        add_column(&mut schema, settings, definition)?;
    }
    for constraint in &create.constraints {
        match constraint {
            // A plain index changes no answer.
            TableConstraint::Index(_) => {}
            TableConstraint::PrimaryKey(key) => {
                let mut columns = Vec::new();
                for column in &key.columns {
                    let Expr::Identifier(name) = &column.column.expr else {
                        return Err(SqlError::unsupported("a key over an expression"));
                    };
                    let index = schema.column(&name.value);
                    columns.push(index.ok_or_else(|| SqlError::unknown_key_column(&name.value))?);
                }
                set_primary_key(&mut schema, columns)?;
            }
            other => return Err(SqlError::unsupported(other)),
        }
    }
    if schema.auto.is_some_and(|auto| !schema.primary.contains(&auto)) {
        return Err(SqlError::bad_auto_increment());
    }
    store.create_table(schema);
    Ok(())
}

fn set_primary_key(schema: &mut Schema, columns: Vec<usize>) -> Result<(), SqlError> {
    if !schema.primary.is_empty() {
        return Err(SqlError::several_primary_keys());
    }
    for &index in &columns {
        schema.columns[index].nullable = false;
    }
    schema.primary = columns;
    Ok(())
}

fn add_column(
    schema: &mut Schema,
    settings: &Settings,
    definition: &ast::ColumnDef,
) -> Result<(), SqlError> {
    let (kind, bits, length_max) = match &definition.data_type {
        DataType::TinyInt(_) | DataType::Bool | DataType::Boolean => (Kind::Int, 8, 0),
        DataType::SmallInt(_) => (Kind::Int, 16, 0),
        DataType::MediumInt(_) => (Kind::Int, 24, 0),
        DataType::Int(_) | DataType::Integer(_) => (Kind::Int, 32, 0),
        DataType::BigInt(_) => (Kind::BigInt, 64, 0),
        DataType::Varchar(Some(ast::CharacterLength::IntegerLength { length, .. }))
        | DataType::Char(Some(ast::CharacterLength::IntegerLength { length, .. })) => {
            (Kind::Text, 0, usize::try_from(*length).unwrap_or(TEXT_MAX))
        }
        DataType::Text => (Kind::Text, 0, TEXT_MAX),
        other => return Err(SqlError::unsupported(format_args!("the type {other}"))),
    };
    let name = definition.name.value.clone();
    let index = schema.columns.len();
    schema.columns.push(ColumnDef { name, kind, bits, length_max, nullable: true, default: None });
    for option in &definition.options {
        let column = &mut schema.columns[index];
        match &option.option {
            ColumnOption::Null
            | ColumnOption::Comment(_)
            | ColumnOption::CharacterSet(_)
            | ColumnOption::Collation(_) => {}
            ColumnOption::NotNull => column.nullable = false,
            ColumnOption::Default(expr) => {
                let value = Scope::constant(settings, &[]).eval(expr)?;
                column.default = Some(execute::stored(column, value)?);
            }
            ColumnOption::PrimaryKey(_) => set_primary_key(schema, vec![index])?,
            ColumnOption::DialectSpecific(tokens)
                if tokens.iter().any(|token| token.to_string() == "AUTO_INCREMENT") =>
            {
                if schema.auto.replace(index).is_some() {
                    return Err(SqlError::bad_auto_increment());
                }
                column.nullable = false;
            }
            other => return Err(SqlError::unsupported(other)),
        }
    }
    Ok(())
}
