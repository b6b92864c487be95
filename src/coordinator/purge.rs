//! Removes what is older than the retention, from one database.
//!
//! A row goes only if both its transaction's BEGIN, by the clock of the process that made the id, and
//! its writing, by the database's clock, lie behind the cut; and the cut itself is taken from
//! whichever of the two clocks here is behind. A client can set `timestamp` in its session, and a
//! machine's clock may be wrong, but a row that goes too early would be a committed transaction that
//! looks as if it had never been.

use std::time::Duration;

use crate::store::service::{ServiceError, Talk};
use crate::store::{idempotency, receipts};

/// What a round has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Purged {
    /// Rows that are gone.
    pub rows: u64,
    /// Since the BEGIN of the oldest transaction that still has a receipt.
    pub oldest: Option<Duration>,
}

/// One round. `wall` is the time since the Unix epoch.
///
/// Cancel safe: what is cut off goes on the next time.
pub async fn purge(
    talk: &mut Talk,
    wall: Duration,
    retention: Duration,
) -> Result<Purged, ServiceError> {
    let database: Option<(u64,)> = talk.row("SELECT UNIX_TIMESTAMP()").await?;
    let now = database.map_or(wall, |(seconds,)| wall.min(Duration::from_secs(seconds)));
    let before = now.saturating_sub(retention);
    let mut done = Purged::default();
    // Shard by shard, each a range of the primary key.
    for shard in 0..=u8::MAX {
        done.rows += repeat(talk, &receipts::purge(shard, before)).await?;
        if let Some(begun) = receipts::oldest(talk, shard).await? {
            done.oldest = done.oldest.max(Some(now.saturating_sub(begun)));
        }
    }
    done.rows += repeat(talk, &idempotency::purge(before)).await?;
    Ok(done)
}

/// In small transactions: a large one would hold up others, and TiDB has a limit.
async fn repeat(talk: &mut Talk, statement: &str) -> Result<u64, ServiceError> {
    let mut rows = 0;
    loop {
        let gone = talk.run(statement).await?;
        rows += gone;
        if gone < receipts::BATCH {
            return Ok(rows);
        }
    }
}
