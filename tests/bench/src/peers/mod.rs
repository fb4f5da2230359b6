//! The systems that are measured.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

#[cfg(feature = "peers")]
pub mod capnp;
pub mod floor;
pub mod handoff;
pub mod raw_tls;
#[cfg(feature = "peers")]
pub mod tarpc;
#[cfg(feature = "peers")]
pub mod tonic;
pub mod vat;

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Peer {
    Vat,
    /// With bulk data as `Vec<u8>`.
    VatCopied,
    VatTls,
    Capnp,
    Tarpc,
    Tonic,
    Floor,
    RawTls,
    /// A reference that a third process gave away, called directly.
    HandedOver,
    /// The same, called through that process.
    Proxied,
}

impl Peer {
    pub const ALL: [Self; 10] = [
        Self::Vat,
        Self::VatCopied,
        Self::VatTls,
        Self::Capnp,
        Self::Tarpc,
        Self::Tonic,
        Self::Floor,
        Self::RawTls,
        Self::HandedOver,
        Self::Proxied,
    ];

    /// How it is named on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Vat => "vat",
            Self::VatCopied => "vat-copied",
            Self::VatTls => "vat-tls",
            Self::Capnp => "capnp",
            Self::Tarpc => "tarpc",
            Self::Tonic => "tonic",
            Self::Floor => "floor",
            Self::RawTls => "raw-tls",
            Self::HandedOver => "handoff",
            Self::Proxied => "handoff-proxied",
        }
    }

    /// How it is named in the results.
    pub fn title(self) -> &'static str {
        match self {
            Self::Vat => "vat",
            Self::VatCopied => "vat, bytes as `Vec<u8>`",
            Self::VatTls => "vat over TLS",
            Self::Capnp => "capnp-rpc 0.27",
            Self::Tarpc => "tarpc 0.38 (bincode)",
            Self::Tonic => "tonic 0.14",
            Self::Floor => "floor (same bytes, no engine)",
            Self::RawTls => "raw TLS ping-pong (tokio-rustls)",
            Self::HandedOver => "handed over",
            Self::Proxied => "through the gifter",
        }
    }

    /// Whether a third process gives the client what it calls.
    pub fn has_gifter(self) -> bool {
        matches!(self, Self::HandedOver | Self::Proxied)
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Peer {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|peer| peer.name() == name);
        known.ok_or_else(|| format!("no such peer: {name}"))
    }
}

/// What a client of every peer can do.
pub trait Client: Clone + 'static {
    /// What bulk data is in its interface.
    type Data: From<Vec<u8>>;

    async fn connect(path: &Path) -> Self;
    /// One more connection, from the same program.
    async fn connect_again(&self, path: &Path) -> Self {
        Self::connect(path).await
    }
    /// Ends the connection.
    async fn close(self);
    async fn number(&self, value: u64) -> u64;
    /// Sends bytes and gives those back that were answered, or its own if the peer only shows the
    /// answer where it was received.
    async fn bytes(&self, value: Self::Data) -> Self::Data;
}

/// A client of a peer with references.
pub trait References: Client {
    type Reference: 'static;
    /// Calls `next` on what `next` gave, `length` times in one go, and then `number`.
    async fn chain(&self, length: usize) -> u64;
    /// That many references to different objects.
    async fn many(&self, count: u32) -> Vec<Self::Reference>;
}
