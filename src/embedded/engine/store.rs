//! Tables, versions of rows, and the commit rule. This file knows no SQL.
//!
//! Invariants: versions of a cell ascend by `commit_ts`; a snapshot at or above the safe point can
//! be read as long as its transaction is registered as active.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::sync::Arc;

use super::error::{KeyName, SqlError};
use super::value::{Kind, Value};
use crate::base::types::Tso;

/// The values of a row in the order of the table's columns.
pub(super) type Row = Arc<[Value]>;

/// The primary key's values, or the hidden row number of a table that has no primary key.
pub(super) type Key = Vec<Value>;

/// A key and the id of its table.
pub(super) type RowKey = (u64, Key);

/// A column of a table.
#[derive(Debug)]
pub(super) struct ColumnDef {
    pub(super) name: String,
    pub(super) kind: Kind,
    /// Bits of an integer.
    pub(super) bits: u32,
    /// Characters of a text.
    pub(super) length_max: usize,
    pub(super) nullable: bool,
    pub(super) default: Option<Value>,
}

/// What a table is, apart from its rows. Never changed after CREATE TABLE.
#[derive(Debug)]
pub(super) struct Schema {
    pub(super) id: u64,
    pub(super) database: String,
    pub(super) name: String,
    pub(super) columns: Vec<ColumnDef>,
    /// Indexes of the key columns; empty if there is no primary key.
    pub(super) primary: Vec<usize>,
    /// Index of the AUTO_INCREMENT column.
    pub(super) auto: Option<usize>,
}

impl Schema {
    pub(super) fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name.eq_ignore_ascii_case(name))
    }

    /// The key of a row, if the table has a primary key.
    pub(super) fn key_of(&self, row: &[Value]) -> Option<Key> {
        (!self.primary.is_empty())
            .then(|| self.primary.iter().map(|&index| row[index].clone()).collect())
    }

    fn duplicate(&self, key: &[Value]) -> SqlError {
        let entry: Vec<String> = key.iter().map(Value::to_string).collect();
        SqlError::duplicate(&entry.join("-"), &self.name)
    }

    /// TiDB's key bytes for an integer handle (`t{table}_r{handle}`); other handles by their text.
    fn key_name(&self, key: &[Value]) -> KeyName {
        let handle: Vec<String> = key.iter().map(Value::to_string).collect();
        let handle =
            if key.len() == 1 { handle.join("") } else { format!("{{{}}}", handle.join(", ")) };
        let mut bytes = vec![b't'];
        bytes.extend((self.id | 1 << 63).to_be_bytes());
        bytes.extend(b"_r");
        match key {
            [Value::Int(number)] => bytes.extend((number.cast_unsigned() ^ 1 << 63).to_be_bytes()),
            _ => bytes.extend(handle.bytes()),
        }
        let mut hex = String::with_capacity(bytes.len() * 2);
        for byte in bytes {
            write!(hex, "{byte:02x}").expect("a String takes any text");
        }
        let Self { id, database, name, .. } = self;
        let shown = format!("{{tableID={id}, tableName={database}.{name}, handle={handle}}}");
        KeyName { shown, hex }
    }
}

/// One committed state of a row; no row if it was deleted.
#[derive(Debug)]
struct Version {
    commit_ts: u64,
    row: Option<Row>,
}

/// Everything committed under one key.
#[derive(Debug, Default)]
struct Cell {
    versions: Vec<Version>,
    /// `start_ts` and `commit_ts` of the last transaction that wrote or locked the key.
    last: (u64, u64),
}

impl Cell {
    fn at(&self, ts: u64) -> Option<&Row> {
        let visible = self.versions.iter().rev().find(|version| version.commit_ts <= ts)?;
        visible.row.as_ref()
    }

    /// Drops what no snapshot at or above `horizon` can see; true if nothing is left.
    fn prune(&mut self, horizon: u64) -> bool {
        let newer = self.versions.partition_point(|version| version.commit_ts <= horizon);
        self.versions.drain(..newer.saturating_sub(1));
        matches!(&self.versions[..], [only] if only.row.is_none() && only.commit_ts <= horizon)
    }
}

#[derive(Debug)]
struct Table {
    schema: Arc<Schema>,
    cells: BTreeMap<Key, Cell>,
    /// The next AUTO_INCREMENT value or hidden row number; not taken back by a rollback.
    next_id: i64,
}

/// A buffered write.
#[derive(Debug)]
struct Buffered {
    /// The new row, or none for a deletion.
    row: Option<Row>,
    /// An INSERT put it there without a look at the store: COMMIT has to look.
    presumed_absent: bool,
}

/// An open transaction. It belongs to a session; the store only knows its `start_ts`.
#[derive(Debug)]
pub(super) struct Txn {
    pub(super) start_ts: u64,
    /// Keys are checked for duplicates at once, not at COMMIT: an autocommit statement.
    checks_at_once: bool,
    writes: BTreeMap<RowKey, Buffered>,
    locks: BTreeSet<RowKey>,
}

/// Changes of one statement, applied to the transaction only when the whole statement succeeded.
#[derive(Debug, Default)]
pub(super) struct Changes {
    rows: BTreeMap<Key, Buffered>,
}

/// All databases.
#[derive(Debug)]
pub(super) struct Store {
    /// Table ids by name within databases by name.
    databases: BTreeMap<String, BTreeMap<String, u64>>,
    tables: BTreeMap<u64, Table>,
    wall_ms: u64,
    last_ts: u64,
    last_table: u64,
    last_session: u32,
    /// How many open transactions have each `start_ts`.
    active: BTreeMap<u64, usize>,
    /// Keys whose older versions can go once no snapshot before that commit is open.
    garbage: VecDeque<(u64, RowKey)>,
    garbage_max: usize,
    /// Snapshots before it can't be read any more.
    safe_point: u64,
}

impl Store {
    pub(super) fn new(garbage_max: usize) -> Self {
        Self {
            databases: BTreeMap::from([("test".to_owned(), BTreeMap::new())]),
            tables: BTreeMap::new(),
            wall_ms: 0,
            last_ts: 0,
            // TiDB's user tables begin about here, too.
            last_table: 100,
            last_session: 0,
            active: BTreeMap::new(),
            garbage: VecDeque::new(),
            garbage_max,
            safe_point: 0,
        }
    }

    pub(super) fn advance_to(&mut self, wall_ms: u64) {
        self.wall_ms = self.wall_ms.max(wall_ms);
    }

    pub(super) fn next_session(&mut self) -> u32 {
        self.last_session = self.last_session.wrapping_add(1);
        self.last_session
    }

    fn next_ts(&mut self) -> u64 {
        self.last_ts = Tso::compose(self.wall_ms, 0).0.max(self.last_ts + 1);
        self.last_ts
    }

    // ── Schema ──────────────────────────────────────────────────────────────────────────────

    pub(super) fn databases(&self) -> impl Iterator<Item = &str> {
        self.databases.keys().map(String::as_str)
    }

    pub(super) fn tables(&self, database: &str) -> impl Iterator<Item = &str> {
        self.databases.get(database).into_iter().flat_map(BTreeMap::keys).map(String::as_str)
    }

    pub(super) fn has_database(&self, database: &str) -> bool {
        self.databases.contains_key(database)
    }

    pub(super) fn create_database(&mut self, database: &str) {
        self.databases.entry(database.to_owned()).or_default();
    }

    pub(super) fn drop_database(&mut self, database: &str) {
        for id in self.databases.remove(database).unwrap_or_default().into_values() {
            self.tables.remove(&id);
        }
    }

    pub(super) fn schema(&self, database: &str, name: &str) -> Option<Arc<Schema>> {
        let id = self.databases.get(database)?.get(name)?;
        self.tables.get(id).map(|table| Arc::clone(&table.schema))
    }

    /// Adds a table and gives it an id; its database must be there.
    pub(super) fn create_table(&mut self, mut schema: Schema) {
        self.last_table += 1;
        schema.id = self.last_table;
        if let Some(tables) = self.databases.get_mut(&schema.database) {
            tables.insert(schema.name.clone(), schema.id);
            let table = Table { schema: Arc::new(schema), cells: BTreeMap::new(), next_id: 1 };
            self.tables.insert(self.last_table, table);
        }
    }

    pub(super) fn drop_table(&mut self, database: &str, name: &str) {
        if let Some(id) = self.databases.get_mut(database).and_then(|tables| tables.remove(name)) {
            self.tables.remove(&id);
        }
    }

    /// A fresh AUTO_INCREMENT value or hidden row number.
    pub(super) fn next_id(&mut self, table: u64) -> i64 {
        self.tables.get_mut(&table).map_or(0, |table| {
            table.next_id = table.next_id.saturating_add(1);
            table.next_id - 1
        })
    }

    /// Makes sure that no generated value repeats `used`.
    pub(super) fn skip_id(&mut self, table: u64, used: i64) {
        if let Some(table) = self.tables.get_mut(&table) {
            table.next_id = table.next_id.max(used.saturating_add(1));
        }
    }

    // ── Transactions ────────────────────────────────────────────────────────────────────────

    pub(super) fn begin(&mut self, checks_at_once: bool) -> Txn {
        let start_ts = self.next_ts();
        *self.active.entry(start_ts).or_default() += 1;
        Txn { start_ts, checks_at_once, writes: BTreeMap::new(), locks: BTreeSet::new() }
    }

    pub(super) fn rollback(&mut self, txn: &Txn) {
        if let Some(count) = self.active.get_mut(&txn.start_ts) {
            *count -= 1;
            if *count == 0 {
                self.active.remove(&txn.start_ts);
            }
        }
        self.collect_garbage();
    }

    /// Ends the transaction. Its `commit_ts`, or none if there was nothing to commit.
    pub(super) fn commit(&mut self, txn: Txn) -> Result<Option<u64>, SqlError> {
        let checked = self.check(&txn);
        let commit_ts = checked.map(|()| self.apply(&txn));
        self.rollback(&txn);
        commit_ts
    }

    /// The first committer wins: every written or locked key must be as the snapshot saw it.
    fn check(&self, txn: &Txn) -> Result<(), SqlError> {
        self.check_snapshot(txn)?;
        let written = txn.writes.iter().map(|(key, write)| (key, write.presumed_absent));
        let locked = txn.locks.iter().map(|key| (key, false));
        for ((id, key), presumed_absent) in written.chain(locked) {
            let table = self.tables.get(id).ok_or_else(SqlError::schema_changed)?;
            let Some(cell) = table.cells.get(key) else { continue };
            if cell.last.1 > txn.start_ts {
                let name = table.schema.key_name(key);
                return Err(SqlError::write_conflict(txn.start_ts, cell.last, &name));
            }
            if presumed_absent && cell.at(txn.start_ts).is_some() {
                return Err(table.schema.duplicate(key));
            }
        }
        Ok(())
    }

    fn apply(&mut self, txn: &Txn) -> Option<u64> {
        if txn.writes.is_empty() && txn.locks.is_empty() {
            return None;
        }
        let commit_ts = self.next_ts();
        for (id, key) in &txn.locks {
            if let Some(cell) = self.tables.get_mut(id).and_then(|table| table.cells.get_mut(key)) {
                cell.last = (txn.start_ts, commit_ts);
            }
        }
        for ((id, key), write) in &txn.writes {
            if write.presumed_absent && write.row.is_none() {
                continue; // Inserted and deleted again: the check was all.
            }
            if let Some(table) = self.tables.get_mut(id) {
                let cell = table.cells.entry(key.clone()).or_default();
                cell.versions.push(Version { commit_ts, row: write.row.clone() });
                cell.last = (txn.start_ts, commit_ts);
                self.garbage.push_back((commit_ts, (*id, key.clone())));
            }
        }
        Some(commit_ts)
    }

    /// Refuses a transaction whose snapshot had to be given up.
    pub(super) fn check_snapshot(&self, txn: &Txn) -> Result<(), SqlError> {
        if txn.start_ts < self.safe_point {
            return Err(SqlError::snapshot_pruned(txn.start_ts, self.safe_point));
        }
        Ok(())
    }

    fn collect_garbage(&mut self) {
        let mut horizon = self.active.keys().next().copied().unwrap_or(self.last_ts);
        if self.garbage.len() > self.garbage_max {
            horizon = self.last_ts;
            self.safe_point = horizon;
        }
        while self.garbage.front().is_some_and(|(ts, _)| *ts <= horizon) {
            let Some((_, (id, key))) = self.garbage.pop_front() else { break };
            let Some(table) = self.tables.get_mut(&id) else { continue };
            if table.cells.get_mut(&key).is_some_and(|cell| cell.prune(horizon)) {
                table.cells.remove(&key);
            }
        }
    }

    #[cfg(test)]
    pub(super) fn versions(&self) -> usize {
        let cells = self.tables.values().flat_map(|table| table.cells.values());
        cells.map(|cell| cell.versions.len()).sum::<usize>() + self.garbage.len()
    }

    // ── Reading and writing ─────────────────────────────────────────────────────────────────

    /// The row under a key as the transaction sees it.
    pub(super) fn read(&self, txn: &Txn, table: u64, key: &Key) -> Option<Row> {
        match txn.writes.get(&(table, key.clone())) {
            Some(own) => own.row.clone(),
            None => self.tables.get(&table)?.cells.get(key)?.at(txn.start_ts).cloned(),
        }
    }

    /// All rows of a table as the transaction sees them, in the order of their keys.
    pub(super) fn scan(&self, txn: &Txn, table: u64) -> Vec<(Key, Row)> {
        let cells = self.tables.get(&table).into_iter().flat_map(|table| &table.cells);
        let mut rows: BTreeMap<Key, Row> = cells
            .filter_map(|(key, cell)| Some((key.clone(), Arc::clone(cell.at(txn.start_ts)?))))
            .collect();
        for ((_, key), own) in txn.writes.range((table, Key::new())..(table + 1, Key::new())) {
            match &own.row {
                Some(row) => rows.insert(key.clone(), Arc::clone(row)),
                None => rows.remove(key),
            };
        }
        rows.into_iter().collect()
    }

    /// Adds an INSERT to the statement's changes.
    pub(super) fn insert(
        &self,
        txn: &Txn,
        schema: &Schema,
        changes: &mut Changes,
        key: Key,
        row: Row,
    ) -> Result<(), SqlError> {
        let own = changes.rows.get(&key);
        let own = own.or_else(|| txn.writes.get(&(schema.id, key.clone())));
        let (exists, presumed_absent) = match own {
            Some(own) => (own.row.is_some(), own.presumed_absent),
            None if txn.checks_at_once => (self.read(txn, schema.id, &key).is_some(), false),
            None => (false, true),
        };
        if exists {
            return Err(schema.duplicate(&key));
        }
        changes.rows.insert(key, Buffered { row: Some(row), presumed_absent });
        Ok(())
    }
}

impl Changes {
    /// Adds a new state of a row that exists; none deletes it.
    pub(super) fn write(&mut self, txn: &Txn, table: u64, key: Key, row: Option<Row>) {
        let own = txn.writes.get(&(table, key.clone()));
        let presumed_absent = own.is_some_and(|own| own.presumed_absent);
        self.rows.insert(key, Buffered { row, presumed_absent });
    }

    /// The statement has succeeded.
    pub(super) fn apply(self, txn: &mut Txn, table: u64) {
        txn.writes.extend(self.rows.into_iter().map(|(key, write)| ((table, key), write)));
    }
}

impl Txn {
    /// Takes note of a key read by FOR UPDATE: COMMIT checks it as if it had been written.
    pub(super) fn lock(&mut self, table: u64, key: Key) {
        self.locks.insert((table, key));
    }
}
