//! A client that does not wait for answers.

use txguard::base::metrics::ReplayOutcome::{Mismatch, Succeeded};
use txguard::wire::command::Command;

use super::harness::{RETRY, open, setup};
use super::words::*;

const A: &str = "UPDATE t SET v = v + 1 WHERE id = 1";
const B: &str = "UPDATE t SET v = v + 1 WHERE id = 2";

#[tokio::test(start_paused = true)]
async fn in_a_guarded_transaction_a_command_goes_out_behind_the_answer_before_it() {
    let mut talk = open(RETRY).await;
    talk.client.send_all(&[query("BEGIN"), query(A), query(B), query("COMMIT"), query(A)]).await;
    for (text, reply) in [
        ("BEGIN", ok(TX)),
        (A, changed(1, TX)),
        (B, changed(1, TX)),
        ("COMMIT", ok(AUTO)),
        (A, changed(1, AUTO)),
    ] {
        talk.server.expect(&query(text)).await;
        talk.server.silent().await;
        talk.answer(&reply).await;
    }
    assert_eq!(talk.outcomes(), [1, 0, 0, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn nothing_autocommits_behind_a_deadlock() {
    let mut talk = open(RETRY).await;
    talk.sql("BEGIN", &ok(TX)).await;
    talk.client.send_all(&[query(A), query(B)]).await;
    talk.server.expect(&query(A)).await;
    talk.server.reply(&deadlock()).await;
    talk.again("ROLLBACK", &ok(AUTO)).await;
    talk.again("BEGIN", &ok(TX)).await;
    talk.server.expect(&query(A)).await;
    talk.server.silent().await;
    talk.answer(&changed(1, TX)).await;
    talk.server.expect(&query(B)).await;
    talk.answer(&changed(1, TX)).await;
    talk.sql("COMMIT", &ok(AUTO)).await;
    assert_eq!((talk.replays(Succeeded), talk.outcomes()), (1, [1, 0, 0, 0, 0]));
}

#[tokio::test(start_paused = true)]
async fn what_waits_behind_a_replay_that_is_given_up_goes_out_then() {
    // As it would without a proxy: the server's own order is kept.
    for commands in [vec![query("BEGIN")], vec![query("SELECT 1")], vec![vec![0x0E]]] {
        let mut talk = open(RETRY).await;
        talk.transfer().await;
        let mut sent = vec![query("COMMIT")];
        sent.extend(commands.clone());
        talk.client.send_all(&sent).await;
        talk.server.expect(&query("COMMIT")).await;
        talk.server.reply(&conflict(1)).await;
        talk.again("ROLLBACK", &ok(AUTO)).await;
        talk.again("BEGIN", &ok(TX)).await;
        talk.again("SELECT v FROM t WHERE id = 1", &rows(&["9"], TX)).await;
        talk.again("ROLLBACK", &ok(AUTO)).await;
        talk.client.expect(&conflict(1)).await;
        talk.server.expect(&commands[0]).await;
        talk.answer(&ok(AUTO)).await;
        assert_eq!(talk.replays(Mismatch), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_sent_during_a_replay_waits_for_its_end() {
    let mut talk = open(RETRY).await;
    talk.transfer().await;
    talk.commit_conflicts(1).await;
    talk.again("ROLLBACK", &ok(AUTO)).await;
    talk.client.query("BEGIN").await;
    talk.again("BEGIN", &ok(TX)).await;
    talk.again("SELECT v FROM t WHERE id = 1", &rows(&["5"], TX)).await;
    talk.again("UPDATE t SET v = 6 WHERE id = 1", &changed(1, TX)).await;
    talk.server.expect(&query("COMMIT")).await;
    talk.server.silent().await;
    talk.answer(&ok(AUTO)).await;
    talk.server.expect(&query("BEGIN")).await;
    talk.answer(&ok(TX)).await;
}

#[tokio::test(start_paused = true)]
async fn a_bad_begin_lets_the_rest_run_as_without_a_proxy() {
    let mut talk = open(RETRY).await;
    talk.client.send_all(&[query("BEGIN"), query(A)]).await;
    talk.server.expect(&query("BEGIN")).await;
    talk.answer(&err(9001, "PD server timeout")).await;
    talk.server.expect(&query(A)).await;
    talk.answer(&changed(1, AUTO)).await;
    assert_eq!(talk.outcomes(), [0; 5]);
}

#[tokio::test(start_paused = true)]
async fn outside_of_transactions_and_without_a_guard_nothing_waits() {
    let mut talk = open(RETRY).await;
    talk.client.send_all(&[query(A), query(B), vec![0x0E]]).await;
    for payload in [query(A), query(B), vec![0x0E]] {
        talk.server.expect(&payload).await;
    }
    for _ in 0..3 {
        talk.answer(&ok(AUTO)).await;
    }
    talk.sql("BEGIN", &ok(TX)).await;
    talk.sql("SHOW TABLES", &ok(TX)).await;
    talk.client.send_all(&[query(A), query(B), query("COMMIT"), query(A)]).await;
    for text in [A, B, "COMMIT", A] {
        talk.server.expect(&query(text)).await;
    }
    for status in [TX, TX, AUTO, AUTO] {
        talk.answer(&ok(status)).await;
    }
    assert_eq!(talk.outcomes(), [1, 0, 0, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn more_than_1024_commands_are_answered_in_order() {
    for policies in ["", RETRY] {
        let mut talk = setup(policies).pipes(1000, 1000).open().await;
        let count = 3000_u64;
        let pings: Vec<Vec<u8>> = (0..count).map(|_| vec![Command::PING.0]).collect();
        let (client, server) = (&mut talk.client, &mut talk.server);
        let heard = async {
            for number in 0..count {
                server.expect(&[Command::PING.0]).await;
                server.reply(&changed(number, AUTO)).await;
            }
        };
        let said = async {
            client.send_all(&pings).await;
            for number in 0..count {
                client.expect(&changed(number, AUTO)).await;
            }
        };
        tokio::join!(heard, said);
    }
}

#[tokio::test(start_paused = true)]
async fn no_more_than_1024_commands_are_under_way() {
    let mut talk = setup(RETRY).pipes(1 << 20, 1 << 20).open().await;
    let pings: Vec<Vec<u8>> = (0..1100).map(|_| vec![Command::PING.0]).collect();
    talk.client.send_all(&pings).await;
    for _ in 0..1024 {
        talk.server.expect(&[Command::PING.0]).await;
    }
    talk.server.silent().await;
    talk.answer(&ok(AUTO)).await;
    talk.server.expect(&[Command::PING.0]).await;
    talk.server.silent().await;
}

#[tokio::test(start_paused = true)]
async fn a_command_in_one_packet_with_the_login_is_not_forgotten() {
    let mut talk = setup(RETRY).connect();
    talk.server.greet("8.0.11-TiDB-v8.5.3", u32::MAX).await;
    talk.client.greeting().await;
    let login = super::client::login(super::harness::FLAGS, 46, "app", None);
    let mut bytes = Reply::of([login]).frames(1);
    bytes.extend(Reply::of([query("SELECT 1")]).frames(0));
    talk.client.raw(&bytes).await;
    talk.server.login().await;
    talk.server.say(2, &ok(AUTO)).await;
    talk.client.expect_from(2, &ok(AUTO)).await;
    talk.server.expect(&query("SELECT 1")).await;
    talk.answer(&rows(&["1"], AUTO)).await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_sends_ahead_is_held_back_at_64_kib() {
    let mut talk = setup(RETRY).pipes(1 << 10, 1 << 20).open().await;
    talk.sql("BEGIN", &ok(TX)).await;
    talk.client.query(A).await;
    talk.server.expect(&query(A)).await;
    let long = query(&format!("UPDATE t SET v = '{}'", "x".repeat(2000)));
    let frames: Vec<Vec<u8>> = (0..200).map(|_| long.clone()).collect();
    let (client, server) = (&mut talk.client, &mut talk.server);
    let ahead = client.send_all(&frames);
    let stuck = tokio::time::timeout(std::time::Duration::from_secs(60), ahead).await;
    assert!(stuck.is_err(), "400 KB were taken without an answer");
    server.reply(&changed(1, TX)).await;
    client.expect(&changed(1, TX)).await;
    server.expect(&long).await;
}
