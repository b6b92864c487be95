//! Statements of our own around COMMIT and behind BEGIN: their replies are swallowed completely.

use txguard::base::metrics::ReplayOutcome::{Mismatch, Succeeded};
use txguard::session::End;

use super::harness::{Talk, open, setup};
use super::words::*;

const EXACT: &str = "[[policy]]\nname='p'\nretry={attempts=3,budget='2s'}\ntso='exact'\n";
const ALIAS: &str = "[[policy]]\nname='p'\nretry={attempts=3,budget='2s'}\ntag='alias'\n";

const START: &str = "SELECT @@tidb_current_ts";
const INFO: &str = "SELECT @@tidb_last_txn_info";
const RESTORE: &str = "DO 0";

fn info(start: u64, commit: u64) -> String {
    format!("{{\"txn_scope\":\"global\",\"start_ts\":{start},\"commit_ts\":{commit}}}")
}

/// What comes before `commit`, and it, as the server hears them.
async fn front(talk: &mut Talk, commit: &[u8]) {
    talk.server.expect(&query(START)).await;
    talk.server.expect(commit).await;
}

/// What comes behind its OK.
async fn behind(talk: &mut Talk) {
    talk.server.expect(&query(INFO)).await;
    talk.server.expect(&query(RESTORE)).await;
}

/// All of it around a `commit` that succeeds, up to the client's OK.
async fn committed(talk: &mut Talk, commit: &[u8]) {
    front(talk, commit).await;
    talk.server.reply(&rows(&["7"], TX)).await;
    talk.server.reply(&ok(AUTO)).await;
    talk.client.expect(&ok(AUTO)).await;
    behind(talk).await;
    talk.server.reply(&rows(&[&info(7, 9)], AUTO)).await;
    talk.server.reply(&ok(AUTO)).await;
}

/// `commit` is refused: nothing follows it.
async fn refused(talk: &mut Talk, commit: &[u8], error: &Reply) {
    front(talk, commit).await;
    talk.server.reply(&rows(&["7"], TX)).await;
    talk.server.reply(error).await;
}

#[tokio::test(start_paused = true)]
async fn what_surrounds_commit_is_swallowed() {
    for pipes in [(64 << 10, 64 << 10), (1, 1), (7, 3)] {
        let mut talk = setup(EXACT).pipes(pipes.0, pipes.1).open().await;
        talk.transfer().await;
        talk.client.query("COMMIT").await;
        committed(&mut talk, &query("COMMIT")).await;
        talk.client.silent().await;
        talk.usable().await;
        assert_eq!(talk.outcomes(), [1, 0, 0, 0, 0]);
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_result_of_the_train_has_as_many_rows_as_the_client_s() {
    for count in [0, 1, 2, 10_000, 10_001] {
        let mut talk = open(EXACT).await;
        talk.sql("BEGIN", &ok(TX)).await;
        talk.sql("SELECT v FROM t", &rows(&vec!["1"; count], TX)).await;
        talk.client.query("COMMIT").await;
        if count > 10_000 {
            talk.server.expect(&query("COMMIT")).await;
            talk.answer(&ok(AUTO)).await;
            talk.usable().await;
            continue;
        }
        front(&mut talk, &query("COMMIT")).await;
        talk.server.reply(&rows(&["7"], TX)).await;
        talk.server.reply(&ok(AUTO)).await;
        talk.client.expect(&ok(AUTO)).await;
        let asked = talk.server.heard().await;
        let many = asked.starts_with("WITH RECURSIVE") && asked.contains(&format!("<={count})"));
        assert!(if count > 1 { many } else { asked == INFO }, "{asked}");
        talk.server.expect(&query(if count == 0 { "SHOW WARNINGS" } else { RESTORE })).await;
        talk.server.reply(&rows(&[&info(7, 9)], AUTO)).await;
        talk.server.reply(&ok(AUTO)).await;
        talk.usable().await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_client_has_its_ok_before_the_rest_is_answered() {
    let mut talk = open(EXACT).await;
    talk.transfer().await;
    talk.client.query("COMMIT").await;
    front(&mut talk, &query("COMMIT")).await;
    talk.server.reply(&rows(&["7"], TX)).await;
    talk.server.reply(&ok(AUTO)).await;
    talk.client.expect(&ok(AUTO)).await;
    behind(&mut talk).await;
    // The record still waits for its timestamps; the client's next transaction doesn't.
    assert_eq!(talk.outcomes(), [0; 5]);
    talk.client.query("BEGIN").await;
    talk.server.expect(&query("BEGIN")).await;
    talk.server.reply(&rows(&[&info(7, 9)], AUTO)).await;
    talk.server.reply(&ok(AUTO)).await;
    talk.answer(&ok(TX)).await;
    assert_eq!(talk.outcomes(), [1, 0, 0, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_conflict_is_followed_by_the_replay_alone() {
    let mut talk = open(EXACT).await;
    talk.transfer().await;
    talk.client.query("COMMIT").await;
    for start in 1..=2 {
        refused(&mut talk, &query("COMMIT"), &conflict(start)).await;
        talk.transfer_again().await;
    }
    committed(&mut talk, &query("COMMIT")).await;
    talk.client.silent().await;
    talk.usable().await;
    assert_eq!((talk.replays(Succeeded), talk.outcomes()), (1, [1, 0, 0, 0, 0]));
}

#[tokio::test(start_paused = true)]
async fn a_mismatch_gives_the_original_error() {
    let mut talk = open(EXACT).await;
    talk.transfer().await;
    talk.client.query("COMMIT").await;
    refused(&mut talk, &query("COMMIT"), &conflict(1)).await;
    talk.again("ROLLBACK", &ok(AUTO)).await;
    talk.again("BEGIN", &ok(TX)).await;
    talk.again("SELECT v FROM t WHERE id = 1", &rows(&["8"], TX)).await;
    talk.again("ROLLBACK", &ok(AUTO)).await;
    talk.client.expect(&conflict(1)).await;
    talk.usable().await;
    assert_eq!((talk.replays(Mismatch), talk.outcomes()), (1, [0, 0, 1, 0, 0]));
}

#[tokio::test(start_paused = true)]
async fn an_error_of_ours_is_swallowed_too() {
    let denied = err(1193, "Unknown system variable");
    for broken in 0..3 {
        let mut talk = open(EXACT).await;
        talk.transfer().await;
        talk.client.query("COMMIT").await;
        front(&mut talk, &query("COMMIT")).await;
        let or = |place: i32, good: Reply| if place == broken { denied.clone() } else { good };
        talk.server.reply(&or(0, rows(&["7"], TX))).await;
        talk.server.reply(&ok(AUTO)).await;
        talk.client.expect(&ok(AUTO)).await;
        behind(&mut talk).await;
        talk.server.reply(&or(1, rows(&[&info(7, 9)], AUTO))).await;
        talk.server.reply(&or(2, ok(AUTO))).await;
        talk.client.silent().await;
        talk.usable().await;
        assert_eq!(talk.outcomes(), [1, 0, 0, 0, 0], "{broken}");
    }
}

#[tokio::test(start_paused = true)]
async fn behind_an_error_of_commit_nothing_of_ours_disturbs_the_diagnostics() {
    for (code, outcome) in [(1062, [0, 0, 0, 1, 0]), (9005, [0, 0, 0, 0, 1])] {
        let mut talk = open(EXACT).await;
        talk.transfer().await;
        talk.client.query("COMMIT").await;
        refused(&mut talk, &query("COMMIT"), &err(code, "no")).await;
        talk.client.expect(&err(code, "no")).await;
        talk.sql("SHOW WARNINGS", &rows(&["no"], AUTO)).await;
        talk.usable().await;
        assert_eq!(talk.outcomes(), outcome);
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_pipelines_begin_right_behind_commit() {
    let mut talk = open(EXACT).await;
    talk.transfer().await;
    talk.client.send_all(&[query("COMMIT"), query("BEGIN"), query("SELECT v FROM t")]).await;
    committed(&mut talk, &query("COMMIT")).await;
    talk.server.expect(&query("BEGIN")).await;
    talk.answer(&ok(TX)).await;
    talk.server.expect(&query("SELECT v FROM t")).await;
    talk.answer(&rows(&["5"], TX)).await;
    assert_eq!(talk.outcomes(), [1, 0, 0, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn what_an_unguarded_transaction_sends_ahead_goes_out_behind_ours() {
    let mut talk = open(EXACT).await;
    talk.sql("BEGIN", &ok(TX)).await;
    talk.sql("SHOW TABLES", &rows(&["t"], TX)).await;
    talk.client.send_all(&[query("COMMIT"), query("SELECT 1"), query("SELECT 2")]).await;
    refused(&mut talk, &query("COMMIT"), &conflict(1)).await;
    talk.client.expect(&conflict(1)).await;
    talk.server.expect(&query("SELECT 1")).await;
    talk.server.expect(&query("SELECT 2")).await;
    talk.answer(&rows(&["1"], AUTO)).await;
    talk.answer(&rows(&["2"], AUTO)).await;
    talk.usable().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_not_understood_waits_until_our_own_answers_are_in() {
    // Relayed without looking, they would reach the client.
    let unknown = vec![0x50, 1, 2, 3];
    let data =
        [&about(txguard::wire::command::Command::STMT_SEND_LONG_DATA, 9)[..], b"\0\0x"].concat();
    for payload in [unknown, data, vec![]] {
        let mut talk = open(EXACT).await;
        talk.sql("BEGIN", &ok(TX)).await;
        talk.sql("SHOW TABLES", &rows(&["t"], TX)).await;
        talk.client.send_all(&[query("COMMIT"), payload.clone()]).await;
        committed(&mut talk, &query("COMMIT")).await;
        talk.server.expect(&payload).await;
        talk.answer(&err(1105, "not supported")).await;
        talk.client.silent().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_prepared_commit_has_its_train() {
    let mut talk = open(EXACT).await;
    talk.step(&prepare("COMMIT"), &prepare_ok(false, 1, 0, 0)).await;
    talk.transfer().await;
    talk.client.send(&execute(1)).await;
    committed(&mut talk, &execute(1)).await;
    talk.usable().await;
}

#[tokio::test(start_paused = true)]
async fn only_explicit_transactions_on_tidb_have_a_train() {
    let mut talk = setup(EXACT).manual().open().await;
    talk.sql("UPDATE t SET v = 1", &changed(1, TX0)).await;
    talk.sql("COMMIT", &ok(MANUAL)).await;
    for policies in [EXACT, ALIAS] {
        let mut setup = setup(policies);
        setup.version = "11.4.2-MariaDB";
        let mut talk = setup.open().await;
        talk.transfer().await;
        talk.sql("COMMIT", &ok(AUTO)).await;
        talk.usable().await;
    }
    let mut talk = open(EXACT).await;
    talk.sql("COMMIT", &ok(AUTO)).await;
    talk.sql("BEGIN", &ok(TX)).await;
    talk.sql("ROLLBACK", &ok(AUTO)).await;
    talk.usable().await;
}

#[tokio::test(start_paused = true)]
async fn a_drain_waits_for_the_whole_train_and_then_ends() {
    let mut talk = open(EXACT).await;
    talk.transfer().await;
    talk.drain.cancel();
    talk.client.query("COMMIT").await;
    committed(&mut talk, &query("COMMIT")).await;
    assert_eq!(talk.ended().await, End::Drained);
    assert_eq!(talk.outcomes(), [1, 0, 0, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_is_lost_within_the_train() {
    // Before COMMIT is answered the outcome is unknown, behind it it isn't.
    for (answered, outcome) in [(0, [0, 0, 0, 0, 1]), (1, [0, 0, 0, 0, 1]), (2, [1, 0, 0, 0, 0])] {
        let mut talk = open(EXACT).await;
        talk.transfer().await;
        talk.client.query("COMMIT").await;
        front(&mut talk, &query("COMMIT")).await;
        for reply in &[rows(&["7"], TX), ok(AUTO)][..answered] {
            talk.server.reply(reply).await;
        }
        let Talk { mut client, server, metrics, .. } = talk;
        drop(server);
        let rest = client.rest().await;
        assert_eq!(rest.is_empty(), answered < 2);
        assert_eq!(super::harness::outcomes(&metrics), outcome, "{answered}");
    }
}

/// `SET tidb_session_alias='…'`, and whose.
async fn alias(talk: &mut Talk) -> String {
    let heard = talk.server.heard().await;
    let id = heard.strip_prefix("SET tidb_session_alias='").and_then(|id| id.strip_suffix('\''));
    id.unwrap_or_else(|| panic!("{heard:?}")).to_owned()
}

/// BEGIN and the alias behind its OK.
async fn begin_with_alias(talk: &mut Talk) {
    talk.sql("BEGIN", &ok(TX)).await;
    assert_eq!(alias(talk).await.len(), 36);
    talk.server.reply(&ok(TX)).await;
    talk.client.silent().await;
}

#[tokio::test(start_paused = true)]
async fn the_alias_follows_begin_and_is_taken_out_behind_the_end() {
    for (end, reply) in [("COMMIT", ok(AUTO)), ("ROLLBACK", ok(AUTO)), ("COMMIT", err(1062, "x"))] {
        let mut talk = open(ALIAS).await;
        begin_with_alias(&mut talk).await;
        talk.sql("UPDATE t SET v = 1", &changed(1, TX)).await;
        talk.sql(end, &reply).await;
        if reply == ok(AUTO) {
            assert_eq!(alias(&mut talk).await, "");
            talk.server.reply(&ok(AUTO)).await;
        }
        talk.usable().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_alias_that_is_refused_disturbs_nobody() {
    let mut talk = open(ALIAS).await;
    talk.sql("BEGIN", &err(9001, "PD server timeout")).await;
    talk.usable().await;
    talk.sql("BEGIN", &ok(TX)).await;
    alias(&mut talk).await;
    talk.server.reply(&err(1193, "Unknown system variable")).await;
    talk.sql("UPDATE t SET v = 1", &changed(1, TX)).await;
}

#[tokio::test(start_paused = true)]
async fn a_replay_keeps_the_alias() {
    let mut talk = open(ALIAS).await;
    begin_with_alias(&mut talk).await;
    talk.sql("UPDATE t SET v = 1", &changed(1, TX)).await;
    talk.commit_conflicts(1).await;
    talk.again("ROLLBACK", &ok(AUTO)).await;
    talk.again("BEGIN", &ok(TX)).await;
    talk.again("UPDATE t SET v = 1", &changed(1, TX)).await;
    talk.server.expect(&query("COMMIT")).await;
    talk.answer(&ok(AUTO)).await;
    assert_eq!(alias(&mut talk).await, "");
    talk.server.reply(&ok(AUTO)).await;
    talk.usable().await;
}
