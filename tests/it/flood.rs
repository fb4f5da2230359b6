//! Floods of connections against a running ensemble: what floods is kept out, and who is honest is
//! served meanwhile, over the network and locally.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use vat::net::driver::{Attach, Driver};
use vat::net::{Connector, Credentials, HandshakeError, Stream};
use vat::prelude::*;
use vat::sturdy::{Address, DENIED_DETAIL, Identity, RestorerRef, Seed, SturdyRef, reference_file};
use vat::{Vat, VatConfig};

use crate::harness::{Ensemble, eventually, run};

/// A running guestbook, and the way to it over the network.
struct Target {
    ensemble: Ensemble,
    reference: SturdyRef,
    address: SocketAddr,
    pid: i32,
}

impl Target {
    fn start() -> Self {
        let mut ensemble = Ensemble::new();
        let cap = ensemble.up();
        let reference = reference_file::read(&cap).unwrap();
        let port = reference
            .addresses()
            .iter()
            .find_map(|address| match address {
                Address::Tcp { port, .. } => Some(port.get()),
                Address::Unix(_) => None,
            });
        let pid = ensemble.pid();
        Self {
            ensemble,
            reference,
            address: SocketAddr::from(([127, 0, 0, 1], port.unwrap())),
            pid,
        }
    }

    /// A connection from `127.0.0.<host>`, unless it is closed at once.
    async fn dial(&self, host: u8) -> std::io::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from(([127, 0, 0, host], 0)))?;
        socket.connect(self.address).await
    }

    /// What somebody with a new key calls with.
    fn stranger(&self) -> Connector {
        let identity = Identity::from_seed(&Seed::generate().unwrap());
        Credentials::new(&identity)
            .unwrap()
            .connector(self.reference.vat())
    }

    /// A stranger's connection, after its handshake.
    async fn connect(&self, host: u8) -> Result<Stream, HandshakeError> {
        let socket = self.dial(host).await.map_err(HandshakeError::Io)?;
        let socket = OwnedFd::from(socket.into_std().map_err(HandshakeError::Io)?);
        let connected = Stream::connect_tls(socket, &self.stranger()).await;
        connected.map(|(stream, _)| stream)
    }

    /// What a stranger sends first.
    async fn client_hello(&self) -> Vec<u8> {
        let (ours, theirs) = UnixStream::pair().unwrap();
        theirs.set_nonblocking(true).unwrap();
        let mut theirs = tokio::net::UnixStream::from_std(theirs).unwrap();
        let connector = self.stranger();
        let connecting = Stream::connect_tls(ours.into(), &connector);
        let mut hello = vec![0; 4096];
        let length = tokio::select! {
            read = theirs.read(&mut hello) => read.unwrap(),
            connected = connecting => panic!("nobody answered: {connected:?}"),
        };
        hello.truncate(length);
        hello
    }

    /// Somebody at `127.0.0.<host>` uses the reference as if nothing was going on.
    async fn assert_served(&self, host: u8) {
        let begin = Instant::now();
        let caller = Caller::from(self.connect(host).await.unwrap());
        let book = caller
            .restorer
            .restore(self.reference.swiss().expose().to_vec());
        timeout(Duration::from_secs(5), book.settled())
            .await
            .unwrap()
            .unwrap();
        let took = begin.elapsed();
        assert!(took < Duration::from_secs(3), "{took:?}");
    }

    /// The operator at this machine is served, by the same process as before.
    fn assert_unharmed(&self) {
        self.ensemble.ok(&["call", "guestbook.cap", "page"]);
        assert_eq!(self.ensemble.pid(), self.pid, "the vat was restarted");
    }
}

/// A vat at the other end of a connection.
struct Caller {
    _driver: Driver,
    restorer: RestorerRef,
}

impl From<Stream> for Caller {
    fn from(stream: Stream) -> Self {
        let driver = Driver::new(Vat::new(VatConfig::new("caller")));
        let connection = driver.attach(stream, Attach::network(None, true));
        Self {
            _driver: driver,
            restorer: connection.bootstrap().unwrap().into(),
        }
    }
}

/// How many of these are still open.
async fn open(sockets: &mut [TcpStream]) -> usize {
    // Whoever is to be closed has been by now.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut open = 0;
    for socket in sockets {
        let mut byte = [0];
        // An answer to the hello may have come: what counts is the end.
        let end = async { while matches!(socket.read(&mut byte).await, Ok(1..)) {} };
        open += usize::from(timeout(Duration::from_millis(2), end).await.is_err());
    }
    open
}

/// As a flood does that is not a program of this vat's: faster than a key is checked.
async fn flood(target: &Target, host: u8, count: usize, begin: &[u8]) -> Vec<TcpStream> {
    let mut sockets = Vec::new();
    for _ in 0..count {
        // Connections may be closed before this side knows that it has one.
        if let Ok(mut socket) = target.dial(host).await {
            drop(socket.write_all(begin).await);
            sockets.push(socket);
        }
    }
    sockets
}

#[test]
fn callers_that_say_nothing_hold_a_few_places_and_nobody_up() {
    let target = Target::start();
    run(async {
        let mut sockets = flood(&target, 2, 400, &[]).await;
        target.assert_served(3).await;
        assert_eq!(open(&mut sockets).await, 16, "of one address");
        target.assert_unharmed();
        drop(sockets);
        target.assert_served(3).await;
        eventually("the log says so", || {
            let log = target.ensemble.ok(&["logs", "guestbook"]);
            log.contains("connections are refused").then_some(())
        });
    });
}

#[test]
fn half_handshakes_hold_a_few_places_in_the_vat_and_nobody_up() {
    let target = Target::start();
    run(async {
        let hello = target.client_hello().await;
        let mut sockets = Vec::new();
        // Slowly enough that the launcher passes each one on.
        for _ in 0..5 {
            sockets.extend(flood(&target, 2, 12, &hello).await);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        target.assert_served(3).await;
        assert_eq!(open(&mut sockets).await, 32, "of one address");
        target.assert_unharmed();
    });
}

#[test]
fn callers_behind_one_address_wait_for_a_busy_vat_and_others_have_room() {
    let target = Target::start();
    run(async {
        let hello = target.client_hello().await;
        signal(target.pid, Signal::STOP);
        // More than may be in a handshake: these have said whom they want.
        let mut sockets = Vec::new();
        for _ in 0..5 {
            sockets.extend(flood(&target, 2, 8, &hello).await);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(open(&mut sockets).await, 32, "of one address");
        let mut others = flood(&target, 3, 8, &hello).await;
        assert_eq!(open(&mut others).await, 8, "of another one");
        signal(target.pid, Signal::CONT);
        target.assert_served(4).await;
        assert_eq!(
            open(&mut sockets).await,
            32,
            "the vat has taken all of them"
        );
        target.assert_unharmed();
    });
}

fn signal(pid: i32, signal: Signal) {
    let process = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(process, signal).unwrap();
}

/// Connects as long as that is answered.
async fn connect_all(target: &Target, host: u8, count: usize) -> Vec<Stream> {
    let mut streams = Vec::new();
    for _ in 0..count {
        streams.extend(target.connect(host).await.ok());
    }
    streams
}

#[test]
fn connections_from_one_address_leave_room_for_those_from_others() {
    let target = Target::start();
    run(async {
        let streams = connect_all(&target, 2, 60).await;
        assert_eq!(streams.len(), 40, "of one address");
        target.assert_served(3).await;
        target.assert_unharmed();
    });
}

#[test]
fn connections_from_everywhere_end_neither_the_vat_nor_its_operator() {
    let target = Target::start();
    run(async {
        let mut streams = Vec::new();
        for host in 2..10 {
            streams.extend(connect_all(&target, host, 40).await);
        }
        assert_eq!(streams.len(), 80, "of all addresses");
        target.assert_unharmed();
        drop(streams);
        eventually("there is room again", || {
            (target.ensemble.run(&["ps"]).status.success()).then_some(())
        });
        while target.connect(3).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        target.assert_served(4).await;
    });
}

#[test]
fn guesses_at_references_are_refused_after_twenty() {
    let target = Target::start();
    run(async {
        let guessing = Caller::from(target.connect(2).await.unwrap());
        let mut denied = 0;
        for number in 0..25 {
            let guess = guessing.restorer.restore(vec![number; 16]);
            let error = guess.settled().await.unwrap_err();
            if error.detail(DENIED_DETAIL).is_none() {
                assert_eq!(error.kind(), ErrorKind::Overloaded, "{error}");
                break;
            }
            denied += 1;
        }
        assert_eq!(denied, 20);
        target.assert_served(2).await;
    });
}
