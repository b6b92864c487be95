//! TLS and compression, each leg on its own: what is said reaches the other side unchanged, with
//! the sequence ids of its own leg.

use txguard::base::error::Own;
use txguard::net::legs::Legs;
use txguard::net::tls::Name;
use txguard::session::{End, own_error};
use txguard::wire::capability::Capabilities;
use txguard::wire::compress::{Algorithm, Turn};
use txguard::wire::packet::greeting::Greeting;
use txguard::wire::packet::login::Login;

use super::certificates::Certificates;
use super::client::login;
use super::harness::{FLAGS, RETRY, Setup, Talk, parse, setup};
use super::server::greeting;
use super::words::*;

const TIDB: &str = "8.0.11-TiDB-v8.5.3";

/// What one leg has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Dress {
    tls: bool,
    compression: Option<Algorithm>,
}

const PLAIN: Dress = Dress { tls: false, compression: None };
const TLS: Dress = Dress { tls: true, compression: None };
const ZLIB: Dress = Dress { tls: false, compression: Some(Algorithm::Zlib) };
const ZSTD: Dress = Dress { tls: false, compression: Some(Algorithm::Zstd(3)) };
const BOTH: Dress = Dress { tls: true, compression: Some(Algorithm::Zlib) };

const DRESSES: [Dress; 5] = [PLAIN, TLS, ZLIB, ZSTD, BOTH];

/// A configuration for these certificates, and what the backend's leg wants.
fn configuration(certificates: &Certificates, backend: Dress) -> String {
    let compression = match backend.compression {
        None => "off",
        Some(Algorithm::Zlib) => "zlib",
        Some(Algorithm::Zstd(_)) => "zstd",
    };
    let tls = match backend.tls {
        true => format!("tls = \"verify\"\ntls_ca = \"{}\"", certificates.text("ca.pem")),
        false => "tls = \"disable\"".to_owned(),
    };
    format!(
        "[listen]\ntls_certificate = \"{}\"\ntls_key = \"{}\"\n\
         [backend]\ncompression = \"{compression}\"\n{tls}\n{RETRY}",
        certificates.text("server.pem"),
        certificates.text("server.key"),
    )
}

/// A session with this configuration before a server on 127.0.0.1.
fn dressed(text: &str) -> Setup {
    let mut setup = setup(text);
    setup.address = "127.0.0.1:4000";
    setup
}

/// The other side of each leg: a server with the same certificate, a client that checks it.
fn others(certificates: &Certificates) -> Legs {
    let text = format!(
        "[listen]\ntls_certificate = \"{}\"\ntls_key = \"{}\"\n\
         [backend]\ntls = \"verify\"\ntls_ca = \"{}\"\n",
        certificates.text("server.pem"),
        certificates.text("server.key"),
        certificates.text("ca.pem")
    );
    let config = parse(&text);
    Legs::load(&config.listen.leg, &config.backend.leg).expect("readable files")
}

fn flags(dress: Dress) -> u32 {
    let compression = match dress.compression {
        None => 0,
        Some(Algorithm::Zlib) => Capabilities::COMPRESS,
        Some(Algorithm::Zstd(_)) => Capabilities::ZSTD,
    };
    compression | if dress.tls { Capabilities::SSL } else { 0 }
}

/// The client's login, TLS first where it is wanted. The client sends its handshake behind the
/// request without waiting, as all clients do.
async fn client_login(talk: &mut Talk, dress: Dress, others: &Legs) {
    let greeting = talk.client.greeting().await;
    let offered = Greeting::read(&greeting).expect("a greeting").capabilities;
    assert!(offered.has(flags(dress)), "everything is offered");
    let mut payload = login(FLAGS | flags(dress), 46, "app", None);
    if let Some(Algorithm::Zstd(level)) = dress.compression {
        payload.push(level);
    }
    let seq = if dress.tls { 2 } else { 1 };
    if dress.tls {
        talk.client.send_from(1, &payload[..32]).await;
        let name = Name::new("localhost").expect("a name");
        talk.client.end().stream.connect(&others.backend.tls, name).await.expect("TLS");
    }
    talk.client.send_from(seq, &payload).await;
}

async fn server_login(talk: &mut Talk, dress: Dress, others: &Legs) {
    if dress.tls {
        let (seq, request) = talk.server.packet().await;
        assert!((seq, Login::is_tls_request(&request)) == (1, true));
        let tls = others.client.tls.as_ref().expect("a certificate");
        talk.server.end().stream.accept(tls, Vec::new()).await.expect("TLS");
    }
    let (seq, payload) = talk.server.packet().await;
    assert_eq!(seq, if dress.tls { 2 } else { 1 });
    let heard = Login::read(&payload).expect("a login");
    assert_eq!(heard.user, b"app");
    assert_eq!(heard.capabilities.0 & Capabilities::LEG, flags(dress), "its own leg, no other");
    assert_eq!(Login::compression(&payload, heard.capabilities), dress.compression);
}

/// Behind a login with an exchange of four packets.
async fn open(client: Dress, backend: Dress, certificates: &Certificates) -> Talk {
    let others = others(certificates);
    let mut talk = dressed(&configuration(certificates, backend)).connect();
    talk.server.greet(TIDB, u32::MAX).await;
    let logging_in = async {
        client_login(&mut talk, client, &others).await;
        server_login(&mut talk, backend, &others).await;
        talk
    };
    let mut talk = tokio::time::timeout(super::harness::LIMIT, logging_in).await.expect("a login");
    let (up, down) = (if client.tls { 3 } else { 2 }, if backend.tls { 3 } else { 2 });
    let switch = Reply::of([b"\xFEmysql_native_password\0abcdefghijklmnopqrst\0".to_vec()]);
    talk.server.say(down, &switch).await;
    talk.client.expect_from(up, &switch).await;
    talk.client.send_from(up + 1, &[7; 20]).await;
    assert_eq!(talk.server.packet().await, (down + 1, vec![7; 20]));
    talk.server.say(down + 2, &ok(AUTO)).await;
    talk.client.expect_from(up + 2, &ok(AUTO)).await;
    if let Some(algorithm) = client.compression {
        talk.client.end().stream.compress(algorithm, Turn::Ask, &[]);
    }
    if let Some(algorithm) = backend.compression {
        talk.server.end().stream.compress(algorithm, Turn::Answer, &[]);
    }
    talk
}

/// Everything in which sequence ids go on over a change of direction.
async fn converse(talk: &mut Talk) {
    talk.usable().await;
    talk.guarded(1).await;
    // A result longer than 256 packets: the ids come round.
    let long: Vec<String> = (0..600).map(|n| n.to_string()).collect();
    let long: Vec<&str> = long.iter().map(String::as_str).collect();
    talk.sql("SELECT n FROM numbers", &rows(&long, AUTO)).await;
    // A file of as many packets.
    talk.client.query("LOAD DATA LOCAL INFILE 'f' INTO TABLE t").await;
    talk.server.expect(&query("LOAD DATA LOCAL INFILE 'f' INTO TABLE t")).await;
    let ask = Reply::of([b"\xFBf".to_vec()]);
    talk.answer(&ask).await;
    let mut seq = 2_u8;
    for piece in (0..300).map(|n: u32| n.to_le_bytes().to_vec()).chain([Vec::new()]) {
        talk.client.send_from(seq, &piece).await;
        assert_eq!(talk.server.packet().await, (seq, piece));
        seq = seq.wrapping_add(1);
    }
    talk.server.say(seq, &ok(AUTO)).await;
    talk.client.expect_from(seq, &ok(AUTO)).await;
    talk.usable().await;
}

#[tokio::test(start_paused = true)]
async fn each_leg_has_its_own_dress() {
    let certificates = Certificates::new();
    for client in DRESSES {
        for backend in DRESSES {
            let mut talk = open(client, backend, &certificates).await;
            converse(&mut talk).await;
            talk.bye().await;
        }
    }
}

/// TiDB and libmysqlclient let the ids of packets follow those of compressed frames.
#[tokio::test(start_paused = true)]
async fn a_plain_leg_gets_right_ids_whatever_the_compressed_one_counts() {
    let certificates = Certificates::new();
    let mut talk = open(PLAIN, ZLIB, &certificates).await;
    talk.client.query("SELECT 1").await;
    talk.server.expect(&query("SELECT 1")).await;
    let reply = rows(&["1", "2"], AUTO);
    for (place, frame) in reply.packets.iter().enumerate() {
        talk.server.say([9, 3, 3, 77, 1, 0][place], &Reply::of([frame.clone()])).await;
    }
    talk.client.expect(&reply).await;
    talk.bye().await;

    let mut talk = open(ZLIB, PLAIN, &certificates).await;
    talk.client.query("LOAD DATA LOCAL INFILE 'f' INTO TABLE t").await;
    talk.server.expect(&query("LOAD DATA LOCAL INFILE 'f' INTO TABLE t")).await;
    talk.answer(&Reply::of([b"\xFBf".to_vec()])).await;
    talk.client.send_from(1, b"data").await;
    assert_eq!(talk.server.packet().await, (2, b"data".to_vec()));
    talk.client.send_from(7, b"").await;
    assert_eq!(talk.server.packet().await, (3, Vec::new()));
    talk.server.say(4, &ok(AUTO)).await;
    talk.client.expect_from(4, &ok(AUTO)).await;
    talk.bye().await;
}

#[tokio::test(start_paused = true)]
async fn prefer_follows_the_client() {
    let certificates = Certificates::new();
    let others = others(&certificates);
    let listen = configuration(&certificates, PLAIN).replace("tls = \"disable\"", "");
    for (client, offered, wanted) in
        [(PLAIN, true, PLAIN), (TLS, true, TLS), (TLS, false, PLAIN), (PLAIN, false, PLAIN)]
    {
        let mut talk = dressed(&listen).connect();
        let flags = if offered { u32::MAX } else { !Capabilities::SSL };
        talk.server.greet(TIDB, flags).await;
        client_login(&mut talk, client, &others).await;
        server_login(&mut talk, wanted, &others).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_without_tls_is_refused_where_it_is_required() {
    let certificates = Certificates::new();
    let others = others(&certificates);
    let text =
        configuration(&certificates, PLAIN).replace("[backend]", "require_tls = true\n[backend]");
    let mut talk = dressed(&text).connect();
    talk.server.greet(TIDB, u32::MAX).await;
    client_login(&mut talk, PLAIN, &others).await;
    assert_eq!(talk.client.rest().await, own_error(Own::TlsRequired, 2));
    assert_eq!(talk.server.rest().await, b"", "the backend hears nothing of it");
    let mut talk = dressed(&text).connect();
    talk.server.greet(TIDB, u32::MAX).await;
    client_login(&mut talk, TLS, &others).await;
    server_login(&mut talk, PLAIN, &others).await;
}

#[tokio::test(start_paused = true)]
async fn a_backend_without_the_tls_that_is_wanted_is_refused() {
    let certificates = Certificates::new();
    certificates.sign("expired", &["127.0.0.1"], true);
    certificates.sign("elsewhere", &["db.example.com"], false);
    certificates.stranger("stranger");
    let server = |name: &str| {
        let text = format!(
            "[listen]\ntls_certificate = \"{}\"\ntls_key = \"{}\"\n",
            certificates.text(&format!("{name}.pem")),
            certificates.text(&format!("{name}.key"))
        );
        let config = parse(&text);
        Legs::load(&config.listen.leg, &config.backend.leg).expect("readable files")
    };
    let verify = configuration(&certificates, TLS);
    let stranger = verify.replace("ca.pem", "stranger.pem");
    let named = verify.replace("[[policy]]", "tls_name = \"db.example.com\"\n[[policy]]");
    for (text, shown, refused) in [
        (&verify, Some("server"), false),
        (&verify, Some("expired"), true),
        (&verify, Some("elsewhere"), true),
        (&named, Some("elsewhere"), false),
        (&stranger, Some("server"), true),
        (&verify, None, true),
    ] {
        let mut talk = dressed(text).connect();
        let flags = if shown.is_some() { u32::MAX } else { !Capabilities::SSL };
        talk.server.greet(TIDB, flags).await;
        talk.client.greeting().await;
        talk.client.login(FLAGS, 46, "app", None).await;
        if let Some(name) = shown {
            let (_, request) = talk.server.packet().await;
            assert!(Login::is_tls_request(&request));
            let legs = server(name);
            let tls = legs.client.tls.as_ref().expect("a certificate");
            let done = talk.server.end().stream.accept(tls, Vec::new()).await;
            // Before TLS 1.3 has told the server of the client's verdict it may believe in it.
            assert!(refused || done.is_ok(), "{shown:?}");
        }
        if refused {
            assert_eq!(talk.client.rest().await, own_error(Own::BackendTls, 2), "{shown:?}");
            assert_eq!(talk.ended().await, End::Own(Own::BackendTls));
        } else {
            assert_eq!(talk.server.packet().await.0, 2, "the login");
        }
    }
}

/// A login with a plugin that shows the password, over legs of all kinds.
#[tokio::test(start_paused = true)]
async fn passwords_cross_only_legs_that_hide_them() {
    let certificates = Certificates::new();
    let others = others(&certificates);
    const FULL: &[u8] = &[1, 4];
    const CLEAR: &[u8] = b"\xFEmysql_clear_password\0";
    for (client, backend, allowed, asked, refused) in [
        (TLS, TLS, false, FULL, None),
        (TLS, TLS, false, CLEAR, None),
        (TLS, PLAIN, false, FULL, Some(Own::CleartextPassword)),
        (TLS, PLAIN, false, CLEAR, Some(Own::CleartextPassword)),
        (TLS, PLAIN, true, FULL, None),
        (TLS, PLAIN, true, CLEAR, None),
        (PLAIN, TLS, false, FULL, Some(Own::PasswordNeedsTls)),
        (PLAIN, TLS, true, CLEAR, Some(Own::PasswordNeedsTls)),
        (PLAIN, PLAIN, false, FULL, None),
        (PLAIN, PLAIN, true, CLEAR, Some(Own::PasswordNeedsTls)),
    ] {
        let case = format!("{client:?} {backend:?} {allowed}");
        let mut text = configuration(&certificates, backend);
        if allowed {
            text = text.replace("[[policy]]", "allow_cleartext_password = true\n[[policy]]");
        }
        let mut talk = dressed(&text).connect();
        talk.server.greet(TIDB, u32::MAX).await;
        client_login(&mut talk, client, &others).await;
        server_login(&mut talk, backend, &others).await;
        let (up, down) = (if client.tls { 3 } else { 2 }, if backend.tls { 3 } else { 2 });
        let switch = b"\xFEcaching_sha2_password\0abcdefghijklmnopqrst\0".to_vec();
        talk.server.say(down, &Reply::of([switch.clone()])).await;
        talk.client.expect_from(up, &Reply::of([switch])).await;
        talk.client.send_from(up + 1, &[7; 32]).await;
        talk.server.packet().await;
        let asked = Reply::of([asked.to_vec()]);
        talk.server.say(down + 2, &asked).await;
        match refused {
            Some(own) => {
                assert_eq!(talk.client.rest().await, own_error(own, up + 2), "{case}");
                assert_eq!(talk.server.rest().await, b"", "{case}");
            }
            None => {
                talk.client.expect_from(up + 2, &asked).await;
                talk.client.send_from(up + 3, b"secret\0").await;
                assert_eq!(talk.server.packet().await, (down + 3, b"secret\0".to_vec()), "{case}");
            }
        }
    }
}

/// COM_CHANGE_USER runs the same exchange once more.
#[tokio::test(start_paused = true)]
async fn a_change_of_user_obeys_the_same_rules() {
    let certificates = Certificates::new();
    let change = |plugin: &str| {
        let mut payload = b"\x11bob\0\x14abcdefghijklmnopqrst\0\x2d\0".to_vec();
        payload.extend_from_slice(plugin.as_bytes());
        payload.push(0);
        payload
    };
    let clear = change("mysql_clear_password");
    for (client, backend, own) in
        [(TLS, PLAIN, Own::CleartextPassword), (PLAIN, PLAIN, Own::PasswordNeedsTls)]
    {
        let mut talk = open(client, backend, &certificates).await;
        talk.client.send(&clear).await;
        assert_eq!(talk.client.rest().await, own_error(own, 1));
        assert_eq!(talk.server.rest().await, b"", "the backend hears nothing of it");
    }
    let mut talk = open(PLAIN, TLS, &certificates).await;
    let cached = change("caching_sha2_password");
    talk.client.send(&cached).await;
    talk.server.expect(&cached).await;
    talk.server.say(1, &Reply::of([vec![1, 4]])).await;
    assert_eq!(talk.client.rest().await, own_error(Own::PasswordNeedsTls, 1));
    assert_eq!(talk.server.rest().await, b"");
    let mut talk = open(TLS, TLS, &certificates).await;
    talk.client.send(&clear).await;
    talk.server.expect(&clear).await;
    talk.answer(&ok(AUTO)).await;
    talk.usable().await;
}

/// Who can write to the wire could put words into the server's mouth.
#[tokio::test(start_paused = true)]
async fn what_comes_in_the_clear_ahead_of_tls_is_not_the_servers() {
    let certificates = Certificates::new();
    let others = others(&certificates);
    let mut talk = dressed(&configuration(&certificates, TLS)).connect();
    let hello = Reply::of([greeting(TIDB, u32::MAX, [0; 4])]).then(ok(AUTO));
    talk.server.say(0, &hello).await;
    talk.client.greeting().await;
    talk.client.login(FLAGS, 46, "app", None).await;
    if talk.server.end().next().await.is_some() {
        let tls = others.client.tls.as_ref().expect("a certificate");
        talk.server.end().stream.accept(tls, Vec::new()).await.expect("TLS");
        talk.server.packet().await;
        talk.server.say(3, &err(1045, "Access denied")).await;
        talk.server.close();
    }
    assert_eq!(talk.client.rest().await, own_error(Own::BackendTls, 2));
    assert_eq!(talk.ended().await, End::Own(Own::BackendTls));
}

/// A client without TLS shows no certificate.
#[tokio::test(start_paused = true)]
async fn a_required_certificate_requires_tls() {
    let certificates = Certificates::new();
    let others = others(&certificates);
    let required = format!(
        "tls_client_ca = \"{}\"\nrequire_client_certificate = true\n[backend]",
        certificates.text("ca.pem")
    );
    let text = configuration(&certificates, PLAIN).replace("[backend]", &required);
    let mut talk = dressed(&text).connect();
    talk.server.greet(TIDB, u32::MAX).await;
    client_login(&mut talk, PLAIN, &others).await;
    assert_eq!(talk.client.rest().await, own_error(Own::TlsRequired, 2));
    assert_eq!(talk.server.rest().await, b"", "the backend hears nothing of it");
}
