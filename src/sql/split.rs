//! A file of statements, cut at `;`.
//!
//! Owns [`Splitter`]. Invariants, whatever the bytes and however they come in: the pieces together
//! are the input, none of them is [`Scan::multi`](super::Scan::multi), and at most `bytes_max` of
//! one are kept. The rules are those of `lex`, byte by byte, so that a statement of any length
//! passes through bounded memory. `DELIMITER`, a command of the `mysql` client, isn't known.

use super::lex::{self, Lexing};

/// Where in a statement the last byte was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Inside {
    /// None of the others.
    Code,
    /// Code, behind one `-`.
    Dash,
    /// Code, behind two or more.
    Dashes,
    /// Code, behind a `/`.
    Slash,
    /// A comment up to the end of the line.
    Line,
    /// `/* … */`.
    Block,
    /// The same, behind a `*`.
    Star,
    /// A string with this quote.
    Text(u8),
    /// The same, behind a backslash that holds for the next byte.
    Escaped(u8),
    /// An identifier with this quote.
    Name(u8),
}

/// One statement, its `;` included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece<'a> {
    /// Its text, or the beginning of it.
    pub text: &'a [u8],
    /// Not all of it is there.
    pub cut: bool,
    /// The line on which the text begins, from 1. White space and comments before a statement
    /// belong to it.
    pub line: u64,
}

/// Cuts a stream of bytes into statements.
#[derive(Debug)]
pub struct Splitter {
    inside: Inside,
    text: Vec<u8>,
    bytes_max: usize,
    cut: bool,
    complete: bool,
    /// Of the first byte of `text`, and of the next byte to come.
    lines: (u64, u64),
}

impl Splitter {
    /// Keeps at most `bytes_max` bytes of a statement.
    #[must_use]
    pub const fn new(bytes_max: usize) -> Self {
        Self {
            inside: Inside::Code,
            text: Vec::new(),
            bytes_max,
            cut: false,
            complete: false,
            lines: (1, 1),
        }
    }

    /// Takes bytes up to the end of a statement; returns how many, and whether [`Self::piece`] is
    /// complete. `lexing` must not change within a statement.
    pub fn take(&mut self, bytes: &[u8], lexing: Lexing) -> (usize, bool) {
        if std::mem::take(&mut self.complete) {
            self.text.clear();
            self.cut = false;
            self.lines.0 = self.lines.1;
        }
        let len = bytes.iter().position(|byte| self.ends(*byte, lexing));
        self.complete = len.is_some();
        let len = len.map_or(bytes.len(), |at| at + 1);
        let kept = len.min(self.bytes_max - self.text.len());
        self.text.extend_from_slice(&bytes[..kept]);
        self.cut |= kept < len;
        (len, self.complete)
    }

    /// The statement so far. At the end of the input it is the last one, without a `;`.
    #[must_use]
    pub fn piece(&self) -> Piece<'_> {
        Piece { text: &self.text, cut: self.cut, line: self.lines.0 }
    }

    /// Steps over a byte; true if it ends the statement.
    fn ends(&mut self, byte: u8, lexing: Lexing) -> bool {
        use Inside::{Block, Code, Dash, Dashes, Escaped, Line, Name, Slash, Star, Text};
        self.lines.1 += u64::from(byte == b'\n');
        let in_code = matches!(self.inside, Code | Dash | Dashes | Slash);
        self.inside = match (self.inside, byte) {
            (Line, b'\n') | (Star, b'/') => Code,
            (Line, _) => Line,
            (Block | Star, b'*') => Star,
            (Block | Star, _) => Block,
            (Escaped(quote), _) => Text(quote),
            (Text(quote), b'\\') if !lexing.no_backslash_escapes => Escaped(quote),
            // A doubled quote ends the string and begins it again, which comes to the same.
            (Text(quote) | Name(quote), byte) if byte == quote => Code,
            (Text(_) | Name(_), _) => self.inside,
            (Slash, b'*') => Block,
            // Which control bytes make a comment is the servers' dispute; `lex` takes them all.
            (Dashes, b'\n') => Code,
            (Dashes, byte) if lex::is_space(byte) || byte.is_ascii_control() => Line,
            (Dash | Dashes, b'-') => Dashes,
            (_, b'-') => Dash,
            (_, b'/') => Slash,
            (_, b'#') => Line,
            (_, b'\'') => Text(byte),
            (_, b'"') if !lexing.ansi_quotes => Text(byte),
            (_, b'"' | b'`') => Name(byte),
            _ => Code,
        };
        in_code && byte == b';'
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::scan;
    use super::*;

    fn pieces(bytes: &[u8], chunk: usize, max: usize, lexing: Lexing) -> Vec<(Vec<u8>, bool, u64)> {
        let mut splitter = Splitter::new(max);
        let mut found = Vec::new();
        let mut last = false;
        for mut part in bytes.chunks(chunk) {
            while !part.is_empty() {
                let (len, complete) = splitter.take(part, lexing);
                part = &part[len..];
                last = !complete;
                if complete {
                    let Piece { text, cut, line } = splitter.piece();
                    found.push((text.to_vec(), cut, line));
                }
            }
        }
        if last {
            let Piece { text, cut, line } = splitter.piece();
            found.push((text.to_vec(), cut, line));
        }
        found
    }

    fn split(text: &str) -> Vec<String> {
        let of = pieces(text.as_bytes(), 3, 1000, Lexing::default()).into_iter();
        of.map(|(piece, _, _)| String::from_utf8(piece).expect("text")).collect()
    }

    #[test]
    fn only_a_semicolon_that_is_code_ends_a_statement() {
        for whole in [
            "SELECT ';', \";\", `;`;",
            "SELECT 'it''s; \\'; \\\\', \"a\"\";\";",
            "SELECT 1 -- ;\n, 2 # ;\n, 3 /* ; */;",
            "SELECT 1 /*/ ; */ + 2;",
            "SELECT 1 --\n + 2;",
            "SELECT 1---1 /**/;",
            "no end",
        ] {
            assert_eq!(split(whole), [whole]);
        }
        assert_eq!(split("a--;b;/;*/"), ["a--;", "b;", "/;", "*/"]);
        assert_eq!(split("a;\n -- x;\nb ; "), ["a;", "\n -- x;\nb ;", " "]);
    }

    #[test]
    fn pieces_know_their_line_and_what_is_missing() {
        let found = pieces(b"a\n;bcd\n\n;\ne", 1, 2, Lexing::default());
        let expected = [(&b"a\n"[..], true, 1), (b"bc", true, 2), (b"\ne", false, 4)];
        assert_eq!(found, expected.map(|(text, cut, line)| (text.to_vec(), cut, line)));
    }

    proptest! {
        #[test]
        fn it_agrees_with_the_lexer(
            bytes in proptest::collection::vec(
                proptest::sample::select(&b"ab'\"`;;\\-- \n/**!#\x01\0,\xFF"[..]), 0..60,
            ),
            chunk in 1_usize..9,
            ansi_quotes: bool,
            no_backslash_escapes: bool,
        ) {
            let lexing = Lexing { ansi_quotes, no_backslash_escapes };
            let found = pieces(&bytes, chunk, 100, lexing);
            let texts: Vec<&[u8]> = found.iter().map(|(text, _, _)| &text[..]).collect();
            prop_assert_eq!(texts.concat(), bytes.clone());
            prop_assert_eq!(&found, &pieces(&bytes, 1000, 100, lexing));
            for (index, text) in texts.iter().enumerate() {
                prop_assert!(!scan(text, lexing).multi, "{:?}", text);
                // It isn't cut too early: with any byte of code behind it, it would be two.
                if index + 1 < texts.len() {
                    prop_assert!(scan(&[text, &b"x"[..]].concat(), lexing).multi);
                }
            }
        }
    }
}
