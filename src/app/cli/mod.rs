//! The command line, one file per subcommand.

#[cfg(feature = "demo")]
pub mod bench;
pub mod check_config;
pub mod check_transaction;
pub mod config_print;
#[cfg(feature = "demo")]
pub mod demo;
pub mod errors;
pub mod explain;
pub mod schema;
pub mod serve;

mod columns;

use std::io::{Write, stderr, stdout};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::base::config::Config;
use crate::store::service::{Service, Talk};

/// Exit code of everything that is wrong with the configuration.
pub const EXIT_CONFIG: u8 = 2;

/// A transparent MySQL-protocol transaction proxy for TiDB.
#[derive(Debug, Parser)]
#[command(name = "txguard", version, about, propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve MySQL clients in front of a backend.
    Serve(serve::Serve),
    /// Show write conflicts disappear, without a database.
    #[cfg(feature = "demo")]
    Demo(demo::Demo),
    /// Compare the latency, throughput and CPU of several ways to the same database.
    #[cfg(feature = "demo")]
    Bench(bench::Bench),
    /// Check a configuration file and say what it switches on.
    CheckConfig {
        /// The file.
        file: PathBuf,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Work with the configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Say which transactions would be replayed, and why others would not.
    Explain(explain::Explain),
    /// Say what became of a transaction, from its commit receipts.
    CheckTransaction(check_transaction::CheckTransaction),
    /// Create, check or print the schema that txguard keeps in the database.
    #[command(subcommand)]
    Schema(schema::Schema),
    /// List txguard's own errors with cause and remedy.
    Errors {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Write an annotated file with every key and its default.
    Print,
}

/// Runs the program; the value is its exit code.
#[must_use]
pub fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Serve(serve) => serve.run(),
        #[cfg(feature = "demo")]
        Command::Demo(demo) => demo.run(),
        #[cfg(feature = "demo")]
        Command::Bench(bench) => bench.run(),
        Command::CheckConfig { file, json } => {
            check_config::run(&file, json, &mut stdout(), &mut stderr())
        }
        Command::Config(ConfigCommand::Print) => config_print::run(&mut stdout()),
        Command::Explain(explain) => explain.run(&mut stdout().lock(), &mut stderr()),
        Command::CheckTransaction(check) => check.run(),
        Command::Schema(schema) => schema.run(),
        Command::Errors { json } => errors::run(json, &mut stdout()),
    }
}

/// A connection of the service account to each database, with its HOST:PORT; never empty.
async fn open(config: &Config) -> Result<Vec<(String, Talk)>, NotOpen> {
    let service = Service::new(&config.backend).ok_or(NotOpen::NoAccount)?;
    let addresses = config.backend.addresses.iter().map(ToString::to_string);
    let (open, failed) = service.open_all(addresses).await;
    if open.is_empty() {
        let each = failed.iter().map(|(address, error)| format!("{address}: {error}"));
        return Err(NotOpen::Failed(each.collect()));
    }
    for (address, error) in failed {
        // Another one speaks for all, or for itself.
        let _ = writeln!(stderr(), "{address}: {error}");
    }
    Ok(open)
}

/// Why no server can be asked.
#[derive(Debug, thiserror::Error)]
enum NotOpen {
    /// The configuration names no account.
    #[error("the configuration names no `[backend] service_user`: txguard has no account")]
    NoAccount,
    /// Each server with its answer.
    #[error("{}", .0.join("\n"))]
    Failed(Vec<String>),
}

/// Success, unless the output could not be written: a closed pipe is the reader's choice, not a
/// failure of ours.
fn written(result: std::io::Result<()>) -> ExitCode {
    match result {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
        Ok(()) | Err(_) => ExitCode::SUCCESS,
    }
}
