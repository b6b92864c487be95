//! Bad input: no panic, no hang, and bytes pass as they are.

use proptest::prelude::*;
use txguard::session::End;
use txguard::wire::command::Command;

use super::harness::{RETRY, Talk, open, outcomes, setup};
use super::words::*;

#[tokio::test(start_paused = true)]
async fn a_half_packet_and_a_disconnect() {
    let frame = Reply::of([query("SELECT 1")]).frames(0);
    for inside in [false, true] {
        for part in 1..frame.len() {
            let mut talk = open(RETRY).await;
            if inside {
                talk.transfer().await;
            }
            talk.client.raw(&frame[..part]).await;
            talk.server.silent().await;
            let metrics = talk.bye().await;
            assert_eq!(outcomes(&metrics), [0, u64::from(inside), 0, 0, 0]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_reply_that_makes_no_sense_is_relayed_and_not_looked_at() {
    for nonsense in [
        Reply::of([vec![0xFE, 0, 0, 2, 0]]),
        Reply::of([vec![0x00]]),
        Reply::of([vec![0xFF]]),
        Reply::of([vec![]]),
        Reply::of([vec![0xFC, 1]]),
        Reply::of([vec![1], vec![]]),
        Reply::of([vec![1], column("v"), vec![0x01]]),
    ] {
        for inside in [false, true] {
            let mut talk = open(RETRY).await;
            if inside {
                talk.transfer().await;
            }
            talk.sql("SELECT v FROM t", &nonsense).await;
            // Nothing is understood any more; nothing is replayed or held back.
            talk.sql("COMMIT", &conflict(1)).await;
            talk.server.silent().await;
            assert_eq!(talk.replays_all(), 0);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_farewell_that_comes_in_pieces_is_heard_whole() {
    let farewell = err(1053, "Server shutdown in progress").frames(0);
    for part in 0..farewell.len() {
        let mut talk = open(RETRY).await;
        talk.server.raw(&farewell[..part]).await;
        talk.client.silent().await;
        // The client asks before the rest has come, and takes it for its answer.
        talk.client.query("SELECT 1").await;
        talk.server.expect(&query("SELECT 1")).await;
        talk.server.raw(&farewell[part..]).await;
        assert_eq!(talk.client.end().bytes(farewell.len()).await, farewell);
    }
}

#[tokio::test(start_paused = true)]
async fn a_conflict_in_a_reply_that_is_too_short_is_no_conflict() {
    let mut talk = open(RETRY).await;
    talk.transfer().await;
    talk.client.query("COMMIT").await;
    talk.server.expect(&query("COMMIT")).await;
    talk.answer(&Reply::of([vec![0xFF, 0x2F]])).await;
    talk.server.silent().await;
}

#[tokio::test(start_paused = true)]
async fn executions_that_are_too_short_are_relayed() {
    for payload in [
        vec![Command::STMT_EXECUTE.0],
        about(Command::STMT_EXECUTE, 1),
        execute(1),
        vec![Command::STMT_RESET.0, 1],
        vec![Command::STMT_FETCH.0],
        vec![Command::CHANGE_USER.0],
        vec![Command::INIT_DB.0],
        vec![Command::FIELD_LIST.0],
    ] {
        let mut talk = open(RETRY).await;
        talk.step(&prepare("UPDATE t SET v = ?"), &prepare_ok(false, 1, 1, 0)).await;
        talk.sql("BEGIN", &ok(TX)).await;
        talk.step(&payload, &err(1105, "malform packet error")).await;
        talk.sql("COMMIT", &ok(AUTO)).await;
        assert_eq!(talk.replays_all(), 0);
    }
    for payload in [vec![Command::STMT_CLOSE.0], vec![Command::STMT_SEND_LONG_DATA.0, 1]] {
        let mut talk = open(RETRY).await;
        talk.sql("BEGIN", &ok(TX)).await;
        talk.client.send(&payload).await;
        talk.server.expect(&payload).await;
        talk.sql("COMMIT", &ok(AUTO)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_stops_reading_stops_the_backend_and_not_the_memory() {
    let mut talk = setup(RETRY).pipes(1000, 1000).open().await;
    talk.client.query("SELECT v FROM t").await;
    talk.server.expect(&query("SELECT v FROM t")).await;
    let long: Vec<u8> = rows(&[&"x".repeat(250)], AUTO).packets[3].clone();
    let head = rows(&[], AUTO);
    let mut reply = Reply { packets: head.packets[..3].to_vec() };
    reply.packets.extend((0..20_000).map(|_| long.clone()));
    reply.packets.push(head.packets[3].clone());
    let bytes = reply.frames(1);
    assert!(bytes.len() > 4 << 20);
    let stuck = tokio::time::timeout(std::time::Duration::from_secs(60), talk.server.raw(&bytes));
    assert!(stuck.await.is_err(), "5 MB went nowhere");
    let Talk { mut client, mut server, .. } = talk;
    let heard = client.end().bytes(1000).await;
    assert!(bytes.starts_with(&heard));
    drop(client);
    server.gone().await;
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_closes_under_a_client_that_sends() {
    let mut talk = setup(RETRY).pipes(100, 100).open().await;
    talk.server.close();
    let long = query(&"x".repeat(10_000));
    talk.client.end().try_write(&Reply::of([long]).frames(0)).await;
    assert_eq!(talk.ended().await, End::BackendGone);
}

/// Bytes of the client that are nearly a dialogue.
fn nearly() -> impl Strategy<Value = Vec<u8>> {
    let texts = prop::sample::select(vec![
        "BEGIN",
        "COMMIT",
        "ROLLBACK",
        "SELECT 1",
        "UPDATE t SET v = 1",
        "",
        "SET autocommit=0",
    ]);
    let packet = prop_oneof![
        4 => texts.prop_map(query),
        2 => proptest::collection::vec(any::<u8>(), 0..12),
        1 => any::<u8>().prop_map(|first| vec![first, 1, 0, 0, 0]),
    ];
    let framed = packet.prop_map(|packet| Reply::of([packet]).frames(0));
    let noise = proptest::collection::vec(any::<u8>(), 0..6);
    let piece = prop_oneof![8 => framed, 1 => noise];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

/// Bytes of the server that are nearly replies.
fn replies() -> impl Strategy<Value = Vec<u8>> {
    let legal = prop::sample::select(vec![
        ok(TX),
        ok(AUTO),
        ok(0),
        rows(&["1"], TX),
        conflict(1),
        deadlock(),
        err(1062, "x"),
        prepare_ok(false, 1, 1, 1),
        ok(TX | 0x0008),
    ]);
    let noise = proptest::collection::vec(any::<u8>(), 0..6);
    let piece = prop_oneof![8 => legal.prop_map(|reply| reply.frames(1)), 1 => noise];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever both sides say, the session neither panics nor stays when they have left.
    #[test]
    fn noise_from_both_sides_ends_with_the_connections(
        said in nearly(), heard in replies(), pipe in 1_usize..200, client_first: bool,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let mut talk = setup(RETRY).pipes(pipe, pipe).open().await;
            let limit = std::time::Duration::from_secs(5);
            let (client, server) = (&mut talk.client, &mut talk.server);
            let _ = tokio::join!(
                tokio::time::timeout(limit, client.end().try_write(&said)),
                tokio::time::timeout(limit, server.end().try_write(&heard)),
            );
            tokio::time::sleep(limit).await;
            if client_first {
                talk.client.close();
            } else {
                talk.server.close();
            }
            tokio::time::sleep(limit).await;
            // A client that doesn't read may keep the last words of its backend waiting.
            talk.client.close();
            talk.ended().await;
        });
    }
}
