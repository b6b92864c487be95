//! mysql_async: text and prepared, pool, LOCAL INFILE, several statements.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use mysql_async::prelude::*;
use mysql_async::{
    Conn, Error, IsolationLevel, OptsBuilder, Params, Pool, PoolConstraints, PoolOpts, Row, TxOpts,
    Value as Sql,
};
use serde_json::{Value, json};
use txguard_drivers::{BIG, ENVIRONMENT, SMALL, blob, bytes, lines, mask, rows, step};

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Text,
    Prepared,
}

fn options() -> OptsBuilder {
    let environment = &*ENVIRONMENT;
    let files = BTreeMap::from([("rows", lines(5000)), ("empty", String::new())]);
    let mut options = OptsBuilder::default()
        .ip_or_hostname(&environment.host)
        .tcp_port(environment.port)
        .user(Some(&environment.user))
        .pass(Some(&environment.password))
        .db_name(Some(&environment.schema))
        .prefer_socket(false)
        .max_allowed_packet(Some(64 << 20))
        .local_infile_handler(Some(move |name: &[u8]| {
            let file = files.get(String::from_utf8_lossy(name).as_ref()).cloned();
            Box::pin(async move {
                let content =
                    Bytes::from(file.ok_or_else(|| std::io::Error::other("no such file"))?);
                Ok(futures_util::stream::once(async move { Ok(content) }).boxed())
            }) as _
        }));
    if environment.compress {
        options = options.compression(mysql_async::Compression::default());
    }
    assert!(environment.tls_ca.is_none(), "built without TLS");
    options
}

async fn connect(options: OptsBuilder) -> Result<Conn, Value> {
    Conn::new(options).await.map_err(error)
}

fn error(error: Error) -> Value {
    match error {
        Error::Server(error) => {
            json!({"code": error.code, "sqlstate": error.state, "text": mask(&error.message)})
        }
        other => json!(mask(&other.to_string())),
    }
}

fn value(value: &Sql) -> Value {
    match value {
        Sql::NULL => Value::Null,
        Sql::Bytes(text) => json!(bytes(text)),
        other => json!(format!("{other:?}")),
    }
}

/// All result sets with their columns, and what the last OK packet said.
async fn ask(conn: &mut Conn, kind: Kind, text: &str, params: Vec<Sql>) -> Result<Value, Value> {
    match kind {
        Kind::Text => results(conn.query_iter(text).await.map_err(error)?).await,
        Kind::Prepared => {
            let statement = conn.prep(text).await.map_err(error)?;
            let params = if params.is_empty() { Params::Empty } else { Params::Positional(params) };
            let said = results(conn.exec_iter(&statement, params).await.map_err(error)?).await;
            conn.close(statement).await.map_err(error)?;
            said
        }
    }
}

async fn results<P: Protocol>(
    mut result: mysql_async::QueryResult<'_, '_, P>,
) -> Result<Value, Value> {
    let mut sets = Vec::new();
    loop {
        let columns: Vec<Value> = result.columns_ref().iter().map(column).collect();
        let set: Vec<Row> = result.collect().await.map_err(error)?;
        let set =
            set.iter().map(|row| (0..row.len()).map(|at| value(&row[at])).collect()).collect();
        sets.push(json!({"columns": columns, "rows": rows(set)}));
        if result.is_empty() {
            break;
        }
    }
    let conn = (result.affected_rows(), result.last_insert_id(), result.warnings());
    sets.push(json!([conn.0, conn.1, conn.2, result.info()]));
    Ok(Value::Array(sets))
}

fn column(column: &mysql_async::Column) -> Value {
    let text = format!(
        "{} {} {:?} {:?} {} {} {}",
        column.name_str(),
        column.table_str(),
        column.column_type(),
        column.flags(),
        column.character_set(),
        column.column_length(),
        column.decimals(),
    );
    json!(text)
}

async fn pairs(conn: &mut Conn, text: &str) -> Vec<(String, String)> {
    conn.query(text).await.expect("name and text")
}

async fn run(conn: &mut Conn, text: &str) {
    conn.query_drop(text).await.unwrap_or_else(|error| panic!("{text}: {error}"));
}

#[tokio::main]
async fn main() {
    logins().await;
    let mut conn = Conn::new(options()).await.expect("a connection");
    for (kind, name) in [(Kind::Text, "text"), (Kind::Prepared, "prepared")] {
        asked(&mut conn, kind, name).await;
        columns(&mut conn, kind, name).await;
        for (what, text) in
            pairs(&mut conn, "SELECT name, statement FROM refused ORDER BY id").await
        {
            step(&format!("{name}: refused {what}"), ask(&mut conn, kind, &text, Vec::new())).await;
        }
    }
    big(&mut conn).await;
    executed_again(&mut conn).await;
    transactions(&mut conn).await;
    several(&mut conn).await;
    local_infile(&mut conn).await;
    pools(&mut conn).await;
    lost(&mut conn).await;
}

async fn logins() {
    const HELLO: &str = "SELECT VERSION(), DATABASE(), CURRENT_USER(), @@autocommit, @@sql_mode, \
        @@character_set_client, @@collation_connection";
    for (name, options) in [
        ("login", options()),
        ("wrong password", options().pass(Some("wrong"))),
        ("no password", options().pass(None::<String>)),
        ("unknown user", options().user(Some("nobody"))),
        ("unknown schema", options().db_name(Some("nowhere"))),
        ("no schema", options().db_name(None::<String>)),
        ("found rows", options().client_found_rows(true)),
        ("initial statements", options().init(vec!["SET @a = 1", "SET time_zone = '+05:00'"])),
    ] {
        step(name, async {
            let mut conn = connect(options).await?;
            ask(&mut conn, Kind::Text, HELLO, Vec::new()).await
        })
        .await;
    }
}

async fn asked(conn: &mut Conn, kind: Kind, name: &str) {
    run(conn, "DELETE FROM item").await;
    run(conn, "ALTER TABLE item AUTO_INCREMENT = 1").await;
    for (what, text) in pairs(conn, "SELECT name, statement FROM asked ORDER BY id").await {
        step(&format!("{name}: asked {what}"), ask(conn, kind, &text, Vec::new())).await;
    }
    run(conn, "DELETE FROM item").await;
}

/// Each value is read, and sent back as a parameter.
async fn columns(conn: &mut Conn, kind: Kind, name: &str) {
    const COLUMNS: &str = "SELECT column_name FROM information_schema.columns \
        WHERE table_schema = DATABASE() AND table_name = 'extremes' AND column_name <> 'id' \
        ORDER BY ordinal_position";
    let columns: Vec<String> = conn.query(COLUMNS).await.expect("names");
    for column in columns {
        let select = format!("SELECT id, {column} FROM extremes ORDER BY id");
        step(&format!("{name}: read {column}"), ask(conn, kind, &select, Vec::new())).await;
        step(&format!("{name}: write {column}"), async {
            let values: Vec<Row> = match kind {
                Kind::Text => conn.query(&select).await,
                Kind::Prepared => conn.exec(&select, ()).await,
            }
            .map_err(error)?;
            let mut tx = conn.start_transaction(TxOpts::default()).await.map_err(error)?;
            let mut said = Vec::new();
            for row in values {
                let insert = format!("INSERT INTO copy (id, {column}) VALUES (?, ?)");
                let done = tx.exec_drop(insert, Params::Positional(row.unwrap())).await;
                said.push(done.map_or_else(error, |()| json!(tx.affected_rows())));
            }
            let equal = format!(
                "SELECT c.id, c.{column} <=> e.{column} FROM copy c JOIN extremes e USING (id) ORDER BY id"
            );
            let equal: Vec<(i32, i32)> = tx.query(equal).await.map_err(error)?;
            tx.rollback().await.map_err(error)?;
            Ok(json!([said, equal]))
        })
        .await;
    }
}

async fn big(conn: &mut Conn) {
    let sizes: Vec<usize> = SMALL.into_iter().chain([BIG]).collect();
    for &size in &sizes {
        step(&format!("send {size} bytes"), async {
            let params = vec![Sql::Bytes(blob(size)), Sql::UInt(size as u64)];
            ask(conn, Kind::Prepared, "SELECT LENGTH(?), ?", params).await
        })
        .await;
        step(&format!("receive {size} bytes"), async {
            ask(conn, Kind::Text, &format!("SELECT REPEAT('x', {size})"), Vec::new()).await
        })
        .await;
    }
    for size in [0, 65536, 1 << 20] {
        step(&format!("store {size} bytes"), async {
            let params = (1, blob(size));
            conn.exec_drop("REPLACE INTO big VALUES (?, ?)", params).await.map_err(error)?;
            let back = conn.exec_first("SELECT v FROM big WHERE id = ?", (1,)).await;
            Ok(json!(back.map_err(error)? == Some(blob(size))))
        })
        .await;
    }
    if ENVIRONMENT.full {
        // The payload of the statement: the command's byte, 17 bytes of text, and the rest.
        for payload in [0xFF_FFFE, 0xFF_FFFF, 0x100_0000_usize] {
            let text = format!("SELECT LENGTH('{}')", "x".repeat(payload - 18));
            step(
                &format!("a statement of {payload} bytes"),
                ask(conn, Kind::Text, &text, Vec::new()),
            )
            .await;
        }
    }
}

async fn executed_again(conn: &mut Conn) {
    step("executed again", async {
        let values = [
            Sql::Int(-1),
            Sql::UInt(u64::MAX),
            Sql::Bytes("two 😀".into()),
            Sql::Double(3.5),
            Sql::Float(0.1),
            Sql::NULL,
            Sql::Date(2024, 2, 29, 12, 34, 56, 789),
            Sql::Time(true, 34, 22, 59, 59, 1),
        ];
        // TiDB takes the first type for all, until somebody's DDL makes it plan anew.
        let groups: Vec<Vec<Sql>> = if ENVIRONMENT.is_tidb {
            values.into_iter().map(|value| vec![value.clone(), value]).collect()
        } else {
            vec![values.into()]
        };
        let mut said = Vec::new();
        for group in groups {
            let statement = conn.prep("SELECT ?").await.map_err(error)?;
            for param in group {
                let params = Params::Positional(vec![param]);
                let row: Result<Option<Row>, _> = conn.exec_first(&statement, params).await;
                said.push(row.map_or_else(error, |row| value(&row.expect("a row")[0])));
            }
            conn.close(statement).await.map_err(error)?;
        }
        Ok(Value::Array(said))
    })
    .await;
    step("batch", async {
        let rows = (0..300).map(|n| (format!("batch {n} 😀"), n));
        let insert = "INSERT INTO item (name, n) VALUES (?, ?)";
        conn.exec_batch(insert, rows).await.map_err(error)?;
        ask(conn, Kind::Text, "SELECT COUNT(*), SUM(n), MIN(name) FROM item", Vec::new()).await
    })
    .await;
    run(conn, "DELETE FROM item").await;
    step("wrong count of parameters", async {
        // The driver gives the connection up.
        let mut other = connect(options()).await?;
        other.exec_drop("SELECT ?, ?", (1,)).await.map_err(error)?;
        Ok(Value::Null)
    })
    .await;
}

async fn transactions(conn: &mut Conn) {
    let levels = [
        None,
        Some(IsolationLevel::ReadCommitted),
        Some(IsolationLevel::RepeatableRead),
        Some(IsolationLevel::Serializable),
    ];
    for level in levels {
        for read_only in [None, Some(true), Some(false)] {
            for snapshot in [false, true] {
                step(&format!("transaction {level:?} {read_only:?} {snapshot}"), async {
                    let mut options = TxOpts::new();
                    options.with_isolation_level(level).with_readonly(read_only);
                    options.with_consistent_snapshot(snapshot);
                    transaction(conn, options).await
                })
                .await;
                // What a failed beginning left behind.
                run(conn, "ROLLBACK").await;
                run(conn, "DELETE FROM item").await;
            }
        }
    }
}

async fn transaction(conn: &mut Conn, options: TxOpts) -> Result<Value, Value> {
    let mut said = Vec::new();
    let mut tx = conn.start_transaction(options).await.map_err(error)?;
    for statement in [
        "INSERT INTO item (name) VALUES ('a')",
        "SAVEPOINT one",
        "INSERT INTO item (name) VALUES ('b')",
        "INSERT INTO item (name) VALUES ('b')",
        "ROLLBACK TO one",
        "INSERT INTO item (name) VALUES ('c')",
    ] {
        let done = tx.query_drop(statement).await;
        said.push(done.map_or_else(error, |()| json!([tx.affected_rows(), tx.get_warnings()])));
    }
    let inside: Vec<String> =
        tx.query("SELECT name FROM item ORDER BY name").await.map_err(error)?;
    tx.commit().await.map_err(error)?;
    let after: Vec<String> =
        conn.query("SELECT name FROM item ORDER BY name").await.map_err(error)?;
    Ok(json!([said, inside, after]))
}

async fn several(conn: &mut Conn) {
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
        step(&format!("multi: {name}"), ask(conn, Kind::Text, text, Vec::new())).await;
    }
}

async fn local_infile(conn: &mut Conn) {
    for name in ["rows", "empty", "missing"] {
        step(&format!("local infile {name}"), async {
            let load = format!(
                "LOAD DATA LOCAL INFILE '{name}' INTO TABLE item CHARACTER SET utf8mb4 (id, name, n)"
            );
            // The driver gives the connection up where its handler fails.
            let mut other = connect(options()).await?;
            ask(&mut other, Kind::Text, &load, Vec::new()).await
        })
        .await;
    }
    let count = "SELECT COUNT(*), SUM(n), MIN(name) FROM item";
    step("local infile, there", ask(conn, Kind::Text, count, Vec::new())).await;
    run(conn, "DELETE FROM item").await;
}

async fn pools(conn: &mut Conn) {
    let constraints = PoolConstraints::new(1, 4).expect("1 is at most 4");
    let pool = Pool::new(options().pool_opts(PoolOpts::default().with_constraints(constraints)));
    step("pool: forty at once", async {
        let pool = Arc::new(pool);
        let tasks: Vec<_> = (0..40).map(|n| tokio::spawn(add(pool.clone(), n))).collect();
        for task in tasks {
            task.await.expect("no panic").map_err(error)?;
        }
        // A connection comes back without what was set on it.
        let mut left = Vec::new();
        for _ in 0..8 {
            let mut conn = pool.get_conn().await.map_err(error)?;
            let found: Option<Option<i64>> =
                conn.query_first("SELECT @left").await.map_err(error)?;
            left.push(found);
            conn.query_drop("SET @left = 1").await.map_err(error)?;
        }
        Arc::into_inner(pool).expect("no task has it").disconnect().await.map_err(error)?;
        Ok(json!(left))
    })
    .await;
    let count = "SELECT COUNT(*), SUM(n), MIN(name) FROM item";
    step("pool: there", ask(conn, Kind::Text, count, Vec::new())).await;
    run(conn, "DELETE FROM item").await;
}

async fn add(pool: Arc<Pool>, n: i32) -> Result<(), Error> {
    let mut tx = pool.start_transaction(TxOpts::default()).await?;
    let item = (format!("pooled 😀 {n}"), n);
    tx.exec_drop("INSERT INTO item (name, n) VALUES (?, ?)", item).await?;
    tx.commit().await
}

async fn lost(conn: &mut Conn) {
    step("change user", async {
        let mut other = connect(options()).await?;
        other.query_drop("SET @a = 1").await.map_err(error)?;
        other.change_user(mysql_async::ChangeUserOpts::default()).await.map_err(error)?;
        ask(&mut other, Kind::Text, "SELECT @a, DATABASE()", Vec::new()).await
    })
    .await;
    step("reset", async {
        let mut other = connect(options()).await?;
        other.query_drop("SET @a = 1").await.map_err(error)?;
        let done = other.reset().await.map_err(error)?;
        Ok(json!([done, ask(&mut other, Kind::Text, "SELECT @a, DATABASE()", Vec::new()).await?]))
    })
    .await;
    step("ping", async { conn.ping().await.map(|()| Value::Null).map_err(error) }).await;
    step("killed", async {
        let mut victim = connect(options()).await?;
        conn.query_drop(format!("KILL {}", victim.id())).await.map_err(error)?;
        for _ in 0..2000 {
            if victim.query_drop("DO 1").await.is_err() {
                return Err(json!("lost"));
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        Ok(json!("still there"))
    })
    .await;
    step("after a kill", ask(conn, Kind::Text, "SELECT 1", Vec::new())).await;
}
