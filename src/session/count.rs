//! Sequence ids of packets, where a leg is compressed.
//!
//! Between two plain legs ids pass as they are. A compressed leg counts frames, and the ids of the
//! packets within follow that count on some servers and clients (TiDB, libmysqlclient) and mean
//! nothing on others; a plain leg closes the connection at the first wrong one. So they are
//! written anew here: a command keeps its own, everything behind it is one more than the packet
//! before it, from whichever side that came. The same is done with the answer to a COMMIT that
//! follows a receipt.

use crate::wire::frame::HEADER_LEN;

/// The id of the last packet under way in each direction.
#[derive(Debug)]
pub(super) struct Count {
    /// False between two plain legs: nothing is written.
    on: bool,
    /// The reply under way stands behind one of ours in one chain, and the client must not see that.
    behind: bool,
    /// Of the client's last frame.
    asked: u8,
    /// Of the backend's last frame in the reply under way.
    answered: u8,
}

impl Count {
    pub(super) fn new(on: bool) -> Self {
        Self { on, behind: false, asked: 0, answered: 0 }
    }

    /// A frame of the client begins a command.
    #[inline]
    pub(super) fn command(&mut self, seq: u8) {
        self.asked = seq;
    }

    /// A frame of the client goes on with its packet.
    #[inline]
    pub(super) fn more(&mut self, frame: &mut [u8]) {
        self.asked = self.asked.wrapping_add(1);
        self.write(frame, self.asked);
    }

    /// A frame of the client answers the reply under way: a file, an authentication.
    pub(super) fn data(&mut self, frame: &mut [u8]) {
        self.answered = self.answered.wrapping_add(1);
        self.asked = self.answered;
        self.write(frame, self.asked);
    }

    /// A reply begins; `behind` a part of the same chain that the client doesn't see.
    #[inline]
    pub(super) fn reply(&mut self, behind: bool) {
        self.behind = behind;
        self.answered = self.asked;
    }

    /// A frame of the reply under way.
    #[inline]
    pub(super) fn answer(&mut self, frame: &mut [u8]) {
        self.answered = self.answered.wrapping_add(1);
        self.write(frame, self.answered);
    }

    #[inline]
    fn write(&self, frame: &mut [u8], seq: u8) {
        if (self.on || self.behind)
            && let Some(byte) = frame.get_mut(HEADER_LEN - 1)
        {
            *byte = seq;
        }
    }
}
