//! Over sockets, with TLS, and in the whole program.

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tonic::codegen::tokio_stream::wrappers::UnboundedReceiverStream;
use txguard::app::build::Parts;
use txguard::base::clock::SystemClock;
use txguard::net::pd::Network;
use txguard::net::tls::{Connector, Identity};

use super::support::certificates::Certificates;
use super::support::proxy::configuration;
use super::support::{Backend, Proxy, connect_to, eventually, need, soon, tidb};
use super::*;

/// A PD on loopback; with certificates as a cluster with TLS has it: it asks for one, and it speaks
/// HTTP/2 only to who has agreed on it.
pub(crate) async fn listen(certificates: Option<&Certificates>) -> Fake {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let port = listener.local_addr().expect("bound").port();
    let (door, queue) = mpsc::unbounded_channel();
    let tasks = Tasks::default();
    match certificates.map(acceptor) {
        None => {
            let fake = Fake::at(format!("http://127.0.0.1:{port}"));
            fake.serve(0, UnboundedReceiverStream::new(queue));
            tasks.spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    door.send(Ok(stream)).expect("served");
                }
            });
            fake
        }
        Some(acceptor) => {
            let fake = Fake::at(format!("https://127.0.0.1:{port}"));
            let (pipes, queue) = mpsc::unbounded_channel();
            fake.serve(0, UnboundedReceiverStream::new(queue));
            drop(door);
            tasks.spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                    if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
                        continue;
                    }
                    let (mut near, far) = tokio::io::duplex(1 << 16);
                    pipes.send(Ok(far)).expect("served");
                    Tasks::default().spawn(async move {
                        let _ = tokio::io::copy_bidirectional(&mut stream, &mut near).await;
                    });
                }
            });
            fake
        }
    }
}

fn acceptor(certificates: &Certificates) -> TlsAcceptor {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let chain = |name: &str| -> Vec<_> {
        let found = CertificateDer::pem_file_iter(certificates.path(name)).expect("PEM");
        found.map(|one| one.expect("a certificate")).collect()
    };
    let mut roots = rustls::RootCertStore::empty();
    chain("ca.pem").into_iter().for_each(|ca| roots.add(ca).expect("a CA"));
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone());
    let key = PrivateKeyDer::from_pem_file(certificates.path("server.key")).expect("a key");
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_client_cert_verifier(verifier.build().expect("a CA"))
        .with_single_cert(chain("server.pem"), key)
        .expect("they belong together");
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Arc::new(config).into()
}

/// A PD asked over the network.
fn asking(fake: &Fake, tls: Option<Connector>) -> (Pd, Tasks) {
    let (dial, clock) = (Arc::new(Network::new(tls)), Arc::new(SystemClock));
    let (pd, runner) = Pd::new(fake.addresses(), dial, clock, Arc::new(Metrics::new()));
    let tasks = Tasks::default();
    tasks.spawn(runner.run(tasks.token().clone()));
    (pd, tasks)
}

#[tokio::test]
async fn tls_is_mutual_and_checked() {
    let certificates = Certificates::new();
    certificates.sign("txguard", &["txguard"], false);
    certificates.stranger("stranger");
    let fake = listen(Some(&certificates)).await;
    let path = |name: &str| certificates.path(name);
    let (certificate, key) = (path("txguard.pem"), path("txguard.key"));
    let identity = Identity { certificate: &certificate, key: &key };
    let (ca, stranger) = (path("ca.pem"), path("stranger.pem"));

    let right = Connector::load(Some(&ca), Some(identity)).expect("files");
    let (pd, tasks) = asking(&fake, Some(right));
    let first = soon("a timestamp", pd.fresh()).await.expect("it runs");
    assert!(soon("the next", pd.fresh()).await.expect("it runs") > first);

    tasks.cancel();
    tasks.wait().await;
    let answers = fake.set().answers;
    let nobody = Connector::load(Some(&ca), None).expect("files");
    let elsewhere = Connector::load(Some(&stranger), Some(identity)).expect("files");
    for wrong in [Some(nobody), Some(elsewhere), None] {
        let (pd, tasks) = asking(&fake, wrong);
        let refused = tokio::time::timeout(Duration::from_millis(700), pd.fresh()).await;
        refused.expect_err("no timestamp without the right certificates");
        tasks.cancel();
    }
    assert_eq!(fake.set().answers, answers);
}

#[tokio::test]
async fn a_transaction_carries_a_timestamp_of_pd_that_is_earlier_than_its_own() {
    let tidb: Backend = need!(tidb::start());
    // This PD's clock stands at the beginning of a test, in 2023; TiDB's own is today's.
    let fake = listen(None).await;
    let before = fake.hand_out();
    let at = &fake.addresses()[0];
    let toml = format!(
        "[tso]\nsource = 'pd'\npd = ['{at}']\n[[policy]]\nname = 'all'\ntag = true\ntso = 'exact'"
    );
    let proxy = Proxy::start_text(&configuration(&tidb.address, &toml), Parts::default()).await;
    // With the second answer the first one is a hint.
    let answers = "txguard_tso_wait_seconds_count ";
    eventually("a hint", || {
        let text = proxy.metrics().render();
        let count = text.lines().find_map(|line| line.strip_prefix(answers)?.parse().ok());
        count.is_some_and(|count: u64| count >= 2)
    })
    .await;
    let mut conn = connect_to(&proxy.address.to_string(), None).await;
    for _ in 0..20 {
        for statement in ["BEGIN", "SELECT 1", "COMMIT"] {
            mysql_async::prelude::Queryable::query_drop(&mut conn, statement).await.expect("OK");
        }
    }
    drop(conn);
    eventually("its records", || proxy.records().len() >= 20).await;
    let after = fake.hand_out();
    let hints: Vec<u64> = proxy.records().iter().filter_map(|one| one.number("tso")).collect();
    assert!(hints.len() >= 20, "{hints:?}");
    assert!(hints.iter().all(|hint| before.0 < *hint && *hint < after.0), "{hints:?}");
    proxy.stop().await;
}
