//! Reads one table of the file key by key, so that one wrong value doesn't hide the next one.
//!
//! serde stops at the first error of a document; here each key is deserialized on its own and
//! each error is noted with its place. A value that can't be read is replaced by its default: the
//! file is refused anyway, and the checks behind can go on.

use std::fmt::Display;
use std::ops::{Range, RangeInclusive};
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use super::problem::Report;
use super::value::{ByteSize, Count, Period, PeriodOrOff};

/// The keys of one table of the schema.
#[derive(Debug, Clone, Copy)]
pub(super) struct Schema {
    /// How messages call the table, e.g. `[limits]`.
    pub(super) title: &'static str,
    /// Its keys, in the order of the documentation.
    pub(super) keys: &'static [&'static str],
}

/// One table of the file while it is read.
pub(super) struct Section<'report, 'text> {
    schema: &'static Schema,
    span: Range<usize>,
    table: DeTable<'text>,
    report: &'report mut Report,
}

impl<'report, 'text> Section<'report, 'text> {
    pub(super) fn new(
        schema: &'static Schema,
        table: Spanned<DeTable<'text>>,
        report: &'report mut Report,
    ) -> Self {
        Self { schema, span: table.span(), table: table.into_inner(), report }
    }

    /// The place of the table's header.
    pub(super) fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// True if the key is there and not taken yet.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Takes a key; `None` if it is absent, or wrong, which is noted. `example` is a right value.
    pub(super) fn value<T>(&mut self, key: &'static str, example: &str) -> Option<Spanned<T>>
    where
        T: Deserialize<'text>,
    {
        let value = self.take(key)?;
        let span = value.span();
        match T::deserialize(ValueDeserializer::from(value)) {
            Ok(read) => Some(Spanned::new(span, read)),
            Err(error) => {
                let at = error.span().unwrap_or(span);
                let remedy = format!("write it as `{key} = {example}`");
                self.report.error(at, format!("`{key}`: {}", error.message()), remedy);
                None
            }
        }
    }

    /// Takes a list of texts; one that is no text is noted and left out.
    pub(super) fn texts(
        &mut self,
        key: &'static str,
        example: &str,
    ) -> Option<Spanned<Vec<Spanned<String>>>> {
        let value = self.take(key)?;
        let (span, found) = (value.span(), value.into_inner());
        let remedy = format!("write it as `{key} = {example}`");
        let DeValue::Array(list) = found else {
            let text = format!("`{key}` is a list of texts, not {}", article(found.type_str()));
            self.report.error(span, text, remedy);
            return None;
        };
        let mut texts = Vec::new();
        for entry in list {
            let at = entry.span();
            match entry.into_inner() {
                DeValue::String(text) => texts.push(Spanned::new(at, text.into_owned())),
                other => {
                    let found = article(other.type_str());
                    let text = format!("`{key}` is a list of texts, and this is {found}");
                    self.report.error(at, text, remedy.clone());
                }
            }
        }
        Some(Spanned::new(span, texts))
    }

    /// Takes a number that must lie within bounds.
    pub(super) fn count(
        &mut self,
        key: &'static str,
        bounds: RangeInclusive<u32>,
        default: u32,
    ) -> u32 {
        let read = self.value::<Count>(key, &default.to_string());
        let Some(read) = read else { return default };
        match u32::try_from(read.get_ref().0) {
            Ok(number) if bounds.contains(&number) => number,
            Ok(_) | Err(_) => {
                self.out_of_bounds(key, &read, read.get_ref().0, &bounds, default);
                default
            }
        }
    }

    /// Takes a duration that must lie within bounds.
    pub(super) fn duration(
        &mut self,
        key: &'static str,
        bounds: RangeInclusive<Duration>,
        default: Duration,
    ) -> Duration {
        let example = format!("\"{}\"", Period(default));
        let Some(read) = self.value::<Period>(key, &example) else { return default };
        let value = *read.get_ref();
        if bounds.contains(&value.0) {
            return value.0;
        }
        let bounds = Period(*bounds.start())..=Period(*bounds.end());
        self.out_of_bounds(key, &read, value, &bounds, example);
        default
    }

    /// Takes a duration that must lie within bounds; an empty text switches it off.
    pub(super) fn duration_or_off(
        &mut self,
        key: &'static str,
        bounds: RangeInclusive<Duration>,
        default: Option<Duration>,
    ) -> Option<Duration> {
        const EXAMPLE: &str = "\"8h\"";
        let read = self.value::<PeriodOrOff>(key, &format!("{EXAMPLE}, or \"\" for off"));
        let Some(read) = read else { return default };
        let period = read.get_ref().0?;
        if bounds.contains(&period.0) {
            return Some(period.0);
        }
        let bounds = Period(*bounds.start())..=Period(*bounds.end());
        self.out_of_bounds(key, &read, period, &bounds, EXAMPLE);
        default
    }

    /// Takes a number of bytes that must lie within bounds.
    pub(super) fn bytes(
        &mut self,
        key: &'static str,
        bounds: RangeInclusive<u64>,
        default: u64,
    ) -> u64 {
        let example = format!("\"{}\"", ByteSize(default));
        let Some(read) = self.value::<ByteSize>(key, &example) else { return default };
        let value = *read.get_ref();
        if bounds.contains(&value.0) {
            return value.0;
        }
        let bounds = ByteSize(*bounds.start())..=ByteSize(*bounds.end());
        self.out_of_bounds(key, &read, value, &bounds, example);
        default
    }

    /// Takes a `true` or `false`.
    pub(super) fn flag(&mut self, key: &'static str, default: bool) -> bool {
        self.value(key, if default { "true" } else { "false" }).map_or(default, Spanned::into_inner)
    }

    /// Takes one of several words.
    pub(super) fn choice<T>(&mut self, key: &'static str, words: &[(&str, T)], default: T) -> T
    where
        T: Copy,
    {
        let example = words.iter().map(|(word, _)| format!("\"{word}\"")).collect::<Vec<_>>();
        let example = example.join(" | ");
        let Some(read) = self.value::<String>(key, &example) else { return default };
        let written = read.get_ref();
        if let Some((_, value)) = words.iter().find(|(word, _)| word == written) {
            return *value;
        }
        let near = nearest(written, words.iter().map(|(word, _)| *word));
        let remedy = match near {
            Some(word) => format!("did you mean \"{word}\"? it can be {example}"),
            None => format!("it can be {example}"),
        };
        self.report.error(read.span(), format!("`{key}`: {written:?} is not known"), remedy);
        default
    }

    /// Takes a table inside this one.
    pub(super) fn table(
        &mut self,
        key: &'static str,
        schema: &'static Schema,
    ) -> Option<Section<'_, 'text>> {
        let value = self.take(key)?;
        let (span, found) = (value.span(), value.into_inner());
        match found {
            DeValue::Table(table) => {
                Some(Section::new(schema, Spanned::new(span, table), self.report))
            }
            DeValue::Array(_) if schema.title.starts_with('[') => {
                let text = format!("there is one {}, not a list of them", schema.title);
                self.report.error(span, text, format!("write {}", schema.title));
                None
            }
            other => {
                let text = format!("`{key}` is a table, not {}", article(other.type_str()));
                let remedy = match schema.title.strip_prefix("[[policy]] ") {
                    Some(inner) => {
                        let keys = schema.keys.join(" = …, ");
                        format!(
                            "write it as `{inner} = {{ {keys} = … }}`; each key may be left out"
                        )
                    }
                    None => format!("begin it with {}", schema.title),
                };
                self.report.error(span, text, remedy);
                None
            }
        }
    }

    /// Takes a list of tables, written `[[key]]`.
    pub(super) fn tables(&mut self, key: &'static str) -> Vec<Spanned<DeTable<'text>>> {
        let Some(value) = self.take(key) else { return Vec::new() };
        let span = value.span();
        let remedy = format!("begin each with [[{key}]]");
        let found = value.into_inner();
        let DeValue::Array(list) = found else {
            let text = format!("`{key}` is a list of tables, not {}", article(found.type_str()));
            self.report.error(span, text, remedy);
            return Vec::new();
        };
        let mut tables = Vec::new();
        for entry in list {
            let span = entry.span();
            match entry.into_inner() {
                DeValue::Table(table) => tables.push(Spanned::new(span, table)),
                other => {
                    let found = article(other.type_str());
                    let text = format!("`{key}` is a list of tables, not of {found}");
                    self.report.error(span, text, remedy.clone());
                }
            }
        }
        tables
    }

    /// Where mistakes are noted.
    pub(super) const fn report(&mut self) -> &mut Report {
        self.report
    }

    /// Notes a mistake.
    pub(super) fn error(
        &mut self,
        span: Range<usize>,
        text: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.report.error(span, text, remedy);
    }

    /// Notes something that is allowed and probably not meant.
    pub(super) fn warning(
        &mut self,
        span: Range<usize>,
        text: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.report.warning(span, text, remedy);
    }

    /// Ends the table: every key that nobody took is unknown.
    pub(super) fn finish(self, elsewhere: &[&'static Schema]) {
        let Schema { title, keys } = self.schema;
        for (key, _) in self.table {
            let name = key.get_ref();
            let home = elsewhere
                .iter()
                .find(|other| other.title != *title && other.keys.contains(&&**name));
            let listed = keys.join(", ");
            let remedy = match (nearest(name, keys.iter().copied()), home) {
                (Some(near), _) => format!("did you mean `{near}`? {title} has: {listed}"),
                (None, Some(home)) => format!("`{name}` belongs to {}", home.title),
                (None, None) => format!("{title} has: {listed}"),
            };
            let what = if *title == TOP { "at the top".to_owned() } else { format!("in {title}") };
            self.report.error(key.span(), format!("unknown key `{name}` {what}"), remedy);
        }
    }

    fn take(&mut self, key: &'static str) -> Option<Spanned<DeValue<'text>>> {
        debug_assert!(self.schema.keys.contains(&key), "{key} is not in {:?}", self.schema);
        self.table.remove(key)
    }

    fn out_of_bounds<T>(
        &mut self,
        key: &str,
        read: &Spanned<T>,
        value: impl Display,
        bounds: &RangeInclusive<impl Display>,
        example: impl Display,
    ) {
        let text = format!(
            "`{key}` is {value}; it must lie between {} and {}",
            bounds.start(),
            bounds.end()
        );
        self.report.error(read.span(), text, format!("write for example `{key} = {example}`"));
    }
}

/// The title of the table that holds all others.
pub(super) const TOP: &str = "the top of the file";

/// The word that was probably meant, if one is near.
fn nearest<'word>(written: &str, words: impl Iterator<Item = &'word str>) -> Option<&'word str> {
    // A third of the letters may be wrong; longer texts are no slips of a key.
    let allowed = (written.chars().count().min(60) / 3).clamp(1, 3);
    let normal = written.to_ascii_lowercase().replace('-', "_");
    words
        .map(|word| (distance(&normal, word), word))
        .filter(|(distance, _)| *distance <= allowed && written.len() <= 60)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

/// How many letters must be put in, left out or replaced (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.chars().take(64).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, right) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(left != *right);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

fn article(kind: &str) -> String {
    let vowel = kind.starts_with(['a', 'e', 'i', 'o', 'u']);
    format!("{} {kind}", if vowel { "an" } else { "a" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_found_only_if_it_is_near() {
        let words = ["handshake", "clients", "journal_total"];
        for (written, meant) in [
            ("handshak", Some("handshake")),
            ("client", Some("clients")),
            ("Journal-Total", Some("journal_total")),
            ("retries", None),
            ("x", None),
        ] {
            assert_eq!(nearest(written, words.into_iter()), meant, "{written}");
        }
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
