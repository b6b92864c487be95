//! txguard in this process, on threads of its own: a panic or a log line on them is known to be
//! this proxy's, and a test that blocks doesn't hold it up.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use txguard::app::build::{App, Parts};
use txguard::base::config::Config;
use txguard::base::metrics::{Metrics, ReplayOutcome, TransactionOutcome};
use txguard::session::Deps;

use super::backend::Backend;
use super::certificates::Certificates;
use super::log::{self, Line};
use super::soon;

/// How long open transactions may go on when a test stops its proxy.
const DRAIN: Duration = Duration::from_secs(2);

/// A running txguard. At its end no task may have panicked.
pub(crate) struct Proxy {
    /// Where it serves MySQL clients.
    pub(crate) address: SocketAddr,
    /// Where it serves HTTP, if it does.
    pub(crate) http: Option<SocketAddr>,
    deps: Arc<Deps>,
    thread: String,
    stop: CancellationToken,
    served: Option<JoinHandle<u64>>,
    runtime: Option<Runtime>,
}

impl Proxy {
    /// Before a server, with this text behind the usual beginning of the configuration; policies
    /// and limits go here.
    pub(crate) async fn start(backend: &Backend, toml: &str) -> Self {
        Self::start_at(&backend.address, toml, Parts::default()).await
    }

    /// The same, with parts of the test's own.
    pub(crate) async fn start_with(backend: &Backend, toml: &str, parts: Parts) -> Self {
        Self::start_at(&backend.address, toml, parts).await
    }

    /// Before any HOST:PORT.
    pub(crate) async fn start_at(backend: &str, toml: &str, parts: Parts) -> Self {
        Self::start_text(&configuration(backend, toml), parts).await
    }

    /// With this text as the configuration.
    pub(crate) async fn start_text(text: &str, parts: Parts) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        log::start();
        let mut config = match Config::parse(text, "test.toml") {
            Ok(config) => config,
            Err(problems) => panic!("{problems}\n{text}"),
        };
        config.limits.drain_timeout = DRAIN;
        let thread = format!("txguard-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name(&thread)
            .enable_all()
            .build()
            .expect("a runtime");
        let app = runtime.spawn(async move { App::build(&config, parts).await });
        let app = app.await.expect("no panic").expect("a free port");
        let (address, http) = (app.mysql_address().expect("bound"), app.http_address());
        let deps = app.deps();
        let stop = CancellationToken::new();
        let served = runtime.spawn(app.run(stop.clone(), CancellationToken::new()));
        Self { address, http, deps, thread, stop, served: Some(served), runtime: Some(runtime) }
    }

    /// Its counters.
    pub(crate) fn metrics(&self) -> &Metrics {
        &self.deps.metrics
    }

    /// Transactions that ended so.
    pub(crate) fn transactions(&self, outcome: TransactionOutcome) -> u64 {
        self.metrics().transactions(outcome)
    }

    /// Replays that ended so.
    pub(crate) fn replays(&self, outcome: ReplayOutcome) -> u64 {
        self.metrics().replays(outcome)
    }

    /// What it has logged so far, at any level.
    pub(crate) fn lines(&self) -> Vec<Line> {
        log::lines(&self.thread)
    }

    /// The records of finished transactions so far.
    pub(crate) fn records(&self) -> Vec<Line> {
        let mut lines = self.lines();
        lines.retain(|line| line.target == "txguard::transaction");
        lines
    }

    /// Shuts it down and checks that all went well.
    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        let served = self.served.take().expect("stopped once");
        let ended = soon("the shutdown", served).await;
        self.check();
        ended.expect("the program did not panic");
    }

    #[track_caller]
    fn check(&self) {
        let panics = log::panics(&self.thread);
        assert!(panics.is_empty(), "txguard panicked:\n{}", panics.join("\n"));
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
        if !std::thread::panicking() {
            self.check();
        }
    }
}

/// The text of a configuration: any free port, every transaction recorded.
pub(crate) fn configuration(backend: &str, toml: &str) -> String {
    format!(
        "[listen]\nmysql = \"127.0.0.1:0\"\nhttp = \"\"\n\
         [backend]\naddresses = [\"{backend}\"]\n\
         [log]\ntransactions = \"all\"\n{toml}\n"
    )
}

/// The same, and TLS for who wants it.
pub(crate) fn with_tls(backend: &str, toml: &str, certificates: &Certificates) -> String {
    let [certificate, key] = ["server.pem", "server.key"].map(|name| certificates.text(name));
    format!(
        "[listen]\nmysql = \"127.0.0.1:0\"\nhttp = \"\"\n\
         tls_certificate = \"{certificate}\"\ntls_key = \"{key}\"\n\
         [backend]\naddresses = [\"{backend}\"]\n\
         [log]\ntransactions = \"all\"\n{toml}\n"
    )
}

/// Policies that tests use.
pub(crate) mod policy {
    /// No policy at all.
    pub(crate) const NONE: &str = "";

    /// What the product recommends: replay, tags, a timestamp hint.
    pub(crate) const RETRY: &str = "[[policy]]\nname = \"retry\"\n\
        retry = { attempts = 50, budget = \"20s\" }\ntag = true\ntso = \"hint\"\n";

    /// Everything that adds statements.
    pub(crate) const EXACT: &str =
        "[[policy]]\nname = \"exact\"\ntag = \"alias\"\ntso = \"exact\"\n";

    /// All of it together.
    pub(crate) const RETRY_EXACT: &str = "[[policy]]\nname = \"retry-exact\"\n\
        retry = { attempts = 50, budget = \"20s\" }\ntag = \"alias\"\ntso = \"exact\"\n";
}
