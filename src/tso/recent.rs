//! The latest timestamp of PD, where everybody can see it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::base::types::Tso;

/// A shared place for the latest timestamp; clones are the same place. It never goes backwards.
#[derive(Debug, Clone, Default)]
pub struct Recent(Arc<AtomicU64>);

impl Recent {
    /// Takes a newer one; an older one changes nothing.
    pub fn publish(&self, tso: Tso) {
        self.0.fetch_max(tso.0, Ordering::Relaxed);
    }

    /// The latest one; `None` before the first.
    #[must_use]
    pub fn get(&self) -> Option<Tso> {
        Some(Tso(self.0.load(Ordering::Relaxed))).filter(|tso| tso.0 != 0)
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
}
