//! How a connection to PD is opened.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tonic::codegen::{Service, http};
use tonic::transport::{Channel, Endpoint};

use crate::base::config::Address;
use crate::net::tls::{Connector, Name};

use super::PdError;

/// Bytes in both directions.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A connection that is being opened.
pub type DialFuture = Pin<Box<dyn Future<Output = io::Result<Box<dyn Duplex>>> + Send>>;

/// Opens connections to PD.
pub trait Dial: Send + Sync {
    /// To one address.
    fn dial(&self, address: &Address) -> DialFuture;

    /// True if there is TLS around them: PD's own URLs must say `https` then, else `http`.
    fn is_tls(&self) -> bool;
}

/// TCP, and TLS around it where the configuration says so.
#[derive(Debug, Clone, Default)]
pub struct Network {
    tls: Option<Connector>,
}

impl Network {
    /// TLS if there is a connector.
    #[must_use]
    pub fn new(tls: Option<Connector>) -> Self {
        Self { tls: tls.map(Connector::for_http2) }
    }
}

impl Dial for Network {
    fn dial(&self, address: &Address) -> DialFuture {
        let (address, tls) = (address.clone(), self.tls.clone());
        Box::pin(async move {
            let stream = TcpStream::connect((address.host(), address.port())).await?;
            stream.set_nodelay(true)?;
            let Some(tls) = tls else { return Ok(Box::new(stream) as Box<dyn Duplex>) };
            let name = Name::new(address.host()).map_err(io::Error::other)?;
            let stream = tls.0.connect(name.0, stream).await?;
            Ok(Box::new(stream) as Box<dyn Duplex>)
        })
    }

    fn is_tls(&self) -> bool {
        self.tls.is_some()
    }
}

/// A channel to one address, connected within `limit`.
///
/// Cancel safe: a connection under way is dropped.
pub(super) async fn connect(
    dial: &Arc<dyn Dial>,
    address: &Address,
    limit: Duration,
) -> Result<Channel, PdError> {
    let failed =
        |why: &dyn fmt::Display| PdError::Connect { at: address.to_string(), why: why.to_string() };
    let uri = format!("{}://{address}", scheme(dial.is_tls()));
    let endpoint = Endpoint::from_shared(uri).map_err(|error| failed(&error))?;
    let once = Once { dial: dial.clone(), address: address.clone() };
    match timeout(limit, endpoint.connect_with_connector(once)).await {
        Ok(Ok(channel)) => Ok(channel),
        Ok(Err(error)) => Err(failed(&innermost(&error))),
        Err(_) => Err(failed(&"timed out")),
    }
}

/// The library says "transport error", and what it was in the error behind.
fn innermost<'a>(error: &'a (dyn std::error::Error + 'static)) -> &'a dyn fmt::Display {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner
}

/// The address in a URL that PD names for itself, if it is one for this kind of connection: a
/// cluster with TLS is never followed to a place without.
///
/// # Errors
/// It isn't.
pub(super) fn followed(url: &str, tls: bool) -> Result<Address, PdError> {
    let wrong = |why| PdError::Url(url.to_owned(), why);
    let (found, rest) = url.split_once("://").ok_or(wrong("no URL"))?;
    match (found, tls) {
        ("https", true) | ("http", false) => {}
        ("https", false) => return Err(wrong("it needs TLS, set `[tso] tls_ca`")),
        ("http", true) => return Err(wrong("it has no TLS, and `[tso] tls_ca` is set")),
        _ => return Err(wrong("neither http nor https")),
    }
    rest.trim_end_matches('/').parse().map_err(|_| wrong("no HOST:PORT"))
}

const fn scheme(tls: bool) -> &'static str {
    if tls { "https" } else { "http" }
}

/// What the library asks for connections: it knows one address.
struct Once {
    dial: Arc<dyn Dial>,
    address: Address,
}

impl Service<http::Uri> for Once {
    type Response = TokioIo<Box<dyn Duplex>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, io::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), io::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Uri) -> Self::Future {
        let dialled = self.dial.dial(&self.address);
        Box::pin(async move { dialled.await.map(TokioIo::new) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_is_followed_only_with_the_same_protection() {
        let at = |url, tls| followed(url, tls).map(|address| address.to_string()).ok();
        assert_eq!(at("http://pd-0.pd:2379", false).as_deref(), Some("pd-0.pd:2379"));
        assert_eq!(at("https://[::1]:2379/", true).as_deref(), Some("[::1]:2379"));
        assert_eq!(at("http://pd:2379", true), None);
        assert_eq!(at("https://pd:2379", false), None);
        assert_eq!(at("pd:2379", false), None);
        assert_eq!(at("unix://pd:2379", false), None);
        assert_eq!(at("http://pd", false), None);
    }
}
