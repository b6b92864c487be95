//! One writer's connection, and what became of a transaction on it.

use std::time::Duration;

use mysql_async::prelude::{FromRow, Queryable};
use mysql_async::{Conn, Opts, Params, Row};
use tokio::time::{Instant, sleep, timeout_at};

use crate::base::clock::SharedClock;
use crate::base::error::CommitError;

/// The pause after a lost connection.
const LOST_PAUSE: Duration = Duration::from_millis(50);

/// Why a transaction was not acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// The server says that it was not committed and may be tried again.
    Conflict(u16),
    /// Anything else; code 0 if there was no answer. `unknown`: COMMIT had been sent, and the answer
    /// does not say whether it was done.
    Other { code: u16, unknown: bool, text: String },
}

/// What the driver says, if in time.
type Answer<T> = Result<Result<T, mysql_async::Error>, tokio::time::error::Elapsed>;

/// A connection that comes back when it is lost.
pub(super) struct Client {
    opts: Opts,
    clock: SharedClock,
    begin: &'static str,
    /// An answer that has not come by then counts as a lost connection.
    give_up: Instant,
    conn: Option<Conn>,
    /// How long the last COMMIT took.
    pub(super) commit_took: Duration,
    /// Statements sent so far.
    pub(super) statements: u64,
}

impl Client {
    pub(super) fn new(
        opts: Opts,
        clock: SharedClock,
        begin: &'static str,
        give_up: Instant,
    ) -> Self {
        let commit_took = Duration::ZERO;
        Self { opts, clock, begin, give_up, conn: None, commit_took, statements: 0 }
    }

    /// Sets when an answer that has not come counts as a lost connection.
    pub(super) fn give_up_at(&mut self, give_up: Instant) {
        self.give_up = give_up;
    }

    /// Connects, if it isn't. Not cancel safe.
    pub(super) async fn connect(&mut self) -> Result<(), Failure> {
        self.connection().await.map(drop)
    }

    /// Not cancel safe: dropping the future leaves the connection in the middle of an answer.
    pub(super) async fn begin(&mut self) -> Result<(), Failure> {
        self.run(self.begin, false).await
    }

    /// Runs a statement within the transaction. Not cancel safe.
    pub(super) async fn execute(&mut self, sql: &str) -> Result<(), Failure> {
        self.run(sql, false).await
    }

    /// The first row, which must be there. Not cancel safe.
    pub(super) async fn read<T>(&mut self, sql: &str) -> Result<T, Failure>
    where
        T: FromRow + Send + 'static,
    {
        let give_up = self.give_up;
        let conn = self.connection().await?;
        let answer = timeout_at(give_up, conn.query_first(sql)).await;
        self.first(answer)
    }

    /// The same by a prepared statement, which the connection prepares once. Not cancel safe.
    pub(super) async fn read_prepared<T>(
        &mut self,
        sql: &str,
        params: impl Into<Params> + Send,
    ) -> Result<T, Failure>
    where
        T: FromRow + Send + 'static,
    {
        let give_up = self.give_up;
        let conn = self.connection().await?;
        let answer = timeout_at(give_up, conn.exec_first(sql, params)).await;
        self.first(answer)
    }

    /// All rows, which are thrown away; how many there were. Not cancel safe.
    pub(super) async fn count(&mut self, sql: &str) -> Result<usize, Failure> {
        let give_up = self.give_up;
        let conn = self.connection().await?;
        let rows = timeout_at(give_up, conn.query_fold(sql, 0, |rows, _: Row| rows + 1)).await;
        self.statements += 1;
        match rows {
            Ok(Ok(rows)) => Ok(rows),
            other => Err(self.failed(other.map(|result| result.map(drop)), false)),
        }
    }

    /// Not cancel safe: the fate of the transaction is unknown if the future is dropped.
    pub(super) async fn commit(&mut self) -> Result<(), Failure> {
        let sent = self.clock.now();
        self.run("COMMIT", true).await?;
        self.commit_took = self.clock.now() - sent;
        Ok(())
    }

    /// Leaves nothing open after a failure; pauses if the connection is gone, so that a server that
    /// is down is not hammered. Not cancel safe.
    pub(super) async fn roll_back(&mut self) {
        if self.conn.is_none() {
            sleep(LOST_PAUSE).await;
        } else if self.run("ROLLBACK", false).await.is_err() {
            self.conn = None;
        }
    }

    /// Says goodbye. Not cancel safe.
    pub(super) async fn close(mut self) {
        if let Some(conn) = self.conn.take() {
            // The run is over: how the goodbye goes changes nothing.
            let _ = timeout_at(self.give_up, conn.disconnect()).await;
        }
    }

    async fn run(&mut self, sql: &str, commits: bool) -> Result<(), Failure> {
        let give_up = self.give_up;
        let conn = self.connection().await?;
        let answer = timeout_at(give_up, conn.query_drop(sql)).await;
        self.statements += 1;
        match answer {
            Ok(Ok(())) => Ok(()),
            other => Err(self.failed(other, commits)),
        }
    }

    fn first<T>(&mut self, answer: Answer<Option<T>>) -> Result<T, Failure> {
        self.statements += 1;
        match answer {
            Ok(Ok(Some(row))) => Ok(row),
            other => Err(self.failed(other.map(|result| result.map(drop)), false)),
        }
    }

    async fn connection(&mut self) -> Result<&mut Conn, Failure> {
        let conn = match self.conn.take() {
            Some(conn) => conn,
            None => match timeout_at(self.give_up, Conn::new(self.opts.clone())).await {
                Ok(Ok(conn)) => conn,
                other => return Err(self.failed(other.map(|result| result.map(drop)), false)),
            },
        };
        Ok(self.conn.insert(conn))
    }

    fn failed(&mut self, answer: Answer<()>, commits: bool) -> Failure {
        let text = match answer {
            Ok(Err(mysql_async::Error::Server(error))) => {
                let (code, text) = (error.code, error.to_string());
                let fate = CommitError::classify(code);
                if fate == CommitError::Conflict {
                    return Failure::Conflict(code);
                }
                // 08S01: a proxy that has lost the server says so and closes.
                let uncertain = fate == CommitError::Uncertain || error.state == "08S01";
                return Failure::Other { code, unknown: commits && uncertain, text };
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer in time".to_owned(),
            Ok(Ok(())) => "no answer".to_owned(),
        };
        self.conn = None;
        Failure::Other { code: 0, unknown: commits, text }
    }
}
