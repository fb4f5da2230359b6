//! Patterns of capability design: references that do less than the ones they are made of, or that
//! can be taken back.
//!
//! Each takes a reference and gives one of the same type, which is handed on instead of it. They work
//! for any interface, near and far objects alike, and nest: a caretaker of a facet of a far
//! reference. None has code per interface; what is passed on is not even decoded.
//!
//! | what | gives |
//! |---|---|
//! | [`caretaker`] | a reference that can be revoked |
//! | [`Group`] | several, revoked with one act |
//! | [`membrane`](membrane()) | one that is revoked with all that was reached through it |
//! | [`facet`](facet()), [`read_only`] | some of the methods |
//! | [`limit::once`], [`limit::times`] | so many calls |
//! | [`limit::rate`] | so many calls in a time |
//! | [`limit::until`] | calls for so long |
//! | [`logging`](logging()) | one whose calls are recorded |
//! | [`sealer`](sealer()) | values that only the right one can read |
//!
//! # What they have in common
//!
//! - A reference that is over (revoked, expired, used up) breaks every call with
//!   [`ErrorKind::Revoked`](crate::ErrorKind::Revoked), and no longer keeps alive what was behind it.
//!   What a facet leaves out breaks with
//!   [`ErrorKind::Unimplemented`](crate::ErrorKind::Unimplemented), as with an object that has no such
//!   method.
//! - Calls through one are delivered in the order in which they were sent on it (promise 1).
//! - It is another facet than what is behind it: [`same`](crate::Ref::same) says `Some(false)` of the
//!   two (promise 10). `downcast` does not see through it, and a descriptor attached to the reference
//!   behind does not come along.
//! - Use counts, rates, expiry and records are kept outside of the turns that the calls cause: a call
//!   that fails was made all the same (promise 5).
//! - What a turn does to one (revoking it, say) is part of the turn: nothing happens if that fails.
//! - `describe` shows the interface of what is behind, as with every forwarder.

mod facet;
pub mod limit;
mod logging;
mod membrane;
mod revoke;
mod sealer;
#[cfg(test)]
mod tests;
mod way;

pub use facet::{facet, read_only};
pub use logging::{Logged, logging};
pub use membrane::membrane;
pub use revoke::{Group, Revoker, caretaker};
pub use sealer::{Sealer, Unsealer, sealer};
