//! Every pitfall has a test or a decision, and the manual's table says which.

use std::path::Path;

const TABLE: &str = include_str!("../../src/manual/retry_safety.rs");
const DECISIONS: &str = include_str!("../../src/manual/decisions.rs");

/// The files of cases, by the name that the table uses.
const CASES: &[(&str, &str)] = &[
    ("tests/pitfalls/session.rs", include_str!("session.rs")),
    ("tests/pitfalls/state.rs", include_str!("state.rs")),
    ("tests/pitfalls/statements.rs", include_str!("statements.rs")),
    ("tests/pitfalls/values.rs", include_str!("values.rs")),
];

const LAST: u32 = 54;

/// Of commit receipts; their rows are checked as soon as there are any.
const RECEIPTS: std::ops::RangeInclusive<u32> = 41..=44;

/// What is wrong with the row of a pitfall.
fn wrong(number: &str) -> Option<String> {
    let head = format!("//! | {number} | ");
    let Some(row) = TABLE.lines().find(|line| line.starts_with(&head)) else {
        return Some(format!("{number} has no row"));
    };
    let words: Vec<&str> = row.split('`').collect();
    let named = words.iter().skip(1).step_by(2);
    let mut shown = 0;
    for place in named {
        let (file, test) = place.split_once("::").unwrap_or((place, ""));
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let Ok(text) = std::fs::read_to_string(root.join(file)) else {
            return Some(format!("{number}: no file {file}"));
        };
        if !text.contains(test) {
            return Some(format!("{number}: no {test} in {file}"));
        }
        let cases = CASES.iter().find(|(name, _)| *name == file).map(|(_, text)| *text);
        if cases.is_some_and(|text| !names(text, number)) {
            return Some(format!("{number}: no case of that number in {file}"));
        }
        shown += 1;
    }
    for (at, _) in row.match_indices("D-0") {
        let decision = &row[at..at + 5];
        if !DECISIONS.contains(&format!("//! # {decision} ")) {
            return Some(format!("{number}: no decision {decision}"));
        }
        shown += 1;
    }
    (shown == 0).then(|| format!("{number}: neither a test nor a decision"))
}

/// The name of a case begins with this number, among others.
fn names(text: &str, number: &str) -> bool {
    text.split('"').skip(1).step_by(2).any(|name| {
        let numbers = name.split(' ').take_while(|word| word.starts_with('R'));
        numbers.into_iter().any(|word| word == number)
    })
}

#[test]
fn every_pitfall_has_a_test_or_a_decision() {
    let expected =
        |number: &u32| !RECEIPTS.contains(number) || TABLE.contains(&format!("//! | R{number} | "));
    let problems: Vec<String> =
        (1..=LAST).filter(expected).filter_map(|number| wrong(&format!("R{number}"))).collect();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn every_case_has_a_number_that_is_in_the_table() {
    for (file, text) in CASES {
        let cases = text.lines().filter(|line| line.contains("Case::")).count();
        let named = (1..=LAST).filter(|number| names(text, &format!("R{number}")));
        assert!(cases > 5, "{file}");
        for number in named {
            let head = format!("//! | R{number} | ");
            let row = TABLE.lines().find(|line| line.starts_with(&head)).unwrap_or_default();
            assert!(row.contains(file), "R{number} is a case in {file}, which its row doesn't say");
        }
    }
}
