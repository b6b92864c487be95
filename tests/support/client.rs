//! Connections by a driver, and short words for what tests ask.

use mysql_async::prelude::{FromRow, FromValue, Queryable};
use mysql_async::{Conn, OptsBuilder};

use super::proxy::Proxy;
use super::{Schema, soon};

/// A connection through txguard that uses a schema.
pub(crate) async fn connect(proxy: &Proxy, schema: &Schema) -> Conn {
    connect_to(&proxy.address.to_string(), Some(&schema.name)).await
}

/// A connection to HOST:PORT as root.
pub(crate) async fn connect_to(address: &str, schema: Option<&str>) -> Conn {
    soon("connecting", Conn::new(options(address, schema))).await.expect("a connection")
}

/// Options for HOST:PORT as root; the driver asks the server nothing of its own.
pub(crate) fn options(address: &str, schema: Option<&str>) -> OptsBuilder {
    let (host, port) = address.rsplit_once(':').expect("HOST:PORT");
    OptsBuilder::default()
        .ip_or_hostname(host)
        .tcp_port(port.parse().expect("a port"))
        .user(Some("root"))
        .db_name(schema)
        .prefer_socket(false)
        .max_allowed_packet(Some(64 << 20))
        .wait_timeout(Some(600))
}

/// The first column of the first row.
pub(crate) async fn one<T: FromValue + Send + 'static>(conn: &mut Conn, statement: &str) -> T {
    match soon(statement, conn.query_first::<(T,), _>(statement)).await {
        Ok(Some((value,))) => value,
        Ok(None) => panic!("no row: {statement}"),
        Err(error) => panic!("{statement}: {error}"),
    }
}

/// All rows.
pub(crate) async fn rows<T: FromRow + Send + 'static>(conn: &mut Conn, statement: &str) -> Vec<T> {
    match soon(statement, conn.query(statement)).await {
        Ok(rows) => rows,
        Err(error) => panic!("{statement}: {error}"),
    }
}

/// Statements that must succeed.
pub(crate) async fn run(conn: &mut Conn, statements: &[&str]) {
    for statement in statements {
        if let Err(error) = soon(statement, conn.query_drop(*statement)).await {
            panic!("{statement}: {error}");
        }
    }
}

/// The code of the server's error that a statement gets.
pub(crate) fn code(error: &mysql_async::Error) -> Option<u16> {
    match error {
        mysql_async::Error::Server(error) => Some(error.code),
        _ => None,
    }
}
