//! Supervision with Erlang/OTP semantics: specs, intensity, backoff, the pure model.
//!
//! [`Supervision`] decides; it starts and kills nothing itself. A driver feeds it [`Event`]s with
//! the time at which they happened and carries out the [`Action`]s that come back. The same model
//! serves child vats (the launcher's driver knows processes) and objects inside a vat.
//!
//! What is Erlang's:
//!
//! - Children start in the order in which they were added, each when the one before it is ready,
//!   and stop in the reverse order, one at a time.
//! - The initial start fails as a whole when one child cannot start; those that had started are
//!   stopped in reverse.
//! - [`RestartKind`]: a permanent child is always restarted, a transient one after an abnormal
//!   end only, a temporary one never (its spec is dropped with it).
//! - [`Intensity`]: a restart that would be more than the allowed number within the sliding period
//!   is not made; the supervisor stops its children and ends with [`ExitReason::Shutdown`], and
//!   its own parent decides what that means. A restart that fails to start counts again and is
//!   tried again.
//! - [`Strategy`]: with `one_for_all` and `rest_for_one` the others are stopped in reverse order,
//!   then all of them are started in order, also those that had ended and would not have been
//!   restarted by themselves. It counts as one restart.
//! - [`AutoShutdown`]: a supervisor may end, with [`ExitReason::Shutdown`], when its significant
//!   children have ended by themselves.
//! - [`Shutdown`]: killed at once, asked and killed after a grace period, or asked and awaited for
//!   ever.
//!
//! What is different, and why:
//!
//! - Erlang restarts at once. A process that fails on start would use up its intensity in
//!   milliseconds, so restarts are spaced by a [`Backoff`] (the first one is immediate).
//! - Erlang's supervisor blocks while a child starts. Here other children are served meanwhile: a
//!   vat may take seconds to become ready. A start has a time limit ([`ChildSpec::start_within`]).
//!
//! Every incarnation that was started ends in exactly one [`Action::Died`] (it had been ready) or
//! [`Action::NotStarted`] (it had not).

mod backoff;
mod child;
mod ending;
mod event;
mod group;
mod intensity;
mod machine;
#[cfg(test)]
mod model;
pub mod objects;
#[cfg(test)]
mod rules;
mod spec;
mod stopping;

pub use backoff::Backoff;
pub use child::{ChildState, ChildStatus};
pub use event::{Action, Event, ExitReason, GaveUp, Outcome, Terminate};
pub use intensity::Intensity;
pub use machine::{AddError, Supervision};
pub use objects::{Death, ObjectStatus, ObjectSupervisor};
pub use spec::{
    AutoShutdown, ChildId, ChildSpec, Incarnation, RestartKind, Shutdown, Strategy, SupervisorSpec,
};
