//! The engine on a TCP port, spoken by opensrv-mysql between two adaptors (`wire`).
//!
//! Any user and any password is accepted, because there is nothing to protect: bind the listener to
//! a loopback address. TLS, compression, several statements in one text and LOCAL INFILE are not
//! offered. Commands that opensrv would answer with a false OK are refused with 1047;
//! `COM_RESET_CONNECTION` is done.

mod connection;
#[cfg(test)]
mod tests;
mod wire;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use opensrv_mysql::{
    AsyncMysqlIntermediary, AsyncMysqlShim, ColumnFlags, ColumnType, ErrorKind, InitWriter,
    IntermediaryOptions, OkResponse, ParamParser, QueryResultWriter, StatementMetaWriter,
    ValueInner,
};
use tokio::io::{AsyncWrite, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use self::connection::Connection;
use self::wire::{Answers, Requests, Shared};
use super::engine::{Answer, Column, Engine, Kind, SERVER_VERSION, SqlError, Value};
use crate::base::clock::{Clock, SystemClock};
use crate::base::tasks::Tasks;

/// How long accepting pauses after an error, e.g. when no file descriptor is left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves `engine` on `listener` until `cancel`; returns when every connection has ended. A
/// connection that is cancelled is closed without an answer and its transaction rolled back.
///
/// Cancel safe: dropping the future leaves the connections running until `cancel`.
pub async fn serve(listener: TcpListener, engine: Arc<Engine>, cancel: CancellationToken) {
    let tasks = Tasks::default();
    while let Some(accepted) = cancel.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok((stream, _)) => {
                let (engine, cancel) = (Arc::clone(&engine), cancel.clone());
                tasks.spawn(async move {
                    let connection = Box::pin(serve_connection(stream, &engine));
                    if let Some(Err(error)) = cancel.run_until_cancelled(connection).await {
                        tracing::debug!(%error, "embedded connection ended");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "embedded backend cannot accept");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    tasks.wait().await;
}

async fn serve_connection(stream: TcpStream, engine: &Arc<Engine>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let session = engine.session();
    let id = session.id();
    let connection = Shared::new(Connection::new(session));
    let (reader, writer) = stream.into_split();
    let requests = Requests::new(BufReader::new(reader), connection.clone());
    let answers = Answers::new(writer, connection.clone());
    let shim = Shim { engine: Arc::clone(engine), connection, id };
    // Without this, opensrv takes USE for itself by the first bytes of the text.
    let options = IntermediaryOptions {
        process_use_statement_on_query: true,
        reject_connection_on_dbname_absence: false,
    };
    AsyncMysqlIntermediary::run_with_options(shim, requests, answers, &options).await
}

/// One connection, as opensrv sees it.
struct Shim {
    engine: Arc<Engine>,
    connection: Shared,
    id: u32,
}

impl Shim {
    /// Runs something in the session at the time it is now.
    fn run<T>(&self, run: impl FnOnce(&mut Connection) -> T) -> T {
        let now_ms = SystemClock.wall().as_millis();
        self.engine.advance_to(u64::try_from(now_ms).unwrap_or(u64::MAX));
        run(&mut self.connection.lock())
    }

    /// Notes the error that `Answers` sends in the place of opensrv's.
    fn note(&self, error: SqlError) {
        self.connection.lock().answer_with(error);
    }

    async fn answer<W: AsyncWrite + Send + Unpin>(
        &self,
        result: Result<Answer, SqlError>,
        results: QueryResultWriter<'_, W>,
    ) -> io::Result<()> {
        match result {
            Ok(Answer::Done { affected_rows, last_insert_id }) => {
                let ok = OkResponse { affected_rows, last_insert_id, ..OkResponse::default() };
                results.completed(ok).await
            }
            Ok(Answer::Rows { columns, rows }) => {
                let headings: Vec<_> = columns.iter().map(heading).collect();
                let mut writer = results.start(&headings).await?;
                for row in rows {
                    for (column, value) in columns.iter().zip(row) {
                        match (column.kind, value) {
                            (_, Value::Null) => writer.write_col(None::<i64>)?,
                            (Kind::BigInt, Value::Int(number)) => writer.write_col(number)?,
                            (Kind::Int, Value::Int(number)) => {
                                let number = i32::try_from(number).map_err(io::Error::other)?;
                                writer.write_col(number)?;
                            }
                            (_, other) => writer.write_col(other.to_string())?,
                        }
                    }
                    writer.end_row().await?;
                }
                writer.finish().await
            }
            Err(error) => {
                self.note(error);
                results.error(ErrorKind::ER_UNKNOWN_ERROR, &b""[..]).await
            }
        }
    }
}

#[async_trait]
impl<W: AsyncWrite + Send + Unpin> AsyncMysqlShim<W> for Shim {
    type Error = io::Error;

    fn version(&self) -> String {
        SERVER_VERSION.to_owned()
    }

    fn connect_id(&self) -> u32 {
        self.id
    }

    async fn authenticate(&self, _: &str, _: &[u8], _: &[u8], _: &[u8]) -> bool {
        true
    }

    async fn on_prepare<'a>(
        &'a mut self,
        query: &'a str,
        info: StatementMetaWriter<'a, W>,
    ) -> io::Result<()> {
        let prepared = self.run(|connection| {
            let prepared = connection.session.prepare(query)?;
            let columns: Vec<_> = prepared.columns.iter().map(heading).collect();
            let params = vec![heading(&parameter()); prepared.params];
            Ok((connection.keep(prepared), params, columns))
        });
        match prepared {
            Ok((id, params, columns)) => info.reply(id, &params, &columns).await,
            Err(error) => {
                self.note(error);
                info.error(ErrorKind::ER_UNKNOWN_ERROR, &b""[..]).await
            }
        }
    }

    async fn on_execute<'a>(
        &'a mut self,
        id: u32,
        params: ParamParser<'a>,
        results: QueryResultWriter<'a, W>,
    ) -> io::Result<()> {
        let params: Result<Vec<Value>, SqlError> =
            params.into_iter().map(|param| value(param.value.into_inner())).collect();
        let result = params.and_then(|params| {
            self.run(|connection| {
                let prepared = connection.statement(id);
                let prepared = prepared.ok_or_else(|| SqlError::unknown_statement(id))?;
                connection.session.execute_prepared(&prepared, &params)
            })
        });
        self.answer(result, results).await
    }

    async fn on_close<'a>(&'a mut self, id: u32)
    where
        W: 'async_trait,
    {
        self.connection.lock().close(id);
    }

    async fn on_query<'a>(
        &'a mut self,
        query: &'a str,
        results: QueryResultWriter<'a, W>,
    ) -> io::Result<()> {
        let result = self.run(|connection| connection.session.execute(query));
        self.answer(result, results).await
    }

    async fn on_init<'a>(
        &'a mut self,
        database: &'a str,
        writer: InitWriter<'a, W>,
    ) -> io::Result<()> {
        match self.run(|connection| connection.session.use_database(database)) {
            Ok(()) => writer.ok().await,
            Err(error) => {
                self.note(error);
                writer.error(ErrorKind::ER_UNKNOWN_ERROR, &b""[..]).await
            }
        }
    }
}

fn heading(column: &Column) -> opensrv_mysql::Column {
    let coltype = match column.kind {
        Kind::BigInt => ColumnType::MYSQL_TYPE_LONGLONG,
        Kind::Decimal => ColumnType::MYSQL_TYPE_NEWDECIMAL,
        Kind::Int => ColumnType::MYSQL_TYPE_LONG,
        Kind::Text => ColumnType::MYSQL_TYPE_VAR_STRING,
    };
    opensrv_mysql::Column {
        table: column.table.clone(),
        column: column.name.clone(),
        coltype,
        colflags: ColumnFlags::empty(),
    }
}

fn parameter() -> Column {
    Column { table: String::new(), name: "?".to_owned(), kind: Kind::Text }
}

/// A parameter's value. Clients send integers as such; other numbers come as text.
fn value(value: ValueInner<'_>) -> Result<Value, SqlError> {
    match value {
        ValueInner::NULL => Ok(Value::Null),
        ValueInner::Int(number) => Ok(Value::Int(number)),
        ValueInner::UInt(number) => i64::try_from(number)
            .map(Value::Int)
            .map_err(|_| SqlError::unsupported("a parameter over 9223372036854775807")),
        ValueInner::Bytes(bytes) => match str::from_utf8(bytes) {
            Ok(text) => Ok(Value::from(text)),
            Err(_) => Err(SqlError::invalid_text()),
        },
        // Some drivers (JavaScript) send every number as a double.
        ValueInner::Double(number) => Ok(Value::Text(number.to_string())),
        ValueInner::Date(_) | ValueInner::Time(_) | ValueInner::Datetime(_) => {
            Err(SqlError::unsupported("a parameter of a date or time type"))
        }
    }
}
