//! Puts a session between a scripted client and a scripted server.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::duplex;
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use txguard::base::clock::{SharedClock, SystemClock};
use txguard::base::config::{Config, LogTransactions};
use txguard::base::metrics::{Metrics, ReplayOutcome, TransactionOutcome};
use txguard::base::tasks::Tasks;
use txguard::base::types::TxnIds;
use txguard::net::legs::Legs;
use txguard::policy::Snapshot;
use txguard::session::{Backend, Deps, End, Queues, Receipts, Recorder, Registry, Session, Terms};
use txguard::sql::Classifier;
use txguard::store::service::Service;
use txguard::tso::Oracle;
use txguard::txn::contention::Etiquette;
use txguard::txn::journal::Budget;
use txguard::txn::replay::{Rule, Verified};
use txguard::wire::capability::Capabilities;

use super::client::Client;
use super::server::Server;
use super::words::{AUTO, Reply, TX, conflict, ok, query, rows};

/// No wait lasts longer; by a clock that jumps as soon as nothing else can happen.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);

/// Verified replay and nothing else, so that texts arrive as they were sent.
pub(crate) const RETRY: &str = "[[policy]]\nname='p'\nretry={attempts=3,budget='2s'}\n";

/// What the tests may choose.
pub(crate) struct Setup {
    pub(crate) policies: String,
    pub(crate) rule: Arc<dyn Rule>,
    pub(crate) client_pipe: usize,
    pub(crate) backend_pipe: usize,
    pub(crate) flags: u32,
    pub(crate) version: &'static str,
    pub(crate) collation: u8,
    pub(crate) user: &'static str,
    pub(crate) schema: Option<&'static str>,
    pub(crate) status: u16,
    pub(crate) journal_bytes_max: usize,
    pub(crate) journals: Budget,
    /// Those of several talks meet in one.
    pub(crate) queues: Queues,
    pub(crate) idle: Option<Duration>,
    pub(crate) idle_in_transaction: Option<Duration>,
    pub(crate) statement_max: usize,
    /// Live connections; those of several talks meet in one.
    pub(crate) registry: Registry,
    /// The backend's address and the id that it gives.
    pub(crate) address: &'static str,
    pub(crate) id: u32,
    pub(crate) service: Option<Service>,
    pub(crate) receipts: Option<Receipts>,
    pub(crate) clock: SharedClock,
    /// The seed of the transactions' ids: one for each process.
    pub(crate) ids: u64,
}

/// Capabilities of an ordinary client.
pub(crate) const FLAGS: u32 = 1
    | Capabilities::PROTOCOL_41
    | Capabilities::SECURE_CONNECTION
    | Capabilities::PLUGIN_AUTH
    | Capabilities::MULTI_STATEMENTS;

/// A session under these policies, everything else as usual.
pub(crate) fn setup(policies: &str) -> Setup {
    Setup {
        policies: policies.to_owned(),
        rule: Arc::new(Verified),
        client_pipe: 64 << 10,
        backend_pipe: 64 << 10,
        flags: FLAGS,
        version: "8.0.11-TiDB-v8.5.3",
        collation: 46,
        user: "app",
        schema: None,
        status: AUTO,
        journal_bytes_max: 1 << 20,
        journals: Budget::new(1 << 30),
        queues: Queues::new(Arc::new(SystemClock), Etiquette::default()),
        idle: None,
        idle_in_transaction: None,
        statement_max: 1 << 30,
        registry: Registry::default(),
        address: "a:4000",
        id: 4711,
        service: None,
        receipts: None,
        clock: Arc::new(SystemClock),
        ids: 7,
    }
}

/// A dialogue: what the client says, what the server says, and what txguard makes of it.
pub(crate) struct Talk {
    pub(crate) client: Client,
    pub(crate) server: Server,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) journals: Budget,
    pub(crate) drain: CancellationToken,
    pub(crate) policies: watch::Sender<Arc<Snapshot>>,
    end: oneshot::Receiver<End>,
    tasks: Tasks,
}

impl Setup {
    /// Pipes of these sizes on the client's and the backend's side.
    pub(crate) fn pipes(mut self, client: usize, backend: usize) -> Self {
        self.client_pipe = client;
        self.backend_pipe = backend;
        self
    }

    pub(crate) fn deprecate_eof(mut self, on: bool) -> Self {
        if on {
            self.flags |= Capabilities::DEPRECATE_EOF;
        }
        self
    }

    /// Autocommit is off from the start.
    pub(crate) fn manual(mut self) -> Self {
        self.status = 0;
        self
    }

    /// Both sides are connected; nothing has been said.
    pub(crate) fn connect(&self) -> Talk {
        let config = parse(&self.policies);
        let metrics = Arc::new(Metrics::new());
        let (publish, policies) = watch::channel(Arc::new(Snapshot::compile(&config, 1)));
        let deps = Arc::new(Deps {
            clock: self.clock.clone(),
            ids: TxnIds::new(self.ids),
            oracle: Oracle::default(),
            classifier: Classifier::new(256),
            metrics: metrics.clone(),
            recorder: Recorder::new(LogTransactions::All, Duration::from_secs(1)),
            rule: self.rule.clone(),
            journals: self.journals.clone(),
            queues: self.queues.clone(),
            seed: 0x5EED,
            policies,
            registry: self.registry.clone(),
            service: self.service.clone(),
            receipts: self.receipts.clone(),
        });
        let legs = Legs::load(&config.listen.leg, &config.backend.leg).expect("readable files");
        let terms = Terms {
            handshake_max: Duration::from_secs(10),
            idle: self.idle,
            idle_in_transaction: self.idle_in_transaction,
            statement_max: self.statement_max,
            legs: Arc::new(legs),
            journal_bytes_max: self.journal_bytes_max,
        };
        let (client, near) = duplex(self.client_pipe);
        let (far, server) = duplex(self.backend_pipe);
        let backend = Backend { stream: far, address: self.address.into() };
        let (tell, end) = oneshot::channel();
        let (tasks, drain) = (Tasks::default(), CancellationToken::new());
        let token = drain.clone();
        tasks.spawn(async move {
            let ended = match Box::pin(Session::login(near, backend, deps, &terms)).await {
                Ok(session) => Box::pin(session.run(token)).await,
                Err(end) => end,
            };
            let _ = tell.send(ended);
        });
        let (client, server) = (Client::new(client), Server::new(server));
        let journals = self.journals.clone();
        Talk { client, server, metrics, journals, drain, policies: publish, end, tasks }
    }

    /// Behind the login.
    pub(crate) async fn open(&self) -> Talk {
        let mut talk = self.connect();
        talk.server.greet_with(self.id, self.version, u32::MAX).await;
        talk.client.greeting().await;
        talk.client.login(self.flags, self.collation, self.user, self.schema).await;
        talk.server.login().await;
        talk.server.say(2, &ok(self.status)).await;
        talk.client.expect_from(2, &ok(self.status)).await;
        talk
    }
}

pub(crate) fn parse(text: &str) -> Config {
    Config::parse(text, "test.toml").unwrap_or_else(|wrong| panic!("{wrong}"))
}

/// A session behind its login.
pub(crate) async fn open(policies: &str) -> Talk {
    setup(policies).open().await
}

impl Talk {
    /// One command and its reply, both unchanged on the way.
    pub(crate) async fn step(&mut self, payload: &[u8], reply: &Reply) {
        self.client.send(payload).await;
        self.server.expect(payload).await;
        self.answer(reply).await;
    }

    /// The server's reply reaches the client as it is.
    pub(crate) async fn answer(&mut self, reply: &Reply) {
        let (server, client) = (&mut self.server, &mut self.client);
        tokio::join!(server.reply(reply), client.expect(reply));
    }

    /// One statement and its reply.
    pub(crate) async fn sql(&mut self, text: &str, reply: &Reply) {
        self.step(&query(text), reply).await;
    }

    /// The server alone hears a statement: a replay.
    pub(crate) async fn again(&mut self, text: &str, reply: &Reply) {
        self.server.expect(&query(text)).await;
        self.server.reply(reply).await;
    }

    /// The client says COMMIT and the server refuses it; the client hears nothing yet.
    pub(crate) async fn commit_conflicts(&mut self, start: u64) {
        self.client.send(&query("COMMIT")).await;
        self.server.expect(&query("COMMIT")).await;
        self.server.reply(&conflict(start)).await;
    }

    /// BEGIN, a read, a write.
    pub(crate) async fn transfer(&mut self) {
        self.sql("BEGIN", &ok(TX)).await;
        self.sql("SELECT v FROM t WHERE id = 1", &rows(&["5"], TX)).await;
        self.sql("UPDATE t SET v = 6 WHERE id = 1", &super::words::changed(1, TX)).await;
    }

    /// The first statements of [`Self::transfer`] once more, with equal answers.
    pub(crate) async fn transfer_again(&mut self) {
        self.again("ROLLBACK", &ok(AUTO)).await;
        self.again("BEGIN", &ok(TX)).await;
        self.again("SELECT v FROM t WHERE id = 1", &rows(&["5"], TX)).await;
        self.again("UPDATE t SET v = 6 WHERE id = 1", &super::words::changed(1, TX)).await;
    }

    /// A transfer that meets a conflict and is replayed: transactions are guarded.
    pub(crate) async fn guarded(&mut self, start: u64) {
        self.transfer().await;
        self.commit_conflicts(start).await;
        self.transfer_again().await;
        self.again("COMMIT", &ok(AUTO)).await;
        self.client.expect(&ok(AUTO)).await;
    }

    /// The connection works, and no transaction is open: an autocommit statement passes as it is.
    pub(crate) async fn usable(&mut self) {
        self.sql("SELECT 'still here'", &rows(&["1"], AUTO)).await;
        self.server.silent().await;
    }

    /// The session has ended by itself.
    pub(crate) async fn ended(&mut self) -> End {
        timeout(LIMIT, &mut self.end).await.expect("the session goes on").expect("it tells")
    }

    /// The client leaves in peace; the server sees the end of the stream and nothing before it.
    pub(crate) async fn bye(self) -> Arc<Metrics> {
        let Self { client, mut server, metrics, journals, mut end, tasks, .. } = self;
        drop(client);
        let ended = timeout(LIMIT, &mut end).await.expect("the session goes on");
        assert_eq!(ended, Ok(End::ClientGone));
        server.gone().await;
        timeout(LIMIT, tasks.wait()).await.expect("the task ends");
        assert_eq!(journals.used(), 0, "journal bytes are given back");
        metrics
    }

    /// Transactions by outcome: committed, rolled back, conflict, failed, unknown.
    pub(crate) fn outcomes(&self) -> [u64; 5] {
        outcomes(&self.metrics)
    }

    pub(crate) fn replays(&self, outcome: ReplayOutcome) -> u64 {
        self.metrics.replays(outcome)
    }

    /// Replays of any outcome.
    pub(crate) fn replays_all(&self) -> u64 {
        ReplayOutcome::ALL.iter().map(|outcome| self.metrics.replays(*outcome)).sum()
    }

    /// All unguarded transactions, by reason.
    pub(crate) fn unguarded(&self) -> Vec<String> {
        unguarded(&self.metrics)
    }
}

pub(crate) fn outcomes(metrics: &Metrics) -> [u64; 5] {
    use TransactionOutcome::{Committed, Conflict, Failed, RolledBack, Unknown};
    [Committed, RolledBack, Conflict, Failed, Unknown].map(|outcome| metrics.transactions(outcome))
}

/// `reason` once for each transaction.
pub(crate) fn unguarded(metrics: &Metrics) -> Vec<String> {
    let text = metrics.render();
    let mut found = Vec::new();
    for line in text.lines() {
        let Some(rest) = line.strip_prefix("txguard_unguarded_total{reason=\"") else { continue };
        let (reason, count) = rest.split_once("\"} ").expect("a series");
        let count: usize = count.parse().expect("a whole number");
        found.extend(std::iter::repeat_n(reason.to_owned(), count));
    }
    found
}
