//! What a reload replaces: made as a whole from a checked configuration and the files it names,
//! then published as a whole. Whatever can fail belongs into [`Settings::build`], so that it fails
//! before anything is in force.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::base::config::{Backend, Config};
use crate::net::backend::Pool;
use crate::net::legs::Legs;
use crate::net::tls::TlsError;
use crate::policy::Snapshot;
use crate::session::{Queues, Terms};
use crate::txn::contention::Etiquette;
use crate::txn::journal::Budget;

/// What is made of a configuration, ready to be published.
pub(super) struct Settings {
    policies: Arc<Snapshot>,
    backend: Backend,
    limits: Arc<Limits>,
    journal_total: usize,
    pub(super) etiquette: Etiquette,
}

/// Limits for new clients and for the shutdown.
#[derive(Debug)]
pub(super) struct Limits {
    pub(super) clients_max: usize,
    pub(super) terms: Terms,
    pub(super) drain_delay: Duration,
    pub(super) drain_timeout: Duration,
}

impl Settings {
    /// `generation` counts the configurations that were in force, from 1.
    ///
    /// # Errors
    /// A file that the configuration names can't be used.
    pub(super) fn build(config: &Config, generation: u64) -> Result<Self, TlsError> {
        let limits = &config.limits;
        let legs = Arc::new(Legs::load(&config.listen.leg, &config.backend.leg)?);
        let terms = Terms {
            handshake_max: limits.handshake,
            idle: limits.idle,
            idle_in_transaction: limits.idle_in_transaction,
            statement_max: saturating(limits.statement),
            legs,
            journal_bytes_max: saturating(limits.journal_per_transaction),
        };
        Ok(Self {
            policies: Arc::new(Snapshot::compile(config, generation)),
            backend: config.backend.clone(),
            limits: Arc::new(Limits {
                clients_max: limits.clients as usize,
                terms,
                drain_delay: limits.drain_delay,
                drain_timeout: limits.drain_timeout,
            }),
            journal_total: saturating(limits.journal_total),
            etiquette: Etiquette {
                tokens: limits.retry_tokens,
                failures: limits.retry_failures,
                pause: limits.retry_pause,
            },
        })
    }
}

/// What is in force, where the others look for it.
pub(super) struct InForce {
    /// Sessions take the plan of a transaction from here at its BEGIN.
    pub(super) policies: watch::Sender<Arc<Snapshot>>,
    /// The acceptor hands them to each new client.
    pub(super) limits: watch::Sender<Arc<Limits>>,
    pub(super) pool: Arc<Pool>,
    pub(super) journals: Budget,
    pub(super) queues: Queues,
}

impl InForce {
    /// The first settings. The pool, the journals and the queues have theirs already.
    pub(super) fn new(
        settings: &Settings,
        pool: Arc<Pool>,
        journals: Budget,
        queues: Queues,
    ) -> Self {
        Self {
            policies: watch::Sender::new(settings.policies.clone()),
            limits: watch::Sender::new(settings.limits.clone()),
            pool,
            journals,
            queues,
        }
    }

    /// Replaces everything; nothing here can fail.
    pub(super) fn replace(&self, settings: Settings) {
        self.pool.replace(&settings.backend);
        self.journals.limit(settings.journal_total);
        self.queues.limit(settings.etiquette);
        self.policies.send_replace(settings.policies);
        self.limits.send_replace(settings.limits);
    }
}

pub(super) fn saturating(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}
