//! Mistakes in the configuration file: where each one is, what is wrong and what to write instead.
//!
//! A reader collects [`Note`]s with byte ranges; [`Problems`] turns them into lines and columns
//! once, at the end. What is printed is a piece of the user's own file, so control characters are
//! made visible, long lines are cut, and the value of anything called a password is left out.

use std::fmt;
use std::ops::Range;

/// More than this many mistakes in one file are counted but not listed: the reader of a file that
/// is not a configuration at all needs no ten thousand lines about it.
const LISTED_MAX: usize = 100;

/// Characters of a source line that are printed around a mistake.
const EXCERPT_CHARS_MAX: usize = 120;

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file as the user named it.
    pub file: String,
    /// Where in the file, if it is about a place in it.
    pub place: Option<Place>,
    /// What is wrong.
    pub text: String,
    /// What to do about it.
    pub remedy: String,
}

/// A place in the file and the line that stands there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Line, counted from 1.
    pub line: usize,
    /// Column in characters, counted from 1.
    pub column: usize,
    /// The line, made printable and cut to a bearable length.
    pub excerpt: String,
    /// Characters of the excerpt before the marked ones.
    caret_from: usize,
    /// How many characters are marked, at least one.
    caret_len: usize,
}

/// All mistakes of one file, in the order of the file; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems {
    list: Vec<Problem>,
    left_out: usize,
}

/// A mistake that is not placed yet.
#[derive(Debug, Clone)]
pub(super) struct Note {
    /// Byte range in the text.
    pub(super) span: Range<usize>,
    /// See [`Problem::text`].
    pub(super) text: String,
    /// See [`Problem::remedy`].
    pub(super) remedy: String,
}

/// Everything that a reader has to say about a text.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// What makes the file unusable.
    pub(super) errors: Vec<Note>,
    /// What is allowed and probably not meant.
    pub(super) warnings: Vec<Note>,
}

impl Report {
    pub(super) fn error(
        &mut self,
        span: Range<usize>,
        text: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.errors.push(Note { span, text: text.into(), remedy: remedy.into() });
    }

    pub(super) fn warning(
        &mut self,
        span: Range<usize>,
        text: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.warnings.push(Note { span, text: text.into(), remedy: remedy.into() });
    }
}

impl Problems {
    /// One mistake that is about the whole file or about no file at all.
    #[must_use]
    pub(super) fn whole_file(
        file: &str,
        text: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let (text, remedy) = (text.into(), remedy.into());
        Self {
            list: vec![Problem { file: file.to_owned(), place: None, text, remedy }],
            left_out: 0,
        }
    }

    /// Places notes in their text; `None` if there are none.
    pub(super) fn place(file: &str, text: &str, mut notes: Vec<Note>) -> Option<Self> {
        notes.sort_by_key(|note| (note.span.start, note.span.end));
        let left_out = notes.len().saturating_sub(LISTED_MAX);
        notes.truncate(LISTED_MAX);
        let list: Vec<Problem> = notes
            .into_iter()
            .map(|note| Problem {
                file: file.to_owned(),
                place: Some(Place::find(text, note.span)),
                text: printable(&note.text),
                remedy: printable(&note.remedy),
            })
            .collect();
        (!list.is_empty()).then_some(Self { list, left_out })
    }

    /// The mistakes, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.list.iter()
    }

    /// How many mistakes there are, those that are not listed included; never 0.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "it is never empty")]
    pub fn len(&self) -> usize {
        self.list.len() + self.left_out
    }

    /// The listed mistakes by value.
    pub(super) fn into_list(self) -> Vec<Problem> {
        self.list
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.list.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{problem}")?;
        }
        if self.left_out > 0 {
            write!(f, "\n… and {} more", self.left_out)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

impl fmt::Display for Problem {
    /// `FILE:LINE:COLUMN: text`, the line with a caret, and the remedy; no line end at the end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(place) = &self.place else {
            return write!(f, "{}: {}\n  = {}", self.file, self.text, self.remedy);
        };
        let number = place.line.to_string();
        let gutter = " ".repeat(number.len());
        // Tabs are kept before the caret, so that it stands right whatever their width.
        let pad: String = place
            .excerpt
            .chars()
            .take(place.caret_from)
            .map(|c| if c == '\t' { '\t' } else { ' ' })
            .collect();
        let carets = "^".repeat(place.caret_len);
        writeln!(f, "{}:{number}:{}: {}", self.file, place.column, self.text)?;
        writeln!(f, "{gutter} |")?;
        writeln!(f, "{number} | {}", place.excerpt)?;
        writeln!(f, "{gutter} | {pad}{carets}")?;
        write!(f, "{gutter} = {}", self.remedy)
    }
}

impl Place {
    fn find(text: &str, span: Range<usize>) -> Self {
        let start = floor_boundary(text, span.start);
        let end = floor_boundary(text, span.end).max(start);
        let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
        let line = text[line_start..line_end].trim_end_matches('\r');

        let column = text[line_start..start].chars().count();
        let marked = text[start..end.min(line_end).max(start)].trim_end().chars().count();
        let (shown, hidden) = match secret_from(line) {
            Some(at) => (&line[..at], true),
            None => (line, false),
        };
        let chars: Vec<char> = shown.chars().collect();

        // A window of the line that holds the beginning of the marked piece.
        let window = if chars.len() <= EXCERPT_CHARS_MAX {
            0..chars.len()
        } else {
            let from = column.saturating_sub(EXCERPT_CHARS_MAX / 3).min(chars.len());
            from..(from + EXCERPT_CHARS_MAX).min(chars.len())
        };
        let mut excerpt: String = chars[window.clone()].iter().copied().map(visible).collect();
        let mut caret_from = column.saturating_sub(window.start);
        if window.start > 0 {
            excerpt.insert(0, '…');
            caret_from += 1;
        }
        if hidden || window.end < chars.len() {
            excerpt.push('…');
        }
        let excerpt_len = excerpt.chars().count();
        let caret_from = caret_from.min(excerpt_len);
        let caret_len = marked.min(excerpt_len - caret_from).max(1);
        let line = text[..line_start].matches('\n').count() + 1;
        Self { line, column: column + 1, excerpt, caret_from, caret_len }
    }
}

/// Where the value of a password begins in a line; names that end in `_env` or `_file` hold none.
fn secret_from(line: &str) -> Option<usize> {
    let lower = line.to_ascii_lowercase();
    let word = ["password", "passwd", "secret"].iter().filter_map(|word| lower.find(word)).min()?;
    let equals = word + line[word..].find('=')?;
    let key = line[word..equals].trim_end().trim_end_matches(['"', '\'']);
    (!key.ends_with("_env") && !key.ends_with("_file")).then_some(equals + 1)
}

fn floor_boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// Control characters could drive the user's terminal; they are shown as a dot.
fn visible(c: char) -> char {
    if c.is_control() && c != '\t' { '·' } else { c }
}

fn printable(text: &str) -> String {
    let cut: String = text.chars().take(600).map(visible).collect();
    if cut.len() < text.len() && text.chars().count() > 600 { cut + "…" } else { cut }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(text: &str, span: Range<usize>) -> String {
        let note = Note { span, text: "wrong".into(), remedy: "make it right".into() };
        Problems::place("f.toml", text, vec![note]).expect("one note").to_string()
    }

    #[test]
    fn a_caret_marks_the_piece_behind_tabs_and_wide_letters() {
        insta::assert_snapshot!(show("a = 1\n\tnamé = bad # x\n", 15..18), @r"
        f.toml:2:9: wrong
          |
        2 | 	namé = bad # x
          | 	       ^^^
          = make it right
        ");
    }

    #[test]
    fn a_place_at_the_end_or_beyond_still_has_a_caret() {
        insta::assert_snapshot!(show("a =", 3..9), @r"
        f.toml:1:4: wrong
          |
        1 | a =
          |    ^
          = make it right
        ");
    }

    #[test]
    fn long_lines_are_cut_around_the_mistake() {
        let text = format!("x = [{} 7]", "1, ".repeat(500));
        let shown = show(&text, 1000..1003);
        assert!(shown.lines().all(|line| line.chars().count() < 130), "{shown}");
        assert!(shown.contains("| …"), "{shown}");
    }

    #[test]
    fn passwords_are_not_printed_and_terminal_codes_are_harmless() {
        let shown = show("service_password = \"hunter2\"", 0..16);
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(show("service_password_env = 5", 23..24).contains("= 5"));
        assert!(!show("a = \u{1b}[2J", 4..5).contains('\u{1b}'));
    }

    #[test]
    fn a_flood_is_counted_not_listed() {
        let notes = (0..LISTED_MAX + 7)
            .map(|at| Note { span: at..at, text: "x".into(), remedy: "y".into() })
            .collect();
        let problems = Problems::place("f", "", notes).expect("notes");
        assert_eq!((problems.iter().count(), problems.len()), (LISTED_MAX, LISTED_MAX + 7));
        assert!(problems.to_string().ends_with("… and 7 more"));
    }
}
