//! Keeps the tables of commit receipts while a policy wants any: looks whether they are there and
//! right, installs them where the configuration says so, and purges what is old.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::base::clock::SharedClock;
use crate::base::config::Receipts;
use crate::base::metrics::Metrics;
use crate::coordinator::purge::purge;
use crate::coordinator::resolver::Resolver;
use crate::net::backend::Pool;
use crate::policy::Snapshot;
use crate::store::schema::{self, InstallError, State};
use crate::store::service::{Service, ServiceError, Talk};

/// Between two looks at tables that are not right.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// How long a look may take, its purge included; a server that hangs must not end them all.
const LOOK_MAX: Duration = Duration::from_secs(300);

/// Between two purges. Each process does its own; what one has removed the next doesn't find.
const PURGE_EVERY: Duration = Duration::from_secs(600);

/// The task of `serve`.
pub(super) struct Keeper {
    pub(super) service: Service,
    pub(super) pool: Arc<Pool>,
    pub(super) receipts: Receipts,
    pub(super) policies: watch::Receiver<Arc<Snapshot>>,
    pub(super) resolver: Resolver,
    pub(super) clock: SharedClock,
    pub(super) metrics: Arc<Metrics>,
}

impl Keeper {
    /// Never returns while there are policies to follow.
    ///
    /// Cancel safe: what is cut off goes on in the next process.
    pub(super) async fn run(mut self) {
        let mut said = None;
        loop {
            let wanted = self.policies.borrow_and_update().plans().iter().any(|plan| plan.receipt);
            let pause = match wanted {
                true => timeout(LOOK_MAX, Box::pin(self.look(&mut said))).await,
                false => Ok(Duration::MAX),
            };
            tokio::select! {
                () = sleep(pause.unwrap_or(LOOK_AGAIN)) => {}
                changed = self.policies.changed() => if changed.is_err() { return },
            }
        }
    }

    /// One look at every database; returns when the next one is due.
    async fn look(&self, said: &mut Option<Finding>) -> Duration {
        let addresses = self.pool.report().into_iter().map(|server| server.address);
        let (mut databases, failed) = self.service.open_all(addresses).await;
        if databases.is_empty() {
            let each: Vec<_> = failed.iter().map(|(at, error)| format!("{at}: {error}")).collect();
            let each = each.join(", ");
            if self.resolver.is_ready() {
                // What was known of the tables still holds.
                tracing::warn!("nobody can be asked for the tables of commit receipts: {each}");
            } else {
                tell(said, Err(each));
            }
            return LOOK_AGAIN;
        }
        let mut finding = Ok(());
        for (address, talk) in &mut databases {
            if let Err(why) = self.check(talk).await {
                finding = Err(format!("{address}: {why}"));
            }
        }
        let right = finding.is_ok();
        self.resolver.ready(right);
        tell(said, finding);
        if !right {
            return LOOK_AGAIN;
        }
        self.purge(&mut databases).await;
        PURGE_EVERY
    }

    async fn check(&self, talk: &mut Talk) -> Result<(), NotRight> {
        match schema::inspect(talk).await? {
            State::Right => return Ok(()),
            State::Missing | State::Version(..schema::VERSION) if self.receipts.migrate => {}
            state => return Err(NotRight::State(state)),
        }
        for step in schema::install(talk).await? {
            tracing::info!("installed {step}");
        }
        match schema::inspect(talk).await? {
            State::Right => Ok(()),
            state => Err(NotRight::State(state)),
        }
    }

    async fn purge(&self, databases: &mut [(String, Talk)]) {
        let (mut rows, mut oldest) = (0, Duration::ZERO);
        for (address, talk) in databases {
            match purge(talk, self.clock.wall(), self.receipts.retention).await {
                Ok(done) => {
                    rows += done.rows;
                    oldest = oldest.max(done.oldest.unwrap_or_default());
                }
                Err(error) => tracing::warn!(%address, %error, "old receipts were not purged"),
            }
        }
        self.metrics.receipts_purged(rows, oldest);
    }
}

/// Why the tables can't be used.
#[derive(Debug, thiserror::Error)]
enum NotRight {
    #[error("{0}")]
    State(State),
    #[error(transparent)]
    Install(#[from] InstallError),
    #[error(transparent)]
    Service(#[from] ServiceError),
}

/// What a look found: right, or what is in the way.
type Finding = Result<(), String>;

/// Says what has changed since the last look, once.
fn tell(said: &mut Option<Finding>, finding: Finding) {
    if said.as_ref() == Some(&finding) {
        return;
    }
    match &finding {
        Ok(()) => tracing::info!("the tables of commit receipts are right"),
        Err(why) => tracing::error!(
            "no commit receipts, transactions run without: {why}; `txguard schema install` creates \
             the tables, `txguard schema check` looks at them"
        ),
    }
    *said = Some(finding);
}
