//! `txguard errors`: the table of txguard's own errors.

use std::io::{self, Write};
use std::process::ExitCode;

use serde_json::json;

use crate::base::error;

/// Writes the table, or a JSON array of it.
#[must_use]
pub fn run(json: bool, out: &mut impl Write) -> ExitCode {
    super::written(if json { as_json(out) } else { as_text(out) }.and_then(|()| out.flush()))
}

fn as_json(out: &mut impl Write) -> io::Result<()> {
    let rows: Vec<_> = error::ALL
        .iter()
        .map(|row| {
            json!({
                "code": row.code,
                "sqlstate": row.sqlstate,
                "text": row.own.message(),
                "cause": row.cause,
                "remedy": row.remedy,
            })
        })
        .collect();
    serde_json::to_writer_pretty(&mut *out, &rows)?;
    writeln!(out)
}

/// One block an error: causes and remedies are sentences, too long for columns.
fn as_text(out: &mut impl Write) -> io::Result<()> {
    for row in error::ALL {
        writeln!(out, "{} {}  {}", row.code, row.sqlstate, row.own.message())?;
        writeln!(out, "  cause:  {}", row.cause)?;
        writeln!(out, "  remedy: {}\n", row.remedy)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_holds_every_error_in_both_forms() {
        let (mut text, mut json) = (Vec::new(), Vec::new());
        let _ = run(false, &mut text);
        let _ = run(true, &mut json);
        let text = String::from_utf8(text).expect("text");
        let json: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
        assert_eq!(json.as_array().expect("array").len(), error::ALL.len());
        for row in error::ALL {
            assert!(text.contains(&row.code.to_string()) && text.contains(row.remedy));
        }
    }
}
