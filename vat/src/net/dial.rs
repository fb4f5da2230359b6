//! Connecting to a vat at one of the addresses that a sturdy ref gives as hints.

use std::{
    cell::Cell, fmt, future::Future, io, net::IpAddr, os::fd::OwnedFd, rc::Rc, time::Duration,
};

use captp::Introduction;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::{
    net::{TcpStream, UnixStream, lookup_host},
    time::{Instant, sleep, timeout},
};

use super::{Connector, HANDSHAKE_TIMEOUT, HandshakeError, PeerInfo, Socket, Stream, handshake};
use crate::core::Ref;
use crate::error::Error;
use crate::power::{NetworkRef, SiblingsRef};
use crate::sturdy::{Address, VatId};

/// Most time to reach one address, name look-up included.
pub const DIAL_TIMEOUT: Duration = Duration::from_secs(10);

/// How long one address has a lead over the next one.
const HEAD_START: Duration = Duration::from_millis(250);

/// Connects to one address; nothing is spoken yet.
///
/// # Authority
///
/// Uses the ambient authority of the process to reach the network. Host names are looked up by the
/// system's resolver on another thread.
///
/// # Errors
///
/// When nobody answers there within [`DIAL_TIMEOUT`].
///
/// # Cancel safety
///
/// Dropping the future gives the attempt up.
pub async fn dial(address: &Address) -> io::Result<OwnedFd> {
    connect_socket(address).await?.into_descriptor()
}

async fn connect_socket(address: &Address) -> io::Result<Socket> {
    let connecting = async {
        match address {
            Address::Unix(path) => Socket::from_unix(UnixStream::connect(path.as_path()).await?),
            Address::Tcp { host, port } => {
                let socket = match host.as_str().parse::<IpAddr>() {
                    Ok(ip) => TcpStream::connect((ip, port.get())).await?,
                    Err(_) => connect_by_name(host.as_str(), port.get()).await?,
                };
                Socket::from_tcp(socket)
            }
        }
    };
    let too_slow = || io::Error::new(io::ErrorKind::TimedOut, "nobody answered in time");
    timeout(DIAL_TIMEOUT, connecting)
        .await
        .unwrap_or_else(|_| Err(too_slow()))
}

async fn connect_by_name(host: &str, port: u16) -> io::Result<TcpStream> {
    let found: Vec<_> = lookup_host((host, port)).await?.collect();
    let attempts = found.into_iter().map(TcpStream::connect);
    let unknown = || io::Error::new(io::ErrorKind::NotFound, "the host name has no address");
    first_success(attempts)
        .await
        .map_err(|mut errors| errors.pop().unwrap_or_else(unknown))
}

impl Stream {
    /// Calls the vat of `connector` at the first of `addresses` where it answers.
    ///
    /// The addresses are tried in their order, each with a short lead over the next. Another vat
    /// that answers is not taken for the one called.
    ///
    /// # Authority
    ///
    /// See [`dial`].
    ///
    /// # Errors
    ///
    /// [`ConnectError`] lists each attempt.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives all attempts up.
    pub async fn connect(
        addresses: &[Address],
        connector: &Connector,
    ) -> Result<(Self, PeerInfo), ConnectError> {
        connect(addresses, connector, &Dialing::ambient_network()).await
    }
}

/// Who makes the connections of a vat to others: nobody, this process, or the holder of a power.
#[derive(Clone, Debug)]
pub struct Dialing {
    way: Way,
    /// Who is asked first.
    siblings: Option<Introduced>,
}

/// A way to a vat of the same launcher, after an introduction.
#[derive(Clone, Debug)]
struct Introduced {
    launcher: Rc<Launcher>,
    introduction: Introduction,
}

/// The launcher, as who connects the vats that it launched.
#[derive(Debug)]
pub(super) struct Launcher {
    siblings: SiblingsRef,
    /// When it last did not answer in time.
    silent: Cell<Option<Instant>>,
}

impl Launcher {
    pub(super) const fn new(siblings: SiblingsRef) -> Self {
        Self {
            siblings,
            silent: Cell::new(None),
        }
    }

    async fn reach(&self, introduction: &Introduction) -> Result<Stream, Error> {
        if self
            .silent
            .get()
            .is_some_and(|at| at.elapsed() < SILENT_FOR)
        {
            return Err(Error::failed("the launcher did not answer just now"));
        }
        let asked = async {
            let stream: Ref = self.siblings.reach(introduction.to_bytes()).into();
            stream.settled().await?;
            Stream::sibling(stream.take_fd()?).map_err(Error::of)
        };
        timeout(REACHED_WITHIN, asked).await.unwrap_or_else(|_| {
            self.silent.set(Some(Instant::now()));
            Err(Error::failed("the launcher does not answer"))
        })
    }
}

#[derive(Clone, Debug)]
enum Way {
    Nobody,
    Ambient,
    Power(NetworkRef),
}

impl Dialing {
    /// Nobody: the vat is only called.
    #[must_use]
    pub const fn nobody() -> Self {
        Self::by(Way::Nobody)
    }

    /// This process itself, for programs that nobody confines.
    ///
    /// # Authority
    ///
    /// Uses the ambient authority of the process to reach the network. The kernel refuses it to
    /// launched programs.
    #[must_use]
    pub const fn ambient_network() -> Self {
        Self::by(Way::Ambient)
    }

    /// Whoever is behind this power.
    #[must_use]
    pub const fn through(network: NetworkRef) -> Self {
        Self::by(Way::Power(network))
    }

    const fn by(way: Way) -> Self {
        Self {
            way,
            siblings: None,
        }
    }

    /// The same, once the launcher has said that the vat is none of those that it launched.
    pub(super) fn after(mut self, launcher: Rc<Launcher>, introduction: &Introduction) -> Self {
        self.siblings = Some(Introduced {
            launcher,
            introduction: introduction.clone(),
        });
        self
    }

    /// Whether there is anybody who dials.
    pub(super) fn is_possible(&self) -> bool {
        self.siblings.is_some() || !matches!(self.way, Way::Nobody)
    }

    /// Whether the same one dials.
    pub(super) fn same(&self, other: &Self) -> bool {
        let way = match (&self.way, &other.way) {
            (Way::Nobody, Way::Nobody) | (Way::Ambient, Way::Ambient) => true,
            (Way::Power(one), Way::Power(other)) => one.same(other) == Some(true),
            _ => false,
        };
        let introduction = |dialing: &Self| {
            let siblings = dialing.siblings.as_ref();
            siblings.map(|introduced| introduced.introduction.clone())
        };
        way && introduction(self) == introduction(other)
    }

    /// The stream to a vat of the same launcher.
    async fn meet(&self) -> Option<Result<Stream, Error>> {
        let Introduced {
            launcher,
            introduction,
        } = self.siblings.as_ref()?;
        Some(launcher.reach(introduction).await)
    }

    async fn dial(&self, vat: VatId, address: &Address) -> Result<Socket, AttemptError> {
        match &self.way {
            Way::Nobody => Err(AttemptError::NotAllowed(Error::failed(NO_POWER))),
            Way::Ambient => connect_socket(address).await.map_err(AttemptError::Dial),
            Way::Power(network) => {
                let dialled = dial_through(network, vat, address);
                let stream = timeout(DIAL_TIMEOUT + ANSWER_MARGIN, dialled).await;
                let silent = || Error::failed("the holder of the Network power does not answer");
                let socket = stream.unwrap_or_else(|_| Err(silent()));
                socket.map_err(AttemptError::NotAllowed)
            }
        }
    }
}

/// What a vat is told that was granted no way out.
pub(super) const NO_POWER: &str = "this vat was granted no Network power to dial with";

/// Most time for a launcher to connect two of its vats: more than it gives the other one.
const REACHED_WITHIN: Duration = Duration::from_secs(5);
/// How long a launcher is not asked again after it did not answer: calls go on meanwhile, through who
/// gave the references.
const SILENT_FOR: Duration = Duration::from_secs(10);

/// More time for a power's answer than dialling takes, so that its reason comes through.
const ANSWER_MARGIN: Duration = Duration::from_secs(2);

async fn dial_through(
    network: &NetworkRef,
    vat: VatId,
    address: &Address,
) -> Result<Socket, Error> {
    let stream: Ref = network.dial(vat.to_string(), address.to_string()).into();
    stream.settled().await?;
    let descriptor = stream.take_fd()?;
    Socket::from_descriptor(descriptor).map_err(Error::of)
}

/// Calls the vat of `connector`: as a sibling, or at the first of `addresses` where it answers.
pub(super) async fn connect(
    addresses: &[Address],
    connector: &Connector,
    dialing: &Dialing,
) -> Result<(Stream, PeerInfo), ConnectError> {
    let vat = connector.expected();
    match dialing.meet().await {
        Some(Ok(stream)) => {
            let (id, vat_protocol) = (vat, true);
            return Ok((stream, PeerInfo { id, vat_protocol }));
        }
        Some(Err(error)) => tracing::debug!(%vat, err = %error, "not reached as a sibling"),
        None => {}
    }
    let attempts = addresses.iter().map(|address| async move {
        let attempt = async {
            let socket = dialing.dial(vat, address).await?;
            let connected = handshake::connect(socket, connector, HANDSHAKE_TIMEOUT).await;
            let connected = match (connected, connector.with_certificates()) {
                (Err(error), Some(connector)) if error.wants_certificates() => {
                    let socket = dialing.dial(vat, address).await?;
                    handshake::connect(socket, &connector, HANDSHAKE_TIMEOUT).await
                }
                (connected, _) => connected,
            };
            connected.map_err(AttemptError::Handshake)
        };
        attempt.await.map_err(|error| (address.clone(), error))
    });
    first_success(attempts)
        .await
        .map_err(|attempts| ConnectError { vat, attempts })
}

/// A vat that could not be reached at any of its addresses.
#[derive(Debug)]
#[non_exhaustive]
pub struct ConnectError {
    /// The vat that was called.
    pub vat: VatId,
    /// Each address that was tried and why it failed, in the order of failure.
    pub attempts: Vec<(Address, AttemptError)>,
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "vat {} cannot be reached", self.vat)?;
        if self.attempts.is_empty() {
            return f.write_str(": the reference gives no address where it may be found");
        }
        let mut mark = ": ";
        for (address, error) in &self.attempts {
            write!(f, "{mark}{address}: {error}")?;
            mark = "; ";
        }
        Ok(())
    }
}

impl std::error::Error for ConnectError {}

/// Why one address failed.
#[derive(Debug, thiserror::Error)]
#[expect(clippy::exhaustive_enums, reason = "deliberately closed")]
pub enum AttemptError {
    /// Nobody answers there.
    #[error("{0}")]
    Dial(io::Error),
    /// Whoever has the power to dial did not, or could not.
    #[error("{0}")]
    NotAllowed(Error),
    /// Somebody answers there, but not the vat that was called, or not properly.
    #[error("{0}")]
    Handshake(HandshakeError),
}

/// The first success of several attempts. Each starts when the one before has failed or
/// [`HEAD_START`] is over; the others are dropped.
pub(super) async fn first_success<T, E>(
    attempts: impl Iterator<Item = impl Future<Output = Result<T, E>>>,
) -> Result<T, Vec<E>> {
    let mut waiting = attempts.fuse();
    let mut running = FuturesUnordered::new();
    let mut errors = Vec::new();
    loop {
        running.extend(waiting.next());
        let is_next_waiting = waiting.size_hint().1 != Some(0);
        tokio::select! {
            result = running.next() => match result {
                Some(Ok(success)) => return Ok(success),
                Some(Err(error)) => errors.push(error),
                None => return Err(errors),
            },
            () = sleep(HEAD_START), if is_next_waiting => {}
        }
    }
}
