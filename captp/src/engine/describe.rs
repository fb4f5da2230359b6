//! References that leave: how they are described to a peer, and what we owe it then.

use std::os::fd::OwnedFd;
use std::rc::Rc;

use super::node::{Kind, Node, Place};
use super::{Engine, Work};
use crate::connection::export::{Exports, State};
use crate::connection::{Pin, Way};
use crate::message::encode::{self, Cap, Described};
use crate::{ConnId, Exception, ExportId, Host, NodeId};

/// What a message gives away besides its bytes. The engine keeps one for the next message.
#[derive(Default)]
pub(super) struct Given {
    /// Descriptors for its capability table.
    pub(super) caps: Vec<Cap>,
    /// The nodes that they describe, borrowed, and how to reach these later if they are pinned.
    pub(super) nodes: Vec<(NodeId, Way)>,
    pub(super) exports: Exports,
    pub(super) fds: Vec<Rc<OwnedFd>>,
    /// Size of the message.
    pub(super) bytes: usize,
    /// Whether a gift that was not accepted may be passed on: not in answers and resolutions.
    pub(super) passes_gifts: bool,
    /// Whether the message overtakes calls that wait for room: answers do.
    pub(super) overtakes: bool,
    /// References of the peer's own, described as promises: to be resolved behind those calls.
    pub(super) behind: Vec<(ExportId, Place)>,
    /// Broken references: exports to be resolved with an exception right after the message.
    pub(super) broken: Vec<(ExportId, Exception)>,
}

impl Given {
    /// Forgets the references but keeps the room for them.
    fn clear(&mut self) {
        self.caps.clear();
        self.nodes.clear();
        self.exports.clear();
        self.fds.clear();
        self.behind.clear();
        self.broken.clear();
    }
}

impl<H: Host> Engine<H> {
    /// Describes references for a message on a connection. On an error nothing has been given.
    pub(super) fn give(
        &mut self,
        conn: ConnId,
        nodes: &[Option<NodeId>],
        passes_gifts: bool,
    ) -> Result<Box<Given>, Exception> {
        let mut given = self.take_given();
        given.passes_gifts = passes_gifts;
        given.overtakes = !passes_gifts && self.has_unsent(conn);
        if nodes.is_empty() {
            return Ok(given);
        }
        let limit = self.connections.get(conn).map_or(0, |row| row.send_caps);
        if nodes.len() > limit {
            return Err(Exception::failed(format!(
                "{} references in one message, the limit is {limit}",
                nodes.len()
            )));
        }
        for node in nodes {
            if let Err(reason) = self.give_one(conn, *node, &mut given) {
                self.take_back(conn, given);
                return Err(reason);
            }
        }
        Ok(given)
    }

    /// Undoes [`give`](Self::give) for a message that is not sent.
    pub(super) fn take_back(&mut self, conn: ConnId, mut given: Box<Given>) {
        for export in std::mem::take(&mut given.exports) {
            self.release_export(conn, export, 1);
        }
        given.clear();
        self.put_given(given);
    }

    /// One without references.
    pub(super) fn take_given(&mut self) -> Box<Given> {
        let mut given = self.given.take().unwrap_or_default();
        given.passes_gifts = false;
        given.overtakes = false;
        given
    }

    /// Keeps one, for a message that was sent, for the next.
    pub(super) fn put_given(&mut self, mut given: Box<Given>) {
        if !given.nodes.is_empty() {
            given.clear();
        }
        self.given = Some(given);
    }

    /// Sends what has to follow a message that was sent.
    pub(super) fn sent(&mut self, conn: ConnId, given: &Given) {
        for (export, reason) in &given.broken {
            let reason = self.fitting(conn, reason);
            let built = encode::resolve(*export, Err(&reason));
            self.transmit_resolve(conn, *export, &built, None, &Given::default());
        }
        for (export, place) in &given.behind {
            let cap = Cap {
                as_what: Described::Theirs(place.clone()),
                fd: None,
            };
            let built = encode::resolve(*export, Ok(&cap));
            self.transmit_resolve(conn, *export, &built, Some(&cap), &Given::default());
        }
    }

    /// One reference of a message.
    pub(super) fn give_one(
        &mut self,
        conn: ConnId,
        node: Option<NodeId>,
        given: &mut Given,
    ) -> Result<(), Exception> {
        let node = self.nodes.terminal(node.unwrap_or(self.null));
        let (as_what, way, node) = self.describe(conn, node, given)?;
        let fd = self.give_fd(conn, node, given)?;
        given.caps.push(Cap { as_what, fd });
        given.nodes.push((node, way));
        Ok(())
    }

    fn describe(
        &mut self,
        conn: ConnId,
        id: NodeId,
        given: &mut Given,
    ) -> Result<(Described, Way, NodeId), Exception> {
        if id == self.null {
            return Ok((Described::Null, Way::Plain, id));
        }
        let settled = match self.nodes.get(id) {
            None => return self.describe_broken(conn, id, self.stale.clone(), given),
            Some(node) => match &node.kind {
                Kind::Broken(reason) => {
                    let reason = reason.clone();
                    return self.describe_broken(conn, id, reason, given);
                }
                Kind::Far(far) if far.conn == conn => {
                    if node.has_backlog() {
                        return self.describe_later(conn, id, given);
                    }
                    let place = far.place.clone();
                    return self.describe_home(conn, id, place, given);
                }
                Kind::Far(far) if !node.is_unresolved() => {
                    let (far, queued) = (far.clone(), node.has_backlog());
                    if queued && self.handoff_peer(far.conn).is_some() {
                        return self.describe_later(conn, id, given);
                    }
                    if let Some((described, vine)) = self.introduce(conn, id, &far) {
                        given.exports.push(vine);
                        return Ok((described, Way::Plain, id));
                    }
                    true
                }
                Kind::Gift(gift) => {
                    let (vine, from) = (gift.vine, gift.from);
                    if let Some(described) = self.describe_gift(conn, id, vine, from, given)? {
                        return Ok(described);
                    }
                    false
                }
                Kind::Object(_) | Kind::Far(_) | Kind::Promise | Kind::Link { .. } => {
                    !node.is_unresolved()
                }
            },
        };
        let node = id;
        let id = self.export(conn, node, settled)?;
        given.exports.push(id);
        if settled {
            return Ok((Described::Hosted(id), Way::Plain, node));
        }
        let row = self.connections.get(conn);
        let serial = row
            .and_then(|row| row.exports.get(id.raw()))
            .map_or(0, |entry| entry.serial);
        Ok((Described::Promise(id), Way::Export { id, serial }, node))
    }

    /// What was sent to something before it is given away has to be first, and is still in a queue:
    /// a promise until that is empty.
    fn describe_later(
        &mut self,
        conn: ConnId,
        node: NodeId,
        given: &mut Given,
    ) -> Result<(Described, Way, NodeId), Exception> {
        let id = self.new_export(conn, node, State::Promise)?;
        given.exports.push(id);
        let row = self.connections.get(conn);
        let entry = row.and_then(|row| row.exports.get(id.raw()));
        let serial = entry.map_or(0, |entry| entry.serial);
        self.work.push_back(Work::Announce(conn, id, serial));
        Ok((Described::Promise(id), Way::Export { id, serial }, node))
    }

    /// A gift that was not accepted: goes back to who gave it as what they gave, or on to somebody
    /// else. Otherwise it is accepted now, and a promise until then.
    fn describe_gift(
        &mut self,
        conn: ConnId,
        gift: NodeId,
        vine: NodeId,
        from: ConnId,
        given: &mut Given,
    ) -> Result<Option<(Described, Way, NodeId)>, Exception> {
        if !self.nodes.get(gift).is_some_and(Node::is_fresh_gift) {
            self.work.push_back(Work::Accept(gift));
            return Ok(None);
        }
        if from == conn
            && let Some(far) = self.nodes.get(vine).and_then(|node| node.far())
        {
            let place = far.place.clone();
            if let Some(node) = self.nodes.get_mut(gift) {
                node.mark_reflected();
            }
            return self.describe_home(conn, vine, place, given).map(Some);
        }
        if given.passes_gifts
            && let Some((described, vine)) = self.pass_on(conn, gift)
        {
            given.exports.push(vine);
            return Ok(Some((described, Way::Plain, gift)));
        }
        self.work.push_back(Work::Accept(gift));
        Ok(None)
    }

    /// Something of the peer's own. In a message that overtakes calls of ours, a promise until those
    /// have left.
    fn describe_home(
        &mut self,
        conn: ConnId,
        node: NodeId,
        place: Place,
        given: &mut Given,
    ) -> Result<(Described, Way, NodeId), Exception> {
        if !given.overtakes {
            return Ok((Described::Theirs(place), Way::Strict, node));
        }
        let pin = self.pin(node, Way::Strict, conn);
        let id = self.new_export(conn, node, State::Resolved(pin))?;
        given.exports.push(id);
        given.behind.push((id, place));
        Ok((Described::Promise(id), Way::Strict, node))
    }

    /// A broken reference has no descriptor of its own: it travels as a promise that is resolved
    /// with the exception at once.
    fn describe_broken(
        &mut self,
        conn: ConnId,
        node: NodeId,
        reason: Exception,
        given: &mut Given,
    ) -> Result<(Described, Way, NodeId), Exception> {
        self.nodes.retain(node);
        let state = State::Resolved(Pin {
            node,
            way: Way::Plain,
        });
        let id = self.new_export(conn, node, state)?;
        given.exports.push(id);
        given.broken.push((id, reason));
        Ok((Described::Promise(id), Way::Plain, node))
    }

    fn give_fd(
        &self,
        conn: ConnId,
        node: NodeId,
        given: &mut Given,
    ) -> Result<Option<u8>, Exception> {
        let Some(fd) = self.nodes.get(node).and_then(|node| node.fd()) else {
            return Ok(None);
        };
        let Some(row) = self.connections.get(conn) else {
            return Ok(None);
        };
        if !row.descriptors {
            return Ok(None);
        }
        let limit = row.send_fds.min(254);
        if given.fds.len() >= limit {
            return Err(Exception::failed(format!(
                "more than {limit} file descriptors in one message"
            )));
        }
        let index = u8::try_from(given.fds.len()).unwrap_or(u8::MAX);
        given.fds.push(Rc::clone(fd));
        Ok(Some(index))
    }
}
