//! Timestamps from PD: always later than those before, nobody who waits is lost, PD counts as lost
//! after 3 s, a hint is never later than what a transaction gets, and PD is the backends' own.
//!
//! With `TXGUARD_TEST_PD=HOST:PORT` the tests in `real` run against that PD; without it against one
//! in this process.

#[path = "../support/mod.rs"]
mod support;

mod backends;
mod drift;
mod outage;
mod over_tcp;
mod proto;
mod real;
mod sequence;
mod server;
mod wrong;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::Level;
use txguard::base::clock::SharedClock;
use txguard::base::metrics::Metrics;
use txguard::base::tasks::Tasks;
use txguard::net::pd::Pd;

use server::{Fake, TestClock};
use support::log::Line;

/// Before a PD in this process.
struct Asking {
    pd: Pd,
    metrics: Arc<Metrics>,
    clock: Arc<TestClock>,
    tasks: Tasks,
}

impl Asking {
    fn start(fake: &Fake) -> Self {
        support::log::start();
        let (clock, metrics) = (TestClock::start(), Arc::new(Metrics::new()));
        let shared: SharedClock = clock.clone();
        let (pd, runner) =
            Pd::new(fake.addresses(), Arc::new(fake.clone()), shared, metrics.clone());
        let tasks = Tasks::default();
        tasks.spawn(runner.run(tasks.token().clone()));
        Self { pd, metrics, clock, tasks }
    }

    /// A metric as it is shown.
    fn shows(&self, series: &str) -> f64 {
        let text = self.metrics.render();
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {series} in:\n{text}")).parse().expect("a number")
    }
}

/// Lines for people that this test has had logged, with that text in them.
fn logged(text: &str) -> usize {
    let thread = std::thread::current().name().unwrap_or_default().to_owned();
    let lines = support::log::lines(&thread);
    let wanted = |line: &&Line| line.level <= Level::INFO && line.field("message").contains(text);
    lines.iter().filter(wanted).count()
}

/// How long it takes until that holds; looked at every 10 ms, for two minutes at most.
async fn until(mut holds: impl FnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(120), "it never holds");
        sleep(Duration::from_millis(10)).await;
    }
    began.elapsed()
}
