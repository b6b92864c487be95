//! TLS, compression, passwords and the PROXY protocol, before real servers.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use txguard::app::build::Parts;
use txguard::base::config::Config;
use txguard::net::legs::Legs;
use txguard::net::stream::Stream;
use txguard::net::tls::Name;
use txguard::store::service::Service;
use txguard::wire::capability::Capabilities;
use txguard::wire::compress::{Algorithm, Turn};
use txguard::wire::frame::{HEADER_LEN, Header, write_packet};

use super::life::BINARY;
use crate::support::backend::Backend;
use crate::support::certificates::Certificates;
use crate::support::program::Program;
use crate::support::{Proxy, mariadb, need, soon, tidb};

/// What a client wants for its leg.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Dress {
    tls: bool,
    compression: Option<Algorithm>,
}

const PLAIN: Dress = Dress { tls: false, compression: None };
const TLS: Dress = Dress { tls: true, compression: None };
const ZLIB: Dress = Dress { tls: false, compression: Some(Algorithm::Zlib) };
const ZSTD: Dress = Dress { tls: false, compression: Some(Algorithm::Zstd(3)) };
const BOTH: Dress = Dress { tls: true, compression: Some(Algorithm::Zlib) };

const FLAGS: u32 = 1
    | Capabilities::PROTOCOL_41
    | Capabilities::SECURE_CONNECTION
    | Capabilities::PLUGIN_AUTH
    | Capabilities::MULTI_STATEMENTS
    | 1 << 17;

/// A client that can do just what is needed here.
struct Client {
    stream: Stream<TcpStream>,
}

/// Why there is no login.
#[derive(Debug, PartialEq, Eq)]
enum Refused {
    Tls,
    Error(u16),
    Closed,
}

impl Client {
    /// Logs in over this leg; `ca` is what a server's certificate must be signed by.
    async fn login(
        address: &str,
        dress: Dress,
        ca: &str,
        account: (&str, &str),
    ) -> Result<Self, Refused> {
        let stream = TcpStream::connect(address).await.expect("a listener");
        soon("a login", Self::login_on(stream, dress, ca, account)).await
    }

    async fn login_on(
        stream: TcpStream,
        dress: Dress,
        ca: &str,
        (user, password): (&str, &str),
    ) -> Result<Self, Refused> {
        let mut client = Self { stream: Stream::new(stream) };
        let (_, greeting) = client.packet().await.ok_or(Refused::Closed)?;
        if let Some(code) = error(&greeting) {
            return Err(Refused::Error(code));
        }
        let mut login = login(dress, user, password);
        let mut seq = 1;
        if dress.tls {
            client.send(1, &login[..32]).await;
            let legs = verify(ca);
            let name = Name::new("127.0.0.1").expect("an address");
            let done = client.stream.connect(&legs.backend.tls, name).await;
            done.map_err(|_| Refused::Tls)?;
            seq = 2;
        }
        if let Some(Algorithm::Zstd(level)) = dress.compression {
            login.push(level);
        }
        client.send(seq, &login).await;
        loop {
            let (seq, payload) = client.packet().await.ok_or(Refused::Closed)?;
            if let Some(code) = error(&payload) {
                return Err(Refused::Error(code));
            }
            match payload[..] {
                [0, ..] => break,
                [1, 3] => {}
                [1, 4] if dress.tls => {
                    client.send(seq + 1, format!("{password}\0").as_bytes()).await;
                }
                // Without TLS a client asks for the server's key.
                [1, 4] => client.send(seq + 1, &[2]).await,
                // Another plugin: a wrong hash, or none for an empty password.
                _ if password.is_empty() => client.send(seq + 1, b"").await,
                _ => client.send(seq + 1, &[7; 32]).await,
            }
        }
        if let Some(algorithm) = dress.compression {
            client.stream.compress(algorithm, Turn::Ask, &[]);
        }
        Ok(client)
    }

    async fn send(&mut self, seq: u8, payload: &[u8]) {
        let mut bytes = Vec::new();
        write_packet(&mut bytes, seq, payload);
        // Whoever has closed is noticed at the next read.
        let _ = self.stream.write_all(&bytes).await;
        let _ = self.stream.flush().await;
    }

    /// The next packet; `None` at the end of the stream.
    async fn packet(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut payload = Vec::new();
        loop {
            let mut header = [0; HEADER_LEN];
            self.stream.read_exact(&mut header).await.ok()?;
            let header = Header::read(&header).expect("four bytes");
            let from = payload.len();
            payload.resize(from + header.len, 0);
            self.stream.read_exact(&mut payload[from..]).await.ok()?;
            if !header.continues() {
                return Some((header.seq, payload));
            }
        }
    }

    /// The packets of an answer with one result; ids have to follow each other on this leg.
    async fn query(&mut self, text: &str) -> Vec<Vec<u8>> {
        let payload = [&[3], text.as_bytes()].concat();
        self.send(0, &payload).await;
        let (mut packets, mut ends, mut next) = (Vec::new(), 0, 1_u8);
        loop {
            let (seq, payload) = soon("an answer", self.packet()).await.expect("it goes on");
            let frames = payload.len() / 0xFF_FFFF;
            let frames = u8::try_from(frames).expect("few frames");
            assert!(
                self.stream.is_compressed() || seq == next.wrapping_add(frames),
                "{seq} {next}"
            );
            next = seq.wrapping_add(1);
            let single = packets.is_empty() && matches!(payload[0], 0x00 | 0xFF);
            ends += u8::from(payload[0] == 0xFE && payload.len() < 9);
            let failed = payload[0] == 0xFF;
            packets.push(payload);
            if single || failed || ends == 2 {
                return packets;
            }
        }
    }

    /// The first column of the first row, of fewer than 251 bytes.
    async fn one(&mut self, text: &str) -> String {
        let packets = self.query(text).await;
        let row = packets.iter().rev().nth(1).expect("a row");
        let len = usize::from(row[0]);
        String::from_utf8_lossy(&row[1..=len]).into_owned()
    }
}

fn error(payload: &[u8]) -> Option<u16> {
    match payload {
        [0xFF, low, high, ..] => Some(u16::from_le_bytes([*low, *high])),
        _ => None,
    }
}

fn login(dress: Dress, user: &str, password: &str) -> Vec<u8> {
    let mut flags = FLAGS | if dress.tls { Capabilities::SSL } else { 0 };
    flags |= match dress.compression {
        None => 0,
        Some(Algorithm::Zlib) => Capabilities::COMPRESS,
        Some(Algorithm::Zstd(_)) => Capabilities::ZSTD,
    };
    let mut payload = flags.to_le_bytes().to_vec();
    payload.extend_from_slice(&[0, 0, 0, 4, 45]);
    payload.extend_from_slice(&[0; 23]);
    payload.extend_from_slice(user.as_bytes());
    payload.push(0);
    match password {
        "" => payload.push(0),
        _ => payload.extend_from_slice(&[&[20][..], &[7; 20]].concat()),
    }
    payload.extend_from_slice(b"mysql_native_password\0");
    payload
}

/// The legs of someone who checks certificates.
fn verify(ca: &str) -> Legs {
    let text = format!("[backend]\ntls = 'verify'\ntls_ca = '{ca}'\n");
    let config = Config::parse(&text, "client").expect("right");
    Legs::load(&config.listen.leg, &config.backend.leg).expect("readable files")
}

/// A certificate for txguard; the server's CA is `backend.pem` beside it.
fn certificates(backend: &Backend) -> Certificates {
    let certificates = Certificates::new();
    std::fs::write(certificates.path("backend.pem"), &backend.ca).expect("written");
    certificates
}

fn configuration(
    backend: &Backend,
    certificates: &Certificates,
    listen: &str,
    leg: &str,
) -> String {
    format!(
        "[listen]\nmysql = '127.0.0.1:0'\nhttp = ''\ntls_certificate = '{}'\ntls_key = '{}'\n\
         {listen}\n[backend]\naddresses = ['{}']\n{leg}\n\
         [[policy]]\nname = 'all'\nretry = {{}}\ntag = true\n",
        certificates.text("server.pem"),
        certificates.text("server.key"),
        backend.address,
    )
}

async fn proxy(backend: &Backend, certificates: &Certificates, leg: &str) -> Proxy {
    Proxy::start_text(&configuration(backend, certificates, "", leg), Parts::default()).await
}

#[tokio::test]
async fn every_pair_of_legs_reaches_every_server() {
    for backend in [need!(tidb::start()), need!(mariadb::start())] {
        if backend.ca.is_empty() {
            continue;
        }
        let certificates = certificates(&backend);
        let ca = certificates.text("ca.pem");
        let verify = format!("tls = 'verify'\ntls_ca = '{}'", certificates.text("backend.pem"));
        for (leg, tls, packed) in [
            ("tls = 'disable'".to_owned(), false, false),
            (verify.clone(), true, false),
            ("tls = 'require'\ncompression = 'zlib'".to_owned(), true, true),
            ("compression = 'zlib'".to_owned(), false, true),
            ("tls = 'disable'\ncompression = 'zstd'".to_owned(), false, false),
        ] {
            let proxy = proxy(&backend, &certificates, &leg).await;
            let address = proxy.address.to_string();
            for dress in [PLAIN, TLS, ZLIB, ZSTD, BOTH] {
                let case = format!("{dress:?} {leg}");
                let root = ("root", "");
                let mut client = Client::login(&address, dress, &ca, root).await.expect(&case);
                let cipher = client.query("SHOW STATUS LIKE 'Ssl_cipher'").await;
                let row = &cipher[cipher.len() - 2];
                let prefers = leg.starts_with("compression") && dress.tls;
                let encrypted = row.last().is_some_and(|byte| *byte != 0);
                assert_eq!(encrypted, tls || prefers, "{case}: {row:?}");
                if !backend.is_tidb && !leg.contains("zstd") {
                    let row = client.query("SHOW STATUS LIKE 'Compression'").await;
                    let on = row[row.len() - 2].ends_with(b"ON");
                    assert_eq!(on, packed, "{case}");
                }
                talk(&mut client, &case).await;
            }
            proxy.stop().await;
        }
    }
}

/// Long and short answers, a long statement, a transaction.
async fn talk(client: &mut Client, case: &str) {
    let long = client.query("SELECT REPEAT('x', 300000), RAND() * 0").await;
    assert!(long.iter().any(|packet| packet.len() > 300_000), "{case}");
    let rows = "WITH RECURSIVE n AS (SELECT 1 AS v UNION ALL SELECT v + 1 FROM n WHERE v < 700) \
                SELECT v FROM n";
    // count, column, EOF, rows, EOF
    assert_eq!(client.query(rows).await.len(), 704, "{case}");
    let text = "y".repeat(400_000);
    assert_eq!(client.one(&format!("SELECT LENGTH('{text}')")).await, "400000", "{case}");
    for statement in ["BEGIN", "SELECT 1", "COMMIT"] {
        assert_eq!(error(&client.query(statement).await[0]), None, "{case} {statement}");
    }
    assert_eq!(client.one("SELECT 'still here'").await, "still here", "{case}");
}

/// TiDB asks for the password itself, whatever the leg; MySQL would exchange keys on a plain one.
#[tokio::test]
async fn a_password_in_the_clear_crosses_no_plain_leg() {
    let backend = need!(tidb::start());
    if backend.ca.is_empty() {
        return;
    }
    backend
        .run(&["CREATE USER IF NOT EXISTS sha IDENTIFIED WITH caching_sha2_password BY 'secret'"])
        .await;
    let certificates = certificates(&backend);
    let ca = certificates.text("ca.pem");
    const OK: Option<Refused> = None;
    for (leg, dress, refused) in [
        ("tls = 'require'", TLS, OK),
        ("tls = 'require'", PLAIN, Some(Refused::Error(17009))),
        ("tls = 'disable'", TLS, Some(Refused::Error(17008))),
        ("tls = 'disable'\nallow_cleartext_password = true", TLS, OK),
        // Plain throughout: what the server says directly, too.
        ("tls = 'disable'", PLAIN, Some(Refused::Error(1045))),
        ("", TLS, OK),
    ] {
        let proxy = proxy(&backend, &certificates, leg).await;
        let address = proxy.address.to_string();
        let done = Client::login(&address, dress, &ca, ("sha", "secret")).await;
        assert_eq!(done.err(), refused, "{leg} {dress:?}");
        proxy.stop().await;
    }
    let direct = Client::login(&backend.address, PLAIN, "", ("sha", "secret")).await;
    assert_eq!(direct.err(), Some(Refused::Error(1045)));
}

#[tokio::test]
async fn who_is_refused_hears_what_the_server_says() {
    for backend in [need!(tidb::start()), need!(mariadb::start())] {
        if backend.ca.is_empty() {
            continue;
        }
        backend
            .run(&[
                "CREATE USER IF NOT EXISTS locked IDENTIFIED BY 'secret'",
                "CREATE USER IF NOT EXISTS safe REQUIRE SSL",
            ])
            .await;
        let certificates = certificates(&backend);
        std::fs::write(certificates.path("both.pem"), {
            format!("{}{}", certificates.authority(), backend.ca)
        })
        .expect("written");
        let ca = certificates.text("both.pem");
        let proxy = proxy(&backend, &certificates, "").await;
        let address = proxy.address.to_string();
        for dress in [PLAIN, TLS] {
            for account in [("locked", "wrong"), ("nobody", "x"), ("nobody", ""), ("safe", "")] {
                let direct = Client::login(&backend.address, dress, &ca, account).await.err();
                let through = Client::login(&address, dress, &ca, account).await.err();
                assert_eq!(direct, through, "{account:?} {dress:?}");
                let passes = account.0 == "safe" && dress.tls;
                assert_eq!(direct, (!passes).then_some(Refused::Error(1045)), "{account:?}");
            }
        }
        proxy.stop().await;

        let text = configuration(&backend, &certificates, "require_tls = true", "");
        let proxy = Proxy::start_text(&text, Parts::default()).await;
        let address = proxy.address.to_string();
        let plain = Client::login(&address, PLAIN, &ca, ("root", "")).await.err();
        assert_eq!(plain, Some(Refused::Error(3159)));
        assert!(Client::login(&address, TLS, &ca, ("root", "")).await.is_ok());
        proxy.stop().await;

        // txguard's own certificate is signed by nobody whom the backend's is signed by.
        let leg = format!("tls = 'verify'\ntls_ca = '{}'", certificates.text("ca.pem"));
        let proxy = super::legs::proxy(&backend, &certificates, &leg).await;
        let address = proxy.address.to_string();
        let untrusted = Client::login(&address, PLAIN, &ca, ("root", "")).await.err();
        assert_eq!(untrusted, Some(Refused::Error(17007)));
        proxy.stop().await;
    }
}

#[tokio::test]
async fn certificates_are_replaced_while_serving() {
    let backend = need!(mariadb::start());
    let certificates = certificates(&backend);
    certificates.sign("server", &["127.0.0.1"], true);
    let ca = certificates.text("ca.pem");
    let config = format!(
        "tls_certificate = '{}'\ntls_key = '{}'\n[backend]\naddresses = ['{}']\n",
        certificates.text("server.pem"),
        certificates.text("server.key"),
        backend.address
    );
    let mut program = Program::start(BINARY, &config).await;
    let root = ("root", "");
    let expired = Client::login(&program.mysql, TLS, &ca, root).await.err();
    assert_eq!(expired, Some(Refused::Tls));
    let mut before = Client::login(&program.mysql, PLAIN, &ca, root).await.expect("no TLS asked");

    certificates.sign("server", &["127.0.0.1"], false);
    program.signal("HUP").await;
    program.says("taken into force").await;
    assert!(Client::login(&program.mysql, TLS, &ca, root).await.is_ok());
    assert_eq!(before.one("SELECT 'there'").await, "there");

    std::fs::write(certificates.path("server.key"), "nothing").expect("written");
    program.signal("HUP").await;
    program.says("stays as it was").await;
    assert!(Client::login(&program.mysql, TLS, &ca, root).await.is_ok());
}

#[tokio::test]
async fn a_client_certificate_is_checked() {
    let backend = need!(mariadb::start());
    let certificates = certificates(&backend);
    certificates.sign("client", &["app"], false);
    let text = |name: &str| certificates.text(name);
    let listen = format!("tls_client_ca = '{}'\nrequire_client_certificate = true", text("ca.pem"));
    let config = configuration(&backend, &certificates, &listen, "");
    let proxy = Proxy::start_text(&config, Parts::default()).await;
    let address = proxy.address.to_string();
    // TLS 1.3 tells of a missing certificate behind the handshake.
    let without = Client::login(&address, TLS, &text("ca.pem"), ("root", "")).await.err();
    assert!(matches!(without, Some(Refused::Tls | Refused::Closed)), "{without:?}");

    let leg = format!(
        "[backend]\ntls = 'verify'\ntls_ca = '{}'\ntls_certificate = '{}'\ntls_key = '{}'\n",
        text("ca.pem"),
        text("client.pem"),
        text("client.key")
    );
    // Another txguard is the client that shows one.
    let chain = format!(
        "[listen]\nmysql = '127.0.0.1:0'\nhttp = ''\n{leg}addresses = ['{}']\n",
        proxy.address
    );
    let outer = Proxy::start_text(&chain, Parts::default()).await;
    let mut client =
        Client::login(&outer.address.to_string(), PLAIN, "", ("root", "")).await.expect("a login");
    assert_eq!(client.one("SELECT 'through both'").await, "through both");
    outer.stop().await;
    proxy.stop().await;
}

/// MariaDB knows an account by the address that the header names.
#[tokio::test]
async fn the_proxy_protocol_names_the_client() {
    let backend = need!(mariadb::start());
    backend
        .run(&[
            "CREATE USER IF NOT EXISTS far@'10.9.8.7'",
            "SET GLOBAL proxy_protocol_networks = '127.0.0.0/8'",
        ])
        .await;
    const HEADERS: [&[u8]; 2] = [
        b"PROXY TCP4 10.9.8.7 127.0.0.1 5555 3306\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0C\x0A\x09\x08\x07\x7F\0\0\x01\x15\xB3\x0C\xEA",
    ];
    let certificates = certificates(&backend);
    for version in ["v1", "v2"] {
        let text = configuration(
            &backend,
            &certificates,
            "proxy_protocol = ['127.0.0.1/32']",
            &format!("proxy_protocol = '{version}'"),
        );
        let proxy = Proxy::start_text(&text, Parts::default()).await;
        for header in HEADERS {
            let mut stream = TcpStream::connect(proxy.address).await.expect("a listener");
            stream.write_all(header).await.expect("it reads");
            let login = Client::login_on(stream, PLAIN, "", ("far", ""));
            let mut client = soon("a login", login).await.expect("the account is known");
            assert_eq!(client.one("SELECT USER()").await, "far@10.9.8.7");
        }
        // No header where one must come.
        let mut stream = TcpStream::connect(proxy.address).await.expect("a listener");
        stream.write_all(b"\x20\0\0\x01 this is no header").await.expect("it reads");
        let mut rest = Vec::new();
        // Bytes that nobody reads end a connection with a reset.
        let _ = soon("the end", stream.read_to_end(&mut rest)).await;
        assert_eq!(rest, b"");
        proxy.stop().await;
    }
    // A header where none is expected.
    let proxy = proxy(&backend, &certificates, "").await;
    let mut stream = TcpStream::connect(proxy.address).await.expect("a listener");
    stream.write_all(HEADERS[0]).await.expect("it reads");
    let refused = soon("a login", Client::login_on(stream, PLAIN, "", ("far", ""))).await.err();
    assert_eq!(refused, Some(Refused::Error(17004)));
    proxy.stop().await;
}

/// txguard's own account goes by the same rules.
#[tokio::test]
async fn the_service_account_uses_tls_where_it_is_wanted() {
    for backend in [need!(tidb::start()), need!(mariadb::start())] {
        if backend.ca.is_empty() {
            continue;
        }
        backend.run(&["CREATE USER IF NOT EXISTS service REQUIRE SSL"]).await;
        let certificates = certificates(&backend);
        let (right, wrong) = (certificates.text("backend.pem"), certificates.text("ca.pem"));
        for (leg, passes) in [
            ("tls = 'disable'".to_owned(), false),
            ("tls = 'require'".to_owned(), true),
            (format!("tls = 'verify'\ntls_ca = '{right}'"), true),
            (format!("tls = 'verify'\ntls_ca = '{wrong}'"), false),
        ] {
            let text = format!("[backend]\nservice_user = 'service'\n{leg}\n");
            let config = Config::parse(&text, "service").expect("right");
            let service = Service::new(&config.backend).expect("an account");
            let done = service.run(&backend.address, "DO 1").await;
            assert_eq!(done.is_ok(), passes, "{leg}: {done:?}");
        }
    }
}
