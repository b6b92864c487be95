//! Greeting and login, relayed with the server's own salt.
//!
//! ```text
//! backend: greeting ─▶ capabilities masked ─▶ client
//! client:  login    ─▶ capabilities masked ─▶ backend      user, schema, character set noted
//! backend: auth switch, more data ⇄ client, one packet each, until OK or ERR
//! ```
//!
//! txguard never learns a password: what the client answers to the salt is passed on unread.

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use crate::base::error::Own;
use crate::net::lane::Lane;
use crate::net::relay::Link;
use crate::sql::{Lexing, is_plain_collation};
use crate::txn::guard::Guard;
use crate::txn::journal::Journal;
use crate::wire::capability::Capabilities;
use crate::wire::expect::Expectations;
use crate::wire::frame::{HEADER_LEN, Header};
use crate::wire::packet::err::Err as ErrPacket;
use crate::wire::packet::greeting::Greeting;
use crate::wire::packet::login::Login;
use crate::wire::packet::ok::Ok as OkPacket;
use crate::wire::status::Status;

use super::prepared::Statements;
use super::request::Position;
use super::walk::Walk;
use super::{Conversation, Deps, End, Terms};

/// A packet of the login phase is small; more than this is not a login.
const PACKET_MAX: usize = 64 << 10;

/// Relays the login.
pub(super) async fn login<C, B>(
    link: &mut Link<C, B>,
    deps: Arc<Deps>,
    terms: &Terms,
) -> Result<Conversation, End>
where
    C: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let mut seq = 0;
    match timeout(terms.handshake_max, exchange(link, deps, &mut seq)).await {
        Ok(Err(End::Own(own))) => Err(refuse(link, own, seq).await),
        Ok(done) => done,
        Err(_) => Err(refuse(link, Own::HandshakeTimeout, seq).await),
    }
}

/// Tells the client why there is no login; the sequence id follows the last packet, which is the
/// client's if one is there and else that of `seq`.
async fn refuse<C, B>(link: &mut Link<C, B>, own: Own, seq: u8) -> End
where
    C: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let seq = Header::read(link.up.pending()).map_or(seq, |header| header.seq.wrapping_add(1));
    link.down.push(&own_error(own, seq));
    // A client that doesn't read must not keep the task: the login limit holds here too.
    let _ = timeout(std::time::Duration::from_secs(1), link.flush_down()).await;
    End::Own(own)
}

/// The frame of one of txguard's own errors, with this sequence id.
#[must_use]
pub fn own_error(own: Own, seq: u8) -> Vec<u8> {
    let message = own.message();
    let row = own.row();
    let mut payload = Vec::with_capacity(message.len() + 16);
    let (sqlstate, message) = (row.sqlstate.as_bytes(), message.as_bytes());
    ErrPacket { code: row.code, sqlstate, message }.write(&mut payload);
    let mut frame = Vec::with_capacity(payload.len() + HEADER_LEN);
    crate::wire::frame::write_packet(&mut frame, seq, &payload);
    frame
}

async fn exchange<C, B>(
    link: &mut Link<C, B>,
    deps: Arc<Deps>,
    seq: &mut u8,
) -> Result<Conversation, End>
where
    C: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let hello = greeting(link).await?;
    *seq = 1;
    let who = client_login(link).await?;
    let status = authenticate(link).await?;
    let mut policies = deps.policies.clone();
    let user_policies = policies.borrow_and_update().for_user(&who.user);
    let journal = Journal::new(deps.journal_bytes_max, deps.journals.clone());
    Ok(Conversation {
        user_policies,
        policies,
        user: who.user,
        schema: who.schema,
        capabilities: Capabilities(hello.capabilities.0 & who.capabilities.0),
        connection_id: hello.connection_id,
        is_tidb: hello.is_tidb,
        status,
        lexing: Lexing {
            no_backslash_escapes: status.has(Status::NO_BACKSLASH_ESCAPES),
            ..Lexing::default()
        },
        charset_plain: is_plain_collation(who.collation),
        login_plain: is_plain_collation(who.collation),
        one_shot: false,
        one_shot_behind: false,
        bare: false,
        up: Position::default(),
        walk: Walk::default(),
        response: None,
        expected: Expectations::default(),
        statements: Statements::default(),
        prepared_ok: None,
        txn: None,
        guard: Guard::default(),
        journal,
        closes: Vec::new(),
        fingerprint: None,
        captured: None,
        found_rows: Some(0),
        rows: 0,
        finishing: None,
        event: None,
        draining: false,
        scratch: Vec::new(),
        deps,
    })
}

struct Hello {
    capabilities: Capabilities,
    connection_id: u32,
    is_tidb: bool,
}

async fn greeting<C, B>(link: &mut Link<C, B>) -> Result<Hello, End>
where
    C: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let len = loop {
        match whole_packet(&link.down) {
            Packet::Whole(len) => break len,
            Packet::TooLong => return Err(End::Own(Own::BackendHandshake)),
            Packet::Part => {
                link.fill_down().await.map_err(|_| End::Own(Own::BackendHandshake))?;
            }
        }
    };
    let payload = &mut link.down.pending_mut()[HEADER_LEN..len];
    if payload.first() == Some(&0xFF) {
        link.down.release(len);
        let _ = link.flush_down().await;
        return Err(End::Refused);
    }
    Greeting::mask(payload).map_err(|_| End::Own(Own::BackendHandshake))?;
    let greeting = Greeting::read(payload).map_err(|_| End::Own(Own::BackendHandshake))?;
    let hello = Hello {
        capabilities: greeting.capabilities,
        connection_id: greeting.connection_id,
        is_tidb: greeting.version.windows(4).any(|part| part == b"TiDB"),
    };
    link.down.release(len);
    link.flush_down().await.map_err(|_| End::ClientGone)?;
    Ok(hello)
}

struct Who {
    capabilities: Capabilities,
    collation: u8,
    user: Box<str>,
    schema: Option<Box<str>>,
}

async fn client_login<C, B>(link: &mut Link<C, B>) -> Result<Who, End>
where
    C: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let len = client_packet(link).await?;
    let payload = &mut link.up.pending_mut()[HEADER_LEN..len];
    // A request for TLS is the first 32 bytes of a login and nothing else.
    let is_tls = payload.len() == 32 && Login::read(payload).is_err();
    Login::mask(payload).map_err(|_| End::Own(Own::ClientProtocol))?;
    if is_tls {
        return Err(End::Own(Own::ClientProtocol));
    }
    let login = Login::read(payload).map_err(|_| End::Own(Own::ClientProtocol))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned().into_boxed_str();
    let who = Who {
        capabilities: login.capabilities,
        collation: login.collation,
        user: text(login.user),
        schema: login.schema.map(text),
    };
    link.up.release(len);
    link.flush_up().await.map_err(|_| End::Own(Own::BackendHandshake))?;
    Ok(who)
}

/// Relays the exchange that follows; the client may send one packet for each that asks for one.
async fn authenticate<C, B>(link: &mut Link<C, B>) -> Result<Status, End>
where
    C: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        link.fill_down().await.map_err(|_| End::BackendGone)?;
        while let Packet::Whole(len) = whole_packet(&link.down) {
            let payload = &link.down.pending()[HEADER_LEN..len];
            let first = payload.first().copied();
            let fast_path_ok = payload == [0x01, 0x03];
            let status = (first == Some(0)).then(|| OkPacket::read(payload).map(|ok| ok.status));
            link.down.release(len);
            link.flush_down().await.map_err(|_| End::ClientGone)?;
            match first {
                Some(0x00) => {
                    return status.and_then(Result::ok).ok_or(End::Own(Own::BackendHandshake));
                }
                Some(0xFF) => return Err(End::Refused),
                // "Fast authentication succeeded": OK follows, the client says nothing.
                _ if fast_path_ok => {}
                _ => client_answer(link).await?,
            }
        }
    }
}

async fn client_answer<C, B>(link: &mut Link<C, B>) -> Result<(), End>
where
    C: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let len = client_packet(link).await?;
    link.up.release(len);
    link.flush_up().await.map_err(|_| End::BackendGone)
}

/// Reads until a whole packet of the client is pending; its length with header.
async fn client_packet<C, B>(link: &mut Link<C, B>) -> Result<usize, End>
where
    C: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        match whole_packet(&link.up) {
            Packet::Whole(len) => return Ok(len),
            Packet::TooLong => return Err(End::Own(Own::ClientProtocol)),
            Packet::Part => link.fill_up().await.map_err(|_| End::ClientGone)?,
        }
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
