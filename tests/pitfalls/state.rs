//! What outlives a transaction or ends it: temporary tables, locks, schema changes, waiting.

use crate::play::{Case, On, play_on_mariadb, play_on_tidb};

const LEFT: &str = "SELECT id, v FROM t WHERE id > 1 ORDER BY id";

const CASES: &[Case] = &[
    Case::unguarded(
        "R18 a temporary table",
        &["CREATE TEMPORARY TABLE x (v INT)"],
        "temporary_table",
    )
    .after(&["DROP TEMPORARY TABLE x"]),
    Case::unguarded("R19 a lock by function", &["SELECT GET_LOCK('pitfall', 5)"], "lock_function")
        .after(&["SELECT RELEASE_LOCK('pitfall')"]),
    Case::unguarded("R19 R23 LOCK TABLES", &["LOCK TABLES t WRITE"], "lock_tables")
        .on(On::TiDb)
        .after(&["UNLOCK TABLES"]),
    Case::replayed(
        "R20 a lock that nobody waits for",
        &["SELECT v FROM t WHERE id = 3 FOR UPDATE NOWAIT"],
    ),
    Case::replayed(
        "R20 rows that nobody has locked",
        &["SELECT v FROM t WHERE id = 3 FOR UPDATE SKIP LOCKED"],
    )
    .on(On::MariaDb),
    Case::unguarded(
        "R23 a schema change commits",
        &["UPDATE t SET v = 31 WHERE id = 3", "CREATE TABLE IF NOT EXISTS t (v INT)"],
        "ddl",
    )
    .after(&[LEFT]),
    Case::unguarded("R23 autocommit", &["SET autocommit = 1"], "set").after(&[LEFT]),
];

#[tokio::test]
async fn on_tidb() {
    play_on_tidb(CASES).await;
}

#[tokio::test]
async fn on_mariadb() {
    play_on_mariadb(CASES).await;
}
