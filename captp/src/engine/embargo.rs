//! Calls that are held back until what was sent along another way has arrived.
//!
//! A reference that we called through the peer and that turns out to be ours is embargoed: a
//! Disembargo follows the calls out to the peer and back. But what the peer named may itself be
//! something of ours that has become the peer's (then the calls go out again, along that very
//! place: the Tribble rule), and that in turn may have come home meanwhile. Then one round is not
//! enough: the next Disembargo follows them along the next place, and so on. The same holds for a
//! reference that the peer gives us after it has called it.

use super::Engine;
use super::import::TargetNode;
use super::node::{Kind, Node, Place};
use super::room::Names;
use crate::connection::Pin;
use crate::connection::embargo::{Embargo, Named};
use crate::message::{Target, encode};
use crate::{ConnId, EmbargoId, Exception, Host, NodeId, PeerMisbehaved};

type Result<T> = std::result::Result<T, PeerMisbehaved>;

impl<H: Host> Engine<H> {
    /// A far node has resolved to `to`. `named`: the peer named something that it reaches through
    /// us, so that what was sent along the old way comes back to us. Returns what the node stands
    /// for now.
    pub(super) fn resolve_far(&mut self, id: NodeId, to: NodeId, named: Option<Target>) -> NodeId {
        let to = self.nodes.terminal(to);
        let Some(Kind::Far(far)) = self.nodes.get(id).map(|node| &node.kind) else {
            return to;
        };
        let far = far.clone();
        let broken = match self.nodes.get(to).map(|node| &node.kind) {
            Some(Kind::Broken(_)) | None => true,
            Some(_) => false,
        };
        #[cfg(any(test, feature = "testing"))]
        let named = named.filter(|_| !self.has_fault(super::testing::Fault::EmbargoIgnored));
        let named = named.map(|named| self.named(far.conn, named));
        if far.pins > 0
            && let (Some(named), Some(node)) = (&named, self.nodes.get_mut(id))
        {
            node.set_named(named.clone());
        }
        if named.is_none() || !far.called || broken || to == id {
            // Calls that wait for room and have to take the old way count, too.
            let waits = far.pins > 0 && self.is_holding(far.conn);
            if far.called || waits {
                let next = self.nodes.get_mut(to);
                let behind = next.is_some_and(|next| next.mark_called_on(far.conn));
                let old = self.nodes.get_mut(id).and_then(Node::far_mut);
                if let Some(old) = old.filter(|_| behind && !waits) {
                    // What is sent there later is another matter.
                    old.called = false;
                }
            }
            let gift = self.nodes.get(to).map(|node| &node.kind);
            if waits && matches!(gift, Some(Kind::Gift(_))) {
                // Not accepted before they have gone.
                self.nodes.retain(to);
                let waiting = self.behind_held(far.conn, to, None);
                self.become_link(id, waiting);
                self.drop_count(waiting);
                return waiting;
            }
            self.become_link(id, to);
            return to;
        }
        let to = match &named {
            Some(named) => self.behind_gift(far.conn, named, to),
            None => to,
        };
        match self.embargo(far.conn, &far.place, to, named, Some(id)) {
            Ok(waiting) => {
                self.become_link(id, waiting);
                self.begin_detour(id);
                waiting
            }
            Err(reason) => {
                self.become_broken(id, reason);
                id
            }
        }
    }

    /// A reference of ours that the peer gives us, by the name under which it has it, as we may use
    /// it: behind what the peer has sent there. Takes over the count of `node`, and gives one of
    /// what it returns.
    pub(super) fn behind_loop(&mut self, conn: ConnId, named: &Target, node: NodeId) -> NodeId {
        let named = self.named(conn, named.clone());
        let Some((place, next)) = self.next_round(conn, &named) else {
            return node;
        };
        let waiting = match self.embargo(conn, &place, node, Some(next), None) {
            Ok(waiting) => {
                self.nodes.retain(waiting);
                waiting
            }
            Err(reason) => self.nodes.insert(Kind::Broken(reason)),
        };
        self.drop_count(node);
        waiting
    }

    /// Our Disembargo is back: what was held back may go.
    pub(super) fn lift(&mut self, conn: ConnId, id: EmbargoId) -> Result<()> {
        let Some(row) = self.connections.get_mut(conn) else {
            return Ok(());
        };
        let Some(embargo) = row.embargoes.remove(id.raw()) else {
            return Err(PeerMisbehaved::UnknownEmbargo(id));
        };
        // What came back before it may wait for room.
        if self.is_holding(conn) {
            return self.hold_lift(conn, embargo);
        }
        self.lifted(conn, embargo, None);
        Ok(())
    }

    /// The calls before a Disembargo that came back have gone on: to their end, or out once more.
    /// `pinned`: what the peer had the target as, should it have let go of the name.
    pub(super) fn lifted(&mut self, conn: ConnId, embargo: Embargo, pinned: Option<&Pin>) {
        let Embargo {
            waiting,
            mut target,
            named,
            origin,
        } = embargo;
        let again = origin.and_then(|node| self.end_detour(conn, node));
        let (next, origin) = match again {
            Some(place) => (Some((place, named)), origin),
            None => {
                let name = named.as_ref();
                let next = name.and_then(|named| self.next_round(conn, named));
                let next = next.or_else(|| self.round_at(conn, pinned?.node));
                if next.is_none() {
                    target = self.behind_round(conn, named.as_ref(), pinned, target);
                }
                (next.map(|(place, named)| (place, Some(named))), None)
            }
        };
        let Some((place, named)) = next else {
            self.become_link(waiting, target);
            self.drop_count(waiting);
            self.drop_count(target);
            return;
        };
        // There is room: this one has just been lifted.
        if let Some(row) = self.connections.get_mut(conn) {
            let id = row.embargoes.insert(Embargo {
                waiting,
                target,
                named,
                origin,
            });
            let built = encode::sender_loopback(&place, EmbargoId::new(id));
            self.transmit_behind(conn, &built, &[Names::Place(&place)]);
        }
    }

    /// The target when there is no further round. What came back may have gone on the way of a gift
    /// that was accepted before. Takes over the count of `target`, and gives one of what it returns.
    fn behind_round(
        &mut self,
        conn: ConnId,
        named: Option<&Named>,
        pinned: Option<&Pin>,
        target: NodeId,
    ) -> NodeId {
        let place = named.and_then(|named| self.named_place(conn, named));
        let place = place.or_else(|| Some(pinned?.node));
        match place.and_then(|node| self.past_gift(conn, node, false)) {
            Some(way) => {
                self.nodes.retain(way);
                self.drop_count(target);
                way
            }
            None => target,
        }
    }

    /// Where what the peer sends to something of ours goes out to the peer again although it has
    /// come home since, and under which name it did.
    fn next_round(&mut self, conn: ConnId, named: &Named) -> Option<(Place, Named)> {
        let node = self.named_place(conn, named)?;
        self.round_at(conn, node)
    }

    /// A name that the peer uses now, to be remembered.
    pub(super) fn named(&self, conn: ConnId, target: Target) -> Named {
        let serial = self.serial_of(conn, &target).unwrap_or(0);
        Named { target, serial }
    }

    fn serial_of(&self, conn: ConnId, target: &Target) -> Option<u64> {
        let row = self.connections.get(conn)?;
        match target {
            Target::Export(id) => row.exports.get(id.raw()).map(|entry| entry.serial),
            Target::Answer(id, _) => row.answers.get(id.raw()).map(|entry| entry.serial),
        }
    }

    /// What a name stands for that was remembered; `None` if the peer has let go of it.
    pub(super) fn named_target(&mut self, conn: ConnId, named: &Named) -> Option<TargetNode> {
        let serial = self.serial_of(conn, &named.target)?;
        let same = serial == named.serial;
        same.then(|| self.target(conn, &named.target).ok())?
    }

    /// The node whose place on the connection a name stands for, if it does for one.
    pub(super) fn named_place(&mut self, conn: ConnId, named: &Named) -> Option<NodeId> {
        let target = self.named_target(conn, named)?;
        if target.counted {
            self.drop_count(target.node);
            return None;
        }
        target.strict.then_some(target.node)
    }

    /// The same for what is the peer's own.
    fn round_at(&self, conn: ConnId, node: NodeId) -> Option<(Place, Named)> {
        let node = self.nodes.get(self.at_place(node))?;
        let Kind::Link { far: Some(far), .. } = &node.kind else {
            return None;
        };
        if far.conn != conn || !far.called {
            return None;
        }
        Some((far.place.clone(), node.named()?.clone()))
    }

    /// Holds back what is sent to the node that it returns, which the embargo counts, until a
    /// Disembargo has gone to this place and come back; then it is `target`, which stays borrowed.
    fn embargo(
        &mut self,
        conn: ConnId,
        place: &Place,
        target: NodeId,
        named: Option<Named>,
        origin: Option<NodeId>,
    ) -> std::result::Result<NodeId, Exception> {
        let waiting = self.nodes.insert(Kind::Promise);
        let Some(row) = self.connections.get_mut(conn) else {
            self.drop_count(waiting);
            return Err(Exception::disconnected("the connection is closed"));
        };
        let limit = row.limits.embargoes;
        if row.embargoes.len() >= limit {
            self.drop_count(waiting);
            let reason = format!("the peer has not lifted {limit} embargoes");
            return Err(Exception::overloaded(reason));
        }
        let id = EmbargoId::new(row.embargoes.insert(Embargo {
            waiting,
            target,
            named,
            origin,
        }));
        self.nodes.retain(target);
        let built = encode::sender_loopback(place, id);
        self.transmit_behind(conn, &built, &[Names::Place(place)]);
        Ok(waiting)
    }
}
