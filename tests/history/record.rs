//! What the clients asked and what they heard, in the order in which it happened, as Jepsen
//! writes it.

use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};

use crate::workload::Kind;

/// One step of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// The value is what was read, once it is known.
    Read(u64, Option<Vec<u64>>),
    Write(u64, u64),
}

/// How a transaction ended, as its client heard it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    Ok,
    /// Certainly not committed.
    Fail,
    /// Nobody knows.
    Info,
}

/// All operations so far.
#[derive(Debug)]
pub(crate) struct Record {
    kind: Kind,
    operations: Mutex<Vec<Value>>,
}

impl Record {
    pub(crate) fn new(kind: Kind) -> Self {
        Self { kind, operations: Mutex::default() }
    }

    /// A transaction begins. A process that gets an info must not come back.
    pub(crate) fn invoke(&self, process: u64, steps: &[Step]) {
        self.push("invoke", process, steps);
    }

    /// It has ended; what was read counts only if it is known to be committed.
    pub(crate) fn complete(&self, process: u64, ended: Ended, steps: &[Step]) {
        let name = match ended {
            Ended::Ok => "ok",
            Ended::Fail => "fail",
            Ended::Info => "info",
        };
        self.push(name, process, steps);
    }

    fn push(&self, name: &str, process: u64, steps: &[Step]) {
        let steps: Vec<Value> = steps.iter().map(|step| self.step(step, name == "ok")).collect();
        let mut operations = self.operations.lock().unwrap_or_else(PoisonError::into_inner);
        operations.push(json!({"type": name, "f": "txn", "process": process, "value": steps}));
    }

    fn step(&self, step: &Step, known: bool) -> Value {
        match (step, self.kind) {
            (Step::Read(key, Some(values)), Kind::Lists) if known => json!(["r", key, values]),
            // A register that holds nothing is null.
            (Step::Read(key, Some(values)), Kind::Registers) if known => {
                json!(["r", key, values.first()])
            }
            (Step::Read(key, _), _) => json!(["r", key, null]),
            (Step::Write(key, value), Kind::Lists) => json!(["append", key, value]),
            (Step::Write(key, value), Kind::Registers) => json!(["w", key, value]),
        }
    }

    /// As the checker reads it.
    pub(crate) fn to_json(&self) -> String {
        let operations = self.operations.lock().unwrap_or_else(PoisonError::into_inner);
        Value::Array(operations.clone()).to_string()
    }
}
