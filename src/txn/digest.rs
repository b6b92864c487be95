//! What a transaction has said, in 16 bytes: stored with its receipt, and compared when another
//! transaction comes with the same idempotency key.
//!
//! Texts count without their comments in front, which carry traces and tags; parameters of
//! prepared statements count as they were sent, without their types, which travel only with the
//! first execution.

use xxhash_rust::xxh3::xxh3_128_with_seed;

use crate::wire::Malformed;
use crate::wire::packet::execute::Parameters;

/// The digest of the statements so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Digest(u128);

impl Digest {
    /// Of one text.
    #[must_use]
    pub fn of(text: &[u8]) -> Self {
        let mut digest = Self::default();
        digest.fold(text);
        digest
    }

    /// The value that is stored.
    #[must_use]
    pub const fn value(self) -> u128 {
        self.0
    }

    /// More was said: a text, or a piece of a parameter.
    pub fn fold(&mut self, said: &[u8]) {
        // The digest before is mixed in from both its halves.
        let before = self.0.to_le_bytes();
        let seed = xxh3_128_with_seed(&before, said.len() as u64);
        let piece = xxh3_128_with_seed(said, seed as u64);
        self.0 = piece ^ seed;
    }

    /// A prepared statement was executed: `statement` is the digest of its text, `payload` the
    /// COM_STMT_EXECUTE of so many parameters.
    pub fn execution(
        &mut self,
        statement: Self,
        payload: &[u8],
        params: u16,
    ) -> Result<(), Malformed> {
        self.fold(&statement.0.to_le_bytes());
        let parameters = Parameters::read(payload, params)?;
        self.fold(parameters.nulls);
        self.fold(parameters.values);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(texts: &[&str]) -> Digest {
        let mut digest = Digest::default();
        texts.iter().for_each(|text| digest.fold(text.as_bytes()));
        digest
    }

    #[test]
    fn order_and_borders_count() {
        let different = [
            said(&[]),
            said(&[""]),
            said(&["ab"]),
            said(&["a", "b"]),
            said(&["b", "a"]),
            said(&["ab", ""]),
            said(&["", "ab"]),
        ];
        for (place, one) in different.iter().enumerate() {
            assert!(!different[..place].contains(one), "{place}");
        }
        assert_eq!(said(&["a", "b"]), said(&["a", "b"]));
    }

    #[test]
    fn parameters_count_and_their_types_do_not() {
        let execute = |rest: &[u8]| [&[0x17, 1, 0, 0, 0, 0, 1, 0, 0, 0][..], rest].concat();
        let digest = |payload: &[u8]| {
            let mut digest = Digest::default();
            digest.execution(Digest::of(b"SELECT ?"), payload, 1).map(|()| digest)
        };
        let bound = digest(&execute(&[0, 1, 8, 0, 5, 0, 0, 0, 0, 0, 0, 0])).expect("whole");
        let again = digest(&execute(&[0, 0, 5, 0, 0, 0, 0, 0, 0, 0])).expect("whole");
        let other = digest(&execute(&[0, 0, 6, 0, 0, 0, 0, 0, 0, 0])).expect("whole");
        let null = digest(&execute(&[1, 0])).expect("whole");
        assert_eq!(bound, again);
        assert!(bound != other && bound != null && other != null);
        assert!(digest(&execute(&[])).is_err());
    }
}
