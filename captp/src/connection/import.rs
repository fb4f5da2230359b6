//! Imports: references that the peer gave us.
//!
//! An entry exists as long as its node stands for it: until the node is dropped, breaks, or has
//! resolved to something else and nothing is pinned to it any more. Then all counts go back in one
//! Release.
//!
//! Law: `refs` is the number of times a descriptor of the peer named the id since the last Release.

use std::os::fd::OwnedFd;
use std::rc::Rc;

use crate::NodeId;

/// A reference that the peer gave.
#[derive(Debug)]
pub(crate) struct Import {
    /// The far node. Not counted.
    pub(crate) node: NodeId,
    pub(crate) refs: u32,
    /// The last message that waited for room and named it.
    pub(crate) named: u64,
    /// The gift whose vine it is, until that is accepted. Not counted.
    pub(crate) gift: Option<NodeId>,
}

/// How many descriptors that came with the peer's references are still attached to them: as many as
/// there are [`Attached`] ones that have a clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct FdCount(Rc<()>);

impl FdCount {
    pub(crate) fn count(&self) -> usize {
        Rc::strong_count(&self.0) - 1
    }
}

/// A file descriptor that is attached to a reference, or to a gift and its vine.
#[derive(Debug)]
pub(crate) struct Attached {
    pub(crate) fd: Rc<OwnedFd>,
    _counts: Option<FdCount>,
}

impl Attached {
    /// By this vat.
    pub(crate) const fn own(fd: Rc<OwnedFd>) -> Self {
        Self { fd, _counts: None }
    }

    /// By the peer.
    pub(crate) fn received(fd: OwnedFd, of: &FdCount) -> Self {
        Self {
            fd: Rc::new(fd),
            _counts: Some(of.clone()),
        }
    }
}
