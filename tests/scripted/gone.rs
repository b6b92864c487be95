//! One side ends the connection, at every point.

use std::time::Duration;

use txguard::base::metrics::ReplayOutcome::{BackendLost, ClientGone};
use txguard::session::End;
use txguard::wire::command::Command;

use super::harness::{RETRY, Talk, open, outcomes, setup};
use super::words::*;

/// The server closes; what reached the client before, and the outcomes.
async fn backend_closes(talk: Talk) -> (Vec<u8>, [u64; 5]) {
    let Talk { mut client, server, metrics, .. } = talk;
    drop(server);
    let rest = client.rest().await;
    // The outcome is counted before the client's stream is closed.
    (rest, outcomes(&metrics))
}

#[tokio::test(start_paused = true)]
async fn an_idle_session_ends_with_its_backend() {
    let mut talk = open(RETRY).await;
    talk.usable().await;
    assert_eq!(backend_closes(talk).await, (vec![], [0; 5]));
}

#[tokio::test(start_paused = true)]
async fn an_idle_session_ends_with_its_client() {
    let mut talk = open(RETRY).await;
    talk.usable().await;
    talk.bye().await;
}

#[tokio::test(start_paused = true)]
async fn before_commit_a_lost_backend_rolls_back() {
    let mut talk = open(RETRY).await;
    talk.sql("BEGIN", &ok(TX)).await;
    assert_eq!(backend_closes(talk).await, (vec![], [0, 1, 0, 0, 0]));
    let mut talk = open(RETRY).await;
    talk.transfer().await;
    talk.client.query("UPDATE t SET v = 9").await;
    talk.server.expect(&query("UPDATE t SET v = 9")).await;
    assert_eq!(backend_closes(talk).await, (vec![], [0, 1, 0, 0, 0]));
}

#[tokio::test(start_paused = true)]
async fn behind_begin_without_an_answer_there_is_no_transaction() {
    let mut talk = open(RETRY).await;
    talk.client.query("BEGIN").await;
    talk.server.expect(&query("BEGIN")).await;
    assert_eq!(backend_closes(talk).await, (vec![], [0; 5]));
}

#[tokio::test(start_paused = true)]
async fn behind_every_commit_point_the_outcome_is_unknown_and_nothing_is_said() {
    for text in [
        "COMMIT",
        "BEGIN",
        "START TRANSACTION",
        "CREATE TABLE x (v INT)",
        "SET autocommit = 1",
        "UPDATE t SET v = 1; COMMIT",
        "/*!40101 COMMIT */",
        "LOCK TABLES t WRITE",
        "COMMIT AND CHAIN",
        "EXECUTE s",
        "CALL p()",
    ] {
        for part in [0, 3] {
            let mut talk = open(RETRY).await;
            talk.transfer().await;
            talk.client.query(text).await;
            talk.server.expect(&query(text)).await;
            let frame = ok(AUTO).frames(1);
            talk.server.raw(&frame[..part]).await;
            let (rest, outcomes) = backend_closes(talk).await;
            assert!(rest.len() <= part, "{text}: the client hears {rest:?}");
            assert_eq!(outcomes, [0, 0, 0, 0, 1], "{text}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn behind_a_prepared_commit_the_outcome_is_unknown() {
    for text in ["COMMIT", "BEGIN", "CREATE TABLE x (v INT)"] {
        let mut talk = open(RETRY).await;
        talk.step(&prepare(text), &prepare_ok(false, 1, 0, 0)).await;
        talk.transfer().await;
        talk.client.send(&execute(1)).await;
        talk.server.expect(&execute(1)).await;
        assert_eq!(backend_closes(talk).await, (vec![], [0, 0, 0, 0, 1]), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_commit_whose_client_leaves_is_unknown() {
    let mut talk = open(RETRY).await;
    talk.transfer().await;
    talk.client.query("COMMIT").await;
    talk.server.expect(&query("COMMIT")).await;
    let metrics = talk.bye().await;
    assert_eq!(outcomes(&metrics), [0, 0, 0, 0, 1]);
}

#[tokio::test(start_paused = true)]
async fn in_the_middle_of_a_result_the_client_has_what_came() {
    let reply = rows(&["1", "2", "3"], TX);
    let frames = reply.frames(1);
    for part in 0..frames.len() {
        let mut talk = open(RETRY).await;
        talk.transfer().await;
        talk.client.query("SELECT v FROM t").await;
        talk.server.expect(&query("SELECT v FROM t")).await;
        talk.server.raw(&frames[..part]).await;
        let (rest, outcomes) = backend_closes(talk).await;
        assert!(frames[..part].starts_with(&rest), "{part}");
        assert_eq!(outcomes, [0, 1, 0, 0, 0], "{part}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_is_lost_at_any_point_of_a_replay_never_gives_an_ok() {
    let journal = [
        ("ROLLBACK", ok(AUTO)),
        ("BEGIN", ok(TX)),
        ("SELECT v FROM t WHERE id = 1", rows(&["5"], TX)),
        ("UPDATE t SET v = 6 WHERE id = 1", changed(1, TX)),
    ];
    // `answered` statements are answered; one more may be heard, and part of its answer sent.
    for answered in 0..journal.len() {
        for (heard, part) in [(false, 0), (true, 0), (true, 1), (true, 6)] {
            let mut talk = open(RETRY).await;
            talk.transfer().await;
            talk.commit_conflicts(1).await;
            for (text, reply) in &journal[..answered] {
                talk.again(text, reply).await;
            }
            if heard {
                let (text, reply) = &journal[answered];
                talk.server.expect(&query(text)).await;
                talk.server.raw(&reply.frames(1)[..part]).await;
            }
            let metrics = talk.metrics.clone();
            let (rest, outcomes) = backend_closes(talk).await;
            assert_eq!(rest, conflict(1).frames(1), "{answered} {heard} {part}");
            assert_eq!(outcomes, [0, 0, 1, 0, 0], "{answered} {heard} {part}");
            assert_eq!(metrics.replays(BackendLost), 1);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_is_lost_at_the_replayed_commit_is_unknown() {
    for part in [0, 5] {
        let mut talk = open(RETRY).await;
        talk.transfer().await;
        talk.commit_conflicts(1).await;
        talk.transfer_again().await;
        talk.server.expect(&query("COMMIT")).await;
        talk.server.raw(&ok(AUTO).frames(1)[..part]).await;
        let (rest, outcomes) = backend_closes(talk).await;
        assert!(rest.len() <= part, "the client hears {rest:?}");
        assert_eq!(outcomes, [0, 0, 0, 0, 1]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_is_lost_in_the_last_rollback_leaves_the_original_error() {
    let mut talk = open(RETRY).await;
    talk.transfer().await;
    talk.commit_conflicts(1).await;
    talk.again("ROLLBACK", &ok(AUTO)).await;
    talk.again("BEGIN", &ok(AUTO)).await;
    talk.server.expect(&query("ROLLBACK")).await;
    let (rest, outcomes) = backend_closes(talk).await;
    assert_eq!((rest, outcomes), (conflict(1).frames(1), [0, 0, 1, 0, 0]));
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_answers_nonsense_in_a_replay_never_gives_an_ok() {
    for nonsense in [
        &[0, 0, 0, 1][..],
        &[1, 0, 0, 1, 0xFE],
        &[2, 0, 0, 1, 0x00, 0x00],
        &[5, 0, 0, 1, 0xFB, 1, 2, 3, 4],
    ] {
        let mut talk = open(RETRY).await;
        talk.transfer().await;
        talk.commit_conflicts(1).await;
        talk.again("ROLLBACK", &ok(AUTO)).await;
        talk.server.expect(&query("BEGIN")).await;
        talk.server.raw(nonsense).await;
        // Whatever happens, no command goes out on a stream that is not understood, …
        tokio::time::sleep(Duration::from_secs(1)).await;
        let Talk { mut client, server, .. } = talk;
        drop(server);
        // … and the client hears its error.
        assert_eq!(client.rest().await, conflict(1).frames(1), "{nonsense:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_while_the_replay_waits_ends_it() {
    let mut setup = setup(
        "[[policy]]\nname='p'\nretry={attempts=3,budget='60s',backoff='10s',backoff_max='10s'}",
    );
    setup.user = "waits";
    let mut talk = setup.open().await;
    talk.transfer().await;
    talk.commit_conflicts(1).await;
    // The pause is up to 10 s long; the client leaves at its beginning.
    talk.again("ROLLBACK", &ok(AUTO)).await;
    tokio::time::sleep(Duration::from_micros(1)).await;
    let metrics = talk.bye().await;
    assert_eq!((outcomes(&metrics), metrics.replays(ClientGone)), ([0, 0, 1, 0, 0], 1));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_during_a_replay_ends_it() {
    // The backend has a statement and does not answer: it may wait for a lock for a minute.
    for answered in 0..4 {
        let mut talk = open(RETRY).await;
        talk.transfer().await;
        talk.commit_conflicts(1).await;
        let journal = [
            ("ROLLBACK", ok(AUTO)),
            ("BEGIN", ok(TX)),
            ("SELECT v FROM t WHERE id = 1", rows(&["5"], TX)),
            ("UPDATE t SET v = 6 WHERE id = 1", changed(1, TX)),
        ];
        for (text, reply) in &journal[..answered] {
            talk.again(text, reply).await;
        }
        talk.server.expect(&query(journal[answered].0)).await;
        let metrics = talk.bye().await;
        assert_eq!((outcomes(&metrics), metrics.replays(ClientGone)), ([0, 0, 1, 0, 0], 1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_sends_ahead_and_leaves_during_a_replay_is_noticed() {
    let mut talk = open(RETRY).await;
    talk.transfer().await;
    talk.client.send_all(&[query("COMMIT"), query("BEGIN"), vec![Command::QUIT.0]]).await;
    talk.server.expect(&query("COMMIT")).await;
    talk.server.reply(&conflict(1)).await;
    talk.again("ROLLBACK", &ok(AUTO)).await;
    talk.server.expect(&query("BEGIN")).await;
    let metrics = talk.bye().await;
    assert_eq!(outcomes(&metrics), [0, 0, 1, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn quit_passes_in_and_out_of_a_transaction() {
    for inside in [false, true] {
        let mut talk = open(RETRY).await;
        if inside {
            talk.transfer().await;
        }
        talk.client.send(&[Command::QUIT.0]).await;
        talk.server.expect(&[Command::QUIT.0]).await;
        let Talk { mut client, server, metrics, .. } = talk;
        drop(server);
        client.gone().await;
        assert_eq!(outcomes(&metrics), [0, u64::from(inside), 0, 0, 0]);
    }
}

#[tokio::test(start_paused = true)]
async fn the_end_is_told_as_it_was() {
    let mut talk = open(RETRY).await;
    talk.usable().await;
    talk.server.close();
    assert_eq!(talk.ended().await, End::BackendGone);
}

#[tokio::test(start_paused = true)]
async fn last_words_of_an_idle_backend_reach_the_client() {
    for pipe in [1, 64] {
        let mut talk = setup(RETRY).pipes(pipe, pipe).open().await;
        let words = err(1927, "Connection was killed");
        talk.server.say(0, &words).await;
        let (rest, outcomes) = backend_closes(talk).await;
        assert_eq!((rest, outcomes), (words.frames(0), [0; 5]));
    }
}
