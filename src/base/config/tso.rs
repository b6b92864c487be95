//! `[tso]`: where timestamps come from.

use super::section::{Schema, Section};

/// The section's keys.
pub(super) const SCHEMA: Schema = Schema { title: "[tso]", keys: &["source"] };

/// Where timestamps come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tso {
    /// The oracle.
    pub source: TsoSource,
}

/// The oracle of timestamps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TsoSource {
    /// PD where its addresses are given (none can be given yet), else the local clock.
    #[default]
    Auto,
    /// The local clock, in TiDB's format.
    Local,
}

impl Tso {
    pub(super) fn read(mut section: Section<'_, '_>, all: &[&'static Schema]) -> Self {
        let words =
            [("auto", Some(TsoSource::Auto)), ("local", Some(TsoSource::Local)), ("pd", None)];
        let source = section.value::<String>("source", "\"auto\"");
        let mut read = TsoSource::default();
        if let Some(source) = source {
            match words.iter().find(|(word, _)| word == source.get_ref()) {
                Some((_, Some(known))) => read = *known,
                Some((_, None)) => section.error(
                    source.span(),
                    "`source`: \"pd\" is not supported by this version",
                    "write \"auto\" or \"local\"; both use the local clock for now",
                ),
                None => section.error(
                    source.span(),
                    format!("`source`: {:?} is not known", source.get_ref()),
                    "it can be \"auto\" | \"local\"",
                ),
            }
        }
        section.finish(all);
        Self { source: read }
    }
}
