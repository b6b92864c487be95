//! The accept loop: one task a client.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::base::error::Own;
use crate::base::metrics::Side;
use crate::base::tasks::Tasks;
use crate::net::backend;
use crate::session::{self, Deps, End, Session, Terms};

use super::watch::BackendWatch;

/// Accepts clients and serves each in a task of its own.
pub(super) struct Acceptor {
    pub(super) listener: TcpListener,
    pub(super) deps: Arc<Deps>,
    pub(super) watch: Arc<BackendWatch>,
    pub(super) clients_max: usize,
    pub(super) terms: Terms,
    pub(super) tasks: Tasks,
}

/// Out of descriptors, most likely: the next try may do better.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

impl Acceptor {
    /// Accepts until `stop` is cancelled.
    pub(super) async fn run(&self, stop: CancellationToken) {
        loop {
            let accepted = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((client, _)) => self.welcome(client),
                Err(error) => {
                    tracing::warn!(%error, "a client could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn welcome(&self, client: TcpStream) {
        if self.tasks.len() >= self.clients_max {
            tracing::warn!(limit = self.clients_max, "too many clients");
            self.tasks.spawn(turn_away(client, Own::TooManyClients));
            return;
        }
        let deps = self.deps.clone();
        let watch = self.watch.clone();
        let terms = self.terms.clone();
        let drain = self.tasks.token().clone();
        self.tasks.spawn(async move {
            let open = deps.metrics.connection(Side::Client);
            serve(client, &watch, deps, &terms, drain).await;
            drop(open);
        });
    }
}

async fn serve(
    client: TcpStream,
    watch: &BackendWatch,
    deps: Arc<Deps>,
    terms: &Terms,
    drain: CancellationToken,
) {
    let peer = client.peer_addr().map_or_else(|error| error.to_string(), |addr| addr.to_string());
    if let Err(error) = client.set_nodelay(true) {
        tracing::debug!(peer, %error, "client left before it was served");
        return;
    }
    let backend = match backend::connect(&watch.backends, watch.connect_timeout).await {
        Ok(connected) => {
            watch.down(&connected.failed);
            watch.up(connected.place);
            let address = watch.backends[connected.place].as_str().into();
            session::Backend { stream: connected.stream, address }
        }
        Err(error) => {
            tracing::error!(peer, %error, "client turned away");
            watch.down(&error.failed);
            turn_away(client, Own::BackendUnreachable).await;
            return;
        }
    };
    let open = deps.metrics.connection(Side::Backend);
    match Session::login(client, backend, deps, terms).await {
        Ok(session) => {
            let conn = session.connection_id();
            tracing::debug!(conn, peer, user = session.user(), "client logged in");
            let end = session.run(drain).await;
            tracing::debug!(conn, peer, ?end, "client left");
        }
        Err(End::Own(own)) => {
            tracing::warn!(peer, error = own.row().text, "login failed");
        }
        Err(end) => tracing::info!(peer, ?end, "login ended"),
    }
    drop(open);
}

/// Says why and closes. The client has not seen a greeting yet, so this is packet 0.
async fn turn_away(mut client: TcpStream, own: Own) {
    let limit = Duration::from_secs(1);
    let said: Result<io::Result<()>, _> = tokio::time::timeout(limit, async {
        client.write_all(&session::own_error(own, 0)).await?;
        client.shutdown().await
    })
    .await;
    if !matches!(said, Ok(Ok(()))) {
        tracing::debug!(error = own.row().text, "the client did not wait for its answer");
    }
}
