//! The bytes of SQL: where strings, comments, quoted identifiers and words begin and end.
//!
//! Owns the lexical rules that MySQL, MariaDB and TiDB share, for every other file of this room.
//! Invariant: every function returns a position at or behind the one it was given and at most
//! `text.len()`, for any bytes; nothing allocates or recurses. It must not know statements.
//!
//! Where the servers disagree about a comment (`--` before a control byte, a NUL in a line
//! comment) the piece is reported as [`Kind::Opaque`], which nobody trusts.

/// How the session's `sql_mode` changes the meaning of bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Lexing {
    /// `ANSI_QUOTES`: `"x"` is an identifier, not a string.
    pub ansi_quotes: bool,
    /// `NO_BACKSLASH_ESCAPES`: a backslash in a string is an ordinary byte.
    pub no_backslash_escapes: bool,
}

/// What a piece of text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A run of white space.
    Space,
    /// `-- x`, `# x` or `/* x */`: the server ignores it.
    Comment,
    /// `/*+ x */`.
    Hint,
    /// `/*! x */`, `/*T! x */`, `/*M! x */`: the server may execute it.
    Opaque,
    /// An unquoted identifier or keyword.
    Word,
    /// An identifier in backticks, or in double quotes under `ANSI_QUOTES`.
    Quoted,
    /// `'x'`, `"x"`, `N'x'`.
    Text,
    /// `1`, `.5`, `1e5`, `0x1F`, `x'1F'`, `0b1`, `b'1'`.
    Number,
    /// Any other single byte.
    Sign,
}

/// One piece of text: `text[start..end]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Token {
    /// Whether the server reads over it.
    pub(super) const fn is_blank(&self) -> bool {
        matches!(self.kind, Kind::Space | Kind::Comment | Kind::Hint)
    }

    /// The bytes of the token.
    pub(super) fn bytes<'a>(&self, text: &'a [u8]) -> &'a [u8] {
        &text[self.start..self.end]
    }

    /// The bytes of a quoted token without its quotes; other tokens as they are.
    pub(super) fn unquoted<'a>(&self, text: &'a [u8]) -> &'a [u8] {
        match (self.kind, self.bytes(text)) {
            (Kind::Quoted | Kind::Text, [b'\'' | b'"' | b'`', inner @ .., _]) => inner,
            (_, bytes) => bytes,
        }
    }
}

/// The tokens of a text, in order, without gaps.
#[derive(Debug, Clone)]
pub(super) struct Tokens<'a> {
    text: &'a [u8],
    at: usize,
    lexing: Lexing,
    /// The token before was an identifier: a `.` is then a separator, not a decimal point.
    after_name: bool,
    /// The token before was such a separator: what follows is an identifier, even `1`.
    after_dot: bool,
}

impl<'a> Tokens<'a> {
    pub(super) const fn new(text: &'a [u8], at: usize, lexing: Lexing) -> Self {
        Self { text, at, lexing, after_name: false, after_dot: false }
    }

    /// The next token that isn't white space, a comment or a hint.
    pub(super) fn next_solid(&mut self) -> Option<Token> {
        self.find(|token| !token.is_blank())
    }

    /// What `next_solid` would return.
    pub(super) fn peek_solid(&self) -> Option<Token> {
        self.clone().next_solid()
    }

    fn token(&mut self, first: u8) -> (Kind, usize) {
        let (text, start) = (self.text, self.at);
        let next = text.get(start + 1).copied();
        match first {
            byte if is_space(byte) => {
                (Kind::Space, start + run(&text[start..], |byte| is_space(*byte)))
            }
            b'\'' => (Kind::Text, string_end(text, start + 1, first, self.lexing)),
            b'"' if self.lexing.ansi_quotes => (Kind::Quoted, name_end(text, start + 1, first)),
            b'"' => (Kind::Text, string_end(text, start + 1, first, self.lexing)),
            b'`' => (Kind::Quoted, name_end(text, start + 1, first)),
            b'#' | b'-' | b'/' => match comment(text, start) {
                Some(comment) => (comment.kind, comment.end),
                None => (Kind::Sign, start + 1),
            },
            b'n' | b'N' if next == Some(b'\'') => {
                (Kind::Text, string_end(text, start + 2, b'\'', self.lexing))
            }
            b'x' | b'X' | b'b' | b'B' if next == Some(b'\'') => {
                (Kind::Number, string_end(text, start + 2, b'\'', self.lexing))
            }
            b'0'..=b'9' if !self.after_dot => number(text, start),
            b'.' if !self.after_name && next.is_some_and(|byte| byte.is_ascii_digit()) => {
                number(text, start)
            }
            byte if is_word(byte) => (Kind::Word, word_end(text, start)),
            _ => (Kind::Sign, start + 1),
        }
    }
}

impl Iterator for Tokens<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        let start = self.at;
        let first = *self.text.get(start)?;
        let (kind, end) = self.token(first);
        self.after_dot = kind == Kind::Sign && first == b'.' && self.after_name;
        self.after_name = matches!(kind, Kind::Word | Kind::Quoted);
        self.at = end;
        Some(Token { kind, start, end })
    }
}

/// White space for all servers.
pub(super) const fn is_space(byte: u8) -> bool {
    BYTES[byte as usize] & SPACE != 0
}

/// A byte of an unquoted identifier or keyword.
pub(super) const fn is_word(byte: u8) -> bool {
    BYTES[byte as usize] & WORD != 0
}

const SPACE: u8 = 1;
const WORD: u8 = 2;

/// What each byte may be; a table is what the hot loops are fastest with.
const BYTES: [u8; 256] = {
    let mut bytes = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        bytes[byte] = match byte as u8 {
            b' ' | b'\t'..=b'\r' => SPACE,
            b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'_' | b'$' | 0x80.. => WORD,
            _ => 0,
        };
        byte += 1;
    }
    bytes
};

/// The end of the word that begins at `start`.
pub(super) fn word_end(text: &[u8], start: usize) -> usize {
    start + run(&text[start..], |byte| is_word(*byte))
}

/// The end of a string whose opening quote lies before `at`.
pub(super) fn string_end(text: &[u8], at: usize, quote: u8, lexing: Lexing) -> usize {
    let escape = if lexing.no_backslash_escapes { quote } else { b'\\' };
    let mut at = at;
    while let Some(found) = text[at..].iter().position(|byte| *byte == quote || *byte == escape) {
        at += found + 1;
        let doubled = text.get(at) == Some(&quote);
        if text[at - 1] == quote && !doubled {
            return at;
        }
        // Behind a backslash any byte belongs to the string, behind a quote another quote.
        at = (at + 1).min(text.len());
    }
    text.len()
}

/// The end of a quoted identifier whose opening quote lies before `at`.
pub(super) fn name_end(text: &[u8], at: usize, quote: u8) -> usize {
    string_end(text, at, quote, Lexing { ansi_quotes: false, no_backslash_escapes: true })
}

/// The comment that begins at `start` (with `#`, `-` or `/`), if one does.
pub(super) fn comment(text: &[u8], start: usize) -> Option<Token> {
    let rest = &text[start..];
    let (kind, end) = match rest {
        [b'#', ..] => line_comment(text, start + 1),
        [b'-', b'-'] => (Kind::Comment, text.len()),
        [b'-', b'-', after, ..] if is_space(*after) => line_comment(text, start + 2),
        // MySQL: any control byte makes a comment; TiDB: white space only (lexer.go,
        // startWithDash).
        [b'-', b'-', after, ..] if after.is_ascii_control() => {
            (Kind::Opaque, line_comment(text, start + 2).1)
        }
        [b'/', b'*', inner @ ..] => {
            let kind = match inner {
                [b'!', ..] | [b'T' | b'M', b'!', ..] => Kind::Opaque,
                [b'+', ..] => Kind::Hint,
                _ => Kind::Comment,
            };
            (kind, block_comment_end(text, start + 2))
        }
        _ => return None,
    };
    Some(Token { kind, start, end })
}

/// The end of a block comment whose `/*` lies before `at`; comments don't nest.
fn block_comment_end(text: &[u8], at: usize) -> usize {
    let mut at = at;
    while let Some(star) = text[at..].iter().position(|byte| *byte == b'*') {
        at += star + 1;
        if text.get(at) == Some(&b'/') {
            return at + 1;
        }
    }
    text.len()
}

/// A line comment ends behind the line feed. MySQL ends it at a NUL as well, TiDB doesn't.
fn line_comment(text: &[u8], at: usize) -> (Kind, usize) {
    let length = run(&text[at..], |byte| *byte != b'\n');
    let kind = if text[at..at + length].contains(&0) { Kind::Opaque } else { Kind::Comment };
    (kind, (at + length + 1).min(text.len()))
}

/// A number, or an identifier that begins with digits (`1a`, `0xfg`, `1e`).
fn number(text: &[u8], start: usize) -> (Kind, usize) {
    let digits = |at: usize| at + run(&text[at..], u8::is_ascii_digit);
    let word = word_end(text, start);
    let radix_digits: fn(&u8) -> bool = match &text[start..word] {
        [b'0', b'x', _, ..] => u8::is_ascii_hexdigit,
        [b'0', b'b', _, ..] => |byte| matches!(byte, b'0' | b'1'),
        _ => |_| false,
    };
    if start + 2 < word && text[start + 2..word].iter().all(radix_digits) {
        return (Kind::Number, word);
    }
    let whole = digits(start);
    let fraction = if text.get(whole) == Some(&b'.') { digits(whole + 1) } else { whole };
    let mut end = fraction;
    if let Some(b'e' | b'E') = text.get(fraction) {
        let signed = matches!(text.get(fraction + 1), Some(b'+' | b'-'));
        let exponent = fraction + 1 + usize::from(signed);
        let exponent_end = text.get(exponent).map_or(exponent, |_| digits(exponent));
        if exponent_end > exponent {
            end = exponent_end;
        }
    }
    if end == whole && end < word { (Kind::Word, word) } else { (Kind::Number, end) }
}

/// How many items at the beginning of `bytes` satisfy `holds`.
fn run(bytes: &[u8], holds: impl Fn(&u8) -> bool) -> usize {
    bytes.iter().position(|byte| !holds(byte)).unwrap_or(bytes.len())
}
