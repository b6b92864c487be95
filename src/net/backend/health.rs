//! Is an address up?
//!
//! Clients tell: a connection that is opened for one, or can't be, is news. Only an address that
//! is not known to be up is tried from here. A server that is up sees no probe that opens a
//! connection and leaves without logging in; MySQL and MariaDB block a host that does so often
//! (`max_connect_errors`). TiDB's status port is asked all the time: it says that the server is
//! shutting down before clients notice.

use std::io;
use std::time::Duration;

use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::base::config::Address;

use super::connect::{Hello, connect};

/// What is known of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// Nobody has tried it yet.
    Unchecked,
    /// The last connection to it succeeded.
    Up,
    /// It is shutting down, its status port says.
    Stopping,
    /// The last connection to it failed.
    Down,
}

/// What is found out about an address, and why it is so.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) health: Health,
    /// Empty if it is up.
    pub(super) why: String,
}

impl Finding {
    pub(super) const UP: Self = Self { health: Health::Up, why: String::new() };

    pub(super) fn down(why: impl ToString) -> Self {
        Self { health: Health::Down, why: why.to_string() }
    }
}

/// Between two looks at the same address, while nothing is wrong with it.
pub(super) const EVERY: Duration = Duration::from_secs(1);

/// The longest pause before an address that is down is tried again.
const PAUSE_MAX: Duration = Duration::from_secs(8);

/// The pause before the next look: twice as long with each failure, and up to a quarter shorter by
/// chance, so that many txguards don't knock together. `noise` is any number.
pub(super) fn pause(failures: u32, noise: u64) -> Duration {
    let doubled = EVERY * 2_u32.saturating_pow(failures.saturating_sub(1).min(8));
    let whole = doubled.min(PAUSE_MAX);
    let less = u32::try_from(noise % 256).unwrap_or_default();
    whole - whole / 4 * less / 255
}

/// Looks at an address, for `limit` at most; a connection begins with the bytes `ahead`. Cancel
/// safe.
pub(super) async fn check(
    address: &Address,
    status: Option<u16>,
    ahead: &[u8],
    limit: Duration,
) -> Finding {
    match status {
        Some(port) => {
            let asked = timeout(limit, status_code(&address.with_port(port))).await;
            finding(asked.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())))
        }
        None => match connect(address, ahead, limit).await {
            Ok((_, Hello::Greeting | Hello::Refusal)) => Finding::UP,
            Ok((_, Hello::Nothing)) => Finding::down(NO_GREETING),
            Err(error) => Finding::down(error),
        },
    }
}

/// Why an address is down that accepts connections.
pub(super) const NO_GREETING: &str = "closed before its greeting";

/// TiDB answers 500 from the moment on at which it is asked to shut down, up to its end.
fn finding(answer: io::Result<u16>) -> Finding {
    match answer {
        Ok(200) => Finding::UP,
        Ok(500) => Finding { health: Health::Stopping, why: "shutting down".to_owned() },
        Ok(code) => Finding::down(format!("status port: HTTP {code}")),
        Err(error) => Finding::down(format!("status port: {error}")),
    }
}

/// Bytes of the answer that are read: TiDB's has 100.
const ANSWER_MAX: u64 = 4096;

/// The status code of `GET /status`.
async fn status_code(address: &Address) -> io::Result<u16> {
    let mut stream = TcpStream::connect((address.host(), address.port())).await?;
    let request = format!("GET /status HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(ANSWER_MAX).read_to_end(&mut answer).await?;
    let code = answer.strip_prefix(b"HTTP/1.").and_then(|rest| rest.get(2..5));
    let code = code.and_then(|code| std::str::from_utf8(code).ok()?.parse().ok());
    code.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no HTTP answer"))
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn pauses_grow_up_to_a_limit_and_differ() {
        let longest: Vec<_> = (1..7).map(|failures| pause(failures, 0).as_secs()).collect();
        assert_eq!(longest, [1, 2, 4, 8, 8, 8]);
        for failures in [0, 1, 3, 1000, u32::MAX] {
            let whole = pause(failures, 0);
            for noise in 0..600 {
                let pause = pause(failures, noise);
                assert!(pause <= whole && pause >= whole * 3 / 4, "{failures} {noise}: {pause:?}");
            }
            assert_eq!(pause(failures, 255), whole * 3 / 4);
        }
    }

    /// What is made of a status port that answers so.
    async fn answered(answer: &'static [u8]) -> Finding {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let port = listener.local_addr().expect("bound").port();
        let address: Address = "127.0.0.1:1".parse().expect("an address");
        let serve = async {
            let (mut stream, _) = listener.accept().await.expect("a client");
            let mut request = [0; 19];
            stream.read_exact(&mut request).await.expect("a request");
            assert_eq!(&request, b"GET /status HTTP/1.");
            stream.write_all(answer).await.expect("it listens");
            // Read to its end, for otherwise the answer could be lost by a reset.
            let _ = stream.shutdown().await;
            let _ = stream.read_to_end(&mut Vec::new()).await;
        };
        let limit = Duration::from_secs(10);
        let ((), finding) = tokio::join!(serve, check(&address, Some(port), b"", limit));
        finding
    }

    #[tokio::test]
    async fn the_status_port_tells_up_from_stopping_from_nonsense() {
        assert_eq!(answered(b"HTTP/1.1 200 OK\r\n\r\n{}").await, Finding::UP);
        let stopping = answered(b"HTTP/1.1 500 Internal Server Error\r\n\r\n").await;
        assert_eq!(stopping.health, Health::Stopping);
        for (answer, why) in [
            (&b"HTTP/1.0 404 Not Found\r\n\r\n"[..], "HTTP 404"),
            (b"HTTP/1.1", "no HTTP answer"),
            (b"\x4a\0\0\0\x0a8.0.11-MariaDB\0", "no HTTP answer"),
            (b"", "no HTTP answer"),
        ] {
            let finding = answered(answer).await;
            assert!(finding.health == Health::Down && finding.why.contains(why), "{finding:?}");
        }
    }

    #[tokio::test]
    async fn an_endless_answer_is_cut_and_a_silent_port_is_given_up() {
        static LONG: [u8; 100_000] = [b'x'; 100_000];
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let port = listener.local_addr().expect("bound").port();
        let address: Address = "127.0.0.1:1".parse().expect("an address");
        let endless = async {
            let (mut stream, _) = listener.accept().await.expect("a client");
            while stream.write_all(&LONG).await.is_ok() {}
        };
        let limit = Duration::from_secs(10);
        let ((), finding) = tokio::join!(endless, check(&address, Some(port), b"", limit));
        assert_eq!(finding.why, "status port: no HTTP answer");
        let silent = check(&address, Some(port), b"", Duration::from_millis(20)).await;
        assert_eq!(silent.why, "status port: timed out");
    }
}
