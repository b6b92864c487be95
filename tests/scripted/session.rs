//! What a transaction changes in its session: put back before a replay, and as the client knows it
//! where the replay is given up.

use txguard::base::metrics::ReplayOutcome::{Mismatch, Refused, Succeeded};
use txguard::session::End;
use txguard::wire::command::Command;

use super::harness::{RETRY, Setup, Talk, setup};
use super::words::*;

fn in_schema(schema: &'static str) -> Setup {
    Setup { schema: Some(schema), ..setup(RETRY) }
}

fn init_db(schema: &str) -> Vec<u8> {
    command(Command::INIT_DB, schema.as_bytes())
}

/// The server alone hears a command.
async fn hears(talk: &mut Talk, payload: &[u8], reply: &Reply) {
    talk.server.expect(payload).await;
    talk.server.reply(reply).await;
}

/// BEGIN, a read, USE in two ways, a write, and a conflict.
async fn uses(talk: &mut Talk) {
    talk.sql("BEGIN", &ok(TX)).await;
    talk.sql("SELECT v FROM t", &rows(&["5"], TX)).await;
    talk.sql("USE other", &ok(TX)).await;
    talk.step(&init_db("third"), &ok(TX)).await;
    talk.sql("USE nowhere", &err(1049, "Unknown database 'nowhere'")).await;
    talk.sql("UPDATE t SET v = 1", &changed(1, TX)).await;
    talk.commit_conflicts(1).await;
    talk.again("ROLLBACK", &ok(AUTO)).await;
}

#[tokio::test(start_paused = true)]
async fn a_replay_begins_in_the_schema_of_begin_and_uses_the_others_in_their_place() {
    let mut talk = in_schema("shop").open().await;
    uses(&mut talk).await;
    hears(&mut talk, &init_db("shop"), &ok(AUTO)).await;
    talk.again("BEGIN", &ok(TX)).await;
    talk.again("SELECT v FROM t", &rows(&["5"], TX)).await;
    talk.again("USE other", &ok(TX)).await;
    hears(&mut talk, &init_db("third"), &ok(TX)).await;
    talk.again("USE nowhere", &err(1049, "Unknown database 'nowhere'")).await;
    talk.again("UPDATE t SET v = 1", &changed(1, TX)).await;
    talk.again("COMMIT", &ok(AUTO)).await;
    talk.client.expect(&ok(AUTO)).await;
    assert_eq!(talk.replays(Succeeded), 1);
    // The next one begins where this one ended, and nothing is put back for it.
    talk.guarded(2).await;
    // One that uses another goes back to that.
    talk.sql("BEGIN", &ok(TX)).await;
    talk.sql("USE shop", &ok(TX)).await;
    talk.commit_conflicts(3).await;
    talk.again("ROLLBACK", &ok(AUTO)).await;
    hears(&mut talk, &init_db("third"), &ok(AUTO)).await;
    talk.again("BEGIN", &ok(TX)).await;
    talk.again("USE shop", &ok(TX)).await;
    talk.again("COMMIT", &ok(AUTO)).await;
    talk.client.expect(&ok(AUTO)).await;
    talk.usable().await;
}

#[tokio::test(start_paused = true)]
async fn a_replay_that_is_given_up_leaves_the_schema_that_the_client_believes_in() {
    let mut talk = in_schema("shop").open().await;
    uses(&mut talk).await;
    hears(&mut talk, &init_db("shop"), &ok(AUTO)).await;
    talk.again("BEGIN", &ok(TX)).await;
    talk.again("SELECT v FROM t", &rows(&["6"], TX)).await;
    talk.again("ROLLBACK", &ok(AUTO)).await;
    hears(&mut talk, &init_db("shop"), &ok(AUTO)).await;
    talk.again("USE other", &ok(AUTO)).await;
    hears(&mut talk, &init_db("third"), &ok(AUTO)).await;
    talk.again("USE nowhere", &err(1049, "Unknown database 'nowhere'")).await;
    talk.client.expect(&conflict(1)).await;
    assert_eq!(talk.replays(Mismatch), 1);
    talk.usable().await;
}

#[tokio::test(start_paused = true)]
async fn a_schema_that_is_gone_refuses_the_replay_and_ends_the_session_if_nothing_else_is_exact() {
    let mut talk = in_schema("shop").open().await;
    uses(&mut talk).await;
    let gone = err(1049, "Unknown database 'shop'");
    hears(&mut talk, &init_db("shop"), &gone).await;
    talk.again("ROLLBACK", &ok(AUTO)).await;
    hears(&mut talk, &init_db("shop"), &gone).await;
    talk.client.expect(&conflict(1)).await;
    assert_eq!(talk.replays(Refused), 1);
    assert_eq!(talk.ended().await, End::BackendGone);
}

#[tokio::test(start_paused = true)]
async fn a_schema_that_is_not_known_at_begin() {
    const NO: &[u8] = b"";
    for (schema, before) in [
        (None, NO),
        (Some("a b"), NO),
        (Some("shop"), &query("SELECT 1; USE other")),
        (Some("shop"), &query("EXECUTE s")),
        (Some("shop"), &query("DROP DATABASE shop")),
        (Some("shop"), &query("/*!40000 USE other */")),
        (Some("shop"), &query("USE /* a name that isn't read */ other")),
        (Some("shop"), &[Command::RESET_CONNECTION.0]),
        (Some("shop"), &command(Command::REFRESH, &[1])),
    ] {
        for payload in [query("USE third"), init_db("third")] {
            let mut talk = Setup { schema, ..setup(RETRY) }.open().await;
            if !before.is_empty() {
                talk.step(before, &ok(AUTO)).await;
            }
            // What SET TRANSACTION would have done is over with the first one.
            talk.sql("BEGIN", &ok(TX)).await;
            talk.sql("COMMIT", &ok(AUTO)).await;
            let known = talk.unguarded().len();
            talk.sql("BEGIN", &ok(TX)).await;
            talk.step(&payload, &ok(TX)).await;
            talk.sql("COMMIT", &conflict(1)).await;
            talk.server.silent().await;
            assert_eq!(talk.unguarded().split_off(known), ["schema_change"], "{}", show(before));
            // From here on it is.
            talk.sql("BEGIN", &ok(TX)).await;
            talk.sql("USE other", &ok(TX)).await;
            talk.commit_conflicts(2).await;
            talk.again("ROLLBACK", &ok(AUTO)).await;
            hears(&mut talk, &init_db("third"), &ok(AUTO)).await;
            talk.again("BEGIN", &ok(TX)).await;
            talk.again("USE other", &ok(TX)).await;
            talk.again("COMMIT", &ok(AUTO)).await;
            talk.client.expect(&ok(AUTO)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_use_that_others_were_sent_behind_tells_nothing_for_sure() {
    let mut talk = in_schema("shop").open().await;
    talk.client.send(&query("USE other")).await;
    talk.client.send(&query("SELECT 1; USE third")).await;
    for text in ["USE other", "SELECT 1; USE third"] {
        talk.server.expect(&query(text)).await;
    }
    for _ in 0..2 {
        talk.answer(&ok(AUTO)).await;
    }
    talk.sql("BEGIN", &ok(TX)).await;
    talk.sql("COMMIT", &ok(AUTO)).await;
    talk.sql("BEGIN", &ok(TX)).await;
    talk.sql("USE shop", &ok(TX)).await;
    talk.sql("COMMIT", &conflict(1)).await;
    talk.server.silent().await;
    assert_eq!(talk.unguarded().last().map(String::as_str), Some("schema_change"));
}

#[tokio::test(start_paused = true)]
async fn a_prepared_use_is_replayed_too() {
    let mut talk = in_schema("shop").open().await;
    talk.step(&prepare("USE other"), &prepare_ok(false, 1, 0, 0)).await;
    talk.sql("BEGIN", &ok(TX)).await;
    talk.step(&execute(1), &ok(TX)).await;
    talk.commit_conflicts(1).await;
    talk.again("ROLLBACK", &ok(AUTO)).await;
    hears(&mut talk, &init_db("shop"), &ok(AUTO)).await;
    talk.again("BEGIN", &ok(TX)).await;
    hears(&mut talk, &execute(1), &ok(TX)).await;
    talk.again("COMMIT", &ok(AUTO)).await;
    talk.client.expect(&ok(AUTO)).await;
    talk.usable().await;
}

/// BEGIN, two SETs, a read, a SET of nothing new, a write, and a conflict.
async fn sets(talk: &mut Talk) {
    talk.sql("BEGIN", &ok(TX)).await;
    talk.client.send(&query("SET @x = 5, time_zone = '+05:00'")).await;
    // Both go out at once: the client doesn't wait longer.
    let save = "SET @__txguard_0=@x,@__txguard_1=@@session.time_zone";
    talk.server.expect(&query(save)).await;
    talk.server.expect(&query("SET @x = 5, time_zone = '+05:00'")).await;
    talk.server.reply(&ok(TX)).await;
    talk.client.silent().await;
    talk.answer(&ok(TX)).await;
    talk.sql("SET sql_mode = 'nonsense'", &err(1231, "can't be set")).await;
    talk.sql("SELECT @x", &rows(&["5"], TX)).await;
    talk.sql("SET @x = 6", &ok(TX)).await;
    talk.sql("UPDATE t SET v = @x", &changed(1, TX)).await;
    assert_eq!(talk.server.saves, ["SET @__txguard_2=@@session.sql_mode"]);
    talk.commit_conflicts(1).await;
    talk.again("ROLLBACK", &ok(AUTO)).await;
    put_back(talk).await;
    talk.again("BEGIN", &ok(TX)).await;
    talk.again("SET @x = 5, time_zone = '+05:00'", &ok(TX)).await;
    talk.again("SET sql_mode = 'nonsense'", &err(1231, "can't be set")).await;
}

async fn put_back(talk: &mut Talk) {
    talk.again("SET @x=@__txguard_0", &ok(AUTO)).await;
    talk.again("SET @@session.time_zone=@__txguard_1", &ok(AUTO)).await;
    talk.again("SET @@session.sql_mode=@__txguard_2", &ok(AUTO)).await;
}

#[tokio::test(start_paused = true)]
async fn a_replay_begins_with_the_variables_of_begin_and_sets_them_in_their_place() {
    let mut talk = setup(RETRY).open().await;
    sets(&mut talk).await;
    talk.again("SELECT @x", &rows(&["5"], TX)).await;
    talk.again("SET @x = 6", &ok(TX)).await;
    talk.again("UPDATE t SET v = @x", &changed(1, TX)).await;
    talk.again("COMMIT", &ok(AUTO)).await;
    talk.client.expect(&ok(AUTO)).await;
    assert_eq!(talk.replays(Succeeded), 1);
    // Nothing is saved for others, and a replay of them puts nothing back.
    talk.guarded(2).await;
    talk.usable().await;
}

#[tokio::test(start_paused = true)]
async fn a_replay_that_is_given_up_leaves_the_variables_that_the_client_believes_in() {
    let mut talk = setup(RETRY).open().await;
    sets(&mut talk).await;
    talk.again("SELECT @x", &rows(&["7"], TX)).await;
    talk.again("ROLLBACK", &ok(AUTO)).await;
    put_back(&mut talk).await;
    talk.again("SET @x = 5, time_zone = '+05:00'", &ok(AUTO)).await;
    talk.again("SET sql_mode = 'nonsense'", &err(1231, "can't be set")).await;
    talk.again("SET @x = 6", &ok(AUTO)).await;
    talk.client.expect(&conflict(1)).await;
    assert_eq!(talk.replays(Mismatch), 1);
    talk.usable().await;
}

#[tokio::test(start_paused = true)]
async fn variables_that_come_out_different_end_the_session_behind_the_error() {
    let mut talk = setup(RETRY).open().await;
    sets(&mut talk).await;
    talk.again("SELECT @x", &rows(&["7"], TX)).await;
    talk.again("ROLLBACK", &ok(AUTO)).await;
    put_back(&mut talk).await;
    talk.again("SET @x = 5, time_zone = '+05:00'", &err(1298, "Unknown time zone")).await;
    talk.client.expect(&conflict(1)).await;
    assert_eq!(talk.ended().await, End::BackendGone);
}

#[tokio::test(start_paused = true)]
async fn a_variable_that_can_not_be_saved_switches_the_guard_off() {
    let mut talk = setup(RETRY).open().await;
    talk.sql("BEGIN", &ok(TX)).await;
    talk.client.send(&query("SET time_zone = '+05:00'")).await;
    talk.server.expect(&query("SET @__txguard_0=@@session.time_zone")).await;
    talk.server.reply(&err(1193, "Unknown system variable 'time_zone'")).await;
    talk.server.expect(&query("SET time_zone = '+05:00'")).await;
    talk.answer(&ok(TX)).await;
    talk.sql("COMMIT", &conflict(1)).await;
    talk.server.silent().await;
    assert_eq!(talk.unguarded(), ["set"]);
    talk.guarded(2).await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_saved_where_nothing_will_be_put_back() {
    let observe = format!("{RETRY}observe_only=true\n");
    for (policies, manual) in [("", false), (&*observe, false), (RETRY, true)] {
        let mut setup = setup(policies);
        if manual {
            // It opens no transaction.
            setup = setup.manual();
        }
        let mut talk = setup.open().await;
        if !manual {
            talk.sql("BEGIN", &ok(TX)).await;
        }
        let status = if manual { MANUAL } else { TX };
        talk.sql("SET @x = 1", &ok(status)).await;
        assert!(talk.server.saves.is_empty());
        assert!(talk.unguarded().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_prepared_set_is_not_replayed() {
    let mut talk = setup(RETRY).open().await;
    talk.step(&prepare("SET @x = ?"), &prepare_ok(false, 1, 1, 0)).await;
    talk.sql("BEGIN", &ok(TX)).await;
    talk.step(&execute_with(1, true, 5), &ok(TX)).await;
    talk.sql("COMMIT", &conflict(1)).await;
    talk.server.silent().await;
    assert_eq!(talk.unguarded(), ["set"]);
}

#[tokio::test(start_paused = true)]
async fn the_last_insert_id_of_before_is_read_again() {
    let mut talk = setup(RETRY).open().await;
    talk.sql("BEGIN", &ok(TX)).await;
    talk.sql("INSERT INTO t VALUES (LAST_INSERT_ID())", &changed(1, TX)).await;
    talk.sql("SELECT LAST_INSERT_ID()", &rows(&["7"], TX)).await;
    talk.commit_conflicts(1).await;
    talk.again("ROLLBACK", &ok(AUTO)).await;
    talk.again("BEGIN", &ok(TX)).await;
    talk.again("INSERT INTO t VALUES (LAST_INSERT_ID())", &changed(1, TX)).await;
    talk.again("SELECT LAST_INSERT_ID()", &rows(&["8"], TX)).await;
    talk.again("ROLLBACK", &ok(AUTO)).await;
    talk.client.expect(&conflict(1)).await;
    assert_eq!(talk.replays(Mismatch), 1);
    talk.usable().await;
}

#[tokio::test(start_paused = true)]
async fn an_insert_that_fails_may_have_changed_the_last_insert_id() {
    let (read, insert) = ("UPDATE t SET v = LAST_INSERT_ID()", "INSERT INTO a (v) VALUES (1)");
    let failed = err(1062, "Duplicate entry '1' for key 'a.v'");
    for first in [true, false] {
        let mut talk = setup(RETRY).open().await;
        talk.sql("BEGIN", &ok(TX)).await;
        if first {
            talk.sql(read, &changed(1, TX)).await;
        }
        talk.sql(insert, &failed).await;
        if !first {
            talk.sql(read, &changed(1, TX)).await;
        }
        talk.sql("COMMIT", &conflict(1)).await;
        talk.server.silent().await;
        assert_eq!(talk.unguarded(), ["last_insert_id"], "{first}");
        talk.guarded(2).await;
    }
}

const OF_BEFORE: &str = "UPDATE t SET v = LAST_INSERT_ID()";

#[tokio::test(start_paused = true)]
async fn an_insert_that_meets_the_conflict_may_have_changed_the_last_insert_id() {
    let insert = "INSERT INTO a (v) VALUES (1), (2)";
    for first in [true, false] {
        let mut talk = setup(RETRY).open().await;
        talk.sql("BEGIN", &ok(TX)).await;
        if first {
            talk.sql(OF_BEFORE, &changed(1, TX)).await;
            talk.sql(insert, &deadlock()).await;
        } else {
            talk.client.send(&query(insert)).await;
            talk.server.expect(&query(insert)).await;
            talk.server.reply(&deadlock()).await;
            talk.again("ROLLBACK", &ok(AUTO)).await;
            talk.again("BEGIN", &ok(TX)).await;
            talk.again(insert, &changed(2, TX)).await;
            talk.client.expect(&changed(2, TX)).await;
            talk.sql(OF_BEFORE, &changed(1, TX)).await;
            talk.sql("COMMIT", &conflict(1)).await;
        }
        talk.server.silent().await;
        assert_eq!(talk.unguarded(), ["last_insert_id"], "{first}");
        talk.guarded(2).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_insert_that_meets_a_conflict_in_the_replay_ends_it_where_the_last_insert_id_is_read() {
    let insert = "INSERT INTO a SELECT NULL, v FROM t WHERE v > 5";
    let mut talk = setup(RETRY).open().await;
    talk.sql("BEGIN", &ok(TX)).await;
    talk.sql(OF_BEFORE, &changed(1, TX)).await;
    talk.sql(insert, &changed(0, TX)).await;
    talk.commit_conflicts(1).await;
    talk.again("ROLLBACK", &ok(AUTO)).await;
    talk.again("BEGIN", &ok(TX)).await;
    talk.again(OF_BEFORE, &changed(1, TX)).await;
    talk.again(insert, &deadlock()).await;
    talk.again("ROLLBACK", &ok(AUTO)).await;
    talk.client.expect(&conflict(1)).await;
    assert_eq!(talk.replays(Mismatch), 1);
    talk.usable().await;
}
