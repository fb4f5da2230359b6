//! Where connections come from, as far as it tells one caller from another.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::net::{Peer, Socket};

/// Callers that count as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Source {
    /// All Unix sockets: whoever could open the socket's file.
    Local,
    V4(Ipv4Addr),
    /// The first 64 bits: as much as one customer usually has.
    V6(u64),
    /// The first 48 bits: as much as one organisation usually has, and so 65,536 of the above.
    Site(u64),
    /// All for which there was no room.
    Rest,
}

impl Source {
    /// What it is a part of, and is counted in as well.
    pub(super) const fn site(self) -> Option<Self> {
        match self {
            Self::V6(prefix) => Some(Self::Site(prefix >> 16)),
            Self::Local | Self::V4(_) | Self::Site(_) | Self::Rest => None,
        }
    }

    /// `None`: it has gone already.
    pub(super) fn of(socket: &Socket) -> Option<Self> {
        match socket.peer().ok()? {
            Peer::User(_) => Some(Self::Local),
            Peer::Network(address) => Some(Self::from(address.ip())),
        }
    }
}

impl From<IpAddr> for Source {
    fn from(ip: IpAddr) -> Self {
        // A socket that listens for both shows IPv4 callers as mapped addresses.
        match ip.to_canonical() {
            IpAddr::V4(ip) => Self::V4(ip),
            IpAddr::V6(ip) => Self::V6((ip.to_bits() >> 64) as u64),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Local => f.write_str("local sockets"),
            Self::V4(ip) => write!(f, "{ip}"),
            Self::V6(prefix) => write!(f, "{}/64", Ipv6Addr::from_bits(u128::from(prefix) << 64)),
            Self::Site(prefix) => {
                write!(f, "{}/48", Ipv6Addr::from_bits(u128::from(prefix) << 80))
            }
            Self::Rest => f.write_str("many networks"),
        }
    }
}
