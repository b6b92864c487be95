//! Which server gets the next client. Pure.

use super::health::Health;

/// One server, as far as the choice is concerned.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    /// It may get a client at all: it is not drained, and this client has not tried it before.
    pub(super) open: bool,
    /// What is known of it.
    pub(super) health: Health,
    /// Connections to it.
    pub(super) connections: usize,
}

/// The place of the server with the fewest connections among the healthiest; of equal ones the
/// first from `turn` on, so that they take turns. `None` if none is open.
pub(super) fn choose(candidates: &[Candidate], turn: usize) -> Option<usize> {
    let len = candidates.len();
    (0..len)
        .map(|step| turn.wrapping_add(step) % len)
        .filter(|&place| candidates[place].open)
        .min_by_key(|&place| (rank(candidates[place].health), candidates[place].connections))
}

/// Worse ones are tried only where no better one accepts: what is known may be out of date, and a
/// server that shuts down is better than none.
const fn rank(health: Health) -> u8 {
    match health {
        Health::Up => 0,
        Health::Unchecked => 1,
        Health::Stopping => 2,
        Health::Down => 3,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn candidate() -> impl Strategy<Value = Candidate> {
        let health = prop::sample::select(vec![
            Health::Up,
            Health::Unchecked,
            Health::Stopping,
            Health::Down,
        ]);
        (any::<bool>(), health, 0_usize..4).prop_map(|(open, health, connections)| Candidate {
            open,
            health,
            connections,
        })
    }

    fn up(connections: usize) -> Candidate {
        Candidate { open: true, health: Health::Up, connections }
    }

    proptest! {
        #[test]
        fn no_open_server_is_better(
            candidates in prop::collection::vec(candidate(), 0..6),
            turn in any::<usize>(),
        ) {
            let Some(place) = choose(&candidates, turn) else {
                prop_assert!(candidates.iter().all(|candidate| !candidate.open));
                return Ok(());
            };
            let chosen = candidates[place];
            prop_assert!(chosen.open);
            for other in candidates.iter().filter(|other| other.open) {
                prop_assert!(rank(chosen.health) <= rank(other.health));
                if rank(chosen.health) == rank(other.health) {
                    prop_assert!(chosen.connections <= other.connections);
                }
            }
        }

        /// Clients that come and stay are spread evenly, whatever was there before.
        #[test]
        fn clients_are_spread_evenly(
            before in prop::collection::vec(0_usize..5, 1..6),
            clients in 0_usize..60,
        ) {
            let mut candidates: Vec<_> = before.iter().map(|&connections| up(connections)).collect();
            let mut turn = 0;
            for _ in 0..clients {
                let place = choose(&candidates, turn).expect("one is open");
                candidates[place].connections += 1;
                turn = place + 1;
            }
            for (one, had) in candidates.iter().zip(&before) {
                for other in &candidates {
                    // Only what was there before makes a difference of more than one.
                    let even = one.connections <= other.connections + 1;
                    prop_assert!(even || one.connections == *had);
                }
            }
        }
    }

    #[test]
    fn equal_servers_take_turns() {
        let candidates = [up(2), up(7), up(2), up(2)];
        let mut turn = 0;
        let chosen = [(); 6].map(|()| {
            let place = choose(&candidates, turn).expect("one is open");
            turn = place + 1;
            place
        });
        assert_eq!(chosen, [0, 2, 3, 0, 2, 3]);
    }

    #[test]
    fn health_comes_before_connections() {
        let with = |health, connections| Candidate { open: true, health, connections };
        let all = [
            with(Health::Down, 0),
            with(Health::Stopping, 1),
            with(Health::Unchecked, 2),
            with(Health::Up, 3),
        ];
        for len in 1..=all.len() {
            assert_eq!(choose(&all[..len], 0), Some(len - 1));
        }
    }
}
