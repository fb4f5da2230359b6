//! The guestbook with its entries in a durable object instead of a file: no format, no parser, no torn
//! lines. `sign` answers when the entry is on disk, because nothing leaves the vat before.
#![expect(clippy::needless_pass_by_value, reason = "methods take what arrives")]
#![allow(clippy::unused_async, reason = "a program's main is async")]

use serde::{Deserialize, Serialize};
use vat::power::ClockRef;
use vat::prelude::*;
use vat_examples::guestbook::{Entry, Guestbook, GuestbookRef, ReaderRef, Watch, WatchRef};

/// What the manifest must grant.
#[derive(vat::Powers)]
struct Granted {
    clock: ClockRef,
}

#[derive(Clone, vat::Object, Serialize, Deserialize)]
#[object(durable = "guestbook.Book")]
struct Book {
    /// Kept as the name of its slot: in each life it is the clock that is granted then.
    clock: ClockRef,
    entries: Vec<Entry>,
    /// Whoever watches is connected to this life.
    #[serde(skip)]
    watches: Vec<WeakNear<Watching>>,
}

#[derive(Clone, vat::Object)]
struct Watching {
    reader: ReaderRef,
    sent: u64,
}

impl Watch for Watching {
    fn sent(&self, _turn: &Turn) -> Result<u64> {
        Ok(self.sent)
    }
}

impl Guestbook for Book {
    async fn sign(this: Near<Self>, cx: &Cx, name: String, text: String) -> Result<u64> {
        check("name", &name, 200)?;
        check("text", &text, 4_000)?;
        let clock = this.read(cx, |book| book.clock.clone())?;
        let at = clock.now().await?;
        this.call(cx, |book| book.add(cx, Entry { name, text, at }))
    }

    fn page(&self, _turn: &Turn, from: u64, count: u64) -> Result<Vec<Entry>> {
        let from = usize::try_from(from).unwrap_or(usize::MAX);
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        Ok(self
            .entries
            .iter()
            .skip(from)
            .take(count)
            .cloned()
            .collect())
    }

    fn watch(&mut self, turn: &Turn, reader: ReaderRef) -> Result<WatchRef> {
        let watching = turn.spawn(Watching { reader, sent: 0 });
        self.watches.push(watching.downgrade());
        Ok(WatchRef::from(&watching))
    }
}

impl Book {
    fn add(&mut self, turn: &Turn, entry: Entry) -> Result<u64> {
        self.entries.push(entry.clone());
        let number = self.entries.len() as u64;
        self.watches.retain(|watch| watch.upgrade().is_some());
        for watching in self.watches.iter().filter_map(WeakNear::upgrade) {
            watching.with(turn, |watching| {
                watching.sent += 1;
                watching.reader.entry(number, entry.clone()).detach();
            })?;
        }
        Ok(number)
    }
}

fn check(what: &str, text: &str, most: usize) -> Result<()> {
    match text.len() {
        0 => Err(Error::failed(format!("the {what} is empty"))),
        length if length > most => Err(Error::failed(format!(
            "the {what} has {length} bytes; {most} are possible"
        ))),
        _ => Ok(()),
    }
}

#[vat::main]
async fn main(cx: &Cx, granted: Granted) -> Result<GuestbookRef> {
    let book = cx.durable("book", |_| Book {
        clock: granted.clock,
        entries: Vec::new(),
        watches: Vec::new(),
    })?;
    Ok(GuestbookRef::from(&book))
}
