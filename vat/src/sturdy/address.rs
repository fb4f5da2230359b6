//! Where a vat may be reached: TCP and Unix socket addresses in their one canonical text form.

use std::{
    ffi::OsStr,
    fmt,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    num::NonZeroU16,
    os::unix::ffi::OsStrExt,
    path::Path,
    str::{self, FromStr},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Where a vat may be reached: a hint, which authorises nothing and proves nothing.
///
/// As text: `host:port`, with an IPv6 address in brackets, or `unix:/path`. Every value has exactly
/// one text. In a path every byte but letters, digits, `-`, `.`, `_`, `~` and `/` is written as `%`
/// and two upper-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(
    clippy::exhaustive_enums,
    reason = "whoever connects must handle every kind"
)]
pub enum Address {
    /// A TCP port of a machine.
    Tcp {
        /// The machine.
        host: Host,
        /// The port; port 0 is no place to connect to.
        port: NonZeroU16,
    },
    /// A Unix socket with a name in the file system.
    Unix(UnixPath),
}

impl Address {
    /// The address of a Unix socket.
    ///
    /// # Errors
    ///
    /// See [`UnixPathError`].
    pub fn unix(path: impl AsRef<Path>) -> Result<Self, AddressError> {
        Ok(Self::Unix(UnixPath::new(path.as_ref())?))
    }

    /// The address of a TCP port.
    ///
    /// # Errors
    ///
    /// When `host` is neither an IP address nor a host name, or the port is 0.
    pub fn tcp(host: &str, port: u16) -> Result<Self, AddressError> {
        let port = NonZeroU16::new(port).ok_or(AddressError::Port)?;
        Ok(Self::Tcp {
            host: Host::new(host)?,
            port,
        })
    }

    /// Whether it can be reached from other machines (a TCP address).
    pub fn is_network(&self) -> bool {
        matches!(self, Self::Tcp { .. })
    }

    pub(super) fn parse_tcp(text: &str) -> Result<Self, AddressError> {
        let (host, port) = text.rsplit_once(':').ok_or(AddressError::Port)?;
        let host = match host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
        {
            Some(ip) => ip.parse().map(Host::from_ipv6).map_err(|_| HostError::Ip)?,
            None if host.parse::<Ipv6Addr>().is_ok() => return Err(HostError::Brackets.into()),
            None if host.contains(':') => return Err(HostError::Name.into()),
            None => Host::new(host)?,
        };
        let address = Self::Tcp {
            host,
            port: parse_port(port)?,
        };
        // An IPv6 address has many spellings.
        if address.to_string() == text {
            Ok(address)
        } else {
            Err(HostError::Ip.into())
        }
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        match text.strip_prefix("unix:") {
            Some(path) => Ok(Self::Unix(UnixPath::parse(path)?)),
            None => Self::parse_tcp(text),
        }
    }
}

impl TryFrom<SocketAddr> for Address {
    type Error = AddressError;

    /// Fails for port 0. An IPv6 scope, which has no meaning on another machine, is left out.
    fn try_from(address: SocketAddr) -> Result<Self, AddressError> {
        let host = match address {
            SocketAddr::V4(v4) => Host(v4.ip().to_string().into()),
            SocketAddr::V6(v6) => Host::from_ipv6(*v6.ip()),
        };
        let port = NonZeroU16::new(address.port()).ok_or(AddressError::Port)?;
        Ok(Self::Tcp { host, port })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.is_ipv6() => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{path}"),
        }
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// A host name in lower case, or an IP address (IPv6 without brackets).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Host(Box<str>);

impl Host {
    /// The host with this name or IP address, in its canonical form.
    ///
    /// # Errors
    ///
    /// When it is neither.
    pub fn new(text: &str) -> Result<Self, HostError> {
        if text.contains(':') {
            let ip: Ipv6Addr = text.parse().map_err(|_| HostError::Ip)?;
            return Ok(Self::from_ipv6(ip)).and_then(|host| host.if_spelled(text));
        }
        if ends_in_a_number(text) {
            // Also what resolvers take for an IPv4 address: "127.1", "0x7f000001".
            let ip: Ipv4Addr = text.parse().map_err(|_| HostError::Ip)?;
            return Self(ip.to_string().into()).if_spelled(text);
        }
        // `unix:1` would read as the path of a socket.
        let is_name = text.len() <= 253 && text.split('.').all(is_label) && text != "unix";
        if is_name {
            Ok(Self(text.into()))
        } else {
            Err(HostError::Name)
        }
    }

    /// The name or address as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn from_ipv6(ip: Ipv6Addr) -> Self {
        Self(ip.to_string().into())
    }

    fn if_spelled(self, text: &str) -> Result<Self, HostError> {
        if &*self.0 == text {
            Ok(self)
        } else {
            Err(HostError::Ip)
        }
    }

    fn is_ipv6(&self) -> bool {
        self.0.contains(':')
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Host({self})")
    }
}

/// The path of a Unix socket: absolute, with no `.`, `..` or empty component, and short enough for
/// the kernel (at most 107 bytes).
///
/// `Display` shows it percent-encoded, as it stands in a URI.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixPath(Box<[u8]>);

impl UnixPath {
    /// Most bytes of the path of a Unix socket, enforced by the kernel.
    pub const MAX_LEN: usize = 107;

    /// The socket at `path`.
    ///
    /// # Errors
    ///
    /// When the path has not the form that the type's documentation says.
    pub fn new(path: &Path) -> Result<Self, UnixPathError> {
        Self::from_bytes(path.as_os_str().as_bytes())
    }

    /// The path as the file system knows it.
    pub fn as_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.0))
    }

    fn from_bytes(path: &[u8]) -> Result<Self, UnixPathError> {
        let components = path.strip_prefix(b"/").ok_or(UnixPathError::Relative)?;
        if path.len() > Self::MAX_LEN {
            return Err(UnixPathError::TooLong);
        }
        let is_plain = |name: &[u8]| !matches!(name, b"" | b"." | b"..") && !name.contains(&0);
        if !components.split(|&byte| byte == b'/').all(is_plain) {
            return Err(UnixPathError::Component);
        }
        Ok(Self(path.into()))
    }

    /// Reads a percent-encoded path, each byte of which must be written as [`fmt::Display`] does.
    fn parse(text: &str) -> Result<Self, UnixPathError> {
        let mut path = Vec::with_capacity(text.len().min(Self::MAX_LEN));
        let mut rest = text.as_bytes();
        while let [byte, tail @ ..] = rest {
            (path, rest) = match (byte, tail) {
                (b'%', [high, low, tail @ ..]) => {
                    let byte = hex_digit(*high)? << 4 | hex_digit(*low)?;
                    if is_written_plainly(byte) {
                        return Err(UnixPathError::Encoding);
                    }
                    path.push(byte);
                    (path, tail)
                }
                _ if is_written_plainly(*byte) => {
                    path.push(*byte);
                    (path, tail)
                }
                _ => return Err(UnixPathError::Encoding),
            };
        }
        Self::from_bytes(&path)
    }
}

impl fmt::Display for UnixPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for &byte in &self.0 {
            if is_written_plainly(byte) {
                write!(f, "{}", char::from(byte))?;
            } else {
                write!(f, "%{byte:02X}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for UnixPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UnixPath({self})")
    }
}

/// Why a text is not an [`Address`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[expect(clippy::exhaustive_enums, reason = "deliberately closed")]
pub enum AddressError {
    /// The part before the port.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The port is missing, 0, too large, or has needless zeros.
    #[error("an address needs a port from 1 to 65535 after a `:`")]
    Port,
    /// The path of a Unix socket.
    #[error(transparent)]
    Unix(#[from] UnixPathError),
}

/// Why a text is not a [`Host`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[expect(clippy::exhaustive_enums, reason = "deliberately closed")]
pub enum HostError {
    /// Neither an IP address nor a name.
    #[error("a host name has labels of a-z, 0-9, `-` and `_`, in lower case, divided by dots")]
    Name,
    /// An IP address that is not one, or not in its shortest form.
    #[error("this is not an IP address in its canonical form (127.0.0.1, or ::1 in IPv6)")]
    Ip,
    /// An IPv6 address with a port but without brackets.
    #[error("an IPv6 address stands in brackets: [::1]:4000")]
    Brackets,
}

/// Why a path is not a [`UnixPath`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[expect(clippy::exhaustive_enums, reason = "deliberately closed")]
pub enum UnixPathError {
    /// It does not begin with `/`.
    #[error("the path of a Unix socket must be absolute")]
    Relative,
    /// It is longer than the kernel takes.
    #[error(
        "the path of a Unix socket is at most {} bytes long",
        UnixPath::MAX_LEN
    )]
    TooLong,
    /// It has a component that is `.`, `..` or empty, or contains a zero byte.
    #[error("the path of a Unix socket has no `.`, `..` or empty component and no zero byte")]
    Component,
    /// A byte is not written as it should be in a URI.
    #[error("in a path, write all but a-z, A-Z, 0-9, -._~/ as % and two hexadecimal digits (%20)")]
    Encoding,
}

fn parse_port(text: &str) -> Result<NonZeroU16, AddressError> {
    let is_canonical = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    if !is_canonical {
        return Err(AddressError::Port);
    }
    text.parse().map_err(|_| AddressError::Port)
}

fn is_label(label: &str) -> bool {
    let is_inner = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
    (1..=63).contains(&label.len())
        && label.bytes().all(is_inner)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// Whether resolvers may take the name for a number, and thus for an IPv4 address.
fn ends_in_a_number(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name);
    let hexadecimal = last.strip_prefix("0x");
    (!last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit()))
        || hexadecimal.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

fn is_written_plainly(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'/')
}

fn hex_digit(digit: u8) -> Result<u8, UnixPathError> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'A'..=b'F' => Ok(digit - b'A' + 10),
        _ => Err(UnixPathError::Encoding),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn canonical_addresses_read_back() {
        for text in [
            "example.com:4000",
            "db_1:1",
            "1e100.net:443",
            "127.0.0.1:65535",
            "[::1]:80",
            "[2001:db8::ff00:42:8329]:7447",
            "[::ffff:1.2.3.4]:1",
            "unix:/run/vat/a.sock",
            "unix:/tmp/with%20space%3F%26%23%25%C3%A4",
        ] {
            let address: Address = text
                .parse()
                .unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(address.to_string(), text);
        }
    }

    #[test]
    fn no_host_is_named_as_the_mark_of_a_socket_path() {
        assert_eq!(Address::tcp("unix", 1), Err(HostError::Name.into()));
        assert_eq!(Address::parse_tcp("unix:1"), Err(HostError::Name.into()));
        assert!(Address::tcp("unix.example", 1).is_ok());
    }

    #[test]
    fn other_spellings_are_refused() {
        for text in [
            "",
            ":",
            ":1",
            "a",
            "a:",
            "a:0",
            "a:01",
            "a:+1",
            "a:65536",
            "a: 1",
            "A.example:1",
            "a..b:1",
            ".a:1",
            "a.:1",
            "-a:1",
            "a-:1",
            "a b:1",
            "a@b:1",
            "127.1:1",
            "0x7f.1:1",
            "a.0x7f000001:1",
            "2130706433:1",
            "127.0.0.01:1",
            "256.0.0.1:1",
            "::1:80",
            "[::1]",
            "[::1]:",
            "[0::1]:80",
            "[::1%1]:80",
            "[127.0.0.1]:1",
            "[a]:1",
            "[::A]:1",
            "a/b:1",
            "unix:",
            "unix:a",
            "unix:/",
            "unix://a",
            "unix:/a/",
            "unix:/a/./b",
            "unix:/../a",
            "unix:/a b",
            "unix:/a%2fb",
            "unix:/a%2Fb",
            "unix:/%41",
            "unix:/a%00",
            "unix:/a%2",
            "unix:/a%",
            "unix:/%c3%a4",
            "unix:/ä",
            "UNIX:/a",
            "unix:/a?b",
            "unix:/a&b",
        ] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }

    #[test]
    fn unix_paths_have_the_length_that_the_kernel_takes() {
        let longest = format!("/{}", "a".repeat(106));
        assert!(Address::unix(&longest).is_ok());
        let error = Address::unix(longest + "a").unwrap_err();
        assert_eq!(error, AddressError::Unix(UnixPathError::TooLong));
    }

    #[test]
    fn socket_addresses_become_addresses() {
        let text = |address: &str| {
            Address::try_from(address.parse::<SocketAddr>().unwrap()).map(|a| a.to_string())
        };
        assert_eq!(text("127.0.0.1:80").unwrap(), "127.0.0.1:80");
        assert_eq!(text("[fe80::1%3]:80").unwrap(), "[fe80::1]:80");
        assert_eq!(text("[::1]:0"), Err(AddressError::Port));
    }

    proptest! {
        #[test]
        fn whatever_parses_prints_the_same(text in "(unix:)?[a-z0-9A-F.:%/\\[\\]_~ -]{0,24}") {
            if let Ok(address) = text.parse::<Address>() {
                prop_assert_eq!(address.to_string(), text);
            }
        }

        #[test]
        fn every_path_reads_back(
            names in proptest::collection::vec(proptest::collection::vec(1u8.., 1..9), 1..9),
        ) {
            let mut path = Vec::new();
            for name in names {
                path.push(b'/');
                path.extend(name);
            }
            if let Ok(address) = Address::unix(OsStr::from_bytes(&path)) {
                prop_assert!(address.to_string().is_ascii());
                prop_assert_eq!(address.to_string().parse(), Ok(address));
            }
        }

        #[test]
        fn ip_addresses_read_back(bits: u128, short: u32, port in 1u16..) {
            for ip in [Ipv6Addr::from_bits(bits).into(), Ipv4Addr::from_bits(short).into()] {
                let address = Address::try_from(SocketAddr::new(ip, port)).unwrap();
                prop_assert_eq!(address.to_string().parse(), Ok(address.clone()));
                prop_assert_eq!(Address::tcp(&ip.to_string(), port), Ok(address));
            }
        }
    }
}
