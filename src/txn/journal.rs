//! The requests of one transaction and the fingerprints of their answers, in memory, bounded.
//!
//! Requests lie one behind the other in a single buffer that is kept from transaction to
//! transaction, so that a warm session records without allocating. The limit of a transaction is
//! its own; the limit of the process is shared by all journals.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::sql::Lexing;

use super::fingerprint::Answer;

/// What a request does, as far as a replay rule may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Opens the transaction.
    Begin,
    /// Ends the transaction by committing it; always the last entry.
    Commit,
    /// INSERT or REPLACE.
    Insert,
    /// Reads.
    Read,
    /// Changes the session, not data.
    Session,
    /// Writes, or may write.
    Write,
}

/// One request and the answer that the client saw.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    start: usize,
    end: usize,
    /// Rows are compared in their order.
    pub ordered: bool,
    /// What it does.
    pub role: Role,
    /// The answer; `None` while it is still to come.
    pub answer: Option<Answer>,
}

/// The id that an INSERT has told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// The index of its entry.
    pub entry: usize,
    /// The first one that it generated.
    pub id: u64,
    /// How its text reads.
    pub lexing: Lexing,
}

/// The bytes that all journals of a process hold together.
#[derive(Debug, Clone)]
pub struct Budget {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    used: AtomicUsize,
    bytes_max: AtomicUsize,
}

impl Budget {
    /// A budget of `bytes_max` bytes.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        let shared = Shared { used: AtomicUsize::new(0), bytes_max: AtomicUsize::new(bytes_max) };
        Self { shared: Arc::new(shared) }
    }

    /// Changes the limit; what is in use beyond it stays until it is given back.
    pub fn limit(&self, bytes_max: usize) {
        self.shared.bytes_max.store(bytes_max, Ordering::Relaxed);
    }

    /// Bytes in use.
    #[must_use]
    pub fn used(&self) -> usize {
        self.shared.used.load(Ordering::Relaxed)
    }

    fn take(&self, bytes: usize) -> bool {
        let used = self.shared.used.fetch_add(bytes, Ordering::Relaxed);
        if used + bytes > self.shared.bytes_max.load(Ordering::Relaxed) {
            self.give_back(bytes);
            return false;
        }
        true
    }

    fn give_back(&self, bytes: usize) {
        self.shared.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Why a request could not be recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// The limit of this transaction.
    Transaction,
    /// The limit of the process.
    Process,
}

/// The journal of one session's current transaction.
#[derive(Debug)]
pub struct Journal {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    told: Vec<Told>,
    bytes_max: usize,
    budget: Budget,
}

/// Buffer that a session keeps between transactions.
const KEPT_BYTES: usize = 16 << 10;

/// What an entry costs beside its bytes, at most.
const ENTRY_BYTES: usize = size_of::<Entry>() + size_of::<Told>();

impl Journal {
    /// An empty journal for at most `bytes_max` bytes per transaction.
    #[must_use]
    pub const fn new(bytes_max: usize, budget: Budget) -> Self {
        Self { bytes: Vec::new(), entries: Vec::new(), told: Vec::new(), bytes_max, budget }
    }

    /// Records a request: its payload from the command byte on, without frame headers.
    pub fn push(&mut self, request: &[u8], role: Role, ordered: bool) -> Result<(), Full> {
        let cost = request.len() + ENTRY_BYTES;
        if self.cost() + cost > self.bytes_max {
            return Err(Full::Transaction);
        }
        if !self.budget.take(cost) {
            return Err(Full::Process);
        }
        let start = self.bytes.len();
        self.bytes.extend_from_slice(request);
        let end = self.bytes.len();
        self.entries.push(Entry { start, end, ordered, role, answer: None });
        Ok(())
    }

    /// Records the answer to the request that was pushed last.
    pub fn answer(&mut self, answer: Answer) {
        if let Some(entry) = self.entries.last_mut() {
            debug_assert!(entry.answer.is_none(), "one answer per request");
            entry.answer = Some(answer);
        }
    }

    /// The answer to the request that was pushed last tells of a generated id.
    pub fn note_id(&mut self, id: u64, lexing: Lexing) {
        if let Some(entry) = self.entries.len().checked_sub(1) {
            self.told.push(Told { entry, id, lexing });
        }
    }

    /// The ids that entries have told, oldest first.
    #[must_use]
    pub fn told(&self) -> &[Told] {
        &self.told
    }

    /// All entries with their requests, oldest first.
    pub fn entries(&self) -> impl Iterator<Item = (&Entry, &[u8])> {
        self.entries.iter().map(|entry| (entry, &self.bytes[entry.start..entry.end]))
    }

    /// The entry at `index` with its request.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<(Entry, &[u8])> {
        self.entries.get(index).map(|entry| (*entry, &self.bytes[entry.start..entry.end]))
    }

    /// The last entry with its request.
    #[must_use]
    pub fn last(&self) -> Option<(Entry, &[u8])> {
        self.get(self.len().checked_sub(1)?)
    }

    /// A copy of the last request and its answer, if it has one.
    #[must_use]
    pub fn last_answered(&self) -> Option<(Vec<u8>, Answer)> {
        let (entry, request) = self.last()?;
        Some((request.to_vec(), entry.answer?))
    }

    /// A request of it writes, or may.
    #[must_use]
    pub fn writes(&self) -> bool {
        self.entries.iter().any(|entry| matches!(entry.role, Role::Insert | Role::Write))
    }

    /// What the last request does.
    #[must_use]
    pub fn last_role(&self) -> Option<Role> {
        self.entries.last().map(|entry| entry.role)
    }

    /// Number of requests.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Nothing is recorded.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Forgets everything and gives the budget back.
    pub fn clear(&mut self) {
        self.budget.give_back(self.cost());
        self.entries.clear();
        self.told.clear();
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BYTES);
        self.entries.shrink_to(KEPT_BYTES / ENTRY_BYTES);
        self.told.shrink_to(KEPT_BYTES / ENTRY_BYTES);
    }

    fn cost(&self) -> usize {
        self.bytes.len() + self.entries.len() * ENTRY_BYTES
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_come_back_in_order() {
        let mut journal = Journal::new(1 << 20, Budget::new(1 << 20));
        journal.push(b"\x03BEGIN", Role::Begin, true).expect("room");
        journal.push(b"\x03UPDATE", Role::Write, true).expect("room");
        let requests: Vec<&[u8]> = journal.entries().map(|(_, request)| request).collect();
        assert_eq!(requests, [&b"\x03BEGIN"[..], b"\x03UPDATE"]);
    }

    #[test]
    fn limits_hold_and_a_cleared_journal_gives_everything_back() {
        let budget = Budget::new(1000);
        let mut one = Journal::new(600, budget.clone());
        let mut two = Journal::new(2000, budget.clone());
        assert_eq!(one.push(&[0; 600], Role::Write, true), Err(Full::Transaction));
        one.push(&[0; 400], Role::Write, true).expect("room");
        assert_eq!(two.push(&[0; 700], Role::Write, true), Err(Full::Process));
        assert!(budget.used() >= 400);
        one.clear();
        assert_eq!(budget.used(), 0);
        two.push(&[0; 700], Role::Write, true).expect("room");
        drop(two);
        assert_eq!(budget.used(), 0);
    }
}
