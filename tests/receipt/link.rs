//! An address before a server that passes connections on, and cuts one of them at a byte.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use txguard::base::tasks::Tasks;

use crate::support::Backend;

/// Where the victim is cut, counted from when the link was armed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cut {
    /// 0: to the server, 1: from it.
    pub(crate) direction: usize,
    pub(crate) behind: usize,
}

/// Which connection is cut.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Victim {
    /// The first one.
    First,
    /// Those that have said this.
    Says(&'static str),
}

/// It ends when it is dropped.
pub(crate) struct Link {
    pub(crate) address: String,
    state: Arc<State>,
    tasks: Tasks,
}

#[derive(Default)]
struct State {
    cut: Mutex<Option<Cut>>,
    /// Bytes of the victim since it was armed, by direction.
    passed: [AtomicUsize; 2],
}

impl Link {
    pub(crate) async fn before(backend: &Backend, victim: Victim) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let address = listener.local_addr().expect("bound").to_string();
        let (tasks, state) = (Tasks::default(), Arc::new(State::default()));
        let (stop, backend, shared) =
            (tasks.token().clone(), backend.address.clone(), state.clone());
        let inner = tasks.clone();
        tasks.spawn(async move {
            let mut is_first = true;
            while let Some(Ok((near, _))) = stop.run_until_cancelled(listener.accept()).await {
                let Ok(far) = TcpStream::connect(&backend).await else { continue };
                let (state, stop) = (shared.clone(), stop.clone());
                let chosen = matches!(victim, Victim::First) && std::mem::take(&mut is_first);
                let chosen = AtomicBool::new(chosen);
                let over = CancellationToken::new();
                let passing = Passing { state, victim, chosen, over };
                inner.spawn(async move {
                    stop.run_until_cancelled(Box::pin(passing.pass(near, far))).await;
                });
            }
        });
        Self { address, state, tasks }
    }

    /// From now on the victim's bytes count.
    pub(crate) fn arm(&self, cut: Cut) {
        self.state.passed.iter().for_each(|passed| passed.store(0, Ordering::SeqCst));
        *self.state.cut.lock().expect("whole") = Some(cut);
    }

    /// From now on they don't.
    pub(crate) fn disarm(&self) {
        self.state.cut.lock().expect("whole").take();
    }

    /// The victim's bytes, by direction.
    pub(crate) fn passed(&self) -> [usize; 2] {
        [0, 1].map(|direction: usize| self.state.passed[direction].load(Ordering::SeqCst))
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.tasks.cancel();
    }
}

/// One connection.
struct Passing {
    state: Arc<State>,
    victim: Victim,
    /// It is the victim.
    chosen: AtomicBool,
    over: CancellationToken,
}

impl Passing {
    async fn pass(&self, near: TcpStream, far: TcpStream) {
        for stream in [&near, &far] {
            let _ = stream.set_nodelay(true);
        }
        let (mut from_near, mut to_near) = near.into_split();
        let (mut from_far, mut to_far) = far.into_split();
        // Whichever ends first ends both: the connection is closed.
        tokio::select! {
            () = self.copy(&mut from_near, &mut to_far, 0) => {}
            () = self.copy(&mut from_far, &mut to_near, 1) => {}
            () = self.over.cancelled() => {}
        }
    }

    /// The cut, if it is for this connection.
    fn cut(&self) -> Option<Cut> {
        let chosen = self.chosen.load(Ordering::SeqCst);
        self.state.cut.lock().expect("whole").filter(|_| chosen)
    }

    /// How many bytes may still pass in this direction.
    fn left(&self, cut: Option<Cut>, direction: usize) -> usize {
        let passed = self.state.passed[direction].load(Ordering::SeqCst);
        let cut = cut.filter(|cut| cut.direction == direction);
        cut.map_or(usize::MAX, |cut| cut.behind.saturating_sub(passed))
    }

    async fn copy(
        &self,
        from: &mut (impl AsyncReadExt + Unpin),
        to: &mut (impl AsyncWriteExt + Unpin),
        direction: usize,
    ) {
        let mut buffer = [0; 4096];
        while self.left(self.cut(), direction) > 0 {
            let Ok(read @ 1..) = from.read(&mut buffer).await else { return };
            let said = &buffer[..read];
            if let Victim::Says(words) = self.victim
                && said.windows(words.len()).any(|window| window == words.as_bytes())
            {
                self.chosen.store(true, Ordering::SeqCst);
            }
            let cut = self.cut();
            let left = self.left(cut, direction);
            let through = read.min(left);
            // Ahead of the bytes: who has heard them may ask at once.
            if cut.is_some() {
                self.state.passed[direction].fetch_add(through, Ordering::SeqCst);
            }
            if to.write_all(&said[..through]).await.is_err() {
                return;
            }
            if through == left {
                self.over.cancel();
                return;
            }
        }
    }
}
