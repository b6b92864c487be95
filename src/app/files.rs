//! File descriptors: each client takes two.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// For listeners, the log, HTTP clients, checks of backends, and clients that are turned away.
const OTHERS: u64 = 256;

/// Raises this process's limit as far as the system allows it without privileges.
pub(super) fn raise_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let all = Rlimit { current: maximum, maximum };
    if current != maximum
        && let Err(error) = setrlimit(Resource::Nofile, all)
    {
        tracing::warn!(%error, "the limit of file descriptors stays as it is");
    }
}

/// Says so if so many clients don't fit.
pub(super) fn check(clients: u32) {
    let limit = getrlimit(Resource::Nofile).current;
    if let Some(needed) = lacking(limit, clients) {
        tracing::warn!(
            limit = limit.unwrap_or(u64::MAX),
            needed,
            clients,
            "the limit of file descriptors is too low for [limits] clients; raise it (ulimit -Hn)"
        );
    }
}

/// How many are needed, if that is more than there can be; `None` is no limit.
fn lacking(limit: Option<u64>, clients: u32) -> Option<u64> {
    let needed = 2 * u64::from(clients) + OTHERS;
    limit.is_some_and(|limit| limit < needed).then_some(needed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_a_client_and_some_more_must_fit() {
        assert_eq!(lacking(Some(1024), 384), None);
        assert_eq!(lacking(Some(1024), 385), Some(1026));
        assert_eq!(lacking(None, 1_000_000), None);
    }

    #[test]
    fn the_limit_is_raised_as_far_as_it_goes() {
        let before = getrlimit(Resource::Nofile);
        let half = before.current.map(|current| current / 2);
        let low = Rlimit { current: half, ..before };
        setrlimit(Resource::Nofile, low).expect("less is always allowed");
        raise_limit();
        assert_eq!(getrlimit(Resource::Nofile).current, before.maximum);
    }
}
