//! Who may replay, and when: transactions that collide shall make progress instead of a storm.
//!
//! ```text
//! conflict ─▶ Tokens::take ─▶ Contention::enter ─▶ stand: Wait … Go ─▶ replay ─▶ leave
//!              │ none left      │ circuit open       │ time is up                 │ wakes the next
//!              ▼                ▼                    ▼                            ▼
//!           original error   original error       original error         committed, failed or left
//! ```
//!
//! Three things, each of which helps where the others don't:
//!
//! - *A queue for each hot key.* TiDB's 9007 names the row or index entry that was fought for. The
//!   first replay of a transaction goes at once, but for a random pause: mostly nobody is in its way
//!   any more. Those that lose again go one at a time for each key, in order of arrival: all of them
//!   at once would conflict with each other. Nobody has anything open in the backend while it waits, so a
//!   queue can't be part of a deadlock, and a transaction stands in one queue only. A turn that
//!   takes too long lets the next one go as well.
//! - *A token bucket for the process*, as gRPC's retry throttling (gRFC A6) and Finagle's
//!   `RetryBudget` have it: a replay in vain costs a token, a commit gives one back. However bad it
//!   gets, replays in vain are at most as many as commits, beyond a full bucket.
//! - *A circuit breaker for each key*: where replays fail one after the other (an application that
//!   writes what it has read, say), the next ones are not begun for a while; then one shows whether
//!   it is over. Conflicts without a key have none: they may have nothing to do with each other.
//!
//! What is refused here is the replay, never the transaction: the client gets the original error,
//! as without txguard. Time is a [`Duration`] since any fixed moment, handed in.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64;

/// A turn that takes longer lets the next one go as well: some hundred times what a small
/// transaction takes, and a fraction of a policy's budget.
pub const TURN_MAX: Duration = Duration::from_secs(1);

/// Keys that are remembered although nobody waits for them; only those with failures are.
const IDLE_KEYS_MAX: usize = 4096;

/// The row or index entry that transactions fight for, by the words of the conflict. Two that are
/// taken for one share a queue, and nothing worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct HotKey(u64);

impl HotKey {
    /// The key that the message of a 9007 names: `…, key={tableID=106, tableName=shop.t, handle=1},
    /// originalKey=…, primary=…` (TiDB's `newWriteConflictError`). `None` if it is redacted
    /// (`key=????`) or the message is another one.
    #[must_use]
    pub fn of(message: &[u8]) -> Option<Self> {
        const BEFORE: &[u8] = b", key={";
        const BEHIND: &[u8] = b"primary=";
        let start = find(message, BEFORE)? + BEFORE.len();
        let key = &message[start..];
        Some(Self(xxh3_64(&key[..find(key, BEHIND)?])))
    }
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

/// The process's tokens: each replay takes one, and gets it back if it was not in vain; each commit
/// gives one more, up to the limit.
#[derive(Debug)]
pub struct Tokens {
    left: AtomicU32,
    max: AtomicU32,
}

impl Tokens {
    /// A full bucket; with a limit of 0 there is none.
    #[must_use]
    pub const fn new(max: u32) -> Self {
        Self { left: AtomicU32::new(max), max: AtomicU32::new(max) }
    }

    /// Changes the limit; a bucket of another size is full.
    pub fn limit(&self, max: u32) {
        if self.max.swap(max, Ordering::Relaxed) != max {
            self.left.store(max, Ordering::Relaxed);
        }
    }

    /// Tokens in the bucket.
    #[must_use]
    pub fn left(&self) -> u32 {
        self.left.load(Ordering::Relaxed)
    }

    /// Takes one. False if none is left.
    #[must_use]
    pub fn take(&self) -> bool {
        let fewer = |left: u32| left.checked_sub(1);
        self.max.load(Ordering::Relaxed) == 0
            || self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fewer).is_ok()
    }

    /// Gives one back. The bucket is full nearly always, and then this only reads.
    pub fn give(&self) {
        let max = self.max.load(Ordering::Relaxed);
        let more = |left: u32| (left < max).then(|| left + 1);
        // An error means that it is full.
        let _ = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
    }
}

/// How much is too much; by default nothing is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Etiquette {
    /// Tokens of a full bucket; 0 for no limit.
    pub tokens: u32,
    /// A circuit opens after so many failed replays in a row; 0 for never.
    pub failures: u32,
    /// It stays open for so long.
    pub pause: Duration,
}

/// A place in a queue, or the turn itself. Whoever has one must [`Contention::leave`].
#[derive(Debug, PartialEq, Eq)]
pub struct Ticket {
    key: Option<HotKey>,
    number: u64,
    queues: bool,
}

impl Ticket {
    /// What its holder fought for; `None` has no queue.
    #[must_use]
    pub const fn key(&self) -> Option<HotKey> {
        self.key
    }

    /// Its holder stands in a queue, or has the turn.
    #[must_use]
    pub const fn queues(&self) -> bool {
        self.queues
    }
}

/// Replays on this key keep failing; none is begun for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CircuitOpen;

/// Where the holder of a ticket stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It has the turn.
    Go,
    /// It is to ask again when it is woken, and at this time.
    Wait {
        /// When another one's turn has taken too long.
        until: Duration,
    },
}

/// What came of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The transaction went on as if nothing had happened.
    Succeeded,
    /// The replay was in vain.
    Failed,
    /// It was not tried, or the outcome says nothing about the next one.
    Left,
}

/// What can be seen of it from outside.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Shown {
    /// Replays that wait for their turn.
    pub waiting: usize,
    /// Keys whose circuit is open.
    pub circuits_open: usize,
}

/// Queues and circuits of a process. `W` wakes one who waits.
#[derive(Debug)]
pub struct Contention<W> {
    etiquette: Etiquette,
    keys: HashMap<Option<HotKey>, Contended<W>>,
    next: u64,
}

/// What is known of one key.
#[derive(Debug)]
struct Contended<W> {
    /// Whose turn it is, and when that has taken too long.
    turn: Option<(u64, Duration)>,
    queue: VecDeque<(u64, W)>,
    /// Failed replays in a row.
    failed: u32,
    /// No replay begins before.
    open_until: Duration,
}

impl<W> Default for Contended<W> {
    fn default() -> Self {
        Self { turn: None, queue: VecDeque::new(), failed: 0, open_until: Duration::ZERO }
    }
}

impl<W> Contended<W> {
    fn is_idle(&self) -> bool {
        self.turn.is_none() && self.queue.is_empty()
    }
}

impl<W: Clone> Contention<W> {
    /// Nobody waits.
    #[must_use]
    pub fn new(etiquette: Etiquette) -> Self {
        Self { etiquette, keys: HashMap::new(), next: 0 }
    }

    /// Changes when circuits open.
    pub fn limit(&mut self, etiquette: Etiquette) {
        self.etiquette = etiquette;
    }

    /// A replay arrives; it stands in a queue if its transaction has lost `again`. Without a key there is
    /// neither queue nor circuit.
    ///
    /// # Errors
    /// The circuit is open.
    pub fn enter(
        &mut self,
        key: Option<HotKey>,
        again: bool,
        now: Duration,
        waker: W,
    ) -> Result<Ticket, CircuitOpen> {
        if self.keys.len() >= IDLE_KEYS_MAX {
            self.keys.retain(|_, place| !place.is_idle() || place.open_until > now);
        }
        let place = self.keys.entry(key).or_default();
        if place.open_until > now {
            return Err(CircuitOpen);
        }
        let number = self.next;
        self.next += 1;
        let queues = again && key.is_some();
        if queues {
            place.queue.push_back((number, waker));
        }
        Ok(Ticket { key, number, queues })
    }

    /// Is it this one's turn?
    ///
    /// # Errors
    /// The circuit has opened meanwhile; the ticket must be given up all the same.
    pub fn stand(&mut self, ticket: &Ticket, now: Duration) -> Result<Standing, CircuitOpen> {
        let Some(place) = self.keys.get_mut(&ticket.key) else { return Ok(Standing::Go) };
        if place.open_until > now {
            return Err(CircuitOpen);
        }
        if !ticket.queues {
            return Ok(Standing::Go);
        }
        let is_first = place.queue.front().is_some_and(|(first, _)| *first == ticket.number);
        match place.turn {
            Some((_, until)) if until > now => Ok(Standing::Wait { until }),
            _ if !is_first => Ok(Standing::Wait { until: now + TURN_MAX }),
            _ => {
                place.queue.pop_front();
                place.turn = Some((ticket.number, now + TURN_MAX));
                Ok(Standing::Go)
            }
        }
    }

    /// A ticket is given up; wakes the one whose turn it is now.
    pub fn leave(&mut self, ticket: &Ticket, ended: Ended, now: Duration) -> Option<W> {
        let place = self.keys.get_mut(&ticket.key)?;
        place.queue.retain(|(number, _)| *number != ticket.number);
        place.turn = place.turn.filter(|(number, _)| *number != ticket.number);
        match ended {
            Ended::Succeeded => (place.failed, place.open_until) = (0, Duration::ZERO),
            Ended::Failed => {
                place.failed = place.failed.saturating_add(1);
                let one_row = ticket.key.is_some();
                if one_row && (1..=place.failed).contains(&self.etiquette.failures) {
                    place.open_until = now + self.etiquette.pause;
                }
            }
            Ended::Left => {}
        }
        let next = place.queue.front().filter(|_| place.turn.is_none());
        let waker = next.map(|(_, waker)| waker.clone());
        if place.is_idle() && place.failed == 0 {
            self.keys.remove(&ticket.key);
        }
        waker
    }

    /// How it looks now.
    #[must_use]
    pub fn shown(&self, now: Duration) -> Shown {
        Shown {
            waiting: self.keys.values().map(|place| place.queue.len()).sum(),
            circuits_open: self.keys.values().filter(|place| place.open_until > now).count(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// As TiDB v7.5 words it; the times before the key are never the same twice.
    fn message(start_ts: u64, key: &str) -> Vec<u8> {
        format!(
            "Write conflict, txnStartTS={start_ts}, conflictStartTS=399402937719455772, \
             conflictCommitTS={start_ts}, {key}, reason=Optimistic [try again later]"
        )
        .into_bytes()
    }

    const ROW: &str = "key={tableID=106, tableName=shop.t, handle=1}, originalKey=7480, \
                       primary={tableID=106, tableName=shop.t, handle=1}, originalPrimaryKey=7480";
    const OTHER_PRIMARY: &str = "key={tableID=106, tableName=shop.t, handle=1}, originalKey=7480, \
                       primary={tableID=106, tableName=shop.t, handle=9}, originalPrimaryKey=7481";
    const ENTRY: &str = "key={tableID=106, tableName=shop.t, indexID=1, indexValues={a}, b, }}, \
                         originalKey=7482, primary={}, originalPrimaryKey=7482";

    #[test]
    fn a_message_names_its_key_whatever_else_it_says() {
        let row = HotKey::of(&message(1, ROW)).expect("a key");
        assert_eq!(HotKey::of(&message(2, ROW)), Some(row));
        assert_eq!(HotKey::of(&message(3, OTHER_PRIMARY)), Some(row));
        let entry = HotKey::of(&message(1, ENTRY)).expect("a key");
        assert_ne!(entry, row);
        for none in ["key=????", "key={tableID=1", ""] {
            assert_eq!(HotKey::of(&message(1, none)), None, "{none}");
        }
        assert_eq!(HotKey::of(b"Deadlock found when trying to get lock"), None);
    }

    #[test]
    fn a_bucket_gives_what_it_has_and_is_never_more_than_full() {
        let tokens = Tokens::new(2);
        assert_eq!([tokens.take(), tokens.take(), tokens.take()], [true, true, false]);
        tokens.give();
        assert_eq!([tokens.take(), tokens.take()], [true, false]);
        (0..9).for_each(|_| tokens.give());
        assert_eq!(tokens.left(), 2);
        tokens.limit(5);
        assert_eq!((tokens.left(), tokens.take()), (5, true));
        tokens.limit(5);
        assert_eq!(tokens.left(), 4, "a reload that changes nothing brings nothing");
    }

    #[test]
    fn a_bucket_of_none_is_no_limit() {
        let tokens = Tokens::new(0);
        assert!((0..9).all(|_| tokens.take()));
        tokens.give();
        assert_eq!(tokens.left(), 0);
    }

    const ETIQUETTE: Etiquette =
        Etiquette { tokens: 0, failures: 3, pause: Duration::from_secs(1) };

    const fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn key(name: u8) -> Option<HotKey> {
        Some(HotKey(u64::from(name)))
    }

    fn new() -> Contention<u8> {
        Contention::new(ETIQUETTE)
    }

    #[test]
    fn one_goes_at_a_time_in_order_of_arrival() {
        let mut all = new();
        let [a, b, c] =
            [1, 2, 3].map(|waker| all.enter(key(1), true, at(0), waker).expect("closed"));
        let wait = Ok(Standing::Wait { until: TURN_MAX });
        assert_eq!(all.stand(&b, at(0)), wait);
        assert_eq!(all.stand(&a, at(0)), Ok(Standing::Go));
        assert_eq!((all.stand(&b, at(0)), all.stand(&c, at(0))), (wait, wait));
        assert_eq!(all.shown(at(0)).waiting, 2);
        assert_eq!(all.leave(&a, Ended::Succeeded, at(1)), Some(2));
        assert_eq!(all.stand(&b, at(1)), Ok(Standing::Go));
        // One who leaves before its turn wakes nobody while the turn is another's.
        assert_eq!(all.leave(&c, Ended::Left, at(2)), None);
        assert_eq!(all.leave(&b, Ended::Left, at(2)), None);
        assert!(all.keys.is_empty(), "nothing stays behind");
    }

    #[test]
    fn one_who_was_woken_and_leaves_wakes_the_next() {
        let mut all = new();
        let [a, b, c] =
            [1, 2, 3].map(|waker| all.enter(key(1), true, at(0), waker).expect("closed"));
        assert_eq!(all.stand(&a, at(0)), Ok(Standing::Go));
        assert_eq!(all.leave(&a, Ended::Left, at(0)), Some(2));
        assert_eq!(all.leave(&b, Ended::Left, at(0)), Some(3));
        assert_eq!(all.stand(&c, at(0)), Ok(Standing::Go));
    }

    #[test]
    fn keys_don_t_wait_for_each_other_and_without_a_key_nobody_waits() {
        let mut all = new();
        for name in [key(1), key(2), None, None] {
            let ticket = all.enter(name, true, at(0), 0).expect("closed");
            assert_eq!(all.stand(&ticket, at(0)), Ok(Standing::Go), "{name:?}");
        }
    }

    #[test]
    fn who_has_lost_for_the_first_time_waits_for_nobody() {
        let mut all = new();
        let first = all.enter(key(1), true, at(0), 1).expect("closed");
        assert_eq!(all.stand(&first, at(0)), Ok(Standing::Go));
        let new = all.enter(key(1), false, at(0), 2).expect("closed");
        assert!(first.queues() && !new.queues());
        assert_eq!(all.stand(&new, at(0)), Ok(Standing::Go));
        assert_eq!(all.leave(&new, Ended::Succeeded, at(0)), None);
        assert_eq!(all.leave(&first, Ended::Succeeded, at(0)), None);
        assert!(all.keys.is_empty(), "nothing stays behind");
    }

    #[test]
    fn a_turn_that_takes_too_long_lets_the_next_one_go() {
        let mut all = new();
        let [a, b, c] =
            [1, 2, 3].map(|waker| all.enter(key(1), true, at(0), waker).expect("closed"));
        assert_eq!(all.stand(&a, at(0)), Ok(Standing::Go));
        assert_eq!(all.stand(&b, at(999)), Ok(Standing::Wait { until: at(1000) }));
        assert_eq!(all.stand(&b, at(1000)), Ok(Standing::Go));
        assert_eq!(all.stand(&c, at(1000)), Ok(Standing::Wait { until: at(2000) }));
        // The turn is no longer its own.
        assert_eq!(all.leave(&a, Ended::Succeeded, at(1500)), None);
        assert_eq!(all.leave(&b, Ended::Succeeded, at(1600)), Some(3));
    }

    #[test]
    fn a_circuit_opens_after_failures_in_a_row_and_one_replay_shows_whether_it_is_over() {
        let mut all = new();
        let mut one = |ended, now| {
            let ticket = all.enter(key(1), true, now, 0)?;
            all.stand(&ticket, now)?;
            all.leave(&ticket, ended, now);
            Ok(())
        };
        for ended in [
            Ended::Failed,
            Ended::Failed,
            Ended::Succeeded,
            Ended::Failed,
            Ended::Left,
            Ended::Failed,
        ] {
            assert_eq!(one(ended, at(0)), Ok(()));
        }
        assert_eq!(one(Ended::Failed, at(0)), Ok(()), "two in a row are not three");
        assert_eq!(one(Ended::Left, at(999)), Err(CircuitOpen));
        assert_eq!(one(Ended::Failed, at(1000)), Ok(()));
        assert_eq!(one(Ended::Left, at(1999)), Err(CircuitOpen), "it is not over");
        assert_eq!(one(Ended::Succeeded, at(2000)), Ok(()));
        assert_eq!(one(Ended::Failed, at(2000)), Ok(()));
        assert_eq!(one(Ended::Failed, at(2000)), Ok(()), "it was over");
    }

    #[test]
    fn conflicts_without_a_key_have_no_circuit() {
        let mut all = new();
        for _ in 0..100 {
            let ticket = all.enter(None, true, at(0), 0).expect("no circuit");
            assert_eq!(all.stand(&ticket, at(0)), Ok(Standing::Go));
            all.leave(&ticket, Ended::Failed, at(0));
        }
    }

    #[test]
    fn who_waits_when_a_circuit_opens_is_refused_too() {
        let mut all = new();
        let [a, b, c] =
            [1, 2, 3].map(|waker| all.enter(key(1), true, at(0), waker).expect("closed"));
        all.keys.get_mut(&key(1)).expect("known").failed = 2;
        assert_eq!(all.stand(&a, at(0)), Ok(Standing::Go));
        assert_eq!(all.leave(&a, Ended::Failed, at(0)), Some(2));
        assert_eq!(all.shown(at(0)).circuits_open, 1);
        assert_eq!(all.stand(&b, at(0)), Err(CircuitOpen));
        assert_eq!(all.leave(&b, Ended::Left, at(0)), Some(3));
        assert_eq!(all.stand(&c, at(0)), Err(CircuitOpen));
        let other = all.enter(key(2), true, at(0), 4).expect("another key");
        assert_eq!(all.stand(&other, at(0)), Ok(Standing::Go));
    }

    #[test]
    fn a_breaker_of_none_never_opens_and_failures_of_old_keys_are_forgotten() {
        let mut all = Contention::new(Etiquette { failures: 0, ..ETIQUETTE });
        for number in 0..=IDLE_KEYS_MAX as u64 {
            let ticket = all.enter(Some(HotKey(number)), true, at(0), 0).expect("closed");
            all.leave(&ticket, Ended::Failed, at(0));
        }
        assert_eq!(all.keys.len(), 1);
    }

    proptest::proptest! {
        /// Whatever happens, nobody who waits is forgotten: there is one in the turn, or the first
        /// in the queue has been woken, and at the end everybody has had a turn or has left.
        #[test]
        fn nobody_waits_for_nothing(
            steps in proptest::collection::vec((0_usize..8, proptest::bool::ANY), 0..200)
        ) {
            let mut all = new();
            let mut waiting: VecDeque<(usize, Ticket)> = VecDeque::new();
            let mut turn: Option<Ticket> = None;
            let mut woken: Option<usize> = None;
            for (number, (pick, leaves)) in steps.into_iter().enumerate() {
                if pick > 3 || waiting.is_empty() {
                    let ticket = all.enter(key(1), true, at(0), number as u8).expect("closed");
                    waiting.push_back((number, ticket));
                }
                match turn.take() {
                    Some(ticket) if leaves => {
                        let next = all.leave(&ticket, Ended::Succeeded, at(0));
                        woken = waiting.front().map(|(number, _)| *number);
                        proptest::prop_assert_eq!(next, woken.map(|number| number as u8));
                    }
                    Some(ticket) => {
                        turn = Some(ticket);
                        let (_, gone) = waiting.remove(pick % waiting.len()).expect("one waits");
                        proptest::prop_assert_eq!(all.leave(&gone, Ended::Left, at(0)), None);
                    }
                    None => {
                        let (number, first) = waiting.pop_front().expect("one waits");
                        proptest::prop_assert!(woken.is_none_or(|woken| woken == number));
                        proptest::prop_assert_eq!(all.stand(&first, at(0)), Ok(Standing::Go));
                        turn = Some(first);
                        woken = None;
                    }
                }
            }
            let tickets = turn.into_iter().chain(waiting.into_iter().map(|(_, ticket)| ticket));
            for ticket in tickets.collect::<Vec<_>>() {
                all.leave(&ticket, Ended::Left, at(0));
            }
            proptest::prop_assert!(all.keys.is_empty());
        }
    }
}
