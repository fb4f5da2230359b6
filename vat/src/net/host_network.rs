//! The object behind `Network` references: it dials with the rights of this process.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::num::NonZeroU16;
use std::rc::Rc;
use std::sync::Arc;

use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::dial::first_success;
use super::{DIAL_TIMEOUT, Destination, Socket};
use crate::power::{Network, NetworkRef, Stream, StreamRef};
use crate::prelude::*;
use crate::sturdy::{Address, Host, UnixPath, VatId};

/// Streams of one power that are being made, or whose reference its holder keeps.
const STREAMS: usize = 64;
/// Host names of one power that are being looked up at a time.
const LOOKUPS: usize = 8;
/// Addresses of one host name that are tried.
const TRIED: usize = 8;

/// The network as this process has it, for programs that nobody confines: every destination.
///
/// # Authority
///
/// Uses the ambient authority of the process to reach the network. The kernel refuses it to launched
/// programs, which are granted a `Network` in their manifest instead.
pub fn ambient_network(turn: &Turn) -> NetworkRef {
    NetworkRef::new(turn, HostNetwork::new(None))
}

/// A power to dial these destinations, for a program's slot. It does not lead back to sockets of
/// this process.
///
/// # Authority
///
/// Its holder can say anything to whoever answers at these destinations, in the name of this
/// process' user.
#[cfg(feature = "launch")]
pub(crate) fn network(turn: &Turn, allowed: &[Destination]) -> NetworkRef {
    NetworkRef::new(turn, HostNetwork::new(Some(allowed.into())))
}

#[derive(vat::Object)]
#[object(external)]
struct HostNetwork {
    reach: Reach,
    streams: Arc<Semaphore>,
}

impl HostNetwork {
    fn new(allowed: Option<Rc<[Destination]>>) -> Self {
        Self {
            reach: Reach {
                allowed,
                lookups: Arc::new(Semaphore::new(LOOKUPS)),
            },
            streams: Arc::new(Semaphore::new(STREAMS)),
        }
    }
}

impl Network for HostNetwork {
    async fn dial(this: Near<Self>, cx: &Cx, vat: String, address: String) -> Result<StreamRef> {
        // Who is there, the caller finds out: the stream is its own from here on.
        vat.parse::<VatId>().map_err(Error::of)?;
        let address: Address = address.parse().map_err(Error::of)?;
        let (reach, streams) = this.read(cx, |network| {
            (network.reach.clone(), network.streams.clone())
        })?;
        let room = streams.try_acquire_owned().map_err(|_| {
            Error::overloaded(format!(
                "{STREAMS} streams of this Network are in use already"
            ))
        })?;
        let dialled = timeout(DIAL_TIMEOUT, reach.connect(&address)).await;
        let too_slow = || io::Error::new(io::ErrorKind::TimedOut, "nobody answered in time");
        let socket = dialled.unwrap_or_else(|_| Err(too_slow()));
        let descriptor = socket
            .and_then(Socket::into_descriptor)
            .map_err(Error::of)?;
        let carrier = StreamRef::from(&cx.spawn(Carrier { _room: room }));
        Ok(Ref::from(carrier).with_fd(Rc::new(descriptor)).into())
    }
}

/// What a stream's descriptor is attached to on its way. As long as its receiver keeps it, this
/// process has the descriptor as well.
#[derive(vat::Object)]
#[object(external)]
struct Carrier {
    _room: OwnedSemaphorePermit,
}

impl Stream for Carrier {}

/// How far a power leads.
#[derive(Clone)]
struct Reach {
    /// `None`: everywhere.
    allowed: Option<Rc<[Destination]>>,
    lookups: Arc<Semaphore>,
}

impl Reach {
    async fn connect(&self, address: &Address) -> io::Result<Socket> {
        match address {
            Address::Unix(path) => self.connect_unix(path).await,
            Address::Tcp { host, port } => {
                let (ips, name) = match host.as_str().parse::<IpAddr>() {
                    Ok(ip) => (vec![ip], None),
                    Err(_) => (self.look_up(host, *port).await?, Some(host)),
                };
                self.connect_tcp(&ips, *port, name).await
            }
        }
    }

    async fn connect_tcp(
        &self,
        ips: &[IpAddr],
        port: NonZeroU16,
        name: Option<&Host>,
    ) -> io::Result<Socket> {
        let attempts = ips.iter().take(TRIED).map(|&ip| async move {
            let allowed = self.any(|one| one.allows(ip, port, name));
            let connected = match allowed {
                true => TcpStream::connect((ip, port.get())).await,
                false => Err(refused(&format!("{ip} port {port}"))),
            };
            connected.map_err(|error| (ip, error))
        });
        match first_success(attempts).await {
            Ok(socket) => Socket::from_tcp(socket),
            Err(errors) => Err(all_failed(errors)),
        }
    }

    async fn connect_unix(&self, path: &UnixPath) -> io::Result<Socket> {
        if !self.any(|one| one.allows_socket(path)) {
            return Err(refused("this Unix socket"));
        }
        let socket = UnixStream::connect(path.as_path()).await?;
        // By whatever path: what this process answers to its own user is not for a program.
        let own = rustix::process::getpid().as_raw_nonzero().get();
        if self.allowed.is_some() && socket.peer_cred()?.pid() == Some(own) {
            return Err(refused("the launcher's own socket"));
        }
        Socket::from_unix(socket)
    }

    /// Looks a name up on another thread. A name that is not allowed is not looked up either: it
    /// could carry a message.
    async fn look_up(&self, host: &Host, port: NonZeroU16) -> io::Result<Vec<IpAddr>> {
        if !self.any(|one| one.names(host, port)) {
            return Err(refused(&format!("{host} port {port}")));
        }
        let room = self.lookups.clone().acquire_owned().await;
        let host = host.as_str().to_owned();
        let look_up = tokio::task::spawn_blocking(move || {
            let _room = room; // until the system's resolver is done, however long it takes
            let found = (host.as_str(), 0).to_socket_addrs()?;
            io::Result::Ok(found.map(|address: SocketAddr| address.ip()).collect())
        });
        look_up.await.map_err(io::Error::other)?
    }

    fn any(&self, allows: impl Fn(&Destination) -> bool) -> bool {
        match &self.allowed {
            None => true,
            Some(allowed) => allowed.iter().any(allows),
        }
    }
}

fn refused(what: &str) -> io::Error {
    let text = format!("the Network power that was granted does not lead to {what}");
    io::Error::new(io::ErrorKind::PermissionDenied, text)
}

/// One error for all addresses of a host.
fn all_failed(mut errors: Vec<(IpAddr, io::Error)>) -> io::Error {
    match errors.len() {
        0 => io::Error::new(io::ErrorKind::NotFound, "the host name has no address"),
        1 => errors.remove(0).1,
        _ => {
            let kind = errors
                .first()
                .map_or(io::ErrorKind::Other, |(_, error)| error.kind());
            let each = errors.iter().map(|(ip, error)| format!("{ip}: {error}"));
            io::Error::new(kind, each.collect::<Vec<_>>().join(", "))
        }
    }
}
