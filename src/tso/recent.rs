//! The latest timestamp of PD, where everybody can see it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::base::types::Tso;

/// A shared place for the latest timestamp; clones are the same place. It never goes backwards.
#[derive(Debug, Clone, Default)]
pub struct Recent(Arc<Place>);

#[derive(Debug, Default)]
struct Place {
    latest: AtomicU64,
    withheld: AtomicBool,
}

impl Recent {
    /// Takes a newer one; an older one changes nothing.
    pub fn publish(&self, tso: Tso) {
        self.0.latest.fetch_max(tso.0, Ordering::Relaxed);
    }

    /// Shows none, or the latest again: it says nothing about the transactions of backends that are
    /// another PD's.
    pub fn withhold(&self, withheld: bool) {
        self.0.withheld.store(withheld, Ordering::Relaxed);
    }

    /// The latest one; `None` before the first, and while it is withheld.
    #[must_use]
    pub fn get(&self) -> Option<Tso> {
        let shown = !self.0.withheld.load(Ordering::Relaxed);
        Some(Tso(self.0.latest.load(Ordering::Relaxed))).filter(|tso| shown && tso.0 != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_one_changes_nothing() {
        let recent = Recent::default();
        assert_eq!(recent.get(), None);
        let shown = recent.clone();
        recent.publish(Tso(7));
        recent.publish(Tso(5));
        assert_eq!(shown.get(), Some(Tso(7)));
    }

    #[test]
    fn what_is_withheld_goes_on_unseen() {
        let recent = Recent::default();
        recent.publish(Tso(7));
        recent.withhold(true);
        recent.publish(Tso(9));
        assert_eq!(recent.get(), None);
        recent.withhold(false);
        assert_eq!(recent.get(), Some(Tso(9)));
    }
}
