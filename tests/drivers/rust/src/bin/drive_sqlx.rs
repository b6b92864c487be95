//! sqlx: prepared through its cache of statements, and raw text.

use futures_util::TryStreamExt;
use serde_json::{Value, json};
use sqlx::mysql::{
    MySqlArguments, MySqlColumn, MySqlConnectOptions, MySqlConnection, MySqlDatabaseError,
    MySqlPoolOptions, MySqlQueryResult, MySqlRow, MySqlSslMode,
};
use sqlx::{
    AssertSqlSafe, Column, ConnectOptions, Connection, Either, Error, MySql, Row, TypeInfo,
    ValueRef,
};
use txguard_drivers::{BIG, ENVIRONMENT, SMALL, blob, bytes, digest, mask, rows, short, step};

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Text,
    Prepared,
}

fn options() -> MySqlConnectOptions {
    let environment = &*ENVIRONMENT;
    let options = MySqlConnectOptions::new()
        .host(&environment.host)
        .port(environment.port)
        .username(&environment.user)
        .password(&environment.password)
        .database(&environment.schema)
        .ssl_mode(MySqlSslMode::Disabled)
        .disable_statement_logging();
    assert!(environment.tls_ca.is_none() && !environment.compress, "built without TLS");
    options
}

fn error(error: Error) -> Value {
    match error {
        Error::Database(error) => {
            let error = error.downcast_ref::<MySqlDatabaseError>();
            json!({"code": error.number(), "sqlstate": error.code(), "text": mask(error.message())})
        }
        other => json!(mask(&other.to_string())),
    }
}

/// A value as the Rust type that sqlx names for its column.
enum Held {
    Null,
    Signed(i64),
    Unsigned(u64),
    Single(f32),
    Double(f64),
    Text(String),
    Bytes(Vec<u8>),
}

impl Held {
    fn of(row: &MySqlRow, at: usize) -> Result<Self, Error> {
        let raw = row.try_get_raw(at)?;
        if raw.is_null() {
            return Ok(Self::Null);
        }
        let name = raw.type_info().name().to_owned();
        Ok(match name.as_str() {
            "BOOLEAN" | "TINYINT" | "SMALLINT" | "MEDIUMINT" | "INT" | "BIGINT" => {
                Self::Signed(row.try_get_unchecked(at)?)
            }
            "BIT" | "YEAR" => Self::Unsigned(row.try_get_unchecked(at)?),
            _ if name.ends_with("UNSIGNED") => Self::Unsigned(row.try_get_unchecked(at)?),
            "FLOAT" => Self::Single(row.try_get_unchecked(at)?),
            "DOUBLE" => Self::Double(row.try_get_unchecked(at)?),
            "CHAR" | "VARCHAR" | "TEXT" | "ENUM" | "SET" => Self::Text(row.try_get_unchecked(at)?),
            _ => Self::Bytes(row.try_get_unchecked(at)?),
        })
    }

    fn show(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Signed(value) => json!(format!("i64 {value}")),
            Self::Unsigned(value) => json!(format!("u64 {value}")),
            Self::Single(value) => json!(format!("f32 {value}")),
            Self::Double(value) => json!(format!("f64 {value}")),
            Self::Text(value) => json!(short(format!("String {value}"))),
            Self::Bytes(value) => json!(bytes(value)),
        }
    }

    fn bind<'q>(self, query: Query<'q>) -> Query<'q> {
        match self {
            Self::Null => query.bind(None::<String>),
            Self::Signed(value) => query.bind(value),
            Self::Unsigned(value) => query.bind(value),
            Self::Single(value) => query.bind(value),
            Self::Double(value) => query.bind(value),
            Self::Text(value) => query.bind(value),
            Self::Bytes(value) => query.bind(value),
        }
    }
}

type Query<'q> = sqlx::query::Query<'q, MySql, MySqlArguments>;

fn query(text: &str) -> Query<'static> {
    sqlx::query(AssertSqlSafe(text.to_owned()))
}

async fn ask(conn: &mut MySqlConnection, kind: Kind, text: &str) -> Result<Value, Value> {
    match kind {
        Kind::Text => {
            let mut all = sqlx::raw_sql(AssertSqlSafe(text.to_owned())).fetch_many(conn);
            let mut said = Said::default();
            while let Some(part) = all.try_next().await.map_err(error)? {
                said.add(part)?;
            }
            Ok(said.show())
        }
        Kind::Prepared => ask_with(conn, query(text)).await,
    }
}

async fn ask_with(conn: &mut MySqlConnection, query: Query<'_>) -> Result<Value, Value> {
    #[expect(deprecated, reason = "it shows the count of rows and the rows of one statement")]
    let mut all = query.fetch_many(conn);
    let mut said = Said::default();
    while let Some(part) = all.try_next().await.map_err(error)? {
        said.add(part)?;
    }
    Ok(said.show())
}

/// Rows and ends of results as they come.
#[derive(Default)]
struct Said {
    sets: Vec<Value>,
    columns: Vec<String>,
    rows: Vec<Value>,
}

impl Said {
    fn add(&mut self, part: Either<MySqlQueryResult, MySqlRow>) -> Result<(), Value> {
        match part {
            Either::Left(done) => {
                self.sets.push(json!({
                    "columns": std::mem::take(&mut self.columns),
                    "rows": rows(std::mem::take(&mut self.rows)),
                    "affected": done.rows_affected(),
                    "id": done.last_insert_id(),
                }));
            }
            Either::Right(row) => {
                self.columns = row.columns().iter().map(column).collect();
                let held = (0..row.len()).map(|at| Held::of(&row, at).map(|held| held.show()));
                self.rows.push(held.collect::<Result<Value, _>>().map_err(error)?);
            }
        }
        Ok(())
    }

    fn show(self) -> Value {
        Value::Array(self.sets)
    }
}

fn column(column: &MySqlColumn) -> String {
    format!("{} {}", column.name(), column.type_info().name())
}

async fn pairs(conn: &mut MySqlConnection, text: &str) -> Vec<(String, String)> {
    sqlx::query_as(AssertSqlSafe(text.to_owned())).fetch_all(conn).await.expect("name and text")
}

async fn run(conn: &mut MySqlConnection, text: &str) {
    let done = sqlx::raw_sql(AssertSqlSafe(text.to_owned())).execute(conn).await;
    done.unwrap_or_else(|error| panic!("{text}: {error}"));
}

#[tokio::main]
async fn main() {
    logins().await;
    let mut conn = options().connect().await.expect("a connection");
    for (kind, name) in [(Kind::Text, "text"), (Kind::Prepared, "prepared")] {
        asked(&mut conn, kind, name).await;
        columns(&mut conn, kind, name).await;
        for (what, text) in
            pairs(&mut conn, "SELECT name, statement FROM refused ORDER BY id").await
        {
            step(&format!("{name}: refused {what}"), ask(&mut conn, kind, &text)).await;
        }
    }
    big(&mut conn).await;
    transactions(&mut conn).await;
    several(&mut conn).await;
    pools(&mut conn).await;
    lost(&mut conn).await;
}

async fn logins() {
    const HELLO: &str = "SELECT VERSION(), DATABASE(), CURRENT_USER(), @@autocommit, @@sql_mode, \
        @@character_set_client, @@collation_connection, @@time_zone";
    for (name, options) in [
        ("login", options()),
        ("wrong password", options().password("wrong")),
        ("unknown user", options().username("nobody")),
        ("unknown schema", options().database("nowhere")),
        ("another time zone", options().timezone("+05:00".to_owned())),
        ("nothing set", options().set_names(false).timezone(None).no_engine_substitution(false)),
    ] {
        step(name, async {
            let mut conn = options.connect().await.map_err(error)?;
            ask(&mut conn, Kind::Text, HELLO).await
        })
        .await;
    }
}

async fn asked(conn: &mut MySqlConnection, kind: Kind, name: &str) {
    run(conn, "DELETE FROM item").await;
    run(conn, "ALTER TABLE item AUTO_INCREMENT = 1").await;
    for (what, text) in pairs(conn, "SELECT name, statement FROM asked ORDER BY id").await {
        step(&format!("{name}: asked {what}"), ask(conn, kind, &text)).await;
    }
    run(conn, "DELETE FROM item").await;
}

/// Each value is read, and sent back as a parameter.
async fn columns(conn: &mut MySqlConnection, kind: Kind, name: &str) {
    const COLUMNS: &str = "SELECT column_name, data_type FROM information_schema.columns \
        WHERE table_schema = DATABASE() AND table_name = 'extremes' AND column_name <> 'id' \
        ORDER BY ordinal_position";
    for (column, _) in pairs(conn, COLUMNS).await {
        let select = format!("SELECT id, {column} FROM extremes ORDER BY id");
        step(&format!("{name}: read {column}"), ask(conn, kind, &select)).await;
        if kind == Kind::Text {
            continue;
        }
        step(&format!("write {column}"), write(conn, &column, &select)).await;
    }
}

async fn write(conn: &mut MySqlConnection, column: &str, select: &str) -> Result<Value, Value> {
    let values = query(select).fetch_all(&mut *conn).await.map_err(error)?;
    let mut tx = conn.begin().await.map_err(error)?;
    let mut said = Vec::new();
    let insert = format!("INSERT INTO copy (id, {column}) VALUES (?, ?)");
    for row in values {
        let value = Held::of(&row, 1).map_err(error)?;
        let insert = value.bind(query(&insert).bind(row.get::<i32, _>(0)));
        let done = insert.execute(&mut *tx).await;
        said.push(done.map_or_else(error, |done| json!(done.rows_affected())));
    }
    let equal = format!(
        "SELECT c.id, c.{column} <=> e.{column} FROM copy c JOIN extremes e USING (id) ORDER BY id"
    );
    let equal = ask(&mut tx, Kind::Prepared, &equal).await?;
    tx.rollback().await.map_err(error)?;
    Ok(json!([said, equal]))
}

async fn big(conn: &mut MySqlConnection) {
    for size in SMALL.into_iter().chain([BIG]) {
        step(&format!("send {size} bytes"), async {
            ask_with(conn, query("SELECT LENGTH(?), ?").bind(blob(size)).bind(size as u64)).await
        })
        .await;
        step(&format!("receive {size} bytes"), async {
            let text: String = sqlx::query_scalar("SELECT REPEAT('x', ?)")
                .bind(size as u64)
                .fetch_one(&mut *conn)
                .await
                .map_err(error)?;
            Ok(json!([text.len(), digest(text.as_bytes())]))
        })
        .await;
    }
    for size in [0, 65536, 1 << 20] {
        step(&format!("store {size} bytes"), async {
            let replace = query("REPLACE INTO big VALUES (1, ?)").bind(blob(size));
            replace.execute(&mut *conn).await.map_err(error)?;
            let back: Vec<u8> = sqlx::query_scalar("SELECT v FROM big WHERE id = ?")
                .bind(1)
                .fetch_one(&mut *conn)
                .await
                .map_err(error)?;
            Ok(json!(back == blob(size)))
        })
        .await;
    }
}

async fn transactions(conn: &mut MySqlConnection) {
    const INSERT: &str = "INSERT INTO item (name) VALUES (?)";
    for commit in [true, false] {
        step(&format!("transaction, commit {commit}"), async {
            let mut said = Vec::new();
            let mut tx = conn.begin().await.map_err(error)?;
            for name in ["a", "b", "b"] {
                let done = query(INSERT).bind(name).execute(&mut *tx).await;
                said.push(done.map_or_else(error, |done| json!(done.rows_affected())));
            }
            // Savepoints, as sqlx makes them.
            let mut kept = tx.begin().await.map_err(error)?;
            query(INSERT).bind("kept").execute(&mut *kept).await.map_err(error)?;
            kept.commit().await.map_err(error)?;
            let mut undone = tx.begin().await.map_err(error)?;
            query(INSERT).bind("undone").execute(&mut *undone).await.map_err(error)?;
            undone.rollback().await.map_err(error)?;
            said.push(ask(&mut tx, Kind::Prepared, "SELECT name FROM item ORDER BY name").await?);
            if commit { tx.commit().await } else { tx.rollback().await }.map_err(error)?;
            said.push(ask(conn, Kind::Prepared, "SELECT name FROM item ORDER BY name").await?);
            Ok(Value::Array(said))
        })
        .await;
        run(conn, "DELETE FROM item").await;
    }
    step("transaction, dropped", async {
        let mut tx = conn.begin().await.map_err(error)?;
        query(INSERT).bind("dropped").execute(&mut *tx).await.map_err(error)?;
        drop(tx);
        ask(conn, Kind::Prepared, "SELECT name FROM item ORDER BY name").await
    })
    .await;
    step("transaction, by another statement", async {
        let mut tx = conn.begin_with("START TRANSACTION READ ONLY").await.map_err(error)?;
        let done = query(INSERT).bind("refused").execute(&mut *tx).await;
        let said = done.map_or_else(error, |done| json!(done.rows_affected()));
        tx.rollback().await.map_err(error)?;
        Ok(said)
    })
    .await;
    run(conn, "ROLLBACK").await;
    run(conn, "DELETE FROM item").await;
}

async fn several(conn: &mut MySqlConnection) {
    let mut statements = vec![
        ("selects", "SELECT 1; SELECT n, name FROM many WHERE n < 3; SELECT 3"),
        ("mixed", "INSERT INTO item (name) VALUES ('m'); SELECT name FROM item; DELETE FROM item"),
        ("error in the middle", "SELECT 1; SELEC 2; SELECT 3"),
        ("after it", "SELECT 4"),
    ];
    if !ENVIRONMENT.is_tidb {
        statements.push(("call", "CALL results(3, @doubled); SELECT @doubled"));
        statements.push(("call, error", "CALL refuse()"));
    }
    for (name, text) in statements {
        step(&format!("multi: {name}"), ask(conn, Kind::Text, text)).await;
    }
    if !ENVIRONMENT.is_tidb {
        step("call prepared", ask_with(conn, query("CALL results(?, @doubled)").bind(3))).await;
    }
    step("half-read", async {
        let mut some = query("SELECT n FROM many ORDER BY n").fetch(&mut *conn);
        let first = some.try_next().await.map_err(error)?.map(|row| row.get::<i32, _>(0));
        drop(some);
        Ok(json!([first, ask(conn, Kind::Prepared, "SELECT 1").await?]))
    })
    .await;
}

async fn pools(conn: &mut MySqlConnection) {
    step("pool: forty at once", async {
        let pool = MySqlPoolOptions::new().max_connections(4).connect_with(options()).await;
        let pool = pool.map_err(error)?;
        let tasks: Vec<_> = (0..40)
            .map(|n| {
                let pool = pool.clone();
                tokio::spawn(async move {
                    let mut tx = pool.begin().await?;
                    let insert = query("INSERT INTO item (name, n) VALUES (?, ?)");
                    insert.bind(format!("pooled 😀 {n}")).bind(n).execute(&mut *tx).await?;
                    tx.commit().await
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("no panic").map_err(error)?;
        }
        let size = pool.size();
        pool.close().await;
        Ok(json!(size <= 4))
    })
    .await;
    let count = "SELECT COUNT(*), SUM(n), MIN(name) FROM item";
    step("pool: there", ask(conn, Kind::Prepared, count)).await;
    run(conn, "DELETE FROM item").await;
}

async fn lost(conn: &mut MySqlConnection) {
    step("ping", async { conn.ping().await.map(|()| Value::Null).map_err(error) }).await;
    step("statements forgotten", async {
        let cached = conn.cached_statements_size() > 0;
        conn.clear_cached_statements().await.map_err(error)?;
        Ok(json!([cached, conn.cached_statements_size()]))
    })
    .await;
    step("killed", async {
        let mut victim = options().connect().await.map_err(error)?;
        let id: u64 = sqlx::query_scalar("SELECT CONNECTION_ID()")
            .fetch_one(&mut victim)
            .await
            .map_err(error)?;
        ask(conn, Kind::Text, &format!("KILL {id}")).await?;
        for _ in 0..2000 {
            if ask(&mut victim, Kind::Text, "DO 1").await.is_err() {
                return Err(json!("lost"));
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        Ok(json!("still there"))
    })
    .await;
    step("after a kill", ask(conn, Kind::Prepared, "SELECT 1")).await;
}
