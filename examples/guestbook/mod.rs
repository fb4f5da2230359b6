//! The guestbook's interfaces: what `examples/guestbook` offers and `examples/visitor` uses.

use serde::{Deserialize, Serialize};
use vat::prelude::*;

/// A book that people sign.
#[vat::interface(name = "guestbook::Guestbook")]
pub trait Guestbook {
    /// Adds an entry and returns its number, once it is on disk. The first entry has number 1.
    async fn sign(this: Near<Self>, cx: &Cx, name: String, text: String) -> Result<u64>;

    /// Up to `count` entries, beginning after the first `from` ones.
    fn page(
        &self,
        turn: &Turn,
        #[default(0)] from: u64,
        #[default(18446744073709551615)] count: u64,
    ) -> Result<Vec<Entry>>;

    /// Calls `reader` with every new entry until the returned reference is dropped.
    fn watch(&mut self, turn: &Turn, reader: ReaderRef) -> Result<WatchRef>;
}

/// Somebody who wants to hear of new entries.
#[vat::interface(name = "guestbook::Reader")]
pub trait Reader {
    /// A new entry was written.
    fn entry(&mut self, turn: &Turn, number: u64, entry: Entry) -> Result<()>;
}

/// A running `watch`; it ends when the last reference to it is dropped.
#[vat::interface(name = "guestbook::Watch")]
pub trait Watch {
    /// How many entries were sent to the reader so far.
    fn sent(&self, turn: &Turn) -> Result<u64>;
}

/// One entry of the book.
#[derive(Clone, Debug, PartialEq, Eq, vat::Data, Serialize, Deserialize)]
#[data(name = "guestbook::Entry")]
pub struct Entry {
    /// Who signed.
    pub name: String,
    /// What they wrote.
    pub text: String,
    /// When, in milliseconds since 1970-01-01 UTC, by the clock granted to the guestbook.
    pub at: u64,
}
