//! Hostile sizes, and the cache.

use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use super::{class, class_in, look, shaped};
use crate::sql::{Classifier, Kind, Lexing, Reason, scan};

/// Far more than any of these needs, far less than a quadratic pass would.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs on a stack as small as that of a worker thread.
fn on_small_stack(work: impl FnOnce() + Send + 'static) {
    let (sender, receiver) = std::sync::mpsc::channel();
    let worker = std::thread::Builder::new().stack_size(2 * 1024 * 1024).spawn(move || {
        work();
        // Nobody listens any more if it took too long.
        let _ = sender.send(());
    });
    let finished = receiver.recv_timeout(PATIENCE);
    assert!(finished != Err(RecvTimeoutError::Timeout), "too slow");
    worker.expect("a thread").join().expect("no panic");
}

#[test]
fn ten_megabytes_of_or_are_too_large_and_harmless() {
    on_small_stack(|| {
        let text = format!("SELECT * FROM t WHERE {}b", "a OR ".repeat(2_000_000));
        assert_eq!(class(&text).unsafe_reason, Some(Reason::TooLarge));
        assert!(shaped(&text).len() > 9_000_000);
    });
}

#[test]
fn a_hundred_thousand_brackets_are_harmless() {
    on_small_stack(|| {
        let deep = format!("SELECT {}1{}", "(".repeat(100_000), ")".repeat(100_000));
        assert_eq!(class(&deep).unsafe_reason, Some(Reason::TooLarge));
        assert_eq!(look(&deep).verb, crate::sql::Verb::Select);
        shaped(&deep);
        let begin = format!("{}SELECT 1", "(".repeat(100_000));
        assert_eq!(look(&begin).verb, crate::sql::Verb::Select);
        for piece in ["- ", "-", "'", "`", "/*", "#", "\\", "@", ";", ",", "(1),", "NULL,", "_a "] {
            let text = format!("SELECT {}", piece.repeat(100_000));
            class(&text);
            shaped(&text);
        }
    });
}

#[test]
fn what_just_fits_is_parsed_on_a_small_stack() {
    on_small_stack(|| {
        for (chain, safe) in [
            (format!("SELECT a FROM t WHERE a{}", " OR a".repeat(4_000)), true),
            (format!("SELECT a{}", "+a".repeat(4_000)), true),
            (format!("SELECT a FROM t{}", " UNION SELECT a FROM t".repeat(1_600)), true),
            (format!("SELECT {}a", "NOT ".repeat(8_000)), false),
            (format!("SELECT {}a{}", "(".repeat(4_000), ")".repeat(4_000)), false),
            (format!("SELECT {}a{}", "f(".repeat(2_000), ")".repeat(2_000)), false),
            (format!("SELECT {}1 END", "CASE WHEN 1 THEN ".repeat(1_000)), false),
            (format!("{}SELECT 1", "(".repeat(8_000)), false),
            (format!("SELECT * FROM t{}", " JOIN t".repeat(4_000)), false),
            (format!("SELECT * FROM t{}", " JOIN t".repeat(128)), true),
            (format!("SELECT * FROM t{}{}", " JOIN t".repeat(128), " ON 1".repeat(128)), true),
            (format!("UPDATE t{} SET a = 1", " JOIN t".repeat(128)), true),
            (format!("SELECT 1{}", " UNION SELECT 1".repeat(2_700)), true),
            (format!("SELECT * FROM {}t{}", "(".repeat(128), ")".repeat(128)), false),
            (format!("SELECT - {}a", "- ".repeat(8_000)), false),
        ] {
            let class = class(&chain);
            assert_eq!(class.unsafe_reason.is_none(), safe, "{:?} {:.40}", class, chain);
        }
    });
}

/// Two shields at once: expressions that use up a stack down to where sqlparser would grow it,
/// and joins, before which it doesn't.
#[test]
fn joins_within_deep_expressions_fit_the_stack() {
    on_small_stack(|| {
        for nested in 0..50 {
            let joins = 128 - nested;
            let text = format!(
                "SELECT {}SELECT * FROM t{}{}{}",
                "a IN (SELECT a WHERE ".repeat(nested).replacen(
                    "a IN (SELECT a WHERE ",
                    "a IN (",
                    1
                ),
                " JOIN t".repeat(joins),
                ")".repeat(nested),
                " OR a".repeat(1_000),
            );
            class(&text);
            let columns = format!(
                "SELECT {}SELECT * FROM JSON_TABLE('[]', '$' COLUMNS ({}a INT PATH '$'{})) x{}",
                "(".repeat(nested),
                "NESTED PATH '$' COLUMNS (".repeat(joins - 3),
                ")".repeat(joins - 3),
                ")".repeat(nested),
            );
            class(&columns);
        }
    });
}

#[test]
fn more_tokens_or_bytes_than_allowed_are_not_parsed() {
    let tokens = format!("SELECT {}a", "a,".repeat(5_000));
    assert!(tokens.len() < 64 * 1024);
    assert_eq!(class(&tokens).unsafe_reason, Some(Reason::TooLarge));
    let bytes = format!("SELECT '{}'", "x".repeat(64 * 1024));
    let class = class(&bytes);
    assert_eq!((class.kind, class.unsafe_reason), (Kind::Unknown, Some(Reason::TooLarge)));
}

#[test]
fn a_bulk_insert_has_the_shape_of_a_single_one() {
    let rows: Vec<String> =
        (0..1_000).map(|row| format!("({row}, 'a{row}', NULL, -1.5)")).collect();
    let text = format!("INSERT INTO t VALUES {}", rows.join(",\n "));
    assert_eq!(shaped(&text), "INSERT INTO t VALUES (0)");
    assert_eq!(class(&text).unsafe_reason, None);
}

#[test]
fn literals_that_never_repeat_are_parsed_once() {
    let classifier = Classifier::new(100);
    let mut scratch = Vec::new();
    for number in 0..1_000 {
        let text = format!(
            "/*trace='{number}'*/ UPDATE t SET a = {number}, b = 'x{number}' WHERE c IN ({number}, {}) \
             AND d = {}",
            number + 1,
            if number % 2 == 0 { "NULL" } else { "-1" },
        );
        let look = look(&text);
        let class = classifier.classify(text.as_bytes(), &look, Lexing::default(), &mut scratch);
        assert_eq!((class.kind, class.unsafe_reason), (Kind::Update, None));
    }
    assert_eq!((classifier.parses(), classifier.hits(), classifier.misses()), (1, 999, 1));
}

#[test]
fn control_statements_never_reach_the_parser() {
    let classifier = Classifier::new(100);
    for text in ["BEGIN", "COMMIT", "SET a = 1", "SHOW TABLES", "CREATE TABLE t (a INT)"] {
        let _ =
            classifier.classify(text.as_bytes(), &look(text), Lexing::default(), &mut Vec::new());
    }
    assert_eq!((classifier.parses(), classifier.len()), (0, 0));
}

#[test]
fn a_flood_of_shapes_stays_within_bounds_and_what_is_used_stays() {
    let classifier = Classifier::new(64);
    let mut scratch = Vec::new();
    let mut ask = |text: &str| {
        classifier.classify(text.as_bytes(), &look(text), Lexing::default(), &mut scratch)
    };
    for number in 0..3_000 {
        let _ = ask(&format!("SELECT c{number} FROM t"));
        let _ = ask("SELECT hot FROM t");
        assert!(classifier.len() <= 65, "{} kept", classifier.len());
    }
    // The hot one may be swept as "every second of the rest" now and then, not more.
    assert!(classifier.hits() > 2_900, "{} hits", classifier.hits());
    // By bytes as well.
    let classifier = Classifier::new(64);
    let long = "x".repeat(50_000);
    for number in 0..50 {
        let text = format!("SELECT {long}{number} FROM t");
        let _ =
            classifier.classify(text.as_bytes(), &look(&text), Lexing::default(), &mut Vec::new());
        assert!(classifier.len() <= 3, "{} kept", classifier.len());
    }
}

#[test]
fn threads_share_a_classifier() {
    let classifier = Classifier::new(32);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let classifier = &classifier;
            scope.spawn(move || {
                let mut scratch = Vec::new();
                for number in 0..500 {
                    let text = format!("SELECT c{} FROM t", (number * 7 + thread) % 90);
                    let look = look(&text);
                    let class = classifier.classify(
                        text.as_bytes(),
                        &look,
                        Lexing::default(),
                        &mut scratch,
                    );
                    assert_eq!(class.unsafe_reason, None);
                }
            });
        }
    });
    assert!(classifier.len() <= 40);
    assert_eq!(classifier.hits() + classifier.misses(), 2_000);
}

#[test]
fn a_class_from_the_cache_is_the_class_of_the_text() {
    let classifier = Classifier::new(100);
    let mut scratch = Vec::new();
    // Same words, other quoting rules: the shapes differ where the meaning does.
    let text = br#"SELECT "a" FROM t WHERE b = 'x\'"#;
    for lexing in [
        Lexing { no_backslash_escapes: true, ..Lexing::default() },
        Lexing { ansi_quotes: true, no_backslash_escapes: true },
        Lexing::default(),
    ] {
        let shared = classifier.classify(text, &scan(text, lexing), lexing, &mut scratch);
        assert_eq!(shared, class_in(text, lexing));
    }
}
