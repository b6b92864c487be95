//! The isolation checker, and the proof that it sees what it is for.

use std::time::Duration;

use adya::{History, Opts, Report, check};

use crate::workload::Kind;

/// The strongest that TiDB's optimistic transactions promise: a snapshot that is not older than
/// anything acknowledged before, and no write over a version that it hasn't seen.
const MODEL: &str = "strong-snapshot-isolation";

/// Judges a history in JSON.
pub(crate) fn judge(kind: Kind, history: &str) -> Report {
    let history = History::from_json(history).expect("a history");
    let workload = match kind {
        Kind::Lists => adya::Workload::ListAppend,
        Kind::Registers => adya::Workload::RwRegister,
    };
    // Every register is written only behind a read of it in the same transaction.
    let options = Opts {
        models: vec![MODEL.to_owned()],
        timeout: Duration::from_secs(20),
        wfr_keys: true,
        ..Opts::default()
    };
    check(&history, workload, &options)
}

#[cfg(test)]
mod tests {
    use adya::Valid;
    use serde_json::{Value, json};

    use super::{Kind, judge};

    /// All transactions at the same time, each by a process of its own: how it ended, and its
    /// steps, which are what was asked as well but for what was read.
    fn concurrent(transactions: &[(&str, Value)]) -> String {
        let operation = |kind: &str, process: usize, steps: &Value| json!({"type": kind, "f": "txn", "process": process, "value": steps});
        let invoked = transactions.iter().enumerate().map(|(process, (_, steps))| {
            let mut asked = steps.clone();
            for step in asked.as_array_mut().expect("steps") {
                if step[0] == "r" {
                    step[2] = Value::Null;
                }
            }
            operation("invoke", process, &asked)
        });
        let ended = transactions.iter().enumerate();
        let ended = ended.map(|(process, (kind, steps))| operation(kind, process, steps));
        Value::Array(invoked.chain(ended).collect()).to_string()
    }

    /// One transaction after the other.
    fn serial(transactions: &[(&str, Value)]) -> String {
        let mut all = Vec::new();
        for (process, transaction) in transactions.iter().enumerate() {
            let one: Vec<Value> =
                serde_json::from_str(&concurrent(std::slice::from_ref(transaction)))
                    .expect("operations");
            for mut operation in one {
                operation["process"] = json!(process);
                all.push(operation);
            }
        }
        Value::Array(all).to_string()
    }

    #[track_caller]
    fn finds(name: &str, kind: Kind, history: &str) {
        let report = judge(kind, history);
        assert_eq!(report.valid, Valid::False, "{name}: {report:?}");
        let found = report.anomaly_types.iter().any(|anomaly| anomaly.starts_with(name));
        assert!(found, "{name}: {:?}", report.anomaly_types);
    }

    #[track_caller]
    fn passes(kind: Kind, history: &str) {
        let report = judge(kind, history);
        assert_eq!(report.valid, Valid::True, "{report:?}");
    }

    #[test]
    fn it_finds_anomalies_of_lists() {
        let cases: [(&str, &[(&str, Value)]); 8] = [
            (
                "G0",
                &[
                    ("ok", json!([["append", 1, 1], ["append", 2, 1]])),
                    ("ok", json!([["append", 1, 2], ["append", 2, 2]])),
                    ("ok", json!([["r", 1, [1, 2]], ["r", 2, [2, 1]]])),
                ],
            ),
            ("G1a", &[("fail", json!([["append", 1, 1]])), ("ok", json!([["r", 1, [1]]]))]),
            (
                "G1b",
                &[
                    ("ok", json!([["append", 1, 1], ["append", 1, 2]])),
                    ("ok", json!([["r", 1, [1]]])),
                    ("ok", json!([["r", 1, [1, 2]]])),
                ],
            ),
            (
                "G1c",
                &[
                    ("ok", json!([["append", 1, 1], ["r", 2, [1]]])),
                    ("ok", json!([["append", 2, 1], ["r", 1, [1]]])),
                ],
            ),
            (
                "G-single",
                &[
                    ("ok", json!([["r", 1, []], ["r", 2, [1]]])),
                    ("ok", json!([["append", 1, 1], ["append", 2, 1]])),
                    ("ok", json!([["r", 1, [1]]])),
                ],
            ),
            (
                "lost-update",
                &[
                    ("ok", json!([["r", 1, []], ["append", 1, 1]])),
                    ("ok", json!([["r", 1, []], ["append", 1, 2]])),
                    ("ok", json!([["r", 1, [1, 2]]])),
                ],
            ),
            (
                "duplicate-elements",
                &[("ok", json!([["append", 1, 1]])), ("ok", json!([["r", 1, [1, 1]]]))],
            ),
            ("internal", &[("ok", json!([["append", 1, 1], ["r", 1, []]]))]),
        ];
        for (name, transactions) in cases {
            finds(name, Kind::Lists, &concurrent(transactions));
        }
    }

    #[test]
    fn it_finds_acknowledged_appends_that_are_lost() {
        let lost = [
            ("ok", json!([["append", 1, 1]])),
            ("ok", json!([["append", 1, 2]])),
            ("ok", json!([["r", 1, [2]]])),
        ];
        finds("G-single", Kind::Lists, &serial(&lost));
    }

    #[test]
    fn it_finds_anomalies_of_registers() {
        let cases: [(&str, &[(&str, Value)]); 5] = [
            ("G1a", &[("fail", json!([["w", 1, 1]])), ("ok", json!([["r", 1, 1]]))]),
            ("G1b", &[("ok", json!([["w", 1, 1], ["w", 1, 2]])), ("ok", json!([["r", 1, 1]]))]),
            (
                "G1c",
                &[
                    ("ok", json!([["w", 1, 1], ["r", 2, 1]])),
                    ("ok", json!([["w", 2, 1], ["r", 1, 1]])),
                ],
            ),
            (
                "G-single",
                &[
                    ("ok", json!([["r", 1, null], ["r", 2, 1]])),
                    ("ok", json!([["r", 1, null], ["w", 1, 1], ["r", 2, null], ["w", 2, 1]])),
                ],
            ),
            (
                "lost-update",
                &[
                    ("ok", json!([["r", 1, null], ["w", 1, 1]])),
                    ("ok", json!([["r", 1, null], ["w", 1, 2]])),
                ],
            ),
        ];
        for (name, transactions) in cases {
            finds(name, Kind::Registers, &concurrent(transactions));
        }
    }

    #[test]
    fn it_lets_pass_what_snapshot_isolation_allows() {
        let skew = [
            ("ok", json!([["r", 1, []], ["r", 2, []], ["append", 1, 1]])),
            ("ok", json!([["r", 1, []], ["r", 2, []], ["append", 2, 1]])),
            ("ok", json!([["r", 1, [1]], ["r", 2, [1]]])),
        ];
        passes(Kind::Lists, &concurrent(&skew));
        // What nobody knows may have happened or not.
        let unknown = [
            ("info", json!([["append", 1, 1]])),
            ("info", json!([["append", 1, 2]])),
            ("ok", json!([["r", 1, [2]], ["append", 1, 3]])),
            ("ok", json!([["r", 1, [2, 3]]])),
        ];
        passes(Kind::Lists, &serial(&unknown));
        let registers = [
            ("ok", json!([["r", 1, null], ["w", 1, 1]])),
            ("info", json!([["r", 1, null], ["w", 1, 2]])),
            ("ok", json!([["r", 1, 2], ["w", 1, 3]])),
        ];
        passes(Kind::Registers, &serial(&registers));
    }
}
