//! The schema of a benchmark: made at its beginning, dropped at its end, told from everybody else's
//! by a table that only a benchmark makes.

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};
use tokio::time::timeout;

use super::{ANSWER_WITHIN, Error, Plan, Target};
use crate::load::bank;
use crate::load::run::Table;

/// Holds the number of the run that has made the schema.
const OWNER: &str = "txguard_bench_run";

/// "Can't create database; database exists".
const EXISTS: u16 = 1007;
/// "Unknown database" and "Table doesn't exist".
const MISSING: [u16; 2] = [1049, 1146];
/// Access denied to the server, to the schema; with and without a password.
const DENIED: [u16; 3] = [1044, 1045, 1698];

/// A schema that this run has made.
pub(super) struct Schema<'a> {
    plan: &'a Plan,
    run: u64,
}

/// What the table of transfers says behind them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sums {
    /// Of all balances.
    pub(super) balances: i64,
    /// Transfers that were applied.
    pub(super) applied: i64,
}

impl<'a> Schema<'a> {
    /// Makes it through the first target, in place of one that an earlier run has left behind.
    ///
    /// Not cancel safe: the schema may be there or not.
    pub(super) async fn make(plan: &'a Plan) -> Result<Self, Error> {
        let own = Self { plan, run: u64::try_from(plan.clock.wall().as_nanos()).unwrap_or(0) };
        let (mut conn, name) = (open(plan.first()).await?, &plan.schema);
        let create = format!("CREATE DATABASE {name}");
        match conn.query_drop(&create).await {
            Err(error) if code(&error) == Some(EXISTS) => {
                let marked: Result<Option<u64>, _> =
                    conn.query_first(format!("SELECT run FROM {name}.{OWNER}")).await;
                match marked {
                    Ok(_) => {}
                    Err(error) if code(&error).is_some_and(|code| MISSING.contains(&code)) => {
                        return Err(Error::NotOurs(name.clone()));
                    }
                    Err(error) => return Err(own.failed(error)),
                }
                own.all(&mut conn, [format!("DROP DATABASE {name}"), create]).await?;
            }
            other => other.map_err(|error| own.failed(error))?,
        }
        let columns = "run BIGINT PRIMARY KEY";
        let owner = Table { name: OWNER, columns, rows: vec![format!("({})", own.run)] };
        own.all(&mut conn, owner.sql(name)).await?;
        let filled = own.fill(&mut conn).await;
        if filled.is_err() {
            own.remove().await?;
        }
        filled.map(|()| own)
    }

    async fn fill(&self, conn: &mut Conn) -> Result<(), Error> {
        let mut made = Vec::new();
        for kind in &self.plan.kinds {
            for table in kind.tables(self.plan.connections) {
                if !made.contains(&table.name) {
                    self.all(conn, table.sql(&self.plan.schema)).await?;
                    made.push(table.name);
                }
            }
        }
        Ok(())
    }

    /// Asks a target whether it leads to where the schema was made.
    pub(super) async fn check(&self, target: &Target) -> Result<(), Error> {
        let mut conn = open(target).await?;
        let sql = format!("SELECT run FROM {}.{OWNER}", self.plan.schema);
        let found: Result<Option<u64>, _> = conn.query_first(sql).await;
        match found {
            Ok(Some(run)) if run == self.run => Ok(()),
            Err(error) if !code(&error).is_some_and(|code| MISSING.contains(&code)) => {
                Err(told(target, error))
            }
            Ok(_) | Err(_) => {
                let (target, first) = (target.place(), self.plan.first().place());
                Err(Error::Elsewhere { target, first })
            }
        }
    }

    /// What the tables of the transfers say.
    pub(super) async fn sums(&self) -> Result<Sums, Error> {
        let mut conn = open(self.plan.first()).await?;
        let mut sums = [0; 2];
        for (sum, (column, table)) in
            sums.iter_mut().zip([("balance", bank::ACCOUNTS), ("n", bank::COUNTERS)])
        {
            let sql = format!("SELECT SUM({column}) FROM {}.{table}", self.plan.schema);
            let found: Result<Option<Option<i64>>, _> = conn.query_first(sql).await;
            *sum = found.map_err(|error| self.failed(error))?.flatten().unwrap_or(0);
        }
        Ok(Sums { balances: sums[0], applied: sums[1] })
    }

    /// Drops it, if it is still this run's.
    ///
    /// Not cancel safe: the schema may be there or not.
    pub(super) async fn remove(&self) -> Result<(), Error> {
        self.check(self.plan.first()).await?;
        let mut conn = open(self.plan.first()).await?;
        self.all(&mut conn, [format!("DROP DATABASE {}", self.plan.schema)]).await
    }

    async fn all(
        &self,
        conn: &mut Conn,
        statements: impl IntoIterator<Item = String>,
    ) -> Result<(), Error> {
        for sql in statements {
            conn.query_drop(sql).await.map_err(|error| self.failed(error))?;
        }
        Ok(())
    }

    fn failed(&self, source: mysql_async::Error) -> Error {
        let (schema, target) = (self.plan.schema.clone(), self.plan.first().place());
        Error::Schema { schema, target, source }
    }
}

/// A connection without a schema, in bounded time.
async fn open(target: &Target) -> Result<Conn, Error> {
    let opts = OptsBuilder::from_opts(target.opts.clone()).db_name(None::<String>);
    match timeout(ANSWER_WITHIN, Conn::new(opts)).await {
        Ok(connected) => connected.map_err(|error| told(target, error)),
        Err(_) => Err(Error::Silent { target: target.place() }),
    }
}

fn told(target: &Target, source: mysql_async::Error) -> Error {
    let place = target.place();
    match code(&source) {
        Some(code) if DENIED.contains(&code) => Error::Denied { target: place, source },
        Some(_) => Error::Refused { target: place, source },
        None => Error::Unreachable { target: place, source },
    }
}

fn code(error: &mysql_async::Error) -> Option<u16> {
    match error {
        mysql_async::Error::Server(error) => Some(error.code),
        _ => None,
    }
}
