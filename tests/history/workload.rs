//! Writers that read, write and commit, and the record of it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use adya::Report;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error};
use tokio::task::JoinSet;
use tokio::time::Instant;
use txguard::base::error::CommitError;

use crate::judge::judge;
use crate::record::{Ended, Record, Step};
use crate::support::client::options;
use crate::support::dice::Dice;
use crate::support::{Backend, Schema, one, rows, soon};

/// Rows that transactions meet on at the same time. Of a list that grows for ever every read
/// would be longer than the one before, so they move on to new rows every so many transactions.
const KEYS: u64 = 4;
const MOVE_ON: u64 = 100;
const TRANSACTIONS_MAX: u64 = 20_000;

/// What the rows are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Each write appends; the server computes the list.
    Lists,
    /// Each write replaces what the same transaction has read.
    Registers,
}

/// How it is run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Workload {
    pub(crate) kind: Kind,
    pub(crate) seed: u64,
    pub(crate) writers: u64,
    /// How long transactions are begun, and on until there are so many.
    pub(crate) time: Duration,
    pub(crate) transactions_min: u64,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Ran {
    history: String,
    pub(crate) ok: u64,
    pub(crate) fail: u64,
    pub(crate) info: u64,
    /// Of those that count on the hot row: certainly committed, and perhaps.
    counting: (u64, u64),
    /// What the hot row says.
    count: u64,
}

impl fmt::Display for Ran {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ok, {} failed, {} unknown", self.ok, self.fail, self.info)
    }
}

impl Ran {
    pub(crate) fn judge(&self, kind: Kind) -> Report {
        judge(kind, &self.history)
    }

    /// Each acknowledged transaction has counted once on the hot row.
    #[track_caller]
    pub(crate) fn counted_once(&self) {
        let (least, perhaps) = self.counting;
        assert!(
            (least..=least + perhaps).contains(&self.count),
            "{} counted, {least} acknowledged, {perhaps} unknown",
            self.count
        );
    }
}

/// What all writers share.
struct Shared {
    workload: Workload,
    record: Record,
    /// Where the writers connect.
    address: String,
    schema: Schema,
    until: Instant,
    next: AtomicU64,
}

impl Workload {
    /// Makes the tables, writes through `address`, and looks at the end at what is there.
    pub(crate) async fn run(self, tidb: &Backend, address: &str) -> Ran {
        let keys = (0..TRANSACTIONS_MAX / MOVE_ON * KEYS).map(|key| format!("({key}, '')"));
        let fill = format!("INSERT INTO v VALUES {}", keys.collect::<Vec<_>>().join(","));
        let schema = tidb
            .schema(&[
                "CREATE TABLE v (k INT PRIMARY KEY, v TEXT NOT NULL)",
                &fill,
                "CREATE TABLE hot (id INT PRIMARY KEY, n BIGINT NOT NULL)",
                "INSERT INTO hot VALUES (1, 0)",
            ])
            .await;
        let shared = Arc::new(Shared {
            workload: self,
            record: Record::new(self.kind),
            address: address.to_owned(),
            schema,
            until: Instant::now() + self.time,
            next: AtomicU64::new(0),
        });
        let mut ran =
            Ran { history: String::new(), ok: 0, fail: 0, info: 0, counting: (0, 0), count: 0 };
        let mut writers = JoinSet::new();
        for process in 0..self.writers {
            writers.spawn(Writer::new(shared.clone(), process).run());
        }
        while let Some(writer) = writers.join_next().await {
            let (ended, counting) = writer.expect("no panic");
            ran.ok += ended[0];
            ran.fail += ended[1];
            ran.info += ended[2];
            ran.counting.0 += counting[0];
            ran.counting.1 += counting[2];
        }
        ran.count = shared.look_at_the_end().await;
        ran.history = shared.record.to_json();
        ran
    }
}

impl Shared {
    fn goes_on(&self) -> bool {
        let begun = self.next.load(Ordering::Relaxed);
        Instant::now() < self.until || begun < self.workload.transactions_min
    }

    /// Reads every row that was used, directly, as the last transaction of the history; returns
    /// the count of the hot row.
    async fn look_at_the_end(&self) -> u64 {
        let mut conn = self.schema.connect().await;
        let last = (self.next.load(Ordering::Relaxed) / MOVE_ON + 1) * KEYS;
        let process = u64::from(u32::MAX);
        let asked: Vec<Step> = (0..last).map(|key| Step::Read(key, None)).collect();
        self.record.invoke(process, &asked);
        let found: Vec<(u64, String)> =
            rows(&mut conn, &format!("SELECT k, v FROM v WHERE k < {last} ORDER BY k")).await;
        let found: Vec<Step> =
            found.iter().map(|(key, text)| Step::Read(*key, Some(numbers(text)))).collect();
        self.record.complete(process, Ended::Ok, &found);
        let count = one(&mut conn, "SELECT n FROM hot WHERE id = 1").await;
        conn.disconnect().await.expect("a connection that works");
        count
    }
}

/// `,1,2` is a list of two; a register is one.
fn numbers(text: &str) -> Vec<u64> {
    text.split(',')
        .filter(|part| !part.is_empty())
        .map(|part| part.parse().expect("a number"))
        .collect()
}

/// One client.
struct Writer {
    shared: Arc<Shared>,
    /// Its own name in the history; a new one after an unknown outcome.
    process: u64,
    dice: Dice,
    conn: Option<Conn>,
}

/// What a transaction does.
struct Draw {
    steps: Vec<Step>,
    /// It counts on the hot row as well: most conflicts are there, and what was read may come out
    /// equal in a replay.
    counts: bool,
}

impl Writer {
    fn new(shared: Arc<Shared>, process: u64) -> Self {
        let dice = Dice(shared.workload.seed << 8 | process);
        Self { shared, process, dice, conn: None }
    }

    /// Until the time is over; counts what came of the transactions and of those that count.
    async fn run(mut self) -> ([u64; 3], [u64; 3]) {
        let (mut all, mut counting) = ([0; 3], [0; 3]);
        while self.shared.goes_on() {
            let number = self.shared.next.fetch_add(1, Ordering::Relaxed);
            if number >= TRANSACTIONS_MAX {
                break;
            }
            let mut draw = self.draw(number);
            self.shared.record.invoke(self.process, &draw.steps);
            let ended = soon("a transaction", self.transact(&mut draw)).await;
            self.shared.record.complete(self.process, ended, &draw.steps);
            all[ended as usize] += 1;
            counting[ended as usize] += u64::from(draw.counts);
            if ended == Ended::Info {
                self.process += self.shared.workload.writers;
            }
        }
        (all, counting)
    }

    fn draw(&mut self, number: u64) -> Draw {
        let epoch = number / MOVE_ON * KEYS;
        let value = |step: u64| number * 8 + step + 1;
        // One of two rows is read and written; or anything.
        if self.dice.percent(60) {
            let key = epoch + self.dice.below(2);
            let steps = vec![Step::Read(key, None), Step::Write(key, value(0))];
            return Draw { steps, counts: true };
        }
        let mut steps = Vec::new();
        for step in 0..1 + self.dice.below(4) {
            let key = epoch + self.dice.below(KEYS);
            let writes = self.dice.percent(50);
            if !writes || self.shared.workload.kind == Kind::Registers {
                steps.push(Step::Read(key, None));
            }
            if writes {
                steps.push(Step::Write(key, value(step)));
            }
        }
        Draw { steps, counts: self.dice.percent(30) }
    }

    async fn transact(&mut self, draw: &mut Draw) -> Ended {
        if self.statements(draw).await.is_err() {
            // COMMIT was not sent, so it is not committed.
            self.roll_back().await;
            return Ended::Fail;
        }
        let Some(conn) = self.conn.as_mut() else { return Ended::Fail };
        match conn.query_drop("COMMIT").await {
            Ok(()) => Ended::Ok,
            // 08S01: txguard has lost the server and says so.
            Err(Error::Server(error)) if error.state != "08S01" => {
                match CommitError::classify(error.code) {
                    CommitError::Conflict | CommitError::Aborted => Ended::Fail,
                    CommitError::Uncertain => self.unknown(),
                }
            }
            Err(_) => self.unknown(),
        }
    }

    fn unknown(&mut self) -> Ended {
        self.conn = None;
        Ended::Info
    }

    async fn statements(&mut self, draw: &mut Draw) -> Result<(), Error> {
        let kind = self.shared.workload.kind;
        let conn = match self.conn.take() {
            Some(conn) => conn,
            None => {
                let (address, schema) = (&self.shared.address, &self.shared.schema.name);
                Conn::new(options(address, Some(schema))).await?
            }
        };
        let conn = self.conn.insert(conn);
        conn.query_drop("BEGIN OPTIMISTIC").await?;
        for step in &mut draw.steps {
            match step {
                Step::Read(key, read) => {
                    let text: Option<String> =
                        conn.query_first(format!("SELECT v FROM v WHERE k = {key}")).await?;
                    *read = Some(numbers(&text.expect("a row of each key")));
                }
                Step::Write(key, value) => {
                    let new = match kind {
                        Kind::Lists => format!("CONCAT(v, ',{value}')"),
                        Kind::Registers => format!("'{value}'"),
                    };
                    conn.query_drop(format!("UPDATE v SET v = {new} WHERE k = {key}")).await?;
                }
            }
        }
        if draw.counts {
            conn.query_drop("UPDATE hot SET n = n + 1 WHERE id = 1").await?;
        }
        Ok(())
    }

    /// Leaves nothing open: a connection that can't say ROLLBACK is given up.
    async fn roll_back(&mut self) {
        if let Some(mut conn) = self.conn.take()
            && conn.query_drop("ROLLBACK").await.is_ok()
        {
            self.conn = Some(conn);
        }
    }
}
