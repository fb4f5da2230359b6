//! Embargoes: calls held back here until what was sent along the old way has arrived.
//!
//! When a promise that we have called resolves to something that the peer reaches back through us,
//! calls could overtake: the old ones are on their way out and back, new ones would not leave. So a
//! Disembargo follows the old calls, and the new ones wait at a promise until it is back.
//!
//! Law: the entry counts both nodes until the Disembargo is back or the connection closes; then the
//! waiting node resolves to the target, or breaks.

use crate::NodeId;

/// Calls held back.
#[derive(Debug)]
pub(crate) struct Embargo {
    /// The promise at which they wait. Counted.
    pub(crate) waiting: NodeId,
    /// Where they go. Counted.
    pub(crate) target: NodeId,
}
