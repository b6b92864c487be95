//! The report as JSON. Pure. Latencies and CPU times are microseconds, times seconds.
//!
//! ```text
//! { "txguard": version,
//!   "settings": { "connections", "pace": "closed loop" | "rate", "rate", "rounds", "round_s",
//!                 "warm_up_s", "begin", "schema", "seed" },
//!   "interval": how intervals were made,
//!   "targets": [ { "name", "address", "pids" } … ],
//!   "loads": [ { "load",
//!     "books": null | { "right", "balances", "balances_expected", "applied", "acknowledged", "unknown" },
//!     "targets": [ { "name", COUNTS, "elapsed_s", "per_second",
//!                    "latency_us": { "count", "p50", "p90", "p99", "p99_9", "max" },
//!                    "cpu_us_per_query", "first_error",
//!                    "relative": null | { "to", "per_second": RATIO, "p50": RATIO, "p99": RATIO },
//!                    "relative_cpu": null | { "to", "cpu_us_per_query": RATIO },
//!                    "rounds": [ { COUNTS, "elapsed_s", "p50_us", "p90_us", "p99_us", "cpu_us",
//!                                  "late_p99_us" } … ] } … ] } … ] }
//!
//! COUNTS: "operations", "unfinished", "conflicts", "errors", "statements"
//! RATIO:  null | { "median", "low", "high", "confidence" }, the last three null below six rounds
//! ```
//!
//! `latency_us.count` is `operations` + `unfinished`. What is unknown is null.

use std::time::Duration;

use serde_json::{Value, json};

use super::table::cpu_ratios;
use crate::load::Mode;
use crate::load::bench::{Books, Estimate, Measure, Measured, Plan, Round, Side};

/// Everything.
pub(super) fn of(plan: &Plan, measured: &[Measured]) -> Value {
    let targets = plan.targets.iter().map(
        |target| json!({ "name": target.name, "address": target.address, "pids": target.pids }),
    );
    json!({
        "txguard": env!("CARGO_PKG_VERSION"),
        "settings": settings(plan),
        "interval": "order statistics of the ratios of adjacent rounds, at least 95 %",
        "targets": targets.collect::<Value>(),
        "loads": measured.iter().map(|load| one_load(plan, load)).collect::<Value>(),
    })
}

fn settings(plan: &Plan) -> Value {
    json!({
        "connections": plan.connections,
        "pace": if plan.rate.is_some() { "rate" } else { "closed loop" },
        "rate": plan.rate,
        "rounds": plan.rounds,
        "round_s": plan.round_time.as_secs_f64(),
        "warm_up_s": plan.warm_up.as_secs_f64(),
        "begin": match plan.mode {
            Mode::Default => "default",
            Mode::Optimistic => "optimistic",
            Mode::Pessimistic => "pessimistic",
        },
        "schema": plan.schema,
        "seed": plan.seed,
    })
}

fn one_load(plan: &Plan, load: &Measured) -> Value {
    let mut targets = Vec::new();
    for (number, (target, side)) in plan.targets.iter().zip(&load.sides).enumerate() {
        let mut all = one_side(side);
        all["name"] = target.name.clone().into();
        let relative = |measure| ratio(side.relative(&load.sides[0], measure));
        all["relative"] = match number {
            0 => Value::Null,
            _ => json!({
                "to": plan.targets[0].name,
                "per_second": relative(Measure::Throughput),
                "p50": relative(Measure::P50),
                "p99": relative(Measure::P99),
            }),
        };
        let cpu = cpu_ratios(plan, load).find(|(_, name, _)| *name == target.name);
        all["relative_cpu"] = cpu.map_or(
            Value::Null,
            |(to, _, found)| json!({ "to": to, "cpu_us_per_query": ratio(Some(found)) }),
        );
        targets.push(all);
    }
    json!({ "load": load.kind.as_str(), "books": load.books.map(books), "targets": targets })
}

fn one_side(side: &Side) -> Value {
    let latency = |part| side.quantile(part).map(micros);
    json!({
        "operations": side.sum(|round| round.operations),
        "unfinished": side.sum(|round| round.unfinished),
        "conflicts": side.sum(|round| round.conflicts),
        "errors": side.sum(|round| round.errors),
        "statements": side.sum(|round| round.statements),
        "elapsed_s": side.elapsed().as_secs_f64(),
        "per_second": side.throughput(),
        "latency_us": {
            "count": side.latencies(),
            "p50": latency(0.5),
            "p90": latency(0.9),
            "p99": latency(0.99),
            "p99_9": latency(0.999),
            "max": latency(1.0),
        },
        "cpu_us_per_query": side.cpu_per_query().map(micros),
        "first_error": side.first_error,
        "rounds": side.rounds.iter().map(one_round).collect::<Value>(),
    })
}

fn one_round(round: &Round) -> Value {
    json!({
        "operations": round.operations,
        "unfinished": round.unfinished,
        "conflicts": round.conflicts,
        "errors": round.errors,
        "statements": round.statements,
        "elapsed_s": round.elapsed.as_secs_f64(),
        "p50_us": micros(round.p50),
        "p90_us": micros(round.p90),
        "p99_us": micros(round.p99),
        "cpu_us": round.cpu.map(micros),
        "late_p99_us": round.late_p99.map(micros),
    })
}

fn books(books: Books) -> Value {
    json!({
        "right": books.are_right(),
        "balances": books.balances,
        "balances_expected": books.balances_expected,
        "applied": books.applied,
        "acknowledged": books.acknowledged,
        "unknown": books.unknown,
    })
}

fn ratio(estimate: Option<Estimate>) -> Value {
    estimate.map_or(Value::Null, |Estimate { median, interval }| {
        json!({
            "median": median,
            "low": interval.map(|interval| interval.low),
            "high": interval.map(|interval| interval.high),
            "confidence": interval.map(|interval| interval.confidence),
        })
    })
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}
