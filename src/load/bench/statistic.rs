//! Medians of per-round ratios, and how far they can be trusted. Pure.
//!
//! The interval is that of order statistics: of n sorted values the k-th smallest and the k-th
//! largest enclose the median of what they are drawn from with the probability
//! 1 − 2·P(B < k), B binomial with n and ½. It takes no distribution for granted, needs no random
//! numbers, and holds at least 95 % also for few rounds. Source: W. J. Conover, Practical
//! Nonparametric Statistics, 3rd edition, section 3.2; J.-Y. Le Boudec, Performance Evaluation of
//! Computer and Communication Systems, theorem 2.1. Below six values there is none of 95 %.

/// At least that probable.
const CONFIDENCE: f64 = 0.95;

/// A median, and between what the true one lies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// The median of the values.
    pub median: f64,
    /// None for fewer than six values.
    pub interval: Option<Interval>,
}

/// Two of the values, and how probable it is that the true median lies between them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// The smaller one.
    pub low: f64,
    /// The larger one.
    pub high: f64,
    /// At least 0.95.
    pub confidence: f64,
}

/// None without values. The values must be numbers.
pub(super) fn estimate(values: &[f64]) -> Option<Estimate> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (n, middle) = (sorted.len(), sorted.len() / 2);
    let upper = *sorted.get(middle)?;
    let median = if n % 2 == 1 { upper } else { f64::midpoint(sorted[middle - 1], upper) };
    let interval = rank(n).map(|(rank, confidence)| Interval {
        low: sorted[rank - 1],
        high: sorted[n - rank],
        confidence,
    });
    Some(Estimate { median, interval })
}

/// The largest rank k whose interval is sure enough, and how sure it is.
fn rank(n: usize) -> Option<(usize, f64)> {
    // P(B = 0); for so many values that it is 0 their number is far beyond any count of rounds.
    let mut exactly = 0.5_f64.powi(i32::try_from(n).ok()?);
    let mut below = 0.0;
    let mut best = None;
    for k in 1..=n / 2 {
        below += exactly;
        let confidence = 1.0 - 2.0 * below;
        if confidence < CONFIDENCE {
            break;
        }
        best = Some((k, confidence));
        exactly *= (n - k + 1) as f64 / k as f64;
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As tables of intervals for the median have them.
    #[test]
    fn ranks_are_those_of_the_published_table() {
        let table = [
            (6, 1, 0.969),
            (8, 1, 0.992),
            (9, 2, 0.961),
            (12, 3, 0.961),
            (15, 4, 0.965),
            (17, 5, 0.951),
            (20, 6, 0.959),
        ];
        for (n, expected, confidence) in table {
            let (k, found) = rank(n).expect("enough values");
            assert_eq!(k, expected, "{n} values");
            assert!((found - confidence).abs() < 6e-4, "{n} values: {found}");
        }
        assert_eq!([0, 1, 5].map(rank), [None, None, None]);
    }

    #[test]
    fn a_median_lies_in_the_middle_in_any_order() {
        assert_eq!(estimate(&[]), None);
        assert_eq!(estimate(&[3.0]), Some(Estimate { median: 3.0, interval: None }));
        assert_eq!(estimate(&[4.0, 1.0]).expect("values").median, 2.5);
        let values = [15, 1, 14, 2, 13, 3, 12, 4, 11, 5, 10, 6, 9, 7, 8].map(f64::from);
        let found = estimate(&values).expect("values");
        let interval = found.interval.expect("enough values");
        assert_eq!((found.median, interval.low, interval.high), (8.0, 4.0, 12.0));
    }

    /// Drawn from a known median again and again, it lies within as often as is said.
    #[test]
    fn the_interval_holds_as_often_as_it_says() {
        let (mut seed, mut within) = (1_u64, 0);
        for _ in 0..2_000 {
            let values: [f64; 15] = std::array::from_fn(|_| {
                seed = seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                let uniform = (seed >> 11) as f64 / (1_u64 << 53) as f64;
                // Skewed, as latencies are; its median is 1/4.
                uniform * uniform
            });
            let interval = estimate(&values).and_then(|found| found.interval).expect("enough");
            within += u32::from(interval.low <= 0.25 && 0.25 <= interval.high);
        }
        assert!((1_900..1_960).contains(&within), "{within} of 2,000, 96.5 % expected");
    }
}
