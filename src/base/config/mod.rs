//! What the configuration file says, one file a section.
//!
//! Owns the schema: keys, units, defaults, bounds, and what can be said wrong about each. A file
//! is either read completely or refused with all its mistakes at once, each with its place.
//! Nothing here acts on a value; `policy` compiles the rules, and `app` hands out the rest.
//!
//! A new key is one field, one line in its section's schema, one reading line, and one line in
//! `config/txguard.toml`; a test fails if the last one is forgotten.

mod backend;
mod limits;
mod listen;
mod log;
mod policy;
mod problem;
mod receipts;
mod section;
mod tls;
mod tso;
mod value;

use std::fs::File;
use std::io::Read;
use std::path::Path;

use toml::de::DeTable;

pub use backend::{Backend, PasswordSource, ServiceAccount};
pub use limits::Limits;
pub use listen::Listen;
pub use log::{Log, LogFormat, LogLevel, LogTransactions};
pub use policy::{Match, Policy, Retry, Tag, TagKeys, TsoMode};
pub use problem::{Place, Problem, Problems};
pub use receipts::Receipts;
pub use tls::{BackendLeg, ClientLeg, Compression, Identity, ProxyHeader, TlsMode};
pub use tso::{Pd, Tso, TsoSource};
pub use value::{Address, AddressError, Network, NetworkError, Pattern};

use problem::Report;
use section::{Schema, Section, TOP};

/// The annotated file with every key and its default.
pub const ANNOTATED: &str = include_str!("../../../config/txguard.toml");

/// A larger file is no configuration; reading stops there.
const FILE_BYTES_MAX: u64 = 8 << 20;

/// The keys at the top.
const SCHEMA: Schema = Schema {
    title: TOP,
    keys: &["enabled", "listen", "backend", "tso", "log", "limits", "receipts", "policy"],
};

/// Every table of the schema.
const ALL: &[&Schema] = &[
    &SCHEMA,
    &listen::SCHEMA,
    &backend::SCHEMA,
    &tso::SCHEMA,
    &log::SCHEMA,
    &limits::SCHEMA,
    &receipts::SCHEMA,
    &policy::SCHEMA,
    &policy::MATCH,
    &policy::RETRY,
];

/// A complete, checked configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// False: no policy is in force and everything is relayed bare.
    pub enabled: bool,
    /// Where txguard accepts connections.
    pub listen: Listen,
    /// The database servers.
    pub backend: Backend,
    /// Where timestamps come from.
    pub tso: Tso,
    /// What is written to the log.
    pub log: Log,
    /// What one process takes on.
    pub limits: Limits,
    /// What holds for commit receipts.
    pub receipts: Receipts,
    /// The rules, in the order of the file; the first match wins.
    pub policies: Vec<Policy>,
    /// What is allowed in the file and probably not meant.
    pub warnings: Vec<Problem>,
}

impl Default for Config {
    /// An empty file: everything at its default, and no policy.
    fn default() -> Self {
        Self {
            enabled: true,
            listen: Listen::default(),
            backend: Backend::default(),
            tso: Tso::default(),
            log: Log::default(),
            limits: Limits::default(),
            receipts: Receipts::default(),
            policies: Vec::new(),
            warnings: Vec::new(),
        }
    }
}

impl Config {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// Everything that is wrong with it, also that it can't be read.
    pub fn load(path: &Path) -> Result<Self, Problems> {
        const REMEDY: &str = "`txguard config print` writes a file with every key explained";
        let name = path.display().to_string();
        let mut bytes = Vec::new();
        let read =
            File::open(path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes));
        if let Err(error) = read {
            return Err(Problems::whole_file(&name, format!("can't be read: {error}"), REMEDY));
        }
        if bytes.len() as u64 > FILE_BYTES_MAX {
            let text = format!("is larger than {} MiB", FILE_BYTES_MAX >> 20);
            return Err(Problems::whole_file(&name, text, REMEDY));
        }
        match std::str::from_utf8(&bytes) {
            Ok(text) => Self::parse(text, &name),
            Err(error) => {
                let line = bytes[..error.valid_up_to()].split(|byte| *byte == b'\n').count();
                let text = format!("is not UTF-8 text, first in line {line}");
                Err(Problems::whole_file(&name, text, "save it as UTF-8"))
            }
        }
    }

    /// Checks a text; `file_name` is what messages call it.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn parse(text: &str, file_name: &str) -> Result<Self, Problems> {
        // An editor's byte order mark is no mistake; TOML allows it.
        let (table, syntax) = DeTable::parse_recoverable(text);
        let mut report = Report::default();
        let mut config = Self::read(Section::new(&SCHEMA, table, &mut report));

        if !syntax.is_empty() {
            // What was read around a syntax error is a guess: keep only what stands elsewhere.
            let places: Vec<_> =
                syntax.iter().map(|error| error.span().unwrap_or(text.len()..text.len())).collect();
            let broken: Vec<_> = places.iter().map(|span| lines(text, span)).collect();
            report.errors.retain(|note| {
                let own = lines(text, &note.span);
                broken.iter().all(|other| own.1 < other.0 || other.1 < own.0)
            });
            for (error, span) in syntax.iter().zip(places) {
                report.error(span, format!("not TOML: {}", error.message()), SYNTAX_REMEDY);
            }
        }
        if let Some(problems) = Problems::place(file_name, text, report.errors) {
            return Err(problems);
        }
        let warnings = Problems::place(file_name, text, report.warnings);
        config.warnings = warnings.map(Problems::into_list).unwrap_or_default();
        Ok(config)
    }

    /// The configuration of `serve --backend HOST:PORT` without a file: defaults, and one policy
    /// for everyone with everything that costs the database nothing.
    ///
    /// # Errors
    /// The address can't be read.
    pub fn for_backend(host_port: &str) -> Result<Self, Problems> {
        let wrong = |why: &str| {
            let text = format!("{host_port:?} is not an address: {why}");
            Problems::whole_file("--backend", text, "write it as HOST:PORT, e.g. 127.0.0.1:4000")
        };
        let address: Address =
            host_port.parse().map_err(|error: AddressError| wrong(&error.to_string()))?;
        if address.port() == 0 {
            return Err(wrong("no server listens on port 0"));
        }
        let backend = Backend { addresses: vec![address], ..Backend::default() };
        Ok(Self { backend, policies: vec![Policy::recommended()], ..Self::default() })
    }

    fn read(mut top: Section<'_, '_>) -> Self {
        let enabled = top.flag("enabled", true);
        let listen = top.table("listen", &listen::SCHEMA).map(|part| Listen::read(part, ALL));
        let backend = top.table("backend", &backend::SCHEMA).map(|part| Backend::read(part, ALL));
        let tso = top.table("tso", &tso::SCHEMA).map(|part| Tso::read(part, ALL));
        let log = top.table("log", &log::SCHEMA).map(|part| Log::read(part, ALL));
        let limits = top.table("limits", &limits::SCHEMA).map(|part| Limits::read(part, ALL));
        let receipts =
            top.table("receipts", &receipts::SCHEMA).map(|part| Receipts::read(part, ALL));
        let tables = top.tables("policy");
        let backend = backend.unwrap_or_default();
        let account = backend.service.is_some();
        let policies = policy::read_all(tables, account, top.report(), ALL);
        top.finish(ALL);
        Self {
            enabled,
            listen: listen.unwrap_or_default(),
            backend,
            tso: tso.unwrap_or_default(),
            log: log.unwrap_or_default(),
            limits: limits.unwrap_or_default(),
            receipts: receipts.unwrap_or_default(),
            policies,
            warnings: Vec::new(),
        }
    }
}

const SYNTAX_REMEDY: &str =
    "a line is `key = value`; texts stand in \"double quotes\", tables begin with [name]";

/// First and last line that a range touches, as byte offsets of their beginnings.
fn lines(text: &str, span: &std::ops::Range<usize>) -> (usize, usize) {
    let begin = |at: usize| {
        let bytes = &text.as_bytes()[..at.min(text.len())];
        bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1)
    };
    (begin(span.start), begin(span.end))
}

#[cfg(test)]
mod tests;
