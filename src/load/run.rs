//! The writers: how many, how long, and what is counted.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts, OptsBuilder};
use tokio::task::JoinSet;

use super::SCHEMA;
use super::client::{Client, Failure};
use super::report::{Progress, Report, Tally};
use crate::base::clock::{SharedClock, SystemClock};

/// How long after the deadline an answer is still waited for: longer than any lock wait or replay.
const GRACE: Duration = Duration::from_secs(90);

/// Rows per INSERT when tables are filled; the widest then stay below the 64 KiB that the embedded
/// backend takes.
const FILL_ROWS: usize = 100;

/// How transactions begin.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// `BEGIN`: whatever the session's default is. The only one that MariaDB knows.
    Default,
    /// `BEGIN OPTIMISTIC`.
    #[default]
    Optimistic,
    /// `BEGIN PESSIMISTIC`. The embedded backend refuses it.
    Pessimistic,
}

impl Mode {
    pub(super) fn begin(self) -> &'static str {
        match self {
            Self::Default => "BEGIN",
            Self::Optimistic => "BEGIN OPTIMISTIC",
            Self::Pessimistic => "BEGIN PESSIMISTIC",
        }
    }
}

/// How a workload is run. Writers stop at the deadline or when all transactions have been begun,
/// whichever comes first.
#[derive(Clone)]
pub struct Load {
    /// Where to; the schema in it is ignored.
    pub opts: Opts,
    /// The clock that deadline and latencies are taken from.
    pub clock: SharedClock,
    /// Connections that write at the same time.
    pub writers: usize,
    /// How transactions begin.
    pub mode: Mode,
    /// How long transactions are begun.
    pub deadline: Duration,
    /// How many transactions all writers together begin at most; a client's retry is not a new one.
    pub transactions_max: u64,
    /// How often the application itself repeats a transaction after a conflict; 0 as most do.
    pub client_retries: u32,
    /// Rows and amounts are drawn from it, so a run can be repeated.
    pub seed: u64,
}

impl Default for Load {
    /// 8 optimistic writers against `127.0.0.1:4000` for 10 seconds.
    fn default() -> Self {
        let opts = OptsBuilder::default()
            .ip_or_hostname("127.0.0.1")
            .tcp_port(4000)
            .user(Some("root"))
            .into();
        Self {
            opts,
            clock: Arc::new(SystemClock),
            writers: 8,
            mode: Mode::default(),
            deadline: Duration::from_secs(10),
            transactions_max: 1_000_000_000,
            client_retries: 0,
            seed: 1,
        }
    }
}

/// Why a run could not be made. What goes wrong in its transactions is in the report.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The tables could not be read at the end.
    #[error("cannot check the tables of the workload: {0}")]
    Check(#[source] mysql_async::Error),
    /// The schema could not be dropped.
    #[error("cannot drop the schema {SCHEMA}: {0}")]
    Remove(#[source] mysql_async::Error),
    /// The tables could not be made.
    #[error("cannot prepare the schema {SCHEMA}: {0}")]
    Setup(#[source] mysql_async::Error),
}

/// Drops the schema of the workloads.
///
/// Not cancel safe: the schema may be dropped or not.
///
/// # Errors
/// [`Error::Remove`] if there is no connection or the user may not drop it.
pub async fn remove_schema(load: &Load) -> Result<(), Error> {
    let sql = [format!("DROP DATABASE IF EXISTS {SCHEMA}")];
    run_all(&load.opts, &sql).await.map_err(Error::Remove)
}

/// One kind of transaction.
pub(super) trait Workload: Send + Sync + 'static {
    /// What a transaction needs to know; a retry gets the same.
    type Draw: Send + Sync;

    /// Draws the next transaction of a writer.
    fn draw(&self, writer: usize, random: &mut Random) -> Self::Draw;

    /// Runs it up to and with COMMIT.
    fn transact(
        &self,
        client: &mut Client,
        draw: &Self::Draw,
    ) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// A table of a workload.
pub(super) struct Table {
    pub(super) name: &'static str,
    /// Its definition.
    pub(super) columns: &'static str,
    /// What VALUES says.
    pub(super) rows: Vec<String>,
}

impl Table {
    /// The statements that make it anew in a schema.
    pub(super) fn sql(&self, schema: &str) -> impl Iterator<Item = String> {
        let Self { name, columns, rows } = self;
        let make = [
            format!("DROP TABLE IF EXISTS {schema}.{name}"),
            format!("CREATE TABLE {schema}.{name} ({columns})"),
        ];
        let fill = rows
            .chunks(FILL_ROWS)
            .map(move |rows| format!("INSERT INTO {schema}.{name} VALUES {}", rows.join(", ")));
        make.into_iter().chain(fill)
    }
}

/// Makes a table of the schema anew.
pub(super) async fn fill(load: &Load, table: &Table) -> Result<(), Error> {
    let mut sql = vec![format!("CREATE DATABASE IF NOT EXISTS {SCHEMA}")];
    sql.extend(table.sql(SCHEMA));
    run_all(&load.opts, &sql).await.map_err(Error::Setup)
}

/// The sum of a column, 0 if there are no rows.
pub(super) async fn sum(load: &Load, table: &str, column: &str) -> Result<i64, Error> {
    let read = async {
        let mut conn = Conn::new(load.opts.clone()).await?;
        let sql = format!("SELECT SUM({column}) FROM {SCHEMA}.{table}");
        let sum: Option<Option<i64>> = conn.query_first(sql).await?;
        conn.disconnect().await?;
        Ok(sum.flatten().unwrap_or(0))
    };
    read.await.map_err(Error::Check)
}

async fn run_all(opts: &Opts, sql: &[String]) -> Result<(), mysql_async::Error> {
    let opts = OptsBuilder::from_opts(opts.clone()).db_name(None::<String>);
    let mut conn = Conn::new(opts).await?;
    for sql in sql {
        conn.query_drop(sql).await?;
    }
    conn.disconnect().await
}

/// Runs the writers. Dropping the future ends them; a COMMIT on its way may still be applied.
pub(super) async fn run<W: Workload>(load: &Load, workload: W, progress: &Arc<Progress>) -> Report {
    let workload = Arc::new(workload);
    let left = Arc::new(AtomicU64::new(load.transactions_max));
    let begun = load.clock.now();
    let mut writers = JoinSet::new();
    for number in 0..load.writers {
        let opts = OptsBuilder::from_opts(load.opts.clone())
            .db_name(Some(SCHEMA))
            // The driver would go on through a local server's Unix socket, past the proxy.
            .prefer_socket(false)
            .into();
        let give_up = begun + load.deadline + GRACE;
        let writer = Writer {
            client: Client::new(opts, Arc::clone(&load.clock), load.mode.begin(), give_up),
            load: load.clone(),
            number,
            random: Random(load.seed.wrapping_add(number as u64)),
            progress: Arc::clone(progress),
            tally: Tally::default(),
        };
        writers.spawn(writer.run(Arc::clone(&workload), Arc::clone(&left)));
    }
    let mut total = Tally::default();
    while let Some(tally) = writers.join_next().await {
        match tally {
            Ok(tally) => total.merge(tally),
            Err(error) => total.add_other_error(0, format!("a writer failed: {error}")),
        }
    }
    total.finish(load.clock.now() - begun)
}

struct Writer {
    client: Client,
    load: Load,
    number: usize,
    random: Random,
    progress: Arc<Progress>,
    tally: Tally,
}

impl Writer {
    async fn run<W: Workload>(mut self, workload: Arc<W>, left: Arc<AtomicU64>) -> Tally {
        let end = self.load.clock.now() + self.load.deadline;
        while self.load.clock.now() < end && take_one(&left) {
            let draw = workload.draw(self.number, &mut self.random);
            let begun = self.load.clock.now();
            let mut retries_left = self.load.client_retries;
            while let Err(failure) = self.attempt(&*workload, &draw, begun).await {
                let again = matches!(failure, Failure::Conflict(_)) && retries_left > 0;
                self.count(failure).await;
                if !again || self.load.clock.now() >= end {
                    break;
                }
                retries_left -= 1;
                self.tally.report.client_retries += 1;
            }
        }
        self.client.close().await;
        self.tally
    }

    async fn attempt<W: Workload>(
        &mut self,
        workload: &W,
        draw: &W::Draw,
        begun: tokio::time::Instant,
    ) -> Result<(), Failure> {
        workload.transact(&mut self.client, draw).await?;
        let took = self.load.clock.now() - begun;
        self.tally.add_commit(self.client.commit_took, took);
        self.progress.add_commit();
        Ok(())
    }

    /// Counts a failure and cleans up after it.
    async fn count(&mut self, failure: Failure) {
        match failure {
            Failure::Conflict(code) => {
                *self.tally.report.conflicts.entry(code).or_default() += 1;
                self.progress.add_conflict();
            }
            Failure::Other { code, unknown, text } => {
                self.tally.report.unknown += u64::from(unknown);
                self.tally.add_other_error(code, text);
                self.progress.add_other_error();
            }
        }
        self.client.roll_back().await;
    }
}

fn take_one(left: &AtomicU64) -> bool {
    left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
}

/// Splitmix64: short, and good enough to draw rows and amounts.
#[derive(Debug)]
pub(super) struct Random(pub(super) u64);

impl Random {
    /// A number below `bound`, which must not be 0.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        usize::try_from(mixed % bound as u64).expect("below a usize")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_draws_the_same_again_and_everything_in_time() {
        let draw = |seed| {
            let mut random = Random(seed);
            std::array::from_fn::<usize, 200, _>(|_| random.below(10))
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        assert!((0..10).all(|number| draw(7).contains(&number)));
    }

    #[test]
    fn no_more_than_the_allowed_transactions_begin() {
        let left = AtomicU64::new(2);
        assert_eq!([take_one(&left), take_one(&left), take_one(&left)], [true, true, false]);
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_an_error_of_the_setup() {
        let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = gone.local_addr().expect("bound").port();
        drop(gone);
        let opts = OptsBuilder::default().ip_or_hostname("127.0.0.1").tcp_port(port);
        let load = Load { opts: opts.into(), ..Load::default() };
        let table = Table { name: "t", columns: "id INT", rows: Vec::new() };
        let error = fill(&load, &table).await.expect_err("nobody listens");
        assert!(matches!(error, Error::Setup(_)), "{error}");
    }

    #[tokio::test]
    async fn lost_connections_are_counted_and_end_with_the_deadline() {
        let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = gone.local_addr().expect("bound").port();
        drop(gone);
        let opts = OptsBuilder::default().ip_or_hostname("127.0.0.1").tcp_port(port);
        let deadline = Duration::from_millis(150);
        let load = Load { opts: opts.into(), writers: 2, deadline, ..Load::default() };
        let progress = Arc::new(Progress::default());
        let report = run(&load, Nothing, &progress).await;
        assert!(report.other_errors[&0] >= 2 && report.commits == 0 && report.unknown == 0);
        assert_eq!(progress.other_errors(), report.other_errors[&0]);
    }

    struct Nothing;

    impl Workload for Nothing {
        type Draw = ();

        fn draw(&self, _: usize, _: &mut Random) {}

        async fn transact(&self, client: &mut Client, (): &()) -> Result<(), Failure> {
            client.begin().await?;
            client.commit().await
        }
    }
}
