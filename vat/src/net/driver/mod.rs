//! The driver: one vat with its connections on tokio's current-thread runtime.
//!
//! The vat's core knows no socket and no runtime. The driver feeds it what arrives, lets it run its
//! turns, and writes what the turns produced.
//!
//! - A *round* serves the connections that have input in turn, one call each, so that no peer
//!   starves another, and then writes: everything that a round said leaves in one write per
//!   connection. It ends when there is no input left, and after a while in any case.
//! - What the transport does not take stays in the engine, which counts it.
//! - Each connection has a task that waits until its socket can be read or written; the *watch*
//!   looks after peers that are too slow.
//! - What the turns of a vat with a durable store said is held back until what it may depend on is on
//!   disk: see `gate`.
//! - A peer that writes each message by itself and has the same processor is given time to
//!   say several before they are read.
//! - Memory for reading is lent to a connection as long as there is input: one that is idle has
//!   none.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use captp::{ConnOptions, Limits, VatKey};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::Stream;
use crate::core::{Ref, Vat};
use crate::sturdy::{Address, VatId};

mod gate;
mod gather;
mod link;
mod round;
mod task;
#[cfg(test)]
mod tests;
mod timeouts;
mod watch;

pub use link::Connection;
pub use timeouts::Timeouts;

use link::Link;
use round::Inner;

/// A vat with its connections. Cloning gives another handle to the same.
///
/// It lives in a tokio `LocalRuntime` or `LocalSet`; its tasks end when the last handle is dropped.
#[derive(Clone)]
pub struct Driver(Rc<Inner>);

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
    /// What the peer may use of this vat.
    pub limits: Limits,
    /// How slow the peer may be.
    pub timeouts: Timeouts,
    /// Whether the connection stays when the vat cannot write its durable state. What is said on it
    /// waits then, as long as that takes; other connections are closed, with the reason.
    pub lasting: bool,
}

impl Attach {
    /// The socketpair between launcher and child: hello and descriptors.
    #[must_use]
    pub fn sibling(bootstrap: Option<Ref>) -> Self {
        Self {
            bootstrap,
            hello: true,
            timeouts: Timeouts::sibling(),
            lasting: true,
            ..Self::default()
        }
    }

    /// A network connection; `vat_protocol` is whether the peer speaks `vat/1`.
    #[must_use]
    pub fn network(bootstrap: Option<Ref>, vat_protocol: bool) -> Self {
        let timeouts = match bootstrap {
            Some(_) => Timeouts::default(),
            None => Timeouts::caller(),
        };
        Self {
            bootstrap,
            hello: vat_protocol,
            timeouts,
            ..Self::default()
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
        Self::network(bootstrap, false)
    }

    /// Sets [`limits`](Self::limits).
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets [`timeouts`](Self::timeouts).
    #[must_use]
    pub fn with_timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self
    }
}

impl Driver {
    /// Drives `vat` from now on.
    ///
    /// # Panics
    ///
    /// Outside of a tokio `LocalRuntime` or `LocalSet`.
    pub fn new(vat: Vat) -> Self {
        let wake = Arc::new(Notify::new());
        let waking = wake.clone();
        vat.on_wake(Arc::new(move || waking.notify_one()));
        let inner = Rc::new(Inner::new(vat, wake.clone()));
        let weak = Rc::downgrade(&inner);
        tokio::task::spawn_local(async move {
            loop {
                wake.notified().await;
                match weak.upgrade().map(|inner| inner.serve()) {
                    Some(round::Left::Nothing) => {}
                    // The runtime looks at the sockets before the next round.
                    Some(round::Left::Some) => {
                        wake.notify_one();
                        tokio::task::yield_now().await;
                    }
                    None => return,
                }
            }
        });
        let alarm = inner.alarm.clone();
        tokio::task::spawn_local(watch::run(Rc::downgrade(&inner), alarm));
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
        let vat = &self.0.vat;
        let mut options = ConnOptions::default()
            .with_hello(attach.hello)
            .with_descriptors(stream.passes_descriptors())
            .with_limits(attach.limits);
        if let Some((peer, addresses)) = attach.peer {
            let addresses = addresses.iter().map(Address::to_string).collect();
            options = options
                .with_peer(VatKey(*peer.as_bytes()))
                .with_peer_addresses(addresses);
        }
        if let Some(bootstrap) = &attach.bootstrap {
            options = options.with_bootstrap(vat.node(bootstrap));
        }
        let conn = vat.engine(|engine| engine.open(options));
        let link = Rc::new(Link::new(conn, stream, attach.timeouts, attach.lasting));
        self.0.links.borrow_mut().insert(conn, link.clone());
        tokio::task::spawn_local(task::run(Rc::downgrade(&self.0), link.clone()));
        self.0.wake.notify_one();
        self.0.rouse_watch();
        Connection {
            inner: Rc::downgrade(&self.0),
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
            let _waiting = Waiting::new(&self.0.flushing);
            loop {
                let progress = self.0.progress.notified();
                if let round::Left::Some = self.0.serve() {
                    self.0.wake.notify_one();
                }
                if self.0.is_flushed() {
                    return;
                }
                progress.await;
            }
        };
        drop(timeout(limit, all_sent).await); // what is stuck stays behind
    }
}

/// One of those who wait for something, counted as long as it does.
struct Waiting<'a>(&'a Cell<usize>);

impl<'a> Waiting<'a> {
    fn new(count: &'a Cell<usize>) -> Self {
        count.set(count.get() + 1);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

#[cfg(test)]
pub(super) struct WeakDriver(std::rc::Weak<Inner>);

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
