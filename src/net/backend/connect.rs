//! A connection to one address, up to the server's first words.

use std::io;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::base::config::Address;

/// What a server said first. It is looked at and not read: the client gets to hear it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hello {
    /// A greeting, as far as can be told from its beginning.
    Greeting,
    /// An error in place of a greeting: too many connections, a blocked host.
    Refusal,
    /// It closed without a word.
    Nothing,
}

/// Connects, says what goes `ahead` of everything else, and waits for the server's first words, all
/// together for `limit` at most.
///
/// Cancel safe: a connection under way is dropped.
pub(super) async fn connect(
    address: &Address,
    ahead: &[u8],
    limit: Duration,
) -> io::Result<(TcpStream, Hello)> {
    let greeted = async {
        let mut stream = TcpStream::connect((address.host(), address.port())).await?;
        stream.set_nodelay(true)?;
        stream.write_all(ahead).await?;
        let hello = first_words(&stream).await;
        Ok((stream, hello))
    };
    timeout(limit, greeted).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// Where an ERR packet has its type, behind the frame's header.
const TYPE_AT: usize = 4;

async fn first_words(stream: &TcpStream) -> Hello {
    let mut begin = [0; TYPE_AT + 1];
    match stream.peek(&mut begin).await {
        Ok(0) | Err(_) => Hello::Nothing,
        // A server that says less at a time is one to be read by the login.
        Ok(len) if len > TYPE_AT && begin[TYPE_AT] == 0xFF => Hello::Refusal,
        Ok(_) => Hello::Greeting,
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn first_words_are_told_apart_and_stay_unread() {
        let cases: [(&[u8], Hello); 4] = [
            (b"\x4a\0\0\0\x0a8.0.11", Hello::Greeting),
            (b"\x17\0\0\0\xff\x10\x04Too many", Hello::Refusal),
            (b"\x4a\0\0", Hello::Greeting),
            (b"", Hello::Nothing),
        ];
        for (said, hello) in cases {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
            let address = listener.local_addr().expect("bound").to_string();
            let address = address.parse().expect("an address");
            let serve = async {
                let (mut stream, _) = listener.accept().await.expect("a client");
                stream.write_all(said).await.expect("it listens");
            };
            let limit = Duration::from_secs(10);
            let ((), connected) = tokio::join!(serve, connect(&address, b"", limit));
            let (mut stream, found) = connected.expect("a connection");
            assert_eq!(found, hello);
            let mut heard = Vec::new();
            stream.read_to_end(&mut heard).await.expect("the end");
            assert_eq!(heard, said);
        }
    }

    #[tokio::test]
    async fn a_server_that_says_nothing_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let address = listener.local_addr().expect("bound").to_string();
        let address = address.parse().expect("an address");
        let error =
            connect(&address, b"", Duration::from_millis(20)).await.expect_err("no greeting");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
