//! One session: its transaction, and which statement goes where.
//!
//! ```text
//!            BEGIN, or data with autocommit=0
//!   idle ─────────────────────────────────────▶ open ──┐ statement errors stay here
//!    ▲                                           │  ◀──┘
//!    └── COMMIT, ROLLBACK, implicit commit, ─────┘
//!        also when the commit fails
//! ```

use std::sync::Arc;

use sqlparser::ast::{self, ShowStatementFilter};

use super::Shared;
use super::ddl;
use super::error::SqlError;
use super::eval::{self, Scope};
use super::execute::{self, Work};
use super::parse::{self, Statement};
use super::settings::{self, Settings};
use super::store::{Store, Txn};
use super::value::{Answer, Column, Value};

/// A prepared statement. It belongs to no session and can be executed any number of times.
#[derive(Debug, Clone)]
pub struct Prepared {
    statement: Arc<Statement>,
    /// How many `?` it has.
    pub params: usize,
    /// The columns of its result; none if it returns no rows.
    pub columns: Vec<Column>,
}

/// A client's session. Dropping it rolls its transaction back.
#[derive(Debug)]
pub struct Session {
    shared: Shared,
    settings: Settings,
    txn: Option<Txn>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.rollback();
    }
}

impl Session {
    pub(super) fn new(shared: Shared) -> Self {
        let id = shared.lock().next_session();
        Self { shared, settings: Settings::new(id), txn: None }
    }

    /// What `CONNECTION_ID()` returns; unique within the engine.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.settings.connection_id
    }

    /// True while a transaction is open.
    #[must_use]
    pub fn in_transaction(&self) -> bool {
        self.txn.is_some()
    }

    /// The value of `@@autocommit`.
    #[must_use]
    pub fn autocommit(&self) -> bool {
        self.settings.autocommit
    }

    /// Runs one statement.
    ///
    /// # Errors
    /// What TiDB would answer, or 1235 for what this engine doesn't do.
    pub fn execute(&mut self, sql: &str) -> Result<Answer, SqlError> {
        let (statement, _) = parse::parse(sql)?;
        self.run(&statement, &[])
    }

    /// Parses a statement for [`Session::execute_prepared`]. Nothing is run.
    ///
    /// # Errors
    /// As [`Session::execute`], as far as it can be known before the statement runs.
    pub fn prepare(&self, sql: &str) -> Result<Prepared, SqlError> {
        let (statement, params) = parse::parse(sql)?;
        let columns = self.describe(&statement)?;
        Ok(Prepared { statement: Arc::new(statement), params, columns })
    }

    /// Runs a prepared statement with one value for each `?`.
    ///
    /// # Errors
    /// As [`Session::execute`].
    pub fn execute_prepared(
        &mut self,
        prepared: &Prepared,
        params: &[Value],
    ) -> Result<Answer, SqlError> {
        if params.len() != prepared.params {
            return Err(SqlError::wrong_parameter_count());
        }
        self.run(&prepared.statement, params)
    }

    /// What USE and `COM_INIT_DB` do.
    ///
    /// # Errors
    /// 1049 if there is no such database.
    pub fn use_database(&mut self, name: &str) -> Result<(), SqlError> {
        let name = name.to_lowercase();
        if !self.shared.lock().has_database(&name) {
            return Err(SqlError::unknown_database(&name));
        }
        self.settings.database = Some(name);
        Ok(())
    }

    /// What `COM_RESET_CONNECTION` does: rolls back and forgets all variables; the database stays.
    pub fn reset(&mut self) {
        self.rollback();
        let mut fresh = Settings::new(self.settings.connection_id);
        fresh.database = self.settings.database.take();
        self.settings = fresh;
    }

    fn run(&mut self, statement: &Statement, params: &[Value]) -> Result<Answer, SqlError> {
        match statement {
            Statement::Empty => Ok(Answer::DONE),
            Statement::Begin => {
                self.commit()?;
                let txn = self.shared.lock().begin(false);
                self.settings.current_ts = txn.start_ts;
                self.txn = Some(txn);
                Ok(Answer::DONE)
            }
            Statement::Commit => self.commit().map(|()| Answer::DONE),
            Statement::Rollback => {
                self.rollback();
                Ok(Answer::DONE)
            }
            Statement::ShowDatabases => {
                let names: Vec<Value> = self.shared.lock().databases().map(Value::from).collect();
                Ok(self.list(statement, names))
            }
            Statement::ShowTables => {
                let database =
                    self.settings.database.as_deref().ok_or_else(SqlError::no_database)?;
                let names = self.shared.lock().tables(database).map(Value::from).collect();
                Ok(self.list(statement, names))
            }
            Statement::ShowWarnings => Ok(self.list(statement, Vec::new())),
            Statement::Sql(sql) => self.run_sql(sql, params),
        }
    }

    fn run_sql(
        &mut self,
        statement: &ast::Statement,
        params: &[Value],
    ) -> Result<Answer, SqlError> {
        match statement {
            ast::Statement::Query(query) => self.query(query, params),
            ast::Statement::Insert(insert) => {
                self.with_transaction(params, |work, txn| work.insert(txn, insert))
            }
            ast::Statement::Update(update) => {
                self.with_transaction(params, |work, txn| work.update(txn, update))
            }
            ast::Statement::Delete(delete) => {
                self.with_transaction(params, |work, txn| work.delete(txn, delete))
            }
            ast::Statement::CreateTable(_)
            | ast::Statement::CreateDatabase { .. }
            | ast::Statement::Drop { .. } => {
                self.commit()?;
                ddl::run(&mut self.shared.lock(), &mut self.settings, statement)?;
                Ok(Answer::DONE)
            }
            ast::Statement::Set(set) => {
                match settings::set(&mut self.settings, set)? {
                    Some(true) if !self.settings.autocommit => {
                        self.settings.autocommit = true;
                        self.commit()?;
                    }
                    Some(autocommit) => self.settings.autocommit = autocommit,
                    None => {}
                }
                Ok(Answer::DONE)
            }
            ast::Statement::Use(ast::Use::Object(name)) => {
                self.use_database(&parse::last_part(name)?)?;
                Ok(Answer::DONE)
            }
            ast::Statement::ShowVariables { filter, .. } => self.show_variables(filter.as_ref()),
            other => Err(SqlError::unsupported(verb(other))),
        }
    }

    fn query(&mut self, query: &ast::Query, params: &[Value]) -> Result<Answer, SqlError> {
        let reads = {
            let store = self.shared.lock();
            execute::selection(&store, &self.settings, query)?.reads()
        };
        if reads {
            return self.with_transaction(params, |work, txn| {
                let selection = execute::selection(work.store, work.settings, query)?;
                work.select(txn, &selection)
            });
        }
        let mut store = self.shared.lock();
        let selection = execute::selection(&store, &self.settings, query)?;
        let work = Work { store: &mut store, settings: &self.settings, params };
        work.select_constants(&selection)
    }

    /// Runs a statement in the open transaction; in a new one that stays open with
    /// `autocommit = 0`; else in one of its own.
    fn with_transaction(
        &mut self,
        params: &[Value],
        run: impl FnOnce(&mut Work<'_>, &mut Txn) -> Result<Answer, SqlError>,
    ) -> Result<Answer, SqlError> {
        let mut store = self.shared.lock();
        let alone = self.settings.autocommit && self.txn.is_none();
        let mut txn = self.txn.take().unwrap_or_else(|| store.begin(alone));
        let answer = store.check_snapshot(&txn).and_then(|()| {
            let mut work = Work { store: &mut store, settings: &self.settings, params };
            run(&mut work, &mut txn)
        });
        if let Ok(Answer::Done { last_insert_id: generated @ 1.., .. }) = answer {
            self.settings.last_insert_id = generated;
        }
        if !alone {
            self.settings.current_ts = txn.start_ts;
            self.txn = Some(txn);
            return answer;
        }
        match answer {
            Ok(answer) => finish(&mut store, &mut self.settings, txn).map(|()| answer),
            Err(error) => {
                store.rollback(&txn);
                Err(error)
            }
        }
    }

    /// Commits the open transaction, if there is one. It is gone afterwards in any case.
    fn commit(&mut self) -> Result<(), SqlError> {
        self.settings.current_ts = 0;
        match self.txn.take() {
            Some(txn) => finish(&mut self.shared.lock(), &mut self.settings, txn),
            None => Ok(()),
        }
    }

    fn rollback(&mut self) {
        self.settings.current_ts = 0;
        if let Some(txn) = self.txn.take() {
            self.shared.lock().rollback(&txn);
        }
    }

    fn show_variables(&self, filter: Option<&ShowStatementFilter>) -> Result<Answer, SqlError> {
        let columns = variable_columns();
        let mut rows = Vec::new();
        for (name, value) in self.settings.all() {
            let row = vec![Value::from(name), Value::Text(value.to_string())];
            let wanted = match filter {
                None => true,
                Some(ShowStatementFilter::Like(pattern)) => eval::like(name, pattern),
                Some(ShowStatementFilter::Where(condition)) => Scope::constant(&self.settings, &[])
                    .with_columns(&columns, "where clause")
                    .with_row(&row)
                    .holds(Some(condition))?,
                Some(other) => return Err(SqlError::unsupported(other)),
            };
            if wanted {
                rows.push(row);
            }
        }
        Ok(Answer::Rows { columns, rows })
    }

    fn list(&self, statement: &Statement, names: Vec<Value>) -> Answer {
        let rows = names.into_iter().map(|name| vec![name]).collect();
        Answer::Rows { columns: self.list_columns(statement), rows }
    }

    fn list_columns(&self, statement: &Statement) -> Vec<Column> {
        match statement {
            Statement::ShowDatabases => vec![Column::text("Database")],
            Statement::ShowTables => {
                let database = self.settings.database.as_deref().unwrap_or_default();
                vec![Column::text(&format!("Tables_in_{database}"))]
            }
            Statement::ShowWarnings => ["Level", "Code", "Message"].map(Column::text).to_vec(),
            Statement::Begin
            | Statement::Commit
            | Statement::Empty
            | Statement::Rollback
            | Statement::Sql(_) => Vec::new(),
        }
    }

    fn describe(&self, statement: &Statement) -> Result<Vec<Column>, SqlError> {
        let Statement::Sql(sql) = statement else { return Ok(self.list_columns(statement)) };
        match &**sql {
            ast::Statement::Query(query) => {
                let selection = execute::selection(&self.shared.lock(), &self.settings, query)?;
                execute::describe(&selection, &self.settings)
            }
            ast::Statement::ShowVariables { .. } => Ok(variable_columns()),
            _ => Ok(Vec::new()),
        }
    }
}

fn variable_columns() -> Vec<Column> {
    ["Variable_name", "Value"].map(Column::text).to_vec()
}

/// Commits and notes what `@@tidb_last_txn_info` says about it. A transaction without effect
/// leaves the previous one's there, as in TiDB.
fn finish(store: &mut Store, settings: &mut Settings, txn: Txn) -> Result<(), SqlError> {
    let start_ts = txn.start_ts;
    let (commit_ts, error) = match store.commit(txn) {
        Ok(None) => return Ok(()),
        Ok(Some(commit_ts)) => (commit_ts, None),
        Err(error) => (0, Some(error)),
    };
    let mut info = format!(
        "{{\"txn_scope\":\"global\",\"start_ts\":{start_ts},\"commit_ts\":{commit_ts},\
         \"txn_commit_mode\":\"2pc\",\"async_commit_fallback\":false,\"one_pc_fallback\":false"
    );
    if let Some(error) = &error {
        info = format!("{info},\"error\":{}", serde_json::Value::from(&*error.message));
    }
    settings.last_txn_info = info + "}";
    error.map_or(Ok(()), Err)
}

/// The first two words of a statement, for the text of an error.
fn verb(statement: &ast::Statement) -> String {
    let text = statement.to_string();
    text.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
}
