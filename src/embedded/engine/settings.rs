//! A session's variables: the few that mean something here, and those that drivers look at when
//! they connect.

use std::collections::BTreeMap;

use sqlparser::ast::{self, Expr};

use super::SERVER_VERSION;
use super::error::SqlError;
use super::eval::Scope;
use super::parse;
use super::value::Value;

/// Variables with TiDB's defaults; setting one changes what is read back and nothing else.
const DEFAULTS: &[(&str, &str)] = &[
    ("auto_increment_increment", "1"),
    ("auto_increment_offset", "1"),
    ("character_set_client", "utf8mb4"),
    ("character_set_connection", "utf8mb4"),
    ("character_set_database", "utf8mb4"),
    ("character_set_results", "utf8mb4"),
    ("character_set_server", "utf8mb4"),
    ("collation_connection", "utf8mb4_bin"),
    ("collation_database", "utf8mb4_bin"),
    ("collation_server", "utf8mb4_bin"),
    ("foreign_key_checks", "1"),
    ("init_connect", ""),
    ("innodb_lock_wait_timeout", "50"),
    ("interactive_timeout", "28800"),
    ("license", "Apache License 2.0"),
    ("lower_case_table_names", "2"),
    ("max_allowed_packet", "67108864"),
    ("net_buffer_length", "16384"),
    ("net_read_timeout", "30"),
    ("net_write_timeout", "60"),
    ("performance_schema", "0"),
    ("query_cache_size", "0"),
    ("query_cache_type", "OFF"),
    ("socket", ""),
    ("sql_auto_is_null", "0"),
    (
        "sql_mode",
        "ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_AUTO_CREATE_USER,NO_ENGINE_SUBSTITUTION",
    ),
    ("sql_safe_updates", "0"),
    ("sql_select_limit", "18446744073709551615"),
    ("system_time_zone", "UTC"),
    ("tidb_constraint_check_in_place", "0"),
    ("tidb_retry_limit", "10"),
    ("tidb_session_alias", ""),
    ("time_zone", "SYSTEM"),
    ("tx_isolation", "REPEATABLE-READ"),
    ("transaction_isolation", "REPEATABLE-READ"),
    ("unique_checks", "1"),
    ("wait_timeout", "28800"),
];

/// Variables of this session.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) connection_id: u32,
    pub(super) database: Option<String>,
    pub(super) autocommit: bool,
    pub(super) last_insert_id: u64,
    /// `start_ts` of the open transaction, or 0.
    pub(super) current_ts: u64,
    /// The JSON of `@@tidb_last_txn_info`; empty before the first transaction.
    pub(super) last_txn_info: String,
    set: BTreeMap<String, Value>,
}

impl Settings {
    pub(super) fn new(connection_id: u32) -> Self {
        Self {
            connection_id,
            database: None,
            autocommit: true,
            last_insert_id: 0,
            current_ts: 0,
            last_txn_info: String::new(),
            set: BTreeMap::new(),
        }
    }

    /// The value of a system variable; `name` in lower case.
    pub(super) fn read(&self, name: &str) -> Option<Value> {
        let computed = match name {
            "autocommit" => Value::from(self.autocommit),
            "identity" | "last_insert_id" => Value::Int(self.last_insert_id.cast_signed()),
            "tidb_current_ts" => Value::Text(self.current_ts.to_string()),
            "tidb_last_txn_info" => Value::from(self.last_txn_info.as_str()),
            "tidb_txn_mode" => Value::from("optimistic"),
            "version" => Value::from(SERVER_VERSION),
            "version_comment" => Value::from("txguard embedded backend, for demos and tests"),
            "warning_count" | "error_count" => Value::Int(0),
            _ => return self.set.get(name).cloned().or_else(|| default(name)),
        };
        Some(computed)
    }

    /// All variables and their values, as SHOW VARIABLES lists them.
    pub(super) fn all(&self) -> Vec<(&'static str, Value)> {
        let computed =
            ["autocommit", "tidb_current_ts", "tidb_txn_mode", "version", "version_comment"];
        let mut all: Vec<_> = DEFAULTS
            .iter()
            .map(|(name, _)| *name)
            .chain(computed)
            .filter_map(|name| Some((name, self.read(name)?)))
            .collect();
        all.sort();
        all
    }

    /// Sets a variable other than `autocommit`, which is the session's business.
    fn write(&mut self, name: &str, value: Value) -> Result<(), SqlError> {
        match name {
            "tidb_txn_mode" => match value.to_string().to_lowercase().as_str() {
                "optimistic" | "" => Ok(()),
                "pessimistic" => Err(SqlError::unsupported("tidb_txn_mode = pessimistic")),
                other => Err(SqlError::wrong_variable_value(name, other)),
            },
            "tx_isolation" | "transaction_isolation" => {
                if !value.to_string().eq_ignore_ascii_case("REPEATABLE-READ") {
                    return Err(SqlError::unsupported(format_args!("isolation level {value}")));
                }
                Ok(())
            }
            // Values that only change what is checked or shown elsewhere; honest as they stand.
            "tidb_disable_txn_auto_retry" => Ok(()),
            _ if default(name).is_some() => {
                self.set.insert(name.to_owned(), value);
                Ok(())
            }
            _ if self.read(name).is_some() => Err(SqlError::read_only_variable(name)),
            _ => Err(SqlError::unknown_variable(name)),
        }
    }
}

fn default(name: &str) -> Option<Value> {
    let (_, text) = DEFAULTS.iter().find(|(known, _)| *known == name)?;
    Some(text.parse().map_or_else(|_| Value::from(*text), Value::Int))
}

/// Runs SET. The new value of `autocommit`, if it is among the assignments.
pub(super) fn set(settings: &mut Settings, set: &ast::Set) -> Result<Option<bool>, SqlError> {
    let assignments: Vec<(Option<ast::ContextModifier>, String, Value)> = match set {
        ast::Set::SingleAssignment { scope, variable, values, .. } if values.len() == 1 => {
            vec![assignment(settings, *scope, variable, &values[0])?]
        }
        ast::Set::MultipleAssignments { assignments } => assignments
            .iter()
            .map(|one| assignment(settings, one.scope, &one.name, &one.value))
            .collect::<Result<_, _>>()?,
        ast::Set::SetNames { charset_name, collation_name } => {
            let charset = Value::Text(charset_name.value.clone());
            let mut names = vec![
                (None, "character_set_client".to_owned(), charset.clone()),
                (None, "character_set_connection".to_owned(), charset.clone()),
                (None, "character_set_results".to_owned(), charset),
            ];
            if let Some(collation) = collation_name {
                names.push((None, "collation_connection".to_owned(), Value::from(&**collation)));
            }
            names
        }
        ast::Set::SetNamesDefault {} => Vec::new(),
        ast::Set::SetTimeZone { value, .. } => {
            vec![(None, "time_zone".to_owned(), setting(settings, value)?)]
        }
        ast::Set::SetTransaction { modes, snapshot: None, .. }
            if modes.iter().all(is_repeatable_read) =>
        {
            Vec::new()
        }
        other => return Err(SqlError::unsupported(other)),
    };
    let mut autocommit = None;
    for (scope, name, value) in assignments {
        if scope == Some(ast::ContextModifier::Global) {
            return Err(SqlError::unsupported("SET GLOBAL"));
        }
        if name == "autocommit" {
            autocommit = Some(switch(&name, &value)?);
        } else {
            settings.write(&name, value)?;
        }
    }
    Ok(autocommit)
}

fn is_repeatable_read(mode: &ast::TransactionMode) -> bool {
    let level = ast::TransactionIsolationLevel::RepeatableRead;
    *mode == ast::TransactionMode::IsolationLevel(level)
}

fn assignment(
    settings: &Settings,
    scope: Option<ast::ContextModifier>,
    name: &ast::ObjectName,
    value: &Expr,
) -> Result<(Option<ast::ContextModifier>, String, Value), SqlError> {
    let parts = parse::parts(name)?;
    let name = variable(&parts)?;
    // DEFAULT and ON are identifiers to the parser.
    let value = match value {
        Expr::Identifier(word) if word.value.eq_ignore_ascii_case("default") => {
            default(&name).unwrap_or(Value::Int(1))
        }
        other => setting(settings, other)?,
    };
    Ok((scope, name, value))
}

fn setting(settings: &Settings, value: &Expr) -> Result<Value, SqlError> {
    match value {
        Expr::Identifier(word) if !word.value.starts_with('@') => {
            Ok(Value::Text(word.value.clone()))
        }
        other => Scope::constant(settings, &[]).eval(other),
    }
}

fn switch(name: &str, value: &Value) -> Result<bool, SqlError> {
    match value.to_string().to_lowercase().as_str() {
        "1" | "on" | "true" => Ok(true),
        "0" | "off" | "false" => Ok(false),
        other => Err(SqlError::wrong_variable_value(name, other)),
    }
}

/// The name of the system variable that `@@x`, `@@session.x` or plain `x` means.
pub(super) fn variable(parts: &[String]) -> Result<String, SqlError> {
    match parts {
        [name] if name.starts_with("@@") => Ok(name[2..].to_owned()),
        [name] if !name.starts_with('@') => Ok(name.clone()),
        [scope, name] if ["@@session", "@@local"].contains(&&**scope) => Ok(name.clone()),
        // Nothing global can be changed here, so reading it is honest.
        [scope, name] if scope == "@@global" => Ok(name.clone()),
        _ => Err(SqlError::unsupported(format_args!("the variable {}", parts.join(".")))),
    }
}
