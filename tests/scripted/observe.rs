//! `observe_only`: counted, and nothing done.

use txguard::base::metrics::ReplayOutcome::Observed;
use txguard::wire::command::Command;

use super::harness::{RETRY, open, setup};
use super::words::*;

const OBSERVE: &str = "[[policy]]\nname='p'\nretry={}\ntag=true\ntso='exact'\nobserve_only=true\n";
const ALIAS: &str = "[[policy]]\nname='p'\nretry={}\ntag='alias'\nobserve_only=true\n";

#[tokio::test(start_paused = true)]
async fn a_conflict_passes_and_is_counted() {
    for policies in [OBSERVE, ALIAS] {
        let mut talk = open(policies).await;
        talk.transfer().await;
        talk.sql("COMMIT", &conflict(1)).await;
        talk.usable().await;
        assert_eq!((talk.replays(Observed), talk.replays_all()), (1, 1));
        assert_eq!(talk.outcomes(), [0, 0, 1, 0, 0]);
        talk.transfer().await;
        talk.sql("UPDATE t SET v = 7", &deadlock()).await;
        talk.usable().await;
        assert_eq!((talk.replays(Observed), talk.outcomes()), (2, [0, 0, 2, 0, 0]));
    }
}

#[tokio::test(start_paused = true)]
async fn what_would_not_have_been_replayed_is_not_counted() {
    let mut talk = open(OBSERVE).await;
    talk.sql("BEGIN", &ok(TX)).await;
    talk.sql("SHOW TABLES", &ok(TX)).await;
    talk.sql("COMMIT", &conflict(1)).await;
    talk.usable().await;
    assert_eq!(talk.replays_all(), 0);
    assert_eq!(talk.unguarded(), ["show"]);
}

#[tokio::test(start_paused = true)]
async fn closes_and_pipelined_commands_pass_at_once() {
    let mut talk = open(OBSERVE).await;
    talk.sql("BEGIN", &ok(TX)).await;
    talk.client.send(&about(Command::STMT_CLOSE, 1)).await;
    talk.server.expect(&about(Command::STMT_CLOSE, 1)).await;
    let texts = ["UPDATE t SET v = 1", "UPDATE t SET v = 2", "COMMIT", "SELECT 1"];
    talk.client.send_all(&texts.map(query)).await;
    for text in texts {
        talk.server.expect(&query(text)).await;
    }
    for reply in [changed(1, TX), deadlock(), ok(AUTO), rows(&["1"], AUTO)] {
        talk.answer(&reply).await;
    }
    assert_eq!(talk.replays(Observed), 1);
    talk.usable().await;
}

#[tokio::test(start_paused = true)]
async fn a_disabled_configuration_relays_everything_bare() {
    let off = format!("enabled=false\n{RETRY}tag=true\n");
    let mut talk = setup(&off).open().await;
    talk.transfer().await;
    talk.sql("COMMIT", &conflict(1)).await;
    talk.usable().await;
    assert_eq!((talk.replays_all(), talk.outcomes()), (0, [0; 5]));
}
