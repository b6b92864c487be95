//! Any payload for every reader. What is read can be written and read again; capabilities change
//! where they should and nowhere else, and a second time does nothing.

#![no_main]

use std::net::IpAddr;

use libfuzzer_sys::fuzz_target;
use txguard::wire::capability::Capabilities;
use txguard::wire::compress::Algorithm;
use txguard::wire::origin::{self, Origin, Progress, Version};
use txguard::wire::packet::err::Err as ErrPacket;
use txguard::wire::packet::execute::{Execute, statement_id};
use txguard::wire::packet::greeting::Greeting;
use txguard::wire::packet::login::{Leg, Login, change_user};
use txguard::wire::packet::ok::Ok as OkPacket;
use txguard::wire::packet::prepare_ok::PrepareOk;
use txguard_fuzz::input::Input;

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let number = u16::from_le_bytes([input.byte(), input.byte()]);
    let payload = input.rest();
    dress(payload, Capabilities(u32::from(number) << 11 & Capabilities::LEG));
    forward(payload, number);
    if let Ok(greeting) = Greeting::read(payload) {
        assert!(greeting.version.len() < payload.len());
    }
    if let Ok(login) = Login::read(payload) {
        assert!(login.capabilities.has(Capabilities::PROTOCOL_41));
        assert_ne!(login.schema, Some(&b""[..]));
    }
    let _ = change_user(payload, Capabilities(u32::from(number)));
    let _ = PrepareOk::read(payload);
    origin(payload);
    if let Ok(execute) = Execute::read(payload, number) {
        assert_eq!(Ok(execute.statement), statement_id(payload));
    }
    if let Ok(ok) = OkPacket::read(payload) {
        let mut written = Vec::new();
        ok.write(&mut written);
        assert_eq!(OkPacket::read(&written), Ok(ok));
    }
    if let Ok(eof) = OkPacket::read_eof(payload) {
        assert_eq!((eof.affected_rows, eof.info), (0, &b""[..]));
    }
    if let Ok(err) = ErrPacket::read(payload) {
        let mut written = Vec::new();
        err.write(&mut written);
        assert_eq!(written[1..], payload[1..]);
    }
});

/// A greeting for the client.
fn dress(payload: &[u8], offers: Capabilities) {
    let mut once = payload.to_vec();
    if Greeting::dress(&mut once, offers).is_err() {
        assert_eq!(once, payload, "what isn't understood stays as it is");
        return;
    }
    let after = Greeting::read(&once).expect("still a greeting").capabilities.0;
    let before = Greeting::read(payload).expect("a greeting").capabilities.0;
    assert_eq!(after, before & !Capabilities::MASKED | offers.0);
    assert_eq!(once.len(), payload.len());
    let mut twice = once.clone();
    assert_eq!(Greeting::dress(&mut twice, offers), Ok(()));
    assert_eq!(twice, once);
}

/// A login for the backend.
fn forward(payload: &[u8], number: u16) {
    let compression = [None, Some(Algorithm::Zlib), Some(Algorithm::Zstd(3))];
    let compression = compression[usize::from(number) % compression.len()];
    let leg = Leg { tls: number & 0x80 != 0, compression };
    let Ok(once) = Login::forward(payload, leg) else { return };
    assert!(once.len() <= payload.len() + 1);
    if let Ok(twice) = Login::forward(&once, leg) {
        assert_eq!(twice, once);
    }
    let _ = (Login::is_tls_request(payload), Login::compression(payload, Capabilities(!0)));
}

/// A header of the PROXY protocol, read as it asks for bytes.
fn origin(bytes: &[u8]) {
    let Some(found) = read_origin(bytes) else { return };
    for version in [Version::V1, Version::V2] {
        let written = origin::write(found, version);
        let again = read_origin(&written).expect("we wrote it");
        assert_eq!(again.map(canonical), found.map(canonical));
    }
}

/// The origin; `None` if the header is none, or not whole.
fn read_origin(bytes: &[u8]) -> Option<Option<Origin>> {
    let mut len = 0;
    loop {
        match origin::read(bytes.get(..len)?).ok()? {
            Progress::Done(origin) => return Some(origin),
            Progress::Needs(more) => {
                assert!(more > len, "no progress");
                len = more;
            }
        }
    }
}

/// IPv4 may come as IPv6.
fn canonical(origin: Origin) -> [(IpAddr, u16); 2] {
    [origin.client, origin.server].map(|address| (address.ip().to_canonical(), address.port()))
}
