//! References handed over between three vats, over real TLS sockets.

use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

use tempfile::TempDir;

use super::credentials;
use super::peers::{Sum, TallyRef, run, until};
use crate::Vat;
use crate::net::driver::{Connection, Driver};
use crate::net::{Dialing, Listener, PeerInfo, Peers, Stream};
use crate::power::{Siblings, SiblingsRef, StreamRef};
use crate::prelude::*;
use crate::sturdy::{Address, Exposures, RestorerRef, SturdyRef, SwissNumber, VatId};

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
        let config = crate::VatConfig::new(format!("node {number}"))
            .with_engine(captp::Config::default().with_doubted_after(DOUBTED));
        let driver = Driver::new(Vat::new(config));
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

    /// The connection to another vat, and how many messages have come on it; `None` if somebody uses
    /// it.
    fn idle(&self, other: &Self) -> Option<(Connection, u64)> {
        let connection = self.peers.connected(other.peers.id())?;
        let (idle, stats) = self.driver.vat().engine(|engine| {
            let conn = connection.id();
            (engine.is_idle(conn), engine.stats(conn))
        });
        idle.then_some((connection, stats?.received))
    }

    /// What the watch does with a connection that nobody has used for long, and on which nothing has
    /// come since.
    fn close_if_still_idle(&self, other: &Self, before: Option<&(Connection, u64)>) {
        if let (Some((connection, now)), Some((old, then))) = (self.idle(other), before)
            && (connection.id(), now) == (old.id(), *then)
        {
            connection.close();
        }
    }

    /// Closes the connection to another vat.
    async fn leave(&self, other: &Self) {
        let connection = self.peers.connected(other.peers.id()).unwrap();
        connection.close();
        connection.gone().await;
    }
}

/// After so much silence a connection is asked whether it lives before it is used anew.
const DOUBTED: Duration = Duration::from_millis(20);

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

    /// The recipient and the exporter have one launcher, which connects them over socket pairs.
    fn of_siblings() -> Self {
        let trio = Self::start(Dialing::nobody());
        let way = Way {
            to: trio.exporter.peers.clone(),
            from: trio.recipient.peers.id(),
        };
        let launcher = trio
            .recipient
            .driver
            .vat()
            .turn(|turn| Ok(SiblingsRef::new(turn, way)));
        trio.recipient.peers.set_siblings(launcher.unwrap());
        trio
    }

    /// The recipient is given the tally again and again, after times in which nobody has used its
    /// connection to the exporter. While it uses what it was given these close it, as they do with one
    /// that was idle for long, as soon as the tasks have had `rounds` turns.
    async fn reach_while_closed_by(&self, close: &[(&Node, &Node)], rounds: usize) {
        let tally = TallyRef::from(self.gifter.enliven(&self.exporter).await);
        let before = tally.add(0).await.unwrap();
        let keeper = KeeperRef::from(self.gifter.enliven(&self.recipient).await);
        let own = KeeperRef::from(self.recipient.enliven(&self.recipient).await);
        for sum in 1..=2 {
            keeper.keep(tally.clone()).await.unwrap();
            tokio::time::sleep(2 * DOUBTED).await;
            let quiet: Vec<_> = close.iter().map(|(one, other)| one.idle(other)).collect();
            let connected = quiet.iter().all(Option::is_some);
            assert!(sum == 1 || connected, "nobody uses the connection");
            let reached = own.add(1);
            for _ in 0..rounds {
                tokio::task::yield_now().await;
            }
            for ((one, other), quiet) in close.iter().zip(&quiet) {
                one.close_if_still_idle(other, quiet.as_ref());
            }
            let reached = reached.await;
            assert_eq!(reached.ok(), Some(before + sum), "after {rounds} rounds");
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

/// A launcher, as this vat sees it.
#[derive(vat::Object)]
#[object(external)]
struct Way {
    to: Peers,
    from: VatId,
}

#[derive(vat::Object)]
#[object(external)]
struct Carrier;

impl vat::power::Stream for Carrier {}

impl Siblings for Way {
    async fn reach(this: Near<Self>, cx: &Cx, _introduction: Vec<u8>) -> Result<StreamRef> {
        let (to, id) = this.read(cx, |way| (way.to.clone(), way.from))?;
        let (one, other) = UnixStream::pair().map_err(Error::of)?;
        let stream = Stream::sibling(one.into()).map_err(Error::of)?;
        let vat_protocol = true;
        tokio::task::spawn_local(async move {
            to.accepted(stream, PeerInfo { id, vat_protocol }).await;
        });
        let carrier = StreamRef::from(&cx.spawn(Carrier));
        Ok(Ref::from(carrier).with_fd(Rc::new(other.into())).into())
    }
}

#[test]
fn a_connection_that_is_closed_for_want_of_use_is_made_anew_for_whoever_wants_it_just_then() {
    run(async {
        let over_tls = || Trio::start(Dialing::ambient_network());
        let starts: [fn() -> Trio; 2] = [over_tls, Trio::of_siblings];
        for start in starts {
            for rounds in 0..8 {
                let trio = start();
                let (recipient, exporter) = (&trio.recipient, &trio.exporter);
                let (there, here) = ((exporter, recipient), (recipient, exporter));
                for close in [&[there][..], &[here], &[here, there]] {
                    trio.reach_while_closed_by(close, rounds).await;
                }
            }
        }
    });
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
