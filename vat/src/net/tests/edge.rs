//! Callers without end, and callers that guess: who is honest is served all the same.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::LocalSet;
use tokio::time::timeout;

use super::{credentials, identity};
use crate::Vat;
use crate::net::driver::{Attach, Connection, Driver};
use crate::net::{Admission, AdmissionLimits, Dialing, Listener, Peers, Stream};
use crate::prelude::*;
use crate::sturdy::{Address, DENIED_DETAIL, Exposures, RestorerRef, SwissNumber};

#[vat::interface]
trait Bell {
    fn ring(&self, turn: &Turn) -> Result<u64>;
}

#[derive(Clone, vat::Object)]
struct Brass;

impl Bell for Brass {
    fn ring(&self, _turn: &Turn) -> Result<u64> {
        Ok(1)
    }
}

fn swiss() -> SwissNumber {
    SwissNumber::from_bytes([7; 16])
}

/// Vat 1, which exposes a bell.
struct Served {
    driver: Driver,
    peers: Peers,
    address: SocketAddr,
}

impl Served {
    async fn start(limits: AdmissionLimits) -> Self {
        let driver = Driver::new(Vat::new("served"));
        let restorer = driver.vat().turn(|turn| {
            let mut exposures = Exposures::default();
            exposures.expose(&swiss(), BellRef::new(turn, Brass).into());
            Ok(RestorerRef::new(turn, exposures))
        });
        let bootstrap = Some(restorer.unwrap().into());
        let peers = Peers::new(driver.clone(), credentials(1), bootstrap, Dialing::nobody());
        peers.set_admission(Admission::new(limits));
        let any_port = "127.0.0.1:0".parse().unwrap();
        let listener = Listener::bind_tcp(any_port).await.unwrap();
        let Address::Tcp { port, .. } = listener.local_address().unwrap() else {
            panic!("a TCP address");
        };
        let serving = peers.clone();
        tokio::task::spawn_local(async move { serving.serve(&listener).await });
        Self {
            driver,
            peers,
            address: SocketAddr::from(([127, 0, 0, 1], port.get())),
        }
    }
}

/// A socket from `127.0.0.<host>` that says nothing.
async fn dial(served: &Served, host: u8) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from(([127, 0, 0, host], 0)))?;
    socket.connect(served.address).await
}

/// A caller at `127.0.0.<host>` with the key of vat `number`.
struct Caller {
    _driver: Driver,
    connection: Connection,
    restorer: RestorerRef,
}

impl Caller {
    async fn connect(served: &Served, host: u8, number: u8) -> Result<Self> {
        let socket = dial(served, host).await.map_err(Error::of)?;
        let socket = OwnedFd::from(socket.into_std().map_err(Error::of)?);
        let connector = credentials(number).connector(identity(1).id());
        let stream = Stream::connect_tls(socket, &connector).await;
        let (stream, info) = stream.map_err(Error::of)?;
        let driver = Driver::new(Vat::new("caller"));
        let connection = driver.attach(stream, Attach::network(None, info.vat_protocol));
        let restorer = RestorerRef::from(connection.bootstrap().unwrap());
        Ok(Self {
            _driver: driver,
            connection,
            restorer,
        })
    }

    async fn guess(&self, number: u8) -> Error {
        let guess = self.restorer.restore(vec![number; 16]);
        guess.settled().await.unwrap_err()
    }

    fn bell(&self) -> BellRef {
        BellRef::from(self.restorer.restore(swiss().expose().to_vec()))
    }
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let limited = async { timeout(Duration::from_secs(20), test).await };
    LocalSet::new().block_on(&runtime, limited).unwrap();
}

/// How many of these are open. The others were closed at once, and nothing of them is left.
async fn open(sockets: &mut [TcpStream]) -> usize {
    let mut open = 0;
    for socket in sockets {
        match timeout(Duration::from_millis(50), socket.read(&mut [0])).await {
            Ok(Err(error)) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
            Ok(ended) => panic!("closed in an orderly way: {ended:?}"),
            Err(_) => open += 1,
        }
    }
    open
}

#[test]
fn callers_that_say_nothing_do_not_keep_others_from_being_served() {
    run(async {
        let limits = AdmissionLimits::default()
            .with_handshakes_per_source(4)
            .with_handshakes(8);
        let served = Served::start(limits).await;
        let mut silent = Vec::new();
        for _ in 0..40 {
            // One that is refused may be closed before this side knows that it is connected.
            silent.extend(dial(&served, 2).await.ok());
        }
        let begin = tokio::time::Instant::now();
        let honest = Caller::connect(&served, 3, 2).await.unwrap();
        assert_eq!(honest.bell().ring().await.unwrap(), 1);
        assert!(
            begin.elapsed() < Duration::from_secs(2),
            "{:?}",
            begin.elapsed()
        );
        assert_eq!(open(&mut silent).await, 4);
        // Whoever floods is kept out itself.
        assert!(Caller::connect(&served, 2, 3).await.is_err());
        drop(silent);
        assert_eq!(honest.bell().ring().await.unwrap(), 1);
    });
}

#[test]
fn connections_beyond_the_limit_are_closed_and_room_comes_back() {
    run(async {
        let limits = AdmissionLimits::default().with_connections_per_source(3);
        let served = Served::start(limits).await;
        let mut open = Vec::new();
        for number in 2..5 {
            let caller = Caller::connect(&served, 2, number).await.unwrap();
            assert_eq!(caller.bell().ring().await.unwrap(), 1);
            open.push(caller);
        }
        assert!(Caller::connect(&served, 2, 5).await.is_err());
        let other = Caller::connect(&served, 3, 6).await.unwrap();
        assert_eq!(other.bell().ring().await.unwrap(), 1);
        open.pop().unwrap().connection.close();
        let again = loop {
            match Caller::connect(&served, 2, 5).await {
                Ok(caller) => break caller,
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        };
        assert_eq!(again.bell().ring().await.unwrap(), 1);
        assert_eq!(served.peers.connections(), 4);
    });
}

#[test]
fn a_source_that_connects_again_and_again_is_slowed_down() {
    run(async {
        let limits = AdmissionLimits::default()
            .with_arrivals_burst(5)
            .with_arrivals_per_second(1);
        let served = Served::start(limits).await;
        let begin = tokio::time::Instant::now();
        let mut answered = 0;
        for _ in 0..30 {
            // It stays for so short a time that no other limit is reached.
            if let Ok(mut socket) = dial(&served, 2).await {
                drop(socket.write_all(b"GET / HTTP/1.1\r\n\r\n").await);
                answered += u64::from(socket.read(&mut [0]).await.is_ok());
            }
        }
        assert!(
            (5..=5 + begin.elapsed().as_secs()).contains(&answered),
            "{answered}"
        );
        let honest = Caller::connect(&served, 3, 2).await.unwrap();
        assert_eq!(honest.bell().ring().await.unwrap(), 1);
    });
}

#[test]
fn a_peer_that_guesses_is_refused_and_then_closed_and_others_are_not_affected() {
    run(async {
        let limits = AdmissionLimits::default().with_restore_misses(5);
        let served = Served::start(limits).await;
        let guessing = Caller::connect(&served, 2, 2).await.unwrap();
        let honest = Caller::connect(&served, 2, 3).await.unwrap();
        let held = guessing.bell();
        assert_eq!(held.ring().await.unwrap(), 1);
        for number in 0..5 {
            // What names something is not counted.
            assert_eq!(guessing.bell().ring().await.unwrap(), 1);
            let denied = guessing.guess(number).await;
            assert!(denied.detail(DENIED_DETAIL).is_some(), "{denied}");
        }
        // From here on, right and wrong numbers get the same answer.
        for number in 0..5 {
            let refused = match number {
                2 => guessing.bell().ring().await.unwrap_err(),
                _ => guessing.guess(number).await,
            };
            assert_eq!(refused.kind(), ErrorKind::Overloaded, "{refused}");
            assert!(refused.to_string().contains("minute"), "{refused}");
        }
        assert_eq!(held.ring().await.unwrap(), 1, "what it has it may use");
        assert!(guessing.connection.is_open());
        guessing.guess(5).await;
        timeout(Duration::from_secs(2), guessing.connection.gone())
            .await
            .unwrap();
        let reason = guessing.connection.end_reason();
        assert!(reason.contains("do not exist"), "{reason}");
        assert_eq!(honest.bell().ring().await.unwrap(), 1);
        // What the vat does by itself is nobody's guess.
        let caller = served.driver.vat().turn(|turn| Ok(turn.caller()));
        assert_eq!(caller.unwrap(), None);
    });
}

#[test]
fn a_source_that_guesses_on_many_connections_is_not_let_in_again() {
    run(async {
        let limits = AdmissionLimits::default()
            .with_restore_misses(4)
            .with_source_misses(8);
        let served = Served::start(limits).await;
        let honest = Caller::connect(&served, 2, 2).await.unwrap();
        for number in [3, 4] {
            let guessing = Caller::connect(&served, 2, number).await.unwrap();
            for guess in 0..4 {
                let denied = guessing.guess(guess).await;
                assert!(denied.detail(DENIED_DETAIL).is_some(), "{denied}");
            }
        }
        assert!(Caller::connect(&served, 2, 5).await.is_err());
        assert_eq!(honest.bell().ring().await.unwrap(), 1);
        let elsewhere = Caller::connect(&served, 3, 6).await.unwrap();
        assert_eq!(elsewhere.bell().ring().await.unwrap(), 1);
    });
}

#[test]
fn guesses_at_once_get_no_more_than_the_same_guesses_one_after_the_other() {
    run(async {
        let served = Served::start(AdmissionLimits::default()).await;
        let guessing = Caller::connect(&served, 2, 2).await.unwrap();
        let guesses: Vec<_> = (0..200)
            .map(|number| guessing.restorer.restore(vec![number; 16]))
            .collect();
        let mut denied = 0;
        for guess in guesses {
            let error = guess.settled().await.unwrap_err();
            denied += usize::from(error.detail(DENIED_DETAIL).is_some());
        }
        assert!(denied <= 20, "{denied} were looked up");
    });
}
