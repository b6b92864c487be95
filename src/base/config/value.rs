//! Values with a notation of their own: durations, byte sizes, addresses, name patterns.
//!
//! Each deserializes from what a person writes and prints back in the same notation.

use std::fmt;
use std::marker::PhantomData;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{self, Deserialize, Deserializer, Visitor};

/// A duration as `250ms`, `20s` or `1m 30s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Period(pub(super) Duration);

/// A [`Period`], or nothing, written as an empty text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PeriodOrOff(pub(super) Option<Period>);

/// A number of bytes as `4MiB`, `64KiB` or a plain number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ByteSize(pub(super) u64);

/// A whole number that is not negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Count(pub(super) u64);

/// `HOST:PORT`, where the host is a name, an IPv4 address or an IPv6 address in brackets.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    host: String,
    port: u16,
}

/// A name, or a glob in which `*` stands for any characters, also none.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pattern(String);

/// A network in CIDR notation; an address alone is a network of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    ip: IpAddr,
    prefix: u32,
}

impl Network {
    /// True if the address lies within. An IPv4 address in IPv6 dress counts as what it is.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.ip, ip.to_canonical()) {
            (IpAddr::V4(net), IpAddr::V4(ip)) => {
                let (net, ip) = (u32::from(net), u32::from(ip));
                net.checked_shr(32 - self.prefix) == ip.checked_shr(32 - self.prefix)
            }
            (IpAddr::V6(net), IpAddr::V6(ip)) => {
                let (net, ip) = (u128::from(net), u128::from(ip));
                net.checked_shr(128 - self.prefix) == ip.checked_shr(128 - self.prefix)
            }
            _ => false,
        }
    }
}

/// What is wrong with the text of a [`Network`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// There is no address before the slash.
    #[error("it begins with no IP address")]
    BadAddress,
    /// The number of bits is none, or more than the address has.
    #[error("the number behind the slash is not a number of its bits")]
    BadPrefix,
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let (ip, prefix) = text.split_once('/').map_or((text, None), |(ip, n)| (ip, Some(n)));
        let ip: IpAddr = ip.parse().map_err(|_| NetworkError::BadAddress)?;
        let bits = if ip.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => bits,
            Some(digits) => digits
                .parse()
                .ok()
                .filter(|prefix| *prefix <= bits && digits.bytes().all(|b| b.is_ascii_digit()))
                .ok_or(NetworkError::BadPrefix)?,
        };
        Ok(Self { ip, prefix })
    }
}

impl Address {
    /// The host without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port; 0 only where txguard listens, "any free port".
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The same host with another port.
    #[must_use]
    pub fn with_port(&self, port: u16) -> Self {
        Self { host: self.host.clone(), port }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// What is wrong with the text of an [`Address`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// There is no `:PORT` at the end.
    #[error("the port is missing")]
    NoPort,
    /// There is nothing before the port.
    #[error("the host is missing")]
    NoHost,
    /// It looks like a URL.
    #[error("this is a URL, not HOST:PORT")]
    Url,
    /// The port is not a number up to 65535.
    #[error("the port is not a number from 0 to 65535")]
    BadPort,
    /// The host holds characters that no name or address has.
    #[error("the host is neither a name nor an IP address")]
    BadHost,
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if text.contains("//") {
            return Err(AddressError::Url);
        }
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, tail) = rest.split_once(']').ok_or(AddressError::BadHost)?;
                if host.parse::<std::net::Ipv6Addr>().is_err() {
                    return Err(AddressError::BadHost);
                }
                (host, tail.strip_prefix(':').ok_or(AddressError::NoPort)?)
            }
            None => text.rsplit_once(':').ok_or(AddressError::NoPort)?,
        };
        if host.is_empty() {
            return Err(AddressError::NoHost);
        }
        let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        let port = port.parse().ok().filter(|_| digits).ok_or(AddressError::BadPort)?;
        let bracketed = text.starts_with('[');
        let named = host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
        // Digits and dots alone are meant as an IPv4 address, so they must be one.
        let dotted = host.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        let bad_dotted = dotted && host.parse::<std::net::Ipv4Addr>().is_err();
        if !bracketed && (!named || bad_dotted) {
            return Err(AddressError::BadHost);
        }
        Ok(Self { host: host.to_owned(), port })
    }
}

impl Pattern {
    /// A pattern from its text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True if it holds no `*`: it matches one name only.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        !self.0.contains('*')
    }

    /// True if it matches every name.
    #[must_use]
    pub fn is_any(&self) -> bool {
        !self.0.is_empty() && self.0.bytes().all(|byte| byte == b'*')
    }

    /// Compares byte by byte; work is bounded by the product of both lengths.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        let (pattern, name) = (self.0.as_bytes(), name.as_bytes());
        let (mut p, mut n) = (0, 0);
        // Where to go on after a mismatch: behind the last star, one byte further in the name.
        let mut retry = None;
        while n < name.len() {
            if pattern.get(p) == Some(&b'*') {
                p += 1;
                retry = Some((p, n + 1));
            } else if pattern.get(p) == Some(&name[n]) {
                p += 1;
                n += 1;
            } else if let Some((star, next)) = retry {
                (p, n) = (star, next);
                retry = Some((star, next + 1));
            } else {
                return false;
            }
        }
        pattern[p..].iter().all(|&byte| byte == b'*')
    }

    /// True if every name that `other` matches is surely matched by this one; false if in doubt.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        // A star in `other` stands for any characters, and only a star here can match it for
        // sure: read as a name, it is a character that occurs in no other place of a pattern.
        self.0 == other.0 || !self.is_exact() && self.matches(&other.0)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

impl FromStr for Period {
    type Err = humantime::DurationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        humantime::parse_duration(text).map(Self)
    }
}

impl FromStr for PeriodOrOff {
    type Err = humantime::DurationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() { Ok(Self(None)) } else { text.parse().map(|period| Self(Some(period))) }
    }
}

/// Units of [`ByteSize`], longest name first so that `MiB` is not read as `B`.
const UNITS: &[(&str, u64)] = &[
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("B", 1),
];

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let binary = UNITS[..3].iter().rev();
        match binary.clone().find(|(_, size)| self.0 >= *size && self.0.is_multiple_of(*size)) {
            Some((name, size)) => write!(f, "{}{name}", self.0 / size),
            None => write!(f, "{}B", self.0),
        }
    }
}

/// The text of a [`ByteSize`] can't be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum ByteSizeError {
    #[error("it needs a number and one of the units B, KiB, MiB, GiB, KB, MB, GB")]
    Notation,
    #[error("it is too large")]
    TooLarge,
}

impl FromStr for ByteSize {
    type Err = ByteSizeError;

    fn from_str(text: &str) -> Result<Self, ByteSizeError> {
        let text = text.trim();
        let unit = UNITS.iter().find_map(|(name, size)| Some((text.strip_suffix(name)?, size)));
        let (number, size) = unit.unwrap_or((text, &1));
        let number = number.trim_end();
        if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(ByteSizeError::Notation);
        }
        let number: u64 = number.parse().map_err(|_| ByteSizeError::TooLarge)?;
        number.checked_mul(*size).map(Self).ok_or(ByteSizeError::TooLarge)
    }
}

/// Reads a text by [`FromStr`], and a whole number if `T` is a quantity that may be one.
struct TextVisitor<T> {
    expecting: &'static str,
    number: Option<fn(u64) -> T>,
    found: PhantomData<T>,
}

impl<T> TextVisitor<T> {
    const fn text(expecting: &'static str) -> Self {
        Self { expecting, number: None, found: PhantomData }
    }
}

impl<T> Visitor<'_> for TextVisitor<T>
where
    T: FromStr<Err: fmt::Display>,
{
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expecting)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse()
            .map_err(|error| E::custom(format_args!("{text:?} is not {}: {error}", self.expecting)))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
        match self.number {
            Some(make) => Ok(make(number)),
            None => Err(E::invalid_type(de::Unexpected::Unsigned(number), &self)),
        }
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        match (self.number, u64::try_from(number)) {
            (Some(make), Ok(number)) => Ok(make(number)),
            (Some(_), Err(_)) => Err(E::invalid_value(de::Unexpected::Signed(number), &self)),
            (None, _) => Err(E::invalid_type(de::Unexpected::Signed(number), &self)),
        }
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor::text("a duration with its unit"))
    }
}

impl<'de> Deserialize<'de> for PeriodOrOff {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor::text("a duration with its unit"))
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let visitor = TextVisitor { number: Some(Self), ..TextVisitor::text("a size in bytes") };
        deserializer.deserialize_any(visitor)
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor::text("an address HOST:PORT"))
    }
}

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct CountVisitor;

        impl Visitor<'_> for CountVisitor {
            type Value = Count;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number")
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Count, E> {
                Ok(Count(number))
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Count, E> {
                let wrong = de::Unexpected::Signed(number);
                u64::try_from(number).map(Count).map_err(|_| E::invalid_value(wrong, &self))
            }
        }

        deserializer.deserialize_any(CountVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_names_or_ip_addresses_with_a_port() {
        for good in ["127.0.0.1:4000", "tidb-0.tidb:4000", "[::1]:4000", "localhost:0"] {
            assert_eq!(good.parse::<Address>().expect(good).to_string(), good);
        }
        for (bad, why) in [
            ("127.0.0.1", AddressError::NoPort),
            ("", AddressError::NoPort),
            (":4000", AddressError::NoHost),
            ("tidb:", AddressError::BadPort),
            ("tidb:+1", AddressError::BadPort),
            ("tidb:65536", AddressError::BadPort),
            ("::1:4000", AddressError::BadHost),
            ("[::1]4000", AddressError::NoPort),
            ("[x]:4000", AddressError::BadHost),
            ("127.0.0.256:4000", AddressError::BadHost),
            ("my host:4000", AddressError::BadHost),
            ("mysql://tidb:4000", AddressError::Url),
        ] {
            assert_eq!(bad.parse::<Address>(), Err(why), "{bad}");
        }
    }

    #[test]
    fn byte_sizes_read_units_and_print_the_largest_that_fits() {
        for (text, bytes) in
            [("0", 0), ("17", 17), ("4MiB", 4 << 20), ("64 KiB", 65536), ("1MB", 1_000_000)]
        {
            assert_eq!(text.parse::<ByteSize>().expect(text).0, bytes);
        }
        assert_eq!(ByteSize(4 << 20).to_string(), "4MiB");
        assert_eq!(ByteSize(1000).to_string(), "1000B");
        assert_eq!("4 parsecs".parse::<ByteSize>(), Err(ByteSizeError::Notation));
        assert_eq!("-4MiB".parse::<ByteSize>(), Err(ByteSizeError::Notation));
        assert_eq!("99999999999GiB".parse::<ByteSize>(), Err(ByteSizeError::TooLarge));
    }

    #[test]
    fn patterns_match_with_stars() {
        for (pattern, yes, no) in [
            ("app", "app", "apps"),
            ("app*", "app", "ap"),
            ("*_ro", "shop_ro", "shop_row"),
            ("a*b*c", "a--bc--c", "a--c"),
            ("*", "", "\u{0}never"),
            ("a**z", "az", "a"),
        ] {
            assert!(Pattern::new(pattern).matches(yes), "{pattern} {yes}");
            assert!(pattern == "*" || !Pattern::new(pattern).matches(no), "{pattern} {no}");
        }
    }

    proptest::proptest! {
        /// The definition, by plain recursion, is the oracle.
        #[test]
        fn matching_agrees_with_its_definition(pattern in "[ab*]{0,8}", name in "[ab]{0,10}") {
            proptest::prop_assert_eq!(
                Pattern::new(&*pattern).matches(&name),
                by_definition(pattern.as_bytes(), name.as_bytes())
            );
        }

        #[test]
        fn a_covering_pattern_matches_all_that_the_other_matches(
            wide in "[ab*]{1,5}", narrow in "[ab*]{1,5}", name in "[ab]{0,8}"
        ) {
            let (wide, narrow) = (Pattern::new(wide), Pattern::new(narrow));
            if wide.covers(&narrow) && narrow.matches(&name) {
                proptest::prop_assert!(wide.matches(&name));
            }
        }

        #[test]
        fn sizes_read_back_what_they_print(bytes in proptest::num::u64::ANY) {
            proptest::prop_assert_eq!(ByteSize(bytes).to_string().parse(), Ok(ByteSize(bytes)));
        }
    }

    fn by_definition(pattern: &[u8], name: &[u8]) -> bool {
        match (pattern.split_first(), name.split_first()) {
            (None, None) => true,
            (Some((b'*', rest)), _) => {
                (0..=name.len()).any(|taken| by_definition(rest, &name[taken..]))
            }
            (Some((a, rest)), Some((b, tail))) => a == b && by_definition(rest, tail),
            (None, Some(_)) | (Some(_), None) => false,
        }
    }
}
