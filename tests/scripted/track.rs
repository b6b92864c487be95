//! Transactions are followed by the status flags of answers, and by nothing else.

use txguard::base::metrics::ReplayOutcome::Succeeded;
use txguard::session::End;
use txguard::wire::command::Command;

use super::harness::{RETRY, Talk, open, setup};
use super::words::*;

/// committed, rolled back, conflict, failed, unknown.
type Outcomes = [u64; 5];

/// A dialogue of statements and answers, and the outcomes behind it.
struct Case {
    name: &'static str,
    manual: bool,
    steps: Vec<(&'static str, Reply)>,
    outcomes: Outcomes,
}

fn auto(name: &'static str, steps: Vec<(&'static str, Reply)>, outcomes: Outcomes) -> Case {
    Case { name, manual: false, steps, outcomes }
}

fn manual(name: &'static str, steps: Vec<(&'static str, Reply)>, outcomes: Outcomes) -> Case {
    Case { name, manual: true, steps, outcomes }
}

fn cases() -> Vec<Case> {
    let more = |status| changed(1, status | 0x0008);
    vec![
        auto("autocommit is no transaction", vec![("UPDATE t", changed(1, AUTO))], [0; 5]),
        auto(
            "explicit",
            vec![("BEGIN", ok(TX)), ("UPDATE t SET v = 1", changed(1, TX)), ("COMMIT", ok(AUTO))],
            [1, 0, 0, 0, 0],
        ),
        auto(
            "every way to say BEGIN",
            [
                "begin",
                "START TRANSACTION",
                "BEGIN OPTIMISTIC",
                "BEGIN PESSIMISTIC",
                "/* a */ START TRANSACTION READ WRITE",
                "START TRANSACTION WITH CONSISTENT SNAPSHOT",
            ]
            .into_iter()
            .flat_map(|begin| [(begin, ok(TX)), ("COMMIT", ok(AUTO))])
            .collect(),
            [6, 0, 0, 0, 0],
        ),
        auto("rollback", vec![("BEGIN", ok(TX)), ("ROLLBACK", ok(AUTO))], [0, 1, 0, 0, 0]),
        auto(
            "an error inside leaves it open",
            vec![
                ("BEGIN", ok(TX)),
                ("INSERT INTO t VALUES (1)", err(1062, "Duplicate")),
                ("SELECT nothing", err(1054, "Unknown column")),
                ("COMMIT", ok(AUTO)),
            ],
            [1, 0, 0, 0, 0],
        ),
        auto(
            "an error at commit ends it",
            vec![("BEGIN", ok(TX)), ("COMMIT", err(1062, "Duplicate")), ("SELECT 1", ok(AUTO))],
            [0, 0, 0, 1, 0],
        ),
        auto(
            "an error at commit that says nothing",
            vec![("BEGIN", ok(TX)), ("COMMIT", err(9005, "Region")), ("SELECT 1", ok(AUTO))],
            [0, 0, 0, 0, 1],
        ),
        auto(
            "DDL commits",
            vec![("BEGIN", ok(TX)), ("CREATE TABLE x (v INT)", ok(AUTO)), ("SELECT 1", ok(AUTO))],
            [1, 0, 0, 0, 0],
        ),
        auto(
            "DDL that fails name resolution does not",
            vec![
                ("BEGIN", ok(TX)),
                ("DROP TABLE nothing", err(1051, "Unknown table")),
                ("SELECT 1", ok(TX)),
                ("ROLLBACK", ok(AUTO)),
            ],
            [0, 1, 0, 0, 0],
        ),
        auto(
            "BEGIN inside commits and begins",
            vec![("BEGIN", ok(TX)), ("BEGIN", ok(TX)), ("BEGIN", ok(TX)), ("ROLLBACK", ok(AUTO))],
            [2, 1, 0, 0, 0],
        ),
        auto(
            "BEGIN inside fails as a commit does",
            vec![("BEGIN", ok(TX)), ("BEGIN", err(1062, "Duplicate")), ("SELECT 1", ok(AUTO))],
            [0, 0, 0, 1, 0],
        ),
        auto(
            "COMMIT AND CHAIN",
            vec![("BEGIN", ok(TX)), ("COMMIT AND CHAIN", ok(TX)), ("COMMIT", ok(AUTO))],
            [2, 0, 0, 0, 0],
        ),
        auto(
            "ROLLBACK AND CHAIN",
            vec![("BEGIN", ok(TX)), ("ROLLBACK AND CHAIN", ok(TX)), ("ROLLBACK", ok(AUTO))],
            [0, 2, 0, 0, 0],
        ),
        auto(
            "a savepoint is no end",
            vec![
                ("BEGIN", ok(TX)),
                ("SAVEPOINT a", ok(TX)),
                ("ROLLBACK TO a", ok(TX)),
                ("COMMIT", ok(AUTO)),
            ],
            [1, 0, 0, 0, 0],
        ),
        auto(
            "SET autocommit=1 inside BEGIN changes nothing on TiDB",
            vec![("BEGIN", ok(TX)), ("SET autocommit=1", ok(TX)), ("ROLLBACK", ok(AUTO))],
            [0, 1, 0, 0, 0],
        ),
        auto(
            "a hidden begin and a hidden commit",
            vec![("/*!40101 BEGIN */", ok(TX)), ("/*!40101 COMMIT */", ok(AUTO))],
            [1, 0, 0, 0, 0],
        ),
        auto(
            "a commit within several statements",
            vec![
                ("BEGIN", ok(TX)),
                ("UPDATE t SET v = 1; COMMIT", more(TX).then(ok(AUTO))),
                ("SELECT 1", ok(AUTO)),
            ],
            [1, 0, 0, 0, 0],
        ),
        auto(
            "several statements that stop at an error leave it open",
            vec![
                ("BEGIN", ok(TX)),
                ("UPDATE t SET v = 1; INSERT x; COMMIT", more(TX).then(err(1062, "Duplicate"))),
                ("SELECT 1", ok(TX)),
                ("COMMIT", ok(AUTO)),
            ],
            [1, 0, 0, 0, 0],
        ),
        auto(
            "a conflict of an implicit commit is told by the next flags",
            vec![
                ("BEGIN", ok(TX)),
                ("CREATE TABLE x (v INT)", conflict(1)),
                ("SELECT 1", rows(&["1"], AUTO)),
            ],
            [0, 0, 1, 0, 0],
        ),
        auto(
            "an error that ended it, and may have committed, is told by the next flags",
            vec![
                ("BEGIN", ok(TX)),
                ("CREATE TABLE x (v INT)", err(9005, "Region")),
                ("SELECT 1", rows(&["1"], AUTO)),
            ],
            [0, 0, 0, 0, 1],
        ),
        auto(
            "an error of a statement, and then COMMIT, is a commit",
            vec![
                ("BEGIN", ok(TX)),
                ("CREATE TABLE x (v INT)", conflict(1)),
                ("SELECT 1", rows(&["1"], TX)),
                ("CREATE TABLE y (v INT)", ok(AUTO)),
            ],
            [1, 0, 0, 0, 0],
        ),
        manual(
            "autocommit off: SELECT 1 opens nothing",
            vec![
                ("SELECT 1", rows(&["1"], MANUAL)),
                ("SET NAMES utf8mb4", ok(MANUAL)),
                ("COMMIT", ok(MANUAL)),
                ("SELECT 1", rows(&["1"], MANUAL)),
            ],
            [0; 5],
        ),
        manual(
            "autocommit off: a statement that needs data opens one",
            vec![
                ("SELECT 1", rows(&["1"], MANUAL)),
                ("SELECT v FROM t", rows(&["1"], TX0)),
                ("COMMIT", ok(MANUAL)),
                ("UPDATE t SET v = 1", changed(1, TX0)),
                ("ROLLBACK", ok(MANUAL)),
            ],
            [1, 1, 0, 0, 0],
        ),
        manual(
            "autocommit off: BEGIN",
            vec![("BEGIN", ok(TX0)), ("COMMIT", ok(MANUAL))],
            [1, 0, 0, 0, 0],
        ),
        manual(
            "autocommit off: BEGIN inside",
            vec![
                ("UPDATE t SET v = 1", changed(1, TX0)),
                ("BEGIN", ok(TX0)),
                ("COMMIT", ok(MANUAL)),
            ],
            [2, 0, 0, 0, 0],
        ),
        manual(
            "autocommit off: switching it on commits",
            vec![("UPDATE t SET v = 1", changed(1, TX0)), ("SET autocommit=1", ok(AUTO))],
            [1, 0, 0, 0, 0],
        ),
        manual(
            "autocommit off: a first statement that fails and opens nothing",
            vec![
                ("INSERT INTO t VALUES (1)", err(1146, "no table")),
                ("SELECT 1", rows(&["1"], MANUAL)),
                ("BEGIN", ok(TX0)),
                ("COMMIT", ok(MANUAL)),
            ],
            [1, 0, 0, 0, 0],
        ),
        manual(
            "autocommit off: a first statement that fails, and BEGIN",
            vec![
                ("INSERT INTO t VALUES (1)", err(1146, "no table")),
                ("BEGIN", ok(TX0)),
                ("COMMIT", ok(MANUAL)),
            ],
            [1, 0, 0, 0, 0],
        ),
        manual(
            "autocommit off: a first statement that fails, and ROLLBACK",
            vec![("INSERT INTO t VALUES (1)", err(1062, "dup")), ("ROLLBACK", ok(MANUAL))],
            [0; 5],
        ),
    ]
}

#[tokio::test(start_paused = true)]
async fn outcomes_are_those_that_the_flags_tell() {
    for case in cases() {
        eprintln!("{}", case.name);
        let setup = match case.manual {
            true => setup(RETRY).manual(),
            false => setup(RETRY),
        };
        let mut talk = setup.open().await;
        for (text, reply) in &case.steps {
            // A conflict of a statement that is no commit point never starts a replay.
            talk.sql(text, reply).await;
        }
        talk.server.silent().await;
        assert_eq!(talk.outcomes(), case.outcomes, "{}", case.name);
        assert_eq!(talk.replays_all(), 0, "{}", case.name);
        let metrics = talk.bye().await;
        assert_eq!(
            super::harness::outcomes(&metrics),
            case.outcomes,
            "{}: none is open",
            case.name
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_transaction_that_begins_inside_another_one_is_guarded_from_its_begin_on() {
    let mut talk = open(RETRY).await;
    talk.transfer().await;
    talk.guarded(1).await;
    assert_eq!((talk.replays(Succeeded), talk.outcomes()), (1, [2, 0, 0, 0, 0]));
}

#[tokio::test(start_paused = true)]
async fn leaving_in_the_middle_rolls_back() {
    let mut talk = open(RETRY).await;
    talk.transfer().await;
    let metrics = talk.bye().await;
    assert_eq!(super::harness::outcomes(&metrics), [0, 1, 0, 0, 0]);
}

async fn first_open() -> Talk {
    let mut talk = open(RETRY).await;
    talk.transfer().await;
    talk
}

#[tokio::test(start_paused = true)]
async fn a_reset_and_a_change_of_user_roll_back() {
    let mut talk = first_open().await;
    talk.step(&[Command::RESET_CONNECTION.0], &ok(AUTO)).await;
    assert_eq!(talk.outcomes(), [0, 1, 0, 0, 0]);
    talk.transfer().await;
    let login = command(Command::CHANGE_USER, b"bob\0\x02xxshop\0\x2d\0mysql_native_password\0");
    talk.step(&login, &ok(AUTO)).await;
    assert_eq!(talk.outcomes(), [0, 2, 0, 0, 0]);
    talk.usable().await;
}

#[tokio::test(start_paused = true)]
async fn a_change_of_user_and_schema_chooses_other_policies() {
    let rules = "[[policy]]\nname='p'\nmatch={users=['bob'],schemas=['shop']}\nretry={}";
    let mut talk = open(rules).await;
    talk.transfer().await;
    talk.sql("COMMIT", &conflict(1)).await;
    let login = command(Command::CHANGE_USER, b"bob\0\x02xxshop\0\x1c\0mysql_native_password\0");
    talk.step(&login, &ok(AUTO)).await;
    talk.transfer().await;
    // It came with gbk.
    talk.sql("COMMIT", &conflict(1)).await;
    assert_eq!(talk.unguarded(), ["charset"]);
    talk.sql("SET NAMES utf8mb4", &ok(AUTO)).await;
    let plain = command(Command::CHANGE_USER, b"bob\0\x02xxshop\0\x2d\0mysql_native_password\0");
    for (payload, guarded) in [
        (plain, true),
        (command(Command::INIT_DB, b"other"), false),
        (query("USE `shop`"), true),
        (query("USE other;"), false),
        (command(Command::INIT_DB, b"SHOP"), true),
    ] {
        talk.step(&payload, &ok(AUTO)).await;
        talk.transfer().await;
        if guarded {
            talk.commit_conflicts(2).await;
            talk.transfer_again().await;
            talk.again("COMMIT", &ok(AUTO)).await;
            talk.client.expect(&ok(AUTO)).await;
        } else {
            talk.sql("COMMIT", &conflict(2)).await;
            talk.server.silent().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_use_that_fails_changes_no_policy() {
    let rules = "[[policy]]\nname='p'\nmatch={schemas=['shop']}\nretry={}";
    let mut talk = open(rules).await;
    talk.sql("USE shop", &err(1049, "Unknown database")).await;
    talk.transfer().await;
    talk.sql("COMMIT", &conflict(1)).await;
    talk.usable().await;
}

#[tokio::test(start_paused = true)]
async fn a_new_policy_is_in_force_from_the_next_transaction_on() {
    let mut talk = open("[[policy]]\nname='p'\nmatch={users=['x']}\nretry={}").await;
    talk.transfer().await;
    let config = super::harness::parse(RETRY);
    let snapshot = txguard::policy::Snapshot::compile(&config, 2);
    talk.policies.send(std::sync::Arc::new(snapshot)).expect("a session listens");
    talk.sql("COMMIT", &conflict(1)).await;
    talk.guarded(2).await;
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_an_idle_session_at_once_and_a_busy_one_behind_its_transaction() {
    let mut talk = open(RETRY).await;
    talk.drain.cancel();
    assert_eq!(talk.ended().await, End::Drained);
    talk.client.gone().await;
    talk.server.gone().await;
    for tail in [("COMMIT", ok(AUTO)), ("ROLLBACK", ok(AUTO)), ("COMMIT", err(1062, "x"))] {
        let mut talk = first_open().await;
        talk.drain.cancel();
        talk.sql("SELECT v FROM t", &rows(&["1"], TX)).await;
        talk.sql(tail.0, &tail.1).await;
        if tail.1 == err(1062, "x") {
            talk.server.expect(&[Command::PING.0]).await;
            talk.server.reply(&ok(AUTO)).await;
        }
        assert_eq!(talk.ended().await, End::Drained);
        talk.client.gone().await;
    }
    // Between a command and its answer it isn't idle either.
    let mut talk = open(RETRY).await;
    talk.client.query("SELECT 1").await;
    talk.server.expect(&query("SELECT 1")).await;
    talk.drain.cancel();
    talk.client.silent().await;
    talk.answer(&rows(&["1"], AUTO)).await;
    assert_eq!(talk.ended().await, End::Drained);
}

#[tokio::test(start_paused = true)]
async fn a_drain_delivers_the_last_answer_through_a_narrow_pipe() {
    let long = rows(&[&"x".repeat(5000)], AUTO);
    let mut talk = setup(RETRY).pipes(10, 64 << 10).open().await;
    talk.client.query("SELECT v FROM t").await;
    talk.server.expect(&query("SELECT v FROM t")).await;
    talk.server.reply(&long).await;
    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    talk.drain.cancel();
    talk.client.expect(&long).await;
    assert_eq!(talk.ended().await, End::Drained);
}
