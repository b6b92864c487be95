//! The golden list of metrics, and what counting does.

use super::*;

/// Name, type and help of every family, and its series at the start.
#[test]
fn every_metric_with_type_and_help() {
    let metrics = Metrics::new();
    // Reasons and addresses come from elsewhere, a drift is measured: these families have no series before the first.
    metrics.unguarded("some_reason");
    let _ = metrics.backend("127.0.0.1:4000");
    metrics.tso_drift(Clock::Local, Some(0.0));
    let mut families: Vec<String> = metrics
        .registry
        .gather()
        .iter()
        .map(|family| {
            let kind = format!("{:?}", family.get_field_type()).to_lowercase();
            format!("{} {kind}: {}", family.name(), family.help())
        })
        .collect();
    families.sort();
    insta::assert_snapshot!(families.join("\n"), @"
    process_cpu_seconds_total counter: Total user and system CPU time spent in seconds.
    process_max_fds gauge: Maximum number of open file descriptors.
    process_open_fds gauge: Number of open file descriptors.
    process_resident_memory_bytes gauge: Resident memory size in bytes.
    process_start_time_seconds gauge: Start time of the process since unix epoch in seconds.
    process_threads gauge: Number of OS threads in the process.
    process_virtual_memory_bytes gauge: Virtual memory size in bytes.
    txguard_backend_connect_errors_total counter: Attempts to connect to a backend address that failed.
    txguard_backend_connections gauge: Connections to a backend address, those under way included.
    txguard_backend_up gauge: 1 while a backend address is known to be up.
    txguard_build_info gauge: Always 1; the version is in the label.
    txguard_commit_seconds histogram: Time that a commit point took for the client, replays included.
    txguard_config_generation gauge: Counts the configurations that were in force, from 1.
    txguard_config_rejected gauge: 1 while the file on disk has mistakes and an older configuration is in force.
    txguard_connections gauge: Open connections, by side.
    txguard_connections_total counter: Connections since the start, by side.
    txguard_journal_bytes gauge: Bytes of requests held for replay by all transactions together.
    txguard_log_dropped_total counter: Log lines dropped because the writer could not keep up.
    txguard_receipts_oldest_seconds gauge: Age of the oldest receipt, from its transaction's BEGIN; 0 without any.
    txguard_receipts_pending gauge: Transactions whose fate is being found out in the background.
    txguard_receipts_purged_total counter: Receipts and idempotency keys removed because they were older than the retention.
    txguard_receipts_ready gauge: 1 while the tables of receipts are there and right.
    txguard_receipts_resolved_total counter: Answers of the resolver of unanswered COMMITs, by what it said.
    txguard_receipts_total counter: Commits whose policy wanted a receipt, by what became of it.
    txguard_replay_circuits_open gauge: Keys on which no replay is begun for now, because the last ones were in vain.
    txguard_replay_wait_seconds histogram: Time that a replay waited for others that lost a conflict on the same key.
    txguard_replays_total counter: Replays by how they ended and by the error code that called for them.
    txguard_replays_waiting gauge: Replays that wait for others that lost a conflict on the same key.
    txguard_retry_tokens gauge: Replays in vain that the process still allows; a commit gives one more.
    txguard_statement_seconds histogram: Time from a statement's last byte to its answer's last byte, as the client sees it.
    txguard_transactions_total counter: Transactions by how they ended for the client.
    txguard_tso_drift_seconds gauge: How far PD's time is surely ahead of another clock; behind, if negative.
    txguard_tso_foreign_backends gauge: Backends whose timestamps are surely another PD's; hints are withheld then.
    txguard_tso_rpc_seconds histogram: Time from a request for timestamps to PD's answer.
    txguard_tso_unavailable_seconds gauge: How long PD has not answered; 0 while it does, or if it isn't asked.
    txguard_tso_wait_seconds histogram: Time that somebody waited for a timestamp of PD.
    txguard_unguarded_total counter: Transactions that a policy wanted guarded and that could not be replayed, by reason.
    ");
}

#[test]
fn counting_shows_in_the_text() {
    let metrics = Metrics::new();
    metrics.transaction(TransactionOutcome::Conflict);
    metrics.replay(ReplayOutcome::Succeeded, 9007);
    metrics.replay(ReplayOutcome::Refused, 4711);
    metrics.unguarded("random");
    metrics.unguarded("random");
    metrics.statement(Duration::from_micros(120));
    metrics.commit(Duration::from_millis(3));
    metrics.log_dropped(5);
    metrics.backend_connect_error();
    metrics.journals_hold(60);
    metrics.replay_waited(Duration::from_millis(3));
    metrics.contention(5, 1, 990);
    let text = metrics.render();
    for line in [
        "txguard_transactions_total{outcome=\"conflict\"} 1",
        "txguard_transactions_total{outcome=\"committed\"} 0",
        "txguard_replays_total{code=\"9007\",outcome=\"succeeded\"} 1",
        "txguard_replays_total{code=\"other\",outcome=\"refused\"} 1",
        "txguard_unguarded_total{reason=\"random\"} 2",
        "txguard_statement_seconds_bucket{le=\"0.0001\"} 0",
        "txguard_statement_seconds_bucket{le=\"0.00025\"} 1",
        "txguard_commit_seconds_count 1",
        "txguard_log_dropped_total 5",
        "txguard_backend_connect_errors_total 1",
        "txguard_journal_bytes 60",
        "txguard_replay_wait_seconds_count 1",
        "txguard_replays_waiting 5",
        "txguard_replay_circuits_open 1",
        "txguard_retry_tokens 990",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in:\n{text}");
    }
    assert_eq!(metrics.replays(ReplayOutcome::Succeeded), 1);
    assert_eq!(metrics.unguarded_count("random"), 2);
}

#[test]
fn a_dropped_guard_takes_its_connection_out() {
    let metrics = Metrics::new();
    let first = metrics.connection(Side::Client);
    let second = metrics.connection(Side::Client);
    drop(first);
    assert_eq!(metrics.connections(Side::Client), 1);
    drop(second);
    assert_eq!(metrics.connections(Side::Client), 0);
    let total = "txguard_connections_total{side=\"client\"} 2";
    assert!(metrics.render().lines().any(|line| line == total));
}

#[test]
fn a_forgotten_backend_is_not_shown_any_more() {
    let metrics = Metrics::new();
    let (one, two) = (metrics.backend("a:1"), metrics.backend("b:2"));
    one.connections(3);
    two.up(true);
    let shown = |line: &str| metrics.render().lines().any(|found| found == line);
    assert!(shown("txguard_backend_connections{backend=\"a:1\"} 3"));
    assert!(shown("txguard_backend_up{backend=\"a:1\"} 0"));
    metrics.forget_backend("a:1");
    metrics.forget_backend("never:1");
    assert!(!metrics.render().contains("a:1"));
    assert!(shown("txguard_backend_up{backend=\"b:2\"} 1"));
}

#[test]
fn two_registries_know_nothing_of_each_other() {
    let (one, two) = (Metrics::new(), Metrics::new());
    one.transaction(TransactionOutcome::Committed);
    assert_eq!(two.transactions(TransactionOutcome::Committed), 0);
}
