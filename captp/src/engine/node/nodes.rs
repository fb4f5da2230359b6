//! All nodes of an engine: where they lie, and how one takes the place of another.

use std::collections::BTreeMap;

use super::{Kind, Node, Place};
use crate::connection::table::PeerTable;
use crate::{ConnId, Host, ImportId, NodeId, ObjectKey};

struct Slot<H: Host> {
    generation: u32,
    node: Option<Node<H>>,
}

/// The arena.
pub(crate) struct Nodes<H: Host> {
    slots: Vec<Slot<H>>,
    free: Vec<u32>,
    objects: Objects,
}

/// The nodes of objects. A vat that numbers its objects has different low halves of keys for those
/// that live at the same time: they are looked up by these. Any others cost a search.
#[derive(Default)]
struct Objects {
    by_half: PeerTable<(ObjectKey, NodeId)>,
    others: BTreeMap<ObjectKey, NodeId>,
}

impl Objects {
    fn get(&self, key: ObjectKey) -> Option<NodeId> {
        match self.by_half.get(key.low()) {
            Some((known, node)) if *known == key => Some(*node),
            _ if self.others.is_empty() => None,
            _ => self.others.get(&key).copied(),
        }
    }

    fn insert(&mut self, key: ObjectKey, node: NodeId) {
        match self.by_half.get(key.low()) {
            None => self.by_half.insert(key.low(), (key, node)),
            Some(_) => drop(self.others.insert(key, node)),
        }
    }

    fn remove(&mut self, key: ObjectKey) {
        match self.by_half.get(key.low()) {
            Some((known, _)) if *known == key => drop(self.by_half.remove(key.low())),
            _ => drop(self.others.remove(&key)),
        }
    }
}

impl<H: Host> Nodes<H> {
    pub(crate) fn new() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            objects: Objects::default(),
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
        if let Some(id) = self.objects.get(key) {
            self.retain(id);
            return id;
        }
        let id = self.insert(Kind::Object(key));
        self.objects.insert(key, id);
        id
    }

    pub(crate) fn has_object(&self, key: ObjectKey) -> bool {
        self.objects.get(key).is_some()
    }

    /// The node of an object, if there is one; borrowed.
    pub(crate) fn of_object(&self, key: ObjectKey) -> Option<NodeId> {
        self.objects.get(key)
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
            self.objects.remove(*key);
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
        let Some(node) = self.get_mut(id) else {
            return 0;
        };
        let followers = node.take_followers();
        let giver = match self.get(to).map(|node| &node.kind) {
            Some(Kind::Gift(gift)) => Some(gift.from),
            _ => None,
        };
        let slot = self.follow(to, id);
        if let Some(node) = self.get_mut(id) {
            let mut far = match std::mem::replace(&mut node.kind, Kind::Promise) {
                Kind::Far(far) if far.pins > 0 => Some(Box::new(far)),
                _ => None,
            };
            if let Some(far) = &mut far {
                far.given |= giver == Some(far.conn);
            }
            node.kind = Kind::Link { to, slot, far };
        }
        for follower in &followers {
            let place = self.follow(to, *follower);
            if let Some(Node {
                kind: Kind::Link { to: old, slot, far },
                ..
            }) = self.get_mut(*follower)
            {
                *old = to;
                *slot = place;
                if let Some(far) = far {
                    far.given |= giver == Some(far.conn);
                }
            }
        }
        followers.len()
    }

    /// Whether a reference inside an answer can [become](Self::replace) this import, which came with
    /// the answer and of which nobody else has a count: the import.
    ///
    /// Both are places on one connection, and nothing depends on either but calls. Those to the
    /// import follow those to the answer as they are sent.
    pub(crate) fn replaceable(&self, id: NodeId, fresh: NodeId) -> Option<(ConnId, ImportId)> {
        let (old, new) = (self.get(id)?, self.get(fresh)?);
        let (old_far, new_far) = (old.bare_far()?, new.bare_far()?);
        match (&old_far.place, &new_far.place) {
            (Place::Answer { .. }, Place::Import { id, .. })
                if old_far.conn == new_far.conn && new.count == 1 =>
            {
                Some((new_far.conn, *id))
            }
            _ => None,
        }
    }

    /// Makes `id` what `fresh` is, and gives it a count more in exchange for that one's only count.
    pub(crate) fn replace(&mut self, id: NodeId, fresh: NodeId) {
        let Some(mut new) = self.release(fresh) else {
            return;
        };
        if let Some(node) = self.get_mut(id) {
            if let (Kind::Far(old), Kind::Far(new)) = (&node.kind, &mut new.kind) {
                new.called |= old.called;
            }
            node.kind = new.kind;
            node.count = node.count.saturating_add(1);
        }
    }

    /// Takes `id`, which was freed, off the list of followers of `to`.
    pub(crate) fn unfollow(&mut self, to: NodeId, slot: u32) {
        let moved = self.get_mut(to).and_then(|node| node.remove_follower(slot));
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
        node.add_follower(follower)
    }
}
