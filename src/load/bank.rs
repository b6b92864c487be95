//! Transfers between accounts. Every statement is relative (`balance = balance - 3`), so a
//! transaction that was refused can be run again as it is.
//!
//! Each transaction also counts itself in a row of its writer's own, which adds no contention: the
//! acknowledged commits can be compared with the applied ones.

use std::sync::Arc;

use super::client::{Client, Failure};
use super::report::{Progress, Report};
use super::run::{self, Error, Load, Random, Table, Workload};

pub(super) const ACCOUNTS: &str = "account";
pub(super) const COUNTERS: &str = "counter";

/// The largest amount moved at once. A balance may become negative; 10⁹ transactions of this size
/// are far from the end of BIGINT.
const AMOUNT_MAX: usize = 10;

/// The size of the bank.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bank {
    /// Rows that the writers fight for; at least 2.
    pub accounts: usize,
    /// What is on each account at the beginning.
    pub balance: u32,
}

impl Default for Bank {
    /// 10 accounts of 1,000.
    fn default() -> Self {
        Self { accounts: 10, balance: 1_000 }
    }
}

/// Makes the tables anew, runs the load, and adds the balances up.
///
/// Not cancel safe: dropping the future ends the writers and leaves the tables as they are.
///
/// # Errors
/// [`Error`] if the tables could not be made or read; failures of transactions are in the report.
pub async fn run(load: &Load, bank: &Bank, progress: &Arc<Progress>) -> Result<Report, Error> {
    let bank = Bank { accounts: bank.accounts.max(2), ..*bank };
    for table in bank.tables(load.writers) {
        run::fill(load, &table).await?;
    }

    let mut report = run::run(load, bank, progress).await;

    report.sum = run::sum(load, ACCOUNTS, "balance").await?;
    report.sum_expected = bank.sum();
    report.counter = run::sum(load, COUNTERS, "n").await?;
    report.counter_expected = report.expected_commits(report.counter);
    Ok(report)
}

impl Bank {
    /// What is on all accounts together.
    pub(super) fn sum(&self) -> i64 {
        i64::try_from(self.accounts).unwrap_or(i64::MAX).saturating_mul(self.balance.into())
    }

    /// The accounts, and a counter for each writer.
    pub(super) fn tables(&self, writers: usize) -> [Table; 2] {
        let accounts = (1..=self.accounts).map(|id| format!("({id}, {})", self.balance));
        let counters = (0..writers).map(|id| format!("({id}, 0)"));
        [
            Table {
                name: ACCOUNTS,
                columns: "id INT PRIMARY KEY, balance BIGINT NOT NULL",
                rows: accounts.collect(),
            },
            Table {
                name: COUNTERS,
                columns: "id INT PRIMARY KEY, n BIGINT NOT NULL",
                rows: counters.collect(),
            },
        ]
    }
}

/// One transfer.
#[derive(Debug)]
pub(super) struct Transfer {
    writer: usize,
    from: usize,
    to: usize,
    amount: usize,
}

impl Workload for Bank {
    type Draw = Transfer;

    fn draw(&self, writer: usize, random: &mut Random) -> Transfer {
        let from = random.below(self.accounts);
        let to = (from + 1 + random.below(self.accounts - 1)) % self.accounts;
        Transfer { writer, from: from + 1, to: to + 1, amount: 1 + random.below(AMOUNT_MAX) }
    }

    async fn transact(&self, client: &mut Client, transfer: &Transfer) -> Result<(), Failure> {
        let Transfer { writer, from, to, amount } = transfer;
        client.begin().await?;
        for sql in [
            format!("UPDATE {ACCOUNTS} SET balance = balance - {amount} WHERE id = {from}"),
            format!("UPDATE {ACCOUNTS} SET balance = balance + {amount} WHERE id = {to}"),
            format!("UPDATE {COUNTERS} SET n = n + 1 WHERE id = {writer}"),
        ] {
            client.execute(&sql).await?;
        }
        client.commit().await
    }
}
