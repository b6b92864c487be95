//! Orders with generated ids, written by many at once: each id that a client was told has its order
//! and its lines, and there are no others.
//!
//! Every transaction counts up one row, which all of them want, so most commits meet a conflict and
//! are replayed with the ids of their first run.

use std::collections::BTreeMap;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error};
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant};
use txguard::base::metrics::ReplayOutcome;

use crate::support::{Proxy, connect_to, full, need, rows, tidb};
use crate::{POLICY, turn};

const WRITERS: u32 = 8;

const TABLES: &[&str] = &[
    "CREATE TABLE hot (id INT PRIMARY KEY, v BIGINT NOT NULL)",
    "INSERT INTO hot VALUES (1, 0)",
    "CREATE TABLE orders (id BIGINT AUTO_INCREMENT PRIMARY KEY, who INT, n INT)",
    "CREATE TABLE line (id BIGINT AUTO_RANDOM PRIMARY KEY, orders BIGINT, who INT, n INT)",
    "CREATE TABLE part (id BIGINT AUTO_INCREMENT PRIMARY KEY, line BIGINT, place INT)",
];

/// An order as its client knows it: its id, those of its line and of its first part.
type Order = (u64, u64, u64);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ids_that_were_told_are_those_of_the_rows() {
    let _turn = turn().await;
    let tidb = need!(tidb::start());
    let schema = tidb.schema(TABLES).await;
    let proxy = Proxy::start(&tidb, POLICY).await;
    let address = proxy.address.to_string();
    let until = Instant::now() + Duration::from_secs(if full() { 60 } else { 5 });
    let mut writers = JoinSet::new();
    for who in 0..WRITERS {
        let conn = connect_to(&address, Some(&schema.name)).await;
        writers.spawn(write(conn, who, until));
    }
    let mut told = BTreeMap::new();
    for orders in writers.join_all().await {
        told.extend(orders);
    }
    let mut conn = schema.connect().await;
    // As many ids as parts, one behind the other: all are told by the first.
    let stored: Vec<(u32, u32, u64, u64, u64, u64)> = rows(
        &mut conn,
        "SELECT o.who, o.n, o.id, l.id, MIN(p.id), COUNT(*) FROM orders o \
         JOIN line l ON l.orders = o.id AND l.who = o.who AND l.n = o.n \
         JOIN part p ON p.line = l.id GROUP BY o.who, o.n, o.id, l.id \
         HAVING MIN(p.id - p.place) = MAX(p.id - p.place)",
    )
    .await;
    let stored: BTreeMap<(u32, u32), Order> = stored
        .into_iter()
        .map(|(who, n, order, line, part, parts)| {
            assert_eq!(parts, 3, "parts of {order}");
            ((who, n), (order, line, part))
        })
        .collect();
    assert_eq!(stored, told);
    let counts: Vec<(u64, u64, u64, u64)> = rows(
        &mut conn,
        "SELECT (SELECT v FROM hot), (SELECT COUNT(*) FROM orders), (SELECT COUNT(*) FROM line), \
         (SELECT COUNT(*) FROM part)",
    )
    .await;
    let orders = told.len() as u64;
    assert_eq!(counts, [(orders, orders, orders, 3 * orders)]);
    let replays = proxy.replays(ReplayOutcome::Succeeded);
    eprintln!("{orders} orders, {replays} replays");
    assert!(replays >= 20, "{replays} replays of {orders} orders");
    proxy.stop().await;
}

/// Writes orders, every other one prepared; what was told of each, by its number.
async fn write(mut conn: Conn, who: u32, until: Instant) -> Vec<((u32, u32), Order)> {
    let mut told = Vec::new();
    for n in 0.. {
        if Instant::now() >= until {
            break;
        }
        let order = match n % 2 {
            0 => text(&mut conn, who, n).await,
            _ => prepared(&mut conn, who, n).await,
        };
        told.push(((who, n), order.expect("no error reaches the client")));
    }
    told
}

async fn text(conn: &mut Conn, who: u32, n: u32) -> Result<Order, Error> {
    conn.query_drop("BEGIN OPTIMISTIC").await?;
    conn.query_drop("UPDATE hot SET v = v + 1 WHERE id = 1").await?;
    conn.query_drop(format!("INSERT INTO orders (who, n) VALUES ({who}, {n})")).await?;
    let order = conn.last_insert_id().expect("an id");
    conn.query_drop(format!(
        "INSERT INTO line (orders, who, n) VALUES (LAST_INSERT_ID(), {who}, {n})"
    ))
    .await?;
    let line = conn.last_insert_id().expect("an id");
    conn.query_drop(
        "INSERT INTO part (line, place) VALUES (LAST_INSERT_ID(), 0), (LAST_INSERT_ID(), 1), \
         (LAST_INSERT_ID(), 2)",
    )
    .await?;
    let part = conn.last_insert_id().expect("an id");
    conn.query_drop("COMMIT").await?;
    Ok((order, line, part))
}

async fn prepared(conn: &mut Conn, who: u32, n: u32) -> Result<Order, Error> {
    conn.query_drop("BEGIN OPTIMISTIC").await?;
    conn.query_drop("UPDATE hot SET v = v + 1 WHERE id = 1").await?;
    conn.exec_drop("INSERT INTO orders (who, n) VALUES (?, ?)", (who, n)).await?;
    let order = conn.last_insert_id().expect("an id");
    conn.exec_drop("INSERT INTO line (orders, who, n) VALUES (?, ?, ?)", (order, who, n)).await?;
    let line = conn.last_insert_id().expect("an id");
    conn.exec_drop(
        "INSERT INTO part (line, place) VALUES (?, 0), (?, 1), (?, 2)",
        (line, line, line),
    )
    .await?;
    let part = conn.last_insert_id().expect("an id");
    conn.query_drop("COMMIT").await?;
    Ok((order, line, part))
}
