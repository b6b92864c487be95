//! Takes a changed configuration file into force while serving.
//!
//! ```text
//! SIGHUP, or every two seconds: has the content changed? ─▶ check all of it
//!      ├─ a mistake: everything stays, the log says why, txguard_config_rejected is 1
//!      └─ right: the next snapshot is published; a transaction keeps the plan of its BEGIN
//! ```
//!
//! The content is compared, not the time of change: a mounted file is often swapped by a link, and
//! notifications miss that. What can't change while serving is named in the log.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::Signal;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::base::config::Config;
use crate::base::metrics::Metrics;
use crate::policy::Snapshot;

/// Pause between two looks at the file.
const EVERY: Duration = Duration::from_secs(2);

/// Follows one file.
pub(super) struct Reload {
    file: PathBuf,
    /// What is in force.
    config: Config,
    generation: u64,
    /// Of the content that was looked at last, in force or not.
    seen: Option<u64>,
    publish: watch::Sender<Arc<Snapshot>>,
    metrics: Arc<Metrics>,
}

impl Reload {
    /// `config` is what the file said at the start.
    pub(super) fn new(
        file: PathBuf,
        config: Config,
        publish: watch::Sender<Arc<Snapshot>>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let seen = content(&file);
        Self { file, config, generation: 1, seen, publish, metrics }
    }

    /// Follows the file until `stop` is cancelled.
    ///
    /// Cancel safe: a file is taken into force as a whole or not at all.
    pub(super) async fn run(mut self, mut hangup: Signal, stop: CancellationToken) {
        loop {
            let asked = tokio::select! {
                () = stop.cancelled() => return,
                _ = hangup.recv() => true,
                () = tokio::time::sleep(EVERY) => false,
            };
            self.look(asked);
        }
    }

    fn look(&mut self, asked: bool) {
        let now = content(&self.file);
        if now == self.seen && !asked {
            return;
        }
        self.seen = now;
        match Config::load(&self.file) {
            Ok(config) => self.take(config),
            Err(problems) => {
                self.metrics.config_rejected(true);
                tracing::error!("the configuration stays as it was:\n{problems}");
            }
        }
    }

    fn take(&mut self, config: Config) {
        for warning in &config.warnings {
            tracing::warn!("{warning}");
        }
        let restart = needs_restart(&self.config, &config);
        if !restart.is_empty() {
            tracing::warn!(sections = restart.join(", "), "changed, and need a restart");
        }
        self.generation += 1;
        let policies = config.policies.len();
        self.publish.send_replace(Arc::new(Snapshot::compile(&config, self.generation)));
        // What needs a restart is still compared with what is in force.
        self.config.enabled = config.enabled;
        self.config.policies = config.policies;
        self.metrics.config_rejected(false);
        self.metrics.config_generation(self.generation);
        tracing::info!(generation = self.generation, policies, "configuration taken into force");
    }
}

/// A fingerprint of the file's content; `None` if it can't be read.
fn content(file: &PathBuf) -> Option<u64> {
    let mut hasher = DefaultHasher::new();
    std::fs::read(file).ok()?.hash(&mut hasher);
    Some(hasher.finish())
}

/// Sections that differ and can't be changed while serving.
fn needs_restart(old: &Config, new: &Config) -> Vec<&'static str> {
    [
        ("[listen]", old.listen != new.listen),
        ("[backend]", old.backend != new.backend),
        ("[tso]", old.tso != new.tso),
        ("[log]", old.log != new.log),
        ("[limits]", old.limits != new.limits),
    ]
    .into_iter()
    .filter_map(|(section, differs)| differs.then_some(section))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn follow(text: &str) -> (tempfile::NamedTempFile, Reload, watch::Receiver<Arc<Snapshot>>) {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), text).expect("written");
        let config = Config::load(file.path()).expect("right");
        let (publish, policies) = watch::channel(Arc::new(Snapshot::compile(&config, 1)));
        let metrics = Arc::new(Metrics::new());
        let reload = Reload::new(file.path().to_owned(), config, publish, metrics);
        (file, reload, policies)
    }

    const POLICY: &str = "[[policy]]\nname = \"a\"\ntag = true\n";

    #[test]
    fn a_changed_file_is_taken_into_force() {
        let (file, mut reload, policies) = follow("");
        reload.look(false);
        assert_eq!(policies.borrow().generation(), 1);
        std::fs::write(file.path(), POLICY).expect("written");
        reload.look(false);
        assert_eq!((policies.borrow().generation(), policies.borrow().plans().len()), (2, 1));
    }

    #[test]
    fn a_bad_file_keeps_what_is_in_force_until_it_is_mended() {
        let (file, mut reload, policies) = follow(POLICY);
        std::fs::write(file.path(), "[[policy]]\nnam = 1\n").expect("written");
        reload.look(false);
        assert_eq!(policies.borrow().generation(), 1);
        assert!(reload.metrics.render().contains("txguard_config_rejected 1"));
        std::fs::remove_file(file.path()).expect("removed");
        reload.look(false);
        assert_eq!(policies.borrow().plans().len(), 1);
        std::fs::write(file.path(), POLICY).expect("written");
        reload.look(false);
        assert_eq!(policies.borrow().generation(), 2);
        assert!(reload.metrics.render().contains("txguard_config_rejected 0"));
    }

    #[test]
    fn what_needs_a_restart_is_named_and_named_again() {
        let (_, reload, _) = follow("");
        let mut new = reload.config.clone();
        assert!(needs_restart(&reload.config, &new).is_empty());
        new.limits.clients += 1;
        new.listen.http = None;
        assert_eq!(needs_restart(&reload.config, &new), ["[listen]", "[limits]"]);
    }
}
