//! `txguard serve`: exit code 0 after a signal, 1 if that cut clients off, 2 for a mistake in the
//! configuration, 3 for an address that can't be listened on.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_appender::non_blocking::ErrorCounter;

use crate::app::build::{App, BuildError, Parts};
use crate::app::{files, log};
use crate::base::config::{Config, Problems};

use super::EXIT_CONFIG;

/// Exit code for an address that can't be listened on.
const EXIT_LISTEN: u8 = 3;

/// Exit code of a shutdown that cut clients off.
const EXIT_CUT_OFF: u8 = 1;

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
        files::raise_limit();
        files::check(config.limits.clients);
        // Before anything is served: a signal must not end the process any more.
        let (mut signals, hangup) = match (Signals::new(), signal(SignalKind::hangup())) {
            (Ok(signals), Ok(hangup)) => (signals, hangup),
            (Err(error), _) | (_, Err(error)) => {
                tracing::error!(%error, "no signals");
                return ExitCode::FAILURE;
            }
        };
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
        let (stop, now) = (CancellationToken::new(), CancellationToken::new());
        let served = app.run(stop.clone(), now.clone());
        tokio::pin!(served);
        let ask = async {
            signals.stop().await;
            tracing::info!("stopping: no new clients, open transactions may finish");
            stop.cancel();
            signals.stop().await;
            tracing::warn!("stopping at once");
            now.cancel();
            std::future::pending().await
        };
        let cut_off = tokio::select! {
            cut_off = served => cut_off,
            never = ask => never,
            never = nothing_to_reload(hangup), if self.config.is_none() => never,
        };
        if cut_off > 0 { ExitCode::from(EXIT_CUT_OFF) } else { ExitCode::SUCCESS }
    }
}

/// What ends the process.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for SIGTERM or SIGINT. Cancel safe.
    pub(super) async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// A SIGHUP is for whoever follows the file. Without one nothing happens, for ever.
async fn nothing_to_reload(mut hangup: Signal) -> u64 {
    loop {
        match hangup.recv().await {
            Some(()) => tracing::warn!("SIGHUP: no file to reload"),
            None => std::future::pending().await,
        }
    }
}

/// Says what is wrong where a person sees it; there is no log yet.
pub(super) fn complain(what: &dyn std::fmt::Display) {
    let _ = writeln!(io::stderr(), "{what}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_hangup_without_a_file_ends_nothing() {
        let hangup = || signal(SignalKind::hangup()).expect("signals");
        let (listens, mut seen) = (hangup(), hangup());
        let sent = async {
            let pid = std::process::id().to_string();
            let kill = std::process::Command::new("kill").args(["-s", "HUP", &pid]).status();
            assert!(kill.expect("kill").success());
            seen.recv().await;
            tokio::task::yield_now().await;
        };
        tokio::select! {
            biased;
            _ = nothing_to_reload(listens) => panic!("it ends"),
            () = sent => {}
        }
    }
}
