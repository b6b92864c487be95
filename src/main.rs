//! The `txguard` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    txguard::app::cli::main()
}
