//! Through txguard: the link to the server is cut at each byte of the exchange of COMMIT. What the
//! client hears must agree with the data, also when everything has settled.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use txguard::app::build::Parts;
use txguard::base::metrics::ReceiptOutcome;
use txguard::base::tasks::Tasks;

use crate::support::client::code;
use crate::support::{
    Backend, Proxy, connect_to, eventually, full, mariadb, need, one, soon, tidb,
};
use crate::{ACCOUNT, prepare};

/// What the victim says so that its connection is known.
const VICTIM: &str = "SELECT 'the one to be cut'";

/// Where the victim's connection is cut, counted from its COMMIT.
#[derive(Debug, Clone, Copy)]
struct Cut {
    /// 0: to the server, 1: from it.
    direction: usize,
    behind: usize,
}

/// Passes connections on, and cuts one.
struct Link {
    address: String,
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
    async fn before(backend: &Backend) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let address = listener.local_addr().expect("bound").to_string();
        let (tasks, state) = (Tasks::default(), Arc::new(State::default()));
        let (stop, backend, shared) =
            (tasks.token().clone(), backend.address.clone(), state.clone());
        let inner = tasks.clone();
        tasks.spawn(async move {
            while let Some(Ok((near, _))) = stop.run_until_cancelled(listener.accept()).await {
                let Ok(far) = TcpStream::connect(&backend).await else { continue };
                let (shared, stop) = (shared.clone(), stop.clone());
                inner.spawn(async move {
                    stop.run_until_cancelled(Box::pin(pass(near, far, shared))).await;
                });
            }
        });
        Self { address, state, tasks }
    }

    /// From now on the victim's bytes count.
    fn arm(&self, cut: Cut) {
        self.state.passed.iter().for_each(|passed| passed.store(0, Ordering::SeqCst));
        *self.state.cut.lock().expect("whole") = Some(cut);
    }

    fn passed(&self) -> [usize; 2] {
        [0, 1].map(|direction: usize| self.state.passed[direction].load(Ordering::SeqCst))
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.tasks.cancel();
    }
}

async fn pass(near: TcpStream, far: TcpStream, state: Arc<State>) {
    for stream in [&near, &far] {
        let _ = stream.set_nodelay(true);
    }
    let (mut from_near, mut to_near) = near.into_split();
    let (mut from_far, mut to_far) = far.into_split();
    let (victim, over) = (AtomicBool::new(false), CancellationToken::new());
    // Whichever ends first ends both: the connection is closed.
    tokio::select! {
        () = copy(&mut from_near, &mut to_far, 0, &state, &victim, &over) => {}
        () = copy(&mut from_far, &mut to_near, 1, &state, &victim, &over) => {}
        () = over.cancelled() => {}
    }
}

async fn copy(
    from: &mut (impl AsyncReadExt + Unpin),
    to: &mut (impl AsyncWriteExt + Unpin),
    direction: usize,
    state: &State,
    victim: &AtomicBool,
    over: &CancellationToken,
) {
    let mut buffer = [0; 4096];
    loop {
        let Ok(read @ 1..) = from.read(&mut buffer).await else { return };
        let said = &buffer[..read];
        if said.windows(VICTIM.len()).any(|window| window == VICTIM.as_bytes()) {
            victim.store(true, Ordering::SeqCst);
        }
        let cut = state.cut.lock().expect("whole").filter(|_| victim.load(Ordering::SeqCst));
        let passed = state.passed[direction].load(Ordering::SeqCst);
        let left = match cut {
            Some(cut) if cut.direction == direction => cut.behind.saturating_sub(passed),
            _ => usize::MAX,
        };
        let through = read.min(left);
        // Ahead of the bytes: who has heard them may ask at once.
        if cut.is_some() {
            state.passed[direction].fetch_add(through, Ordering::SeqCst);
        }
        if to.write_all(&said[..through]).await.is_err() {
            return;
        }
        if through == left {
            over.cancel();
            return;
        }
    }
}

/// txguard with receipts before a link.
async fn proxy(link: &Link) -> Proxy {
    let text = format!(
        "[listen]\nmysql = '127.0.0.1:0'\nhttp = ''\n\
         [backend]\naddresses = ['{}']\nservice_user = '{ACCOUNT}'\n\
         [receipts]\nresolve_limit = '25s'\n\
         [log]\ntransactions = 'all'\n\
         [[policy]]\nname = 'receipts'\nreceipt = true\nretry = {{}}\n",
        link.address
    );
    let proxy = Proxy::start_text(&text, Parts::default()).await;
    let ready = || proxy.metrics().render().contains("\ntxguard_receipts_ready 1\n");
    eventually("the tables are found", ready).await;
    proxy
}

/// What the client has heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heard {
    Committed,
    NotCommitted,
    Nothing,
}

/// A transaction whose COMMIT is cut.
async fn commit(address: &str, begin: &str, insert: &str, link: &Link, cut: Cut) -> Heard {
    let mut client = connect_to(address, None).await;
    for statement in [VICTIM, begin, insert] {
        soon(statement, client.query_drop(statement)).await.expect("not cut yet");
    }
    link.arm(cut);
    let answer = soon("COMMIT", client.query_drop("COMMIT")).await;
    link.state.cut.lock().expect("whole").take();
    match answer {
        Ok(()) => Heard::Committed,
        Err(error) => match code(&error) {
            Some(17014) => Heard::NotCommitted,
            Some(other) => panic!("{cut:?}: error {other}"),
            None => Heard::Nothing,
        },
    }
}

async fn is_there(direct: &mut Conn, table: &str, id: u32) -> bool {
    one::<u32>(direct, &format!("SELECT COUNT(*) FROM {table} WHERE id = {id}")).await == 1
}

async fn everywhere(backend: &Backend, begins: &[&str]) {
    prepare(backend).await;
    let schema = backend.schema(&["CREATE TABLE t (id INT PRIMARY KEY)"]).await;
    let table = format!("{}.t", schema.name);
    let link = Link::before(backend).await;
    let proxy = proxy(&link).await;
    let (address, mut direct) = (proxy.address.to_string(), backend.connect().await);
    let (mut told, mut id) = (Vec::new(), 0);
    let insert = |id: u32| format!("INSERT INTO {table} VALUES ({id})");
    for begin in begins {
        let whole = Cut { direction: 0, behind: usize::MAX };
        assert_eq!(commit(&address, begin, &insert(id), &link, whole).await, Heard::Committed);
        let sizes = link.passed();
        assert!(sizes[0] > 100 && sizes[1] > 20, "{sizes:?}");
        told.push((id, Heard::Committed));
        for (direction, bytes) in sizes.into_iter().enumerate() {
            // A prime, so that both modes together touch each place of a packet.
            let step = if direction == 1 || full() { 1 } else { 7 };
            for behind in (0..=bytes).step_by(step) {
                id += 1;
                let cut = Cut { direction, behind };
                let heard = commit(&address, begin, &insert(id), &link, cut).await;
                let there = is_there(&mut direct, &table, id).await;
                match heard {
                    Heard::Committed => assert!(there, "{begin}, {cut:?}: it isn't there"),
                    Heard::NotCommitted => assert!(!there, "{begin}, {cut:?}: it is there"),
                    Heard::Nothing => panic!("{begin}, {cut:?}: no decision within the limit"),
                }
                // From the server's first byte on it has committed.
                assert!(direction == 0 || heard == Heard::Committed, "{begin}, {cut:?}");
                told.push((id, heard));
            }
        }
        id += 1;
    }
    for (id, heard) in &told {
        assert_eq!(
            is_there(&mut direct, &table, *id).await,
            *heard == Heard::Committed,
            "row {id}"
        );
    }
    let count = |wanted| told.iter().filter(|(_, heard)| *heard == wanted).count();
    let (committed, not) = (count(Heard::Committed), count(Heard::NotCommitted));
    assert!(committed > 20 && not > 20, "{committed} and {not}: one-sided");
    let lost = proxy.metrics().receipts(ReceiptOutcome::Committed);
    assert!(lost > 20, "{lost} commits were found by their receipts");
    proxy.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_tidb_what_is_heard_agrees_with_the_data() {
    everywhere(&need!(tidb::start()), &["BEGIN OPTIMISTIC", "BEGIN PESSIMISTIC"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_mariadb_what_is_heard_agrees_with_the_data() {
    everywhere(&need!(mariadb::start()), &["BEGIN"]).await;
}
