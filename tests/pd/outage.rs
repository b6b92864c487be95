//! When PD counts as lost and as back, and what is shown meanwhile.

use super::support::dice::Dice;
use super::support::full;
use super::*;
use crate::server::{MEMBERS, Mood};

#[tokio::test(start_paused = true)]
async fn pd_is_lost_after_three_seconds_and_back_at_once() {
    let fake = Fake::start();
    let asking = Asking::start(&fake);
    let recent = asking.pd.recent();
    for (round, mood) in [Mood::Silent, Mood::Down, Mood::Leaderless].into_iter().enumerate() {
        // Somewhere between two ticks.
        sleep(Duration::from_millis(5_033 + 29 * round as u64)).await;
        assert_eq!(asking.shows("txguard_tso_unavailable_seconds"), 0.0);
        fake.all(mood);
        let lost = until(|| logged("PD is lost") == round + 1).await.as_secs_f64();
        assert!((2.5..=3.5).contains(&lost), "{mood:?}: lost after {lost} s");
        let stays = recent.get();
        sleep(Duration::from_secs(5)).await;
        let shown = asking.shows("txguard_tso_unavailable_seconds");
        assert!((lost + 4.5..=lost + 5.5).contains(&shown), "{mood:?}: {shown} s shown");
        assert_eq!(recent.get(), stays);
        fake.all(Mood::Well);
        let back = until(|| logged("PD answers again") == round + 1).await;
        // A question that was under way to a silent member is given up first.
        assert!(back <= Duration::from_millis(1_700), "{mood:?}: back after {back:?}");
        assert!(recent.get() > stays);
    }
    assert_eq!(logged("PD is lost"), 3, "told once each");
}

#[tokio::test(start_paused = true)]
async fn pd_is_lost_after_three_seconds_at_whatever_moment_it_goes() {
    let fake = Fake::start();
    let (asking, mut dice) = (Asking::start(&fake), Dice(11));
    let rounds = if full() { 300 } else { 30 };
    for round in 0..rounds {
        sleep(Duration::from_millis(1_000 + dice.below(2_000))).await;
        fake.set().delay = Duration::from_millis(dice.below(500));
        fake.lead(round % MEMBERS);
        // Each member in its own way.
        let began = Instant::now();
        for member in 0..MEMBERS {
            let mood = [Mood::Silent, Mood::Down, Mood::Leaderless][dice.below(3) as usize];
            fake.set().moods[member] = mood;
        }
        let shown = || asking.shows("txguard_tso_unavailable_seconds");
        until(|| shown() > 3.0).await;
        let lost = began.elapsed().as_secs_f64();
        assert!((2.5..=3.5).contains(&lost), "round {round}: lost after {lost} s");
        fake.all(Mood::Well);
        fake.set().delay = Duration::ZERO;
        until(|| shown() == 0.0).await;
    }
    assert_eq!(logged("PD is lost"), rounds);
}

#[tokio::test(start_paused = true)]
async fn a_pd_that_has_never_answered_is_lost_as_well() {
    for mood in [Mood::Silent, Mood::Down, Mood::Leaderless] {
        let (fake, before) = (Fake::start(), logged("PD is lost"));
        fake.all(mood);
        let asking = Asking::start(&fake);
        let lost = until(|| logged("PD is lost") > before).await.as_secs_f64();
        assert!((2.5..=3.5).contains(&lost), "{mood:?}: lost after {lost} s");
        assert_eq!(asking.pd.recent().get(), None);
        fake.all(Mood::Well);
        until(|| asking.pd.recent().get().is_some()).await;
        asking.tasks.cancel();
        asking.tasks.wait().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_shorter_silence_is_not_told() {
    let fake = Fake::start();
    let asking = Asking::start(&fake);
    for mood in [Mood::Down, Mood::Leaderless, Mood::Down] {
        sleep(Duration::from_secs(5)).await;
        fake.all(mood);
        sleep(Duration::from_millis(2_000)).await;
        fake.all(Mood::Well);
    }
    sleep(Duration::from_secs(5)).await;
    assert_eq!(logged("PD is lost") + logged("PD answers again"), 0);
    assert_eq!(asking.shows("txguard_tso_unavailable_seconds"), 0.0);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_hangs_is_left_before_pd_counts_as_lost() {
    let fake = Fake::start();
    let asking = Asking::start(&fake);
    sleep(Duration::from_secs(5)).await;
    let before = asking.pd.recent().get();
    fake.set().moods[0] = Mood::Silent;
    fake.lead(1);
    until(|| asking.pd.recent().get() > before).await;
    assert_eq!(logged("PD is lost"), 0);
}

#[tokio::test(start_paused = true)]
async fn waits_and_requests_are_measured_and_so_is_the_drift() {
    let fake = Fake::start();
    fake.set().delay = Duration::from_millis(20);
    let asking = Asking::start(&fake);
    asking.pd.fresh().await.expect("it runs");
    let (waits, rpcs) = (
        asking.shows("txguard_tso_wait_seconds_count"),
        asking.shows("txguard_tso_rpc_seconds_count"),
    );
    assert!(waits >= 1.0 && rpcs >= 1.0, "{waits} {rpcs}");
    assert!(asking.shows("txguard_tso_rpc_seconds_sum") >= 0.02 * rpcs);
    let drift = |asking: &Asking| asking.pd.offset().expect("measured").sure().seconds();
    assert_eq!(drift(&asking), 0.0);
    *asking.clock.ahead_ms.lock().expect("whole") = 400;
    asking.pd.fresh().await.expect("it runs");
    asking.pd.fresh().await.expect("it runs");
    // PD is behind by 400 ms, of which its step may explain 51 and the way 20.
    let behind = drift(&asking);
    assert!((-0.4..=-0.3).contains(&behind), "{behind}");
    fake.all(Mood::Down);
    until(|| asking.pd.offset().is_none()).await;
}
