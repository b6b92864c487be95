//! Puts the program together: every concrete type is made here, and handed to who needs it.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, lookup_host};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing_appender::non_blocking::ErrorCounter;

use crate::base::clock::{SharedClock, SystemClock};
use crate::base::config::{Address, Config};
use crate::base::metrics::{Metrics, Side};
use crate::base::tasks::Tasks;
use crate::base::types::TxnIds;
use crate::control::http::{self, HttpState, Readiness};
use crate::coordinator::resolver::Resolver;
use crate::net::backend::Pool;
use crate::net::listen::listen;
use crate::net::tls::TlsError;
use crate::session::{Deps, Queues, Receipts, Recorder, Registry};
use crate::sql::Classifier;
use crate::store::service::Service;
use crate::txn::journal::Budget;
use crate::txn::replay::{Rule, Verified};

use super::accept::{Acceptor, Host};
use super::receipts::Keeper;
use super::reload::Reload;
use super::settings::{InForce, Settings, saturating};
use super::timestamps::{Surroundings, Watch, timestamps};

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
    deps: Arc<Deps>,
    http: Option<TcpListener>,
    readiness: Arc<Readiness>,
    in_force: InForce,
    /// Looks after the tables of receipts.
    keeper: Option<Keeper>,
    /// Asks PD for timestamps, and compares it with others.
    pd: Option<Watch>,
    /// The file to follow, and what it said at the start.
    followed: Option<(PathBuf, Config)>,
    /// Clients.
    clients: Tasks,
    /// What ends behind the last client.
    background: Tasks,
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
        let settings = Settings::build(config, 1)?;
        let mysql = bind(&config.listen.mysql).await?;
        let http = match &config.listen.http {
            Some(address) => Some(bind(address).await?),
            None => None,
        };
        let seed = random();
        let (clients, metrics) = (Tasks::default(), Arc::new(Metrics::new()));
        let stop = clients.token().clone();
        let clock = parts.clock.clone();
        let pool = Arc::new(Pool::new(&config.backend, clock, metrics.clone(), seed, stop));
        let journals = Budget::new(saturating(config.limits.journal_total));
        let queues = Queues::new(parts.clock.clone(), settings.etiquette);
        let in_force = InForce::new(&settings, pool.clone(), journals.clone(), queues.clone());
        let background = Tasks::default();
        let service = Service::new(&config.backend);
        let keeper = service.clone().map(|service| {
            let (clock, metrics, pool) = (parts.clock.clone(), metrics.clone(), pool.clone());
            let (receipts, policies) = (config.receipts, in_force.policies.subscribe());
            let resolver = Resolver::new(
                service.clone(),
                pool.clone(),
                receipts,
                clock.clone(),
                metrics.clone(),
                background.clone(),
            );
            Keeper { service, pool, receipts, policies, resolver, clock, metrics }
        });
        let resolver = keeper.as_ref().map(|keeper| Arc::new(keeper.resolver.clone()));
        let around = Surroundings {
            pool: &pool,
            service: service.as_ref(),
            clock: &parts.clock,
            metrics: &metrics,
        };
        let (oracle, pd) = timestamps(&config.tso, &around)?;
        let deps = Arc::new(Deps {
            clock: parts.clock,
            ids: TxnIds::new(random()),
            oracle,
            classifier: Classifier::new(config.limits.statement_shapes as usize),
            metrics,
            recorder: Recorder::new(config.log.transactions, SLOW),
            rule: parts.rule,
            journals,
            queues,
            seed,
            policies: in_force.policies.subscribe(),
            registry: Registry::default(),
            service,
            receipts: resolver.map(|resolver| Receipts::new(resolver)),
        });
        let acceptor = Acceptor {
            listener: mysql,
            limits: in_force.limits.subscribe(),
            host: Arc::new(Host::new(deps.clone(), pool.clone())),
            clients: clients.clone(),
            unwanted: Tasks::default(),
        };
        let readiness = Arc::new(Readiness::new(pool));
        let followed = None;
        Ok(Self {
            acceptor,
            deps,
            http,
            readiness,
            in_force,
            keeper,
            pd,
            followed,
            clients,
            background,
        })
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

    /// Publishes what is not counted where it happens: dropped log lines, the size of all journals,
    /// and who waits for whom.
    pub fn publish(&self, dropped: ErrorCounter) {
        let metrics = self.deps.metrics.clone();
        let (journals, queues) = (self.deps.journals.clone(), self.deps.queues.clone());
        let stop = self.background.token().clone();
        self.background.spawn(async move {
            let mut seen = 0;
            loop {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = sleep(PUBLISH_EVERY) => {}
                }
                let now = dropped.dropped_lines();
                metrics.log_dropped((now - seen) as u64);
                seen = now;
                metrics.journals_hold(journals.used());
                let shown = queues.shown();
                let tokens = queues.tokens().left();
                metrics.contention(shown.waiting, shown.circuits_open, tokens);
            }
        });
    }

    /// What sessions share; counters can be read here.
    #[must_use]
    pub fn deps(&self) -> Arc<Deps> {
        self.deps.clone()
    }

    /// Serves until `stop` is cancelled. Then `/readyz` says no at once; when the configured delay
    /// is over no new clients are accepted, idle ones are closed, and open transactions may finish
    /// for as long as the configuration allows, or until `now` is cancelled. Returns how many
    /// clients were cut off.
    ///
    /// Not cancel safe: dropped in the middle, it cuts all connections.
    pub async fn run(self, stop: CancellationToken, now: CancellationToken) -> u64 {
        let Self {
            acceptor,
            deps,
            http,
            readiness,
            in_force,
            keeper,
            pd,
            followed,
            clients,
            background,
        } = self;
        let (limits, pool) = (in_force.limits.subscribe(), in_force.pool.clone());
        if let Some((file, config)) = followed {
            let reload = Reload::new(file, config, in_force, deps.metrics.clone());
            // Heard from here on; before anything is served a SIGHUP would end the process.
            match signal(SignalKind::hangup()) {
                Ok(hangup) => background.spawn(reload.run(hangup, background.token().clone())),
                Err(error) => tracing::error!(%error, "the configuration file is not followed"),
            }
        }
        if let Some(listener) = http {
            let state = HttpState { metrics: deps.metrics.clone(), readiness: readiness.clone() };
            let token = background.token().clone();
            background.spawn(async move {
                if let Err(error) = http::serve(listener, state, token).await {
                    tracing::error!(%error, "the HTTP server ended");
                }
            });
        }
        background.spawn(pool.watch(background.token().clone()));
        if let Some(pd) = pd {
            pd.spawn(&background);
        }
        if let Some(keeper) = keeper {
            let stop = background.token().clone();
            background.spawn(async move {
                stop.run_until_cancelled(Box::pin(keeper.run())).await;
            });
        }
        tokio::select! {
            () = acceptor.run() => {}
            () = async {
                stop.cancelled().await;
                readiness.drain();
                let delay = limits.borrow().drain_delay;
                tokio::select! {
                    () = sleep(delay) => {}
                    () = now.cancelled() => {}
                }
            } => {}
        }
        // Closes the listener: who comes now is refused by the system and goes elsewhere.
        drop(acceptor);
        clients.cancel();
        let timeout = limits.borrow().drain_timeout;
        tokio::select! {
            biased;
            () = clients.wait() => {}
            () = sleep(timeout) => {}
            () = now.cancelled() => {}
        }
        let cut_off = deps.metrics.connections(Side::Client);
        if cut_off > 0 {
            tracing::warn!(clients = cut_off, "open transactions were cut off");
        }
        background.cancel();
        if !now.is_cancelled() {
            background.wait().await;
        }
        cut_off
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
