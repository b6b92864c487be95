//! The commit receipt as a model, checked in every state that it can reach: no database, no time.
//!
//! What is checked is the protocol: which row is written when, by whom, and what may be concluded
//! from it. Every plan that a wrong protocol could follow is a [`Bug`], and the checker has to
//! find each: one that finds nothing in them would prove nothing.

mod receipts;

use std::time::Duration;

use receipts::{Bug, Mode, Receipts};
use stateright::{Checker, Model};
use tokio::time::Instant;

/// A model of this size is searched within this time, in a build without optimisation.
const LIMIT: Duration = Duration::from_secs(60);

/// Every state is visited, every invariant holds in all of them, and what should be possible is.
fn holds(model: Receipts) {
    let (name, start) = (format!("{model:?}"), Instant::now());
    let checker = model.checker().threads(2).timeout(LIMIT).spawn_bfs().join();
    checker.assert_properties();
    let (states, took) = (checker.unique_state_count(), start.elapsed());
    eprintln!("{name}: {states} states, depth {}, {took:.1?}", checker.max_depth());
    // Of a search that was cut short `assert_properties` could not say that it holds.
    assert!(took < LIMIT, "the search was cut short");
    assert!((1_000..2_000_000).contains(&states), "{states} states");
}

/// The checker finds that this property is broken; a way there is told.
fn finds(bug: Bug, mode: Mode, property: &'static str) {
    let model = Receipts { mode, attempts: 2, resolvers: 2, purges: true, bug: Some(bug) };
    let checker = model.checker().threads(1).timeout(LIMIT).spawn_bfs().join();
    let path = checker.assert_any_discovery(property);
    eprintln!("{bug:?}, {mode:?}: {property}: {:?}", path.into_actions());
}

const MODES: [Mode; 3] = [Mode::Pessimistic, Mode::Optimistic, Mode::OptimisticInPlace];

#[test]
fn what_is_said_agrees_with_the_data_for_ever() {
    for mode in MODES {
        holds(Receipts { mode, attempts: 2, resolvers: 2, purges: true, bug: None });
    }
}

#[test]
fn it_does_with_three_resolvers() {
    holds(Receipts { mode: Mode::Pessimistic, attempts: 2, resolvers: 3, purges: true, bug: None });
}

#[test]
fn it_does_with_three_attempts() {
    holds(Receipts { mode: Mode::Pessimistic, attempts: 3, resolvers: 2, purges: true, bug: None });
}

#[test]
fn insert_and_commit_as_two_commands_are_found() {
    // In optimistic mode the INSERT can't fail; its error comes with the COMMIT.
    for mode in [Mode::Pessimistic, Mode::OptimisticInPlace] {
        finds(Bug::Pipelined, mode, receipts::AGREES);
    }
}

/// Whether a replay can commit behind a verdict, when nothing but the protocol is in its way.
fn replays(bug: Option<Bug>) -> bool {
    let mode = Mode::Pessimistic;
    let checker = Receipts { mode, attempts: 2, resolvers: 2, purges: false, bug }.checker();
    let checker = checker.timeout(LIMIT).spawn_bfs().join();
    assert!(checker.is_done(), "every state was visited");
    checker.discovery(receipts::REPLAYED).is_some()
}

#[test]
fn a_key_without_the_attempt_is_found() {
    assert!(replays(None));
    assert!(!replays(Some(Bug::OneKey)), "the resolver's row blocks it");
}

#[test]
fn a_resolver_that_only_reads_is_found() {
    for mode in MODES {
        finds(Bug::OnlyReads, mode, receipts::AGREES);
        finds(Bug::OnlyReads, mode, receipts::TRUE_TO_THE_CLIENT);
        finds(Bug::OnlyReads, mode, receipts::ONCE);
    }
}

#[test]
fn a_resolver_that_trusts_a_commit_without_an_answer_is_found() {
    for mode in MODES {
        finds(Bug::TrustsLostCommit, mode, receipts::AGREES);
    }
}

#[test]
fn a_purge_before_a_late_commit_is_found() {
    for mode in MODES {
        finds(Bug::PurgesBeforeLateCommit, mode, receipts::AGREES);
    }
}

#[test]
fn a_purge_before_the_last_question_is_found() {
    for mode in MODES {
        finds(Bug::PurgesBeforeLastQuestion, mode, receipts::AGREES);
    }
}
