//! An address before another one that cuts each connection after some number of bytes, in the
//! middle of whatever is under way.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use txguard::base::tasks::Tasks;

use crate::support::dice::Dice;

/// It ends when it is dropped.
pub(crate) struct Cutter {
    /// HOST:PORT.
    pub(crate) address: String,
    cuts: Arc<AtomicU64>,
    tasks: Tasks,
}

impl Cutter {
    /// Before HOST:PORT; each connection carries up to `bytes_max`, both ways together, drawn from
    /// the seed in the order in which they come.
    pub(crate) async fn start(target: &str, seed: u64, bytes_max: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound").to_string();
        let (tasks, cuts) = (Tasks::default(), Arc::<AtomicU64>::default());
        let (stop, target, counter) = (tasks.token().clone(), target.to_owned(), cuts.clone());
        let mut dice = Dice(seed);
        let connections = Tasks::default();
        tasks.spawn(async move {
            while let Some(Ok((near, _))) = stop.run_until_cancelled(listener.accept()).await {
                let (budget, target) = (1 + dice.below(bytes_max), target.clone());
                let (cuts, stop) = (counter.clone(), stop.clone());
                connections.spawn(async move {
                    let passed = stop.run_until_cancelled(pass(near, &target, budget as usize));
                    cuts.fetch_add(u64::from(passed.await == Some(Some(Cut))), Ordering::Relaxed);
                });
            }
        });
        Self { address, cuts, tasks }
    }

    /// Connections that were cut so far.
    pub(crate) fn cuts(&self) -> u64 {
        self.cuts.load(Ordering::Relaxed)
    }
}

impl Drop for Cutter {
    fn drop(&mut self) {
        self.tasks.cancel();
    }
}

/// The budget was used up.
#[derive(Debug, PartialEq, Eq)]
struct Cut;

/// Passes bytes both ways until one side ends or the budget does.
async fn pass(mut near: TcpStream, target: &str, mut budget: usize) -> Option<Cut> {
    let mut far = TcpStream::connect(target).await.ok()?;
    near.set_nodelay(true).ok()?;
    far.set_nodelay(true).ok()?;
    let (mut up, mut down) = (vec![0; 16 << 10], vec![0; 16 << 10]);
    loop {
        let (bytes, to) = tokio::select! {
            read = near.read(&mut up) => (&up[..read.ok()?], &mut far),
            read = far.read(&mut down) => (&down[..read.ok()?], &mut near),
        };
        if bytes.is_empty() {
            return None;
        }
        let len = bytes.len().min(budget);
        to.write_all(&bytes[..len]).await.ok()?;
        budget -= len;
        if budget == 0 {
            return Some(Cut);
        }
    }
}
