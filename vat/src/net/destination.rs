//! Where a power to dial may lead.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU16;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use crate::sturdy::{Address, AddressError, Host, UnixPath};

/// A destination, or a group of them, that a program may be allowed to dial.
///
/// As text:
///
/// | text | what it allows |
/// |---|---|
/// | `any` | every TCP address, but for the special ones below |
/// | `example.net`, `example.net:7447` | the host of this name, at any port or this one |
/// | `10.1.2.3`, `10.1.2.3:7447`, `[fd00::1]:7447` | this IP address |
/// | `10.0.0.0/8`, `fd00::/8` | the IP addresses with this prefix |
/// | `unix:/path` | this Unix socket |
///
/// Loopback, link-local, multicast and unspecified addresses are special: what answers there often
/// trusts everybody who can reach it. They are allowed only where the address itself, a prefix or
/// `localhost` is named; another name that leads to one of them does not help. A Unix socket is allowed only by its own
/// path, for the same reason: the process that dials is often trusted for whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "deliberately closed")]
pub enum Destination {
    /// Every TCP address that is not special.
    Any,
    /// A host by its name.
    Name {
        /// The name.
        host: Host,
        /// The one port, or any.
        port: Option<NonZeroU16>,
    },
    /// The IP addresses with a prefix.
    Net {
        /// The prefix, with zeros behind it.
        ip: IpAddr,
        /// How many bits of it count.
        bits: u8,
        /// The one port, or any.
        port: Option<NonZeroU16>,
    },
    /// A Unix socket.
    Unix(UnixPath),
}

impl Destination {
    /// Whether `host` is named here, so that it may be looked up.
    pub(super) fn names(&self, name: &Host, to: NonZeroU16) -> bool {
        match self {
            Self::Any => true,
            Self::Name { host, port } => host == name && port.is_none_or(|port| port == to),
            Self::Net { .. } | Self::Unix(_) => false,
        }
    }

    /// Whether this IP address may be dialled, to which `name` has led.
    pub(super) fn allows(&self, ip: IpAddr, to: NonZeroU16, name: Option<&Host>) -> bool {
        let ip = ip.to_canonical();
        match self {
            Self::Any => !is_special(ip),
            Self::Name { .. } => name.is_some_and(|name| {
                let is_local = name.as_str() == "localhost" && ip.is_loopback();
                self.names(name, to) && (is_local || !is_special(ip))
            }),
            Self::Net {
                ip: net,
                bits,
                port,
            } => has_prefix(ip, *net, *bits) && port.is_none_or(|port| port == to),
            Self::Unix(_) => false,
        }
    }

    /// Whether this Unix socket may be dialled.
    pub(super) fn allows_socket(&self, path: &UnixPath) -> bool {
        matches!(self, Self::Unix(allowed) if allowed == path)
    }
}

/// Whether what answers at such an address often trusts whoever can reach it, or nobody can.
fn is_special(ip: IpAddr) -> bool {
    if ip.is_loopback() || ip.is_unspecified() || ip.is_multicast() {
        return true;
    }
    match ip {
        // "This network" (0.0.0.0/8) leads to the machine itself.
        IpAddr::V4(ip) => ip.is_link_local() || ip.is_broadcast() || ip.octets()[0] == 0,
        IpAddr::V6(ip) => ip.is_unicast_link_local() || wraps_ipv4(ip),
    }
}

/// An IPv6 address that stands for an IPv4 address in a way that translators undo: which one, is
/// not looked at.
fn wraps_ipv4(ip: Ipv6Addr) -> bool {
    let compatible = ip.octets().starts_with(&[0; 12]);
    let translated = ip.segments().starts_with(&[0x64, 0xff9b]);
    let six_to_four = ip.segments()[0] == 0x2002;
    compatible || translated || six_to_four
}

fn has_prefix(ip: IpAddr, net: IpAddr, bits: u8) -> bool {
    match (ip, net) {
        (IpAddr::V4(ip), IpAddr::V4(net)) => {
            let differing = ip.to_bits() ^ net.to_bits();
            differing.leading_zeros() >= u32::from(bits)
        }
        (IpAddr::V6(ip), IpAddr::V6(net)) => {
            let differing = ip.to_bits() ^ net.to_bits();
            differing.leading_zeros() >= u32::from(bits)
        }
        _ => false,
    }
}

fn most_bits(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 32 } else { 128 }
}

impl FromStr for Destination {
    type Err = DestinationError;

    fn from_str(text: &str) -> Result<Self, DestinationError> {
        if text == "any" {
            return Ok(Self::Any);
        }
        if let Some((ip, bits)) = text.split_once('/')
            && !text.starts_with("unix:")
        {
            return net(ip, bits);
        }
        if let Ok(ip) = text.parse::<IpAddr>() {
            return Ok(Self::exact(ip, None));
        }
        if !text.contains(':') {
            let host = Host::new(text).map_err(AddressError::from)?;
            return Ok(Self::Name { host, port: None });
        }
        match text.parse()? {
            Address::Unix(path) => Ok(Self::Unix(path)),
            Address::Tcp { host, port } => Ok(match host.as_str().parse() {
                Ok(ip) => Self::exact(ip, Some(port)),
                Err(_) => Self::Name {
                    host,
                    port: Some(port),
                },
            }),
        }
    }
}

impl Destination {
    fn exact(ip: IpAddr, port: Option<NonZeroU16>) -> Self {
        let bits = most_bits(ip);
        Self::Net { ip, bits, port }
    }
}

fn net(ip: &str, bits: &str) -> Result<Destination, DestinationError> {
    let ip: IpAddr = ip.parse().map_err(|_| DestinationError::Prefix)?;
    let bits: u8 = bits.parse().map_err(|_| DestinationError::Prefix)?;
    let rest_is_zero = match ip {
        _ if bits > most_bits(ip) => false,
        IpAddr::V4(ip) => ip.to_bits().checked_shl(bits.into()).unwrap_or(0) == 0,
        IpAddr::V6(ip) => ip.to_bits().checked_shl(bits.into()).unwrap_or(0) == 0,
    };
    if !rest_is_zero {
        return Err(DestinationError::Prefix);
    }
    Ok(Destination::Net {
        ip,
        bits,
        port: None,
    })
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any"),
            Self::Name { host, port: None } => write!(f, "{host}"),
            Self::Name {
                host,
                port: Some(port),
            } => write!(f, "{host}:{port}"),
            Self::Net { ip, bits, port } => match (port, *bits == most_bits(*ip)) {
                (Some(port), _) if ip.is_ipv6() => write!(f, "[{ip}]:{port}"),
                (Some(port), _) => write!(f, "{ip}:{port}"),
                (None, true) => write!(f, "{ip}"),
                (None, false) => write!(f, "{ip}/{bits}"),
            },
            Self::Unix(path) => write!(f, "unix:{path}"),
        }
    }
}

impl Serialize for Destination {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Why a text is not a [`Destination`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[expect(clippy::exhaustive_enums, reason = "deliberately closed")]
pub enum DestinationError {
    /// Not a host, not a host and port, not a Unix socket.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// Not a prefix of IP addresses.
    #[error(
        "a prefix is an IP address with zeros behind the prefix, `/`, and how many bits count: 10.0.0.0/8"
    )]
    Prefix,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(destination: &str, address: &str) -> bool {
        let destination: Destination = destination.parse().unwrap();
        match address.parse().unwrap() {
            Address::Unix(path) => destination.allows_socket(&path),
            Address::Tcp { host, port } => {
                destination.allows(host.as_str().parse().unwrap(), port, None)
            }
        }
    }

    /// Whether `name` may be looked up and may then lead to `ip`.
    fn leads(destination: &str, name: &str, ip: &str) -> bool {
        let destination: Destination = destination.parse().unwrap();
        let (name, port) = (Host::new(name).unwrap(), NonZeroU16::new(80).unwrap());
        destination.names(&name, port) && destination.allows(ip.parse().unwrap(), port, Some(&name))
    }

    #[test]
    fn special_addresses_are_not_any_address() {
        for ordinary in [
            "192.0.2.1:1",
            "10.0.0.1:1",
            "[2001:db8::1]:1",
            "[fd00::1]:1",
        ] {
            assert!(allows("any", ordinary), "{ordinary}");
        }
        for special in [
            "127.0.0.1:1",
            "127.8.8.8:1",
            "0.0.0.0:1",
            "0.1.2.3:1",
            "169.254.169.254:80",
            "224.0.0.1:1",
            "255.255.255.255:1",
            "[::1]:1",
            "[::]:1",
            "[fe80::1]:1",
            "[ff02::1]:1",
            "[::ffff:127.0.0.1]:1",
            "[::ffff:169.254.169.254]:1",
            "[::7f00:1]:1",
            "[64:ff9b::7f00:1]:1",
            "[2002:7f00:1::]:1",
            "unix:/run/docker.sock",
        ] {
            assert!(!allows("any", special), "{special}");
        }
        assert!(leads("any", "example.net", "192.0.2.1"));
        assert!(!leads("any", "example.net", "127.0.0.1"));
        assert!(!leads("any", "localhost", "127.0.0.1"));
    }

    #[test]
    fn what_is_named_is_allowed_and_nothing_beside() {
        for (destination, yes, no) in [
            ("127.0.0.1:7447", "127.0.0.1:7447", "127.0.0.1:7448"),
            ("127.0.0.1", "127.0.0.1:7448", "127.0.0.2:7448"),
            ("10.0.0.0/8", "10.255.0.1:1", "11.0.0.1:1"),
            ("0.0.0.0/0", "127.0.0.1:1", "[::1]:1"),
            ("::/0", "[::1]:1", "127.0.0.1:1"),
            ("127.0.0.1", "[::ffff:127.0.0.1]:1", "[::1]:1"),
            ("[fd00::1]:5", "[fd00::1]:5", "[fd00::2]:5"),
            ("fd00::/8", "[fdff::1]:1", "[fc00::1]:1"),
            ("unix:/a/b", "unix:/a/b", "unix:/a/bc"),
        ] {
            assert!(allows(destination, yes), "{destination} {yes}");
            assert!(!allows(destination, no), "{destination} {no}");
        }
        assert!(leads("example.net", "example.net", "10.0.0.1"));
        assert!(leads("example.net:80", "example.net", "10.0.0.1"));
        assert!(!leads("example.net:81", "example.net", "10.0.0.1"));
        assert!(!leads("example.net", "www.example.net", "10.0.0.1"));
        assert!(!leads("example.net", "example.net", "169.254.169.254"));
        assert!(!leads("10.0.0.0/8", "example.net", "10.0.0.1"));
        assert!(leads("localhost", "localhost", "127.0.0.1"));
        assert!(!leads("localhost", "localhost", "169.254.169.254"));
        assert!(
            !allows("example.net", "10.0.0.1:80"),
            "a name is not an address"
        );
    }

    #[test]
    fn a_destination_has_one_text() {
        for text in [
            "any",
            "example.net",
            "example.net:80",
            "10.1.2.3",
            "10.1.2.3:7447",
            "10.0.0.0/8",
            "0.0.0.0/0",
            "fd00::1",
            "fd00::/8",
            "[fd00::1]:7447",
            "unix:/run/peer.sock",
        ] {
            let parsed: Destination = text.parse().unwrap();
            assert_eq!(parsed.to_string(), text);
        }
        for wrong in [
            "",
            "*",
            "*.example.net",
            "Example.net",
            "example.net:0",
            "example.net:65536",
            "10.0.0.1/8",
            "10.0.0.0/33",
            "10.0.0.0/8:80",
            "example.net/8",
            "127.1",
            "unix:relative",
            "unix:/a/../b",
            "http://example.net",
            "/run/peer.sock",
        ] {
            assert!(wrong.parse::<Destination>().is_err(), "{wrong}");
        }
    }
}
