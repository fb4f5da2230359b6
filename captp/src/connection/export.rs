//! Exports: references that we gave the peer.
//!
//! States, and what leaves them:
//!
//! 1. *Settled*: an object of ours, or something settled at another peer.
//! 2. *Promise*: resolves → Resolve is sent, 3. (If it resolves to another promise that the peer
//!    does not know yet, the entry stands for that one from then on, and nothing is sent.)
//! 3. *Resolved*: stands for what the Resolve said, for ever, whatever becomes of that later (the
//!    Tribble rule). Calls and disembargoes still arrive until the peer has released it.
//!
//! 4. *Vine*: see [`super::handoff`]. Never shared.
//!
//! In each state Release takes counts off; the last one frees the entry, unless a Resolve of it still
//! waits for room: then that frees it.
//!
//! Law: `refs` is the number of times a descriptor named the entry, less what was released.

use smallvec::SmallVec;

use super::Pin;
use super::handoff::{Passed, Vine};
use crate::{ExportId, NodeId};

/// The exports that one message names, once per mention. Mostly there are few.
pub(crate) type Exports = SmallVec<[ExportId; 4]>;

/// A reference that we gave.
#[derive(Debug)]
pub(crate) struct Export {
    /// What was exported. Counted.
    pub(crate) node: NodeId,
    pub(crate) refs: u32,
    /// Tells this entry from later ones with the same id.
    pub(crate) serial: u64,
    /// A Resolve of it waits for room: until it has left, the id is not given to another one.
    pub(crate) resolve_waits: bool,
    /// The last message that waited for room and named it as a promise.
    pub(crate) named: u64,
    pub(crate) state: State,
}

impl Export {
    /// Whether the peer may name it: it has not released it.
    pub(crate) const fn is_named(&self) -> bool {
        self.refs > 0
    }
}

/// The numbers are those of the module's documentation.
#[derive(Debug)]
pub(crate) enum State {
    /// 1.
    Settled,
    /// 2.
    Promise,
    /// 3.
    Resolved(Pin),
    /// 4.
    Vine(Vine, Passed),
}
