//! The errors that the engine raises, with the codes, SQLSTATEs and texts of TiDB and MySQL.
//! Nothing outside this file writes an error code.

use std::fmt;

use sqlparser::parser::ParserError;

/// An error as it goes to a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlError {
    /// MySQL's or TiDB's error number.
    pub code: u16,
    /// The five characters of the SQLSTATE.
    pub sqlstate: &'static str,
    /// The text.
    pub message: String,
}

impl fmt::Display for SqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.code, self.sqlstate, self.message)
    }
}

impl std::error::Error for SqlError {}

impl From<ParserError> for SqlError {
    fn from(error: ParserError) -> Self {
        Self::new(1064, "42000", format!("embedded backend: this does not parse: {error}"))
    }
}

impl SqlError {
    pub(super) fn new(code: u16, sqlstate: &'static str, message: impl Into<String>) -> Self {
        Self { code, sqlstate, message: message.into() }
    }

    /// What lies outside the small grammar. It says so instead of doing something similar.
    pub(in crate::embedded) fn unsupported(what: impl fmt::Display) -> Self {
        let text = format!("embedded backend: {what} is not supported; it is for demos and tests");
        Self::new(1235, "42000", text)
    }

    pub(super) fn several_statements() -> Self {
        let text = "client has multi-statement capability disabled. Run SET GLOBAL \
                    tidb_multi_statement_mode='ON' after you understand the security risk";
        Self::new(8130, "HY000", text)
    }

    pub(super) fn write_conflict(start_ts: u64, by: (u64, u64), key: &KeyName) -> Self {
        let KeyName { shown, hex } = key;
        let (other_start, other_commit) = by;
        let text = format!(
            "Write conflict, txnStartTS={start_ts}, conflictStartTS={other_start}, \
             conflictCommitTS={other_commit}, key={shown}, originalKey={hex}, primary={shown}, \
             originalPrimaryKey={hex}, reason=Optimistic [try again later]"
        );
        Self::new(9007, "HY000", text)
    }

    pub(super) fn schema_changed() -> Self {
        let text = "Information schema is changed during the execution of the statement(for \
                    example, table definition may be updated by other DDL ran in parallel). If you \
                    see this error often, try increasing `tidb_max_delta_schema_count`. [try again \
                    later]";
        Self::new(8028, "HY000", text)
    }

    pub(super) fn snapshot_pruned(start_ts: u64, safe_point: u64) -> Self {
        let text = format!(
            "GC life time is shorter than transaction duration, transaction starts at {start_ts}, \
             GC safe point is {safe_point}"
        );
        Self::new(9006, "HY000", text)
    }

    pub(super) fn duplicate(entry: &str, table: &str) -> Self {
        let text = format!("Duplicate entry '{entry}' for key '{table}.PRIMARY'");
        Self::new(1062, "23000", text)
    }

    pub(super) fn no_database() -> Self {
        Self::new(1046, "3D000", "No database selected")
    }

    pub(super) fn unknown_database(name: &str) -> Self {
        Self::new(1049, "42000", format!("Unknown database '{name}'"))
    }

    pub(super) fn database_exists(name: &str) -> Self {
        Self::new(1007, "HY000", format!("Can't create database '{name}'; database exists"))
    }

    pub(super) fn unknown_database_to_drop(name: &str) -> Self {
        Self::new(1008, "HY000", format!("Can't drop database '{name}'; database doesn't exist"))
    }

    pub(super) fn unknown_table(database: &str, name: &str) -> Self {
        Self::new(1146, "42S02", format!("Table '{database}.{name}' doesn't exist"))
    }

    pub(super) fn unknown_table_to_drop(database: &str, name: &str) -> Self {
        Self::new(1051, "42S02", format!("Unknown table '{database}.{name}'"))
    }

    pub(super) fn table_exists(database: &str, name: &str) -> Self {
        Self::new(1050, "42S01", format!("Table '{database}.{name}' already exists"))
    }

    pub(super) fn unknown_column(name: &str, place: &str) -> Self {
        Self::new(1054, "42S22", format!("Unknown column '{name}' in '{place}'"))
    }

    pub(super) fn duplicate_column(name: &str) -> Self {
        Self::new(1060, "42S21", format!("Duplicate column name '{name}'"))
    }

    pub(super) fn unknown_key_column(name: &str) -> Self {
        Self::new(1072, "42000", format!("Key column '{name}' doesn't exist in table"))
    }

    pub(super) fn several_primary_keys() -> Self {
        Self::new(1068, "42000", "Multiple primary key defined")
    }

    pub(super) fn bad_auto_increment() -> Self {
        let text = "Incorrect table definition; there can be only one auto column and it must be \
                    defined as a key";
        Self::new(1075, "42000", text)
    }

    pub(super) fn wrong_value_count(row: usize) -> Self {
        let text = format!("Column count doesn't match value count at row {row}");
        Self::new(1136, "21S01", text)
    }

    pub(super) fn null_value(column: &str) -> Self {
        Self::new(1048, "23000", format!("Column '{column}' cannot be null"))
    }

    pub(super) fn no_default(column: &str) -> Self {
        Self::new(1364, "HY000", format!("Field '{column}' doesn't have a default value"))
    }

    pub(super) fn out_of_range(column: &str) -> Self {
        Self::new(1264, "22003", format!("Out of range value for column '{column}' at row 1"))
    }

    pub(super) fn too_long(column: &str) -> Self {
        Self::new(1406, "22001", format!("Data too long for column '{column}' at row 1"))
    }

    pub(super) fn not_an_integer(value: &str, column: &str) -> Self {
        let text = format!("Incorrect int value: '{value}' for column '{column}' at row 1");
        Self::new(1366, "HY000", text)
    }

    pub(super) fn overflow() -> Self {
        Self::new(1690, "22003", "BIGINT value is out of range")
    }

    pub(super) fn column_outside_aggregate(name: &str) -> Self {
        let text = format!(
            "In aggregated query without GROUP BY, expression contains nonaggregated column \
             '{name}'; this is incompatible with sql_mode=only_full_group_by"
        );
        Self::new(8123, "HY000", text)
    }

    pub(super) fn misplaced_aggregate() -> Self {
        Self::new(1111, "HY000", "Invalid use of group function")
    }

    pub(super) fn unknown_variable(name: &str) -> Self {
        Self::new(1193, "HY000", format!("Unknown system variable '{name}'"))
    }

    pub(super) fn read_only_variable(name: &str) -> Self {
        Self::new(1238, "HY000", format!("Variable '{name}' is a read only variable"))
    }

    pub(super) fn wrong_variable_value(name: &str, value: &str) -> Self {
        let text = format!("Variable '{name}' can't be set to the value of '{value}'");
        Self::new(1231, "42000", text)
    }

    pub(super) fn wrong_parameter_count() -> Self {
        Self::new(1210, "HY000", "Incorrect arguments to EXECUTE")
    }

    pub(in crate::embedded) fn unknown_command() -> Self {
        Self::new(1047, "08S01", "embedded backend: unknown or unsupported command")
    }

    pub(in crate::embedded) fn invalid_text() -> Self {
        Self::new(1300, "HY000", "Invalid utf8mb4 character string")
    }

    pub(in crate::embedded) fn unknown_statement(id: u32) -> Self {
        let text = format!("Unknown prepared statement handler ({id}) given to EXECUTE");
        Self::new(1243, "HY000", text)
    }
}

/// A row key as TiDB's conflict text shows it, and its bytes in hexadecimal.
#[derive(Debug)]
pub(super) struct KeyName {
    /// `{tableID=…, tableName=db.t, handle=…}`.
    pub(super) shown: String,
    /// The key's bytes.
    pub(super) hex: String,
}
