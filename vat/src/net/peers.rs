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
//! Peers that speak Cap'n Proto alone may have as many connections as they like; only those that
//! this vat made stand in the table.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use captp::ConnId;
use tokio::sync::{Notify, oneshot, watch};
use tokio::time::{sleep, timeout};

use super::driver::{Attach, Connection, Driver};
use super::{Acceptor, ConnectError, Credentials, Dialing, PeerInfo, Stream, dial, handoff};
use crate::core::{Ref, Shared, Vat};
use crate::error::Error;
use crate::sturdy::{Address, VatId};

/// How long a connection of the other side waits while ours is being made as well.
const LEAD: Duration = Duration::from_millis(500);
/// Most time until the other side has decided that a connection is kept.
const DECIDED_WITHIN: Duration = Duration::from_secs(10);
/// How long a connection may take to show that it lives when another one has come.
const ALIVE_WITHIN: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 8 });
/// How long the reason why a connection is not taken may need to leave.
const REFUSED_WITHIN: Duration = Duration::from_secs(2);

/// A vat's connections to other vats, at most one to each. Cloning gives another handle to the same.
///
/// It lives where its [`Driver`] lives, in a tokio `LocalSet`.
#[derive(Clone)]
pub struct Peers(Rc<Inner>);

struct Inner {
    driver: Driver,
    credentials: Credentials,
    acceptor: Acceptor,
    dialing: RefCell<Dialing>,
    bootstrap: Option<Ref>,
    peers: RefCell<BTreeMap<VatId, Rc<Peer>>>,
    by_conn: RefCell<BTreeMap<ConnId, VatId>>,
}

/// What is known of one other vat. Kept as long as any of it is.
#[derive(Default)]
struct Peer {
    /// The connection that is kept.
    live: RefCell<Option<Connection>>,
    /// Our dial that is under way.
    dial: RefCell<Option<Dial>>,
    /// A connection that the lesser vat made, while ours is under way.
    held: RefCell<Option<Held>>,
    /// Connections that the greater vat made and has not greeted us on.
    undecided: Cell<usize>,
    /// Any of this has changed.
    changed: Notify,
}

/// A dial that everybody waits for who wants the same vat.
#[derive(Clone)]
struct Dial {
    addresses: Rc<[Address]>,
    dialing: Dialing,
    outcome: watch::Receiver<Option<Outcome>>,
}

type Outcome = Result<Connection, PeerError>;

/// A stream whose fate is not decided; with the connection, once it is taken.
struct Held {
    stream: Stream,
    taken: oneshot::Sender<Connection>,
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
    /// The table of the vat that `driver` drives, whose key is in `credentials`. A vat has one; a
    /// further one under another key, which it may make for a purpose of its own, is not what
    /// [`NetworkRef::enliven`](crate::power::NetworkRef::enliven) uses.
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
        let inner = Rc::new(Inner {
            driver,
            acceptor: credentials.acceptor(),
            credentials,
            dialing: RefCell::new(dialing),
            bootstrap,
            peers: RefCell::default(),
            by_conn: RefCell::default(),
        });
        let weak: Weak<Inner> = Rc::downgrade(&inner);
        handoff::identify(inner.driver.vat(), inner.credentials.identity(), &[]);
        inner.driver.vat().offer_netlayer(weak);
        Self(inner)
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
        handoff::identify(
            self.0.driver.vat(),
            self.0.credentials.identity(),
            addresses,
        );
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

    /// Takes a stream on which `peer` has called this vat, and stays with it to its end, or until it
    /// is decided that it is not kept.
    ///
    /// # Cancel safety
    ///
    /// To be run to its end: dropping the future early may close the connection.
    pub async fn accepted(&self, stream: Stream, peer: PeerInfo) {
        if !peer.vat_protocol {
            self.attach(stream, &peer, &[]).gone().await;
        } else if peer.id == self.id() {
            let reason = "a vat does not call itself over the network";
            self.refuse(stream, reason).await;
        } else if peer.id > self.id() {
            self.accepted_from_greater(stream, &peer).await;
        } else {
            self.accepted_from_lesser(stream, &peer).await;
        }
    }

    /// The vat at the other end of a connection of this table.
    pub fn by_conn(&self, conn: ConnId) -> Option<VatId> {
        self.0.by_conn.borrow().get(&conn).copied()
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

    fn attach(&self, stream: Stream, peer: &PeerInfo, addresses: &[Address]) -> Connection {
        let attach = Attach::network(self.0.bootstrap.clone(), peer.vat_protocol)
            .with_peer(peer.id, addresses.to_vec());
        let connection = self.0.driver.attach(stream, attach);
        let mut by_conn = self.0.by_conn.borrow_mut();
        by_conn.insert(connection.id(), peer.id);
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
        let vat = self.0.by_conn.borrow_mut().remove(&connection.id());
        let Some(vat) = vat else { return };
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

    /// The greater vat has called: it decides, by its hello.
    async fn accepted_from_greater(&self, stream: Stream, info: &PeerInfo) {
        let connection = self.attach(stream, info, &[]);
        let peer = self.peer(info.id);
        peer.undecided.set(peer.undecided.get() + 1);
        let greeted = timeout(DECIDED_WITHIN, connection.greeted()).await;
        peer.undecided.set(peer.undecided.get() - 1);
        if greeted == Ok(true) {
            self.keep(&peer, &connection);
        } else {
            connection.close_because(&Error::disconnected(NO_HELLO));
            peer.changed.notify_waiters();
        }
        connection.gone().await;
        self.tidy(info.id);
    }

    /// The lesser vat has called: we decide.
    async fn accepted_from_lesser(&self, stream: Stream, info: &PeerInfo) {
        while let Some(live) = self.peer(info.id).live() {
            if live.is_open() && is_alive(&live).await {
                return self.refuse(stream, REPLACED).await;
            }
            live.close_because(&Error::disconnected(NO_ANSWER));
            self.peer(info.id).forget(&live);
        }
        // From here on nothing else happens until it is kept or held.
        let peer = self.peer(info.id);
        let connection = if peer.dial.borrow().is_some() {
            let (taken, connection) = oneshot::channel();
            let older = peer.held.replace(Some(Held { stream, taken }));
            peer.changed.notify_waiters();
            drop(older); // its caller has called again
            connection.await.ok()
        } else {
            let connection = self.attach(stream, info, &[]);
            self.keep(&peer, &connection);
            Some(connection)
        };
        if let Some(connection) = connection {
            connection.gone().await;
        }
        self.tidy(info.id);
    }

    /// Dials, for everybody who waits.
    fn begin_dial(
        &self,
        vat: VatId,
        peer: &Rc<Peer>,
        addresses: &[Address],
        dialing: &Dialing,
    ) -> Dial {
        let (tell, outcome) = watch::channel(None);
        let dial = Dial {
            addresses: addresses.into(),
            dialing: dialing.clone(),
            outcome,
        };
        peer.dial.replace(Some(dial.clone()));
        let (peers, peer, task) = (self.clone(), peer.clone(), dial.clone());
        tokio::task::spawn_local(async move {
            let outcome = peers.dial(vat, &peer, &task).await;
            peer.dial.replace(None);
            if let Some(held) = peer.held.take() {
                // It was decided for another one.
                let peers = peers.clone();
                tokio::task::spawn_local(async move { peers.refuse(held.stream, REPLACED).await });
            }
            peers.tidy(vat);
            tell.send_replace(Some(outcome));
        });
        dial
    }

    async fn dial(&self, vat: VatId, peer: &Peer, dial: &Dial) -> Outcome {
        // The greater vat has called just now: its hello is on its way.
        while peer.undecided.get() > 0 && peer.live().is_none() {
            peer.changed.notified().await;
        }
        if let Some(live) = peer.live().filter(Connection::is_open) {
            return Ok(live);
        }
        if !dial.dialing.is_possible() {
            return Err(PeerError::NoPower { vat });
        }
        let connector = self.0.credentials.connector(vat);
        let made = dial::connect(&dial.addresses, &connector, &dial.dialing);
        tokio::select! {
            biased;
            live = peer.kept() => Ok(live),
            made = made => match made {
                Ok((stream, info)) => self.dialled(peer, stream, &info, &dial.addresses).await,
                Err(error) => self.adopt(peer, vat).ok_or_else(|| PeerError::from(error)),
            },
            () = peer.held_for(LEAD) => match self.adopt(peer, vat) {
                Some(connection) => Ok(connection),
                None => Err(PeerError::Ended),
            },
        }
    }

    /// Our dial was answered.
    async fn dialled(
        &self,
        peer: &Peer,
        stream: Stream,
        info: &PeerInfo,
        addresses: &[Address],
    ) -> Outcome {
        let connection = self.attach(stream, info, addresses);
        if self.id() > info.id || !info.vat_protocol {
            self.keep(peer, &connection);
            return Ok(connection);
        }
        let greeted = tokio::select! {
            biased;
            live = peer.kept() => {
                connection.close();
                return Ok(live);
            }
            greeted = timeout(DECIDED_WITHIN, connection.greeted()) => greeted,
        };
        if greeted == Ok(true) {
            self.keep(peer, &connection);
            return Ok(connection);
        }
        if greeted.is_err() {
            connection.close_because(&Error::disconnected(NO_HELLO));
        }
        connection.gone().await;
        let reason = connection.end_reason();
        // The connection that the other side dialled is on its way.
        let patience = match reason.contains(REPLACED) {
            true => DECIDED_WITHIN,
            false => LEAD,
        };
        let kept = timeout(patience, peer.kept()).await;
        kept.map_err(|_| PeerError::NotKept {
            vat: info.id,
            reason,
        })
    }

    /// Takes the connection that the lesser vat made.
    fn adopt(&self, peer: &Peer, vat: VatId) -> Option<Connection> {
        let held = peer.held.take()?;
        let info = PeerInfo {
            id: vat,
            vat_protocol: true,
        };
        let connection = self.attach(held.stream, &info, &[]);
        self.keep(peer, &connection);
        drop(held.taken.send(connection.clone())); // whoever accepted it may be gone
        Some(connection)
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

impl Peer {
    fn live(&self) -> Option<Connection> {
        self.live.borrow().clone()
    }

    fn forget(&self, connection: &Connection) {
        let is_it = |live: &Connection| live.id() == connection.id();
        if self.live.borrow().as_ref().is_some_and(is_it) {
            self.live.replace(None);
            self.changed.notify_waiters();
        }
    }

    fn is_idle(&self) -> bool {
        self.live.borrow().is_none()
            && self.dial.borrow().is_none()
            && self.held.borrow().is_none()
            && self.undecided.get() == 0
    }

    /// Waits until a connection is kept.
    async fn kept(&self) -> Connection {
        loop {
            let changed = self.changed.notified();
            if let Some(live) = self.live().filter(Connection::is_open) {
                return live;
            }
            changed.await;
        }
    }

    /// Waits until a connection of the other side has been held for this long.
    async fn held_for(&self, long: Duration) {
        loop {
            let changed = self.changed.notified();
            if self.held.borrow().is_some() {
                return sleep(long).await;
            }
            changed.await;
        }
    }
}

impl Dial {
    async fn outcome(&self) -> Outcome {
        let mut outcome = self.outcome.clone();
        match outcome.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone().unwrap_or(Err(PeerError::Ended)),
            Err(_) => Err(PeerError::Ended),
        }
    }

    /// Whether its failure is also the failure of a dial like this.
    fn covers(&self, addresses: &[Address], dialing: &Dialing) -> bool {
        let tried = addresses.iter().all(|one| self.addresses.contains(one));
        tried && self.dialing.same(dialing)
    }
}

/// Whether the other side answers.
async fn is_alive(connection: &Connection) -> bool {
    let Some(bootstrap) = connection.bootstrap() else {
        return false;
    };
    // Also an error is an answer, unless the connection ended.
    let answer = timeout(ALIVE_WITHIN, bootstrap.settled()).await;
    answer.is_ok() && connection.is_open()
}

/// Why the loser of two simultaneous dials is closed.
const REPLACED: &str = "replaced by the connection that the other side dialled";
/// Why a connection is closed that the other side did not decide on in time.
const NO_HELLO: &str = "no hello came in time";
/// Why a connection is closed that the other side has replaced by another.
const NO_ANSWER: &str = "another connection was made, and on this one no answer came in time";

/// Why there is no connection to a vat.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PeerError {
    /// It cannot be reached at any of its addresses.
    #[error(transparent)]
    Unreachable(Arc<ConnectError>),
    /// There is no connection to it, and this vat may not make one.
    #[error("there is no connection to vat {vat}, and {}", dial::NO_POWER)]
    NoPower {
        /// The vat.
        vat: VatId,
    },
    /// It was reached, and did not keep the connection; nothing was sent there.
    #[error("vat {vat} did not keep the connection: {reason}")]
    NotKept {
        /// The vat.
        vat: VatId,
        /// What it said.
        reason: Rc<str>,
    },
    /// Our own vat has ended.
    #[error("the vat has ended")]
    Ended,
}

impl From<ConnectError> for PeerError {
    fn from(error: ConnectError) -> Self {
        Self::Unreachable(Arc::new(error))
    }
}
