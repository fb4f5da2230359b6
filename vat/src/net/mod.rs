//! Streams that carry Cap'n Proto: descriptors beside frames, TLS, the driver.
//!
//! A [`Stream`] is one connection of a vat, in one of four kinds: the socket that a vat inherits
//! from its launcher, which passes descriptors and needs no encryption, as the kernel vouches for both
//! ends; one end of a pair that the launcher made for it and a sibling, without encryption and without
//! descriptors; TLS over TCP or a named Unix socket; and a plain Unix socket for local programs of the
//! same user. Everything here runs on tokio; what is confined never makes a socket itself, it gets
//! connected ones.

mod admission;
pub mod client;
pub mod client_hello;
mod descriptor;
mod destination;
mod dial;
pub mod driver;
mod handoff;
mod handshake;
mod host_network;
mod listener;
mod peers;
mod socket;
mod stream;
#[cfg(test)]
mod tests;
pub mod tls;
mod unix;

pub(crate) use self::peers::Asking;
pub use self::{
    admission::{Admission, AdmissionLimits, Refused},
    descriptor::MAX_DESCRIPTORS,
    destination::{Destination, DestinationError},
    dial::{AttemptError, ConnectError, DIAL_TIMEOUT, Dialing, dial},
    handshake::{HANDSHAKE_TIMEOUT, HandshakeError},
    host_network::ambient_network,
    listener::Listener,
    peers::{PeerError, Peers, Reached},
    socket::{KEEPALIVE, KEEPALIVE_PROBES, Peer, Socket},
    stream::{Received, Stream},
    tls::{Acceptor, Connector, Credentials, PeerInfo},
};
#[cfg(feature = "launch")]
pub(crate) use self::{
    admission::{Bucket, Full, Place, Rate, Refusals, Room, Ticket},
    handoff::new_session,
    host_network::network,
};
