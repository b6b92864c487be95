//! What the README says is what the program has.

use std::fmt::Write;

use txguard::base::error;

const README: &str = include_str!("../README.md");

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
fn both_commands_are_named() {
    for command in ["cargo run --release -- demo", "tests/run"] {
        assert!(README.contains(command), "{command}");
    }
}
