//! `[backend]`: the database servers and txguard's own account there.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use toml::Spanned;

use super::section::{Schema, Section};
use super::tls::BackendLeg;
use super::value::Address;

/// The section's keys.
pub(super) const SCHEMA: Schema = Schema {
    title: "[backend]",
    keys: &[
        "addresses",
        "drain",
        "status_port",
        "connect_timeout",
        "tls",
        "tls_ca",
        "tls_name",
        "tls_certificate",
        "tls_key",
        "allow_cleartext_password",
        "compression",
        "proxy_protocol",
        "service_user",
        "service_password_env",
        "service_password_file",
    ],
};

/// The database servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backend {
    /// Where they listen; never empty.
    pub addresses: Vec<Address>,
    /// Those of the addresses that get no new clients.
    pub drain: Vec<Address>,
    /// Where TiDB serves its `/status`, the same for all addresses; `None` to go without.
    pub status_port: Option<u16>,
    /// How long a connection to one address may take, its greeting included.
    pub connect_timeout: Duration,
    /// TLS, compression and the PROXY protocol towards them.
    pub leg: BackendLeg,
    /// The account for txguard's own statements; features that need it say so if it is missing.
    pub service: Option<ServiceAccount>,
}

/// An account of txguard's own. The file never holds a password, only where it is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceAccount {
    /// The user name.
    pub user: String,
    /// Where its password is found.
    pub password: PasswordSource,
}

/// Where a password is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PasswordSource {
    /// In an environment variable of this name.
    Env(String),
    /// In this file, a line end at its end left out.
    File(PathBuf),
    /// The account has an empty password.
    None,
}

impl Default for Backend {
    fn default() -> Self {
        let local = "127.0.0.1:4000".parse().expect("a right address");
        Self {
            addresses: vec![local],
            drain: Vec::new(),
            status_port: None,
            connect_timeout: Duration::from_secs(5),
            leg: BackendLeg::default(),
            service: None,
        }
    }
}

impl Backend {
    pub(super) fn read(mut section: Section<'_, '_>, all: &[&'static Schema]) -> Self {
        let default = Self::default();
        let addresses = addresses(&mut section).unwrap_or(default.addresses);
        let drain = drain(&mut section, &addresses);
        let status_port = section.count("status_port", 0..=u16::MAX.into(), 0);
        let connect_timeout = section.duration(
            "connect_timeout",
            Duration::from_millis(1)..=Duration::from_secs(600),
            default.connect_timeout,
        );
        let leg = BackendLeg::read(&mut section);
        let service = service(&mut section);
        section.finish(all);
        let status_port = u16::try_from(status_port).ok().filter(|port| *port != 0);
        Self { addresses, drain, status_port, connect_timeout, leg, service }
    }
}

fn drain(section: &mut Section<'_, '_>, addresses: &[Address]) -> Vec<Address> {
    let Some(list) = section.texts("drain", "[\"127.0.0.1:4000\"]") else { return Vec::new() };
    let whole = list.span();
    let mut drain = Vec::new();
    for written in list.into_inner() {
        let (span, text) = (written.span(), written.into_inner());
        match text.parse::<Address>() {
            Ok(address) if !addresses.contains(&address) => section.error(
                span,
                format!("`drain`: {text:?} is not among `addresses`"),
                "write it as it stands there; who is not there at all needs no entry here",
            ),
            Ok(address) if drain.contains(&address) => section.error(
                span,
                format!("`drain`: {text:?} is there twice"),
                "leave one of them out",
            ),
            Ok(address) => drain.push(address),
            Err(error) => section.error(
                span,
                format!("`drain`: {text:?} is not an address: {error}"),
                "write it as it stands in `addresses`",
            ),
        }
    }
    if drain.len() == addresses.len() {
        section.warning(
            whole,
            "`drain` names every address: no client can be served",
            "leave one of them out",
        );
    }
    drain
}

fn addresses(section: &mut Section<'_, '_>) -> Option<Vec<Address>> {
    const EXAMPLE: &str = "[\"127.0.0.1:4000\"]";
    let list = section.texts("addresses", EXAMPLE)?;
    if list.get_ref().is_empty() {
        let remedy = format!("name at least one server: `addresses = {EXAMPLE}`");
        section.error(list.span(), "`addresses` is empty", remedy);
    }
    let ports = "TiDB's usual port is 4000, MariaDB's 3306";
    let addresses = servers(section, "addresses", list.into_inner(), EXAMPLE, ports);
    (!addresses.is_empty()).then_some(addresses)
}

/// The addresses of a list that are right and no repetition; the others are noted. `ports` is what
/// to say of port 0.
pub(super) fn servers(
    section: &mut Section<'_, '_>,
    key: &str,
    list: Vec<Spanned<String>>,
    example: &str,
    ports: &str,
) -> Vec<Address> {
    let mut seen = HashSet::new();
    let mut addresses = Vec::new();
    for written in list {
        let (span, text) = (written.span(), written.into_inner());
        match text.parse::<Address>() {
            Ok(address) if address.port() == 0 => section.error(
                span,
                format!("`{key}`: {text:?} has port 0, where no server listens"),
                ports,
            ),
            Ok(address) if !seen.insert(address.clone()) => section.error(
                span,
                format!("`{key}`: {text:?} is there twice"),
                "leave one of them out",
            ),
            Ok(address) => addresses.push(address),
            Err(error) => section.error(
                span,
                format!("`{key}`: {text:?} is not an address: {error}"),
                format!("write it as `{key} = {example}`"),
            ),
        }
    }
    addresses
}

fn service(section: &mut Section<'_, '_>) -> Option<ServiceAccount> {
    let user = section.value::<String>("service_user", "\"txguard\"");
    let env = section.value::<String>("service_password_env", "\"TXGUARD_SERVICE_PASSWORD\"");
    let file = section.value::<String>("service_password_file", "\"/run/secrets/txguard\"");
    for (key, read) in
        [("service_user", &user), ("service_password_env", &env), ("service_password_file", &file)]
    {
        if let Some(read) = read.as_ref().filter(|read| read.get_ref().is_empty()) {
            let text = format!("`{key}` is empty");
            section.error(read.span(), text, "write a name, or leave the key out");
        }
    }
    if let Some(read) = env.as_ref().filter(|read| read.get_ref().contains(['=', '\0'])) {
        let text = "`service_password_env`: no environment variable has such a name";
        section.error(read.span(), text, "write the name of the variable, not the password");
    }
    if let (Some(_), Some(file)) = (&env, &file) {
        section.error(
            file.span(),
            "`service_password_env` and `service_password_file` exclude each other",
            "leave one of them out",
        );
    }
    let Some(user) = user else {
        if let Some(password) = env.as_ref().or(file.as_ref()) {
            section.warning(
                password.span(),
                "a service password without `service_user` is not used",
                "add `service_user = \"txguard\"`",
            );
        }
        return None;
    };
    let password = match (env, file) {
        (Some(env), _) => PasswordSource::Env(env.into_inner()),
        (None, Some(file)) => PasswordSource::File(file.into_inner().into()),
        (None, None) => {
            section.warning(
                user.span(),
                "`service_user` has no password and will log in with an empty one",
                "add `service_password_env` or `service_password_file`",
            );
            PasswordSource::None
        }
    };
    Some(ServiceAccount { user: user.into_inner(), password })
}
