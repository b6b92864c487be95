//! Through txguard: the link to the server is cut at each byte of the exchange of COMMIT. What the
//! client hears must agree with the data, also when everything has settled.

use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use txguard::app::build::Parts;
use txguard::base::metrics::ReceiptOutcome;

use crate::link::{Cut, Link, Victim};
use crate::support::client::code;
use crate::support::{
    Backend, Proxy, connect_to, eventually, full, mariadb, need, one, soon, tidb,
};
use crate::{ACCOUNT, prepare};

/// What the victim says so that its connection is known.
const VICTIM: &str = "SELECT 'the one to be cut'";

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
    link.disarm();
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
    let link = Link::before(backend, Victim::Says(VICTIM)).await;
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
