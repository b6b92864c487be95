//! What PD answers: several timestamps at once.
//!
//! The logical part of an answer is the *last* of its batch (PD `pkg/tso`): the others lie below it,
//! each `1 << suffix_bits` apart. PD never hands a timestamp out twice, and later ones are greater,
//! also under another leader: each leader begins above what the one before it had reserved. An
//! answer that isn't above the last one therefore comes from a deposed leader or a cluster that was
//! set back, and is refused.

use crate::base::types::Tso;

/// Timestamps that belong to one answer, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batch {
    first: Tso,
    step: u64,
    count: u32,
}

/// An answer of PD that is no batch of timestamps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no {count} timestamps end in {physical} + {logical} with {suffix_bits} suffix bits")]
pub struct BadBatch {
    /// Milliseconds since the Unix epoch.
    pub physical: i64,
    /// Of the last timestamp.
    pub logical: i64,
    /// How far timestamps are apart, as a power of two.
    pub suffix_bits: u32,
    /// How many there are.
    pub count: u32,
}

/// Milliseconds that fit beside the logical part.
const PHYSICAL_BITS: u32 = u64::BITS - Tso::LOGICAL_BITS;

impl Batch {
    /// From the numbers of an answer.
    ///
    /// # Errors
    /// There are none, or they don't fit into TiDB's format.
    pub fn new(
        physical: i64,
        logical: i64,
        suffix_bits: u32,
        count: u32,
    ) -> Result<Self, BadBatch> {
        Self::checked(physical, logical, suffix_bits, count).ok_or(BadBatch {
            physical,
            logical,
            suffix_bits,
            count,
        })
    }

    fn checked(physical: i64, logical: i64, suffix_bits: u32, count: u32) -> Option<Self> {
        let physical = u64::try_from(physical).ok().filter(|ms| ms >> PHYSICAL_BITS == 0)?;
        let logical = u64::try_from(logical).ok().filter(|at| at >> Tso::LOGICAL_BITS == 0)?;
        let step = 1 << Some(suffix_bits).filter(|bits| *bits < Tso::LOGICAL_BITS)?;
        let before = u64::from(count.checked_sub(1)?) * step;
        let first = Tso::compose(physical, logical.checked_sub(before)?);
        Some(Self { first, step, count })
    }

    /// The timestamps, in order.
    pub fn iter(self) -> impl Iterator<Item = Tso> {
        (0..self.count).map(move |at| self.at(at))
    }

    /// The least one.
    #[must_use]
    pub const fn first(self) -> Tso {
        self.first
    }

    /// The greatest one.
    #[must_use]
    pub fn last(self) -> Tso {
        self.at(self.count - 1)
    }

    fn at(self, at: u32) -> Tso {
        Tso(self.first.0 + u64::from(at) * self.step)
    }
}

/// An answer of PD that isn't above the last one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("PD's timestamps go backwards, from {last} to {next}")]
pub struct Backwards {
    /// The greatest so far.
    pub last: Tso,
    /// What came then.
    pub next: Tso,
}

/// All answers of one cluster, under whatever leader.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sequence {
    last: Option<Tso>,
}

impl Sequence {
    /// Takes the next answer.
    ///
    /// # Errors
    /// It isn't above the last one; it changes nothing then.
    pub fn accept(&mut self, batch: Batch) -> Result<(), Backwards> {
        match self.last {
            Some(last) if batch.first() <= last => Err(Backwards { last, next: batch.first() }),
            _ => {
                self.last = Some(batch.last());
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logicals(batch: Batch) -> Vec<u64> {
        batch.iter().map(Tso::logical).collect()
    }

    #[test]
    fn the_logical_part_is_the_last_of_the_batch() {
        let batch = Batch::new(5_000, 12, 0, 3).expect("right");
        assert_eq!(logicals(batch), [10, 11, 12]);
        assert!(batch.iter().all(|tso| tso.physical_ms() == 5_000));
        assert_eq!((batch.first(), batch.last()), (Tso::compose(5_000, 10), batch.at(2)));
        assert_eq!(logicals(Batch::new(5_000, 0, 0, 1).expect("right")), [0]);
    }

    #[test]
    fn suffix_bits_keep_the_suffix_and_widen_the_steps() {
        let batch = Batch::new(5_000, (13 << 2) + 1, 2, 3).expect("right");
        assert_eq!(logicals(batch), [11, 12, 13].map(|counter| (counter << 2) + 1));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for (physical, logical, suffix_bits, count) in [
            (5_000, 12, 0, 0),
            (5_000, 1, 0, 3),
            (5_000, 1 << 18, 0, 1),
            (5_000, -1, 0, 1),
            (-5, 12, 0, 1),
            (1 << 46, 12, 0, 1),
            (5_000, 12, 18, 1),
            (5_000, 12, u32::MAX, 1),
            (5_000, 12, 17, u32::MAX),
        ] {
            let bad = BadBatch { physical, logical, suffix_bits, count };
            assert_eq!(Batch::new(physical, logical, suffix_bits, count), Err(bad));
        }
    }

    #[test]
    fn what_is_not_above_the_last_one_is_refused_and_changes_nothing() {
        let batch = |physical, logical, count| Batch::new(physical, logical, 0, count);
        let mut sequence = Sequence::default();
        assert_eq!(sequence.accept(batch(5_000, 12, 3).expect("right")), Ok(()));
        for wrong in [batch(5_000, 12, 1), batch(5_000, 14, 3), batch(4_999, 99, 1)] {
            let wrong = wrong.expect("right");
            let error = Backwards { last: Tso::compose(5_000, 12), next: wrong.first() };
            assert_eq!(sequence.accept(wrong), Err(error));
        }
        assert_eq!(sequence.accept(batch(5_000, 13, 1).expect("right")), Ok(()));
        assert_eq!(sequence.accept(batch(9_000_000, 1, 1).expect("right")), Ok(()));
    }

    proptest::proptest! {
        /// Each accepted timestamp is greater than all before it, whatever PD answers.
        #[test]
        fn accepted_timestamps_strictly_increase(
            answers in proptest::collection::vec((0..20_i64, 0..40_i64, 0..3_u32, 1..10_u32), 0..60)
        ) {
            let mut sequence = Sequence::default();
            let mut taken = Vec::new();
            for (physical, logical, suffix_bits, count) in answers {
                let batch = Batch::new(physical, logical, suffix_bits, count);
                if let Some(batch) = batch.ok().filter(|batch| sequence.accept(*batch).is_ok()) {
                    taken.extend(batch.iter());
                }
            }
            proptest::prop_assert!(taken.is_sorted_by(|one, next| one < next));
        }
    }
}
