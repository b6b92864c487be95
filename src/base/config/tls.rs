//! TLS, compression and the PROXY protocol: keys of `[listen]` for the clients' side, of
//! `[backend]` for the servers' side. What the files hold is checked where they are used.

use std::path::PathBuf;

use toml::Spanned;

use super::section::Section;
use super::value::Network;

/// A certificate and its key, both files in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The certificate, then the certificates that vouch for it.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// The clients' side of a connection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientLeg {
    /// What txguard shows to clients; without it they can't use TLS.
    pub identity: Option<Identity>,
    /// Clients' certificates must be signed by a CA of this file.
    pub client_ca: Option<PathBuf>,
    /// A client without a certificate is refused.
    pub require_client_certificate: bool,
    /// A client without TLS is refused.
    pub require_tls: bool,
    /// Connections from here begin with a header of the PROXY protocol.
    pub proxy_protocol: Vec<Network>,
}

/// The servers' side of a connection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BackendLeg {
    /// Whether TLS is used.
    pub tls: TlsMode,
    /// Servers' certificates must be signed by a CA of this file.
    pub ca: Option<PathBuf>,
    /// The name in the servers' certificates, if it isn't the host of their address.
    pub name: Option<String>,
    /// What txguard shows to servers that ask for a certificate.
    pub identity: Option<Identity>,
    /// A password may cross this side without TLS in the clear.
    pub allow_cleartext_password: bool,
    /// Compression, where the server offers it.
    pub compression: Compression,
    /// The header that begins each connection.
    pub proxy_protocol: ProxyHeader,
}

/// Whether TLS is used towards a backend.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TlsMode {
    /// Never.
    Disable,
    /// For a client that uses TLS itself, if the server offers it.
    #[default]
    Prefer,
    /// Always; the server's certificate isn't checked.
    Require,
    /// Always, with a certificate of a known CA and for the right name.
    Verify,
}

/// Compression towards a backend.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Compression {
    /// None.
    #[default]
    Off,
    /// zlib.
    Zlib,
    /// zstd.
    Zstd,
}

/// Which header of the PROXY protocol is sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ProxyHeader {
    /// None.
    #[default]
    Off,
    /// Version 1, text.
    V1,
    /// Version 2, binary.
    V2,
}

impl ClientLeg {
    pub(super) fn read(section: &mut Section<'_, '_>) -> Self {
        let identity = identity(section, "server.pem", "server.key");
        let ca = path(section, "tls_client_ca", "\"/etc/txguard/clients-ca.pem\"");
        let require_client_certificate =
            section.value::<bool>("require_client_certificate", "true");
        let require_tls = section.value::<bool>("require_tls", "true");
        let proxy_protocol = networks(section);

        let needs_identity = "set `tls_certificate` and `tls_key`";
        if let (Some(ca), None) = (&ca, &identity) {
            section.error(ca.span(), "`tls_client_ca` without TLS has no use", needs_identity);
        }
        if let Some(required) = require_tls.as_ref().filter(|flag| *flag.get_ref())
            && identity.is_none()
        {
            let text = "`require_tls` refuses every client: txguard has no certificate";
            section.error(required.span(), text, needs_identity);
        }
        if let Some(required) = require_client_certificate.as_ref().filter(|flag| *flag.get_ref())
            && ca.is_none()
        {
            let text = "`require_client_certificate` needs the CA that signs them";
            section.error(required.span(), text, "set `tls_client_ca`");
        }
        let is_set = |flag: Option<Spanned<bool>>| flag.is_some_and(Spanned::into_inner);
        Self {
            identity,
            client_ca: ca.map(Spanned::into_inner),
            require_client_certificate: is_set(require_client_certificate),
            require_tls: is_set(require_tls),
            proxy_protocol,
        }
    }
}

impl BackendLeg {
    pub(super) fn read(section: &mut Section<'_, '_>) -> Self {
        let at = section.span();
        let modes = [
            ("disable", TlsMode::Disable),
            ("prefer", TlsMode::Prefer),
            ("require", TlsMode::Require),
            ("verify", TlsMode::Verify),
        ];
        let tls = section.choice("tls", &modes, TlsMode::default());
        let ca = path(section, "tls_ca", "\"/etc/ssl/certs/ca-certificates.crt\"");
        let name = section.value::<String>("tls_name", "\"tidb.example.com\"");
        let identity = identity(section, "txguard.pem", "txguard.key");
        let allow_cleartext_password = section.flag("allow_cleartext_password", false);
        let packed =
            [("off", Compression::Off), ("zlib", Compression::Zlib), ("zstd", Compression::Zstd)];
        let compression = section.choice("compression", &packed, Compression::default());
        let headers = [("off", ProxyHeader::Off), ("v1", ProxyHeader::V1), ("v2", ProxyHeader::V2)];
        let proxy_protocol = section.choice("proxy_protocol", &headers, ProxyHeader::default());

        match (&ca, tls) {
            (None, TlsMode::Verify) => section.error(
                at,
                "`tls = \"verify\"` needs to know whose certificates are right",
                "set `tls_ca`; the system's list is /etc/ssl/certs/ca-certificates.crt on Debian",
            ),
            (Some(ca), TlsMode::Disable | TlsMode::Prefer | TlsMode::Require) => section.error(
                ca.span(),
                "`tls_ca` is used with `tls = \"verify\"` only",
                "set `tls = \"verify\"`, or leave `tls_ca` out",
            ),
            _ => {}
        }
        if let Some(name) = name.as_ref().filter(|_| tls != TlsMode::Verify) {
            let text = "`tls_name` is used with `tls = \"verify\"` only";
            section.error(name.span(), text, "set `tls = \"verify\"`, or leave `tls_name` out");
        }
        Self {
            tls,
            ca: ca.map(Spanned::into_inner),
            name: name.map(Spanned::into_inner),
            identity,
            allow_cleartext_password,
            compression,
            proxy_protocol,
        }
    }
}

pub(super) fn identity(
    section: &mut Section<'_, '_>,
    certificate: &str,
    key: &str,
) -> Option<Identity> {
    let example = |name: &str| format!("\"/etc/txguard/{name}\"");
    let certificate = path(section, "tls_certificate", &example(certificate));
    let key = path(section, "tls_key", &example(key));
    match (certificate, key) {
        (Some(certificate), Some(key)) => {
            Some(Identity { certificate: certificate.into_inner(), key: key.into_inner() })
        }
        (Some(one), None) => {
            section.error(one.span(), "`tls_certificate` needs its key", "set `tls_key` too");
            None
        }
        (None, Some(one)) => {
            let text = "`tls_key` needs its certificate";
            section.error(one.span(), text, "set `tls_certificate` too");
            None
        }
        (None, None) => None,
    }
}

pub(super) fn path(
    section: &mut Section<'_, '_>,
    key: &'static str,
    example: &str,
) -> Option<Spanned<PathBuf>> {
    let read = section.value::<String>(key, example)?;
    let span = read.span();
    if read.get_ref().is_empty() {
        let remedy = format!("name a file as `{key} = {example}`, or leave the key out");
        section.error(span, format!("`{key}` is empty"), remedy);
        return None;
    }
    Some(Spanned::new(span, read.into_inner().into()))
}

fn networks(section: &mut Section<'_, '_>) -> Vec<Network> {
    const EXAMPLE: &str = "[\"10.0.0.0/8\"]";
    let Some(list) = section.texts("proxy_protocol", EXAMPLE) else { return Vec::new() };
    let mut networks = Vec::new();
    for written in list.into_inner() {
        let (span, text) = (written.span(), written.into_inner());
        match text.parse::<Network>() {
            Ok(network) => networks.push(network),
            Err(error) => section.error(
                span,
                format!("`proxy_protocol`: {text:?} is not a network: {error}"),
                format!("write it as `proxy_protocol = {EXAMPLE}`"),
            ),
        }
    }
    networks
}
