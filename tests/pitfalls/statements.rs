//! Statements whose meaning depends on the others of their transaction: savepoints, errors,
//! hidden boundaries, several in one packet.

use crate::play::{Case, On, play_on_mariadb, play_on_tidb};

const LEFT: &str = "SELECT id, v FROM t ORDER BY id";

const CASES: &[Case] = &[
    Case::replayed(
        "R21 a savepoint, and what was rolled back to it",
        &[
            "SAVEPOINT a",
            "UPDATE t SET v = 31 WHERE id = 3",
            "SELECT v FROM t WHERE id = 3",
            "ROLLBACK TO a",
            "SELECT v FROM t WHERE id = 3",
            "UPDATE t SET v = 41 WHERE id = 4",
        ],
    )
    .after(&["SELECT id, v FROM t WHERE id > 1 ORDER BY id"]),
    Case::replayed(
        "R21 savepoints in savepoints, by all their words",
        &[
            "SAVEPOINT a",
            "UPDATE t SET v = 31 WHERE id = 3",
            "SAVEPOINT `b`",
            "UPDATE t SET v = 32 WHERE id = 3",
            "ROLLBACK TO SAVEPOINT b",
            "RELEASE SAVEPOINT b",
            "SELECT v FROM t WHERE id = 3",
            "SAVEPOINT A",
        ],
    ),
    Case::replayed(
        "R21 ROLLBACK WORK TO is no ROLLBACK",
        &["SAVEPOINT a", "UPDATE t SET v = 31 WHERE id = 3", "ROLLBACK WORK TO SAVEPOINT a"],
    )
    .on(On::MariaDb),
    Case::replayed(
        "R21 R22 a savepoint that isn't there",
        &[
            "SAVEPOINT a",
            "ROLLBACK TO b",
            "RELEASE SAVEPOINT b",
            "RELEASE SAVEPOINT a",
            "ROLLBACK TO a",
        ],
    ),
    Case::replayed("R21 savepoints outside are forgotten", &["ROLLBACK TO a", "SAVEPOINT a"])
        .before(&["SAVEPOINT a"])
        .after(&["ROLLBACK TO a", "SAVEPOINT a", "RELEASE SAVEPOINT a"]),
    Case::replayed(
        "R22 errors of statements are answers",
        &[
            "INSERT INTO t VALUES (3, 1, '')",
            "SELECT v FROM nowhere",
            "UPDATE t SET v = 31 WHERE id = 3",
        ],
    )
    // An optimistic INSERT of a key that is there fails at COMMIT.
    .on(On::MariaDb),
    Case::replayed(
        "R22 errors of names",
        &["SELECT nothing FROM t", "UPDATE t SET v = 31 WHERE id = 3"],
    )
    .after(&["SELECT id, v FROM t WHERE id > 1 ORDER BY id"]),
    Case::unguarded("R25 a boundary in a text", &["PREPARE s FROM 'COMMIT'"], "prepare_text"),
    Case::unguarded(
        "R25 a boundary in a comment that servers execute",
        &["/*!40101 SET @x = 1 */"],
        "conditional_comment",
    ),
    Case::unguarded(
        "R26 several statements in one packet",
        &["UPDATE t SET v = 31 WHERE id = 3; UPDATE t SET v = 41 WHERE id = 4"],
        "multi_statement",
    ),
    Case::differs(
        "R21 what is seen between savepoints counts",
        &["SAVEPOINT a", LEFT, "ROLLBACK TO a"],
    ),
];

#[tokio::test]
async fn on_tidb() {
    play_on_tidb(CASES).await;
}

#[tokio::test]
async fn on_mariadb() {
    play_on_mariadb(CASES).await;
}
