//! What the README says is what the program has.

use std::fmt::Write;

use txguard::base::error;
use txguard::txn::guard::Unguarded;

const README: &str = include_str!("../README.md");
const RETRY_SAFETY: &str = include_str!("../src/manual/retry_safety.rs");

#[test]
fn the_table_of_errors_is_the_programs() {
    let mut table =
        String::from("| code | SQLSTATE | text | when | what to do |\n|---|---|---|---|---|\n");
    for row in error::ALL {
        let text = row.own.message();
        let (code, state) = (row.code, row.sqlstate);
        let _ = writeln!(table, "| {code} | {state} | {text} | {} | {} |", row.cause, row.remedy);
    }
    assert!(README.contains(&table), "the README should hold:\n{table}");
}

#[test]
fn the_manuals_table_of_reasons_is_the_programs() {
    let mut table =
        String::from("//! | reason | what is in the way | what to do |\n//! |---|---|---|\n");
    for why in Unguarded::all() {
        let told = why.told();
        let (what, remedy) = (told.what, told.remedy.unwrap_or_default());
        let row = format!("//! | `{}` | {what} | {remedy}", why.as_str());
        let _ = writeln!(table, "{} |", row.trim_end());
    }
    assert!(RETRY_SAFETY.contains(&table), "retry_safety should hold:\n{table}");
}

#[test]
fn both_commands_are_named() {
    for command in ["cargo run --release -- demo", "tests/run"] {
        assert!(README.contains(command), "{command}");
    }
}
