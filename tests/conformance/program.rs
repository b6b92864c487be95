//! A program of `tests/drivers`: how it is started, and what it finds at the server.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::OnceLock;
use std::time::Duration;

use tokio::process::Command;

use crate::support::{Backend, full};
use crate::transcript::Transcript;

/// How long one run may take; with the values of more than 16 MiB of `tests/run --full`.
fn limit() -> Duration {
    Duration::from_secs(if full() { 600 } else { 180 })
}

const COMMON: &str = include_str!("../drivers/schema/common.sql");
const MARIADB: &str = include_str!("../drivers/schema/mariadb.sql");

/// What a program is written in, and so how it is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    Cli,
    Go,
    Java,
    Node,
    Python,
    Rust,
}

impl Language {
    fn name(self) -> &'static str {
        match self {
            Self::Cli => "cli",
            Self::Go => "go",
            Self::Java => "java",
            Self::Node => "node",
            Self::Python => "python",
            Self::Rust => "rust",
        }
    }

    /// The folder that `tests/lib/driver-env` prepared; it is asked once.
    pub(crate) fn environment(self) -> Result<PathBuf, String> {
        static FOLDERS: [OnceLock<Result<PathBuf, String>>; 6] = [const { OnceLock::new() }; 6];
        FOLDERS[self as usize].get_or_init(|| prepare(self.name())).clone()
    }
}

fn prepare(language: &str) -> Result<PathBuf, String> {
    let prepared = std::process::Command::new(folder().join("tests/lib/driver-env"))
        .arg(language)
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("tests/lib/driver-env: {error}"))?;
    if !prepared.status.success() {
        return Err(format!("tests/lib/driver-env {language} could not prepare it"));
    }
    Ok(String::from_utf8_lossy(&prepared.stdout).trim().into())
}

fn folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What is put around a connection.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Dress<'a> {
    /// File of the CA that signs the server's certificate.
    pub(crate) ca: Option<&'a Path>,
    /// zlib.
    pub(crate) compression: bool,
}

/// One program.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Program {
    pub(crate) language: Language,
    pub(crate) name: &'static str,
}

impl Program {
    fn command(self) -> Result<Command, String> {
        let environment = self.language.environment()?;
        let sources = folder().join("tests/drivers").join(self.language.name());
        let source = |suffix: &str| sources.join(format!("{}.{suffix}", self.name));
        Ok(match self.language {
            Language::Cli => Command::new(source("sh")),
            Language::Go | Language::Rust => Command::new(environment.join(self.name)),
            Language::Java => {
                let mut command = Command::new("java");
                // Many small programs: start quickly, and stay small.
                command.args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx1g", "-cp"]);
                let path = format!("{0}/classes:{0}/lib/*", environment.display());
                command.args([path, format!("txguard.drivers.{}", self.name)]);
                command
            }
            Language::Node => {
                let mut command = Command::new("node");
                command.arg(source("js")).env("NODE_PATH", environment.join("node_modules"));
                command
            }
            Language::Python => {
                let mut command = Command::new(environment.join("bin/python"));
                command.arg("-B").arg(source("py"));
                command
            }
        })
    }

    /// Runs it in a schema made anew at the server, connected to HOST:PORT: the server's own, or a
    /// proxy's; with TLS, trusting this CA, and with compression, if wanted.
    pub(crate) async fn run(
        self,
        backend: &Backend,
        address: &str,
        dress: Dress<'_>,
    ) -> Result<Transcript, String> {
        let schema = schema_of(self);
        make_schema(backend, &schema).await;
        let (host, port) = address.rsplit_once(':').expect("HOST:PORT");
        let mut command = self.command()?;
        command
            .env("DRIVER_HOST", host)
            .env("DRIVER_PORT", port)
            .env("DRIVER_USER", &schema)
            .env("DRIVER_PASSWORD", PASSWORD)
            .env("DRIVER_SCHEMA", &schema)
            .env("DRIVER_SERVER", if backend.is_tidb { "tidb" } else { "mariadb" })
            .env("TZ", "Asia/Tokyo")
            .stdin(Stdio::null())
            .kill_on_drop(true);
        if let Some(ca) = dress.ca {
            command.env("DRIVER_TLS_CA", ca);
        }
        if dress.compression {
            command.env("DRIVER_COMPRESS", "zlib");
        }
        let output = match tokio::time::timeout(limit(), command.output()).await {
            Ok(output) => output.map_err(|error| format!("{}: {error}", self.name))?,
            Err(_) => panic!("{} at {address} took longer than {:?}", self.name, limit()),
        };
        let said = String::from_utf8_lossy(&output.stdout);
        let complained = String::from_utf8_lossy(&output.stderr);
        let name = self.name;
        let way = if address == backend.address { "directly" } else { "through txguard" };
        let status = output.status;
        assert!(status.success(), "{name} {way}: {status}\n{complained}\n{said}");
        let transcript = Transcript::parse(&said);
        Ok(transcript.unwrap_or_else(|error| panic!("{name} {way}: {error}\n{complained}")))
    }

    /// Takes schema and user away from a server that outlives the tests.
    pub(crate) async fn clean_up(self, backend: &Backend) {
        let schema = schema_of(self);
        if backend.outside {
            let drop = [format!("DROP DATABASE {schema}"), format!("DROP USER {schema}")];
            backend.run(&drop.each_ref().map(String::as_str)).await;
        }
    }
}

/// Name of the program's schema, and of its user.
fn schema_of(program: Program) -> String {
    format!("driver_{}", program.name.to_lowercase())
}

const PASSWORD: &str = "sëcret 😀";

/// The schema and its user, both of that name, as on the first day.
async fn make_schema(backend: &Backend, schema: &str) {
    let access = [
        format!("DROP DATABASE IF EXISTS {schema}"),
        format!("DROP USER IF EXISTS {schema}"),
        format!("CREATE DATABASE {schema} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"),
        format!("CREATE USER {schema} IDENTIFIED BY '{PASSWORD}'"),
        format!("GRANT ALL ON {schema}.* TO {schema}"),
        format!("USE {schema}"),
    ];
    let mut statements: Vec<&str> = access.iter().map(String::as_str).collect();
    statements.extend(split(COMMON));
    if !backend.is_tidb {
        statements.extend(split(MARIADB));
    }
    backend.run(&statements).await;
}

/// The statements of a file; one ends with a semicolon at the end of a line.
fn split(file: &str) -> impl Iterator<Item = &str> {
    file.split(";\n").map(str::trim).filter(|statement| !statement.is_empty())
}
