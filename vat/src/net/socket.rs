//! A connected stream socket of either family.

use std::{
    fmt,
    io::{self, IoSlice},
    net::SocketAddr,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use rustix::net::{AddressFamily, SocketType, sockopt};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use super::admission::Place;
use super::descriptor;
use super::unix::UnixSocket;
use crate::sys;

/// How long a TCP connection may be silent before the kernel asks whether the peer is still there, and
/// how long it waits for the answer until it asks again.
///
/// A peer whose host has vanished ends nothing by itself, and would keep its place and what it holds.
/// When it has answered none of [`KEEPALIVE_PROBES`], after about a minute of silence, the connection
/// is lost; also when it has taken nothing of what was sent to it for as long.
pub const KEEPALIVE: Duration = Duration::from_secs(15);

/// How often the kernel asks: see [`KEEPALIVE`].
pub const KEEPALIVE_PROBES: u32 = 3;

/// How long nothing may come back, or be taken. With it the kernel counts time and not probes: this is
/// past the last of them, and before there would be one more.
const USER_TIMEOUT: Duration = Duration::from_secs(55);

/// A connected TCP or Unix stream socket, without anything spoken on it yet. Those of TCP are
/// [kept alive](KEEPALIVE).
///
/// Its values are bound to the tokio runtime in which they were made.
#[derive(Debug)]
pub struct Socket {
    kind: Kind,
    /// Bytes that were read from the socket before, to be read once more.
    replay: Replay,
    /// Among the connections that were let in.
    place: Option<Place>,
}

#[derive(Debug)]
enum Kind {
    Tcp(TcpStream),
    Unix(UnixSocket),
}

impl Socket {
    /// Takes a descriptor that came from elsewhere: from the launcher, or from a peer.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidInput`] when it is anything else than a connected TCP or Unix stream
    /// socket. Else what the kernel says when it does not let us set its options.
    pub fn from_descriptor(descriptor: OwnedFd) -> io::Result<Self> {
        let kind = match check_connected(&descriptor)? {
            AddressFamily::UNIX => Kind::Unix(UnixSocket::new(descriptor.into())?),
            _ => {
                let socket = std::net::TcpStream::from(descriptor);
                socket.set_nonblocking(true)?;
                tune(&socket)?;
                Kind::Tcp(TcpStream::from_std(socket)?)
            }
        };
        Ok(Self {
            kind,
            replay: Replay::default(),
            place: None,
        })
    }

    pub(super) fn from_tcp(socket: TcpStream) -> io::Result<Self> {
        tune(&socket)?;
        Ok(Self {
            kind: Kind::Tcp(socket),
            replay: Replay::default(),
            place: None,
        })
    }

    pub(super) fn from_unix(socket: tokio::net::UnixStream) -> io::Result<Self> {
        Ok(Self {
            kind: Kind::Unix(UnixSocket::new(socket.into_std()?)?),
            replay: Replay::default(),
            place: None,
        })
    }

    /// Gives the descriptor away, to be passed to the vat for which the connection is. The place of a
    /// connection that was [let in](super::Admission::admit) becomes free.
    ///
    /// # Errors
    ///
    /// When the runtime cannot let go of it.
    pub fn into_descriptor(self) -> io::Result<OwnedFd> {
        Ok(self.into_parts()?.0)
    }

    /// The same, with the place.
    pub(crate) fn into_parts(self) -> io::Result<(OwnedFd, Option<Place>)> {
        let descriptor = match self.kind {
            Kind::Tcp(socket) => socket.into_std()?.into(),
            Kind::Unix(socket) => socket.into_std()?.into(),
        };
        Ok((descriptor, self.place))
    }

    /// The connection has this place as long as the socket lives.
    pub(crate) fn holding(mut self, place: Place) -> Self {
        self.place = Some(place);
        self
    }

    pub(super) const fn place(&self) -> Option<&Place> {
        self.place.as_ref()
    }

    /// The peer has shown who it is, or need not.
    pub(crate) fn handshake_done(&mut self) {
        if let Some(place) = &mut self.place {
            place.handshake_done();
        }
    }

    /// Closes the connection so that nothing of it stays behind in the kernel either.
    pub(super) fn reset(self) {
        if let Kind::Tcp(socket) = &self.kind {
            // Where the kernel does not let us, the connection is closed as usual.
            let _ = sockopt::set_socket_linger(socket, Some(Duration::ZERO));
        }
    }

    /// Lets `bytes`, which were read from it already, be read again before anything else.
    pub(super) fn replaying(mut self, bytes: Vec<u8>) -> Self {
        self.replay = Replay { bytes, read: 0 };
        self
    }

    /// Who is at the other end, as far as the kernel knows.
    ///
    /// # Errors
    ///
    /// When the connection is gone already.
    pub fn peer(&self) -> io::Result<Peer> {
        match &self.kind {
            Kind::Tcp(socket) => Ok(Peer::Network(socket.peer_addr()?)),
            Kind::Unix(socket) => Ok(Peer::User(socket.peer_user()?)),
        }
    }

    /// Makes sure that the peer is a process of the user that this process runs as.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::PermissionDenied`] for everybody else, root included, and for a TCP socket,
    /// of which nobody knows whose it is. Also for everybody if this process runs as the overflow user
    /// (65534, `nobody`): users of other namespaces are told as that one, too.
    pub fn check_same_user(&self) -> io::Result<()> {
        let own = rustix::process::geteuid().as_raw();
        match self.peer()? {
            Peer::User(user) if sys::is_same_user(user, own) => Ok(()),
            peer => Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                format!("the caller is {peer}, and only user {own} may use this socket"),
            )),
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.kind {
            Kind::Tcp(socket) => socket.as_fd(),
            Kind::Unix(socket) => socket.as_fd(),
        }
    }
}

impl AsyncRead for Socket {
    /// Fails when a descriptor arrives on a Unix socket: whoever reads bytes alone expects none.
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.replay.read_into(buf) {
            return Poll::Ready(Ok(()));
        }
        match &mut self.kind {
            Kind::Tcp(socket) => Pin::new(socket).poll_read(cx, buf),
            Kind::Unix(socket) => {
                let room = buf.remaining();
                let receive =
                    |socket: &_| descriptor::receive_plain(socket, buf.initialize_unfilled());
                let took_all = |count: &usize| (1..room).contains(count);
                let count = ready!(socket.poll_read(cx, receive, took_all))?;
                buf.advance(count);
                Poll::Ready(Ok(()))
            }
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.kind {
            Kind::Tcp(socket) => Pin::new(socket).poll_write(cx, bytes),
            Kind::Unix(socket) => {
                socket.poll_write(cx, |socket| descriptor::send_plain(socket, bytes))
            }
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.kind {
            Kind::Tcp(socket) => Pin::new(socket).poll_write_vectored(cx, slices),
            Kind::Unix(socket) => {
                socket.poll_write(cx, |socket| descriptor::send(socket, slices, &[]))
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.kind {
            Kind::Tcp(socket) => Pin::new(socket).poll_shutdown(cx),
            Kind::Unix(socket) => Poll::Ready(socket.shutdown()),
        }
    }
}

/// Who is at the other end of a [`Socket`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Peer {
    /// Somebody at this address.
    Network(SocketAddr),
    /// A process that this user had started when it connected.
    User(u32),
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(address) => write!(f, "{address}"),
            Self::User(uid) => write!(f, "user {uid}"),
        }
    }
}

/// Sets what every TCP socket has, wherever it comes from: options that somebody else has set are not
/// relied upon.
fn tune(socket: impl AsFd) -> io::Result<()> {
    // Whole batches are written at once, so that holding back small packets only costs time.
    sockopt::set_tcp_nodelay(&socket, true)?;
    sockopt::set_tcp_keepidle(&socket, KEEPALIVE)?;
    sockopt::set_tcp_keepintvl(&socket, KEEPALIVE)?;
    sockopt::set_tcp_keepcnt(&socket, KEEPALIVE_PROBES)?;
    let patience = u32::try_from(USER_TIMEOUT.as_millis()).unwrap_or(u32::MAX);
    sockopt::set_tcp_user_timeout(&socket, patience)?;
    sockopt::set_socket_keepalive(&socket, true)?;
    Ok(())
}

/// The family of a connected TCP or Unix stream socket.
pub(super) fn check_connected(descriptor: impl AsFd) -> io::Result<AddressFamily> {
    let refuse = |what| Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    let Ok(family) = sockopt::socket_domain(&descriptor) else {
        return refuse("the descriptor is not a socket");
    };
    let is_known = matches!(
        family,
        AddressFamily::UNIX | AddressFamily::INET | AddressFamily::INET6
    );
    if !is_known || sockopt::socket_type(&descriptor)? != SocketType::STREAM {
        return refuse("the descriptor is neither a TCP nor a Unix stream socket");
    }
    if sockopt::socket_acceptconn(&descriptor)? {
        return refuse("the socket listens and is not connected");
    }
    // A socket whose peer has gone is no mistake of whoever passed it: reading it says so.
    match rustix::net::getpeername(&descriptor) {
        Err(rustix::io::Errno::NOTCONN) if family == AddressFamily::UNIX => {
            refuse("the socket is not connected")
        }
        _ => Ok(family),
    }
}

/// Bytes to be read before those of the socket.
#[derive(Default)]
struct Replay {
    bytes: Vec<u8>,
    read: usize,
}

impl Replay {
    /// Fills the buffer; whether there was anything to fill it with.
    fn read_into(&mut self, buf: &mut ReadBuf<'_>) -> bool {
        let rest = self.bytes.get(self.read..).unwrap_or_default();
        if rest.is_empty() {
            *self = Self::default();
            return false;
        }
        let piece = rest.get(..buf.remaining()).unwrap_or(rest);
        buf.put_slice(piece);
        self.read += piece.len();
        true
    }
}

impl fmt::Debug for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.bytes.len().saturating_sub(self.read))
    }
}
