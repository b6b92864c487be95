//! What a program said, and where it says something else through txguard.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::Value;

/// The steps of one run, in their order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Transcript(Vec<Step>);

#[derive(Debug, Clone, PartialEq)]
struct Step {
    name: String,
    /// All the rest of the line.
    said: Value,
}

impl Step {
    fn is_error(&self) -> bool {
        self.said.get("error").is_some()
    }
}

impl Transcript {
    /// From lines of JSON; says what is wrong with them.
    pub(crate) fn parse(lines: &str) -> Result<Self, String> {
        let mut steps: Vec<Step> = Vec::new();
        for line in lines.lines() {
            let mut said: Value =
                serde_json::from_str(line).map_err(|error| format!("{error}: {line}"))?;
            let name = match said.as_object_mut().and_then(|object| object.remove("step")) {
                Some(Value::String(name)) => name,
                _ => return Err(format!("no step: {line}")),
            };
            if steps.iter().any(|step| step.name == name) {
                return Err(format!("twice: {name}"));
            }
            steps.push(Step { name, said });
        }
        Ok(Self(steps))
    }

    fn by_name(&self) -> BTreeMap<&str, &Step> {
        self.0.iter().map(|step| (step.name.as_str(), step)).collect()
    }
}

/// What the comparison of a run with two direct ones found.
#[derive(Debug, Default)]
pub(crate) struct Comparison {
    /// Steps with a result that both direct runs agree on.
    pub(crate) results: usize,
    /// Steps with an error that both direct runs agree on.
    pub(crate) errors: usize,
    /// Names of steps that the direct runs don't agree on, or only one of them has.
    pub(crate) left_out: Vec<String>,
    /// Steps that came out otherwise, with both versions.
    pub(crate) differences: Vec<String>,
}

/// Compares a run with two direct ones.
pub(crate) fn compare(direct: [&Transcript; 2], run: &Transcript) -> Comparison {
    let mut found = Comparison::default();
    let (second, through) = (direct[1].by_name(), run.by_name());
    for step in &direct[0].0 {
        if second.get(step.name.as_str()) != Some(&step) {
            found.left_out.push(step.name.clone());
            continue;
        }
        *(if step.is_error() { &mut found.errors } else { &mut found.results }) += 1;
        let other = through.get(step.name.as_str()).copied();
        if other != Some(step) {
            found.differences.push(difference(step, other));
        }
    }
    let first = direct[0].by_name();
    for name in second.keys().filter(|name| !first.contains_key(*name)) {
        found.left_out.push((*name).to_owned());
    }
    for name in through.keys() {
        if !first.contains_key(name) && !second.contains_key(name) {
            found.differences.push(format!("{name}\n  only through txguard"));
        }
    }
    found
}

/// Both versions of a step, from shortly before the first character that differs.
fn difference(direct: &Step, through: Option<&Step>) -> String {
    const BEFORE: usize = 60;
    const SHOWN: usize = 400;
    let direct_text = direct.said.to_string();
    let through_text = through.map_or("(missing)".to_owned(), |step| step.said.to_string());
    let common = direct_text.chars().zip(through_text.chars()).take_while(|(a, b)| a == b).count();
    let mut text = direct.name.clone();
    for (title, said) in [("direct", &direct_text), ("txguard", &through_text)] {
        let from = common.saturating_sub(BEFORE);
        let part: String = said.chars().skip(from).take(SHOWN).collect();
        let before = if from > 0 { "…" } else { "" };
        let _ = write!(text, "\n  {title:7}: {before}{part}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transcript(lines: &[&str]) -> Transcript {
        Transcript::parse(&lines.join("\n")).expect("a transcript")
    }

    const ONE: &str = r#"{"step": "one", "rows": [1]}"#;
    const REFUSED: &str = r#"{"step": "refused", "error": 1064}"#;

    #[test]
    fn equal_runs_are_equal() {
        let run = transcript(&[ONE, REFUSED]);
        let found = compare([&run, &run], &run);
        assert_eq!((found.results, found.errors), (1, 1));
        assert!(found.left_out.is_empty() && found.differences.is_empty(), "{found:?}");
    }

    #[test]
    fn another_value_a_missing_step_and_a_new_one_are_differences() {
        let direct = transcript(&[ONE, REFUSED]);
        let run =
            transcript(&[r#"{"step": "one", "rows": [2]}"#, r#"{"step": "new", "rows": []}"#]);
        let found = compare([&direct, &direct], &run);
        assert_eq!(found.differences.len(), 3, "{found:?}");
        assert!(found.differences[0].contains("[2]"), "{found:?}");
        assert!(found.differences[1].contains("missing"), "{found:?}");
        assert!(found.differences[2].contains("only through"), "{found:?}");
    }

    #[test]
    fn what_direct_runs_disagree_on_does_not_count() {
        let first = transcript(&[ONE, REFUSED]);
        let second = transcript(&[r#"{"step": "one", "rows": [2]}"#, REFUSED]);
        let found = compare([&first, &second], &second);
        assert_eq!((found.results, found.errors), (0, 1));
        assert_eq!(found.left_out, ["one"]);
        assert!(found.differences.is_empty(), "{found:?}");
    }

    #[test]
    fn a_transcript_is_checked() {
        assert!(Transcript::parse("nonsense").is_err());
        assert!(Transcript::parse(r#"{"rows": []}"#).is_err());
        assert!(Transcript::parse(&[ONE, ONE].join("\n")).is_err());
    }
}
