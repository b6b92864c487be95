//! A session between two pipes, driven from one task in paused time: nothing depends on when
//! something happens, only on the order.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{oneshot, watch};
use tokio::task::coop::unconstrained;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use txguard::base::clock::SystemClock;
use txguard::base::config::{Config, LogTransactions};
use txguard::base::metrics::Metrics;
use txguard::base::tasks::Tasks;
use txguard::base::types::TxnIds;
use txguard::net::legs::Legs;
use txguard::policy::Snapshot;
use txguard::session::{Backend, Deps, End, Queues, Recorder, Registry, Session, Terms};
use txguard::sql::Classifier;
use txguard::tso::Oracle;
use txguard::txn::contention::Etiquette;
use txguard::txn::journal::Budget;
use txguard::txn::replay::Verified;
use txguard::wire::frame::write_packet;

use crate::words;

/// Policies to fuzz under; the first has none.
pub const POLICIES: [&str; 4] = [
    "",
    "[[policy]]\nname='p'\nretry={attempts=3,budget='2s'}\n",
    "[[policy]]\nname='p'\nretry={attempts=2,budget='2s'}\ntag=true\ntso='hint'\n",
    "[[policy]]\nname='p'\nretry={attempts=2,budget='2s'}\ntag='alias'\ntso='exact'\n",
];

/// Sizes of the pipes on both sides.
pub const PIPES: [usize; 3] = [64 << 10, 1, 13];

/// What one side says and hears.
pub struct Side {
    stream: Option<DuplexStream>,
    said: Vec<u8>,
    written: usize,
    /// Everything that came.
    pub heard: Vec<u8>,
}

impl Side {
    fn new(stream: DuplexStream) -> Self {
        Self { stream: Some(stream), said: Vec::new(), written: 0, heard: Vec::new() }
    }

    /// Says these bytes as soon as they are taken.
    pub fn say(&mut self, bytes: &[u8]) {
        self.said.extend_from_slice(bytes);
    }

    /// Says a packet; returns the sequence id behind it.
    pub fn packet(&mut self, seq: u8, payload: &[u8]) -> u8 {
        write_packet(&mut self.said, seq, payload)
    }

    /// Everything that was said so far, taken or not.
    #[must_use]
    pub fn said(&self) -> &[u8] {
        &self.said
    }

    /// Forgets what was said and heard up to now.
    pub fn forget(&mut self) {
        self.said.drain(..self.written);
        self.written = 0;
        self.heard.clear();
    }

    /// Writes and reads what goes at once; true if anything moved.
    fn pump(&mut self) -> bool {
        let Some(stream) = self.stream.as_mut() else { return false };
        let mut cx = Context::from_waker(Waker::noop());
        let mut moved = false;
        while self.written < self.said.len() {
            match Pin::new(&mut *stream).poll_write(&mut cx, &self.said[self.written..]) {
                Poll::Ready(Ok(len)) => {
                    self.written += len;
                    moved = true;
                }
                Poll::Ready(Err(_)) | Poll::Pending => break,
            }
        }
        let mut space = [0; 4096];
        loop {
            let mut space = ReadBuf::new(&mut space);
            match Pin::new(&mut *stream).poll_read(&mut cx, &mut space) {
                Poll::Ready(Ok(())) if !space.filled().is_empty() => {
                    self.heard.extend_from_slice(space.filled());
                    moved = true;
                }
                _ => return moved,
            }
        }
    }

    /// Hears the last of it and ends the connection.
    fn close(&mut self) {
        self.pump();
        self.stream = None;
    }
}

/// A session and both its sides.
pub struct Dialogue {
    pub client: Side,
    pub server: Side,
    drain: CancellationToken,
    end: oneshot::Receiver<End>,
    ended: Option<End>,
    tasks: Tasks,
}

/// How far a session goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// It ends with the login.
    Login,
    /// It ends when one side leaves.
    Gone,
}

/// Runs a dialogue to its end.
pub fn run(dialogue: impl Future<Output = ()>) {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    let runtime = RUNTIME.get_or_init(|| {
        Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime")
    });
    // Both sides are looked at again and again within one turn.
    runtime.block_on(unconstrained(dialogue));
}

impl Dialogue {
    /// Both sides are connected; nothing has been said.
    #[must_use]
    pub fn connect(policy: usize, pipe: usize, until: Until) -> Self {
        let (client, near) = duplex(pipe);
        let (far, server) = duplex(pipe);
        let (tell, end) = oneshot::channel();
        let (tasks, drain) = (Tasks::default(), CancellationToken::new());
        let token = drain.clone();
        let (deps, terms) = promised(policy);
        tasks.spawn(async move {
            let backend = Backend { stream: far, address: "a:4000".into() };
            let ended = match Box::pin(Session::login(near, backend, deps, &terms)).await {
                Ok(_) if until == Until::Login => End::Drained,
                Ok(session) => Box::pin(session.run(token)).await,
                Err(end) => end,
            };
            let _ = tell.send(ended);
        });
        let (client, server) = (Side::new(client), Side::new(server));
        Self { client, server, drain, end, ended: None, tasks }
    }

    /// Behind the login, with nothing heard. Without a policy the server is not a TiDB, of which
    /// txguard asks a question of its own behind long data.
    pub async fn open(policy: usize, pipe: usize, deprecate_eof: bool) -> Self {
        let mut talk = Self::connect(policy, pipe, Until::Gone);
        let version = if policy == 0 { words::MYSQL } else { words::TIDB };
        talk.server.packet(0, &words::greeting(version));
        talk.settle().await;
        talk.client.packet(1, &words::login(deprecate_eof));
        talk.settle().await;
        talk.server.packet(2, &words::ok(words::AUTO));
        talk.settle().await;
        assert_eq!(talk.ended(), None, "the login failed");
        talk.client.forget();
        talk.server.forget();
        talk
    }

    /// Waits until nothing moves any more.
    pub async fn settle(&mut self) {
        loop {
            let moved = self.client.pump() | self.server.pump();
            // Time goes on only when every other task waits.
            sleep(Duration::from_millis(1)).await;
            let moved = self.client.pump() | self.server.pump() | moved;
            if !moved {
                return;
            }
        }
    }

    /// The session shall end as soon as it is idle.
    pub fn drain(&self) {
        self.drain.cancel();
    }

    /// Why the session has ended, if it has.
    pub fn ended(&mut self) -> Option<End> {
        if let Ok(end) = self.end.try_recv() {
            self.ended = Some(end);
        }
        self.ended
    }

    /// Both sides leave, the client first, and the session ends with them. What it said at last is
    /// heard.
    pub async fn close(&mut self) {
        self.settle().await;
        self.client.close();
        self.settle().await;
        self.server.close();
        let ended = timeout(Duration::from_secs(3600), self.tasks.wait()).await;
        assert!(ended.is_ok(), "the session goes on without anyone there");
    }
}

/// What all sessions share here; what a statement teaches is not shared.
struct Shared {
    metrics: Arc<Metrics>,
    legs: Arc<Legs>,
    policies: Vec<Arc<Snapshot>>,
}

impl Shared {
    fn new() -> Self {
        let parse = |text| Config::parse(text, "fuzz.toml").expect("a configuration");
        let config = parse("");
        let legs = Legs::load(&config.listen.leg, &config.backend.leg).expect("no files");
        Self {
            metrics: Arc::new(Metrics::new()),
            legs: Arc::new(legs),
            policies: POLICIES.map(|text| Arc::new(Snapshot::compile(&parse(text), 1))).into(),
        }
    }
}

/// What a session needs, and what it is promised.
fn promised(policy: usize) -> (Arc<Deps>, Terms) {
    static SHARED: OnceLock<Shared> = OnceLock::new();
    let shared = SHARED.get_or_init(Shared::new);
    let deps = Deps {
        clock: Arc::new(SystemClock),
        ids: TxnIds::new(7),
        oracle: Oracle::default(),
        classifier: Classifier::new(64),
        metrics: shared.metrics.clone(),
        recorder: Recorder::new(LogTransactions::All, Duration::from_secs(1)),
        rule: Arc::new(Verified),
        journals: Budget::new(1 << 20),
        queues: Queues::new(Arc::new(SystemClock), Etiquette::default()),
        seed: 0x5EED,
        registry: Registry::default(),
        service: None,
        receipts: None,
        policies: watch::channel(shared.policies[policy % POLICIES.len()].clone()).1,
    };
    let terms = Terms {
        handshake_max: Duration::from_secs(10),
        idle: None,
        idle_in_transaction: None,
        statement_max: 1 << 30,
        journal_bytes_max: 4 << 10,
        legs: shared.legs.clone(),
    };
    (Arc::new(deps), terms)
}
