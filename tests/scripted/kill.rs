//! KILL by the id that a client knows: relayed, refused, or carried out elsewhere.

use std::time::Duration;

use txguard::base::config::{Backend, PasswordSource, ServiceAccount};
use txguard::session::Registry;
use txguard::store::service::Service;
use txguard::wire::command::Command;

use super::harness::{RETRY, Setup, Talk, setup};
use super::words::*;

/// Of a node that stands alone.
const ALONE: u32 = 1 << 21;

fn at(registry: &Registry, address: &'static str, id: u32) -> Setup {
    let mut setup = setup(RETRY);
    setup.version = "8.0.11-TiDB-v7.5.0";
    setup.registry = registry.clone();
    setup.address = address;
    setup.id = id;
    setup
}

/// An account that can log in nowhere.
fn service() -> Option<Service> {
    let account = ServiceAccount { user: "txguard".to_owned(), password: PasswordSource::None };
    let connect_timeout = Duration::from_secs(1);
    Service::new(&Backend { service: Some(account), connect_timeout, ..Backend::default() })
}

/// The packet of a COM_PROCESS_KILL.
fn process_kill(id: u32) -> Vec<u8> {
    command(Command::PROCESS_KILL, &id.to_le_bytes())
}

/// KILL in every form, each a way to send it.
fn forms(id: u32) -> Vec<Vec<u8>> {
    let texts = ["KILL {}", "kill query {}", "/* x */ KILL CONNECTION {};", "KILL TIDB QUERY {}"];
    let texts = texts.map(|text| query(&text.replace("{}", &id.to_string())));
    texts.into_iter().chain([process_kill(id), execute(1)]).collect()
}

/// The statement that [`forms`] executes.
async fn prepare_kill(talk: &mut Talk, id: u32) {
    talk.step(&prepare(&format!("KILL QUERY {id}")), &prepare_ok(false, 1, 0, 0)).await;
}

/// All forms of a KILL are relayed, by a connection with this id and address.
async fn relayed(asks: Setup, id: u32) {
    let mut talk = asks.open().await;
    prepare_kill(&mut talk, id).await;
    for form in forms(id) {
        talk.step(&form, &err(1094, "Unknown thread id")).await;
        talk.step(&form, &ok(AUTO)).await;
    }
    talk.transfer().await;
    talk.sql("COMMIT", &ok(AUTO)).await;
}

/// All forms of a KILL are answered with this error, and the backend hears none of them.
async fn refused(asks: Setup, id: u32, code: u16, text: &str) {
    let mut talk = asks.open().await;
    prepare_kill(&mut talk, id).await;
    for form in forms(id) {
        talk.client.send(&form).await;
        talk.client.expect(&err(code, text)).await;
        talk.server.silent().await;
    }
    // Sent ahead: answered in its turn.
    for form in forms(id) {
        talk.client.send_all(&[query("SELECT 1"), form, query("SELECT 2")]).await;
        talk.server.expect(&query("SELECT 1")).await;
        talk.client.silent().await;
        talk.answer(&rows(&["1"], AUTO)).await;
        talk.client.expect(&err(code, text)).await;
        talk.server.expect(&query("SELECT 2")).await;
        talk.answer(&rows(&["2"], AUTO)).await;
    }
    // In a transaction: it goes on, and can't be replayed.
    talk.transfer().await;
    for form in forms(id) {
        talk.client.send(&form).await;
        talk.client.expect(&err(code, text)).await;
    }
    talk.sql("COMMIT", &conflict(1)).await;
    talk.server.silent().await;
    assert_eq!(talk.unguarded().len(), 1);
    talk.guarded(2).await;
}

#[tokio::test(start_paused = true)]
async fn an_id_of_the_own_backend_is_relayed() {
    let registry = Registry::default();
    let _victim = at(&registry, "a:4000", ALONE + 8).open().await;
    relayed(at(&registry, "a:4000", ALONE + 2), ALONE + 8).await;
    relayed(at(&registry, "a:4000", ALONE + 2), ALONE + 2).await;
}

#[tokio::test(start_paused = true)]
async fn an_id_that_nobody_has_is_relayed() {
    let registry = Registry::default();
    let victim = at(&registry, "b:4000", ALONE + 8).open().await;
    relayed(at(&registry, "a:4000", ALONE + 2), ALONE + 10).await;
    // Who has left has it no more.
    victim.bye().await;
    relayed(at(&registry, "a:4000", ALONE + 2), ALONE + 8).await;
}

#[tokio::test(start_paused = true)]
async fn what_names_no_connection_is_relayed() {
    let registry = Registry::default();
    let _victim = at(&registry, "b:4000", 8).open().await;
    let mut talk = at(&registry, "a:4000", 2).open().await;
    for text in
        ["KILL QUERY ID 8", "KILL USER 8", "KILL 8 + 0", "KILL 4294967304", "KILL 8; SELECT 1"]
    {
        talk.sql(text, &ok(AUTO)).await;
    }
    for cut in [&[][..], &[8], &[8, 0, 0, 0, 0]] {
        talk.step(&command(Command::PROCESS_KILL, cut), &err(1835, "Malformed")).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_id_on_another_backend_needs_the_service_account() {
    let text = "txguard: the connection to kill is on another backend";
    let registry = Registry::default();
    let _victim = at(&registry, "b:4000", ALONE + 8).open().await;
    refused(at(&registry, "a:4000", ALONE + 2), ALONE + 8, 17010, text).await;
    refused(at(&registry, "a:4000", 2), ALONE + 8, 17010, text).await;
    let text = "txguard: the KILL could not be sent to the other backend";
    let mut asks = at(&registry, "a:4000", ALONE + 2);
    asks.service = service();
    // Nothing has this address.
    let _nowhere = at(&registry, "no address", ALONE + 12).open().await;
    refused(asks, ALONE + 12, 17012, text).await;
}

#[tokio::test(start_paused = true)]
async fn an_id_on_several_backends_is_refused() {
    let text = "txguard: connections on several backends have this id";
    let registry = Registry::default();
    let _one = at(&registry, "b:4000", 8).open().await;
    for address in ["a:4000", "c:4000"] {
        let other = at(&registry, address, 8).open().await;
        refused(at(&registry, "a:4000", 2), 8, 17011, text).await;
        // Also by one of them.
        other.bye().await;
    }
    refused(at(&registry, "a:4000", 8), 8, 17011, text).await;
}

#[tokio::test(start_paused = true)]
async fn another_users_connection_is_not_killed_by_our_account() {
    let registry = Registry::default();
    let mut victim = at(&registry, "b:4000", ALONE + 8).open().await;
    let login = command(Command::CHANGE_USER, b"bob\0\x02xxshop\0\x2d\0mysql_native_password\0");
    victim.step(&login, &ok(AUTO)).await;
    for service in [None, service()] {
        let mut asks = at(&registry, "a:4000", ALONE + 2);
        asks.service = service;
        let text = format!("You are not owner of thread {}", ALONE + 8);
        refused(asks, ALONE + 8, 1095, &text).await;
    }
    // The one who asks has become the same.
    let mut talk = at(&registry, "a:4000", ALONE + 2).open().await;
    talk.step(&login, &ok(AUTO)).await;
    talk.client.query(&format!("KILL {}", ALONE + 8)).await;
    talk.client.expect(&err(17010, "txguard: the connection to kill is on another backend")).await;
}

#[tokio::test(start_paused = true)]
async fn a_cluster_of_tidb_routes_it_itself() {
    let node = |number: u32| number << 21;
    let registry = Registry::default();
    let _victim = at(&registry, "b:4000", node(7) + 8).open().await;
    relayed(at(&registry, "a:4000", node(9) + 2), node(7) + 8).await;
    // Whatever the user: the server knows who may.
    let mut asks = at(&registry, "a:4000", node(9) + 2);
    asks.user = "root";
    relayed(asks, node(7) + 8).await;
}

#[tokio::test(start_paused = true)]
async fn a_fragile_server_hears_no_kill_of_ours() {
    let registry = Registry::default();
    let mut setup = at(&registry, "b:4000", ALONE + 8);
    setup.version = "8.0.11-TiDB-v8.5.3";
    let mut victim = setup.open().await;
    victim.transfer().await;
    let mut asks = at(&registry, "a:4000", 2);
    asks.service = service();
    let mut talk = asks.open().await;
    talk.client.query(&format!("KILL QUERY {}", ALONE + 8)).await;
    let text = "txguard: this version of TiDB may not survive a KILL QUERY";
    talk.client.expect(&err(17013, text)).await;
    victim.sql("SELECT 1", &rows(&["1"], TX)).await;
    // A KILL would close the connection here, if the own backend could be asked.
    talk.sql("BEGIN", &ok(TX)).await;
    talk.client.query(&format!("KILL {}", ALONE + 8)).await;
    let text = "txguard: the KILL could not be sent to the other backend";
    talk.client.expect(&err(17012, text)).await;
    victim.sql("SELECT 1", &rows(&["1"], TX)).await;
    talk.server.silent().await;
    talk.sql("COMMIT", &ok(AUTO)).await;
}

#[tokio::test(start_paused = true)]
async fn an_execution_that_passes_in_pieces_is_relayed() {
    let registry = Registry::default();
    let _victim = at(&registry, "b:4000", ALONE + 8).open().await;
    let mut talk = at(&registry, "a:4000", 2).open().await;
    prepare_kill(&mut talk, ALONE + 8).await;
    let mut long = execute(1);
    long.resize(100_000, 0);
    let (client, server) = (&mut talk.client, &mut talk.server);
    tokio::join!(client.send(&long), server.expect(&long));
    talk.answer(&err(1835, "Malformed")).await;
    talk.usable().await;
}
