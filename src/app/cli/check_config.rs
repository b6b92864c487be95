//! `txguard check-config FILE`: everything that is wrong with a file, or what it switches on.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use serde_json::{Value, json};

use crate::base::config::{Config, Match, Pattern, Policy, Problem, Retry, Tag, TsoMode};

/// Checks a file. Mistakes and warnings go to `err`; the table of policies, or with `json` one
/// object that says everything, to `out`. The exit code is 2 if the file can't be used.
#[must_use]
pub fn run(file: &Path, json: bool, out: &mut impl Write, err: &mut impl Write) -> ExitCode {
    match Config::load(file) {
        Ok(config) => {
            let written = warn(&config, err).and_then(|()| {
                if json { good_json(file, &config, out) } else { good_text(file, &config, out) }
            });
            super::written(written.and_then(|()| out.flush()))
        }
        Err(problems) => {
            let left = if problems.len() == 1 {
                "1 mistake"
            } else {
                &format!("{} mistakes", problems.len())
            };
            // The exit code says it all, also where nobody reads the text.
            let _ = writeln!(err, "{problems}\n\n{}: {left}, nothing was started", file.display());
            if json {
                let problems: Vec<_> = problems.iter().map(problem_json).collect();
                let all = json!({ "ok": false, "file": file.display().to_string(), "problems": problems });
                let _ = writeln!(out, "{all:#}").and_then(|()| out.flush());
            }
            ExitCode::from(super::EXIT_CONFIG)
        }
    }
}

fn warn(config: &Config, err: &mut impl Write) -> io::Result<()> {
    for warning in &config.warnings {
        writeln!(err, "warning: {warning}\n")?;
    }
    Ok(())
}

fn good_text(file: &Path, config: &Config, out: &mut impl Write) -> io::Result<()> {
    let http = config.listen.http.as_ref().map_or_else(|| "off".to_owned(), ToString::to_string);
    let backends: Vec<_> = config.backend.addresses.iter().map(ToString::to_string).collect();
    writeln!(out, "{}: right", file.display())?;
    writeln!(
        out,
        "clients on {}, metrics {http}, backend {}",
        config.listen.mysql,
        backends.join(", ")
    )?;
    if !config.enabled {
        writeln!(out, "enabled = false: no policy is in force, everything is relayed bare")?;
    }
    if config.policies.is_empty() {
        return writeln!(out, "no policy: everything is relayed bare");
    }
    writeln!(out)?;
    let rows: Vec<_> = config
        .policies
        .iter()
        .enumerate()
        .map(|(index, policy)| {
            [
                (index + 1).to_string(),
                policy.name.get_ref().clone(),
                names(policy.rule.users.as_deref()),
                names(policy.rule.schemas.as_deref()),
                policy.retry.map_or_else(|| "off".to_owned(), retry_text),
                tag_word(policy.tag).to_owned(),
                tso_word(policy.tso).to_owned(),
                if policy.receipt { "on" } else { "off" }.to_owned(),
                if policy.observe_only { "observes only" } else { "acts" }.to_owned(),
            ]
        })
        .collect();
    let headings = ["", "policy", "users", "schemas", "retry", "tag", "tso", "receipt", "mode"];
    super::columns::write(out, headings, &rows)?;
    if config.policies.iter().all(|policy| !policy.rule.is_everything()) {
        writeln!(out, "\nwhat no policy matches is relayed bare")?;
    }
    Ok(())
}

fn good_json(file: &Path, config: &Config, out: &mut impl Write) -> io::Result<()> {
    let policies: Vec<_> = config.policies.iter().map(policy_json).collect();
    let warnings: Vec<_> = config.warnings.iter().map(problem_json).collect();
    let backends: Vec<_> = config.backend.addresses.iter().map(ToString::to_string).collect();
    let all = json!({
        "ok": true,
        "file": file.display().to_string(),
        "enabled": config.enabled,
        "mysql": config.listen.mysql.to_string(),
        "http": config.listen.http.as_ref().map(ToString::to_string),
        "backends": backends,
        "policies": policies,
        "warnings": warnings,
    });
    writeln!(out, "{all:#}")
}

fn problem_json(problem: &Problem) -> Value {
    json!({
        "file": problem.file,
        "line": problem.place.as_ref().map(|place| place.line),
        "column": problem.place.as_ref().map(|place| place.column),
        "text": problem.text,
        "remedy": problem.remedy,
    })
}

fn policy_json(policy: &Policy) -> Value {
    let Match { users, schemas } = &policy.rule;
    let list = |names: &Option<Vec<Pattern>>| {
        names.as_ref().map(|names| names.iter().map(Pattern::to_string).collect::<Vec<_>>())
    };
    let retry = policy.retry.map(|retry| {
        json!({
            "attempts": retry.attempts,
            "budget_ms": millis(retry.budget),
            "backoff_ms": millis(retry.backoff),
            "backoff_max_ms": millis(retry.backoff_max),
        })
    });
    json!({
        "name": policy.name.get_ref(),
        "users": list(users),
        "schemas": list(schemas),
        "retry": retry,
        "tag": tag_word(policy.tag),
        "tso": tso_word(policy.tso),
        "receipt": policy.receipt,
        "observe_only": policy.observe_only,
    })
}

fn millis(time: std::time::Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn names(list: Option<&[Pattern]>) -> String {
    list.map_or_else(
        || "any".to_owned(),
        |list| list.iter().map(Pattern::as_str).collect::<Vec<_>>().join(", "),
    )
}

fn retry_text(retry: Retry) -> String {
    format!("{} in {}", retry.attempts, humantime::format_duration(retry.budget))
}

const fn tag_word(tag: Tag) -> &'static str {
    match tag {
        Tag::Alias => "alias",
        Tag::Comment => "comment",
        Tag::Off => "off",
    }
}

const fn tso_word(tso: TsoMode) -> &'static str {
    match tso {
        TsoMode::Exact => "exact",
        TsoMode::Hint => "hint",
        TsoMode::Off => "off",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, json: bool) -> (ExitCode, String, String) {
        let folder = tempfile::tempdir().expect("temporary folder");
        let file = folder.path().join("txguard.toml");
        std::fs::write(&file, text).expect("written");
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let code = run(&file, json, &mut out, &mut err);
        let place = folder.path().display().to_string();
        let text = |bytes| String::from_utf8(bytes).expect("text").replace(&place, "");
        (code, text(out), text(err))
    }

    const GOOD: &str = r#"
        [backend]
        service_user = "txguard"

        [[policy]]
        name = "payments"
        match = { users = ["app", "app_*"], schemas = ["bank"] }
        retry = { attempts = 3, budget = "1500ms" }
        tso = "exact"
        receipt = true

        [[policy]]
        name = "watch"
        match = { users = ["report"] }
        tag = true
        observe_only = true
    "#;

    #[test]
    fn a_right_file_gives_a_table_of_policies() {
        let (code, out, err) = check(GOOD, false);
        assert_eq!(code, ExitCode::SUCCESS);
        insta::assert_snapshot!(out, @"
        /txguard.toml: right
        clients on 127.0.0.1:4407, metrics 127.0.0.1:4480, backend 127.0.0.1:4000

           policy    users       schemas  retry          tag      tso    receipt  mode
        1  payments  app, app_*  bank     3 in 1s 500ms  off      exact  on       acts
        2  watch     report      any      off            comment  off    off      observes only

        what no policy matches is relayed bare
        ");
        insta::assert_snapshot!(err, @r#"
        warning: /txguard.toml:3:24: `service_user` has no password and will log in with an empty one
          |
        3 |         service_user = "txguard"
          |                        ^^^^^^^^^
          = add `service_password_env` or `service_password_file`
        "#);
    }

    #[test]
    fn a_right_file_as_json() {
        let (code, out, _) = check(GOOD, true);
        assert_eq!(code, ExitCode::SUCCESS);
        let all: Value = serde_json::from_str(&out).expect("JSON");
        assert_eq!(all["ok"], true);
        assert_eq!(all["policies"][0]["retry"]["budget_ms"], 1500.0);
        assert_eq!(all["policies"][1]["users"], json!(["report"]));
        assert_eq!(all["warnings"][0]["line"], 3);
    }

    #[test]
    fn mistakes_go_to_standard_error_with_exit_code_2() {
        let (code, out, err) = check("enabled = 1\n[limits]\nclient = 5\n", false);
        assert_eq!(code, ExitCode::from(2));
        assert_eq!(out, "");
        insta::assert_snapshot!(err, @"
        /txguard.toml:1:11: `enabled`: invalid type: integer `1`, expected a boolean
          |
        1 | enabled = 1
          |           ^
          = write it as `enabled = true`
        /txguard.toml:3:1: unknown key `client` in [limits]
          |
        3 | client = 5
          | ^^^^^^
          = did you mean `clients`? [limits] has: clients, handshake, idle, idle_in_transaction, statement, drain_delay, drain_timeout, journal_per_transaction, journal_total, statement_shapes, retry_tokens, retry_failures, retry_pause

        /txguard.toml: 2 mistakes, nothing was started
        ");
        let (code, out, _) = check("enabled = 1\n", true);
        assert_eq!(code, ExitCode::from(2));
        let all: Value = serde_json::from_str(&out).expect("JSON");
        assert_eq!((&all["ok"], &all["problems"][0]["column"]), (&json!(false), &json!(11)));
    }

    #[test]
    fn a_missing_file_is_a_mistake_too() {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let code = run(Path::new("/nowhere/x.toml"), false, &mut out, &mut err);
        assert_eq!(code, ExitCode::from(2));
        let err = String::from_utf8(err).expect("text");
        assert!(err.starts_with("/nowhere/x.toml: can't be read: "), "{err}");
    }
}
