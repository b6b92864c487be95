//! The house rule as a test: a room imports only from floors below its own.
//!
//! Every `crate::<room>` path is read, also outside `use` lines, so a path in the middle of a
//! function counts. Pure rooms may not name anything that does input or output.

use std::fs;
use std::path::{Path, PathBuf};

/// Rooms and their floors; a room that is not listed here is an error.
const FLOORS: &[(&str, u8)] = &[
    ("app", 9),
    ("control", 8),
    ("session", 7),
    ("coordinator", 6),
    ("inspect", 6),
    ("store", 5),
    ("txn", 4),
    ("policy", 3),
    ("compensate", 3),
    ("net", 3),
    ("embedded", 3),
    ("load", 3),
    ("sql", 2),
    ("wire", 2),
    ("tso", 2),
    ("base", 1),
    ("manual", 0),
];

/// Rooms (or rooms within rooms) that only compute.
const PURE: &[&str] = &["sql", "wire", "tso", "policy", "txn", "compensate", "embedded/engine"];

/// What a pure room must not name.
const IMPURE: &[&str] = &[
    "tokio::",
    "std::net",
    "std::fs",
    "std::time::Instant",
    "SystemTime",
    "prometheus",
    "opensrv_mysql",
    "base::clock",
    "base::tasks",
    "base::metrics",
];

#[test]
fn rooms_import_only_from_floors_below() {
    let mut problems = Vec::new();
    for file in sources() {
        let Some(room) = room_of(&file) else { continue };
        let floor = floor(&room).unwrap_or_else(|| panic!("{room} is on no floor: {file:?}"));
        for (number, line) in code_lines(&file) {
            for target in crate_paths(&line) {
                let below = floor_of_target(&target).is_none_or(|other| other < floor);
                if target != room && !below {
                    problems.push(format!("{}:{number}: {room} → {target}", file.display()));
                }
            }
        }
    }
    assert!(problems.is_empty(), "paths against the floors:\n{}", problems.join("\n"));
}

#[test]
fn pure_rooms_name_no_input_or_output() {
    let mut problems = Vec::new();
    for file in sources() {
        let inside = file.strip_prefix(root()).expect("below src").display().to_string();
        if !PURE.iter().any(|room| inside.starts_with(&format!("{room}/"))) {
            continue;
        }
        for (number, line) in code_lines(&file) {
            for word in IMPURE.iter().filter(|word| line.contains(**word)) {
                problems.push(format!("{inside}:{number}: {word}"));
            }
        }
    }
    assert!(problems.is_empty(), "impure words in pure rooms:\n{}", problems.join("\n"));
}

#[test]
fn only_their_own_rooms_name_the_libraries_of_one_purpose() {
    let rules: &[(&str, &[&str])] = &[
        ("prometheus::", &["base/metrics"]),
        ("opensrv_mysql", &["embedded/", "control/admin/"]),
        ("sqlparser::", &["sql/", "embedded/"]),
        ("rustls", &["net/"]),
        ("tonic", &["net/pd/"]),
        ("prost", &["net/pd/"]),
        ("flate2::", &["wire/compress.rs"]),
        ("zstd::", &["wire/compress.rs"]),
    ];
    let mut problems = Vec::new();
    for file in sources() {
        let inside = file.strip_prefix(root()).expect("below src").display().to_string();
        for (number, line) in code_lines(&file) {
            for (word, homes) in rules {
                if line.contains(word) && !homes.iter().any(|home| inside.starts_with(home)) {
                    problems.push(format!("{inside}:{number}: {word}"));
                }
            }
        }
    }
    assert!(problems.is_empty(), "libraries outside their rooms:\n{}", problems.join("\n"));
}

#[test]
fn the_rule_itself_can_fail() {
    assert_eq!(crate_paths("let x = crate::session::run(crate::base::x);"), ["session", "base"]);
    assert_eq!(crate_paths("use crate::{net, txn::Guard};"), ["net", "txn"]);
    assert!(floor("session") > floor("net"));
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn sources() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("readable source folder") {
            let path = entry.expect("readable entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                found.push(path);
            }
        }
    }
    assert!(found.len() > 5, "the source tree was not found");
    found
}

/// The room of a file; `lib.rs` and `main.rs` stand above all rooms.
fn room_of(file: &Path) -> Option<String> {
    let inside = file.strip_prefix(root()).expect("below src");
    let first = inside.components().next().expect("a file name");
    let name = first.as_os_str().to_str().expect("names are ASCII");
    (!["lib.rs", "main.rs"].contains(&name)).then(|| name.trim_end_matches(".rs").to_owned())
}

fn floor(room: &str) -> Option<u8> {
    FLOORS.iter().find(|(name, _)| *name == room).map(|(_, floor)| *floor)
}

/// Macros and items at the crate root have no floor.
fn floor_of_target(target: &str) -> Option<u8> {
    floor(target)
}

/// Lines with their numbers, without comments.
fn code_lines(file: &Path) -> Vec<(usize, String)> {
    let text = fs::read_to_string(file).expect("readable source file");
    text.lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line.split("//").next().unwrap_or_default().to_owned()))
        .collect()
}

/// The rooms that a line names as `crate::room` or `crate::{room, room}`.
fn crate_paths(line: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in line.match_indices("crate::") {
        let rest = &line[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            Some(group) => found.extend(
                group.trim_end_matches([';', '}']).split(',').map(|item| first_name(item.trim())),
            ),
            None => found.push(first_name(rest)),
        }
    }
    found
}

fn first_name(path: &str) -> String {
    path.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}
