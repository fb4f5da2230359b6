//! Where calls go: to an object, into a queue, onto the wire, or back with an error.

use super::node::Kind;
use super::{Engine, Output, Pending, Work};
use crate::message::encode;
use crate::{Exception, Host, Incoming, NodeId, PeerMisbehaved};

impl<H: Host> Engine<H> {
    /// Sends an item to a reference, behind everything that was sent to it before.
    pub(super) fn route(&mut self, target: NodeId, item: Pending<H>) {
        let at = self.nodes.terminal(target);
        let Some(node) = self.nodes.get_mut(at) else {
            return self.fail(item, self.stale.clone());
        };
        if matches!(node.kind, Kind::Gift(_)) {
            node.push_backlog(item);
            return self.work.push_back(Work::Accept(at));
        }
        if node.has_backlog() || matches!(node.kind, Kind::Promise) {
            return self.queue(at, item);
        }
        self.pass(at, item);
    }

    /// Works off everything that can move. Every public method that changes something ends here.
    pub(super) fn settle(&mut self) {
        let quiet = self.work.is_empty() && self.crowded.is_empty() && self.stuck.is_empty();
        if !quiet || self.is_overweight() {
            self.work_off();
        }
    }

    fn work_off(&mut self) {
        loop {
            while let Some(work) = self.work.pop_front() {
                match work {
                    Work::Drain(node) => self.drain(node),
                    Work::Fail(item, reason) => self.fail(item, reason),
                    Work::Taken(conn, question, result) => self.taken(conn, question, result),
                    Work::Announce(conn, export, serial) => self.announce(conn, export, serial),
                    Work::Accept(gift) => self.accept_gift(gift),
                    Work::Release(node) => self.drop_count(node),
                }
            }
            if !self.crowded.is_empty() {
                self.let_leave();
                if !self.work.is_empty() {
                    continue;
                }
            }
            let Some(conn) = self.stuck.pop() else {
                if self.is_overweight() {
                    self.shed();
                    continue;
                }
                return;
            };
            let waiting = self.connections.get(conn).map(|row| row.outbound.len());
            if let Some(bytes) = waiting {
                self.abort(conn, PeerMisbehaved::NotReading(bytes));
            }
        }
    }

    fn queue(&mut self, at: NodeId, item: Pending<H>) {
        let item = self.counted(at, item);
        if let Some(node) = self.nodes.get_mut(at) {
            node.push_backlog(item);
        }
    }

    /// Passes on what waits at a node, as far as the node's state allows.
    pub(super) fn drain(&mut self, at: NodeId) {
        #[cfg(any(test, feature = "testing"))]
        let swaps = self.has_fault(super::testing::Fault::QueueSwapped);
        while let Some(node) = self.nodes.get_mut(at) {
            match &node.kind {
                Kind::Promise => return,
                Kind::Gift(_) => return self.accept_gift(at),
                Kind::Object(_) | Kind::Far(_) | Kind::Link { .. } | Kind::Broken(_) => {}
            }
            #[cfg(any(test, feature = "testing"))]
            if swaps {
                node.swap_backlog();
            }
            let Some(item) = node.pop_backlog() else {
                return;
            };
            self.pass(at, item);
        }
    }

    /// Sends an item to a node that has no queue to wait in.
    fn pass(&mut self, at: NodeId, item: Pending<H>) {
        let item = match item {
            Pending::Streamed(call, share) => {
                self.pass(at, Pending::Local(call));
                // Last, so that there is no room for a moment only.
                return self.end_share(Some(share));
            }
            item => item,
        };
        let Some(node) = self.nodes.get_mut(at) else {
            return self.fail(item, self.stale.clone());
        };
        match &node.kind {
            Kind::Object(key) => {
                let object = *key;
                if matches!(item, Pending::Local(_) | Pending::Wire(_)) {
                    // Given back by `poll_output`: a call on its way holds its object.
                    node.count = node.count.saturating_add(1);
                }
                let output = match item {
                    Pending::Local(call) | Pending::Streamed(call, _) => Output::Deliver {
                        object,
                        call: Incoming::Local(call),
                    },
                    Pending::Wire(call) => return self.hand_to_object(object, call),
                    Pending::Job(job) => Output::Run(job),
                    Pending::Bounce { conn, id } => return self.bounced(conn, None, id),
                };
                self.outputs.push_back(output);
            }
            Kind::Broken(reason) => {
                let reason = reason.clone();
                self.fail(item, reason);
            }
            Kind::Promise => node.push_backlog(item),
            Kind::Gift(_) => {
                node.push_backlog(item);
                self.work.push_back(Work::Accept(at));
            }
            Kind::Link { to, .. } => {
                let to = *to;
                self.route(to, item);
            }
            Kind::Far(far) => {
                let far = far.clone();
                self.pass_far(at, far, item);
            }
        }
    }

    /// An item has nowhere to go.
    pub(super) fn fail(&mut self, item: Pending<H>, reason: Exception) {
        match item {
            Pending::Local(call) => self.outputs.push_back(Output::Failed { call, reason }),
            Pending::Streamed(call, share) => {
                self.outputs.push_back(Output::Failed { call, reason });
                self.end_share(Some(share));
            }
            Pending::Wire(call) => self.refuse(call, &reason),
            Pending::Job(job) => self.outputs.push_back(Output::Run(job)),
            Pending::Bounce { conn, id } => {
                self.uncount_bounce(conn);
                self.transmit_disembargo(conn, conn, &encode::receiver_loopback(None, id), None);
            }
        }
    }
}
