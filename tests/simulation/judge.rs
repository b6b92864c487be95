//! What must hold when a run is over.

use std::collections::{BTreeMap, HashMap};

use txguard::coordinator::resolver::Fate;
use txguard::embedded::engine::{Answer, Engine, Session, SqlError};

use crate::world::{Belief, Event, Heard, Story, World, fill, plain};

/// The first thing that is wrong.
pub(crate) fn judge(world: &World) -> Result<(), String> {
    beliefs(world)?;
    receipts(world)?;
    let again = single_run(world)?;
    for text in [
        "SELECT v FROM account ORDER BY id",
        "SELECT n FROM hot",
        "SELECT n FROM marker ORDER BY n",
    ] {
        let (found, wanted) = (ask(&world.engine, text), ask(&again, text));
        if found != wanted {
            return Err(format!("{text}: {found:?}, but a single run ends with {wanted:?}"));
        }
    }
    Ok(())
}

/// What each client believes is true, and nothing was applied twice.
fn beliefs(world: &World) -> Result<(), String> {
    let mut applied: BTreeMap<u64, usize> = BTreeMap::new();
    for number in ask(&world.engine, "SELECT n FROM marker") {
        *applied.entry(number.parse().expect("a number")).or_default() += 1;
    }
    for (transaction, story) in world.stories() {
        let count = applied.remove(&transaction).unwrap_or_default();
        let wrong = match story.belief {
            Belief::Committed => count != 1,
            Belief::NotCommitted => count != 0,
            Belief::Unknown => count > 1,
        };
        if wrong {
            let belief = story.belief;
            return Err(format!("transaction {transaction}: {belief:?}, applied {count} times"));
        }
        if story.belief == Belief::Unknown {
            world.unknown_is(count == 1);
        }
    }
    match applied.pop_first() {
        Some((stranger, _)) => Err(format!("nobody has said {stranger}")),
        None => Ok(()),
    }
}

/// Receipts agree with what has committed, resolvers agree with receipts, and a client whose COMMIT
/// with a receipt was cut off stays without an answer only where a decision is pending.
fn receipts(world: &World) -> Result<(), String> {
    let with_receipt = |event: &&Event| matches!(event, Event::Committed { receipt: true, .. });
    let committed = world.events().iter().filter(with_receipt).count();
    let written = ask(&world.engine, "SELECT txn FROM txguard.receipts WHERE outcome = 1").len();
    if written != committed {
        return Err(format!("{committed} commits have left {written} receipts"));
    }
    for (key, fate) in world.decisions() {
        let outcome = ask(&world.engine, &plain(&key.look()));
        if (fate == Fate::Committed) != (outcome == ["1"]) {
            return Err(format!("{key:?}: {fate:?}, and its receipt says {outcome:?}"));
        }
    }
    let (unanswered, [.., pending]) = (world.tally().unanswered, world.tally().fates);
    if world.plan.receipts && unanswered > pending {
        return Err(format!("{unanswered} COMMITs without an answer, {pending} of them pending"));
    }
    Ok(())
}

/// What committed, in the same order on a new engine, each with the snapshot of the run that
/// committed: its answers must be those that its client heard.
fn single_run(world: &World) -> Result<Engine, String> {
    let (engine, stories, events) = (Engine::new(), world.stories(), world.events());
    drop(fill(&engine));
    let committed = |wanted: u64| {
        events.iter().any(|event| matches!(event, Event::Committed { run, .. } if *run == wanted))
    };
    let mut open: HashMap<u64, Session> = HashMap::new();
    for event in &events {
        match event {
            Event::Began { run } if committed(*run) => {
                let mut session = engine.session();
                for text in ["USE test", "BEGIN"] {
                    session.execute(text).expect("it never fails");
                }
                open.insert(*run, session);
            }
            Event::Began { .. } => {}
            Event::Committed { run, transaction, .. } => {
                let session = open.remove(run).expect("it began");
                let story = stories.get(transaction).ok_or("a transaction without a story")?;
                finish(session, *transaction, story)?;
            }
        }
    }
    Ok(engine)
}

fn finish(mut session: Session, transaction: u64, story: &Story) -> Result<(), String> {
    for (text, heard) in story.said.iter().zip(&story.heard) {
        let single = answer(session.execute(text));
        if single != *heard {
            return Err(format!(
                "transaction {transaction}: {text}: the client heard {heard:?}, a single run \
                 answers {single:?}"
            ));
        }
    }
    match session.execute("COMMIT") {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("transaction {transaction}: a single run fails: {error}")),
    }
}

fn answer(result: Result<Answer, SqlError>) -> Heard {
    match result {
        Ok(Answer::Done { affected_rows, .. }) => Heard::Done(affected_rows),
        Ok(Answer::Rows { rows, .. }) => {
            Heard::Rows(rows.iter().map(|row| row[0].to_string()).collect())
        }
        Err(error) => Heard::Error { code: error.code, lost: false },
    }
}

/// The first column of all rows.
fn ask(engine: &Engine, text: &str) -> Vec<String> {
    let mut session = engine.session();
    session.execute("USE test").expect("it is there");
    match answer(session.execute(text)) {
        Heard::Rows(rows) => rows,
        other => panic!("{text}: {other:?}"),
    }
}
