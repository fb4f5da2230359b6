//! Tests of the streams, and what they share.
#![expect(
    clippy::cast_possible_truncation,
    reason = "numbers of the tests are small"
)]

mod bad_peers;
mod client_hello;
mod descriptors;
mod edge;
mod handoff;
mod handshake;
mod inherited;
mod listener;
mod peers;
mod python;
mod raw_keys;
mod redaction;
mod siblings;
mod tcp;
mod unix;

use std::{
    future::poll_fn,
    io,
    ops::{Deref, DerefMut},
    os::fd::OwnedFd,
    os::unix::net::UnixStream,
    rc::Rc,
    task::{Context, Poll},
};

use captp::Transmit;

use super::{Credentials, PeerInfo, Received, Stream};
use crate::sturdy::{Identity, Seed};

/// A stream with what is to be sent on it.
#[derive(Debug)]
struct Queued {
    stream: Stream,
    out: Transmit,
}

/// What [`Queued::progress`] achieved.
#[derive(Debug)]
enum Progress {
    /// Something arrived, or the peer sends no more.
    Received(Received),
    /// All that was queued is sent.
    Flushed,
}

impl From<Stream> for Queued {
    fn from(stream: Stream) -> Self {
        Self {
            stream,
            out: Transmit::new(),
        }
    }
}

impl Deref for Queued {
    type Target = Stream;

    fn deref(&self) -> &Stream {
        &self.stream
    }
}

impl DerefMut for Queued {
    fn deref_mut(&mut self) -> &mut Stream {
        &mut self.stream
    }
}

impl Queued {
    fn queue(&mut self, bytes: &[u8], descriptors: Vec<OwnedFd>) {
        let descriptors: Vec<_> = descriptors.into_iter().map(Rc::new).collect();
        self.out.queue(bytes, &descriptors);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some((run, descriptors)) = self.out.head() {
            match self.stream.poll_send(cx, run, descriptors) {
                Poll::Ready(Ok(count)) => self.out.advance(count),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
        self.stream.poll_flush(cx)
    }

    async fn flush(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll(cx)).await
    }

    /// Sends and receives at the same time.
    async fn progress(&mut self, buffer: &mut [u8]) -> io::Result<Progress> {
        poll_fn(|cx| {
            let waiting = !self.out.is_empty();
            if self.poll(cx)?.is_ready() && waiting {
                return Poll::Ready(Ok(Progress::Flushed));
            }
            self.stream.poll_recv(cx, buffer).map_ok(Progress::Received)
        })
        .await
    }

    async fn close(mut self) -> io::Result<()> {
        self.flush().await?;
        self.stream.close().await
    }
}

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
async fn tls_pair() -> ((Queued, PeerInfo), (Queued, PeerInfo)) {
    let (left, right) = socket_pair();
    let (acceptor, connector) = (
        credentials(1).acceptor(),
        credentials(2).connector(identity(1).id()),
    );
    let (accepted, connected) = tokio::join!(
        Stream::accept_tls(left, Vec::new(), &acceptor),
        Stream::connect_tls(right, &connector),
    );
    let (accepted, connected) = (accepted.unwrap(), connected.unwrap());
    (
        (accepted.0.into(), accepted.1),
        (connected.0.into(), connected.1),
    )
}

fn plain_pair() -> (Queued, Queued) {
    let (left, right) = socket_pair();
    let plain = |end| Stream::plain(super::Socket::from_descriptor(end).unwrap()).unwrap();
    (plain(left).into(), plain(right).into())
}

fn passing_pair() -> (Queued, Queued) {
    let (left, right) = socket_pair();
    (
        Stream::from_socketpair(left).unwrap().into(),
        Stream::from_socketpair(right).unwrap().into(),
    )
}

/// Receives until the peer sends no more, sending what is queued meanwhile.
async fn drain(stream: &mut Queued) -> io::Result<Vec<u8>> {
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
