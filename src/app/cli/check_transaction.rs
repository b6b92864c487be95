//! `txguard check-transaction ID`: what became of a transaction, from its receipts.
//!
//! It only looks. A transaction without a receipt may have had none, may have failed, or may still be
//! on its way, so that is `UNKNOWN`; `NOT COMMITTED` is said only where a resolver has written that it
//! never will.
//!
//! ```text
//! exit code   0 OK    1 NOT COMMITTED    2 no configuration, or nobody could be asked    3 UNKNOWN
//! ```

use std::fmt;
use std::io::{Write, stderr, stdout};
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use crate::base::clock::{Clock, SystemClock};
use crate::base::config::Config;
use crate::base::types::{Tso, TxnId};
use crate::coordinator::commit_ts::commit_ts;
use crate::store::receipts::{self, Outcome, Written};
use crate::store::schema::{self, State};
use crate::store::service::{ServiceError, Talk};

use super::EXIT_CONFIG;

const EXIT_NOT_COMMITTED: u8 = 1;
const EXIT_UNKNOWN: u8 = 3;

/// Say what became of a transaction.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes: 0 OK, 1 NOT COMMITTED, 2 no configuration or nobody could be asked, 3 UNKNOWN.")]
pub struct CheckTransaction {
    /// The transaction's id, from a log line, record or tag; or its start_ts.
    #[arg(value_name = "TXN ID | START_TS")]
    which: Which,
    /// The configuration file: it names the servers and the service account.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// How a transaction is named.
#[derive(Debug, Clone, Copy)]
enum Which {
    Id(TxnId),
    StartTs(Tso),
}

impl FromStr for Which {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // An id without hyphens has 32 digits, a timestamp 20 at most.
        if let Ok(start_ts) = text.parse() {
            return Ok(Self::StartTs(Tso(start_ts)));
        }
        text.parse().map(Self::Id).map_err(|_| "neither a transaction's id nor a start_ts".into())
    }
}

/// What is known of it.
struct Report {
    attempts: Vec<Written>,
    verdict: Verdict,
    /// The timestamp, or why there is none.
    commit_ts: Result<Tso, &'static str>,
}

enum Verdict {
    Committed,
    NotCommitted,
    Unknown(Unknown),
}

/// Why nothing can be said.
enum Unknown {
    NoReceipt,
    Purged(Duration),
    Schema(State),
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoReceipt => f.write_str(
                "there is no receipt: it ran without one, or did not commit, or is still on its way",
            ),
            Self::Purged(retention) => write!(
                f,
                "it began longer than {} ago, and receipts are not kept longer",
                humantime::format_duration(*retention)
            ),
            Self::Schema(state) => write!(f, "{state}"),
        }
    }
}

impl CheckTransaction {
    /// Runs it.
    #[must_use]
    pub fn run(&self) -> ExitCode {
        let config = match Config::load(&self.config) {
            Ok(config) => config,
            Err(problems) => return failed(&problems),
        };
        match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime.block_on(self.ask(&config)),
            Err(error) => failed(&error),
        }
    }

    async fn ask(&self, config: &Config) -> ExitCode {
        let databases = match super::open(config).await {
            Ok(databases) => databases,
            Err(error) => return failed(&error),
        };
        let mut last = None;
        for (address, mut talk) in databases {
            match self.look(&mut talk, config.receipts.retention).await {
                Ok(report) if report.attempts.is_empty() => last = Some(report),
                Ok(report) => return self.say(&report),
                Err(error) => return failed(&format_args!("{address}: {error}")),
            }
        }
        last.map_or_else(|| failed(&"nobody could be asked"), |report| self.say(&report))
    }

    async fn look(&self, talk: &mut Talk, retention: Duration) -> Result<Report, ServiceError> {
        const NOT_COMMITTED: &str = "it has not committed";
        let unknown = |why| Report {
            attempts: Vec::new(),
            verdict: Verdict::Unknown(why),
            commit_ts: Err(NOT_COMMITTED),
        };
        match schema::inspect(talk).await? {
            State::Right => {}
            state => return Ok(unknown(Unknown::Schema(state))),
        }
        let (txn, begun) = match self.which {
            Which::Id(txn) => (Some(txn), txn.begun()),
            Which::StartTs(ts) => {
                let row = receipts::of_start_ts(talk, ts).await?;
                (row.map(|row| row.key.txn), Duration::from_millis(ts.physical_ms()))
            }
        };
        let attempts = match txn {
            Some(txn) => receipts::of_transaction(talk, txn).await?,
            None => Vec::new(),
        };
        if attempts.is_empty() {
            let old = SystemClock.wall().saturating_sub(begun) > retention;
            let why = if old { Unknown::Purged(retention) } else { Unknown::NoReceipt };
            return Ok(unknown(why));
        }
        let done = attempts.iter().find(|row| row.outcome == Some(Outcome::Committed));
        let Some(done) = done else {
            let verdict = Verdict::NotCommitted;
            return Ok(Report { attempts, verdict, commit_ts: Err(NOT_COMMITTED) });
        };
        let commit_ts = when(talk, done).await?;
        Ok(Report { attempts, verdict: Verdict::Committed, commit_ts })
    }

    fn say(&self, report: &Report) -> ExitCode {
        let (word, code) = match report.verdict {
            Verdict::Committed => ("OK", 0),
            Verdict::NotCommitted => ("NOT COMMITTED", EXIT_NOT_COMMITTED),
            Verdict::Unknown(_) => ("UNKNOWN", EXIT_UNKNOWN),
        };
        let text =
            if self.json { format!("{:#}\n", to_json(report)) } else { to_text(word, report) };
        let mut out = stdout();
        let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        // The exit code says it all, also where nobody reads the text.
        match super::written(written) {
            ExitCode::SUCCESS => ExitCode::from(code),
            failure => failure,
        }
    }
}

/// When it committed, where that can be found out.
async fn when(talk: &mut Talk, done: &Written) -> Result<Result<Tso, &'static str>, ServiceError> {
    if !talk.is_tidb().await? {
        return Ok(Err("the server has no such timestamps"));
    }
    // Before its COMMIT in any case: a proxy's clock may be ahead by some time.
    let begun = done.key.txn.begun().saturating_sub(Duration::from_secs(3600));
    let earlier = Tso::compose(u64::try_from(begun.as_millis()).unwrap_or_default(), 0);
    let since = done.start_ts.unwrap_or(earlier);
    let found = commit_ts(talk, done.key, since).await?;
    Ok(found.ok_or("garbage collection has taken the history"))
}

fn start_ts(report: &Report) -> Option<Tso> {
    let done = report.attempts.iter().filter(|row| row.outcome == Some(Outcome::Committed));
    done.chain(&report.attempts).find_map(|row| row.start_ts)
}

const fn outcome_word(outcome: Option<Outcome>) -> &'static str {
    match outcome {
        Some(Outcome::Committed) => "committed",
        Some(Outcome::NotCommitted) => "not committed",
        None => "unknown",
    }
}

fn to_text(word: &str, report: &Report) -> String {
    if let Verdict::Unknown(why) = &report.verdict {
        return format!("{word}: {why}\n");
    }
    let mut text = format!("{word}\n");
    let mut line = |name: &str, value: &str| text.push_str(&format!("{name:<12}{value}\n"));
    if let Some(first) = report.attempts.first() {
        line("transaction", &first.key.txn.to_string());
    }
    let not_written = || "unknown: the receipt doesn't hold it".to_owned();
    line("start_ts", &start_ts(report).map_or_else(not_written, |ts| ts.to_string()));
    match report.commit_ts {
        Ok(ts) => line("commit_ts", &ts.to_string()),
        Err(why) => line("commit_ts", &format!("unknown: {why}")),
    }
    if let Some(user) = report.attempts.iter().find_map(|row| row.user.as_deref()) {
        line("user", user);
    }
    for row in &report.attempts {
        line(&format!("attempt {}", row.key.attempt), outcome_word(row.outcome));
    }
    text
}

/// Timestamps are texts: many readers of JSON keep only 53 bits of a number.
fn to_json(report: &Report) -> Value {
    let (outcome, reason) = match &report.verdict {
        Verdict::Committed => ("committed", None),
        Verdict::NotCommitted => ("not_committed", None),
        Verdict::Unknown(why) => ("unknown", Some(why.to_string())),
    };
    let attempts: Vec<Value> = report
        .attempts
        .iter()
        .map(|row| {
            json!({
                "attempt": row.key.attempt,
                "outcome": outcome_word(row.outcome).replace(' ', "_"),
                "user": row.user,
                "start_ts": row.start_ts.map(|ts| ts.to_string()),
            })
        })
        .collect();
    json!({
        "outcome": outcome,
        "reason": reason,
        "transaction": report.attempts.first().map(|row| row.key.txn.to_string()),
        "start_ts": start_ts(report).map(|ts| ts.to_string()),
        "commit_ts": report.commit_ts.ok().map(|ts| ts.to_string()),
        "commit_ts_unknown": report.commit_ts.err(),
        "attempts": attempts,
    })
}

fn failed(why: &dyn fmt::Display) -> ExitCode {
    // The exit code says it all, also where nobody reads the text.
    let _ = writeln!(stderr(), "{why}");
    ExitCode::from(EXIT_CONFIG)
}
