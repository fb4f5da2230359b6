//! The gate: calls of a peer that is at a soft limit wait, everything else goes on.
//!
//! So that nothing waits here for ever, the limits [give way](super::patience).
//!
//! A call that finds the gate closed is decoded, its target and references are resolved, and then it
//! waits with what must not overtake it ([`Held`]). The queue is served by
//! [`poll_output`](Engine::poll_output) whenever the vat has nothing else to do, one item of one
//! connection after the other.

use super::import::TargetNode;
use super::{Engine, Output};
use crate::connection::embargo::Embargo;
use crate::connection::held::Held;
use crate::connection::{Connection, Pin, Way};
use crate::engine::node::Kind;
use crate::message::{EmbargoName, Target};
use crate::{
    AnswerToken, ConnId, Exception, ExportId, Host, Incoming, Limits, NodeId, ObjectKey,
    PeerMisbehaved, WireCall,
};

impl<H: Host> Engine<H> {
    /// Whether a call that arrives now has to wait.
    pub(super) fn holds_calls(&self, conn: ConnId) -> bool {
        self.connections
            .get(conn)
            .is_some_and(|row| !row.held.is_empty() || row.is_gate_closed())
    }

    /// Whether something that was sent after calls has to wait for them.
    pub(super) fn is_holding(&self, conn: ConnId) -> bool {
        self.connections
            .get(conn)
            .is_some_and(|row| !row.held.is_empty())
    }

    /// A call of the peer waits. The target stays borrowed.
    pub(super) fn hold_call(
        &mut self,
        conn: ConnId,
        target: TargetNode,
        call: WireCall,
    ) -> Result<(), PeerMisbehaved> {
        if let Err(reason) = self.wait_with_fds(&call.answer) {
            self.refuse(call, &reason);
            return Ok(());
        }
        let target = self.pin_target(conn, target);
        self.hold(conn, Held::Call { target, call })
    }

    /// A Disembargo of the peer waits. The target stays borrowed.
    pub(super) fn hold_bounce(
        &mut self,
        conn: ConnId,
        target: TargetNode,
        id: u32,
    ) -> Result<(), PeerMisbehaved> {
        let target = self.pin_target(conn, target);
        self.hold(conn, Held::Bounce { target, id })
    }

    /// A Disembargo to an exporter waits.
    pub(super) fn hold_disembargo(
        &mut self,
        conn: ConnId,
        vine: ExportId,
        serial: u64,
        name: EmbargoName,
    ) -> Result<(), PeerMisbehaved> {
        self.hold(conn, Held::Disembargo { vine, serial, name })
    }

    /// A promise resolves when what came before has gone on. Takes over both counts.
    pub(super) fn hold_lift(
        &mut self,
        conn: ConnId,
        embargo: Embargo,
    ) -> Result<(), PeerMisbehaved> {
        let named = embargo.named.as_ref();
        let named = named.and_then(|named| self.named_target(conn, named));
        let named = match named {
            Some(target) if target.counted => {
                self.drop_count(target.node);
                None
            }
            Some(target) if target.strict => Some(self.pin(target.node, Way::Strict, conn)),
            Some(_) | None => None,
        };
        self.hold(conn, Held::Lift { embargo, named })
    }

    /// A reference of ours that comes back from the peer, as it may be used: what the peer sent to
    /// it before must arrive first, and may still be waiting. Takes over the count of `node`, and
    /// gives one of what it returns.
    pub(super) fn behind_held(
        &mut self,
        conn: ConnId,
        node: NodeId,
        named: Option<&Target>,
    ) -> NodeId {
        let broken = match self.nodes.get(self.nodes.terminal(node)) {
            Some(node) => matches!(node.kind, Kind::Broken(_)),
            None => true,
        };
        if broken || !self.is_holding(conn) {
            return node;
        }
        let waiting = self.nodes.insert(Kind::Promise);
        self.nodes.retain(waiting);
        // If the queue is full the reference breaks.
        let embargo = Embargo {
            waiting,
            target: node,
            named: named.map(|named| self.named(conn, named.clone())),
            origin: None,
        };
        drop(self.hold_lift(conn, embargo));
        waiting
    }

    /// The target as it is now for this peer: what it resolves to later does not lead the call
    /// past calls that went before.
    fn pin_target(&mut self, conn: ConnId, target: TargetNode) -> Pin {
        if target.strict {
            return self.pin(target.node, Way::Strict, conn);
        }
        let node = self.nodes.terminal(target.node);
        if let Some(node) = self.nodes.get_mut(node) {
            node.add_held();
        }
        self.pin(node, Way::Plain, conn)
    }

    fn unpin_target(&mut self, conn: ConnId, target: Pin) {
        if target.way == Way::Plain
            && let Some(node) = self.nodes.get_mut(target.node)
        {
            node.remove_held();
        }
        self.drop_pin(conn, target);
    }

    fn hold(&mut self, conn: ConnId, item: Held) -> Result<(), PeerMisbehaved> {
        let Some(row) = self.connections.get_mut(conn) else {
            self.drop_held(conn, item);
            return Ok(());
        };
        let limit = row.limits.answers;
        if row.held.len() >= limit {
            self.drop_held(conn, item);
            return Err(PeerMisbehaved::TableFull {
                what: "messages that wait for room",
                limit,
            });
        }
        if row.held.is_empty() {
            self.holding.push_back(conn);
        }
        row.held.push_back(item);
        Ok(())
    }

    /// A node to which held calls go has resolved: on the connection they came from, its peer has
    /// been told what it is, and sends there itself from now on.
    pub(super) fn move_held(&mut self, from: NodeId, to: NodeId) {
        let Some(node) = self.nodes.get_mut(from) else {
            return;
        };
        if !node.take_held() {
            return;
        }
        let on = self.nodes.get(to).and_then(|node| node.far());
        let on = on.map(|far| far.conn);
        for at in 0..self.holding.len() {
            let Some(conn) = self.holding.get(at).copied() else {
                return;
            };
            let Some(row) = self.connections.get_mut(conn) else {
                continue;
            };
            let strict = on == Some(conn);
            let mut moved: u32 = 0;
            for item in &mut row.held {
                if let Held::Call { target, .. } | Held::Bounce { target, .. } = item
                    && target.way == Way::Plain
                    && target.node == from
                {
                    target.node = to;
                    target.way = if strict { Way::Strict } else { Way::Plain };
                    moved += 1;
                }
            }
            for _ in 0..moved {
                self.nodes.retain(to);
                self.drop_count(from);
            }
            let Some(node) = self.nodes.get_mut(to) else {
                continue;
            };
            match node.far_mut().filter(|_| strict) {
                Some(far) => far.pins += moved,
                None => (0..moved).for_each(|_| node.add_held()),
            }
        }
    }

    /// Lets one waiting item of one connection go on. False if none can.
    pub(super) fn admit_held(&mut self) -> bool {
        for _ in 0..self.holding.len() {
            let Some(conn) = self.holding.pop_front() else {
                return false;
            };
            let Some(row) = self.connections.get_mut(conn) else {
                continue;
            };
            let waits = matches!(row.held.front(), Some(Held::Call { .. }));
            let item = match waits && row.is_gate_closed() {
                true => None,
                false => row.held.pop_front(),
            };
            if item.is_some() {
                row.gate_valve.moves();
            }
            if row.held.is_empty() {
                row.held.shrink_to(HELD_KEPT);
                row.gate_valve.rest();
            } else {
                self.holding.push_back(conn);
            }
            if let Some(item) = item {
                self.go_on(conn, item);
                self.settle();
                return true;
            }
        }
        false
    }

    fn go_on(&mut self, conn: ConnId, item: Held) {
        match item {
            Held::Call { target, call } => {
                let at = TargetNode {
                    node: target.node,
                    strict: target.way == Way::Strict,
                    counted: false,
                };
                self.deliver(conn, at, call);
                self.unpin_target(conn, target);
            }
            Held::Bounce { target, id } => {
                let at = TargetNode {
                    node: target.node,
                    strict: target.way == Way::Strict,
                    counted: false,
                };
                let back = self.way_back(conn, at);
                let result = back.ok_or(PeerMisbehaved::DisembargoTarget);
                let result = result.and_then(|back| self.send_back(conn, at, back, id));
                self.unpin_target(conn, target);
                if let Err(fault) = result {
                    self.abort(conn, fault);
                }
            }
            Held::Disembargo { vine, serial, name } => {
                self.pass_held_disembargo(conn, vine, serial, &name);
            }
            Held::Lift { embargo, named } => {
                self.lifted(conn, embargo, named.as_ref());
                if let Some(pin) = named {
                    self.drop_pin(conn, pin);
                }
            }
        }
    }

    /// An object gets the call.
    pub(super) fn hand_to_object(&mut self, object: ObjectKey, call: WireCall) {
        let token = call.answer.duplicate();
        self.end_fds_wait(&token);
        self.outputs.push_back(Output::Deliver {
            object,
            call: Incoming::Wire(call),
        });
        let Some(entry) = self.answer_mut(&token) else {
            return;
        };
        let (new, bytes) = (!entry.delivered, entry.bytes);
        entry.delivered = true;
        let queued = std::mem::take(&mut entry.queued);
        // A Finish came while the call waited.
        let cancelled = entry.is_unwanted();
        if let Some(row) = self.connections.get_mut(token.conn) {
            row.queued -= usize::from(queued);
            row.delivered += usize::from(new);
            row.delivered_bytes += if new { bytes } else { 0 };
        }
        if cancelled {
            self.outputs.push_back(Output::Cancelled(token));
        }
    }

    /// The call waits for a promise.
    pub(super) fn count_queued(&mut self, token: &AnswerToken) {
        let Some(entry) = self.answer_mut(token) else {
            return;
        };
        let new = !std::mem::replace(&mut entry.queued, true);
        if let Some(row) = self.connections.get_mut(token.conn) {
            row.queued += usize::from(new);
        }
    }

    /// The object no longer has the call, and no promise.
    pub(super) fn uncount_delivered(&mut self, token: &AnswerToken) {
        let Some(entry) = self.answer_mut(token) else {
            return;
        };
        let (was, bytes) = (std::mem::take(&mut entry.delivered), entry.bytes);
        let queued = std::mem::take(&mut entry.queued);
        if let Some(row) = self.connections.get_mut(token.conn) {
            row.queued -= usize::from(queued);
            if was {
                row.uncount_delivered(bytes);
            }
        }
    }

    /// The waiting items of a connection that is lost.
    pub(super) fn lose_held(&mut self, conn: ConnId, items: impl Iterator<Item = Held>) {
        self.holding.retain(|holding| *holding != conn);
        for item in items {
            self.drop_held(conn, item);
        }
    }

    fn drop_held(&mut self, conn: ConnId, item: Held) {
        match item {
            Held::Call { target, mut call } => {
                for node in call.params.take_caps() {
                    self.drop_count(node);
                }
                self.unpin_target(conn, target);
            }
            Held::Bounce { target, .. } => self.unpin_target(conn, target),
            Held::Disembargo { .. } => {}
            Held::Lift { embargo, named } => {
                let Embargo {
                    waiting, target, ..
                } = embargo;
                if let Some(pin) = named {
                    self.drop_pin(conn, pin);
                }
                // Calls before it do not arrive, so those to it must not either.
                let reason = "calls that were sent before wait for room, and will not arrive";
                self.become_broken(waiting, Exception::disconnected(reason));
                self.drop_count(waiting);
                self.drop_count(target);
            }
        }
    }
}

impl<H: Host> Connection<H> {
    /// Whether the peer is at one of its soft limits.
    pub(crate) fn is_gate_closed(&self) -> bool {
        self.delivered >= self.gate_calls()
            || self.delivered_bytes >= self.gate_bytes()
            || self.outbound.len() > self.limits.outbound_soft
    }

    pub(super) fn gate_calls(&self) -> usize {
        let Limits {
            answers_soft,
            answers,
            ..
        } = self.limits;
        self.gate_valve.widened(answers_soft, answers)
    }

    pub(super) fn gate_bytes(&self) -> usize {
        let Limits {
            call_bytes_soft,
            call_bytes,
            ..
        } = self.limits;
        self.gate_valve.widened(call_bytes_soft, call_bytes)
    }

    /// An object no longer has a call of the peer. Once nothing waits and what is under way fits,
    /// the gate is as wide as it was.
    pub(super) fn uncount_delivered(&mut self, bytes: usize) {
        self.delivered -= 1;
        self.delivered_bytes -= bytes;
        if self.gate_valve.is_open()
            && self.held.is_empty()
            && self.delivered < self.limits.answers_soft
            && self.delivered_bytes < self.limits.call_bytes_soft
        {
            self.gate_valve.close();
        }
    }
}

/// Places that an emptied queue keeps.
const HELD_KEPT: usize = 16;
