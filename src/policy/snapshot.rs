//! All policies of one reload, ready for look-ups.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use crate::base::config::{Config, Pattern};

use super::plan::Plan;
use super::schemas::Schemas;

/// All policies of one reload.
#[derive(Debug)]
pub struct Snapshot {
    generation: u64,
    plans: Arc<[Arc<Plan>]>,
    bare: Arc<Plan>,
    /// By exact user name.
    users: HashMap<Box<str>, Arc<Schemas>>,
    /// By glob, in the order of the file.
    globs: Vec<(Pattern, Arc<Schemas>)>,
    /// Of the rules for everyone.
    everyone: Option<Arc<Schemas>>,
}

/// The policies that can be in force for one user; a session keeps it while its snapshot is the
/// current one.
#[derive(Debug, Clone)]
pub struct UserPolicies {
    generation: u64,
    plans: Arc<[Arc<Plan>]>,
    bare: Arc<Plan>,
    parts: Vec<Arc<Schemas>>,
    may_match: bool,
}

impl Snapshot {
    /// Compiles a checked configuration. `generation` grows with each reload. With `enabled =
    /// false` no policy is in force.
    #[must_use]
    pub fn compile(config: &Config, generation: u64) -> Self {
        let policies = if config.enabled { config.policies.as_slice() } else { &[] };
        let plans: Vec<_> = policies.iter().map(|policy| Arc::new(Plan::compile(policy))).collect();

        let mut users: HashMap<Box<str>, Schemas> = HashMap::new();
        let mut globs: Vec<(Pattern, Schemas)> = Vec::new();
        let mut glob_places: HashMap<Pattern, usize> = HashMap::new();
        let mut everyone: Option<Schemas> = None;
        for (rule, policy) in policies.iter().enumerate() {
            let schemas = policy.rule.schemas.as_deref();
            let active = !plans[rule].is_bare();
            let named = policy.rule.users.as_deref();
            let Some(named) = named.filter(|list| !list.iter().any(Pattern::is_any)) else {
                everyone.get_or_insert_default().add(rule, schemas, active);
                continue;
            };
            for pattern in named {
                if pattern.is_exact() {
                    users.entry(pattern.as_str().into()).or_default().add(rule, schemas, active);
                } else {
                    let place = *glob_places.entry(pattern.clone()).or_insert(globs.len());
                    if place == globs.len() {
                        globs.push((pattern.clone(), Schemas::default()));
                    }
                    globs[place].1.add(rule, schemas, active);
                }
            }
        }
        Self {
            generation,
            plans: plans.into(),
            bare: Arc::new(Plan::bare()),
            users: users.into_iter().map(|(name, part)| (name, Arc::new(part))).collect(),
            globs: globs.into_iter().map(|(glob, part)| (glob, Arc::new(part))).collect(),
            everyone: everyone.map(Arc::new),
        }
    }

    /// Which reload this is.
    #[must_use]
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// The plans in the order of the policies in the file; empty if none is in force.
    #[must_use]
    pub fn plans(&self) -> &[Arc<Plan>] {
        &self.plans
    }

    /// The policies that can be in force for a user, by the name given at login.
    #[must_use]
    pub fn for_user(&self, user: &str) -> UserPolicies {
        let globs =
            self.globs.iter().filter(|(glob, _)| glob.matches(user)).map(|(_, schemas)| schemas);
        let parts: Vec<_> = self
            .users
            .get(user)
            .into_iter()
            .chain(&self.everyone)
            .chain(globs)
            .map(Arc::clone)
            .collect();
        // Behind the first rule that takes every schema nothing is looked at.
        let last = parts.iter().filter_map(|part| part.any()).min().unwrap_or(usize::MAX);
        let may_match = parts.iter().filter_map(|part| part.active()).any(|rule| rule <= last);
        UserPolicies {
            generation: self.generation,
            plans: Arc::clone(&self.plans),
            bare: Arc::clone(&self.bare),
            parts,
            may_match,
        }
    }

    /// The plan for one user and schema; a session asks its [`UserPolicies`] instead.
    #[must_use]
    pub fn plan(&self, user: &str, schema: Option<&str>) -> Arc<Plan> {
        self.for_user(user).plan(schema)
    }
}

impl UserPolicies {
    /// The plan of a transaction that begins with this schema in use: of the first policy that
    /// matches, or the bare one.
    #[must_use]
    pub fn plan(&self, schema: Option<&str>) -> Arc<Plan> {
        let schema = lower_case(schema.unwrap_or_default());
        let rule = self.parts.iter().filter_map(|part| part.find(&schema)).min();
        Arc::clone(rule.and_then(|rule| self.plans.get(rule)).unwrap_or(&self.bare))
    }

    /// False: whatever the schema, this user's transactions are relayed bare.
    #[must_use]
    pub const fn may_match(&self) -> bool {
        self.may_match
    }

    /// The generation of the snapshot that these come from.
    #[must_use]
    pub const fn generation(&self) -> u64 {
        self.generation
    }
}

/// TiDB compares schema names without case. Names are lower case nearly always, so this
/// allocates nearly never.
fn lower_case(name: &str) -> Cow<'_, str> {
    if name.chars().all(|c| !c.is_uppercase()) {
        Cow::Borrowed(name)
    } else {
        Cow::Owned(name.to_lowercase())
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;

    fn compile(text: &str) -> Snapshot {
        let config = Config::parse(text, "test.toml").unwrap_or_else(|wrong| panic!("{wrong}"));
        Snapshot::compile(&config, 1)
    }

    const RULES: &str = r#"
        [[policy]]
        name = "excluded"
        match = { users = ["backup"] }

        [[policy]]
        name = "payments"
        match = { users = ["app", "app_*"], schemas = ["Bank", "bank_*"] }
        retry = {}

        [[policy]]
        name = "readers"
        match = { users = ["*_ro"] }
        tso = "hint"

        [[policy]]
        name = "shop"
        match = { schemas = ["shop"] }
        tag = true
        observe_only = true
    "#;

    #[test]
    fn the_first_policy_that_matches_wins() {
        let snapshot = compile(RULES);
        for (user, schema, name) in [
            ("backup", Some("bank"), "excluded"),
            ("backup", Some("shop"), "excluded"),
            ("app", Some("bank"), "payments"),
            ("app", Some("BANK"), "payments"),
            ("app", Some("Bank_2"), "payments"),
            ("app", Some("shop"), "shop"),
            ("app", Some("other"), "(none)"),
            ("app", None, "(none)"),
            ("APP", Some("bank"), "(none)"),
            ("app_1", Some("bank"), "payments"),
            ("app_ro", Some("bank"), "payments"),
            ("app_ro", Some("other"), "readers"),
            ("app_ro", None, "readers"),
            ("any", Some("shop"), "shop"),
            ("", None, "(none)"),
        ] {
            assert_eq!(&*snapshot.plan(user, schema).name, name, "{user} {schema:?}");
        }
    }

    #[test]
    fn a_user_who_can_never_be_guarded_is_known_at_login() {
        let snapshot = compile(RULES);
        assert!(!snapshot.for_user("backup").may_match());
        assert!(snapshot.for_user("anyone").may_match());
        assert!(!compile("").for_user("app").may_match());
        let off = compile(&format!("enabled = false\n{RULES}"));
        assert!(!off.for_user("app").may_match());
        assert!(off.plan("app", Some("bank")).is_bare());
        assert!(off.plans().is_empty());
    }

    #[test]
    fn a_plan_holds_what_the_policy_says() {
        let plan = compile(RULES).plan("any", Some("shop"));
        assert_eq!((plan.retry, plan.tag, plan.tso), (None, Tag::Comment, TsoMode::Off));
        assert!(plan.observe_only && !plan.is_bare());
        let retry = compile(RULES).plan("app", Some("bank")).retry.expect("payments retries");
        assert_eq!((retry.attempts, retry.budget.as_secs()), (30, 10));
    }

    use crate::policy::{Tag, TsoMode};

    proptest::proptest! {
        /// The rules tried one after the other are the oracle.
        #[test]
        fn look_up_agrees_with_trying_each_rule(
            rules in proptest::collection::vec(
                (names(), names(), proptest::bool::ANY), 0..6
            ),
            user in "[ab]{0,3}",
            schema in proptest::option::of("[abA]{1,3}"),
        ) {
            let mut config = Config::default();
            for (index, (users, schemas, on)) in rules.iter().enumerate() {
                let mut policy = crate::base::config::Policy::recommended();
                policy.name = toml::Spanned::new(0..0, format!("p{index}"));
                policy.rule.users = users.clone();
                policy.rule.schemas = schemas.clone();
                if !on {
                    policy.retry = None;
                    policy.tag = Tag::Off;
                    policy.tso = TsoMode::Off;
                }
                config.policies.push(policy);
            }
            let lower = schema.clone().unwrap_or_default().to_lowercase();
            let fits = |list: &Option<Vec<Pattern>>, name: &str| {
                list.as_ref().is_none_or(|list| list.iter().any(|one| one.matches(name)))
            };
            let first = config.policies.iter().find(|policy| {
                fits(&policy.rule.users, &user) && fits(&policy.rule.schemas, &lower)
            });
            let expected = first.map_or(Plan::BARE_NAME, |policy| policy.name.get_ref());

            let snapshot = Snapshot::compile(&config, 1);
            let found = snapshot.plan(&user, schema.as_deref());
            proptest::prop_assert_eq!(&*found.name, expected);
            let may_match = snapshot.for_user(&user).may_match();
            proptest::prop_assert!(may_match || found.is_bare());
        }
    }

    fn names() -> impl proptest::strategy::Strategy<Value = Option<Vec<Pattern>>> {
        use proptest::strategy::Strategy;
        let pattern = "[ab*]{1,3}".prop_map(Pattern::new);
        proptest::option::of(proptest::collection::vec(pattern, 1..3))
    }

    /// Counted in look-ups, not in time: the parts of a user don't grow with the policies.
    #[test]
    fn a_thousand_exact_policies_leave_a_user_as_few_parts_as_one() {
        let rules = |count: usize| {
            let mut text = String::new();
            for index in 0..count {
                let _ = writeln!(
                    text,
                    "[[policy]]\nname = \"p{index}\"\nmatch = {{ users = [\"u{index}\"], schemas = \
                     [\"s{index}\"] }}\ntag = true"
                );
            }
            compile(&text)
        };
        for count in [1, 1000] {
            let snapshot = rules(count);
            let last = format!("u{}", count - 1);
            let policies = snapshot.for_user(&last);
            assert_eq!(policies.parts.len(), 1);
            assert_eq!(policies.parts[0].globs_len(), 0);
            let schema = format!("s{}", count - 1);
            assert_eq!(*policies.plan(Some(&schema)).name, *format!("p{}", count - 1));
        }
    }
}
