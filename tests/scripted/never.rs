//! What is never replayed.

use super::harness::{RETRY, open, setup};
use super::words::*;

#[tokio::test(start_paused = true)]
async fn an_error_at_commit_that_does_not_prove_a_conflict_passes() {
    let unknown = [9001, 9002, 9003, 9004, 9005, 9008, 9010, 9011, 1105];
    let failed = [1062, 8147, 8141, 8004, 8027, 1836, 9006, 8229, 1205, 1317];
    for (codes, outcome) in [(&unknown[..], [0, 0, 0, 0, 1]), (&failed[..], [0, 0, 0, 1, 0])] {
        for code in codes {
            let mut talk = open(RETRY).await;
            talk.transfer().await;
            talk.sql("COMMIT", &err(*code, "no")).await;
            talk.usable().await;
            assert_eq!((talk.replays_all(), talk.outcomes()), (0, outcome), "{code}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_conflict_of_a_statement_that_is_no_commit_point_passes_and_the_transaction_goes_on() {
    for code in [9007, 8005, 8022, 8028, 8002, 1205, 3572, 1062, 9004, 1317, 8229] {
        let mut talk = open(RETRY).await;
        talk.transfer().await;
        talk.sql("UPDATE t SET v = 9", &err(code, "no")).await;
        talk.server.silent().await;
        talk.sql("COMMIT", &ok(AUTO)).await;
        assert_eq!((talk.replays_all(), talk.outcomes()), (0, [1, 0, 0, 0, 0]), "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn lazy_uniqueness_ends_the_transaction() {
    let mut talk = open(RETRY).await;
    talk.transfer().await;
    talk.sql("UPDATE t SET v = 9", &err(8147, "transaction aborted")).await;
    assert_eq!((talk.replays_all(), talk.outcomes()), (0, [0, 0, 0, 1, 0]));
    talk.usable().await;
}

#[tokio::test(start_paused = true)]
async fn autocommit_statements_are_never_sent_twice() {
    for error in [conflict(1), deadlock(), err(1020, "x"), err(9005, "x")] {
        let mut talk = open(RETRY).await;
        talk.sql("UPDATE t SET v = 9", &error).await;
        talk.usable().await;
        assert_eq!((talk.replays_all(), talk.outcomes()), (0, [0; 5]));
    }
}

#[tokio::test(start_paused = true)]
async fn commit_and_rollback_without_a_transaction_are_relayed() {
    for mut talk in [open(RETRY).await, setup(RETRY).manual().open().await] {
        talk.sql("COMMIT", &conflict(1)).await;
        talk.sql("ROLLBACK", &deadlock()).await;
        talk.server.silent().await;
        assert_eq!((talk.replays_all(), talk.outcomes()), (0, [0; 5]));
    }
}

#[tokio::test(start_paused = true)]
async fn a_begin_that_fails_opens_nothing() {
    for code in [9001, 9007, 1213, 1105] {
        let mut talk = open(RETRY).await;
        talk.sql("BEGIN", &err(code, "no")).await;
        talk.usable().await;
        assert_eq!((talk.replays_all(), talk.outcomes()), (0, [0; 5]), "{code}");
        talk.transfer().await;
        talk.sql("COMMIT", &ok(AUTO)).await;
        assert_eq!(talk.outcomes(), [1, 0, 0, 0, 0]);
    }
}

#[tokio::test(start_paused = true)]
async fn what_has_been_committed_on_the_way_is_not_in_the_next_replay() {
    // The answer to the second UPDATE says that no transaction is open: something committed.
    let mut talk = open(RETRY).await;
    talk.sql("BEGIN", &ok(TX)).await;
    talk.sql("UPDATE t SET v = 1", &changed(1, TX)).await;
    talk.sql("UPDATE t SET v = 2", &changed(1, AUTO)).await;
    assert_eq!(talk.outcomes(), [1, 0, 0, 0, 0]);
    talk.sql("UPDATE t SET v = 3", &deadlock()).await;
    talk.sql("COMMIT", &conflict(1)).await;
    talk.usable().await;
    talk.guarded(1).await;
}

#[tokio::test(start_paused = true)]
async fn a_transaction_whose_begin_was_not_seen_is_not_replayed() {
    for hidden in ["/*!40101 BEGIN */", "SELECT 1; BEGIN", "CALL opens_one()"] {
        let mut talk = open(RETRY).await;
        talk.sql(hidden, &ok(TX)).await;
        talk.sql("UPDATE t SET v = 1", &changed(1, TX)).await;
        talk.sql("COMMIT", &conflict(1)).await;
        talk.usable().await;
        assert_eq!((talk.replays_all(), talk.outcomes()), (0, [0, 0, 1, 0, 0]), "{hidden}");
        assert_eq!(talk.unguarded(), ["begin_not_seen"], "{hidden}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_chained_transaction_is_not_replayed() {
    let mut talk = open(RETRY).await;
    talk.transfer().await;
    talk.sql("COMMIT AND CHAIN", &ok(TX)).await;
    assert_eq!(talk.outcomes(), [1, 0, 0, 0, 0]);
    talk.sql("UPDATE t SET v = 1", &changed(1, TX)).await;
    talk.sql("COMMIT", &conflict(1)).await;
    talk.usable().await;
    assert_eq!(talk.unguarded(), ["chained"]);
    // TiDB parses the words and ignores them.
    talk.transfer().await;
    talk.sql("COMMIT AND CHAIN", &ok(AUTO)).await;
    talk.usable().await;
    assert_eq!((talk.replays_all(), talk.outcomes()), (0, [2, 0, 1, 0, 0]));
}
