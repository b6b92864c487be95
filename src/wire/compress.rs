//! The compressed protocol: the stream of packets of one leg, cut into frames of its own (MySQL
//! protocol, "Compression").
//!
//! ```text
//! frame: [ length 3 │ sequence id 1 │ length before compression 3, 0 = not compressed │ bytes ]
//! ```
//!
//! By the protocol frames know nothing of packets, but drivers expect what servers do:
//!
//! - The sequence id of frames restarts with each command, so a frame that begins one holds nothing
//!   older ([`Turn`]).
//! - A packet lies in one frame, unless it is too long for that: mysql-connector-python waits in
//!   vain for one that comes in more pieces.
//! - The first packet of a frame has the frame's sequence id, of the last one if it fills several;
//!   those behind it count on. Servers do so where they have flushed (MariaDB `sql/net_serv.cc`,
//!   `net_flush`; TiDB `pkg/server/internal/packetio.go`, `Flush`), and mysql_async checks it. So
//!   ids of packets can't be handed on to a leg without compression; the session numbers them anew.

use std::io::{self, Read, Write};
use std::ops::Range;

use super::Malformed;
use super::frame::{HEADER_LEN, Header, PAYLOAD_MAX};

/// Bytes of a compressed frame's header.
const FRAME_HEADER_LEN: usize = 7;

/// Packets share a frame up to so many bytes; what compression gains no longer grows beyond.
const SHARED_MAX: usize = 128 << 10;

/// Less than this is sent as it is: compressing it makes it larger, and servers do the same.
const WORTH_IT: usize = 50;

/// How the bytes of one leg are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// zlib, at its default level.
    Zlib,
    /// zstd, at this level.
    Zstd(u8),
}

/// zstd's default level, and what MySQL's clients ask for.
pub const ZSTD_LEVEL: u8 = 3;

/// A client may ask for 22; at that level 16 MiB take seconds and 300 MB, and the thread has other
/// clients. Readers don't see the level.
const ZSTD_LEVEL_MAX: u8 = 6;

impl Algorithm {
    fn compress(self, plain: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        match self {
            Self::Zlib => {
                let level = flate2::Compression::default();
                let mut encoder = flate2::write::ZlibEncoder::new(out, level);
                encoder.write_all(plain)?;
                encoder.finish().map(drop)
            }
            Self::Zstd(level) => {
                let level = i32::from(level.clamp(1, ZSTD_LEVEL_MAX));
                out.extend_from_slice(&zstd::bulk::compress(plain, level)?);
                Ok(())
            }
        }
    }

    /// Appends exactly `len` bytes to `plain`; more or fewer are an error.
    fn decompress(self, packed: &[u8], len: usize, plain: &mut Vec<u8>) -> io::Result<()> {
        let before = plain.len();
        // One byte more than announced is enough to know that the announcement was wrong.
        let limit = len as u64 + 1;
        match self {
            Self::Zlib => {
                flate2::read::ZlibDecoder::new(packed).take(limit).read_to_end(plain)?;
            }
            Self::Zstd(_) => {
                zstd::stream::read::Decoder::new(packed)?.take(limit).read_to_end(plain)?;
            }
        }
        match plain.len() - before == len {
            true => Ok(()),
            false => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

/// Which side of the leg we are; the client begins each command with sequence id 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// We answer: frames go on from the last one that was read.
    Answer,
    /// We ask: each command restarts the count.
    Ask,
}

/// Both directions of one leg.
#[derive(Debug)]
pub struct Codec {
    algorithm: Algorithm,
    turn: Turn,
    /// Sequence id of the next frame that we write.
    seq: u8,
    asks: Asks,
    /// To be written; packets wait here until they are complete.
    waiting: Vec<u8>,
    /// Frames as read, not decoded yet.
    packed: Vec<u8>,
    /// Decoded, not taken yet.
    plain: Vec<u8>,
    taken: usize,
}

impl Codec {
    /// Begins behind the login.
    #[must_use]
    pub fn new(algorithm: Algorithm, turn: Turn) -> Self {
        Self {
            algorithm,
            turn,
            seq: 0,
            asks: Asks::default(),
            waiting: Vec::new(),
            packed: Vec::new(),
            plain: Vec::new(),
            taken: 0,
        }
    }

    /// Takes bytes to be written; [`Self::frames`] makes frames of them.
    pub fn write(&mut self, plain: &[u8]) {
        self.waiting.extend_from_slice(plain);
    }

    /// Bytes that are in no frame yet: at most one packet behind [`Self::frames`].
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Appends frames with all packets that are complete to `out`.
    pub fn frames(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        let (mut start, mut end, mut last) = (0, 0, 0_u8);
        while let Some(header) = Header::read(&self.waiting[end..]) {
            let next = end + header.frame_len();
            if next > self.waiting.len() {
                break;
            }
            let begins = self.turn == Turn::Ask && self.asks.begins(header);
            if end > start && (begins || next - start > SHARED_MAX) {
                self.frame(start..end, out)?;
                start = end;
            }
            if begins {
                self.seq = 0;
            }
            if self.turn == Turn::Answer {
                last = match end == start {
                    true => self.seq.wrapping_add((header.frame_len() / PAYLOAD_MAX) as u8),
                    false => last.wrapping_add(1),
                };
                self.waiting[end + HEADER_LEN - 1] = last;
            }
            end = next;
        }
        self.frame(start..end, out)?;
        self.waiting.drain(..end);
        if self.waiting.is_empty() && self.waiting.capacity() > KEPT {
            self.waiting = Vec::new();
        }
        Ok(())
    }

    /// The same with what is there of a packet that nobody will complete.
    pub fn last_frames(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        self.frames(out)?;
        let rest = 0..self.waiting.len();
        self.frame(rest, out)?;
        self.waiting.clear();
        Ok(())
    }

    /// One frame with these of the waiting bytes; several if they don't fit, none if there are none.
    fn frame(&mut self, bytes: Range<usize>, out: &mut Vec<u8>) -> io::Result<()> {
        for plain in self.waiting[bytes].chunks(PAYLOAD_MAX) {
            let start = out.len();
            out.extend_from_slice(&[0; FRAME_HEADER_LEN]);
            let mut before = plain.len();
            if plain.len() >= WORTH_IT {
                self.algorithm.compress(plain, out)?;
            }
            if plain.len() < WORTH_IT || out.len() - start - FRAME_HEADER_LEN >= plain.len() {
                out.truncate(start + FRAME_HEADER_LEN);
                out.extend_from_slice(plain);
                before = 0;
            }
            let len = out.len() - start - FRAME_HEADER_LEN;
            let header = Header { len, seq: self.seq }.to_bytes();
            out[start..start + HEADER_LEN].copy_from_slice(&header);
            out[start + HEADER_LEN..start + FRAME_HEADER_LEN]
                .copy_from_slice(&before.to_le_bytes()[..3]);
            self.seq = self.seq.wrapping_add(1);
        }
        Ok(())
    }

    /// Takes bytes in as they come; [`Self::read`] gives them back decoded.
    pub fn feed(&mut self, packed: &[u8]) {
        self.packed.extend_from_slice(packed);
    }

    /// Decodes what is complete and copies as much as fits into `out`; 0 if more bytes have to be
    /// fed first.
    pub fn read(&mut self, out: &mut [u8]) -> Result<usize, Malformed> {
        while self.taken == self.plain.len() {
            self.plain.clear();
            self.taken = 0;
            if !self.decode()? {
                return Ok(0);
            }
        }
        let len = out.len().min(self.plain.len() - self.taken);
        out[..len].copy_from_slice(&self.plain[self.taken..self.taken + len]);
        self.taken += len;
        if self.taken == self.plain.len() && self.plain.capacity() > KEPT {
            self.plain = Vec::new();
            self.taken = 0;
        }
        Ok(len)
    }

    /// Decodes one frame if it is complete.
    fn decode(&mut self) -> Result<bool, Malformed> {
        let Some(header) = Header::read(&self.packed) else { return Ok(false) };
        let whole = FRAME_HEADER_LEN + header.len;
        if self.packed.len() < whole {
            return Ok(false);
        }
        let before =
            u32::from_le_bytes([self.packed[4], self.packed[5], self.packed[6], 0]) as usize;
        let bytes = &self.packed[FRAME_HEADER_LEN..whole];
        match before {
            0 => self.plain.extend_from_slice(bytes),
            len => self
                .algorithm
                .decompress(bytes, len, &mut self.plain)
                .map_err(|_| Malformed("a compressed frame that does not decompress"))?,
        }
        self.seq = header.seq.wrapping_add(1);
        self.asks.fresh = true;
        self.packed.drain(..whole);
        if self.packed.is_empty() && self.packed.capacity() > KEPT {
            self.packed = Vec::new();
        }
        Ok(true)
    }
}

/// A larger buffer is given back once it is empty.
const KEPT: usize = 128 << 10;

/// Finds where commands begin in the packets that are written.
#[derive(Debug, Default)]
struct Asks {
    /// The next packet goes on with the one before.
    continues: bool,
    /// Something has been read since the last packet was written.
    fresh: bool,
    /// The packets carry a file or an authentication exchange: their ids go on, and may come
    /// round to 0.
    data: bool,
}

impl Asks {
    fn begins(&mut self, header: Header) -> bool {
        let begins = !self.continues && (self.fresh || !self.data) && header.seq == 0;
        if self.fresh {
            self.data = header.seq != 0;
            self.fresh = false;
        }
        // An empty packet ends a file.
        self.data &= header.len > 0;
        self.continues = header.continues();
        begins
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::frame::write_packet;
    use proptest::prelude::*;

    const BOTH: [Algorithm; 2] = [Algorithm::Zlib, Algorithm::Zstd(ZSTD_LEVEL)];

    fn packed(codec: &mut Codec, plain: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        codec.write(plain);
        codec.frames(&mut out).expect("in memory");
        out
    }

    /// Sequence id and length before compression of each frame.
    fn frames(mut bytes: &[u8]) -> Vec<(u8, usize)> {
        let mut found = Vec::new();
        while let Some(header) = Header::read(bytes) {
            let before = u32::from_le_bytes([bytes[4], bytes[5], bytes[6], 0]) as usize;
            found.push((header.seq, before));
            bytes = &bytes[FRAME_HEADER_LEN + header.len..];
        }
        found
    }

    fn command(seq: u8, len: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        write_packet(&mut bytes, seq, &vec![3; len]);
        bytes
    }

    fn drain(codec: &mut Codec) -> Vec<u8> {
        let (mut plain, mut space) = (Vec::new(), [0; 1000]);
        loop {
            match codec.read(&mut space).expect("legal frames") {
                0 => return plain,
                len => plain.extend_from_slice(&space[..len]),
            }
        }
    }

    #[test]
    fn short_and_noisy_bytes_stay_as_they_are() {
        for algorithm in BOTH {
            let mut codec = Codec::new(algorithm, Turn::Answer);
            assert_eq!(frames(&packed(&mut codec, &command(1, 45))), [(0, 0)]);
            assert_eq!(frames(&packed(&mut codec, &command(1, 46))), [(1, 50)]);
            let mut noise = Vec::new();
            let bytes: Vec<u8> = (0..60u8).map(|n| n.wrapping_mul(181)).collect();
            write_packet(&mut noise, 1, &bytes);
            assert_eq!(frames(&packed(&mut codec, &noise)), [(2, 0)]);
        }
    }

    #[test]
    fn each_command_has_a_frame_of_its_own_that_begins_the_count() {
        let mut codec = Codec::new(Algorithm::Zlib, Turn::Ask);
        let two = [command(0, 10), command(0, 60)].concat();
        assert_eq!(frames(&packed(&mut codec, &two)), [(0, 0), (0, 64)]);
        // A long one goes on with the count.
        let long = command(0, PAYLOAD_MAX + 10);
        let ids: Vec<_> = frames(&packed(&mut codec, &long)).iter().map(|frame| frame.0).collect();
        assert_eq!(ids, [0, 1, 2]);
    }

    #[test]
    fn a_packet_is_in_one_frame_and_the_first_has_its_id() {
        let mut codec = Codec::new(Algorithm::Zlib, Turn::Answer);
        // The question came in three frames.
        codec.feed(&[5, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 14]);
        drain(&mut codec);
        let long = command(9, 3 * SHARED_MAX);
        let (one, two) = long.split_at(100_000);
        let mut out = packed(&mut codec, one);
        assert_eq!((out.len(), codec.waiting()), (0, one.len()));
        out.extend(packed(&mut codec, two));
        let small = [command(1, 70_000), command(1, 20_000), command(1, 70_000)].concat();
        out.extend(packed(&mut codec, &small));
        let lens = [long.len(), 70_004 + 20_004, 70_004];
        assert_eq!(frames(&out), [(3, lens[0]), (4, lens[1]), (5, lens[2])]);
        let mut reader = Codec::new(Algorithm::Zlib, Turn::Ask);
        reader.feed(&out);
        let read = drain(&mut reader);
        let ids =
            [read[3], read[lens[0] + 3], read[lens[0] + 70_004 + 3], read[read.len() - 70_001]];
        assert_eq!(ids, [3, 4, 5, 5]);
        // One that fills two frames has the id of the second.
        let huge = packed(&mut codec, &command(1, PAYLOAD_MAX));
        assert_eq!(frames(&huge).iter().map(|frame| frame.0).collect::<Vec<_>>(), [6, 7, 8]);
        reader.feed(&huge);
        let read = drain(&mut reader);
        assert_eq!((read[3], read[read.len() - 1]), (7, 8));
    }

    #[test]
    fn what_nobody_completes_is_written_at_the_end() {
        let mut codec = Codec::new(Algorithm::Zlib, Turn::Answer);
        assert!(packed(&mut codec, &[9, 0, 0, 1, 5]).is_empty());
        let mut out = Vec::new();
        codec.last_frames(&mut out).expect("in memory");
        assert_eq!(frames(&out), [(0, 0)]);
    }

    #[test]
    fn a_file_goes_on_with_the_count_also_when_its_ids_come_round() {
        let mut codec = Codec::new(Algorithm::Zlib, Turn::Ask);
        packed(&mut codec, &command(0, 10));
        codec.feed(&[1, 0, 0, 1, 0, 0, 0, 0xFB]);
        assert_eq!(drain(&mut codec), [0xFB]);
        let mut file = Vec::new();
        for seq in 2..=300u16 {
            file.extend(command(seq as u8, 5));
        }
        file.extend(command(45, 0));
        assert_eq!(frames(&packed(&mut codec, &file))[0].0, 2);
        // The file has ended: a command may follow.
        assert_eq!(frames(&packed(&mut codec, &command(0, 5))), [(0, 0)]);
    }

    #[test]
    fn a_client_can_t_ask_for_more_work_than_we_are_ready_to_do() {
        let plain: Vec<u8> =
            (0..40_000u32).flat_map(|n| (n * n % 9973).to_string().into_bytes()).collect();
        let packed = [6, 22].map(|level| {
            let mut out = Vec::new();
            Algorithm::Zstd(level).compress(&plain, &mut out).expect("in memory");
            out
        });
        assert!(packed[0] == packed[1]);
    }

    #[test]
    fn answers_go_on_behind_the_question() {
        let mut codec = Codec::new(Algorithm::Zlib, Turn::Answer);
        codec.feed(&[5, 0, 0, 4, 0, 0, 0, 1, 0, 0, 0, 14]);
        assert_eq!(drain(&mut codec), [1, 0, 0, 0, 14]);
        assert_eq!(frames(&packed(&mut codec, &command(5, 6))), [(5, 0)]);
    }

    #[test]
    fn a_wrong_announcement_is_an_error_and_bounds_the_work() {
        for algorithm in BOTH {
            let mut codec = Codec::new(algorithm, Turn::Answer);
            let good = packed(&mut codec, &command(1, 99_996));
            for wrong in [99_999u32, 100_001, 1] {
                let mut bad = good.clone();
                bad[4..7].copy_from_slice(&wrong.to_le_bytes()[..3]);
                let mut codec = Codec::new(algorithm, Turn::Answer);
                codec.feed(&bad);
                assert!(codec.read(&mut [0; 10]).is_err());
                assert!(codec.plain.len() <= wrong as usize + 1);
            }
            let mut codec = Codec::new(algorithm, Turn::Answer);
            codec.feed(&[4, 0, 0, 0, 99, 0, 0, 1, 2, 3, 4]);
            assert!(codec.read(&mut [0; 10]).is_err());
        }
    }

    proptest! {
        /// What one side writes in pieces of any size the other side reads.
        #[test]
        fn what_is_written_is_read(
            lens in proptest::collection::vec(0usize..400, 1..20),
            chunk in 1usize..300,
            zstd: bool,
        ) {
            let algorithm = BOTH[usize::from(zstd)];
            let plain: Vec<u8> = lens.iter().flat_map(|len| command(0, *len)).collect();
            let bytes = packed(&mut Codec::new(algorithm, Turn::Ask), &plain);
            let mut reader = Codec::new(algorithm, Turn::Answer);
            let mut read = Vec::new();
            for part in bytes.chunks(chunk) {
                reader.feed(part);
                read.extend(drain(&mut reader));
            }
            prop_assert_eq!(read, plain);
        }
    }
}
