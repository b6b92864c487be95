//! `txguard bench` as a program: what it measures of targets whose speed is known, its files, its
//! exit codes, and what it refuses.

#[path = "support/mod.rs"]
mod support;

use std::path::Path;
use std::process::Output;
use std::sync::Arc;
use std::time::Duration;

use mysql_async::prelude::Queryable;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use txguard::base::tasks::Tasks;
use txguard::embedded::{engine::Engine, front};

use support::client::{code, run};
use support::gate::Gate;
use support::{Proxy, connect_to, need, one, soon, tidb};

const LOADS: [&str; 5] = ["point-text", "point-prepared", "read-write", "transfers", "big"];

/// How much later the slow target answers.
const DELAY: Duration = Duration::from_millis(2);

/// Of all that a test starts; ends with it.
#[derive(Default)]
struct Servers(Tasks);

impl Servers {
    /// An embedded backend of its own.
    async fn embedded(&self) -> String {
        let (listener, address) = listen().await;
        self.0.spawn(front::serve(listener, Arc::new(Engine::new()), self.0.token().clone()));
        address
    }

    /// A relay before a server that holds every answer up.
    async fn slow(&self, backend: &str) -> String {
        let (listener, address) = listen().await;
        let (backend, connections, stop) =
            (backend.to_owned(), self.0.clone(), self.0.token().clone());
        self.0.spawn(async move {
            while let Some(Ok((near, _))) = stop.run_until_cancelled(listener.accept()).await {
                let far = TcpStream::connect(&backend).await.expect("the server is there");
                let stop = stop.clone();
                connections.spawn(async move {
                    let _ = stop.run_until_cancelled(relay(near, far)).await;
                });
            }
        });
        address
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let address = listener.local_addr().expect("bound").to_string();
    (listener, address)
}

/// The planted delay is the only sleep here.
async fn relay(near: TcpStream, far: TcpStream) -> std::io::Result<()> {
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (near.into_split(), far.into_split());
    let back = async {
        let mut bytes = vec![0; 1 << 20];
        loop {
            let read = from_server.read(&mut bytes).await?;
            if read == 0 {
                return Ok::<_, std::io::Error>(());
            }
            tokio::time::sleep(DELAY).await;
            to_client.write_all(&bytes[..read]).await?;
        }
    };
    tokio::try_join!(back, copy(&mut from_client, &mut to_server)).map(drop)
}

/// Exit code, standard output, standard error; no word of the line has a space within.
async fn bench(password: &str, line: &str) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_txguard"));
    command.arg("bench").args(line.split_whitespace()).kill_on_drop(true);
    command.env_remove("TXGUARD_BENCH_PASSWORD");
    if !password.is_empty() {
        command.env("TXGUARD_BENCH_PASSWORD", password);
    }
    let Output { status, stdout, stderr } =
        soon("the benchmark", command.output()).await.expect("it starts");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (status.code(), text(stdout), text(stderr))
}

/// It measures nothing, and says this.
async fn refuses(line: &str, said: &str) {
    let (code, stdout, stderr) = bench("", line).await;
    assert_eq!((code, stdout.as_str()), (Some(2), ""), "{line}: {stderr}");
    assert!(stderr.contains(said), "{line} should say {said:?}: {stderr}");
}

fn read_json(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).expect("written")).expect("JSON")
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no count"))
}

/// What must hold of any load's target, whatever its speed.
fn counts_add_up(load: &str, target: &Value) {
    for count in ["operations", "unfinished", "conflicts", "errors", "statements"] {
        let rounds = target["rounds"].as_array().expect("rounds");
        let sum: u64 = rounds.iter().map(|round| number(&round[count])).sum();
        assert_eq!(sum, number(&target[count]), "{load}: {count}: {target:#}");
    }
    let count = |name: &str| number(&target[name]);
    let operations = count("operations");
    assert!(operations > 0 && target["errors"] == 0, "{load}: {target:#}");
    assert_eq!(number(&target["latency_us"]["count"]), operations + count("unfinished"));
    let statements = count("statements");
    match load {
        "read-write" => assert_eq!(statements, 4 * operations),
        // Conflicts cost more.
        "transfers" => assert!(statements >= 5 * operations, "{target:#}"),
        _ => assert_eq!(statements, operations),
    }
    let latency = |name: &str| target["latency_us"][name].as_f64().expect("a latency");
    let quantiles = ["p50", "p90", "p99", "p99_9", "max"].map(latency);
    assert!(quantiles[0] > 0.0 && quantiles.is_sorted(), "{load}: {quantiles:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_target_is_told_from_a_fast_one() {
    let servers = Servers::default();
    let direct = servers.embedded().await;
    let slow = servers.slow(&direct).await;
    let folder = tempfile::tempdir().expect("a folder");
    let (json, svg) = (folder.path().join("bench.json"), folder.path().join("bench.svg"));
    let (own, json_path, svg_path) = (std::process::id(), json.display(), svg.display());
    let line = format!(
        "--target direct={direct} --target slow={slow} --pid direct={own} --connections 2 \
         --rounds 6 --round-time 60ms --warm-up 10ms --json {json_path} --svg {svg_path}"
    );
    let (code, table, errors) = bench("", &line).await;
    assert_eq!((code, errors.as_str()), (Some(0), ""), "{table}");
    let report = read_json(&json);
    assert_eq!(report["settings"]["connections"], 2);
    assert_eq!(report["settings"]["pace"], "closed loop");
    let loads = report["loads"].as_array().expect("loads");
    assert_eq!(loads.len(), LOADS.len());
    for (name, load) in LOADS.into_iter().zip(loads) {
        assert_eq!(load["load"], name);
        assert!(table.contains(&format!("\n{name}\n")), "{table}");
        let [fast, slow] = &load["targets"].as_array().expect("targets")[..] else {
            panic!("two targets: {load:#}");
        };
        assert_eq!((&fast["name"], &slow["name"]), (&"direct".into(), &"slow".into()));
        counts_add_up(name, fast);
        counts_add_up(name, slow);
        // Of the planted delay all of it, by each statement.
        let p50 = |target: &Value| target["latency_us"]["p50"].as_f64().expect("a latency");
        assert!(p50(slow) >= 2_000.0, "{name}: {slow:#}");
        assert_eq!((&slow["relative"]["to"], &fast["relative"]), (&"direct".into(), &Value::Null));
        let ratio = |what: &str, which: &str| {
            slow["relative"][what][which].as_f64().unwrap_or_else(|| panic!("{name}: {load:#}"))
        };
        assert!(ratio("p50", "low") <= ratio("p50", "median"), "{load:#}");
        assert!(ratio("p50", "median") <= ratio("p50", "high"), "{load:#}");
        // Of six rounds the smallest and the largest.
        assert_eq!(ratio("p50", "confidence"), 0.968_75);
        // Big results take longer by themselves than the delay.
        if name != "big" {
            assert!(ratio("p50", "median") > 1.0, "{name}: {load:#}");
            assert!(ratio("per_second", "median") < 1.0, "{name}: {load:#}");
        }
        assert!(slow["cpu_us_per_query"].is_null());
    }
    let cpu = loads.iter().filter_map(|load| load["targets"][0]["cpu_us_per_query"].as_f64());
    assert!(cpu.sum::<f64>() > 0.0, "this process has served: {report:#}");
    let books = &loads[3]["books"];
    assert_eq!(books["right"], true, "{books}");
    let transfers = loads[3]["targets"].as_array().expect("targets").iter();
    let measured: u64 = transfers.map(|target| number(&target["operations"])).sum();
    assert!(number(&books["applied"]) >= measured, "warm-ups count, too: {books}");

    let svg = std::fs::read_to_string(&svg).expect("written");
    assert_eq!(elements(&svg, "polyline"), 2 * LOADS.len(), "{svg}");
    for words in ["point-prepared", ">slow<", "percentile of operations (%)", "latency ("] {
        assert!(svg.contains(words), "{words}: {svg}");
    }

    let mut conn = connect_to(&direct, None).await;
    let gone = conn.query_drop("SELECT run FROM txguard_bench.txguard_bench_run").await;
    assert!(matches!(gone.map_err(|error| code_of(&error)), Err(1049 | 1146)), "it was dropped");
}

fn code_of(error: &mysql_async::Error) -> u16 {
    code(error).expect("the server's error")
}

/// How many elements of a name there are in XML that is well-formed as far as this program writes
/// it: a declaration, tags with quoted attributes, no comments.
fn elements(xml: &str, name: &str) -> usize {
    let (mut open, mut found, mut roots) = (Vec::new(), 0, 0);
    let declared = xml.strip_prefix("<?xml version=\"1.0\" encoding=\"UTF-8\"?>");
    let mut pieces = declared.expect("a declaration").split('<');
    assert_eq!(pieces.next().map(str::trim), Some(""));
    for piece in pieces {
        let (tag, text) = piece.split_once('>').expect("the end of a tag");
        assert!(!text.contains(['>', '&']) && !tag.contains('&'), "{piece}");
        if let Some(closed) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(closed), "{piece}");
        } else {
            assert_eq!(tag.matches('"').count() % 2, 0, "{piece}");
            let tag_name = tag.split([' ', '/']).next().expect("a name");
            found += usize::from(tag_name == name);
            roots += usize::from(open.is_empty());
            if !tag.ends_with('/') {
                open.push(tag_name);
            }
        }
        assert!(!open.is_empty() || text.trim().is_empty(), "text outside: {text}");
    }
    assert!(open.is_empty() && roots == 1, "{open:?}, {roots} roots");
    found
}

/// One connection to a target that takes 2 ms does less than 500/s. At 700/s the queue grows by 0.57 ms
/// or more with each operation: from when it was due half of 140 take 40 ms, from when it was sent 2.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn latency_counts_from_when_an_operation_was_due() {
    let servers = Servers::default();
    let slow = servers.slow(&servers.embedded().await).await;
    let line = format!(
        "--target slow={slow} --connections 1 --rate 700 --rounds 1 --round-time 200ms \
         --warm-up 0s --load point-text --json -"
    );
    let (code, json, errors) = bench("", &line).await;
    assert_eq!((code, errors.as_str()), (Some(0), ""), "{json}");
    let report: Value = serde_json::from_str(&json).expect("nothing but JSON");
    let p50 = report["loads"][0]["targets"][0]["latency_us"]["p50"].as_f64();
    assert!(p50 > Some(39_000.0), "{report:#}");
}

/// One connection to a target that takes 2 ms has time for less than 500/s, in twice the time for
/// less than 1,000: of 1,500/s a third can't be done, and all of them count.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rate_that_is_too_high_hides_nothing() {
    let servers = Servers::default();
    let direct = servers.embedded().await;
    let slow = servers.slow(&direct).await;
    let line = format!(
        "--target direct={direct} --target slow={slow} --connections 1 --rate 1500 --rounds 2 \
         --round-time 200ms --warm-up 0s --load point-text --json -"
    );
    let (code, json, errors) = bench("", &line).await;
    assert_eq!((code, errors.as_str()), (Some(0), ""), "{json}");
    let report: Value = serde_json::from_str(&json).expect("nothing but JSON");
    assert_eq!(
        (&report["settings"]["pace"], &report["settings"]["rate"]),
        (&"rate".into(), &1500.0.into())
    );
    for target in report["loads"][0]["targets"].as_array().expect("targets") {
        counts_add_up("point-text", target);
        for round in target["rounds"].as_array().expect("rounds") {
            assert_eq!(number(&round["operations"]) + number(&round["unfinished"]), 300, "{round}");
            assert!(round["late_p99_us"].is_f64(), "{round}");
        }
        let none = &target["relative"];
        assert!(none.is_null() || none["p50"]["low"].is_null(), "two rounds have no interval");
    }
    let slow = &report["loads"][0]["targets"][1];
    assert!(number(&slow["unfinished"]) >= 200, "{slow:#}");
    // The queue grows all the time: half of them wait for more than a fifth of the round.
    assert!(slow["latency_us"]["p50"].as_f64() > Some(40_000.0), "{slow:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_can_not_be_measured_is_refused_with_a_reason() {
    let servers = Servers::default();
    let (here, elsewhere) = (servers.embedded().await, servers.embedded().await);
    let base = format!(
        "--target direct={here} --load big --connections 1 --rounds 1 --round-time 200ms --warm-up 0s"
    );
    let refused = async |words: &str, said: &str| refuses(&format!("{base} {words}"), said).await;
    let closed = Gate::before(&here);
    let gone = &closed.address;
    refused(&format!("--target gone={gone}"), &format!("gone ({gone}) can't be reached")).await;
    refused(&format!("--target other={elsewhere}"), "leads to another database").await;
    refused(&format!("--target direct={here}"), "two targets are called direct").await;
    refused("--pid direct=4294967295", "no process 4294967295 of target direct").await;
    refused("--pid haproxy=1", "no target of this name").await;
    refused("--json /nowhere/bench.json", "/nowhere/bench.json can't be written").await;
    refused("--load nonsense", "point-prepared").await;
    refuses("", "--target").await;

    let mut conn = connect_to(&here, None).await;
    run(&mut conn, &["CREATE DATABASE mine", "CREATE TABLE mine.kept (id INT PRIMARY KEY)"]).await;
    refused("--schema mine", "was not made by txguard bench").await;
    run(&mut conn, &["INSERT INTO mine.kept VALUES (1)"]).await;

    // What an interrupted run has left behind is nobody's.
    let marker = "CREATE TABLE left_over.txguard_bench_run (run BIGINT PRIMARY KEY)";
    run(&mut conn, &["CREATE DATABASE left_over", marker]).await;
    let (code, table, errors) = bench("", &format!("{base} --schema left_over")).await;
    assert_eq!((code, errors.as_str()), (Some(0), ""), "{table}");
    assert_eq!(code_of(&conn.query_drop("USE left_over").await.expect_err("dropped")), 1049);
}

/// A real server, directly and through txguard, with a password.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tidb_is_measured_directly_and_through_txguard() {
    let tidb = need!(tidb::start());
    let policy =
        "[[policy]]\nname = \"p\"\nretry = { attempts = 100, budget = \"20s\" }\ntag = true\n";
    let proxy = Proxy::start(&tidb, policy).await;
    let mut conn = tidb.connect().await;
    run(
        &mut conn,
        &[
            "DROP USER IF EXISTS bencher",
            "CREATE USER bencher IDENTIFIED BY 'right'",
            "GRANT ALL ON txguard_bench.* TO bencher",
        ],
    )
    .await;
    let line = format!(
        "--target direct={} --target txguard={} --user bencher --connections 4 --rounds 2 \
         --round-time 60ms --warm-up 0s --begin optimistic --json -",
        tidb.address, proxy.address
    );
    let (code, _, denied) = bench("wrong", &line).await;
    assert_eq!(code, Some(2), "{denied}");
    assert!(denied.contains("denies access") && denied.contains("1045"), "{denied}");
    assert!(denied.contains("TXGUARD_BENCH_PASSWORD") && !denied.contains("wrong"), "{denied}");

    let (code, json, errors) = bench("right", &line).await;
    assert_eq!((code, errors.as_str()), (Some(0), ""), "{json}");
    let report: Value = serde_json::from_str(&json).expect("nothing but JSON");
    for (name, load) in LOADS.into_iter().zip(report["loads"].as_array().expect("loads")) {
        load["targets"].as_array().expect("targets").iter().for_each(|it| counts_add_up(name, it));
    }
    assert_eq!(report["loads"][3]["books"]["right"], true, "{json}");
    let through = &report["loads"][3]["targets"][1];
    assert_eq!(through["conflicts"], 0, "txguard has replayed them: {through:#}");
    let schemas: u64 = one(
        &mut conn,
        "SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name = 'txguard_bench'",
    )
    .await;
    assert_eq!(schemas, 0);
    proxy.stop().await;
}
