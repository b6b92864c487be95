//! Whether a backend's timestamps come from this PD.
//!
//! ```text
//! PD       before ───────────────────── after       each asked for when the one before it is there
//! backend           BEGIN: start_ts
//! ```
//!
//! PD hands out each timestamp once and in order, so the start_ts of a backend of its cluster lies
//! in between. One that doesn't is another cluster's, and no hint of this PD is sure to be earlier
//! than it. One that does proves little: the clocks of two clusters may agree to the millisecond. So
//! the ids of the clusters are compared too, where the backend tells its own.

use crate::base::types::Tso;

/// What a backend was given, between two timestamps of PD.
#[derive(Debug, Clone, Copy)]
pub struct Between {
    /// Handed out by PD before the transaction began.
    pub before: Tso,
    /// That of the transaction.
    pub start_ts: Tso,
    /// Asked of PD when `start_ts` was known.
    pub after: Tso,
}

/// The proof that a backend's timestamps come from elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Foreign {
    /// The order is impossible within one cluster.
    #[error("start_ts {start_ts} is not between {before} and {after}, PD's before and after it")]
    Order {
        /// Handed out by PD before the transaction began.
        before: Tso,
        /// That of the transaction.
        start_ts: Tso,
        /// Handed out by PD after that.
        after: Tso,
    },
    /// Each says which cluster it is of.
    #[error("it is of cluster {backend}, and PD of {pd}")]
    Cluster {
        /// What PD says.
        pd: u64,
        /// What the backend says.
        backend: u64,
    },
}

impl Between {
    /// # Errors
    /// The backend's timestamp comes from elsewhere.
    pub fn check(self) -> Result<(), Foreign> {
        let Self { before, start_ts, after } = self;
        if before < start_ts && start_ts < after {
            Ok(())
        } else {
            Err(Foreign::Order { before, start_ts, after })
        }
    }
}

/// Compares the ids of clusters; one that isn't known is no contradiction.
///
/// # Errors
/// They differ.
pub fn same_cluster(pd: Option<u64>, backend: Option<u64>) -> Result<(), Foreign> {
    match pd.zip(backend) {
        Some((pd, backend)) if pd != backend => Err(Foreign::Cluster { pd, backend }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lies_between_can_be_of_one_cluster() {
        let check = |before, start_ts, after| {
            let (before, start_ts, after) = (Tso(before), Tso(start_ts), Tso(after));
            Between { before, start_ts, after }.check().is_ok()
        };
        assert!(check(5, 6, 7));
        // Each timestamp is handed out once.
        assert!(!check(6, 6, 7));
        assert!(!check(5, 7, 7));
        assert!(!check(6, 5, 7));
        assert!(!check(5, 8, 7));
    }

    #[test]
    fn clusters_differ_only_where_both_are_known() {
        assert_eq!(same_cluster(Some(7), Some(7)), Ok(()));
        assert_eq!(same_cluster(Some(7), None), Ok(()));
        assert_eq!(same_cluster(None, Some(7)), Ok(()));
        let differ = Foreign::Cluster { pd: 7, backend: 8 };
        assert_eq!(same_cluster(Some(7), Some(8)), Err(differ));
    }
}
