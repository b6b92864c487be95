//! `txguard demo`: the main job in half a minute, without a database.
//!
//! ```text
//! embedded backend (or --backend)
//!    ├── direct:  8 writers, 10 accounts      commits, conflicts that reach the application
//!    └── txguard: the same                    the same commits, no conflicts
//! read-then-write through txguard: a replay would be wrong, so conflicts must arrive
//! ```
//!
//! Exit code 0 only if every sum and counter is right.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use comfy_table::{CellAlignment, Table, presets};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use mysql_async::OptsBuilder;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::app::build::{App, Parts};
use crate::base::config::Config;
use crate::base::metrics::{Metrics, ReplayOutcome};
use crate::base::tasks::Tasks;
use crate::embedded::{engine::Engine, front};
use crate::load::{Load, Progress, Report, bank, read_then_write, remove_schema};

/// Show write conflicts disappear, without a database.
#[derive(Debug, Args)]
pub struct Demo {
    /// Run against this server instead of the embedded backend; the schema `txguard_demo` is made
    /// and removed there.
    #[arg(long, value_name = "HOST:PORT")]
    backend: Option<String>,

    /// The user at that server.
    #[arg(long, default_value = "root")]
    user: String,

    /// The environment variable that holds the user's password.
    #[arg(long, value_name = "NAME")]
    password_env: Option<String>,

    /// Seconds for each of the three runs.
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds: u64,

    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// One of the three runs.
struct Run {
    report: Report,
    replays: u64,
}

impl Demo {
    /// Runs the demo.
    #[must_use]
    pub fn run(&self) -> ExitCode {
        let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return fail(&error.into()),
        };
        match runtime.block_on(self.show()) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => fail(&anyhow::anyhow!("a sum or a counter is wrong: please report this")),
            Err(error) => fail(&error),
        }
    }

    async fn show(&self) -> anyhow::Result<bool> {
        let tasks = Tasks::default();
        let backend = match &self.backend {
            Some(address) => address.clone(),
            None => embedded(&tasks).await?,
        };
        let (proxy, metrics, stop) = serve(&backend, &tasks).await?;
        self.say(&format!(
            "8 writers move money between 10 accounts, {} s direct and {} s through txguard.",
            self.seconds, self.seconds
        ));
        let direct = self.bank("direct", &backend, &metrics).await?;
        let guarded = self.bank("txguard", &proxy, &metrics).await?;
        let refused = self.read_then_write(&proxy, &metrics).await?;
        remove_schema(&self.load(&backend)?).await?;
        stop.cancel();
        tasks.cancel();
        tasks.wait().await;
        let right = [&direct, &guarded, &refused].iter().all(|run| run.report.is_correct());
        let mut out = io::stdout();
        match self.json {
            true => print_json(&mut out, &direct, &guarded, &refused)?,
            false => print_table(&mut out, &direct, &guarded, &refused)?,
        }
        Ok(right)
    }

    async fn bank(&self, name: &str, address: &str, metrics: &Metrics) -> anyhow::Result<Run> {
        let load = self.load(address)?;
        let before = metrics.replays(ReplayOutcome::Succeeded);
        let progress = Arc::new(Progress::default());
        let accounts = bank::Bank::default();
        let report = self.watch(name, &progress, bank::run(&load, &accounts, &progress)).await?;
        Ok(Run { report, replays: metrics.replays(ReplayOutcome::Succeeded) - before })
    }

    async fn read_then_write(&self, address: &str, metrics: &Metrics) -> anyhow::Result<Run> {
        let mut load = self.load(address)?;
        load.deadline = Duration::from_secs(self.seconds.div_ceil(2));
        let before = metrics.replays(ReplayOutcome::Succeeded);
        let progress = Arc::new(Progress::default());
        let shape = read_then_write::Shape::OneRow;
        let run = read_then_write::run(&load, shape, &progress);
        let report = self.watch("read then write", &progress, run).await?;
        Ok(Run { report, replays: metrics.replays(ReplayOutcome::Succeeded) - before })
    }

    fn load(&self, address: &str) -> anyhow::Result<Load> {
        let (host, port) = address
            .rsplit_once(':')
            .and_then(|(host, port)| Some((host.trim_matches(['[', ']']), port.parse().ok()?)))
            .ok_or_else(|| anyhow::anyhow!("{address} is not HOST:PORT"))?;
        let password = match &self.password_env {
            Some(name) => Some(
                std::env::var(name)
                    .map_err(|_| anyhow::anyhow!("the environment variable {name} is not set"))?,
            ),
            None => None,
        };
        let opts = OptsBuilder::default()
            .ip_or_hostname(host)
            .tcp_port(port)
            .user(Some(&self.user))
            .pass(password);
        let deadline = Duration::from_secs(self.seconds);
        Ok(Load { opts: opts.into(), deadline, ..Load::default() })
    }

    /// Runs a workload with a line that lives while it runs.
    async fn watch<E: Into<anyhow::Error>>(
        &self,
        name: &str,
        progress: &Progress,
        run: impl Future<Output = Result<Report, E>>,
    ) -> anyhow::Result<Report> {
        let line = ProgressBar::new_spinner().with_style(
            ProgressStyle::with_template("{spinner} {elapsed:>3} {msg}")?.tick_chars("|/-\\ "),
        );
        if self.json || !io::stderr().is_terminal() {
            line.set_draw_target(ProgressDrawTarget::hidden());
        }
        tokio::pin!(run);
        let report = loop {
            tokio::select! {
                done = &mut run => break done.map_err(Into::into)?,
                () = tokio::time::sleep(Duration::from_millis(100)) => {}
            }
            line.set_message(format!(
                "{name}: {} commits, {} conflicts reached the application",
                progress.commits(),
                progress.conflicts()
            ));
            line.tick();
        };
        line.finish_and_clear();
        Ok(report)
    }

    fn say(&self, text: &str) {
        if !self.json {
            let _ = writeln!(io::stderr(), "{text}");
        }
    }
}

/// Starts the embedded backend and tells where it listens.
async fn embedded(tasks: &Tasks) -> io::Result<String> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    tasks.spawn(front::serve(listener, Arc::new(Engine::new()), tasks.token().clone()));
    Ok(address)
}

/// Starts txguard before the backend, with the recommended policy.
async fn serve(
    backend: &str,
    tasks: &Tasks,
) -> anyhow::Result<(String, Arc<Metrics>, CancellationToken)> {
    let mut config = Config::for_backend(backend)?;
    config.listen.mysql = "127.0.0.1:0".parse()?;
    config.listen.http = None;
    config.limits.drain_timeout = Duration::from_secs(1);
    let app = App::build(&config, Parts::default()).await?;
    let address = app.mysql_address()?.to_string();
    let metrics = app.deps().metrics.clone();
    let stop = CancellationToken::new();
    let (gently, at_once) = (stop.clone(), CancellationToken::new());
    tasks.spawn(async move {
        app.run(gently, at_once).await;
    });
    Ok((address, metrics, stop))
}

fn print_json(out: &mut impl Write, direct: &Run, guarded: &Run, refused: &Run) -> io::Result<()> {
    let sums = |run: &Run| {
        json!({
            "commits": run.report.commits,
            "conflicts": run.report.conflicts_total(),
            "sum": run.report.sum,
            "sum_expected": run.report.sum_expected,
        })
    };
    let mut txguard = sums(guarded);
    txguard["replays"] = guarded.replays.into();
    let all = json!({
        "direct": sums(direct),
        "txguard": txguard,
        "refused": {
            "commits": refused.report.commits,
            "conflicts": refused.report.conflicts_total(),
            "counter": refused.report.counter,
        },
    });
    serde_json::to_writer_pretty(&mut *out, &all)?;
    writeln!(out)
}

fn print_table(out: &mut impl Write, direct: &Run, guarded: &Run, refused: &Run) -> io::Result<()> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header([
        "",
        "commits",
        "conflicts seen",
        "replays",
        "p50",
        "p99",
        "sum of balances",
    ]);
    for (name, run) in [("direct", direct), ("through txguard", guarded)] {
        let latency = run.report.transaction_latency;
        table.add_row([
            name.to_owned(),
            run.report.commits.to_string(),
            run.report.conflicts_total().to_string(),
            run.replays.to_string(),
            millis(latency.p50),
            millis(latency.p99),
            format!("{} of {}", run.report.sum, run.report.sum_expected),
        ]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    writeln!(out, "\n{table}\n")?;
    let report = &refused.report;
    writeln!(
        out,
        "Read, compute, write: here a second run would overwrite what the application has not\n\
         seen, so txguard hands the conflict back: {} commits, {} conflicts seen, counter {} of {}.",
        report.commits,
        report.conflicts_total(),
        report.counter,
        report.counter_expected
    )
}

fn millis(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1e3)
}

fn fail(error: &anyhow::Error) -> ExitCode {
    super::serve::complain(&format!("txguard demo: {error:#}"));
    ExitCode::FAILURE
}
