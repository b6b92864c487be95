//! The PROXY protocol's header: who a connection really comes from, said by a proxy ahead of all
//! other bytes (haproxy.org, "The PROXY protocol", versions 1 and 2).
//!
//! Version 1 is a line of text, version 2 binary. Both are read; which one is written is the
//! configuration's choice. What version 2 adds behind the addresses (TLVs) is skipped.

// Addresses as values: `std::net` would bring sockets along.
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::fmt::Write as _;

use super::Malformed;

/// Who talks to whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// The client.
    pub client: SocketAddr,
    /// The address that the client connected to.
    pub server: SocketAddr,
}

/// The version that is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// Text.
    V1,
    /// Binary.
    V2,
}

/// Bytes that tell how long a header is: the signature of version 2, or the beginning of version
/// 1, which is never shorter than 15 bytes.
pub const PREFIX_LEN: usize = 12;

const V2_SIGNATURE: [u8; PREFIX_LEN] = *b"\r\n\r\n\0\r\nQUIT\n";
const V2_FIXED_LEN: usize = PREFIX_LEN + 4;

/// The longest line of version 1, its end included.
const V1_MAX: usize = 107;

/// TLVs beyond this are no header that a proxy sends.
const V2_MAX: usize = 4096;

/// How far a header has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// So many bytes are needed before more can be said; never beyond the header's end.
    Needs(usize),
    /// All of it was there; `None` if it names nobody (a proxy's own health check).
    Done(Option<Origin>),
}

/// Looks at the header's bytes so far.
pub fn read(bytes: &[u8]) -> Result<Progress, Malformed> {
    if bytes.len() < PREFIX_LEN {
        return Ok(Progress::Needs(PREFIX_LEN));
    }
    if bytes[..PREFIX_LEN] == V2_SIGNATURE {
        return read_v2(bytes);
    }
    if !bytes.starts_with(b"PROXY ") {
        return Err(Malformed("not a PROXY protocol header"));
    }
    match bytes.ends_with(b"\r\n") {
        true => read_v1(bytes).map(Progress::Done),
        false if bytes.len() >= V1_MAX => Err(Malformed("a PROXY protocol line without an end")),
        false => Ok(Progress::Needs(bytes.len() + 1)),
    }
}

fn read_v1(line: &[u8]) -> Result<Option<Origin>, Malformed> {
    const WRONG: Malformed = Malformed("a PROXY protocol line that names no addresses");
    let text = std::str::from_utf8(&line[..line.len() - 2]).map_err(|_| WRONG)?;
    let words: Vec<&str> = text.split(' ').collect();
    match words[..] {
        [_, "UNKNOWN", ..] => Ok(None),
        [_, family @ ("TCP4" | "TCP6"), client, server, client_port, server_port] => {
            let address = |ip: &str, port: &str| -> Result<SocketAddr, Malformed> {
                let ip: IpAddr = ip.parse().map_err(|_| WRONG)?;
                let fits = ip.is_ipv4() == (family == "TCP4");
                let port = port.parse().ok().filter(|_| fits).ok_or(WRONG)?;
                Ok(SocketAddr::new(ip, port))
            };
            let client = address(client, client_port)?;
            Ok(Some(Origin { client, server: address(server, server_port)? }))
        }
        _ => Err(WRONG),
    }
}

fn read_v2(bytes: &[u8]) -> Result<Progress, Malformed> {
    let Some(&[command, family, high, low]) = bytes.get(PREFIX_LEN..V2_FIXED_LEN) else {
        return Ok(Progress::Needs(V2_FIXED_LEN));
    };
    let len = usize::from(u16::from_be_bytes([high, low]));
    if len > V2_MAX {
        return Err(Malformed("a PROXY protocol header of more than 4 KiB"));
    }
    let Some(rest) = bytes.get(V2_FIXED_LEN..V2_FIXED_LEN + len) else {
        return Ok(Progress::Needs(V2_FIXED_LEN + len));
    };
    match (command, family) {
        (0x20, _) => Ok(Progress::Done(None)),
        (0x21, 0x11) => addresses::<4>(rest).map(Progress::Done),
        (0x21, 0x21) => addresses::<16>(rest).map(Progress::Done),
        // A local socket, or no stream: nothing that has an address of ours.
        (0x21, _) => Ok(Progress::Done(None)),
        _ => Err(Malformed("an unknown version or command of the PROXY protocol")),
    }
}

/// Two addresses of `N` bytes each, then two ports.
fn addresses<const N: usize>(rest: &[u8]) -> Result<Option<Origin>, Malformed> {
    const WRONG: Malformed = Malformed("a PROXY protocol header too short for its addresses");
    let ip = |at: usize| -> Result<IpAddr, Malformed> {
        let bytes = rest.get(at..at + N).ok_or(WRONG)?;
        match (<[u8; 4]>::try_from(bytes), <[u8; 16]>::try_from(bytes)) {
            (Ok(v4), _) => Ok(Ipv4Addr::from(v4).into()),
            (_, Ok(v6)) => Ok(Ipv6Addr::from(v6).into()),
            _ => Err(WRONG),
        }
    };
    let port = |at: usize| match rest.get(at..at + 2) {
        Some(&[high, low]) => Ok(u16::from_be_bytes([high, low])),
        _ => Err(WRONG),
    };
    let client = SocketAddr::new(ip(0)?, port(2 * N)?);
    Ok(Some(Origin { client, server: SocketAddr::new(ip(N)?, port(2 * N + 2)?) }))
}

/// The header for a connection, or for one that comes from no client. Addresses of two families
/// are both written as IPv6.
#[must_use]
pub fn write(origin: Option<Origin>, version: Version) -> Vec<u8> {
    let Some(Origin { client, server }) = origin else {
        return match version {
            Version::V1 => b"PROXY UNKNOWN\r\n".to_vec(),
            Version::V2 => [&V2_SIGNATURE[..], &[0x20, 0, 0, 0]].concat(),
        };
    };
    let pair = match (client.ip().to_canonical(), server.ip().to_canonical()) {
        (IpAddr::V4(client), IpAddr::V4(server)) => Pair::V4(client, server),
        (client, server) => Pair::V6(mapped(client), mapped(server)),
    };
    match version {
        Version::V1 => write_v1(&pair, client.port(), server.port()),
        Version::V2 => write_v2(&pair, client.port(), server.port()),
    }
}

enum Pair {
    V4(Ipv4Addr, Ipv4Addr),
    V6(Ipv6Addr, Ipv6Addr),
}

fn mapped(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    }
}

fn write_v1(pair: &Pair, client_port: u16, server_port: u16) -> Vec<u8> {
    let mut line = String::new();
    // Writing to a text can't fail.
    let _ = match pair {
        Pair::V4(client, server) => {
            write!(line, "PROXY TCP4 {client} {server} {client_port} {server_port}\r\n")
        }
        Pair::V6(client, server) => {
            write!(line, "PROXY TCP6 {client} {server} {client_port} {server_port}\r\n")
        }
    };
    line.into_bytes()
}

fn write_v2(pair: &Pair, client_port: u16, server_port: u16) -> Vec<u8> {
    let mut header = V2_SIGNATURE.to_vec();
    let (family, addresses) = match pair {
        Pair::V4(client, server) => (0x11, [client.octets(), server.octets()].concat()),
        Pair::V6(client, server) => (0x21, [client.octets(), server.octets()].concat()),
    };
    let len = (addresses.len() + 4) as u16;
    header.extend_from_slice(&[0x21, family]);
    header.extend_from_slice(&len.to_be_bytes());
    header.extend_from_slice(&addresses);
    header.extend_from_slice(&client_port.to_be_bytes());
    header.extend_from_slice(&server_port.to_be_bytes());
    header
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Feeds byte by byte as asked for; the origin and how many bytes were taken.
    fn all(bytes: &[u8]) -> Result<(Option<Origin>, usize), Malformed> {
        let mut len = 0;
        loop {
            match read(&bytes[..len])? {
                Progress::Done(origin) => return Ok((origin, len)),
                Progress::Needs(more) if more <= bytes.len() => {
                    assert!(more > len, "no progress");
                    len = more;
                }
                Progress::Needs(_) => return Err(Malformed("cut")),
            }
        }
    }

    #[test]
    fn a_header_ends_where_the_connection_begins() {
        let v1 = b"PROXY TCP4 10.0.0.1 10.0.0.2 5000 4000\r\nrest";
        let (origin, len) = all(v1).expect("a header");
        assert_eq!((origin.map(|o| o.client.to_string()), len), (Some("10.0.0.1:5000".into()), 40));
        assert_eq!(all(b"PROXY UNKNOWN\r\nrest"), Ok((None, 15)));
        assert_eq!(all(b"PROXY UNKNOWN ffff::1 ::2 3 4\r\nrest"), Ok((None, 31)));
        let mut local = V2_SIGNATURE.to_vec();
        local.extend_from_slice(&[0x20, 0, 0, 3, 1, 2, 3, b'r']);
        assert_eq!(all(&local), Ok((None, 19)));
    }

    #[test]
    fn nobody_is_written_and_read() {
        for version in [Version::V1, Version::V2] {
            let bytes = write(None, version);
            assert_eq!(all(&bytes), Ok((None, bytes.len())));
        }
    }

    #[test]
    fn what_is_no_header_is_refused() {
        for bad in [
            &b"\x4a\0\0\x01\x85\xa6\xff\x01\0\0\0\x01"[..],
            b"PROXY TCP4 10.0.0.1 ::1 1 2\r\n",
            b"PROXY TCP4 10.0.0.1 10.0.0.2 1\r\n",
            b"PROXY TCP6 10.0.0.1 10.0.0.2 1 2\r\n",
            b"PROXY TCP4 10.0.0.1 10.0.0.2 1 99999\r\n",
        ] {
            assert_ne!(all(bad), Err(Malformed("cut")), "{bad:?}");
            assert!(all(bad).is_err(), "{bad:?}");
        }
        let endless = [&b"PROXY "[..], &[b'x'; 200]].concat();
        assert!(all(&endless).is_err());
        let mut long = V2_SIGNATURE.to_vec();
        long.extend_from_slice(&[0x21, 0x11, 0xFF, 0xFF]);
        assert!(matches!(read(&long), Err(Malformed(_))));
    }

    fn address() -> impl Strategy<Value = SocketAddr> {
        prop_oneof![
            (any::<[u8; 4]>(), any::<u16>())
                .prop_map(|(ip, port)| (Ipv4Addr::from(ip), port).into()),
            (any::<[u8; 16]>(), any::<u16>())
                .prop_map(|(ip, port)| (Ipv6Addr::from(ip), port).into()),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(client in address(), server in address(), two: bool) {
            let version = if two { Version::V2 } else { Version::V1 };
            let bytes = write(Some(Origin { client, server }), version);
            let (origin, len) = all(&bytes).expect("our own");
            let origin = origin.expect("addresses");
            prop_assert_eq!(len, bytes.len());
            let canonical = |a: SocketAddr| (a.ip().to_canonical(), a.port());
            prop_assert_eq!(canonical(origin.client), canonical(client));
            prop_assert_eq!(canonical(origin.server), canonical(server));
        }

        #[test]
        fn noise_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = all(&bytes);
            let _ = all(&[&V2_SIGNATURE[..], &bytes].concat());
        }
    }
}
