//! The accept loop: one task a client.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

use crate::base::error::Own;
use crate::base::metrics::{ConnectionGuard, Side};
use crate::base::tasks::Tasks;
use crate::net::backend::{Pool, Seat};
use crate::net::origin;
use crate::session::{self, Backend, Deps, End, Session, Terms};
use crate::wire::origin::Origin;

use super::settings::Limits;
use super::throttle::Throttle;

/// Accepts clients and serves each in a task of its own.
pub(super) struct Acceptor {
    pub(super) listener: TcpListener,
    pub(super) limits: watch::Receiver<Arc<Limits>>,
    pub(super) host: Arc<Host>,
    /// One for each client that is served, and no others.
    pub(super) clients: Tasks,
    /// Clients that are told why not.
    pub(super) unwanted: Tasks,
}

/// What the task of a client needs.
pub(super) struct Host {
    deps: Arc<Deps>,
    pool: Arc<Pool>,
    unwanted: Arc<Semaphore>,
    too_many: Throttle,
    not_accepted: Throttle,
    unreachable: Throttle,
}

/// Out of descriptors, most likely: the next try may do better.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Clients beyond the limit that are told so at a time; more are closed without a word.
const UNWANTED_MAX: usize = 64;

/// How long a client may take to hear why it is not served.
const TELL_MAX: Duration = Duration::from_secs(1);

impl Acceptor {
    /// Accepts for ever.
    ///
    /// Cancel safe: clients that are served go on.
    pub(super) async fn run(&self) {
        loop {
            match self.listener.accept().await {
                Ok((client, _)) => self.welcome(client),
                Err(error) => {
                    if let Some(times) = self.host.not_accepted.count(self.host.deps.clock.now()) {
                        tracing::warn!(%error, times, "a client could not be accepted");
                    }
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn welcome(&self, client: TcpStream) {
        let (clients_max, terms) = {
            let limits = self.limits.borrow();
            (limits.clients_max, limits.terms.clone())
        };
        if self.clients.len() >= clients_max {
            return self.refuse(client, clients_max);
        }
        let (host, stop) = (self.host.clone(), self.clients.token().clone());
        self.clients.spawn(async move {
            let _open = host.deps.metrics.connection(Side::Client);
            let served = tokio::select! {
                biased;
                // Nobody waits for a login that may take long.
                () = stop.cancelled() => None,
                served = host.login(client, &terms) => served,
            };
            if let Some(served) = served {
                served.run().await;
            }
        });
    }

    fn refuse(&self, client: TcpStream, limit: usize) {
        if let Some(times) = self.host.too_many.count(self.host.deps.clock.now()) {
            tracing::warn!(limit, times, "too many clients");
        }
        if let Ok(place) = self.host.unwanted.clone().try_acquire_owned() {
            self.unwanted.spawn(async move {
                turn_away(client, Own::TooManyClients).await;
                drop(place);
            });
        }
    }
}

/// A client that has logged in.
struct Served {
    session: Session<TcpStream, TcpStream>,
    seat: Seat,
    peer: String,
    _open: ConnectionGuard,
}

impl Host {
    pub(super) fn new(deps: Arc<Deps>, pool: Arc<Pool>) -> Self {
        Self {
            deps,
            pool,
            unwanted: Arc::new(Semaphore::new(UNWANTED_MAX)),
            too_many: Throttle::default(),
            not_accepted: Throttle::default(),
            unreachable: Throttle::default(),
        }
    }

    /// Connects a client to a backend and relays its login.
    async fn login(&self, mut client: TcpStream, terms: &Terms) -> Option<Served> {
        let origin = match origin(&mut client, terms).await {
            Ok(origin) => origin,
            Err(error) => {
                tracing::info!(%error, "client left before it was served");
                return None;
            }
        };
        let peer = origin.client.to_string();
        let connected = match self.pool.connect(&terms.legs.backend.announce(origin)).await {
            Ok(connected) => connected,
            Err(error) => {
                if let Some(times) = self.unreachable.count(self.deps.clock.now()) {
                    tracing::error!(peer, %error, times, "client turned away");
                }
                turn_away(client, Own::BackendUnreachable).await;
                return None;
            }
        };
        let seat = connected.seat;
        let open = self.deps.metrics.connection(Side::Backend);
        let address = seat.address().to_string().into();
        let backend = Backend { stream: connected.stream, address };
        match Session::login(client, backend, self.deps.clone(), terms).await {
            Ok(session) => {
                let (conn, user, backend) =
                    (session.connection_id(), session.user(), seat.address());
                tracing::debug!(conn, peer, user, %backend, "client logged in");
                return Some(Served { session, seat, peer, _open: open });
            }
            Err(End::Own(own)) => {
                tracing::warn!(peer, error = own.row().text, "login failed");
            }
            Err(end) => tracing::info!(peer, ?end, "login ended"),
        }
        None
    }
}

impl Served {
    async fn run(self) {
        let Self { session, seat, peer, _open } = self;
        let conn = session.connection_id();
        let end = session.run(seat.leave().clone()).await;
        tracing::debug!(conn, peer, ?end, "client left");
    }
}

/// Where a client comes from: what the load balancer says before it, if one is expected to.
async fn origin(client: &mut TcpStream, terms: &Terms) -> io::Result<Origin> {
    client.set_nodelay(true)?;
    let socket = Origin { client: client.peer_addr()?, server: client.local_addr()? };
    if !terms.legs.client.is_announced(socket.client.ip()) {
        return Ok(socket);
    }
    let header = tokio::time::timeout(terms.handshake_max, origin::receive(client));
    let wrong = |error| {
        let peer = socket.client;
        io::Error::new(io::ErrorKind::InvalidData, format!("{peer}: PROXY protocol: {error}"))
    };
    match header.await {
        Ok(Ok(origin)) => Ok(origin.unwrap_or(socket)),
        Ok(Err(error)) => Err(wrong(error)),
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// Says why and closes. The client has not seen a greeting yet, so this is packet 0.
async fn turn_away(mut client: TcpStream, own: Own) {
    let said: Result<io::Result<()>, _> = tokio::time::timeout(TELL_MAX, async {
        client.write_all(&session::own_error(own, 0)).await?;
        client.shutdown().await
    })
    .await;
    if !matches!(said, Ok(Ok(()))) {
        tracing::debug!(error = own.row().text, "the client did not wait for its answer");
    }
}
