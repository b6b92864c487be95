//! Identifiers and quantities with a meaning of their own.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// A transaction's identity: a UUID of version 7, sortable by the time of BEGIN. It stays the
/// same over all attempts of a replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TxnId(Uuid);

impl TxnId {
    /// As it stands in a table's BINARY(16). In this order ids sort by the time of BEGIN.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// What [`TxnId::as_bytes`] gave.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// The time of BEGIN by the clock of the process that made the id, since the Unix epoch, in
    /// whole milliseconds; of an id that is no txguard's it means nothing.
    #[must_use]
    pub fn begun(&self) -> Duration {
        let (high, _) = self.0.as_u64_pair();
        Duration::from_millis(high >> 16)
    }
}

impl fmt::Display for TxnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

impl FromStr for TxnId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::from_str(text).map(Self)
    }
}

/// Makes transaction ids: strictly increasing within one process, unique over all of them.
///
/// The 60 bits of time (milliseconds and their 4096th part, RFC 9562 section 6.2 method 3) never
/// repeat within a process; the 62 random bits keep processes apart. No system call is needed.
#[derive(Debug)]
pub struct TxnIds {
    last: AtomicU64,
    seed: u64,
}

impl TxnIds {
    /// `seed` must be different in every process, e.g. drawn at random at start.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { last: AtomicU64::new(0), seed }
    }

    /// The next id, for a transaction that begins at `wall` (time since the Unix epoch).
    #[must_use]
    pub fn next(&self, wall: Duration) -> TxnId {
        let millis = u64::try_from(wall.as_millis()).unwrap_or(u64::MAX) & ((1 << 48) - 1);
        let fraction = u64::from(wall.subsec_nanos() % 1_000_000) * 4096 / 1_000_000;
        let now = millis << 12 | fraction;
        let previous = self
            .last
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(now.max(last + 1)))
            .unwrap_or_default();
        let time = now.max(previous + 1);
        let noise = xxh3_64_with_seed(&time.to_le_bytes(), self.seed);
        let high = (time >> 12) << 16 | 0x7000 | (time & 0xfff);
        let low = 1 << 63 | noise >> 2;
        TxnId(Uuid::from_u64_pair(high, low))
    }
}

/// A TiDB timestamp: milliseconds since the Unix epoch in the upper 46 bits, a logical counter in
/// the lower 18 (client-go `oracle.ComposeTS`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tso(pub u64);

impl Tso {
    /// Bits of the logical counter.
    pub const LOGICAL_BITS: u32 = 18;

    /// Puts a timestamp together; `logical` must fit into 18 bits.
    #[must_use]
    pub const fn compose(physical_ms: u64, logical: u64) -> Self {
        Self(physical_ms << Self::LOGICAL_BITS | logical & ((1 << Self::LOGICAL_BITS) - 1))
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub const fn physical_ms(self) -> u64 {
        self.0 >> Self::LOGICAL_BITS
    }

    /// The counter within the millisecond.
    #[must_use]
    pub const fn logical(self) -> u64 {
        self.0 & ((1 << Self::LOGICAL_BITS) - 1)
    }
}

impl fmt::Display for Tso {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_version_7_sorted_and_unique_even_when_the_clock_stands_still() {
        let ids = TxnIds::new(7);
        let wall = Duration::from_millis(1_700_000_000_123);
        let made: Vec<TxnId> = (0..10_000).map(|_| ids.next(wall)).collect();
        assert!(made.windows(2).all(|pair| pair[0] < pair[1]));
        assert_eq!(made[0].0.get_version_num(), 7);
        assert_eq!(made[0].0.get_variant(), uuid::Variant::RFC4122);
        let (seconds, nanos) = made[0].0.get_timestamp().expect("version 7 has a time").to_unix();
        assert_eq!((seconds, nanos / 1_000_000), (1_700_000_000, 123));
    }

    #[test]
    fn ids_of_two_processes_at_the_same_instant_differ() {
        let wall = Duration::from_millis(1_700_000_000_123);
        assert_ne!(TxnIds::new(1).next(wall), TxnIds::new(2).next(wall));
    }

    #[test]
    fn an_id_reads_back_what_it_prints() {
        let id = TxnIds::new(1).next(Duration::from_secs(1_700_000_000));
        assert_eq!(id.to_string().parse::<TxnId>().expect("own text"), id);
    }

    #[test]
    fn an_id_holds_the_time_of_begin() {
        let wall = Duration::from_millis(1_700_000_000_123);
        let id = TxnIds::new(1).next(wall);
        assert_eq!(id.begun(), wall);
        assert_eq!(TxnId::from_bytes(*id.as_bytes()), id);
    }

    #[test]
    fn a_tso_is_physical_and_logical() {
        let tso = Tso::compose(1_700_000_000_123, 5);
        assert_eq!((tso.physical_ms(), tso.logical()), (1_700_000_000_123, 5));
    }
}
