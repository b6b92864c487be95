//! The service connection: statements of txguard's own, outside of every client's session.
//!
//! Such statements are rare (a KILL that has to reach another backend, the fate of a transaction
//! whose COMMIT was not answered), so a connection lives for one statement or for one exchange, a
//! [`Talk`], and none is kept.

use std::time::Duration;

use mysql_async::prelude::{FromRow, Queryable};
use mysql_async::{ClientIdentity, Conn, OptsBuilder, SslOpts};

use crate::base::config::{
    Address, Backend, BackendLeg, Identity, PasswordSource, ServiceAccount, TlsMode,
};
use crate::base::types::Tso;

/// Larger than anything that is said here; given, so that the driver doesn't ask for it.
const PACKET_MAX: usize = 1 << 20;

/// How long the server may keep the connection idle, in seconds; given for the same reason.
const IDLE_MAX: usize = 60;

/// The account of `[backend] service_user`.
#[derive(Debug, Clone)]
pub struct Service {
    account: ServiceAccount,
    tls: Option<SslOpts>,
    limit: Duration,
}

/// A connection of the service account for several statements. Dropped, it is closed, and the
/// server rolls back what it had begun. It has no limit of its own: whoever talks sets one.
#[derive(Debug)]
pub struct Talk {
    conn: Conn,
}

/// Why a statement of the service account was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// The address of the backend can't be read.
    #[error("{0:?} is not an address")]
    Address(String),
    /// The password can't be read from where it is said to be.
    #[error("the password of the service account: {0}")]
    Password(String),
    /// There is no connection, or no login.
    #[error("the service account can't log in: {0}")]
    Login(mysql_async::Error),
    /// The connection broke; whether the statement was carried out isn't known.
    #[error("the service connection broke: {0}")]
    Broken(mysql_async::Error),
    /// The server's answer to the statement is an error.
    #[error("{0}")]
    Server(mysql_async::ServerError),
    /// The account doesn't see other users' connections.
    #[error("the service account lacks the privilege PROCESS")]
    Blind,
    /// It took too long; whether the statement was carried out isn't known.
    #[error("no answer to the service account within {0:?}")]
    TooLong(Duration),
}

impl Service {
    /// The account of this configuration, if it has one. Connection, login and statement may
    /// together take as long as a connection.
    #[must_use]
    pub fn new(config: &Backend) -> Option<Self> {
        let account = config.service.clone()?;
        Some(Self { account, tls: tls(&config.leg), limit: config.connect_timeout })
    }

    /// Runs one statement at HOST:PORT.
    ///
    /// Not cancel safe: a dropped future may leave the statement carried out or not.
    pub async fn run(&self, address: &str, statement: &str) -> Result<(), ServiceError> {
        let said = self.row::<mysql_async::Row>(address, statement);
        self.in_time(said).await.map(drop)
    }

    /// Whether a connection with this id is at HOST:PORT, whosever it is. (TiDB doesn't list one that
    /// has run no statement yet.)
    ///
    /// Cancel safe: nothing is changed.
    pub async fn has(&self, address: &str, id: u32) -> Result<bool, ServiceError> {
        let ask = format!(
            "SELECT (SELECT COUNT(*) FROM information_schema.processlist WHERE id = {id}), \
             (SELECT COUNT(*) FROM information_schema.user_privileges \
              WHERE privilege_type IN ('PROCESS', 'SUPER'))"
        );
        match self.in_time(self.row::<(u64, u64)>(address, &ask)).await? {
            Some((found, _)) if found > 0 => Ok(true),
            Some((_, privileges)) if privileges > 0 => Ok(false),
            _ => Err(ServiceError::Blind),
        }
    }

    async fn in_time<T>(
        &self,
        work: impl Future<Output = Result<T, ServiceError>>,
    ) -> Result<T, ServiceError> {
        match tokio::time::timeout(self.limit, Box::pin(work)).await {
            Ok(done) => done,
            Err(_) => Err(ServiceError::TooLong(self.limit)),
        }
    }

    /// Logs in at HOST:PORT, for several statements; takes no longer than a connection may.
    ///
    /// Cancel safe: a connection under way is dropped.
    pub async fn open(&self, address: &str) -> Result<Talk, ServiceError> {
        self.in_time(self.login(address)).await
    }

    /// A connection to each database behind these addresses: one to a TiDB stands for all TiDB
    /// servers, which are doors to one database; of others each is taken for one of its own. Who
    /// can't be reached comes with the reason.
    ///
    /// Cancel safe: connections are dropped.
    pub async fn open_all(
        &self,
        addresses: impl IntoIterator<Item = String>,
    ) -> (Vec<(String, Talk)>, Vec<(String, ServiceError)>) {
        let (mut open, mut failed, mut has_tidb) = (Vec::new(), Vec::new(), false);
        for address in addresses {
            match self.open_known(&address).await {
                Ok((_, true)) if has_tidb => {}
                Ok((talk, is_tidb)) => {
                    has_tidb |= is_tidb;
                    open.push((address, talk));
                }
                Err(error) => failed.push((address, error)),
            }
        }
        (open, failed)
    }

    /// A connection, and whether the server is TiDB.
    async fn open_known(&self, address: &str) -> Result<(Talk, bool), ServiceError> {
        let mut talk = self.open(address).await?;
        let is_tidb = talk.is_tidb().await?;
        Ok((talk, is_tidb))
    }

    /// The first row of what a statement brings.
    async fn row<R>(&self, address: &str, statement: &str) -> Result<Option<R>, ServiceError>
    where
        R: FromRow + Send + 'static,
    {
        let mut talk = self.login(address).await?;
        let answer = talk.row(statement).await;
        talk.close().await;
        answer
    }

    async fn login(&self, address: &str) -> Result<Talk, ServiceError> {
        let place: Address =
            address.parse().map_err(|_| ServiceError::Address(address.to_owned()))?;
        let options = OptsBuilder::default()
            .ip_or_hostname(place.host())
            .tcp_port(place.port())
            .user(Some(&self.account.user))
            .pass(self.password().await?)
            .ssl_opts(self.tls.clone())
            .prefer_socket(false)
            .max_allowed_packet(Some(PACKET_MAX))
            .wait_timeout(Some(IDLE_MAX));
        let conn = Conn::new(options).await.map_err(ServiceError::Login)?;
        Ok(Talk { conn })
    }

    /// Read each time: a password that is changed needs no restart.
    async fn password(&self) -> Result<Option<String>, ServiceError> {
        match &self.account.password {
            PasswordSource::None => Ok(None),
            PasswordSource::Env(name) => std::env::var(name)
                .map(Some)
                .map_err(|error| ServiceError::Password(format!("{name}: {error}"))),
            PasswordSource::File(path) => match tokio::fs::read_to_string(path).await {
                Ok(text) => Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned())),
                Err(error) => Err(ServiceError::Password(format!("{}: {error}", path.display()))),
            },
        }
    }
}

impl Talk {
    /// Runs one statement, and says how many rows it has changed.
    ///
    /// Not cancel safe: a dropped future may leave the statement carried out or not.
    pub async fn run(&mut self, statement: &str) -> Result<u64, ServiceError> {
        self.conn.query_drop(statement).await.map_err(ServiceError::of_statement)?;
        Ok(self.conn.affected_rows())
    }

    /// The first row of what a statement brings. Cancel safety as for [`Talk::run`].
    pub async fn row<R>(&mut self, statement: &str) -> Result<Option<R>, ServiceError>
    where
        R: FromRow + Send + 'static,
    {
        self.conn.query_first::<R, _>(statement).await.map_err(ServiceError::of_statement)
    }

    /// All rows of what a statement brings. Cancel safety as for [`Talk::run`].
    pub async fn rows<R>(&mut self, statement: &str) -> Result<Vec<R>, ServiceError>
    where
        R: FromRow + Send + 'static,
    {
        self.conn.query::<R, _>(statement).await.map_err(ServiceError::of_statement)
    }

    /// Whether the server is TiDB, of which all servers of a configuration are doors to one
    /// database.
    pub async fn is_tidb(&mut self) -> Result<bool, ServiceError> {
        let found: Option<(u8,)> = self.row("SELECT VERSION() LIKE '%TiDB%'").await?;
        Ok(found == Some((1,)))
    }

    /// From here on times of day are UTC: in a zone, an hour that a clock change repeats says
    /// nothing.
    pub async fn speak_utc(&mut self) -> Result<(), ServiceError> {
        self.run("SET time_zone = '+00:00'").await.map(drop)
    }

    /// The server's clock, since the Unix epoch; behind [`Talk::speak_utc`]. Cancel safety as for
    /// [`Talk::run`].
    pub async fn clock(&mut self) -> Result<Duration, ServiceError> {
        let ask = "SELECT CAST(UNIX_TIMESTAMP(SYSDATE(6)) * 1000000 AS UNSIGNED)";
        let micros: Option<(u64,)> = self.row(ask).await?;
        Ok(micros.map_or(Duration::ZERO, |(micros,)| Duration::from_micros(micros)))
    }

    /// From here on each transaction of TiDB asks PD for its timestamp, also where
    /// `tidb_low_resolution_tso` is the default (tidb `sessiontxn`: it takes a cached one).
    pub async fn fetch_timestamps(&mut self) -> Result<(), ServiceError> {
        self.run("SET SESSION tidb_low_resolution_tso = 0").await.map(drop)
    }

    /// The start_ts of a transaction that TiDB begins now, and ends; BEGIN fetches it at once.
    /// `None` if it has none. Cancel safety as for [`Talk::run`].
    pub async fn start_ts(&mut self) -> Result<Option<Tso>, ServiceError> {
        self.run("BEGIN").await?;
        let now: Option<(String,)> = self.row("SELECT @@tidb_current_ts").await?;
        self.run("ROLLBACK").await?;
        let now = now.and_then(|(now,)| now.parse().ok());
        Ok(now.filter(|now| *now != 0).map(Tso))
    }

    /// The id of TiDB's cluster; `None` where it doesn't say it: it does from 8.5.6 on
    /// (`mysql.tidb`), to accounts that may read that table. Cancel safety as for [`Talk::run`].
    pub async fn cluster(&mut self) -> Result<Option<u64>, ServiceError> {
        let ask = "SELECT variable_value FROM mysql.tidb WHERE variable_name = 'cluster_id'";
        match self.row::<(String,)>(ask).await {
            Ok(found) => Ok(found.and_then(|(id,)| id.parse().ok())),
            Err(ServiceError::Server(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Says good-bye.
    pub async fn close(self) {
        // The answers are here: how the good-bye goes changes nothing.
        let _ = self.conn.disconnect().await;
    }
}

impl ServiceError {
    fn of_statement(error: mysql_async::Error) -> Self {
        match error {
            mysql_async::Error::Server(error) => Self::Server(error),
            error => Self::Broken(error),
        }
    }

    /// The code of the server's answer, if it has answered.
    #[must_use]
    pub const fn code(&self) -> Option<u16> {
        match self {
            Self::Server(error) => Some(error.code),
            _ => None,
        }
    }
}

/// TLS as clients with TLS get it towards a backend that insists; `prefer` follows a client, and
/// here there is none.
fn tls(leg: &BackendLeg) -> Option<SslOpts> {
    let opts = SslOpts::default();
    let opts = match leg.tls {
        TlsMode::Disable | TlsMode::Prefer => return None,
        TlsMode::Require => opts.with_danger_accept_invalid_certs(true),
        TlsMode::Verify => {
            let roots = leg.ca.iter().map(|file| file.clone().into()).collect();
            opts.with_disable_built_in_roots(true)
                .with_root_certs(roots)
                .with_danger_tls_hostname_override(leg.name.clone())
        }
    };
    Some(opts.with_client_identity(leg.identity.clone().map(|files| {
        let Identity { certificate, key } = files;
        ClientIdentity::new(certificate.into(), key.into())
    })))
}
