//! What differs from run to run: clock, chance, ids, timestamps, order.

use crate::play::{Case, On, play_on_mariadb, play_on_tidb};

const CASES: &[Case] = &[
    Case::replayed("R12 a clock that nobody has seen", &["UPDATE t SET s = NOW(6) WHERE id = 3"]),
    Case::differs("R12 a clock that was seen", &["SELECT NOW(6)"]).varying(),
    Case::differs("R12 SYSDATE()", &["SELECT SYSDATE(6)"]).varying(),
    Case::replayed(
        "R13 chance that nobody has seen",
        &["UPDATE t SET s = UUID(), v = RAND() * 9 WHERE id = 3"],
    )
    .after(&["SELECT COUNT(*) FROM t"]),
    Case::differs("R13 a UUID that was seen", &["SELECT UUID()"]).varying(),
    Case::differs("R13 chance that was seen", &["SELECT RAND()"]).varying(),
    Case::replayed("R13 chance with a seed", &["SELECT RAND(7)"]),
    Case::replayed("R13 the same connection", &["SELECT CONNECTION_ID() = CONNECTION_ID()"]),
    Case::unguarded(
        "R14 start_ts by a variable",
        &["SELECT @@tidb_current_ts"],
        "session_variable",
    )
    .on(On::TiDb)
    .varying(),
    Case::unguarded("R14 start_ts by a function", &["SELECT TIDB_CURRENT_TSO()"], "tso_visible")
        .on(On::TiDb)
        .varying(),
    Case::told("R15 R46 a generated id", &["INSERT INTO a (v) VALUES (7)"], "generated_id")
        .on(On::MariaDb)
        .varying(),
    Case::told("R15 an id that the client gave", &["INSERT INTO a VALUES (50, 7)"], "generated_id"),
    Case::told("R46 REPLACE", &["REPLACE INTO a (v) VALUES (7)"], "generated_id").varying(),
    Case::told("R46 INSERT … SELECT", &["INSERT INTO a (v) SELECT 7"], "generated_id").varying(),
    Case::told(
        "R46 ON DUPLICATE KEY UPDATE",
        &["INSERT INTO a (v) VALUES (7) ON DUPLICATE KEY UPDATE v = 8"],
        "generated_id",
    )
    .varying(),
    Case::unguarded("R16 a sequence", &["SELECT NEXTVAL(q)"], "sequence").varying(),
    Case::replayed(
        "R3 R50 rows in any order",
        &["SELECT v FROM t WHERE id > 2", "SELECT 1 FROM t WHERE id > 1"],
    ),
    Case::replayed(
        "R3 rows in their order",
        &["SELECT v FROM t WHERE id > 2 ORDER BY v DESC LIMIT 1"],
    ),
    Case::replayed("R4 a sum of floats", &["SELECT SUM(v + 0.1e0) FROM t WHERE id > 2"]),
];

#[tokio::test]
async fn on_tidb() {
    play_on_tidb(CASES).await;
}

#[tokio::test]
async fn on_mariadb() {
    play_on_mariadb(CASES).await;
}
