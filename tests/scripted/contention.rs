//! Transactions that lost on the same key: who may replay, and when.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use txguard::base::clock::SystemClock;
use txguard::base::metrics::ReplayOutcome::{
    CircuitOpen, ClientGone, Exhausted, Mismatch, Succeeded, Throttled,
};
use txguard::session::Queues;
use txguard::txn::contention::Etiquette;

use super::harness::{Talk, setup};
use super::words::*;

/// Two seconds for all; a pause of nothing, so that only queues make anybody wait.
const POLICY: &str =
    "[[policy]]\nname='p'\nretry={attempts=9,budget='2s',backoff='1ms',backoff_max='1ms'}\n";

fn queues(etiquette: Etiquette) -> Queues {
    Queues::new(std::sync::Arc::new(SystemClock), etiquette)
}

/// A session of the same process.
async fn join(queues: &Queues) -> Talk {
    let mut setup = setup(POLICY);
    setup.queues = queues.clone();
    setup.open().await
}

/// `N` sessions of a process without limits.
async fn sessions<const N: usize>() -> ([Talk; N], Queues) {
    let queues = queues(Etiquette::default());
    let mut talks = Vec::new();
    for _ in 0..N {
        talks.push(join(&queues).await);
    }
    (talks.try_into().ok().expect("as many"), queues)
}

/// A write conflict on a row; the text is never the same twice.
fn lost(start: u64, row: u64) -> Reply {
    let key = format!("{{tableID=106, tableName=bank.t, handle={row}}}, originalKey=7480{row:02}");
    let text =
        format!("Write conflict, txnStartTS={start}, key={key}, primary={key}, reason=Optimistic");
    err(9007, &text)
}

/// A transfer that loses on a row. Its replay has rolled back: it holds nothing while it waits.
async fn loses(talk: &mut Talk, start: u64, row: u64) {
    talk.transfer().await;
    talk.client.query("COMMIT").await;
    talk.server.expect(&query("COMMIT")).await;
    talk.server.reply(&lost(start, row)).await;
    talk.again("ROLLBACK", &ok(AUTO)).await;
}

/// The same twice, so that it stands in a queue or has the turn.
async fn loses_twice(talk: &mut Talk, start: u64, row: u64) {
    loses(talk, start, row).await;
    runs(talk).await;
    talk.server.reply(&lost(start + 50, row)).await;
    talk.again("ROLLBACK", &ok(AUTO)).await;
}

/// The statements of the transfer run again, up to the COMMIT.
async fn runs(talk: &mut Talk) {
    talk.again("BEGIN", &ok(TX)).await;
    talk.again("SELECT v FROM t WHERE id = 1", &rows(&["5"], TX)).await;
    talk.again("UPDATE t SET v = 6 WHERE id = 1", &changed(1, TX)).await;
    talk.server.expect(&query("COMMIT")).await;
}

/// The COMMIT of a replay is acknowledged.
async fn wins(talk: &mut Talk) {
    talk.server.reply(&ok(AUTO)).await;
    talk.client.expect(&ok(AUTO)).await;
}

/// The server hears nothing for now.
async fn waits(talk: &mut Talk) {
    let heard = timeout(Duration::from_millis(100), talk.server.packet()).await;
    assert!(heard.is_err(), "{heard:?}");
}

#[tokio::test(start_paused = true)]
async fn replays_of_one_key_go_one_at_a_time_in_order() {
    let ([mut a, mut b, mut c], queues) = sessions().await;
    loses_twice(&mut a, 1, 7).await;
    runs(&mut a).await;
    loses_twice(&mut b, 2, 7).await;
    loses_twice(&mut c, 3, 7).await;
    waits(&mut b).await;
    waits(&mut c).await;
    assert_eq!(queues.shown().waiting, 2);
    wins(&mut a).await;
    runs(&mut b).await;
    waits(&mut c).await;
    wins(&mut b).await;
    runs(&mut c).await;
    wins(&mut c).await;
    for talk in [&mut a, &mut b, &mut c] {
        talk.usable().await;
        assert_eq!((talk.replays(Succeeded), talk.replays_all()), (1, 1));
        assert_eq!(talk.metrics.replays_waited(), 1);
    }
    assert_eq!(queues.shown(), txguard::txn::contention::Shown::default());
}

#[tokio::test(start_paused = true)]
async fn who_has_lost_for_the_first_time_waits_for_nobody() {
    let ([mut a, mut b], queues) = sessions().await;
    loses_twice(&mut a, 1, 7).await;
    runs(&mut a).await;
    loses(&mut b, 2, 7).await;
    runs(&mut b).await;
    wins(&mut b).await;
    assert_eq!((b.metrics.replays_waited(), queues.shown().waiting), (0, 0));
    wins(&mut a).await;
}

#[tokio::test(start_paused = true)]
async fn replays_of_other_keys_and_without_a_key_don_t_wait() {
    let ([mut a, mut b, mut c], _) = sessions().await;
    loses_twice(&mut a, 1, 7).await;
    runs(&mut a).await;
    loses_twice(&mut b, 2, 8).await;
    runs(&mut b).await;
    c.transfer().await;
    c.commit_conflicts(3).await;
    c.again("ROLLBACK", &ok(AUTO)).await;
    runs(&mut c).await;
    for talk in [&mut c, &mut b, &mut a] {
        wins(talk).await;
    }
}

#[tokio::test(start_paused = true)]
async fn who_loses_again_on_the_same_key_keeps_the_turn() {
    let ([mut a, mut b], _) = sessions().await;
    loses_twice(&mut a, 1, 7).await;
    runs(&mut a).await;
    loses_twice(&mut b, 2, 7).await;
    a.server.reply(&lost(3, 7)).await;
    a.again("ROLLBACK", &ok(AUTO)).await;
    runs(&mut a).await;
    waits(&mut b).await;
    wins(&mut a).await;
    runs(&mut b).await;
    wins(&mut b).await;
}

#[tokio::test(start_paused = true)]
async fn who_loses_on_another_key_gives_the_turn_up_before_it_waits_for_that_one() {
    let ([mut a, mut b], _) = sessions().await;
    loses_twice(&mut a, 1, 7).await;
    runs(&mut a).await;
    loses_twice(&mut b, 2, 8).await;
    runs(&mut b).await;
    // Each loses on the key whose turn the other one has.
    a.server.reply(&lost(3, 8)).await;
    a.again("ROLLBACK", &ok(AUTO)).await;
    waits(&mut a).await;
    b.server.reply(&lost(4, 7)).await;
    b.again("ROLLBACK", &ok(AUTO)).await;
    runs(&mut a).await;
    runs(&mut b).await;
    wins(&mut a).await;
    wins(&mut b).await;
}

#[tokio::test(start_paused = true)]
async fn who_leaves_holds_nobody_up() {
    let ([mut a, mut b, mut c, mut d], queues) = sessions().await;
    loses_twice(&mut a, 1, 7).await;
    runs(&mut a).await;
    loses_twice(&mut b, 2, 7).await;
    loses_twice(&mut c, 3, 7).await;
    loses_twice(&mut d, 4, 7).await;
    let began = Instant::now();
    // One in the queue; one whose turn it is, by its backend.
    b.client.close();
    assert_eq!(b.ended().await, txguard::session::End::ClientGone);
    assert_eq!(b.replays(ClientGone), 1);
    a.server.close();
    assert_eq!(a.ended().await, txguard::session::End::BackendGone);
    runs(&mut c).await;
    assert!(began.elapsed() < Duration::from_millis(100), "{:?}", began.elapsed());
    // One whose turn it is, in the middle of its replay.
    c.server.reply(&lost(5, 7)).await;
    c.again("ROLLBACK", &ok(AUTO)).await;
    c.server.expect(&query("BEGIN")).await;
    c.client.close();
    runs(&mut d).await;
    wins(&mut d).await;
    assert_eq!(queues.shown().waiting, 0);
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_takes_too_long_lets_the_next_one_go() {
    let ([mut a, mut b], _) = sessions().await;
    loses_twice(&mut a, 1, 7).await;
    runs(&mut a).await;
    let began = Instant::now();
    loses_twice(&mut b, 2, 7).await;
    runs(&mut b).await;
    let waited = began.elapsed().as_millis();
    assert!((950..=1010).contains(&waited), "{waited} ms");
    wins(&mut b).await;
    wins(&mut a).await;
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_longer_than_the_policy_allows() {
    let ([mut a, mut b, mut c, mut d], _) = sessions().await;
    let began = Instant::now();
    // Three turns that take too long, and a fourth that would begin behind the two seconds.
    for (number, talk) in [&mut a, &mut b, &mut c].into_iter().enumerate() {
        loses_twice(talk, number as u64, 7).await;
        if number == 0 {
            runs(talk).await;
        }
    }
    loses_twice(&mut d, 4, 7).await;
    runs(&mut b).await;
    d.again("ROLLBACK", &ok(AUTO)).await;
    d.client.expect(&lost(4, 7)).await;
    let waited = began.elapsed().as_millis();
    assert!((1990..=2100).contains(&waited), "{waited} ms");
    assert_eq!((d.replays(Exhausted), d.outcomes()), (1, [0, 0, 1, 0, 0]));
    d.usable().await;
}

#[tokio::test(start_paused = true)]
async fn without_tokens_the_error_passes_until_commits_have_brought_some() {
    let queues = queues(Etiquette { tokens: 1, ..Etiquette::default() });
    let ([mut a, mut b], _) = ([join(&queues).await, join(&queues).await], ());
    loses(&mut a, 1, 7).await;
    runs(&mut a).await;
    loses(&mut b, 2, 8).await;
    b.again("ROLLBACK", &ok(AUTO)).await;
    b.client.expect(&lost(2, 8)).await;
    assert_eq!((b.replays(Throttled), b.outcomes()), (1, [0, 0, 1, 0, 0]));
    // What was not in vain costs nothing.
    wins(&mut a).await;
    assert_eq!(queues.tokens().left(), 1);
    loses(&mut b, 3, 8).await;
    runs(&mut b).await;
    wins(&mut b).await;
    b.usable().await;
}

/// A transfer whose replay reads something else; the client gets its error.
async fn in_vain(talk: &mut Talk, start: u64) {
    loses(talk, start, 7).await;
    talk.again("BEGIN", &ok(TX)).await;
    talk.again("SELECT v FROM t WHERE id = 1", &rows(&["6"], TX)).await;
    talk.again("ROLLBACK", &ok(AUTO)).await;
    talk.client.expect(&lost(start, 7)).await;
}

#[tokio::test(start_paused = true)]
async fn where_replays_are_in_vain_none_is_begun_for_a_while() {
    let pause = Duration::from_secs(1);
    let queues = queues(Etiquette { failures: 2, pause, ..Etiquette::default() });
    let mut talk = join(&queues).await;
    in_vain(&mut talk, 1).await;
    in_vain(&mut talk, 2).await;
    assert_eq!((talk.replays(Mismatch), queues.shown().circuits_open), (2, 1));
    loses(&mut talk, 3, 7).await;
    talk.again("ROLLBACK", &ok(AUTO)).await;
    talk.client.expect(&lost(3, 7)).await;
    assert_eq!(talk.replays(CircuitOpen), 1);
    // On another row they may succeed.
    loses(&mut talk, 4, 8).await;
    runs(&mut talk).await;
    wins(&mut talk).await;
    sleep(pause).await;
    loses(&mut talk, 5, 7).await;
    runs(&mut talk).await;
    wins(&mut talk).await;
    in_vain(&mut talk, 6).await;
    loses(&mut talk, 7, 7).await;
    runs(&mut talk).await;
    wins(&mut talk).await;
    assert_eq!(talk.replays(CircuitOpen), 1, "one success has closed it");
    talk.usable().await;
}

/// A transaction that loses; the client gets its error, and nothing is sent again.
async fn is_not_retried(talk: &mut Talk, begin: &str, first: &str) {
    talk.sql(begin, &ok(TX)).await;
    talk.sql(first, &changed(1, TX)).await;
    talk.sql("COMMIT", &lost(1, 7)).await;
    talk.usable().await;
}

#[tokio::test(start_paused = true)]
async fn a_client_declines_retries_for_a_transaction_by_a_comment() {
    let ([mut talk], _) = sessions().await;
    let update = "UPDATE t SET v = 6 WHERE id = 1";
    is_not_retried(&mut talk, "/*retry='off'*/ BEGIN", update).await;
    is_not_retried(&mut talk, "/*retry='OFF',traceparent='x'*/ START TRANSACTION", update).await;
    is_not_retried(&mut talk, "BEGIN", &format!("/*retry='off'*/ {update}")).await;
    assert_eq!(talk.unguarded(), ["declined"; 3]);
    assert_eq!((talk.replays_all(), talk.outcomes()), (0, [0, 0, 3, 0, 0]));
    // The next one is retried again, and so is one whose BEGIN commits one that is not.
    talk.guarded(2).await;
    talk.sql("/*retry='off'*/ BEGIN", &ok(TX)).await;
    talk.transfer().await;
    talk.commit_conflicts(3).await;
    talk.transfer_again().await;
    talk.again("COMMIT", &ok(AUTO)).await;
    talk.client.expect(&ok(AUTO)).await;
    assert_eq!(talk.replays(Succeeded), 2);
}

#[tokio::test(start_paused = true)]
async fn a_client_declines_retries_for_its_session_by_a_variable() {
    let ([mut talk], _) = sessions().await;
    let update = "UPDATE t SET v = 6 WHERE id = 1";
    // What fails changes nothing.
    talk.sql("SET @txguard_retry = 'off'", &err(1105, "no")).await;
    talk.guarded(1).await;
    talk.sql("SET @txguard_retry = 'off'", &ok(AUTO)).await;
    is_not_retried(&mut talk, "BEGIN", update).await;
    is_not_retried(&mut talk, "START TRANSACTION", update).await;
    talk.sql("SET @txguard_retry = 'on'", &ok(AUTO)).await;
    talk.guarded(2).await;
    talk.sql("SET @txguard_retry = 0", &ok(AUTO)).await;
    is_not_retried(&mut talk, "BEGIN", update).await;
    talk.step(&command(txguard::wire::command::Command::RESET_CONNECTION, &[]), &ok(AUTO)).await;
    talk.guarded(3).await;
    assert_eq!(talk.unguarded(), ["declined"; 3]);
    assert_eq!((talk.replays(Succeeded), talk.replays_all()), (3, 3));
}
