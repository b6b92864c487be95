//! `txguard schema install | check | print`: the tables that txguard keeps in the database.
//!
//! ```text
//! install   0 it is there now    1 it could not be installed    2 no configuration or account
//! check     0 it is right        1 it is missing or another     2 nobody could be asked
//! print     0                                                   2 no configuration or account
//! ```

use std::fmt::Display;
use std::io::{Write, stderr, stdout};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

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

    /// Every database of the configuration; the worst of them is the exit code.
    async fn ask(&self, config: &Config, json: bool) -> ExitCode {
        let databases = match super::open(config).await {
            Ok(databases) => databases,
            Err(error) => return failed(EXIT_CONFIG, &error),
        };
        let mut answers = Vec::new();
        for (address, mut talk) in databases {
            let answer = match self {
                Self::Install(_) => install(&mut talk).await,
                Self::Check(_) | Self::Print { .. } => check(&mut talk).await,
            };
            answers.push((address, answer));
        }
        let mut out = stdout();
        let written = if json {
            let all: Value = answers.iter().map(|(address, answer)| answer.json(address)).collect();
            writeln!(out, "{all:#}")
        } else {
            let mut lines = answers.iter().flat_map(|(address, answer)| {
                answer.lines.iter().map(move |line| format!("{address}: {line}\n"))
            });
            lines.try_for_each(|line| out.write_all(line.as_bytes()))
        };
        match answers.iter().map(|(_, answer)| answer.code).max() {
            Some(worst @ 1..) => ExitCode::from(worst),
            Some(0) | None => super::written(written),
        }
    }
}

/// What there is to say of one database.
struct Answer {
    /// The exit code.
    code: u8,
    /// The version that is installed, if any.
    found: Option<u32>,
    lines: Vec<String>,
}

impl Answer {
    fn of(state: &State) -> Self {
        let found = match state {
            State::Missing => None,
            State::Version(found) => Some(*found),
            State::Differs(_) | State::Right => Some(schema::VERSION),
        };
        let code = if *state == State::Right { 0 } else { EXIT_WRONG };
        Self { code, found, lines: vec![state.to_string()] }
    }

    fn failure(code: u8, why: &dyn Display) -> Self {
        Self { code, found: None, lines: vec![why.to_string()] }
    }

    fn json(&self, address: &str) -> Value {
        json!({
            "address": address,
            "ok": self.code == 0,
            "found": self.found,
            "needed": schema::VERSION,
            "text": self.lines,
        })
    }
}

async fn install(talk: &mut Talk) -> Answer {
    let done = match schema::install(talk).await {
        Ok(done) => done,
        Err(error) => return Answer::failure(EXIT_WRONG, &error),
    };
    let mut answer = match schema::inspect(talk).await {
        Ok(state) => Answer::of(&state),
        Err(error) => return Answer::failure(EXIT_WRONG, &error),
    };
    if answer.code == 0 {
        answer.lines = done.into_iter().map(|step| format!("installed {step}")).collect();
        if answer.lines.is_empty() {
            answer.lines.push(format!("{}, nothing to do", State::Right));
        }
    }
    answer
}

async fn check(talk: &mut Talk) -> Answer {
    match schema::inspect(talk).await {
        Ok(state) => Answer::of(&state),
        Err(error) => Answer::failure(EXIT_CONFIG, &error),
    }
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

fn failed(code: u8, why: &dyn Display) -> ExitCode {
    // The exit code says it all, also where nobody reads the text.
    let _ = writeln!(stderr(), "{why}");
    ExitCode::from(code)
}
