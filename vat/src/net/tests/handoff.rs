//! References handed over between three vats, over real TLS sockets.

use std::time::Duration;

use tempfile::TempDir;

use super::credentials;
use super::peers::{Sum, TallyRef, run, until};
use crate::Vat;
use crate::net::driver::Driver;
use crate::net::{Dialing, Listener, Peers, Stream};
use crate::prelude::*;
use crate::sturdy::{Address, Exposures, RestorerRef, SturdyRef, SwissNumber};

/// Keeps a tally that somebody gave, and adds to it.
#[vat::interface]
trait Keeper {
    fn keep(&mut self, turn: &Turn, tally: TallyRef) -> Result<()>;
    fn add(&self, turn: &Turn, by: u64) -> Result<Promise<u64>>;
}

#[derive(Clone, Default, vat::Object)]
struct Pocket(Option<TallyRef>);

impl Keeper for Pocket {
    fn keep(&mut self, _turn: &Turn, tally: TallyRef) -> Result<()> {
        self.0 = Some(tally);
        Ok(())
    }

    fn add(&self, _turn: &Turn, by: u64) -> Result<Promise<u64>> {
        let tally = self.0.as_ref().ok_or_else(|| Error::failed("nothing"))?;
        Ok(tally.add(by))
    }
}

/// A vat at a socket of its own.
struct Node {
    driver: Driver,
    peers: Peers,
    address: Address,
}

impl Node {
    /// The vat with key `number`; its one exposed reference is a keeper or a tally.
    fn start(number: u8, dir: &TempDir, dialing: Dialing, keeper: bool) -> Self {
        let driver = Driver::new(Vat::new(crate::VatConfig::new(format!("node {number}"))));
        let restorer = driver.vat().turn(|turn| {
            let mut exposures = Exposures::default();
            let exposed: Ref = match keeper {
                true => KeeperRef::new(turn, Pocket::default()).into(),
                false => TallyRef::new(turn, Sum(0)).into(),
            };
            exposures.expose(&swiss(), exposed);
            Ok(RestorerRef::new(turn, exposures))
        });
        let bootstrap = Some(restorer.unwrap().into());
        let peers = Peers::new(driver.clone(), credentials(number), bootstrap, dialing);
        let address = Address::unix(dir.path().join(format!("{number}"))).unwrap();
        let Address::Unix(path) = &address else {
            panic!("a Unix address")
        };
        let listener = Listener::bind_unix(path).unwrap();
        peers.set_addresses(std::slice::from_ref(&address));
        let serving = peers.clone();
        tokio::task::spawn_local(async move {
            loop {
                let socket = listener.accept().await.unwrap().into_descriptor().unwrap();
                let peers = serving.clone();
                tokio::task::spawn_local(async move {
                    let accepted = Stream::accept_tls(socket, Vec::new(), peers.acceptor()).await;
                    let (stream, peer) = accepted.unwrap();
                    peers.accepted(stream, peer).await;
                });
            }
        });
        Self {
            driver,
            peers,
            address,
        }
    }

    async fn enliven(&self, other: &Self) -> Ref {
        let addresses = [other.address.clone()];
        let sturdy = SturdyRef::new(other.peers.id(), swiss(), addresses).unwrap();
        self.peers.enliven(&sturdy).await.unwrap().reference
    }

    fn knows(&self, other: &Self) -> bool {
        self.peers.connected(other.peers.id()).is_some()
    }

    /// Closes the connection to another vat.
    async fn leave(&self, other: &Self) {
        let connection = self.peers.connected(other.peers.id()).unwrap();
        connection.close();
        connection.gone().await;
    }
}

fn swiss() -> SwissNumber {
    SwissNumber::from_bytes([7; 16])
}

struct Trio {
    gifter: Node,
    recipient: Node,
    exporter: Node,
    _dir: TempDir,
}

impl Trio {
    fn start(recipient_dials: Dialing) -> Self {
        let dir = TempDir::new().unwrap();
        Self {
            gifter: Node::start(1, &dir, Dialing::ambient_network(), false),
            recipient: Node::start(2, &dir, recipient_dials, true),
            exporter: Node::start(3, &dir, Dialing::nobody(), false),
            _dir: dir,
        }
    }

    /// The gifter's reference to the keeper, to which it has given the tally.
    async fn give(&self) -> KeeperRef {
        let keeper = KeeperRef::from(self.gifter.enliven(&self.recipient).await);
        let tally = TallyRef::from(self.gifter.enliven(&self.exporter).await);
        keeper.keep(tally).await.unwrap();
        keeper
    }
}

#[test]
fn a_reference_that_was_given_works_after_the_gifter_is_gone() {
    run(async {
        let trio = Trio::start(Dialing::ambient_network());
        let keeper = trio.give().await;
        assert!(
            !trio.recipient.knows(&trio.exporter),
            "not before it is used"
        );
        assert_eq!(keeper.add(2).await.unwrap(), 2);
        assert!(trio.recipient.knows(&trio.exporter));
        assert_eq!(keeper.add(3).await.unwrap(), 5);
        drop(keeper);
        let own = KeeperRef::from(trio.recipient.enliven(&trio.recipient).await);
        trio.gifter.leave(&trio.exporter).await;
        trio.gifter.leave(&trio.recipient).await;
        until("the gifter is gone", || !trio.recipient.knows(&trio.gifter)).await;
        assert_eq!(own.add(4).await.unwrap(), 9);
    });
}

#[test]
fn a_vat_that_must_not_dial_uses_what_it_was_given_through_the_gifter() {
    run(async {
        let trio = Trio::start(Dialing::nobody());
        let keeper = trio.give().await;
        for (by, sum) in [(2, 2), (3, 5)] {
            assert_eq!(keeper.add(by).await.unwrap(), sum);
        }
        assert!(!trio.recipient.knows(&trio.exporter));
        trio.gifter.leave(&trio.exporter).await;
        let lost = keeper.add(1).await.unwrap_err();
        assert_eq!(lost.kind(), ErrorKind::Disconnected);
    });
}

#[test]
fn an_exporter_that_is_not_told_of_a_gift_ends_the_wait_for_it() {
    run(async {
        let trio = Trio::start(Dialing::ambient_network());
        let node = trio.exporter.driver.vat();
        node.engine(|engine| assert_eq!(engine.deadline(), None));
        // A gift whose Provide never arrives: the gifter's connection ends before.
        let keeper = KeeperRef::from(trio.gifter.enliven(&trio.recipient).await);
        let tally = TallyRef::from(trio.gifter.enliven(&trio.exporter).await);
        let own = KeeperRef::from(trio.recipient.enliven(&trio.recipient).await);
        keeper.keep(tally).await.unwrap();
        trio.gifter.leave(&trio.exporter).await;
        until("the exporter knows", || !trio.exporter.knows(&trio.gifter)).await;
        let waited = tokio::time::Instant::now();
        let error = own.add(1).await.unwrap_err();
        assert!(
            waited.elapsed() < Duration::from_secs(5),
            "a gift that ended fails at once"
        );
        assert!(error.to_string().contains("taken the gift back"), "{error}");
    });
}
