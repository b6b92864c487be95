//! Comments before a statement: writing txguard's own, reading the application's.
//!
//! Owns the sqlcommenter form (`/*key='value',…*/`, keys sorted, values percent-encoded).
//! Invariants: every byte of a value outside `[A-Za-z0-9_.-]` is encoded, so no value can end the
//! comment or the quotes; the first byte behind `/*` is a letter and the second is never `!`, so
//! no server takes a tag for a hint or executes it. A tag has no line feed.
//!
//! It must not decide whether a statement is tagged, and it never changes the statement itself.

use std::borrow::Cow;
use std::fmt::{self, Display, Write};

use super::lex::{self, Kind};
use super::scan::Scan;
use crate::base::types::{Tso, TxnId};

/// Length of a W3C `traceparent` of version 00.
const TRACEPARENT_BYTES: usize = 55;

/// What a tag of txguard says. `None` is left out.
#[derive(Debug, Clone, Copy, Default)]
pub struct TagValues<'a> {
    /// How often the transaction has been started, from 1.
    pub attempt: Option<u32>,
    /// The policy.
    pub policy: Option<&'a str>,
    /// The W3C trace context of the application.
    pub traceparent: Option<&'a str>,
    /// The timestamp, or a hint of it.
    pub tso: Option<Tso>,
    /// The transaction.
    pub txn: Option<TxnId>,
}

impl TagValues<'_> {
    /// Appends the tag to `out`; returns its length, 0 if there is nothing to say.
    pub fn write(&self, out: &mut Vec<u8>) -> usize {
        let mut tag = Tag::new(out);
        // In the order of the keys.
        tag.pair("attempt", self.attempt.as_ref().map(|value| value as _));
        tag.pair("policy", self.policy.as_ref().map(|value| value as _));
        tag.pair("traceparent", self.traceparent.as_ref().map(|value| value as _));
        tag.pair("tso", self.tso.as_ref().map(|value| value as _));
        tag.pair("txn", self.txn.as_ref().map(|value| value as _));
        tag.end()
    }
}

/// Appends a tag of any pairs to `out`, sorted by key; returns its length, 0 without pairs. A key
/// that doesn't begin with a letter is left out.
pub fn write_tag(out: &mut Vec<u8>, pairs: &[(&str, &dyn Display)]) -> usize {
    let mut tag = Tag::new(out);
    let mut written = None;
    // Selection by repeated minimum: a handful of pairs, no allocation.
    while let Some(key) =
        pairs.iter().map(|(key, _)| *key).filter(|key| written.is_none_or(|last| *key > last)).min()
    {
        for (_, value) in pairs.iter().filter(|(other, _)| *other == key) {
            tag.pair(key, Some(value));
        }
        written = Some(key);
    }
    tag.end()
}

/// A tag being written.
struct Tag<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
}

impl<'a> Tag<'a> {
    const fn new(out: &'a mut Vec<u8>) -> Self {
        let start = out.len();
        Self { out, start }
    }

    fn pair(&mut self, key: &str, value: Option<&dyn Display>) {
        let Some(value) = value else { return };
        if !key.starts_with(|first: char| first.is_ascii_alphabetic()) {
            return;
        }
        self.out.extend_from_slice(if self.out.len() == self.start { b"/*" } else { b"," });
        // Writing into memory can't fail; a Display that fails ends its own value early.
        let _ = Encoded(self.out).write_str(key);
        self.out.extend_from_slice(b"='");
        let _ = write!(Encoded(self.out), "{value}");
        self.out.push(b'\'');
    }

    fn end(self) -> usize {
        if self.out.len() > self.start {
            self.out.extend_from_slice(b"*/ ");
        }
        self.out.len() - self.start
    }
}

/// Percent-encodes what is written through it.
struct Encoded<'a>(&'a mut Vec<u8>);

impl Write for Encoded<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        const HEX: &[u8; 16] = b"0123456789ABCDEF";
        for byte in text.bytes() {
            if byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-') {
                self.0.push(byte);
            } else {
                let (high, low) = (usize::from(byte >> 4), usize::from(byte & 15));
                self.0.extend_from_slice(&[b'%', HEX[high], HEX[low]]);
            }
        }
        Ok(())
    }
}

/// The W3C trace context in the leading comments of `text`, or in the one at its end, where
/// sqlcommenter puts it. `None` if it is missing or not valid.
#[must_use]
pub fn traceparent(text: &[u8]) -> Option<&str> {
    leading_comments(text)
        .chain(trailing_comment(text))
        .find_map(|comment| value_in(comment, b"traceparent"))
        .filter(|value| is_traceparent(value))
        .and_then(|value| std::str::from_utf8(value).ok())
}

/// The value of `key` in the leading comments of `text`, decoded. Only plain comments count, and
/// the first one that has the key.
#[must_use]
pub fn comment_value<'a>(text: &'a [u8], key: &str) -> Option<Cow<'a, str>> {
    let value = leading_comments(text).find_map(|comment| value_in(comment, key.as_bytes()))?;
    match decoded(value)? {
        Cow::Borrowed(bytes) => std::str::from_utf8(bytes).ok().map(Cow::Borrowed),
        Cow::Owned(bytes) => String::from_utf8(bytes).ok().map(Cow::Owned),
    }
}

/// A statement without the comments in front of it and behind it, to tell whether two are the
/// same.
#[must_use]
pub fn without_comments<'a>(text: &'a [u8], scan: &Scan) -> &'a [u8] {
    let body = text.get(scan.body..).unwrap_or_default();
    let end = trailing_comment_at(body).map_or(body.len(), |(start, _)| start);
    body[..end].trim_ascii_end()
}

/// Takes a tag's length out of the column in TiDB's syntax error 1064 (`… line 1 column 28 near
/// "…"`), if the error is on the first line, the only one that a tag moves.
pub fn correct_column(message: &mut Vec<u8>, shift: usize) {
    const BEFORE: &[u8] = b"line 1 column ";
    const AFTER: &[u8] = b" near ";
    // The server's own words come first; the client's text is quoted behind them.
    let Some(found) = message.windows(BEFORE.len()).position(|window| window == BEFORE) else {
        return;
    };
    let start = found + BEFORE.len();
    let digits = message[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let end = start + digits;
    if !message[end..].starts_with(AFTER) {
        return;
    }
    let column = std::str::from_utf8(&message[start..end]).ok().and_then(|text| text.parse().ok());
    if let Some(corrected) = column.and_then(|column: usize| column.checked_sub(shift)) {
        message.splice(start..end, corrected.to_string().into_bytes());
    }
}

/// The insides of the plain comments before a statement.
fn leading_comments(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            while text.get(at).is_some_and(|byte| lex::is_space(*byte)) {
                at += 1;
            }
            let comment = lex::comment(text, at).filter(|comment| comment.kind != Kind::Opaque)?;
            at = comment.end;
            let inside =
                comment.bytes(text).strip_prefix(b"/*").and_then(|c| c.strip_suffix(b"*/"));
            if let (Kind::Comment, Some(inside)) = (comment.kind, inside) {
                return Some(inside);
            }
        }
    })
}

/// The inside of the block comment at the end. What looks like one within a string is taken for
/// one too: fit for tracing, not for decisions.
fn trailing_comment(text: &[u8]) -> Option<&[u8]> {
    trailing_comment_at(text).map(|(start, end)| &text[start + 2..end])
}

/// Where it begins, and where its inside ends.
fn trailing_comment_at(text: &[u8]) -> Option<(usize, usize)> {
    let blank = |byte: &u8| lex::is_space(*byte) || *byte == b';';
    let length = text.len() - text.iter().rev().take_while(|byte| blank(byte)).count();
    let before = text[..length].strip_suffix(b"*/")?;
    let start = before.windows(2).rposition(|window| window == b"/*")?;
    let plain = lex::comment(text, start).is_some_and(|comment| comment.kind == Kind::Comment);
    plain.then_some((start, before.len()))
}

/// The raw value of `key` in the inside of a comment.
fn value_in<'a>(comment: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    let mut rest = comment;
    loop {
        rest = rest.trim_ascii_start();
        let equals = rest.iter().position(|byte| *byte == b'=')?;
        let name = rest[..equals].trim_ascii();
        let quoted = rest[equals + 1..].trim_ascii_start().strip_prefix(b"'")?;
        let end = closing_quote(quoted)?;
        if name == key {
            return Some(&quoted[..end]);
        }
        rest = quoted[end + 1..].trim_ascii_start().strip_prefix(b",")?;
    }
}

fn closing_quote(text: &[u8]) -> Option<usize> {
    let mut escaped = false;
    text.iter().position(|byte| {
        let closes = *byte == b'\'' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        closes
    })
}

/// Percent-decodes and removes the backslashes of sqlcommenter; `None` for a broken encoding.
fn decoded(value: &[u8]) -> Option<Cow<'_, [u8]>> {
    if !value.iter().any(|byte| matches!(byte, b'%' | b'\\')) {
        return Some(Cow::Borrowed(value));
    }
    let mut decoded = Vec::with_capacity(value.len());
    let mut rest = value;
    while let [first, tail @ ..] = rest {
        rest = tail;
        match (*first, rest) {
            (b'%', [high, low, tail @ ..]) => {
                let digit = |byte: u8| char::from(byte).to_digit(16);
                let byte = digit(*high)? << 4 | digit(*low)?;
                decoded.push(u8::try_from(byte).ok()?);
                rest = tail;
            }
            (b'%', _) => return None,
            (b'\\', [escaped, tail @ ..]) => {
                decoded.push(*escaped);
                rest = tail;
            }
            (byte, _) => decoded.push(byte),
        }
    }
    Some(Cow::Owned(decoded))
}

/// W3C Trace Context: `version-trace_id-parent_id-flags`, lower-case hex, version not ff, ids not
/// all zero. Later versions may be longer; only the form of version 00 is taken.
fn is_traceparent(value: &[u8]) -> bool {
    let hex = |part: &[u8]| part.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let zero = |part: &[u8]| part.iter().all(|byte| *byte == b'0');
    let mut parts = value.split(|byte| *byte == b'-');
    let (version, trace, parent, flags) = (parts.next(), parts.next(), parts.next(), parts.next());
    match (version, trace, parent, flags, parts.next()) {
        (Some(version), Some(trace), Some(parent), Some(flags), None) => {
            value.len() == TRACEPARENT_BYTES
                && (version.len(), trace.len(), parent.len(), flags.len()) == (2, 32, 16, 2)
                && [version, trace, parent, flags].into_iter().all(hex)
                && version != b"ff"
                && !zero(trace)
                && !zero(parent)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::base::types::TxnIds;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_tag_is_sorted_and_encoded() {
        let mut out = b"x".to_vec();
        let length = write_tag(&mut out, &[("txn", &"a'*/b"), ("attempt", &2), ("!x", &1)]);
        assert_eq!(String::from_utf8_lossy(&out), "x/*attempt='2',txn='a%27%2A%2Fb'*/ ");
        assert_eq!(length, out.len() - 1);
        out.clear();
        assert_eq!(write_tag(&mut out, &[]), 0);
        assert_eq!(write_tag(&mut out, &[("T!x", &1)]), 14);
        assert_eq!(String::from_utf8_lossy(&out), "/*T%21x='1'*/ ");
    }

    #[test]
    fn txguard_s_own_values_are_written_in_order() {
        let txn = TxnIds::new(1).next(Duration::from_secs(1_700_000_000));
        let mut out = Vec::new();
        let values = TagValues {
            attempt: Some(1),
            policy: Some("orders"),
            traceparent: Some(PARENT),
            tso: Some(Tso(445_644_800_000_000_000)),
            txn: Some(txn),
        };
        let length = values.write(&mut out);
        let expected = format!(
            "/*attempt='1',policy='orders',traceparent='{PARENT}',tso='445644800000000000',txn='{txn}'*/ "
        );
        assert_eq!(String::from_utf8_lossy(&out), expected);
        assert_eq!(length, expected.len());
        assert_eq!(TagValues::default().write(&mut out), 0);
        assert_eq!(out.len(), length);
        assert_eq!(traceparent(&out), Some(PARENT));
    }

    #[test]
    fn a_traceparent_is_found_before_and_behind() {
        let comment = format!("/*action='a%20b',traceparent='{PARENT}',x='y'*/");
        for text in [
            format!("{comment} SELECT 1"),
            format!(" /* hello */ -- x\n{comment}SELECT 1"),
            format!("SELECT 1 {comment}"),
            format!("SELECT 1{comment} ; \n"),
            format!("SELECT /* a */ 1 /* b */ {comment}"),
        ] {
            assert_eq!(traceparent(text.as_bytes()), Some(PARENT), "{text}");
        }
        for text in [
            String::from("SELECT 1"),
            String::from("*/"),
            String::from("/*/"),
            format!("SELECT {comment} 1"),
            format!("/*!{}", &comment[2..]),
            format!("-- traceparent='{PARENT}'\nSELECT 1"),
        ] {
            assert_eq!(traceparent(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn only_valid_traceparents_count() {
        let zero_trace = PARENT.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32));
        let zero_parent = PARENT.replace("b7ad6b7169203331", &"0".repeat(16));
        let bad = [
            zero_trace,
            zero_parent,
            PARENT.to_uppercase(),
            PARENT.replacen("00", "ff", 1),
            PARENT.replace('-', "_"),
            PARENT.replacen("00-", "000", 1),
            format!("{PARENT}0"),
            PARENT[1..].to_owned(),
            String::new(),
        ];
        for value in bad {
            let text = format!("/*traceparent='{value}'*/ SELECT 1");
            assert_eq!(traceparent(text.as_bytes()), None, "{value}");
        }
    }

    #[test]
    fn values_of_leading_comments_are_decoded() {
        let of = |text: &'static str, key| comment_value(text.as_bytes(), key);
        assert_eq!(
            of("/*consistency='strong'*/ SELECT 1", "consistency").as_deref(),
            Some("strong")
        );
        assert_eq!(of("/* a = 'x' , b='y%20z' */ SELECT 1", "b").as_deref(), Some("y z"));
        assert_eq!(of("/*a='it\\'s'*/ SELECT 1", "a").as_deref(), Some("it's"));
        assert_eq!(of("/*a='1'*/ /*b='2'*/ SELECT 1", "b").as_deref(), Some("2"));
        assert_eq!(of("/* prose */ /*b='2'*/ SELECT 1", "b").as_deref(), Some("2"));
        assert_eq!(of("/*a='%zz'*/ SELECT 1", "a"), None);
        assert_eq!(of("/*a='%C3'*/ SELECT 1", "a"), None);
        assert_eq!(of("/*a='1*/ SELECT 1", "a"), None);
        assert_eq!(of("SELECT 1 /*a='1'*/", "a"), None);
        assert_eq!(of("/*!a='1'*/ SELECT 1", "a"), None);
        assert_eq!(of("/*+a='1'*/ SELECT 1", "a"), None);
        assert_eq!(of("/*ab='1'*/ SELECT 1", "a"), None);
    }

    #[test]
    fn a_syntax_error_s_column_loses_the_tag() {
        let corrected = |text: &str, shift| {
            let mut message = text.as_bytes().to_vec();
            correct_column(&mut message, shift);
            String::from_utf8(message).expect("text")
        };
        let message = "You have an error in your SQL syntax; check the manual that corresponds to \
                       your TiDB version for the right syntax to use line 1 column 128 near \"x \
                       line 1 column 9 near\" ";
        assert_eq!(corrected(message, 100), message.replace("128", "28"));
        assert_eq!(corrected(message, 128), message.replace("128", "0"));
        for untouched in [
            message.replace("line 1 column 128", "line 2 column 128"),
            message.replace("column 128", "column 12"),
            "near 'x' at line 1".to_owned(),
            "line 1 column ".to_owned(),
            "line 1 column 99999999999999999999999 near ".to_owned(),
            String::new(),
        ] {
            assert_eq!(corrected(&untouched, 100), untouched);
        }
    }
}
