//! A PD of three members in this process: gRPC as the real one speaks it (its headers come with the
//! first answer), one allocator of timestamps that a new leader takes over above what was reserved,
//! and whatever can go wrong. Connections are pipes in memory, so time can be paused.

use std::convert::Infallible;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, duplex};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tonic::body::Body;
use tonic::codegen::tokio_stream::Stream;
use tonic::codegen::tokio_stream::wrappers::{ReceiverStream, UnboundedReceiverStream};
use tonic::codegen::{BoxFuture, Context, Poll, Service, http};
use tonic::server::{Grpc, NamedService};
use tonic::transport::Server;
use tonic::transport::server::Connected;
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;
use txguard::base::clock::Clock;
use txguard::base::config::Address;
use txguard::base::tasks::Tasks;
use txguard::base::types::Tso;
use txguard::net::pd::{Dial, DialFuture, Duplex};

use super::proto::*;
use super::support::Backend;

/// How many members there are.
pub(crate) const MEMBERS: usize = 3;

/// Where PD's clock stands when the test begins, in milliseconds.
const BEGAN_MS: i64 = 1_700_000_000_000;

/// What a leader has reserved beyond what it has handed out; the next one begins there.
const RESERVED_MS: i64 = 3_000;

/// How a member behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    Well,
    /// Refuses connections and cuts those it has.
    Down,
    /// Takes everything and answers nothing.
    Silent,
    /// Answers that it doesn't know who leads, and hands out nothing.
    Leaderless,
}

/// What can be set and seen.
pub(crate) struct State {
    pub(crate) moods: [Mood; MEMBERS],
    pub(crate) clusters: [u64; MEMBERS],
    pub(crate) leader: usize,
    /// Before each answer.
    pub(crate) delay: Duration,
    /// The clock is ahead of the test's by so much.
    pub(crate) ahead_ms: i64,
    pub(crate) suffix_bits: u32,
    /// The next answers are so much below what they should be, as a deposed leader's would be.
    pub(crate) rewound: Option<(u32, i64)>,
    /// Requests for timestamps, answered.
    pub(crate) answers: u32,
    /// Requests for timestamps that are being answered, and the most there were at a time.
    pub(crate) under_way: u32,
    pub(crate) most_under_way: u32,
    /// The last timestamp, and how it moves on.
    physical: i64,
    logical: i64,
    began: Instant,
}

/// The cluster; clones are the same.
#[derive(Clone)]
pub(crate) struct Fake {
    state: Arc<Mutex<State>>,
    doors: Arc<Vec<mpsc::UnboundedSender<io::Result<DuplexStream>>>>,
    tasks: Tasks,
    /// What `client_urls` say; by default names that only `dial` knows.
    urls: Arc<Vec<String>>,
    /// A TiDB whose timestamps are handed out in place of its own.
    tidb: Arc<tokio::sync::Mutex<Option<Conn>>>,
}

impl Fake {
    pub(crate) fn start() -> Self {
        let urls = (0..MEMBERS).map(|member| format!("http://pd-{member}:2379")).collect();
        let (doors, queues): (Vec<_>, Vec<_>) =
            (0..MEMBERS).map(|_| mpsc::unbounded_channel()).unzip();
        let fake = Self::new(doors, urls);
        for (member, queue) in queues.into_iter().enumerate() {
            fake.serve(member, UnboundedReceiverStream::new(queue));
        }
        fake
    }

    /// One member, at a URL where somebody serves it.
    pub(crate) fn at(url: String) -> Self {
        Self::new(Vec::new(), vec![url])
    }

    fn new(doors: Vec<mpsc::UnboundedSender<io::Result<DuplexStream>>>, urls: Vec<String>) -> Self {
        let state = State {
            moods: [Mood::Well; MEMBERS],
            clusters: [7; MEMBERS],
            leader: 0,
            delay: Duration::ZERO,
            ahead_ms: 0,
            suffix_bits: 0,
            rewound: None,
            answers: 0,
            under_way: 0,
            most_under_way: 0,
            physical: BEGAN_MS,
            logical: 0,
            began: Instant::now(),
        };
        let (doors, urls) = (Arc::new(doors), Arc::new(urls));
        let (state, tasks) = (Arc::new(Mutex::new(state)), Tasks::default());
        Self { state, doors, tasks, urls, tidb: Arc::default() }
    }

    /// Serves a member to who comes in.
    pub(crate) fn serve<S, I>(&self, member: usize, incoming: S)
    where
        S: Stream<Item = io::Result<I>> + Send + Unpin + 'static,
        I: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
    {
        let rpc = Rpc { member, fake: self.clone() };
        self.tasks.spawn(async move {
            Server::builder().add_service(rpc).serve_with_incoming(incoming).await.expect("served");
        });
    }

    pub(crate) fn set(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panics within")
    }

    /// Another member leads, above all that was reserved.
    pub(crate) fn lead(&self, member: usize) {
        let mut state = self.set();
        state.leader = member;
        state.physical += RESERVED_MS;
        state.logical = 0;
    }

    /// From now on it is the PD of this TiDB, whose embedded store keeps its own to itself.
    pub(crate) async fn become_pd_of(&self, tidb: &Backend) {
        *self.tidb.lock().await = Some(tidb.connect().await);
    }

    pub(crate) fn all(&self, mood: Mood) {
        self.set().moods = [mood; MEMBERS];
    }

    /// What a TiDB server would be given now.
    pub(crate) fn hand_out(&self) -> Tso {
        let last = self.set().hand_out(1);
        let (physical, logical) = (last.physical, last.logical);
        Tso::compose(physical.try_into().expect("positive"), logical.try_into().expect("positive"))
    }

    pub(crate) fn addresses(&self) -> Vec<Address> {
        self.urls
            .iter()
            .map(|url| url.split_once("://").expect("a URL").1.parse().expect("an address"))
            .collect()
    }

    /// A batch that lies where that TiDB's timestamps are now: above all that it has handed out
    /// before the request, and below all that it hands out behind the answer.
    async fn theirs(&self, count: u32) -> Option<Timestamp> {
        let mut tidb = self.tidb.lock().await;
        let tidb = tidb.as_mut()?;
        let mut start_ts = begin(tidb).await;
        let last = Tso(start_ts.0 + u64::from(count) - 1);
        while start_ts < last {
            start_ts = begin(tidb).await;
        }
        let physical = last.physical_ms().try_into().expect("small");
        let logical = last.logical().try_into().expect("small");
        Some(Timestamp { physical, logical, suffix_bits: 0 })
    }

    fn mood(&self, member: usize) -> Mood {
        self.set().moods[member]
    }
}

async fn begin(tidb: &mut Conn) -> Tso {
    tidb.query_drop("BEGIN").await.expect("TiDB");
    let now: Option<String> = tidb.query_first("SELECT @@tidb_current_ts").await.expect("TiDB");
    tidb.query_drop("ROLLBACK").await.expect("TiDB");
    Tso(now.and_then(|now| now.parse().ok()).expect("a timestamp"))
}

impl State {
    /// As PD does it: the clock is followed and never goes back.
    fn hand_out(&mut self, count: u32) -> Timestamp {
        let passed = i64::try_from(self.began.elapsed().as_millis()).expect("short");
        let clock = BEGAN_MS + passed + self.ahead_ms;
        let step = i64::from(count) << self.suffix_bits;
        if clock > self.physical {
            (self.physical, self.logical) = (clock, 0);
        } else if self.logical + step >= 1 << 18 {
            (self.physical, self.logical) = (self.physical + 1, 0);
        }
        self.logical += step;
        let suffix_bits = self.suffix_bits;
        Timestamp { physical: self.physical, logical: self.logical, suffix_bits }
    }
}

/// The clock of the machine that txguard runs on: even, and under the test's control.
pub(crate) struct TestClock {
    began: Instant,
    /// Ahead of PD's by so many milliseconds.
    pub(crate) ahead_ms: Mutex<i64>,
}

impl TestClock {
    pub(crate) fn start() -> Arc<Self> {
        Arc::new(Self { began: Instant::now(), ahead_ms: Mutex::new(0) })
    }
}

impl Clock for TestClock {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn wall(&self) -> Duration {
        let passed = i64::try_from(self.began.elapsed().as_millis()).expect("short");
        let ms = BEGAN_MS + passed + *self.ahead_ms.lock().expect("no test panics within");
        Duration::from_millis(ms.try_into().expect("positive"))
    }
}

impl Dial for Fake {
    fn dial(&self, address: &Address) -> DialFuture {
        let (fake, host) = (self.clone(), address.host().to_owned());
        Box::pin(async move {
            let member: usize =
                host.strip_prefix("pd-").and_then(|n| n.parse().ok()).expect("a member");
            if fake.mood(member) == Mood::Down {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            let (near, far) = duplex(1 << 16);
            fake.doors[member].send(Ok(far)).expect("served");
            Ok(Box::new(near) as Box<dyn Duplex>)
        })
    }

    fn is_tls(&self) -> bool {
        false
    }
}

/// One member's service.
#[derive(Clone)]
struct Rpc {
    member: usize,
    fake: Fake,
}

impl NamedService for Rpc {
    const NAME: &'static str = "pdpb.PD";
}

impl Service<http::Request<Body>> for Rpc {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let rpc = self.clone();
        Box::pin(async move {
            match request.uri().path() {
                "/pdpb.PD/GetMembers" => {
                    let codec = ProstCodec::<GetMembersResponse, GetMembersRequest>::default();
                    Ok(Grpc::new(codec).unary(Members(rpc), request).await)
                }
                "/pdpb.PD/Tso" => {
                    let codec = ProstCodec::<TsoResponse, TsoRequest>::default();
                    Ok(Grpc::new(codec).streaming(Timestamps(rpc), request).await)
                }
                other => panic!("no such call: {other}"),
            }
        })
    }
}

impl Rpc {
    /// What every call meets first.
    async fn met(&self) -> Result<(), Status> {
        match self.fake.mood(self.member) {
            Mood::Well | Mood::Leaderless => Ok(()),
            Mood::Down => Err(Status::unavailable("the transport is closing")),
            Mood::Silent => std::future::pending().await,
        }
    }

    fn header(&self) -> Option<ResponseHeader> {
        let cluster_id = self.fake.set().clusters[self.member];
        Some(ResponseHeader { cluster_id, error: None })
    }

    fn named(&self, member: usize) -> Member {
        let urls = vec![self.fake.urls[member].clone()];
        Member {
            name: format!("pd-{member}"),
            member_id: member as u64 + 1,
            peer_urls: vec!["http://peer.invalid:2380".to_owned()],
            client_urls: urls,
            leader_priority: 0,
            binary_version: "v7.5.0".to_owned(),
        }
    }

    async fn answer(&self, request: TsoRequest) -> Result<TsoResponse, Status> {
        self.met().await?;
        let delay = self.fake.set().delay;
        sleep(delay).await;
        self.met().await?;
        let theirs = self.fake.theirs(request.count).await;
        let mut state = self.fake.set();
        let (cluster, asked) =
            (state.clusters[self.member], request.header.unwrap_or_default().cluster_id);
        if cluster != asked {
            let text = format!("mismatch cluster id, need {cluster} but got {asked}");
            return Err(Status::failed_precondition(text));
        }
        if state.leader != self.member || state.moods[self.member] == Mood::Leaderless {
            return Err(Status::unknown("[PD:tso:ErrGenerateTimestamp] not leader"));
        }
        assert!(request.count > 0, "nothing is asked for");
        let mut timestamp = theirs.unwrap_or_else(|| state.hand_out(request.count));
        if let Some((times, less)) = state.rewound {
            timestamp.physical -= less;
            state.rewound = (times > 1).then_some((times - 1, less));
        }
        state.answers += 1;
        drop(state);
        Ok(TsoResponse { header: self.header(), count: request.count, timestamp: Some(timestamp) })
    }
}

struct Members(Rpc);

impl Service<Request<GetMembersRequest>> for Members {
    type Response = Response<GetMembersResponse>;
    type Error = Status;
    type Future = BoxFuture<Self::Response, Status>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<GetMembersRequest>) -> Self::Future {
        let rpc = self.0.clone();
        Box::pin(async move {
            rpc.met().await?;
            let leader = rpc.fake.set().leader;
            let led = rpc.fake.mood(rpc.member) != Mood::Leaderless;
            Ok(Response::new(GetMembersResponse {
                header: rpc.header(),
                members: (0..rpc.fake.urls.len()).map(|member| rpc.named(member)).collect(),
                leader: led.then(|| rpc.named(leader)),
                etcd_leader: None,
            }))
        })
    }
}

struct Timestamps(Rpc);

impl Service<Request<Streaming<TsoRequest>>> for Timestamps {
    type Response = Response<ReceiverStream<Result<TsoResponse, Status>>>;
    type Error = Status;
    type Future = BoxFuture<Self::Response, Status>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Streaming<TsoRequest>>) -> Self::Future {
        let rpc = self.0.clone();
        Box::pin(async move {
            let mut requests = request.into_inner();
            let (answers, queue) = mpsc::channel(1);
            // No headers before the first answer, as with the real one.
            let first = requests.message().await?.expect("a first request");
            let answer = rpc.counted(first).await?;
            answers.send(Ok(answer)).await.expect("there is room");
            let tasks = rpc.fake.tasks.clone();
            tasks.spawn(async move {
                while let Ok(Some(request)) = requests.message().await {
                    let answer = rpc.counted(request).await;
                    let over = answer.is_err();
                    if answers.send(answer).await.is_err() || over {
                        return;
                    }
                }
            });
            Ok(Response::new(ReceiverStream::new(queue)))
        })
    }
}

impl Rpc {
    async fn counted(&self, request: TsoRequest) -> Result<TsoResponse, Status> {
        {
            let mut state = self.fake.set();
            state.under_way += 1;
            state.most_under_way = state.most_under_way.max(state.under_way);
        }
        // Dropped with the stream it is done with as well.
        struct Done(Fake);
        impl Drop for Done {
            fn drop(&mut self) {
                self.0.set().under_way -= 1;
            }
        }
        let _done = Done(self.fake.clone());
        self.answer(request).await
    }
}
