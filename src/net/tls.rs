//! TLS for both legs: what certificate files say, checked when they are read.
//!
//! Configurations are always built with the provider named here: a process with two providers in
//! its dependencies has no default one.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// Answers TLS handshakes of clients.
#[derive(Clone)]
pub struct Acceptor(pub(super) TlsAcceptor);

/// Begins TLS handshakes with servers.
#[derive(Clone)]
pub struct Connector(pub(super) TlsConnector);

/// What a server's certificate is for: a host name or an IP address.
#[derive(Debug, Clone)]
pub struct Name(pub(super) ServerName<'static>);

/// A certificate with the certificates that vouch for it, and its key; both files are PEM.
#[derive(Debug, Clone, Copy)]
pub struct Identity<'a> {
    /// The certificate first, then its issuers.
    pub certificate: &'a Path,
    /// The private key: PKCS#8, PKCS#1 or SEC1.
    pub key: &'a Path,
}

/// Whether clients have to show a certificate.
#[derive(Debug, Clone, Copy)]
pub enum ClientCertificate<'a> {
    /// They aren't asked for one.
    Unasked,
    /// One that is shown must be signed by a CA of this file.
    Optional(&'a Path),
    /// They must show one that is signed by a CA of this file.
    Required(&'a Path),
}

/// A file that can't be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {why}", file.display())]
pub struct TlsError {
    /// Which file.
    pub file: PathBuf,
    /// What is wrong with it.
    pub why: String,
}

// The library's own types show nothing.
impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Acceptor")
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connector")
    }
}

impl Acceptor {
    /// For clients.
    ///
    /// # Errors
    /// A file can't be read, holds nothing usable, or key and certificate don't belong together.
    pub fn load(identity: Identity<'_>, clients: ClientCertificate<'_>) -> Result<Self, TlsError> {
        let builder = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| wrong(identity.certificate, &error))?;
        let verifier = |file: &Path, required: bool| {
            let builder =
                WebPkiClientVerifier::builder_with_provider(roots(file)?.into(), provider());
            let builder = if required { builder } else { builder.allow_unauthenticated() };
            builder.build().map_err(|error| wrong(file, &error))
        };
        let builder = match clients {
            ClientCertificate::Unasked => builder.with_no_client_auth(),
            ClientCertificate::Optional(file) => {
                builder.with_client_cert_verifier(verifier(file, false)?)
            }
            ClientCertificate::Required(file) => {
                builder.with_client_cert_verifier(verifier(file, true)?)
            }
        };
        let (chain, key) = identity.read()?;
        let config = builder
            .with_single_cert(chain, key)
            .map_err(|error| wrong(identity.certificate, &error))?;
        Ok(Self(Arc::new(config).into()))
    }
}

impl Connector {
    /// For servers. With `ca` a server's certificate must be signed by a CA of that file and be
    /// for the name that is connected to; without it nothing is checked, which keeps passive
    /// listeners out and nobody else.
    ///
    /// # Errors
    /// A file can't be read, holds nothing usable, or key and certificate don't belong together.
    pub fn load(ca: Option<&Path>, identity: Option<Identity<'_>>) -> Result<Self, TlsError> {
        let provider = provider();
        let algorithms = provider.signature_verification_algorithms;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| wrong(ca.unwrap_or(Path::new("TLS")), &error))?;
        let builder = match ca {
            Some(file) => builder.with_root_certificates(roots(file)?),
            None => {
                let anyone = Arc::new(Anyone(algorithms));
                builder.dangerous().with_custom_certificate_verifier(anyone)
            }
        };
        let config = match identity {
            Some(identity) => {
                let (chain, key) = identity.read()?;
                builder
                    .with_client_auth_cert(chain, key)
                    .map_err(|error| wrong(identity.certificate, &error))?
            }
            None => builder.with_no_client_auth(),
        };
        Ok(Self(Arc::new(config).into()))
    }
}

impl Connector {
    /// The same for HTTP/2 and nothing else, which is agreed on in the handshake (ALPN).
    #[must_use]
    pub fn for_http2(self) -> Self {
        let mut config = ClientConfig::clone(self.0.config());
        config.alpn_protocols = vec![b"h2".to_vec()];
        Self(Arc::new(config).into())
    }
}

impl Name {
    /// A host name or an IP address (without brackets).
    ///
    /// # Errors
    /// It is neither.
    pub fn new(host: &str) -> Result<Self, TlsError> {
        ServerName::try_from(host.to_owned())
            .map(Self)
            .map_err(|error| wrong(Path::new(host), &error))
    }
}

impl Identity<'_> {
    fn read(&self) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
        let key =
            PrivateKeyDer::from_pem_file(self.key).map_err(|error| unread(self.key, error))?;
        Ok((certificates(self.certificate)?, key))
    }
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let all: Result<Vec<_>, pem::Error> =
        CertificateDer::pem_file_iter(file).and_then(Iterator::collect);
    match all {
        Ok(all) if all.is_empty() => Err(unread(file, pem::Error::NoItemsFound)),
        Ok(all) => Ok(all),
        Err(error) => Err(unread(file, error)),
    }
}

fn roots(file: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file)? {
        roots.add(certificate).map_err(|error| wrong(file, &error))?;
    }
    Ok(roots)
}

fn unread(file: &Path, error: pem::Error) -> TlsError {
    let why = match error {
        pem::Error::Io(error) => format!("can't be read: {error}"),
        pem::Error::NoItemsFound => "holds no PEM section of the kind that is needed".to_owned(),
        other => format!("is not PEM: {other}"),
    };
    TlsError { file: file.to_owned(), why }
}

fn wrong(file: &Path, error: &dyn fmt::Display) -> TlsError {
    TlsError { file: file.to_owned(), why: error.to_string() }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// True if a TLS handshake failed because of the certificate that the other side showed.
#[must_use]
pub fn is_certificate_error(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(inner, Some(rustls::Error::InvalidCertificate(_)))
}

/// Takes any certificate; its owner still has to prove that the key is theirs.
#[derive(Debug)]
struct Anyone(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
