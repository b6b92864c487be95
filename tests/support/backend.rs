//! A real server, and a schema of one's own on it.

use std::sync::atomic::{AtomicU32, Ordering};

use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use super::client::connect_to;

/// A real server that accepts `root` without a password.
#[derive(Debug, Clone)]
pub(crate) struct Backend {
    /// HOST:PORT.
    pub(crate) address: String,
    /// It is TiDB, not MariaDB.
    pub(crate) is_tidb: bool,
    /// Somebody else's, who keeps what is left behind.
    pub(crate) outside: bool,
    /// The CA whose certificate it shows, in PEM; empty if it offers no TLS of ours.
    pub(crate) ca: String,
}

impl Backend {
    /// A direct connection.
    pub(crate) async fn connect(&self) -> Conn {
        connect_to(&self.address, None).await
    }

    /// Statements on a connection of their own, direct.
    pub(crate) async fn run(&self, statements: &[&str]) {
        let mut conn = self.connect().await;
        for statement in statements {
            if let Err(error) = conn.query_drop(*statement).await {
                panic!("{statement}: {error}");
            }
        }
    }

    /// A schema that no other test knows, with these tables; `{}` in a statement is not replaced,
    /// the new schema is in use.
    pub(crate) async fn schema(&self, statements: &[&str]) -> Schema {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("it_{}_{number}", std::process::id());
        let (create, using) = (format!("CREATE DATABASE {name}"), format!("USE {name}"));
        let mut all = vec![create.as_str(), using.as_str()];
        all.extend(statements);
        self.run(&all).await;
        Schema { name, backend: self.clone() }
    }
}

/// A schema for one test, dropped at its end.
#[derive(Debug)]
pub(crate) struct Schema {
    /// Its name.
    pub(crate) name: String,
    backend: Backend,
}

impl Schema {
    /// A direct connection that uses it.
    pub(crate) async fn connect(&self) -> Conn {
        connect_to(&self.backend.address, Some(&self.name)).await
    }
}

impl Drop for Schema {
    fn drop(&mut self) {
        // A server of our own goes as a whole, which is quicker.
        if !self.backend.outside {
            return;
        }
        let (backend, drop) = (self.backend.clone(), format!("DROP DATABASE {}", self.name));
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async {
                // Connections that the test left open can't hold it up for long.
                let _ = super::soon("DROP DATABASE", backend.run(&[&drop])).await;
            });
        });
        let _ = dropping.join();
    }
}
