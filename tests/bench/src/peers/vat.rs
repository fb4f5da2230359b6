//! A vat program, against the public library.

use std::os::fd::OwnedFd;
use std::path::Path;

use tokio::net::UnixListener;
use vat::Vat;
use vat::net::driver::{Attach, Connection, Driver};
use vat::net::{Credentials, Socket, Stream};
use vat::prelude::*;
use vat::sturdy::{Identity, Seed};

use super::{Client, References};

/// The same interface as in `bench.capnp`.
#[vat::interface(id = 0xe1c7a2905b3d4f68)]
pub trait Bench {
    fn number(&self, turn: &Turn, value: u64) -> Result<u64>;
    fn bytes(&self, turn: &Turn, value: Vec<u8>) -> Result<Vec<u8>>;
    fn next(&self, turn: &Turn) -> Result<BenchRef>;
    fn many(&self, turn: &Turn, count: u32) -> Result<Vec<BenchRef>>;
}

#[derive(Clone, vat::Object)]
pub(super) struct Object;

impl Bench for Object {
    fn number(&self, _: &Turn, value: u64) -> Result<u64> {
        Ok(value)
    }

    fn bytes(&self, _: &Turn, value: Vec<u8>) -> Result<Vec<u8>> {
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

pub async fn serve(listener: UnixListener, connections: usize, tls: bool) {
    let driver = Driver::new(Vat::new("server"));
    let object = driver
        .vat()
        .turn(|turn| Ok(BenchRef::new(turn, Object)))
        .expect("a turn");
    let acceptor = credentials(1).acceptor();
    let mut open = Vec::new();
    for _ in 0..connections {
        let (stream, _) = listener.accept().await.expect("a connection");
        let descriptor: OwnedFd = stream.into_std().expect("a socket").into();
        let bootstrap = Some(object.clone().into());
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

    async fn bytes(&self, value: Vec<u8>) -> Vec<u8> {
        self.bench.bytes(value).await.expect("an answer")
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
