//! Durable objects: state that survives the process, and answers that wait until it is on disk.
//!
//! ```
//! use serde::{Deserialize, Serialize};
//! use vat::prelude::*;
//!
//! #[vat::interface]
//! pub trait Counter {
//!     /// Counts one more, and answers once that is on disk.
//!     fn count(&mut self, turn: &Turn) -> Result<u64>;
//! }
//!
//! #[derive(Clone, Default, vat::Object, Serialize, Deserialize)]
//! #[object(durable = "example.Tally")]
//! struct Tally {
//!     count: u64,
//! }
//!
//! impl Counter for Tally {
//!     fn count(&mut self, _: &Turn) -> Result<u64> {
//!         self.count += 1;
//!         Ok(self.count)
//!     }
//! }
//!
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("store");
//! for life in 1..=2 {
//!     let vat = vat::Vat::new("counting");
//!     vat.attach_store(vat::durable::Store::at(&path)?)?;
//!     let count = vat.turn(|turn| {
//!         let mut tally = turn.durable("tally", |_| Tally::default())?;
//!         tally.count(turn)
//!     })?;
//!     vat.flush_store()?;
//!     assert_eq!(count, life);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A launched program has its store from its launcher: `durable = true` in its manifest.
//!
//! # What is kept
//!
//! A program finds its durable objects by name: [`Turn::durable`](crate::Turn::durable). Each has a
//! type that derives [`Durable`], and all that its state refers to by `Near` is kept with it: shared
//! objects once, cycles as they are. What nothing leads to any more is removed when the store is next
//! opened, not before.
//!
//! - A `Near<T>` in durable state has a durable `T`, or the program does not compile:
//!
//! ```compile_fail
//! #[derive(Clone, vat::Object)]
//! struct Fleeting;
//!
//! #[derive(Clone, vat::Object, serde::Serialize, serde::Deserialize)]
//! #[object(durable = "example.Holder")]
//! struct Holder {
//!     inner: vat::Near<Fleeting>,
//! }
//! ```
//!
//! - Another reference can be kept if it can be had again: one that was granted in a power slot is kept
//!   as the slot's name, and is what is granted there in the next life; one that a granted `Network`
//!   power has enlivened is kept as its sturdy ref, and is enlivened again by the first call on it. The
//!   store then holds a secret, as a reference file does. Clones are recognised; the same object that
//!   came on another way is not.
//! - Anything else (a promise, a far reference that was an argument, an own object as an interface)
//!   breaks the turn that would keep it, with an error that names the holder and what it holds. To see
//!   that, each turn looks through the states that it has changed; where a type holds no references,
//!   an optimising compiler leaves most of that out.
//! - What belongs to one life is left out with `#[serde(skip)]`.
//!
//! A supervised object that is restarted begins with its last state, if its constructor asks for it by
//! its name. Exposed references lead to the same names in each life, so a sturdy ref to a durable object
//! goes on working.
//!
//! # When it is on disk
//!
//! Turns do not wait for the disk. What they changed is given to the store's own thread when the event
//! loop has a moment; what changes while that is being written gathers for the next time. So one
//! transaction holds as many turns as ran during the one before, and each object is written once.
//!
//! Everything that the vat says to other vats waits until all that was changed before is on disk:
//! answers, calls, resolutions, passed descriptors, in their order, of durable and other objects alike
//! (promise 13). A vat that has nothing to write does not wait. Inside the vat nothing waits: a promise
//! of an own object settles at once. What a program writes to its standard output, and what it hands to
//! the host by its own means, does not wait either: it is for people, and says what was tried.
//!
//! # When it cannot be written
//!
//! A full disk or an error breaks the calls that wait for it: their connections are closed, and the
//! reason says so; they may have run. Nothing can be changed that is kept from then on
//! ([`ErrorKind::Overloaded`](crate::ErrorKind::Overloaded)), and what is still asked is refused in the
//! same way. The store is opened anew and the write tried again, after 50 ms and then less and less
//! often, every 2 s at most; when it succeeds the vat goes on. Nothing acknowledged is lost, and what was
//! changed in memory is not forgotten. The connection to the launcher stays.
//!
//! # Cost
//!
//! A vat without a store pays for one comparison per turn and round. With one, a turn that changes a
//! durable object copies its state, as any turn does, and looks through it; the state as a whole is
//! written once per batch. So many small objects cost less than a large one.

mod codec;
mod far;
mod graph;
mod kind;
mod null;
mod once;
mod record;
mod root;
mod store;
#[cfg(test)]
mod tests;

pub(crate) use codec::CodecError;
pub(crate) use far::{note_power, note_sturdy};
pub(crate) use graph::{Graph, Passage};
pub(crate) use kind::DurableType;
pub use kind::{Durable, Kind, Old};
pub use once::Once;
pub use store::{Contents, Store, StoreError};
