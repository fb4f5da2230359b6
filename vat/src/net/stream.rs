//! One connection of a vat: bytes and descriptors in and out.

use std::{
    fmt,
    future::poll_fn,
    io::{self, IoSlice},
    os::fd::{AsFd, OwnedFd},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use rustix::net::AddressFamily;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};
use tokio_rustls::TlsStream;

use super::{
    Acceptor, Connector, HandshakeError, MAX_DESCRIPTORS, Peer, PeerInfo, Socket,
    admission::Origin, descriptor, handshake, handshake::HANDSHAKE_TIMEOUT,
    socket::check_connected, unix::UnixSocket,
};
use crate::sys;

/// One connection of a vat.
///
/// Both directions go on independently in one task: bytes are sent with
/// [`poll_send`](Self::poll_send) and received with [`poll_recv`](Self::poll_recv). It has no queue:
/// what is not sent yet stays with whoever has it.
///
/// After an error the stream is of no further use and should be dropped.
pub struct Stream {
    transport: Transport,
    /// Set while the kernel has too many descriptors under way to take more.
    pause: Option<Pin<Box<Sleep>>>,
    /// The transport holds bytes that are not on their way yet.
    needs_flush: bool,
    /// At the other end is a vat of the same launcher.
    sibling: bool,
}

enum Transport {
    Descriptors(UnixSocket),
    Plain(Socket),
    Tls(Box<TlsStream<Socket>>),
}

/// What came in one piece.
///
/// The descriptors belong to the last message that begins within the bytes of this piece: a message
/// with descriptors is sent alone from its first byte on, and the kernel ends a piece after it.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Received {
    /// How many bytes were received; 0 means that the peer sends no more.
    pub bytes: usize,
    /// The descriptors that came with them, close-on-exec. They are input from the peer like any
    /// other: nothing is known about what they are.
    pub descriptors: Vec<OwnedFd>,
}

impl Stream {
    /// The stream on descriptor 3, which a vat inherits from its launcher.
    ///
    /// # Authority
    ///
    /// It is the one descriptor that the launcher gave to this program, and all that the program
    /// may do comes through it. To be called once, before the program opens anything.
    ///
    /// # Errors
    ///
    /// When descriptor 3 is not a connected Unix stream socket, most likely because the program was
    /// not started by a launcher, or when it was taken before.
    pub fn inherited() -> io::Result<Self> {
        Self::from_socketpair(sys::inherited::take_socket()?)
    }

    /// The stream on one end of a socket pair, which passes descriptors.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidInput`] when it is not a connected Unix stream socket.
    pub fn from_socketpair(descriptor: OwnedFd) -> io::Result<Self> {
        if check_connected(&descriptor)? != AddressFamily::UNIX {
            let what = "the descriptor is not a Unix socket";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
        let socket = UnixSocket::new(descriptor.into())?;
        Ok(Self::on(Transport::Descriptors(socket)))
    }

    /// The stream on one end of a socket pair with a vat of the same launcher. It passes no
    /// descriptors: what one program is granted beyond recall is not for another one.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidInput`] when it is not a connected Unix stream socket.
    pub(crate) fn sibling(descriptor: OwnedFd) -> io::Result<Self> {
        let mut stream = Self::plain(Socket::from_descriptor(descriptor)?)?;
        stream.sibling = true;
        Ok(stream)
    }

    /// The stream on a Unix socket of a local program that speaks Cap'n Proto alone.
    ///
    /// There is no encryption. Whoever accepted the connection must have checked who it is from,
    /// with [`Socket::check_same_user`]; a confined vat, which may run as a user of its own, cannot.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidInput`] when it is no Unix socket.
    pub fn plain(mut socket: Socket) -> io::Result<Self> {
        match socket.peer()? {
            Peer::User(_) => {
                socket.handshake_done();
                Ok(Self::on(Transport::Plain(socket)))
            }
            Peer::Network(_) => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "without TLS only Unix sockets can be used",
            )),
        }
    }

    /// Answers a call: TLS as `acceptor` on a connected TCP or Unix socket, of which `already_read`
    /// was read before. It takes at most [`HANDSHAKE_TIMEOUT`].
    ///
    /// # Errors
    ///
    /// See [`HandshakeError`]. The connection is closed then.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection.
    pub async fn accept_tls(
        socket: OwnedFd,
        already_read: Vec<u8>,
        acceptor: &Acceptor,
    ) -> Result<(Self, PeerInfo), HandshakeError> {
        let socket = Socket::from_descriptor(socket).map_err(HandshakeError::Socket)?;
        Self::accept_tls_on(socket, already_read, acceptor).await
    }

    /// The same on a socket that was just accepted. If it was [let in](super::Admission::admit), the
    /// stream keeps its place.
    ///
    /// # Errors
    ///
    /// See [`HandshakeError`]. The connection is closed then.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection.
    pub async fn accept_tls_on(
        socket: Socket,
        already_read: Vec<u8>,
        acceptor: &Acceptor,
    ) -> Result<(Self, PeerInfo), HandshakeError> {
        handshake::accept(socket.replaying(already_read), acceptor, HANDSHAKE_TIMEOUT).await
    }

    /// Calls a vat: TLS as `connector` on a connected TCP or Unix socket. It takes at most
    /// [`HANDSHAKE_TIMEOUT`].
    ///
    /// The keys are shown raw. A peer that knows certificates only refuses that
    /// ([`HandshakeError::wants_certificates`]), and has to be called again, on another socket, with
    /// [`Connector::with_certificates`]; [`Stream::connect`] does so by itself.
    ///
    /// That it succeeds shows who the peer is. Whether the peer takes *our* key is known with the
    /// first byte that it sends.
    ///
    /// # Errors
    ///
    /// See [`HandshakeError`]. The connection is closed then.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection.
    pub async fn connect_tls(
        socket: OwnedFd,
        connector: &Connector,
    ) -> Result<(Self, PeerInfo), HandshakeError> {
        let socket = Socket::from_descriptor(socket).map_err(HandshakeError::Socket)?;
        handshake::connect(socket, connector, HANDSHAKE_TIMEOUT).await
    }

    /// The connection has shown a key.
    pub(super) fn handshake_done(&mut self) {
        if let Transport::Tls(stream) = &mut self.transport {
            stream.get_mut().0.handshake_done();
        }
    }

    /// Where it came from, if it was let in.
    pub(super) fn origin(&self) -> Option<Origin> {
        let socket = match &self.transport {
            Transport::Descriptors(_) => return None,
            Transport::Plain(socket) => socket,
            Transport::Tls(stream) => stream.get_ref().0,
        };
        socket.place().map(|place| place.origin().clone())
    }

    pub(super) fn tls(stream: TlsStream<Socket>) -> Self {
        Self::on(Transport::Tls(Box::new(stream)))
    }

    fn on(transport: Transport) -> Self {
        Self {
            transport,
            pause: None,
            needs_flush: false,
            sibling: false,
        }
    }

    /// Receives what is there into `buffer`, which must not be empty.
    ///
    /// # Errors
    ///
    /// When the connection failed, or the peer sent descriptors where none are taken, or more than
    /// [`super::MAX_DESCRIPTORS`] or than this process has room for. All descriptors of the piece
    /// are closed then.
    pub fn poll_recv(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<Received>> {
        match &mut self.transport {
            Transport::Descriptors(socket) => {
                let room = buffer.len();
                let receive = |socket: &_| descriptor::receive(socket, &mut *buffer);
                // The kernel ends a piece early behind descriptors only.
                let took_all = |(bytes, descriptors): &(usize, Vec<_>)| {
                    (1..room).contains(bytes) && descriptors.is_empty()
                };
                let received = socket.poll_read(cx, receive, took_all);
                let (bytes, descriptors) = ready!(received)?;
                Poll::Ready(Ok(Received { bytes, descriptors }))
            }
            Transport::Plain(socket) => poll_read(socket, cx, buffer),
            Transport::Tls(stream) => match ready!(poll_read(&mut **stream, cx, buffer)) {
                // The peer closed without saying so in TLS. Where messages end is known by their
                // own length, so that nothing can be cut off unnoticed.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    Poll::Ready(Ok(Received::default()))
                }
                result => Poll::Ready(result),
            },
        }
    }

    /// Sends some of `bytes`, which must not be empty, and all of `descriptors` along with the first
    /// of them; says how many bytes were taken, at least one. The descriptors belong to the message
    /// that begins there, and the bytes must end with that message.
    ///
    /// # Errors
    ///
    /// When the connection failed. [`io::ErrorKind::InvalidInput`] for descriptors on a stream that
    /// passes none, and for more than [`MAX_DESCRIPTORS`]; nothing was sent then.
    pub fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
        descriptors: &[Rc<OwnedFd>],
    ) -> Poll<io::Result<usize>> {
        self.poll_send_slices(cx, &[IoSlice::new(bytes)], descriptors)
    }

    /// The same with bytes that lie in several places, of which the first must not be empty.
    ///
    /// # Errors
    ///
    /// See [`Self::poll_send`].
    pub fn poll_send_slices(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
        descriptors: &[Rc<OwnedFd>],
    ) -> Poll<io::Result<usize>> {
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(cx));
            self.pause = None;
        }
        let most = match self.passes_descriptors() {
            true => MAX_DESCRIPTORS,
            false => 0,
        };
        if descriptors.len() > most {
            let what = format!("at most {most} descriptors can be passed with a message here");
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidInput, what)));
        }
        let sent = match &mut self.transport {
            Transport::Descriptors(socket) => {
                let borrowed: Vec<_> = descriptors.iter().map(|fd| fd.as_fd()).collect();
                let sent =
                    socket.poll_write(cx, |socket| descriptor::send(socket, slices, &borrowed));
                match ready!(sent) {
                    Err(error) if is_too_many_references(&error) => return self.pause(cx),
                    result => result,
                }
            }
            Transport::Plain(socket) => ready!(poll_write(socket, cx, slices)),
            Transport::Tls(stream) => {
                self.needs_flush = true;
                ready!(poll_write(&mut **stream, cx, slices))
            }
        };
        match sent {
            Ok(0) => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            sent => Poll::Ready(sent),
        }
    }

    /// Descriptors under way count against the user, and are not read fast enough. No event tells
    /// when there are fewer.
    fn pause(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut pause = Box::pin(sleep(REFERENCES_PAUSE));
        // A new timer must be polled once before it wakes anybody.
        let pending = pause.as_mut().poll(cx).is_pending();
        self.pause = Some(pause);
        if !pending {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// Sends what TLS still holds of the bytes that were taken, and is ready when all of it is sent.
    ///
    /// # Errors
    ///
    /// When the connection failed.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.needs_flush {
            if let Transport::Tls(stream) = &mut self.transport {
                ready!(Pin::new(stream).poll_flush(cx))?;
            }
            self.needs_flush = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Receives the next piece.
    ///
    /// # Errors
    ///
    /// See [`Self::poll_recv`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn recv(&mut self, buffer: &mut [u8]) -> io::Result<Received> {
        poll_fn(|cx| self.poll_recv(cx, buffer)).await
    }

    /// Tells the peer that no more follows.
    ///
    /// # Errors
    ///
    /// When the connection failed.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection.
    pub async fn close(mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll_flush(cx)).await?;
        poll_fn(|cx| match &mut self.transport {
            Transport::Descriptors(socket) => Poll::Ready(socket.shutdown()),
            Transport::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Transport::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        })
        .await
    }

    /// Whether a vat of the same launcher is at the other end.
    pub(super) const fn is_sibling(&self) -> bool {
        self.sibling
    }

    /// Whether messages on it may carry descriptors: on the socket pairs of a launcher and its programs
    /// only. A named Unix socket can be called by any program of the user, which needs none of ours and
    /// could use up our room for them.
    pub fn passes_descriptors(&self) -> bool {
        matches!(self.transport, Transport::Descriptors(_))
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.transport {
            Transport::Descriptors(_) => "passing descriptors",
            Transport::Plain(_) => "plain",
            Transport::Tls(_) => "TLS",
        };
        f.debug_struct("Stream")
            .field("kind", &kind)
            .finish_non_exhaustive()
    }
}

/// How long to wait when the kernel takes no more descriptors for now.
const REFERENCES_PAUSE: Duration = Duration::from_millis(10);

fn is_too_many_references(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::TOOMANYREFS.raw_os_error())
}

fn poll_read(
    stream: &mut (impl AsyncRead + Unpin),
    cx: &mut Context<'_>,
    buffer: &mut [u8],
) -> Poll<io::Result<Received>> {
    let mut buffer = ReadBuf::new(buffer);
    ready!(Pin::new(stream).poll_read(cx, &mut buffer))?;
    Poll::Ready(Ok(Received {
        bytes: buffer.filled().len(),
        descriptors: Vec::new(),
    }))
}

fn poll_write(
    stream: &mut (impl AsyncWrite + Unpin),
    cx: &mut Context<'_>,
    slices: &[IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    match slices {
        [one] => Pin::new(stream).poll_write(cx, one),
        many => Pin::new(stream).poll_write_vectored(cx, many),
    }
}
