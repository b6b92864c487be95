//! The shape of a statement: its text without literals, the key under which its class is kept.
//!
//! Owns [`shape`]. Invariants, on which the cache of `classify` stands:
//! - the shape is itself SQL, names the same tables and functions in the same places, and is
//!   what the parser gets to see: a class is a function of the shape alone;
//! - it is not longer than the text by more than the doubling of single bytes, and is made in
//!   one pass without recursion;
//! - the shape of a shape is the shape, under the default [`Lexing`], unless a string has several
//!   introducers, which no server takes.
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
        let constant = self.before == Before::Operator
            && is_constant(word)
            && self.peek(token.end) != Some(b'(')
            && self.text.get(token.end) != Some(&b'.');
        if constant {
            self.literal(token, Before::Number);
        } else if !(word[0] == b'_' && self.introduces(token.end)) {
            self.other(word);
        }
    }

    /// `_charset` before a string says only how to read its bytes.
    fn introduces(&self, at: usize) -> bool {
        let at = self.behind_blanks(at);
        Tokens::new(self.text, at, self.lexing).next().is_some_and(|token| match token.kind {
            Kind::Text => true,
            Kind::Number => {
                matches!(
                    token.bytes(self.text),
                    [b'x' | b'X' | b'b' | b'B', ..] | [b'0', b'x' | b'b', ..]
                )
            }
            _ => false,
        })
    }

    fn quoted(&mut self, token: &Token) {
        let bytes = token.bytes(self.text);
        if bytes[0] == b'`' {
            self.other(bytes);
            return;
        }
        // An odd number of quotes at the end closes the name; one that stays open does so here.
        let quotes = bytes[1..].iter().rev().take_while(|byte| **byte == bytes[0]).count();
        let inner = &bytes[1..bytes.len() - quotes % 2];
        self.other(b"`");
        for byte in inner {
            self.out.push(*byte);
            if *byte == b'`' {
                self.out.push(b'`');
            }
        }
        if quotes % 2 == 1 {
            self.out.push(b'`');
        }
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
        // `.0` would be a number.
        self.space |= self.out.last() == Some(&b'.');
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
        self.text.get(self.behind_blanks(at)).copied()
    }

    fn behind_blanks(&self, at: usize) -> usize {
        let mut at = at;
        while let Some(&byte) = self.text.get(at) {
            if lex::is_space(byte) {
                at += 1;
                continue;
            }
            let comment = match byte {
                b'#' | b'-' | b'/' => lex::comment(self.text, at),
                _ => None,
            };
            match comment {
                Some(comment) if comment.kind == Kind::Comment => at = comment.end,
                _ => break,
            }
        }
        at
    }
}

fn is_constant(word: &[u8]) -> bool {
    [&b"null"[..], b"true", b"false"].iter().any(|constant| word.eq_ignore_ascii_case(constant))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_lists_and_blanks_are_taken_out() {
        for (text, expected) in [
            ("SELECT 1", "SELECT 0"),
            ("SELECT  a ,\n b FROM t ;", "SELECT a,b FROM t"),
            ("SELECT 'a'", "SELECT ''"),
            ("SELECT a='x'AND b=1AND", "SELECT a=0 AND b=1AND"),
            ("SELECT a = 'x' 'y' \"z\"", "SELECT a = 0"),
            ("SELECT 'it''s', 'a\\'b'", "SELECT '',0"),
            ("SELECT -1, a -1, a - -1, - 1", "SELECT -0,a -0,a - 0,- 0"),
            ("SELECT (-1, +2, -.5)", "SELECT (0)"),
            ("SELECT 0x1F, x'1f', b'1', 0b1, 1e5, 1.5e-3, .5, 1.", "SELECT 0,0,0"),
            ("SELECT 1a, 0xg, t.1, t.1b", "SELECT 1a,0xg,t.1,t.1b"),
            ("SELECT N'a', _utf8'a', _binary x'00', _a", "SELECT '',0,_a"),
            ("SELECT DATE '2020-01-01', INTERVAL '1' DAY", "SELECT DATE '',INTERVAL '' DAY"),
            ("a IN (1, 2, 'x', ?, NULL)", "a IN (0)"),
            ("a IN (1, b, 2, 3)", "a IN (0,b,0)"),
            ("a IN (1, 2 + b)", "a IN (0,0 + b)"),
            ("VALUES (1, 'a'), (2, 'b') , (NULL, -3)", "VALUES (0)"),
            ("VALUES (1, now(), 'a'), (2, now(), 'b')", "VALUES (0,now(),0)"),
            ("VALUES (1, now()), (2, f())", "VALUES (0,now()),(0,f())"),
            ("VALUES ((1)), ((2))", "VALUES ((0))"),
            ("a = NULL, b IS NULL, NULL(1), c=TRUE", "a = 0,b IS NULL,NULL(0),c=0"),
            ("LIMIT 5, 10", "LIMIT 0,0"),
            ("LIMIT 10 OFFSET ?", "LIMIT 0 OFFSET 0"),
            ("a/* x */b -- c\n d # e", "a b d"),
            ("SELECT /*+ h(1) */ 1", "SELECT /*+ h(1) */ 0"),
            ("a -/**/- b, a --/**/ c", "a - - b,a - - c"),
            ("`a``b` \"c\"", "`a``b` ''"),
            ("count (*), count( * )", "count (*),count(*)"),
            ("a->'$.b'", "a->0"),
        ] {
            let mut out = Vec::new();
            shape(text.as_bytes(), Lexing::default(), &mut out);
            assert_eq!(String::from_utf8_lossy(&out), expected, "{text}");
        }
    }

    #[test]
    fn ansi_quotes_become_backticks() {
        let lexing = Lexing { ansi_quotes: true, ..Lexing::default() };
        let mut out = Vec::new();
        shape(br#"SELECT "a`b", "c""d"`e` FROM t"#, lexing, &mut out);
        assert_eq!(String::from_utf8_lossy(&out), r#"SELECT `a``b`,`c""d` `e` FROM t"#);
    }
}
