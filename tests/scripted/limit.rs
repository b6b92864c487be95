//! A client that says nothing for too long, and one that says too much.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use txguard::base::error::Own;
use txguard::session::End;
use txguard::wire::command::Command;
use txguard::wire::frame::{Header, PAYLOAD_MAX};
use txguard::wire::packet::err::Err;

use super::harness::{RETRY, Setup, Talk, outcomes, setup};
use super::words::*;

const SECOND: Duration = Duration::from_secs(1);

/// The client may be silent for ten seconds, and for three within a transaction.
fn impatient() -> Setup {
    Setup { idle: Some(SECOND * 10), idle_in_transaction: Some(SECOND * 3), ..setup(RETRY) }
}

/// The client hears this error as a packet with this id, and both sides are closed. What the
/// server has heard before.
async fn refused(mut talk: Talk, seq: u8, own: Own) -> Vec<u8> {
    let (row, message) = (own.row(), own.message());
    let mut payload = Vec::new();
    let (sqlstate, message) = (row.sqlstate.as_bytes(), message.as_bytes());
    Err { code: row.code, sqlstate, message }.write(&mut payload);
    talk.client.expect_from(seq, &Reply::of([payload])).await;
    talk.client.gone().await;
    // The client stays: the backend need not wait for it.
    let rest = timeout(SECOND, talk.server.rest()).await.expect("the backend is closed");
    assert_eq!(talk.ended().await, End::Own(own));
    rest
}

#[tokio::test(start_paused = true)]
async fn a_silent_client_is_told_and_closed() {
    let mut talk = impatient().open().await;
    let begin = Instant::now();
    talk.sql("SELECT 1", &rows(&["1"], AUTO)).await;
    refused(talk, 0, Own::Idle).await;
    assert!(
        begin.elapsed() >= SECOND * 10 && begin.elapsed() < SECOND * 13,
        "{:?}",
        begin.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn within_a_transaction_its_own_limit_holds() {
    let mut talk = impatient().open().await;
    sleep(SECOND * 9).await;
    talk.transfer().await;
    let (begin, metrics) = (Instant::now(), talk.metrics.clone());
    refused(talk, 0, Own::Idle).await;
    assert!(begin.elapsed() >= SECOND * 3 && begin.elapsed() < SECOND * 6, "{:?}", begin.elapsed());
    assert_eq!(outcomes(&metrics), [0, 1, 0, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_works_or_waits_is_not_silent() {
    let mut talk = impatient().open().await;
    for _ in 0..5 {
        sleep(SECOND * 9).await;
        talk.sql("SELECT 1", &rows(&["1"], AUTO)).await;
        talk.step(&[Command::PING.0], &ok(AUTO)).await;
    }
    // The server takes its time: silence begins behind its answer.
    talk.client.query("SELECT SLEEP(60)").await;
    talk.server.expect(&query("SELECT SLEEP(60)")).await;
    sleep(SECOND * 60).await;
    talk.answer(&rows(&["0"], AUTO)).await;
    sleep(SECOND * 9).await;
    talk.sql("BEGIN", &ok(TX)).await;
    for _ in 0..5 {
        sleep(SECOND * 2).await;
        talk.sql("SELECT v FROM t", &rows(&["1"], TX)).await;
    }
    talk.sql("COMMIT", &ok(AUTO)).await;
    sleep(SECOND * 9).await;
    talk.usable().await;
}

#[tokio::test(start_paused = true)]
async fn each_limit_holds_alone_and_none_holds_without() {
    let hour = SECOND * 3600;
    let mut only_idle = Setup { idle_in_transaction: None, ..impatient() }.open().await;
    only_idle.sql("BEGIN", &ok(TX)).await;
    sleep(hour).await;
    only_idle.sql("COMMIT", &ok(AUTO)).await;
    refused(only_idle, 0, Own::Idle).await;
    let mut only_inside = Setup { idle: None, ..impatient() }.open().await;
    sleep(hour).await;
    only_inside.sql("BEGIN", &ok(TX)).await;
    refused(only_inside, 0, Own::Idle).await;
    let mut neither = setup(RETRY).open().await;
    sleep(hour).await;
    neither.sql("BEGIN", &ok(TX)).await;
    sleep(hour).await;
    neither.sql("COMMIT", &ok(AUTO)).await;
    neither.bye().await;
}

#[tokio::test(start_paused = true)]
async fn a_statement_as_long_as_it_may_be_passes_and_one_byte_more_does_not() {
    for max in [2000, 200_000] {
        let setup = Setup { statement_max: max, ..setup(RETRY) }.pipes(max * 2, max * 2);
        let mut talk = setup.open().await;
        // The first byte of the payload is the command.
        let fits = "x".repeat(max - 1);
        talk.sql(&fits, &ok(AUTO)).await;
        talk.client.query(&format!("{fits}x")).await;
        assert_eq!(refused(talk, 1, Own::StatementTooLarge).await, b"", "the server hears none");
    }
}

#[tokio::test(start_paused = true)]
async fn the_header_alone_is_enough_to_refuse() {
    let mut talk = Setup { statement_max: 1 << 20, ..setup(RETRY) }.open().await;
    talk.transfer().await;
    let metrics = talk.metrics.clone();
    talk.client.raw(&Header { len: (1 << 20) + 1, seq: 0 }.to_bytes()).await;
    refused(talk, 1, Own::StatementTooLarge).await;
    assert_eq!(outcomes(&metrics), [0, 1, 0, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_statement_of_several_frames_is_refused_at_the_frame_that_is_too_much() {
    let max = PAYLOAD_MAX + 1000;
    for (second, fits) in [(1000, true), (1001, false)] {
        let mut talk = Setup { statement_max: max, ..setup(RETRY) }.open().await;
        let Talk { client, server, .. } = &mut talk;
        let mut first = Header { len: PAYLOAD_MAX, seq: 0 }.to_bytes().to_vec();
        first.push(Command::QUERY.0);
        first.resize(first.len() + PAYLOAD_MAX - 1, b'x');
        let (_, got) = tokio::join!(client.raw(&first), server.end().bytes(first.len()));
        assert!(got == first, "the first frame passes");
        let header = Header { len: second, seq: 1 }.to_bytes();
        client.raw(&header).await;
        if fits {
            client.raw(&vec![b'y'; second]).await;
            let got = server.end().bytes(header.len() + second).await;
            assert_eq!(got[..4], header);
            talk.answer(&ok(AUTO)).await;
            talk.bye().await;
        } else {
            refused(talk, 2, Own::StatementTooLarge).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_refusal_follows_the_answers_that_are_still_to_come() {
    let mut talk = Setup { statement_max: 2000, ..setup(RETRY) }.open().await;
    talk.client.send_all(&[query("SELECT 1"), query("SELECT 2"), query(&"x".repeat(2000))]).await;
    talk.server.expect(&query("SELECT 1")).await;
    talk.server.expect(&query("SELECT 2")).await;
    talk.client.silent().await;
    talk.answer(&rows(&["1"], AUTO)).await;
    talk.client.silent().await;
    talk.answer(&rows(&["2"], AUTO)).await;
    refused(talk, 1, Own::StatementTooLarge).await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_still_sending_is_heard_out_before_it_is_closed() {
    let max = 1 << 20;
    let mut talk = Setup { statement_max: max, ..setup(RETRY) }.open().await;
    // Much more than the pipe holds: the client is stuck unless somebody reads.
    let text = "x".repeat(max * 4);
    timeout(SECOND, talk.client.query(&text)).await.expect("it is read");
    refused(talk, 1, Own::StatementTooLarge).await;
}

#[tokio::test(start_paused = true)]
async fn a_parameter_that_comes_in_pieces_is_no_silence() {
    let mut talk = impatient().open().await;
    talk.step(&prepare("INSERT INTO t VALUES (?)"), &prepare_ok(false, 1, 1, 0)).await;
    let piece = command(Command::STMT_SEND_LONG_DATA, &[1, 0, 0, 0, 0, 0, b'x']);
    for _ in 0..4 {
        sleep(SECOND * 9).await;
        talk.client.send(&piece).await;
        talk.server.expect(&piece).await;
    }
    talk.step(&execute(1), &changed(1, AUTO)).await;
    refused(talk, 0, Own::Idle).await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_still_reads_its_answer_is_not_silent() {
    let mut talk = impatient().pipes(1000, 64 << 10).open().await;
    let answer = rows(&[&"x".repeat(20_000)], AUTO);
    talk.client.query("SELECT v FROM t").await;
    talk.server.expect(&query("SELECT v FROM t")).await;
    talk.server.reply(&answer).await;
    sleep(SECOND * 30).await;
    talk.client.expect(&answer).await;
    sleep(SECOND * 9).await;
    talk.usable().await;
    refused(talk, 0, Own::Idle).await;
}
