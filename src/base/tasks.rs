//! Tasks that can be cancelled and waited for. Nothing in txguard is spawned untracked, so a
//! shutdown knows when all work has ended.

use std::future::Future;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A group of tasks with one cancellation token.
#[derive(Debug, Clone, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    cancel: CancellationToken,
}

impl Tasks {
    /// Starts a task on the current runtime and keeps track of it.
    pub fn spawn<F>(&self, future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.tracker.spawn(future);
    }

    /// The token that tells the tasks of this group to end.
    #[must_use]
    pub fn token(&self) -> &CancellationToken {
        &self.cancel
    }

    /// How many tasks are running.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tracker.len()
    }

    /// True if no task is running.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tracker.is_empty()
    }

    /// Tells all tasks to end and returns at once.
    pub fn cancel(&self) {
        self.cancel.cancel();
    }

    /// Waits until every task has ended; new tasks may still be started meanwhile.
    ///
    /// Cancel safe.
    pub async fn wait(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }
}
