//! Any text as a statement, under every `sql_mode`. What the cache says is what was said first,
//! and what is known of a text doesn't depend on the texts before it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use txguard::sql::{Classifier, Lexing, comment_value, correct_column, scan, traceparent};

fuzz_target!(|text: &[u8]| {
    let _ = traceparent(text);
    let _ = comment_value(text, "traceparent");
    let mut message = text.to_vec();
    correct_column(&mut message, 17);
    assert!(message.len() <= text.len());

    let shared = Classifier::new(16);
    let mut scratch = Vec::new();
    for bits in 0..4 {
        let lexing = Lexing { ansi_quotes: bits & 1 != 0, no_backslash_escapes: bits & 2 != 0 };
        let scan = scan(text, lexing);
        assert!(scan.body <= text.len());
        let class = shared.classify(text, &scan, lexing, &mut scratch);
        let again = shared.classify(text, &scan, lexing, &mut scratch);
        let alone = Classifier::new(16).classify(text, &scan, lexing, &mut scratch);
        assert_eq!((&class, &class), (&again, &alone));
        // Nobody replays what can't be seen.
        let unseen = scan.multi || scan.opaque;
        assert!(!unseen || class.unsafe_reason.is_some(), "{lexing:?}");
    }
});
