//! The output barrier of a vat with a durable store (promise 13): what turns said leaves when what it
//! may depend on is on disk.
//!
//! The engine writes messages as ever; the driver holds them back. At the end of a round it notes for
//! each connection up to which place its messages wait for which batch of the store, and sends what
//! waits for none. There are two such places at most: what waits for the batch that is being written,
//! and what waits for the next one.
//!
//! When the store cannot be written, what is held back cannot leave, and later messages cannot
//! overtake it. The connections are closed then, with the reason: those who wait for an answer learn
//! that their call may have run. The launcher's connection stays; a launched vat lives on and tries to
//! write again.

use std::collections::{BTreeMap, VecDeque};

use captp::{ConnId, Exception};

use super::link::Link;
use super::round::Inner;
use crate::durable::Passage;
use crate::error::Error;

/// What is held back, by connection: up to which place for which batch.
#[derive(Default)]
pub(super) struct Held(BTreeMap<ConnId, VecDeque<Place>>);

#[derive(Clone, Copy)]
struct Place {
    needs: u64,
    until: u64,
}

impl Held {
    /// What was said on this connection up to here waits for this batch.
    fn hold(&mut self, conn: ConnId, needs: u64, until: u64) {
        let places = self.0.entry(conn).or_default();
        match places.back_mut() {
            Some(last) if last.needs == needs => last.until = last.until.max(until),
            Some(last) if last.until >= until => {}
            _ => places.push_back(Place { needs, until }),
        }
    }

    /// Lets go of what waited for batches up to this one. Gives the connections for which that was
    /// something, and the place up to which each may send.
    fn release(&mut self, done: u64) -> Vec<(ConnId, u64)> {
        let mut released = Vec::new();
        self.0.retain(|conn, places| {
            let mut until = None;
            while let Some(place) = places.pop_front_if(|place| place.needs <= done) {
                until = Some(place.until);
            }
            released.extend(until.map(|until| (*conn, until)));
            !places.is_empty()
        });
        released
    }
}

impl Inner {
    /// Sends what may leave, and holds the rest back. Whether anything was sent.
    pub(super) fn send_durable(&self, passage: Passage) -> bool {
        if passage.is_open() {
            self.gated.set(false);
            let held = std::mem::take(&mut *self.held.borrow_mut());
            held.0.keys().for_each(|conn| self.send_on(*conn));
            return self.send_all() || !held.0.is_empty();
        }
        self.gated.set(true);
        let mut waiting: Vec<ConnId> = self.later.borrow_mut().drain(..).collect();
        while let Some(conn) = self.vat.engine(|engine| engine.pending_transmit()) {
            waiting.push(conn);
        }
        waiting.extend(self.held.borrow().0.keys());
        for conn in waiting {
            let (_, all) = self.vat.engine(|engine| engine.transmit_places(conn));
            self.held.borrow_mut().hold(conn, passage.needs, all);
        }
        let released = self.held.borrow_mut().release(passage.done);
        for (conn, until) in &released {
            if let Some(link) = self.links.borrow().get(conn) {
                link.free.set(*until);
            }
            self.send_on(*conn);
        }
        if let Some(why) = self.vat.store_failure() {
            self.close_held(&why);
        }
        !released.is_empty()
    }

    /// How many bytes of a connection may leave, if some may not.
    pub(super) fn free_bytes(&self, link: &Link) -> Option<usize> {
        if !self.gated.get() {
            return None;
        }
        let (sent, _) = self.vat.engine(|engine| engine.transmit_places(link.conn));
        let free = link.free.get().saturating_sub(sent);
        Some(usize::try_from(free).unwrap_or(usize::MAX))
    }

    /// Not everything was taken of what may leave: that stays so when the next turn changes something.
    pub(super) fn note_free(&self, link: &Link) {
        if !self.gated.get() && self.vat.has_store() {
            let (_, all) = self.vat.engine(|engine| engine.transmit_places(link.conn));
            link.free.set(all);
        }
    }

    /// The store cannot be written: whoever waits is told.
    fn close_held(&self, why: &str) {
        let held: Vec<ConnId> = self.held.borrow().0.keys().copied().collect();
        let mut closed = false;
        for conn in held {
            let link = self.links.borrow().get(&conn).cloned();
            let Some(link) = link.filter(|link| !link.lasting && !link.closed.get()) else {
                continue;
            };
            let reason = Error::disconnected(format!(
                "the vat cannot write its state to disk ({why}); what was asked of it may have run"
            ));
            self.vat.engine(|engine| {
                engine.close_before(conn, link.free.get(), Exception::from(&reason));
            });
            self.held.borrow_mut().0.remove(&conn);
            link.free.set(u64::MAX);
            closed = true;
        }
        if closed {
            self.wake.notify_one(); // the vat has to hear of it
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_place_is_let_go_with_its_batch() {
        let mut engine = captp::Engine::<crate::core::VatHost>::new(captp::Config::default());
        let conn = engine.open(captp::ConnOptions::default());
        let mut held = Held::default();
        held.hold(conn, 4, 100);
        held.hold(conn, 4, 150);
        held.hold(conn, 5, 150);
        held.hold(conn, 5, 300);
        assert_eq!(held.release(3), []);
        assert_eq!(held.release(4), [(conn, 150)]);
        assert_eq!(held.release(4), []);
        assert_eq!(held.release(5), [(conn, 300)]);
        assert!(held.0.is_empty());
    }
}
