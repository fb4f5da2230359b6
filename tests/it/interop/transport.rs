//! Sockets between our side and the other: Unix, or TCP with TLS.

use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use vat::net::driver::{Attach, Connection};
use vat::net::{Credentials, Socket, Stream};
use vat::sturdy::{Address, Identity, Seed, VatId};

use super::ours::Ours;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Transport {
    Unix,
    Tls,
}

/// Who somebody is.
pub(super) struct Person(u8);

pub(super) const OURS: Person = Person(1);
pub(super) const THEIRS: Person = Person(2);

impl Person {
    fn seed(&self) -> Seed {
        Seed::from_bytes([self.0; 32])
    }

    pub(super) fn credentials(&self) -> Credentials {
        Credentials::new(&Identity::from_seed(&self.seed())).unwrap()
    }

    pub(super) fn id(&self) -> VatId {
        Identity::from_seed(&self.seed()).id()
    }

    /// The private key as other libraries read it: PKCS #8, version 1.
    pub(super) fn key(&self) -> Vec<u8> {
        let mut key = vec![
            0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20,
        ];
        key.extend(self.seed().derive("identity").expose());
        key
    }
}

/// Where one side listens.
#[derive(Clone, Debug)]
pub(super) enum Place {
    Unix(PathBuf),
    Tcp(u16),
}

/// A socket that listens.
pub(super) enum Listening {
    Unix(UnixListener, PathBuf),
    Tcp(TcpListener),
}

impl Listening {
    pub(super) fn new(transport: Transport, directory: &Path) -> Self {
        match transport {
            Transport::Unix => {
                let path = directory.join("socket");
                Self::Unix(UnixListener::bind(&path).unwrap(), path)
            }
            Transport::Tls => Self::Tcp(TcpListener::bind("127.0.0.1:0").unwrap()),
        }
    }

    pub(super) fn place(&self) -> Place {
        match self {
            Self::Unix(_, path) => Place::Unix(path.clone()),
            Self::Tcp(listener) => Place::Tcp(listener.local_addr().unwrap().port()),
        }
    }

    pub(super) fn accept(&self) -> OwnedFd {
        match self {
            Self::Unix(listener, _) => listener.accept().unwrap().0.into(),
            Self::Tcp(listener) => listener.accept().unwrap().0.into(),
        }
    }
}

impl Place {
    pub(super) fn connect(&self) -> OwnedFd {
        match self {
            Self::Unix(path) => UnixStream::connect(path).unwrap().into(),
            Self::Tcp(port) => TcpStream::connect(("127.0.0.1", *port)).unwrap().into(),
        }
    }
}

/// The socket becomes a connection on which we are called.
pub(super) async fn accepted(ours: &Ours, socket: OwnedFd, transport: Transport) -> Connection {
    accepted_with(ours, socket, transport, captp::Limits::default()).await
}

/// The same, with these limits.
pub(super) async fn accepted_with(
    ours: &Ours,
    socket: OwnedFd,
    transport: Transport,
    limits: captp::Limits,
) -> Connection {
    let root = Some(ours.root.clone().into());
    match transport {
        Transport::Unix => {
            let attach = Attach::plain(root).with_limits(limits);
            ours.driver.attach(plain(socket), attach)
        }
        Transport::Tls => {
            let acceptor = OURS.credentials().acceptor();
            let accepted = Stream::accept_tls(socket, Vec::new(), &acceptor).await;
            let (stream, peer) = accepted.unwrap();
            assert_eq!(peer.id, THEIRS.id());
            let attach = Attach::network(root, peer.vat_protocol).with_limits(limits);
            ours.driver.attach(stream, attach)
        }
    }
}

/// A connection on which we call. Over TLS it is the second one: the first asks for raw keys, which
/// the other side does not know.
pub(super) async fn connected(ours: &Ours, place: &Place) -> Connection {
    match place {
        Place::Unix(_) => {
            let stream = plain(place.connect());
            ours.driver.attach(stream, Attach::plain(None))
        }
        Place::Tcp(port) => {
            let address = Address::tcp("127.0.0.1", *port).unwrap();
            let connector = OURS.credentials().connector(THEIRS.id());
            let (stream, peer) = Stream::connect(&[address], &connector).await.unwrap();
            let attach = Attach::network(None, peer.vat_protocol);
            ours.driver.attach(stream, attach)
        }
    }
}

fn plain(socket: OwnedFd) -> Stream {
    Stream::plain(Socket::from_descriptor(socket).unwrap()).unwrap()
}

/// Runs one test on a runtime of its own.
pub(super) fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, test);
}
