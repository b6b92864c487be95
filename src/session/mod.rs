//! Floor 7: one client. Two streams, one state, one loop.
//!
//! ```text
//!          ┌───────────── Session::run ─────────────┐
//! client ──┤ net::relay ⇄ Conversation (a Tap: pure │── backend
//!          │   decisions on bytes, one file a verb) │
//!          │ stops for: conflict → replay.rs        │
//!          └────────────────────────────────────────┘
//! ```
//!
//! `Conversation` sees every frame before it is released. It never waits; where something has
//! to be waited for, it stops the relay with an `Event` and the session takes over with both
//! streams in its hands.
//!
//! | file | what it does |
//! |---|---|
//! | `handshake` | greeting and login, relayed |
//! | `request` | frames of the client: which command, may it go out now |
//! | `query`, `prepared` | COM_QUERY; COM_STMT_* |
//! | `begin`, `commit` | a transaction starts; a transaction ends |
//! | `reply` | frames of the backend: whose, what do they say |
//! | `capture` | exact timestamps around COMMIT |
//! | `receipt` | the receipt with COMMIT, and what is done when its answer is lost |
//! | `registry`, `kill` | live connections; KILL of one on another backend |
//! | `inject` | statements of our own, and the tag |
//! | `key` | idempotency keys |
//! | `limit` | silence, and the length of statements |
//! | `local` | what txguard answers itself: `CALL txguard.<verb>` |
//! | `password` | which passwords may cross which leg |
//! | `count` | sequence ids, where a leg is compressed |
//! | `replay`, `queue` | the transaction again; waiting for one's turn |
//! | `pin` | generated ids in a replay |
//! | `record` | what is told when it has ended |

mod begin;
mod capture;
mod commit;
mod count;
mod handshake;
mod inject;
mod key;
mod kill;
mod limit;
mod local;
mod password;
mod pin;
mod prepared;
mod query;
mod queue;
mod receipt;
mod record;
mod registry;
mod replay;
mod reply;
mod request;
mod walk;

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::base::clock::SharedClock;
use crate::base::error::Own;
use crate::base::metrics::Metrics;
use crate::base::types::{Tso, TxnId, TxnIds};
use crate::net::lane::Lane;
use crate::net::legs::Legs;
use crate::net::relay::{Flow, Link, Stop, Tap};
use crate::net::stream::Stream;
use crate::policy::{Plan, Snapshot, UserPolicies};
use crate::sql::{Classifier, Lexing};
use crate::store::idempotency::IdempotencyKey;
use crate::store::service::Service;
use crate::tso::Oracle;
use crate::txn::digest::Digest;
use crate::txn::effect::Reads;
use crate::txn::fingerprint::Fingerprint;
use crate::txn::guard::{Guard, Unguarded};
use crate::txn::journal::{Budget, Journal};
use crate::txn::record::{Outcome, Record};
use crate::txn::replay::{Attempts, ReplayOutcome, Rule};
use crate::wire::capability::Capabilities;
use crate::wire::command::{Command, Reply};
use crate::wire::expect::Expectations;
use crate::wire::packet::prepare_ok::PrepareOk;
use crate::wire::response::Response;
use crate::wire::status::Status;

use self::count::Count;
pub use self::handshake::own_error;
use self::handshake::own_ok;
pub use self::key::LookUp;
use self::kill::Errand;
use self::limit::{Limit, until};
use self::local::Calls;
use self::password::Passwords;
use self::prepared::{Prepared, Statements};
use self::queue::Place;
pub use self::queue::Queues;
pub use self::receipt::{Deciding, Fates, Receipts};
use self::receipt::{Doubt, OfTxn};
pub use self::record::Recorder;
use self::registry::Registered;
pub use self::registry::Registry;
use self::request::Position;
use self::walk::Walk;

/// What all sessions of a process share.
pub struct Deps {
    /// Time.
    pub clock: SharedClock,
    /// Transaction ids.
    pub ids: TxnIds,
    /// Timestamps for hints.
    pub oracle: Oracle,
    /// What statements do, by shape.
    pub classifier: Classifier,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Where finished transactions are told.
    pub recorder: Recorder,
    /// What a replay sends and accepts; the product knows only `Verified`.
    pub rule: Arc<dyn Rule>,
    /// Memory of all journals together.
    pub journals: Budget,
    /// Whose turn it is to replay.
    pub queues: Queues,
    /// A random number of this process: keys fingerprints and jitter.
    pub seed: u64,
    /// The policies in force.
    pub policies: watch::Receiver<Arc<Snapshot>>,
    /// Live connections.
    pub registry: Registry,
    /// txguard's own account, if it has one.
    pub service: Option<Service>,
    /// Receipts, where the configuration has what they need.
    pub receipts: Option<Receipts>,
}

/// A connection to a backend on which nothing has been said.
#[derive(Debug)]
pub struct Backend<B> {
    /// Its stream.
    pub stream: B,
    /// HOST:PORT, which tells backends apart.
    pub address: Arc<str>,
}

/// What one connection is promised when it is accepted. A reload changes it for later ones only.
#[derive(Debug, Clone)]
pub struct Terms {
    /// How long the login may take.
    pub handshake_max: Duration,
    /// How long the client may say nothing without a transaction; `None` for ever.
    pub idle: Option<Duration>,
    /// The same within a transaction.
    pub idle_in_transaction: Option<Duration>,
    /// Limit of one statement, in bytes.
    pub statement_max: usize,
    /// Limit of one journal, in bytes.
    pub journal_bytes_max: usize,
    /// TLS and compression.
    pub legs: Arc<Legs>,
}

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The backend closed or its connection broke.
    BackendGone,
    /// The client closed or its connection broke.
    ClientGone,
    /// A shutdown closed an idle session.
    Drained,
    /// Another client's KILL.
    Killed,
    /// txguard refused or gave up; the client was told.
    Own(Own),
    /// The backend refused the login; its answer was relayed.
    Refused,
}

/// What the session has to do outside of the relay.
#[derive(Debug)]
enum Event {
    /// A key that a BEGIN comes with is looked up.
    Claim(IdempotencyKey),
    /// A conflict that the policy wants replayed; its error has not been shown to the client.
    Conflict(Box<Conflict>),
    /// A COMMIT that has not happened, or may have; its error has not been shown to the client.
    Doubt(Box<Doubt>),
    /// The shutdown has waited for this session to become idle.
    Drained,
    /// The client gets this error, with this sequence id, and is closed.
    Refused { own: Own, seq: u8 },
    /// An answer of our own, to a request that the backend doesn't hear.
    Say(Vec<u8>),
    /// A KILL that the own backend can't carry out; the answer has this sequence id.
    Kill { errand: Errand, seq: u8 },
}

/// A conflict whose error is held back.
#[derive(Debug)]
struct Conflict {
    code: u16,
    /// The frame of the error, for the case that the replay is given up.
    frame: Box<[u8]>,
    /// What the request that met it was.
    what: What,
    /// When that request was sent first.
    sent: Instant,
}

/// What we remember about a command until its reply is complete.
#[derive(Debug)]
enum Ask {
    /// A command of the client.
    Client {
        what: What,
        sent: Instant,
        /// Bytes of the tag before its text.
        tag: usize,
    },
    /// A statement of our own.
    Proxy(Injected),
}

impl Ask {
    /// How the reply is shaped. A receipt's is the first result of a chain, of which the rest
    /// answers the client's COMMIT.
    fn reply(&self, command: Command) -> Reply {
        match self {
            Self::Proxy(Injected::Receipt | Injected::Key) => Reply::Single,
            _ => command.reply(),
        }
    }
}

/// A statement of our own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Injected {
    /// `SET tidb_session_alias`.
    Alias,
    /// COM_PING behind long data that TiDB may complain of.
    Fence,
    /// COM_PING ahead of COMMIT: is the transaction still open behind an error?
    Flags,
    /// Gives the diagnostics functions the values back that they had behind COMMIT.
    Restore,
    /// Keeps the values that a SET of the client will change.
    Save,
    /// COM_PING behind an error at a commit point: is the transaction still open?
    Probe,
    /// The idempotency key, between the receipt and COMMIT in the same packet.
    Key,
    /// The receipt, in one packet with COMMIT, whose answer comes behind it.
    Receipt,
    /// May the user write receipts?
    Right,
    /// `SELECT @@tidb_current_ts`, before COMMIT.
    StartTs,
    /// `SELECT @@tidb_last_txn_info`, behind COMMIT.
    TxnInfo,
}

/// What a command of the client does.
#[derive(Debug)]
enum What {
    /// BEGIN in any form; inside a transaction it commits that one, and `next` waits for it.
    Begin { next: Option<Box<Txn>> },
    /// COM_CHANGE_USER.
    ChangeUser { user: Box<str>, schema: Option<Box<str>>, plain: bool },
    /// COMMIT.
    Commit,
    /// COM_SET_OPTION: several statements in one packet are taken, or not.
    MultiStatements(bool),
    /// Something that can't be part of a transaction's record.
    Other,
    /// COM_STMT_PREPARE.
    Prepare(Box<Prepared>),
    /// COM_RESET_CONNECTION.
    Reset,
    /// ROLLBACK of the whole transaction.
    Rollback,
    /// SET of something that decides how texts read; the values count once it has succeeded.
    Set(Reads),
    /// Any other statement.
    Statement,
    /// Changes the schema in use.
    Use(Box<str>),
}

/// The transaction that is open.
#[derive(Debug)]
struct Txn {
    id: TxnId,
    plan: Arc<Plan>,
    attempts: Attempts,
    started: Instant,
    /// The backend has said that it is open.
    open: bool,
    /// BEGIN opened it, not the mere absence of autocommit.
    explicit: bool,
    hint: Option<Tso>,
    /// It can be replayed as things stand.
    guarded: bool,
    unguarded: Option<Unguarded>,
    traceparent: Option<Box<str>>,
    statements: u32,
    /// The first conflict of the request under way; its error is the one to give back.
    conflict: Option<(u16, Box<[u8]>, Instant)>,
    replay: Option<(ReplayOutcome, u16)>,
    /// Its place among those that lost on the same key, or its turn.
    place: Option<Place>,
    /// COMMIT, or what may commit on its way, was sent and its answer is not known.
    committing: bool,
    /// A BEGIN is on its way that ends it: what follows belongs to the next transaction.
    ending: bool,
    /// The error of a statement that may have committed first; the next flags tell more.
    doubt: Option<u16>,
    /// The error at a commit point that doesn't prove an end; the answer to a probe tells.
    probed: Option<Outcome>,
    start_ts: Option<Tso>,
    receipt: OfTxn,
    key: Option<IdempotencyKey>,
    /// Of its statements; only where a receipt is wanted.
    said: Digest,
    /// Those of the session when it began.
    readings: u64,
}

/// The state of one client's conversation with its backend.
struct Conversation {
    deps: Arc<Deps>,
    policies: watch::Receiver<Arc<Snapshot>>,
    user_policies: UserPolicies,
    user: Box<str>,
    schema: Option<Box<str>>,
    /// `schema` is what the server has: nothing that can't be seen has changed it.
    schema_known: bool,
    capabilities: Capabilities,
    connection_id: u32,
    registered: Registered,
    is_tidb: bool,
    status: Status,
    /// An error came behind them, which carries none.
    flags_stale: bool,
    /// Several statements in one packet are taken.
    multi_statements: bool,
    lexing: Lexing,
    /// How often that, or anything else that decides what a text means, may have changed.
    readings: u64,
    /// The character set shows every quote and backslash to a lexer.
    charset_plain: bool,
    /// The same of the login, which a reset brings back.
    login_plain: bool,
    /// Something that holds for the next transaction only may have been set.
    one_shot: bool,
    /// The same, by something within the transaction that is open: it may have committed first.
    one_shot_behind: bool,
    /// The client wants no retry of this session's transactions.
    declines_retry: bool,
    /// Nothing is looked at any more: a reply was not understood.
    bare: bool,
    /// The client's stream carries data, not commands (LOCAL INFILE, authentication).
    up: Position,
    walk: Walk,
    /// Sequence ids, where a leg is compressed.
    count: Count,
    /// Which passwords may cross which leg.
    passwords: Passwords,
    response: Option<Response>,
    expected: Expectations<Ask>,
    statements: Statements,
    /// Came first in the reply to COM_STMT_PREPARE; counts when that is complete.
    prepared_ok: Option<PrepareOk>,
    txn: Option<Box<Txn>>,
    guard: Guard,
    journal: Journal,
    /// Prepared statements that the client closed and a replay may still need.
    closes: Vec<u32>,
    /// The COMMIT that stands behind a receipt under way.
    commit_alone: Vec<u8>,
    /// Prepared calls of txguard's own procedures.
    calls: Calls,
    /// The key of the transaction that begins next.
    next_key: Option<IdempotencyKey>,
    /// A key that nobody has used up, looked up for the BEGIN that waits.
    claimed: Option<IdempotencyKey>,
    /// Of the answer under way, if it is recorded.
    fingerprint: Option<Fingerprint>,
    /// A value that an injected SELECT is bringing.
    captured: Option<Box<[u8]>>,
    /// What FOUND_ROWS() says to the client; `None` after a cursor, whose rows were not seen.
    found_rows: Option<u64>,
    /// Rows of the answer under way.
    rows: u64,
    /// A finished transaction that waits for its timestamps.
    finishing: Option<(Record, Option<Tso>)>,
    event: Option<Event>,
    limit: Limit,
    draining: bool,
    scratch: Vec<u8>,
}

/// One client and its backend connection.
pub struct Session<C, B> {
    link: Link<Stream<C>, Stream<B>>,
    talk: Conversation,
}

impl<C, B> Session<C, B>
where
    C: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    /// Relays greeting and login. The backend's refusal is relayed too and is an end, not an
    /// error.
    ///
    /// Not cancel safe: a cancelled login closes both connections.
    pub async fn login(
        client: C,
        backend: Backend<B>,
        deps: Arc<Deps>,
        terms: &Terms,
    ) -> Result<Self, End> {
        let mut link = Link::new(Stream::new(client), Stream::new(backend.stream));
        let talk = handshake::login(&mut link, backend.address, deps, terms).await?;
        Ok(Self { link, talk })
    }

    /// The backend's id of this connection.
    #[must_use]
    pub fn connection_id(&self) -> u32 {
        self.talk.connection_id
    }

    /// The account that logged in.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.talk.user
    }

    /// Serves the client until one side ends. After `drain` is cancelled the session ends as soon
    /// as no transaction is open.
    ///
    /// Not cancel safe: a cancelled session closes both connections; the backend rolls back.
    pub async fn run(mut self, drain: CancellationToken) -> End {
        let end = self.serve(&drain).await;
        self.link.close().await;
        self.talk.leave(end);
        end
    }

    async fn serve(&mut self, drain: &CancellationToken) -> End {
        let mut look = self.talk.next_look(self.talk.deps.clock.now());
        let killed = self.talk.registered.end();
        loop {
            let stop = tokio::select! {
                biased;
                () = killed.cancelled() => return End::Killed,
                () = drain.cancelled(), if !self.talk.draining => {
                    self.talk.draining = true;
                    if self.talk.is_idle() {
                        let _ = self.link.flush_down().await;
                        return End::Drained;
                    }
                    continue;
                }
                stop = self.link.run(&mut self.talk) => stop,
                () = until(look) => {
                    let now = self.talk.deps.clock.now();
                    if self.link.client_lags() {
                        // It still reads its answer.
                        self.talk.limit.heard(now);
                    }
                    if self.talk.is_silent(now) {
                        // Not an answer to anything: a packet of its own, from 0.
                        return self.refuse(Own::Idle, 0).await;
                    }
                    look = self.talk.next_look(now);
                    continue;
                }
            };
            match stop {
                Stop::ClientGone => {
                    self.last_words().await;
                    return End::ClientGone;
                }
                Stop::BackendGone => return self.last_answer().await,
                Stop::Tap => match self.talk.event.take() {
                    Some(Event::Conflict(conflict)) => {
                        if let Err(end) = self.replay(*conflict).await {
                            let _ = self.link.flush_down().await;
                            return end;
                        }
                        self.talk.limit.heard(self.talk.deps.clock.now());
                    }
                    Some(Event::Claim(key)) => self.claim(key).await,
                    Some(Event::Say(answer)) => self.link.down.push(&answer),
                    Some(Event::Doubt(doubt)) => {
                        if let Err(end) = self.settle(*doubt).await {
                            let _ = self.link.flush_down().await;
                            return end;
                        }
                        self.talk.limit.heard(self.talk.deps.clock.now());
                    }
                    Some(Event::Refused { own, seq }) => return self.refuse(own, seq).await,
                    Some(Event::Kill { errand, seq }) => {
                        self.kill(errand, seq).await;
                        self.talk.limit.heard(self.talk.deps.clock.now());
                    }
                    Some(Event::Drained) => {
                        let _ = self.link.flush_down().await;
                        return End::Drained;
                    }
                    None => {}
                },
            }
            if self.talk.draining && self.talk.is_idle() {
                let _ = self.link.flush_down().await;
                return End::Drained;
            }
        }
    }

    /// The backend gets all that the client has said, unless it doesn't listen.
    async fn last_words(&mut self) {
        let _ = tokio::time::timeout(LAST_WORDS_MAX, self.link.flush_up()).await;
    }
}

/// How long a backend may take to hear what a client said before it left.
const LAST_WORDS_MAX: Duration = Duration::from_secs(5);

impl Tap for Conversation {
    fn on_client(&mut self, up: &mut Lane) -> Flow {
        self.requests(up)
    }

    fn on_backend(&mut self, down: &mut Lane, up: &mut Lane) -> Flow {
        self.replies(down, up)
    }

    fn wants_client(&self, up: &Lane) -> bool {
        // A client that sends ahead while its transaction is guarded is read up to a point.
        up.pending().len() < HELD_BYTES_MAX || self.frame_fits(up)
    }
}

/// How much of a client's stream is kept while it may not go out yet.
const HELD_BYTES_MAX: usize = 64 << 10;

impl Conversation {
    /// No transaction is open and no answer is to come. Of a bare session that can't be known.
    fn is_idle(&self) -> bool {
        !self.bare && self.txn.is_none() && self.expected.is_empty() && !self.status.in_trans()
    }

    /// Gives up understanding this connection: from here on bytes are relayed as they are.
    fn lose(&mut self, why: &'static str, up: &mut Lane) {
        tracing::warn!(
            conn = self.connection_id,
            why,
            "the protocol was not understood; relaying without looking"
        );
        self.unguard(Unguarded::Command, up);
        self.bare = true;
    }
}
