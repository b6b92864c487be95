//! What a transaction changes in its session: the schema in use.

use crate::play::{Case, play_on_mariadb, play_on_tidb};

const SCHEMA: &str = "SELECT DATABASE() = '{other}', DATABASE() = '{schema}'";

const CASES: &[Case] = &[
    Case::replayed(
        "R17 R45 the schema at BEGIN is an input",
        &[
            "UPDATE t SET v = v + 1 WHERE id = 3",
            "SELECT v FROM t WHERE id = 3",
            "USE {other}",
            "SELECT v FROM t WHERE id = 3",
            "UPDATE t SET v = v + 1 WHERE id = 3",
        ],
    )
    .after(&[SCHEMA, "SELECT * FROM t", "SELECT v FROM {schema}.t WHERE id = 3"]),
    Case::replayed(
        "R45 there and back again",
        &["USE {other}", "UPDATE t SET v = 301 WHERE id = 3", "USE {schema}", "USE nowhere_at_all"],
    )
    .after(&[SCHEMA, "SELECT * FROM {other}.t"]),
    Case::replayed(
        "R45 from where an earlier USE went",
        &["USE {schema}", "SELECT v FROM t WHERE id = 3"],
    )
    .before(&["USE {other}"])
    .after(&[SCHEMA]),
    Case::unguarded("R45 a schema that isn't known", &["USE {schema}"], "schema_change")
        .before(&["SELECT 1; USE {other}", "BEGIN", "COMMIT"])
        .after(&[SCHEMA]),
];

#[tokio::test]
async fn on_tidb() {
    play_on_tidb(CASES).await;
}

#[tokio::test]
async fn on_mariadb() {
    play_on_mariadb(CASES).await;
}
