//! COMMIT with a receipt, and without an answer.

use std::sync::{Arc, Mutex};

use txguard::base::metrics::ReceiptOutcome::{
    self, Committed, NotCommitted, Pending, Refused, Void, Without, Written,
};
use txguard::base::metrics::ReplayOutcome;
use txguard::coordinator::resolver::Fate;
use txguard::policy::Snapshot;
use txguard::session::{Deciding, End, Fates, LookUp, Receipts};
use txguard::store::idempotency::{IdempotencyKey, Used};
use txguard::store::receipts::{PROBE, ReceiptKey};
use txguard::wire::capability::Capabilities;
use txguard::wire::command::Command;
use txguard::wire::status::Status;

use super::harness::{Setup, Talk, outcomes, setup};
use super::words::*;

pub(crate) const POLICY: &str = "[backend]\nservice_user='s'\n[[policy]]\nname='p'\n\
    retry={attempts=3,budget='2s'}\nreceipt=true\n";
/// Receipts for transactions that are not replayed.
pub(crate) const BARE: &str = "[backend]\nservice_user='s'\n[[policy]]\nname='p'\nreceipt=true\n";

/// OK to a receipt: more follows.
pub(crate) const MORE: u16 = TX | Status::MORE_RESULTS;

/// Decides as it is told, and remembers who asked.
#[derive(Default)]
pub(crate) struct Verdicts {
    fate: Option<Fate>,
    asked: Mutex<Vec<u32>>,
    later: Mutex<Vec<u32>>,
    discarded: Mutex<Vec<u32>>,
    pub(crate) used: Mutex<Option<Used>>,
}

impl Fates for Verdicts {
    fn is_ready(&self) -> bool {
        true
    }

    fn resolve<'a>(&'a self, key: ReceiptKey, at: &'a str) -> Deciding<'a> {
        assert_eq!(at, "a:4000");
        self.asked.lock().expect("whole").push(key.attempt);
        let fate = self.fate.expect("nobody needs to ask");
        Box::pin(async move { fate })
    }

    fn resolve_later(&self, key: ReceiptKey, _: &str) {
        self.later.lock().expect("whole").push(key.attempt);
    }

    fn discard(&self, key: ReceiptKey, _: Option<&IdempotencyKey>, _: &str) {
        self.discarded.lock().expect("whole").push(key.attempt);
    }

    fn used<'a>(&'a self, _: &'a IdempotencyKey, _: &'a str) -> LookUp<'a> {
        let used = *self.used.lock().expect("whole");
        Box::pin(async move { Ok(used) })
    }
}

impl Verdicts {
    pub(crate) fn discarded(&self) -> Vec<u32> {
        self.discarded.lock().expect("whole").clone()
    }
}

/// Under this policy, where every question has this answer.
pub(crate) fn with(policies: &str, fate: Option<Fate>) -> (Setup, Arc<Verdicts>) {
    let verdicts = Arc::new(Verdicts { fate, ..Verdicts::default() });
    let receipts = Some(Receipts::new(verdicts.clone()));
    (Setup { receipts, ..setup(policies) }, verdicts)
}

pub(crate) async fn open(policies: &str, fate: Option<Fate>) -> (Talk, Arc<Verdicts>) {
    let (setup, verdicts) = with(policies, fate);
    (setup.open().await, verdicts)
}

impl Talk {
    /// BEGIN of a user whose right is not known.
    pub(crate) async fn first_begin(&mut self, right: &Reply) {
        self.client.query("BEGIN").await;
        self.server.expect(&query(PROBE)).await;
        self.server.expect(&query("BEGIN")).await;
        self.server.reply(right).await;
        self.answer(&ok(TX)).await;
    }

    async fn write(&mut self) {
        self.sql("UPDATE t SET v = 6 WHERE id = 1", &changed(1, TX)).await;
    }

    /// A transaction up to its COMMIT.
    async fn first_write(&mut self) {
        self.first_begin(&ok(AUTO)).await;
        self.write().await;
    }

    /// The packet of a COMMIT of this attempt; its receipt in words.
    async fn hears_receipt(&mut self, attempt: u32) -> String {
        let heard = self.server.heard().await;
        let (receipt, commit) = heard.split_once(';').expect("two statements");
        assert!(receipt.starts_with("INSERT INTO txguard.receipts"), "{receipt}");
        assert!(receipt.contains(&format!("', {attempt}, 1, X'617070', ")), "{receipt}");
        assert_eq!(commit, "COMMIT");
        heard
    }

    async fn commit_is_sent(&mut self, attempt: u32) {
        self.client.query("COMMIT").await;
        self.hears_receipt(attempt).await;
    }

    fn receipts(&self, outcome: ReceiptOutcome) -> u64 {
        self.metrics.receipts(outcome)
    }
}

/// The answer to the packet: a receipt that was taken, and this to COMMIT.
fn taken_and(commit: Reply) -> Reply {
    ok(MORE).then(commit)
}

/// 17014.
fn not_committed() -> Reply {
    let text = b"\xFF\x76\x42#40001txguard: the transaction was not committed; it can be run again";
    Reply::of([text.to_vec()])
}

#[tokio::test(start_paused = true)]
async fn the_right_is_asked_once_and_each_commit_has_its_receipt() {
    let (mut talk, _) = open(POLICY, None).await;
    talk.first_write().await;
    talk.commit_is_sent(1).await;
    talk.server.reply(&taken_and(ok(AUTO))).await;
    talk.client.expect(&ok(AUTO)).await;
    talk.transfer().await;
    talk.commit_is_sent(1).await;
    talk.server.reply(&taken_and(ok(AUTO))).await;
    talk.client.expect(&ok(AUTO)).await;
    talk.usable().await;
    assert_eq!((talk.receipts(Written), talk.outcomes()), (2, [2, 0, 0, 0, 0]));
}

#[tokio::test(start_paused = true)]
async fn two_receipts_differ_and_those_of_equal_statements_agree_in_the_digest() {
    let (mut talk, _) = open(POLICY, None).await;
    let mut heard = Vec::new();
    for (round, comment) in ["", "/*traceparent='x'*/ "].into_iter().enumerate() {
        match round {
            0 => talk.first_begin(&ok(AUTO)).await,
            _ => talk.sql("BEGIN", &ok(TX)).await,
        }
        talk.sql(&format!("{comment}UPDATE t SET v = 6 WHERE id = 1"), &changed(1, TX)).await;
        talk.client.query("COMMIT").await;
        heard.push(talk.hears_receipt(1).await);
        talk.server.reply(&taken_and(ok(AUTO))).await;
        talk.client.expect(&ok(AUTO)).await;
    }
    let digest = |text: &String| text.rsplit_once(", ").map(|(_, digest)| digest.to_owned());
    assert_ne!(heard[0], heard[1]);
    assert_eq!(digest(&heard[0]), digest(&heard[1]));
}

#[tokio::test(start_paused = true)]
async fn who_may_not_write_receipts_commits_without() {
    let (mut talk, _) = open(POLICY, None).await;
    let denied = err(1142, "INSERT command denied to user 'app'@'%' for table 'receipts'");
    talk.first_begin(&denied).await;
    talk.write().await;
    talk.sql("COMMIT", &ok(AUTO)).await;
    // Not asked again for a while.
    talk.transfer().await;
    talk.sql("COMMIT", &ok(AUTO)).await;
    assert_eq!((talk.receipts(Without), talk.outcomes()), (2, [2, 0, 0, 0, 0]));
    tokio::time::sleep(std::time::Duration::from_secs(61)).await;
    talk.first_write().await;
    talk.commit_is_sent(1).await;
    talk.server.reply(&taken_and(ok(AUTO))).await;
    talk.client.expect(&ok(AUTO)).await;
}

#[tokio::test(start_paused = true)]
async fn with_autocommit_off_the_question_leaves_no_transaction_open() {
    let (setup, _) = with(POLICY, None);
    let mut talk = setup.manual().open().await;
    talk.client.query("UPDATE t SET v = 6 WHERE id = 1").await;
    talk.server.expect(&query(PROBE)).await;
    talk.server.expect(&query("ROLLBACK")).await;
    talk.server.expect(&query("UPDATE t SET v = 6 WHERE id = 1")).await;
    talk.server.reply(&ok(TX0)).await;
    talk.server.reply(&ok(MANUAL)).await;
    talk.answer(&changed(1, TX0)).await;
    talk.commit_is_sent(1).await;
    talk.server.reply(&ok(TX0 | Status::MORE_RESULTS).then(ok(MANUAL))).await;
    talk.client.expect(&ok(MANUAL)).await;
    assert_eq!(talk.receipts(Written), 1);
}

#[tokio::test(start_paused = true)]
async fn what_writes_nothing_has_no_receipt() {
    let (mut talk, _) = open(POLICY, None).await;
    talk.first_begin(&ok(AUTO)).await;
    talk.sql("SELECT v FROM t WHERE id = 1", &rows(&["5"], TX)).await;
    talk.sql("COMMIT", &ok(AUTO)).await;
    for ends in ["ROLLBACK", "COMMIT AND CHAIN", "COMMIT RELEASE"] {
        talk.transfer().await;
        talk.sql(ends, &ok(AUTO)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_prepared_commit_carries_it_too() {
    let (mut talk, _) = open(POLICY, None).await;
    talk.step(&prepare("COMMIT"), &prepare_ok(false, 1, 0, 0)).await;
    talk.first_write().await;
    talk.client.send(&execute(1)).await;
    talk.hears_receipt(1).await;
    talk.server.reply(&taken_and(ok(AUTO))).await;
    talk.client.expect(&ok(AUTO)).await;
    assert_eq!(talk.receipts(Written), 1);
}

#[tokio::test(start_paused = true)]
async fn a_client_without_multi_statements_lends_them_for_one_packet() {
    let (mut setup, _) = with(POLICY, None);
    setup.flags &= !Capabilities::MULTI_STATEMENTS;
    let mut talk = setup.open().await;
    talk.first_write().await;
    talk.client.query("COMMIT").await;
    let option = |off: u8| command(Command::SET_OPTION, &[off, 0]);
    talk.server.expect(&option(0)).await;
    talk.hears_receipt(1).await;
    talk.server.expect(&option(1)).await;
    let eof = Reply::of([eof(TX, 0)]);
    talk.server.reply(&eof).await;
    talk.server.reply(&taken_and(ok(AUTO))).await;
    talk.server.reply(&eof).await;
    talk.client.expect(&ok(AUTO)).await;
    talk.usable().await;
    // The client switches them on for itself, and they stay.
    talk.step(&option(0), &eof).await;
    talk.transfer().await;
    talk.commit_is_sent(1).await;
    talk.server.reply(&taken_and(ok(AUTO))).await;
    talk.client.expect(&ok(AUTO)).await;
    talk.usable().await;
    assert_eq!(talk.receipts(Written), 2);
}

#[tokio::test(start_paused = true)]
async fn behind_an_error_the_flags_are_asked_for_first() {
    for (flags, with_receipt) in [(TX, true), (AUTO, false)] {
        let (mut talk, _) = open(BARE, None).await;
        talk.first_write().await;
        talk.sql("INSERT INTO t VALUES (1, 1)", &err(1062, "Duplicate entry")).await;
        talk.server.probe = flags;
        talk.client.query("COMMIT").await;
        match with_receipt {
            true => {
                talk.hears_receipt(1).await;
                talk.server.reply(&taken_and(ok(AUTO))).await;
            }
            false => {
                talk.server.expect(&query("COMMIT")).await;
                talk.server.reply(&ok(AUTO)).await;
            }
        }
        talk.client.expect(&ok(AUTO)).await;
        talk.usable().await;
        assert_eq!(talk.receipts(Written), u64::from(with_receipt));
    }
}

#[tokio::test(start_paused = true)]
async fn a_replay_has_a_receipt_of_its_own() {
    let (mut talk, verdicts) = open(POLICY, None).await;
    talk.first_begin(&ok(AUTO)).await;
    talk.sql("SELECT v FROM t WHERE id = 1", &rows(&["5"], TX)).await;
    talk.write().await;
    talk.commit_is_sent(1).await;
    talk.server.reply(&taken_and(conflict(1))).await;
    talk.transfer_again().await;
    talk.hears_receipt(2).await;
    talk.server.reply(&taken_and(ok(AUTO))).await;
    talk.client.expect(&ok(AUTO)).await;
    talk.usable().await;
    assert_eq!((talk.receipts(Written), talk.replays(ReplayOutcome::Succeeded)), (1, 1));
    assert!(verdicts.asked.lock().expect("whole").is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_right_that_was_taken_away_costs_only_the_receipt() {
    for policy in [POLICY, BARE] {
        let (mut talk, _) = open(policy, None).await;
        talk.first_write().await;
        talk.commit_is_sent(1).await;
        talk.server.reply(&err(1142, "INSERT command denied")).await;
        talk.again("COMMIT", &ok(AUTO)).await;
        talk.client.expect(&ok(AUTO)).await;
        talk.usable().await;
        assert_eq!((talk.receipts(Refused), talk.outcomes()), (1, [1, 0, 0, 0, 0]));
    }
}

#[tokio::test(start_paused = true)]
async fn a_receipt_that_fails_otherwise_stops_the_commit() {
    // A resolver was first, or holds the key: in both cases nothing may commit any more.
    for code in [1062, 1205] {
        let (mut talk, _) = open(BARE, None).await;
        talk.first_write().await;
        talk.commit_is_sent(1).await;
        talk.server.reply(&err(code, "no")).await;
        talk.again("ROLLBACK", &ok(AUTO)).await;
        talk.client.expect(&not_committed()).await;
        talk.usable().await;
        assert_eq!((talk.receipts(NotCommitted), talk.outcomes()), (1, [0, 0, 0, 1, 0]));
        let (mut talk, _) = open(POLICY, None).await;
        talk.first_begin(&ok(AUTO)).await;
        talk.sql("SELECT v FROM t WHERE id = 1", &rows(&["5"], TX)).await;
        talk.write().await;
        talk.commit_is_sent(1).await;
        talk.server.reply(&err(code, "no")).await;
        talk.transfer_again().await;
        talk.hears_receipt(2).await;
        talk.server.reply(&taken_and(ok(AUTO))).await;
        talk.client.expect(&ok(AUTO)).await;
        assert_eq!(talk.outcomes(), [1, 0, 0, 0, 0]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_deadlock_at_the_receipt_is_one_of_the_transaction() {
    let (mut talk, _) = open(POLICY, None).await;
    talk.first_begin(&ok(AUTO)).await;
    talk.sql("SELECT v FROM t WHERE id = 1", &rows(&["5"], TX)).await;
    talk.write().await;
    talk.commit_is_sent(1).await;
    talk.server.reply(&deadlock()).await;
    talk.transfer_again().await;
    talk.hears_receipt(2).await;
    talk.server.reply(&taken_and(ok(AUTO))).await;
    talk.client.expect(&ok(AUTO)).await;
    let (mut talk, _) = open(BARE, None).await;
    talk.first_write().await;
    talk.commit_is_sent(1).await;
    talk.server.reply(&deadlock()).await;
    talk.client.expect(&deadlock()).await;
    assert_eq!(talk.outcomes(), [0, 0, 1, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_receipt_outside_of_any_transaction_is_taken_back() {
    let (mut talk, verdicts) = open(BARE, None).await;
    talk.first_write().await;
    talk.commit_is_sent(1).await;
    talk.server.reply(&ok(AUTO | Status::MORE_RESULTS).then(ok(AUTO))).await;
    talk.client.expect(&ok(AUTO)).await;
    talk.usable().await;
    assert_eq!((talk.receipts(Void), talk.receipts(Written)), (1, 0));
    assert_eq!(*verdicts.discarded.lock().expect("whole"), [1]);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_lost_is_found_or_proven_missing() {
    let whole = taken_and(ok(AUTO)).frames(1);
    for part in 0..whole.len() {
        for (fate, said, outcome) in [
            (Fate::Committed, ok(AUTO).frames(1), Committed),
            (Fate::NotCommitted, not_committed().frames(1), NotCommitted),
            (Fate::Pending, vec![], Pending),
        ] {
            let (mut talk, verdicts) = open(POLICY, Some(fate)).await;
            talk.first_write().await;
            talk.commit_is_sent(1).await;
            talk.server.raw(&whole[..part]).await;
            let Talk { mut client, server, metrics, .. } = talk;
            drop(server);
            assert_eq!(client.rest().await, said, "{part} bytes, {fate:?}");
            assert_eq!(metrics.receipts(outcome), 1);
            assert_eq!(*verdicts.asked.lock().expect("whole"), [1]);
            let later = verdicts.later.lock().expect("whole").len();
            assert_eq!(later, usize::from(fate == Fate::Pending));
            let wanted = match fate {
                Fate::Committed => [1, 0, 0, 0, 0],
                Fate::NotCommitted => [0, 0, 0, 1, 0],
                Fate::Pending => [0, 0, 0, 0, 1],
            };
            assert_eq!(outcomes(&metrics), wanted);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_receipt_nobody_asks() {
    let (mut talk, verdicts) = open(POLICY, None).await;
    talk.first_begin(&err(1146, "no such table")).await;
    talk.write().await;
    talk.client.query("COMMIT").await;
    talk.server.expect(&query("COMMIT")).await;
    let Talk { mut client, server, metrics, .. } = talk;
    drop(server);
    assert!(client.rest().await.is_empty());
    assert_eq!(outcomes(&metrics), [0, 0, 0, 0, 1]);
    assert!(verdicts.asked.lock().expect("whole").is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_error_that_proves_nothing_is_decided() {
    for code in [1105, 9001, 9002, 9003, 9004, 9005, 9008, 9010, 9011] {
        let lost = || err(code, "timeout");
        let (mut talk, _) = open(POLICY, Some(Fate::Committed)).await;
        talk.first_write().await;
        talk.commit_is_sent(1).await;
        talk.server.reply(&taken_and(lost())).await;
        talk.client.expect(&ok(AUTO)).await;
        talk.usable().await;
        assert_eq!(talk.outcomes(), [1, 0, 0, 0, 0]);

        let (mut talk, _) = open(BARE, Some(Fate::NotCommitted)).await;
        talk.first_write().await;
        talk.commit_is_sent(1).await;
        talk.server.reply(&taken_and(lost())).await;
        talk.again("ROLLBACK", &ok(AUTO)).await;
        talk.client.expect(&not_committed()).await;
        talk.usable().await;
        assert_eq!(talk.outcomes(), [0, 0, 0, 1, 0]);

        let (mut talk, verdicts) = open(POLICY, Some(Fate::Pending)).await;
        talk.first_write().await;
        talk.commit_is_sent(1).await;
        talk.server.reply(&taken_and(lost())).await;
        talk.client.gone().await;
        assert_eq!(talk.ended().await, End::BackendGone);
        assert_eq!(talk.outcomes(), [0, 0, 0, 0, 1]);
        assert_eq!(*verdicts.later.lock().expect("whole"), [1]);
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_not_committed_is_replayed() {
    let (mut talk, verdicts) = open(POLICY, Some(Fate::NotCommitted)).await;
    talk.first_begin(&ok(AUTO)).await;
    talk.sql("SELECT v FROM t WHERE id = 1", &rows(&["5"], TX)).await;
    talk.write().await;
    talk.commit_is_sent(1).await;
    talk.server.reply(&taken_and(err(9001, "PD server timeout"))).await;
    talk.transfer_again().await;
    talk.hears_receipt(2).await;
    talk.server.reply(&taken_and(ok(AUTO))).await;
    talk.client.expect(&ok(AUTO)).await;
    talk.usable().await;
    assert_eq!(talk.outcomes(), [1, 0, 0, 0, 0]);
    assert_eq!(*verdicts.asked.lock().expect("whole"), [1]);
    // Another run would give another answer: the client may run it again itself.
    let (mut talk, _) = open(POLICY, Some(Fate::NotCommitted)).await;
    talk.first_begin(&ok(AUTO)).await;
    talk.sql("SELECT v FROM t WHERE id = 1", &rows(&["5"], TX)).await;
    talk.write().await;
    talk.commit_is_sent(1).await;
    talk.server.reply(&taken_and(err(9001, "PD server timeout"))).await;
    talk.again("ROLLBACK", &ok(AUTO)).await;
    talk.again("BEGIN", &ok(TX)).await;
    talk.again("SELECT v FROM t WHERE id = 1", &rows(&["6"], TX)).await;
    talk.again("ROLLBACK", &ok(AUTO)).await;
    talk.client.expect(&not_committed()).await;
    talk.usable().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_sent_ahead_waits_for_the_answer() {
    for policy in [POLICY, BARE] {
        let (mut talk, _) = open(policy, None).await;
        talk.first_write().await;
        talk.client.send_all(&[query("COMMIT"), query("SELECT 1")]).await;
        talk.hears_receipt(1).await;
        talk.server.silent().await;
        talk.server.reply(&taken_and(ok(AUTO))).await;
        talk.client.expect(&ok(AUTO)).await;
        talk.server.expect(&query("SELECT 1")).await;
        talk.answer(&rows(&["1"], AUTO)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_question_leaves_an_open_transaction_alone() {
    // A reload brings the policy while one is open that nobody has looked at.
    let (setup, _) = with("[backend]\nservice_user='s'\n", None);
    let mut talk = setup.manual().open().await;
    talk.sql("UPDATE t SET v = 6 WHERE id = 1", &changed(1, TX0)).await;
    let snapshot = Snapshot::compile(&super::harness::parse(BARE), 2);
    talk.policies.send(Arc::new(snapshot)).expect("a session listens");
    talk.sql("UPDATE t SET v = 6 WHERE id = 2", &changed(1, TX0)).await;
    talk.commit_is_sent(1).await;
    talk.server.reply(&ok(TX0 | Status::MORE_RESULTS).then(ok(MANUAL))).await;
    talk.client.expect(&ok(MANUAL)).await;
}

#[tokio::test(start_paused = true)]
async fn the_question_leaves_what_was_set_for_the_next_transaction_alone() {
    for (refused, policy) in [(false, POLICY), (true, POLICY), (false, BARE), (true, BARE)] {
        let (mut talk, _) = open(policy, None).await;
        talk.sql("SET TRANSACTION ISOLATION LEVEL READ COMMITTED", &ok(AUTO)).await;
        talk.sql("BEGIN", &ok(TX)).await;
        talk.write().await;
        // The receipt asks.
        talk.commit_is_sent(1).await;
        match refused {
            false => talk.server.reply(&taken_and(ok(AUTO))).await,
            true => {
                talk.server.reply(&err(1142, "INSERT command denied")).await;
                talk.again("COMMIT", &ok(AUTO)).await;
            }
        }
        talk.client.expect(&ok(AUTO)).await;
        talk.transfer().await;
        talk.client.query("COMMIT").await;
        match refused {
            false => drop(talk.hears_receipt(1).await),
            true => talk.server.expect(&query("COMMIT")).await,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn where_nothing_can_be_written_the_transaction_commits_without_a_receipt() {
    for code in [1036, 1064, 1099, 1100, 1223, 1290, 1399, 1665, 1792, 1836, 1932, 8130] {
        let (mut talk, _) = open(BARE, None).await;
        talk.first_write().await;
        talk.commit_is_sent(1).await;
        talk.server.reply(&err(code, "no")).await;
        talk.again("COMMIT", &ok(AUTO)).await;
        talk.client.expect(&ok(AUTO)).await;
        talk.usable().await;
        assert_eq!((talk.receipts(Refused), talk.outcomes()), (1, [1, 0, 0, 0, 0]), "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_that_can_not_write_says_nothing_of_its_user() {
    let (mut talk, _) = open(BARE, None).await;
    talk.first_begin(&err(1792, "Cannot execute statement in a READ ONLY transaction")).await;
    talk.sql("ROLLBACK", &ok(AUTO)).await;
    talk.first_write().await;
    talk.commit_is_sent(1).await;
}

#[tokio::test(start_paused = true)]
async fn behind_an_error_that_names_no_cause_only_an_open_transaction_commits() {
    for (flags, open_still) in [(TX, true), (AUTO, false)] {
        let (mut talk, _) = open(BARE, None).await;
        talk.first_write().await;
        talk.commit_is_sent(1).await;
        talk.server.reply(&err(1105, "only support read-only statement")).await;
        talk.server.probe = flags;
        match open_still {
            true => {
                talk.again("COMMIT", &ok(AUTO)).await;
                talk.client.expect(&ok(AUTO)).await;
            }
            false => {
                talk.again("ROLLBACK", &ok(AUTO)).await;
                talk.client.expect(&not_committed()).await;
            }
        }
        talk.usable().await;
        assert_eq!(talk.receipts(Refused), u64::from(open_still));
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_stopped_is_told_also_when_the_server_is_gone_behind_it() {
    for code in [1062, 1205] {
        let (mut talk, _) = open(BARE, None).await;
        talk.first_write().await;
        talk.commit_is_sent(1).await;
        talk.server.reply(&err(code, "no")).await;
        let Talk { mut client, server, metrics, .. } = talk;
        drop(server);
        assert_eq!(client.rest().await, not_committed().frames(1));
        assert_eq!(outcomes(&metrics), [0, 0, 0, 1, 0]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_receipt_that_a_failed_commit_leaves_behind_says_nothing() {
    let (mut talk, _) = open(BARE, Some(Fate::NotCommitted)).await;
    talk.first_write().await;
    talk.commit_is_sent(1).await;
    talk.server.reply(&taken_and(err(1399, "XAER_RMFAIL"))).await;
    talk.client.expect(&err(1399, "XAER_RMFAIL")).await;
    talk.server.probe = TX;
    talk.sql("ROLLBACK TO SAVEPOINT a", &ok(TX)).await;
    talk.client.query("COMMIT").await;
    talk.server.expect(&query("COMMIT")).await;
    let Talk { mut client, server, .. } = talk;
    drop(server);
    // Nobody asks: it would not be found.
    assert!(client.rest().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_prepared_commit_that_chains_is_replayed_as_it_was() {
    let (mut talk, _) = open(POLICY, None).await;
    talk.step(&prepare("COMMIT AND CHAIN"), &prepare_ok(false, 1, 0, 0)).await;
    talk.first_begin(&ok(AUTO)).await;
    talk.sql("SELECT v FROM t WHERE id = 1", &rows(&["5"], TX)).await;
    talk.write().await;
    talk.client.send(&execute(1)).await;
    talk.server.expect(&execute(1)).await;
    talk.server.reply(&conflict(1)).await;
    talk.transfer_again().await;
    talk.server.expect(&execute(1)).await;
    talk.server.reply(&ok(TX)).await;
    talk.client.expect(&ok(TX)).await;
}
