//! The look that every statement gets: one pass over the bytes, nothing allocated.
//!
//! Owns [`Scan`]. Budget: about one nanosecond per byte, no allocation, no recursion, any bytes
//! (also not UTF-8). Invariant: a flag that says "nothing there" is right for every server under
//! the given [`Lexing`]; where servers disagree about the bytes, `opaque` is set. It must not
//! decide whether a statement is safe; `classify` does.

use super::lex::{self, Kind, Lexing};
use super::verb::{self, Verb};

/// What can be seen in a text without a parser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scan {
    /// What the first statement does. A statement within `/*! … */` isn't seen: `Other`.
    pub verb: Verb,
    /// A `;` is followed by more than white space, comments and `;`.
    pub multi: bool,
    /// Only white space, comments and `;`. Never tagged: the server has its own answer to it.
    pub empty: bool,
    /// The text may execute what the scan can't see: `/*! */`, `/*T! */`, `/*M! */`, or bytes
    /// that servers read in different ways.
    pub opaque: bool,
    /// An optimizer hint `/*+ */`.
    pub hints: bool,
    /// `@x` outside strings, comments and quoted identifiers.
    pub user_variable: bool,
    /// `@@x`, likewise.
    pub system_variable: bool,
    /// Offset of the first byte of the statement, behind white space and plain comments.
    pub body: usize,
}

impl Scan {
    /// Whether any variable is named.
    #[must_use]
    pub const fn has_variable(&self) -> bool {
        self.user_variable || self.system_variable
    }

    /// Whether a change of `sql_mode` or of the client's character set may hide where [`Verb`]
    /// doesn't show it. The caller can't trust its [`Lexing`] afterwards.
    #[must_use]
    pub const fn may_hide_set(&self) -> bool {
        let hidden = match self.verb {
            Verb::Call | Verb::Execute | Verb::Other => !self.empty,
            Verb::Set(kind) => kind.statement,
            _ => false,
        };
        self.multi || self.opaque || hidden
    }
}

/// Looks at a text once.
#[must_use]
pub fn scan(text: &[u8], lexing: Lexing) -> Scan {
    let mut scan = Scan {
        verb: Verb::Other,
        multi: false,
        empty: false,
        opaque: false,
        hints: false,
        user_variable: false,
        system_variable: false,
        body: 0,
    };
    scan.body = scan.skip_blank(text, 0, Semicolons::Stop);
    if scan.body == text.len() {
        scan.empty = true;
        return scan;
    }
    scan.rest(text, lexing);
    if text[scan.body] == b';' {
        scan.empty = !scan.multi && !scan.opaque;
    } else {
        scan.verb = verb::read(text, scan.body, lexing);
    }
    scan
}

/// Whether `;` counts as blank.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Semicolons {
    Skip,
    Stop,
}

impl Scan {
    /// The first byte behind white space and plain comments.
    fn skip_blank(&mut self, text: &[u8], at: usize, semicolons: Semicolons) -> usize {
        let mut at = at;
        while let Some(&byte) = text.get(at) {
            if lex::is_space(byte) || (byte == b';' && semicolons == Semicolons::Skip) {
                at += 1;
                continue;
            }
            match lex::comment(text, at) {
                Some(comment) if comment.kind != Kind::Opaque => {
                    self.hints |= comment.kind == Kind::Hint;
                    at = comment.end;
                }
                _ => break,
            }
        }
        at
    }

    /// Looks at everything from `body` on, stopping only at bytes that can matter.
    fn rest(&mut self, text: &[u8], lexing: Lexing) {
        let mut at = self.body;
        while let Some(skipped) = text[at..].iter().position(|byte| STOPS[usize::from(*byte)]) {
            at += skipped;
            let byte = text[at];
            at = match byte {
                b'\'' => lex::string_end(text, at + 1, byte, lexing),
                b'"' if !lexing.ansi_quotes => lex::string_end(text, at + 1, byte, lexing),
                b'"' | b'`' => lex::name_end(text, at + 1, byte),
                b'@' => self.variable(text, at + 1),
                b';' => self.semicolon(text, at + 1),
                _ => match lex::comment(text, at) {
                    Some(comment) => {
                        self.hints |= comment.kind == Kind::Hint;
                        self.opaque |= comment.kind == Kind::Opaque;
                        comment.end
                    }
                    None => at + 1,
                },
            };
        }
    }

    fn variable(&mut self, text: &[u8], at: usize) -> usize {
        if text.get(at) == Some(&b'@') {
            self.system_variable = true;
            at + 1
        } else {
            self.user_variable = true;
            at
        }
    }

    fn semicolon(&mut self, text: &[u8], at: usize) -> usize {
        if self.multi {
            return at;
        }
        let next = self.skip_blank(text, at, Semicolons::Skip);
        self.multi = next < text.len();
        next
    }
}

/// Bytes at which something can begin that the scan cares about.
const STOPS: [bool; 256] = {
    let mut stops = [false; 256];
    let bytes = b"'\"`@;#-/";
    let mut index = 0;
    while index < bytes.len() {
        stops[bytes[index] as usize] = true;
        index += 1;
    }
    stops
};
