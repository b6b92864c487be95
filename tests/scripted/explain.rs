//! `txguard explain` says what the session does: the same transactions, the same reasons.

use std::collections::BTreeMap;

use txguard::sql::{Classifier, Piece};
use txguard::txn::explain::{Explainer, Protection, Unknown, Verdict};

use super::harness::{self, RETRY, setup};
use super::unguarded::STATEMENTS;
use super::words::*;

/// What a statement does to the flags of the server that is played here.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Does {
    Begin,
    /// COMMIT, ROLLBACK, DDL; a packet with a COMMIT at its end.
    End,
    /// Opens a transaction with autocommit off.
    Touches,
    Nothing,
    /// Is refused within a transaction.
    OneShot,
    Autocommit(bool),
}

/// A server's flags.
struct Model {
    open: bool,
    autocommit: bool,
    /// Whether `SET autocommit = 1` commits where it is on already: TiDB; MySQL doesn't.
    commits: bool,
}

impl Model {
    fn answer(&mut self, does: Does) -> Reply {
        match does {
            Does::Begin => self.open = true,
            Does::End => self.open = false,
            Does::Touches => self.open |= !self.autocommit,
            Does::Nothing => {}
            Does::OneShot if self.open => return err(1568, "a transaction is in progress"),
            Does::OneShot => {}
            Does::Autocommit(on) => {
                self.open &= !on || self.autocommit && !self.commits;
                self.autocommit = on;
            }
        }
        let autocommit = if self.autocommit { AUTO } else { MANUAL };
        ok(autocommit | if self.open { TX0 } else { 0 })
    }
}

/// Unguarded transactions by reason, and all transactions.
type Sums = (BTreeMap<String, usize>, u64);

async fn session(packets: &[(&str, Does)], commits: bool) -> Sums {
    let mut logged_in = setup(RETRY);
    logged_in.schema = Some("bank");
    let mut talk = logged_in.open().await;
    let mut model = Model { open: false, autocommit: true, commits };
    for (text, does) in packets {
        let reply = model.answer(*does);
        talk.sql(text, &reply).await;
    }
    let metrics = talk.bye().await;
    let mut reasons = BTreeMap::new();
    for reason in harness::unguarded(&metrics) {
        *reasons.entry(reason).or_default() += 1;
    }
    (reasons, harness::outcomes(&metrics).iter().sum())
}

fn verdicts(packets: &[(&str, Does)]) -> Vec<Verdict> {
    let classifier = Classifier::new(64);
    let mut explainer = Explainer::new(&classifier, 1 << 20);
    let mut found = Vec::new();
    for (line, (text, _)) in (1..).zip(packets) {
        found.extend(explainer.read(Piece { text: text.as_bytes(), cut: false, line }));
    }
    found.extend(explainer.finish());
    found
}

fn sums(verdicts: &[Verdict]) -> Sums {
    let (mut reasons, mut all) = (BTreeMap::new(), 0);
    for verdict in verdicts {
        all += u64::from(verdict.protection != Protection::Alone);
        if let Protection::Unguarded { why, .. } = &verdict.protection {
            *reasons.entry(why.as_str().to_owned()).or_default() += 1;
        }
    }
    (reasons, all)
}

/// Both agree; on a server that commits where the explainer doesn't expect it, or it has said so.
async fn agree(packets: &[(&str, Does)]) -> Sums {
    let verdicts = verdicts(packets);
    let explained = sums(&verdicts);
    assert_eq!(explained, session(packets, false).await, "{packets:?}");
    let depends = verdicts
        .iter()
        .flat_map(|verdict| &verdict.conditions)
        .any(|condition| matches!(condition.unknown, Unknown::MayCommit | Unknown::EndedBefore));
    let committed = session(packets, true).await;
    assert!(depends || explained == committed, "{packets:?}: {explained:?}, {committed:?}");
    explained
}

#[tokio::test(start_paused = true)]
async fn each_reason_is_the_sessions() {
    for (text, reason) in STATEMENTS {
        let does = if *reason == "ddl" { Does::End } else { Does::Nothing };
        let packets = [
            ("BEGIN", Does::Begin),
            (text, does),
            ("UPDATE t SET v = 1", Does::Touches),
            ("COMMIT", Does::End),
        ];
        let (reasons, _) = agree(&packets).await;
        assert_eq!(reasons.keys().collect::<Vec<_>>(), [reason], "{text}");
    }
}

/// What sequences are made of.
const WORDS: &[(&str, Does)] = &[
    ("BEGIN", Does::Begin),
    ("BEGIN", Does::Begin),
    ("BEGIN", Does::Begin),
    ("BEGIN", Does::Begin),
    ("START TRANSACTION READ ONLY", Does::Begin),
    ("START TRANSACTION /*!40100 WITH CONSISTENT SNAPSHOT */", Does::Begin),
    ("COMMIT", Does::End),
    ("COMMIT", Does::End),
    ("COMMIT", Does::End),
    ("ROLLBACK", Does::End),
    ("UPDATE t SET v = v + 1", Does::Touches),
    ("UPDATE t SET v = v + 1", Does::Touches),
    ("INSERT INTO t VALUES (1)", Does::Touches),
    ("SELECT v FROM t", Does::Touches),
    ("SELECT v FROM t WHERE id = @x", Does::Touches),
    ("SELECT LAST_INSERT_ID()", Does::Nothing),
    ("DELETE FROM t WHERE id = 1", Does::Touches),
    ("SELECT @x FROM t", Does::Touches),
    ("SELECT @x := v FROM t", Does::Touches),
    ("SET @x = 1, time_zone = '+00:00'", Does::Nothing),
    ("SET @x = NOW()", Does::Nothing),
    ("SELECT \"a\" FROM t", Does::Touches),
    ("SELECT @@autocommit", Does::Nothing),
    ("SELECT 1", Does::Nothing),
    ("SHOW TABLES", Does::Nothing),
    ("USE other", Does::Nothing),
    ("USE `a b`", Does::Nothing),
    ("SELECT 1; USE x", Does::Nothing),
    ("EXECUTE s", Does::Nothing),
    ("SAVEPOINT a", Does::Nothing),
    ("ROLLBACK TO a", Does::Nothing),
    ("CREATE TABLE x (v INT)", Does::End),
    ("SET autocommit = 0", Does::Autocommit(false)),
    ("SET autocommit = 1", Does::Autocommit(true)),
    ("SET TRANSACTION READ ONLY", Does::OneShot),
    ("SET NAMES gbk", Does::Nothing),
    ("SET NAMES utf8mb4", Does::Nothing),
    ("SET sql_mode = 'ANSI_QUOTES'", Does::Nothing),
    ("SET sql_mode = ''", Does::Nothing),
    ("/*!40101 SET NAMES utf8 */", Does::Nothing),
    ("SET @txguard_retry = 'off'", Does::Nothing),
    ("SET @txguard_retry = 'on'", Does::Nothing),
    ("SET @txguard_retry = 'on'", Does::Nothing),
    ("/*retry='off'*/ BEGIN", Does::Begin),
    ("/*retry='off'*/ UPDATE t SET v = v + 1", Does::Touches),
    ("BEGIN; UPDATE t SET v = 1", Does::Begin),
    ("SELECT 1; COMMIT", Does::End),
    ("COMMIT; SET TRANSACTION READ ONLY", Does::End),
];

#[tokio::test(start_paused = true)]
async fn any_sequence_comes_out_as_in_the_session() {
    let mut state = 0x5EED_u64;
    let mut next = |below: usize| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).expect("31 bits") % below
    };
    let (mut replayable, mut unguarded) = (0, 0);
    for _ in 0..1000 {
        let packets: Vec<_> = (0..2 + next(9)).map(|_| WORDS[next(WORDS.len())]).collect();
        let (reasons, all) = agree(&packets).await;
        let refused = reasons.values().sum::<usize>();
        unguarded += refused;
        replayable += usize::try_from(all).expect("few") - refused;
    }
    assert!(replayable > 150 && unguarded > 150, "{replayable} and {unguarded}: one-sided");
}
