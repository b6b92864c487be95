//! Which programs there are, and how much each must at least have said. One test for each and each
//! server.

use txguard::app::build::Parts;

use crate::program::{Dress, Language, Program};
use crate::support::certificates::Certificates;
use crate::support::proxy::{policy, with_tls};
use crate::support::{Backend, Proxy, full, mariadb, need, tidb};
use crate::transcript::{Transcript, compare};

/// A test named after the program, for each server. The numbers: steps with a result and steps
/// with an error that must count, so that a program which does nothing doesn't pass. Then what
/// the driver can put around its connection.
macro_rules! programs {
    ($($module:ident: $language:ident, $name:literal, $results:literal, $errors:literal, $speaks:expr;)*) => {
        /// Names of all.
        pub(crate) const NAMES: &[&str] = &[$(stringify!($module)),*];

        $(
        mod $module {
            use super::*;

            const DRIVER: Driver = Driver {
                program: Program { language: Language::$language, name: $name },
                results: $results,
                errors: $errors,
                speaks: $speaks,
            };

            #[tokio::test]
            async fn tidb() {
                DRIVER.check(&need!(tidb::start()), &[RETRY]).await;
            }

            #[tokio::test]
            async fn mariadb() {
                DRIVER.check(&need!(mariadb::start()), &[Run { dressed: true, ..RETRY }]).await;
            }
        }
        )*
    };
}

programs! {
    mariadb_cli: Cli, "drive_mariadb_cli", 40, 20, BOTH;
    pymysql: Python, "drive_pymysql", 300, 50, TLS;
    mysqlclient: Python, "drive_mysqlclient", 300, 50, BOTH;
    mysql_connector_python: Python, "drive_connector", 500, 90, BOTH;
    aiomysql: Python, "drive_aiomysql", 200, 20, TLS;
    asyncmy: Python, "drive_asyncmy", 200, 20, TLS;
    sqlalchemy: Python, "drive_sqlalchemy", 230, 5, TLS;
    django: Python, "drive_django", 25, 3, BOTH;
    go_sql_driver: Go, "drive_go_sql_driver", 500, 60, BOTH;
    gorm: Go, "drive_gorm", 40, 8, BOTH;
    connector_j: Java, "ConnectorJ", 300, 60, BOTH;
    hibernate: Java, "Hibernate", 15, 3, TLS;
    mysql2: Node, "drive_mysql2", 500, 80, BOTH;
    sequelize: Node, "drive_sequelize", 30, 4, BOTH;
    mysql_async: Rust, "drive_mysql_async", 250, 40, ZLIB;
    sqlx: Rust, "drive_sqlx", 200, 40, PLAIN;
}

/// What a driver can put around its connection.
#[derive(Debug, Clone, Copy)]
struct Speaks {
    tls: bool,
    compression: bool,
}

const PLAIN: Speaks = Speaks { tls: false, compression: false };
const TLS: Speaks = Speaks { tls: true, compression: false };
const ZLIB: Speaks = Speaks { tls: false, compression: true };
const BOTH: Speaks = Speaks { tls: true, compression: true };

/// One run through txguard.
#[derive(Debug, Clone, Copy)]
struct Run {
    policy: &'static str,
    /// With all that the driver can put around its connection; towards the server it is plain.
    dressed: bool,
}

const RETRY: Run = Run { policy: policy::RETRY, dressed: false };

/// What `tests/run --full` compares: each policy that changes something else.
const ALL: [Run; 4] = [
    RETRY,
    Run { dressed: true, ..RETRY },
    Run { policy: policy::NONE, ..RETRY },
    Run { policy: policy::EXACT, ..RETRY },
];

struct Driver {
    program: Program,
    results: usize,
    errors: usize,
    speaks: Speaks,
}

impl Driver {
    /// Runs it directly, twice, and so through txguard.
    async fn check(&self, backend: &Backend, core: &[Run]) {
        need!(self.program.language.environment());
        let plain = Dress::default();
        let one = self.run(backend, &backend.address, plain).await;
        let other = self.run(backend, &backend.address, plain).await;
        let mut problems = String::new();
        for run in if full() { &ALL } else { core } {
            let through = self.through(backend, *run).await;
            let found = compare([&one, &other], &through);
            eprintln!(
                "{}, tidb {}, {run:?}: {} results, {} errors, left out: {:?}",
                self.program.name, backend.is_tidb, found.results, found.errors, found.left_out,
            );
            assert!(found.results >= self.results, "{} results", found.results);
            assert!(found.errors >= self.errors, "{} errors", found.errors);
            for difference in &found.differences {
                problems += &format!("{run:?}: {difference}\n");
            }
        }
        self.program.clean_up(backend).await;
        assert!(problems.is_empty(), "not as it is directly:\n{problems}");
    }

    async fn through(&self, backend: &Backend, run: Run) -> Transcript {
        let certificates = Certificates::new();
        let text = with_tls(&backend.address, run.policy, &certificates);
        let proxy = Proxy::start_text(&text, Parts::default()).await;
        let ca = certificates.path("ca.pem");
        let dress = Dress {
            ca: (run.dressed && self.speaks.tls).then_some(ca.as_path()),
            compression: run.dressed && self.speaks.compression,
        };
        let transcript = self.run(backend, &proxy.address.to_string(), dress).await;
        // Without a policy no transaction is counted.
        let nobody = "txguard_connections_total{side=\"client\"} 0\n";
        assert!(!proxy.metrics().render().contains(nobody), "it did not go through txguard");
        proxy.stop().await;
        transcript
    }

    async fn run(&self, backend: &Backend, address: &str, dress: Dress<'_>) -> Transcript {
        let transcript = self.program.run(backend, address, dress).await;
        transcript.unwrap_or_else(|error| panic!("{error}"))
    }
}
