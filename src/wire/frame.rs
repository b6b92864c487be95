//! Hot path: the 4-byte header of a physical packet. Budget: a few instructions per packet.
//!
//! Payload length (3 bytes, little endian), sequence id (1 byte). A payload of exactly
//! [`PAYLOAD_MAX`] bytes means that the logical packet goes on in the next frame
//! (MySQL protocol, "MySQL Packets").

/// Bytes of a frame header.
pub const HEADER_LEN: usize = 4;

/// The longest payload of one frame.
pub const PAYLOAD_MAX: usize = 0xFF_FFFF;

/// The header of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Payload bytes behind the header.
    pub len: usize,
    /// Sequence id; starts at 0 with each command and wraps.
    pub seq: u8,
}

impl Header {
    /// Reads a header; `None` if fewer than four bytes are there.
    #[inline]
    #[must_use]
    pub const fn read(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [a, b, c, seq, ..] => {
                let len = *a as usize | (*b as usize) << 8 | (*c as usize) << 16;
                Some(Self { len, seq: *seq })
            }
            _ => None,
        }
    }

    /// The header's four bytes; `len` must not exceed [`PAYLOAD_MAX`].
    #[inline]
    #[must_use]
    pub const fn to_bytes(self) -> [u8; HEADER_LEN] {
        debug_assert!(self.len <= PAYLOAD_MAX);
        [self.len as u8, (self.len >> 8) as u8, (self.len >> 16) as u8, self.seq]
    }

    /// Header and payload together.
    #[inline]
    #[must_use]
    pub const fn frame_len(self) -> usize {
        HEADER_LEN + self.len
    }

    /// True if the logical packet goes on in the next frame.
    #[inline]
    #[must_use]
    pub const fn continues(self) -> bool {
        self.len == PAYLOAD_MAX
    }
}

/// Appends a logical packet, split into frames where needed. Returns the next sequence id.
pub fn write_packet(out: &mut Vec<u8>, first_seq: u8, payload: &[u8]) -> u8 {
    let mut seq = first_seq;
    let mut rest = payload;
    loop {
        let len = rest.len().min(PAYLOAD_MAX);
        let header = Header { len, seq };
        out.extend_from_slice(&header.to_bytes());
        out.extend_from_slice(&rest[..len]);
        seq = seq.wrapping_add(1);
        rest = &rest[len..];
        if !header.continues() {
            return seq;
        }
    }
}

/// The frames of one packet.
#[must_use]
pub fn frames(first_seq: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len() + HEADER_LEN);
    write_packet(&mut out, first_seq, payload);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_reads_back() {
        let header = Header { len: 0x01_02_03, seq: 9 };
        assert_eq!(Header::read(&header.to_bytes()), Some(header));
        assert_eq!(Header::read(&[1, 2, 3]), None);
    }

    #[test]
    fn an_exact_multiple_of_the_maximum_ends_with_an_empty_frame() {
        let mut out = Vec::new();
        let next = write_packet(&mut out, 255, &vec![7; PAYLOAD_MAX]);
        assert_eq!(out.len(), PAYLOAD_MAX + 2 * HEADER_LEN);
        assert_eq!(Header::read(&out[HEADER_LEN + PAYLOAD_MAX..]), Some(Header { len: 0, seq: 0 }));
        assert_eq!(next, 1);
    }
}
