//! PD's clock against that of this machine: what is shown, and from where on it is told.

use txguard::inspect::drift::LocalDrift;

use super::*;
use crate::server::Mood;

/// Compares with a limit of 50 ms.
fn compare(asking: &Asking) {
    let (pd, metrics) = (asking.pd.clone(), asking.metrics.clone());
    let (stop, warn) = (asking.tasks.token().clone(), Duration::from_millis(50));
    asking.tasks.spawn(async move {
        stop.run_until_cancelled(LocalDrift::new(pd, metrics, warn).run()).await;
    });
}

const LOCAL: &str = "txguard_tso_drift_seconds{against=\"local\"}";

#[tokio::test(start_paused = true)]
async fn a_drift_is_told_once_beyond_the_limit_and_once_behind_half_of_it() {
    let fake = Fake::start();
    let asking = Asking::start(&fake);
    compare(&asking);
    // How far this machine is ahead, what is sure of it (51 ms may be PD's step), and how often it
    // has been told that it is too far, and near again.
    for (ahead_ms, least_ms, told) in [
        (0, 0, (0, 0)),
        (51, 0, (0, 0)),
        (100, 49, (0, 0)),
        (103, 52, (1, 0)),
        (200, 149, (1, 0)),
        (80, 29, (1, 0)),
        (60, 9, (1, 1)),
        // What is ahead can't be PD's step.
        (-45, -45, (1, 1)),
        (-60, -60, (2, 1)),
        (0, 0, (2, 2)),
    ] {
        *asking.clock.ahead_ms.lock().expect("whole") = ahead_ms;
        sleep(Duration::from_secs(3)).await;
        let behind = -asking.shows(LOCAL) * 1e3;
        // PD's milliseconds are cut off, and a pipe in memory takes no time.
        assert!((behind - f64::from(least_ms)).abs() <= 1.0, "{ahead_ms} ms: {behind} shown");
        let now = (logged("too far from another"), logged("is near again"));
        assert_eq!(now, told, "{ahead_ms} ms");
    }
}

#[tokio::test(start_paused = true)]
async fn no_drift_is_shown_that_is_not_known() {
    let fake = Fake::start();
    fake.all(Mood::Down);
    let asking = Asking::start(&fake);
    compare(&asking);
    let shown = || asking.metrics.render().contains(LOCAL);
    sleep(Duration::from_secs(5)).await;
    assert!(!shown(), "PD has not answered yet");
    for _ in 0..3 {
        fake.all(Mood::Well);
        until(shown).await;
        fake.all(Mood::Down);
        let took = until(|| !shown()).await;
        assert!(took <= Duration::from_secs(2), "{took:?}");
    }
}
