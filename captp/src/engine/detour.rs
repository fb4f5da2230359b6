//! Pins to answers that end before the peer has finished with what it was told.
//!
//! A reference inside a coming answer that we gave back to the peer is *pinned*: what the peer sends
//! there goes back to it along the answer, which is therefore not finished. If two vats return
//! references inside each other's unfinished answers, each would wait for the other's Finish for
//! ever. So the pin moves or ends once the answer is there and its way is no longer needed.

use super::Engine;
use super::node::{Far, Kind, Place};
use crate::connection::embargo::Named;
use crate::connection::{Pin, Way};
use crate::{ConnId, Exception, Host, NodeId};

impl<H: Host> Engine<H> {
    /// The reference turned out to be something that the peer exports: the two are one place, and
    /// the export is pinned in the answer's stead. Of a gift, that is the vine.
    pub(super) fn move_pins(&mut self, node: NodeId, to: NodeId) {
        let Some(far) = self.nodes.get(node).and_then(|node| node.far()) else {
            return;
        };
        let conn = far.conn;
        let exported = match self.nodes.get(to).map(|to| &to.kind) {
            Some(Kind::Far(next)) if next.conn == conn => match next.place {
                Place::Import { .. } => Some(to),
                Place::Answer { .. } => None,
            },
            Some(Kind::Gift(gift)) if gift.from == conn => Some(gift.vine),
            _ => None,
        };
        let Some(exported) = exported.filter(|_| far.pins > 0) else {
            return;
        };
        if let Some(gift) = self.nodes.get_mut(to) {
            gift.mark_reflected();
        }
        let Pin { node: via, .. } = self.pin(exported, Way::Strict, conn);
        if let Some(far) = self.nodes.get_mut(node).and_then(|node| node.far_mut()) {
            far.via = Some(via);
        }
    }

    /// The node that has the place of a pinned one.
    pub(super) fn at_place(&self, mut node: NodeId) -> NodeId {
        // The import that took the place of an answer may have been replaced itself.
        for _ in 0..2 {
            let far = self.nodes.get(node).and_then(|node| node.far());
            node = far.and_then(|far| far.via).unwrap_or(node);
        }
        node
    }

    /// The node that takes the way of this pinned place, if something that was sent there has to stay
    /// before what is sent from now on.
    pub(super) fn called_place(&mut self, conn: ConnId, node: NodeId) -> Option<NodeId> {
        let at = self.at_place(node);
        match self.is_called(at) {
            true => Some(at),
            false => self.old_way(conn, at, false),
        }
    }

    /// What we called through the peer is `to`, by a name of ours. The peer may know where that name
    /// leads, so that not all of our calls come back to us; where the name became a gift, they must
    /// not be overtaken on the way to its exporter either.
    pub(super) fn behind_gift(&mut self, conn: ConnId, named: &Named, to: NodeId) -> NodeId {
        let Some(place) = self.named_place(conn, named) else {
            return to;
        };
        let gift = self.nodes.get_mut(to);
        let gift = gift.filter(|to| matches!(to.kind, Kind::Gift(_)));
        if gift.is_some_and(|gift| gift.mark_called_on(conn)) {
            return to;
        }
        self.past_gift(conn, place, true).unwrap_or(to)
    }

    /// The node that takes the way of a pinned place which became a gift, if that leads past what was
    /// sent there: `called`, or as far as we know.
    pub(super) fn past_gift(
        &mut self,
        conn: ConnId,
        place: NodeId,
        called: bool,
    ) -> Option<NodeId> {
        let at = self.at_place(place);
        match self.nodes.get(at).map(|node| &node.kind) {
            // The place of something else than a gift is what that stands for.
            Some(Kind::Far(_)) if at == self.nodes.terminal(place) => None,
            Some(Kind::Far(far)) => (far.called || called).then_some(at),
            _ => self.old_way(conn, at, called),
        }
    }

    /// A node that goes on taking the way of a pinned import when the peer gives us back what it was
    /// told that this is; `None` if there is no need. What was sent there (`called`, or what the peer
    /// has sent since the import became a gift) goes that way, and the gift was accepted before: it
    /// would lead past that.
    fn old_way(&mut self, conn: ConnId, at: NodeId, called: bool) -> Option<NodeId> {
        let node = self.nodes.get(at)?;
        let Kind::Link {
            to, far: Some(far), ..
        } = &node.kind
        else {
            return None;
        };
        let called = far.given && far.conn == conn && (far.called || called);
        let (Place::Import { id, .. }, true) = (&far.place, called) else {
            return None;
        };
        let id = *id;
        let passes = match &self.nodes.get(*to)?.kind {
            Kind::Far(next) => next.conn != conn,
            Kind::Gift(gift) => gift.claimed || gift.from != conn,
            // Ours to export, or what waits for a gift.
            Kind::Object(_) | Kind::Promise => true,
            Kind::Broken(_) | Kind::Link { .. } => false,
        };
        // What came home by a name of ours has embargoes.
        if !passes || node.named().is_some() {
            return None;
        }
        // It never resolves: whatever it becomes elsewhere, it is reached through the peer.
        let place = Place::Import { id, settled: true };
        let mut far = Far::new(conn, place);
        (far.called, far.pins) = (true, 1);
        let way = self.nodes.insert(Kind::Far(far));
        let row = self.connections.get_mut(conn);
        if let Some(entry) = row.and_then(|row| row.imports.get_mut(id.raw())) {
            entry.node = way;
        }
        if let Some(far) = self.nodes.get_mut(at).and_then(|node| node.far_mut()) {
            far.via = Some(way);
        }
        Some(way)
    }

    /// Nothing that was sent along the answer is on its way, and nothing has to be from now on.
    pub(super) fn end_pins(&mut self, node: NodeId) {
        self.lose_far(node, &Exception::failed("the answer is not there yet"));
    }

    /// An embargo follows what was sent along a coming answer so far.
    pub(super) fn begin_detour(&mut self, node: NodeId) {
        let far = self.nodes.get_mut(node).and_then(|node| node.far_mut());
        if let Some(far) = far.filter(|far| matches!(far.place, Place::Answer { .. })) {
            far.called = false;
        }
    }

    /// What was sent along the answer before an embargo has come back. If the peer has sent more
    /// since, that has to come back as well, along the place that is returned. If not, the answer
    /// is needed no longer.
    pub(super) fn end_detour(&mut self, conn: ConnId, id: NodeId) -> Option<Place> {
        let node = self.nodes.get_mut(id)?;
        let far = node.far_mut().filter(|far| far.conn == conn)?;
        let Place::Answer { question, .. } = &far.place else {
            return None;
        };
        let question = *question;
        if std::mem::take(&mut far.called) {
            return Some(far.place.clone());
        }
        self.end_pins(id);
        self.unpin_question(conn, question);
        None
    }
}
