//! `txguard bench`: what a way to the database costs, compared with another one.
//!
//! ```text
//! --target, --load, … ─▶ Plan ─▶ load::bench::run ─▶ Measured ─▶ table | json | svg
//! ```
//!
//! Exit code 0: measured, every operation succeeded; 1: measured, but operations failed or the books
//! of the transfers are wrong; 2: not measured (command line, targets, output, interrupt).

mod json;
mod svg;
mod table;

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use mysql_async::OptsBuilder;
use tokio_util::sync::CancellationToken;

use super::serve::Signals;
use crate::base::clock::SystemClock;
use crate::base::config::Address;
use crate::load::Mode;
use crate::load::bench::{
    self, CONNECTIONS_MAX, Kind, Measured, Plan, ROUNDS_MAX, Side, Step, Target,
};

/// Exit code where operations failed.
const EXIT_FAILED: u8 = 1;

/// Exit code where nothing was measured; the same as for a wrong command line.
const EXIT_NOT_MEASURED: u8 = 2;

/// Where the password is.
const PASSWORD_ENV: &str = "TXGUARD_BENCH_PASSWORD";

/// Compare the latency, throughput and CPU of several ways to the same database.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  txguard bench --target direct=127.0.0.1:4000 --target txguard=127.0.0.1:4407
  txguard bench --target direct=127.0.0.1:4000 --target again=127.0.0.1:4000
                                    # A/A: how much two equal targets differ here
  txguard bench --target direct=127.0.0.1:4000 --target haproxy=127.0.0.1:3306 \\
                --target txguard=127.0.0.1:4407 \\
                --pid haproxy=$(pidof haproxy) --pid txguard=$(pidof txguard) \\
                --load point-text,read-write --json bench.json --svg bench.svg
  TXGUARD_BENCH_PASSWORD=… txguard bench --user app --rate 2000 --target direct=tidb:4000

Loads:
  point-text      one row by its primary key, as text
  point-prepared  the same, prepared
  read-write      BEGIN, read a row, write it, COMMIT; no two connections want the same row
  transfers       transfers between ten accounts; a conflict is tried again at once, and its time
                  counts from the first attempt
  big             a result of 1 MiB

In every round each target has its turn, in every other one backwards (ABBA). Without --rate each
connection sends as soon as it has its answer (closed loop). With it operations are due at equal
distances, the next free connection takes them, and their latency counts from when they were due,
so a server that stands still can't hide it (coordinated omission); what is not sent after twice
the round time counts as unfinished.

Ratios are medians over the rounds, each of a target's turn to the first target's in the same round.
The interval in brackets holds the true median with at least 95 % (order statistics, Conover,
Practical Nonparametric Statistics, 3.2); it needs six rounds.

All targets must lead to the same database. The schema is made through the first one and dropped at
the end; one that exists and isn't of an earlier run is refused.

Exit codes: 0 measured, every operation succeeded; 1 measured, but operations failed or balances are
wrong; 2 not measured.")]
pub struct Bench {
    /// A way to the database; the first is what the others are compared with.
    #[arg(long = "target", value_name = "NAME=HOST:PORT", required = true, value_parser = target)]
    targets: Vec<(String, Address)>,

    /// The loads to run; all without.
    #[arg(long = "load", value_name = "LOAD", value_delimiter = ',')]
    loads: Vec<Kind>,

    /// Connections to each target.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=CONNECTIONS_MAX as i64))]
    connections: u32,

    /// Operations per second to each target, over all connections; a closed loop without.
    #[arg(long, value_name = "N", value_parser = rate)]
    rate: Option<f64>,

    /// Turns of each target under each load.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..=i64::from(ROUNDS_MAX)))]
    rounds: u32,

    /// How long a turn is.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = round_time)]
    round_time: Duration,

    /// How long each target is used before the first round of a load, uncounted.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = humantime::parse_duration)]
    warm_up: Duration,

    /// How transactions begin: BEGIN alone, or TiDB's BEGIN OPTIMISTIC or PESSIMISTIC.
    #[arg(long, value_enum, default_value_t = Begin::Default)]
    begin: Begin,

    /// The user at every target; the password is in the environment variable
    /// TXGUARD_BENCH_PASSWORD.
    #[arg(long, default_value = "root")]
    user: String,

    /// The schema that is made and dropped.
    #[arg(long, value_name = "NAME", default_value = "txguard_bench", value_parser = schema)]
    schema: String,

    /// A process of a target, for the CPU time per statement (Linux); again for further ones.
    #[arg(long = "pid", value_name = "NAME=PID", value_parser = pid)]
    pids: Vec<(String, u32)>,

    /// Write everything as JSON to a file; `-` writes it to standard output in place of the table.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Write the distribution of the latencies as a plot.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,

    /// Rows and amounts are drawn from it.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// See [`Mode`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Begin {
    Default,
    Optimistic,
    Pessimistic,
}

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
enum Wrong {
    #[error("two targets are called {0}: give each a name of its own")]
    TwoTargets(String),
    #[error("--pid {0}=…: there is no target of this name (--target {0}=HOST:PORT)")]
    NoTarget(String),
    #[error("{PASSWORD_ENV} is not UTF-8")]
    Password,
    #[error("{} can't be written: {source}", path.display())]
    Unwritable { path: PathBuf, source: io::Error },
    #[error("standard output can't be written: {0}")]
    Output(io::Error),
    #[error("no runtime: {0}")]
    Runtime(io::Error),
    #[error("{0}")]
    Bench(#[from] bench::Error),
}

impl Bench {
    /// Runs the benchmark.
    #[must_use]
    pub fn run(&self) -> ExitCode {
        match self.measure_and_report() {
            Ok(all) if all.iter().all(is_flawless) => ExitCode::SUCCESS,
            Ok(_) => ExitCode::from(EXIT_FAILED),
            Err(wrong) => {
                super::serve::complain(&format!("txguard bench: {wrong}"));
                ExitCode::from(EXIT_NOT_MEASURED)
            }
        }
    }

    fn measure_and_report(&self) -> Result<Vec<Measured>, Wrong> {
        let plan = self.plan()?;
        // Before minutes of measuring, not behind them.
        let mut svg_file = self.svg.as_deref().map(create).transpose()?;
        let json_path = self.json.as_deref().filter(|path| *path != Path::new("-"));
        let mut json_file = json_path.map(create).transpose()?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let measured = runtime.map_err(Wrong::Runtime)?.block_on(measure(&plan))?;
        if let Some((path, file)) = &mut svg_file {
            write(path, file, &svg::draw(&plan, &measured))?;
        }
        let json_text = format!("{:#}\n", json::of(&plan, &measured));
        if let Some((path, file)) = &mut json_file {
            write(path, file, &json_text)?;
        }
        let to_stdout = self.json.is_some() && json_path.is_none();
        let text = if to_stdout { json_text } else { table::of(&plan, &measured) };
        match io::stdout().write_all(text.as_bytes()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Wrong::Output(error)),
            Ok(()) | Err(_) => Ok(measured),
        }
    }

    fn plan(&self) -> Result<Plan, Wrong> {
        let mut targets = Vec::<Target>::new();
        for (name, address) in &self.targets {
            if targets.iter().any(|target| target.name == *name) {
                return Err(Wrong::TwoTargets(name.clone()));
            }
            targets.push(self.target(name, address)?);
        }
        for (name, pid) in &self.pids {
            let target = targets.iter_mut().find(|target| target.name == *name);
            target.ok_or_else(|| Wrong::NoTarget(name.clone()))?.pids.push(*pid);
        }
        let mut kinds = Kind::ALL.to_vec();
        kinds.retain(|kind| self.loads.is_empty() || self.loads.contains(kind));
        Ok(Plan {
            targets,
            kinds,
            connections: self.connections as usize,
            rate: self.rate,
            rounds: self.rounds,
            round_time: self.round_time,
            warm_up: self.warm_up,
            mode: match self.begin {
                Begin::Default => Mode::Default,
                Begin::Optimistic => Mode::Optimistic,
                Begin::Pessimistic => Mode::Pessimistic,
            },
            schema: self.schema.clone(),
            seed: self.seed,
            clock: Arc::new(SystemClock),
        })
    }

    fn target(&self, name: &str, address: &Address) -> Result<Target, Wrong> {
        let password = match std::env::var(PASSWORD_ENV) {
            Ok(password) => Some(password),
            Err(std::env::VarError::NotPresent) => None,
            Err(std::env::VarError::NotUnicode(_)) => return Err(Wrong::Password),
        };
        let opts = OptsBuilder::default()
            .ip_or_hostname(address.host())
            .tcp_port(address.port())
            .user(Some(&self.user))
            .pass(password)
            // The driver would go on through the server's Unix socket, past every proxy.
            .prefer_socket(false)
            // It would ask the server for both.
            .max_allowed_packet(Some(64 << 20))
            .wait_timeout(Some(28_800));
        let (name, address, pids) = (name.to_owned(), address.to_string(), Vec::new());
        Ok(Target { name, address, opts: opts.into(), pids })
    }
}

/// True if nothing failed and nothing is lost.
fn is_flawless(measured: &Measured) -> bool {
    let errors: u64 = measured.sides.iter().map(|side| side.sum(|round| round.errors)).sum();
    let done = |side: &Side| side.sum(|round| round.operations) > 0;
    errors == 0
        && measured.sides.iter().all(done)
        && measured.books.is_none_or(|books| books.are_right())
}

/// Measures with a line on the terminal that lives meanwhile. SIGINT and SIGTERM end it, and the
/// schema goes.
async fn measure(plan: &Plan) -> Result<Vec<Measured>, Wrong> {
    let mut signals = Signals::new().map_err(Wrong::Runtime)?;
    let (line, stop) = (progress(plan), CancellationToken::new());
    let watch = |step: Step| show(&line, plan, step);
    let run = bench::run(plan, &stop, &watch);
    tokio::pin!(run);
    let measured = tokio::select! {
        measured = &mut run => measured,
        () = signals.stop() => {
            stop.cancel();
            run.await
        }
    };
    line.finish_and_clear();
    Ok(measured?)
}

fn progress(plan: &Plan) -> ProgressBar {
    let turns = plan.kinds.len() * plan.targets.len() * plan.rounds as usize;
    let line = ProgressBar::new(turns as u64);
    if !io::stderr().is_terminal() {
        line.set_draw_target(ProgressDrawTarget::hidden());
    }
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {elapsed} of {duration}  {msg}") {
        line.set_style(style);
    }
    line
}

fn show(line: &ProgressBar, plan: &Plan, step: Step) {
    match step.turn {
        None => line.set_message(format!("{}: warm-up", step.kind)),
        Some(turn) => {
            let (round, name) = (turn.round + 1, &plan.targets[turn.target].name);
            line.set_message(format!("{}: round {round} of {}, {name}", step.kind, plan.rounds));
            line.inc(1);
        }
    }
    line.tick();
}

fn create(path: &Path) -> Result<(PathBuf, File), Wrong> {
    let unwritable = |source| Wrong::Unwritable { path: path.to_owned(), source };
    File::create(path).map(|file| (path.to_owned(), file)).map_err(unwritable)
}

fn write(path: &Path, file: &mut File, text: &str) -> Result<(), Wrong> {
    let unwritable = |source| Wrong::Unwritable { path: path.to_owned(), source };
    file.write_all(text.as_bytes()).map_err(unwritable)
}

/// `NAME=HOST:PORT`.
fn target(text: &str) -> Result<(String, Address), String> {
    let (name, address) = named(text)?;
    let address: Address =
        address.parse().map_err(|error| format!("{address} is no HOST:PORT: {error}"))?;
    match address.port() {
        0 => Err("port 0 can't be connected to".to_owned()),
        _ => Ok((name, address)),
    }
}

/// `NAME=PID`.
fn pid(text: &str) -> Result<(String, u32), String> {
    let (name, pid) = named(text)?;
    let pid = pid.parse().map_err(|_| format!("{pid:?} is not the number of one process"))?;
    Ok((name, pid))
}

/// Names are short and need no quoting anywhere.
fn named(text: &str) -> Result<(String, &str), String> {
    let (name, value) = text.split_once('=').ok_or("there is no NAME= at the beginning")?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.is_empty() || name.len() > 24 || !name.chars().all(plain) {
        return Err(format!("the name {name:?} is not 1 to 24 letters, digits, `-`, `_` or `.`"));
    }
    Ok((name.to_owned(), value))
}

fn schema(text: &str) -> Result<String, String> {
    let plain = text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic());
    if plain && begins && text.len() <= 64 {
        Ok(text.to_owned())
    } else {
        Err("a letter, then letters, digits and `_`, at most 64 in all".to_owned())
    }
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.01..=1e6).contains(&rate) => Ok(rate),
        _ => Err("operations per second, 0.01 to 1000000".to_owned()),
    }
}

fn round_time(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    let allowed = Duration::from_millis(10)..=Duration::from_secs(3_600);
    if allowed.contains(&time) { Ok(time) } else { Err("10ms to 1h".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_read_or_refused_with_a_reason() {
        let (name, address) = target("direct=[::1]:4000").expect("a target");
        assert_eq!((name.as_str(), address.to_string()), ("direct", "[::1]:4000".to_owned()));
        for text in ["127.0.0.1:4000", "=h:1", "a b=h:1", "<a>=h:1", "a=h", "a=h:0", "a=h:x"] {
            assert!(target(text).is_err(), "{text}");
        }
        assert_eq!(pid("haproxy=17"), Ok(("haproxy".to_owned(), 17)));
        // As `pidof` prints several.
        assert!(pid("haproxy=17 18").expect_err("two").contains("one process"));
        assert!(["9a", "", "a-b", "a`b", "a.b"].iter().all(|text| schema(text).is_err()));
        assert!(["0", "-1", "nan", "inf", "1e9", "x"].iter().all(|text| rate(text).is_err()));
        assert_eq!(rate("2.5"), Ok(2.5));
        assert!(["0s", "2h", "x"].iter().all(|text| round_time(text).is_err()));
    }
}
