//! `[tso]`: where timestamps come from.
//!
//! What to do without PD, and with too large a drift, belongs to transactions that ask for it; there
//! are none yet, and so no keys.

use std::path::PathBuf;
use std::time::Duration;

use toml::Spanned;

use super::backend::servers;
use super::section::{Schema, Section};
use super::tls::{Identity, identity, path};
use super::value::Address;

/// The section's keys.
pub(super) const SCHEMA: Schema = Schema {
    title: "[tso]",
    keys: &["source", "pd", "tls_ca", "tls_certificate", "tls_key", "drift_warn"],
};

/// Where timestamps come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tso {
    /// The oracle.
    pub source: TsoSource,
    /// A drift of PD's clock against another that is worth a warning.
    pub drift_warn: Duration,
}

/// The oracle of timestamps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum TsoSource {
    /// The local clock, in TiDB's format.
    #[default]
    Local,
    /// PD.
    Pd(Pd),
}

/// How PD is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pd {
    /// Some of its members; never empty.
    pub addresses: Vec<Address>,
    /// TLS, with certificates of this CA's; `None` for none.
    pub ca: Option<PathBuf>,
    /// What is shown to PD.
    pub identity: Option<Identity>,
}

impl Default for Tso {
    fn default() -> Self {
        Self { source: TsoSource::default(), drift_warn: Duration::from_millis(50) }
    }
}

/// What the file says of the source.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Word {
    Auto,
    Local,
    Pd,
}

impl Tso {
    pub(super) fn read(mut section: Section<'_, '_>, all: &[&'static Schema]) -> Self {
        let at = section.span();
        let words = [("auto", Word::Auto), ("local", Word::Local), ("pd", Word::Pd)];
        let word = section.choice("source", &words, Word::Auto);
        let pd = pd(&mut section);
        let drift_warn = section.duration(
            "drift_warn",
            Duration::from_millis(1)..=Duration::from_secs(3600),
            Self::default().drift_warn,
        );
        let source = match (word, pd) {
            (Word::Auto | Word::Pd, Some(pd)) => TsoSource::Pd(pd.into_inner()),
            (Word::Auto, None) => TsoSource::Local,
            (Word::Pd, None) => {
                let remedy = format!("name some of its members: `pd = {EXAMPLE}`");
                section.error(at, "`source = \"pd\"` needs to know where PD is", remedy);
                TsoSource::Local
            }
            (Word::Local, pd) => {
                if let Some(pd) = pd {
                    let text = "`pd` is not used with `source = \"local\"`";
                    section.warning(pd.span(), text, "write `source = \"auto\"`");
                }
                TsoSource::Local
            }
        };
        section.finish(all);
        Self { source, drift_warn }
    }
}

const EXAMPLE: &str = "[\"127.0.0.1:2379\"]";

/// PD, if any address of it is given.
fn pd(section: &mut Section<'_, '_>) -> Option<Spanned<Pd>> {
    let list = section.texts("pd", EXAMPLE);
    let ca = path(section, "tls_ca", "\"/etc/txguard/cluster-ca.pem\"");
    let identity = identity(section, "cluster.pem", "cluster.key");
    if identity.is_some() && ca.is_none() {
        let text = "`tls_certificate` is shown to PD with TLS only";
        section.error(
            section.span(),
            text,
            "set `tls_ca`, the CA of the cluster's own certificates",
        );
    }
    let list = list?;
    let span = list.span();
    let addresses = servers(section, "pd", list.into_inner(), EXAMPLE, "PD's usual port is 2379");
    let pd = Pd { addresses, ca: ca.map(Spanned::into_inner), identity };
    (!pd.addresses.is_empty()).then(|| Spanned::new(span, pd))
}
