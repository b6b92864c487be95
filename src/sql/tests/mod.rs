//! Tests of the room as a whole: a corpus, properties over random text, hostile sizes.

mod corpus;
mod places;
mod properties;
mod size;

use std::sync::Arc;

use super::{Class, Classifier, Lexing, Scan, scan, shape};

fn look(text: &str) -> Scan {
    scan(text.as_bytes(), Lexing::default())
}

fn class(text: &str) -> Arc<Class> {
    class_in(text.as_bytes(), Lexing::default())
}

fn class_in(text: &[u8], lexing: Lexing) -> Arc<Class> {
    Classifier::new(16).classify(text, &scan(text, lexing), lexing, &mut Vec::new())
}

fn shaped(text: &str) -> String {
    let mut out = Vec::new();
    shape(text.as_bytes(), Lexing::default(), &mut out);
    String::from_utf8_lossy(&out).into_owned()
}
