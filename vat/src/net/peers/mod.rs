//! The table of peers: one connection between two vats, whoever dialled.
//!
//! # Simultaneous dials
//!
//! Two vats may dial each other at the same time. Which of the connections is kept is decided by
//! one of the two, the vat with the greater id, and it prefers its own. It decides by saying its
//! hello: it does so on one connection at a time, and closes the others with a reason instead. The
//! vat with the lesser id uses a connection only once it was greeted there. So nothing but a hello
//! is ever sent on a connection that is not kept, and no call can be lost with it. The price is a
//! round trip before the first call when the lesser vat dials.
//!
//! # Replacing
//!
//! When the other vat connects although there is a connection already, it has lost it, or the two
//! dials have crossed. The lesser vat follows what the greater one decides. The greater vat asks on
//! the old connection whether it still lives: then the new one is closed; if no answer comes, the
//! old one is.
//!
//! # Idle connections
//!
//! Whoever called closes a connection that nobody uses, after a minute or two. The other side may want
//! it anew at that very moment: what it sent would be lost. So a connection on which nothing has come
//! for a while is asked for a sign of life before it is used for something new; if it is closed, the
//! other vat is called again.
//!
//! Peers that speak Cap'n Proto alone may have as many connections as they like; only those that
//! this vat made stand in the table.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};
use std::time::Duration;

use captp::{ConnId, Introduction};
use tokio::time::timeout;

use super::dial::Launcher;
use super::driver::{Attach, Connection, Driver, Timeouts};
use super::{Acceptor, Admission, Credentials, Dialing, PeerInfo, Stream, handoff};
use crate::core::{Ref, Shared, Vat};
use crate::error::Error;
use crate::power::SiblingsRef;
use crate::sturdy::{Address, VatId};

mod answering;
mod calling;
mod error;
mod misses;
mod peer;

pub use error::PeerError;

pub(crate) use misses::Asking;

use answering::ALIVE_WITHIN;
use misses::Misses;
use peer::Peer;

/// Most time until the other side has decided that a connection is kept.
const DECIDED_WITHIN: Duration = Duration::from_secs(10);
/// How long the reason why a connection is not taken may need to leave.
const REFUSED_WITHIN: Duration = Duration::from_secs(2);

/// A vat's connections to other vats, at most one to each. Cloning gives another handle to the same.
///
/// It lives where its [`Driver`] lives, in a tokio `LocalRuntime` or `LocalSet`.
#[derive(Clone)]
pub struct Peers(Rc<Inner>);

struct Inner {
    driver: Driver,
    credentials: Credentials,
    acceptor: Acceptor,
    /// Its key is not the one that the vat has towards others.
    apart: bool,
    dialing: RefCell<Dialing>,
    /// The launcher, which connects the vats that it launched.
    siblings: RefCell<Option<Rc<Launcher>>>,
    /// Under which references are handed over.
    session: Cell<Option<u64>>,
    admission: RefCell<Admission>,
    bootstrap: Option<Ref>,
    peers: RefCell<BTreeMap<VatId, Rc<Peer>>>,
    by_conn: RefCell<BTreeMap<ConnId, Attached>>,
}

impl Inner {
    fn new(
        driver: Driver,
        credentials: Credentials,
        bootstrap: Option<Ref>,
        dialing: Dialing,
    ) -> Self {
        Self {
            driver,
            acceptor: credentials.acceptor(),
            credentials,
            apart: false,
            dialing: RefCell::new(dialing),
            siblings: RefCell::default(),
            session: Cell::new(handoff::new_session()),
            admission: RefCell::default(),
            bootstrap,
            peers: RefCell::default(),
            by_conn: RefCell::default(),
        }
    }

    fn identify(&self, addresses: &[Address]) {
        if let Some(session) = self.session.get() {
            let identity = self.credentials.identity();
            handoff::identify(self.driver.vat(), identity, session, addresses);
        }
    }
}

/// A connection of the table.
struct Attached {
    vat: VatId,
    connection: Connection,
    misses: Misses,
}

/// Where a call to a vat goes.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_enums, reason = "a vat is oneself or another")]
pub enum Reached {
    /// Another vat, through this connection.
    Peer(Connection),
    /// This vat itself: nothing leaves it.
    Myself,
}

impl Peers {
    /// The table of the vat that `driver` drives, whose key is in `credentials`. A vat has one; see
    /// also [`apart`](Self::apart).
    ///
    /// Every peer gets `bootstrap`, usually the vat's restorer. `dialing` says who may call out for
    /// the vat as a whole; see also [`connect_by`](Self::connect_by).
    ///
    /// # Authority
    ///
    /// Every peer gets the bootstrap reference, and whatever that gives it.
    pub fn new(
        driver: Driver,
        credentials: Credentials,
        bootstrap: Option<Ref>,
        dialing: Dialing,
    ) -> Self {
        let inner = Rc::new(Inner::new(driver, credentials, bootstrap, dialing));
        let weak: Weak<Inner> = Rc::downgrade(&inner);
        inner.driver.vat().offer_netlayer(weak);
        inner.identify(&[]);
        Self(inner)
    }

    /// A further table of a vat that has one, under another key, for a purpose of its own. Peers get
    /// nothing as bootstrap reference, and references that are reached through it are never handed
    /// over: whom they are given to goes through this vat. Nor does
    /// [`NetworkRef::enliven`](crate::power::NetworkRef::enliven) use it.
    ///
    /// # Authority
    ///
    /// What `dialing` gives.
    pub fn apart(driver: Driver, credentials: Credentials, dialing: Dialing) -> Self {
        let inner = Inner::new(driver, credentials, None, dialing);
        Self(Rc::new(Inner {
            apart: true,
            ..inner
        }))
    }

    /// The table of a vat, if it is on a network.
    pub(super) fn of(vat: &Shared) -> Option<Self> {
        Self::from_netlayer(vat.netlayer()?)
    }

    pub(super) fn from_netlayer(netlayer: Rc<dyn Any>) -> Option<Self> {
        netlayer.downcast::<Inner>().ok().map(Self)
    }

    /// Says where other vats can reach this one, when somebody introduces them. Counts for
    /// connections that are made afterwards.
    pub fn set_addresses(&self, addresses: &[Address]) {
        self.0.identify(addresses);
    }

    /// The number under which references are handed over, see [`captp::Identity::new`]. `None`: there
    /// was no random number, and none are.
    #[cfg(feature = "launch")]
    pub(crate) fn session(&self) -> Option<u64> {
        self.0.session.get()
    }

    /// From now on it is this one, which whoever assigned it knows.
    pub(crate) fn set_session(&self, session: u64) {
        self.0.session.set(Some(session));
        self.0.identify(&[]);
    }

    pub(super) fn dialing(&self) -> Dialing {
        self.0.dialing.borrow().clone()
    }

    /// From now on it calls out so.
    ///
    /// # Authority
    ///
    /// See [`Dialing`].
    pub fn set_dialing(&self, dialing: Dialing) {
        self.0.dialing.replace(dialing);
    }

    /// Who is asked first for the way to a vat to which this one is introduced.
    pub(crate) fn set_siblings(&self, launcher: SiblingsRef) {
        self.0
            .siblings
            .replace(Some(Rc::new(Launcher::new(launcher))));
    }

    /// How this vat calls another one, to which it was introduced.
    pub(super) fn dialing_after(&self, introduction: &Introduction) -> Dialing {
        match &*self.0.siblings.borrow() {
            Some(launcher) => self.dialing().after(launcher.clone(), introduction),
            None => self.dialing(),
        }
    }

    /// Who lets callers in: with the [default limits](super::AdmissionLimits), unless another one was
    /// [set](Self::set_admission).
    pub fn admission(&self) -> Admission {
        self.0.admission.borrow().clone()
    }

    /// From now on, `admission` lets callers in. Counts for connections that come in afterwards.
    pub fn set_admission(&self, admission: Admission) {
        self.0.admission.replace(admission);
    }

    /// The connection to a vat: the one that is there, or a new one to the first of `addresses`
    /// where it answers. Calls at the same time share one dial, also its failure.
    ///
    /// # Authority
    ///
    /// Who dials was said when the table was made. A connection that is there is used whoever made
    /// it.
    ///
    /// # Errors
    ///
    /// See [`PeerError`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing; a dial that has begun goes on.
    pub async fn connect(&self, vat: VatId, addresses: &[Address]) -> Result<Reached, PeerError> {
        self.connect_by(vat, addresses, &self.dialing()).await
    }

    /// The same, with what is dialled here and now dialled so.
    ///
    /// # Errors
    ///
    /// See [`PeerError`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing; a dial that has begun goes on.
    pub async fn connect_by(
        &self,
        vat: VatId,
        addresses: &[Address],
        dialing: &Dialing,
    ) -> Result<Reached, PeerError> {
        if vat == self.id() {
            return Ok(Reached::Myself);
        }
        loop {
            let peer = self.peer(vat);
            if let Some(connection) = peer.live() {
                if connection.is_doubtful() {
                    // One that does not answer is as good as before: its vat may be busy.
                    let _ = connection.answers(ALIVE_WITHIN).await;
                }
                if connection.is_open() {
                    return Ok(Reached::Peer(connection));
                }
                // It is just closing: the next one begins after its end.
                connection.gone().await;
                peer.forget(&connection);
                continue;
            }
            let under_way = peer.dial.borrow().clone();
            let dial = under_way.unwrap_or_else(|| self.begin_dial(vat, &peer, addresses, dialing));
            match dial.outcome().await {
                Ok(connection) => return Ok(Reached::Peer(connection)),
                Err(error) if dial.covers(addresses, dialing) => return Err(error),
                // Somebody else's dial failed, which says nothing of ours.
                Err(_) => {}
            }
        }
    }

    /// The vat at the other end of a connection of this table.
    pub fn by_conn(&self, conn: ConnId) -> Option<VatId> {
        let by_conn = self.0.by_conn.borrow();
        by_conn.get(&conn).map(|attached| attached.vat)
    }

    /// The connection to a vat, if there is one now.
    pub fn connected(&self, vat: VatId) -> Option<Connection> {
        let peer = self.0.peers.borrow().get(&vat).cloned()?;
        peer.live().filter(Connection::is_open)
    }

    /// How many connections there are, those that are not decided included.
    #[cfg(test)]
    pub(super) fn connections(&self) -> usize {
        self.0.by_conn.borrow().len()
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.0.by_conn.borrow().is_empty() && self.0.peers.borrow().is_empty()
    }

    pub(super) fn vat(&self) -> &Vat {
        self.0.driver.vat()
    }

    /// This vat's own id.
    pub fn id(&self) -> VatId {
        self.0.credentials.id()
    }

    /// What this vat answers calls with.
    pub fn acceptor(&self) -> &Acceptor {
        &self.0.acceptor
    }

    /// What every peer gets.
    pub(super) fn bootstrap(&self) -> Option<Ref> {
        self.0.bootstrap.clone()
    }

    fn peer(&self, vat: VatId) -> Rc<Peer> {
        let mut peers = self.0.peers.borrow_mut();
        Rc::clone(peers.entry(vat).or_default())
    }

    /// `called`: where we called it; `None` if it called us.
    fn attach(&self, stream: Stream, peer: &PeerInfo, called: Option<&[Address]>) -> Connection {
        let bootstrap = self.0.bootstrap.clone();
        let attach = Attach::network(bootstrap, peer.vat_protocol);
        let attach = match (stream.is_sibling(), called) {
            (false, _) => attach,
            (true, Some(_)) => attach.with_timeouts(Timeouts::caller()),
            (true, None) => attach.with_timeouts(Timeouts::sibling()),
        };
        let addresses = called.unwrap_or_default().to_vec();
        let attach = match self.0.apart {
            true => attach,
            false => attach.with_peer(peer.id, addresses),
        };
        let misses = Misses::from(stream.origin());
        let connection = self.0.driver.attach(stream, attach);
        let attached = Attached {
            vat: peer.id,
            connection: connection.clone(),
            misses,
        };
        let mut by_conn = self.0.by_conn.borrow_mut();
        by_conn.insert(connection.id(), attached);
        let (peers, ending) = (Rc::downgrade(&self.0), connection.clone());
        tokio::task::spawn_local(async move {
            ending.gone().await;
            if let Some(inner) = peers.upgrade() {
                Self(inner).lost(&ending);
            }
        });
        connection
    }

    /// A connection is over.
    fn lost(&self, connection: &Connection) {
        let attached = self.0.by_conn.borrow_mut().remove(&connection.id());
        let Some(Attached { vat, .. }) = attached else {
            return;
        };
        self.peer(vat).forget(connection);
        self.tidy(vat);
    }

    /// Forgets a vat of which nothing is known.
    fn tidy(&self, vat: VatId) {
        let mut peers = self.0.peers.borrow_mut();
        if peers.get(&vat).is_some_and(|peer| peer.is_idle()) {
            peers.remove(&vat);
        }
    }

    /// This connection is the one that is kept.
    fn keep(&self, peer: &Peer, connection: &Connection) {
        let old = peer.live.replace(Some(connection.clone()));
        if let Some(old) = old.filter(Connection::is_open) {
            old.close_because(&Error::disconnected(REPLACED));
        }
        peer.changed.notify_waiters();
    }

    /// Tells the peer why the stream is not taken. Nothing was said on it, not even a hello.
    async fn refuse(&self, stream: Stream, reason: &'static str) {
        let connection = self.0.driver.attach(stream, Attach::plain(None));
        connection.close_because(&Error::disconnected(reason));
        drop(timeout(REFUSED_WITHIN, connection.gone()).await); // it ends by itself
    }
}

impl std::fmt::Debug for Peers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Peers")
            .field("id", &self.id())
            .field("peers", &self.0.peers.borrow().len())
            .finish_non_exhaustive()
    }
}

/// Why the loser of two simultaneous dials is closed.
const REPLACED: &str = "replaced by the connection that the other side dialled";
/// Why a connection is closed that the other side did not decide on in time.
const NO_HELLO: &str = "no hello came in time";
