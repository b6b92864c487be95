//! The resolver's connection cut at each byte of its exchange, in both directions: asked again, it
//! comes to the one right answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use mysql_async::prelude::Queryable;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use txguard::base::tasks::Tasks;
use txguard::coordinator::resolver::Fate;

use crate::support::{Backend, full, mariadb, need, soon, tidb};
use crate::{key, packet, prepare, resolver};

/// Lets through of the first connection only so many bytes of one direction, and of those behind
/// it all.
struct Cutter {
    address: String,
    tasks: Tasks,
    /// Bytes of both directions of the first connection, if it was not cut.
    seen: Arc<[AtomicUsize; 2]>,
}

#[derive(Debug, Clone, Copy)]
struct Cut {
    /// 0: to the server, 1: from it.
    direction: usize,
    behind: usize,
}

impl Cutter {
    async fn before(backend: &Backend, cut: Cut) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let address = listener.local_addr().expect("bound").to_string();
        let (tasks, seen) =
            (Tasks::default(), Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]));
        let (stop, backend, counts) =
            (tasks.token().clone(), backend.address.clone(), seen.clone());
        tasks.clone().spawn(async move {
            let inner = Tasks::default();
            let mut cut = Some(cut);
            while let Some(Ok((near, _))) = stop.run_until_cancelled(listener.accept()).await {
                let far = TcpStream::connect(&backend).await.expect("the server");
                inner.spawn(pass(near, far, cut.take(), counts.clone()));
            }
        });
        Self { address, tasks, seen }
    }
}

impl Drop for Cutter {
    fn drop(&mut self) {
        self.tasks.cancel();
    }
}

async fn pass(near: TcpStream, far: TcpStream, cut: Option<Cut>, seen: Arc<[AtomicUsize; 2]>) {
    for stream in [&near, &far] {
        let _ = stream.set_nodelay(true);
    }
    let (mut from_near, mut to_near) = near.into_split();
    let (mut from_far, mut to_far) = far.into_split();
    let left = |direction| {
        let cut = cut.filter(|cut| cut.direction == direction);
        cut.map_or(usize::MAX, |cut| cut.behind)
    };
    // Whichever ends first ends both: the connection is closed.
    let counted = cut.is_some();
    tokio::select! {
        () = copy(&mut from_near, &mut to_far, left(0), counted.then_some(&seen[0])) => {}
        () = copy(&mut from_far, &mut to_near, left(1), counted.then_some(&seen[1])) => {}
    }
}

async fn copy(
    from: &mut (impl AsyncReadExt + Unpin),
    to: &mut (impl AsyncWriteExt + Unpin),
    mut left: usize,
    seen: Option<&AtomicUsize>,
) {
    let mut buffer = [0; 4096];
    while left > 0 {
        let Ok(read @ 1..) = from.read(&mut buffer).await else { return };
        let through = read.min(left);
        // Ahead of the bytes: who has heard them may ask at once.
        if let Some(seen) = seen {
            seen.fetch_add(through, Ordering::Relaxed);
        }
        if to.write_all(&buffer[..through]).await.is_err() {
            return;
        }
        left -= through;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_exchange_is_repeated_with_the_same_verdict() {
    for backend in [need!(tidb::start()), need!(mariadb::start())] {
        prepare(&backend).await;
        let mut cases = 0;
        for committed in [false, true] {
            let whole =
                verdict(&backend, committed, Cut { direction: 0, behind: usize::MAX }).await;
            for (direction, bytes) in whole.into_iter().enumerate() {
                assert!(bytes > 100, "an exchange was seen: {bytes}");
                cases += cut_everywhere(&backend, committed, direction, bytes).await;
            }
        }
        assert!(cases > 100, "{cases}");
    }
}

async fn cut_everywhere(
    backend: &Backend,
    committed: bool,
    direction: usize,
    bytes: usize,
) -> usize {
    // A prime, so that the rounds of all runs together touch each place of a packet.
    let step = if full() { 1 } else { 7 };
    let (permits, mut running) = (Arc::new(Semaphore::new(16)), JoinSet::new());
    for behind in (0..=bytes).step_by(step) {
        let (backend, permits) = (backend.clone(), permits.clone());
        running.spawn(async move {
            let _permit = permits.acquire_owned().await.expect("open");
            verdict(&backend, committed, Cut { direction, behind }).await
        });
    }
    running.join_all().await.len()
}

/// Asks through a connection that is cut, and compares with what must come out. Returns the bytes
/// that went through the first connection.
async fn verdict(backend: &Backend, committed: bool, cut: Cut) -> [usize; 2] {
    let key = key();
    if committed {
        let mut client = backend.connect().await;
        client.query_drop(format!("BEGIN;{}", packet(key))).await.expect("committed");
    }
    let expected = if committed { Fate::Committed } else { Fate::NotCommitted };
    let cutter = Cutter::before(backend, cut).await;
    let resolver = resolver(&cutter.address, "resolve_limit = '25s'\nlock_timeout = '5s'");
    let fate = soon("a decision", resolver.resolve(key, &cutter.address)).await;
    assert_eq!(fate, expected, "{cut:?}");
    let direct = crate::resolver(&backend.address, "");
    let again = soon("a decision", direct.resolve(key, &backend.address)).await;
    assert_eq!(again, expected, "{cut:?}, asked directly");
    [0, 1].map(|direction| cutter.seen[direction].load(Ordering::Relaxed))
}
