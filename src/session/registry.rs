//! Live connections by the ids that their backends gave them: whom does a KILL mean.
//!
//! Ids are the backend's own, so two backends can give the same one. What is not in the registry
//! may still be there: somebody may be connected past txguard.

use std::sync::Arc;

use dashmap::DashMap;
use tokio_util::sync::CancellationToken;

/// The live connections of a process.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    by_id: Arc<DashMap<u32, Vec<Arc<Peer>>>>,
}

/// A live connection.
#[derive(Debug, Clone)]
pub(super) struct Peer {
    /// HOST:PORT of its backend.
    pub(super) backend: Arc<str>,
    /// The user name of its login.
    pub(super) user: Box<str>,
    pub(super) is_tidb: bool,
    /// Its server may not survive a KILL, see [`dies_of_kill`].
    pub(super) is_fragile: bool,
    /// Ends the session, and with it both connections.
    pub(super) end: CancellationToken,
}

/// Where the connections with an id are.
#[derive(Debug)]
pub(super) enum Found {
    /// Here is none.
    Nowhere,
    /// On the backend of the one who asks.
    Here,
    /// On one other backend.
    Elsewhere(Arc<Peer>),
    /// On several backends.
    Several,
}

/// A connection's place in the registry; given up when this is dropped.
#[derive(Debug)]
pub(super) struct Registered {
    registry: Registry,
    id: u32,
    peer: Arc<Peer>,
}

impl Registry {
    /// Enters a connection.
    pub(super) fn enter(&self, id: u32, peer: Peer) -> Registered {
        let peer = Arc::new(peer);
        self.by_id.entry(id).or_default().push(peer.clone());
        Registered { registry: self.clone(), id, peer }
    }
}

impl Registered {
    /// Where the connections with this id are.
    pub(super) fn find(&self, id: u32) -> Found {
        let Some(peers) = self.registry.by_id.get(&id) else { return Found::Nowhere };
        let Some(first) = peers.first() else { return Found::Nowhere };
        match () {
            () if peers.iter().any(|other| other.backend != first.backend) => Found::Several,
            () if first.backend == self.peer.backend => Found::Here,
            () => Found::Elsewhere(first.clone()),
        }
    }

    /// HOST:PORT of the connection's own backend.
    pub(super) fn backend(&self) -> &str {
        &self.peer.backend
    }

    /// The connection has logged in anew.
    pub(super) fn rename(&mut self, user: &str) {
        let renamed = Arc::new(Peer { user: user.into(), ..(*self.peer).clone() });
        if let Some(mut peers) = self.registry.by_id.get_mut(&self.id)
            && let Some(place) = peers.iter_mut().find(|peer| Arc::ptr_eq(peer, &self.peer))
        {
            *place = renamed.clone();
        }
        self.peer = renamed;
    }

    /// Cancelled when the session shall end.
    pub(super) fn end(&self) -> CancellationToken {
        self.peer.end.clone()
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.registry.by_id.remove_if_mut(&self.id, |_, peers| {
            peers.retain(|peer| !Arc::ptr_eq(peer, &self.peer));
            peers.is_empty()
        });
    }
}

/// TiDB v8.5.0 to v8.5.3: a KILL of an idle connection with a written transaction can take the
/// whole server down (tidb#63956).
pub(super) fn dies_of_kill(version: &[u8]) -> bool {
    const FRAGILE: &[u8] = b"TiDB-v8.5.";
    let Some(at) = version.windows(FRAGILE.len()).position(|part| part == FRAGILE) else {
        return false;
    };
    match &version[at + FRAGILE.len()..] {
        [_, next, ..] if next.is_ascii_digit() => false,
        [patch, ..] => (b'0'..=b'3').contains(patch),
        [] => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(backend: &str, user: &str) -> Peer {
        Peer {
            backend: backend.into(),
            user: user.into(),
            is_tidb: true,
            is_fragile: false,
            end: CancellationToken::new(),
        }
    }

    #[test]
    fn an_id_is_found_where_its_backend_gave_it() {
        let registry = Registry::default();
        let me = registry.enter(1, peer("a:1", "app"));
        let near = registry.enter(2, peer("a:1", "app"));
        let far = registry.enter(3, peer("b:1", "bob"));
        assert!(matches!(me.find(1), Found::Here));
        assert!(matches!(me.find(2), Found::Here));
        assert!(matches!(me.find(9), Found::Nowhere));
        assert!(matches!(me.find(3), Found::Elsewhere(peer) if &*peer.user == "bob"));
        let twin = registry.enter(3, peer("a:1", "app"));
        assert!(matches!(me.find(3), Found::Several));
        drop(twin);
        drop(far);
        assert!(matches!(me.find(3), Found::Nowhere));
        drop((me, near));
        assert!(registry.by_id.is_empty(), "nothing stays behind");
    }

    #[test]
    fn an_id_given_again_belongs_to_the_living() {
        let registry = Registry::default();
        let me = registry.enter(1, peer("a:1", "app"));
        let before = registry.enter(3, peer("b:1", "bob"));
        let _after = registry.enter(3, peer("b:1", "eve"));
        drop(before);
        assert!(matches!(me.find(3), Found::Elsewhere(peer) if &*peer.user == "eve"));
    }

    #[test]
    fn a_change_of_user_is_known() {
        let registry = Registry::default();
        let me = registry.enter(1, peer("a:1", "app"));
        let mut far = registry.enter(3, peer("b:1", "bob"));
        far.rename("eve");
        assert!(matches!(me.find(3), Found::Elsewhere(peer) if &*peer.user == "eve"));
        drop(far);
        assert!(matches!(me.find(3), Found::Nowhere));
    }

    #[test]
    fn four_versions_of_tidb_are_fragile() {
        for (version, fragile) in [
            ("8.0.11-TiDB-v8.5.0", true),
            ("8.0.11-TiDB-v8.5.3", true),
            ("8.0.11-TiDB-v8.5.3-pre", true),
            ("8.0.11-TiDB-v8.5.4", false),
            ("8.0.11-TiDB-v8.5.10", false),
            ("8.0.11-TiDB-v8.5.30", false),
            ("8.0.11-TiDB-v7.5.0", false),
            ("8.0.11-TiDB-v8.5.", false),
            ("11.4.2-MariaDB", false),
        ] {
            assert_eq!(dies_of_kill(version.as_bytes()), fragile, "{version}");
        }
    }
}
