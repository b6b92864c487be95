//! Answers that must not be believed.

use super::*;
use crate::server::Mood;

#[tokio::test(start_paused = true)]
async fn addresses_of_two_clusters_give_no_timestamp_at_all() {
    let fake = Fake::start();
    fake.set().clusters[2] = 8;
    let asking = Asking::start(&fake);
    sleep(Duration::from_secs(30)).await;
    assert_eq!(asking.pd.recent().get(), None);
    assert_eq!(fake.set().answers, 0);
    assert_eq!(logged("PD does not answer"), 1);
    fake.set().clusters[2] = 7;
    until(|| asking.pd.recent().get().is_some()).await;
}

#[tokio::test(start_paused = true)]
async fn a_member_that_comes_back_as_another_cluster_is_not_followed() {
    let fake = Fake::start();
    let asking = Asking::start(&fake);
    asking.pd.fresh().await.expect("it runs");
    fake.set().clusters[0] = 8;
    let refused = tokio::time::timeout(Duration::from_secs(30), asking.pd.fresh()).await;
    refused.expect_err("the leader is of another cluster now");
    fake.lead(1);
    support::soon("a timestamp", asking.pd.fresh()).await.expect("it runs");
    fake.set().moods[1] = Mood::Down;
    fake.set().moods[2] = Mood::Down;
    let refused = tokio::time::timeout(Duration::from_secs(30), asking.pd.fresh()).await;
    refused.expect_err("the only one that answers is of another cluster");
}

#[tokio::test(start_paused = true)]
async fn a_pd_that_was_set_back_gives_nothing_until_it_has_caught_up() {
    let fake = Fake::start();
    let asking = Asking::start(&fake);
    let before = asking.pd.fresh().await.expect("it runs");
    fake.set().rewound = Some((u32::MAX, 60_000));
    let began = Instant::now();
    let after = loop {
        match tokio::time::timeout(Duration::from_secs(1), asking.pd.fresh()).await {
            Ok(tso) => break tso.expect("it runs"),
            Err(_) => assert!(began.elapsed() < Duration::from_secs(120)),
        }
    };
    assert!(after > before);
    assert!(began.elapsed() >= Duration::from_secs(58), "{:?}", began.elapsed());
}
