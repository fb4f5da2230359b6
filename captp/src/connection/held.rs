//! What waits at a connection for room: calls of the peer beyond a soft limit, and what must not
//! overtake them.
//!
//! Everything else that arrives is handled at once, so that two full peers do not wait for each
//! other. What was received is therefore seen as it was when it arrived, whatever the peer releases
//! or finishes since: an item counts its nodes and pins its places.
//!
//! Law: items leave in the order in which they came, calls only while the connection is within its
//! soft limits; those of a closed connection are dropped, and promises among them break.

use super::Pin;
use super::embargo::Embargo;
use crate::message::EmbargoName;
use crate::{ExportId, WireCall};

/// One item.
pub(crate) enum Held {
    /// A call. Its answer is in the table and counts against the hard limits.
    Call { target: Pin, call: WireCall },
    /// A Disembargo of the peer, to be sent back behind the calls before it.
    Bounce { target: Pin, id: u32 },
    /// A Disembargo on its way from the recipient of a gift to the exporter: the vine, with the
    /// serial number of its export.
    Disembargo {
        vine: ExportId,
        serial: u64,
        name: EmbargoName,
    },
    /// The end of an embargo of ours, or a reference of ours that the peer gave back while calls
    /// that it sent there may be waiting.
    Lift {
        embargo: Embargo,
        /// What the peer had the target as when the item came, if that was the peer's own: it may
        /// have let go of the name since.
        named: Option<Pin>,
    },
}
