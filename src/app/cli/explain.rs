//! `txguard explain`: which transactions would be replayed, and why others would not.
//!
//! Needs no configuration and no database. Exit code 0: all transactions would be replayed; 1: some
//! would not; 2: the input can't be used.
//!
//! The JSON is one object, written as the input is read:
//!
//! ```text
//! { "transactions": [ { "lines": [first, last], "statements": n, "kind": "transaction" | "alone",
//!                       "replayable": true | "pinned" | false,
//!                       "reasons": [ { "reason", "text", "remedy", "line", "statement" } ],
//!                       "conditions": [ { "condition", "text", "line", "statement" } ] } … ],
//!   "replayable": true | false,
//!   "summary": { "replayable", "pinned", "conditional", "unguarded", "alone", "reasons": { reason: n } } }
//! ```
//!
//! `reasons` holds the first reason, the label that `txguard_unguarded_total` would count. An
//! autocommit statement is `"alone"` and not replayable: there is nothing to replay. `"pinned"` is
//! a transaction whose generated ids a replay gives again. Statements are shown without their
//! literals.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use crate::base::config::Limits;
use crate::sql::{Classifier, Lexing, Piece, Splitter, Verb, scan};
use crate::txn::explain::{Condition, Explainer, Protection, Source, Unknown, Verdict};
use crate::txn::guard::Unguarded;

/// Exit code where a transaction would not be replayed.
const EXIT_UNGUARDED: u8 = 1;

/// Exit code where the input can't be used; the same as for a wrong command line.
const EXIT_INPUT: u8 = 2;

/// Say which transactions would be replayed, and why others would not.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  txguard explain 'UPDATE account SET balance = balance - 1 WHERE id = 7'
  txguard explain 'BEGIN; SHOW TABLES; COMMIT' --json
  txguard explain --file statements.sql
  mysqldump … | txguard explain --file - --json

It decides as the proxy does, and takes it that every statement succeeds. Cursors, parameters sent in
pieces and commands that are no statements leave no trace in a text.

Exit codes: 0 all transactions would be replayed, 1 some would not, 2 the input can't be used.
The JSON has \"replayable\": true, \"pinned\" or false for each transaction; pinned is one whose
generated ids a replay gives again.")]
pub struct Explain {
    /// Statements, separated by `;`. Without a BEGIN they are looked at as a part of one.
    #[arg(required_unless_present = "file", conflicts_with = "file")]
    sql: Option<String>,

    /// Read statements from a file (`-`: standard input): BEGIN … COMMIT is a transaction, any
    /// other statement stands alone.
    #[arg(long)]
    file: Option<PathBuf>,

    /// Print JSON.
    #[arg(long)]
    json: bool,

    /// The statements are sent in one packet, as with allowMultiQueries.
    #[arg(long, conflicts_with = "file")]
    one_packet: bool,

    /// Autocommit is off at the beginning.
    #[arg(long)]
    autocommit_off: bool,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
enum Wrong {
    #[error("{0} can't be read: {1}")]
    Unreadable(String, io::Error),
    #[error("{0} is not a text (byte {1} is NUL); give a file of SQL statements in UTF-8")]
    Binary(String, usize),
    #[error("{0} holds no statement")]
    Empty(String),
    #[error("the report can't be written: {0}")]
    Output(#[from] io::Error),
}

impl Explain {
    /// Writes the report to `out`, mistakes to `err`.
    #[must_use]
    pub fn run(&self, out: &mut impl Write, err: &mut impl Write) -> ExitCode {
        let mut out = io::BufWriter::new(out);
        match self.report(&mut out).and_then(|all| out.flush().map(|()| all).map_err(Wrong::from)) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::from(EXIT_UNGUARDED),
            Err(Wrong::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
                ExitCode::SUCCESS
            }
            Err(wrong) => {
                let _ = writeln!(err, "txguard explain: {wrong}");
                ExitCode::from(EXIT_INPUT)
            }
        }
    }

    /// True if no transaction is unguarded.
    fn report(&self, out: &mut impl Write) -> Result<bool, Wrong> {
        let limits = Limits::default();
        let shapes = usize::try_from(limits.statement_shapes).unwrap_or(usize::MAX);
        let journal_max = usize::try_from(limits.journal_per_transaction).unwrap_or(usize::MAX);
        let classifier = Classifier::new(shapes);
        let mut explainer = Explainer::new(&classifier, journal_max);
        if self.autocommit_off {
            explainer = explainer.autocommit_off();
        }
        let mut report = Report { out, json: self.json, table: true, sums: Sums::default() };
        let name = match (&self.sql, &self.file) {
            (Some(sql), _) => {
                report.table = false;
                self.explain_text(sql.as_bytes(), explainer, &mut report)?;
                "the argument".to_owned()
            }
            (None, Some(file)) => explain_file(file, &mut explainer, &mut report)?,
            (None, None) => "the command line".to_owned(),
        };
        if report.sums.is_empty() {
            return Err(Wrong::Empty(name));
        }
        report.end()?;
        Ok(report.sums.unguarded == 0)
    }

    fn explain_text(
        &self,
        sql: &[u8],
        explainer: Explainer<'_>,
        report: &mut Report<impl Write>,
    ) -> Result<(), Wrong> {
        let mut explainer = match begins(sql) || self.autocommit_off {
            true => explainer,
            false => explainer.within(),
        };
        if self.one_packet {
            let verdict = explainer.read(Piece { text: sql, cut: false, line: 1 });
            report.verdict(verdict)?;
        } else {
            let mut cutter = Cutter::new(&explainer);
            cutter.feed(sql, &mut explainer, report)?;
            cutter.end(&mut explainer, report)?;
        }
        report.verdict(explainer.finish())
    }
}

/// Whether this text begins a transaction itself.
fn begins(sql: &[u8]) -> bool {
    let (mut splitter, mut rest) = (Splitter::new(sql.len()), sql);
    while !rest.is_empty() {
        let (len, _) = splitter.take(rest, Lexing::default());
        rest = &rest[len..];
        if matches!(scan(splitter.piece().text, Lexing::default()).verb, Verb::Begin(_)) {
            return true;
        }
    }
    false
}

/// Bytes read at a time; a binary file is told by the first of them, as grep does.
const CHUNK: usize = 64 << 10;

/// Reads a file to its end; returns its name for messages.
fn explain_file(
    file: &PathBuf,
    explainer: &mut Explainer<'_>,
    report: &mut Report<impl Write>,
) -> Result<String, Wrong> {
    let stdin = file.as_os_str() == "-";
    let name = if stdin { "standard input".to_owned() } else { file.display().to_string() };
    let unreadable = |error| Wrong::Unreadable(name.clone(), error);
    let (mut input, total): (Box<dyn Read>, Option<u64>) = match stdin {
        true => (Box::new(io::stdin().lock()), None),
        false => {
            let opened = File::open(file).map_err(unreadable)?;
            let total = opened.metadata().ok().map(|metadata| metadata.len());
            (Box::new(opened), total)
        }
    };
    let mut progress = Progress::new(total);
    let mut cutter = Cutter::new(explainer);
    let mut chunk = vec![0; CHUNK];
    let mut first = true;
    loop {
        let len = match input.read(&mut chunk) {
            Ok(0) => break,
            Ok(len) => len,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(unreadable(error)),
        };
        if let Some(at) = chunk[..len].iter().position(|byte| *byte == 0).filter(|_| first) {
            return Err(Wrong::Binary(name, at));
        }
        first = false;
        cutter.feed(&chunk[..len], explainer, report)?;
        progress.advance(len);
    }
    progress.clear();
    cutter.end(explainer, report)?;
    report.verdict(explainer.finish())?;
    Ok(name)
}

/// Cuts bytes into statements, and gives each to the explainer.
struct Cutter {
    splitter: Splitter,
    /// Bytes have come behind the last complete statement.
    partial: bool,
}

impl Cutter {
    fn new(explainer: &Explainer<'_>) -> Self {
        Self { splitter: Splitter::new(explainer.packet_bytes_max()), partial: false }
    }

    fn feed(
        &mut self,
        bytes: &[u8],
        explainer: &mut Explainer<'_>,
        report: &mut Report<impl Write>,
    ) -> Result<(), Wrong> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let (len, complete) = self.splitter.take(rest, explainer.lexing());
            rest = &rest[len..];
            self.partial = !complete;
            if complete {
                report.verdict(explainer.read(self.splitter.piece()))?;
            }
        }
        Ok(())
    }

    /// The last statement may have no `;`.
    fn end(
        &mut self,
        explainer: &mut Explainer<'_>,
        report: &mut Report<impl Write>,
    ) -> Result<(), Wrong> {
        match self.partial {
            true => report.verdict(explainer.read(self.splitter.piece())),
            false => Ok(()),
        }
    }
}

/// How far a large file has been read, on a terminal that shows nothing else.
struct Progress {
    total: Option<u64>,
    read: u64,
    shown: u64,
    on: bool,
}

impl Progress {
    /// Bytes between two lines of progress.
    const STEP: u64 = 8 << 20;

    fn new(total: Option<u64>) -> Self {
        let on = io::stderr().is_terminal() && !io::stdout().is_terminal();
        Self { total, read: 0, shown: 0, on }
    }

    fn advance(&mut self, len: usize) {
        self.read += u64::try_from(len).unwrap_or_default();
        if !self.on || self.read < self.shown + Self::STEP {
            return;
        }
        self.shown = self.read;
        let mib = self.read >> 20;
        let _ = match self.total.filter(|total| *total > 0) {
            Some(total) => {
                write!(io::stderr(), "\r{mib} MiB, {} %", (self.read * 100 / total).min(100))
            }
            None => write!(io::stderr(), "\r{mib} MiB"),
        };
    }

    fn clear(&self) {
        if self.shown > 0 {
            let _ = write!(io::stderr(), "\r{:30}\r", "");
        }
    }
}

/// What is counted over all transactions.
#[derive(Default)]
struct Sums {
    replayable: u64,
    /// Of those, the ones whose generated ids are given again.
    pinned: u64,
    /// Of all of them, the ones that depend on what the text doesn't tell.
    conditional: u64,
    unguarded: u64,
    alone: u64,
    reasons: BTreeMap<&'static str, (u64, Unguarded)>,
    conditions: BTreeMap<Unknown, u64>,
}

impl Sums {
    fn is_empty(&self) -> bool {
        self.replayable + self.unguarded + self.alone == 0
    }

    fn count(&mut self, verdict: &Verdict) {
        match &verdict.protection {
            Protection::Alone => self.alone += 1,
            Protection::Replayable | Protection::Pinned => {
                self.replayable += 1;
                self.pinned += u64::from(verdict.protection == Protection::Pinned);
                self.conditional += u64::from(!verdict.conditions.is_empty());
            }
            Protection::Unguarded { why, .. } => {
                self.unguarded += 1;
                let row = self.reasons.entry(why.as_str()).or_insert((0, *why));
                row.0 += 1;
            }
        }
        for condition in &verdict.conditions {
            *self.conditions.entry(condition.unknown).or_default() += 1;
        }
    }
}

/// Writes verdicts as they come.
struct Report<W> {
    out: W,
    json: bool,
    /// A line each, not a paragraph.
    table: bool,
    sums: Sums,
}

impl<W: Write> Report<W> {
    fn verdict(&mut self, verdict: Option<Verdict>) -> Result<(), Wrong> {
        let Some(verdict) = verdict else { return Ok(()) };
        let first = self.sums.is_empty();
        self.sums.count(&verdict);
        match (self.json, self.table) {
            (true, _) => {
                let before = if first { "{\"transactions\":[\n" } else { ",\n" };
                write!(self.out, "{before}{}", as_json(&verdict))?;
            }
            (false, true) => {
                if first {
                    self.row(["lines", "statements", "replayed", "reason", "because of"])?;
                }
                self.line(&verdict)?;
            }
            (false, false) => self.paragraph(&verdict)?,
        }
        Ok(())
    }

    fn row(&mut self, [lines, statements, replayed, reason, by]: [&str; 5]) -> io::Result<()> {
        let row = format!("{lines:<15} {statements:>10}  {replayed:<8}  {reason:<24}  {by}");
        writeln!(self.out, "{}", row.trim_end())
    }

    fn line(&mut self, verdict: &Verdict) -> io::Result<()> {
        let lines = lines(verdict);
        let statements = verdict.statements.to_string();
        let (replayed, reason, by) = match &verdict.protection {
            Protection::Alone => ("-", alone(verdict), String::new()),
            Protection::Replayable if verdict.conditions.is_empty() => ("yes", "", String::new()),
            Protection::Replayable => ("yes, if", conditions(verdict), String::new()),
            Protection::Pinned => ("pinned", conditions(verdict), String::new()),
            Protection::Unguarded { why, by } => ("no", why.as_str(), place(by)),
        };
        self.row([&lines, &statements, replayed, reason, &by])
    }

    fn paragraph(&mut self, verdict: &Verdict) -> io::Result<()> {
        let (first, last) = verdict.lines;
        let head = format!("line{} {}", if first == last { "" } else { "s" }, lines(verdict));
        match &verdict.protection {
            Protection::Alone => writeln!(self.out, "{head}: {}", alone(verdict))?,
            Protection::Replayable => writeln!(self.out, "{head}: replayable")?,
            Protection::Pinned => {
                writeln!(self.out, "{head}: replayable, with the ids of the first run")?;
            }
            Protection::Unguarded { why, by } => {
                writeln!(self.out, "{head}: not replayable: {}", why.as_str())?;
                writeln!(self.out, "  {}", place(by))?;
                writeln!(self.out, "  {}", why.told().what)?;
                if let Some(remedy) = why.told().remedy {
                    writeln!(self.out, "  remedy: {remedy}")?;
                }
            }
        }
        for Condition { unknown, by } in &verdict.conditions {
            writeln!(self.out, "  {} ({})", unknown.text(), place(by))?;
        }
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        match (self.json, self.table) {
            (true, _) => self.end_json(),
            (false, true) => self.end_text(),
            (false, false) => Ok(()),
        }
    }

    fn end_json(&mut self) -> io::Result<()> {
        let sums = &self.sums;
        let reasons: BTreeMap<_, _> =
            sums.reasons.iter().map(|(reason, (count, _))| (*reason, *count)).collect();
        let replayable = sums.unguarded == 0 && sums.replayable > 0;
        let summary = json!({
            "replayable": sums.replayable,
            "pinned": sums.pinned,
            "conditional": sums.conditional,
            "unguarded": sums.unguarded,
            "alone": sums.alone,
            "reasons": reasons,
        });
        writeln!(self.out, "\n],\"replayable\":{replayable},\"summary\":{summary}}}")
    }

    fn end_text(&mut self) -> io::Result<()> {
        let Sums { replayable, pinned, conditional, unguarded, alone, .. } = self.sums;
        let out = &mut self.out;
        writeln!(out, "\ntransactions: {}", replayable + unguarded)?;
        writeln!(
            out,
            "  would be replayed: {replayable}, with pinned ids: {pinned}, under a condition: \
             {conditional}"
        )?;
        writeln!(out, "  would not be: {unguarded}")?;
        writeln!(out, "statements alone, nothing to replay: {alone}")?;
        if !self.sums.reasons.is_empty() {
            writeln!(out)?;
            let rows: Vec<_> = self.sums.reasons.iter().map(reason_row).collect();
            let headings = ["reason", "transactions", "what is in the way; what to do"];
            super::columns::write(out, headings, &rows)?;
        }
        if !self.sums.conditions.is_empty() {
            writeln!(out)?;
            let rows: Vec<_> = self.sums.conditions.iter().map(condition_row).collect();
            super::columns::write(out, ["condition", "times", ""], &rows)?;
        }
        Ok(())
    }
}

fn reason_row((reason, (count, why)): (&&str, &(u64, Unguarded))) -> [String; 3] {
    let told = why.told();
    let words = format!("{} {}", told.what, told.remedy.unwrap_or_default());
    [(*reason).to_owned(), count.to_string(), words]
}

fn condition_row((unknown, count): (&Unknown, &u64)) -> [String; 3] {
    [unknown.as_str().to_owned(), count.to_string(), unknown.text().to_owned()]
}

fn lines(verdict: &Verdict) -> String {
    match verdict.lines {
        (first, last) if first == last => first.to_string(),
        (first, last) => format!("{first}-{last}"),
    }
}

/// The first of them; JSON has them all.
fn conditions(verdict: &Verdict) -> &'static str {
    verdict.conditions.first().map_or("", |condition| condition.unknown.as_str())
}

fn alone(verdict: &Verdict) -> &'static str {
    match verdict.conditions.iter().any(|condition| condition.unknown == Unknown::MayOpen) {
        true => "no transaction seen: nothing to replay",
        false => "autocommit: nothing to replay",
    }
}

fn place(source: &Source) -> String {
    format!("line {}: {}", source.line, source.shape)
}

fn as_json(verdict: &Verdict) -> Value {
    let (kind, replayable, reasons) = match &verdict.protection {
        Protection::Alone => ("alone", json!(false), vec![]),
        Protection::Replayable => ("transaction", json!(true), vec![]),
        Protection::Pinned => ("transaction", json!("pinned"), vec![]),
        Protection::Unguarded { why, by } => {
            let told = why.told();
            let reason = json!({
                "reason": why.as_str(),
                "text": told.what,
                "remedy": told.remedy,
                "line": by.line,
                "statement": by.shape,
            });
            ("transaction", json!(false), vec![reason])
        }
    };
    let condition = |Condition { unknown, by }: &Condition| {
        json!({
            "condition": unknown.as_str(),
            "text": unknown.text(),
            "line": by.line,
            "statement": by.shape,
        })
    };
    let conditions: Vec<_> = verdict.conditions.iter().map(condition).collect();
    json!({
        "lines": [verdict.lines.0, verdict.lines.1],
        "statements": verdict.statements,
        "kind": kind,
        "replayable": replayable,
        "reasons": reasons,
        "conditions": conditions,
    })
}
