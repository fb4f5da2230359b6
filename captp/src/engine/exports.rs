//! What we owe a peer: the references it holds, told when they resolve, and what they were described
//! as until then.

use super::describe::Given;
use super::node::{Kind, Place};
use super::{Engine, Work};
use crate::connection::export::{Export, State};
use crate::connection::{Pin, Way};
use crate::message::encode;
use crate::{ConnId, Exception, ExportId, Host, NodeId};

impl<H: Host> Engine<H> {
    /// One count more of the export that stands for a node; a new one if there is none.
    pub(super) fn export(
        &mut self,
        conn: ConnId,
        node: NodeId,
        settled: bool,
    ) -> Result<ExportId, Exception> {
        let known = self.nodes.get(node).and_then(|node| node.exported_as(conn));
        if let Some(id) = known
            && let Some(row) = self.connections.get_mut(conn)
            && let Some(entry) = row.exports.get_mut(id.raw())
        {
            entry.refs = entry.refs.saturating_add(1);
            return Ok(id);
        }
        let state = if settled {
            State::Settled
        } else {
            State::Promise
        };
        let id = self.new_export(conn, node, state)?;
        if let Some(node) = self.nodes.get_mut(node) {
            node.add_export(conn, id);
        }
        Ok(id)
    }

    pub(super) fn new_export(
        &mut self,
        conn: ConnId,
        node: NodeId,
        state: State,
    ) -> Result<ExportId, Exception> {
        let Some(row) = self.connections.get_mut(conn) else {
            return Err(Exception::disconnected("the connection is closed"));
        };
        let limit = row.limits.exports;
        if row.exports.len() >= limit {
            if let State::Resolved(pin) = state {
                self.drop_pin(conn, pin);
            }
            return Err(Exception::overloaded(format!(
                "the peer already holds {limit} references of this vat"
            )));
        }
        let serial = row.next_serial();
        let id = ExportId::new(row.exports.insert(Export {
            node,
            refs: 1,
            serial,
            resolve_waits: false,
            named: 0,
            state,
        }));
        self.nodes.retain(node);
        Ok(id)
    }

    /// Takes counts off an export. `None` if it has not that many.
    pub(super) fn release_export(&mut self, conn: ConnId, id: ExportId, count: u32) -> Option<()> {
        let row = self.connections.get_mut(conn)?;
        let entry = row.exports.get_mut(id.raw())?;
        entry.refs = entry.refs.checked_sub(count)?;
        self.free_if_released(conn, id);
        Some(())
    }

    /// A Resolve of this export that waited for room has left.
    pub(super) fn resolve_left(&mut self, conn: ConnId, id: ExportId, serial: u64) {
        let row = self.connections.get_mut(conn);
        let entry = row.and_then(|row| row.exports.get_mut(id.raw()));
        if let Some(entry) = entry.filter(|entry| entry.serial == serial) {
            entry.resolve_waits = false;
            self.free_if_released(conn, id);
        }
    }

    fn free_if_released(&mut self, conn: ConnId, id: ExportId) {
        let Some(row) = self.connections.get_mut(conn) else {
            return;
        };
        let entry = row.exports.get(id.raw());
        if entry.is_some_and(|entry| entry.refs == 0 && !entry.resolve_waits)
            && let Some(entry) = row.exports.remove(id.raw())
        {
            self.free_export(conn, id, entry);
        }
    }

    pub(super) fn free_export(&mut self, conn: ConnId, id: ExportId, entry: Export) {
        if let Some(node) = self.nodes.get_mut(entry.node) {
            node.remove_export(conn, id);
        }
        self.drop_count(entry.node);
        match entry.state {
            State::Resolved(pin) => self.drop_pin(conn, pin),
            State::Vine(vine, _) => self.end_vine(vine),
            State::Settled | State::Promise => {}
        }
    }

    /// Announces after what waits for the node has been passed on: the peer may act on a Resolve
    /// at once, and what we sent before we gave the reference away has to be first.
    pub(super) fn announce_later(&mut self, exports: impl IntoIterator<Item = (ConnId, ExportId)>) {
        for (conn, id) in exports {
            let row = self.connections.get(conn);
            if let Some(entry) = row.and_then(|row| row.exports.get(id.raw())) {
                self.work.push_back(Work::Announce(conn, id, entry.serial));
            }
        }
    }

    /// The node under this export has become something else: says so to the peer, or lets the entry
    /// stand for the next promise.
    pub(super) fn announce(&mut self, conn: ConnId, id: ExportId, serial: u64) {
        let row = self.connections.get(conn);
        let entry = row.and_then(|row| row.exports.get(id.raw()));
        let Some(entry) = entry.filter(|entry| entry.serial == serial) else {
            return;
        };
        if matches!(entry.state, State::Settled) {
            // Something settled has broken. There is no message for that; calls will tell.
            let node = entry.node;
            if let Some(node) = self.nodes.get_mut(node) {
                node.add_export(conn, id);
            }
            return;
        }
        let to = self.nodes.terminal(entry.node);
        if self.move_export(conn, id, to) {
            return;
        }
        let mut given = self.take_given();
        let reason = match self.nodes.get(to).map(|node| &node.kind) {
            Some(Kind::Broken(reason)) => Some(reason.clone()),
            _ => self.give_one(conn, Some(to), &mut given).err(),
        };
        // What it was described as: the vine, for a gift that goes back.
        let (told, way) = given.nodes.first().copied().unwrap_or((to, Way::Plain));
        let pin = self.pin(told, way, conn);
        if let Some(row) = self.connections.get_mut(conn)
            && let Some(entry) = row.exports.get_mut(id.raw())
        {
            entry.state = State::Resolved(pin);
        }
        let built = match (&reason, given.caps.first()) {
            (None, Some(cap)) => encode::resolve(id, Ok(cap)),
            (Some(reason), _) => encode::resolve(id, Err(&self.fitting(conn, reason))),
            (None, None) => return,
        };
        if reason.is_some() {
            // Described in part, and not sent.
            self.transmit_resolve(conn, id, &built, None, &Given::default());
            return self.take_back(conn, given);
        }
        self.transmit_resolve(conn, id, &built, given.caps.first(), &given);
        self.sent(conn, &given);
        self.put_given(given);
    }

    /// A promise that became another one which the peer does not know yet needs no Resolve.
    fn move_export(&mut self, conn: ConnId, id: ExportId, to: NodeId) -> bool {
        let Some(node) = self.nodes.get_mut(to) else {
            return false;
        };
        let here = node.far().is_some_and(|far| far.conn == conn) || node.is_gift_of(conn);
        if here || !node.is_unresolved() || node.exported_as(conn).is_some() {
            return false;
        }
        node.add_export(conn, id);
        if matches!(node.kind, Kind::Gift(_)) {
            // The peer may be waiting for it.
            self.work.push_back(Work::Accept(to));
        }
        self.nodes.retain(to);
        let Some(row) = self.connections.get_mut(conn) else {
            return true;
        };
        let Some(entry) = row.exports.get_mut(id.raw()) else {
            return true;
        };
        let old = std::mem::replace(&mut entry.node, to);
        self.drop_count(old);
        true
    }

    // ---- pins

    /// Remembers what a reference was described as.
    pub(super) fn pin(&mut self, node: NodeId, way: Way, conn: ConnId) -> Pin {
        self.nodes.retain(node);
        #[cfg(any(test, feature = "testing"))]
        let way = self.faulty_way(way);
        if way == Way::Strict
            && let Some(far) = self.nodes.get_mut(node).and_then(|node| node.far_mut())
            && far.conn == conn
        {
            far.pins += 1;
        }
        Pin { node, way }
    }

    pub(super) fn drop_pin(&mut self, conn: ConnId, Pin { node, way }: Pin) {
        if way == Way::Strict {
            self.unpin(conn, node);
        }
        self.drop_count(node);
    }

    /// The last pin of a node that has resolved gives up its place on the wire.
    fn unpin(&mut self, conn: ConnId, id: NodeId) {
        let Some(node) = self.nodes.get_mut(id) else {
            return;
        };
        let Some(far) = node.far_mut().filter(|far| far.conn == conn) else {
            return;
        };
        far.pins = far.pins.saturating_sub(1);
        if far.pins > 0 {
            return;
        }
        let Kind::Link { far, .. } = &mut node.kind else {
            return;
        };
        let Some(far) = far.take() else { return };
        if let Some(node) = far.via {
            let way = Way::Strict;
            return self.drop_pin(conn, Pin { node, way });
        }
        match far.place {
            Place::Import { id, .. } => self.release_import(conn, id),
            Place::Answer { question, .. } => self.unpin_question(conn, question),
        }
    }

    /// Where calls for a pin go: a node, and whether to its place on the connection whatever has
    /// become of it since.
    pub(super) fn follow_pin(&self, conn: ConnId, pin: &Pin) -> (NodeId, bool) {
        let mut pin = pin;
        loop {
            let Way::Export { id, serial } = pin.way else {
                return (pin.node, pin.way == Way::Strict);
            };
            let entry = self
                .connections
                .get(conn)
                .and_then(|row| row.exports.get(id.raw()));
            match entry {
                Some(Export {
                    state: State::Resolved(next),
                    serial: same,
                    ..
                }) if *same == serial => {
                    pin = next;
                }
                _ => return (pin.node, false),
            }
        }
    }
}
