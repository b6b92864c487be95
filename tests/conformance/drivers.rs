//! Which programs there are, and how much each must at least have said. One test for each and each
//! server.

use txguard::base::metrics::TransactionOutcome;

use crate::program::{Language, Program};
use crate::support::proxy::policy;
use crate::support::{Backend, Proxy, full, mariadb, need, tidb};
use crate::transcript::compare;

/// A test named after the program, for each server. The numbers: steps with a result and steps
/// with an error that must count, so that a program which does nothing doesn't pass.
macro_rules! programs {
    ($($module:ident: $language:ident, $name:literal, $results:literal, $errors:literal;)*) => {
        /// Names of all.
        pub(crate) const NAMES: &[&str] = &[$(stringify!($module)),*];

        $(
        mod $module {
            use super::*;

            const DRIVER: Driver = Driver {
                program: Program { language: Language::$language, name: $name },
                results: $results,
                errors: $errors,
            };

            #[tokio::test]
            async fn tidb() {
                DRIVER.check(&need!(tidb::start())).await;
            }

            #[tokio::test]
            async fn mariadb() {
                DRIVER.check(&need!(mariadb::start())).await;
            }
        }
        )*
    };
}

programs! {
    mariadb_cli: Cli, "drive_mariadb_cli", 40, 20;
    pymysql: Python, "drive_pymysql", 300, 50;
    mysqlclient: Python, "drive_mysqlclient", 300, 50;
    mysql_connector_python: Python, "drive_connector", 500, 90;
    aiomysql: Python, "drive_aiomysql", 200, 20;
    asyncmy: Python, "drive_asyncmy", 200, 20;
    sqlalchemy: Python, "drive_sqlalchemy", 230, 5;
    django: Python, "drive_django", 25, 3;
    go_sql_driver: Go, "drive_go_sql_driver", 500, 60;
    gorm: Go, "drive_gorm", 40, 8;
    connector_j: Java, "ConnectorJ", 300, 60;
    hibernate: Java, "Hibernate", 15, 3;
    mysql2: Node, "drive_mysql2", 500, 80;
    sequelize: Node, "drive_sequelize", 30, 4;
    mysql_async: Rust, "drive_mysql_async", 250, 40;
    sqlx: Rust, "drive_sqlx", 200, 40;
}

struct Driver {
    program: Program,
    results: usize,
    errors: usize,
}

impl Driver {
    async fn check(&self, backend: &Backend) {
        need!(self.program.language.environment());
        let run = async |address: &str| match self.program.run(backend, address).await {
            Ok(transcript) => transcript,
            Err(error) => panic!("{error}"),
        };
        let direct = [run(&backend.address).await, run(&backend.address).await];
        let policies: &[(&str, &str)] = if full() {
            &[("retry", policy::RETRY), ("none", policy::NONE), ("exact", policy::EXACT)]
        } else {
            &[("retry", policy::RETRY)]
        };
        let mut problems = String::new();
        for (policy, text) in policies {
            let proxy = Proxy::start(backend, text).await;
            let through = run(&proxy.address.to_string()).await;
            let found = compare([&direct[0], &direct[1]], &through);
            eprintln!(
                "{} at {}, policy {policy}: {} results, {} errors, left out: {:?}",
                self.program.name, backend.address, found.results, found.errors, found.left_out,
            );
            for difference in &found.differences {
                problems += &format!("policy {policy}: {difference}\n");
            }
            assert!(found.results >= self.results, "{} results", found.results);
            assert!(found.errors >= self.errors, "{} errors", found.errors);
            let committed = proxy.transactions(TransactionOutcome::Committed);
            assert!(committed > 0, "it did not go through txguard");
            proxy.stop().await;
        }
        self.program.clean_up(backend).await;
        assert!(problems.is_empty(), "not as it is directly:\n{problems}");
    }
}
