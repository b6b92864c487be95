//! Two protocols of one dialogue side by side.

use txguard::wire::command::Command;
use txguard::wire::frame::{HEADER_LEN, Header};

use super::play::Heard;
use crate::words::show;

/// What may differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Allowed {
    /// Nothing at all.
    Nothing,
    /// Statements carry a tag, and COM_STMT_CLOSE waits for the end of the transaction; behind a
    /// reset, or at the end of the session, it is not needed any more.
    Tag,
}

/// Compares what was heard through txguard with what was heard without it; returns how many
/// statements were tagged.
pub(super) fn compare(got: &Heard, wanted: &Heard, allowed: Allowed) -> Result<usize, String> {
    if got.client != wanted.client {
        return Err(format!("the client hears {}", difference(&got.client, &wanted.client)));
    }
    match allowed {
        Allowed::Nothing if got.server == wanted.server => Ok(0),
        Allowed::Nothing => {
            Err(format!("the server hears {}", difference(&got.server, &wanted.server)))
        }
        Allowed::Tag => commands(&got.server, &wanted.server),
    }
}

/// The frames of both, one by one, tags taken out; closes may come late.
fn commands(got: &[u8], wanted: &[u8]) -> Result<usize, String> {
    let (mut got, mut wanted) = (frames(got)?, frames(wanted)?);
    let resets = wanted.iter().rposition(forgets).unwrap_or(0);
    let (mut spared, mut due) = (wanted[..resets].to_vec(), wanted[resets..].to_vec());
    let (spared, due) = (take_closes(&mut spared), take_closes(&mut due));
    let (closed, _) = (take_closes(&mut got), take_closes(&mut wanted));
    // In order: none of the spared ones, some, or all; then the others.
    let fits = |skipped: usize| spared.iter().skip(skipped).chain(&due).eq(&closed);
    if !(0..=spared.len()).any(fits) {
        return Err(format!("{closed:?} are closed, not {spared:?} and {due:?}"));
    }
    if got.len() != wanted.len() {
        return Err(format!("the server hears {} frames, not {}", got.len(), wanted.len()));
    }
    let mut tagged = 0;
    for (got, wanted) in got.iter().zip(&wanted) {
        if got == wanted {
            continue;
        }
        let same_place = got.0 == wanted.0 && got.0 == 0;
        if !same_place || !is_tagged(got.1, wanted.1) {
            return Err(format!("the server hears {}", difference(got.1, wanted.1)));
        }
        tagged += 1;
    }
    Ok(tagged)
}

/// A COM_QUERY with one comment of ours before the text, and nothing else.
fn is_tagged(got: &[u8], wanted: &[u8]) -> bool {
    let query = [Command::QUERY.0];
    let (Some(got), Some(wanted)) = (got.strip_prefix(&query), wanted.strip_prefix(&query)) else {
        return false;
    };
    let Some(tag) = got.strip_suffix(wanted).and_then(|tag| std::str::from_utf8(tag).ok()) else {
        return false;
    };
    let inside = tag.strip_prefix("/*").and_then(|tag| tag.strip_suffix("*/ "));
    inside.is_some_and(|inside| inside.contains("txn='") && !inside.contains("*/"))
}

type Frame<'a> = (u8, &'a [u8]);

/// Sequence ids and payloads.
fn frames(mut bytes: &[u8]) -> Result<Vec<Frame<'_>>, String> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        let header = Header::read(bytes).filter(|header| bytes.len() >= header.frame_len());
        let header = header.ok_or("the last frame is not whole")?;
        frames.push((header.seq, &bytes[HEADER_LEN..header.frame_len()]));
        bytes = &bytes[header.frame_len()..];
    }
    Ok(frames)
}

fn take_closes<'a>(frames: &mut Vec<Frame<'a>>) -> Vec<Frame<'a>> {
    let is_close = |frame: &Frame<'_>| frame.0 == 0 && is_close(frame.1);
    let (closes, rest) = frames.drain(..).partition(is_close);
    *frames = rest;
    closes
}

/// The session is as after login, if that is granted, or at its end.
fn forgets(frame: &Frame<'_>) -> bool {
    let forget = [Command::RESET_CONNECTION.0, Command::CHANGE_USER.0, Command::QUIT.0];
    frame.0 == 0 && frame.1.first().is_some_and(|first| forget.contains(first))
}

/// A COM_STMT_CLOSE.
pub(super) fn is_close(payload: &[u8]) -> bool {
    payload.len() == 5 && payload[0] == Command::STMT_CLOSE.0
}

fn difference(got: &[u8], wanted: &[u8]) -> String {
    let at = got.iter().zip(wanted).take_while(|(got, wanted)| got == wanted).count();
    let from = at.saturating_sub(8);
    format!("at byte {at}: {}, not {}", show(&got[from..]), show(&wanted[from..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::Reply;

    fn heard(client: &[u8], server: &[&[u8]]) -> Heard {
        let server = server.iter().flat_map(|one| Reply::of([one.to_vec()]).frames(0)).collect();
        Heard { client: client.to_vec(), server }
    }

    #[test]
    fn a_tag_is_taken_out_and_nothing_else_is() {
        let plain = heard(b"", &[b"\x03SELECT 1"]);
        for (said, passes) in [
            (&b"\x03/*txn='1'*/ SELECT 1"[..], true),
            (b"\x03/*txn='1'*/ SELECT 2", false),
            (b"\x03/*x='1'*/ SELECT 1", false),
            (b"\x03/*txn='1'*/SELECT 1", false),
            (b"\x03/*txn='1'*/ DROP TABLE t /*txn='*/ SELECT 1", false),
            (b"\x16/*txn='1'*/ SELECT 1", false),
        ] {
            let said = heard(b"", &[said]);
            assert_eq!(compare(&said, &plain, Allowed::Tag).is_ok(), passes, "{said:?}");
            assert!(compare(&said, &plain, Allowed::Nothing).is_err());
        }
    }

    #[test]
    fn a_close_may_come_late_and_must_come() {
        let (close, ping) = (&b"\x19\x01\0\0\0"[..], &b"\x0E"[..]);
        let (wanted, late) = (heard(b"", &[close, ping]), heard(b"", &[ping, close]));
        assert_eq!(compare(&late, &wanted, Allowed::Tag), Ok(0));
        assert!(compare(&late, &wanted, Allowed::Nothing).is_err());
        assert!(compare(&heard(b"", &[ping]), &wanted, Allowed::Tag).is_err());
    }

    #[test]
    fn a_close_ahead_of_a_reset_or_the_end_may_be_missing() {
        let (close, reset, ping) = (&b"\x19\x01\0\0\0"[..], &b"\x1F"[..], &b"\x0E"[..]);
        let without = heard(b"", &[reset, ping]);
        let said = |frames: &[&[u8]]| compare(&without, &heard(b"", frames), Allowed::Tag);
        assert_eq!(said(&[close, reset, ping]), Ok(0));
        assert!(said(&[reset, close, ping]).is_err());
        let quit = &b"\x01"[..];
        assert_eq!(compare(&heard(b"", &[quit]), &heard(b"", &[close, quit]), Allowed::Tag), Ok(0));
    }
}
