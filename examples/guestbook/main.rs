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
    /// Where in the file the line of each entry begins.
    places: Vec<u64>,
    /// How much of the file is in `entries`.
    end: u64,
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
        let line = line::print(&entry).into_bytes();
        let length = line.len() as u64;
        let at = file.append(line, true).await?;
        // The number is the line's place in the file. Other calls may have appended before this
        // one, and so may the process before this one, whose last append was still under way.
        let end = at + length;
        loop {
            let known = this.read(cx, |book| book.end)?;
            if known >= end {
                return this.read(cx, |book| book.number_of(at))?;
            }
            let lines = file.read(known, end - known).await?;
            this.call(cx, |book| book.take(cx, known, &lines))?;
        }
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
    /// Lines that stand in the file from `from` on; nothing if another call has taken them.
    fn take(&mut self, turn: &Turn, from: u64, lines: &[u8]) -> Result<()> {
        if lines.is_empty() {
            return Err(Error::failed("the file has become shorter"));
        }
        if self.end == from {
            self.end += lines.len() as u64;
            for (at, entry) in line::parse_from(from, lines) {
                self.add(turn, at, entry)?;
            }
        }
        Ok(())
    }

    fn number_of(&self, at: u64) -> Result<u64> {
        let found = self.places.binary_search(&at);
        found
            .map(|index| index as u64 + 1)
            .map_err(|_| Error::failed("the entry is not where it was written"))
    }

    /// The entry is on disk: it gets its number, and everybody who watches hears of it.
    fn add(&mut self, turn: &Turn, at: u64, entry: Entry) -> Result<()> {
        self.places.push(at);
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
        Ok(())
    }
}

#[vat::main]
async fn main(cx: &Cx, granted: Granted) -> Result<GuestbookRef> {
    let Granted { home, log, clock } = granted;
    let file = home.open("entries", true);
    let text = file.read_all().await?;
    let (places, entries): (Vec<u64>, Vec<Entry>) = line::parse_from(0, &text).into_iter().unzip();
    let torn = text.last().is_some_and(|last| *last != b'\n');
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
            places,
            end: text.len() as u64,
            watches: Vec::new(),
        },
    ))
}
