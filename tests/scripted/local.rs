//! CALLs that txguard answers itself.

use txguard::wire::command::Command;

use super::harness::{RETRY, Talk, open, setup};
use super::words::*;

impl Talk {
    /// The packets of an answer up to its end, which has so many columns and rows.
    pub(crate) async fn hears_result(&mut self, columns: usize, rows: usize) -> Vec<Vec<u8>> {
        let mut packets = Vec::new();
        // The count, definitions, EOF, rows, EOF.
        for seq in 1..=u8::try_from(columns + rows + 3).expect("a small result") {
            let (got, packet) = self.client.packet().await;
            assert_eq!(got, seq);
            packets.push(packet);
        }
        assert_eq!(packets[0], [u8::try_from(columns).expect("few")]);
        packets.drain(columns + 2..columns + 2 + rows).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn the_transaction_that_is_open_is_told() {
    let mut talk = open(RETRY).await;
    talk.client.query("CALL txguard.current_transaction()").await;
    assert!(talk.hears_result(6, 0).await.is_empty(), "none is open");
    talk.transfer().await;
    for text in ["CALL txguard.current_transaction()", "call `txguard`.CURRENT_TRANSACTION ;"] {
        talk.client.query(text).await;
        let rows = talk.hears_result(6, 1).await;
        let told = String::from_utf8_lossy(&rows[0]).into_owned();
        assert!(rows[0].starts_with(&[36]), "an id of 36 characters: {told}");
        assert!(told.ends_with("\u{1}1\u{FFFD}\u{1}p\u{3}YES\u{FFFD}"), "{told:?}");
    }
    talk.server.silent().await;
    // The transaction is as it was: it can still be replayed.
    talk.commit_conflicts(1).await;
    talk.transfer_again().await;
    talk.again("COMMIT", &ok(AUTO)).await;
    talk.client.expect(&ok(AUTO)).await;
    assert_eq!(talk.replays_all(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_transaction_that_is_not_guarded_says_why() {
    let mut talk = open(RETRY).await;
    talk.sql("BEGIN", &ok(TX)).await;
    talk.sql("SELECT SLEEP(1)", &rows(&["0"], TX)).await;
    talk.client.query("CALL txguard.current_transaction()").await;
    let row = talk.hears_result(6, 1).await.remove(0);
    assert!(row.ends_with(b"\x02NO\x05sleep"), "{}", show(&row));
}

#[tokio::test(start_paused = true)]
async fn prepared_calls_are_answered_in_the_binary_form() {
    for eof_gone in [false, true] {
        let mut talk = setup(RETRY).deprecate_eof(eof_gone).open().await;
        talk.client.send(&prepare("CALL txguard.current_transaction()")).await;
        let id = 1 << 31;
        talk.client.expect(&prepare_ok(eof_gone, id, 0, 0)).await;
        talk.sql("BEGIN", &ok(TX)).await;
        talk.client.send(&execute(id)).await;
        let mut packets = Vec::new();
        for _ in 0..if eof_gone { 9 } else { 10 } {
            packets.push(talk.client.packet().await.1);
        }
        let row = &packets[if eof_gone { 7 } else { 8 }];
        assert_eq!(row[..3], [0, 0b1001_0000, 36], "start_ts and reason are NULL");
        talk.client.send(&about(Command::STMT_RESET, id)).await;
        talk.client.expect(&ok(TX)).await;
        talk.client.send(&about(Command::STMT_CLOSE, id)).await;
        talk.sql("COMMIT", &ok(AUTO)).await;
        // It is closed: the server may say so.
        talk.step(&execute(id), &err(1243, "Unknown prepared statement")).await;
    }
}

#[tokio::test(start_paused = true)]
async fn answers_keep_their_place_behind_others() {
    let mut talk = open("").await;
    talk.client.send_all(&[query("SELECT 1"), query("CALL txguard.current_transaction()")]).await;
    talk.server.expect(&query("SELECT 1")).await;
    talk.client.silent().await;
    talk.answer(&rows(&["1"], AUTO)).await;
    talk.hears_result(6, 0).await;
    talk.usable().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_no_verb_of_ours_is_for_the_server() {
    let mut talk = open(RETRY).await;
    for text in [
        "CALL txguard.no_such_verb()",
        "CALL shop.current_transaction()",
        "CALL current_transaction()",
        "CALL txguard.current_transaction(1)",
        "CALL txguard.current_transaction(); SELECT 1",
    ] {
        talk.sql(text, &err(1305, "PROCEDURE does not exist")).await;
    }
    talk.client.query("CALL txguard.current_transaction('x')").await;
    let (_, packet) = talk.client.packet().await;
    assert_eq!(packet[..3], [0xFF, 0x7A, 0x42], "17018");
    talk.usable().await;
}

/// Without a sequence that goes on, a compressed leg would be out of step.
#[tokio::test(start_paused = true)]
async fn an_answer_follows_the_request_that_it_is_to() {
    let mut talk = open("").await;
    talk.client.send_from(5, &query("CALL txguard.idempotency_key()")).await;
    let (seq, packet) = talk.client.packet().await;
    assert_eq!((seq, packet[0]), (6, 0xFF));
}
