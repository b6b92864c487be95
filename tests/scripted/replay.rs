//! A conflict at COMMIT: the server sees ROLLBACK, the same statements, COMMIT; the client sees OK.

use txguard::base::metrics::ReplayOutcome::{Exhausted, Mismatch, Succeeded};
use txguard::session::End;

use super::harness::{RETRY, open, setup};
use super::words::*;

#[tokio::test(start_paused = true)]
async fn each_conflict_code_at_commit_is_replayed_and_never_shown() {
    for code in [9007, 8005, 8022, 8028, 8002, 1213, 1020] {
        let mut talk = open(RETRY).await;
        talk.transfer().await;
        talk.client.query("COMMIT").await;
        talk.server.expect(&query("COMMIT")).await;
        talk.server.reply(&err(code, "no")).await;
        talk.transfer_again().await;
        talk.again("COMMIT", &ok(AUTO)).await;
        talk.client.expect(&ok(AUTO)).await;
        talk.client.silent().await;
        talk.usable().await;
        assert_eq!(talk.replays(Succeeded), 1, "{code}");
        assert_eq!(talk.replays_all(), 1, "{code}");
        assert!(
            talk.metrics.render().contains(&format!(
                "txguard_replays_total{{code=\"{code}\",outcome=\"succeeded\"}} 1"
            )),
            "{code}"
        );
        let metrics = talk.bye().await;
        assert_eq!(super::harness::outcomes(&metrics), [1, 0, 0, 0, 0], "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_replay_waits_before_it_begins_and_the_connection_is_silent_meanwhile() {
    // Jitter may choose any pause up to the limit; over 20 tries one is longer than nothing.
    let mut longest = std::time::Duration::ZERO;
    for _ in 0..20 {
        let mut talk = open(
            "[[policy]]\nname='p'\nretry={attempts=1,budget='5s',backoff='200ms',backoff_max='200ms'}",
        )
        .await;
        talk.transfer().await;
        let before = tokio::time::Instant::now();
        talk.commit_conflicts(1).await;
        talk.transfer_again().await;
        longest = longest.max(before.elapsed());
        talk.again("COMMIT", &ok(AUTO)).await;
        talk.client.expect(&ok(AUTO)).await;
    }
    assert!(longest > std::time::Duration::from_millis(10), "{longest:?}");
    assert!(longest <= std::time::Duration::from_millis(210), "{longest:?}");
}

#[tokio::test(start_paused = true)]
async fn a_conflict_of_the_replayed_commit_is_replayed_again() {
    let mut talk = open(RETRY).await;
    talk.transfer().await;
    talk.commit_conflicts(1).await;
    for start in [2, 3] {
        talk.transfer_again().await;
        talk.again("COMMIT", &conflict(start)).await;
    }
    talk.transfer_again().await;
    talk.again("COMMIT", &ok(AUTO)).await;
    talk.client.expect(&ok(AUTO)).await;
    talk.usable().await;
    assert_eq!((talk.replays(Succeeded), talk.outcomes()), (1, [1, 0, 0, 0, 0]));
}

#[tokio::test(start_paused = true)]
async fn when_attempts_are_used_up_the_client_gets_the_first_error() {
    let mut talk = open(RETRY).await;
    talk.transfer().await;
    talk.commit_conflicts(1).await;
    for start in [2, 3, 4] {
        talk.transfer_again().await;
        talk.again("COMMIT", &conflict(start)).await;
    }
    talk.again("ROLLBACK", &ok(AUTO)).await;
    talk.client.expect(&conflict(1)).await;
    talk.usable().await;
    assert_eq!((talk.replays(Exhausted), talk.outcomes()), (1, [0, 0, 1, 0, 0]));
    // The next transaction has all attempts again.
    talk.guarded(9).await;
    talk.usable().await;
}

#[tokio::test(start_paused = true)]
async fn when_the_time_budget_is_used_up_the_client_gets_the_first_error() {
    let mut talk = open("[[policy]]\nname='p'\nretry={attempts=100,budget='3s'}").await;
    talk.transfer().await;
    talk.commit_conflicts(1).await;
    let begin = tokio::time::Instant::now();
    for start in 2.. {
        // Each run takes a second; none may begin after the third.
        let heard = talk.server.heard().await;
        assert_eq!(heard, "ROLLBACK");
        talk.server.reply(&ok(AUTO)).await;
        if begin.elapsed() >= std::time::Duration::from_secs(3) {
            assert!(start <= 6, "no replay begins beyond the budget");
            break;
        }
        talk.again("BEGIN", &ok(TX)).await;
        talk.again("SELECT v FROM t WHERE id = 1", &rows(&["5"], TX)).await;
        talk.again("UPDATE t SET v = 6 WHERE id = 1", &changed(1, TX)).await;
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        talk.again("COMMIT", &conflict(start)).await;
    }
    talk.client.expect(&conflict(1)).await;
    talk.usable().await;
    assert_eq!((talk.replays(Exhausted), talk.outcomes()), (1, [0, 0, 1, 0, 0]));
}

#[tokio::test(start_paused = true)]
async fn without_a_retry_policy_the_error_passes_and_nothing_is_sent() {
    for policies in [
        "",
        "[[policy]]\nname='p'\ntso='hint'",
        "[[policy]]\nname='p'\nmatch={users=['x']}\nretry={}",
    ] {
        let mut talk = open(policies).await;
        talk.transfer().await;
        talk.sql("COMMIT", &conflict(1)).await;
        talk.usable().await;
        assert_eq!(talk.replays_all(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_replay_in_narrow_pipes_is_the_same() {
    for (client, backend) in [(1, 1), (3, 7), (1, 64), (64, 1)] {
        let mut talk = setup(RETRY).pipes(client, backend).open().await;
        talk.guarded(1).await;
        talk.usable().await;
        talk.bye().await;
    }
}

#[tokio::test(start_paused = true)]
async fn begin_inside_a_transaction_is_a_commit_point() {
    let mut talk = open(RETRY).await;
    talk.transfer().await;
    talk.client.query("START TRANSACTION").await;
    talk.server.expect(&query("START TRANSACTION")).await;
    talk.server.reply(&conflict(1)).await;
    talk.transfer_again().await;
    talk.again("START TRANSACTION", &ok(TX)).await;
    talk.client.expect(&ok(TX)).await;
    assert_eq!((talk.replays(Succeeded), talk.outcomes()), (1, [1, 0, 0, 0, 0]));
    talk.sql("COMMIT", &ok(AUTO)).await;
    assert_eq!(talk.outcomes(), [2, 0, 0, 0, 0]);
    // If it has to be given up, no transaction is open: the new one was not begun either.
    talk.transfer().await;
    talk.client.query("BEGIN").await;
    talk.server.expect(&query("BEGIN")).await;
    talk.server.reply(&conflict(2)).await;
    talk.again("ROLLBACK", &ok(AUTO)).await;
    talk.again("BEGIN", &ok(TX)).await;
    talk.again("SELECT v FROM t WHERE id = 1", &rows(&["7"], TX)).await;
    talk.again("ROLLBACK", &ok(AUTO)).await;
    talk.client.expect(&conflict(2)).await;
    talk.usable().await;
    assert_eq!(talk.outcomes(), [2, 0, 1, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn with_autocommit_off_the_replay_begins_with_the_first_statement() {
    let mut talk = setup(RETRY).manual().open().await;
    talk.sql("SELECT 1", &rows(&["1"], MANUAL)).await;
    talk.sql("SELECT v FROM t", &rows(&["5"], TX0)).await;
    talk.sql("UPDATE t SET v = 6", &changed(1, TX0)).await;
    talk.commit_conflicts(1).await;
    talk.again("ROLLBACK", &ok(MANUAL)).await;
    talk.again("SELECT v FROM t", &rows(&["5"], TX0)).await;
    talk.again("UPDATE t SET v = 6", &changed(1, TX0)).await;
    talk.again("COMMIT", &ok(MANUAL)).await;
    talk.client.expect(&ok(MANUAL)).await;
    assert_eq!((talk.replays(Succeeded), talk.outcomes()), (1, [1, 0, 0, 0, 0]));
    talk.sql("SELECT v FROM t", &rows(&["6"], TX0)).await;
    talk.sql("ROLLBACK", &ok(MANUAL)).await;
    assert_eq!(talk.outcomes(), [1, 1, 0, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn an_error_of_the_first_statement_belongs_to_the_transaction_with_autocommit_off() {
    // The statement that failed may have opened the transaction: its answer came from the same
    // snapshot, so a replay without it would compare less than the client has seen.
    let mut talk = setup(RETRY).manual().open().await;
    talk.sql("INSERT INTO t VALUES (1)", &err(1062, "Duplicate entry '1'")).await;
    talk.sql("UPDATE t SET v = 6", &changed(1, TX0)).await;
    talk.client.query("COMMIT").await;
    talk.server.expect(&query("COMMIT")).await;
    talk.server.reply(&conflict(1)).await;
    talk.client.expect(&conflict(1)).await;
    talk.server.silent().await;
    assert_eq!(talk.unguarded(), ["begin_not_seen"]);
    // If it opened none, everything is as before.
    talk.sql("INSERT INTO t VALUES (1)", &err(1062, "Duplicate entry '1'")).await;
    talk.sql("SELECT 1", &rows(&["1"], MANUAL)).await;
    talk.sql("UPDATE t SET v = 6", &changed(1, TX0)).await;
    talk.commit_conflicts(2).await;
    talk.again("ROLLBACK", &ok(MANUAL)).await;
    talk.again("UPDATE t SET v = 6", &changed(1, TX0)).await;
    talk.again("COMMIT", &ok(MANUAL)).await;
    talk.client.expect(&ok(MANUAL)).await;
}

#[tokio::test(start_paused = true)]
async fn errors_that_the_client_saw_are_part_of_the_replay() {
    let dup = err(1062, "Duplicate entry '1' for key 't.PRIMARY'");
    let mut talk = open(RETRY).await;
    talk.sql("BEGIN", &ok(TX)).await;
    talk.sql("INSERT INTO t VALUES (1, 1)", &dup).await;
    talk.sql("UPDATE t SET v = 2 WHERE id = 1", &changed(1, TX)).await;
    talk.commit_conflicts(1).await;
    talk.again("ROLLBACK", &ok(AUTO)).await;
    talk.again("BEGIN", &ok(TX)).await;
    talk.again("INSERT INTO t VALUES (1, 1)", &dup).await;
    talk.again("UPDATE t SET v = 2 WHERE id = 1", &changed(1, TX)).await;
    talk.again("COMMIT", &ok(AUTO)).await;
    talk.client.expect(&ok(AUTO)).await;
    assert_eq!(talk.replays(Succeeded), 1);
    talk.usable().await;
}

#[tokio::test(start_paused = true)]
async fn commands_that_touch_nothing_are_left_out_of_the_replay() {
    let mut talk = open(RETRY).await;
    talk.sql("BEGIN", &ok(TX)).await;
    talk.step(&[0x0E], &ok(TX)).await;
    talk.sql("", &ok(TX)).await;
    talk.step(&[0x09], &Reply::of([b"Uptime: 1".to_vec()])).await;
    talk.sql("UPDATE t SET v = 2", &changed(1, TX)).await;
    talk.commit_conflicts(1).await;
    talk.again("ROLLBACK", &ok(AUTO)).await;
    talk.again("BEGIN", &ok(TX)).await;
    talk.again("UPDATE t SET v = 2", &changed(1, TX)).await;
    talk.again("COMMIT", &ok(AUTO)).await;
    talk.client.expect(&ok(AUTO)).await;
    talk.usable().await;
}

#[tokio::test(start_paused = true)]
async fn what_the_replayed_commit_is_told_goes_to_the_client_if_it_is_no_conflict() {
    for (code, outcome) in
        [(1062, [0, 0, 0, 1, 0]), (9005, [0, 0, 0, 0, 1]), (1105, [0, 0, 0, 0, 1])]
    {
        let mut talk = open(RETRY).await;
        talk.transfer().await;
        talk.commit_conflicts(1).await;
        talk.transfer_again().await;
        talk.again("COMMIT", &err(code, "no")).await;
        talk.client.expect(&err(code, "no")).await;
        talk.usable().await;
        assert_eq!(talk.outcomes(), outcome, "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_backend_in_drain_lets_the_replay_finish_and_then_closes() {
    let mut talk = open(RETRY).await;
    talk.transfer().await;
    talk.drain.cancel();
    talk.commit_conflicts(1).await;
    talk.transfer_again().await;
    talk.again("COMMIT", &ok(AUTO)).await;
    talk.client.expect(&ok(AUTO)).await;
    assert_eq!(talk.ended().await, End::Drained);
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_the_session_also_behind_a_replay_that_is_given_up() {
    let mut talk = open(RETRY).await;
    talk.transfer().await;
    talk.drain.cancel();
    talk.commit_conflicts(1).await;
    talk.again("ROLLBACK", &ok(AUTO)).await;
    talk.again("BEGIN", &ok(AUTO)).await;
    talk.again("ROLLBACK", &ok(AUTO)).await;
    talk.client.expect(&conflict(1)).await;
    assert_eq!(talk.ended().await, End::Drained);
}

#[tokio::test(start_paused = true)]
async fn savepoints_are_replayed_in_place_with_what_was_rolled_back_to_them() {
    for again in [ok(TX), err(1305, "SAVEPOINT a does not exist")] {
        let mut talk = open(RETRY).await;
        talk.sql("BEGIN", &ok(TX)).await;
        talk.sql("SAVEPOINT a", &ok(TX)).await;
        talk.sql("UPDATE t SET v = 2", &changed(1, TX)).await;
        talk.sql("ROLLBACK TO a", &ok(TX)).await;
        talk.commit_conflicts(1).await;
        talk.again("ROLLBACK", &ok(AUTO)).await;
        talk.again("BEGIN", &ok(TX)).await;
        talk.again("SAVEPOINT a", &ok(TX)).await;
        talk.again("UPDATE t SET v = 2", &changed(1, TX)).await;
        talk.again("ROLLBACK TO a", &again).await;
        match again == ok(TX) {
            true => {
                talk.again("COMMIT", &ok(AUTO)).await;
                talk.client.expect(&ok(AUTO)).await;
                assert_eq!(talk.replays(Succeeded), 1);
            }
            false => {
                talk.again("ROLLBACK", &ok(AUTO)).await;
                talk.client.expect(&conflict(1)).await;
                assert_eq!(talk.replays(Mismatch), 1);
            }
        }
        talk.usable().await;
    }
}
