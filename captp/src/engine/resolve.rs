//! References that become something, and references that nobody holds any more.

use super::node::Kind;
use super::{Engine, Output};
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
        let (backlog, waiters) = match self.nodes.get_mut(node) {
            Some(node) => (node.take_backlog(), node.take_waiters()),
            None => return,
        };
        let followers = self.nodes.link(node, to);
        if let Some(target) = self.nodes.get_mut(to) {
            for item in backlog.into_iter().chain(waiters) {
                target.push_backlog(item);
            }
            if moves && target.has_backlog() {
                self.work.push_back(to);
            }
        }
        for _ in 0..followers {
            self.drop_count(node);
        }
    }

    /// A promise or far node comes to nothing.
    pub(super) fn become_broken(&mut self, id: NodeId, reason: Exception) {
        let Some(node) = self.nodes.get_mut(id) else {
            return;
        };
        node.kind = Kind::Broken(reason);
        for item in node.take_waiters() {
            node.push_backlog(item);
        }
        if node.has_backlog() {
            self.work.push_back(id);
        }
    }

    /// Gives one count back; what the node held goes with it.
    pub(super) fn drop_count(&mut self, id: NodeId) {
        let Some(mut node) = self.nodes.release(id) else {
            return;
        };
        // Calls to a promise that nobody can resolve any more have nowhere to go.
        for item in node.take_backlog() {
            self.fail(
                item,
                Exception::failed("the promise was dropped without being resolved"),
            );
        }
        for item in node.take_waiters() {
            self.fail(
                item,
                Exception::failed("the promise was dropped without being resolved"),
            );
        }
        match node.kind {
            Kind::Object(key) => self.outputs.push_back(Output::Dropped(key)),
            Kind::Link { to, slot, .. } => {
                self.nodes.unfollow(to, slot);
                self.drop_count(to);
            }
            Kind::Promise | Kind::Far(_) | Kind::Broken(_) => {}
        }
    }
}
