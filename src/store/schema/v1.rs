//! Version 1: commit receipts and idempotency keys. Never changed again; see the tables' own files
//! for what their columns mean.
//!
//! Rows are clustered by their primary key where the server lets one choose, so that a receipt is
//! one key-value pair in its COMMIT. Receipts have no second index; idempotency keys, which are
//! rarer, one by transaction, whose id begins with a time.

use super::Migration;

/// Version 1.
pub(super) const MIGRATION: Migration = Migration {
    adds: "tables receipts and idempotency_keys",
    statements: &[
        "CREATE TABLE IF NOT EXISTS txguard.receipts (
  shard TINYINT UNSIGNED NOT NULL,
  txn BINARY(16) NOT NULL,
  attempt INT UNSIGNED NOT NULL,
  outcome TINYINT NOT NULL,
  user VARBINARY(512) NULL,
  start_ts BIGINT UNSIGNED NULL,
  fingerprint BINARY(16) NULL,
  created TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
  PRIMARY KEY (shard, txn, attempt) /*T![clustered_index] CLUSTERED */
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin",
        "CREATE TABLE IF NOT EXISTS txguard.idempotency_keys (
  user VARBINARY(512) NOT NULL,
  schema_name VARBINARY(256) NOT NULL,
  idempotency_key VARBINARY(255) NOT NULL,
  txn BINARY(16) NOT NULL,
  attempt INT UNSIGNED NOT NULL,
  fingerprint BINARY(16) NOT NULL,
  created TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
  PRIMARY KEY (user, schema_name, idempotency_key) /*T![clustered_index] CLUSTERED */,
  KEY txn (txn)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin",
    ],
};
