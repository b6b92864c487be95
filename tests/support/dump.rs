//! Packets as people can compare them.

use std::fmt::Write;

use super::raw::{Answer, Packet};

/// Where two answers differ first; `None` if they don't.
pub(crate) fn difference(direct: &Answer, through: &Answer) -> Option<String> {
    if direct == through {
        return None;
    }
    let pairs = direct.packets.len().max(through.packets.len());
    for index in 0..pairs {
        let (left, right) = (direct.packets.get(index), through.packets.get(index));
        if left != right {
            let at = match (left, right) {
                (Some(left), Some(right)) => {
                    let both = left.payload.iter().zip(&right.payload);
                    both.take_while(|(left, right)| left == right).count()
                }
                _ => 0,
            };
            return Some(format!(
                "packet {index} of {} direct and {} through txguard, at byte {at}\n\
                 direct:  {}\nthrough: {}",
                direct.packets.len(),
                through.packets.len(),
                show(left, at),
                show(right, at)
            ));
        }
    }
    Some(format!("closed: direct {}, through {}", direct.closed, through.closed))
}

/// A packet around a place in it.
fn show(packet: Option<&Packet>, at: usize) -> String {
    const AROUND: usize = 48;
    let Some(packet) = packet else { return "(nothing)".into() };
    let from = at.saturating_sub(AROUND);
    let to = (at + AROUND).min(packet.payload.len());
    let part = &packet.payload[from.min(to)..to];
    let mut text = format!("seq {:?}, {} bytes, {from}..{to}: ", packet.seqs, packet.payload.len());
    for byte in part {
        let _ = write!(text, "{byte:02x}");
    }
    let printable = |byte: &u8| if (b' '..=b'~').contains(byte) { char::from(*byte) } else { '.' };
    let _ = write!(text, " |{}|", part.iter().map(printable).collect::<String>());
    text
}
