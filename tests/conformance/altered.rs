//! The comparison of real runs fails where it must: a proxy that changes one byte is caught.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::program::{Dress, Language, Program};
use crate::support::{mariadb, need};
use crate::transcript::compare;

/// In the answer to one step only.
const SAID: &[u8] = b"row 777";
const ALTERED: &[u8] = b"row 778";

#[tokio::test]
async fn an_altered_byte_is_found() {
    let backend = need!(mariadb::start());
    need!(Language::Python.environment());
    let program = Program { language: Language::Python, name: "drive_altered" };
    let address = altering_proxy(backend.address.clone()).await.to_string();

    let run = async |address| program.run(&backend, address, Dress::default()).await;
    let direct = run(&backend.address).await.expect("a transcript");
    let altered = run(&address).await.expect("a transcript");

    let found = compare([&direct, &direct], &altered);
    assert_eq!(found.differences.len(), 1, "{found:?}");
    assert!(found.differences[0].starts_with("number 777\n"), "{found:?}");
    assert!(found.results > 1, "{found:?}");
}

/// Relays, and replaces [`SAID`] where a server's bytes hold it.
#[allow(clippy::disallowed_methods, reason = "the tasks end with the test's runtime")]
async fn altering_proxy(backend: String) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        loop {
            let (client, _) = listener.accept().await.expect("a client");
            let server = TcpStream::connect(&backend).await.expect("a server");
            let (mut from_client, mut to_client) = client.into_split();
            let (mut from_server, mut to_server) = server.into_split();
            tokio::spawn(async move {
                let _ = tokio::io::copy(&mut from_client, &mut to_server).await;
            });
            tokio::spawn(async move {
                let mut bytes = vec![0; 1 << 16];
                while let Ok(count @ 1..) = from_server.read(&mut bytes).await {
                    let said = &mut bytes[..count];
                    if let Some(at) = said.windows(SAID.len()).position(|part| part == SAID) {
                        said[at..at + SAID.len()].copy_from_slice(ALTERED);
                    }
                    if to_client.write_all(said).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    address
}
