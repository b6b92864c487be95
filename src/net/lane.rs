//! Hot path: the buffer of one direction. Budget: no copy and no allocation for a packet that is
//! relayed unchanged.
//!
//! ```text
//! data: [ written │ released (to be written) │ pending (not decided yet) │ free ]
//!       0        head                       ready                       tail
//! ```
//!
//! Bytes are read in at the tail, looked at in place, released, and written out from the head.
//! Only what is inserted (a tag, a statement of ours) or taken out (a swallowed reply) moves
//! bytes, and then only those behind it.

/// A buffer of one direction.
#[derive(Debug, Default)]
pub struct Lane {
    data: Vec<u8>,
    head: usize,
    ready: usize,
    tail: usize,
}

/// The first read of a lane that was empty.
const READ_MIN: usize = 8 << 10;

/// Reads grow up to this while they fill the buffer, so that big results need few system calls.
const READ_MAX: usize = 128 << 10;

/// A lane whose other side doesn't take this much is not filled any further.
const RELEASED_MAX: usize = 256 << 10;

impl Lane {
    /// Bytes that have not been decided on.
    #[inline]
    #[must_use]
    pub fn pending(&self) -> &[u8] {
        &self.data[self.ready..self.tail]
    }

    /// The same, to change in place.
    #[inline]
    #[must_use]
    pub fn pending_mut(&mut self) -> &mut [u8] {
        &mut self.data[self.ready..self.tail]
    }

    /// Lets the first `len` pending bytes go to the other side.
    #[inline]
    pub fn release(&mut self, len: usize) {
        debug_assert!(len <= self.tail - self.ready);
        self.ready += len;
    }

    /// Lets everything go.
    #[inline]
    pub fn release_all(&mut self) {
        self.ready = self.tail;
    }

    /// Takes the first `len` pending bytes out.
    pub fn discard(&mut self, len: usize) {
        debug_assert!(len <= self.tail - self.ready);
        if self.head == self.ready {
            self.head += len;
            self.ready += len;
        } else {
            self.data.copy_within(self.ready + len..self.tail, self.ready);
            self.tail -= len;
        }
        self.rewind();
    }

    /// Puts bytes between what is released and what is pending, and releases them.
    pub fn push(&mut self, bytes: &[u8]) {
        self.insert(0, bytes);
        self.ready += bytes.len();
    }

    /// Puts bytes into the pending part, `at` bytes from its beginning.
    pub fn insert(&mut self, at: usize, bytes: &[u8]) {
        self.rewind();
        let at = self.ready + at;
        debug_assert!(at <= self.tail);
        self.reserve(bytes.len());
        self.data.copy_within(at..self.tail, at + bytes.len());
        self.data[at..at + bytes.len()].copy_from_slice(bytes);
        self.tail += bytes.len();
    }

    /// Bytes that wait to be written.
    #[inline]
    #[must_use]
    pub fn released(&self) -> &[u8] {
        &self.data[self.head..self.ready]
    }

    /// The first `len` released bytes are out.
    #[inline]
    pub fn written(&mut self, len: usize) {
        debug_assert!(len <= self.ready - self.head);
        self.head += len;
        self.rewind();
    }

    /// Free space to read into; at least one byte.
    #[inline]
    pub fn space(&mut self) -> &mut [u8] {
        self.rewind();
        if self.data.len() - self.tail < READ_MIN {
            self.compact();
            let wanted = match self.data.len() {
                0 => READ_MIN,
                len if len < READ_MAX => len * 2,
                len => len,
            };
            let wanted = wanted.max(self.tail + READ_MIN);
            self.data.resize(wanted, 0);
        }
        &mut self.data[self.tail..]
    }

    /// `len` bytes were read into [`Self::space`].
    #[inline]
    pub fn filled(&mut self, len: usize) {
        debug_assert!(self.tail + len <= self.data.len());
        self.tail += len;
    }

    /// The other side lags behind: don't read more.
    #[inline]
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.ready - self.head >= RELEASED_MAX
    }

    /// Nothing is in it.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.head == self.tail
    }

    #[inline]
    fn rewind(&mut self) {
        if self.head == self.tail {
            self.head = 0;
            self.ready = 0;
            self.tail = 0;
            if self.data.len() > READ_MAX {
                // A huge packet went through; the memory goes back.
                self.data.truncate(READ_MAX);
                self.data.shrink_to_fit();
            }
        }
    }

    /// Moves what is there to the front.
    fn compact(&mut self) {
        if self.head > 0 {
            self.data.copy_within(self.head..self.tail, 0);
            self.ready -= self.head;
            self.tail -= self.head;
            self.head = 0;
        }
    }

    fn reserve(&mut self, len: usize) {
        if self.data.len() - self.tail < len {
            self.compact();
        }
        if self.data.len() - self.tail < len {
            self.data.resize((self.tail + len).next_power_of_two().max(READ_MIN), 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fill(lane: &mut Lane, bytes: &[u8]) {
        for chunk in bytes.chunks(1000) {
            lane.space()[..chunk.len()].copy_from_slice(chunk);
            lane.filled(chunk.len());
        }
    }

    #[test]
    fn bytes_pass_in_order() {
        let mut lane = Lane::default();
        fill(&mut lane, b"one two");
        lane.release(4);
        assert_eq!((lane.released(), lane.pending()), (&b"one "[..], &b"two"[..]));
        lane.written(2);
        assert_eq!(lane.released(), b"e ");
    }

    #[test]
    fn insertions_and_removals_touch_only_what_is_pending() {
        let mut lane = Lane::default();
        fill(&mut lane, b"aabb");
        lane.release(1);
        lane.insert(1, b"XY");
        assert_eq!((lane.released(), lane.pending()), (&b"a"[..], &b"aXYbb"[..]));
        lane.discard(2);
        lane.push(b"Z");
        assert_eq!((lane.released(), lane.pending()), (&b"aZ"[..], &b"Ybb"[..]));
    }

    #[test]
    fn a_huge_packet_leaves_no_memory_behind() {
        let mut lane = Lane::default();
        fill(&mut lane, &vec![1; 10 << 20]);
        lane.release_all();
        lane.written(10 << 20);
        assert!(lane.is_empty());
        assert!(lane.data.capacity() <= READ_MAX);
    }

    #[derive(Debug, Clone)]
    enum Op {
        Fill(Vec<u8>),
        Release(usize),
        Discard(usize),
        Push(Vec<u8>),
        Insert(usize, Vec<u8>),
        Write(usize),
    }

    fn op() -> impl Strategy<Value = Op> {
        let bytes = || proptest::collection::vec(any::<u8>(), 0..300);
        prop_oneof![
            bytes().prop_map(Op::Fill),
            (0usize..400).prop_map(Op::Release),
            (0usize..400).prop_map(Op::Discard),
            bytes().prop_map(Op::Push),
            (0usize..400, bytes()).prop_map(|(at, bytes)| Op::Insert(at, bytes)),
            (0usize..400).prop_map(Op::Write),
        ]
    }

    proptest! {
        /// The lane against two plain vectors.
        #[test]
        fn any_sequence_of_operations_keeps_every_byte(ops in proptest::collection::vec(op(), 0..60)) {
            let mut lane = Lane::default();
            let (mut released, mut pending): (Vec<u8>, Vec<u8>) = Default::default();
            for op in ops {
                match op {
                    Op::Fill(bytes) => { fill(&mut lane, &bytes); pending.extend(bytes); }
                    Op::Release(n) => {
                        let n = n.min(pending.len());
                        lane.release(n);
                        released.extend(pending.drain(..n));
                    }
                    Op::Discard(n) => {
                        let n = n.min(pending.len());
                        lane.discard(n);
                        pending.drain(..n);
                    }
                    Op::Push(bytes) => { lane.push(&bytes); released.extend(bytes); }
                    Op::Insert(at, bytes) => {
                        let at = at.min(pending.len());
                        lane.insert(at, &bytes);
                        pending.splice(at..at, bytes);
                    }
                    Op::Write(n) => {
                        let n = n.min(released.len());
                        lane.written(n);
                        released.drain(..n);
                    }
                }
                prop_assert_eq!(lane.released(), &released[..]);
                prop_assert_eq!(lane.pending(), &pending[..]);
            }
        }
    }
}
