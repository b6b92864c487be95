//! A deadlock in the middle of a transaction: everything before it again, then the statement, and
//! the transaction goes on.

use txguard::base::metrics::ReplayOutcome::{Exhausted, Mismatch, Succeeded};

use super::harness::{RETRY, Talk, open, setup};
use super::words::*;

const B: &str = "UPDATE t SET v = v - 1 WHERE id = 2";

/// BEGIN, a read, a write, and a statement that meets an error.
async fn meets(talk: &mut Talk, error: &Reply) {
    talk.transfer().await;
    talk.client.query(B).await;
    talk.server.expect(&query(B)).await;
    talk.server.reply(error).await;
}

#[tokio::test(start_paused = true)]
async fn the_statement_is_answered_and_the_transaction_goes_on_live() {
    for error in [deadlock(), err(1020, "Record has changed since last read")] {
        let mut talk = open(RETRY).await;
        meets(&mut talk, &error).await;
        talk.transfer_again().await;
        talk.again(B, &changed(1, TX)).await;
        talk.client.expect(&changed(1, TX)).await;
        assert_eq!(talk.replays(Succeeded), 1);
        talk.sql("SELECT v FROM t WHERE id = 3", &rows(&["1"], TX)).await;
        talk.sql("COMMIT", &ok(AUTO)).await;
        talk.usable().await;
        assert_eq!(talk.outcomes(), [1, 0, 0, 0, 0]);
    }
}

#[tokio::test(start_paused = true)]
async fn its_new_answer_may_be_any() {
    for answer in [changed(0, TX), err(1062, "Duplicate entry"), err(1205, "Lock wait timeout")] {
        let mut talk = open(RETRY).await;
        meets(&mut talk, &deadlock()).await;
        talk.transfer_again().await;
        talk.again(B, &answer).await;
        talk.client.expect(&answer).await;
        talk.sql("COMMIT", &ok(AUTO)).await;
        assert_eq!(talk.outcomes(), [1, 0, 0, 0, 0]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_commit_conflict_behind_it_replays_the_statement_with_its_live_answer() {
    let mut talk = open(RETRY).await;
    meets(&mut talk, &deadlock()).await;
    talk.transfer_again().await;
    talk.again(B, &changed(4, TX)).await;
    talk.client.expect(&changed(4, TX)).await;
    talk.commit_conflicts(1).await;
    talk.transfer_again().await;
    talk.again(B, &changed(4, TX)).await;
    talk.again("COMMIT", &ok(AUTO)).await;
    talk.client.expect(&ok(AUTO)).await;
    talk.usable().await;
    assert_eq!((talk.replays(Succeeded), talk.outcomes()), (2, [1, 0, 0, 0, 0]));
}

#[tokio::test(start_paused = true)]
async fn a_commit_conflict_behind_it_compares_with_the_live_answer() {
    let mut talk = open(RETRY).await;
    meets(&mut talk, &deadlock()).await;
    talk.transfer_again().await;
    talk.again(B, &changed(4, TX)).await;
    talk.client.expect(&changed(4, TX)).await;
    talk.commit_conflicts(1).await;
    talk.transfer_again().await;
    talk.again(B, &changed(3, TX)).await;
    talk.again("ROLLBACK", &ok(AUTO)).await;
    talk.client.expect(&conflict(1)).await;
    talk.usable().await;
    assert_eq!((talk.replays(Succeeded), talk.replays(Mismatch)), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_deadlock_in_the_replay_begins_the_next_attempt() {
    let mut talk = open(RETRY).await;
    meets(&mut talk, &deadlock()).await;
    // Before the statement, …
    talk.again("ROLLBACK", &ok(AUTO)).await;
    talk.again("BEGIN", &ok(TX)).await;
    talk.again("SELECT v FROM t WHERE id = 1", &rows(&["5"], TX)).await;
    talk.again("UPDATE t SET v = 6 WHERE id = 1", &deadlock()).await;
    // … and at the statement itself.
    talk.transfer_again().await;
    talk.again(B, &deadlock()).await;
    talk.transfer_again().await;
    talk.again(B, &changed(1, TX)).await;
    talk.client.expect(&changed(1, TX)).await;
    assert_eq!((talk.replays(Succeeded), talk.replays_all()), (1, 1));
    talk.sql("COMMIT", &ok(AUTO)).await;
}

#[tokio::test(start_paused = true)]
async fn attempts_are_counted_over_the_whole_transaction_and_the_error_is_of_the_statement() {
    let mut talk = open(RETRY).await;
    meets(&mut talk, &deadlock()).await;
    talk.transfer_again().await;
    talk.again(B, &deadlock()).await;
    talk.transfer_again().await;
    talk.again(B, &changed(1, TX)).await;
    talk.client.expect(&changed(1, TX)).await;
    talk.commit_conflicts(7).await;
    talk.transfer_again().await;
    talk.again(B, &changed(1, TX)).await;
    talk.again("COMMIT", &conflict(8)).await;
    talk.again("ROLLBACK", &ok(AUTO)).await;
    // Not the deadlock, which the client never learns of, and not the second conflict.
    talk.client.expect(&conflict(7)).await;
    talk.usable().await;
    assert_eq!((talk.replays(Succeeded), talk.replays(Exhausted)), (1, 1));
    assert_eq!(talk.outcomes(), [0, 0, 1, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_mismatch_gives_the_deadlock_and_no_transaction_is_open() {
    let mut talk = open(RETRY).await;
    meets(&mut talk, &deadlock()).await;
    talk.again("ROLLBACK", &ok(AUTO)).await;
    talk.again("BEGIN", &ok(TX)).await;
    talk.again("SELECT v FROM t WHERE id = 1", &rows(&["7"], TX)).await;
    talk.again("ROLLBACK", &ok(AUTO)).await;
    talk.client.expect(&deadlock()).await;
    talk.usable().await;
    // What the application may well send next.
    talk.sql("ROLLBACK", &ok(AUTO)).await;
    assert_eq!(talk.outcomes(), [0, 0, 1, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_deadlock_behind_a_part_of_the_result_passes() {
    for sent in 1..5 {
        let mut talk = open(RETRY).await;
        talk.transfer().await;
        let mut part = rows(&["1", "2"], TX);
        part.packets.truncate(sent);
        let broken = part.then(deadlock());
        talk.sql("SELECT v FROM t FOR UPDATE", &broken).await;
        talk.usable().await;
        assert_eq!((talk.replays_all(), talk.outcomes()), (0, [0, 0, 1, 0, 0]), "{sent}");
    }
}

#[tokio::test(start_paused = true)]
async fn with_autocommit_off_a_deadlock_of_the_first_statement_is_tried_again() {
    let mut talk = setup(RETRY).manual().open().await;
    talk.client.query(B).await;
    talk.server.expect(&query(B)).await;
    talk.server.reply(&deadlock()).await;
    talk.again("ROLLBACK", &ok(MANUAL)).await;
    talk.again(B, &changed(1, TX0)).await;
    talk.client.expect(&changed(1, TX0)).await;
    talk.sql("COMMIT", &ok(MANUAL)).await;
    assert_eq!((talk.replays(Succeeded), talk.outcomes()), (1, [1, 0, 0, 0, 0]));
}

#[tokio::test(start_paused = true)]
async fn an_error_without_a_request_in_the_journal_is_passed_on() {
    // No server says that; if one did, there is nothing that could be sent again.
    for payload in [query("ROLLBACK"), prepare("SELECT 1"), vec![0x0E]] {
        let mut talk = open(RETRY).await;
        talk.transfer().await;
        talk.step(&payload, &deadlock()).await;
        talk.usable().await;
        assert_eq!((talk.replays_all(), talk.outcomes()), (0, [0, 0, 1, 0, 0]));
    }
}
