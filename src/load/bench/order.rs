//! Whose turn it is. Pure.
//!
//! Every round has each target once, and every other round goes backwards: ABBA, ABC CBA. So a
//! machine that becomes slower or faster meanwhile favours nobody: within two rounds the turns of
//! each target lie around the same moment.

/// A target's turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// From 0.
    pub round: u32,
    /// The place of the target in the list.
    pub target: usize,
}

/// All turns of so many rounds, in order.
pub(super) fn turns(targets: usize, rounds: u32) -> impl Iterator<Item = Turn> {
    (0..rounds).flat_map(move |round| {
        (0..targets).map(move |place| {
            let target = if round % 2 == 0 { place } else { targets - 1 - place };
            Turn { round, target }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letters(targets: usize, rounds: u32) -> String {
        let letter = |turn: Turn| char::from(b'A' + u8::try_from(turn.target).expect("few"));
        turns(targets, rounds).map(letter).collect()
    }

    #[test]
    fn every_other_round_goes_backwards() {
        assert_eq!(letters(2, 4), "ABBAABBA");
        assert_eq!(letters(3, 3), "ABCCBAABC");
        assert_eq!(letters(1, 2), "AA");
        assert_eq!(letters(2, 0), "");
    }

    #[test]
    fn two_rounds_have_every_target_around_the_same_moment() {
        let places = turns(3, 2).enumerate();
        let mut sums = [0; 3];
        places.for_each(|(place, turn)| sums[turn.target] += place);
        assert_eq!(sums, [5, 5, 5]);
    }
}
