//! What a second run would not see as the first one did: a transaction that was open already, an
//! error that nobody asks for again, a write that no ROLLBACK takes back.

use txguard::base::metrics::ReplayOutcome::{Refused, Succeeded};

use super::harness::{RETRY, open, setup};
use super::words::*;

#[tokio::test(start_paused = true)]
async fn a_commit_that_was_not_understood_leaves_the_transaction_open_and_unguarded() {
    let mut talk = setup(RETRY).manual().open().await;
    talk.sql("UPDATE a SET v = 1", &changed(1, TX0)).await;
    talk.server.probe = TX0;
    talk.sql("COMMIT WORK", &err(1064, "syntax")).await;
    talk.sql("UPDATE b SET v = 1", &changed(1, TX0)).await;
    talk.sql("COMMIT", &conflict(7)).await;
    talk.server.silent().await;
    assert_eq!((talk.replays_all(), talk.outcomes()), (0, [0, 0, 1, 0, 0]));
    assert_eq!(talk.unguarded(), ["commit_failed"]);
}

#[tokio::test(start_paused = true)]
async fn a_begin_that_was_not_understood_does_not_end_the_transaction() {
    let mut talk = open(RETRY).await;
    talk.transfer().await;
    talk.server.probe = TX;
    talk.sql("START TRANSACTION READ ONLY", &err(1235, "not supported")).await;
    talk.sql("COMMIT", &conflict(7)).await;
    talk.server.silent().await;
    assert_eq!((talk.replays_all(), talk.outcomes()), (0, [0, 0, 1, 0, 0]));
}

#[tokio::test(start_paused = true)]
async fn an_error_of_a_command_that_is_not_recorded_switches_the_guard_off() {
    let mut talk = open(RETRY).await;
    talk.transfer().await;
    talk.step(&prepare("SELECT v FROM missing"), &err(1146, "no such table")).await;
    talk.sql("COMMIT", &conflict(7)).await;
    talk.server.silent().await;
    assert_eq!((talk.replays_all(), talk.unguarded()), (0, vec!["command".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn what_follows_a_begin_inside_a_transaction_waits_for_its_answer() {
    let mut talk = open(RETRY).await;
    talk.sql("BEGIN", &ok(TX)).await;
    talk.sql("SHOW TABLES", &ok(TX)).await;
    talk.client.send(&query("BEGIN")).await;
    talk.client.send(&query("UPDATE t SET v = v + 1")).await;
    talk.server.expect(&query("BEGIN")).await;
    talk.server.silent().await;
    talk.answer(&ok(TX)).await;
    talk.server.expect(&query("UPDATE t SET v = v + 1")).await;
    talk.answer(&changed(1, TX)).await;
    talk.commit_conflicts(7).await;
    talk.again("ROLLBACK", &ok(AUTO)).await;
    talk.again("BEGIN", &ok(TX)).await;
    talk.again("UPDATE t SET v = v + 1", &changed(1, TX)).await;
    talk.server.expect(&query("COMMIT")).await;
    talk.answer(&ok(AUTO)).await;
    assert_eq!(talk.replays(Succeeded), 1);
}

#[tokio::test(start_paused = true)]
async fn a_write_that_was_not_rolled_back_refuses_the_replay() {
    for (code, refused) in [("1196", true), ("1265", false)] {
        // The warning comes in pieces.
        let mut setup = setup(RETRY).pipes(100, 100);
        setup.version = "5.5.5-10.11.19-MariaDB";
        let mut talk = setup.open().await;
        talk.transfer().await;
        let changed_row = err(1020, "Record has changed since last read");
        talk.client.send(&query("UPDATE t SET v = 9")).await;
        talk.server.expect(&query("UPDATE t SET v = 9")).await;
        talk.server.reply(&changed_row).await;
        let text = "x".repeat(200);
        let warning = columns_and_row(&["Warning", code, &text]);
        talk.again("SHOW WARNINGS", &warning).await;
        if refused {
            talk.again("ROLLBACK", &ok(AUTO)).await;
            talk.client.expect(&changed_row).await;
            assert_eq!((talk.replays(Refused), talk.outcomes()), (1, [0, 0, 1, 0, 0]));
        } else {
            talk.transfer_again().await;
            talk.server.expect(&query("UPDATE t SET v = 9")).await;
            talk.answer(&changed(1, TX)).await;
            assert_eq!(talk.replays(Succeeded), 1);
        }
    }
}

/// A result of one row.
fn columns_and_row(values: &[&str]) -> Reply {
    let mut packets = vec![vec![values.len() as u8]];
    packets.extend(values.iter().map(|name| column(name)));
    packets.extend([eof(AUTO, 0), row(values), eof(AUTO, 0)]);
    Reply::of(packets)
}
