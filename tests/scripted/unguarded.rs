//! Transactions that can't be replayed: each with its reason, none with an error.

use txguard::txn::journal::Budget;
use txguard::wire::command::Command;

use super::harness::{RETRY, Talk, open, setup};
use super::words::*;

/// COMMIT meets a conflict, which passes; the reason is counted once.
async fn passes(talk: &mut Talk, reason: &str, what: &str) {
    talk.sql("COMMIT", &conflict(1)).await;
    talk.server.silent().await;
    assert_eq!(talk.unguarded(), [reason], "{what}");
    assert_eq!((talk.replays_all(), talk.outcomes()), (0, [0, 0, 1, 0, 0]), "{what}");
    // The next one is guarded again.
    talk.guarded(2).await;
    assert_eq!(talk.unguarded(), [reason], "{what}");
}

pub(super) const STATEMENTS: &[(&str, &str)] = &[
    ("SELECT @@autocommit", "session_variable"),
    ("SELECT @@session.sql_mode", "session_variable"),
    ("UPDATE t SET v = @x := 1", "user_variable"),
    ("SELECT @x := 1", "user_variable"),
    ("SET @x = NOW()", "set"),
    ("SET @x = (SELECT v FROM t)", "set"),
    ("SET @x = @y", "set"),
    ("SET time_zone = DEFAULT", "set"),
    ("SET timestamp = 1", "set"),
    ("SET autocommit = 1", "set"),
    ("SET GLOBAL sql_mode = ''", "set"),
    ("SET SESSION TRANSACTION READ ONLY", "set"),
    ("SET NAMES utf8mb4", "set"),
    ("SELECT LAST_INSERT_ID(5)", "last_insert_id"),
    ("UPDATE t SET v = LAST_INSERT_ID(v + 1)", "last_insert_id"),
    ("SELECT ROW_COUNT()", "row_count"),
    ("SELECT FOUND_ROWS()", "found_rows"),
    ("SELECT SQL_CALC_FOUND_ROWS v FROM t", "found_rows"),
    ("SELECT DATABASE()", "session_variable"),
    ("PREPARE s FROM 'SELECT 1'", "prepare_text"),
    ("EXECUTE s", "prepare_text"),
    ("DEALLOCATE PREPARE s", "prepare_text"),
    ("CREATE TEMPORARY TABLE x (v INT)", "temporary_table"),
    ("DROP TEMPORARY TABLE x", "temporary_table"),
    ("CREATE TABLE IF NOT EXISTS x (v INT)", "ddl"),
    ("SELECT my_function(1)", "unknown_function"),
    ("SELECT bank.f(v) FROM t", "unknown_function"),
    ("SELECT GET_LOCK('a', 1)", "lock_function"),
    ("SELECT SLEEP(1)", "sleep"),
    ("SELECT NEXTVAL(s)", "sequence"),
    ("SELECT TIDB_CURRENT_TSO()", "tso_visible"),
    ("SELECT v INTO @x FROM t", "select_into"),
    ("SELECT * FROM information_schema.tidb_trx", "system_table"),
    ("SHOW WARNINGS", "show"),
    ("EXPLAIN SELECT 1", "explain"),
    ("LOCK TABLES t WRITE", "lock_tables"),
    ("CALL p()", "call"),
    ("UPDATE t SET v = 1; UPDATE t SET v = 2", "multi_statement"),
    ("UPDATE t SET v = 1 /*! , w = 2 */", "conditional_comment"),
    ("UPDATE t SET v = 1 /*T![x] , w = 2 */", "conditional_comment"),
    ("UPDATE t SET SET", "unparsable"),
    ("DO 1", "other_statement"),
    ("LOAD DATA LOCAL INFILE 'x' INTO TABLE t", "load_data"),
    ("SELECT /*+ SET_VAR(sql_mode='') */ 1", "session_variable"),
];

#[tokio::test(start_paused = true)]
async fn each_statement_that_is_not_known_to_be_safe_has_its_reason() {
    for (text, reason) in STATEMENTS {
        let mut talk = open(RETRY).await;
        talk.sql("BEGIN", &ok(TX)).await;
        talk.sql(text, &ok(TX)).await;
        talk.sql("UPDATE t SET v = 1", &changed(1, TX)).await;
        passes(&mut talk, reason, text).await;
    }
}

#[tokio::test(start_paused = true)]
async fn each_reason_holds_for_prepared_statements_too() {
    for (text, reason) in STATEMENTS {
        let mut talk = open(RETRY).await;
        talk.step(&prepare(text), &prepare_ok(false, 1, 0, 0)).await;
        talk.sql("SELECT 1", &ok(AUTO)).await;
        talk.sql("BEGIN", &ok(TX)).await;
        talk.step(&execute(1), &ok(TX)).await;
        talk.sql("COMMIT", &conflict(1)).await;
        talk.server.silent().await;
        let reasons = talk.unguarded();
        let hidden = reasons == ["one_shot_characteristics"];
        assert!(reasons == [*reason] || hidden, "{text}: {reasons:?}");
        assert_eq!(talk.replays_all(), 0, "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn ordinary_statements_keep_it_guarded() {
    for text in [
        "SELECT v FROM t WHERE id = 1 FOR UPDATE",
        "INSERT INTO t (id, v) VALUES (1, NOW())",
        "REPLACE INTO t VALUES (1, 2)",
        "DELETE FROM t WHERE id IN (1, 2)",
        "UPDATE t SET v = IFNULL(v, 0) + 1",
        "/* comment */ SELECT COUNT(*), SUM(v) FROM t GROUP BY w",
        "WITH c AS (SELECT 1 AS a) SELECT a FROM c",
        "-- a\nSELECT 1",
        "SAVEPOINT a",
        "ROLLBACK TO a",
        "ROLLBACK WORK TO SAVEPOINT `a`",
        "RELEASE SAVEPOINT a",
        "UPDATE t SET v = @x",
        "INSERT INTO t VALUES (LAST_INSERT_ID())",
        "SELECT LAST_INSERT_ID( )",
        "SELECT @`x y`",
    ] {
        let mut talk = open(RETRY).await;
        talk.sql("BEGIN", &ok(TX)).await;
        talk.sql(text, &changed(1, TX)).await;
        talk.commit_conflicts(1).await;
        talk.again("ROLLBACK", &ok(AUTO)).await;
        talk.again("BEGIN", &ok(TX)).await;
        talk.again(text, &changed(1, TX)).await;
        talk.again("COMMIT", &ok(AUTO)).await;
        talk.client.expect(&ok(AUTO)).await;
        assert!(talk.unguarded().is_empty(), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_with_a_generated_id() {
    let mut talk = open(RETRY).await;
    talk.sql("BEGIN", &ok(TX)).await;
    let reply = Done { affected: 1, insert_id: 7, ..Done::at(TX) }.reply();
    talk.sql("INSERT INTO t SELECT 1", &reply).await;
    passes(&mut talk, "generated_id", "an id").await;
}

#[tokio::test(start_paused = true)]
async fn commands_that_read_or_change_the_session() {
    let field_list = command(Command::FIELD_LIST, b"t\0");
    let columns = Reply::of([column("v"), eof(TX, 0)]);
    let fetch = [&about(Command::STMT_FETCH, 1)[..], &[1, 0, 0, 0]].concat();
    let kill = command(Command::PROCESS_KILL, &[1, 0, 0, 0]);
    for (payload, reply) in [
        (field_list, columns),
        (command(Command::SET_OPTION, &[0, 0]), Reply::of([eof(TX, 0)])),
        (fetch, Reply::of([row(&["1"]), eof(TX, 0)])),
        (kill, ok(TX)),
        (command(Command::REFRESH, &[1]), ok(TX)),
        (command(Command::PROCESS_INFO, &[]), rows(&["1"], TX)),
        (command(Command::STMT_BULK_EXECUTE, &[1, 0, 0, 0, 128, 0]), ok(TX)),
    ] {
        let mut talk = open(RETRY).await;
        talk.sql("BEGIN", &ok(TX)).await;
        talk.step(&payload, &reply).await;
        passes(&mut talk, "command", &format!("{:#x}", payload[0])).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_set_transaction_says_holds_for_one_run_only() {
    for text in [
        "SET TRANSACTION ISOLATION LEVEL READ COMMITTED",
        "SET @@transaction_isolation = 'READ-COMMITTED'",
        "/*! SET TRANSACTION READ ONLY */",
        "SELECT 1; SET TRANSACTION READ ONLY",
        "SET STATEMENT max_statement_time=1 FOR SELECT 1",
    ] {
        let mut talk = open(RETRY).await;
        talk.sql(text, &ok(AUTO)).await;
        talk.sql("BEGIN", &ok(TX)).await;
        passes(&mut talk, "one_shot_characteristics", text).await;
    }
}

#[tokio::test(start_paused = true)]
async fn set_transaction_behind_a_commit_in_one_packet_reaches_the_next_transaction() {
    let mut talk = open(RETRY).await;
    talk.sql("BEGIN", &ok(TX)).await;
    let more = ok(AUTO | 0x0008);
    talk.sql("COMMIT; SET TRANSACTION READ ONLY", &more.then(ok(AUTO))).await;
    assert_eq!(talk.unguarded(), ["multi_statement"]);
    talk.sql("BEGIN", &ok(TX)).await;
    talk.sql("UPDATE t SET v = 1", &changed(1, TX)).await;
    talk.sql("COMMIT", &conflict(1)).await;
    talk.server.silent().await;
    assert_eq!(talk.unguarded(), ["multi_statement", "one_shot_characteristics"]);
}

#[tokio::test(start_paused = true)]
async fn a_statement_that_opens_nothing_does_not_use_set_transaction_up() {
    let mut talk = setup(RETRY).manual().open().await;
    talk.sql("SET TRANSACTION READ ONLY", &ok(MANUAL)).await;
    talk.sql("SELECT 1", &rows(&["1"], MANUAL)).await;
    talk.sql("SELECT 2", &err(1064, "no")).await;
    talk.sql("SELECT 3", &rows(&["1"], MANUAL)).await;
    talk.sql("UPDATE t SET v = 1", &changed(1, TX0)).await;
    talk.sql("COMMIT", &conflict(1)).await;
    talk.server.silent().await;
    assert_eq!(talk.unguarded(), ["one_shot_characteristics"]);
}

#[tokio::test(start_paused = true)]
async fn a_begin_that_fails_does_not_use_set_transaction_up() {
    let mut talk = open(RETRY).await;
    talk.sql("SET TRANSACTION READ ONLY", &ok(AUTO)).await;
    talk.sql("BEGIN", &err(9001, "PD server timeout")).await;
    talk.sql("BEGIN", &ok(TX)).await;
    passes(&mut talk, "one_shot_characteristics", "BEGIN failed").await;
}

#[tokio::test(start_paused = true)]
async fn a_character_set_that_hides_quotes() {
    let mut first = setup(RETRY);
    first.collation = 28;
    let mut talk = first.open().await;
    talk.sql("BEGIN", &ok(TX)).await;
    talk.sql("COMMIT", &conflict(1)).await;
    assert_eq!(talk.unguarded(), ["charset"], "gbk from the login");
    for text in ["SET NAMES gbk", "SET character_set_client = 'sjis'", "SET NAMES @x"] {
        let mut talk = open(RETRY).await;
        talk.sql(text, &ok(AUTO)).await;
        talk.sql("BEGIN", &ok(TX)).await;
        talk.sql("COMMIT", &conflict(1)).await;
        talk.server.silent().await;
        assert_eq!(talk.unguarded(), ["charset"], "{text}");
        talk.sql("SET NAMES utf8mb4", &ok(AUTO)).await;
        talk.guarded(2).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_character_set_that_may_be_hidden_in_a_text_counts_until_it_is_said_again() {
    for text in [
        "SELECT 1; SET NAMES gbk",
        "/*!40101 SET NAMES gbk */",
        "/*!40101 SET character_set_client = gbk */",
        "PREPARE s FROM 'SET NAMES gbk'",
        "DO 1; set charset gbk",
    ] {
        let mut talk = open(RETRY).await;
        talk.sql(text, &ok(AUTO)).await;
        // What a SET TRANSACTION would have done is over with the first one.
        for _ in 0..2 {
            talk.sql("BEGIN", &ok(TX)).await;
            talk.sql("COMMIT", &conflict(1)).await;
            talk.server.silent().await;
        }
        assert_eq!(talk.unguarded().len(), 2, "{text}");
        talk.sql("SET NAMES utf8mb4", &ok(AUTO)).await;
        talk.guarded(2).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_set_names_that_fails_changes_nothing() {
    let mut talk = open(RETRY).await;
    talk.sql("SET NAMES gbk", &ok(AUTO)).await;
    talk.sql("SET NAMES utf8mb4 COLLATE nonsense", &err(1273, "Unknown collation")).await;
    talk.sql("BEGIN", &ok(TX)).await;
    talk.sql("COMMIT", &conflict(1)).await;
    talk.server.silent().await;
    assert_eq!(talk.unguarded(), ["charset"]);
}

#[tokio::test(start_paused = true)]
async fn a_reset_brings_the_character_set_of_the_login_back() {
    let mut setup = setup(RETRY);
    setup.collation = 28;
    let mut talk = setup.open().await;
    talk.sql("SET NAMES utf8mb4", &ok(AUTO)).await;
    talk.step(&[Command::RESET_CONNECTION.0], &ok(AUTO)).await;
    talk.sql("BEGIN", &ok(TX)).await;
    talk.sql("COMMIT", &conflict(1)).await;
    talk.server.silent().await;
    assert_eq!(talk.unguarded(), ["charset"]);
}

#[tokio::test(start_paused = true)]
async fn ansi_quotes_change_what_a_text_says() {
    // A string up to the last quote, or a name up to the second one and code behind it.
    let text = r#"SELECT "a\", @x, "b""#;
    let mut talk = open(RETRY).await;
    talk.sql("SET sql_mode = 'ANSI_QUOTES'", &ok(AUTO)).await;
    talk.sql("BEGIN", &ok(TX)).await;
    talk.sql(text, &rows(&["1"], TX)).await;
    talk.sql("COMMIT", &conflict(1)).await;
    talk.server.silent().await;
    assert_eq!((talk.replays_all(), talk.unguarded().len()), (0, 1));
    // A SET that fails leaves them on.
    talk.sql("SET sql_mode = 'STRICT_ALL_TABLES'", &err(1231, "can't be set")).await;
    talk.sql("BEGIN", &ok(TX)).await;
    talk.sql(text, &rows(&["1"], TX)).await;
    talk.sql("COMMIT", &conflict(1)).await;
    talk.server.silent().await;
    assert_eq!((talk.replays_all(), talk.unguarded().len()), (0, 2));
}

#[tokio::test(start_paused = true)]
async fn a_journal_beyond_its_limit_is_no_error() {
    let long = format!("UPDATE t SET v = '{}'", "x".repeat(3000));
    for (own, total, reason) in
        [(2000, 1 << 20, "journal_transaction"), (1 << 20, 2000, "journal_process")]
    {
        let mut setup = setup(RETRY);
        setup.journal_bytes_max = own;
        setup.journals = Budget::new(total);
        let mut talk = setup.open().await;
        talk.sql("BEGIN", &ok(TX)).await;
        assert!(talk.journals.used() > 0);
        talk.sql(&long, &changed(1, TX)).await;
        assert_eq!(talk.journals.used(), 0, "what can't be replayed is forgotten");
        passes(&mut talk, reason, reason).await;
        assert_eq!(talk.journals.used(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn many_small_statements_reach_the_limit_too() {
    let mut setup = setup(RETRY);
    setup.journal_bytes_max = 2000;
    let mut talk = setup.open().await;
    talk.sql("BEGIN", &ok(TX)).await;
    for _ in 0..50 {
        talk.sql("SELECT 1", &rows(&["1"], TX)).await;
        assert!(talk.journals.used() <= 2000);
    }
    passes(&mut talk, "journal_transaction", "many").await;
}

#[tokio::test(start_paused = true)]
async fn a_statement_of_more_than_64_kib_is_too_large_to_be_understood() {
    let long = format!("UPDATE t SET v = '{}'", "x".repeat(70_000));
    for pipe in [100, 1 << 20] {
        let mut talk = setup(RETRY).pipes(pipe, 1 << 20).open().await;
        talk.sql("BEGIN", &ok(TX)).await;
        talk.sql(&long, &changed(1, TX)).await;
        passes(&mut talk, "too_large", "long").await;
        assert_eq!(talk.outcomes(), [1, 0, 1, 0, 0]);
    }
}
