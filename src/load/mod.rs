//! Workloads for the demo and for benchmarks: transactions that collide, and the sums that tell
//! whether one of them was lost or counted twice.
//!
//! A workload runs against any MySQL-protocol address, be it a database or a proxy before one. It
//! owns the schema [`SCHEMA`], counts what the application sees (acknowledged commits, conflicts by
//! code, other errors, latencies) and at the end compares that with what the tables say. It never
//! hides an error: a conflict is rolled back, counted, and the next transaction begins, unless
//! [`Load::client_retries`] asks for the application-side retry that txguard makes unnecessary.
//!
//! - [`bank`]: transfers between few accounts by relative updates, safe to run again.
//! - [`mod@bench`]: several ways to the same database, compared.
//! - [`read_then_write`]: the application computes the new value itself, so running it again blindly
//!   loses updates; here a proxy has to refuse.
//!
//! # Example
//!
//! ```
//! use std::sync::Arc;
//!
//! use txguard::base::{clock::SystemClock, tasks::Tasks};
//! use txguard::embedded::{engine::Engine, front};
//! use txguard::load::{Load, Progress, Report, bank, read_then_write};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! let address = listener.local_addr()?;
//! let tasks = Tasks::default();
//! tasks.spawn(front::serve(listener, Arc::new(Engine::new()), tasks.token().clone()));
//!
//! let load = Load {
//!     opts: mysql_async::Opts::from_url(&format!("mysql://root@{address}"))?,
//!     clock: Arc::new(SystemClock),
//!     writers: 8,
//!     transactions_max: 2_000,
//!     ..Load::default()
//! };
//! let progress = Arc::new(Progress::default());
//! let report: Report = bank::run(&load, &bank::Bank::default(), &progress).await?;
//! assert!(report.is_correct() && report.commits > 0 && report.conflicts_total() > 0, "{report:?}");
//! assert_eq!((report.sum, report.counter), (10_000, i64::try_from(report.commits)?));
//! assert_eq!(progress.commits(), report.commits);
//!
//! // The application's own retry: slower, but every transfer arrives.
//! let patient = Load { client_retries: 1_000, transactions_max: 500, ..load.clone() };
//! let report = bank::run(&patient, &bank::Bank::default(), &progress).await?;
//! assert!(report.is_correct() && report.commits == 500, "{report:?}");
//!
//! for shape in [read_then_write::Shape::OneRow, read_then_write::Shape::Crossed { rows: 4 }] {
//!     let report = read_then_write::run(&load, shape, &progress).await?;
//!     assert!(report.is_correct() && report.conflicts.contains_key(&9007), "{report:?}");
//!     assert!(report.other_errors.is_empty(), "{report:?}");
//! }
//! txguard::load::remove_schema(&load).await?;
//! tasks.cancel();
//! tasks.wait().await;
//! # Ok(())
//! # }
//! ```

pub mod bank;
pub mod bench;
mod client;
pub mod read_then_write;
mod report;
mod run;

pub use report::{Latency, Progress, Report};
pub use run::{Error, Load, Mode, remove_schema};

/// The schema that the workloads create, use and, if asked, drop.
pub const SCHEMA: &str = "txguard_demo";
