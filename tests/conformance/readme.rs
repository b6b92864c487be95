//! The README's table of drivers names the versions that the programs are built with.

use std::fmt::Write;
use std::path::Path;

use crate::drivers::NAMES;

const README: &str = include_str!("../../README.md");

/// A row of the table.
struct Row {
    /// Module in `drivers`.
    program: &'static str,
    title: &'static str,
    version: Version,
    exercised: &'static str,
}

/// Where the version of a driver is fixed: a file in `tests/drivers`, and its name there.
enum Version {
    /// What the system has.
    Debian,
    Cargo(&'static str),
    Go(&'static str),
    Maven(&'static str),
    Npm(&'static str),
    Python(&'static str),
}

impl Version {
    fn find(&self) -> String {
        let (file, before, after) = match self {
            Self::Debian => return "Debian 12's".into(),
            Self::Cargo(name) => {
                ("rust/Cargo.lock", format!("name = \"{name}\"\nversion = \""), '"')
            }
            Self::Go(name) => ("go/go.mod", format!("\t{name} v"), '\n'),
            Self::Maven(name) => {
                let before = format!("<artifactId>{name}</artifactId>\n      <version>");
                ("java/pom.xml", before, '<')
            }
            Self::Npm(name) => ("node/package.json", format!("\"{name}\": \""), '"'),
            Self::Python(name) => ("python/requirements.txt", format!("\n{name}=="), '\n'),
        };
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/drivers").join(file);
        let text = std::fs::read_to_string(path).expect("a file of versions");
        // A name may be the end of a longer one: only that of the whole line counts.
        let text = format!("\n{text}");
        let at = text.find(&before).unwrap_or_else(|| panic!("{file} has no {before:?}"));
        let version = &text[at + before.len()..];
        version.split(after).next().expect("never empty").into()
    }
}

const fn row(
    program: &'static str,
    title: &'static str,
    version: Version,
    exercised: &'static str,
) -> Row {
    Row { program, title, version, exercised }
}

const ROWS: [Row; 16] = [
    row(
        "mariadb_cli",
        "mariadb (command line)",
        Version::Debian,
        "batch, table, vertical, XML output; scripts; `LOCAL INFILE`",
    ),
    row(
        "pymysql",
        "PyMySQL",
        Version::Python("PyMySQL"),
        "text, buffered and unbuffered; several statements; `LOCAL INFILE`",
    ),
    row(
        "mysqlclient",
        "mysqlclient",
        Version::Python("mysqlclient"),
        "text over libmariadb, stored and streamed; `COM_CHANGE_USER`, `COM_SET_OPTION`",
    ),
    row(
        "mysql_connector_python",
        "mysql-connector-python",
        Version::Python("mysql-connector-python"),
        "text, raw, prepared; pool with `COM_RESET_CONNECTION`; pure Python",
    ),
    row("aiomysql", "aiomysql", Version::Python("aiomysql"), "text, streamed; pool; asyncio"),
    row("asyncmy", "asyncmy", Version::Python("asyncmy"), "text, streamed; pool; asyncio"),
    row(
        "sqlalchemy",
        "SQLAlchemy",
        Version::Python("SQLAlchemy"),
        "core and ORM over PyMySQL and mysqlclient; reflection; savepoints; versions; pool",
    ),
    row(
        "django",
        "Django",
        Version::Python("Django"),
        "ORM over mysqlclient; schema editor; nested `atomic`; locks; time zones",
    ),
    row(
        "go_sql_driver",
        "go-sql-driver/mysql",
        Version::Go("github.com/go-sql-driver/mysql"),
        "text by interpolation, prepared, times; pool; cancelled queries; `LOCAL INFILE`",
    ),
    row(
        "gorm",
        "GORM",
        Version::Go("gorm.io/gorm"),
        "migrations, associations, nested transactions, upserts; with and without prepared",
    ),
    row(
        "connector_j",
        "MySQL Connector/J",
        Version::Maven("mysql-connector-j"),
        "text, prepared, cursors (`COM_STMT_FETCH`), streams; batches; metadata; HikariCP",
    ),
    row(
        "hibernate",
        "Hibernate",
        Version::Maven("hibernate-core"),
        "entities over Connector/J; batches; locks; versions",
    ),
    row(
        "mysql2",
        "mysql2 (Node)",
        Version::Npm("mysql2"),
        "text, prepared; many at once; streams; pool; `LOCAL INFILE`",
    ),
    row(
        "sequelize",
        "Sequelize",
        Version::Npm("sequelize"),
        "models over mysql2; nested transactions; locks; isolation levels",
    ),
    row(
        "mysql_async",
        "mysql_async (Rust)",
        Version::Cargo("mysql_async"),
        "text, prepared; batches; pool with `COM_RESET_CONNECTION`; `LOCAL INFILE`",
    ),
    row(
        "sqlx",
        "sqlx (Rust)",
        Version::Cargo("sqlx"),
        "text, prepared and cached; savepoints; pool",
    ),
];

#[test]
fn the_table_of_drivers_is_what_runs() {
    let mut table = String::from("| driver | version | exercised |\n|---|---|---|\n");
    for row in ROWS {
        let _ = writeln!(table, "| {} | {} | {} |", row.title, row.version.find(), row.exercised);
    }
    assert!(README.contains(&table), "the README should hold:\n{table}");
}

#[test]
fn every_program_has_its_row() {
    let rows: Vec<&str> = ROWS.iter().map(|row| row.program).collect();
    assert_eq!(rows, NAMES);
}
