//! Hot path: what makes two answers equal. Budget: one hash per packet, no allocation.
//!
//! An answer is hashed packet by packet while it is relayed. Column definitions, OK fields and
//! errors count in order. Rows count in order where the statement has an order, else as a
//! multiset: the sum of their keyed hashes modulo 2^128, so that equal rows don't cancel out
//! (a plain XOR would make {a, a} equal to {b, b}). Flags that speak of plans and cost, and
//! session state, are left out.

use xxhash_rust::xxh3::{Xxh3, Xxh3Builder, xxh3_128_with_seed};

use crate::wire::Malformed;
use crate::wire::packet::ok::Ok as OkPacket;
use crate::wire::response::Kind;
use crate::wire::status::Status;

/// The fingerprint of a complete answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    hash: u128,
    packets: u64,
    /// Status flags at the end, as far as they are compared; `None` behind an error.
    pub status: Option<Status>,
    /// The code of the error that ended the answer.
    pub error: Option<u16>,
}

/// Collects the fingerprint of one answer.
pub struct Fingerprint {
    seed: u64,
    ordered: bool,
    sequence: u128,
    multiset: u128,
    packets: u64,
    status: Option<Status>,
    error: Option<u16>,
    streamed: Option<Box<Stream>>,
}

struct Stream {
    kind: Kind,
    hash: Xxh3,
}

impl Fingerprint {
    /// Starts a fingerprint. `seed` is secret to the process, so that no client can prepare two
    /// answers with one hash; `ordered` compares rows in their order.
    #[must_use]
    pub const fn new(seed: u64, ordered: bool) -> Self {
        Self {
            seed,
            ordered,
            sequence: 0,
            multiset: 0,
            packets: 0,
            status: None,
            error: None,
            streamed: None,
        }
    }

    /// Takes a whole packet.
    #[inline]
    pub fn packet(&mut self, kind: Kind, payload: &[u8]) -> Result<(), Malformed> {
        match kind {
            Kind::Ok => self.ok(OkPacket::read(payload)?),
            Kind::RowsEnd | Kind::ColumnsEnd if payload.len() < 7 => {
                self.ok(OkPacket::read_eof(payload)?);
            }
            Kind::RowsEnd | Kind::ColumnsEnd => self.ok(OkPacket::read(payload)?),
            Kind::Row => self.row(self.hash(payload)),
            Kind::Err => {
                self.error = payload.get(1..3).map(|code| u16::from_le_bytes([code[0], code[1]]));
                self.status = None;
                self.in_order(self.hash(payload));
            }
            Kind::Authentication
            | Kind::Column
            | Kind::ColumnCount
            | Kind::Infile
            | Kind::PrepareOk
            | Kind::Text => self.in_order(self.hash(payload)),
        }
        Ok(())
    }

    /// Takes a piece of a packet that comes in pieces; `kind` is told with the first one.
    pub fn piece(&mut self, kind: Kind, bytes: &[u8]) {
        let seed = self.seed;
        let stream = self.streamed.get_or_insert_with(|| {
            Box::new(Stream { kind, hash: Xxh3Builder::new().with_seed(seed).build() })
        });
        stream.hash.update(bytes);
    }

    /// The packet that came in pieces is complete.
    pub fn pieces_end(&mut self) {
        if let Some(stream) = self.streamed.take() {
            match stream.kind {
                Kind::Row => self.row(stream.hash.digest128()),
                _ => self.in_order(stream.hash.digest128()),
            }
        }
    }

    /// The answer is complete.
    #[must_use]
    pub fn finish(self) -> Answer {
        let mut both = [0; 32];
        both[..16].copy_from_slice(&self.sequence.to_le_bytes());
        both[16..].copy_from_slice(&self.multiset.to_le_bytes());
        Answer {
            hash: self.hash(&both),
            packets: self.packets,
            status: self.status,
            error: self.error,
        }
    }

    fn ok(&mut self, ok: OkPacket<'_>) {
        let status = Status(ok.status.0 & Status::COMPARED);
        self.status = Some(status);
        let mut fields = [0; 20];
        fields[..8].copy_from_slice(&ok.affected_rows.to_le_bytes());
        fields[8..16].copy_from_slice(&ok.last_insert_id.to_le_bytes());
        fields[16..18].copy_from_slice(&status.0.to_le_bytes());
        fields[18..].copy_from_slice(&ok.warnings.to_le_bytes());
        self.in_order(self.hash(&fields));
        if !ok.status.has(Status::SESSION_STATE_CHANGED) {
            self.in_order(self.hash(ok.info));
        }
    }

    fn row(&mut self, hash: u128) {
        match self.ordered {
            true => self.in_order(hash),
            false => {
                self.multiset = self.multiset.wrapping_add(hash);
                self.packets += 1;
            }
        }
    }

    fn in_order(&mut self, hash: u128) {
        let mut both = [0; 32];
        both[..16].copy_from_slice(&self.sequence.to_le_bytes());
        both[16..].copy_from_slice(&hash.to_le_bytes());
        self.sequence = self.hash(&both);
        self.packets += 1;
    }

    fn hash(&self, bytes: &[u8]) -> u128 {
        xxh3_128_with_seed(bytes, self.seed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rows(ordered: bool, rows: &[&[u8]]) -> Answer {
        let mut fingerprint = Fingerprint::new(42, ordered);
        for row in rows {
            fingerprint.packet(Kind::Row, row).expect("rows are not parsed");
        }
        fingerprint.finish()
    }

    fn ok(status: u16, info: &[u8]) -> Answer {
        let mut payload = vec![0, 1, 0];
        payload.extend_from_slice(&status.to_le_bytes());
        payload.extend_from_slice(&[0, 0]);
        payload.extend_from_slice(info);
        let mut fingerprint = Fingerprint::new(42, true);
        fingerprint.packet(Kind::Ok, &payload).expect("an OK packet");
        fingerprint.finish()
    }

    #[test]
    fn without_order_only_the_multiset_of_rows_counts() {
        assert_eq!(rows(false, &[b"a", b"b"]), rows(false, &[b"b", b"a"]));
        assert_ne!(rows(true, &[b"a", b"b"]), rows(true, &[b"b", b"a"]));
        assert_ne!(rows(false, &[b"a", b"a"]), rows(false, &[b"b", b"b"]));
        assert_ne!(rows(false, &[b"a"]), rows(false, &[b"a", b"a"]));
        assert_ne!(rows(false, &[b"ab"]), rows(false, &[b"a", b"b"]));
    }

    #[test]
    fn flags_of_cost_and_session_state_are_left_out() {
        let in_trans = Status::IN_TRANS | Status::AUTOCOMMIT;
        assert_eq!(ok(in_trans, b""), ok(in_trans | 0x0020, b""));
        assert_ne!(ok(in_trans, b""), ok(Status::AUTOCOMMIT, b""));
        assert_ne!(ok(in_trans, b"Changed: 1"), ok(in_trans, b"Changed: 2"));
        let tracked = in_trans | Status::SESSION_STATE_CHANGED;
        assert_eq!(ok(tracked, b"gtid 1"), ok(tracked, b"gtid 2"));
    }

    proptest! {
        #[test]
        fn pieces_hash_like_the_whole(
            bytes in proptest::collection::vec(any::<u8>(), 0..2000),
            cut in any::<prop::sample::Index>(),
        ) {
            let cut = cut.index(bytes.len() + 1);
            let mut pieces = Fingerprint::new(7, true);
            pieces.piece(Kind::Row, &bytes[..cut]);
            pieces.piece(Kind::Row, &bytes[cut..]);
            pieces.pieces_end();
            let mut whole = Fingerprint::new(7, true);
            whole.packet(Kind::Row, &bytes).expect("rows are not parsed");
            prop_assert_eq!(pieces.finish(), whole.finish());
        }
    }
}
