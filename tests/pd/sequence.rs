//! The order of timestamps, and that everybody gets one.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::task::JoinSet;

use super::support::dice::Dice;
use super::support::full;
use super::*;
use crate::server::{MEMBERS, Mood};

/// All timestamps of a test: each later than all that were known when it was asked for.
#[derive(Default)]
struct Seen {
    latest: AtomicU64,
    all: Mutex<HashSet<u64>>,
}

impl Seen {
    async fn ask(&self, pd: &Pd) {
        let before = self.latest.load(Ordering::SeqCst);
        let tso = pd.fresh().await.expect("it runs").0;
        assert!(tso > before, "{tso} was handed out after {before}");
        assert!(self.all.lock().expect("whole").insert(tso), "{tso} was handed out twice");
        self.latest.fetch_max(tso, Ordering::SeqCst);
    }
}

/// Something happens to PD.
fn strike(fake: &Fake, dice: &mut Dice) {
    let member = usize::try_from(dice.below(MEMBERS as u64)).expect("small");
    match dice.below(8) {
        0 => fake.lead(member),
        1 => fake.set().delay = Duration::from_millis(dice.below(1_500)),
        2 => fake.set().ahead_ms += 10_000,
        3 => fake.set().ahead_ms -= 20_000,
        4 => {
            let mood = [Mood::Down, Mood::Silent, Mood::Leaderless][dice.below(3) as usize];
            fake.set().moods[member] = mood;
            let another = (member + 1) % MEMBERS;
            fake.lead(another);
            fake.set().moods[another] = Mood::Well;
        }
        5 => fake.all(Mood::Well),
        // A deposed leader that doesn't know it yet.
        6 => fake.set().rewound = Some((1 + dice.below(3) as u32, 1 + dice.below(20_000) as i64)),
        _ => fake.set().suffix_bits = dice.below(4) as u32,
    }
}

#[tokio::test(start_paused = true)]
async fn timestamps_grow_over_leaders_delays_and_clock_jumps() {
    let rounds = if full() { 5_000 } else { 500 };
    let fake = Fake::start();
    let asking = Asking::start(&fake);
    let (seen, mut dice) = (Arc::new(Seen::default()), Dice(7));
    let mut waiting = JoinSet::new();
    let mut asked = 0;
    for _ in 0..rounds {
        for _ in 0..dice.below(40) {
            let (seen, pd) = (seen.clone(), asking.pd.clone());
            waiting.spawn(async move { seen.ask(&pd).await });
            asked += 1;
        }
        strike(&fake, &mut dice);
        sleep(Duration::from_millis(dice.below(400))).await;
        while let Some(done) = waiting.try_join_next() {
            done.expect("its timestamp is right");
        }
    }
    fake.all(Mood::Well);
    fake.set().delay = Duration::ZERO;
    while let Some(done) = support::soon("a timestamp", waiting.join_next()).await {
        done.expect("its timestamp is right");
    }
    assert_eq!(seen.all.lock().expect("whole").len(), asked);
    assert!(logged("following PD") > rounds / 50, "leaders were followed");
}

#[tokio::test(start_paused = true)]
async fn one_request_in_flight_serves_all_who_wait() {
    let fake = Fake::start();
    fake.set().delay = Duration::from_millis(50);
    let asking = Asking::start(&fake);
    asking.pd.fresh().await.expect("it runs");
    let before = fake.set().answers;
    let seen = Arc::new(Seen::default());
    let mut waiting = JoinSet::new();
    for _ in 0..25_000 {
        let (seen, pd) = (seen.clone(), asking.pd.clone());
        waiting.spawn(async move { seen.ask(&pd).await });
    }
    waiting.join_all().await;
    let answers = fake.set().answers - before;
    assert!((3..=5).contains(&answers), "10 000 at a time: {answers}");
    assert_eq!(fake.set().most_under_way, 1);
}

#[tokio::test(start_paused = true)]
async fn nobody_who_waits_is_lost_and_who_leaves_is_not_asked_for() {
    let fake = Fake::start();
    let asking = Asking::start(&fake);
    asking.pd.fresh().await.expect("it runs");
    for mood in [Mood::Silent, Mood::Down, Mood::Leaderless] {
        let seen = Arc::new(Seen::default());
        fake.all(mood);
        let mut waiting = JoinSet::new();
        for at in 0..1_000 {
            let (seen, pd) = (seen.clone(), asking.pd.clone());
            waiting.spawn(async move {
                match at % 2 {
                    0 => seen.ask(&pd).await,
                    _ => drop(tokio::time::timeout(Duration::from_secs(1), pd.fresh()).await),
                }
            });
        }
        sleep(Duration::from_secs(20)).await;
        assert_eq!(waiting.len(), 1_000);
        let answers = fake.set().answers;
        let before = fake.hand_out().0;
        fake.all(Mood::Well);
        fake.lead(1);
        support::soon("all are answered", waiting.join_all()).await;
        assert_eq!(seen.all.lock().expect("whole").len(), 500, "{mood:?}");
        assert!(seen.latest.load(Ordering::SeqCst) > before);
        assert!(fake.set().answers - answers <= 2, "{mood:?}: one request serves them");
    }
}

#[tokio::test(start_paused = true)]
async fn a_hint_is_earlier_than_what_is_handed_out_behind_it() {
    let fake = Fake::start();
    let asking = Asking::start(&fake);
    let recent = asking.pd.recent();
    assert_eq!(recent.get(), None);
    until(|| recent.get().is_some()).await;
    let (mut dice, mut hints) = (Dice(3), HashSet::new());
    for _ in 0..2_000 {
        strike(&fake, &mut dice);
        sleep(Duration::from_millis(dice.below(200))).await;
        let hint = recent.get().expect("there was one");
        // What a transaction gets that begins now, from whoever leads.
        let start_ts = fake.hand_out();
        assert!(hint < start_ts, "{hint} is not earlier than {start_ts}");
        hints.insert(hint);
    }
    assert!(hints.len() > 100, "hints move on: {}", hints.len());
    fake.all(Mood::Well);
    fake.set().delay = Duration::ZERO;
    let now = fake.hand_out();
    until(|| recent.get() > Some(now)).await;
}

#[tokio::test(start_paused = true)]
async fn waiters_are_told_when_nobody_asks_any_more() {
    let fake = Fake::start();
    fake.all(Mood::Down);
    let asking = Asking::start(&fake);
    let (pd, tasks) = (asking.pd.clone(), asking.tasks.clone());
    let (told, ()) = tokio::join!(pd.fresh(), async {
        sleep(Duration::from_secs(60)).await;
        tasks.cancel();
    });
    told.expect_err("it has stopped");
    asking.tasks.wait().await;
    pd.fresh().await.expect_err("it has stopped");
}
