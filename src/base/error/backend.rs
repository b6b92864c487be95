//! What the backend's error codes mean for a transaction. The facts are read from TiDB's
//! `pkg/errno/errcode.go`, `pkg/kv/error.go` (`IsTxnRetryableError`) and MariaDB's
//! `mysqld_error.h`.

/// Codes by name.
pub mod code {
    /// MariaDB `ER_CHECKREAD`: with `innodb_snapshot_isolation` a row changed since the snapshot.
    pub const CHECKREAD: u16 = 1020;
    /// `ErrDupEntry`: a row with this key is there already.
    pub const DUPLICATE_ENTRY: u16 = 1062;
    /// `ErrUnknown`: TiDB's catch-all.
    pub const UNKNOWN: u16 = 1105;
    /// `ErrLockWaitTimeout`: only the statement was rolled back.
    pub const LOCK_WAIT_TIMEOUT: u16 = 1205;
    /// `ErrLockDeadlock`: the whole transaction was rolled back.
    pub const DEADLOCK: u16 = 1213;
    /// `ErrForUpdateCantRetry`.
    pub const FOR_UPDATE_CANT_RETRY: u16 = 8002;
    /// `ErrWriteConflictInTiDB`.
    pub const WRITE_CONFLICT_IN_TIDB: u16 = 8005;
    /// `ErrTxnRetryable`.
    pub const TXN_RETRYABLE: u16 = 8022;
    /// `ErrInfoSchemaChanged`.
    pub const INFO_SCHEMA_CHANGED: u16 = 8028;
    /// `ErrLazyUniquenessCheckFailure`: the whole transaction was rolled back.
    pub const LAZY_UNIQUENESS: u16 = 8147;
    /// `ErrPDServerTimeout`.
    pub const PD_TIMEOUT: u16 = 9001;
    /// `ErrTiKVServerTimeout`.
    pub const TIKV_TIMEOUT: u16 = 9002;
    /// `ErrTiKVServerBusy`.
    pub const TIKV_BUSY: u16 = 9003;
    /// `ErrResolveLockTimeout`.
    pub const RESOLVE_LOCK_TIMEOUT: u16 = 9004;
    /// `ErrRegionUnavailable`.
    pub const REGION_UNAVAILABLE: u16 = 9005;
    /// `ErrWriteConflict`.
    pub const WRITE_CONFLICT: u16 = 9007;
    /// `ErrTiKVStoreLimit`.
    pub const STORE_LIMIT: u16 = 9008;
    /// `ErrTiKVStaleCommand`.
    pub const STALE_COMMAND: u16 = 9010;
    /// `ErrTiKVMaxTimestampNotSynced`.
    pub const MAX_TIMESTAMP_NOT_SYNCED: u16 = 9011;
}

/// What an error at a commit point says about the transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitError {
    /// Certainly not committed, and running it again may succeed.
    Conflict,
    /// Certainly not committed; running it again would fail the same way.
    Aborted,
    /// It may have been committed (tidb#21355, tidb#69821): never run again blind.
    Uncertain,
}

impl CommitError {
    /// Classifies the code of an ERR packet that answers a commit point.
    ///
    /// The list of conflicts is TiDB's own definition of "safe to retry" plus 8028 and 8002;
    /// 1213 and 1020 are InnoDB's, whose transaction is gone after them. Everything that can come
    /// from the network between TiDB and TiKV is uncertain.
    #[must_use]
    pub const fn classify(code: u16) -> Self {
        match code {
            code::WRITE_CONFLICT
            | code::WRITE_CONFLICT_IN_TIDB
            | code::TXN_RETRYABLE
            | code::INFO_SCHEMA_CHANGED
            | code::FOR_UPDATE_CANT_RETRY
            | code::CHECKREAD
            | code::DEADLOCK => Self::Conflict,
            code::UNKNOWN
            | code::PD_TIMEOUT
            | code::TIKV_TIMEOUT
            | code::TIKV_BUSY
            | code::RESOLVE_LOCK_TIMEOUT
            | code::REGION_UNAVAILABLE
            | code::STORE_LIMIT
            | code::STALE_COMMAND
            | code::MAX_TIMESTAMP_NOT_SYNCED => Self::Uncertain,
            _ => Self::Aborted,
        }
    }
}

/// What an error of a statement inside a transaction says about the transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatementError {
    /// The transaction is gone or useless, and running it again may succeed.
    Conflict,
    /// The transaction is gone.
    TransactionGone,
    /// Only the statement failed; the transaction is still open.
    StatementOnly,
}

impl StatementError {
    /// Classifies the code of an ERR packet inside an open transaction.
    #[must_use]
    pub const fn classify(code: u16) -> Self {
        match code {
            code::DEADLOCK | code::CHECKREAD => Self::Conflict,
            code::LAZY_UNIQUENESS => Self::TransactionGone,
            _ => Self::StatementOnly,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conflicts_at_commit_are_exactly_the_codes_that_prove_an_abort() {
        let conflicts: Vec<u16> = (1..=u16::MAX)
            .filter(|&code| CommitError::classify(code) == CommitError::Conflict)
            .collect();
        assert_eq!(conflicts, [1020, 1213, 8002, 8005, 8022, 8028, 9007]);
    }

    #[test]
    fn fate_unknown_codes_are_never_conflicts() {
        for code in [1105, 9001, 9002, 9003, 9004, 9005, 9008, 9010, 9011] {
            assert_eq!(CommitError::classify(code), CommitError::Uncertain, "{code}");
        }
    }

    #[test]
    fn inside_a_transaction_only_deadlock_and_changed_row_are_conflicts() {
        let conflicts: Vec<u16> = (1..=u16::MAX)
            .filter(|&code| StatementError::classify(code) == StatementError::Conflict)
            .collect();
        assert_eq!(conflicts, [1020, 1213]);
        assert_eq!(StatementError::classify(9007), StatementError::StatementOnly);
    }
}
