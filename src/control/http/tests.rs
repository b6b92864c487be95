//! Pages over a real socket.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::base::clock::SystemClock;
use crate::base::config::Backend;
use crate::base::tasks::Tasks;
use crate::net::backend::Pool;

struct Site {
    address: std::net::SocketAddr,
    state: HttpState,
    pool: Arc<Pool>,
    tasks: Tasks,
}

/// One server at this address.
fn backend(address: &str) -> Backend {
    Backend { addresses: vec![address.parse().expect("an address")], ..Backend::default() }
}

async fn start() -> Site {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let (metrics, tasks) = (Arc::new(Metrics::new()), Tasks::default());
    // Nobody listens on port 1.
    let (nowhere, clock) = (backend("127.0.0.1:1"), Arc::new(SystemClock));
    let stop = CancellationToken::new();
    let pool = Arc::new(Pool::new(&nowhere, clock, metrics.clone(), 1, stop));
    let state = HttpState { metrics, readiness: Arc::new(Readiness::new(pool.clone())) };
    let served = serve(listener, state.clone(), tasks.token().clone());
    tasks.spawn(async move { served.await.expect("served") });
    Site { address, state, pool, tasks }
}

impl Site {
    /// Status line, content type and body.
    async fn get(&self, path: &str) -> (String, String, String) {
        let mut stream = TcpStream::connect(self.address).await.expect("connected");
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("answered");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        let kind =
            head.lines().find_map(|line| line.strip_prefix("content-type: ")).unwrap_or_default();
        let status = head.lines().next().unwrap_or_default();
        (status.to_owned(), kind.to_owned(), body.to_owned())
    }
}

#[tokio::test]
async fn pages_say_what_they_should() {
    let site = start().await;
    let (status, kind, body) = site.get("/metrics").await;
    assert_eq!((status.as_str(), kind.as_str()), ("HTTP/1.1 200 OK", Metrics::CONTENT_TYPE));
    assert!(body.contains("txguard_transactions_total{outcome=\"committed\"} 0"), "{body}");

    assert_eq!(site.get("/healthz").await.2, "ok");
    assert!(site.get("/").await.2.contains("/readyz"));
    assert_eq!(site.get("/else").await.0, "HTTP/1.1 404 Not Found");
}

#[tokio::test]
async fn readiness_says_why_not() {
    let site = start().await;
    assert!(site.pool.connect(b"").await.is_err());
    let (status, kind, body) = site.get("/readyz").await;
    assert_eq!(status, "HTTP/1.1 503 Service Unavailable");
    assert_eq!(kind, "application/json");
    insta::assert_snapshot!(body, @r#"{"ready":false,"reasons":["no backend reachable"],"backends":[{"address":"127.0.0.1:1","state":"down","connections":0,"why":"Connection refused (os error 111)"}]}"#);

    let server = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = server.local_addr().expect("bound").to_string();
    site.pool.replace(&backend(&address));
    let (_, _, body) = site.get("/readyz").await;
    assert!(body.contains("no backend checked yet"), "{body}");
    let greet = async {
        let (mut stream, _) = server.accept().await.expect("a client");
        stream.write_all(b"\x4a\0\0\0\x0a8.0.11").await.expect("it listens");
    };
    let ((), connected) = tokio::join!(greet, site.pool.connect(b""));
    let (status, _, body) = site.get("/readyz").await;
    assert_eq!(status, "HTTP/1.1 200 OK");
    let body = body.replace(&address, "a:1");
    insta::assert_snapshot!(body, @r#"{"ready":true,"reasons":[],"backends":[{"address":"a:1","state":"up","connections":1}]}"#);
    drop(connected);

    site.state.readiness.drain();
    let (status, _, body) = site.get("/readyz").await;
    assert_eq!(status, "HTTP/1.1 503 Service Unavailable");
    assert!(body.contains("draining"), "{body}");
}

#[tokio::test]
async fn cancelling_ends_it_even_with_a_silent_client() {
    let site = start().await;
    let _silent = TcpStream::connect(site.address).await.expect("connected");
    site.get("/healthz").await;
    site.tasks.cancel();
    let ended = tokio::time::timeout(GRACE * 3, site.tasks.wait()).await;
    assert!(ended.is_ok(), "the server still runs");
    assert!(TcpStream::connect(site.address).await.is_err(), "the listener is still open");
}

#[tokio::test]
async fn garbage_and_a_full_house_leave_it_running() {
    let site = start().await;
    let mut held = Vec::new();
    for _ in 0..connection::CONNECTIONS_MAX - 1 {
        held.push(TcpStream::connect(site.address).await.expect("connected"));
    }
    let mut garbage = TcpStream::connect(site.address).await.expect("connected");
    garbage.write_all(b"\x00\xff not http\r\n\r\n").await.expect("sent");
    let mut answer = Vec::new();
    let _ = garbage.read_to_end(&mut answer).await;
    drop(garbage);
    // One more waits until one of the others is gone.
    drop(held.pop());
    assert_eq!(site.get("/healthz").await.0, "HTTP/1.1 200 OK");
}
