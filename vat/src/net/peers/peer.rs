//! What is known of one other vat.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::sleep;

use super::calling::Dial;
use crate::net::Stream;
use crate::net::driver::Connection;

/// What is known of one other vat. Kept as long as any of it is.
#[derive(Default)]
pub(super) struct Peer {
    /// The connection that is kept.
    pub(super) live: RefCell<Option<Connection>>,
    /// Our dial that is under way.
    pub(super) dial: RefCell<Option<Dial>>,
    /// A connection that the lesser vat made, while ours is under way.
    pub(super) held: RefCell<Option<Held>>,
    /// Connections that the greater vat made and has not greeted us on.
    pub(super) undecided: Cell<usize>,
    /// Any of this has changed.
    pub(super) changed: Notify,
}

/// A stream whose fate is not decided; with the connection, once it is taken.
pub(super) struct Held {
    pub(super) stream: Stream,
    pub(super) taken: oneshot::Sender<Connection>,
}

impl Peer {
    pub(super) fn live(&self) -> Option<Connection> {
        self.live.borrow().clone()
    }

    pub(super) fn forget(&self, connection: &Connection) {
        let is_it = |live: &Connection| live.id() == connection.id();
        if self.live.borrow().as_ref().is_some_and(is_it) {
            self.live.replace(None);
            self.changed.notify_waiters();
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.live.borrow().is_none()
            && self.dial.borrow().is_none()
            && self.held.borrow().is_none()
            && self.undecided.get() == 0
    }

    /// Waits until a connection is kept.
    pub(super) async fn kept(&self) -> Connection {
        loop {
            let changed = self.changed.notified();
            if let Some(live) = self.live().filter(Connection::is_open) {
                return live;
            }
            changed.await;
        }
    }

    /// Waits until a connection of the other side has been held for this long.
    pub(super) async fn held_for(&self, long: Duration) {
        loop {
            let changed = self.changed.notified();
            if self.held.borrow().is_some() {
                return sleep(long).await;
            }
            changed.await;
        }
    }
}
