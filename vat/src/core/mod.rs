//! The vat itself: heap, turns, references, promises, tasks.

mod call;
mod cancel;
mod carry;
mod death;
mod dispatch;
mod facet;
mod heap;
mod near;
mod program;
mod promise;
mod reference;
mod results;
mod task;
mod time;
mod turn;
mod vat;

#[cfg(test)]
pub(crate) mod tests;

use std::panic::{AssertUnwindSafe, catch_unwind};

pub use call::{AnyCall, Method};
pub(crate) use call::{Call, Reply};
pub(crate) use carry::{Asker, Body, Carried, Parts};
pub(crate) use death::{Root, Watcher};
pub use dispatch::{Delivery, Dispatch, Dynamic, Serves, describe, reference};
pub(crate) use dispatch::{Route, routed};
pub use heap::Object;
pub(crate) use heap::{AnyObject, Obj};
pub use near::{Near, WeakNear};
pub use program::{Exposed, Exposure, Grants, Main, Outcome, Power, Powers, Slot};
pub use promise::{Answer, Cancelling, Fields, NoFields, Promisable, Promise, Resolver, Returned};
pub(crate) use reference::WeakRef;
pub use reference::{Identity, Interface, Ref};
pub use results::Results;
pub use turn::{Cx, Turn};
pub(crate) use turn::{Effect, Work};

pub(crate) use time::TimerId;
pub(crate) use vat::Dial;
pub(crate) use vat::VatHost;
pub use vat::{Shared, Vat, VatConfig};

/// Runs a program's own `Drop` or `Clone` code where a panic must not get further: in rollbacks and
/// commits.
pub(crate) fn quietly(act: impl FnOnce()) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(act)) {
        let error = crate::error::Error::panicked(panic.as_ref());
        tracing::error!(err = %error, "a panic while values were dropped");
        // The payload's own `Drop` may panic as well.
        drop(catch_unwind(AssertUnwindSafe(|| drop(panic))));
    }
}
