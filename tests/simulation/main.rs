//! A seeded simulation: sessions between clients that move money and the embedded engine, in one
//! thread, over pipes, in time that stands still until nothing else can happen. At every packet
//! something may go wrong, and the seed decides what.
//!
//! ```text
//! talker ═pipe═ session ═pipe═ backend ─▶ engine ◀─ resolver, asked by sessions
//!    │                            └─ log: which transaction began and committed, in order
//!    └─ story: what it said, what it heard, what it believes
//!                     ▼
//! judge: what committed once more, in the same order on a new engine, without a proxy: every
//!        answer and every row must come out the same
//! ```
//!
//! In half of the runs each COMMIT carries a receipt, and a resolver decides where its answer is
//! lost; it sometimes can't, and its own connection is cut too. As many proxies as connections
//! share one resolver here, which makes no difference: all that it keeps is in the engine.
//!
//! Faults: either side cuts the connection, also in the middle of a frame, before or behind the
//! work, or between a receipt and its COMMIT; answers are late; a COMMIT meets a conflict, a
//! statement a deadlock, a receipt a refusal; an error leaves the fate of a COMMIT open; a COMMIT is
//! carried out when its connection is long gone or its error long said, before a resolver has
//! worked, meanwhile or behind it; an error is said twice, by a server that leaves with it. What
//! must hold: no acknowledged commit is lost, nothing is applied that was said to have failed,
//! nothing is applied twice, no answer of a committed transaction is one that it couldn't have had
//! without a proxy, what a resolver has decided stays so, and a client whose COMMIT with a receipt
//! was cut off gets an answer, unless the resolver can't decide.
//!
//! The login is done before the faults begin: `tests/scripted/login.rs` has those.

mod backend;
#[allow(dead_code, reason = "the scripted dialogues use the rest")]
#[path = "../scripted/client.rs"]
mod client;
#[path = "../support/dice.rs"]
mod dice;
#[allow(dead_code, reason = "the scripted dialogues use the rest")]
#[path = "../scripted/harness.rs"]
mod harness;
mod judge;
mod resolver;
#[allow(dead_code, reason = "the histories use the rest")]
#[path = "../support/rules.rs"]
mod rules;
#[allow(dead_code, reason = "the scripted dialogues use the rest")]
#[path = "../scripted/server.rs"]
mod server;
mod talker;
mod wire;
#[allow(dead_code, reason = "the scripted dialogues use the rest")]
#[path = "../scripted/words.rs"]
mod words;
mod work;
mod world;

use std::sync::Arc;

use rules::WritesOnly;
use tokio::runtime::Builder;
use txguard::txn::replay::Verified;
use world::{Bug, Plan, Tally, World};

/// Plays one seed to its end, on a runtime of its own.
fn play(plan: Plan) -> (World, Result<(), String>) {
    let runtime =
        Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    runtime.block_on(async {
        let world = World::new(plan);
        talker::talk_all(&world).await;
        let verdict = judge::judge(&world);
        (world, verdict)
    })
}

fn verified(seed: u64) -> Plan {
    Plan { seed, rule: Arc::new(Verified), receipts: seed % 2 == 1, bug: None }
}

fn seeds() -> u64 {
    let full = std::env::var_os("TXGUARD_TEST_FULL").is_some_and(|value| !value.is_empty());
    if full { 5_000 } else { 300 }
}

#[test]
fn nothing_is_lost_or_done_twice_whatever_goes_wrong() {
    let mut total = Tally::default();
    for seed in 0..seeds() {
        let (world, verdict) = play(verified(seed));
        if let Err(problem) = verdict {
            panic!("seed {seed}: {problem}\n{}", world.lines());
        }
        total.add(&world.tally());
    }
    eprintln!("{total:?}");
    // The runs are worth something: everything that may happen has happened.
    assert!(total.ok > seeds() && total.failed > seeds() / 4 && total.unknown > seeds() / 10);
    assert!(total.replayed > seeds() / 10 && total.mismatched > 0, "{total:?}");
    assert!(total.unknown_and_applied > 0 && total.unknown_and_not > 0, "{total:?}");
    assert!(total.fates.iter().all(|count| *count > seeds() / 30), "{total:?}");
    assert!(total.faults.values().all(|count| *count > 5) && total.faults.len() == 16, "{total:?}");
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in 0..20 {
        let (first, again) = (play(verified(seed)).0, play(verified(seed)).0);
        let (lines, others) = (first.lines(), again.lines());
        let differs = lines.lines().zip(others.lines()).find(|(line, other)| line != other);
        assert_eq!(differs, None, "seed {seed}");
        assert_eq!(first.hash(), again.hash(), "seed {seed}");
    }
    assert_ne!(play(verified(1)).0.hash(), play(verified(2)).0.hash());
}

/// The first problem within these many seeds.
fn caught(plan: impl Fn(u64) -> Plan, what: &str) {
    let problem = (0..100).find_map(|seed| play(plan(seed)).1.err().map(|text| (seed, text)));
    let (seed, problem) = problem.expect("the judge must notice");
    eprintln!("seed {seed}: {problem}");
    assert!(problem.contains(what), "{problem}");
}

#[test]
fn a_replay_of_only_the_writes_is_caught() {
    caught(|seed| Plan { rule: Arc::new(WritesOnly), ..verified(seed) }, "a single run answers");
}

#[test]
fn a_transaction_that_is_sent_again_after_a_lost_answer_is_caught() {
    caught(|seed| Plan { bug: Some(Bug::SendsAgain), ..verified(seed) }, "applied 2 times");
}

#[test]
fn an_ok_for_a_commit_that_was_never_sent_is_caught() {
    caught(|seed| Plan { bug: Some(Bug::SaysOk), ..verified(seed) }, "applied 0 times");
}

#[test]
fn a_receipt_and_its_commit_as_two_commands_are_caught() {
    caught(|seed| Plan { bug: Some(Bug::TwoCommands), ..verified(seed) }, "applied");
}

#[test]
fn a_resolver_that_only_looks_is_caught() {
    caught(|seed| Plan { bug: Some(Bug::OnlyLooks), ..verified(seed) }, "applied");
}
