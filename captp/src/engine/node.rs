//! The arena of references.
//!
//! A node is one reference as this vat sees it. What it is:
//!
//! 1. *Object*: one of the host's. Never changes.
//! 2. *Promise*: unresolved, decided here. Calls queue up in its backlog.
//! 3. *Far*: something on a connection, an import or a reference inside a coming answer. Calls go
//!    to the wire at once. A *settled* import never changes; the others resolve.
//! 4. *Link*: resolved; stands for another node, which is never itself a link.
//! 5. *Broken*: never changes.
//! 6. *Gift*: lies at another vat to which we may have no connection yet; see
//!    [`crate::connection::handoff`]. Calls queue up. Becomes far, a link or broken.
//!
//! Promise and far nodes become links or broken, once. A far node that became a link may be
//! *pinned*: the peer was told that something *is* this far reference, and what it sends there must
//! go there and not along our later resolution (the Tribble rule). Only then it remembers its place
//! on the wire.
//!
//! Law: a node lives as long as somebody holds a count of it. A link counts its target; all links
//! to a node that itself becomes a link are pointed to the new target, so no chain ever grows.

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::OwnedFd;
use std::rc::Rc;

use super::Pending;
use crate::connection::handoff::Gift;
use crate::message::Target;
use crate::path::Path;
use crate::{ConnId, Exception, ExportId, Host, ImportId, NodeId, ObjectKey, QuestionId};

/// One reference.
pub(crate) struct Node<H: Host> {
    pub(crate) count: u32,
    /// Calls that wait for room at their connection and go here; see [`Node::take_held`].
    held: u32,
    pub(crate) kind: Kind,
    /// Rarely needed state.
    cold: Option<Box<Cold<H>>>,
}

/// What a reference is. The numbers are those of the module's documentation.
pub(crate) enum Kind {
    /// 1.
    Object(ObjectKey),
    /// 2.
    Promise,
    /// 3.
    Far(Far),
    /// 4. `slot` is the place in the target's list of followers; `far` is there while pinned.
    Link {
        to: NodeId,
        slot: u32,
        far: Option<Box<Far>>,
    },
    /// 5.
    Broken(Exception),
    /// 6.
    Gift(Box<Gift>),
}

/// A place on a connection.
#[derive(Clone, Debug)]
pub(crate) struct Far {
    pub(crate) conn: ConnId,
    pub(crate) place: Place,
    /// Whether a call was sent there, so that what is sent along a later resolution has to wait for
    /// it.
    pub(crate) called: bool,
    /// How many exports and answers of the same connection stand for this very place.
    pub(crate) pins: u32,
    /// The import that is pinned instead of this place inside an answer. Counted and pinned.
    pub(crate) via: Option<NodeId>,
}

impl Far {
    /// A place to which nothing was sent yet.
    pub(crate) const fn new(conn: ConnId, place: Place) -> Self {
        Self {
            conn,
            place,
            called: false,
            pins: 0,
            via: None,
        }
    }
}

/// Where on the connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    /// A reference that the peer gave.
    Import { id: ImportId, settled: bool },
    /// A reference inside the answer to our question.
    Answer { question: QuestionId, path: Path },
}

struct Cold<H: Host> {
    /// Calls and jobs in order, to be passed on when the node is settled enough.
    backlog: VecDeque<Pending<H>>,
    /// Calls and disembargoes from the wire in the backlog.
    wire_calls: usize,
    /// What waits for a far node to resolve.
    waiters: Vec<Pending<H>>,
    /// Links to this node.
    followers: Vec<NodeId>,
    /// Under which ids the node is exported.
    exports: Vec<(ConnId, ExportId)>,
    fd: Option<Rc<OwnedFd>>,
    /// The connection on which the node had a place that is still pinned.
    lost_on: Option<ConnId>,
    /// The stream of calls on the node.
    stream: Option<u32>,
    /// Of a far node that has come home while it was pinned: under which name.
    named: Option<Target>,
}

struct Slot<H: Host> {
    generation: u32,
    node: Option<Node<H>>,
}

/// The arena.
pub(crate) struct Nodes<H: Host> {
    slots: Vec<Slot<H>>,
    free: Vec<u32>,
    objects: BTreeMap<ObjectKey, NodeId>,
}

impl<H: Host> Node<H> {
    const fn new(kind: Kind) -> Self {
        Self {
            count: 1,
            held: 0,
            kind,
            cold: None,
        }
    }

    fn cold(&mut self) -> &mut Cold<H> {
        self.cold.get_or_insert_with(|| {
            Box::new(Cold {
                backlog: VecDeque::new(),
                wire_calls: 0,
                waiters: Vec::new(),
                followers: Vec::new(),
                exports: Vec::new(),
                fd: None,
                lost_on: None,
                stream: None,
                named: None,
            })
        })
    }

    pub(crate) fn has_backlog(&self) -> bool {
        self.cold
            .as_ref()
            .is_some_and(|cold| !cold.backlog.is_empty())
    }

    /// Calls and disembargoes from the wire that wait in the backlog.
    pub(crate) fn waiting_wire_calls(&self) -> usize {
        self.cold.as_ref().map_or(0, |cold| cold.wire_calls)
    }

    pub(crate) fn push_backlog(&mut self, item: Pending<H>) {
        let cold = self.cold();
        cold.wire_calls += usize::from(item.is_from_wire());
        cold.backlog.push_back(item);
    }

    pub(crate) fn pop_backlog(&mut self) -> Option<Pending<H>> {
        let cold = self.cold.as_mut()?;
        let item = cold.backlog.pop_front()?;
        cold.wire_calls -= usize::from(item.is_from_wire());
        Some(item)
    }

    /// Exchanges the first two items.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn swap_backlog(&mut self) {
        if let Some(cold) = self.cold.as_mut()
            && cold.backlog.len() > 1
        {
            cold.backlog.swap(0, 1);
        }
    }

    pub(crate) fn take_backlog(&mut self) -> VecDeque<Pending<H>> {
        let Some(cold) = self.cold.as_mut() else {
            return VecDeque::new();
        };
        cold.wire_calls = 0;
        std::mem::take(&mut cold.backlog)
    }

    pub(crate) fn push_waiter(&mut self, item: Pending<H>) {
        self.cold().waiters.push(item);
    }

    pub(crate) fn take_waiters(&mut self) -> Vec<Pending<H>> {
        self.cold
            .as_mut()
            .map(|cold| std::mem::take(&mut cold.waiters))
            .unwrap_or_default()
    }

    pub(crate) const fn add_held(&mut self) {
        self.held = self.held.saturating_add(1);
    }

    pub(crate) const fn remove_held(&mut self) {
        self.held = self.held.saturating_sub(1);
    }

    /// Whether calls that wait for room go here; they are now counted elsewhere.
    pub(crate) const fn take_held(&mut self) -> bool {
        std::mem::replace(&mut self.held, 0) > 0
    }

    pub(crate) fn exports(&self) -> &[(ConnId, ExportId)] {
        self.cold.as_ref().map_or(&[], |cold| &cold.exports)
    }

    pub(crate) fn take_exports(&mut self) -> Vec<(ConnId, ExportId)> {
        self.cold
            .as_mut()
            .map(|cold| std::mem::take(&mut cold.exports))
            .unwrap_or_default()
    }

    pub(crate) fn exported_as(&self, conn: ConnId) -> Option<ExportId> {
        self.exports()
            .iter()
            .find(|(on, _)| *on == conn)
            .map(|(_, id)| *id)
    }

    pub(crate) fn add_export(&mut self, conn: ConnId, id: ExportId) {
        self.cold().exports.push((conn, id));
    }

    pub(crate) fn remove_export(&mut self, conn: ConnId, id: ExportId) {
        if let Some(cold) = self.cold.as_mut() {
            cold.exports.retain(|entry| *entry != (conn, id));
        }
    }

    pub(crate) fn fd(&self) -> Option<&Rc<OwnedFd>> {
        self.cold.as_ref()?.fd.as_ref()
    }

    pub(crate) fn stream(&self) -> Option<u32> {
        self.cold.as_ref()?.stream
    }

    pub(crate) fn set_stream(&mut self, stream: Option<u32>) {
        if stream.is_some() || self.cold.is_some() {
            self.cold().stream = stream;
        }
    }

    pub(crate) fn named(&self) -> Option<&Target> {
        self.cold.as_ref()?.named.as_ref()
    }

    pub(crate) fn set_named(&mut self, named: Target) {
        self.cold().named = Some(named);
    }

    pub(crate) fn set_fd(&mut self, fd: Rc<OwnedFd>) {
        self.cold().fd = Some(fd);
    }

    /// A pinned node has lost its place: nothing that was sent there is on its way back.
    pub(crate) fn lose_place_on(&mut self, conn: ConnId) {
        self.cold().lost_on = Some(conn);
    }

    /// Whether that has happened on this connection.
    pub(crate) fn lost_place_on(&self, conn: ConnId) -> bool {
        self.cold
            .as_ref()
            .is_some_and(|cold| cold.lost_on == Some(conn))
    }

    pub(crate) const fn far(&self) -> Option<&Far> {
        match &self.kind {
            Kind::Far(far) => Some(far),
            Kind::Link { far: Some(far), .. } => Some(far),
            Kind::Link { .. }
            | Kind::Object(_)
            | Kind::Promise
            | Kind::Broken(_)
            | Kind::Gift(_) => None,
        }
    }

    pub(crate) fn far_mut(&mut self) -> Option<&mut Far> {
        match &mut self.kind {
            Kind::Far(far) => Some(far),
            Kind::Link { far, .. } => far.as_deref_mut(),
            Kind::Object(_) | Kind::Promise | Kind::Broken(_) | Kind::Gift(_) => None,
        }
    }

    /// Calls went to what is now this reference by way of a promise on this connection.
    pub(crate) fn mark_called_on(&mut self, conn: ConnId) {
        match &mut self.kind {
            Kind::Far(far) if far.conn == conn => far.called = true,
            Kind::Gift(gift) if gift.from == conn => gift.called = true,
            Kind::Far(_)
            | Kind::Gift(_)
            | Kind::Object(_)
            | Kind::Promise
            | Kind::Link { .. }
            | Kind::Broken(_) => {}
        }
    }

    /// The gift goes back to who gave it.
    pub(crate) fn mark_reflected(&mut self) {
        if let Kind::Gift(gift) = &mut self.kind {
            gift.reflected = true;
        }
    }

    /// Whether this is a gift whose last count is given back although calls wait for it: then they
    /// keep it.
    pub(crate) fn is_kept_by_calls(&mut self) -> bool {
        let last = self.count == 1 && self.has_backlog();
        match &mut self.kind {
            Kind::Gift(gift) if last => !std::mem::replace(&mut gift.orphan, true),
            Kind::Gift(_)
            | Kind::Object(_)
            | Kind::Promise
            | Kind::Far(_)
            | Kind::Link { .. }
            | Kind::Broken(_) => false,
        }
    }

    /// Whether this is a gift for which nothing has been done, and to which nothing was sent.
    pub(crate) fn is_fresh_gift(&self) -> bool {
        matches!(&self.kind, Kind::Gift(gift) if !gift.accepting) && !self.has_backlog()
    }

    /// Whether this is such a gift that came on the connection.
    pub(crate) fn is_gift_of(&self, conn: ConnId) -> bool {
        matches!(&self.kind, Kind::Gift(gift) if gift.from == conn) && self.is_fresh_gift()
    }

    /// Whether the node can still become something else.
    pub(crate) const fn is_unresolved(&self) -> bool {
        match &self.kind {
            Kind::Promise | Kind::Gift(_) => true,
            Kind::Far(far) => !matches!(far.place, Place::Import { settled: true, .. }),
            Kind::Object(_) | Kind::Link { .. } | Kind::Broken(_) => false,
        }
    }
}

impl<H: Host> Nodes<H> {
    pub(crate) const fn new() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            objects: BTreeMap::new(),
        }
    }

    /// A new node with one count.
    pub(crate) fn insert(&mut self, kind: Kind) -> NodeId {
        let node = Node::new(kind);
        if let Some(index) = self.free.pop()
            && let Some(slot) = self.slots.get_mut(index as usize)
        {
            slot.node = Some(node);
            return NodeId::new(index, slot.generation);
        }
        let index = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
        self.slots.push(Slot {
            generation: 1,
            node: Some(node),
        });
        NodeId::new(index, 1)
    }

    /// The one node of an object, with one count more.
    pub(crate) fn object(&mut self, key: ObjectKey) -> NodeId {
        if let Some(id) = self.objects.get(&key) {
            let id = *id;
            self.retain(id);
            return id;
        }
        let id = self.insert(Kind::Object(key));
        self.objects.insert(key, id);
        id
    }

    pub(crate) fn has_object(&self, key: ObjectKey) -> bool {
        self.objects.contains_key(&key)
    }

    /// The node of an object, if there is one; borrowed.
    pub(crate) fn of_object(&self, key: ObjectKey) -> Option<NodeId> {
        self.objects.get(&key).copied()
    }

    pub(crate) fn get(&self, id: NodeId) -> Option<&Node<H>> {
        let slot = self.slots.get(id.index())?;
        if slot.generation == id.generation() {
            slot.node.as_ref()
        } else {
            None
        }
    }

    pub(crate) fn get_mut(&mut self, id: NodeId) -> Option<&mut Node<H>> {
        let slot = self.slots.get_mut(id.index())?;
        if slot.generation == id.generation() {
            slot.node.as_mut()
        } else {
            None
        }
    }

    pub(crate) fn retain(&mut self, id: NodeId) {
        if let Some(node) = self.get_mut(id) {
            node.count = node.count.saturating_add(1);
        }
    }

    /// Gives one count back, and the node itself if it was the last.
    pub(crate) fn release(&mut self, id: NodeId) -> Option<Node<H>> {
        let slot = self.slots.get_mut(id.index())?;
        if slot.generation != id.generation() {
            return None;
        }
        let node = slot.node.as_mut()?;
        node.count = node.count.saturating_sub(1);
        if node.count > 0 {
            return None;
        }
        let node = slot.node.take();
        slot.generation = slot.generation.wrapping_add(1);
        self.free
            .push(u32::try_from(id.index()).unwrap_or(u32::MAX));
        if let Some(Node {
            kind: Kind::Object(key),
            ..
        }) = &node
        {
            self.objects.remove(key);
        }
        node
    }

    /// What the reference stands for: itself, or the target of its link.
    pub(crate) fn terminal(&self, id: NodeId) -> NodeId {
        match self.get(id) {
            Some(Node {
                kind: Kind::Link { to, .. },
                ..
            }) => *to,
            _ => id,
        }
    }

    /// Makes `id` a link to `to`, which must not be a link, and points all links to `id` there.
    /// Returns counts to give back.
    pub(crate) fn link(&mut self, id: NodeId, to: NodeId) -> usize {
        let followers = match self.get_mut(id) {
            Some(node) => node
                .cold
                .as_mut()
                .map(|cold| std::mem::take(&mut cold.followers)),
            None => return 0,
        }
        .unwrap_or_default();
        let slot = self.follow(to, id);
        if let Some(node) = self.get_mut(id) {
            let far = match std::mem::replace(&mut node.kind, Kind::Promise) {
                Kind::Far(far) if far.pins > 0 => Some(Box::new(far)),
                _ => None,
            };
            node.kind = Kind::Link { to, slot, far };
        }
        for follower in &followers {
            let place = self.follow(to, *follower);
            if let Some(Node {
                kind: Kind::Link { to: old, slot, .. },
                ..
            }) = self.get_mut(*follower)
            {
                *old = to;
                *slot = place;
            }
        }
        followers.len()
    }

    /// Takes `id`, which was freed, off the list of followers of `to`.
    pub(crate) fn unfollow(&mut self, to: NodeId, slot: u32) {
        let Some(cold) = self.get_mut(to).and_then(|node| node.cold.as_mut()) else {
            return;
        };
        if (slot as usize) < cold.followers.len() {
            cold.followers.swap_remove(slot as usize);
        }
        let moved = cold.followers.get(slot as usize).copied();
        if let Some(moved) = moved
            && let Some(Node {
                kind: Kind::Link { slot: place, .. },
                ..
            }) = self.get_mut(moved)
        {
            *place = slot;
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (NodeId, &Node<H>)> {
        self.slots.iter().enumerate().filter_map(|(index, slot)| {
            let index = u32::try_from(index).ok()?;
            Some((NodeId::new(index, slot.generation), slot.node.as_ref()?))
        })
    }

    fn follow(&mut self, to: NodeId, follower: NodeId) -> u32 {
        let Some(node) = self.get_mut(to) else {
            return 0;
        };
        node.count = node.count.saturating_add(1);
        let cold = node.cold();
        cold.followers.push(follower);
        u32::try_from(cold.followers.len() - 1).unwrap_or(u32::MAX)
    }
}
