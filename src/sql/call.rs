//! `CALL txguard.<verb>(…)`, which txguard answers itself.

use super::lex::{Kind, Lexing, Token, Tokens};
use super::scan::Scan;

/// A call of a procedure in the schema `txguard`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The procedure, in lower case.
    pub verb: Box<str>,
    /// What stands between the parentheses.
    pub arguments: Vec<Argument>,
}

/// An argument of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Argument {
    /// A string; its escapes are resolved.
    Text(Box<str>),
    /// `?`, in a prepared statement.
    Marker,
}

/// Reads the CALL that `scan` has found in `text`. `None` if it is of another schema, or holds
/// anything but strings and markers.
#[must_use]
pub fn call(text: &[u8], scan: &Scan, lexing: Lexing) -> Option<Call> {
    let mut tokens = Tokens::new(text, scan.body, lexing);
    tokens.next_solid()?;
    let schema = name(&tokens.next_solid()?, text)?;
    if schema != "txguard" || tokens.next_solid()?.bytes(text) != b"." {
        return None;
    }
    let verb = name(&tokens.next_solid()?, text)?.into();
    let mut call = Call { verb, arguments: Vec::new() };
    match tokens.next_solid() {
        // Parentheses around nothing may be left out.
        None => return Some(call),
        Some(token) if token.bytes(text) == b";" => return Some(call),
        Some(token) if token.bytes(text) == b"(" => {}
        Some(_) => return None,
    }
    loop {
        let token = tokens.next_solid()?;
        match (token.kind, token.bytes(text)) {
            (_, b")") if call.arguments.is_empty() => break,
            (_, b"?") => call.arguments.push(Argument::Marker),
            (Kind::Text, _) => call.arguments.push(Argument::Text(string(&token, text, lexing)?)),
            _ => return None,
        }
        match tokens.next_solid()?.bytes(text) {
            b"," => {}
            b")" => break,
            _ => return None,
        }
    }
    let ends = tokens.next_solid().is_none_or(|token| token.bytes(text) == b";");
    ends.then_some(call)
}

fn name(token: &Token, text: &[u8]) -> Option<String> {
    let named = matches!(token.kind, Kind::Word | Kind::Quoted);
    let name = std::str::from_utf8(token.unquoted(text)).ok()?;
    named.then(|| name.to_ascii_lowercase())
}

/// The value of a string literal.
fn string(token: &Token, text: &[u8], lexing: Lexing) -> Option<Box<str>> {
    let quote = *token.bytes(text).first()?;
    let inside = token.unquoted(text);
    if inside.len() == token.bytes(text).len() {
        // A literal with a prefix.
        return None;
    }
    let mut value = Vec::with_capacity(inside.len());
    let mut bytes = inside.iter().copied();
    while let Some(byte) = bytes.next() {
        value.push(match byte {
            b'\\' if !lexing.no_backslash_escapes => escaped(bytes.next()?)?,
            _ if byte == quote => bytes.next()?,
            _ => byte,
        });
    }
    String::from_utf8(value).ok().map(Into::into)
}

/// The byte that a backslash and this one stand for (MySQL manual, "String Literals"). Those that
/// stand for two are not read.
const fn escaped(byte: u8) -> Option<u8> {
    Some(match byte {
        b'0' => 0,
        b'b' => 8,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'Z' => 26,
        b'%' | b'_' => return None,
        other => other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::scan;

    fn read(text: &str) -> Option<Call> {
        call(text.as_bytes(), &scan(text.as_bytes(), Lexing::default()), Lexing::default())
    }

    fn with(verb: &str, arguments: &[&str]) -> Option<Call> {
        let arguments = arguments.iter().map(|text| match *text {
            "?" => Argument::Marker,
            text => Argument::Text(text.into()),
        });
        Some(Call { verb: verb.into(), arguments: arguments.collect() })
    }

    #[test]
    fn calls_of_our_schema_are_read() {
        for (text, verb, arguments) in [
            ("CALL txguard.current_transaction()", "current_transaction", &[][..]),
            ("call `TxGuard` . `Current_Transaction` ( ) ;", "current_transaction", &[]),
            ("/* x */ CALL txguard.current_transaction -- it", "current_transaction", &[]),
            ("CALL txguard.idempotency_key('a')", "idempotency_key", &["a"]),
            ("CALL txguard.f('it''s', \"a'b\", 'c\\'d\\n')", "f", &["it's", "a'b", "c'd\n"]),
            ("CALL txguard.f(?, 'x')", "f", &["?", "x"]),
        ] {
            assert_eq!(read(text), with(verb, arguments), "{text}");
        }
    }

    #[test]
    fn others_are_left_to_the_server() {
        for text in [
            "CALL p()",
            "CALL shop.p()",
            "CALL txguard",
            "CALL txguard.",
            "CALL txguard.f(",
            "CALL txguard.f('a'",
            "CALL txguard.f('a',)",
            "CALL txguard.f('a' 'b')",
            "CALL txguard.f(1)",
            "CALL txguard.f(@x)",
            "CALL txguard.f(N'a')",
            "CALL txguard.f('\\%')",
            "CALL txguard.f() x",
            "CALL txguard.f(/*! 'a' */)",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
