//! How the two legs of a connection are dressed: TLS, compression, the PROXY protocol. Made from
//! the configuration and the files it names, as a whole or not at all.

use std::net::IpAddr;
use std::path::Path;

use crate::base::config::{
    Address, BackendLeg, ClientLeg, Compression, Identity as Files, Network, ProxyHeader, TlsMode,
};
use crate::wire::compress::{Algorithm, ZSTD_LEVEL};
use crate::wire::origin::{Origin, Version, write};

use super::tls::{Acceptor, ClientCertificate, Connector, Identity, Name, TlsError};

/// Both legs.
#[derive(Debug, Clone)]
pub struct Legs {
    /// The client's.
    pub client: ClientSide,
    /// The backend's.
    pub backend: BackendSide,
}

/// The client's leg.
#[derive(Debug, Clone)]
pub struct ClientSide {
    /// Answers handshakes; without it TLS isn't offered.
    pub tls: Option<Acceptor>,
    /// A client without TLS is refused.
    pub require_tls: bool,
    /// Where connections begin with a header of the PROXY protocol.
    pub proxy_protocol: Vec<Network>,
}

/// The backend's leg.
#[derive(Debug, Clone)]
pub struct BackendSide {
    /// When TLS is used.
    pub mode: TlsMode,
    /// Begins handshakes.
    pub tls: Connector,
    /// The name in certificates, if it isn't the host's.
    pub name: Option<Name>,
    /// A password may go without TLS in the clear.
    pub allow_cleartext_password: bool,
    /// Used where the server offers it.
    pub compression: Option<Algorithm>,
    /// The header that begins each connection.
    pub proxy_protocol: Option<Version>,
}

impl Legs {
    /// Reads the files that the configuration names.
    ///
    /// # Errors
    /// One of them can't be used.
    pub fn load(client: &ClientLeg, backend: &BackendLeg) -> Result<Self, TlsError> {
        Ok(Self { client: ClientSide::load(client)?, backend: BackendSide::load(backend)? })
    }

    /// Every file that the configuration names: their content is part of it.
    pub fn files<'a>(
        client: &'a ClientLeg,
        backend: &'a BackendLeg,
    ) -> impl Iterator<Item = &'a Path> {
        let pairs = [client.identity.as_ref(), backend.identity.as_ref()];
        let identities = pairs
            .into_iter()
            .flatten()
            .flat_map(|Files { certificate, key }| [certificate.as_path(), key.as_path()]);
        identities.chain([&client.client_ca, &backend.ca].into_iter().flatten().map(|ca| &**ca))
    }
}

impl ClientSide {
    /// True if a connection from there begins with a header of the PROXY protocol.
    #[must_use]
    pub fn is_announced(&self, from: IpAddr) -> bool {
        self.proxy_protocol.iter().any(|network| network.contains(from))
    }

    fn load(leg: &ClientLeg) -> Result<Self, TlsError> {
        let clients = match (&leg.client_ca, leg.require_client_certificate) {
            (None, _) => ClientCertificate::Unasked,
            (Some(ca), false) => ClientCertificate::Optional(ca),
            (Some(ca), true) => ClientCertificate::Required(ca),
        };
        let tls = leg.identity.as_ref().map(|files| Acceptor::load(identity(files), clients));
        Ok(Self {
            tls: tls.transpose()?,
            // Without TLS nobody shows a certificate.
            require_tls: leg.require_tls || leg.require_client_certificate,
            proxy_protocol: leg.proxy_protocol.clone(),
        })
    }
}

impl BackendSide {
    fn load(leg: &BackendLeg) -> Result<Self, TlsError> {
        Ok(Self {
            mode: leg.tls,
            tls: Connector::load(leg.ca.as_deref(), leg.identity.as_ref().map(identity))?,
            name: leg.name.as_deref().map(Name::new).transpose()?,
            allow_cleartext_password: leg.allow_cleartext_password,
            compression: match leg.compression {
                Compression::Off => None,
                Compression::Zlib => Some(Algorithm::Zlib),
                Compression::Zstd => Some(Algorithm::Zstd(ZSTD_LEVEL)),
            },
            proxy_protocol: version(leg.proxy_protocol),
        })
    }

    /// What a connection to a backend begins with: whose it is, where that is wanted.
    #[must_use]
    pub fn announce(&self, origin: Origin) -> Vec<u8> {
        self.proxy_protocol.map_or_else(Vec::new, |version| write(Some(origin), version))
    }

    /// The name that the certificate of the server at this HOST:PORT must be for.
    ///
    /// # Errors
    /// The host is neither a name nor an address.
    pub fn name_of(&self, address: &str) -> Result<Name, TlsError> {
        let host =
            || address.parse::<Address>().map_or(address.to_owned(), |a| a.host().to_owned());
        self.name.clone().map_or_else(|| Name::new(&host()), Ok)
    }
}

pub(super) fn version(header: ProxyHeader) -> Option<Version> {
    match header {
        ProxyHeader::Off => None,
        ProxyHeader::V1 => Some(Version::V1),
        ProxyHeader::V2 => Some(Version::V2),
    }
}

fn identity(files: &Files) -> Identity<'_> {
    Identity { certificate: &files.certificate, key: &files.key }
}
