//! Plain columns for terminals and pipes.

use std::io::{self, Write};

/// Writes rows under headings; each column is as wide as its longest cell, the last one as it is.
pub(super) fn write<const N: usize>(
    out: &mut impl Write,
    headings: [&str; N],
    rows: &[[String; N]],
) -> io::Result<()> {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.max().unwrap_or_default().max(headings[column].chars().count())
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let lines = std::iter::once(headings.map(str::to_owned)).chain(rows.iter().cloned());
    for line in lines {
        let mut text = String::new();
        for (cell, width) in line.iter().zip(widths) {
            text.push_str(cell);
            text.extend(std::iter::repeat_n(' ', width - cell.chars().count() + 2));
        }
        writeln!(out, "{}", text.trim_end())?;
    }
    Ok(())
}
