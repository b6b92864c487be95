//! The report as a table for each load. Pure.

use std::fmt::Write;
use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};

use crate::load::bench::{Estimate, Measure, Measured, Plan, Side};

/// All loads.
pub(super) fn of(plan: &Plan, measured: &[Measured]) -> String {
    let pace = match plan.rate {
        Some(rate) => format!("{rate} operations per second"),
        None => "closed loop".to_owned(),
    };
    let round = humantime::format_duration(plan.round_time);
    let (connections, rounds) = (plan.connections, plan.rounds);
    let mut text = format!("{connections} connections, {pace}, {rounds} rounds of {round}\n");
    for load in measured {
        let table = load_table(plan, load);
        let _ = write!(text, "\n{}\n{}\n", load.kind, table.trim_end());
        notes(plan, load, &mut text);
    }
    text
}

fn load_table(plan: &Plan, load: &Measured) -> String {
    let first = &plan.targets[0].name;
    let mut header = ["", "per second", "p50", "p90", "p99", "p99.9"].map(str::to_owned).to_vec();
    let with_cpu = load.sides.iter().any(|side| side.cpu_per_query().is_some());
    if with_cpu {
        header.push("CPU per query".to_owned());
    }
    let compared = load.sides.len() > 1;
    if compared {
        header.extend(["throughput", "p50", "p99"].map(|what| format!("{what} × {first}")));
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header);
    for (number, (target, side)) in plan.targets.iter().zip(&load.sides).enumerate() {
        let mut row = vec![target.name.clone(), format!("{:.0}", side.throughput())];
        let latency = |part| side.quantile(part).map_or_else(|| "-".to_owned(), short);
        row.extend([0.5, 0.9, 0.99, 0.999].map(latency));
        if with_cpu {
            row.push(side.cpu_per_query().map_or_else(String::new, short));
        }
        if compared && number > 0 {
            let ratio = |measure| ratio(side.relative(&load.sides[0], measure));
            row.extend([Measure::Throughput, Measure::P50, Measure::P99].map(ratio));
        }
        table.add_row(row);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.to_string()
}

/// What the numbers alone don't say.
fn notes(plan: &Plan, load: &Measured, text: &mut String) {
    for (target, side) in plan.targets.iter().zip(&load.sides) {
        let counts = [
            (side.sum(|round| round.conflicts), "conflicts, tried again"),
            (side.sum(|round| round.errors), "failed"),
            (side.sum(|round| round.unfinished), "unfinished: those latencies are lower bounds"),
        ];
        if side.sum(|round| round.operations) == 0 {
            let _ = writeln!(text, "  {}: not one operation was done", target.name);
        }
        for (count, what) in counts.iter().filter(|(count, _)| *count > 0) {
            let _ = writeln!(text, "  {}: {count} {what}", target.name);
        }
        if let Some(error) = &side.first_error {
            let _ = writeln!(text, "  {}: first failure: {error}", target.name);
        }
        if let Some(late) = late(side) {
            let late = short(late);
            let name = &target.name;
            let _ = writeln!(text, "  {name}: the load generator was late by up to {late} (p99)");
        }
        if !target.pids.is_empty() && side.rounds.iter().any(|round| round.cpu.is_none()) {
            let _ = writeln!(text, "  {}: its process has ended meanwhile", target.name);
        }
    }
    for (base, target, ratio) in cpu_ratios(plan, load) {
        let _ = writeln!(text, "  CPU per query, {target} × {base}: {}", self::ratio(Some(ratio)));
    }
    if let Some(books) = load.books {
        let _ = match books.are_right() {
            true => writeln!(text, "  balances and commits are right: {} applied", books.applied),
            false => writeln!(text, "  WRONG: {books:?}"),
        };
    }
}

/// CPU per query of the other targets with a process, relative to the first of them.
pub(super) fn cpu_ratios<'a>(
    plan: &'a Plan,
    load: &'a Measured,
) -> impl Iterator<Item = (&'a str, &'a str, Estimate)> {
    let mut with_cpu =
        plan.targets.iter().zip(&load.sides).filter(|(target, _)| !target.pids.is_empty());
    let first = with_cpu.next();
    with_cpu.filter_map(move |(target, side)| {
        let (base, base_side) = first?;
        let ratio = side.relative(base_side, Measure::Cpu)?;
        Some((base.name.as_str(), target.name.as_str(), ratio))
    })
}

/// At a fixed rate: the worst round's lateness of the load generator, if it is worth a word.
fn late(side: &Side) -> Option<Duration> {
    let worst = side.rounds.iter().filter_map(|round| round.late_p99).max()?;
    (worst > side.quantile(0.5)? / 10).then_some(worst)
}

fn ratio(estimate: Option<Estimate>) -> String {
    match estimate {
        None => "-".to_owned(),
        Some(Estimate { median, interval: None }) => format!("{median:.3}"),
        Some(Estimate { median, interval: Some(interval) }) => {
            format!("{median:.3} [{:.3}, {:.3}]", interval.low, interval.high)
        }
    }
}

/// Three digits and a unit.
pub(super) fn short(duration: Duration) -> String {
    let micros = duration.as_secs_f64() * 1e6;
    let (value, unit) = match micros {
        ..1e3 => (micros, "µs"),
        ..1e6 => (micros / 1e3, "ms"),
        _ => (micros / 1e6, "s"),
    };
    let digits = if value < 10.0 { 2 } else { usize::from(value < 100.0) };
    format!("{value:.digits$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_three_digits() {
        let nanos = |nanos| short(Duration::from_nanos(nanos));
        assert_eq!([0, 54_321, 812_345].map(nanos), ["0.00 µs", "54.3 µs", "812 µs"]);
        assert_eq!([1_234_567, 45_678_900].map(nanos), ["1.23 ms", "45.7 ms"]);
        assert_eq!(nanos(12_300_000_000), "12.3 s");
    }
}
