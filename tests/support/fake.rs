//! A server that misbehaves as a test wants it to.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::raw::frames;

/// What a connection does in place of serving.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    /// Serves: OK to the login and to each command, with an open transaction behind `BEGIN`.
    None,
    /// Says these bytes in place of a greeting, then closes.
    Greeting(&'static [u8]),
    /// Says these bytes in place of the answer to the login, then closes.
    Login(&'static [u8]),
    /// Says these bytes in place of the answer to a statement with the word `fault`, then closes.
    Answer(&'static [u8]),
    /// The same, and stays.
    AnswerAndStay(&'static [u8]),
}

/// A listening server; each connection has the fault of its number, the last one repeats.
pub(crate) struct Fake {
    pub(crate) address: String,
    _serving: JoinSet<()>,
}

impl Fake {
    pub(crate) async fn start(faults: &'static [Fault]) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").await.expect("loopback"), faults)
    }

    /// The same on a listener of the test's own.
    pub(crate) fn on(listener: TcpListener, faults: &'static [Fault]) -> Self {
        let address = listener.local_addr().expect("bound").to_string();
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            let mut accepted = 0;
            while let Ok((stream, _)) = listener.accept().await {
                let fault = faults[accepted.min(faults.len() - 1)];
                accepted += 1;
                connections.spawn(async move {
                    // A client that leaves is the end of most tests.
                    let _ = serve(stream, fault).await;
                });
            }
        });
        Self { address, _serving: serving }
    }
}

/// OK with autocommit on.
const OK: &[u8] = &[0, 0, 0, 2, 0, 0, 0];
/// OK with a transaction open.
const OK_IN_TRANSACTION: &[u8] = &[0, 0, 0, 3, 0, 0, 0];

async fn serve(mut stream: TcpStream, fault: Fault) -> std::io::Result<()> {
    if let Fault::Greeting(bytes) = fault {
        return stream.write_all(bytes).await;
    }
    stream.write_all(&frames(0, &greeting())).await?;
    read_packet(&mut stream).await?;
    if let Fault::Login(bytes) = fault {
        return stream.write_all(bytes).await;
    }
    stream.write_all(&frames(2, OK)).await?;
    let mut open = false;
    loop {
        let command = read_packet(&mut stream).await?;
        let has = |word: &[u8]| command.windows(word.len()).any(|part| part == word);
        match fault {
            Fault::Answer(bytes) if has(b"fault") => return stream.write_all(bytes).await,
            Fault::AnswerAndStay(bytes) if has(b"fault") => {
                stream.write_all(bytes).await?;
                // The other side has to go first.
                return stream.read_to_end(&mut Vec::new()).await.map(drop);
            }
            _ if command == [1] => return Ok(()),
            _ => {}
        }
        open = has(b"BEGIN") || open && !has(b"COMMIT") && !has(b"ROLLBACK");
        stream.write_all(&frames(1, if open { OK_IN_TRANSACTION } else { OK })).await?;
    }
}

async fn read_packet(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut header = [0; 4];
    stream.read_exact(&mut header).await?;
    let mut payload = vec![0; u32::from_le_bytes([header[0], header[1], header[2], 0]) as usize];
    stream.read_exact(&mut payload).await?;
    Ok(payload)
}

/// Protocol 10, with the capabilities that drivers need.
fn greeting() -> Vec<u8> {
    let capabilities: u32 = super::raw::caps::USUAL | super::raw::caps::CONNECT_WITH_DB;
    let [a, b, c, d] = capabilities.to_le_bytes();
    let mut payload = b"\x0a8.0.11-Fake\0\x07\0\0\0saltsalt\0".to_vec();
    payload.extend([a, b, 45, 2, 0, c, d, 21]);
    payload.extend([0; 10]);
    payload.extend(b"saltsaltsalt\0mysql_native_password\0");
    payload
}
