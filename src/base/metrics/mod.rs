//! Prometheus metrics as typed handles.
//!
//! One [`Metrics`] owns its own registry (never the library's global one) and every series of it.
//! Labels with a fixed set of values are enums and resolved once, so that counting on the hot path
//! is one atomic addition: no allocation, no lock, no look-up.

mod label;

use std::fmt;
use std::time::Duration;

use prometheus::core::Collector;
use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Opts, Registry, TextEncoder,
};

pub use label::{Clock, Fate, ReceiptOutcome, ReplayOutcome, Side, TransactionOutcome};

use label::{CODES, Label, code_index, code_label};

/// From 100 µs, a point read over loopback, to 10 s, beyond any default time limit; steps of 2 to
/// 2.5 keep a quantile within half of its value at 16 series.
const LATENCY_BUCKETS: &[f64] = &[
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0,
];

/// Every metric of the process. Share it by `Arc`.
pub struct Metrics {
    registry: Registry,
    transactions: [IntCounter; TransactionOutcome::ALL.len()],
    replays: [[IntCounter; CODES.len() + 1]; ReplayOutcome::ALL.len()],
    unguarded: IntCounterVec,
    receipts: [IntCounter; ReceiptOutcome::ALL.len()],
    statement_seconds: Histogram,
    commit_seconds: Histogram,
    connections: [IntGauge; Side::ALL.len()],
    connections_total: [IntCounter; Side::ALL.len()],
    log_dropped: IntCounter,
    backend_connect_errors: IntCounter,
    backend_connections: IntGaugeVec,
    backend_up: IntGaugeVec,
    journal_bytes: IntGauge,
    replay_wait_seconds: Histogram,
    replays_waiting: IntGauge,
    replay_circuits_open: IntGauge,
    retry_tokens: IntGauge,
    config_generation: IntGauge,
    config_rejected: IntGauge,
    resolved: [IntCounter; Fate::ALL.len()],
    receipts_pending: IntGauge,
    receipts_purged: IntCounter,
    receipts_oldest: Gauge,
    receipts_ready: IntGauge,
    tso_wait_seconds: Histogram,
    tso_rpc_seconds: Histogram,
    tso_unavailable_seconds: Gauge,
    tso_drift_seconds: GaugeVec,
    tso_foreign_backends: IntGauge,
}

/// What is shown of one backend address.
#[derive(Debug)]
pub struct BackendGauges {
    connections: IntGauge,
    up: IntGauge,
}

impl BackendGauges {
    /// It has so many connections.
    pub fn connections(&self, now: usize) {
        self.connections.set(i64::try_from(now).unwrap_or(i64::MAX));
    }

    /// Whether it is up.
    pub fn up(&self, up: bool) {
        self.up.set(up.into());
    }
}

/// An open connection in the gauge; dropping it takes it out again.
#[derive(Debug)]
pub struct ConnectionGuard {
    gauge: IntGauge,
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.gauge.dec();
    }
}

/// A transaction in the gauge of those under way in the background; dropping it takes it out again.
#[derive(Debug)]
pub struct PendingGuard {
    gauge: IntGauge,
}

impl Drop for PendingGuard {
    fn drop(&mut self) {
        self.gauge.dec();
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All series at zero, and those of the process.
    #[must_use]
    pub fn new() -> Self {
        let registry = Registry::new();
        let transactions = counters(
            &registry,
            "txguard_transactions_total",
            "Transactions by how they ended for the client.",
            &["outcome"],
        );
        let replays = counters(
            &registry,
            "txguard_replays_total",
            "Replays by how they ended and by the error code that called for them.",
            &["outcome", "code"],
        );
        let unguarded = counters(
            &registry,
            "txguard_unguarded_total",
            "Transactions that a policy wanted guarded and that could not be replayed, by reason.",
            &["reason"],
        );
        let receipts = counters(
            &registry,
            "txguard_receipts_total",
            "Commits whose policy wanted a receipt, by what became of it.",
            &["outcome"],
        );
        let open =
            gauges(&registry, "txguard_connections", "Open connections, by side.", &["side"]);
        let opened = counters(
            &registry,
            "txguard_connections_total",
            "Connections since the start, by side.",
            &["side"],
        );
        let log_dropped = counter(
            &registry,
            "txguard_log_dropped_total",
            "Log lines dropped because the writer could not keep up.",
        );
        let backend_connect_errors = counter(
            &registry,
            "txguard_backend_connect_errors_total",
            "Attempts to connect to a backend address that failed.",
        );
        let backend_connections = gauges(
            &registry,
            "txguard_backend_connections",
            "Connections to a backend address, those under way included.",
            &["backend"],
        );
        let backend_up = gauges(
            &registry,
            "txguard_backend_up",
            "1 while a backend address is known to be up.",
            &["backend"],
        );
        let journal_bytes = gauge(
            &registry,
            "txguard_journal_bytes",
            "Bytes of requests held for replay by all transactions together.",
        );
        let replays_waiting = gauge(
            &registry,
            "txguard_replays_waiting",
            "Replays that wait for others that lost a conflict on the same key.",
        );
        let replay_circuits_open = gauge(
            &registry,
            "txguard_replay_circuits_open",
            "Keys on which no replay is begun for now, because the last ones were in vain.",
        );
        let retry_tokens = gauge(
            &registry,
            "txguard_retry_tokens",
            "Replays in vain that the process still allows; a commit gives one more.",
        );
        let config_generation = gauge(
            &registry,
            "txguard_config_generation",
            "Counts the configurations that were in force, from 1.",
        );
        config_generation.set(1);
        let config_rejected = gauge(
            &registry,
            "txguard_config_rejected",
            "1 while the file on disk has mistakes and an older configuration is in force.",
        );
        let resolved = counters(
            &registry,
            "txguard_receipts_resolved_total",
            "Answers of the resolver of unanswered COMMITs, by what it said.",
            &["fate"],
        );
        let receipts_pending = gauge(
            &registry,
            "txguard_receipts_pending",
            "Transactions whose fate is being found out in the background.",
        );
        let receipts_purged = counter(
            &registry,
            "txguard_receipts_purged_total",
            "Receipts and idempotency keys removed because they were older than the retention.",
        );
        let receipts_oldest = kept(
            &registry,
            Gauge::new(
                "txguard_receipts_oldest_seconds",
                "Age of the oldest receipt, from its transaction's BEGIN; 0 without any.",
            ),
        );
        let receipts_ready = gauge(
            &registry,
            "txguard_receipts_ready",
            "1 while the tables of receipts are there and right.",
        );
        let tso_unavailable_seconds = kept(
            &registry,
            Gauge::new(
                "txguard_tso_unavailable_seconds",
                "How long PD has not answered; 0 while it does, or if it isn't asked.",
            ),
        );
        let drift = kept(
            &registry,
            GaugeVec::new(
                Opts::new(
                    "txguard_tso_drift_seconds",
                    "How far PD's time is surely ahead of another clock; behind, if negative.",
                ),
                &["against"],
            ),
        );
        let foreign = gauge(
            &registry,
            "txguard_tso_foreign_backends",
            "Backends whose timestamps are surely another PD's; hints are withheld then.",
        );
        let build = gauges(
            &registry,
            "txguard_build_info",
            "Always 1; the version is in the label.",
            &["version"],
        );
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        #[cfg(target_os = "linux")]
        add(&registry, prometheus::process_collector::ProcessCollector::for_self());

        Self {
            transactions: TransactionOutcome::ALL
                .map(|outcome| transactions.with_label_values(&[outcome.as_str()])),
            replays: ReplayOutcome::ALL.map(|outcome| {
                std::array::from_fn(|code| {
                    replays.with_label_values(&[outcome.as_str(), code_label(code)])
                })
            }),
            unguarded,
            receipts: ReceiptOutcome::ALL
                .map(|outcome| receipts.with_label_values(&[outcome.as_str()])),
            statement_seconds: latency(
                &registry,
                "txguard_statement_seconds",
                "Time from a statement's last byte to its answer's last byte, as the client sees it.",
            ),
            commit_seconds: latency(
                &registry,
                "txguard_commit_seconds",
                "Time that a commit point took for the client, replays included.",
            ),
            connections: Side::ALL.map(|side| open.with_label_values(&[side.as_str()])),
            connections_total: Side::ALL.map(|side| opened.with_label_values(&[side.as_str()])),
            log_dropped,
            backend_connect_errors,
            backend_connections,
            backend_up,
            journal_bytes,
            replay_wait_seconds: latency(
                &registry,
                "txguard_replay_wait_seconds",
                "Time that a replay waited for others that lost a conflict on the same key.",
            ),
            replays_waiting,
            replay_circuits_open,
            retry_tokens,
            config_generation,
            config_rejected,
            resolved: Fate::ALL.map(|fate| resolved.with_label_values(&[fate.as_str()])),
            receipts_pending,
            receipts_purged,
            receipts_oldest,
            receipts_ready,
            tso_wait_seconds: latency(
                &registry,
                "txguard_tso_wait_seconds",
                "Time that somebody waited for a timestamp of PD.",
            ),
            tso_rpc_seconds: latency(
                &registry,
                "txguard_tso_rpc_seconds",
                "Time from a request for timestamps to PD's answer.",
            ),
            tso_unavailable_seconds,
            tso_drift_seconds: drift,
            tso_foreign_backends: foreign,
            registry,
        }
    }

    /// A transaction has ended.
    pub fn transaction(&self, outcome: TransactionOutcome) {
        self.transactions[outcome.index()].inc();
    }

    /// A replay has ended that the backend's error `code` called for. Codes that never call for
    /// one are counted as `other`.
    pub fn replay(&self, outcome: ReplayOutcome, code: u16) {
        self.replays[outcome.index()][code_index(code)].inc();
    }

    /// A COMMIT whose policy wanted a receipt.
    pub fn receipt(&self, outcome: ReceiptOutcome) {
        self.receipts[outcome.index()].inc();
    }

    /// A transaction that should be guarded is not. Reasons are fixed words in `snake_case`, so the
    /// number of series stays bounded.
    pub fn unguarded(&self, reason: &'static str) {
        self.unguarded.with_label_values(&[reason]).inc();
    }

    /// A statement has been answered.
    pub fn statement(&self, took: Duration) {
        self.statement_seconds.observe(took.as_secs_f64());
    }

    /// A commit point has been answered.
    pub fn commit(&self, took: Duration) {
        self.commit_seconds.observe(took.as_secs_f64());
    }

    /// A connection was opened; it counts as open until the guard is dropped.
    #[must_use]
    pub fn connection(&self, side: Side) -> ConnectionGuard {
        self.connections_total[side.index()].inc();
        let gauge = self.connections[side.index()].clone();
        gauge.inc();
        ConnectionGuard { gauge }
    }

    /// Log lines were dropped since the last call.
    pub fn log_dropped(&self, lines: u64) {
        self.log_dropped.inc_by(lines);
    }

    /// A backend address did not accept a connection.
    pub fn backend_connect_error(&self) {
        self.backend_connect_errors.inc();
    }

    /// The gauges of an address. The configuration bounds how many there are.
    #[must_use]
    pub fn backend(&self, address: &str) -> BackendGauges {
        BackendGauges {
            connections: self.backend_connections.with_label_values(&[address]),
            up: self.backend_up.with_label_values(&[address]),
        }
    }

    /// An address is gone from the configuration, and so is its last connection.
    pub fn forget_backend(&self, address: &str) {
        // An error means that it was never there.
        let _ = self.backend_connections.remove_label_values(&[address]);
        let _ = self.backend_up.remove_label_values(&[address]);
    }

    /// Journals hold so many bytes now.
    pub fn journals_hold(&self, bytes: usize) {
        self.journal_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// A replay has waited for others that lost on the same key.
    pub fn replay_waited(&self, took: Duration) {
        self.replay_wait_seconds.observe(took.as_secs_f64());
    }

    /// So many replays wait, no replay is begun on so many keys, and so many tokens are left.
    pub fn contention(&self, waiting: usize, circuits_open: usize, tokens: u32) {
        self.replays_waiting.set(i64::try_from(waiting).unwrap_or(i64::MAX));
        self.replay_circuits_open.set(i64::try_from(circuits_open).unwrap_or(i64::MAX));
        self.retry_tokens.set(tokens.into());
    }

    /// Replays so far that have waited for others.
    #[must_use]
    pub fn replays_waited(&self) -> u64 {
        self.replay_wait_seconds.get_sample_count()
    }

    /// The configuration in force is this many-th.
    pub fn config_generation(&self, generation: u64) {
        self.config_generation.set(i64::try_from(generation).unwrap_or(i64::MAX));
    }

    /// Whether the file on disk was rejected.
    pub fn config_rejected(&self, rejected: bool) {
        self.config_rejected.set(rejected.into());
    }

    /// The resolver has said this of a transaction.
    pub fn resolved(&self, fate: Fate) {
        self.resolved[fate.index()].inc();
    }

    /// A transaction's fate is being found out in the background, until the guard is dropped.
    #[must_use]
    pub fn receipt_pending(&self) -> PendingGuard {
        let gauge = self.receipts_pending.clone();
        gauge.inc();
        PendingGuard { gauge }
    }

    /// A purge has removed so many rows, and the oldest that is left is so old.
    pub fn receipts_purged(&self, rows: u64, oldest: Duration) {
        self.receipts_purged.inc_by(rows);
        self.receipts_oldest.set(oldest.as_secs_f64());
    }

    /// Whether the tables of receipts are there and right.
    pub fn receipts_ready(&self, ready: bool) {
        self.receipts_ready.set(ready.into());
    }

    /// Somebody has got a timestamp of PD after waiting for it.
    pub fn tso_waited(&self, took: Duration) {
        self.tso_wait_seconds.observe(took.as_secs_f64());
    }

    /// PD has answered a request for timestamps.
    pub fn tso_answered(&self, took: Duration) {
        self.tso_rpc_seconds.observe(took.as_secs_f64());
    }

    /// PD has not answered for so long.
    pub fn tso_unavailable(&self, silent: Duration) {
        self.tso_unavailable_seconds.set(silent.as_secs_f64());
    }

    /// PD's time is so many seconds ahead of this clock; `None` if that isn't known any more.
    pub fn tso_drift(&self, against: Clock, seconds: Option<f64>) {
        let against = &[against.as_str()];
        match seconds {
            Some(seconds) => self.tso_drift_seconds.with_label_values(against).set(seconds),
            // There may have been none.
            None => drop(self.tso_drift_seconds.remove_label_values(against)),
        }
    }

    /// So many backends are surely another PD's.
    pub fn tso_foreign(&self, backends: usize) {
        self.tso_foreign_backends.set(i64::try_from(backends).unwrap_or(i64::MAX));
    }

    /// Transactions so far that ended in this way.
    #[must_use]
    pub fn transactions(&self, outcome: TransactionOutcome) -> u64 {
        self.transactions[outcome.index()].get()
    }

    /// Replays so far that ended in this way, over all codes.
    #[must_use]
    pub fn replays(&self, outcome: ReplayOutcome) -> u64 {
        self.replays[outcome.index()].iter().map(IntCounter::get).sum()
    }

    /// Unguarded transactions so far for this reason.
    #[must_use]
    pub fn unguarded_count(&self, reason: &'static str) -> u64 {
        self.unguarded.with_label_values(&[reason]).get()
    }

    /// COMMITs with this outcome of their receipt.
    #[must_use]
    pub fn receipts(&self, outcome: ReceiptOutcome) -> u64 {
        self.receipts[outcome.index()].get()
    }

    /// Connections that are open now.
    #[must_use]
    pub fn connections(&self, side: Side) -> u64 {
        u64::try_from(self.connections[side.index()].get()).unwrap_or_default()
    }

    /// Everything in Prometheus' text format 0.0.4.
    #[must_use]
    pub fn render(&self) -> String {
        TextEncoder::new()
            .encode_to_string(&self.registry.gather())
            .expect("writing to memory can't fail and every family has a name")
    }

    /// The media type of [`Metrics::render`].
    pub const CONTENT_TYPE: &'static str = prometheus::TEXT_FORMAT;
}

const RIGHT: &str = "name and labels are constants and right, see the golden test";

fn add(registry: &Registry, collector: impl Collector + 'static) {
    registry.register(Box::new(collector)).expect(RIGHT);
}

/// Registers what was made, and keeps a handle.
fn kept<C: Collector + Clone + 'static>(registry: &Registry, made: prometheus::Result<C>) -> C {
    let collector = made.expect(RIGHT);
    add(registry, collector.clone());
    collector
}

fn counter(registry: &Registry, name: &str, help: &str) -> IntCounter {
    kept(registry, IntCounter::new(name, help))
}

fn counters(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    kept(registry, IntCounterVec::new(Opts::new(name, help), labels))
}

fn gauge(registry: &Registry, name: &str, help: &str) -> IntGauge {
    kept(registry, IntGauge::new(name, help))
}

fn gauges(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
    kept(registry, IntGaugeVec::new(Opts::new(name, help), labels))
}

fn latency(registry: &Registry, name: &str, help: &str) -> Histogram {
    let buckets = LATENCY_BUCKETS.to_vec();
    kept(registry, Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets)))
}

#[cfg(test)]
mod tests;
