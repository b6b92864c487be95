//! Connecting to a backend.

use std::io;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

/// Connects to the first address that answers; each gets `limit` at most.
///
/// Errors carry the address and what it answered, the last one first.
///
/// Cancel safe: a connection under way is dropped.
pub async fn connect(addresses: &[String], limit: Duration) -> Result<TcpStream, Unreachable> {
    let mut answers = Vec::with_capacity(addresses.len());
    for address in addresses {
        match timeout(limit, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // Requests and answers are small; waiting for more would only add latency.
                stream.set_nodelay(true).map_err(|error| one(address, error))?;
                return Ok(stream);
            }
            Ok(Err(error)) => answers.push((address.clone(), error)),
            Err(_) => answers.push((address.clone(), io::ErrorKind::TimedOut.into())),
        }
    }
    Err(Unreachable { answers })
}

fn one(address: &str, error: io::Error) -> Unreachable {
    Unreachable { answers: vec![(address.to_owned(), error)] }
}

/// No address accepted a connection.
#[derive(Debug, thiserror::Error)]
#[error("no backend can be reached: {}", self.describe())]
pub struct Unreachable {
    /// Each address with its answer.
    pub answers: Vec<(String, io::Error)>,
}

impl Unreachable {
    fn describe(&self) -> String {
        let each: Vec<String> =
            self.answers.iter().map(|(address, error)| format!("{address}: {error}")).collect();
        each.join("; ")
    }
}
