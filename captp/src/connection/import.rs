//! Imports: references that the peer gave us.
//!
//! An entry exists as long as its node stands for it: until the node is dropped, breaks, or has
//! resolved to something else and nothing is pinned to it any more. Then all counts go back in one
//! Release.
//!
//! Law: `refs` is the number of times a descriptor of the peer named the id since the last Release.

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
