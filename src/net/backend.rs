//! Connecting to a backend.

use std::io;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

/// One address that did not accept a connection.
#[derive(Debug)]
pub struct Failed {
    /// Its place in the list of addresses.
    pub place: usize,
    /// The address.
    pub address: String,
    /// What it answered.
    pub error: io::Error,
}

/// A connection, and what was tried before it.
#[derive(Debug)]
pub struct Connected {
    /// The stream; small packets leave at once.
    pub stream: TcpStream,
    /// The place of its address in the list.
    pub place: usize,
    /// Addresses that were tried first.
    pub failed: Vec<Failed>,
}

/// Connects to the first address that answers; each gets `limit` at most.
///
/// Cancel safe: a connection under way is dropped.
pub async fn connect(addresses: &[String], limit: Duration) -> Result<Connected, Unreachable> {
    let mut failed = Vec::new();
    for (place, address) in addresses.iter().enumerate() {
        let error = match timeout(limit, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => match stream.set_nodelay(true) {
                Ok(()) => return Ok(Connected { stream, place, failed }),
                Err(error) => error,
            },
            Ok(Err(error)) => error,
            Err(_) => io::ErrorKind::TimedOut.into(),
        };
        failed.push(Failed { place, address: address.clone(), error });
    }
    Err(Unreachable { failed })
}

/// No address accepted a connection.
#[derive(Debug, thiserror::Error)]
#[error("no backend can be reached: {}", self.describe())]
pub struct Unreachable {
    /// Each address with its answer.
    pub failed: Vec<Failed>,
}

impl Unreachable {
    fn describe(&self) -> String {
        let each: Vec<String> =
            self.failed.iter().map(|one| format!("{}: {}", one.address, one.error)).collect();
        each.join("; ")
    }
}
