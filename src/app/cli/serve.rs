//! `txguard serve`: exit code 0 after a signal, 2 for a mistake in the configuration, 3 for an
//! address that can't be listened on.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_appender::non_blocking::ErrorCounter;

use crate::app::build::{App, BuildError, Parts};
use crate::app::log;
use crate::base::config::{Config, Problems};

use super::EXIT_CONFIG;

/// Exit code for an address that can't be listened on.
const EXIT_LISTEN: u8 = 3;

/// How long open transactions may go on after a signal.
const DRAIN: Duration = Duration::from_secs(10);

/// Serve MySQL clients.
#[derive(Debug, Args)]
pub struct Serve {
    /// Configuration file; `txguard config print` writes an annotated one.
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with = "backend",
        required_unless_present = "backend"
    )]
    config: Option<PathBuf>,

    /// Serve in front of this address with the recommended policy, without a file.
    #[arg(long, value_name = "HOST:PORT")]
    backend: Option<String>,
}

impl Serve {
    /// Serves until a signal.
    #[must_use]
    pub fn run(&self) -> ExitCode {
        let config = match self.load() {
            Ok(config) => config,
            Err(problems) => {
                complain(&problems);
                return ExitCode::from(EXIT_CONFIG);
            }
        };
        let writer = log::start(&config.log);
        let dropped = writer.counter();
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let code = match runtime {
            Ok(runtime) => runtime.block_on(self.serve(config, dropped)),
            Err(error) => {
                complain(&error);
                ExitCode::FAILURE
            }
        };
        drop(writer);
        code
    }

    fn load(&self) -> Result<Config, Problems> {
        match (&self.config, &self.backend) {
            (Some(path), _) => Config::load(path),
            (None, Some(address)) => Config::for_backend(address),
            (None, None) => Ok(Config::default()),
        }
    }

    async fn serve(&self, config: Config, dropped: ErrorCounter) -> ExitCode {
        for warning in &config.warnings {
            tracing::warn!("{warning}");
        }
        let mut app = match App::build(&config, Parts::default()).await {
            Ok(app) => app,
            Err(error) => {
                tracing::error!("{error}");
                return ExitCode::from(match error {
                    BuildError::Listen(_) => EXIT_LISTEN,
                    BuildError::Tls(_) => EXIT_CONFIG,
                });
            }
        };
        if let Ok(address) = app.mysql_address() {
            let backends: Vec<String> =
                config.backend.addresses.iter().map(ToString::to_string).collect();
            tracing::info!(%address, backends = backends.join(","), "serving MySQL clients");
        }
        if let Some(address) = app.http_address() {
            tracing::info!(%address, "serving /metrics, /healthz and /readyz");
        }
        match config.policies.iter().any(|policy| policy.rule.is_everything()) {
            true => {}
            false if config.policies.is_empty() => {
                tracing::warn!("no policy: every connection is relayed bare");
            }
            false => tracing::info!("what no policy matches is relayed bare"),
        }
        app.publish(dropped);
        if !config.enabled {
            tracing::warn!("enabled = false: everything is relayed bare");
        }
        if let Some(file) = &self.config {
            app.follow(file.clone(), config);
        }
        let stop = CancellationToken::new();
        let served = app.run(stop.clone(), DRAIN);
        tokio::pin!(served);
        tokio::select! {
            () = &mut served => return ExitCode::SUCCESS,
            () = asked_to_stop() => {}
        }
        tracing::info!("stopping: no new clients, open transactions may finish");
        stop.cancel();
        tokio::select! {
            () = served => {}
            () = asked_to_stop() => tracing::warn!("stopping at once"),
        }
        ExitCode::SUCCESS
    }
}

/// Waits for SIGTERM or SIGINT.
async fn asked_to_stop() {
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

/// Says what is wrong where a person sees it; there is no log yet.
pub(super) fn complain(what: &dyn std::fmt::Display) {
    let _ = writeln!(std::io::stderr(), "{what}");
}
