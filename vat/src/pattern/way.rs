//! Where a forwarder leads, until it is over.

use std::cell::RefCell;

use crate::core::{AnyCall, Ref, Turn};
use crate::error::{Error, ErrorKind};

/// Where a forwarder leads; in the end, why it leads nowhere any more.
pub(super) struct Way(RefCell<Result<Ref, Error>>);

impl Way {
    pub(super) const fn to(target: Ref) -> Self {
        Self(RefCell::new(Ok(target)))
    }

    /// One that is over from the beginning.
    pub(super) const fn nowhere(reason: Error) -> Self {
        Self(RefCell::new(Err(reason)))
    }

    /// Passes the call on, or tells the caller why not.
    pub(super) fn pass(&self, turn: &Turn, call: AnyCall) {
        match &*self.0.borrow() {
            Ok(target) => target.forward(call),
            Err(reason) => call.refuse(turn, reason.clone()),
        }
    }

    /// Lets go of what is behind. What ended a way first is what callers are told.
    pub(super) fn end(&self, reason: Error) {
        let mut way = self.0.borrow_mut();
        if way.is_ok() {
            *way = Err(reason);
        }
    }
}

/// Why a reference is over.
pub(super) fn over(why: impl Into<String>) -> Error {
    Error::new(ErrorKind::Revoked, why)
}
