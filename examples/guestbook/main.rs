//! A guestbook: one granted directory, a log and a clock, and nothing else in the world.
//!
//! Entries are lines of a file, so they survive restarts; `sign` answers when its line is on disk.
#![expect(clippy::needless_pass_by_value, reason = "methods take what arrives")]

mod line;

use vat::power::{ClockRef, DirectoryRef, FileRef, LogSinkRef};
use vat::prelude::*;
use vat_examples::guestbook::{Entry, Guestbook, GuestbookRef, ReaderRef, Watch, WatchRef};

/// What the manifest must grant.
#[derive(vat::Powers)]
struct Granted {
    home: DirectoryRef,
    log: LogSinkRef,
    clock: ClockRef,
}

#[derive(Clone, vat::Object)]
struct Book {
    file: FileRef,
    log: LogSinkRef,
    clock: ClockRef,
    entries: Vec<Entry>,
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
        line::check("name", &name, 200)?;
        line::check("text", &text, 4_000)?;
        let (file, clock) = this.read(cx, |book| (book.file.clone(), book.clock.clone()))?;
        let at = clock.now().await?;
        let entry = Entry { name, text, at };
        file.append(line::print(&entry).into_bytes(), true).await?;
        this.call(cx, |book| book.add(cx, entry))
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
    /// The entry is on disk: it gets its number, and everybody who watches hears of it.
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
        self.log.info(format!("entry {number} signed")).detach();
        Ok(number)
    }
}

#[vat::main]
async fn main(cx: &Cx, granted: Granted) -> Result<GuestbookRef> {
    let Granted { home, log, clock } = granted;
    let file = home.open("entries", true);
    let text = file.read_all().await?;
    let (entries, torn) = line::parse_all(&text);
    if torn {
        file.append(line::TORN.as_bytes().to_vec(), true).await?;
        log.warn("the last line was torn by a crash; it was never acknowledged")
            .detach();
    }
    log.info(format!("open with {} entries", entries.len()))
        .detach();
    Ok(GuestbookRef::new(
        cx,
        Book {
            file,
            log,
            clock,
            entries,
            watches: Vec::new(),
        },
    ))
}
