//! Values, and the answers made of them. Comparison follows MySQL where types differ: as numbers.

use std::cmp::Ordering;
use std::fmt;

/// One value of a row. The derived order (NULL first, integers, texts by bytes) is the order of
/// keys and of ORDER BY.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Value {
    /// NULL.
    Null,
    /// Any integer.
    Int(i64),
    /// Any text.
    Text(String),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("NULL"),
            Self::Int(number) => number.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<bool> for Value {
    fn from(truth: bool) -> Self {
        Self::Int(truth.into())
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl Value {
    /// MySQL's comparison; `None` if one side is NULL.
    pub(super) fn compare(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Null, _) | (_, Self::Null) => None,
            (Self::Int(_), Self::Text(_)) | (Self::Text(_), Self::Int(_)) => {
                self.to_number().partial_cmp(&other.to_number())
            }
            (Self::Int(_), Self::Int(_)) | (Self::Text(_), Self::Text(_)) => Some(self.cmp(other)),
        }
    }

    /// True, false, or `None` for NULL.
    pub(super) fn truth(&self) -> Option<bool> {
        match self {
            Self::Null => None,
            Self::Int(number) => Some(*number != 0),
            Self::Text(_) => Some(self.to_number() != 0.0),
        }
    }

    /// The value as MySQL's double: the longest leading part of a text that is a number.
    #[expect(clippy::cast_precision_loss, reason = "MySQL compares text and integer as doubles")]
    fn to_number(&self) -> f64 {
        match self {
            Self::Null => 0.0,
            Self::Int(number) => *number as f64,
            Self::Text(text) => {
                let text = text.trim_start();
                let numeric = |c: char| c.is_ascii_digit() || "+-.eE".contains(c);
                let end = text.find(|c| !numeric(c)).unwrap_or(text.len());
                (0..=end).rev().find_map(|end| text[..end].parse().ok()).unwrap_or(0.0)
            }
        }
    }
}

/// What a column of a result holds; the front makes the wire's column types of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// 64-bit integer.
    BigInt,
    /// What SUM returns: a number written as text.
    Decimal,
    /// An integer of at most 32 bits.
    Int,
    /// Text.
    Text,
}

/// A column of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// The table's name or alias; empty for an expression.
    pub table: String,
    /// The heading.
    pub name: String,
    /// What it holds.
    pub kind: Kind,
}

impl Column {
    pub(super) fn text(name: &str) -> Self {
        Self { table: String::new(), name: name.to_owned(), kind: Kind::Text }
    }
}

/// The answer to a statement that succeeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// No rows: what an OK packet says.
    Done {
        /// Rows inserted, changed or deleted.
        affected_rows: u64,
        /// The first generated AUTO_INCREMENT value, or 0.
        last_insert_id: u64,
    },
    /// A result set, maybe empty.
    Rows {
        /// Its columns.
        columns: Vec<Column>,
        /// Its rows, each as long as `columns`.
        rows: Vec<Vec<Value>>,
    },
}

impl Answer {
    /// The answer of a statement that changes no row.
    pub(super) const DONE: Self = Self::Done { affected_rows: 0, last_insert_id: 0 };
}
