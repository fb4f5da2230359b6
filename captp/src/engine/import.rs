//! References that arrive, and what messages of the peer point to.

use std::rc::Rc;

use super::node::{Far, Kind, Place};
use super::receive::Fds;
use super::{Engine, Pending};
use crate::connection::export;
use crate::connection::import::{Attached, Import};
use crate::message::{Descriptor, DescriptorKind, Target};
use crate::{ConnId, ExportId, Host, ImportId, NodeId, PeerMisbehaved};

type Result<T> = std::result::Result<T, PeerMisbehaved>;

/// Where something from a peer goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct TargetNode {
    pub(super) node: NodeId,
    /// To the node's place on the connection, whatever it has resolved to since.
    pub(super) strict: bool,
    /// Whether the holder of this owns a count of the node.
    pub(super) counted: bool,
}

/// What the peer reaches through us, of the references of a message: the index of each, and how the
/// peer named it. Mostly there is none.
pub(super) type Named = Vec<(usize, Target)>;

impl<H: Host> Engine<H> {
    /// Counted nodes for the references of a message, and the names of those that the peer reaches
    /// through us.
    pub(super) fn import_all(
        &mut self,
        conn: ConnId,
        descriptors: &[Descriptor],
        fds: &mut Fds,
    ) -> Result<(Vec<NodeId>, Named)> {
        if descriptors.is_empty() {
            return Ok((Vec::new(), Named::new()));
        }
        let mut nodes = Vec::with_capacity(descriptors.len());
        let mut ours = Named::new();
        for descriptor in descriptors {
            match self.import(conn, descriptor, fds) {
                Ok((node, loops)) => {
                    ours.extend(loops.map(|target| (nodes.len(), target)));
                    nodes.push(node);
                }
                Err(fault) => {
                    for node in nodes {
                        self.drop_count(node);
                    }
                    return Err(fault);
                }
            }
        }
        Ok((nodes, ours))
    }

    /// The same for what is used at once although calls that came before may be waiting: a
    /// reference of ours must not lead past them.
    pub(super) fn import_back(
        &mut self,
        conn: ConnId,
        descriptors: &[Descriptor],
        fds: &mut Fds,
    ) -> Result<(Vec<NodeId>, Named)> {
        let (mut nodes, ours) = self.import_all(conn, descriptors, fds)?;
        if !self.is_holding(conn) {
            return Ok((nodes, ours));
        }
        for (at, target) in &ours {
            if let Some(node) = nodes.get_mut(*at) {
                *node = self.behind_held(conn, *node, Some(target));
            }
        }
        Ok((nodes, ours))
    }

    pub(super) fn import(
        &mut self,
        conn: ConnId,
        descriptor: &Descriptor,
        fds: &mut Fds,
    ) -> Result<(NodeId, Option<Target>)> {
        match &descriptor.kind {
            DescriptorKind::Null => {
                self.nodes.retain(self.null);
                Ok((self.null, None))
            }
            DescriptorKind::Import { id, promise } => {
                let node = self.import_theirs(conn, *id, *promise)?;
                self.take_fd(conn, node, descriptor.fd, fds);
                Ok((node, None))
            }
            DescriptorKind::Third { contact, vine } => {
                let node = self.import_gift(conn, contact.as_ref(), *vine)?;
                self.take_fd(conn, node, descriptor.fd, fds);
                self.share_fd(node);
                Ok((node, None))
            }
            DescriptorKind::Ours(named @ Target::Export(id)) => {
                let Some(node) = self.named_export(conn, *id) else {
                    return Err(PeerMisbehaved::UnknownExport(*id));
                };
                self.nodes.retain(node);
                Ok((self.behind_loop(conn, named, node), Some(named.clone())))
            }
            DescriptorKind::Ours(named) => {
                let target = self.target(conn, named)?;
                let mut node = target.node;
                if target.strict {
                    node = match self.called_place(conn, node) {
                        Some(at) => at,
                        None => self.gift_of(conn, node),
                    };
                }
                if !target.counted {
                    self.nodes.retain(node);
                }
                let node = self.behind_loop(conn, named, node);
                Ok((node, Some(named.clone())))
            }
        }
    }

    /// What an export that the peer names stands for here. Its pin is for the peer only, but if that
    /// is the vine of a gift, and the peer has sent something there, then this is on its way to who
    /// gave it and on: nothing may go past it.
    fn named_export(&mut self, conn: ConnId, id: ExportId) -> Option<NodeId> {
        let row = self.connections.get(conn)?;
        let entry = row.exports.get(id.raw()).filter(|entry| entry.is_named())?;
        let export::State::Resolved(pin) = &entry.state else {
            return Some(entry.node);
        };
        let node = entry.node;
        match self.follow_pin(conn, pin) {
            (at, true) => Some(self.called_place(conn, at).unwrap_or(node)),
            _ => Some(node),
        }
    }

    /// The gift of a vine to which the peer was told that something leads, unless it has sent
    /// anything there.
    fn gift_of(&self, conn: ConnId, vine: NodeId) -> NodeId {
        let far = self.nodes.get(vine).and_then(|node| node.far());
        let Some(Far {
            place: Place::Import { id, .. },
            ..
        }) = far.filter(|_| !self.is_called(vine))
        else {
            return vine;
        };
        let row = self.connections.get(conn);
        let entry = row.and_then(|row| row.imports.get(id.raw()));
        let gift = entry.filter(|entry| entry.node == vine);
        let gift = gift.and_then(|entry| entry.gift);
        gift.filter(|gift| self.nodes.get(*gift).is_some())
            .unwrap_or(vine)
    }

    /// Whether something was sent to this place, which has not become anything else.
    pub(super) fn is_called(&self, at: NodeId) -> bool {
        match self.nodes.get(at).map(|node| &node.kind) {
            Some(Kind::Far(far)) => far.called,
            _ => false,
        }
    }

    pub(super) fn import_theirs(
        &mut self,
        conn: ConnId,
        id: ImportId,
        promise: bool,
    ) -> Result<NodeId> {
        let Some(row) = self.connections.get_mut(conn) else {
            return Ok(self.null);
        };
        if let Some(entry) = row.imports.get_mut(id.raw()) {
            let limit = row.limits.imports;
            entry.refs = entry.refs.checked_add(1).ok_or(PeerMisbehaved::TableFull {
                what: "counts of one reference",
                limit,
            })?;
            let node = entry.node;
            self.nodes.retain(node);
            return Ok(node);
        }
        let limit = row.limits.imports;
        if row.imports.len() >= limit {
            return Err(PeerMisbehaved::TableFull {
                what: "references held of the peer",
                limit,
            });
        }
        let place = Place::Import {
            id,
            settled: !promise,
        };
        let node = self.nodes.insert(Kind::Far(Far::new(conn, place)));
        row.imports.insert(
            id.raw(),
            Import {
                node,
                refs: 1,
                named: 0,
                gift: None,
            },
        );
        Ok(node)
    }

    /// The first descriptor that comes with a reference stays with it; any others are closed, and
    /// so are all beyond the limit.
    fn take_fd(&mut self, conn: ConnId, node: NodeId, index: Option<u8>, fds: &mut Fds) {
        let fd = index.and_then(|index| fds.get_mut(usize::from(index)));
        let (Some(fd), Some(node), Some(row)) =
            (fd, self.nodes.get_mut(node), self.connections.get(conn))
        else {
            return;
        };
        let (count, limit) = (row.import_fds.count(), row.limits.import_fds);
        if count >= limit {
            return tracing::debug!(%conn, limit, "a descriptor more than may stay with references");
        }
        if let Some(fd) = fd.take()
            && node.fd().is_none()
        {
            node.attach(Rc::new(Attached::received(fd, &row.import_fds)));
        }
    }

    /// A gift's vine has the same descriptor: it may take the gift's place.
    fn share_fd(&mut self, gift: NodeId) {
        let Some(node) = self.nodes.get(gift) else {
            return;
        };
        if let (Kind::Gift(gift), Some(fd)) = (&node.kind, node.attached().cloned())
            && let Some(vine) = self.nodes.get_mut(gift.vine)
        {
            vine.attach(fd);
        }
    }

    /// Where a call or Disembargo of the peer goes.
    pub(super) fn target(&mut self, conn: ConnId, target: &Target) -> Result<TargetNode> {
        match target {
            Target::Export(id) => {
                let row = self.connections.get(conn);
                let entry = row.and_then(|row| row.exports.get(id.raw()));
                let Some(entry) = entry.filter(|entry| entry.is_named()) else {
                    return Err(PeerMisbehaved::UnknownExport(*id));
                };
                let (node, strict) = match &entry.state {
                    export::State::Settled | export::State::Promise | export::State::Vine(..) => {
                        (entry.node, false)
                    }
                    export::State::Resolved(pin) => self.follow_pin(conn, pin),
                };
                Ok(TargetNode {
                    node,
                    strict,
                    counted: false,
                })
            }
            Target::Answer(id, path) => Ok(self.answer_target(conn, *id, path)),
        }
    }

    pub(super) fn route_to(&mut self, target: TargetNode, item: Pending<H>) {
        let at = self.at_place(target.node);
        if target.strict
            && let Some(far) = self.nodes.get(at).and_then(|node| node.far())
        {
            let far = far.clone();
            return self.pass_far(at, far, item);
        }
        self.route(target.node, item);
    }
}
