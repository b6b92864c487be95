//! Which passwords may cross which leg.
//!
//! txguard passes the login's exchange on and never learns a password, so what a plugin sends
//! depends on what each side believes of *its* leg. Where the legs differ, that goes wrong:
//!
//! | client's leg | backend's leg | `caching_sha2_password`, full | `mysql_clear_password` |
//! |---|---|---|---|
//! | TLS | TLS | passes | passes |
//! | TLS | plain | only if allowed: the client sends the password in the clear | only if allowed |
//! | plain | TLS | refused: the client asks for a key, the server takes that for the password | refused |
//! | plain | plain | the server's own exchange with its key | refused |
//!
//! The fast way of `caching_sha2_password`, and plugins that send a hash or a signature, always
//! pass.

use crate::base::error::Own;

/// Watches one authentication exchange.
#[derive(Debug, Clone, Copy)]
pub(super) struct Passwords {
    client_tls: bool,
    backend_tls: bool,
    /// The backend's leg may carry a password in the clear without TLS.
    allowed: bool,
    plugin: Plugin,
}

/// Plugins by what they send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plugin {
    /// The password, always.
    Clear,
    /// The password over TLS, else the password under the server's key; a hash comes first and is
    /// enough if the server remembers it.
    Cached,
    /// The same without the hash.
    Sha256,
    /// Nothing that gives the password away.
    Other,
}

/// `AuthSwitchRequest`.
const SWITCH: u8 = 0xFE;

/// `AuthMoreData` of the cached plugins: the hash was not enough. Some clients look at these bytes
/// only, whatever is behind them (PyMySQL, Connector/J).
const FULL: [u8; 2] = [0x01, 0x04];

impl Plugin {
    fn new(name: &[u8]) -> Self {
        match name {
            // `dialog` is what PAM accounts of MariaDB use.
            // The last one sends a token that is as good as a password.
            b"mysql_clear_password" | b"dialog" | b"authentication_openid_connect_client" => {
                Self::Clear
            }
            b"caching_sha2_password" | b"tidb_sm3_password" => Self::Cached,
            b"sha256_password" => Self::Sha256,
            _ => Self::Other,
        }
    }
}

impl Passwords {
    /// For connections with these legs.
    pub(super) fn new(client_tls: bool, backend_tls: bool, allowed: bool) -> Self {
        Self { client_tls, backend_tls, allowed, plugin: Plugin::Other }
    }

    /// A login or a change of user begins with the answer of this plugin.
    pub(super) fn begin(&mut self, plugin: Option<&[u8]>) -> Result<(), Own> {
        self.plugin = plugin.map_or(Plugin::Other, Plugin::new);
        self.first_answer()
    }

    /// The backend asks for more.
    pub(super) fn asked(&mut self, payload: &[u8]) -> Result<(), Own> {
        if let [SWITCH, name @ ..] = payload {
            let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
            self.plugin = Plugin::new(name);
            return self.first_answer();
        }
        match self.plugin {
            Plugin::Cached if payload.starts_with(&FULL) => self.by_leg(),
            _ => Ok(()),
        }
    }

    /// What the plugin sends first.
    fn first_answer(self) -> Result<(), Own> {
        match self.plugin {
            Plugin::Clear if !self.client_tls => Err(Own::PasswordNeedsTls),
            Plugin::Clear | Plugin::Sha256 => self.by_leg(),
            Plugin::Cached | Plugin::Other => Ok(()),
        }
    }

    /// The password comes as the client's leg has it, and is read as the backend's leg has it.
    fn by_leg(self) -> Result<(), Own> {
        match (self.client_tls, self.backend_tls) {
            (true, false) if !self.allowed => Err(Own::CleartextPassword),
            (false, true) => Err(Own::PasswordNeedsTls),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLUGINS: [&[u8]; 4] = [
        b"mysql_native_password",
        b"caching_sha2_password",
        b"sha256_password",
        b"mysql_clear_password",
    ];

    /// The outcome of a login with a plugin, by name or by a switch.
    fn login(tls: (bool, bool), allowed: bool, plugin: &[u8], switched: bool) -> Result<(), Own> {
        let mut passwords = Passwords::new(tls.0, tls.1, allowed);
        match switched {
            false => passwords.begin(Some(plugin))?,
            true => {
                passwords.begin(Some(b"mysql_native_password"))?;
                passwords.asked(&[&[SWITCH], plugin, b"\0salt"].concat())?;
            }
        }
        passwords.asked(&FULL)
    }

    #[test]
    fn the_matrix() {
        let refused = Err(Own::PasswordNeedsTls);
        let clear = Err(Own::CleartextPassword);
        for (tls, allowed, outcomes) in [
            ((true, true), false, [Ok(()), Ok(()), Ok(()), Ok(())]),
            ((true, false), false, [Ok(()), clear, clear, clear]),
            ((true, false), true, [Ok(()), Ok(()), Ok(()), Ok(())]),
            ((false, true), true, [Ok(()), refused, refused, refused]),
            ((false, false), true, [Ok(()), Ok(()), Ok(()), refused]),
        ] {
            for (plugin, outcome) in PLUGINS.into_iter().zip(outcomes) {
                for switched in [false, true] {
                    let name = String::from_utf8_lossy(plugin);
                    assert_eq!(login(tls, allowed, plugin, switched), outcome, "{tls:?} {name}");
                }
            }
        }
    }

    #[test]
    fn the_fast_way_always_passes() {
        let mut passwords = Passwords::new(false, true, false);
        assert_eq!(passwords.begin(Some(b"caching_sha2_password")), Ok(()));
        assert_eq!(passwords.asked(&[0x01, 0x03]), Ok(()));
    }

    /// Clients read no more than the byte that asks.
    #[test]
    fn what_asks_for_the_password_is_told_by_its_beginning() {
        let mut passwords = Passwords::new(true, false, false);
        assert_eq!(passwords.begin(Some(b"caching_sha2_password")), Ok(()));
        assert_eq!(passwords.asked(&[0x01, 0x04, 0x00]), Err(Own::CleartextPassword));
        let token = passwords.begin(Some(b"authentication_openid_connect_client"));
        assert_eq!(token, Err(Own::CleartextPassword));
    }
}
