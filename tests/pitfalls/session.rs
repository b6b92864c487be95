//! What a transaction changes in its session: the schema in use, session and user variables.

use mysql_async::prelude::Queryable;
use txguard::sql::SESSION_VARIABLES;

use crate::support::client::run;
use crate::support::{Backend, mariadb, need, one, tidb};

use crate::play::{Case, On, play_on_mariadb, play_on_tidb};

/// The diagnostics of the statement before.
const ROW_COUNT: &str = "SELECT ROW_COUNT()";
const FOUND_ROWS: &str = "SELECT FOUND_ROWS()";

const X: &str = "SELECT @x, @y";
const SESSION: &str = "SELECT @@sql_mode, @@time_zone, @@foreign_key_checks";

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
    Case::replayed(
        "R45 from where an earlier USE with a comment went",
        &["USE {other}", "SELECT v FROM t WHERE id = 3"],
    )
    .before(&["USE {schema}-- back"])
    .after(&[SCHEMA]),
    Case::unguarded("R45 a schema that isn't known", &["USE {schema}"], "schema_change")
        .before(&["SELECT 1; USE {other}", "BEGIN", "COMMIT"])
        .after(&[SCHEMA]),
    Case::replayed(
        "R17 R45 user variables of BEGIN are inputs",
        &[
            X,
            "SET @x = 6, @y = 'six'",
            X,
            "UPDATE t SET v = @x, s = @y WHERE id = 3",
            "SET @x = NULL",
        ],
    )
    .on(On::TiDb)
    .before(&["SET @x = 5, @y = 'five'"])
    .after(&[X, "SELECT v, s FROM t WHERE id = 3"]),
    Case::replayed(
        "R45 a variable of any type comes back",
        &[X, "SET @x = 1, @y = 2", "SET @y = 3", X],
    )
    .on(On::TiDb)
    .before(&["SET @x = CAST(18446744073709551615 AS UNSIGNED), @y = 1.50"])
    .after(&[X]),
    Case::replayed("R45 a text in its collation", &[X, "SET @x = 'b', @y = TRUE", X])
        .before(&["SET @x = _latin1'\\'a\\\\' COLLATE latin1_bin, @y = x'00FF'"])
        .on(On::TiDb)
        .after(&[X]),
    Case::replayed("R45 a float and a date", &[X, "SET @x = 1, @y = 1", X])
        .before(&["SET @x = 1.5e300, @y = CAST('2020-02-02' AS DATE)"])
        .on(On::TiDb)
        .after(&[X]),
    Case::replayed("R45 a document and a time of day", &[X, "SET @x = 1, @y = 1", X])
        .on(On::TiDb)
        .before(&["SET @x = CAST('{\"a\": 1}' AS JSON), @y = CAST('10:11:12.5' AS TIME(3))"])
        .after(&[X]),
    Case::replayed("R45 with autocommit off", &["SET time_zone = '+05:00'", "USE {other}"])
        .before(&["SET autocommit = 0"])
        .after(&[SESSION, SCHEMA]),
    Case::told(
        "R45 a user variable that a trigger sets",
        &["INSERT INTO {other}.t VALUES (4, @x)", "UPDATE t SET v = 31 WHERE id = 3"],
        "user_variable",
    )
    .on(On::MariaDb)
    .before(&[
        "CREATE OR REPLACE TRIGGER counts BEFORE UPDATE ON t FOR EACH ROW SET @x = @x + 1",
        "SET @x = 5",
    ])
    .after(&["SELECT v FROM {other}.t WHERE id = 4", "SELECT @x", "DROP TRIGGER counts"]),
    Case::replayed("R45 variables that were never set", &["SET @x = 1", X, "SET @x = -1.5"])
        .on(On::TiDb)
        .after(&[X]),
    Case::replayed(
        "R17 session variables are replayed at their position",
        &[
            "SET sql_mode = 'ANSI_QUOTES', time_zone = '+05:00'",
            "UPDATE t SET s = FROM_UNIXTIME(0) WHERE id = 3",
            "SELECT s FROM t WHERE id = 3",
            "SET SESSION sql_mode = ''",
            "SET @@foreign_key_checks = 0",
            "SELECT \"s\" FROM t WHERE id = 3",
            "SET @@session.time_zone = 'SYSTEM'",
        ],
    )
    .after(&[SESSION, "SELECT s FROM t WHERE id = 3"]),
    Case::replayed(
        "R17 a value that is refused",
        &["SET time_zone = 'nowhere'", "SET @x = 1, sql_mode = 'x'"],
    )
    .after(&[SESSION, X]),
    Case::replayed("R17 in another schema", &["USE {other}", "SET @x = 1", "USE {schema}", X])
        .on(On::TiDb)
        .after(&[SCHEMA, X]),
    Case::unguarded("R17 a value that isn't written out", &["SET @x = NOW()"], "set"),
    Case::unguarded("R17 a value from a query", &["SELECT @x := v FROM t"], "user_variable"),
    Case::unguarded(
        "R17 R24 how transactions begin",
        &["SET SESSION TRANSACTION READ ONLY"],
        "set",
    ),
    Case::unguarded("R29 a character set", &["SET NAMES utf8mb4"], "set").after(&[SESSION]),
    Case::unguarded("R39 R40 ROW_COUNT() behind a SET", &["SET @x = 1", ROW_COUNT], "row_count"),
    Case::unguarded(
        "R39 R40 ROW_COUNT() behind a SET that fails",
        &["UPDATE t SET v = 0 WHERE id > 2", "SET time_zone = 'nowhere'", ROW_COUNT],
        "row_count",
    ),
    Case::unguarded(
        "R39 R40 FOUND_ROWS() behind a SET",
        &["SELECT * FROM t", "SET @x = 1", FOUND_ROWS],
        "found_rows",
    ),
    Case::unguarded(
        "R39 R40 warnings behind a SET",
        &["SELECT CAST('a' AS SIGNED)", "SET @x = 1", "SHOW WARNINGS"],
        "show",
    ),
    Case::unguarded(
        "R39 R40 warnings behind a SET that fails",
        &["SELECT CAST('a' AS SIGNED)", "SET sql_mode = 'nonsense'", "SHOW WARNINGS"],
        "show",
    ),
    Case::replayed(
        "R45 LAST_INSERT_ID() is the one from before BEGIN",
        &[
            "UPDATE t SET v = LAST_INSERT_ID() WHERE id = 3",
            "SELECT LAST_INSERT_ID(), v FROM t WHERE id = 3",
            "INSERT INTO t VALUES (LAST_INSERT_ID(), 1, '')",
        ],
    )
    .before(&["SELECT LAST_INSERT_ID(77)"])
    .after(&["SELECT LAST_INSERT_ID()", "SELECT id, v FROM t WHERE id > 1 ORDER BY id"]),
    Case::told(
        "R45 an INSERT that fails may change it",
        &["INSERT INTO a VALUES ('x', 1)", "SELECT LAST_INSERT_ID()"],
        "last_insert_id",
    )
    .before(&["SELECT LAST_INSERT_ID(77)"])
    .after(&["SELECT LAST_INSERT_ID()"]),
    Case::told(
        "R45 an INSERT that is answered by rows may change it",
        &[
            "UPDATE t SET v = LAST_INSERT_ID() WHERE id = 3",
            "INSERT INTO a (v) VALUES (7) RETURNING v",
        ],
        "last_insert_id",
    )
    .on(On::MariaDb)
    .before(&["SELECT LAST_INSERT_ID(77)"])
    .after(&["SELECT v FROM t WHERE id = 3"]),
    Case::unguarded("R45 R46 LAST_INSERT_ID(x)", &["SELECT LAST_INSERT_ID(5)"], "last_insert_id")
        .after(&["SELECT LAST_INSERT_ID()"]),
    Case::unguarded(
        "R39 R40 LAST_INSERT_ID() behind a SET",
        &["SET @x = 1", "SELECT LAST_INSERT_ID(5)"],
        "last_insert_id",
    )
    .before(&["SELECT LAST_INSERT_ID(77)"])
    .after(&["SELECT LAST_INSERT_ID()"]),
];

/// Every variable of the list takes the value back that it had, if the server knows it.
async fn each_variable_comes_back(backend: &Backend) {
    const VALUES: &[&str] = &[
        "0",
        "1",
        "5",
        "2000000",
        "'OFF'",
        "'SYSTEM'",
        "'+05:00'",
        "''",
        "'ANSI_QUOTES'",
        "'tidb'",
        "'tikv,tidb'",
        "'follower'",
        "'aes-256-cbc'",
    ];
    let mut conn = backend.connect().await;
    let (mut known, mut wrong) = (0, Vec::new());
    for name in SESSION_VARIABLES {
        let look = format!("SELECT CONCAT('', @@session.{name})");
        if conn.query_drop(&look).await.is_err() {
            continue;
        }
        known += 1;
        let mut taken = 0;
        for value in VALUES {
            let before: Option<String> = one(&mut conn, &look).await;
            run(&mut conn, &[&format!("SET @kept = @@session.{name}")]).await;
            if conn.query_drop(format!("SET {name} = {value}")).await.is_ok() {
                taken += 1;
            }
            let set: Option<String> = one(&mut conn, &look).await;
            run(&mut conn, &[&format!("SET @@session.{name} = @kept")]).await;
            let back: Option<String> = one(&mut conn, &look).await;
            if back != before {
                wrong.push(format!("{name}: {before:?}, {set:?}, {back:?}"));
            }
            // The next value is put in place of this one.
            let _ = conn.query_drop(format!("SET {name} = {value}")).await;
        }
        assert!(taken > 1, "{name}: the values of the test are not its own");
    }
    assert!(wrong.is_empty(), "{wrong:?}");
    assert!(known > 12, "{known} variables of the list are known");
}

#[tokio::test]
async fn each_variable_comes_back_at_tidb() {
    each_variable_comes_back(&need!(tidb::start())).await;
}

#[tokio::test]
async fn each_variable_comes_back_at_mariadb() {
    each_variable_comes_back(&need!(mariadb::start())).await;
}

#[tokio::test]
async fn on_tidb() {
    play_on_tidb(CASES).await;
}

#[tokio::test]
async fn on_mariadb() {
    play_on_mariadb(CASES).await;
}
