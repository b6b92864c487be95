//! `txguard schema install | check | print`: the tables that txguard keeps in the database.
//!
//! ```text
//! install   0 it is there now    1 it could not be installed    2 no configuration or account
//! check     0 it is right        1 it is missing or another     2 nobody could be asked
//! print     0                                                   2 no configuration or account
//! ```

use std::io::{Write, stderr, stdout};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::json;

use crate::base::config::Config;
use crate::store::schema::{self, Role, State};
use crate::store::service::Talk;

use super::{EXIT_CONFIG, NotOpen};

/// Create, check or print the schema that txguard keeps in the database.
#[derive(Debug, Subcommand)]
pub enum Schema {
    /// Create the schema, or bring it up to date, with the service account.
    Install(Common),
    /// Compare the schema with what this version needs.
    Check(Common),
    /// Print the SQL of an installation, and GRANTs.
    Print {
        /// What all of them take.
        #[command(flatten)]
        common: Common,
        /// The GRANTs of an application's account (USER or USER@HOST) instead.
        #[arg(long = "for", value_name = "USER")]
        for_user: Option<String>,
    },
}

/// What all of them take.
#[derive(Debug, Args)]
pub struct Common {
    /// The configuration file: it names the servers and the service account.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Exit code where something is not as it should be.
const EXIT_WRONG: u8 = 1;

impl Schema {
    /// Runs it.
    #[must_use]
    pub fn run(&self) -> ExitCode {
        let (Self::Install(common) | Self::Check(common) | Self::Print { common, .. }) = self;
        let config = match Config::load(&common.config) {
            Ok(config) => config,
            Err(problems) => return failed(EXIT_CONFIG, &problems),
        };
        let Some(account) = &config.backend.service else {
            return failed(EXIT_CONFIG, &NotOpen::NoAccount);
        };
        if let Self::Print { for_user, .. } = self {
            return print(for_user.as_deref(), &account.user, common.json);
        }
        match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime.block_on(self.ask(&config, common.json)),
            Err(error) => failed(EXIT_CONFIG, &error),
        }
    }

    async fn ask(&self, config: &Config, json: bool) -> ExitCode {
        let (address, mut talk) = match super::open(config).await {
            Ok(open) => open,
            Err(error) => return failed(EXIT_CONFIG, &error),
        };
        match self {
            Self::Install(_) => install(&address, &mut talk, json).await,
            Self::Check(_) | Self::Print { .. } => check(&address, &mut talk, json).await,
        }
    }
}

async fn install(address: &str, talk: &mut Talk, json: bool) -> ExitCode {
    let done = match schema::install(talk).await {
        Ok(done) => done,
        Err(error) => return failed(EXIT_WRONG, &format_args!("{address}: {error}")),
    };
    // What an account of less rights can't see counts as absent.
    match schema::inspect(talk).await {
        Ok(State::Right) => {}
        Ok(state) => return failed(EXIT_WRONG, &format_args!("{address}: {state}")),
        Err(error) => return failed(EXIT_WRONG, &format_args!("{address}: {error}")),
    }
    let mut out = stdout();
    super::written(if json {
        let version = schema::VERSION;
        let all = json!({ "address": address, "version": version, "done": done });
        writeln!(out, "{all:#}")
    } else if done.is_empty() {
        writeln!(out, "{address}: {}, nothing to do", State::Right)
    } else {
        done.iter().try_for_each(|step| writeln!(out, "{address}: installed {step}"))
    })
}

async fn check(address: &str, talk: &mut Talk, json: bool) -> ExitCode {
    let state = match schema::inspect(talk).await {
        Ok(state) => state,
        Err(error) => return failed(EXIT_CONFIG, &format_args!("{address}: {error}")),
    };
    let right = state == State::Right;
    let mut out = stdout();
    let written = if json {
        let needed = schema::VERSION;
        let found = match &state {
            State::Missing => None,
            State::Version(found) => Some(*found),
            State::Differs(_) | State::Right => Some(needed),
        };
        let all = json!({
            "address": address,
            "ok": right,
            "needed": needed,
            "found": found,
            "text": state.to_string(),
        });
        writeln!(out, "{all:#}")
    } else if right {
        writeln!(out, "{address}: {state}")
    } else {
        writeln!(out, "{address}: {state}; `txguard schema install` mends what is missing")
    };
    let code = super::written(written);
    if right { code } else { ExitCode::from(EXIT_WRONG) }
}

fn print(for_user: Option<&str>, service: &str, json: bool) -> ExitCode {
    let mut out = stdout();
    let application = for_user.map(|user| {
        let (user, host) = user.rsplit_once('@').unwrap_or((user, "%"));
        schema::grants(Role::Application, user, host)
    });
    let statements: Vec<String> = match application {
        Some(_) => Vec::new(),
        None => schema::statements().collect(),
    };
    let grants = application.unwrap_or_else(|| {
        let roles = [Role::Service, Role::Installer];
        roles.into_iter().flat_map(|role| schema::grants(role, service, "%")).collect()
    });
    super::written(if json {
        let version = schema::VERSION;
        let all = json!({ "version": version, "statements": statements, "grants": grants });
        writeln!(out, "{all:#}")
    } else {
        statements.iter().chain(&grants).try_for_each(|statement| writeln!(out, "{statement};"))
    })
}

fn failed(code: u8, why: &dyn std::fmt::Display) -> ExitCode {
    // The exit code says it all, also where nobody reads the text.
    let _ = writeln!(stderr(), "{why}");
    ExitCode::from(code)
}
