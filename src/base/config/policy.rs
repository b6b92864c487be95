//! `[[policy]]`: which transactions get what. First match wins; what is left out is off.

use std::collections::HashSet;
use std::fmt;
use std::ops::Range;
use std::time::Duration;

use serde::de::{self, Deserialize, Deserializer, Visitor};
use toml::Spanned;
use toml::de::DeTable;

use super::problem::Report;
use super::section::{Schema, Section};
use super::value::Pattern;

/// The keys of one policy.
pub(super) const SCHEMA: Schema = Schema {
    title: "[[policy]]",
    keys: &["name", "match", "retry", "tag", "tag_keys", "tso", "receipt", "observe_only"],
};

/// The keys of `match`.
pub(super) const MATCH: Schema = Schema { title: "[[policy]] match", keys: &["users", "schemas"] };

/// The keys of `retry`.
pub(super) const RETRY: Schema =
    Schema { title: "[[policy]] retry", keys: &["attempts", "budget", "backoff", "backoff_max"] };

/// One rule: whom it is for and what it switches on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Its name in logs and tables; unique, with its place in the file.
    pub name: Spanned<String>,
    /// Whom it is for.
    pub rule: Match,
    /// Verified replay of transactions that lost a conflict.
    pub retry: Option<Retry>,
    /// How statements carry the transaction's id.
    pub tag: Tag,
    /// What the comment says.
    pub tag_keys: TagKeys,
    /// Which timestamps are taken.
    pub tso: TsoMode,
    /// A row with each COMMIT tells afterwards that it happened.
    pub receipt: bool,
    /// Decide and count, but act on nothing.
    pub observe_only: bool,
}

/// Whom a rule is for: both parts must match.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Match {
    /// User names as given at login, without a host; `None` is everyone.
    pub users: Option<Vec<Pattern>>,
    /// The schema in use at BEGIN, in lower case, as TiDB compares schema names without case;
    /// `None` is every one, also none at all.
    pub schemas: Option<Vec<Pattern>>,
}

/// Limits of verified replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// Replays of one transaction at most; the client's own run is not counted.
    pub attempts: u32,
    /// Time from the first conflict until the last replay may begin.
    pub budget: Duration,
    /// The longest pause before the first replay; it doubles with each one.
    pub backoff: Duration,
    /// No pause is longer.
    pub backoff_max: Duration,
}

/// How statements carry the transaction's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tag {
    /// In `@@tidb_session_alias`, one more statement per transaction.
    Alias,
    /// In a comment before each statement.
    Comment,
    /// Not at all.
    #[default]
    Off,
}

/// What a comment before a statement says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TagKeys {
    /// The number of the run.
    pub attempt: bool,
    /// The name of the policy: the only key that prepared statements get, too, as it never changes
    /// and so leaves plan caches alone.
    pub policy: bool,
    /// The application's trace context.
    pub traceparent: bool,
    /// The timestamp that was taken at BEGIN.
    pub tso: bool,
    /// The transaction's id.
    pub txn: bool,
}

impl Default for TagKeys {
    fn default() -> Self {
        Self { attempt: true, policy: false, traceparent: true, tso: true, txn: true }
    }
}

/// Which timestamps are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TsoMode {
    /// The backend's own start_ts and commit_ts, by statements around COMMIT.
    Exact,
    /// One of the oracle at BEGIN; no statement is added.
    Hint,
    /// None.
    #[default]
    Off,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 30,
            budget: Duration::from_secs(10),
            // About one small transaction's time on TiDB.
            backoff: Duration::from_millis(2),
            backoff_max: Duration::from_millis(200),
        }
    }
}

impl Policy {
    /// Everything that is good without a cost for the database, for everyone.
    #[must_use]
    pub fn recommended() -> Self {
        Self {
            name: Spanned::new(0..0, "default".to_owned()),
            rule: Match::default(),
            retry: Some(Retry::default()),
            tag: Tag::Comment,
            tag_keys: TagKeys::default(),
            tso: TsoMode::Hint,
            receipt: false,
            observe_only: false,
        }
    }

    /// True if it switches nothing on: its transactions are relayed bare.
    #[must_use]
    pub fn is_bare(&self) -> bool {
        let tagged = self.tag != Tag::Off || self.tso != TsoMode::Off;
        self.retry.is_none() && !tagged && !self.receipt
    }
}

impl Match {
    /// True if it is for everyone and every schema.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        let any = |list: &Option<Vec<Pattern>>| {
            list.as_ref().is_none_or(|list| list.iter().any(Pattern::is_any))
        };
        any(&self.users) && any(&self.schemas)
    }
}

/// Reads all policies and checks them against each other. `account`: txguard has an account of its
/// own.
pub(super) fn read_all(
    tables: Vec<Spanned<DeTable<'_>>>,
    account: bool,
    report: &mut Report,
    all: &[&'static Schema],
) -> Vec<Policy> {
    let mut places = Vec::new();
    let mut policies = Vec::new();
    for table in tables {
        let (span, mistakes) = (table.span(), report.errors.len());
        policies.push(Policy::read(Section::new(&SCHEMA, table, report), account, all));
        places.push((report.errors.len() == mistakes).then_some(span));
    }
    check_names(&policies, report);
    check_reachable(&policies, &places, report);
    policies
}

impl Policy {
    fn read(mut section: Section<'_, '_>, account: bool, all: &[&'static Schema]) -> Self {
        let name = name(&mut section);
        let rule = section
            .table("match", &MATCH)
            .map_or_else(Match::default, |part| Match::read(part, all));
        let retry = section.table("retry", &RETRY).map(|part| Retry::read(part, all));
        let tag = section
            .value("tag", "true | false | \"alias\"")
            .map(Spanned::into_inner)
            .unwrap_or_default();
        let tag_keys = TagKeys::read(&mut section);
        let modes = [("hint", TsoMode::Hint), ("exact", TsoMode::Exact), ("off", TsoMode::Off)];
        let tso = section.choice("tso", &modes, TsoMode::Off);
        let receipt = receipt(&mut section, account);
        let observe = section.value::<bool>("observe_only", "true");
        let observe_only = observe.as_ref().is_some_and(|read| *read.get_ref());
        let policy = Self { name, rule, retry, tag, tag_keys, tso, receipt, observe_only };
        if let (Some(read), true, true) = (&observe, observe_only, policy.is_bare()) {
            section.warning(
                read.span(),
                format!(
                    "policy {:?} observes nothing: it switches nothing on",
                    policy.name.get_ref()
                ),
                "add what is to be observed, e.g. `retry = {}`",
            );
        }
        section.finish(all);
        policy
    }
}

impl TagKeys {
    fn read(section: &mut Section<'_, '_>) -> Self {
        const EXAMPLE: &str = "[\"attempt\", \"traceparent\", \"tso\", \"txn\"]";
        let Some(list) = section.texts("tag_keys", EXAMPLE) else { return Self::default() };
        let mut keys =
            Self { attempt: false, policy: false, traceparent: false, tso: false, txn: false };
        if list.get_ref().is_empty() {
            section.error(list.span(), "`tag_keys` is empty", "write `tag = false` for no tag");
        }
        for written in list.into_inner() {
            let (span, word) = (written.span(), written.into_inner());
            let key = match word.as_str() {
                "attempt" => &mut keys.attempt,
                "policy" => &mut keys.policy,
                "traceparent" => &mut keys.traceparent,
                "tso" => &mut keys.tso,
                "txn" => &mut keys.txn,
                _ => {
                    let text = format!("`tag_keys`: {word:?} is no key");
                    let remedy = "keys are: attempt, policy, traceparent, tso, txn";
                    section.error(span, text, remedy);
                    continue;
                }
            };
            if std::mem::replace(key, true) {
                let text = format!("`tag_keys`: {word:?} is there twice");
                section.error(span, text, "leave one out");
            }
        }
        keys
    }
}

fn receipt(section: &mut Section<'_, '_>, account: bool) -> bool {
    let Some(receipt) = section.value::<bool>("receipt", "true") else { return false };
    if *receipt.get_ref() && !account {
        section.error(
            receipt.span(),
            "`receipt = true` without `[backend] service_user`",
            "txguard asks for receipts with an account of its own: name it there",
        );
    }
    receipt.into_inner()
}

fn name(section: &mut Section<'_, '_>) -> Spanned<String> {
    const EXAMPLE: &str = "\"payments\"";
    let header = section.span();
    if !section.has("name") {
        section.error(
            header.clone(),
            "a policy without `name`",
            format!("add `name = {EXAMPLE}`; logs and tables call it so"),
        );
    }
    let Some(name) = section.value::<String>("name", EXAMPLE) else {
        return Spanned::new(header, String::new());
    };
    let text = name.get_ref();
    let remedy = "1 to 64 characters, none of them a control character";
    if text.is_empty() || text.chars().count() > 64 || text.chars().any(char::is_control) {
        section.error(name.span(), "this is no name for a policy", remedy);
    }
    name
}

impl Match {
    fn read(mut section: Section<'_, '_>, all: &[&'static Schema]) -> Self {
        let users = patterns(&mut section, "users", "[\"app\", \"batch_*\"]");
        let schemas = patterns(&mut section, "schemas", "[\"shop\", \"shop_*\"]");
        section.finish(all);
        Self { users, schemas }
    }
}

fn patterns(
    section: &mut Section<'_, '_>,
    key: &'static str,
    example: &str,
) -> Option<Vec<Pattern>> {
    let list = section.texts(key, example)?;
    if list.get_ref().is_empty() {
        section.error(
            list.span(),
            format!("`{key}` is empty, so nothing could match"),
            format!("name some, or leave `{key}` out to match all"),
        );
    }
    let mut seen = HashSet::new();
    let mut patterns = Vec::new();
    for written in list.into_inner() {
        let (span, mut text) = (written.span(), written.into_inner());
        if key == "schemas" {
            text = text.to_lowercase();
        }
        if text.chars().any(char::is_control) {
            let problem = format!("`{key}`: control characters are in no name");
            section.error(span, problem, format!("write it as `{key} = {example}`"));
        } else if !seen.insert(text.clone()) {
            section.error(span, format!("`{key}`: {text:?} is there twice"), "leave one out");
        } else {
            if key == "users" && text.contains('@') {
                section.warning(
                    span,
                    format!("`users`: {text:?} holds an @, and a user is known without a host"),
                    "write the name before the @ alone",
                );
            } else if text.contains('%') {
                section.warning(
                    span,
                    format!("`{key}`: in {text:?} the % stands for itself"),
                    "write * for any characters",
                );
            }
            patterns.push(Pattern::new(text));
        }
    }
    Some(patterns)
}

impl Retry {
    fn read(mut section: Section<'_, '_>, all: &[&'static Schema]) -> Self {
        let default = Self::default();
        let pauses = Duration::ZERO..=Duration::from_secs(60);
        let attempts = section.count("attempts", 1..=100, default.attempts);
        let budget = section.duration(
            "budget",
            Duration::from_millis(1)..=Duration::from_secs(3600),
            default.budget,
        );
        let first = section.duration("backoff", pauses.clone(), default.backoff);
        let written = section.has("backoff_max");
        // Only `backoff` written and longer than the default limit: the limit follows.
        let most = default.backoff_max.max(if written { Duration::ZERO } else { first });
        let backoff_max = section.duration("backoff_max", pauses, most);
        if first > backoff_max {
            section.error(
                section.span(),
                "`backoff` is longer than `backoff_max`",
                "raise `backoff_max` or lower `backoff`",
            );
        }
        section.finish(all);
        Self { attempts, budget, backoff: first, backoff_max }
    }
}

impl<'de> Deserialize<'de> for Tag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TagVisitor;

        impl Visitor<'_> for TagVisitor {
            type Value = Tag;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("true, false or \"alias\"")
            }

            fn visit_bool<E: de::Error>(self, on: bool) -> Result<Tag, E> {
                Ok(if on { Tag::Comment } else { Tag::Off })
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<Tag, E> {
                match word {
                    "alias" => Ok(Tag::Alias),
                    _ => Err(E::invalid_value(de::Unexpected::Str(word), &self)),
                }
            }
        }

        deserializer.deserialize_any(TagVisitor)
    }
}

fn check_names(policies: &[Policy], report: &mut Report) {
    let mut seen = HashSet::new();
    for policy in policies.iter().filter(|policy| !policy.name.get_ref().is_empty()) {
        if !seen.insert(policy.name.get_ref()) {
            let text = format!("there are two policies {:?}", policy.name.get_ref());
            report.error(policy.name.span(), text, "give each its own name");
        }
    }
}

/// A rule whose every case an earlier one takes would protect nobody, silently. Rules without a
/// place have mistakes of their own: what they match is not known, and they are left out.
fn check_reachable(policies: &[Policy], places: &[Option<Range<usize>>], report: &mut Report) {
    let mut earlier: Vec<(&Policy, [Names<'_>; 2])> = Vec::new();
    for (policy, place) in policies.iter().zip(places) {
        let Some(place) = place else { continue };
        let rule = &policy.rule;
        let names = [Names::new(rule.users.as_deref()), Names::new(rule.schemas.as_deref())];
        let first = earlier
            .iter()
            .find(|(_, before)| before.iter().zip(&names).all(|(wide, own)| wide.covers(own)));
        if let Some((first, _)) = first {
            let what = if first.rule.is_everything() { "everything" } else { "all that it would" };
            report.error(
                place.clone(),
                format!(
                    "policy {:?} can never match: policy {:?} before it matches {what}",
                    policy.name.get_ref(),
                    first.name.get_ref(),
                ),
                "the first match wins: put the narrower policy first",
            );
        }
        earlier.push((policy, names));
    }
}

/// The patterns of one side of a rule, prepared for [`check_reachable`].
struct Names<'a> {
    /// `None` if every name matches.
    list: Option<&'a [Pattern]>,
    exact: HashSet<&'a str>,
    globs: Vec<&'a Pattern>,
}

impl<'a> Names<'a> {
    fn new(list: Option<&'a [Pattern]>) -> Self {
        let list = list.filter(|list| !list.iter().any(Pattern::is_any));
        let all = list.unwrap_or_default();
        let exact = all.iter().filter(|one| one.is_exact()).map(Pattern::as_str).collect();
        Self { list, exact, globs: all.iter().filter(|one| !one.is_exact()).collect() }
    }

    fn covers(&self, other: &Self) -> bool {
        match (self.list, other.list) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(_), Some(others)) => others.iter().all(|other| {
                self.exact.contains(other.as_str())
                    || self.globs.iter().any(|glob| glob.covers(other))
            }),
        }
    }
}
