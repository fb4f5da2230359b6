//! Embargoes: calls held back here until what was sent along the old way has arrived.
//!
//! When a promise that we have called resolves to something that the peer reaches back through us,
//! calls could overtake: the old ones are on their way out and back, new ones would not leave. So a
//! Disembargo follows the old calls, and the new ones wait at a promise until it is back.
//!
//! What the peer named may lead out to it again: then the next Disembargo follows.
//!
//! Law: the entry counts both nodes until the last Disembargo is back or the connection closes; then the
//! waiting node resolves to the target, or breaks.

use crate::NodeId;
use crate::message::Target;

/// Calls held back.
#[derive(Debug)]
pub(crate) struct Embargo {
    /// The promise at which they wait. Counted.
    pub(crate) waiting: NodeId,
    /// Where they go. Counted.
    pub(crate) target: NodeId,
    /// Under which name the peer has the target: what was sent along the old way goes there.
    pub(crate) named: Option<Named>,
    /// The promise inside an answer whose old way it is. Not counted.
    pub(crate) origin: Option<NodeId>,
}

/// A name under which the peer had something of ours. It may have let go of it since, and use it for
/// something else.
#[derive(Clone, Debug)]
pub(crate) struct Named {
    pub(crate) target: Target,
    /// The serial number of the export or answer.
    pub(crate) serial: u64,
}
