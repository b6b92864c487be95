//! COM_STMT_*: replayed with the same ids on the same connection.

use txguard::base::metrics::ReplayOutcome::Succeeded;
use txguard::wire::command::Command;

use super::harness::{RETRY, Talk, open, setup};
use super::words::*;

const UPDATE: &str = "UPDATE t SET v = v + ? WHERE id = 1";

async fn prepared(talk: &mut Talk) {
    talk.step(&prepare(UPDATE), &prepare_ok(false, 1, 1, 0)).await;
}

async fn hears(talk: &mut Talk, payload: &[u8], reply: &Reply) {
    talk.server.expect(payload).await;
    talk.server.reply(reply).await;
}

#[tokio::test(start_paused = true)]
async fn executions_are_replayed_and_preparing_is_not() {
    let mut talk = open(RETRY).await;
    talk.sql("BEGIN", &ok(TX)).await;
    prepared(&mut talk).await;
    talk.step(&execute_with(1, true, 5), &changed(1, TX)).await;
    talk.step(&execute_with(1, false, 6), &changed(1, TX)).await;
    talk.commit_conflicts(1).await;
    talk.again("ROLLBACK", &ok(AUTO)).await;
    talk.again("BEGIN", &ok(TX)).await;
    hears(&mut talk, &execute_with(1, true, 5), &changed(1, TX)).await;
    hears(&mut talk, &execute_with(1, false, 6), &changed(1, TX)).await;
    talk.again("COMMIT", &ok(AUTO)).await;
    talk.client.expect(&ok(AUTO)).await;
    talk.usable().await;
}

#[tokio::test(start_paused = true)]
async fn prepared_begin_and_commit_are_the_same_as_text() {
    for deprecate_eof in [false, true] {
        let mut talk = setup(RETRY).deprecate_eof(deprecate_eof).open().await;
        for (id, text) in [(1, "BEGIN"), (2, "COMMIT"), (3, "ROLLBACK"), (4, "SELECT v FROM t")] {
            talk.step(&prepare(text), &prepare_ok(deprecate_eof, id, 0, 0)).await;
        }
        let five = result(deprecate_eof, &["v"], &[&["5"]], TX);
        talk.step(&execute(1), &ok(TX)).await;
        talk.step(&execute(4), &five).await;
        talk.client.send(&execute(2)).await;
        hears(&mut talk, &execute(2), &conflict(1)).await;
        talk.again("ROLLBACK", &ok(AUTO)).await;
        hears(&mut talk, &execute(1), &ok(TX)).await;
        hears(&mut talk, &execute(4), &five).await;
        hears(&mut talk, &execute(2), &ok(AUTO)).await;
        talk.client.expect(&ok(AUTO)).await;
        assert_eq!((talk.replays(Succeeded), talk.outcomes()), (1, [1, 0, 0, 0, 0]));
        talk.step(&execute(1), &ok(TX)).await;
        talk.step(&execute(3), &ok(AUTO)).await;
        assert_eq!(talk.outcomes(), [1, 1, 0, 0, 0]);
        // BEGIN inside a transaction commits.
        talk.step(&execute(1), &ok(TX)).await;
        talk.step(&execute(1), &ok(TX)).await;
        assert_eq!(talk.outcomes(), [2, 1, 0, 0, 0]);
    }
}

#[tokio::test(start_paused = true)]
async fn with_autocommit_off_an_execution_opens_the_transaction() {
    let mut talk = setup(RETRY).manual().open().await;
    prepared(&mut talk).await;
    talk.step(&execute_with(1, true, 5), &changed(1, TX0)).await;
    talk.commit_conflicts(1).await;
    talk.again("ROLLBACK", &ok(MANUAL)).await;
    hears(&mut talk, &execute_with(1, true, 5), &changed(1, TX0)).await;
    talk.again("COMMIT", &ok(MANUAL)).await;
    talk.client.expect(&ok(MANUAL)).await;
    assert_eq!((talk.replays(Succeeded), talk.outcomes()), (1, [1, 0, 0, 0, 0]));
}

#[tokio::test(start_paused = true)]
async fn a_close_is_held_until_the_transaction_ends() {
    // What go-sql-driver does for every query.
    let mut talk = open(RETRY).await;
    talk.sql("BEGIN", &ok(TX)).await;
    prepared(&mut talk).await;
    talk.step(&execute_with(1, true, 5), &changed(1, TX)).await;
    talk.client.send(&about(Command::STMT_CLOSE, 1)).await;
    talk.server.silent().await;
    talk.commit_conflicts(1).await;
    talk.again("ROLLBACK", &ok(AUTO)).await;
    talk.again("BEGIN", &ok(TX)).await;
    hears(&mut talk, &execute_with(1, true, 5), &changed(1, TX)).await;
    talk.server.expect(&query("COMMIT")).await;
    talk.server.silent().await;
    talk.server.reply(&ok(AUTO)).await;
    talk.client.expect(&ok(AUTO)).await;
    talk.server.expect(&about(Command::STMT_CLOSE, 1)).await;
    talk.usable().await;
    // Outside it passes at once.
    talk.client.send(&about(Command::STMT_CLOSE, 2)).await;
    talk.server.expect(&about(Command::STMT_CLOSE, 2)).await;
}

#[tokio::test(start_paused = true)]
async fn a_close_that_is_held_is_sent_however_the_transaction_ends() {
    for (text, reply) in [
        ("ROLLBACK", ok(AUTO)),
        ("COMMIT", err(1062, "Duplicate")),
        ("COMMIT", err(9005, "Region")),
        ("UPDATE t SET v = 1", changed(1, AUTO)),
        ("UPDATE t SET v = 1", err(8147, "gone")),
    ] {
        let mut talk = open(RETRY).await;
        prepared(&mut talk).await;
        talk.sql("BEGIN", &ok(TX)).await;
        talk.client.send(&about(Command::STMT_CLOSE, 1)).await;
        talk.sql(text, &reply).await;
        talk.server.expect(&about(Command::STMT_CLOSE, 1)).await;
        talk.usable().await;
    }
    // Also if it ends by a replay that is given up, or if the guard goes off.
    let mut talk = open(RETRY).await;
    talk.sql("BEGIN", &ok(TX)).await;
    talk.client.send(&about(Command::STMT_CLOSE, 1)).await;
    talk.commit_conflicts(1).await;
    talk.again("ROLLBACK", &ok(AUTO)).await;
    talk.again("BEGIN", &ok(AUTO)).await;
    talk.again("ROLLBACK", &ok(AUTO)).await;
    talk.client.expect(&conflict(1)).await;
    talk.server.expect(&about(Command::STMT_CLOSE, 1)).await;
    talk.sql("BEGIN", &ok(TX)).await;
    talk.client.send(&about(Command::STMT_CLOSE, 2)).await;
    talk.client.query("SHOW TABLES").await;
    talk.server.expect(&about(Command::STMT_CLOSE, 2)).await;
    talk.server.expect(&query("SHOW TABLES")).await;
    talk.server.reply(&ok(TX)).await;
    talk.client.expect(&ok(TX)).await;
}

#[tokio::test(start_paused = true)]
async fn a_statement_whose_close_is_held_is_unknown_to_the_server_when_executed() {
    let mut talk = open(RETRY).await;
    prepared(&mut talk).await;
    talk.sql("BEGIN", &ok(TX)).await;
    talk.client.send(&about(Command::STMT_CLOSE, 1)).await;
    talk.client.send(&execute_with(1, true, 5)).await;
    talk.server.expect(&about(Command::STMT_CLOSE, 1)).await;
    let unknown = err(1105, "ERROR 1243 (HY000): Unknown prepared statement handler");
    hears(&mut talk, &execute_with(1, true, 5), &unknown).await;
    talk.client.expect(&unknown).await;
    talk.sql("COMMIT", &conflict(1)).await;
    talk.server.silent().await;
    assert_eq!(talk.unguarded(), ["prepared_open"]);
}

#[tokio::test(start_paused = true)]
async fn no_more_than_1024_closes_are_held() {
    let mut talk = open(RETRY).await;
    talk.sql("BEGIN", &ok(TX)).await;
    for id in 0..1024 {
        talk.client.send(&about(Command::STMT_CLOSE, id)).await;
    }
    talk.server.silent().await;
    talk.client.send(&about(Command::STMT_CLOSE, 1024)).await;
    for id in 0..1025 {
        talk.server.expect(&about(Command::STMT_CLOSE, id)).await;
    }
    talk.sql("COMMIT", &conflict(1)).await;
    talk.server.silent().await;
    assert_eq!(talk.unguarded(), ["prepared_open"]);
}

#[tokio::test(start_paused = true)]
async fn types_bound_before_the_transaction_and_again_inside_it_differ_in_a_second_run() {
    let mut talk = open(RETRY).await;
    prepared(&mut talk).await;
    talk.step(&execute_with(1, true, 5), &changed(1, AUTO)).await;
    talk.sql("BEGIN", &ok(TX)).await;
    talk.step(&execute_with(1, false, 6), &changed(1, TX)).await;
    talk.step(&execute_with(1, true, 7), &changed(1, TX)).await;
    talk.sql("COMMIT", &conflict(1)).await;
    talk.server.silent().await;
    assert_eq!(talk.unguarded(), ["parameter_types"]);
    // Inherited and never bound anew: the same types again.
    talk.sql("BEGIN", &ok(TX)).await;
    talk.step(&execute_with(1, false, 6), &changed(1, TX)).await;
    talk.commit_conflicts(2).await;
    talk.again("ROLLBACK", &ok(AUTO)).await;
    talk.again("BEGIN", &ok(TX)).await;
    hears(&mut talk, &execute_with(1, false, 6), &changed(1, TX)).await;
    talk.again("COMMIT", &ok(AUTO)).await;
    talk.client.expect(&ok(AUTO)).await;
}

#[tokio::test(start_paused = true)]
async fn cursors_are_not_replayed() {
    for flags in [1, 2, 4, 8] {
        let mut talk = open(RETRY).await;
        talk.step(&prepare("SELECT v FROM t"), &prepare_ok(false, 1, 0, 0)).await;
        talk.sql("BEGIN", &ok(TX)).await;
        let mut open_cursor = execute(1);
        open_cursor[5] = flags;
        let reply = Reply::of([vec![1], column("v"), eof(TX | 0x0040, 0)]);
        talk.step(&open_cursor, &reply).await;
        talk.sql("COMMIT", &conflict(1)).await;
        talk.server.silent().await;
        assert_eq!(talk.unguarded(), ["cursor"], "{flags}");
    }
}

#[tokio::test(start_paused = true)]
async fn long_data_is_not_replayed_whenever_it_was_sent() {
    let data = [&about(Command::STMT_SEND_LONG_DATA, 1)[..], &[0, 0], b"some data"].concat();
    for inside in [false, true] {
        let mut talk = open(RETRY).await;
        prepared(&mut talk).await;
        if !inside {
            talk.client.send(&data).await;
            talk.server.expect(&data).await;
        }
        talk.sql("BEGIN", &ok(TX)).await;
        if inside {
            talk.client.send(&data).await;
            talk.server.expect(&data).await;
        }
        talk.step(&execute_with(1, true, 5), &changed(1, TX)).await;
        talk.sql("COMMIT", &conflict(1)).await;
        talk.server.silent().await;
        assert_eq!(talk.unguarded(), ["long_data"]);
        // Once it has been used, the statement is as before.
        talk.sql("BEGIN", &ok(TX)).await;
        talk.step(&execute_with(1, true, 5), &changed(1, TX)).await;
        talk.commit_conflicts(2).await;
        talk.again("ROLLBACK", &ok(AUTO)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn long_data_that_a_reset_forgets_does_not_count() {
    let data = [&about(Command::STMT_SEND_LONG_DATA, 1)[..], &[0, 0], b"some data"].concat();
    let mut talk = open(RETRY).await;
    prepared(&mut talk).await;
    talk.client.send(&data).await;
    talk.server.expect(&data).await;
    talk.step(&about(Command::STMT_RESET, 1), &ok(AUTO)).await;
    talk.sql("BEGIN", &ok(TX)).await;
    talk.step(&execute_with(1, true, 5), &changed(1, TX)).await;
    talk.commit_conflicts(2).await;
    talk.again("ROLLBACK", &ok(AUTO)).await;
}

#[tokio::test(start_paused = true)]
async fn long_data_of_many_kib_passes_in_any_pieces() {
    let mut data = [&about(Command::STMT_SEND_LONG_DATA, 1)[..], &[0, 0]].concat();
    data.resize(200_000, 7);
    for pipe in [5, 6, 7, 8, 100, 1 << 20] {
        let mut talk = setup(RETRY).pipes(pipe, 1 << 20).open().await;
        prepared(&mut talk).await;
        talk.client.send(&data).await;
        talk.server.expect(&data).await;
        // It was understood: transactions are still followed.
        talk.transfer().await;
        talk.sql("COMMIT", &ok(AUTO)).await;
        assert_eq!(talk.outcomes(), [1, 0, 0, 0, 0], "{pipe}");
    }
}

/// Long data that a server can't take: no such statement, no such parameter, cut off.
fn wrong_long_data(bytes: usize) -> [Vec<u8>; 3] {
    let piece = vec![7; bytes];
    [
        [&about(Command::STMT_SEND_LONG_DATA, 9)[..], &[0, 0], &piece].concat(),
        [&about(Command::STMT_SEND_LONG_DATA, 1)[..], &[1, 0], &piece].concat(),
        vec![Command::STMT_SEND_LONG_DATA.0, 1],
    ]
}

/// The server hears the COM_PING that tells whether long data has an answer.
async fn fence(talk: &mut Talk) {
    talk.server.expect(&[Command::PING.0]).await;
}

#[tokio::test(start_paused = true)]
async fn tidb_may_complain_of_long_data_and_may_not() {
    for (pipe, bytes) in [(5, 10), (64 << 10, 10), (100, 200_000), (1 << 20, 200_000)] {
        for (complains, data) in
            [true, false].into_iter().flat_map(|it| wrong_long_data(bytes).map(|data| (it, data)))
        {
            let mut talk = setup(RETRY).pipes(pipe, 1 << 20).open().await;
            prepared(&mut talk).await;
            talk.client.send(&data).await;
            talk.server.expect(&data).await;
            fence(&mut talk).await;
            if complains {
                talk.answer(&err(1105, "unknown")).await;
            }
            talk.server.reply(&ok(AUTO)).await;
            talk.client.silent().await;
            talk.guarded(1).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_complaint_and_what_was_sent_behind_it() {
    // The client takes the complaint for the answer to its execution, as it does without a proxy.
    let [data, ..] = wrong_long_data(10);
    let mut talk = open(RETRY).await;
    prepared(&mut talk).await;
    talk.sql("BEGIN", &ok(TX)).await;
    talk.client.send_all(&[query("SELECT 1"), data.clone(), data.clone(), execute(9)]).await;
    talk.server.expect(&query("SELECT 1")).await;
    // Whether it is known is not known before.
    talk.server.silent().await;
    talk.answer(&rows(&["1"], TX)).await;
    for _ in 0..2 {
        talk.server.expect(&data).await;
        fence(&mut talk).await;
        talk.answer(&err(1105, "unknown")).await;
        talk.server.reply(&ok(TX)).await;
    }
    talk.server.expect(&execute(9)).await;
    talk.answer(&err(1243, "unknown")).await;
    talk.sql("COMMIT", &ok(AUTO)).await;
    assert_eq!((talk.outcomes(), talk.unguarded()), ([1, 0, 0, 0, 0], vec!["long_data".into()]));
    // It was never prepared: what it did to the session isn't known.
    talk.sql("BEGIN", &ok(TX)).await;
    talk.sql("COMMIT", &ok(AUTO)).await;
    talk.guarded(1).await;
}

#[tokio::test(start_paused = true)]
async fn only_tidb_is_asked_whether_it_complains() {
    for data in wrong_long_data(10) {
        let mut setup = setup(RETRY);
        setup.version = "11.4.2-MariaDB";
        let mut talk = setup.open().await;
        prepared(&mut talk).await;
        talk.client.send(&data).await;
        talk.server.expect(&data).await;
        talk.server.silent().await;
        talk.transfer().await;
        talk.sql("COMMIT", &ok(AUTO)).await;
        assert_eq!((talk.outcomes(), talk.unguarded()), ([1, 0, 0, 0, 0], vec![]));
    }
}

#[tokio::test(start_paused = true)]
async fn a_statement_that_was_not_seen_being_prepared() {
    for id in [9, u32::MAX] {
        let mut talk = open(RETRY).await;
        talk.sql("BEGIN", &ok(TX)).await;
        talk.step(&execute(id), &changed(1, TX)).await;
        talk.sql("COMMIT", &conflict(1)).await;
        talk.server.silent().await;
        assert_eq!(talk.unguarded(), ["statement_unknown"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_reset_of_the_connection_forgets_all_statements() {
    let mut talk = open(RETRY).await;
    prepared(&mut talk).await;
    talk.step(&[Command::RESET_CONNECTION.0], &ok(AUTO)).await;
    talk.sql("BEGIN", &ok(TX)).await;
    talk.step(&execute_with(1, true, 5), &err(1105, "unknown")).await;
    talk.sql("COMMIT", &conflict(1)).await;
    talk.server.silent().await;
    assert_eq!(talk.unguarded(), ["statement_unknown"]);
}

#[tokio::test(start_paused = true)]
async fn a_prepare_that_fails_leaves_nothing_behind() {
    let mut talk = open(RETRY).await;
    talk.step(&prepare("SELECT"), &err(1064, "no")).await;
    prepared(&mut talk).await;
    talk.sql("BEGIN", &ok(TX)).await;
    talk.step(&execute_with(1, true, 5), &changed(1, TX)).await;
    talk.commit_conflicts(1).await;
    talk.again("ROLLBACK", &ok(AUTO)).await;
}

#[tokio::test(start_paused = true)]
async fn a_prepared_use_changes_the_schema_that_policies_see() {
    let shop = "[[policy]]\nname='p'\nmatch={schemas=['shop']}\nretry={}";
    let mut talk = open(shop).await;
    talk.step(&prepare("USE `shop`"), &prepare_ok(false, 1, 0, 0)).await;
    talk.step(&execute(1), &ok(AUTO)).await;
    talk.guarded(1).await;
}
