//! The shape of a statement: its text without literals, the key under which its class is kept.
//!
//! Owns [`shape`]. Invariants, on which the cache of `classify` stands:
//! - the shape is itself SQL, names the same tables and functions in the same places, and is
//!   what the parser gets to see: a class is a function of the shape alone;
//! - it is not longer than the text by more than the doubling of single bytes, and is made in
//!   one pass without recursion;
//! - the shape of a shape is the shape, under the default [`Lexing`].
//!
//! It must not be sent to a server.
//!
//! | in the text | in the shape |
//! |---|---|
//! | a number, `?`, a sign before either | `0` |
//! | a string | `0` behind a bracket, comma or operator, otherwise `''` |
//! | `NULL`, `TRUE`, `FALSE` behind a bracket, comma or operator | `0` |
//! | a list of literals `(1, 'a', ?)` | `(0)` |
//! | rows that come out equal, `(…), (…)` | one row |
//! | white space, plain comments | one space |
//! | hints `/*+ */` | as they are |
//! | `"x"` under `ANSI_QUOTES` | `` `x` `` |
//! | everything else | as it is, byte for byte |

use super::lex::{self, Kind, Lexing, Token, Tokens};

/// Writes the shape of `text` into `out`, which is emptied first.
pub fn shape(text: &[u8], lexing: Lexing, out: &mut Vec<u8>) {
    out.clear();
    out.reserve(text.len());
    let mut writer = Writer {
        text,
        lexing,
        out,
        before: Before::Operator,
        space: false,
        element: false,
        comma: None,
        opened: [0; GROUPS],
        closed: [(0, 0); GROUPS],
        depth: 0,
    };
    for token in Tokens::new(text, 0, lexing) {
        writer.token(&token);
    }
    while let Some(b';' | b' ') = out.last() {
        out.pop();
    }
}

/// How deep brackets may nest while equal neighbours are still joined.
const GROUPS: usize = 16;

/// What was written last, white space aside.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    /// `(`, `,` or an operator: an operand comes next, and a string may become a number.
    Operator,
    /// A string literal: another one right behind it belongs to it.
    Text,
    /// Another literal.
    Number,
    /// Anything else.
    Other,
}

struct Writer<'a> {
    text: &'a [u8],
    lexing: Lexing,
    out: &'a mut Vec<u8>,
    before: Before,
    /// White space or a comment waits to be written.
    space: bool,
    /// The literal written last is a whole element of a list.
    element: bool,
    /// The last comma stands behind such an element; its offset in `out`, blanks included.
    comma: Option<usize>,
    /// Where the open brackets stand in `out`, outermost first.
    opened: [usize; GROUPS],
    /// The group in brackets that was closed last, per depth.
    closed: [(usize, usize); GROUPS],
    depth: usize,
}

impl Writer<'_> {
    fn token(&mut self, token: &Token) {
        match token.kind {
            Kind::Space | Kind::Comment => self.space = true,
            Kind::Hint | Kind::Opaque => self.other(token.bytes(self.text)),
            Kind::Number => self.literal(token, Before::Number),
            Kind::Text => self.literal(token, Before::Text),
            Kind::Quoted => self.quoted(token),
            Kind::Word => self.word(token),
            Kind::Sign => self.sign(token),
        }
    }

    fn word(&mut self, token: &Token) {
        let word = token.bytes(self.text);
        let operand = self.before == Before::Operator;
        if operand && is_constant(word) && self.peek(token.end) != Some(b'(') {
            self.literal(token, Before::Number);
        } else if !(word[0] == b'_' && self.introduces(token.end)) {
            self.other(word);
        }
    }

    /// `_charset` before a string says only how to read its bytes.
    fn introduces(&self, at: usize) -> bool {
        let at = at + self.text[at..].iter().take_while(|byte| lex::is_space(**byte)).count();
        match self.text[at..] {
            [b'\'', ..] | [b'x' | b'X' | b'b' | b'B', b'\'', ..] | [b'0', b'x' | b'b', ..] => true,
            [b'"', ..] => !self.lexing.ansi_quotes,
            _ => false,
        }
    }

    fn quoted(&mut self, token: &Token) {
        if self.text[token.start] == b'`' {
            self.other(token.bytes(self.text));
            return;
        }
        self.other(b"`");
        for byte in token.unquoted(self.text) {
            self.out.extend_from_slice(if *byte == b'`' {
                b"``"
            } else {
                std::slice::from_ref(byte)
            });
        }
        self.out.push(b'`');
    }

    fn sign(&mut self, token: &Token) {
        let sign = self.text[token.start];
        match sign {
            b'?' => self.literal(token, Before::Number),
            b'(' => {
                self.glue(b"(");
                if let Some(opened) = self.opened.get_mut(self.depth) {
                    *opened = self.out.len() - 1;
                }
                self.depth += 1;
                self.before = Before::Operator;
                self.comma = None;
            }
            b')' => {
                self.other(b")");
                self.close();
            }
            b',' => {
                let end = self.out.len();
                let element = self.element && self.before != Before::Other;
                self.glue(b",");
                self.before = Before::Operator;
                self.comma = element.then_some(end);
            }
            b'+' | b'-' if self.before == Before::Operator => {
                if !self.signs_number(token.end) {
                    self.glue(&[sign]);
                    self.comma = None;
                    // A sign apart from its operand stays one in the shape of the shape.
                    self.space = true;
                }
            }
            b'+' | b'-' | b'*' | b'/' | b'%' | b'=' | b'<' | b'>' | b'!' | b'&' | b'|' | b'^'
            | b'~' => {
                self.glue(&[sign]);
                self.before = Before::Operator;
                self.comma = None;
            }
            _ => self.other(&[sign]),
        }
    }

    /// Whether a number follows without a gap.
    fn signs_number(&self, at: usize) -> bool {
        matches!(self.text[at..], [b'0'..=b'9' | b'?', ..] | [b'.', b'0'..=b'9', ..])
    }

    fn literal(&mut self, token: &Token, kind: Before) {
        if kind == Before::Text && self.before == Before::Text {
            // Neighbours are one string.
            self.space = false;
            return;
        }
        let operand = self.before == Before::Operator;
        let starts = operand && matches!(self.out.last(), Some(b'(' | b','));
        let whole = starts && matches!(self.peek(token.end), Some(b',' | b')'));
        match self.comma.filter(|_| whole) {
            Some(comma) => {
                self.out.truncate(comma);
                self.space = false;
            }
            None if operand || kind == Before::Number => self.glue(b"0"),
            None => self.glue(b"''"),
        }
        self.before = kind;
        self.element = whole;
        self.comma = None;
    }

    fn other(&mut self, bytes: &[u8]) {
        self.glue(bytes);
        self.before = Before::Other;
        self.comma = None;
    }

    /// Writes `bytes` such that they don't grow together with what stands before them.
    fn glue(&mut self, bytes: &[u8]) {
        let space = std::mem::take(&mut self.space);
        if let (Some(&last), Some(&first)) = (self.out.last(), bytes.first()) {
            let wanted = space && !matches!(last, b'(' | b',') && !matches!(first, b')' | b',');
            let literal = self.before != Before::Operator && self.before != Before::Other;
            let grows = match first {
                b'.' => literal,
                b'-' | b'`' => last == first,
                b'*' => last == b'/',
                b'\'' => lex::is_word(last) || last == first,
                b'0'..=b'9' => lex::is_word(last) || last == b'.',
                _ => lex::is_word(last) && lex::is_word(first),
            };
            if wanted || grows {
                self.out.push(b' ');
            }
        }
        self.out.extend_from_slice(bytes);
    }

    /// Ends a group in brackets; drops it if its left neighbour is the same.
    fn close(&mut self) {
        let Some(depth) = self.depth.checked_sub(1) else { return };
        self.depth = depth;
        if depth >= GROUPS {
            return;
        }
        let (start, end) = (self.opened[depth], self.out.len());
        let (left_start, left_end) = self.closed[depth];
        let neighbours = left_start < left_end
            && left_end <= start
            && self.out[left_end..start] == *b","
            && self.out[left_start..left_end] == self.out[start..end];
        if neighbours {
            self.out.truncate(left_end);
        } else {
            self.closed[depth] = (start, end);
        }
    }

    /// The next byte behind white space and plain comments.
    fn peek(&self, at: usize) -> Option<u8> {
        let mut at = at;
        loop {
            let byte = *self.text.get(at)?;
            if lex::is_space(byte) {
                at += 1;
                continue;
            }
            match lex::comment(self.text, at) {
                Some(comment) if comment.kind == Kind::Comment => at = comment.end,
                _ => return Some(byte),
            }
        }
    }
}

fn is_constant(word: &[u8]) -> bool {
    [&b"null"[..], b"true", b"false"].iter().any(|constant| word.eq_ignore_ascii_case(constant))
}
