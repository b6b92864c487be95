//! Plays a case and compares with what the server itself says.
//!
//! Every case is one transaction, with a row `hot` that another connection changes before COMMIT:
//!
//! ```text
//! before …           the session's own statements, outside
//! BEGIN OPTIMISTIC   (MariaDB: BEGIN)
//! SELECT … cold      takes the snapshot
//! steps …            what the case is about
//!                    the other connection: UPDATE t … hot
//! UPDATE t … hot     MariaDB meets the conflict here, 1020
//! COMMIT             TiDB meets it here, 9007
//! after …            what the session is like now
//! ```
//!
//! It is played three times through txguard, each time beside a direct connection:
//! - left alone: the answers are those of the server, byte for byte;
//! - with the conflict: a case that is replayed gets the answers of a run without one;
//! - with the conflict, and a read of the hot row before the steps: the replay is given up, and
//!   all answers are those of the server without txguard, also behind the error.
//!
//! A case that is not guarded gets the server's own answers each time, and its reason is counted.

use std::fmt::Write;

use txguard::base::metrics::ReplayOutcome;
use txguard::sql::{Classifier, Piece};
use txguard::txn::explain::{Explainer, Protection};

use crate::support::dump::difference;
use crate::support::proxy::policy;
use crate::support::raw::{Answer, Raw, caps};
use crate::support::{Backend, Proxy, Schema, client, mariadb, need, tidb};

/// Which servers a case is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum On {
    Both,
    TiDb,
    MariaDb,
}

/// What becomes of the transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The conflict is never seen.
    Replayed,
    /// The replay meets another answer each time: the client gets the conflict.
    Differs,
    /// The replay finds that something can't be run again: the client gets the conflict.
    Refused,
    /// It isn't guarded, for this reason.
    Unguarded(&'static str),
    /// The same, for a reason that only an answer can tell.
    Told(&'static str),
}

use Fate::{Differs, Refused, Replayed, Told, Unguarded};

/// A transaction.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Case {
    /// Begins with its number.
    pub(crate) name: &'static str,
    pub(crate) on: On,
    /// Outside of the transaction.
    pub(crate) before: &'static [&'static str],
    pub(crate) steps: &'static [&'static str],
    pub(crate) after: &'static [&'static str],
    pub(crate) fate: Fate,
    /// No answer is the same twice, so only errors are compared.
    pub(crate) varies: bool,
}

impl Case {
    const fn new(name: &'static str, steps: &'static [&'static str], fate: Fate) -> Self {
        Self { name, on: On::Both, before: &[], steps, after: &[], fate, varies: false }
    }

    pub(crate) const fn replayed(name: &'static str, steps: &'static [&'static str]) -> Self {
        Self::new(name, steps, Replayed)
    }

    pub(crate) const fn differs(name: &'static str, steps: &'static [&'static str]) -> Self {
        Self::new(name, steps, Differs)
    }

    pub(crate) const fn refused(name: &'static str, steps: &'static [&'static str]) -> Self {
        Self::new(name, steps, Refused)
    }

    pub(crate) const fn unguarded(
        name: &'static str,
        steps: &'static [&'static str],
        reason: &'static str,
    ) -> Self {
        Self::new(name, steps, Unguarded(reason))
    }

    pub(crate) const fn told(
        name: &'static str,
        steps: &'static [&'static str],
        reason: &'static str,
    ) -> Self {
        Self::new(name, steps, Told(reason))
    }

    pub(crate) const fn varying(self) -> Self {
        Self { varies: true, ..self }
    }

    pub(crate) const fn on(self, on: On) -> Self {
        Self { on, ..self }
    }

    pub(crate) const fn before(self, before: &'static [&'static str]) -> Self {
        Self { before, ..self }
    }

    pub(crate) const fn after(self, after: &'static [&'static str]) -> Self {
        Self { after, ..self }
    }
}

/// Tables that cases find, and the rows in them.
const TABLES: &[&str] = &[
    "CREATE TABLE t (id INT PRIMARY KEY, v INT, s VARCHAR(100) CHARACTER SET utf8mb4)",
    "CREATE TABLE a (id INT PRIMARY KEY AUTO_INCREMENT, v INT UNIQUE)",
    "CREATE TABLE g (id INT)",
    "CREATE TABLE r (id INT)",
    "CREATE SEQUENCE q",
    "CREATE DATABASE {other}",
    "CREATE TABLE {other}.t (id INT PRIMARY KEY, v INT)",
];

const ROWS: &[&str] = &[
    "DELETE FROM t",
    "INSERT INTO t VALUES (1, 10, 'hot'), (2, 20, 'cold'), (3, 30, 'x'), (4, 40, 'y')",
    "DELETE FROM a",
    "INSERT INTO a VALUES (1, 1)",
    "DELETE FROM {other}.t",
    "INSERT INTO {other}.t VALUES (3, 300)",
];

const HOT: &str = "SELECT v FROM {schema}.t WHERE id = 1";

const COLD: &str = "SELECT v FROM {schema}.t WHERE id = 2";

/// How a case is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Play {
    Alone,
    Conflict,
    /// With a conflict, and a read that comes out different.
    Read,
}

/// All cases, on both servers.
pub(crate) async fn play_on_tidb(cases: &[Case]) {
    play(&need!(tidb::start()), cases).await;
}

pub(crate) async fn play_on_mariadb(cases: &[Case]) {
    play(&need!(mariadb::start()), cases).await;
}

async fn play(backend: &Backend, cases: &[Case]) {
    let schema = backend.schema(&[]).await;
    let stage = Stage { backend, schema: &schema, other: format!("{}_other", schema.name) };
    stage.run(TABLES).await;
    let mine = if backend.is_tidb { On::TiDb } else { On::MariaDb };
    let mut wrong = String::new();
    for case in cases.iter().filter(|case| case.on == On::Both || case.on == mine) {
        for play in [Play::Alone, Play::Conflict, Play::Read] {
            if let Err(text) = stage.check(case, play).await {
                let _ = writeln!(wrong, "== {} · {play:?}: {text}", case.name);
            }
        }
        if let Err(text) = explained(case) {
            let _ = writeln!(wrong, "== {} · explain: {text}", case.name);
        }
    }
    stage.run(&["DROP DATABASE {other}"]).await;
    assert!(wrong.is_empty(), "{wrong}");
}

struct Stage<'a> {
    backend: &'a Backend,
    schema: &'a Schema,
    /// A second schema.
    other: String,
}

impl Stage<'_> {
    fn text(&self, statement: &str) -> String {
        statement.replace("{other}", &self.other).replace("{schema}", &self.schema.name)
    }

    async fn run(&self, statements: &[&str]) {
        let texts: Vec<String> = statements.iter().map(|text| self.text(text)).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        client::run(&mut self.schema.connect().await, &texts).await;
    }

    /// What the server itself says must come through txguard, or what it would have said.
    async fn check(&self, case: &Case, play: Play) -> Result<(), String> {
        let hides = play == Play::Conflict && case.fate == Replayed;
        let like = if hides { Play::Alone } else { play };
        let direct = self.dialogue(&self.backend.address, case, like).await;
        let proxy = Proxy::start(self.backend, policy::RETRY).await;
        let through = self.dialogue(&proxy.address.to_string(), case, play).await;
        for ((text, direct), (_, through)) in direct.iter().zip(&through) {
            let both = [direct, through].map(Answer::error);
            // Its text names timestamps and keys.
            let masked = both[0] == both[1] && (case.varies || both[0] == Some(9007));
            if let Some(difference) = difference(direct, through).filter(|_| !masked) {
                return Err(format!("{text}: {difference}"));
            }
        }
        let records = proxy.records();
        let Some(record) = records.last() else { return Err("no record".into()) };
        let told = (record.field("unguarded"), record.field("replay"));
        let expected = match (case.fate, play) {
            (Unguarded(reason) | Told(reason), _) => (reason, ""),
            (_, Play::Alone) => ("", ""),
            (Replayed, Play::Conflict) => ("", ReplayOutcome::Succeeded.as_str()),
            (Refused, Play::Conflict | Play::Read) => ("", ReplayOutcome::Refused.as_str()),
            (Differs, _) | (_, Play::Read) => ("", ReplayOutcome::Mismatch.as_str()),
        };
        proxy.stop().await;
        match told == expected {
            true => Ok(()),
            false => Err(format!("{told:?} is told, not {expected:?}")),
        }
    }

    /// Each statement and its answer.
    async fn dialogue(&self, address: &str, case: &Case, play: Play) -> Vec<(String, Answer)> {
        self.run(ROWS).await;
        let mut raw = Raw::login(address, Some(&self.schema.name), caps::USUAL).await;
        let mut heard = Vec::new();
        let begin = if self.backend.is_tidb { "BEGIN OPTIMISTIC" } else { "BEGIN" };
        let read: &[&str] = if play == Play::Read { &[HOT] } else { &[] };
        let until = [case.before, &[begin, COLD], read, case.steps];
        for text in until.concat() {
            heard.push(self.say(&mut raw, text).await);
        }
        if play != Play::Alone {
            self.run(&["UPDATE t SET v = v + 100 WHERE id = 1"]).await;
        }
        let end = [&["UPDATE {schema}.t SET v = v + 1 WHERE id = 1", "COMMIT"], case.after];
        for text in end.concat() {
            heard.push(self.say(&mut raw, text).await);
        }
        raw.quit().await;
        heard
    }

    async fn say(&self, raw: &mut Raw, text: &str) -> (String, Answer) {
        let text = self.text(text);
        let answer = raw.query(&text).await;
        (text, answer)
    }
}

/// `txguard explain` says the same of it.
fn explained(case: &Case) -> Result<(), String> {
    let classifier = Classifier::new(64);
    let mut explainer = Explainer::new(&classifier, 1 << 20);
    let all = [&["USE here"], case.before, &["BEGIN"], case.steps, &["COMMIT"]].concat();
    let name = |text: &&str| text.replace("{schema}", "here").replace("{other}", "there");
    let all: Vec<String> = all.iter().map(name).collect();
    let mut verdicts = Vec::new();
    for (line, text) in (1..).zip(&all) {
        verdicts.extend(explainer.read(Piece { text: text.as_bytes(), cut: false, line }));
    }
    let told = match verdicts.iter().rfind(|verdict| verdict.protection != Protection::Alone) {
        Some(verdict) => match &verdict.protection {
            Protection::Unguarded { why, .. } => Some(why.as_str()),
            Protection::Alone | Protection::Pinned | Protection::Replayable => None,
        },
        None => return Err("no transaction".into()),
    };
    let expected = match case.fate {
        Told(_) | Replayed | Refused | Differs => None,
        Unguarded(reason) => Some(reason),
    };
    match told == expected {
        true => Ok(()),
        false => Err(format!("{told:?}, not {expected:?}")),
    }
}
