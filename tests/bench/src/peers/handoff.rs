//! Three processes: a gifter that gives the recipient, who is the client, a reference to an object
//! of the exporter, who is the server.
//!
//! The recipient calls it over a connection of its own; or, where it may not dial, through the
//! gifter. All three speak TLS over Unix sockets, as vats do on any network.

use std::path::Path;
use std::time::Duration;

use vat::Vat;
use vat::net::driver::Driver;
use vat::net::{Credentials, Dialing, Listener, Peers, Stream};
use vat::prelude::*;
use vat::sturdy::{Address, Identity, Seed, UnixPath, VatId};

use super::vat::{BenchRef, Object};

/// What the gifter offers.
#[vat::interface(id = 0x9d1be6b2a1d04c57)]
pub trait Gifter {
    /// A reference to the exporter's object.
    fn give(&self, turn: &Turn) -> Result<BenchRef>;
}

#[derive(Clone, vat::Object)]
struct Giving(BenchRef);

impl Gifter for Giving {
    fn give(&self, _: &Turn) -> Result<BenchRef> {
        Ok(self.0.clone())
    }
}

const EXPORTER: u8 = 1;
const GIFTER: u8 = 2;
const RECIPIENT: u8 = 3;

fn identity(of: u8) -> Identity {
    Identity::from_seed(&Seed::from_bytes([of; 32]))
}

fn address(path: &Path) -> Address {
    Address::Unix(UnixPath::new(path).expect("a short path"))
}

/// The table of peers of one of the three.
fn peers(of: u8, driver: &Driver, bootstrap: Option<Ref>, dialing: Dialing) -> Peers {
    let credentials = Credentials::new(&identity(of)).expect("credentials");
    Peers::new(driver.clone(), credentials, bootstrap, dialing)
}

/// Answers at `path` until the process is killed.
async fn answer(peers: Peers, path: &Path) {
    let address = address(path);
    let Address::Unix(socket) = &address else {
        unreachable!("made of a path");
    };
    let listener = Listener::bind_unix(socket).expect("a socket");
    peers.set_addresses(std::slice::from_ref(&address));
    println!("ready");
    // Whoever may open the socket may connect as often as it likes.
    while let Ok(socket) = listener.accept().await {
        let descriptor = socket.into_descriptor().expect("a descriptor");
        let peers = peers.clone();
        tokio::task::spawn_local(async move {
            let stream = Stream::accept_tls(descriptor, Vec::new(), peers.acceptor()).await;
            let (stream, peer) = stream.expect("a handshake");
            peers.accepted(stream, peer).await;
        });
    }
}

async fn connected(peers: &Peers, to: VatId, path: &Path) -> vat::net::driver::Connection {
    match peers.connect(to, &[address(path)]).await {
        Ok(vat::net::Reached::Peer(connection)) => connection,
        other => panic!("no connection: {other:?}"),
    }
}

/// The server.
pub async fn export(path: &Path) {
    let driver = Driver::new(Vat::new("exporter"));
    let object = driver
        .vat()
        .turn(|turn| Ok(BenchRef::new(turn, Object)))
        .expect("a turn");
    let peers = peers(EXPORTER, &driver, Some(object.into()), Dialing::nobody());
    answer(peers, path).await;
}

/// The process in between.
pub async fn give(path: &Path, exporter: &Path) {
    let driver = Driver::new(Vat::new("gifter"));
    let (bootstrap, resolver) = driver
        .vat()
        .turn(|turn| Ok(turn.promise::<GifterRef>()))
        .expect("a turn");
    let dialing = Dialing::ambient_network();
    let peers = peers(GIFTER, &driver, Some(bootstrap.into()), dialing);
    let connection = connected(&peers, identity(EXPORTER).id(), exporter).await;
    let object = BenchRef::from(connection.bootstrap().expect("a live vat"));
    object.number(1).await.expect("an answer");
    let giving = driver
        .vat()
        .turn(|turn| Ok(GifterRef::new(turn, Giving(object))));
    resolver.resolve(Ok(giving.expect("a turn")));
    answer(peers, path).await;
}

/// The client.
pub struct Recipient {
    peers: Peers,
    gifter: GifterRef,
}

impl Recipient {
    /// `dials`: it may connect to those to whom it is introduced.
    pub async fn new(gifter: &Path, dials: bool) -> Self {
        let driver = Driver::new(Vat::new("recipient"));
        let peers = peers(RECIPIENT, &driver, None, Dialing::ambient_network());
        let connection = connected(&peers, identity(GIFTER).id(), gifter).await;
        if !dials {
            peers.set_dialing(Dialing::nobody());
        }
        let gifter = GifterRef::from(connection.bootstrap().expect("a live vat"));
        let recipient = Self { peers, gifter };
        recipient.introduction().await;
        assert_eq!(recipient.direct().is_some(), dials, "the way of the calls");
        recipient
    }

    /// Its own connection to the exporter.
    fn direct(&self) -> Option<vat::net::driver::Connection> {
        self.peers.connected(identity(EXPORTER).id())
    }

    /// Gets the reference, waits until it leads to the exporter, and calls it once: from the
    /// question to the gifter to the answer of the exporter. A call made before would be on its way
    /// through the gifter already.
    ///
    /// The exporter checks so many signatures in a second and no more; what is waited for that costs
    /// no processor time.
    pub async fn introduction(&self) -> BenchRef {
        let given = loop {
            let given = self.gifter.give();
            match given.settled().await {
                Ok(_) => break given,
                Err(error) if error.kind() == vat::ErrorKind::Overloaded => {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                Err(error) => panic!("no reference: {error}"),
            }
        };
        given.number(1).await.expect("an answer");
        given
    }

    /// Ends its connection to the exporter, so that the next introduction makes one.
    pub async fn part(&self) {
        if let Some(direct) = self.direct() {
            direct.close();
            direct.gone().await;
        }
    }
}
