//! The schema `txguard` as a whole: its version, how it comes about, and what it must look like.
//!
//! ```text
//! meta      one row: the version that is installed
//! v1, …     one file for each migration; the schema of version n is migrations 1 to n
//! ```
//!
//! DDL is not transactional, so every statement of a migration can be run again (`IF NOT EXISTS`),
//! and the version is written behind it: an installation that was cut off, or two at a time, end
//! like one. A released migration is never changed.

mod v1;

use std::fmt;

use super::service::{ServiceError, Talk};
use super::{idempotency, receipts};

/// One step from a version to the next.
struct Migration {
    /// What it brings, for people.
    adds: &'static str,
    /// Each can be run again.
    statements: &'static [&'static str],
}

/// All steps, from version 0, which is nothing.
const MIGRATIONS: &[Migration] = &[v1::MIGRATION];

/// The version that this program works with.
pub const VERSION: u32 = MIGRATIONS.len() as u32;

/// What is there before the first migration.
const BASE: [&str; 2] = [
    "CREATE DATABASE IF NOT EXISTS txguard DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
    "CREATE TABLE IF NOT EXISTS txguard.meta (
  id TINYINT NOT NULL,
  version INT UNSIGNED NOT NULL,
  PRIMARY KEY (id) /*T![clustered_index] CLUSTERED */
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin",
];

/// The tables with their columns.
const TABLES: &[(&str, &[Column])] = &[
    ("idempotency_keys", idempotency::COLUMNS),
    ("meta", &[Column::key("id", "tinyint"), Column::new("version", "int")]),
    ("receipts", receipts::COLUMNS),
];

/// What a column must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Column {
    name: &'static str,
    kind: &'static str,
    key: bool,
}

impl Column {
    pub(super) const fn new(name: &'static str, kind: &'static str) -> Self {
        Self { name, kind, key: false }
    }

    /// A part of the primary key.
    pub(super) const fn key(name: &'static str, kind: &'static str) -> Self {
        Self { name, kind, key: true }
    }
}

/// What was found in a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Nothing is installed.
    Missing,
    /// Another version than this program's.
    Version(u32),
    /// The version is right, and what it should hold isn't there so.
    Differs(Vec<String>),
    /// It is as it must be.
    Right,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("the schema txguard is not installed"),
            Self::Version(found) => {
                write!(
                    f,
                    "the schema txguard has version {found}, and this txguard needs {VERSION}"
                )
            }
            Self::Differs(how) => {
                write!(f, "the schema txguard is not as version {VERSION} is: {}", how.join(", "))
            }
            Self::Right => write!(f, "the schema txguard has version {VERSION}"),
        }
    }
}

/// Why nothing was installed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// A newer txguard has been here; it would not understand less.
    #[error("version {0} is installed, which is newer than this txguard's {VERSION}")]
    Newer(u32),
    /// A statement failed; those before it stay.
    #[error(transparent)]
    Service(#[from] ServiceError),
}

/// Looks what is there.
///
/// Cancel safe: nothing is changed.
pub async fn inspect(talk: &mut Talk) -> Result<State, ServiceError> {
    match version(talk).await? {
        None => Ok(State::Missing),
        Some(VERSION) => {
            let how = differences(talk).await?;
            Ok(if how.is_empty() { State::Right } else { State::Differs(how) })
        }
        Some(other) => Ok(State::Version(other)),
    }
}

/// Installs what is missing, and says what it did; nothing, if all was there.
///
/// Cancel safe: what is cut off goes on the next time.
pub async fn install(talk: &mut Talk) -> Result<Vec<String>, InstallError> {
    let found = version(talk).await?;
    if let Some(newer) = found.filter(|found| *found > VERSION) {
        return Err(InstallError::Newer(newer));
    }
    let mut done = Vec::new();
    if found.is_none() {
        for statement in BASE {
            talk.run(statement).await?;
        }
        done.push("schema txguard".to_owned());
    }
    for (version, migration) in (1..).zip(MIGRATIONS).skip(found.unwrap_or_default() as usize) {
        for statement in migration.statements {
            talk.run(statement).await?;
        }
        talk.run(&now_at(version)).await?;
        done.push(format!("version {version}: {}", migration.adds));
    }
    Ok(done)
}

/// Everything that an installation runs, from nothing.
pub fn statements() -> impl Iterator<Item = String> {
    let steps = (1..).zip(MIGRATIONS).flat_map(|(version, migration)| {
        let texts = migration.statements.iter().map(|text| (*text).to_owned());
        texts.chain([now_at(version)])
    });
    BASE.into_iter().map(str::to_owned).chain(steps)
}

/// Two installations at a time must not set it back.
fn now_at(version: u32) -> String {
    format!(
        "INSERT INTO txguard.meta (id, version) VALUES (1, {version}) \
         ON DUPLICATE KEY UPDATE version = GREATEST(version, {version})"
    )
}

/// What an account needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// An application whose transactions get receipts: it may add rows, and read or change none.
    Application,
    /// txguard's own account while it serves.
    Service,
    /// txguard's own account where it installs the schema itself.
    Installer,
}

/// The GRANTs for an account, ready to run.
#[must_use]
pub fn grants(role: Role, user: &str, host: &str) -> Vec<String> {
    // In backquotes no sql_mode makes a difference.
    let quoted = |name: &str| format!("`{}`", name.replace('`', "``"));
    let account = format!("{}@{}", quoted(user), quoted(host));
    let rights: &[(&str, &str)] = match role {
        Role::Application => &[("INSERT", "receipts"), ("INSERT", "idempotency_keys")],
        Role::Service => &[("SELECT, INSERT, UPDATE, DELETE", "*")],
        Role::Installer => &[("CREATE, ALTER, INDEX", "*")],
    };
    rights
        .iter()
        .map(|(rights, table)| format!("GRANT {rights} ON txguard.{table} TO {account}"))
        .collect()
}

/// `ER_BAD_DB_ERROR`, `ER_NO_SUCH_TABLE`.
const ABSENT: [u16; 2] = [1049, 1146];

async fn version(talk: &mut Talk) -> Result<Option<u32>, ServiceError> {
    match talk.row::<(u32,)>("SELECT version FROM txguard.meta WHERE id = 1").await {
        Ok(row) => Ok(row.map(|(version,)| version)),
        Err(error) if error.code().is_some_and(|code| ABSENT.contains(&code)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What isn't as it must be. Further columns and indexes are the owner's business.
async fn differences(talk: &mut Talk) -> Result<Vec<String>, ServiceError> {
    let found: Vec<(String, String, String, String)> = talk
        .rows(
            "SELECT LOWER(table_name), LOWER(column_name), LOWER(data_type), column_key \
             FROM information_schema.columns WHERE table_schema = 'txguard'",
        )
        .await?;
    let engines: Vec<(String, Option<String>)> = talk
        .rows(
            "SELECT LOWER(table_name), engine FROM information_schema.tables \
             WHERE table_schema = 'txguard'",
        )
        .await?;
    let mut how = Vec::new();
    for (table, columns) in TABLES {
        let Some((_, engine)) = engines.iter().find(|(name, _)| name == table) else {
            how.push(format!("no table {table}"));
            continue;
        };
        if !engine.as_deref().is_some_and(|engine| engine.eq_ignore_ascii_case("InnoDB")) {
            how.push(format!("{table} has another engine than InnoDB"));
        }
        for column in *columns {
            let is = found.iter().find(|(of, name, ..)| of == table && name == column.name);
            match is {
                None => how.push(format!("no column {table}.{}", column.name)),
                Some((_, _, kind, key)) if kind != column.kind || (key == "PRI") != column.key => {
                    how.push(format!("column {table}.{} is another", column.name));
                }
                Some(_) => {}
            }
        }
    }
    Ok(how)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_application_may_only_add_rows() {
        assert_eq!(
            grants(Role::Application, "o`b'x\\", "10.%"),
            [
                "GRANT INSERT ON txguard.receipts TO `o``b'x\\`@`10.%`",
                "GRANT INSERT ON txguard.idempotency_keys TO `o``b'x\\`@`10.%`",
            ]
        );
    }

    #[test]
    fn every_statement_can_be_run_again() {
        for statement in statements() {
            let again = statement.contains("IF NOT EXISTS") || statement.contains("ON DUPLICATE");
            assert!(again && statement.is_ascii() && !statement.contains(';'), "{statement}");
        }
    }
}
