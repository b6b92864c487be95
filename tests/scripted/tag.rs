//! Tags before statements.

use txguard::wire::command::Command;

use super::harness::{Talk, open, setup};
use super::words::*;

const TAG: &str = "[[policy]]\nname='p'\nretry={}\ntag=true\n";

/// The next statement that the server hears: its tag and its text.
async fn heard(talk: &mut Talk) -> (String, String) {
    let text = talk.server.heard().await;
    match text.strip_prefix("/*").and_then(|rest| rest.split_once("*/ ")) {
        Some((tag, text)) => (tag.to_owned(), text.to_owned()),
        None => (String::new(), text),
    }
}

/// The client says it; the server hears it with a tag, which is returned.
async fn tagged(talk: &mut Talk, text: &str, reply: &Reply) -> String {
    talk.client.query(text).await;
    let (tag, heard) = heard(talk).await;
    assert_eq!(heard, text);
    talk.answer(reply).await;
    tag
}

/// `attempt='…'` of a tag and the rest of it.
fn attempt(tag: &str) -> (u32, &str) {
    let rest = tag.strip_prefix("attempt='").unwrap_or_else(|| panic!("no attempt in {tag:?}"));
    let (number, rest) = rest.split_once("',").unwrap_or_else(|| panic!("only attempt in {tag:?}"));
    (number.parse().expect("a number"), rest)
}

#[tokio::test(start_paused = true)]
async fn every_text_of_a_transaction_carries_the_same_id() {
    let mut talk = open(TAG).await;
    let first = tagged(&mut talk, "BEGIN", &ok(TX)).await;
    let (number, id) = attempt(&first);
    assert_eq!(number, 1);
    let id = id.strip_prefix("txn='").and_then(|id| id.strip_suffix('\'')).expect("an id");
    assert_eq!(id.len(), 36, "a UUID");
    let select = tagged(&mut talk, "SELECT v FROM t", &rows(&["1"], TX)).await;
    let write = tagged(&mut talk, "UPDATE t SET v = 1", &changed(1, TX)).await;
    let show = tagged(&mut talk, "SHOW TABLES", &ok(TX)).await;
    let commit = tagged(&mut talk, "COMMIT", &ok(AUTO)).await;
    assert!([select, write, show, commit].iter().all(|tag| *tag == first));
    let second = tagged(&mut talk, "BEGIN", &ok(TX)).await;
    assert!(second > first, "ids are sorted by time");
    tagged(&mut talk, "ROLLBACK", &ok(AUTO)).await;
}

#[tokio::test(start_paused = true)]
async fn the_first_statement_with_a_trace_context_names_it_for_those_behind() {
    let mut talk = open(TAG).await;
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let begin = tagged(&mut talk, "BEGIN", &ok(TX)).await;
    assert!(!begin.contains("traceparent"), "{begin}");
    let text = format!("SELECT v FROM t /*traceparent='{parent}'*/");
    let select = tagged(&mut talk, &text, &rows(&["1"], TX)).await;
    let commit = tagged(&mut talk, "COMMIT", &ok(AUTO)).await;
    assert!(select.contains(parent) && commit == select, "{select} {commit}");
}

#[tokio::test(start_paused = true)]
async fn the_hint_and_the_trace_context_are_in_it() {
    let mut talk = open(&format!("{TAG}tso='hint'")).await;
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let tag = tagged(&mut talk, &format!("BEGIN /*traceparent='{parent}'*/"), &ok(TX)).await;
    assert!(tag.contains(&format!(",traceparent='{parent}',tso='")), "{tag}");
    let again = tagged(&mut talk, "SELECT 1", &ok(TX)).await;
    assert_eq!(tag, again);
    tagged(&mut talk, "COMMIT", &ok(AUTO)).await;
    let none = tagged(&mut talk, "BEGIN", &ok(TX)).await;
    assert!(!none.contains("traceparent"), "{none}");
}

#[tokio::test(start_paused = true)]
async fn empty_texts_autocommit_and_prepared_statements_carry_none() {
    let mut talk = open(TAG).await;
    talk.sql("UPDATE t SET v = 1", &changed(1, AUTO)).await;
    talk.sql("COMMIT", &ok(AUTO)).await;
    talk.step(&prepare("UPDATE t SET v = 1"), &prepare_ok(false, 1, 0, 0)).await;
    tagged(&mut talk, "BEGIN", &ok(TX)).await;
    for empty in ["", ";", " ", "/* nothing */", "-- nothing", "\0"] {
        talk.client.query(empty).await;
        let heard = talk.server.heard().await;
        // A NUL is no white space: whether it is empty is for the server to say.
        assert!(heard == empty || empty == "\0", "{heard:?}");
        talk.answer(&ok(TX)).await;
    }
    talk.step(&prepare("SELECT 1"), &prepare_ok(false, 2, 0, 0)).await;
    talk.step(&execute(1), &changed(1, TX)).await;
    talk.step(&[Command::PING.0], &ok(TX)).await;
    tagged(&mut talk, "COMMIT", &ok(AUTO)).await;
    talk.sql("SELECT 1", &rows(&["1"], AUTO)).await;
}

#[tokio::test(start_paused = true)]
async fn with_autocommit_off_every_text_may_begin_one() {
    let mut talk = setup(TAG).manual().open().await;
    let first = tagged(&mut talk, "SELECT 1", &rows(&["1"], MANUAL)).await;
    let second = tagged(&mut talk, "UPDATE t SET v = 1", &changed(1, TX0)).await;
    let third = tagged(&mut talk, "SELECT 2", &rows(&["1"], TX0)).await;
    assert_ne!(first, second, "the first one opened nothing");
    assert_eq!(second, third);
    assert_eq!(tagged(&mut talk, "COMMIT", &ok(MANUAL)).await, second);
}

#[tokio::test(start_paused = true)]
async fn the_attempt_grows_in_a_replay_and_the_id_stays() {
    let mut talk = open(TAG).await;
    let tag = tagged(&mut talk, "BEGIN", &ok(TX)).await;
    let (_, id) = attempt(&tag);
    tagged(&mut talk, "UPDATE t SET v = 1", &changed(1, TX)).await;
    talk.client.query("COMMIT").await;
    assert_eq!(heard(&mut talk).await.1, "COMMIT");
    talk.server.reply(&conflict(1)).await;
    for number in 2..=12 {
        for (text, reply) in [
            ("ROLLBACK", ok(AUTO)),
            ("BEGIN", ok(TX)),
            ("UPDATE t SET v = 1", changed(1, TX)),
            ("COMMIT", if number == 12 { ok(AUTO) } else { conflict(2) }),
        ] {
            let (tag, heard) = heard(&mut talk).await;
            assert_eq!((heard.as_str(), attempt(&tag)), (text, (number, id)));
            talk.server.reply(&reply).await;
        }
    }
    talk.client.expect(&ok(AUTO)).await;
    talk.usable().await;
}

#[tokio::test(start_paused = true)]
async fn begin_inside_a_transaction_is_not_tagged_with_the_wrong_one() {
    let mut talk = open(TAG).await;
    let first = tagged(&mut talk, "BEGIN", &ok(TX)).await;
    talk.sql("BEGIN", &ok(TX)).await;
    let second = tagged(&mut talk, "SELECT 1", &ok(TX)).await;
    assert_ne!(first, second);
}

#[tokio::test(start_paused = true)]
async fn the_column_of_a_syntax_error_is_the_client_s() {
    for (own, near) in [(5_usize, "x"), (95, "x"), (1, "SELEC"), (1234, "")] {
        let mut talk = open(TAG).await;
        let tag = tagged(&mut talk, "BEGIN", &ok(TX)).await;
        let shift = tag.len() + "/**/ ".len();
        let text =
            |column: usize| format!("You have an error; line 1 column {column} near \"{near}\"");
        talk.client.query("SELEC x").await;
        heard(&mut talk).await;
        talk.server.reply(&err(1064, &text(own + shift))).await;
        // 95 and 1234 keep or lose digits.
        talk.client.expect(&err(1064, &text(own))).await;
        tagged(&mut talk, "SELECT 1", &ok(TX)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn columns_that_the_tag_did_not_move_stay() {
    let mut talk = open(TAG).await;
    let plain = err(1064, "line 1 column 99 near \"x\"");
    // Without a tag.
    talk.sql("SELEC", &plain).await;
    talk.step(&prepare("SELEC"), &plain).await;
    tagged(&mut talk, "BEGIN", &ok(TX)).await;
    talk.step(&prepare("SELEC"), &plain).await;
    // On another line, of another error, in another form.
    for (code, message) in [
        (1064, "line 2 column 99 near \"x\""),
        (1054, "line 1 column 99 near \"x\""),
        (1064, "check the manual near 'x' at line 1"),
        (1064, "line 1 column 3 near \"x\""),
    ] {
        tagged(&mut talk, "SELEC", &err(code, message)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_syntax_error_that_the_client_saw_is_equal_in_a_replay() {
    // The server counts the tag both times, and the tag of attempt 10 is longer.
    let mut talk = open(TAG).await;
    let tag = tagged(&mut talk, "BEGIN", &ok(TX)).await;
    let shift = tag.len() + "/**/ ".len();
    let text = |column: usize| err(1064, &format!("line 1 column {column} near \"x\""));
    let statement = "SELECT v FROM t WHERE id = 1";
    talk.client.query(statement).await;
    heard(&mut talk).await;
    talk.server.reply(&text(7 + shift)).await;
    talk.client.expect(&text(7)).await;
    talk.client.query("COMMIT").await;
    heard(&mut talk).await;
    talk.server.reply(&conflict(1)).await;
    for number in 2..=11 {
        let shift = shift + usize::from(number > 9);
        for (wanted, reply) in [
            ("ROLLBACK", ok(AUTO)),
            ("BEGIN", ok(TX)),
            (statement, text(7 + shift)),
            ("COMMIT", if number == 11 { ok(AUTO) } else { conflict(2) }),
        ] {
            assert_eq!(heard(&mut talk).await.1, wanted, "attempt {number}");
            talk.server.reply(&reply).await;
        }
    }
    talk.client.expect(&ok(AUTO)).await;
}

#[tokio::test(start_paused = true)]
async fn a_text_that_would_not_fit_one_frame_with_its_tag_goes_without() {
    let mut talk = setup(TAG).pipes(1 << 20, 1 << 20).open().await;
    tagged(&mut talk, "BEGIN", &ok(TX)).await;
    // What passes in pieces is not tagged.
    for len in [0xFF_FFFF - 10, 0xFF_FFFF, 0x100_0010] {
        let mut text = "SELECT '".to_owned();
        text.extend(std::iter::repeat_n('x', len - 10));
        text.push('\'');
        let payload = query(&text);
        let (client, server) = (&mut talk.client, &mut talk.server);
        tokio::join!(client.send(&payload), server.expect(&payload));
        let seq = if payload.len() >= 0xFF_FFFF { 2 } else { 1 };
        talk.server.say(seq, &ok(TX)).await;
        talk.client.expect_from(seq, &ok(TX)).await;
    }
    tagged(&mut talk, "COMMIT", &ok(AUTO)).await;
}

#[tokio::test(start_paused = true)]
async fn texts_with_tags_pass_through_narrow_pipes() {
    for pipes in [(1, 1), (2, 3), (5, 64)] {
        let mut talk = setup(TAG).pipes(pipes.0, pipes.1).open().await;
        tagged(&mut talk, "BEGIN", &ok(TX)).await;
        tagged(&mut talk, &format!("SELECT '{}'", "x".repeat(3000)), &rows(&["1"], TX)).await;
        tagged(&mut talk, "COMMIT", &ok(AUTO)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn prepared_statements_get_constant_keys_only() {
    let mut talk = open(&format!("{TAG}tag_keys=['policy','txn']")).await;
    talk.client.send(&prepare("SELECT 1")).await;
    talk.server.expect(&prepare("/*policy='p'*/ SELECT 1")).await;
    talk.answer(&prepare_ok(false, 1, 0, 0)).await;
    let tag = tagged(&mut talk, "BEGIN", &ok(TX)).await;
    assert!(tag.starts_with("policy='p',txn='"), "{tag}");
    talk.client.send(&prepare("SELEC")).await;
    talk.server.expect(&prepare("/*policy='p'*/ SELEC")).await;
    talk.server.reply(&err(1064, "line 1 column 20 near \"SELEC\"")).await;
    talk.client.expect(&err(1064, "line 1 column 5 near \"SELEC\"")).await;
    talk.step(&execute(1), &rows(&["1"], TX)).await;
}
