//! Tests of the streams, and what they share.
#![expect(
    clippy::cast_possible_truncation,
    reason = "numbers of the tests are small"
)]

mod bad_peers;
mod client_hello;
mod descriptors;
mod handoff;
mod handshake;
mod inherited;
mod listener;
mod peers;
mod python;
mod redaction;

use std::{os::fd::OwnedFd, os::unix::net::UnixStream};

use super::{Credentials, PeerInfo, Progress, Stream};
use crate::sturdy::{Identity, Seed};

/// The same vat for the same number, every time.
fn identity(number: u8) -> Identity {
    Identity::from_seed(&Seed::from_bytes([number; 32]))
}

fn credentials(number: u8) -> Credentials {
    Credentials::new(&identity(number)).unwrap()
}

fn socket_pair() -> (OwnedFd, OwnedFd) {
    let (left, right) = UnixStream::pair().unwrap();
    (left.into(), right.into())
}

/// Vat 1, called by vat 2, with what each learnt about the other.
async fn tls_pair() -> ((Stream, PeerInfo), (Stream, PeerInfo)) {
    let (left, right) = socket_pair();
    let (acceptor, connector) = (
        credentials(1).acceptor(),
        credentials(2).connector(identity(1).id()),
    );
    let (accepted, connected) = tokio::join!(
        Stream::accept_tls(left, Vec::new(), &acceptor),
        Stream::connect_tls(right, &connector),
    );
    (accepted.unwrap(), connected.unwrap())
}

fn plain_pair() -> (Stream, Stream) {
    let (left, right) = socket_pair();
    let plain = |end| Stream::plain(super::Socket::from_descriptor(end).unwrap()).unwrap();
    (plain(left), plain(right))
}

fn passing_pair() -> (Stream, Stream) {
    let (left, right) = socket_pair();
    (
        Stream::from_socketpair(left).unwrap(),
        Stream::from_socketpair(right).unwrap(),
    )
}

/// Receives until the peer sends no more, sending what is queued meanwhile.
async fn drain(stream: &mut Stream) -> std::io::Result<Vec<u8>> {
    let mut all = Vec::new();
    let mut buffer = vec![0; 5000];
    loop {
        match stream.progress(&mut buffer).await? {
            Progress::Flushed => {}
            Progress::Received(piece) if piece.bytes == 0 => return Ok(all),
            Progress::Received(piece) => all.extend_from_slice(&buffer[..piece.bytes]),
        }
    }
}
