//! Floor 2, pure: what a statement is, and what may be put before it.
//!
//! ```text
//! text ─▶ scan  ─▶ Scan   every statement: one pass, nothing allocated, any bytes
//!          │
//!          └────▶ classify   on demand, for statements in a transaction that may be replayed
//!                   ├─ BEGIN, SET, SHOW …: the class follows from the Scan
//!                   └─ SELECT and DML: text ─▶ shape ─▶ cache ─▶ Class
//!                                                        └─ miss: sqlparser on the shape, once
//! ```
//!
//! Invariant: a statement whose [`Class::unsafe_reason`] is `None` does the same again when it is
//! run again with the same rows, at any time, on the same connection; whatever isn't known to be
//! so has a reason. A reason too many costs a replay, one too few costs data.
//!
//! What a SET assigns, where it can be repeated, is told by [`assigned`].
//!
//! A file of statements is cut by [`split`], with the same rules.
//!
//! Text that goes to a server is the client's own bytes with a [`tag`] before them, never printed
//! from a syntax tree. This room names no socket, file, clock or task.

mod analyse;
mod assign;
mod call;
mod function;
mod kill;
mod lex;
mod verb;

pub mod classify;
pub mod scan;
pub mod schema;
pub mod shape;
pub mod split;
pub mod tag;

pub use assign::{OWN_PREFIX, SESSION_VARIABLES, Variable, assigned};
pub use call::{Argument, Call, call};
pub use classify::{Class, Classifier, Kind, Reason, TableName};
pub use kill::{Kill, kill};
pub use lex::Lexing;
pub use scan::{Scan, scan};
pub use schema::schema_name;
pub use shape::shape;
pub use split::{Piece, Splitter};
pub use tag::{TagValues, comment_value, correct_column, traceparent, without_comments, write_tag};
pub use verb::{
    BeginKind, BeginMode, CharsetWord, Completion, DdlKind, SetKind, Switch, Verb,
    is_plain_charset, is_plain_collation,
};

#[cfg(test)]
mod tests;
