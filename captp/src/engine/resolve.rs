//! References that become something, and references that nobody holds any more.

use super::node::{Kind, Node};
use super::{Engine, Output, Work};
use crate::{Exception, Host, NodeId};

impl<H: Host> Engine<H> {
    /// A promise or far node comes to stand for another reference.
    pub(super) fn become_link(&mut self, node: NodeId, to: NodeId) {
        let to = self.nodes.terminal(to);
        if to == node {
            let reason = Exception::failed("a promise was resolved to itself");
            return self.become_broken(node, reason);
        }
        let Some(target) = self.nodes.get(to) else {
            return self.become_broken(node, self.stale.clone());
        };
        let moves = !matches!(target.kind, Kind::Promise);
        let Some(old) = self.nodes.get_mut(node) else {
            return;
        };
        let (waiting, exports) = (old.take_waiting(), old.take_exports());
        let (left, vine, orphan) = match &old.kind {
            Kind::Far(far) if far.pins == 0 => (Some(far.clone()), None, false),
            Kind::Gift(gift) => (None, Some(gift.vine), gift.orphan),
            _ => (None, None, false),
        };
        let followers = self.nodes.link(node, to);
        if let Some(target) = self.nodes.get_mut(to) {
            for item in waiting.into_iter().flatten() {
                target.push_backlog(item);
            }
            if moves && target.has_backlog() {
                self.work.push_back(Work::Drain(to));
            }
        }
        self.announce_later(exports);
        self.move_held(node, to);
        self.move_stream(node, to);
        if let Some(far) = left {
            self.leave_place(node, &far);
        }
        if let Some(vine) = vine {
            self.drop_count(vine);
        }
        for _ in 0..followers {
            self.drop_count(node);
        }
        if orphan {
            self.work.push_back(Work::Release(node));
        }
    }

    /// A promise or far node comes to nothing.
    pub(super) fn become_broken(&mut self, id: NodeId, reason: Exception) {
        let Some(node) = self.nodes.get_mut(id) else {
            return;
        };
        let old = std::mem::replace(&mut node.kind, Kind::Broken(reason));
        node.queue_waiters();
        if node.has_backlog() {
            self.work.push_back(Work::Drain(id));
        }
        let exports = node.take_exports();
        self.announce_later(exports);
        match old {
            Kind::Far(far) => self.leave_place(id, &far),
            Kind::Gift(gift) => {
                self.end_gift(id, &gift);
                if gift.orphan {
                    self.work.push_back(Work::Release(id));
                }
            }
            Kind::Object(_) | Kind::Promise | Kind::Link { .. } | Kind::Broken(_) => {}
        }
    }

    /// Gives one count back; what the node held goes with it.
    pub(super) fn drop_count(&mut self, id: NodeId) {
        if self.nodes.get_mut(id).is_some_and(Node::is_kept_by_calls) {
            return;
        }
        let Some(mut node) = self.nodes.release(id) else {
            return;
        };
        // Calls to a promise that nobody can resolve any more have nowhere to go.
        if let Some(waiting) = node.take_waiting() {
            let reason = match &node.kind {
                Kind::Broken(reason) => reason.clone(),
                _ => Exception::failed("the promise was dropped without being resolved"),
            };
            for item in waiting {
                self.work.push_back(Work::Fail(item, reason.clone()));
            }
        }
        match node.kind {
            Kind::Object(key) => self.outputs.push_back(Output::Dropped(key)),
            Kind::Link { to, slot, .. } => {
                self.nodes.unfollow(to, slot);
                self.drop_count(to);
            }
            Kind::Far(far) => self.leave_place(id, &far),
            Kind::Gift(gift) => self.end_gift(id, &gift),
            Kind::Promise | Kind::Broken(_) => {}
        }
    }
}
