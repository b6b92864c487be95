//! `[listen]`: where txguard accepts connections.

use super::section::{Schema, Section};
use super::tls::ClientLeg;
use super::value::Address;

/// The section's keys.
pub(super) const SCHEMA: Schema = Schema {
    title: "[listen]",
    keys: &[
        "mysql",
        "http",
        "tls_certificate",
        "tls_key",
        "tls_client_ca",
        "require_client_certificate",
        "require_tls",
        "proxy_protocol",
    ],
};

/// Where txguard accepts connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// MySQL clients.
    pub mysql: Address,
    /// Metrics and health; `None` if it is switched off with `http = ""`.
    pub http: Option<Address>,
    /// TLS and the PROXY protocol for MySQL clients.
    pub leg: ClientLeg,
}

impl Default for Listen {
    fn default() -> Self {
        let local = |port| format!("127.0.0.1:{port}").parse().expect("a right address");
        Self { mysql: local(4407), http: Some(local(4480)), leg: ClientLeg::default() }
    }
}

impl Listen {
    pub(super) fn read(mut section: Section<'_, '_>, all: &[&'static Schema]) -> Self {
        let default = Self::default();
        let mysql = section.value::<Address>("mysql", "\"127.0.0.1:4407\"");
        let http = section.value::<String>("http", "\"127.0.0.1:4480\"");
        let mysql_address = mysql.as_ref().map_or(&default.mysql, |read| read.get_ref()).clone();
        let mut http_address = default.http.clone();
        if let Some(http) = http {
            match http.get_ref().parse::<Address>() {
                _ if http.get_ref().is_empty() => http_address = None,
                Ok(address) if address == mysql_address && address.port() != 0 => section.error(
                    http.span(),
                    format!("`http` and `mysql` both listen on {address}"),
                    "give each its own port",
                ),
                Ok(address) => http_address = Some(address),
                Err(error) => section.error(
                    http.span(),
                    format!("`http`: {:?} is not an address: {error}", http.get_ref()),
                    "write it as `http = \"127.0.0.1:4480\"`, or `http = \"\"` to switch it off",
                ),
            }
        } else if let (Some(mysql), true) = (mysql, default.http.as_ref() == Some(&mysql_address)) {
            section.error(
                mysql.span(),
                format!("`mysql` listens on {mysql_address}, which is the default of `http`"),
                "take another port, or set `http` too (\"\" switches it off)",
            );
        }
        let leg = ClientLeg::read(&mut section);
        section.finish(all);
        Self { mysql: mysql_address, http: http_address, leg }
    }
}
