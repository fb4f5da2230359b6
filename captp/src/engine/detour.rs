//! Pins to answers that end before the peer has finished with what it was told.
//!
//! A reference inside a coming answer that we gave back to the peer is *pinned*: what the peer sends
//! there goes back to it along the answer, which is therefore not finished. If two vats return
//! references inside each other's unfinished answers, each would wait for the other's Finish for
//! ever. So the pin moves or ends once the answer is there and its way is no longer needed.

use super::Engine;
use super::node::{Kind, Place};
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
    pub(super) fn at_place(&self, node: NodeId) -> NodeId {
        let far = self.nodes.get(node).and_then(|node| node.far());
        far.and_then(|far| far.via).unwrap_or(node)
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
