//! Connecting to a vat at one of the addresses that a sturdy ref gives as hints.

use std::{fmt, future::Future, io, net::IpAddr, os::fd::OwnedFd, time::Duration};

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::{
    net::{TcpStream, UnixStream, lookup_host},
    time::{sleep, timeout},
};

use super::{Connector, HANDSHAKE_TIMEOUT, HandshakeError, PeerInfo, Socket, Stream, handshake};
use crate::sturdy::{Address, VatId};

/// Most time to reach one address, name look-up included.
pub const DIAL_TIMEOUT: Duration = Duration::from_secs(5);

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
            Address::Unix(path) => Ok(Socket::from_unix(
                UnixStream::connect(path.as_path()).await?,
            )),
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
        let attempts = addresses.iter().map(|address| async move {
            let attempt = async {
                let socket = connect_socket(address).await.map_err(AttemptError::Dial)?;
                handshake::connect(socket, connector, HANDSHAKE_TIMEOUT)
                    .await
                    .map_err(AttemptError::Handshake)
            };
            attempt.await.map_err(|error| (address.clone(), error))
        });
        first_success(attempts)
            .await
            .map_err(|attempts| ConnectError {
                vat: connector.expected(),
                attempts,
            })
    }
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
    /// Somebody answers there, but not the vat that was called, or not properly.
    #[error("{0}")]
    Handshake(HandshakeError),
}

/// The first success of several attempts. Each starts when the one before has failed or
/// [`HEAD_START`] is over; the others are dropped.
async fn first_success<T, E>(
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
