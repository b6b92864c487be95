//! 64 writers on one row: through txguard they commit at least as much as the same clients do that
//! retry by themselves, and no error reaches them.
//!
//! Direct and through txguard take turns within one run, so that whatever else the machine does
//! meets both. The direct clients retry in a tight loop: at once but for a random pause, full
//! jitter as txguard's own.

use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use txguard::base::metrics::ReplayOutcome;

use crate::support::client::code;
use crate::support::{Backend, Proxy, connect_to, full, need, one, tidb};
use crate::turn;

const WRITERS: u64 = 64;

/// The longest pause of a direct client before it tries again, as long as txguard's own first one.
const JITTER_US: u64 = 2_000;

/// The recommended policy as it is.
const DEFAULT: &str = "[[policy]]\nname = \"default\"\nretry = {}\ntag = true\ntso = \"hint\"\n";

/// What a side has seen over all its rounds.
#[derive(Debug, Default)]
struct Seen {
    commits: u64,
    errors: u64,
    time: Duration,
}

impl Seen {
    fn per_second(&self) -> f64 {
        self.commits as f64 / self.time.as_secs_f64()
    }
}

/// One side: connections that stay over all rounds.
struct Side {
    begin: &'static str,
    conns: Vec<Conn>,
    seen: Seen,
}

impl Side {
    async fn connect(address: &str, schema: &str, begin: &'static str) -> Self {
        let mut conns = Vec::new();
        for _ in 0..WRITERS {
            conns.push(connect_to(address, Some(schema)).await);
        }
        Self { begin, conns, seen: Seen::default() }
    }

    /// All writers at once, for so long.
    async fn round(&mut self, time: Duration) {
        let begun = Instant::now();
        let mut writers = JoinSet::new();
        for (number, conn) in self.conns.drain(..).enumerate() {
            writers.spawn(write(conn, self.begin, begun + time, number as u64));
        }
        while let Some(writer) = writers.join_next().await {
            let (conn, commits, errors) = writer.expect("no panic");
            self.conns.push(conn);
            self.seen.commits += commits;
            self.seen.errors += errors;
        }
        // The last answers came behind the end; they count, and so does the time they took.
        self.seen.time += begun.elapsed();
    }
}

async fn write(mut conn: Conn, begin: &str, end: Instant, seed: u64) -> (Conn, u64, u64) {
    let (mut commits, mut errors, mut random) = (0, 0, seed);
    while Instant::now() < end {
        match increment(&mut conn, begin).await {
            Ok(()) => commits += 1,
            Err(error) => {
                assert_eq!(code(&error), Some(9007), "{error}");
                errors += 1;
                random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                sleep(Duration::from_micros((random >> 33) % JITTER_US)).await;
            }
        }
    }
    (conn, commits, errors)
}

async fn increment(conn: &mut Conn, begin: &str) -> Result<(), Error> {
    conn.query_drop(begin).await?;
    conn.query_drop("UPDATE hot SET v = v + 1 WHERE id = 1").await?;
    conn.query_drop("COMMIT").await
}

/// So many rounds on each side; the row must hold what was acknowledged.
async fn compare(begin: &'static str, rounds: u32, tidb: &Backend) -> (Seen, Seen) {
    let table = "CREATE TABLE hot (id INT PRIMARY KEY, v BIGINT NOT NULL)";
    let schema = tidb.schema(&[table, "INSERT INTO hot VALUES (1, 0)"]).await;
    let proxy = Proxy::start(tidb, DEFAULT).await;
    let address = proxy.address.to_string();
    let mut direct = Side::connect(&tidb.address, &schema.name, begin).await;
    let mut through = Side::connect(&address, &schema.name, begin).await;
    let time = Duration::from_secs(if full() { 5 } else { 2 });
    for _ in 0..rounds {
        direct.round(time).await;
        through.round(time).await;
    }
    let mut conn = schema.connect().await;
    let counter: u64 = one(&mut conn, "SELECT v FROM hot WHERE id = 1").await;
    assert_eq!(counter, direct.seen.commits + through.seen.commits, "acknowledged and applied");
    let (direct, through) = (direct.seen, through.seen);
    let rates = (direct.per_second(), through.per_second());
    eprintln!("{begin}: {:.0}/s direct, {:.0}/s through: {direct:?} {through:?}", rates.0, rates.1);
    let replays = ReplayOutcome::ALL.map(|outcome| (outcome.as_str(), proxy.replays(outcome)));
    eprintln!("{} replays have waited; {replays:?}", proxy.metrics().replays_waited());
    proxy.stop().await;
    (direct, through)
}

/// Each of them has got through by itself.
fn no_error(through: &Seen) {
    assert_eq!(through.errors, 0, "{through:?}");
    assert!(through.commits > WRITERS, "{through:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn optimistic_writers_commit_as_much_as_by_retrying_themselves() {
    let tidb = need!(tidb::start());
    let _turn = turn().await;
    let rounds = if full() { 10 } else { 3 };
    let (direct, through) = compare("BEGIN OPTIMISTIC", rounds, &tidb).await;
    assert!(direct.errors > direct.commits, "without txguard there is a storm: {direct:?}");
    no_error(&through);
    assert!(through.per_second() >= direct.per_second(), "{through:?} {direct:?}");
}

/// They wait for the lock in TiDB and never lose: there is nothing to retry, and nothing to gain.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pessimistic_writers_have_nothing_to_retry() {
    let tidb = need!(tidb::start());
    let _turn = turn().await;
    let rounds = if full() { 10 } else { 1 };
    let (direct, through) = compare("BEGIN PESSIMISTIC", rounds, &tidb).await;
    assert_eq!(direct.errors, 0, "{direct:?}");
    no_error(&through);
}
