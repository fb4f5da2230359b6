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

mod nodes;

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use smallvec::SmallVec;

pub(crate) use nodes::Nodes;

use super::Pending;
use crate::connection::embargo::Named;
use crate::connection::handoff::Gift;
use crate::connection::import::Attached;
use crate::path::Path;
use crate::{ConnId, Exception, ExportId, Host, ImportId, NodeId, ObjectKey, QuestionId};

/// One reference.
pub(crate) struct Node<H: Host> {
    pub(crate) count: u32,
    /// Calls that wait for room at their connection and go here; see [`Node::take_held`].
    held: u32,
    pub(crate) kind: Kind,
    extra: Extra<H>,
}

/// What a node has besides: mostly nothing, or one thing.
enum Extra<H: Host> {
    Nothing,
    /// It is exported under one id.
    Export((ConnId, ExportId)),
    /// One link leads to it.
    Follower(NodeId),
    /// All else, rarely needed.
    Cold(Box<Cold<H>>),
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
    /// The import that is pinned instead of this place. Counted and pinned.
    pub(crate) via: Option<NodeId>,
    /// Whether it became a gift.
    pub(crate) given: bool,
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
            given: false,
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
    /// Calls from the wire in the backlog.
    wire_calls: usize,
    /// What waits for a far node to resolve.
    waiters: Vec<Pending<H>>,
    /// Links to this node.
    followers: Vec<NodeId>,
    /// Under which ids the node is exported.
    exports: Vec<(ConnId, ExportId)>,
    fd: Option<Rc<Attached>>,
    /// The connection on which the node had a place that is still pinned.
    lost_on: Option<ConnId>,
    /// The stream of calls on the node.
    stream: Option<u32>,
    /// Of a far node that has come home while it was pinned: under which name.
    named: Option<Named>,
}

impl<H: Host> Default for Cold<H> {
    fn default() -> Self {
        Self {
            backlog: VecDeque::new(),
            wire_calls: 0,
            waiters: Vec::new(),
            followers: Vec::new(),
            exports: Vec::new(),
            fd: None,
            lost_on: None,
            stream: None,
            named: None,
        }
    }
}

impl<H: Host> Node<H> {
    const fn new(kind: Kind) -> Self {
        Self {
            count: 1,
            held: 0,
            kind,
            extra: Extra::Nothing,
        }
    }

    const fn cold(&self) -> Option<&Cold<H>> {
        match &self.extra {
            Extra::Cold(cold) => Some(cold),
            Extra::Nothing | Extra::Export(_) | Extra::Follower(_) => None,
        }
    }

    fn cold_mut(&mut self) -> Option<&mut Cold<H>> {
        match &mut self.extra {
            Extra::Cold(cold) => Some(cold),
            Extra::Nothing | Extra::Export(_) | Extra::Follower(_) => None,
        }
    }

    /// The same, made if there is none.
    fn make_cold(&mut self) -> &mut Cold<H> {
        let cold = match std::mem::replace(&mut self.extra, Extra::Nothing) {
            Extra::Cold(cold) => cold,
            Extra::Nothing => Box::default(),
            Extra::Export(export) => Box::new(Cold {
                exports: vec![export],
                ..Cold::default()
            }),
            Extra::Follower(follower) => Box::new(Cold {
                followers: vec![follower],
                ..Cold::default()
            }),
        };
        self.extra = Extra::Cold(cold);
        match &mut self.extra {
            Extra::Cold(cold) => cold,
            Extra::Nothing | Extra::Export(_) | Extra::Follower(_) => {
                unreachable!("made just before")
            }
        }
    }

    pub(crate) fn has_backlog(&self) -> bool {
        self.cold().is_some_and(|cold| !cold.backlog.is_empty())
    }

    /// Calls from the wire that wait in the backlog.
    pub(crate) fn waiting_wire_calls(&self) -> usize {
        self.cold().map_or(0, |cold| cold.wire_calls)
    }

    pub(crate) fn push_backlog(&mut self, item: Pending<H>) {
        let cold = self.make_cold();
        cold.wire_calls += usize::from(item.is_from_wire());
        cold.backlog.push_back(item);
    }

    pub(crate) fn pop_backlog(&mut self) -> Option<Pending<H>> {
        let cold = self.cold_mut()?;
        let item = cold.backlog.pop_front()?;
        cold.wire_calls -= usize::from(item.is_from_wire());
        Some(item)
    }

    /// Exchanges the first two items.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn swap_backlog(&mut self) {
        if let Some(cold) = self.cold_mut()
            && cold.backlog.len() > 1
        {
            cold.backlog.swap(0, 1);
        }
    }

    pub(crate) fn push_waiter(&mut self, item: Pending<H>) {
        self.make_cold().waiters.push(item);
    }

    /// What waits here, the backlog first; mostly nothing does.
    pub(crate) fn take_waiting(&mut self) -> Option<impl Iterator<Item = Pending<H>> + use<H>> {
        let cold = self.cold_mut()?;
        if cold.backlog.is_empty() && cold.waiters.is_empty() {
            return None;
        }
        cold.wire_calls = 0;
        let backlog = std::mem::take(&mut cold.backlog);
        Some(backlog.into_iter().chain(std::mem::take(&mut cold.waiters)))
    }

    /// What waits for the node to resolve goes into the backlog, last.
    pub(crate) fn queue_waiters(&mut self) {
        let waiters = self
            .cold_mut()
            .map(|cold| std::mem::take(&mut cold.waiters));
        for item in waiters.into_iter().flatten() {
            self.push_backlog(item);
        }
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
        match &self.extra {
            Extra::Export(export) => std::slice::from_ref(export),
            Extra::Cold(cold) => &cold.exports,
            Extra::Nothing | Extra::Follower(_) => &[],
        }
    }

    pub(crate) fn take_exports(&mut self) -> SmallVec<[(ConnId, ExportId); 1]> {
        match &mut self.extra {
            Extra::Export(export) => {
                let export = *export;
                self.extra = Extra::Nothing;
                SmallVec::from([export])
            }
            Extra::Cold(cold) => std::mem::take(&mut cold.exports).into(),
            Extra::Nothing | Extra::Follower(_) => SmallVec::new(),
        }
    }

    pub(crate) fn exported_as(&self, conn: ConnId) -> Option<ExportId> {
        self.exports()
            .iter()
            .find(|(on, _)| *on == conn)
            .map(|(_, id)| *id)
    }

    pub(crate) fn add_export(&mut self, conn: ConnId, id: ExportId) {
        match self.extra {
            Extra::Nothing => self.extra = Extra::Export((conn, id)),
            _ => self.make_cold().exports.push((conn, id)),
        }
    }

    pub(crate) fn remove_export(&mut self, conn: ConnId, id: ExportId) {
        match &mut self.extra {
            Extra::Export(export) if *export == (conn, id) => self.extra = Extra::Nothing,
            Extra::Cold(cold) => cold.exports.retain(|entry| *entry != (conn, id)),
            Extra::Nothing | Extra::Export(_) | Extra::Follower(_) => {}
        }
    }

    fn take_followers(&mut self) -> SmallVec<[NodeId; 1]> {
        match &mut self.extra {
            Extra::Follower(follower) => {
                let follower = *follower;
                self.extra = Extra::Nothing;
                SmallVec::from([follower])
            }
            Extra::Cold(cold) => std::mem::take(&mut cold.followers).into(),
            Extra::Nothing | Extra::Export(_) => SmallVec::new(),
        }
    }

    /// One link more; its place in the list.
    fn add_follower(&mut self, follower: NodeId) -> u32 {
        if let Extra::Nothing = self.extra {
            self.extra = Extra::Follower(follower);
            return 0;
        }
        let followers = &mut self.make_cold().followers;
        followers.push(follower);
        u32::try_from(followers.len() - 1).unwrap_or(u32::MAX)
    }

    /// Takes the link at this place off the list; the one that takes its place.
    fn remove_follower(&mut self, slot: u32) -> Option<NodeId> {
        let slot = slot as usize;
        match &mut self.extra {
            Extra::Follower(_) => {
                self.extra = Extra::Nothing;
                None
            }
            Extra::Cold(cold) if slot < cold.followers.len() => {
                cold.followers.swap_remove(slot);
                cold.followers.get(slot).copied()
            }
            Extra::Cold(_) | Extra::Nothing | Extra::Export(_) => None,
        }
    }

    pub(crate) fn fd(&self) -> Option<&Rc<OwnedFd>> {
        Some(&self.attached()?.fd)
    }

    pub(crate) fn attached(&self) -> Option<&Rc<Attached>> {
        self.cold()?.fd.as_ref()
    }

    pub(crate) fn stream(&self) -> Option<u32> {
        self.cold()?.stream
    }

    pub(crate) fn set_stream(&mut self, stream: Option<u32>) {
        if stream.is_some() || self.cold().is_some() {
            self.make_cold().stream = stream;
        }
    }

    pub(crate) fn named(&self) -> Option<&Named> {
        self.cold()?.named.as_ref()
    }

    pub(crate) fn set_named(&mut self, named: Named) {
        self.make_cold().named = Some(named);
    }

    pub(crate) fn attach(&mut self, fd: Rc<Attached>) {
        self.make_cold().fd = Some(fd);
    }

    /// A pinned node has lost its place: nothing that was sent there is on its way back.
    pub(crate) fn lose_place_on(&mut self, conn: ConnId) {
        self.make_cold().lost_on = Some(conn);
    }

    /// Whether that has happened on this connection.
    pub(crate) fn lost_place_on(&self, conn: ConnId) -> bool {
        self.cold().is_some_and(|cold| cold.lost_on == Some(conn))
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

    /// Calls went to what is now this reference by way of a promise on this connection. Whether it
    /// is a gift that will not be accepted past them.
    pub(crate) fn mark_called_on(&mut self, conn: ConnId) -> bool {
        match &mut self.kind {
            Kind::Far(far) if far.conn == conn => far.called = true,
            Kind::Gift(gift) if gift.from == conn => {
                gift.called = true;
                return !gift.claimed;
            }
            Kind::Far(_)
            | Kind::Gift(_)
            | Kind::Object(_)
            | Kind::Promise
            | Kind::Link { .. }
            | Kind::Broken(_) => {}
        }
        false
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

    /// The place of a far node that is nothing else besides: not pinned, and nothing waits for it or
    /// points to it.
    fn bare_far(&self) -> Option<&Far> {
        match (&self.kind, &self.extra) {
            (Kind::Far(far), Extra::Nothing)
                if far.pins == 0 && far.via.is_none() && !far.given && self.held == 0 =>
            {
                Some(far)
            }
            _ => None,
        }
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
