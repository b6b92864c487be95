//! Hot path: frames of a reply, one look at a time. Used where replies are relayed and where they
//! are swallowed.

use crate::wire::Malformed;
use crate::wire::frame::{HEADER_LEN, Header};
use crate::wire::response::{Kind, Response, Seen};

/// What the next pending bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// More bytes are needed to tell.
    More,
    /// A whole frame that is a whole packet.
    Packet {
        /// What it is.
        kind: Kind,
        /// Header and payload.
        frame_len: usize,
    },
    /// A part of a packet that may pass piece by piece.
    Piece {
        /// What the packet is.
        kind: Kind,
        /// Bytes of a frame header at the beginning of the piece.
        header: usize,
        /// Length of the piece, header included.
        len: usize,
        /// The packet is complete with this piece.
        ends: bool,
    },
}

impl Look {
    /// A frame's header is at the beginning of these bytes.
    #[inline]
    pub(super) fn begins_frame(self) -> bool {
        match self {
            Self::More => false,
            Self::Packet { .. } => true,
            Self::Piece { header, .. } => header > 0,
        }
    }
}

/// Where we are within a packet that passes piece by piece.
#[derive(Debug, Clone, Copy)]
struct Within {
    kind: Kind,
    /// Payload bytes of this frame that have not passed yet.
    left: usize,
    /// Another frame of the same packet follows.
    continues: bool,
    /// The reply is complete with this packet.
    ends_reply: bool,
}

/// Position in the stream of replies.
#[derive(Debug, Default)]
pub(super) struct Walk {
    within: Option<Within>,
}

impl Walk {
    /// Looks at what is pending; the caller passes on what it was told before looking again.
    #[inline]
    pub(super) fn look(
        &mut self,
        pending: &[u8],
        response: &mut Response,
    ) -> Result<(Look, Seen), Malformed> {
        if let Some(within) = self.within {
            let look = self.look_within(pending, within);
            let ends = within.ends_reply && self.within.is_none();
            return Ok((look, Seen { ends, ..Seen::default() }));
        }
        let Some(header) = Header::read(pending) else { return Ok((Look::More, Seen::default())) };
        if header.len > 0 && pending.len() == HEADER_LEN {
            return Ok((Look::More, Seen::default()));
        }
        let first = if header.len == 0 { 0 } else { pending[HEADER_LEN] };
        let kind = response.classify(header.len, first)?;
        let frame_len = header.frame_len();
        let whole = pending.len() >= frame_len && !header.continues();
        if whole {
            let seen = response.advance(kind, &pending[HEADER_LEN..frame_len])?;
            return Ok((Look::Packet { kind, frame_len }, seen));
        }
        if !kind.may_stream() {
            return match header.continues() {
                true => Err(Malformed("a packet of 16 MiB that is no row")),
                false => Ok((Look::More, Seen::default())),
            };
        }
        let mut seen =
            response.advance(kind, &pending[HEADER_LEN..pending.len().min(frame_len)])?;
        let len = pending.len().min(frame_len);
        // The reply ends with the last piece, not with the first.
        let ends_reply = std::mem::take(&mut seen.ends);
        let (left, continues) = (frame_len - len, header.continues());
        self.enter(Within { kind, left, continues, ends_reply });
        Ok((Look::Piece { kind, header: HEADER_LEN, len, ends: false }, seen))
    }

    fn look_within(&mut self, pending: &[u8], within: Within) -> Look {
        let Within { kind, left, .. } = within;
        if left > 0 {
            let len = pending.len().min(left);
            if len == 0 {
                return Look::More;
            }
            self.enter(Within { left: left - len, ..within });
            return Look::Piece { kind, header: 0, len, ends: self.within.is_none() };
        }
        // A frame of 16 MiB is through; the next one goes on with the same packet.
        let Some(header) = Header::read(pending) else { return Look::More };
        let len = pending.len().min(header.frame_len());
        let left = header.frame_len() - len;
        self.enter(Within { left, continues: header.continues(), ..within });
        Look::Piece { kind, header: HEADER_LEN, len, ends: self.within.is_none() }
    }

    fn enter(&mut self, within: Within) {
        self.within = (within.left > 0 || within.continues).then_some(within);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::capability::Capabilities;
    use crate::wire::command::Reply;
    use crate::wire::frame::{PAYLOAD_MAX, write_packet};

    /// Walks over `bytes`, given in chunks, and returns the payloads of all packets.
    fn walk(bytes: &[u8], chunk: usize, reply: Reply) -> Vec<(Kind, Vec<u8>)> {
        let mut response = Response::new(reply, Capabilities(0));
        let mut walk = Walk::default();
        let mut found: Vec<(Kind, Vec<u8>)> = Vec::new();
        let mut open = false;
        let (mut start, mut end) = (0, 0);
        while start < bytes.len() {
            let (look, _) = walk.look(&bytes[start..end], &mut response).expect("legal");
            match look {
                Look::More => {
                    assert!(end < bytes.len(), "stuck at {start}");
                    end = (end + chunk).min(bytes.len());
                }
                Look::Packet { kind, frame_len } => {
                    found.push((kind, bytes[start + HEADER_LEN..start + frame_len].to_vec()));
                    start += frame_len;
                }
                Look::Piece { kind, header, len, ends } => {
                    if !open {
                        found.push((kind, Vec::new()));
                    }
                    let piece = &bytes[start + header..start + len];
                    found.last_mut().expect("pushed").1.extend_from_slice(piece);
                    open = !ends;
                    start += len;
                }
            }
        }
        assert!(!open);
        found
    }

    #[test]
    fn chunks_of_any_size_give_the_same_packets() {
        let mut bytes = Vec::new();
        for payload in [&b"\x01"[..], b"\x03def", b"\xFE\0\0\x02\0", &[5; 300], b"\x01x"] {
            write_packet(&mut bytes, 1, payload);
        }
        write_packet(&mut bytes, 6, b"\xFE\0\0\x02\0");
        let whole = walk(&bytes, bytes.len(), Reply::Results);
        assert_eq!(whole.len(), 6);
        for chunk in [1, 2, 3, 7, 100] {
            assert_eq!(walk(&bytes, chunk, Reply::Results), whole, "chunks of {chunk}");
        }
    }

    #[test]
    fn a_reply_ends_with_the_last_piece_of_its_last_packet() {
        let new = Capabilities(Capabilities::DEPRECATE_EOF);
        let (text, columns) =
            (&[b"Uptime: 1"][..], &[&b"\0\0\0\0\0\x01\0\0\0\0\0\0"[..], b"def"][..]);
        for (reply, packets) in [
            (Reply::Text, text.iter().map(|text| &text[..]).collect()),
            (Reply::Prepare, columns.to_vec()),
        ] {
            let mut bytes = Vec::new();
            for packet in packets {
                write_packet(&mut bytes, 1, packet);
            }
            let (mut response, mut walk) = (Response::new(reply, new), Walk::default());
            let (mut start, mut end) = (0, 0);
            while start < bytes.len() {
                let (look, seen) = walk.look(&bytes[start..end], &mut response).expect("legal");
                match look {
                    Look::More => end += 1,
                    Look::Packet { frame_len: len, .. } | Look::Piece { len, .. } => start += len,
                }
                assert_eq!(seen.ends, start == bytes.len(), "{start} of {}", bytes.len());
            }
        }
    }

    #[test]
    fn a_row_of_more_than_16_mib_is_one_packet() {
        for len in [PAYLOAD_MAX, PAYLOAD_MAX + 5] {
            let mut bytes = Vec::new();
            write_packet(&mut bytes, 1, &vec![7; len]);
            write_packet(&mut bytes, 3, b"\xFE\0\0\x02\0");
            for chunk in [1 << 20, bytes.len()] {
                let found = walk(&bytes, chunk, Reply::Fetch);
                assert_eq!(found.len(), 2);
                assert_eq!((found[0].0, found[0].1.len()), (Kind::Row, len));
            }
        }
    }
}
