//! Greeting and login, relayed with the server's own salt.
//!
//! ```text
//! backend: greeting ─▶ capabilities: what txguard carries, what the client's leg offers ─▶ client
//! client:  (asks for TLS ⇄ handshake)  login ─▶ user, schema, character set noted
//!          (asks for TLS ⇄ handshake)  login, with what the backend's leg offers ─▶ backend
//! backend: auth switch, more data ⇄ client, one packet each, until OK or ERR
//! both:    compression, each leg on its own
//! ```
//!
//! txguard never learns a password: what the client answers to the salt is passed on unread, and
//! where a leg would show it to others the login is refused ([`super::password`]). A request for
//! TLS takes a sequence id, so each leg has its own count.

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::base::config::TlsMode;
use crate::base::error::Own;
use crate::net::lane::Lane;
use crate::net::legs::{BackendSide, Legs};
use crate::net::relay::Link;
use crate::net::stream::Stream;
use crate::sql::{Lexing, is_plain_collation};
use crate::txn::guard::Guard;
use crate::txn::journal::Journal;
use crate::wire::Malformed;
use crate::wire::capability::Capabilities;
use crate::wire::compress::{Algorithm, Turn};
use crate::wire::expect::Expectations;
use crate::wire::frame::{HEADER_LEN, Header, frames, write_packet};
use crate::wire::packet::err::Err as ErrPacket;
use crate::wire::packet::greeting::Greeting;
use crate::wire::packet::login::{Leg, Login, TLS_REQUEST_LEN};
use crate::wire::packet::ok::Ok as OkPacket;
use crate::wire::status::Status;

use super::count::Count;
use super::limit::Limit;
use super::local::Calls;
use super::password::Passwords;
use super::prepared::Statements;
use super::registry::{Peer, dies_of_kill};
use super::request::Position;
use super::walk::Walk;
use super::{Conversation, Deps, End, Terms};

/// A packet of the login phase is small; more than this is not a login.
const PACKET_MAX: usize = 64 << 10;

/// Relays the login.
pub(super) async fn login<C, B>(
    link: &mut Link<Stream<C>, Stream<B>>,
    address: Arc<str>,
    deps: Arc<Deps>,
    terms: &Terms,
) -> Result<Conversation, End>
where
    C: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let mut login =
        Exchange { link, legs: &terms.legs, address: &address, counts: Counts::default() };
    let end = match timeout(terms.handshake_max, login.run()).await {
        Ok(Ok(done)) => return Ok(conversation(link, done, address, deps, terms)),
        Ok(Err(End::Own(own))) => login.refuse(own).await,
        Ok(Err(end)) => end,
        Err(_) => login.refuse(Own::HandshakeTimeout).await,
    };
    link.close().await;
    Err(end)
}

/// The frame of one of txguard's own errors, with this sequence id.
#[must_use]
pub fn own_error(own: Own, seq: u8) -> Vec<u8> {
    let message = own.message();
    let row = own.row();
    let mut payload = Vec::with_capacity(message.len() + 16);
    let (sqlstate, message) = (row.sqlstate.as_bytes(), message.as_bytes());
    ErrPacket { code: row.code, sqlstate, message }.write(&mut payload);
    frames(seq, &payload)
}

/// An OK of our own in the state of the session.
pub(super) fn own_ok(status: Status, seq: u8) -> Vec<u8> {
    let status = Status(status.0 & Status::LASTING);
    let mut payload = Vec::new();
    OkPacket { affected_rows: 0, last_insert_id: 0, status, warnings: 0, info: &[] }
        .write(&mut payload);
    frames(seq, &payload)
}

/// What a login has brought.
struct Done {
    hello: Hello,
    who: Who,
    status: Status,
    passwords: Passwords,
}

fn conversation<C, B>(
    link: &Link<Stream<C>, Stream<B>>,
    done: Done,
    address: Arc<str>,
    deps: Arc<Deps>,
    terms: &Terms,
) -> Conversation
where
    C: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let Done { hello, who, status, passwords } = done;
    let mut policies = deps.policies.clone();
    let user_policies = policies.borrow_and_update().for_user(&who.user);
    let journal = Journal::new(terms.journal_bytes_max, deps.journals.clone());
    let peer = Peer {
        backend: address,
        user: who.user.clone(),
        is_tidb: hello.is_tidb,
        is_fragile: hello.is_fragile,
        end: CancellationToken::new(),
    };
    let capabilities = Capabilities(hello.capabilities.0 & who.capabilities.0);
    Conversation {
        registered: deps.registry.enter(hello.connection_id, peer),
        user_policies,
        policies,
        user: who.user,
        schema: who.schema,
        schema_known: true,
        capabilities,
        connection_id: hello.connection_id,
        is_tidb: hello.is_tidb,
        status,
        flags_stale: false,
        multi_statements: capabilities.has(Capabilities::MULTI_STATEMENTS),
        lexing: Lexing {
            no_backslash_escapes: status.has(Status::NO_BACKSLASH_ESCAPES),
            ..Lexing::default()
        },
        readings: 0,
        charset_plain: is_plain_collation(who.collation),
        login_plain: is_plain_collation(who.collation),
        one_shot: false,
        one_shot_behind: false,
        declines_retry: false,
        bare: false,
        up: Position::default(),
        walk: Walk::default(),
        count: Count::new(link.client.is_compressed() || link.backend.is_compressed()),
        passwords,
        response: None,
        expected: Expectations::default(),
        statements: Statements::default(),
        prepared_ok: None,
        txn: None,
        // TiDB has none.
        guard: Guard::new(!hello.is_tidb),
        journal,
        closes: Vec::new(),
        commit_alone: Vec::new(),
        calls: Calls::default(),
        next_key: None,
        claimed: None,
        fingerprint: None,
        captured: None,
        found_rows: Some(0),
        rows: 0,
        finishing: None,
        event: None,
        limit: Limit::new(terms, deps.clock.now()),
        draining: false,
        scratch: Vec::new(),
        deps,
    }
}

struct Hello {
    capabilities: Capabilities,
    connection_id: u32,
    is_tidb: bool,
    is_fragile: bool,
}

struct Who {
    capabilities: Capabilities,
    collation: u8,
    user: Box<str>,
    schema: Option<Box<str>>,
    /// What the client wants for its leg.
    compression: Option<Algorithm>,
}

/// The sequence ids that come next, one count for each leg.
#[derive(Debug, Default)]
struct Counts {
    client: u8,
    backend: u8,
}

/// A login under way.
struct Exchange<'a, C, B> {
    link: &'a mut Link<Stream<C>, Stream<B>>,
    legs: &'a Legs,
    /// HOST:PORT of the backend.
    address: &'a str,
    counts: Counts,
}

impl<C, B> Exchange<'_, C, B>
where
    C: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    async fn run(&mut self) -> Result<Done, End> {
        let hello = self.greeting().await?;
        let payload = self.client_login().await?;
        let login = Login::read(&payload).map_err(|_| End::Own(Own::ClientProtocol))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned().into_boxed_str();
        let who = Who {
            capabilities: login.capabilities,
            collation: login.collation,
            user: text(login.user),
            schema: login.schema.map(text),
            compression: Login::compression(&payload, login.capabilities),
        };
        let leg = self.backend_leg(&hello)?;
        let allowed = self.legs.backend.allow_cleartext_password;
        let mut passwords = Passwords::new(self.link.client.is_tls(), leg.tls, allowed);
        passwords.begin(login.plugin).map_err(End::Own)?;
        self.backend_login(&payload, leg).await?;
        let status = self.authenticate(&mut passwords).await?;
        self.compress(who.compression, leg.compression);
        Ok(Done { hello, who, status, passwords })
    }

    async fn greeting(&mut self) -> Result<Hello, End> {
        let len = loop {
            match whole_packet(&self.link.down) {
                Packet::Whole(len) => break len,
                Packet::TooLong => return Err(End::Own(Own::BackendHandshake)),
                Packet::Part => {
                    self.link.fill_down().await.map_err(|_| End::Own(Own::BackendHandshake))?;
                }
            }
        };
        let payload = &mut self.link.down.pending_mut()[HEADER_LEN..len];
        if payload.first() == Some(&0xFF) {
            self.forward_down(len).await?;
            return Err(End::Refused);
        }
        let read = |payload: &[u8]| {
            let greeting = Greeting::read(payload)?;
            Ok(Hello {
                capabilities: greeting.capabilities,
                connection_id: greeting.connection_id,
                is_tidb: greeting.version.windows(4).any(|part| part == b"TiDB"),
                is_fragile: dies_of_kill(greeting.version),
            })
        };
        let mut offers = Capabilities::COMPRESS | Capabilities::ZSTD;
        if self.legs.client.tls.is_some() {
            offers |= Capabilities::SSL;
        }
        let hello = read(payload)
            .and_then(|hello| Greeting::dress(payload, Capabilities(offers)).map(|()| hello))
            .map_err(|_: Malformed| End::Own(Own::BackendHandshake))?;
        self.forward_down(len).await?;
        Ok(hello)
    }

    /// The payload of the client's login, behind TLS if the client asks for it.
    async fn client_login(&mut self) -> Result<Vec<u8>, End> {
        loop {
            let payload = self.client_packet().await?;
            if Login::is_tls_request(&payload) && !self.link.client.is_tls() {
                self.client_tls().await?;
                continue;
            }
            if self.legs.client.require_tls && !self.link.client.is_tls() {
                return Err(End::Own(Own::TlsRequired));
            }
            return Ok(payload);
        }
    }

    async fn client_tls(&mut self) -> Result<(), End> {
        let Some(tls) = &self.legs.client.tls else {
            return Err(End::Own(Own::ClientProtocol));
        };
        // The client doesn't wait for an answer: its handshake may have been read already.
        let early = self.link.up.pending().to_vec();
        self.link.up.discard(early.len());
        self.link.client.accept(tls, early).await.map_err(|error| {
            tracing::info!(%error, "the client's TLS handshake failed");
            End::ClientGone
        })
    }

    /// What the backend's leg will be, from what it offers and what the configuration wants.
    fn backend_leg(&self, hello: &Hello) -> Result<Leg, End> {
        let BackendSide { mode, compression, .. } = self.legs.backend;
        let offers_tls = hello.capabilities.has(Capabilities::SSL);
        let tls = match mode {
            TlsMode::Disable => false,
            TlsMode::Prefer => offers_tls && self.link.client.is_tls(),
            TlsMode::Require | TlsMode::Verify if !offers_tls => {
                tracing::warn!(backend = self.address, "the backend does not offer TLS");
                return Err(End::Own(Own::BackendTls));
            }
            TlsMode::Require | TlsMode::Verify => true,
        };
        let compression = compression.filter(|algorithm| {
            hello.capabilities.has(match algorithm {
                Algorithm::Zlib => Capabilities::COMPRESS,
                Algorithm::Zstd(_) => Capabilities::ZSTD,
            })
        });
        Ok(Leg { tls, compression })
    }

    async fn backend_login(&mut self, payload: &[u8], leg: Leg) -> Result<(), End> {
        let login = Login::forward(payload, leg).map_err(|_| End::Own(Own::ClientProtocol))?;
        if leg.tls {
            if !self.link.down.pending().is_empty() {
                // Not the server's words: it waits for TLS, and so would they behind it.
                tracing::warn!(backend = self.address, "bytes in the clear ahead of TLS");
                return Err(End::Own(Own::BackendTls));
            }
            self.send_up(&login[..TLS_REQUEST_LEN]).await?;
            let BackendSide { tls, .. } = &self.legs.backend;
            let failed = |error: &dyn std::fmt::Display| {
                tracing::warn!(backend = self.address, %error, "no TLS with the backend");
                End::Own(Own::BackendTls)
            };
            let name = self.legs.backend.name_of(self.address).map_err(|error| failed(&error))?;
            self.link.backend.connect(tls, name).await.map_err(|error| failed(&error))?;
        }
        self.send_up(&login).await
    }

    /// Relays the exchange that follows; the client may send one packet for each that asks for
    /// one.
    async fn authenticate(&mut self, passwords: &mut Passwords) -> Result<Status, End> {
        loop {
            self.link.fill_down().await.map_err(|_| End::BackendGone)?;
            loop {
                let len = match whole_packet(&self.link.down) {
                    Packet::Whole(len) => len,
                    Packet::TooLong => return Err(End::Own(Own::BackendHandshake)),
                    Packet::Part => break,
                };
                let payload = &self.link.down.pending()[HEADER_LEN..len];
                let first = payload.first().copied();
                let fast_path_ok = payload == [0x01, 0x03];
                let status =
                    (first == Some(0)).then(|| OkPacket::read(payload).map(|ok| ok.status));
                if !matches!(first, Some(0x00 | 0xFF)) {
                    passwords.asked(payload).map_err(End::Own)?;
                }
                self.forward_down(len).await?;
                match first {
                    Some(0x00) => {
                        return status.and_then(Result::ok).ok_or(End::Own(Own::BackendHandshake));
                    }
                    Some(0xFF) => return Err(End::Refused),
                    // "Fast authentication succeeded": OK follows, the client says nothing.
                    _ if fast_path_ok => {}
                    _ => {
                        let answer = self.client_packet().await?;
                        self.send_up(&answer).await.map_err(|_| End::BackendGone)?;
                    }
                }
            }
        }
    }

    /// Both sides have agreed on the login: what follows is compressed where a leg wants it.
    fn compress(&mut self, client: Option<Algorithm>, backend: Option<Algorithm>) {
        if let Some(algorithm) = client {
            let early = self.link.up.pending().to_vec();
            self.link.up.discard(early.len());
            self.link.client.compress(algorithm, Turn::Answer, &early);
        }
        if let Some(algorithm) = backend {
            let early = self.link.down.pending().to_vec();
            self.link.down.discard(early.len());
            self.link.backend.compress(algorithm, Turn::Ask, &early);
        }
    }

    /// Lets a packet of the backend go to the client, as the next one of that leg.
    async fn forward_down(&mut self, len: usize) -> Result<(), End> {
        let seq = &mut self.link.down.pending_mut()[HEADER_LEN - 1];
        self.counts.backend = seq.wrapping_add(1);
        *seq = self.counts.client;
        self.counts.client = self.counts.client.wrapping_add(1);
        self.link.down.release(len);
        self.link.flush_down().await.map_err(|_| End::ClientGone)
    }

    /// Sends a packet to the backend, as the next one of that leg.
    async fn send_up(&mut self, payload: &[u8]) -> Result<(), End> {
        let mut frame = Vec::with_capacity(HEADER_LEN + payload.len());
        self.counts.backend = write_packet(&mut frame, self.counts.backend, payload);
        self.link.up.push(&frame);
        self.link.flush_up().await.map_err(|_| End::Own(Own::BackendHandshake))
    }

    /// Takes the payload of the client's next packet.
    async fn client_packet(&mut self) -> Result<Vec<u8>, End> {
        loop {
            match whole_packet(&self.link.up) {
                Packet::Whole(len) => {
                    let packet = &self.link.up.pending()[..len];
                    self.counts.client = packet[HEADER_LEN - 1].wrapping_add(1);
                    let payload = packet[HEADER_LEN..].to_vec();
                    self.link.up.discard(len);
                    return Ok(payload);
                }
                Packet::TooLong => return Err(End::Own(Own::ClientProtocol)),
                Packet::Part => self.link.fill_up().await.map_err(|_| End::ClientGone)?,
            }
        }
    }

    /// Tells the client why there is no login.
    async fn refuse(&mut self, own: Own) -> End {
        let seq = Header::read(self.link.up.pending())
            .map_or(self.counts.client, |header| header.seq.wrapping_add(1));
        self.link.down.push(&own_error(own, seq));
        // A client that doesn't read must not keep the task: the login limit holds here too.
        let _ = timeout(std::time::Duration::from_secs(1), self.link.flush_down()).await;
        End::Own(own)
    }
}

enum Packet {
    Part,
    TooLong,
    Whole(usize),
}

fn whole_packet(lane: &Lane) -> Packet {
    match Header::read(lane.pending()) {
        Some(header) if header.len > PACKET_MAX => Packet::TooLong,
        Some(header) if lane.pending().len() >= header.frame_len() => {
            Packet::Whole(header.frame_len())
        }
        _ => Packet::Part,
    }
}
