//! All addresses, kept up to date by the clients that connect, by checks and by reloads.
//!
//! An address that is taken out of the configuration stays here until its last session has ended,
//! and is the same again if it comes back before.

use std::fmt::Write;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::base::clock::SharedClock;
use crate::base::config::{Address, Backend};
use crate::base::metrics::{BackendGauges, Metrics};
use crate::net::legs::version;
use crate::wire::origin::write;

use super::choose::{Candidate, choose};
use super::connect::{Hello, connect};
use super::health::{self, Finding, Health};

/// Between two looks at the list for addresses that are due.
const TICK: Duration = Duration::from_millis(200);

/// All addresses.
pub struct Pool {
    clock: SharedClock,
    metrics: Arc<Metrics>,
    seed: u64,
    /// Tells all sessions to end.
    stop: CancellationToken,
    // Held for a few comparisons, never across an await.
    state: Mutex<State>,
}

struct State {
    servers: Vec<Server>,
    /// Where the next choice begins.
    turn: usize,
    connect_timeout: Duration,
    status_port: Option<u16>,
    /// What a connection begins with that is no client's.
    nobody: Vec<u8>,
}

struct Server {
    address: Address,
    role: Role,
    health: Health,
    /// Why it isn't up.
    why: String,
    connections: usize,
    /// Tells its sessions to end as soon as they are idle.
    leave: CancellationToken,
    gauges: BackendGauges,
    /// Looks in a row that found it down.
    failures: u32,
    /// When to look next, if there is reason to.
    due: Instant,
    checking: bool,
}

/// What the configuration wants of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// It gets clients.
    Serving,
    /// `drain` names it.
    Draining,
    /// It is not in the configuration any more.
    Removed,
}

/// What is known of an address, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// HOST:PORT.
    pub address: String,
    /// Its health.
    pub health: Health,
    /// It gets no new clients, by configuration.
    pub draining: bool,
    /// Connections to it.
    pub connections: usize,
    /// Why it isn't up, or empty.
    pub why: String,
}

/// A connection to a server, counted until this is dropped.
pub struct Seat {
    pool: Arc<Pool>,
    address: Address,
    leave: CancellationToken,
}

/// A connection for a client.
pub struct Connected {
    /// Nothing is read from it yet; small packets leave at once.
    pub stream: TcpStream,
    /// To be held as long as the stream.
    pub seat: Seat,
}

/// No address accepted a connection.
#[derive(Debug, thiserror::Error)]
#[error("no backend can be reached: {}", self.describe())]
pub struct Unreachable {
    /// Each address that was tried, with its answer.
    failed: Vec<(Address, io::Error)>,
}

impl Pool {
    /// The servers of a configuration, none of them looked at yet. When `stop` is cancelled every
    /// session is told to end.
    #[must_use]
    pub fn new(
        config: &Backend,
        clock: SharedClock,
        metrics: Arc<Metrics>,
        seed: u64,
        stop: CancellationToken,
    ) -> Self {
        let state = State {
            servers: Vec::new(),
            turn: 0,
            connect_timeout: config.connect_timeout,
            status_port: config.status_port,
            nobody: Vec::new(),
        };
        let pool = Self { clock, metrics, seed, stop, state: Mutex::new(state) };
        pool.replace(config);
        pool
    }

    /// Takes another configuration into force: sessions of servers that get no clients any more
    /// are told to end when they are idle.
    pub fn replace(&self, config: &Backend) {
        let now = self.clock.now();
        let mut state = self.state();
        state.connect_timeout = config.connect_timeout;
        state.status_port = config.status_port;
        let header = version(config.leg.proxy_protocol).map(|version| write(None, version));
        state.nobody = header.unwrap_or_default();
        for address in &config.addresses {
            if state.server(address).is_none() {
                let server = self.server(address, now);
                state.servers.push(server);
            }
        }
        for server in &mut state.servers {
            let role = match config.addresses.contains(&server.address) {
                false => Role::Removed,
                true if config.drain.contains(&server.address) => Role::Draining,
                true => Role::Serving,
            };
            server.set_role(role, &self.stop);
        }
        state.servers.sort_by_key(|server| {
            let place = config.addresses.iter().position(|address| *address == server.address);
            place.unwrap_or(usize::MAX)
        });
        self.forget_removed(&mut state);
    }

    fn server(&self, address: &Address, now: Instant) -> Server {
        Server {
            address: address.clone(),
            role: Role::Serving,
            health: Health::Unchecked,
            why: String::new(),
            connections: 0,
            leave: self.stop.child_token(),
            gauges: self.metrics.backend(&address.to_string()),
            failures: 0,
            due: now,
            checking: false,
        }
    }

    /// Connects a client to the best server; where one doesn't accept it, the next best is tried,
    /// each once. An error in place of a greeting counts as such, and is kept for the case that
    /// no other server is there: then the client gets to hear it, as it would without txguard.
    ///
    /// Each connection begins with the bytes `ahead`.
    ///
    /// Cancel safe: a connection under way is dropped.
    pub async fn connect(self: &Arc<Self>, ahead: &[u8]) -> Result<Connected, Unreachable> {
        let (mut tried, mut failed, mut spare) = (Vec::new(), Vec::new(), None);
        let limit = self.state().connect_timeout;
        while let Some(seat) = self.take_seat(&tried) {
            let address = seat.address.clone();
            match connect(&address, ahead, limit).await {
                Ok((stream, hello)) => {
                    self.heard(&address, hello);
                    let connected = Connected { stream, seat };
                    match hello {
                        Hello::Greeting => return Ok(connected),
                        Hello::Refusal => spare = Some(connected),
                        Hello::Nothing => spare = spare.or(Some(connected)),
                    }
                }
                Err(error) => {
                    self.metrics.backend_connect_error();
                    self.found(&address, Finding::down(&error));
                    failed.push((address.clone(), error));
                }
            }
            tried.push(address);
        }
        spare.ok_or(Unreachable { failed })
    }

    /// The best server that is not among these; counted from now on.
    fn take_seat(self: &Arc<Self>, tried: &[Address]) -> Option<Seat> {
        let mut state = self.state();
        let candidates: Vec<_> = state
            .servers
            .iter()
            .map(|server| Candidate {
                open: server.role == Role::Serving && !tried.contains(&server.address),
                health: server.health,
                connections: server.connections,
            })
            .collect();
        let place = choose(&candidates, state.turn)?;
        state.turn = place + 1;
        let server = &mut state.servers[place];
        server.count(1);
        let (address, leave) = (server.address.clone(), server.leave.clone());
        drop(state);
        Some(Seat { pool: self.clone(), address, leave })
    }

    /// What a server said to a client.
    fn heard(&self, address: &Address, hello: Hello) {
        match hello {
            Hello::Nothing => {
                self.metrics.backend_connect_error();
                self.found(address, Finding::down(health::NO_GREETING));
            }
            Hello::Greeting | Hello::Refusal => {
                // With a status port that alone says who is up: it knows more than a connection.
                if self.state().status_port.is_none() {
                    self.found(address, Finding::UP);
                }
            }
        }
    }

    fn found(&self, address: &Address, finding: Finding) {
        if let Some(server) = self.state().server(address) {
            server.found(finding);
        }
    }

    /// Looks after all addresses until `stop` is cancelled.
    ///
    /// Cancel safe: looks under way are dropped.
    pub async fn watch(self: Arc<Self>, stop: CancellationToken) {
        let mut looks = JoinSet::new();
        loop {
            for address in self.take_due() {
                let (pool, state) = (self.clone(), self.state());
                let (status, limit) = (state.status_port, state.connect_timeout);
                let ahead = state.nobody.clone();
                drop(state);
                looks.spawn(async move {
                    let finding = health::check(&address, status, &ahead, limit).await;
                    pool.looked(&address, finding);
                });
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(TICK) => {}
                Some(_) = looks.join_next() => {}
            }
        }
    }

    /// Addresses to look at now; each is due again when it has been looked at.
    fn take_due(&self) -> Vec<Address> {
        let now = self.clock.now();
        let mut state = self.state();
        self.forget_removed(&mut state);
        let always = state.status_port.is_some();
        let due = state.servers.iter_mut().filter(|server| {
            let wanted = always || server.health != Health::Up;
            wanted && server.role != Role::Removed && !server.checking && server.due <= now
        });
        due.map(|server| {
            server.checking = true;
            server.address.clone()
        })
        .collect()
    }

    fn looked(&self, address: &Address, finding: Finding) {
        let now = self.clock.now();
        let mut state = self.state();
        let Some(server) = state.server(address) else { return };
        if finding.health == Health::Down {
            server.failures = server.failures.saturating_add(1);
        }
        let noise = xxh3_64_with_seed(
            address.host().as_bytes(),
            self.seed ^ u64::from(address.port()) << 32 ^ u64::from(server.failures),
        );
        server.due = now + health::pause(server.failures, noise);
        server.checking = false;
        server.found(finding);
    }

    /// Removed servers go with their last connection, and their metrics with them.
    fn forget_removed(&self, state: &mut State) {
        state.servers.retain(|server| {
            let stays = server.role != Role::Removed || server.connections > 0;
            if !stays {
                self.metrics.forget_backend(&server.address.to_string());
            }
            stays
        });
    }

    /// What is known of each address of the configuration, in its order.
    #[must_use]
    pub fn report(&self) -> Vec<Report> {
        let state = self.state();
        let known = state.servers.iter().filter(|server| server.role != Role::Removed);
        known
            .map(|server| Report {
                address: server.address.to_string(),
                health: server.health,
                draining: server.role == Role::Draining,
                connections: server.connections,
                why: server.why.clone(),
            })
            .collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn server(&mut self, address: &Address) -> Option<&mut Server> {
        self.servers.iter_mut().find(|server| server.address == *address)
    }
}

impl Server {
    fn set_role(&mut self, role: Role, stop: &CancellationToken) {
        if role == self.role {
            return;
        }
        match role {
            Role::Serving => self.leave = stop.child_token(),
            Role::Draining | Role::Removed => self.leave.cancel(),
        }
        self.role = role;
    }

    fn found(&mut self, finding: Finding) {
        let Finding { health, why } = finding;
        if health != self.health {
            let (backend, connections) = (&self.address, self.connections);
            match health {
                Health::Up => tracing::info!(%backend, "backend is up"),
                Health::Stopping => {
                    tracing::warn!(%backend, connections, "backend is shutting down");
                }
                _ => tracing::warn!(%backend, connections, why, "backend is down"),
            }
            self.gauges.up(health == Health::Up);
        }
        if health != Health::Down {
            self.failures = 0;
        }
        self.health = health;
        self.why = why;
    }

    fn count(&mut self, more: isize) {
        self.connections = self.connections.saturating_add_signed(more);
        self.gauges.connections(self.connections);
    }
}

impl Seat {
    /// HOST:PORT.
    #[must_use]
    pub const fn address(&self) -> &Address {
        &self.address
    }

    /// Cancelled when the session shall end as soon as it is idle: the server is drained, or
    /// txguard shuts down.
    #[must_use]
    pub const fn leave(&self) -> &CancellationToken {
        &self.leave
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(server) = self.pool.state().server(&self.address) {
            server.count(-1);
        }
    }
}

impl Unreachable {
    fn describe(&self) -> String {
        if self.failed.is_empty() {
            return "all of them are drained".to_owned();
        }
        let mut text = String::new();
        for (index, (address, error)) in self.failed.iter().enumerate() {
            let _ = write!(text, "{}{address}: {error}", if index > 0 { "; " } else { "" });
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::base::clock::SystemClock;
    use crate::base::tasks::Tasks;

    const GREETING: &[u8] = b"\x4a\0\0\0\x0a8.0.11";
    const TOO_MANY: &[u8] = b"\x17\0\0\0\xff\x10\x04#08004Too many";

    /// A server that says this to everyone and waits for them to leave.
    async fn server(tasks: &Tasks, says: &'static [u8]) -> Address {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let address = listener.local_addr().expect("bound").to_string();
        let serving = tasks.clone();
        tasks.spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                serving.spawn(async move {
                    let _ = stream.write_all(says).await;
                    if !says.is_empty() {
                        let _ = stream.read_to_end(&mut Vec::new()).await;
                    }
                });
            }
        });
        address.parse().expect("an address")
    }

    fn config(addresses: &[&Address], drain: &[&Address]) -> Backend {
        let own = |list: &[&Address]| list.iter().map(|address| (*address).clone()).collect();
        Backend { addresses: own(addresses), drain: own(drain), ..Backend::default() }
    }

    fn pool(config: &Backend) -> (Arc<Pool>, Arc<Metrics>, CancellationToken) {
        let (metrics, stop) = (Arc::new(Metrics::new()), CancellationToken::new());
        let clock = Arc::new(SystemClock);
        let pool = Pool::new(config, clock, metrics.clone(), 1, stop.clone());
        (Arc::new(pool), metrics, stop)
    }

    async fn seat(pool: &Arc<Pool>) -> Seat {
        pool.connect(b"").await.expect("one accepts").seat
    }

    /// Nobody listens there.
    fn nowhere() -> Address {
        "127.0.0.1:1".parse().expect("an address")
    }

    #[tokio::test]
    async fn clients_go_where_the_fewest_are() {
        let tasks = Tasks::default();
        let (a, b) = (server(&tasks, GREETING).await, server(&tasks, GREETING).await);
        let (pool, metrics, _) = pool(&config(&[&a, &b], &[]));
        let first = seat(&pool).await;
        // The other one isn't known to be up: it gets nobody until it is.
        assert_eq!(*first.address(), a);
        pool.found(&b, Finding::UP);
        let others = [seat(&pool).await, seat(&pool).await, seat(&pool).await];
        let at = |seats: &[Seat], address: &Address| {
            seats.iter().filter(|seat| seat.address == *address).count()
        };
        assert_eq!((at(&others, &a), at(&others, &b)), (1, 2));
        drop(others);
        let line = format!("txguard_backend_connections{{backend=\"{b}\"}} 0");
        assert!(metrics.render().contains(&line));
        assert_eq!(*seat(&pool).await.address(), b);
    }

    #[tokio::test]
    async fn a_client_is_not_lost_where_one_server_accepts() {
        let tasks = Tasks::default();
        let (closes, full) = (server(&tasks, b"").await, server(&tasks, TOO_MANY).await);
        let good = server(&tasks, GREETING).await;
        let (pool, ..) = pool(&config(&[&nowhere(), &closes, &full, &good], &[]));
        assert_eq!(*seat(&pool).await.address(), good);
        let found: Vec<_> =
            pool.report().into_iter().map(|one| (one.health, one.connections)).collect();
        let down = (Health::Down, 0);
        assert_eq!(found, [down, down, (Health::Up, 0), (Health::Up, 0)]);
        assert_eq!(pool.report()[1].why, health::NO_GREETING);
    }

    #[tokio::test]
    async fn where_none_greets_the_client_hears_what_one_says() {
        let tasks = Tasks::default();
        let (closes, full) = (server(&tasks, b"").await, server(&tasks, TOO_MANY).await);
        let (pool, ..) = pool(&config(&[&full, &nowhere(), &closes], &[]));
        let mut connected = pool.connect(b"").await.expect("an error of the server's own");
        let mut heard = vec![0; TOO_MANY.len()];
        connected.stream.read_exact(&mut heard).await.expect("it is unread");
        assert_eq!((heard.as_slice(), connected.seat.address()), (TOO_MANY, &full));
        pool.replace(&config(&[&nowhere()], &[]));
        let error = pool.connect(b"").await.err().expect("nobody").to_string();
        assert!(error.contains("127.0.0.1:1: Connection refused"), "{error}");
        pool.replace(&config(&[&full], &[&full]));
        let error = pool.connect(b"").await.err().expect("nobody").to_string();
        assert!(error.contains("all of them are drained"), "{error}");
    }

    #[tokio::test]
    async fn a_drained_server_sends_its_sessions_away_and_gets_no_others() {
        let tasks = Tasks::default();
        let (a, b) = (server(&tasks, GREETING).await, server(&tasks, GREETING).await);
        let (pool, ..) = pool(&config(&[&a], &[]));
        let (first, second) = (seat(&pool).await, seat(&pool).await);
        for drained in [config(&[&a, &b], &[&a]), config(&[&b], &[])] {
            pool.replace(&drained);
            assert!(first.leave().is_cancelled() && second.leave().is_cancelled());
            let next = seat(&pool).await;
            assert!(*next.address() == b && !next.leave().is_cancelled());
        }
        // It comes back: those that were sent away still are, new ones are welcome.
        pool.replace(&config(&[&a], &[]));
        let third = seat(&pool).await;
        assert!(first.leave().is_cancelled() && !third.leave().is_cancelled());
        assert_eq!(pool.report()[0].connections, 3);
    }

    #[tokio::test]
    async fn a_removed_server_is_forgotten_with_its_last_connection() {
        let tasks = Tasks::default();
        let (a, b) = (server(&tasks, GREETING).await, server(&tasks, GREETING).await);
        let (pool, metrics, stop) = pool(&config(&[&a], &[]));
        let held = seat(&pool).await;
        pool.replace(&config(&[&b], &[]));
        pool.take_due();
        let line = format!("txguard_backend_connections{{backend=\"{a}\"}} 1");
        assert!(metrics.render().contains(&line) && pool.report().len() == 1);
        drop(held);
        pool.take_due();
        assert!(!metrics.render().contains(&a.to_string()));
        let last = seat(&pool).await;
        stop.cancel();
        assert!(last.leave().is_cancelled(), "a shutdown is for all");
    }

    #[tokio::test]
    async fn only_what_is_not_up_is_looked_at() {
        let tasks = Tasks::default();
        let up = server(&tasks, GREETING).await;
        let (pool, ..) = pool(&config(&[&up, &nowhere()], &[]));
        assert_eq!(pool.take_due(), [up.clone(), nowhere()]);
        assert_eq!(pool.take_due(), [], "they are being looked at");
        pool.looked(&up, health::check(&up, None, b"", Duration::from_secs(9)).await);
        pool.looked(&nowhere(), health::check(&nowhere(), None, b"", Duration::from_secs(9)).await);
        assert_eq!((pool.report()[0].health, pool.report()[1].health), (Health::Up, Health::Down));
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(pool.take_due(), [nowhere()]);
        // The same with a status port: that is asked all the time.
        let asked = Backend { status_port: Some(1), ..config(&[&up, &nowhere()], &[]) };
        pool.replace(&asked);
        assert_eq!(pool.take_due(), [up]);
    }
}
