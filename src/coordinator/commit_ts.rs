//! Finds the commit_ts of a transaction on TiDB: the first timestamp at which its receipt can be
//! seen, by bisection of `tidb_snapshot`. Works as long as TiDB keeps that much history (its garbage
//! collection takes it after `tidb_gc_life_time`, mostly ten minutes).

use crate::base::types::Tso;
use crate::store::receipts::ReceiptKey;
use crate::store::service::{ServiceError, Talk};

/// TiDB's `ErrSnapshotTooOld`, `ErrGCTooEarly`.
const COLLECTED: [u16; 2] = [8055, 9006];

/// The commit_ts of an attempt that has committed; `None` if the history is gone. `since` is a
/// timestamp from before its COMMIT.
///
/// Leaves `tidb_snapshot` set: nothing else can be said on this connection.
///
/// Cancel safe: nothing is changed in the database.
pub async fn commit_ts(
    talk: &mut Talk,
    key: ReceiptKey,
    since: Tso,
) -> Result<Option<Tso>, ServiceError> {
    let Some(Tso(mut seen)) = talk.start_ts().await? else { return Ok(None) };
    let mut unseen = since.0;
    while unseen + 1 < seen {
        let middle = unseen + (seen - unseen) / 2;
        match is_seen(talk, key, middle).await {
            Ok(true) => seen = middle,
            Ok(false) => unseen = middle,
            Err(error) if error.code().is_some_and(|code| COLLECTED.contains(&code)) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(Some(Tso(seen)))
}

async fn is_seen(talk: &mut Talk, key: ReceiptKey, at: u64) -> Result<bool, ServiceError> {
    talk.run(&format!("SET SESSION tidb_snapshot = '{at}'")).await?;
    Ok(talk.row::<(i64,)>(&key.look()).await?.is_some())
}
