//! Puts the program together: every concrete type is made here, and handed to who needs it.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, lookup_host};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing_appender::non_blocking::ErrorCounter;

use crate::base::clock::{SharedClock, SystemClock};
use crate::base::config::{Address, Config};
use crate::base::metrics::Metrics;
use crate::base::tasks::Tasks;
use crate::base::types::TxnIds;
use crate::control::http::{self, HttpState, Readiness};
use crate::net::legs::Legs;
use crate::net::listen::listen;
use crate::net::tls::TlsError;
use crate::policy::Snapshot;
use crate::session::{Deps, Recorder, Registry, Terms};
use crate::sql::Classifier;
use crate::store::service::Service;
use crate::tso::LocalOracle;
use crate::txn::journal::Budget;
use crate::txn::replay::{Rule, Verified};

use super::accept::Acceptor;
use super::reload::Reload;
use super::watch::BackendWatch;

/// A transaction that takes this long is worth a record.
const SLOW: Duration = Duration::from_secs(1);

/// How often that is brought up to date which isn't counted where it happens.
const PUBLISH_EVERY: Duration = Duration::from_secs(1);

/// What may be replaced in tests.
pub struct Parts {
    /// Time.
    pub clock: SharedClock,
    /// What a replay sends and accepts.
    pub rule: Arc<dyn Rule>,
}

impl Default for Parts {
    fn default() -> Self {
        Self { clock: Arc::new(SystemClock), rule: Arc::new(Verified) }
    }
}

/// The program, ready to run: its sockets are bound and nothing is served yet.
pub struct App {
    acceptor: Acceptor,
    http: Option<TcpListener>,
    readiness: Arc<Readiness>,
    watch: Arc<BackendWatch>,
    /// Sessions take their policies from here.
    policies: watch::Sender<Arc<Snapshot>>,
    /// The file to follow, and what it said at the start.
    followed: Option<(PathBuf, Config)>,
    tasks: Tasks,
}

/// What keeps the program from starting.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// An address can't be listened on.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// A file that the configuration names can't be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// An address that can't be listened on.
#[derive(Debug, thiserror::Error)]
#[error("can't listen on {address}: {error}")]
pub struct ListenError {
    /// As the configuration says it.
    pub address: String,
    /// What the system says.
    pub error: io::Error,
}

impl App {
    /// Binds the listeners and makes everything else.
    ///
    /// Cancel safe: what was bound is closed again.
    pub async fn build(config: &Config, parts: Parts) -> Result<Self, BuildError> {
        let legs = Arc::new(Legs::load(&config.listen.leg, &config.backend.leg)?);
        let mysql = bind(&config.listen.mysql).await?;
        let http = match &config.listen.http {
            Some(address) => Some(bind(address).await?),
            None => None,
        };
        let seed = random();
        let (publish, policies) = watch::channel(Arc::new(Snapshot::compile(config, 1)));
        let limits = &config.limits;
        let (service, connect_timeout) =
            (config.backend.service.clone(), config.backend.connect_timeout);
        let deps = Arc::new(Deps {
            clock: parts.clock,
            ids: TxnIds::new(random()),
            oracle: LocalOracle::default(),
            classifier: Classifier::new(limits.statement_shapes as usize),
            metrics: Arc::new(Metrics::new()),
            recorder: Recorder::new(config.log.transactions, SLOW),
            rule: parts.rule,
            journals: Budget::new(saturating(limits.journal_total)),
            seed,
            policies,
            registry: Registry::default(),
            service: service.map(|account| Service::new(account, connect_timeout)),
        });
        let tasks = Tasks::default();
        let backends: Arc<[String]> =
            config.backend.addresses.iter().map(ToString::to_string).collect();
        let readiness = Arc::new(Readiness::new(backends.iter().cloned()));
        let watch = Arc::new(BackendWatch {
            backends,
            connect_timeout: config.backend.connect_timeout,
            readiness: readiness.clone(),
            metrics: deps.metrics.clone(),
        });
        let acceptor = Acceptor {
            listener: mysql,
            deps,
            watch: watch.clone(),
            clients_max: limits.clients as usize,
            terms: Terms {
                handshake_max: limits.handshake,
                idle: limits.idle,
                idle_in_transaction: limits.idle_in_transaction,
                statement_max: saturating(limits.statement),
                legs,
                journal_bytes_max: saturating(limits.journal_per_transaction),
            },
            tasks: tasks.clone(),
        };
        let policies = publish;
        Ok(Self { acceptor, http, readiness, watch, policies, followed: None, tasks })
    }

    /// Follows the file that `config` was read from: on SIGHUP, and when its content changes, it is
    /// taken into force.
    pub fn follow(&mut self, file: PathBuf, config: Config) {
        self.followed = Some((file, config));
    }

    /// Where MySQL clients are served.
    pub fn mysql_address(&self) -> io::Result<SocketAddr> {
        self.acceptor.listener.local_addr()
    }

    /// Where `/metrics` and the health pages are served, if they are.
    #[must_use]
    pub fn http_address(&self) -> Option<SocketAddr> {
        self.http.as_ref().and_then(|listener| listener.local_addr().ok())
    }

    /// Publishes what is not counted where it happens: dropped log lines and the size of all
    /// journals.
    pub fn publish(&self, dropped: ErrorCounter) {
        let metrics = self.acceptor.deps.metrics.clone();
        let journals = self.acceptor.deps.journals.clone();
        let stop = self.tasks.token().clone();
        self.tasks.spawn(async move {
            let mut seen = 0;
            loop {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(PUBLISH_EVERY) => {}
                }
                let now = dropped.dropped_lines();
                metrics.log_dropped((now - seen) as u64);
                seen = now;
                metrics.journals_hold(journals.used());
            }
        });
    }

    /// What sessions share; counters can be read here.
    #[must_use]
    pub fn deps(&self) -> Arc<Deps> {
        self.acceptor.deps.clone()
    }

    /// Serves until `stop` is cancelled, then lets open transactions finish for at most `drain`.
    ///
    /// Not cancel safe: dropped in the middle, it cuts all connections.
    pub async fn run(self, stop: CancellationToken, drain: Duration) {
        let Self { acceptor, http, readiness, watch, policies, followed, tasks } = self;
        let background = Tasks::default();
        if let Some((file, config)) = followed {
            let reload = Reload::new(file, config, policies, acceptor.deps.metrics.clone());
            // Heard from here on; before anything is served a SIGHUP would end the process.
            match signal(SignalKind::hangup()) {
                Ok(hangup) => background.spawn(reload.run(hangup, background.token().clone())),
                Err(error) => tracing::error!(%error, "the configuration file is not followed"),
            }
        }
        if let Some(listener) = http {
            let state =
                HttpState { metrics: acceptor.deps.metrics.clone(), readiness: readiness.clone() };
            let token = background.token().clone();
            background.spawn(async move {
                if let Err(error) = http::serve(listener, state, token).await {
                    tracing::error!(%error, "the HTTP server ended");
                }
            });
        }
        background.spawn(watch.run(background.token().clone()));
        acceptor.run(stop).await;
        readiness.drain();
        tasks.cancel();
        if tokio::time::timeout(drain, tasks.wait()).await.is_err() {
            tracing::warn!(sessions = tasks.len(), "open transactions were cut off");
        }
        background.cancel();
        background.wait().await;
    }
}

async fn bind(address: &Address) -> Result<TcpListener, ListenError> {
    let failed = |error| ListenError { address: address.to_string(), error };
    let mut found = lookup_host((address.host(), address.port())).await.map_err(failed)?;
    let first = found.next().ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
    listen(first).map_err(failed)
}

/// A number that differs in every process, from the keys of the standard library's hasher.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

fn saturating(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}
