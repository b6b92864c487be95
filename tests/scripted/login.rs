//! Greeting and login pass with the server's own salt.

use std::time::Duration;

use txguard::base::error::Own;
use txguard::session::{End, own_error};
use txguard::wire::capability::Capabilities;
use txguard::wire::frame::write_packet;
use txguard::wire::packet::greeting::Greeting;
use txguard::wire::packet::login::Login;

use super::client::login;
use super::harness::{FLAGS, RETRY, Talk, setup};
use super::server::greeting;
use super::words::*;

const TIDB: &str = "8.0.11-TiDB-v8.5.3";

async fn connected() -> Talk {
    let mut talk = setup(RETRY).connect();
    talk.server.greet(TIDB, u32::MAX).await;
    talk.client.greeting().await;
    talk.client.login(FLAGS, 46, "app", None).await;
    talk.server.login().await;
    talk
}

/// Packets of an authentication exchange; true: the server says it.
async fn exchange(talk: &mut Talk, packets: &[(bool, &[u8])]) {
    for (seq, (server, payload)) in (2_u8..).zip(packets) {
        let packet = Reply::of([payload.to_vec()]);
        if *server {
            talk.server.say(seq, &packet).await;
            talk.client.expect_from(seq, &packet).await;
        } else {
            talk.client.send_from(seq, payload).await;
            assert_eq!(talk.server.packet().await, (seq, payload.to_vec()));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_greeting_loses_only_what_can_t_be_carried() {
    for pipes in [(64 << 10, 64 << 10), (1, 1)] {
        let mut talk = setup(RETRY).pipes(pipes.0, pipes.1).connect();
        let sent = greeting(TIDB, u32::MAX, [0; 4]);
        talk.server.say(0, &Reply::of([sent.clone()])).await;
        let got = talk.client.greeting().await;
        let mut wanted = sent.clone();
        // txguard compresses its own leg, whatever the backend can; it has no certificate here.
        let offers = Capabilities::COMPRESS | Capabilities::ZSTD;
        Greeting::dress(&mut wanted, Capabilities(offers)).expect("a greeting");
        assert_eq!(got, wanted);
        let flags = Greeting::read(&got).expect("a greeting").capabilities;
        assert_eq!(flags.0, !Capabilities::MASKED | offers);
        for flag in
            [Capabilities::SSL, Capabilities::QUERY_ATTRIBUTES, Capabilities::OPTIONAL_METADATA]
        {
            assert!(!flags.has(flag), "{flag:#x}");
        }
        let differing = sent.iter().zip(&got).filter(|(a, b)| a != b).count();
        assert!(differing <= 4, "salt, version and id are the server's: {differing}");
        // A client that asks for them all the same doesn't get them.
        let all = !Capabilities::PLUGIN_AUTH_LENENC & !Capabilities::ZSTD;
        talk.client.login(all, 46, "app", Some("x")).await;
        let login = talk.server.login().await;
        let flags = Login::read(&login).expect("a login").capabilities;
        assert_eq!(flags.0 & Capabilities::MASKED, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn mariadb_s_extended_capabilities_are_masked_on_both_sides() {
    let mut talk = setup(RETRY).connect();
    let version = "11.4.2-MariaDB";
    let sent = greeting(version, !1, [0xFF, 0, 0, 0]);
    talk.server.say(0, &Reply::of([sent.clone()])).await;
    let got = talk.client.greeting().await;
    // reserved 6, then the extended flags
    let at = 1 + version.len() + 1 + 4 + 9 + 2 + 1 + 2 + 2 + 1 + 6;
    assert_eq!((sent[at], got[at]), (0xFF, 0b1110_1110));
    let mut asked = login(FLAGS & !1, 46, "app", None);
    asked[28] = 0xFF;
    talk.client.send_from(1, &asked).await;
    let heard = talk.server.login().await;
    assert_eq!(heard[28], 0b1110_1110);
    // With bit 0 the bytes there are the filler of MySQL: they stay.
    let mut talk = setup(RETRY).connect();
    let sent = greeting(TIDB, u32::MAX, [0xFF, 0, 0, 0]);
    talk.server.say(0, &Reply::of([sent])).await;
    talk.client.greeting().await;
    let mut asked = login(FLAGS, 46, "app", None);
    asked[28] = 0xFF;
    talk.client.send_from(1, &asked).await;
    assert_eq!(talk.server.login().await, asked);
}

#[tokio::test(start_paused = true)]
async fn a_schema_in_the_login_chooses_the_policy() {
    let rules = "[[policy]]\nname='p'\nmatch={schemas=['shop']}\nretry={}";
    for (schema, guarded) in [(Some("shop"), true), (Some("other"), false), (None, false)] {
        let mut setup = setup(rules);
        setup.schema = schema;
        let mut talk = setup.open().await;
        talk.transfer().await;
        if guarded {
            talk.commit_conflicts(1).await;
            talk.transfer_again().await;
            talk.again("COMMIT", &ok(AUTO)).await;
            talk.client.expect(&ok(AUTO)).await;
        } else {
            talk.sql("COMMIT", &conflict(1)).await;
            talk.server.silent().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_way_to_authenticate_is_relayed() {
    const OK: &[u8] = &[0, 0, 0, 2, 0, 0, 0];
    let switch: &[u8] = b"\xFEmysql_native_password\0abcdefghijklmnopqrst\0";
    let cases: &[&[(bool, &[u8])]] = &[
        &[(true, OK)],
        // caching_sha2_password: the fast path, and the full exchange
        &[(true, &[1, 3]), (true, OK)],
        &[(true, &[1, 4]), (false, b"secret\0"), (true, OK)],
        &[
            (true, &[1, 4]),
            (false, &[2]),
            (true, b"\x01-----BEGIN"),
            (false, &[9; 256]),
            (true, OK),
        ],
        &[(true, switch), (false, &[7; 20]), (true, OK)],
        &[(true, switch), (false, &[]), (true, OK)],
        &[(true, switch), (false, &[7; 32]), (true, &[1, 3]), (true, OK)],
        &[(true, switch), (false, &[7; 32]), (true, &[1, 4]), (false, b"x\0"), (true, OK)],
        &[(true, &[0xFE]), (false, b"oldpass\0"), (true, OK)],
    ];
    for case in cases {
        let mut talk = connected().await;
        exchange(&mut talk, case).await;
        talk.usable().await;
    }
}

#[tokio::test(start_paused = true)]
async fn fast_path_and_ok_may_come_in_one_piece_or_byte_by_byte() {
    for pipe in [64, 1] {
        let mut talk = setup(RETRY).pipes(pipe, pipe).connect();
        talk.server.greet(TIDB, u32::MAX).await;
        talk.client.greeting().await;
        talk.client.login(FLAGS, 46, "app", None).await;
        talk.server.login().await;
        let both = Reply::of([vec![1, 3]]).then(ok(AUTO));
        let (server, client) = (&mut talk.server, &mut talk.client);
        tokio::join!(server.say(2, &both), client.expect_from(2, &both));
        talk.usable().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_in_place_of_the_greeting_is_relayed() {
    let mut payload = vec![0xFF];
    payload.extend_from_slice(&1040_u16.to_le_bytes());
    payload.extend_from_slice(b"Too many connections");
    let refused = Reply::of([payload]);
    let mut talk = setup(RETRY).connect();
    talk.server.say(0, &refused).await;
    talk.client.expect_from(0, &refused).await;
    talk.client.gone().await;
    assert_eq!(talk.ended().await, End::Refused);
}

#[tokio::test(start_paused = true)]
async fn a_refused_login_is_relayed() {
    let denied = err(1045, "Access denied");
    let mut talk = connected().await;
    talk.server.say(2, &denied).await;
    talk.client.expect_from(2, &denied).await;
    talk.client.gone().await;
    talk.server.gone().await;
    assert_eq!(talk.ended().await, End::Refused);
    // Also behind an exchange.
    let mut talk = connected().await;
    exchange(&mut talk, &[(true, &[1, 4]), (false, b"secret\0")]).await;
    talk.server.say(4, &denied).await;
    talk.client.expect_from(4, &denied).await;
    talk.client.gone().await;
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_is_no_mysql_server_is_told_to_the_client() {
    for hello in [&b"SSH-2.0-OpenSSH_9.2p1 Debian\r\n"[..], b"\x02\0\0\0\x09x", b"", b"\x05\0\0"] {
        let mut talk = setup(RETRY).connect();
        talk.server.raw(hello).await;
        talk.server.close();
        assert_eq!(talk.client.rest().await, own_error(Own::BackendHandshake, 0), "{hello:?}");
        assert_eq!(talk.ended().await, End::Own(Own::BackendHandshake));
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_asks_for_tls_or_speaks_another_protocol_is_told() {
    let tls = &login(FLAGS | Capabilities::SSL, 46, "", None)[..32];
    let old = &(FLAGS & !Capabilities::PROTOCOL_41).to_le_bytes()[..];
    for payload in [tls, old, b"GET / HTTP/1.1", b""] {
        let mut talk = setup(RETRY).connect();
        talk.server.greet(TIDB, u32::MAX).await;
        talk.client.greeting().await;
        talk.client.send_from(1, payload).await;
        assert_eq!(talk.client.rest().await, own_error(Own::ClientProtocol, 2));
        assert_eq!(talk.server.rest().await, b"", "the backend hears nothing of it");
        assert_eq!(talk.ended().await, End::Own(Own::ClientProtocol));
    }
}

#[tokio::test(start_paused = true)]
async fn a_login_of_huge_length_is_refused_before_it_is_read() {
    let mut talk = setup(RETRY).connect();
    talk.server.greet(TIDB, u32::MAX).await;
    talk.client.greeting().await;
    talk.client.raw(&[0xFF, 0xFF, 0xFF, 1, 0, 0]).await;
    assert_eq!(talk.client.rest().await, own_error(Own::ClientProtocol, 2));
}

#[tokio::test(start_paused = true)]
async fn a_side_that_says_nothing_is_cut_off_after_the_limit() {
    // The backend, the client, the backend again.
    let begin = tokio::time::Instant::now();
    let mut talk = setup(RETRY).connect();
    assert_eq!(talk.client.rest().await, own_error(Own::HandshakeTimeout, 0));
    let mut talk = setup(RETRY).connect();
    talk.server.greet(TIDB, u32::MAX).await;
    talk.client.greeting().await;
    let rest = talk.client.rest().await;
    assert_eq!(rest[7..], own_error(Own::HandshakeTimeout, 0)[7..]);
    let mut talk = connected().await;
    let rest = talk.client.rest().await;
    assert_eq!(rest[7..], own_error(Own::HandshakeTimeout, 0)[7..]);
    assert_eq!(talk.ended().await, End::Own(Own::HandshakeTimeout));
    assert!(begin.elapsed() < Duration::from_secs(35));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_during_the_login_takes_the_backend_along() {
    let mut talk = setup(RETRY).connect();
    talk.server.greet(TIDB, u32::MAX).await;
    talk.client.greeting().await;
    let Talk { client, mut server, .. } = talk;
    drop(client);
    server.gone().await;
    let talk = connected().await;
    let Talk { client, mut server, .. } = talk;
    drop(client);
    server.gone().await;
}

#[tokio::test(start_paused = true)]
async fn autocommit_is_known_from_the_login_on() {
    let mut talk = setup(RETRY).manual().open().await;
    talk.sql("UPDATE t SET v = 1", &changed(1, TX0)).await;
    talk.sql("COMMIT", &ok(MANUAL)).await;
    assert_eq!(talk.outcomes(), [1, 0, 0, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_login_in_two_packets_of_bytes_is_put_together() {
    let mut talk = setup(RETRY).connect();
    talk.server.greet(TIDB, u32::MAX).await;
    talk.client.greeting().await;
    let mut bytes = Vec::new();
    write_packet(&mut bytes, 1, &login(FLAGS, 46, "app", Some("shop")));
    for byte in &bytes {
        talk.client.raw(&[*byte]).await;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(talk.server.login().await, login(FLAGS, 46, "app", Some("shop")));
    talk.server.say(2, &ok(AUTO)).await;
    talk.client.expect_from(2, &ok(AUTO)).await;
}

#[tokio::test(start_paused = true)]
async fn a_packet_of_huge_length_from_the_backend_ends_the_login_before_it_is_read() {
    let mut talk = connected().await;
    talk.server.raw(&[0xFF, 0xFF, 0xFF, 2, 1]).await;
    assert_eq!(talk.client.rest().await, own_error(Own::BackendHandshake, 2));
    assert_eq!(talk.ended().await, End::Own(Own::BackendHandshake));
}
