//! Whole files: mistakes all at once, the annotated file, and texts that are no configuration.

use std::time::Duration;

use super::*;

fn right(text: &str) -> Config {
    Config::parse(text, "txguard.toml").unwrap_or_else(|problems| panic!("{problems}"))
}

fn wrong(text: &str) -> String {
    Config::parse(text, "txguard.toml").expect_err("it has mistakes").to_string()
}

#[test]
fn an_empty_file_is_all_defaults() {
    assert_eq!(right(""), Config::default());
    assert_eq!(right("\u{feff}# only a comment\n"), Config::default());
}

#[test]
fn every_key_is_read() {
    let config = right(
        r#"
        enabled = false
        [listen]
        mysql = "[::]:4000"
        http = ""
        [backend]
        addresses = ["tidb-0:4000", "tidb-1:4000"]
        drain = ["tidb-1:4000"]
        status_port = 10080
        connect_timeout = "250ms"
        service_user = "guard"
        service_password_file = "/run/secret"
        [tso]
        source = "pd"
        pd = ["pd-0:2379", "pd-1:2379"]
        tls_ca = "ca"
        tls_certificate = "cert"
        tls_key = "key"
        drift_warn = "10ms"
        [log]
        transactions = "all"
        format = "json"
        level = "debug"
        [limits]
        clients = 5
        handshake = "1m 30s"
        idle = "8h"
        idle_in_transaction = "1m"
        statement = "64MiB"
        drain_delay = "5s"
        drain_timeout = "0s"
        journal_per_transaction = 1000
        journal_total = "1GiB"
        statement_shapes = 100
        retry_tokens = 50
        retry_failures = 0
        retry_pause = "3s"
        [receipts]
        retention = "30d"
        resolve_limit = "3s"
        lock_timeout = "1s"
        migrate = true
        [[policy]]
        name = "all on"
        match = { users = ["app"], schemas = ["Shop*"] }
        retry = { attempts = 3, budget = "1s", backoff = "1s" }
        tag = "alias"
        tso = "exact"
        receipt = true
        observe_only = true
        [[policy]]
        name = "tables of their own"
        tag = false
        tso = "off"
        [policy.match]
        users = ["b"]
        [policy.retry]
        "#,
    );
    assert!(!config.enabled && config.listen.http.is_none());
    assert_eq!(config.listen.mysql.to_string(), "[::]:4000");
    assert_eq!(config.backend.addresses.len(), 2);
    assert_eq!(config.backend.drain, config.backend.addresses[1..]);
    assert_eq!(config.backend.status_port, Some(10080));
    assert_eq!(config.backend.connect_timeout, Duration::from_millis(250));
    let password = PasswordSource::File("/run/secret".into());
    let service = ServiceAccount { user: "guard".into(), password };
    assert_eq!(config.backend.service, Some(service));
    let TsoSource::Pd(pd) = config.tso.source else { panic!("{:?}", config.tso) };
    assert_eq!(pd.addresses.len(), 2);
    assert_eq!((pd.ca, config.tso.drift_warn), (Some("ca".into()), Duration::from_millis(10)));
    let identity = Identity { certificate: "cert".into(), key: "key".into() };
    assert_eq!(pd.identity, Some(identity));
    let Log { transactions, format, level } = config.log;
    assert_eq!(
        (transactions, format, level),
        (LogTransactions::All, LogFormat::Json, LogLevel::Debug)
    );
    let limits = Limits {
        clients: 5,
        handshake: Duration::from_secs(90),
        idle: Some(Duration::from_secs(8 * 3600)),
        idle_in_transaction: Some(Duration::from_secs(60)),
        statement: 64 << 20,
        drain_delay: Duration::from_secs(5),
        drain_timeout: Duration::ZERO,
        journal_per_transaction: 1000,
        journal_total: 1 << 30,
        statement_shapes: 100,
        retry_tokens: 50,
        retry_failures: 0,
        retry_pause: Duration::from_secs(3),
    };
    assert_eq!(config.limits, limits);
    let [first, second] = &config.policies[..] else { panic!("two policies") };
    let second_long = Duration::from_secs(1);
    let retry =
        Retry { attempts: 3, budget: second_long, backoff: second_long, backoff_max: second_long };
    assert_eq!((first.retry, first.tag, first.tso), (Some(retry), Tag::Alias, TsoMode::Exact));
    assert_eq!(first.rule.schemas, Some(vec![Pattern::new("shop*")]));
    assert!(first.observe_only && !second.observe_only);
    assert!(first.receipt && !second.receipt);
    let receipts = Receipts {
        retention: Duration::from_secs(30 * 24 * 3600),
        resolve_limit: Duration::from_secs(3),
        lock_timeout: Duration::from_secs(1),
        migrate: true,
    };
    assert_eq!(config.receipts, receipts);
    assert_eq!(second.retry, Some(Retry::default()));
    assert_eq!((second.tag, second.tso), (Tag::Off, TsoMode::Off));
    assert!(config.warnings.is_empty());
}

#[test]
fn pd_is_the_source_where_it_is_named() {
    let source = |text: &str| right(&format!("[tso]\n{text}")).tso.source;
    assert_eq!(source("pd = []"), TsoSource::Local);
    assert_eq!(source("source = 'auto'"), TsoSource::Local);
    assert!(matches!(source("pd = ['pd:2379']"), TsoSource::Pd(pd) if pd.ca.is_none()));
    let unused = right("[tso]\nsource = 'local'\npd = ['pd:2379']");
    assert_eq!(unused.tso.source, TsoSource::Local);
    assert!(unused.warnings[0].text.contains("`pd` is not used"));
    for (text, why) in [
        ("source = 'pd'", "needs to know where PD is"),
        ("pd = ['http://pd:2379']", "this is a URL, not HOST:PORT"),
        ("pd = ['pd:2379', 'pd:2379']", "is there twice"),
        ("pd = ['pd:0']", "port 0"),
        ("pd = ['pd:2379']\ntls_certificate = 'c'\ntls_key = 'k'", "with TLS only"),
        ("pd = ['pd:2379']\ntls_ca = 'a'\ntls_key = 'k'", "needs its certificate"),
        ("drift_warn = '0s'", "drift_warn"),
    ] {
        let said = wrong(&format!("[tso]\n{text}"));
        assert!(said.contains(why), "{text}: {said}");
    }
}

#[test]
fn all_mistakes_are_said_at_once() {
    insta::assert_snapshot!(wrong(
        r#"
enabled = "yes"
clients = 5
polcy = 1

[listen]
mysql = "4407"
http = "127.0.0.1"

[backend]
addresses = ["127.0.0.1:4000", "tidb", "127.0.0.1:4000", 7]
connect_timeout = 5
service_password_env = "A"
service_password_file = "B"

[tso]
source = "pd"

[log]
transactions = "notible"
levl = "info"

[limits]
clients = 0
handshak = "5s"
handshake = "5 parsecs"
journal_total = "a lot"
statement_shapes = -1

[[policy]]
name = "all"
retry = { attempts = 101, budget = "0s", backof = "1ms" }
tag = "comment"

[[policy]]
name = "all"
match = { users = [], schemas = ["a", "A"], tables = ["t"] }
retry = true
tso = "exakt"

[[policy]]
match = { users = ["app"] }

[[policy]]
name = "rest"

[[policy]]
name = "more"
match = { users = ["app"] }
"#
    ), @r#"
    txguard.toml:2:11: `enabled`: invalid type: string "yes", expected a boolean
      |
    2 | enabled = "yes"
      |           ^^^^^
      = write it as `enabled = true`
    txguard.toml:3:1: unknown key `clients` at the top
      |
    3 | clients = 5
      | ^^^^^^^
      = `clients` belongs to [limits]
    txguard.toml:4:1: unknown key `polcy` at the top
      |
    4 | polcy = 1
      | ^^^^^
      = did you mean `policy`? the top of the file has: enabled, listen, backend, tso, log, limits, receipts, policy
    txguard.toml:7:9: `mysql`: "4407" is not an address HOST:PORT: the port is missing
      |
    7 | mysql = "4407"
      |         ^^^^^^
      = write it as `mysql = "127.0.0.1:4407"`
    txguard.toml:8:8: `http`: "127.0.0.1" is not an address: the port is missing
      |
    8 | http = "127.0.0.1"
      |        ^^^^^^^^^^^
      = write it as `http = "127.0.0.1:4480"`, or `http = ""` to switch it off
    txguard.toml:11:32: `addresses`: "tidb" is not an address: the port is missing
       |
    11 | addresses = ["127.0.0.1:4000", "tidb", "127.0.0.1:4000", 7]
       |                                ^^^^^^
       = write it as `addresses = ["127.0.0.1:4000"]`
    txguard.toml:11:40: `addresses`: "127.0.0.1:4000" is there twice
       |
    11 | addresses = ["127.0.0.1:4000", "tidb", "127.0.0.1:4000", 7]
       |                                        ^^^^^^^^^^^^^^^^
       = leave one of them out
    txguard.toml:11:58: `addresses` is a list of texts, and this is an integer
       |
    11 | addresses = ["127.0.0.1:4000", "tidb", "127.0.0.1:4000", 7]
       |                                                          ^
       = write it as `addresses = ["127.0.0.1:4000"]`
    txguard.toml:12:19: `connect_timeout`: invalid type: integer `5`, expected a duration with its unit
       |
    12 | connect_timeout = 5
       |                   ^
       = write it as `connect_timeout = "5s"`
    txguard.toml:14:25: `service_password_env` and `service_password_file` exclude each other
       |
    14 | service_password_file = "B"
       |                         ^^^
       = leave one of them out
    txguard.toml:16:1: `source = "pd"` needs to know where PD is
       |
    16 | [tso]
       | ^^^^^
       = name some of its members: `pd = ["127.0.0.1:2379"]`
    txguard.toml:20:16: `transactions`: "notible" is not known
       |
    20 | transactions = "notible"
       |                ^^^^^^^^^
       = did you mean "notable"? it can be "notable" | "all" | "off"
    txguard.toml:21:1: unknown key `levl` in [log]
       |
    21 | levl = "info"
       | ^^^^
       = did you mean `level`? [log] has: transactions, format, level
    txguard.toml:24:11: `clients` is 0; it must lie between 1 and 1000000
       |
    24 | clients = 0
       |           ^
       = write for example `clients = 10000`
    txguard.toml:25:1: unknown key `handshak` in [limits]
       |
    25 | handshak = "5s"
       | ^^^^^^^^
       = did you mean `handshake`? [limits] has: clients, handshake, idle, idle_in_transaction, statement, drain_delay, drain_timeout, journal_per_transaction, journal_total, statement_shapes, retry_tokens, retry_failures, retry_pause
    txguard.toml:26:13: `handshake`: "5 parsecs" is not a duration with its unit: unknown time unit "parsecs", supported units: ns, us/µs, ms, sec, min, hours, days, weeks, months, years (and few variations)
       |
    26 | handshake = "5 parsecs"
       |             ^^^^^^^^^^^
       = write it as `handshake = "10s"`
    txguard.toml:27:17: `journal_total`: "a lot" is not a size in bytes: it needs a number and one of the units B, KiB, MiB, GiB, KB, MB, GB
       |
    27 | journal_total = "a lot"
       |                 ^^^^^^^
       = write it as `journal_total = "256MiB"`
    txguard.toml:28:20: `statement_shapes`: invalid value: integer `-1`, expected a whole number
       |
    28 | statement_shapes = -1
       |                    ^^
       = write it as `statement_shapes = 4096`
    txguard.toml:32:22: `attempts` is 101; it must lie between 1 and 100
       |
    32 | retry = { attempts = 101, budget = "0s", backof = "1ms" }
       |                      ^^^
       = write for example `attempts = 30`
    txguard.toml:32:36: `budget` is 0s; it must lie between 1ms and 1h
       |
    32 | retry = { attempts = 101, budget = "0s", backof = "1ms" }
       |                                    ^^^^
       = write for example `budget = "10s"`
    txguard.toml:32:42: unknown key `backof` in [[policy]] retry
       |
    32 | retry = { attempts = 101, budget = "0s", backof = "1ms" }
       |                                          ^^^^^^
       = did you mean `backoff`? [[policy]] retry has: attempts, budget, backoff, backoff_max
    txguard.toml:33:7: `tag`: invalid value: string "comment", expected true, false or "alias"
       |
    33 | tag = "comment"
       |       ^^^^^^^^^
       = write it as `tag = true | false | "alias"`
    txguard.toml:36:8: there are two policies "all"
       |
    36 | name = "all"
       |        ^^^^^
       = give each its own name
    txguard.toml:37:19: `users` is empty, so nothing could match
       |
    37 | match = { users = [], schemas = ["a", "A"], tables = ["t"] }
       |                   ^^
       = name some, or leave `users` out to match all
    txguard.toml:37:39: `schemas`: "a" is there twice
       |
    37 | match = { users = [], schemas = ["a", "A"], tables = ["t"] }
       |                                       ^^^
       = leave one out
    txguard.toml:37:45: unknown key `tables` in [[policy]] match
       |
    37 | match = { users = [], schemas = ["a", "A"], tables = ["t"] }
       |                                             ^^^^^^
       = [[policy]] match has: users, schemas
    txguard.toml:38:9: `retry` is a table, not a boolean
       |
    38 | retry = true
       |         ^^^^
       = write it as `retry = { attempts = …, budget = …, backoff = …, backoff_max = … }`; each key may be left out
    txguard.toml:39:7: `tso`: "exakt" is not known
       |
    39 | tso = "exakt"
       |       ^^^^^^^
       = did you mean "exact"? it can be "hint" | "exact" | "off"
    txguard.toml:41:1: a policy without `name`
       |
    41 | [[policy]]
       | ^^^^^^^^^^
       = add `name = "payments"`; logs and tables call it so
    txguard.toml:47:1: policy "more" can never match: policy "rest" before it matches everything
       |
    47 | [[policy]]
       | ^^^^^^^^^^
       = the first match wins: put the narrower policy first
    "#);
}

#[test]
fn a_mistake_in_a_rule_says_nothing_about_the_next_one() {
    let text = wrong(
        "[[policy]]\nname = 'a'\nmach = { users = ['x'] }\n[[policy]]\nname = 'b'\ntag = true\n",
    );
    assert!(text.contains("did you mean `match`?") && !text.contains("can never"), "{text}");
}

#[test]
fn addresses_report_their_own_mistakes() {
    insta::assert_snapshot!(wrong(
        "[backend]\naddresses = [\"127.0.0.1:4000\", \"tidb\", \"127.0.0.1:4000\", \"x:0\", 7]\n"
    ), @r#"
    txguard.toml:2:32: `addresses`: "tidb" is not an address: the port is missing
      |
    2 | addresses = ["127.0.0.1:4000", "tidb", "127.0.0.1:4000", "x:0", 7]
      |                                ^^^^^^
      = write it as `addresses = ["127.0.0.1:4000"]`
    txguard.toml:2:40: `addresses`: "127.0.0.1:4000" is there twice
      |
    2 | addresses = ["127.0.0.1:4000", "tidb", "127.0.0.1:4000", "x:0", 7]
      |                                        ^^^^^^^^^^^^^^^^
      = leave one of them out
    txguard.toml:2:58: `addresses`: "x:0" has port 0, where no server listens
      |
    2 | addresses = ["127.0.0.1:4000", "tidb", "127.0.0.1:4000", "x:0", 7]
      |                                                          ^^^^^
      = TiDB's usual port is 4000, MariaDB's 3306
    txguard.toml:2:65: `addresses` is a list of texts, and this is an integer
      |
    2 | addresses = ["127.0.0.1:4000", "tidb", "127.0.0.1:4000", "x:0", 7]
      |                                                                 ^
      = write it as `addresses = ["127.0.0.1:4000"]`
    "#);
    assert!(wrong("[backend]\naddresses = []").contains("`addresses` is empty"));
    let twice = "[listen]\nmysql = \"127.0.0.1:1\"\nhttp = \"127.0.0.1:1\"";
    assert!(wrong(twice).contains("both listen on 127.0.0.1:1"));
    assert!(wrong("[listen]\nmysql = \"127.0.0.1:4480\"").contains("the default of `http`"));
    let any_port = right("[listen]\nmysql = \"127.0.0.1:0\"\nhttp = \"127.0.0.1:0\"");
    assert_eq!(any_port.listen.mysql.port(), 0);
}

#[test]
fn receipts_need_an_account_and_time() {
    insta::assert_snapshot!(wrong(
        "[receipts]\nretention = \"1d\"\nlock_timeout = \"1500ms\"\n\
         [[policy]]\nname = \"p\"\nreceipt = true\n"
    ), @r#"
    txguard.toml:1:1: `lock_timeout` is no whole number of seconds
      |
    1 | [receipts]
      | ^^^^^^^^^^
      = servers count it in seconds: write for example `lock_timeout = "2s"`
    txguard.toml:2:13: `retention` is 1day; it must lie between 3days and 10years
      |
    2 | retention = "1d"
      |             ^^^^
      = write for example `retention = "7days"`
    txguard.toml:6:11: `receipt = true` without `[backend] service_user`
      |
    6 | receipt = true
      |           ^^^^
      = txguard asks for receipts with an account of its own: name it there
    "#);
    right("[[policy]]\nname = \"p\"\nreceipt = false\ntag = true\n");
}

#[test]
fn drained_addresses_are_among_the_others() {
    let both = "[backend]\naddresses = ['a:1', 'b:1']\n";
    for (drain, said) in [
        ("['c:1']", "\"c:1\" is not among `addresses`"),
        ("['a:1', 'a:1']", "\"a:1\" is there twice"),
        ("['a']", "\"a\" is not an address"),
        ("'a:1'", "`drain` is a list of texts"),
    ] {
        let text = wrong(&format!("{both}drain = {drain}"));
        assert!(text.contains(said), "{text}");
    }
    assert!(right(&format!("{both}drain = ['b:1']")).warnings.is_empty());
    let all = right(&format!("{both}drain = ['b:1', 'a:1']"));
    assert!(all.warnings[0].text.contains("no client can be served"));
}

#[test]
fn a_limit_that_is_off_by_default_has_bounds_too() {
    assert_eq!(right("[limits]\nidle = \"\"").limits.idle, None);
    for (value, said) in [
        ("\"10ms\"", "`idle` is 10ms; it must lie between 1s and 1year"),
        ("\"for ever\"", "is not a duration with its unit"),
        ("8", "expected a duration with its unit"),
    ] {
        let text = wrong(&format!("[limits]\nidle = {value}"));
        assert!(text.contains(said) && text.contains("`idle = \"8h\""), "{text}");
    }
    for line in ["status_port = 65536", "status_port = -1"] {
        assert!(wrong(&format!("[backend]\n{line}")).contains("status_port"));
    }
    assert!(wrong("[limits]\nstatement = 1000").contains("between 1KiB and 1GiB"));
}

#[test]
fn syntax_errors_come_together_with_the_others() {
    insta::assert_snapshot!(wrong(
        "enabled = yes\n[log]\nformat = \"xml\"\n[limits\nclients = 5\n[tso]\nsource = \"auto\nsource = 1\n"
    ), @r#"
    txguard.toml:1:11: not TOML: string values must be quoted, expected literal string
      |
    1 | enabled = yes
      |           ^^^
      = a line is `key = value`; texts stand in "double quotes", tables begin with [name]
    txguard.toml:3:10: `format`: "xml" is not known
      |
    3 | format = "xml"
      |          ^^^^^
      = it can be "text" | "json"
    txguard.toml:4:8: not TOML: unclosed table, expected `]`
      |
    4 | [limits
      |        ^
      = a line is `key = value`; texts stand in "double quotes", tables begin with [name]
    txguard.toml:7:15: not TOML: invalid basic string, expected `"`
      |
    7 | source = "auto
      |               ^
      = a line is `key = value`; texts stand in "double quotes", tables begin with [name]
    txguard.toml:8:1: not TOML: duplicate key
      |
    8 | source = 1
      | ^^^^^^
      = a line is `key = value`; texts stand in "double quotes", tables begin with [name]
    "#);
}

#[test]
fn tables_in_the_wrong_form_are_explained() {
    insta::assert_snapshot!(wrong(
        "listen = \"127.0.0.1:4407\"\nlog = true\n[[limits]]\nclients = 1\n[policy]\nname = \"x\"\n"
    ), @r#"
    txguard.toml:1:10: `listen` is a table, not a string
      |
    1 | listen = "127.0.0.1:4407"
      |          ^^^^^^^^^^^^^^^^
      = begin it with [listen]
    txguard.toml:2:7: `log` is a table, not a boolean
      |
    2 | log = true
      |       ^^^^
      = begin it with [log]
    txguard.toml:3:1: there is one [limits], not a list of them
      |
    3 | [[limits]]
      | ^^^^^^^^^^
      = write [limits]
    txguard.toml:5:1: `policy` is a list of tables, not a table
      |
    5 | [policy]
      | ^^^^^^^^
      = begin each with [[policy]]
    "#);
}

#[test]
fn a_policy_that_can_never_match_is_a_mistake() {
    for (text, unreachable) in [
        ("users = ['a']|users = ['b']", false),
        ("users = ['a']|schemas = ['b']", false),
        ("users = ['a']|users = ['a'], schemas = ['b']", true),
        ("users = ['a*']|users = ['ab', 'ac*']", true),
        ("users = ['a*']|users = ['ab', 'b']", false),
        ("users = ['*']|users = ['b']", true),
        ("|users = ['b']", true),
        ("|", true),
        ("users = ['*'], schemas = ['s']|", false),
        ("schemas = ['S']|users = ['u'], schemas = ['s']", true),
        ("users = ['a', 'b']|users = ['b', 'c']", false),
    ] {
        let rules: String = text
            .split('|')
            .enumerate()
            .map(|(at, rule)| format!("[[policy]]\nname = 'p{at}'\nmatch = {{ {rule} }}\n"))
            .collect();
        match Config::parse(&rules, "f") {
            Ok(_) => assert!(!unreachable, "{text}"),
            Err(problems) => {
                assert!(unreachable, "{text}: {problems}");
                assert!(problems.to_string().contains("can never match"), "{problems}");
            }
        }
    }
}

#[test]
fn what_is_probably_not_meant_is_a_warning() {
    let config = right(
        "[backend]\nservice_user = \"guard\"\n[limits]\njournal_total = \"1MiB\"\n[[policy]]\nname \
         = \"p\"\nmatch = { users = [\"app@%\"], schemas = [\"s%\"] }\nobserve_only = true\n",
    );
    let texts: Vec<_> = config
        .warnings
        .iter()
        .map(|warning| {
            format!("{}: {}", warning.place.as_ref().expect("placed").line, warning.text)
        })
        .collect();
    insta::assert_snapshot!(texts.join("\n"), @r#"
    2: `service_user` has no password and will log in with an empty one
    3: `journal_per_transaction` is larger than `journal_total`
    7: `users`: "app@%" holds an @, and a user is known without a host
    7: `schemas`: in "s%" the % stands for itself
    8: policy "p" observes nothing: it switches nothing on
    "#);
}

#[test]
fn a_backend_on_the_command_line_needs_no_file() {
    let config = Config::for_backend("tidb:4000").expect("right");
    assert_eq!(config.backend.addresses[0].to_string(), "tidb:4000");
    assert_eq!(config.policies, [Policy::recommended()]);
    for bad in ["tidb", "tidb:0", ""] {
        let problems = Config::for_backend(bad).expect_err(bad).to_string();
        assert!(problems.starts_with("--backend: "), "{problems}");
    }
}

/// The annotated file says what holds without it, and switches the recommended policy on.
#[test]
fn the_annotated_file_equals_the_defaults() {
    let annotated = right(ANNOTATED);
    assert_eq!(annotated, Config::for_backend("127.0.0.1:4000").expect("right"));
}

#[test]
fn the_annotated_file_shows_every_key_of_the_schema() {
    for schema in ALL {
        for key in schema.keys {
            let shown = if schema.title == TOP && *key != "enabled" {
                let header = format!("[{key}]");
                ANNOTATED.lines().any(|line| line == header || line == format!("[{header}]"))
            } else if schema.title.starts_with("[[policy]] ") {
                let inner = schema.title.trim_start_matches("[[policy]] ");
                let line = ANNOTATED
                    .lines()
                    .map(|line| line.trim_start_matches("# "))
                    .find(|line| line.starts_with(&format!("{inner} = {{")))
                    .unwrap_or_else(|| panic!("{inner} is not shown"));
                line.contains(&format!("{key} = "))
            } else {
                let title = if schema.title == TOP { "" } else { schema.title };
                let part = ANNOTATED.split_once(title).expect("the section").1;
                part.lines()
                    .take_while(|line| !line.starts_with('[') || line.is_empty())
                    .any(|line| line.trim_start_matches("# ").starts_with(&format!("{key} = ")))
            };
            assert!(shown, "`{key}` of {} is not in config/txguard.toml", schema.title);
        }
    }
}

/// Taking the comment sign from one line must give a right file.
#[test]
fn every_commented_key_of_the_annotated_file_is_right() {
    let mut tried = 0;
    for (at, line) in ANNOTATED.lines().enumerate() {
        let Some(code) = line.strip_prefix("# ") else { continue };
        let key = code.split(" = ").next().unwrap_or_default();
        if code == key || !key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') {
            continue;
        }
        let before = ANNOTATED.lines().take(at).filter(|line| line.starts_with('[')).last();
        let lines: Vec<_> = ANNOTATED.lines().collect();
        let mut text = [&lines[..at], &[code], &lines[at + 1..]].concat().join("\n");
        let section = before.unwrap_or_default();
        let needs = NEEDS.iter().find(|(of, its, _)| *its == key && section.starts_with(of));
        let needs = needs.map_or(&[][..], |(_, _, needs)| needs);
        for need in needs {
            // Behind the section's title, in place of what it has there already.
            let (other, _) = need.split_once(" = ").expect("a key");
            text = text.replace(&format!("\n{other} = \"prefer\""), "");
            text = text.replacen(section, &format!("{section}\n{need}"), 1);
        }
        right(&text);
        tried += 1;
    }
    assert_eq!(tried, 17);
}

/// Keys of the annotated file that make sense with others only, by the beginning of their section.
const NEEDS: &[(&str, &str, &[&str])] = &[
    ("[tso]", "tls_certificate", &["tls_key = 'k'", "tls_ca = 'a'"]),
    ("[tso]", "tls_key", &["tls_certificate = 'c'", "tls_ca = 'a'"]),
    ("[", "tls_certificate", &["tls_key = 'k'"]),
    ("[", "tls_key", &["tls_certificate = 'c'"]),
    ("[", "tls_client_ca", &["tls_certificate = 'c'", "tls_key = 'k'"]),
    ("[backend]", "tls_ca", &["tls = 'verify'"]),
    ("[", "tls_name", &["tls = 'verify'", "tls_ca = 'a'"]),
];

/// What is wrong with each of these lines in a section.
#[test]
fn keys_of_tls_that_make_no_sense_alone_say_what_they_need() {
    for (text, says) in [
        ("[listen]\ntls_certificate = 'c'", "`tls_certificate` needs its key"),
        ("[backend]\ntls_key = 'c'", "`tls_key` needs its certificate"),
        ("[listen]\nrequire_tls = true", "refuses every client"),
        ("[listen]\ntls_client_ca = 'a'", "without TLS has no use"),
        ("[listen]\nrequire_client_certificate = true", "needs the CA"),
        ("[listen]\nproxy_protocol = ['10.0.0.0/33']", "is not a number of its bits"),
        ("[listen]\nproxy_protocol = ['lb.local']", "no IP address"),
        ("[backend]\ntls = 'verify'", "whose certificates are right"),
        ("[backend]\ntls_ca = 'a'", "with `tls = \"verify\"` only"),
        ("[backend]\ntls_name = 'a'", "with `tls = \"verify\"` only"),
        ("[backend]\ntls = 'preferred'", "did you mean \"prefer\"?"),
        ("[backend]\ncompression = 'gzip'", "is not known"),
    ] {
        let problems = Config::parse(text, "x").expect_err(text).to_string();
        assert!(problems.contains(says), "{problems}");
    }
}

#[test]
fn a_network_holds_its_addresses() {
    for (network, address, inside) in [
        ("10.0.0.0/8", "10.200.3.4", true),
        ("10.0.0.0/8", "11.0.0.1", false),
        ("10.1.2.3", "10.1.2.3", true),
        ("10.1.2.3", "10.1.2.4", false),
        ("0.0.0.0/0", "1.2.3.4", true),
        ("10.0.0.0/8", "::ffff:10.0.0.1", true),
        ("fd00::/8", "fd12::1", true),
        ("::/0", "1.2.3.4", false),
    ] {
        let network: Network = network.parse().expect(network);
        assert_eq!(network.contains(address.parse().expect(address)), inside, "{address}");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_one_problem() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let file = folder.path().join("x.toml");
    for (bytes, text) in [
        (None, "can't be read"),
        (Some(b"enabled = true\n\xff".to_vec()), "is not UTF-8 text, first in line 2"),
        (Some(vec![b'#'; 9 << 20]), "is larger than 8 MiB"),
    ] {
        if let Some(bytes) = bytes {
            std::fs::write(&file, bytes).expect("written");
        }
        let problems = Config::load(&file).expect_err(text).to_string();
        assert!(problems.contains(text), "{problems}");
    }
}

#[test]
fn a_thousand_policies_are_read_in_a_moment() {
    let text: String = (0..1000)
        .map(|at| format!("[[policy]]\nname = 'p{at}'\nmatch = {{ users = ['u{at}'] }}\n"))
        .collect();
    assert_eq!(right(&text).policies.len(), 1000);
}

proptest::proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC*") {
        let _ = Config::parse(&text, "f").map_err(|problems| problems.to_string());
    }

    /// Pieces of a real file in a wrong order come deeper into the readers.
    #[test]
    fn no_shuffled_file_makes_it_panic(
        pieces in proptest::collection::vec(
            (0_usize..200, "[\\[\\]{}=\",'#\\.a-z0-9é\t\r ]{0,6}"), 0..40
        )
    ) {
        let lines: Vec<_> = ANNOTATED.lines().filter(|line| !line.starts_with('#')).collect();
        let text: String = pieces
            .iter()
            .map(|(at, noise)| format!("{}{noise}\n", lines[at % lines.len()]))
            .collect();
        let _ = Config::parse(&text, "f").map_err(|problems| problems.to_string());
    }
}

#[test]
fn tag_keys_are_checked_word_by_word() {
    let text = "[[policy]]\nname = \"a\"\ntag = true\ntag_keys = [\"txn\", \"policy\"]\n";
    let keys = Config::parse(text, "f.toml").expect("right").policies[0].tag_keys;
    assert!(keys.txn && keys.policy && !keys.attempt && !keys.tso && !keys.traceparent);
    let wrong = text.replace("\"policy\"", "\"user\", \"txn\"");
    let problems = Config::parse(&wrong, "f.toml").expect_err("two mistakes").to_string();
    assert!(problems.contains("f.toml:4:20: `tag_keys`: \"user\" is no key"), "{problems}");
    assert!(problems.contains("f.toml:4:28: `tag_keys`: \"txn\" is there twice"), "{problems}");
}
