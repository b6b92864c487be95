//! An answer that comes out different: ROLLBACK, the original error, a connection without a
//! transaction.

use std::borrow::Cow;
use std::sync::Arc;

use txguard::base::metrics::ReplayOutcome::{Mismatch, Refused, Succeeded};
use txguard::txn::fingerprint::Answer;
use txguard::txn::journal::{Entry, Role};
use txguard::txn::replay::Rule;

use super::harness::{RETRY, Talk, open, setup};
use super::words::*;

/// One statement, its first answer, its second answer.
struct Case {
    name: &'static str,
    text: &'static str,
    first: Reply,
    second: Reply,
}

const READ: &str = "SELECT v FROM t WHERE id = 1";
const SORTED: &str = "SELECT v FROM t ORDER BY v";
const WRITE: &str = "UPDATE t SET v = 1";

fn case(name: &'static str, text: &'static str, first: Reply, second: Reply) -> Case {
    Case { name, text, first, second }
}

fn done(change: impl FnOnce(&mut Done)) -> Reply {
    let mut done = Done::at(TX);
    change(&mut done);
    done.reply()
}

fn different() -> Vec<Case> {
    let two = |status| result(false, &["v", "w"], &[&["5", "6"]], status);
    let end = |status, warnings| {
        let mut reply = rows(&["5"], TX);
        *reply.packets.last_mut().expect("an end") = eof(status, warnings);
        reply
    };
    vec![
        case("a row differs", READ, rows(&["5"], TX), rows(&["6"], TX)),
        case("a row more", READ, rows(&["5"], TX), rows(&["5", "5"], TX)),
        case("a row less", READ, rows(&["5"], TX), rows(&[], TX)),
        case("rows in other places", READ, rows(&["ab"], TX), rows(&["a", "b"], TX)),
        case("one column more", READ, rows(&["5"], TX), two(TX)),
        case("another column name", READ, rows(&["5"], TX), result(false, &["w"], &[&["5"]], TX)),
        case("order with ORDER BY", SORTED, rows(&["5", "6"], TX), rows(&["6", "5"], TX)),
        case(
            "order with LIMIT",
            "SELECT v FROM t LIMIT 2",
            rows(&["5", "6"], TX),
            rows(&["6", "5"], TX),
        ),
        case("a a and b b without order", READ, rows(&["a", "a"], TX), rows(&["b", "b"], TX)),
        case("a a b and a b b", READ, rows(&["a", "a", "b"], TX), rows(&["a", "b", "b"], TX)),
        case("affected rows", WRITE, changed(1, TX), changed(2, TX)),
        case("a warning", WRITE, changed(1, TX), done(|d| (d.affected, d.warnings) = (1, 1))),
        case("warnings of a result", READ, end(TX, 0), end(TX, 1)),
        case(
            "the info text",
            WRITE,
            done(|d| d.info = "Changed: 1"),
            done(|d| d.info = "Changed: 2"),
        ),
        case("no transaction behind it", WRITE, changed(1, TX), changed(1, AUTO)),
        case("no transaction behind a result", READ, rows(&["5"], TX), rows(&["5"], AUTO)),
        case("autocommit", WRITE, changed(1, TX), changed(1, TX0)),
        case("an error instead of OK", WRITE, changed(1, TX), err(1062, "Duplicate entry")),
        case("OK instead of an error", WRITE, err(1062, "Duplicate entry"), changed(1, TX)),
        case("another error", WRITE, err(1062, "Duplicate entry"), err(1048, "can't be null")),
        case(
            "another error text",
            WRITE,
            err(1062, "Duplicate entry '1'"),
            err(1062, "Duplicate entry '2'"),
        ),
        case("a result instead of OK", READ, changed(0, TX), rows(&["5"], TX)),
        case("an error behind rows", READ, rows(&["5"], TX), cut(rows(&["5"], TX), err(1105, "x"))),
        case(
            "a generated id",
            "INSERT INTO t (v) VALUES (1)",
            changed(1, TX),
            done(|d| {
                (d.affected, d.insert_id) = (1, 7);
            }),
        ),
        case("a statement that can't be replayed any more", READ, rows(&["5"], TX), err(8028, "x")),
    ]
}

fn equal() -> Vec<Case> {
    vec![
        case(
            "order without ORDER BY",
            READ,
            rows(&["5", "6", "5"], TX),
            rows(&["6", "5", "5"], TX),
        ),
        case(
            "flags of the plan",
            WRITE,
            changed(1, TX),
            done(|d| (d.affected, d.status) = (1, TX | 0x0020 | 0x0010 | 0x0800)),
        ),
        case("an equal error", WRITE, err(1062, "Duplicate '1'"), err(1062, "Duplicate '1'")),
        case("no rows", READ, rows(&[], TX), rows(&[], TX)),
        case("both ordered", SORTED, rows(&["5", "6"], TX), rows(&["5", "6"], TX)),
    ]
}

/// The last packet is replaced by an error.
fn cut(mut reply: Reply, error: Reply) -> Reply {
    reply.packets.pop();
    reply.then(error)
}

/// Up to the second answer.
async fn run(talk: &mut Talk, case: &Case) {
    talk.sql("BEGIN", &ok(TX)).await;
    talk.sql(case.text, &case.first).await;
    talk.sql("DELETE FROM t WHERE id = 9", &changed(1, TX)).await;
    talk.commit_conflicts(1).await;
    talk.again("ROLLBACK", &ok(AUTO)).await;
    talk.again("BEGIN", &ok(TX)).await;
    talk.again(case.text, &case.second).await;
}

#[tokio::test(start_paused = true)]
async fn any_difference_gives_the_original_error_and_a_usable_connection() {
    for case in different() {
        eprintln!("{}", case.name);
        let mut talk = open(RETRY).await;
        run(&mut talk, &case).await;
        talk.again("ROLLBACK", &ok(AUTO)).await;
        talk.client.expect(&conflict(1)).await;
        talk.usable().await;
        assert_eq!((talk.replays(Mismatch), talk.replays_all()), (1, 1), "{}", case.name);
        assert_eq!(talk.outcomes(), [0, 0, 1, 0, 0], "{}", case.name);
        // The next transaction is guarded again.
        talk.guarded(2).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_must_not_differ_is_no_difference() {
    for case in equal() {
        eprintln!("{}", case.name);
        let mut talk = open(RETRY).await;
        run(&mut talk, &case).await;
        talk.again("DELETE FROM t WHERE id = 9", &changed(1, TX)).await;
        talk.again("COMMIT", &ok(AUTO)).await;
        talk.client.expect(&ok(AUTO)).await;
        talk.usable().await;
        assert_eq!((talk.replays(Succeeded), talk.replays_all()), (1, 1), "{}", case.name);
    }
}

#[tokio::test(start_paused = true)]
async fn rows_that_come_in_pieces_are_compared_as_a_whole() {
    let long = "x".repeat(40_000);
    let other = format!("{}y", &long[1..]);
    let mut talk = setup(RETRY).pipes(100, 100).open().await;
    for (second, equal) in [(&long, true), (&other, false)] {
        talk.sql("BEGIN", &ok(TX)).await;
        talk.sql(READ, &rows(&[&long], TX)).await;
        talk.commit_conflicts(1).await;
        talk.again("ROLLBACK", &ok(AUTO)).await;
        talk.again("BEGIN", &ok(TX)).await;
        talk.again(READ, &rows(&[second], TX)).await;
        if equal {
            talk.again("COMMIT", &ok(AUTO)).await;
            talk.client.expect(&ok(AUTO)).await;
        } else {
            talk.again("ROLLBACK", &ok(AUTO)).await;
            talk.client.expect(&conflict(1)).await;
        }
        talk.usable().await;
    }
}

#[tokio::test(start_paused = true)]
async fn begin_itself_must_come_out_equal() {
    for second in [ok(AUTO), err(9001, "PD server timeout"), conflict(3)] {
        let mut talk = open(RETRY).await;
        talk.transfer().await;
        talk.commit_conflicts(1).await;
        talk.again("ROLLBACK", &ok(AUTO)).await;
        talk.again("BEGIN", &second).await;
        talk.again("ROLLBACK", &ok(AUTO)).await;
        talk.client.expect(&conflict(1)).await;
        talk.usable().await;
        assert_eq!(talk.replays(Mismatch), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_rollback_that_warns_or_fails_refuses_the_replay() {
    let warns = Done { warnings: 1, ..Done::at(AUTO) }.reply();
    for first in [warns, err(1105, "no"), ok(TX), ok(MANUAL)] {
        let mut talk = open(RETRY).await;
        talk.transfer().await;
        talk.commit_conflicts(1).await;
        talk.again("ROLLBACK", &first).await;
        talk.again("ROLLBACK", &ok(AUTO)).await;
        talk.client.expect(&conflict(1)).await;
        talk.usable().await;
        assert_eq!((talk.replays(Refused), talk.replays_all()), (1, 1));
        assert_eq!(talk.outcomes(), [0, 0, 1, 0, 0]);
    }
}

/// A wrong rule: whatever comes is good enough.
struct AcceptsAll;

impl Rule for AcceptsAll {
    fn resend<'a>(&self, _: &Entry, request: &'a [u8]) -> Option<Cow<'a, [u8]>> {
        Some(Cow::Borrowed(request))
    }

    fn accepts(&self, _: &Entry, _: &Answer) -> bool {
        true
    }
}

/// A wrong rule, TiDB's own of old: reads are not repeated.
struct WritesOnly;

impl Rule for WritesOnly {
    fn resend<'a>(&self, entry: &Entry, request: &'a [u8]) -> Option<Cow<'a, [u8]>> {
        (entry.role != Role::Read).then_some(Cow::Borrowed(request))
    }

    fn accepts(&self, entry: &Entry, again: &Answer) -> bool {
        entry.answer.as_ref() == Some(again)
    }
}

#[tokio::test(start_paused = true)]
async fn canary_a_rule_that_accepts_everything_lets_a_wrong_commit_through() {
    for case in different() {
        eprintln!("{}", case.name);
        let mut setup = setup(RETRY);
        setup.rule = Arc::new(AcceptsAll);
        let mut talk = setup.open().await;
        run(&mut talk, &case).await;
        talk.again("DELETE FROM t WHERE id = 9", &changed(1, TX)).await;
        talk.again("COMMIT", &ok(AUTO)).await;
        talk.client.expect(&ok(AUTO)).await;
        assert_eq!(talk.outcomes(), [1, 0, 0, 0, 0], "{}: a lost update", case.name);
    }
}

#[tokio::test(start_paused = true)]
async fn canary_a_rule_that_repeats_only_writes_overlooks_a_changed_read() {
    let mut setup = setup(RETRY);
    setup.rule = Arc::new(WritesOnly);
    let mut talk = setup.open().await;
    talk.transfer().await;
    talk.commit_conflicts(1).await;
    talk.again("ROLLBACK", &ok(AUTO)).await;
    talk.again("BEGIN", &ok(TX)).await;
    // The SELECT, which would have read 7 now, is not asked.
    talk.again("UPDATE t SET v = 6 WHERE id = 1", &changed(1, TX)).await;
    talk.again("COMMIT", &ok(AUTO)).await;
    talk.client.expect(&ok(AUTO)).await;
    assert_eq!(talk.outcomes(), [1, 0, 0, 0, 0], "a lost update");
}
