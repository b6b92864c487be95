//! What holds for every PD: against the one that `TXGUARD_TEST_PD` names, else against one in this
//! process, over a socket both.

use std::collections::HashSet;

use tokio::task::JoinSet;
use txguard::base::clock::SystemClock;
use txguard::net::pd::Network;

use super::over_tcp::listen;
use super::support::soon;
use super::*;

/// Two independent clients, like two processes.
async fn two() -> ([Pd; 2], Tasks, Option<Fake>) {
    let (addresses, fake) = match std::env::var("TXGUARD_TEST_PD") {
        Ok(address) => (vec![address.parse().expect("HOST:PORT")], None),
        Err(_) => {
            let fake = listen(None).await;
            (fake.addresses(), Some(fake))
        }
    };
    let tasks = Tasks::default();
    let clients = [(); 2].map(|()| {
        let (dial, clock) = (Arc::new(Network::default()), Arc::new(SystemClock));
        let (pd, runner) = Pd::new(addresses.clone(), dial, clock, Arc::new(Metrics::new()));
        tasks.spawn(runner.run(tasks.token().clone()));
        pd
    });
    (clients, tasks, fake)
}

#[tokio::test]
async fn timestamps_of_two_clients_are_one_growing_sequence() {
    let ([one, other], _tasks, _fake) = two().await;
    let (mut last, mut all) = (None, HashSet::new());
    for _ in 0..300 {
        for pd in [&one, &other] {
            let tso = soon("a timestamp", pd.fresh()).await.expect("it runs");
            assert!(Some(tso) > last, "{tso} after {last:?}");
            last = Some(tso);
            assert!(all.insert(tso));
        }
    }
    let mut waiting = JoinSet::new();
    for at in 0..5_000 {
        let pd = if at % 2 == 0 { one.clone() } else { other.clone() };
        waiting.spawn(async move { pd.fresh().await.expect("it runs") });
    }
    for tso in soon("all of them", waiting.join_all()).await {
        assert!(Some(tso) > last && all.insert(tso));
    }
}

#[tokio::test]
async fn a_hint_is_earlier_than_what_another_client_is_given_behind_it() {
    let ([one, other], _tasks, _fake) = two().await;
    soon("a timestamp", one.fresh()).await.expect("it runs");
    let recent = one.recent();
    support::eventually("a hint", || recent.get().is_some()).await;
    let mut hints = HashSet::new();
    while hints.len() < 5 {
        let hint = recent.get().expect("there was one");
        let start_ts = soon("a timestamp", other.fresh()).await.expect("it runs");
        assert!(hint < start_ts, "{hint} is not earlier than {start_ts}");
        hints.insert(hint);
    }
}
