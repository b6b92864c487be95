//! What is asked of the server.

use std::fmt;
use std::str::FromStr;

use crate::load::bank::Bank;
use crate::load::client::{Client, Failure};
use crate::load::run::{Random, Table, Workload};

const ITEMS: &str = "item";
const ITEM_ROWS: usize = 10_000;
/// As wide as the rows of the usual benchmarks.
const ITEM_PAD: usize = 120;

const BIG: &str = "big";
const BIG_ROWS: usize = 2_048;
const BIG_PAD: usize = 512;

/// The most connections that still have a row of their own each.
pub const CONNECTIONS_MAX: usize = ITEM_ROWS;

/// A built-in load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One row by its primary key, as text.
    PointText,
    /// The same by a prepared statement, prepared once for each connection.
    PointPrepared,
    /// BEGIN, read a row, write it, COMMIT; each connection has rows of its own.
    ReadWrite,
    /// Transfers between ten accounts, by relative updates. A conflict is rolled back and the
    /// transfer tried again at once; its time counts from the first attempt.
    Transfers,
    /// A result of 1 MiB: 2,048 rows of 512 bytes.
    Big,
}

impl Kind {
    /// All of them, in the order in which they run.
    pub const ALL: [Self; 5] =
        [Self::PointText, Self::PointPrepared, Self::ReadWrite, Self::Transfers, Self::Big];

    /// Its name on the command line and in reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PointText => "point-text",
            Self::PointPrepared => "point-prepared",
            Self::ReadWrite => "read-write",
            Self::Transfers => "transfers",
            Self::Big => "big",
        }
    }

    /// The tables that it needs.
    pub(super) fn tables(self, connections: usize) -> Vec<Table> {
        match self {
            Self::PointText | Self::PointPrepared | Self::ReadWrite => {
                vec![padded(ITEMS, ITEM_ROWS, ITEM_PAD)]
            }
            Self::Transfers => Bank::default().tables(connections).into(),
            Self::Big => vec![padded(BIG, BIG_ROWS, BIG_PAD)],
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| {
            let names = Self::ALL.map(Self::as_str).join(", ");
            format!("there is no such load; these are there: {names}")
        })
    }
}

fn padded(name: &'static str, rows: usize, pad: usize) -> Table {
    let pad = "0123456789abcdef".repeat(pad.div_ceil(16));
    let columns = "id INT PRIMARY KEY, n BIGINT NOT NULL, pad VARCHAR(512) NOT NULL";
    let pad = &pad[..];
    Table { name, columns, rows: (1..=rows).map(|id| format!("({id}, 0, '{pad}')")).collect() }
}

/// See [`Kind::PointText`].
pub(super) struct PointText;

impl Workload for PointText {
    type Draw = usize;

    fn draw(&self, _: usize, random: &mut Random) -> usize {
        1 + random.below(ITEM_ROWS)
    }

    async fn transact(&self, client: &mut Client, id: &usize) -> Result<(), Failure> {
        let sql = format!("SELECT n, pad FROM {ITEMS} WHERE id = {id}");
        client.read::<(i64, Vec<u8>)>(&sql).await.map(drop)
    }
}

/// See [`Kind::PointPrepared`].
pub(super) struct PointPrepared;

impl Workload for PointPrepared {
    type Draw = usize;

    fn draw(&self, writer: usize, random: &mut Random) -> usize {
        PointText.draw(writer, random)
    }

    async fn transact(&self, client: &mut Client, id: &usize) -> Result<(), Failure> {
        let sql = "SELECT n, pad FROM item WHERE id = ?";
        client.read_prepared::<(i64, Vec<u8>)>(sql, (*id as u64,)).await.map(drop)
    }
}

/// See [`Kind::ReadWrite`].
pub(super) struct ReadWrite {
    pub(super) connections: usize,
}

impl Workload for ReadWrite {
    type Draw = usize;

    fn draw(&self, writer: usize, random: &mut Random) -> usize {
        let own = (ITEM_ROWS / self.connections).max(1);
        1 + writer + self.connections * random.below(own)
    }

    async fn transact(&self, client: &mut Client, id: &usize) -> Result<(), Failure> {
        client.begin().await?;
        let sql = format!("SELECT n, pad FROM {ITEMS} WHERE id = {id}");
        client.read::<(i64, Vec<u8>)>(&sql).await?;
        client.execute(&format!("UPDATE {ITEMS} SET n = n + 1 WHERE id = {id}")).await?;
        client.commit().await
    }
}

/// See [`Kind::Big`].
pub(super) struct Big;

impl Workload for Big {
    type Draw = ();

    fn draw(&self, _: usize, _: &mut Random) {}

    async fn transact(&self, client: &mut Client, (): &()) -> Result<(), Failure> {
        match client.count("SELECT id, n, pad FROM big").await? {
            BIG_ROWS => Ok(()),
            rows => {
                let text = format!("{rows} rows of {BIG_ROWS} came");
                Err(Failure::Other { code: 0, unknown: false, text })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for kind in Kind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(kind));
        }
        assert!("nonsense".parse::<Kind>().expect_err("unknown").contains("point-prepared, read"));
    }

    #[test]
    fn writers_have_rows_of_their_own() {
        for connections in [1, 3, 8, ITEM_ROWS] {
            let (workload, mut random) = (ReadWrite { connections }, Random(1));
            for writer in [0, connections - 1] {
                for _ in 0..100 {
                    let id = workload.draw(writer, &mut random);
                    assert!((1..=ITEM_ROWS).contains(&id), "{id}");
                    assert_eq!((id - 1) % connections, writer);
                }
            }
        }
    }
}
