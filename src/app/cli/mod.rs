//! The command line, one file per subcommand.

pub mod serve;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A transparent MySQL-protocol transaction proxy for TiDB.
#[derive(Debug, Parser)]
#[command(name = "txguard", version, about, propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve MySQL clients.
    Serve(serve::Serve),
}

/// Runs the program; the value is its exit code.
#[must_use]
pub fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Serve(serve) => serve.run(),
    }
}
