//! The PROXY protocol's header of a client: who it is, if a load balancer says so.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

use crate::wire::origin::{Origin, Progress, read};

/// Reads the header that a connection begins with, and nothing behind it. `None` if it names
/// nobody, as a load balancer's own health check does.
///
/// # Errors
/// There is no header, or the connection ended; what was read is lost.
///
/// Not cancel safe: a part of the header may have been read.
pub async fn receive<S>(stream: &mut S) -> io::Result<Option<Origin>>
where
    S: AsyncRead + Unpin,
{
    let mut header = Vec::new();
    loop {
        let wrong = |error| io::Error::new(io::ErrorKind::InvalidData, error);
        match read(&header).map_err(wrong)? {
            Progress::Done(origin) => return Ok(origin),
            Progress::Needs(len) => {
                let have = header.len();
                header.resize(len, 0);
                stream.read_exact(&mut header[have..]).await?;
            }
        }
    }
}
