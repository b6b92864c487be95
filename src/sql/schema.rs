//! The name behind USE.

/// The name behind USE, without its quotes; empty if none can be read.
#[must_use]
pub fn schema_name(statement: &[u8]) -> Box<str> {
    let name = statement.get(3..).unwrap_or_default();
    let name = String::from_utf8_lossy(name);
    let name = name.trim().trim_end_matches(';').trim_end();
    match name.strip_prefix('`').and_then(|name| name.strip_suffix('`')) {
        Some(quoted) => quoted.replace("``", "`").into(),
        // Nothing but a comment can follow, which begins with one of these.
        None => name
            .split(|c: char| c.is_whitespace() || "-/#;".contains(c))
            .next()
            .map_or("".into(), Into::into),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_behind_use_is_read_with_and_without_quotes() {
        for (text, name) in [
            ("USE a", "a"),
            ("USE a -- it", "a"),
            ("USE a-- it", "a"),
            ("USE `a-b`", "a-b"),
            ("use a/* it */", "a"),
            ("use  `a`` b` ;", "a` b"),
            ("USE\tshop;", "shop"),
            ("use", ""),
            ("USE /* it */ a", ""),
        ] {
            assert_eq!(&*schema_name(text.as_bytes()), name, "{text}");
        }
    }
}
