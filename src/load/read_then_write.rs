//! Transactions that write a value the application has computed from one it has read. Running only
//! their writes again, or running them in another mode, loses updates: a proxy may run them again
//! only if the value read comes out the same, and must hand out the conflict otherwise.

use std::sync::Arc;

use super::client::{Client, Failure};
use super::report::{Progress, Report};
use super::run::{self, Error, Load, Random, Table, Workload};

const VALUES: &str = "read_value";
const HOT: &str = "hot";

/// What the transactions look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// `SELECT v FROM a; UPDATE a SET v = <v + 1>`, all on one row: the conflict is on the row that
    /// was read, so no replay can come out equal.
    OneRow,
    /// `SELECT v FROM a; UPDATE a SET v = <v + 1>; UPDATE b SET v = v + 1`, with `b` the same row in
    /// every transaction: most conflicts are on `b`, and the value read from `a` may come out equal
    /// again, or may not.
    Crossed {
        /// Rows that `a` is drawn from; at least 1. The fewer, the more often it has changed, too.
        rows: usize,
    },
}

impl Shape {
    fn rows(self) -> usize {
        match self {
            Self::OneRow => 1,
            Self::Crossed { rows } => rows.max(1),
        }
    }
}

/// Makes the tables anew, runs the load, and counts the increments. `sum` is over the rows that were
/// read, `counter` is row `b`, or the sum once more where there is none; both must say how many
/// commits were acknowledged.
///
/// Not cancel safe: dropping the future ends the writers and leaves the tables as they are.
///
/// # Errors
/// [`Error`] if the tables could not be made or read; failures of transactions are in the report.
pub async fn run(load: &Load, shape: Shape, progress: &Arc<Progress>) -> Result<Report, Error> {
    let columns = "id INT PRIMARY KEY, v BIGINT NOT NULL";
    let rows = (1..=shape.rows()).map(|id| format!("({id}, 0)")).collect();
    run::fill(load, &Table { name: VALUES, columns, rows }).await?;
    let rows = vec!["(1, 0)".to_owned()];
    run::fill(load, &Table { name: HOT, columns, rows }).await?;

    let mut report = run::run(load, shape, progress).await;

    report.sum = run::sum(load, VALUES, "v").await?;
    report.counter = match shape {
        Shape::OneRow => report.sum,
        Shape::Crossed { .. } => run::sum(load, HOT, "v").await?,
    };
    report.sum_expected = report.expected_commits(report.sum);
    report.counter_expected = report.expected_commits(report.counter);
    Ok(report)
}

impl Workload for Shape {
    /// The row to read.
    type Draw = usize;

    fn draw(&self, _: usize, random: &mut Random) -> usize {
        1 + random.below(self.rows())
    }

    async fn transact(&self, client: &mut Client, id: &usize) -> Result<(), Failure> {
        client.begin().await?;
        let read: i64 = client.read(&format!("SELECT v FROM {VALUES} WHERE id = {id}")).await?;
        let computed = read + 1;
        client.execute(&format!("UPDATE {VALUES} SET v = {computed} WHERE id = {id}")).await?;
        if let Self::Crossed { .. } = self {
            client.execute(&format!("UPDATE {HOT} SET v = v + 1 WHERE id = 1")).await?;
        }
        client.commit().await
    }
}
