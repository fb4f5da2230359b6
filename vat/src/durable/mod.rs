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
//!         let tally = turn.durable("tally", |_| Tally::default())?;
//!         tally.count(turn)
//!     })?;
//!     vat.flush_store()?;
//!     assert_eq!(count, life);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod codec;
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
pub(crate) use graph::{Graph, Passage};
pub(crate) use kind::DurableType;
pub use kind::{Durable, Kind, Old};
pub use once::Once;
pub use store::{Contents, Store, StoreError};
