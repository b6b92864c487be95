//! `txguard explain` as a program: text, JSON, exit codes, and inputs that are not what they should
//! be.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

/// Runs it; this is all of its standard input.
fn explain(args: &[&str], input: &[u8]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_txguard"));
    command.arg("explain").args(args).stdin(Stdio::piped());
    let mut child =
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    // It may leave before it has read everything.
    let _ = child.stdin.take().expect("piped").write_all(input);
    child.wait_with_output().expect("it ends")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("UTF-8")
}

fn as_json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).expect("JSON")
}

const LOG: &str = "\
-- a log; with a comment
SET NAMES utf8mb4;
BEGIN;
SELECT balance FROM account WHERE id = 7;
UPDATE account SET note = 'it''s; \\'secret\\'' WHERE id = 7;
COMMIT;

BEGIN;
INSERT INTO log (note) VALUES ('a;b'); COMMIT;
BEGIN;
UPDATE account
  SET balance = @x := 1;
COMMIT;
BEGIN;
SHOW TABLES";

#[test]
fn a_file_gives_a_line_for_each_transaction_and_the_sums() {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(LOG.as_bytes()).expect("written");
    let path = file.path().to_str().expect("UTF-8");
    let output = explain(&["--file", path], b"");
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    insta::assert_snapshot!(text(&output.stdout), @"
    lines           statements  replayed  reason                    because of
    2                        1  -         autocommit: nothing to replay
    3-6                      4  yes
    8-9                      3  pinned    ids_pinned
    10-13                    3  no        user_variable             line 11: UPDATE account SET balance = @x := 0
    14-15                    2  no        show                      line 15: SHOW TABLES

    transactions: 4
      would be replayed: 2, with pinned ids: 1, under a condition: 1
      would not be: 2
    statements alone, nothing to replay: 1

    reason         transactions  what is in the way; what to do
    show           1             SHOW tells what may change. Send it outside of transactions.
    user_variable  1             A query assigns a user variable (@x := …), or reads one that a trigger may set (not on TiDB). Keep the value in the application.

    condition      times
    autocommit_on  1      if autocommit is on at the beginning; with autocommit off (--autocommit-off) a statement may open a transaction
    ids_pinned     1      if the server is TiDB, where a replay gives generated ids again; else generated_id, if the answer carries one
    ");
    assert_eq!(output.stdout, explain(&["--file", "-"], LOG.as_bytes()).stdout);
}

#[test]
fn json_says_the_same() {
    let output = explain(&["--file", "-", "--json"], LOG.as_bytes());
    assert_eq!(output.status.code(), Some(1));
    let all = as_json(&output);
    assert_eq!(all["replayable"], false);
    assert_eq!(
        all["summary"],
        json!({ "replayable": 2, "pinned": 1, "conditional": 1, "unguarded": 2, "alone": 1,
                "reasons": { "show": 1, "user_variable": 1 } })
    );
    let transactions = all["transactions"].as_array().expect("an array");
    assert_eq!(transactions.len(), 5);
    assert_eq!(transactions[0]["kind"], "alone");
    assert_eq!(transactions[1]["lines"], json!([3, 6]));
    assert_eq!(transactions[1]["replayable"], true);
    assert_eq!(transactions[2]["replayable"], "pinned");
    assert_eq!(transactions[2]["conditions"][0]["condition"], "ids_pinned");
    let reason = &transactions[3]["reasons"][0];
    assert_eq!((&reason["reason"], &reason["line"]), (&json!("user_variable"), &json!(11)));
    assert_eq!(reason["statement"], "UPDATE account SET balance = @x := 0");
    assert!(reason["remedy"].is_string());
    assert!(!text(&output.stdout).contains("secret"), "no literal is shown");
}

#[test]
fn a_statement_is_asked_about_as_a_part_of_a_transaction() {
    let yes = explain(&["UPDATE t SET v = v + 1"], b"");
    assert_eq!(
        (yes.status.code(), text(&yes.stdout)),
        (Some(0), "line 1: replayable\n"),
        "{}",
        text(&yes.stderr)
    );
    let no = explain(&["UPDATE t SET v = 'secret'; SELECT @x := 1"], b"");
    assert_eq!(no.status.code(), Some(1));
    insta::assert_snapshot!(text(&no.stdout), @"
    line 1: not replayable: user_variable
      line 1: SELECT @x := 0
      A query assigns a user variable (@x := …), or reads one that a trigger may set (not on TiDB).
      remedy: Keep the value in the application.
    ");
    let json = as_json(&explain(&["--json", "SELECT @x := 1"], b""));
    assert_eq!(json["replayable"], false);
    assert_eq!(json["transactions"][0]["reasons"][0]["reason"], "user_variable");
    let json = as_json(&explain(&["--json", "BEGIN; SELECT NOW(); COMMIT"], b""));
    assert_eq!(
        (&json["replayable"], &json["transactions"][0]["statements"]),
        (&json!(true), &json!(3))
    );
}

#[test]
fn one_packet_and_autocommit_are_said_by_options() {
    let packet =
        explain(&["--one-packet", "--json", "UPDATE a SET v = 1; UPDATE b SET v = 1"], b"");
    assert_eq!(packet.status.code(), Some(1));
    assert_eq!(as_json(&packet)["summary"]["reasons"], json!({ "multi_statement": 1 }));
    let manual =
        explain(&["--file", "-", "--json", "--autocommit-off"], b"UPDATE a SET v = 1; COMMIT");
    assert_eq!(manual.status.code(), Some(0));
    assert_eq!(as_json(&manual)["summary"]["replayable"], 1);
}

#[test]
fn what_is_no_file_of_statements_is_told_with_exit_code_2() {
    let elf = [b"\x7FELF\x02\x01\x01\0".as_slice(), &[7; 100]].concat();
    for (args, input, words) in [
        (&["--file", "-"][..], &elf[..], "standard input is not a text (byte 7 is NUL)"),
        (&["--file", "-"], b"", "standard input holds no statement"),
        (&["--file", "-"], b" -- nothing\n;;", "standard input holds no statement"),
        (&["--file", "-", "--json"], b"", "standard input holds no statement"),
        (&[""], b"", "the argument holds no statement"),
        (&["--file", "/nowhere/x.sql"], b"", "/nowhere/x.sql can't be read: No such file"),
        (&["--file", "/"], b"", "/ can't be read: Is a directory"),
        (&[], b"", "required arguments were not provided"),
        (&["SELECT 1", "--file", "-"], b"", "cannot be used with"),
    ] {
        let output = explain(args, input);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(output.stdout.is_empty(), "{args:?}: {}", text(&output.stdout));
        assert!(text(&output.stderr).contains(words), "{args:?}: {}", text(&output.stderr));
    }
}

#[test]
fn bytes_that_are_not_utf_8_are_statements_too() {
    let output =
        explain(&["--file", "-", "--json"], b"BEGIN; UPDATE t SET v = '\xE9;\xFF'; COMMIT;");
    assert_eq!(
        (output.status.code(), &as_json(&output)["summary"]["replayable"]),
        (Some(0), &json!(1))
    );
}

#[test]
fn help_has_an_example() {
    let output = explain(&["--help"], b"");
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stdout).contains("txguard explain --file statements.sql"));
}

/// 100 MB: many short transactions, a transaction of large statements, one statement without end.
#[cfg(target_os = "linux")]
#[test]
fn a_large_input_is_read_in_bounded_memory() {
    const MEMORY_MAX_KIB: u64 = 96 << 10;
    let mut child = Command::new(env!("CARGO_BIN_EXE_txguard"))
        .args(["explain", "--file", "-", "--json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut input = child.stdin.take().expect("piped");
    let mut output = child.stdout.take().expect("piped");
    let reader = std::thread::spawn(move || {
        let mut found = Vec::new();
        std::io::Read::read_to_end(&mut output, &mut found).map(|_| found)
    });
    let short = "BEGIN; UPDATE account SET balance = balance - 1 WHERE id = 7; COMMIT;\n";
    let short = short.repeat(10_000);
    for _ in 0..10 {
        input.write_all(short.as_bytes()).expect("written");
    }
    let large = format!("INSERT INTO t VALUES ('{}');\n", "x".repeat(60_000));
    input.write_all(b"BEGIN;\n").expect("written");
    for _ in 0..600 {
        input.write_all(large.as_bytes()).expect("written");
    }
    input.write_all(b"COMMIT;\nBEGIN;\nUPDATE t SET v = '").expect("written");
    for _ in 0..60 {
        input.write_all(&[b'x'; 1 << 20]).expect("written");
    }
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).expect("it runs");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("its peak");
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().expect("a number");
    input.write_all(b"';\nCOMMIT;\n").expect("written");
    drop(input);
    let found = reader.join().expect("it reads").expect("bytes");
    assert_eq!(child.wait().expect("it ends").code(), Some(1));
    let all: Value = serde_json::from_slice(&found).expect("JSON");
    assert_eq!(all["summary"]["replayable"], 100_000);
    assert_eq!(all["summary"]["reasons"], json!({ "journal_transaction": 2 }));
    assert!(peak < MEMORY_MAX_KIB, "{peak} KiB");
}
