//! The table of peers, over real TLS sockets: how many connections there are, and that no call is
//! lost.

use std::cell::Cell;
use std::future::Future;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::join_all;
use tempfile::TempDir;
use tokio::task::{JoinHandle, LocalSet};

use super::{credentials, identity};
use crate::Vat;
use crate::net::client::EnlivenError;
use crate::net::driver::{Connection, Driver};
use crate::net::{Dialing, Listener, PeerError, Peers, Reached, Stream, ambient_network};
use crate::prelude::*;
use crate::sturdy::{Address, Exposures, RestorerRef, SturdyRef, SwissNumber, VatId};

#[vat::interface]
pub(super) trait Tally {
    fn add(&mut self, turn: &Turn, by: u64) -> Result<u64>;
}

#[derive(Clone, vat::Object)]
pub(super) struct Sum(pub(super) u64);

impl Tally for Sum {
    fn add(&mut self, _turn: &Turn, by: u64) -> Result<u64> {
        self.0 += by;
        Ok(self.0)
    }
}

/// A vat on the network, which answers calls.
struct Node {
    driver: Driver,
    peers: Peers,
    address: Address,
    accepted: Rc<Cell<usize>>,
    serving: JoinHandle<()>,
}

fn swiss() -> SwissNumber {
    SwissNumber::from_bytes([7; 16])
}

impl Node {
    /// The vat with key `number`, which exposes a `Sum` under [`swiss`].
    fn start(number: u8, listener: Listener) -> Self {
        let driver = Driver::new(Vat::new(crate::VatConfig::new(format!("node {number}"))));
        let restorer = driver.vat().turn(|turn| {
            let mut exposures = Exposures::default();
            exposures.expose(&swiss(), TallyRef::new(turn, Sum(0)).into());
            Ok(RestorerRef::new(turn, exposures))
        });
        let peers = Peers::new(
            driver.clone(),
            credentials(number),
            Some(restorer.unwrap().into()),
            Dialing::ambient_network(),
        );
        let address = listener.local_address().unwrap();
        let (serving, accepted) = (peers.clone(), Rc::<Cell<usize>>::default());
        let count = accepted.clone();
        let serving = tokio::task::spawn_local(async move {
            // Aborted with this task.
            let mut callers = tokio::task::JoinSet::new();
            loop {
                let socket = listener.accept().await.unwrap().into_descriptor().unwrap();
                let (peers, count) = (serving.clone(), count.clone());
                callers.spawn_local(async move {
                    let accepted = Stream::accept_tls(socket, Vec::new(), peers.acceptor()).await;
                    if let Ok((stream, peer)) = accepted {
                        count.set(count.get() + 1);
                        peers.accepted(stream, peer).await;
                    }
                });
            }
        });
        Self {
            driver,
            peers,
            address,
            accepted,
            serving,
        }
    }

    async fn tcp(number: u8) -> Self {
        Self::start(number, tcp("127.0.0.1:0").await)
    }

    /// Ends it as a process ends: without a word.
    async fn stop(self) {
        self.serving.abort();
        drop(self.serving.await);
        let end = self.driver.downgrade();
        drop((self.driver, self.peers));
        assert!(!end.is_driven(), "somebody still drives it");
    }

    fn id(&self) -> VatId {
        self.peers.id()
    }

    fn sturdy(&self) -> SturdyRef {
        SturdyRef::new(self.id(), swiss(), [self.address.clone()]).unwrap()
    }

    async fn connect(&self, other: &Self) -> Connection {
        let addresses = [other.address.clone()];
        match self.peers.connect(other.id(), &addresses).await.unwrap() {
            Reached::Peer(connection) => connection,
            Reached::Myself => panic!("another vat"),
        }
    }

    async fn tally(&self, other: &Self) -> TallyRef {
        let enlivened = self.peers.enliven(&other.sturdy()).await.unwrap();
        enlivened.reference.into()
    }
}

async fn tcp(address: &str) -> Listener {
    let address: SocketAddr = address.parse().unwrap();
    Listener::bind_tcp(address).await.unwrap()
}

/// The lesser and the greater of two vats.
async fn lesser_and_greater() -> (Node, Node) {
    let (one, other) = (Node::tcp(1).await, Node::tcp(2).await);
    if one.id() < other.id() {
        (one, other)
    } else {
        (other, one)
    }
}

pub(super) fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let limited = async { tokio::time::timeout(Duration::from_secs(60), test).await };
    LocalSet::new().block_on(&runtime, limited).unwrap();
}

pub(super) async fn until(what: &str, condition: impl Fn() -> bool) {
    for _ in 0..2_000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("waited 10 s in vain until {what}");
}

#[test]
fn fifty_parallel_connects_make_one_connection() {
    run(async {
        let dir = TempDir::new().unwrap();
        let Address::Unix(path) = Address::unix(dir.path().join("socket")).unwrap() else {
            panic!("a Unix address")
        };
        let answering = [
            Node::tcp(2).await,
            Node::start(3, Listener::bind_unix(&path).unwrap()),
        ];
        let caller = Node::tcp(1).await;
        for node in answering {
            let all = join_all((0..50).map(|_| caller.connect(&node))).await;
            assert!(all.iter().all(|one| one.id() == all[0].id()));
            until("it has come in", || {
                node.peers.connected(caller.id()).is_some()
            })
            .await;
            assert_eq!((node.accepted.get(), node.peers.connections()), (1, 1));
            assert_eq!(caller.peers.by_conn(all[0].id()), Some(node.id()));
            // And back: the other side uses the same one.
            node.connect(&caller).await;
            let sum = caller.tally(&node).await;
            assert_eq!(sum.add(2).await.unwrap(), 2);
            assert_eq!(node.tally(&caller).await.add(0).await.unwrap(), 0);
            assert_eq!((node.accepted.get(), node.peers.connections()), (1, 1));
        }
        assert_eq!((caller.accepted.get(), caller.peers.connections()), (0, 2));
    });
}

/// One side's part in a round: a few connects and calls from a certain moment on.
async fn rush(from: &Node, to: &Node, start: usize, calls: u64) -> Vec<u64> {
    for _ in 0..start {
        tokio::task::yield_now().await;
    }
    let mut answers = Vec::new();
    for _ in 0..calls {
        answers.push(from.tally(to).await.add(1).await.unwrap());
    }
    answers
}

#[test]
fn simultaneous_dials_leave_one_connection_and_lose_no_call() {
    run(async {
        let (lesser, greater) = lesser_and_greater().await;
        let mut crossed = 0;
        for round in 0..200_u64 {
            let before = (lesser.accepted.get(), greater.accepted.get());
            // Who is ahead, and by how much, differs from round to round.
            let (early, late) = ((round * 7 % 23) as usize, (round * 13 % 29) as usize);
            let (ours, theirs) = tokio::join!(
                rush(&lesser, &greater, early, 3),
                rush(&greater, &lesser, late, 3)
            );
            let expected: Vec<u64> = (round * 3 + 1..=round * 3 + 3).collect();
            assert_eq!((&ours, &theirs), (&expected, &expected), "round {round}");
            until("the other connection is gone", || {
                lesser.peers.connections() == 1 && greater.peers.connections() == 1
            })
            .await;
            let both = lesser.accepted.get() > before.0 && greater.accepted.get() > before.1;
            crossed += u64::from(both);
            let kept = lesser.peers.connected(greater.id()).unwrap();
            kept.close();
            until("both have noticed", || {
                lesser.peers.connections() + greater.peers.connections() == 0
            })
            .await;
        }
        assert!(crossed >= 20, "only {crossed} of 200 rounds had two dials");
    });
}

#[test]
fn the_connection_that_the_greater_vat_dialled_is_kept() {
    run(async {
        let (lesser, greater) = lesser_and_greater().await;
        // Without another dial under way it does not matter who dials.
        let ours = lesser.connect(&greater).await;
        assert!(greater.connect(&lesser).await.is_open());
        assert_eq!((lesser.accepted.get(), greater.accepted.get()), (0, 1));
        ours.close();
        until("it is gone", || greater.peers.connections() == 0).await;

        let (ours, theirs) = tokio::join!(lesser.connect(&greater), greater.connect(&lesser));
        assert_eq!((lesser.accepted.get(), greater.accepted.get()), (1, 2));
        until("one is left", || greater.peers.connections() == 1).await;
        assert!(ours.is_open() && theirs.is_open());
        let restorer = RestorerRef::from(theirs.bootstrap().unwrap());
        let sum = TallyRef::from(restorer.restore(swiss().expose().to_vec()));
        assert_eq!(sum.add(1).await.unwrap(), 1);
    });
}

#[test]
fn a_vat_that_has_restarted_is_reached_again_from_both_sides() {
    run(async {
        let dir = TempDir::new().unwrap();
        let listen = |name: &str| {
            let Ok(Address::Unix(path)) = Address::unix(dir.path().join(name)) else {
                panic!("a Unix address")
            };
            Listener::bind_unix(&path).unwrap()
        };
        let staying = Node::start(1, listen("staying"));
        let mut other = Node::start(2, listen("other"));
        for round in 1..=4 {
            let old = staying.tally(&other).await;
            assert_eq!(old.add(1).await.unwrap(), 1);
            other.stop().await;
            other = Node::start(2, listen("other"));
            if round % 2 == 0 {
                let sum = other.tally(&staying).await;
                assert_eq!(sum.add(1).await.unwrap(), round / 2);
            }
            let lost = old.add(1).await.unwrap_err();
            assert_eq!(lost.kind(), ErrorKind::Disconnected);
            assert_eq!(staying.tally(&other).await.add(0).await.unwrap(), 0);
            assert_eq!(staying.peers.connections(), 1);
        }
    });
}

/// The other side is gone without a word, and nobody has noticed.
#[test]
fn a_connection_on_which_nobody_answers_gives_way_to_a_new_one() {
    run(async {
        let (one, other) = (identity(1).id(), identity(2).id());
        for (staying, silent) in [(1, 2), (2, 1)] {
            let staying = Node::tcp(staying).await;
            let socket = std::net::TcpStream::connect(socket_address(&staying)).unwrap();
            let connector = credentials(silent).connector(staying.id());
            let (dead, _) = Stream::connect_tls(socket.into(), &connector)
                .await
                .unwrap();
            let mut dead = super::Queued::from(dead);
            if staying.id() < one.max(other) {
                dead.queue(&hello(), Vec::new());
                dead.flush().await.unwrap();
            }
            until("it is there", || {
                staying.peers.connected(identity(silent).id()).is_some()
            })
            .await;
            let came_back = Node::tcp(silent).await;
            assert_eq!(came_back.tally(&staying).await.add(1).await.unwrap(), 1);
            assert_eq!(staying.tally(&came_back).await.add(1).await.unwrap(), 1);
            until("the old one is closed", || staying.peers.connections() == 1).await;
        }
    });
}

#[test]
fn who_answers_with_another_key_is_refused_and_all_who_wait_are_told() {
    run(async {
        let (here, impostor) = (Node::tcp(1).await, Node::tcp(3).await);
        let addresses = [impostor.address.clone()];
        let wanted = identity(2).id();
        let all = join_all((0..10).map(|_| here.peers.connect(wanted, &addresses))).await;
        for failed in all {
            let Err(PeerError::Unreachable(error)) = failed else {
                panic!("{failed:?}")
            };
            assert_eq!(error.attempts.len(), 1, "one dial for all");
            let text = error.to_string();
            assert!(text.contains(&impostor.address.to_string()), "{text}");
        }
        assert!(here.peers.is_empty());
    });
}

#[test]
fn each_dead_address_is_named_with_its_reason() {
    run(async {
        let here = Node::tcp(1).await;
        let dead = Node::tcp(2).await;
        let (sturdy, address) = (dead.sturdy(), dead.address.clone());
        dead.stop().await;
        let nowhere = Address::unix("/nonexistent/socket").unwrap();
        let addresses = [address.clone(), nowhere.clone()];
        let failed = here
            .peers
            .connect(sturdy.vat(), &addresses)
            .await
            .unwrap_err();
        let text = failed.to_string();
        for part in [
            &*address.to_string(),
            &*nowhere.to_string(),
            "refused",
            "No such file",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let failed = here.peers.enliven(&sturdy).await.unwrap_err();
        assert!(matches!(failed, EnlivenError::Unreachable(_)), "{failed}");
        assert!(here.peers.is_empty());
    });
}

#[test]
fn a_dial_that_fails_does_not_fail_whoever_knows_another_address() {
    run(async {
        let (here, there) = (Node::tcp(1).await, Node::tcp(2).await);
        let dead = [Address::unix("/nonexistent/socket").unwrap()];
        let good = [there.address.clone()];
        let (failed, made) = tokio::join!(
            here.peers.connect(there.id(), &dead),
            here.peers.connect(there.id(), &good)
        );
        assert!(
            matches!(failed, Err(PeerError::Unreachable(_))),
            "{failed:?}"
        );
        assert!(matches!(made, Ok(Reached::Peer(_))), "{made:?}");
    });
}

#[test]
fn a_reference_to_oneself_never_leaves_the_vat() {
    run(async {
        let here = Node::tcp(1).await;
        let own = here.peers.enliven(&here.sturdy()).await.unwrap();
        assert!(own.connection.is_none() && own.reference.is_near());
        assert_eq!(TallyRef::from(own.reference).add(5).await.unwrap(), 5);
        let wrong = SturdyRef::new(here.id(), SwissNumber::from_bytes([9; 16]), []).unwrap();
        let denied = here.peers.enliven(&wrong).await.unwrap_err();
        assert!(matches!(denied, EnlivenError::Denied), "{denied}");
        assert_eq!((here.accepted.get(), here.peers.connections()), (0, 0));
    });
}

#[test]
fn a_connect_waits_for_the_end_of_a_connection_that_is_closing() {
    run(async {
        let (here, there) = (Node::tcp(1).await, Node::tcp(2).await);
        for _ in 0..20 {
            let first = here.connect(&there).await;
            first.close();
            let second = here.connect(&there).await;
            assert!(second.is_open() && first.id() != second.id());
            assert_eq!(here.tally(&there).await.add(0).await.unwrap(), 0);
        }
        until("the others are gone", || there.peers.connections() == 1).await;
    });
}

#[test]
fn a_vat_that_may_not_dial_uses_the_connection_of_who_called_it() {
    run(async {
        let (here, there) = (Node::tcp(1).await, Node::tcp(2).await);
        here.peers.set_dialing(Dialing::nobody());
        let refused = here.peers.enliven(&there.sturdy()).await.unwrap_err();
        assert!(matches!(refused, EnlivenError::NoPower(_)), "{refused}");
        there.connect(&here).await;
        until("it has come in", || {
            here.peers.connected(there.id()).is_some()
        })
        .await;
        assert_eq!(here.tally(&there).await.add(1).await.unwrap(), 1);
        assert_eq!(there.accepted.get(), 0);
    });
}

#[test]
fn a_vat_enlivens_through_a_power_it_holds() {
    run(async {
        let (here, there) = (Node::tcp(1).await, Node::tcp(2).await);
        here.peers.set_dialing(Dialing::nobody());
        let network = here.driver.vat().turn(|turn| Ok(ambient_network(turn)));
        let network = network.unwrap();
        let sums = (0..50).map(|_| TallyRef::from(network.enliven(&there.sturdy())).add(1));
        // Between different references there is no order.
        let mut sums: Vec<u64> = join_all(sums)
            .await
            .into_iter()
            .map(Result::unwrap)
            .collect();
        sums.sort_unstable();
        assert_eq!(sums, (1..=50).collect::<Vec<_>>());
        assert_eq!((there.accepted.get(), here.peers.connections()), (1, 1));
        let failed = here.driver.vat().turn(|_| {
            let tally = TallyRef::from(network.enliven(&there.sturdy()));
            Err::<(), _>(Error::failed("rolled back").with_detail(0, vec![])).inspect_err(|_| {
                tally.add(1).detach();
            })
        });
        assert!(failed.is_err());
        assert_eq!(here.tally(&there).await.add(0).await.unwrap(), 50);
    });
}

fn socket_address(node: &Node) -> SocketAddr {
    node.address.to_string().parse().unwrap()
}

/// What a vat says first.
fn hello() -> Vec<u8> {
    let mut engine = captp::Engine::<crate::core::VatHost>::new(captp::Config::default());
    let conn = engine.open(captp::ConnOptions::default().with_hello(true));
    let mut transmit = captp::Transmit::new();
    engine.poll_transmit(conn, &mut transmit);
    transmit.take_bytes()
}
