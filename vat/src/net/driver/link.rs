//! What the driver knows of one connection, and the handle that users get.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::{Rc, Weak};
use std::task::Waker;
use std::time::Duration;

use captp::{ConnId, Engine, Exception};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::gather::{Gathering, Offer};
use super::round::Inner;
use super::watch::Seen;
use super::{Timeouts, Waiting};
use crate::core::{Ref, VatHost};
use crate::error::Error;
use crate::net::Stream;

/// One connection. Its stream is used by its task and by rounds, never while a turn runs.
pub(super) struct Link {
    pub(super) conn: ConnId,
    /// `None` once the connection is gone, whoever still has a handle to it.
    pub(super) stream: RefCell<Option<Stream>>,
    /// Of the connection's task, once it has run.
    pub(super) waker: RefCell<Option<Waker>>,
    /// What has arrived and was not taken yet.
    pub(super) input: RefCell<Input>,
    /// The task itself serves: it need not be woken when the input is used up.
    pub(super) serving: Cell<bool>,
    /// The stream holds bytes that it has taken and not sent.
    pub(super) unsent: Cell<bool>,
    /// Writing failed.
    pub(super) failed: RefCell<Option<io::Error>>,
    /// The engine has closed the connection.
    pub(super) closed: Cell<bool>,
    /// Why the connection is closed.
    pub(super) reason: RefCell<Option<Rc<str>>>,
    pub(super) gone: Notify,
    /// Something was received, and the peer had not greeted before, or somebody listens.
    pub(super) heard: Notify,
    /// How many want to know also afterwards.
    pub(super) listening: Cell<usize>,
    /// The peer has said its hello, or none is spoken.
    pub(super) greeted: Cell<bool>,
    pub(super) timeouts: Timeouts,
    pub(super) seen: Cell<Seen>,
    /// Messages that had come after the last read.
    pub(super) received: Cell<u64>,
    pub(super) gathering: Cell<Gathering>,
    /// Up to which place messages may leave while others wait for the disk.
    pub(super) free: Cell<u64>,
    /// It stays when the vat cannot write its state.
    pub(super) lasting: bool,
}

/// A piece that was received. The buffer is lent by the driver as long as there is something in it.
#[derive(Default)]
pub(super) struct Input {
    pub(super) buffer: Vec<u8>,
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) descriptors: Vec<OwnedFd>,
}

impl Input {
    pub(super) const fn is_empty(&self) -> bool {
        self.start == self.end
    }
}

impl Link {
    pub(super) fn new(conn: ConnId, stream: Stream, timeouts: Timeouts, lasting: bool) -> Self {
        Self {
            conn,
            stream: RefCell::new(Some(stream)),
            waker: RefCell::default(),
            input: RefCell::default(),
            serving: Cell::new(false),
            unsent: Cell::new(false),
            failed: RefCell::default(),
            closed: Cell::new(false),
            reason: RefCell::default(),
            gone: Notify::new(),
            heard: Notify::new(),
            listening: Cell::new(0),
            greeted: Cell::new(false),
            timeouts,
            seen: Cell::default(),
            received: Cell::default(),
            gathering: Cell::default(),
            free: Cell::new(0),
            lasting,
        }
    }

    /// Lets the task look at the connection again.
    pub(super) fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    /// A read brought so many messages, after this offer.
    pub(super) fn gathered(&self, messages: u64, offer: Option<Offer>) {
        self.gathering
            .set(self.gathering.get().after(messages, offer));
    }

    pub(super) fn remember(&self, waker: &Waker) {
        let mut known = self.waker.borrow_mut();
        match &mut *known {
            Some(known) => known.clone_from(waker),
            None => *known = Some(waker.clone()),
        }
    }
}

/// One connection of a driven vat. Dropping it leaves the connection open.
#[derive(Clone)]
pub struct Connection {
    pub(super) inner: Weak<Inner>,
    pub(super) link: Rc<Link>,
}

impl Connection {
    /// What the peer offers to whoever connects: a promise reference.
    pub fn bootstrap(&self) -> Option<Ref> {
        let inner = self.inner.upgrade()?;
        let node = inner.vat.engine(|engine| engine.bootstrap(self.link.conn));
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
            .and_then(|inner| inner.vat.engine(|e| e.stats(self.link.conn)));
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
            inner
                .vat
                .engine(|engine| engine.close(self.link.conn, reason));
            inner.wake.notify_one();
        }
    }

    /// The engine's name for it.
    pub(crate) fn id(&self) -> ConnId {
        self.link.conn
    }

    /// Whether it can be used: neither side has closed it, as far as is known.
    pub fn is_open(&self) -> bool {
        self.ask(|engine| engine.stats(self.link.conn).is_some())
    }

    /// Whether the other side may be closing it at this moment, for want of use.
    pub(crate) fn is_doubtful(&self) -> bool {
        let Some(inner) = self.inner.upgrade() else {
            return false;
        };
        // A vat that has slept was not told the time.
        let now = inner.vat.shared().now();
        inner.vat.engine(|engine| {
            engine.handle_time(now);
            engine.is_doubtful(self.link.conn)
        })
    }

    /// Waits until the peer has said its hello, or none is spoken. `false`: the connection is closed.
    pub(crate) async fn greeted(&self) -> bool {
        loop {
            let (heard, gone) = (self.link.heard.notified(), self.link.gone.notified());
            let greeted = self.ask(|engine| engine.is_greeted(self.link.conn));
            if greeted || !self.is_open() {
                return greeted;
            }
            tokio::select! {
                () = heard => {}
                () = gone => {}
            }
        }
    }

    /// Whether the peer answers within this time: anything that comes after a question is an answer,
    /// be what it offers a promise that is not resolved for long.
    pub(crate) async fn answers(&self, within: Duration) -> bool {
        let received = || {
            let inner = self.inner.upgrade()?;
            let stats = inner.vat.engine(|engine| engine.stats(self.link.conn));
            stats.map(|stats| stats.received)
        };
        let _listening = Waiting::new(&self.link.listening);
        let before = received();
        let Some(_question) = self.bootstrap() else {
            return false;
        };
        let heard = async {
            loop {
                let (heard, gone) = (self.link.heard.notified(), self.link.gone.notified());
                match received() {
                    Some(now) if Some(now) > before => return true,
                    Some(_) => {}
                    None => return false,
                }
                tokio::select! {
                    () = heard => {}
                    () = gone => {}
                }
            }
        };
        timeout(within, heard).await.unwrap_or(false)
    }

    fn ask(&self, question: impl FnOnce(&mut Engine<VatHost>) -> bool) -> bool {
        let inner = self.inner.upgrade();
        inner.is_some_and(|inner| inner.vat.engine(question))
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
                    .get(&self.link.conn)
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
        f.debug_tuple("Connection").field(&self.link.conn).finish()
    }
}
