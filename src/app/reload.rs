//! Takes a changed configuration file into force while serving.
//!
//! ```text
//! SIGHUP, or every two seconds: has the content changed? ─▶ check all of it
//!      ├─ a mistake: everything stays, the log says why, txguard_config_rejected is 1
//!      └─ right: policies, limits, backends and certificates are replaced together; a transaction
//!         keeps the plan of its BEGIN, a connection the terms on which it was accepted
//! ```
//!
//! The content is compared, not the time of change: a mounted file is often swapped by a link, and
//! notifications miss that. The files that the configuration names (certificates) are part of it.
//! What can't change while serving is named in the log.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::Signal;
use tokio_util::sync::CancellationToken;

use crate::base::config::{Backend, BackendLeg, Config, Listen, ServiceAccount};
use crate::base::metrics::Metrics;
use crate::net::legs::Legs;
use crate::net::tls::TlsError;

use super::files;
use super::settings::{InForce, Settings};

/// Pause between two looks at the file.
const EVERY: Duration = Duration::from_secs(2);

/// Follows one file.
pub(super) struct Reload {
    file: PathBuf,
    /// What is in force.
    config: Config,
    generation: u64,
    /// What the configuration names that was read last, in force or not.
    named: Vec<PathBuf>,
    /// Of the content that was looked at last: of the file itself, and of those it names.
    seen: (u64, u64),
    in_force: InForce,
    metrics: Arc<Metrics>,
}

impl Reload {
    /// `config` is what the file said at the start.
    pub(super) fn new(
        file: PathBuf,
        config: Config,
        in_force: InForce,
        metrics: Arc<Metrics>,
    ) -> Self {
        let named = named(&config);
        let seen = (content([&file]), content(&named));
        Self { file, config, generation: 1, named, seen, in_force, metrics }
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
        let now = (content([&self.file]), content(&self.named));
        if now == self.seen && !asked {
            return;
        }
        self.seen = now;
        let rejected = match Config::load(&self.file) {
            Ok(config) => {
                // Before they are loaded: what changes meanwhile is seen at the next look.
                self.named = named(&config);
                self.seen.1 = content(&self.named);
                self.take(config).err().map(|error| error.to_string())
            }
            Err(problems) => Some(problems.to_string()),
        };
        self.metrics.config_rejected(rejected.is_some());
        if let Some(why) = rejected {
            tracing::error!("the configuration stays as it was:\n{why}");
        }
    }

    fn take(&mut self, config: Config) -> Result<(), TlsError> {
        let settings = Settings::build(&config, self.generation + 1)?;
        for warning in &config.warnings {
            tracing::warn!("{warning}");
        }
        let restart = needs_restart(&self.config, &config);
        if !restart.is_empty() {
            tracing::warn!(changed = restart.join(", "), "needs a restart to come into force");
        }
        if config.limits.clients != self.config.limits.clients {
            files::check(config.limits.clients);
        }
        self.generation += 1;
        self.in_force.replace(settings);
        let (policies, backends) = (config.policies.len(), config.backend.addresses.len());
        self.config = except_restart(&self.config, config);
        self.metrics.config_generation(self.generation);
        tracing::info!(
            generation = self.generation,
            policies,
            backends,
            "configuration taken into force"
        );
        Ok(())
    }
}

/// The files that a configuration names.
fn named(config: &Config) -> Vec<PathBuf> {
    Legs::files(&config.listen.leg, &config.backend.leg).map(Path::to_owned).collect()
}

/// A fingerprint of the content of files; one that can't be read counts as such.
fn content<'a>(files: impl IntoIterator<Item = &'a PathBuf>) -> u64 {
    let mut hasher = DefaultHasher::new();
    for file in files {
        std::fs::read(file).ok().hash(&mut hasher);
    }
    hasher.finish()
}

/// What is in force once `new` is: what needs a restart is still compared with what it was.
fn except_restart(old: &Config, new: Config) -> Config {
    let Config { listen, tso, log, limits, receipts, .. } = old.clone();
    let leg = new.listen.leg.clone();
    let mut config = Config { listen: Listen { leg, ..listen }, tso, log, receipts, ..new };
    config.backend.service = old.backend.service.clone();
    config.limits.statement_shapes = limits.statement_shapes;
    config
}

/// What the service account's connections are made of.
fn service(config: &Config) -> Option<(&ServiceAccount, &BackendLeg, Duration)> {
    let Backend { service, leg, connect_timeout, .. } = &config.backend;
    service.as_ref().map(|account| (account, leg, *connect_timeout))
}

/// What differs and can't be changed while serving.
fn needs_restart(old: &Config, new: &Config) -> Vec<&'static str> {
    [
        ("[listen] mysql", old.listen.mysql != new.listen.mysql),
        ("[listen] http", old.listen.http != new.listen.http),
        ("[backend] service_user", service(old) != service(new)),
        ("[tso]", old.tso != new.tso),
        ("[log]", old.log != new.log),
        ("[receipts]", old.receipts != new.receipts),
        ("[limits] statement_shapes", old.limits.statement_shapes != new.limits.statement_shapes),
    ]
    .into_iter()
    .filter_map(|(name, differs)| differs.then_some(name))
    .collect()
}

#[cfg(test)]
mod tests {
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::base::clock::SystemClock;
    use crate::net::backend::Pool;
    use crate::session::Queues;
    use crate::txn::journal::Budget;

    fn follow(text: &str) -> (tempfile::NamedTempFile, Reload) {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), text).expect("written");
        let config = Config::load(file.path()).expect("right");
        let (metrics, stop) = (Arc::new(Metrics::new()), CancellationToken::new());
        let clock = Arc::new(SystemClock);
        let pool = Pool::new(&config.backend, clock.clone(), metrics.clone(), 1, stop);
        let settings = Settings::build(&config, 1).expect("it names no files");
        let queues = Queues::new(clock, settings.etiquette);
        let in_force = InForce::new(&settings, Arc::new(pool), Budget::new(1 << 20), queues);
        let reload = Reload::new(file.path().to_owned(), config, in_force, metrics);
        (file, reload)
    }

    /// Generation, policies, limit of clients and addresses in force.
    fn in_force(reload: &Reload) -> (u64, usize, usize, Vec<String>) {
        let InForce { policies, limits, pool, .. } = &reload.in_force;
        let addresses = pool.report().into_iter().map(|backend| backend.address).collect();
        let policies = policies.borrow();
        let clients_max = limits.borrow().clients_max;
        (policies.generation(), policies.plans().len(), clients_max, addresses)
    }

    fn local() -> Vec<String> {
        vec!["127.0.0.1:4000".to_owned()]
    }

    const POLICY: &str = "[[policy]]\nname = \"a\"\ntag = true\n";

    #[test]
    fn a_changed_file_is_taken_into_force() {
        let (file, mut reload) = follow("");
        reload.look(false);
        assert_eq!(in_force(&reload), (1, 0, 10_000, local()));
        let all = "[limits]\nclients = 7\n[backend]\naddresses = ['a:1', 'b:2']\n";
        std::fs::write(file.path(), format!("{all}{POLICY}")).expect("written");
        reload.look(false);
        assert_eq!(in_force(&reload), (2, 1, 7, vec!["a:1".to_owned(), "b:2".to_owned()]));
    }

    #[test]
    fn a_bad_file_keeps_what_is_in_force_until_it_is_mended() {
        let (file, mut reload) = follow(POLICY);
        let bad = "[limits]\nclients = 7\n[backend]\naddresses = ['a']\n";
        std::fs::write(file.path(), bad).expect("written");
        reload.look(false);
        assert_eq!(in_force(&reload), (1, 1, 10_000, local()));
        assert!(reload.metrics.render().contains("\ntxguard_config_rejected 1\n"));
        std::fs::remove_file(file.path()).expect("removed");
        reload.look(false);
        assert_eq!(in_force(&reload), (1, 1, 10_000, local()));
        std::fs::write(file.path(), POLICY).expect("written");
        reload.look(false);
        assert_eq!(in_force(&reload), (2, 1, 10_000, local()));
        assert!(reload.metrics.render().contains("\ntxguard_config_rejected 0\n"));
    }

    /// A certificate of its own and its key.
    fn renew(folder: &Path) {
        let made = rcgen::generate_simple_self_signed(["txguard".to_owned()]).expect("made");
        std::fs::write(folder.join("cert"), made.cert.pem()).expect("written");
        std::fs::write(folder.join("key"), made.signing_key.serialize_pem()).expect("written");
    }

    #[test]
    fn certificates_are_part_of_the_configuration() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name).display().to_string();
        let tls = format!("tls_certificate = {:?}\ntls_key = {:?}\n", path("cert"), path("key"));
        let limits = "[limits]\nclients = 7\n";
        let (file, mut reload) = follow("");
        std::fs::write(file.path(), format!("{limits}[listen]\n{tls}")).expect("written");
        reload.look(false);
        assert_eq!(in_force(&reload).2, 10_000, "there is no certificate: nothing changes");
        assert!(reload.metrics.render().contains("\ntxguard_config_rejected 1\n"));
        // Nothing but the files it names is different now.
        renew(folder.path());
        reload.look(false);
        assert_eq!((in_force(&reload).0, in_force(&reload).2), (2, 7));
        assert!(reload.metrics.render().contains("\ntxguard_config_rejected 0\n"));
        assert!(reload.in_force.limits.borrow().terms.legs.client.tls.is_some());
        reload.look(false);
        assert_eq!(in_force(&reload).0, 2, "nothing has changed");
        renew(folder.path());
        reload.look(false);
        assert_eq!(in_force(&reload).0, 3, "a renewed certificate");
        std::fs::write(folder.path().join("key"), "no key").expect("written");
        reload.look(false);
        assert_eq!(in_force(&reload).0, 3, "the old one stays");
    }

    #[test]
    fn what_needs_a_restart_is_named_and_named_again() {
        let (_file, mut reload) = follow("");
        let mut new = reload.config.clone();
        new.limits.clients += 1;
        assert!(needs_restart(&reload.config, &new).is_empty());
        new.limits.statement_shapes += 1;
        new.listen.http = None;
        let named = ["[listen] http", "[limits] statement_shapes"];
        assert_eq!(needs_restart(&reload.config, &new), named);
        reload.take(new.clone()).expect("it names no files");
        assert_eq!(needs_restart(&reload.config, &new), named, "it is not in force yet");
        assert_eq!(in_force(&reload).2, 10_001);
    }
}
