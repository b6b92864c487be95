//! KILL by the id that the client knows, with one backend and with two.

use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use txguard::app::build::Parts;
use txguard::base::config::Config;
use txguard::store::service::{Service, ServiceError};

use crate::support::gate::{Gate, Open};
use crate::support::proxy::policy;
use crate::support::raw::{Raw, Shape, com, command};
use crate::support::{Backend, PATIENCE, Proxy, client, mariadb, need, soon, tidb};

const SLEEP: &str = "SELECT SLEEP(600)";

/// txguard before two servers.
struct Two {
    proxy: Proxy,
    /// The server of the victim, and the one of who asks.
    far: Backend,
    near: Backend,
    /// Of the victim, still the only one that can be reached.
    _far_gate: Open,
    near_gate: Option<Gate>,
    near_open: Option<Open>,
    _folder: tempfile::TempDir,
}

impl Two {
    /// `account` is the service account, with the password `secret`, or empty.
    async fn start(near: &Backend, far: &Backend, account: &str) -> Self {
        let (near_gate, far_gate) = (Gate::before(&near.address), Gate::before(&far.address));
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("password");
        std::fs::write(&file, "secret\n").expect("a file");
        let service = match account {
            "" => String::new(),
            user => format!(
                "service_user = \"{user}\"\nservice_password_file = \"{}\"\n",
                file.display()
            ),
        };
        let text = format!(
            "[listen]\nmysql = \"127.0.0.1:0\"\nhttp = \"\"\n\
             [backend]\naddresses = [\"{}\", \"{}\"]\n{service}{}",
            near_gate.address,
            far_gate.address,
            policy::RETRY
        );
        let proxy = Proxy::start_text(&text, Parts::default()).await;
        let (near, far) = (near.clone(), far.clone());
        let (_far_gate, near_gate, near_open) = (far_gate.open(), Some(near_gate), None);
        Self { proxy, far, near, _far_gate, near_gate, near_open, _folder: folder }
    }

    /// A client on the far server, which alone answers so far, and its id.
    async fn victim(&self, user: &str) -> (Conn, u32) {
        let mut conn = connect(&self.proxy, user).await;
        let id = client::one(&mut conn, "SELECT CONNECTION_ID()").await;
        (conn, id)
    }

    /// From now on the near server answers too; the address through which clients reach it.
    async fn open(&mut self) {
        if let Some(gate) = self.near_gate.take() {
            self.near_open = Some(gate.open());
        }
        let end = tokio::time::Instant::now() + PATIENCE;
        while !self.is_near(&mut connect(&self.proxy, "root").await).await {
            assert!(tokio::time::Instant::now() < end, "nobody gets to the near server");
        }
    }

    async fn is_near(&self, conn: &mut Conn) -> bool {
        let version: String = client::one(conn, "SELECT VERSION()").await;
        version.contains("TiDB") == self.near.is_tidb
    }

    /// A client on the near server.
    async fn near(&mut self) -> Conn {
        self.open().await;
        loop {
            let mut conn = connect(&self.proxy, "root").await;
            if self.is_near(&mut conn).await {
                return conn;
            }
        }
    }

    /// The same, of single packets.
    async fn near_raw(&mut self) -> Raw {
        self.open().await;
        loop {
            let address = self.proxy.address.to_string();
            let raw = Raw::login(&address, None, crate::corpus::WITHOUT_EOF).await;
            if raw.greeting.text().contains("TiDB") == self.near.is_tidb {
                return raw;
            }
        }
    }
}

async fn connect(proxy: &Proxy, user: &str) -> Conn {
    let options = client::options(&proxy.address.to_string(), None).user(Some(user));
    soon("connecting", Conn::new(options)).await.expect("a connection")
}

/// Makes an account with a password that sees all connections, and may kill them or not.
async fn account(backend: &Backend, name: &str, may_kill: bool) {
    let create = format!("CREATE USER IF NOT EXISTS '{name}'@'%' IDENTIFIED BY 'secret'");
    let privilege = if backend.is_tidb { "CONNECTION_ADMIN" } else { "CONNECTION ADMIN" };
    let grant = format!("GRANT {privilege} ON *.* TO '{name}'@'%'");
    let see = format!("GRANT PROCESS ON *.* TO '{name}'@'%'");
    backend.run(&[&create, &see]).await;
    if may_kill {
        backend.run(&[&grant]).await;
    }
}

/// The server has begun to run `SLEEP` on this connection.
async fn sleeps(backend: &Backend, id: u32) {
    let mut direct = backend.connect().await;
    let ask = format!(
        "SELECT COUNT(*) FROM information_schema.processlist \
         WHERE id = {id} AND info LIKE '%SELECT SLEEP%'"
    );
    let end = tokio::time::Instant::now() + PATIENCE;
    while client::one::<u64>(&mut direct, &ask).await == 0 {
        assert!(tokio::time::Instant::now() < end, "{id} doesn't sleep");
    }
}

/// A statement that was killed ends with 1 in place of 0, or with an error.
fn was_interrupted(answer: Result<Option<u64>, mysql_async::Error>) {
    match answer {
        Ok(Some(1)) => {}
        Err(error) => assert_eq!(client::code(&error), Some(1317), "{error}"),
        other => panic!("{other:?}"),
    }
}

/// What kills a sleeping connection.
#[derive(Clone, Copy)]
enum By {
    Text(&'static str),
    Prepared(&'static str),
}

/// The victim sleeps, `by` is said on the other connection, and the victim's answer is returned.
async fn kill(
    backend: &Backend,
    (mut victim, id): (Conn, u32),
    asks: &mut Conn,
    by: By,
) -> (Conn, Result<Option<u64>, mysql_async::Error>) {
    let sleeping = victim.query_first::<u64, _>(SLEEP);
    let killing = async {
        sleeps(backend, id).await;
        let said = match by {
            By::Text(text) => asks.query_drop(text.replace("{}", &id.to_string())).await,
            By::Prepared(text) => asks.exec_drop(text.replace("{}", &id.to_string()), ()).await,
        };
        said.expect("KILL");
    };
    let (answer, ()) = tokio::join!(soon("the end of the sleep", sleeping), killing);
    (victim, answer)
}

#[tokio::test]
async fn with_one_backend_it_is_the_servers_business() {
    for backend in [need!(tidb::start()), need!(mariadb::start())] {
        let proxy = Proxy::start(&backend, policy::RETRY).await;
        let mut asks = connect(&proxy, "root").await;
        for by in [By::Text("KILL QUERY {}"), By::Prepared("KILL QUERY {}")] {
            let mut conn = connect(&proxy, "root").await;
            let id = client::one(&mut conn, "SELECT CONNECTION_ID()").await;
            assert_eq!(id, conn.id());
            let (mut conn, answer) = kill(&backend, (conn, id), &mut asks, by).await;
            was_interrupted(answer);
            client::run(&mut conn, &["SELECT 1"]).await;
            let (conn, answer) = kill(&backend, (conn, id), &mut asks, By::Text("KILL {}")).await;
            assert!(answer.is_err() || conn_is_gone(conn).await, "KILL {id}");
        }
        proxy.stop().await;
    }
}

async fn conn_is_gone(mut conn: Conn) -> bool {
    soon("an answer", conn.query_drop("SELECT 1")).await.is_err()
}

/// All ways to kill, where the victim is on the far server.
async fn elsewhere(near: &Backend, far: &Backend) {
    account(near, "txguard_kills", true).await;
    account(far, "txguard_kills", true).await;
    for by in [
        By::Text("KILL QUERY {}"),
        By::Prepared("KILL QUERY {}"),
        By::Text("KILL {}"),
        By::Prepared("KILL CONNECTION {}"),
    ] {
        let mut two = Two::start(near, far, "txguard_kills").await;
        let victim = two.victim("root").await;
        let mut asks = two.near().await;
        // In a transaction: it goes on.
        client::run(&mut asks, &["BEGIN", "SELECT 1"]).await;
        let (mut conn, answer) = kill(&two.far, victim, &mut asks, by).await;
        match by {
            By::Text("KILL QUERY {}") | By::Prepared("KILL QUERY {}") => {
                was_interrupted(answer);
                client::run(&mut conn, &["SELECT 1"]).await;
            }
            _ => assert!(answer.is_err() || conn_is_gone(conn).await, "it goes on"),
        }
        client::run(&mut asks, &["SELECT 1", "COMMIT", "SELECT 1"]).await;
        drop(asks);
        two.proxy.stop().await;
    }
}

#[tokio::test]
async fn from_tidb_to_mariadb() {
    elsewhere(&need!(tidb::start()), &need!(mariadb::start())).await;
}

#[tokio::test]
async fn from_mariadb_to_tidb() {
    elsewhere(&need!(mariadb::start()), &need!(tidb::start())).await;
}

#[tokio::test]
async fn the_answer_is_the_servers_own_kind() {
    let (near, far) = (need!(tidb::start()), need!(mariadb::start()));
    account(&far, "txguard_kills", true).await;
    let mut two = Two::start(&near, &far, "txguard_kills").await;
    let (conn, id) = two.victim("root").await;
    let mut raw = two.near_raw().await;
    for (before, ok) in [("DO 0", 2), ("BEGIN", 3), ("SET autocommit = 0", 1), ("ROLLBACK", 0)] {
        raw.query(before).await;
        let answer = raw.query(&format!("KILL QUERY {id}")).await;
        assert_eq!(answer.packets.len(), 1, "{answer:?}");
        assert_eq!(answer.packets[0].payload, [0, 0, 0, ok, 0, 0, 0], "{before}");
        assert_eq!(answer.packets[0].seqs, [1]);
    }
    // TiDB itself would refuse this command.
    let answer = raw.ask(&command(com::PROCESS_KILL, &id.to_le_bytes()), Shape::Single).await;
    assert_eq!(answer.error(), None, "{answer:?}");
    assert!(conn_is_gone(conn).await);
    // The id is unknown as soon as its session is gone, and the own server's answer counts.
    let end = tokio::time::Instant::now() + PATIENCE;
    loop {
        let answer = raw.ask(&command(com::PROCESS_KILL, &id.to_le_bytes()), Shape::Single).await;
        if answer.error() == Some(1105) {
            break;
        }
        assert!(tokio::time::Instant::now() < end, "still known: {answer:?}");
    }
    drop(raw);
    two.proxy.stop().await;
}

/// The code of the error that KILL of a victim on MariaDB gets from a client on TiDB.
async fn refused(account: &str, victim: &str) -> Option<u16> {
    let (near, far) = (tidb::start().expect("there"), mariadb::start().expect("there"));
    let mut two = Two::start(&near, &far, account).await;
    let (mut conn, id) = two.victim(victim).await;
    let mut asks = two.near().await;
    let mut codes = Vec::new();
    for text in ["KILL {}", "KILL QUERY {}"] {
        let said = asks.query_drop(text.replace("{}", &id.to_string())).await;
        codes.push(client::code(&said.expect_err("it is refused")));
        client::run(&mut asks, &["SELECT 1"]).await;
    }
    client::run(&mut conn, &["SELECT 1"]).await;
    assert_eq!(codes[0], codes[1]);
    drop((conn, asks));
    two.proxy.stop().await;
    codes[0]
}

#[tokio::test]
async fn who_may_not_is_told_so() {
    let (near, far) = (need!(tidb::start()), need!(mariadb::start()));
    for backend in [&near, &far] {
        account(backend, "txguard_kills", true).await;
        account(backend, "txguard_may_not", false).await;
    }
    far.run(&["CREATE USER IF NOT EXISTS 'txguard_other'@'%'"]).await;
    assert_eq!(refused("", "root").await, Some(17010), "no account");
    assert_eq!(refused("txguard_kills", "txguard_other").await, Some(1095), "another's");
    assert_eq!(refused("txguard_may_not", "root").await, Some(1095), "the server's own answer");
    assert_eq!(refused("txguard_is_nobody", "root").await, Some(17012), "no login");
}

/// Ids of servers that stand alone are small: the same one is soon on both.
#[tokio::test]
async fn the_own_backend_is_asked_for_a_connection_of_that_id() {
    for backend in [need!(tidb::start()), need!(mariadb::start())] {
        account(&backend, "txguard_kills", true).await;
        let blind = "CREATE USER IF NOT EXISTS txguard_blind IDENTIFIED BY 'secret'";
        backend.run(&[blind]).await;
        let mut other = backend.connect().await;
        // TiDB lists a connection from its first statement on.
        client::run(&mut other, &["SELECT 1"]).await;
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("password");
        std::fs::write(&file, "secret").expect("written");
        let service = |user: &str| {
            let file = file.display();
            let text =
                format!("[backend]\nservice_user = '{user}'\nservice_password_file = '{file}'\n");
            Service::new(&Config::parse(&text, "service").expect("right").backend)
        };
        let (sees, blind) = (service("txguard_kills"), service("txguard_blind"));
        let sees = sees.expect("an account");
        let found = sees.has(&backend.address, other.id()).await.expect("an answer");
        assert!(found, "{} at {backend:?}", other.id());
        assert!(!sees.has(&backend.address, u32::MAX).await.expect("an answer"));
        let unknown = blind.expect("an account").has(&backend.address, other.id()).await;
        assert!(matches!(unknown, Err(ServiceError::Blind)), "{unknown:?}");
    }
}
