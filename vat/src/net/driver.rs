//! The driver: one vat with its connections on tokio's current-thread runtime.
//!
//! The vat's core knows no socket and no runtime. The driver feeds it what arrives, lets it run its
//! turns, and writes what the turns produced: one write per connection for everything that a batch
//! of turns said.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use captp::{ConnId, ConnOptions, Exception, Transmit, VatKey};
use tokio::sync::Notify;

use super::Stream;
use crate::core::{Ref, Vat};
use crate::error::Error;
use crate::sturdy::{Address, VatId};

/// Bytes that a stream is given ahead of what its socket takes.
const AHEAD: usize = 256 << 10;
/// Turns that run before connections are served again.
const TURNS: usize = 1_000;
/// Pieces read from one connection before the vat runs and other connections have their turn.
const PIECES: usize = 16;
/// Size of a piece: what a connection holds of memory while it is idle.
const PIECE: usize = 16 << 10;
/// Most bytes that wait for a peer to read them; beyond, its connection ends. The engine's own limit
/// counts what it was not asked for yet only.
const BACKLOG: usize = 32 << 20;
/// How long the last bytes of a closed connection may take to leave.
const LINGER: Duration = Duration::from_secs(1);

/// A vat with its connections. Cloning gives another handle to the same.
///
/// It lives in a tokio `LocalSet`; its tasks end when the last handle is dropped.
#[derive(Clone)]
pub struct Driver(Rc<Inner>);

struct Inner {
    vat: Vat,
    wake: Arc<Notify>,
    links: RefCell<BTreeMap<ConnId, Rc<Link>>>,
    /// A connection has sent everything, or is gone.
    progress: Notify,
    clock: super::handoff::Clock,
}

/// What the driver and a connection's task share.
#[derive(Default)]
struct Link {
    transmit: RefCell<Transmit>,
    waker: RefCell<Option<Waker>>,
    /// The stream holds bytes that the transport has not taken.
    unsent: Cell<bool>,
    /// How many.
    queued: Cell<usize>,
    closed: Cell<bool>,
    gone: Notify,
    /// Something was received.
    heard: Notify,
    /// Why the connection is closed.
    reason: RefCell<Option<Rc<str>>>,
}

impl Link {
    fn is_flushed(&self) -> bool {
        self.transmit.borrow().is_empty() && !self.unsent.get()
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// How a stream is to be used as a connection.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Attach {
    /// Who the peer is, if the transport has proved it, and where others may reach it. Vats that
    /// speak our hello hand references over to those that they know.
    pub peer: Option<(VatId, Vec<Address>)>,
    /// What the peer gets as bootstrap reference; nothing if `None`.
    pub bootstrap: Option<Ref>,
    /// Whether the two speak our hello first.
    pub hello: bool,
}

impl Attach {
    /// A socketpair between launcher and child, or between siblings: hello and descriptors.
    #[must_use]
    pub fn sibling(bootstrap: Option<Ref>) -> Self {
        Self {
            peer: None,
            bootstrap,
            hello: true,
        }
    }

    /// A network connection; `vat_protocol` is whether the peer speaks `vat/1`.
    #[must_use]
    pub fn network(bootstrap: Option<Ref>, vat_protocol: bool) -> Self {
        Self {
            peer: None,
            bootstrap,
            hello: vat_protocol,
        }
    }

    /// Says who the peer is, and where others may reach it.
    #[must_use]
    pub fn with_peer(mut self, peer: VatId, addresses: Vec<Address>) -> Self {
        self.peer = Some((peer, addresses));
        self
    }

    /// A plain Cap'n Proto peer.
    #[must_use]
    pub fn plain(bootstrap: Option<Ref>) -> Self {
        Self {
            peer: None,
            bootstrap,
            hello: false,
        }
    }
}

impl Driver {
    /// Drives `vat` from now on.
    ///
    /// # Panics
    ///
    /// Outside of a tokio `LocalSet`.
    pub fn new(vat: Vat) -> Self {
        let wake = Arc::new(Notify::new());
        let waking = wake.clone();
        vat.on_wake(Arc::new(move || waking.notify_one()));
        let inner = Rc::new(Inner {
            vat,
            wake: wake.clone(),
            links: RefCell::default(),
            progress: Notify::new(),
            clock: super::handoff::Clock::new(),
        });
        let weak = Rc::downgrade(&inner);
        tokio::task::spawn_local(async move {
            loop {
                wake.notified().await;
                let Some(inner) = weak.upgrade() else { return };
                inner.pump();
            }
        });
        inner.wake.notify_one();
        Self(inner)
    }

    /// Whether it is driven, without keeping it so.
    #[cfg(test)]
    pub(super) fn downgrade(&self) -> WeakDriver {
        WeakDriver(Rc::downgrade(&self.0))
    }

    /// The vat.
    pub fn vat(&self) -> &Vat {
        &self.0.vat
    }

    /// Makes `stream` a connection of the vat.
    ///
    /// # Authority
    ///
    /// The peer gets the bootstrap reference, and whatever that gives it.
    pub fn attach(&self, stream: Stream, attach: Attach) -> Connection {
        let Attach {
            peer,
            bootstrap,
            hello,
        } = attach;
        let vat = &self.0.vat;
        let mut options = ConnOptions::default()
            .with_hello(hello)
            .with_descriptors(stream.passes_descriptors());
        if let Some((peer, addresses)) = peer {
            let addresses = addresses.iter().map(Address::to_string).collect();
            options = options
                .with_peer(VatKey(*peer.as_bytes()))
                .with_peer_addresses(addresses);
        }
        if let Some(bootstrap) = &bootstrap {
            options = options.with_bootstrap(vat.node(bootstrap));
        }
        let conn = vat.engine(|engine| engine.open(options));
        let link = Rc::new(Link::default());
        self.0.links.borrow_mut().insert(conn, link.clone());
        let task = Task {
            inner: Rc::downgrade(&self.0),
            conn,
            stream,
            link: link.clone(),
        };
        tokio::task::spawn_local(task.run());
        self.0.wake.notify_one();
        Connection {
            inner: Rc::downgrade(&self.0),
            conn,
            link,
        }
    }

    /// Waits until every connection has sent what it had to send, at most `limit`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn flushed(&self, limit: Duration) {
        let all_sent = async {
            loop {
                let progress = self.0.progress.notified();
                self.0.pump();
                if self.0.links.borrow().values().all(|link| link.is_flushed()) {
                    return;
                }
                progress.await;
            }
        };
        drop(tokio::time::timeout(limit, all_sent).await); // what is stuck stays behind
    }
}

#[cfg(test)]
pub(super) struct WeakDriver(Weak<Inner>);

#[cfg(test)]
impl WeakDriver {
    pub(super) fn is_driven(&self) -> bool {
        self.0.strong_count() > 0
    }
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver")
            .field("vat", &self.0.vat)
            .field("connections", &self.0.links.borrow().len())
            .finish_non_exhaustive()
    }
}

impl Inner {
    /// Runs the vat and hands what it said to the connections.
    fn pump(&self) {
        self.clock.tick(&self.vat, &self.wake);
        if self.vat.run(TURNS) == TURNS {
            self.wake.notify_one(); // there is more: after the others
        }
        for (conn, reason) in self.vat.take_closed() {
            tracing::debug!(%conn, err = %reason, "connection closed");
            if let Some(link) = self.links.borrow().get(&conn) {
                link.reason.replace(Some(reason.to_string().into()));
                link.closed.set(true);
                link.wake();
            }
        }
        super::handoff::answer_dials(&self.vat, &self.wake);
        while let Some(conn) = self.vat.engine(|engine| engine.pending_transmit()) {
            let links = self.links.borrow();
            let mut orphan = Transmit::new();
            match links.get(&conn) {
                Some(link) => {
                    let mut transmit = link.transmit.borrow_mut();
                    self.vat
                        .engine(|engine| engine.poll_transmit(conn, &mut transmit));
                    if transmit.len() + link.queued.get() > BACKLOG && !link.closed.replace(true) {
                        transmit.clear();
                        tracing::warn!(%conn, "a connection whose peer does not read is closed");
                        self.vat.engine(|engine| {
                            engine.handle_closed(conn, "the peer does not read what it is sent");
                        });
                        self.wake.notify_one();
                    }
                    link.wake();
                }
                None => {
                    self.vat
                        .engine(|engine| engine.poll_transmit(conn, &mut orphan));
                }
            }
            if self.vat.engine(|engine| engine.has_held()) {
                self.wake.notify_one(); // there may be room for them now
            }
        }
    }
}

/// One connection of a driven vat. Dropping it leaves the connection open.
#[derive(Clone)]
pub struct Connection {
    inner: Weak<Inner>,
    conn: ConnId,
    link: Rc<Link>,
}

impl Connection {
    /// What the peer offers to whoever connects: a promise reference.
    pub fn bootstrap(&self) -> Option<Ref> {
        let inner = self.inner.upgrade()?;
        let node = inner.vat.engine(|engine| engine.bootstrap(self.conn));
        inner.wake.notify_one();
        Some(inner.vat.adopt(node))
    }

    /// How many round trips our calls on this connection have cost so far, measured: a call that
    /// was made after the answer of another had come belongs to the next one; calls that left
    /// together, or pipelined on each other, share one. 0 once the connection is gone.
    pub fn round_trips(&self) -> u64 {
        let stats = self
            .inner
            .upgrade()
            .and_then(|inner| inner.vat.engine(|e| e.stats(self.conn)));
        stats.map_or(0, |stats| stats.round_trips)
    }

    /// Ends the connection; everything through it breaks.
    pub fn close(&self) {
        self.end(None);
    }

    /// Ends the connection, and tells the peer why.
    pub fn close_because(&self, reason: &Error) {
        self.end(Some(Exception::from(reason)));
    }

    fn end(&self, reason: Option<Exception>) {
        if let Some(inner) = self.inner.upgrade() {
            inner.vat.engine(|engine| engine.close(self.conn, reason));
            inner.wake.notify_one();
        }
    }

    /// The engine's name for it.
    pub(crate) fn id(&self) -> ConnId {
        self.conn
    }

    /// Whether it can be used: neither side has closed it, as far as is known.
    pub fn is_open(&self) -> bool {
        self.inner
            .upgrade()
            .is_some_and(|inner| inner.vat.engine(|engine| engine.stats(self.conn)).is_some())
    }

    /// Waits until the peer has said its hello, or none is spoken. `false`: the connection is closed.
    pub(crate) async fn greeted(&self) -> bool {
        loop {
            let (heard, gone) = (self.link.heard.notified(), self.link.gone.notified());
            let greeted = self
                .inner
                .upgrade()
                .is_some_and(|inner| inner.vat.engine(|engine| engine.is_greeted(self.conn)));
            if greeted || !self.is_open() {
                return greeted;
            }
            tokio::select! {
                () = heard => {}
                () = gone => {}
            }
        }
    }

    /// Why it is closed; empty as long as it is open.
    pub(crate) fn end_reason(&self) -> Rc<str> {
        self.link.reason.borrow().clone().unwrap_or_default()
    }

    /// Waits until the connection is gone.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    pub async fn gone(&self) {
        loop {
            let gone = self.link.gone.notified();
            let listed = self.inner.upgrade().is_some_and(|inner| {
                let links = inner.links.borrow();
                links
                    .get(&self.conn)
                    .is_some_and(|link| Rc::ptr_eq(link, &self.link))
            });
            if !listed {
                return;
            }
            gone.await;
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Connection").field(&self.conn).finish()
    }
}

/// The task of one connection: it alone touches the stream.
struct Task {
    inner: Weak<Inner>,
    conn: ConnId,
    stream: Stream,
    link: Rc<Link>,
}

/// What a look at the stream brought.
enum Step {
    /// Something arrived: the vat has to run.
    Received,
    /// The connection ends.
    End(Result<(), io::Error>),
}

impl Task {
    async fn run(mut self) {
        let mut buffer = vec![0; PIECE];
        let ended = loop {
            let step = std::future::poll_fn(|cx| self.poll(cx, &mut buffer)).await;
            match step {
                Step::Received => match self.inner.upgrade() {
                    Some(inner) => inner.pump(),
                    None => break Ok(()),
                },
                Step::End(result) => break result,
            }
            // Other connections have their turn, also when this one always has something to say.
            tokio::task::yield_now().await;
        };
        self.end(&ended);
        if self.link.closed.get() {
            let flush = std::future::poll_fn(|cx| self.poll_write(cx));
            drop(tokio::time::timeout(LINGER, flush).await); // the peer may be gone already
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<Step> {
        self.link.waker.replace(Some(cx.waker().clone()));
        if let Poll::Ready(Err(error)) = self.poll_write(cx) {
            return Poll::Ready(Step::End(Err(error)));
        }
        if self.link.closed.get() {
            // What is left is sent after the end, as far as the peer takes it in time.
            return Poll::Ready(Step::End(Ok(())));
        }
        self.poll_read(cx, buffer)
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut transmit = self.link.transmit.borrow_mut();
        // Only as much as can be sent soon: what stays behind is counted by the engine, which ends
        // the connection of a peer that does not read.
        let flushed = loop {
            if self.stream.queued_bytes() < AHEAD
                && let Some((run, fds)) = transmit.head()
            {
                let fds = fds
                    .iter()
                    .map(|fd| fd.try_clone())
                    .collect::<io::Result<_>>()?;
                let sent = run.len();
                self.stream
                    .queue(run.to_vec(), fds)
                    .map_err(io::Error::other)?;
                transmit.advance(sent);
                continue;
            }
            let flushed = self.stream.poll_flush(cx);
            if !matches!(flushed, Poll::Ready(Ok(()))) || transmit.is_empty() {
                break flushed;
            }
        };
        self.link.unsent.set(flushed.is_pending());
        self.link.queued.set(self.stream.queued_bytes());
        if flushed.is_ready()
            && let Some(inner) = self.inner.upgrade()
        {
            inner.progress.notify_waiters();
        }
        flushed
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<Step> {
        let Some(inner) = self.inner.upgrade() else {
            return Poll::Ready(Step::End(Ok(())));
        };
        for piece in 0..PIECES {
            match self.stream.poll_recv(cx, buffer) {
                Poll::Ready(Ok(received)) if received.bytes > 0 => {
                    let bytes = buffer.get(..received.bytes).unwrap_or_default();
                    let fds = received.descriptors;
                    inner.vat.feed(self.conn, bytes, fds);
                    self.link.heard.notify_waiters();
                }
                Poll::Ready(Ok(_)) if piece > 0 => return Poll::Ready(Step::Received),
                Poll::Ready(Ok(_)) => return Poll::Ready(Step::End(Ok(()))),
                Poll::Ready(Err(error)) => return Poll::Ready(Step::End(Err(error))),
                Poll::Pending if piece > 0 => return Poll::Ready(Step::Received),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Step::Received)
    }

    /// The stream is of no further use: tells the vat, unless it was the vat that closed it.
    fn end(&self, ended: &Result<(), io::Error>) {
        let Some(inner) = self.inner.upgrade() else {
            return;
        };
        if !self.link.closed.get() {
            let reason = match ended {
                Ok(()) => "the peer closed the connection".to_owned(),
                Err(error) => error.to_string(),
            };
            inner
                .vat
                .engine(|engine| engine.handle_closed(self.conn, &reason));
            self.link.reason.replace(Some(reason.into()));
        }
        inner.links.borrow_mut().remove(&self.conn);
        inner.pump();
        inner.progress.notify_waiters();
        self.link.gone.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
    use tokio::task::LocalSet;

    use super::*;
    use crate::prelude::*;

    #[vat::interface]
    trait Adder {
        fn add(&mut self, turn: &Turn, by: u64) -> Result<u64>;
        fn next(&self, turn: &Turn) -> Result<AdderRef>;
        fn call_back(&self, turn: &Turn, other: AdderRef, by: u64) -> Result<Promise<u64>>;
    }

    #[derive(Clone, vat::Object)]
    struct Sum(u64);

    impl Adder for Sum {
        fn add(&mut self, _turn: &Turn, by: u64) -> Result<u64> {
            self.0 = self
                .0
                .checked_add(by)
                .ok_or_else(|| Error::failed("too much"))?;
            Ok(self.0)
        }

        fn next(&self, turn: &Turn) -> Result<AdderRef> {
            Ok(AdderRef::new(turn, Self(self.0)))
        }

        fn call_back(&self, _turn: &Turn, other: AdderRef, by: u64) -> Result<Promise<u64>> {
            Ok(other.add(by))
        }
    }

    /// Two vats in one thread, joined by a socketpair; the second offers a `Sum`.
    fn joined() -> (Driver, Driver, Connection) {
        let flags = SocketFlags::CLOEXEC;
        let (a, b) = socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None).unwrap();
        let caller = Driver::new(Vat::new("caller"));
        let callee = Driver::new(Vat::new("callee"));
        let sum = callee
            .vat()
            .turn(|turn| Ok(AdderRef::new(turn, Sum(0))))
            .unwrap();
        callee.attach(
            Stream::from_socketpair(b).unwrap(),
            Attach::sibling(Some(sum.into())),
        );
        let connection = caller.attach(Stream::from_socketpair(a).unwrap(), Attach::sibling(None));
        (caller, callee, connection)
    }

    fn run(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let limited = async { tokio::time::timeout(Duration::from_secs(20), test).await };
        LocalSet::new().block_on(&runtime, limited).unwrap();
    }

    #[test]
    fn calls_pipeline_and_call_back_over_a_socketpair() {
        run(async {
            let (caller, _callee, connection) = joined();
            let sum = AdderRef::from(connection.bootstrap().unwrap());
            assert_eq!(sum.add(2).await.unwrap(), 2);
            assert_eq!(sum.next().next().add(5).await.unwrap(), 7);
            let own = caller
                .vat()
                .turn(|turn| Ok(AdderRef::new(turn, Sum(100))))
                .unwrap();
            assert_eq!(sum.call_back(own, 11).await.unwrap(), 111);
            let refused = sum.add(u64::MAX).await.unwrap_err();
            assert_eq!(
                (refused.kind(), refused.to_string().contains("too much")),
                (ErrorKind::Failed, true)
            );
            assert_eq!(sum.add(1).await.unwrap(), 3, "the failed turn left a trace");
        });
    }

    #[test]
    fn a_peer_that_does_not_read_loses_its_connection() {
        #[vat::interface]
        trait Sink {
            fn put(&mut self, turn: &Turn, bytes: Vec<u8>) -> Result<()>;
        }

        run(async {
            let flags = SocketFlags::CLOEXEC;
            let (a, silent) =
                socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None).unwrap();
            let caller = Driver::new(Vat::new("caller"));
            let connection =
                caller.attach(Stream::from_socketpair(a).unwrap(), Attach::plain(None));
            let sink = SinkRef::from(connection.bootstrap().unwrap());
            let fill = async {
                loop {
                    sink.put(vec![0; 1 << 20]).detach();
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            };
            tokio::select! {
                () = connection.gone() => {}
                () = fill => {}
            }
            let lost = sink.put(Vec::new()).await.unwrap_err();
            assert_eq!(lost.kind(), ErrorKind::Disconnected);
            drop(silent);
        });
    }

    #[test]
    fn a_lost_connection_breaks_what_went_through_it() {
        run(async {
            let (_caller, callee, connection) = joined();
            let sum = AdderRef::from(connection.bootstrap().unwrap());
            assert_eq!(sum.add(2).await.unwrap(), 2);
            drop(callee);
            connection.gone().await;
            assert_eq!(
                sum.add(1).await.unwrap_err().kind(),
                ErrorKind::Disconnected
            );
        });
    }

    #[test]
    fn descriptors_travel_with_references() {
        run(async {
            let (caller, callee, connection) = joined();
            let sum = AdderRef::from(connection.bootstrap().unwrap());
            let pipe = rustix::pipe::pipe().unwrap();
            let own = caller
                .vat()
                .turn(|turn| Ok(AdderRef::new(turn, Sum(1))))
                .unwrap();
            let with_fd = AdderRef::from(Ref::from(own).with_fd(Rc::new(pipe.1)));
            assert_eq!(sum.call_back(with_fd, 1).await.unwrap(), 2);
            drop(callee);
        });
    }
}
