//! A vat program, against the public library.

use std::os::fd::OwnedFd;
use std::path::Path;

use tokio::net::UnixListener;
use vat::net::driver::{Attach, Connection, Driver};
use vat::net::{Credentials, Socket, Stream};
use vat::prelude::*;
use vat::sturdy::{Identity, Seed};
use vat::{Bytes, Vat};

use super::{Client, Peer, References};

/// The same interface as in `bench.capnp`.
#[vat::interface(id = 0xe1c7a2905b3d4f68)]
pub trait Bench {
    fn number(&self, turn: &Turn, value: u64) -> Result<u64>;
    fn bytes(&self, turn: &Turn, value: Bytes) -> Result<Bytes>;
    fn next(&self, turn: &Turn) -> Result<BenchRef>;
    fn many(&self, turn: &Turn, count: u32) -> Result<Vec<BenchRef>>;
}

/// The same, with bytes that each side copies for itself.
#[vat::interface(id = 0xe1c7a2905b3d4f68)]
pub trait Copied {
    fn number(&self, turn: &Turn, value: u64) -> Result<u64>;
    fn bytes(&self, turn: &Turn, value: Vec<u8>) -> Result<Vec<u8>>;
}

#[derive(Clone, vat::Object)]
pub(super) struct Object;

impl Copied for Object {
    fn number(&self, _: &Turn, value: u64) -> Result<u64> {
        Ok(value)
    }

    fn bytes(&self, _: &Turn, value: Vec<u8>) -> Result<Vec<u8>> {
        Ok(value)
    }
}

impl Bench for Object {
    fn number(&self, _: &Turn, value: u64) -> Result<u64> {
        Ok(value)
    }

    fn bytes(&self, _: &Turn, value: Bytes) -> Result<Bytes> {
        Ok(value)
    }

    fn next(&self, turn: &Turn) -> Result<BenchRef> {
        Ok(BenchRef::new(turn, Self))
    }

    fn many(&self, turn: &Turn, count: u32) -> Result<Vec<BenchRef>> {
        Ok((0..count).map(|_| BenchRef::new(turn, Self)).collect())
    }
}

fn credentials(of: u8) -> Credentials {
    let identity = Identity::from_seed(&Seed::from_bytes([of; 32]));
    Credentials::new(&identity).expect("credentials")
}

pub async fn serve(listener: UnixListener, connections: usize, peer: Peer) {
    let tls = peer == Peer::VatTls;
    let driver = Driver::new(Vat::new("server"));
    let object = |turn: &Turn| {
        Ok(match peer {
            Peer::VatCopied => Ref::from(CopiedRef::new(turn, Object)),
            _ => Ref::from(BenchRef::new(turn, Object)),
        })
    };
    let object = driver.vat().turn(object).expect("a turn");
    let acceptor = credentials(1).acceptor();
    let mut open = Vec::new();
    for _ in 0..connections {
        let (stream, _) = listener.accept().await.expect("a connection");
        let descriptor: OwnedFd = stream.into_std().expect("a socket").into();
        let bootstrap = Some(object.clone());
        open.push(if tls {
            let (stream, peer) = Stream::accept_tls(descriptor, Vec::new(), &acceptor)
                .await
                .expect("a handshake");
            driver.attach(stream, Attach::network(bootstrap, peer.vat_protocol))
        } else {
            let socket = Socket::from_descriptor(descriptor).expect("a socket");
            let stream = Stream::plain(socket).expect("a Unix socket");
            driver.attach(stream, Attach::plain(bootstrap))
        });
    }
    for connection in open {
        connection.gone().await;
    }
}

/// Plain, or over TLS.
#[derive(Clone)]
pub struct Caller<const TLS: bool> {
    bench: BenchRef,
    driver: Driver,
    connection: Connection,
}

impl<const TLS: bool> Caller<TLS> {
    async fn on(driver: Driver, path: &Path) -> Self {
        let stream = tokio::net::UnixStream::connect(path).await;
        let stream = stream.and_then(tokio::net::UnixStream::into_std);
        let descriptor: OwnedFd = stream.expect("the server listens").into();
        let connection = if TLS {
            let server = Identity::from_seed(&Seed::from_bytes([1; 32])).id();
            let connector = credentials(2).connector(server);
            let (stream, peer) = Stream::connect_tls(descriptor, &connector)
                .await
                .expect("a handshake");
            driver.attach(stream, Attach::network(None, peer.vat_protocol))
        } else {
            let socket = Socket::from_descriptor(descriptor).expect("a socket");
            let stream = Stream::plain(socket).expect("a Unix socket");
            driver.attach(stream, Attach::plain(None))
        };
        let bench = BenchRef::from(connection.bootstrap().expect("a live vat"));
        Self {
            bench,
            driver,
            connection,
        }
    }
}

impl<const TLS: bool> Client for Caller<TLS> {
    type Data = Bytes;

    async fn connect(path: &Path) -> Self {
        Self::on(Driver::new(Vat::new("client")), path).await
    }

    async fn connect_again(&self, path: &Path) -> Self {
        Self::on(self.driver.clone(), path).await
    }

    async fn close(self) {
        drop(self.bench);
        self.connection.close();
        self.connection.gone().await;
    }

    async fn number(&self, value: u64) -> u64 {
        self.bench.number(value).await.expect("an answer")
    }

    async fn bytes(&self, value: Bytes) -> Bytes {
        self.bench.bytes(value).await.expect("an answer")
    }
}

/// Uses `Vec<u8>` for bytes.
#[derive(Clone)]
pub struct Copying(Caller<false>);

impl Client for Copying {
    type Data = Vec<u8>;

    async fn connect(path: &Path) -> Self {
        Self(Caller::connect(path).await)
    }

    async fn close(self) {
        self.0.close().await;
    }

    async fn number(&self, value: u64) -> u64 {
        self.0.number(value).await
    }

    async fn bytes(&self, value: Vec<u8>) -> Vec<u8> {
        let copied = CopiedRef::from(Ref::from(self.0.bench.clone()));
        copied.bytes(value).await.expect("an answer")
    }
}

impl<const TLS: bool> References for Caller<TLS> {
    type Reference = BenchRef;

    async fn chain(&self, length: usize) -> u64 {
        let mut object = self.bench.clone();
        for _ in 0..length {
            object = object.next();
        }
        object.number(7).await.expect("an answer")
    }

    async fn many(&self, count: u32) -> Vec<BenchRef> {
        self.bench.many(count).await.expect("an answer")
    }
}
