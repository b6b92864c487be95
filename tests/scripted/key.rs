//! Idempotency keys.

use txguard::store::idempotency::Used;
use txguard::store::receipts::ReceiptKey;
use txguard::wire::status::Status;

use super::harness::{RETRY, Talk, open as open_plain};
use super::receipt::{BARE, MORE, POLICY, open, with};
use super::words::*;

const KEY: &str = "CALL txguard.idempotency_key('order 7')";
const WRITE: &str = "UPDATE t SET v = 6 WHERE id = 1";

impl Talk {
    async fn refused(&mut self, code: u16) {
        let (seq, packet) = self.client.packet().await;
        let [_, low, high, ..] = packet[..] else { panic!("an error") };
        assert_eq!((packet[0], seq, u16::from_le_bytes([low, high])), (0xFF, 1, code));
    }

    async fn key(&mut self) {
        self.client.query(KEY).await;
        self.client.expect(&ok(AUTO)).await;
    }

    /// A transaction with a key, up to its COMMIT; returns the digest that was sent.
    async fn keyed(&mut self) -> u128 {
        self.key().await;
        self.first_begin(&ok(AUTO)).await;
        self.sql(WRITE, &changed(1, TX)).await;
        self.client.query("COMMIT").await;
        self.hears_key().await
    }

    async fn hears_key(&mut self) -> u128 {
        let heard = self.server.heard().await;
        let [receipt, key, commit] = heard.split(';').collect::<Vec<_>>()[..] else {
            panic!("three statements: {heard}")
        };
        assert!(receipt.starts_with("INSERT INTO txguard.receipts"), "{receipt}");
        // 'order 7' of app, without a schema.
        assert!(key.contains("VALUES (X'617070', X'', X'6F726465722037', "), "{key}");
        assert_eq!(commit, "COMMIT");
        let (_, digest) = key.rsplit_once("X'").expect("the digest");
        u128::from_str_radix(digest.trim_end_matches("')"), 16).expect("hexadecimal")
    }
}

fn by_another(fingerprint: u128) -> Used {
    let txn = "01890a5d-ac96-774b-bcce-b302099a8057".parse().expect("an id");
    Used { by: ReceiptKey { txn, attempt: 1 }, fingerprint }
}

#[tokio::test(start_paused = true)]
async fn a_key_is_written_once_with_its_transaction() {
    let (mut talk, _) = open(POLICY, None).await;
    talk.keyed().await;
    talk.server.reply(&ok(MORE).then(ok(MORE)).then(ok(AUTO))).await;
    talk.client.expect(&ok(AUTO)).await;
    // The next transaction has none.
    talk.sql("BEGIN", &ok(TX)).await;
    talk.sql(WRITE, &changed(1, TX)).await;
    talk.client.query("COMMIT").await;
    assert_eq!(talk.server.heard().await.split(';').count(), 2);
    talk.server.reply(&ok(MORE).then(ok(AUTO))).await;
    talk.client.expect(&ok(AUTO)).await;
}

#[tokio::test(start_paused = true)]
async fn a_comment_brings_it_too() {
    let (mut talk, _) = open(POLICY, None).await;
    let begin = "/*idempotency_key='order%207'*/ BEGIN";
    talk.client.query(begin).await;
    talk.server.expect(&query(txguard::store::receipts::PROBE)).await;
    talk.server.expect(&query(begin)).await;
    talk.server.reply(&ok(AUTO)).await;
    talk.answer(&ok(TX)).await;
    talk.sql(WRITE, &changed(1, TX)).await;
    talk.client.query("COMMIT").await;
    talk.hears_key().await;
    talk.server.reply(&ok(MORE).then(ok(MORE)).then(ok(AUTO))).await;
    talk.client.expect(&ok(AUTO)).await;
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_used_up_begins_nothing() {
    let (mut talk, verdicts) = open(POLICY, None).await;
    *verdicts.used.lock().expect("whole") = Some(by_another(1));
    talk.key().await;
    talk.client.query("BEGIN").await;
    talk.refused(17015).await;
    talk.server.silent().await;
    // It was for that transaction only.
    talk.first_begin(&ok(AUTO)).await;
    talk.sql("ROLLBACK", &ok(AUTO)).await;
    talk.usable().await;
}

#[tokio::test(start_paused = true)]
async fn a_faster_one_wins_and_the_error_tells_whether_it_said_the_same() {
    for (same, code) in [(true, 17015), (false, 17016)] {
        // The row is there: at once, or at COMMIT in an optimistic transaction.
        for early in [true, false] {
            let (mut talk, verdicts) = open(POLICY, None).await;
            let digest = talk.keyed().await;
            *verdicts.used.lock().expect("whole") = Some(by_another(digest ^ u128::from(!same)));
            let duplicate = err(1062, "Duplicate entry 'x' for key 'idempotency_keys.PRIMARY'");
            let reply = match early {
                true => ok(MORE).then(duplicate),
                false => ok(MORE).then(ok(MORE)).then(duplicate),
            };
            talk.server.reply(&reply).await;
            talk.again("ROLLBACK", &ok(AUTO)).await;
            talk.refused(code).await;
            talk.usable().await;
            assert_eq!(talk.outcomes(), [0, 0, 0, 1, 0]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_duplicate_of_the_client_s_own_is_the_client_s() {
    let (mut talk, _) = open(BARE, None).await;
    talk.keyed().await;
    let duplicate = err(1062, "Duplicate entry '1' for key 't.PRIMARY'");
    talk.server.reply(&ok(MORE).then(ok(MORE)).then(duplicate.clone())).await;
    talk.again("ROLLBACK", &ok(AUTO)).await;
    talk.client.expect(&duplicate).await;
    talk.usable().await;
}

#[tokio::test(start_paused = true)]
async fn a_replay_writes_it_again() {
    let (mut talk, _) = open(POLICY, None).await;
    talk.keyed().await;
    talk.server.reply(&ok(MORE).then(ok(MORE)).then(conflict(1))).await;
    talk.again("ROLLBACK", &ok(AUTO)).await;
    talk.again("BEGIN", &ok(TX)).await;
    talk.again(WRITE, &changed(1, TX)).await;
    talk.hears_key().await;
    talk.server.reply(&ok(MORE).then(ok(MORE)).then(ok(AUTO))).await;
    talk.client.expect(&ok(AUTO)).await;
    assert_eq!(talk.outcomes(), [1, 0, 0, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_can_not_be_written_commits_nothing() {
    for code in [1142, 1146] {
        for at_key in [true, false] {
            let (mut talk, _) = open(POLICY, None).await;
            talk.keyed().await;
            let denied = err(code, "INSERT command denied");
            let reply = if at_key { ok(MORE).then(denied) } else { denied };
            talk.server.reply(&reply).await;
            talk.again("ROLLBACK", &ok(AUTO)).await;
            talk.refused(17017).await;
            talk.usable().await;
            assert_eq!(talk.outcomes(), [0, 0, 0, 1, 0]);
        }
    }
    // The right is missing from the start.
    let (mut talk, _) = open(POLICY, None).await;
    talk.key().await;
    talk.first_begin(&err(1142, "INSERT command denied")).await;
    talk.sql(WRITE, &changed(1, TX)).await;
    talk.client.query("COMMIT").await;
    talk.again("ROLLBACK", &ok(AUTO)).await;
    talk.refused(17017).await;
    talk.key().await;
    talk.client.query("BEGIN").await;
    talk.refused(17017).await;
    talk.usable().await;
}

#[tokio::test(start_paused = true)]
async fn what_would_commit_without_the_key_is_refused() {
    let (mut talk, _) = open(POLICY, None).await;
    talk.key().await;
    talk.first_begin(&ok(AUTO)).await;
    talk.sql(WRITE, &changed(1, TX)).await;
    for text in [
        "CREATE TABLE x (v INT)",
        "BEGIN",
        "COMMIT AND CHAIN",
        "SET autocommit=1",
        "UPDATE t SET v = 1; COMMIT",
        "LOCK TABLES t WRITE",
    ] {
        talk.client.query(text).await;
        talk.refused(17017).await;
    }
    talk.client.query("COMMIT").await;
    talk.hears_key().await;
    talk.server.reply(&ok(MORE).then(ok(MORE)).then(ok(AUTO))).await;
    talk.client.expect(&ok(AUTO)).await;
}

#[tokio::test(start_paused = true)]
async fn while_a_key_waits_nothing_else_may_write() {
    let (mut talk, _) = open(POLICY, None).await;
    talk.key().await;
    for text in [WRITE, "BEGIN; UPDATE t SET v = 1; COMMIT", "CREATE TABLE x (v INT)"] {
        talk.client.query(text).await;
        talk.refused(17017).await;
    }
    talk.sql("SELECT 1", &rows(&["1"], AUTO)).await;
    talk.sql("SET @x = 1", &ok(AUTO)).await;
    talk.first_begin(&ok(AUTO)).await;
    talk.sql("ROLLBACK", &ok(AUTO)).await;
    talk.sql(WRITE, &changed(1, AUTO)).await;
}

#[tokio::test(start_paused = true)]
async fn without_receipts_a_key_is_refused() {
    for policy in ["", RETRY] {
        let mut talk = open_plain(policy).await;
        talk.key().await;
        talk.client.query("BEGIN").await;
        talk.refused(17017).await;
        talk.client.query("/*idempotency_key='x'*/ BEGIN").await;
        talk.refused(17017).await;
        talk.sql("BEGIN", &ok(TX)).await;
        talk.client.query(KEY).await;
        talk.refused(17017).await;
        talk.sql("COMMIT", &ok(AUTO)).await;
        talk.client.query("CALL txguard.idempotency_key('')").await;
        talk.refused(17017).await;
    }
}

#[tokio::test(start_paused = true)]
async fn with_autocommit_off_a_key_waits_for_the_statement_that_opens_a_transaction() {
    let (setup, _) = with(POLICY, None);
    let mut talk = setup.manual().open().await;
    talk.client.query(KEY).await;
    talk.client.expect(&ok(MANUAL)).await;
    talk.client.query("SELECT 1").await;
    talk.server.expect(&query(txguard::store::receipts::PROBE)).await;
    talk.server.expect(&query("ROLLBACK")).await;
    talk.server.expect(&query("SELECT 1")).await;
    talk.server.reply(&ok(TX0)).await;
    talk.server.reply(&ok(MANUAL)).await;
    talk.answer(&rows(&["1"], MANUAL)).await;
    for text in ["CALL p()", "CREATE TABLE x (v INT)"] {
        talk.client.query(text).await;
        talk.refused(17017).await;
    }
    talk.sql(WRITE, &changed(1, TX0)).await;
    talk.client.query("COMMIT").await;
    talk.hears_key().await;
    let more = TX0 | Status::MORE_RESULTS;
    talk.server.reply(&ok(more).then(ok(more)).then(ok(MANUAL))).await;
    talk.client.expect(&ok(MANUAL)).await;
}

#[tokio::test(start_paused = true)]
async fn a_replay_writes_it_whatever_became_of_the_right() {
    let (setup, _) = with(POLICY, None);
    let (mut talk, mut other) = (setup.open().await, setup.open().await);
    talk.keyed().await;
    // The same user from another host, where nothing was granted.
    other.sql("BEGIN", &ok(TX)).await;
    other.sql(WRITE, &changed(1, TX)).await;
    other.client.query("COMMIT").await;
    assert!(other.server.heard().await.starts_with("INSERT INTO txguard.receipts"));
    other.server.reply(&err(1142, "INSERT command denied")).await;
    other.again("COMMIT", &ok(AUTO)).await;
    other.client.expect(&ok(AUTO)).await;
    talk.server.reply(&ok(MORE).then(ok(MORE)).then(conflict(1))).await;
    talk.again("ROLLBACK", &ok(AUTO)).await;
    talk.again("BEGIN", &ok(TX)).await;
    talk.again(WRITE, &changed(1, TX)).await;
    talk.hears_key().await;
}

#[tokio::test(start_paused = true)]
async fn a_long_statement_is_part_of_a_transaction_with_a_key() {
    for policy in [POLICY, BARE] {
        let (setup, _) = with(policy, None);
        let mut talk = setup.pipes(4 << 20, 4 << 20).open().await;
        talk.key().await;
        talk.first_begin(&ok(AUTO)).await;
        let long = |len: usize| format!("INSERT INTO t VALUES ('{}')", "x".repeat(len));
        talk.sql(&long(100 << 10), &changed(1, TX)).await;
        // Longer than what is looked at: it may hide a COMMIT.
        talk.client.query(&long(2 << 20)).await;
        talk.refused(17017).await;
        talk.client.gone().await;
        talk.server.gone().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_statement_that_nobody_has_seen_prepared_may_be_a_commit() {
    let (mut talk, _) = open(BARE, None).await;
    talk.key().await;
    talk.client.send(&execute(u32::MAX)).await;
    talk.refused(17017).await;
    talk.first_begin(&ok(AUTO)).await;
    talk.client.send(&execute(u32::MAX)).await;
    talk.refused(17017).await;
    talk.client.query("COMMIT").await;
    talk.hears_key().await;
}

#[tokio::test(start_paused = true)]
async fn a_comment_whose_key_would_not_be_taken_is_refused() {
    const COMMENT: &str = "/*idempotency_key='order%207'*/";
    let (mut talk, _) = open(POLICY, None).await;
    talk.client.send(&prepare(&format!("{COMMENT} BEGIN"))).await;
    talk.refused(17017).await;
    talk.client.query(&format!("{COMMENT} BEGIN; UPDATE t SET v = 1; COMMIT")).await;
    talk.refused(17017).await;
    for begin in ["/*idempotency_key=7*/ BEGIN", "/*idempotency_key='%FF'*/ BEGIN"] {
        talk.client.query(begin).await;
        talk.refused(17017).await;
    }
    talk.client.query("BEGIN /*idempotency_key='order%207'*/").await;
    talk.refused(17017).await;
    talk.first_begin(&ok(AUTO)).await;
    talk.sql(WRITE, &changed(1, TX)).await;
    // Inside a transaction it is a comment like any other.
    talk.sql(&format!("{COMMENT} {WRITE}"), &changed(1, TX)).await;
    // It would commit what is open, and begin without the key.
    talk.client.query(&format!("{COMMENT} BEGIN")).await;
    talk.refused(17017).await;
    talk.sql("ROLLBACK", &ok(AUTO)).await;
    // A write of its own would be done as often as it comes.
    talk.client.query(&format!("{COMMENT} {WRITE}")).await;
    talk.refused(17017).await;
    talk.sql(&format!("{COMMENT} SELECT 1"), &ok(AUTO)).await;

    let (setup, _) = with(POLICY, None);
    let mut talk = setup.manual().open().await;
    for text in ["UPDATE t SET v = 1; COMMIT", "CALL p()"] {
        talk.client.query(&format!("{COMMENT} {text}")).await;
        talk.refused(17017).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_outside_of_any_transaction_is_taken_back_behind_its_packet() {
    let (mut talk, verdicts) = open(BARE, None).await;
    talk.keyed().await;
    let more = AUTO | Status::MORE_RESULTS;
    let frames = ok(more).then(ok(more)).then(ok(AUTO)).frames(1);
    let (first, rest) = frames.split_at(ok(more).frames(1).len());
    talk.server.raw(first).await;
    talk.client.silent().await;
    assert!(verdicts.discarded().is_empty(), "the key is still to be written");
    talk.server.raw(rest).await;
    talk.client.expect(&ok(AUTO)).await;
    talk.usable().await;
    assert_eq!(verdicts.discarded(), [1]);
}
