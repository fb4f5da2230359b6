//! The thread that writes the log.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::files::LogFiles;
use super::source::{Budgets, LogSource};
use super::{Level, Record, Timestamp};

/// How much is kept, and how much may come.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct LogLimits {
    /// Bytes of one file before the next is begun. Default 16 MiB.
    pub file_bytes: u64,
    /// How many files are kept. Default 4.
    pub files: u64,
    /// Records per second of one source, and as many lines of each of its two outputs. What is
    /// beyond is counted. Default 100.
    pub per_second: u32,
    /// Records that wait to be written; what is beyond is counted. Default 1,024.
    pub queue: usize,
}

impl Default for LogLimits {
    fn default() -> Self {
        Self {
            file_bytes: 16 << 20,
            files: 4,
            per_second: 100,
            queue: 1024,
        }
    }
}

impl LogLimits {
    /// The same limits with another size and number of files.
    #[must_use]
    pub fn with_files(mut self, file_bytes: u64, files: u64) -> Self {
        (self.file_bytes, self.files) = (file_bytes, files);
        self
    }

    /// The same limits with another number of records per second and source.
    #[must_use]
    pub fn with_per_second(mut self, records: u32) -> Self {
        self.per_second = records;
        self
    }
}

/// An open log. Clones are the same log; its thread ends when the last clone and the last source
/// are gone, after it has written what was queued.
#[derive(Clone)]
pub struct Log {
    shared: Arc<Shared>,
}

/// What sources and the log have in common.
pub(super) struct Shared {
    queue: SyncSender<Item>,
    /// Records that found the queue full.
    lost: Arc<AtomicU64>,
    sources: Arc<Sources>,
    per_second: u32,
    begun: Instant,
}

/// All sources, so that what they suppressed is told even when they fall silent.
type Sources = Mutex<Vec<Weak<Budgets>>>;

enum Item {
    Record(Box<Record>),
    Flush(oneshot::Sender<()>),
}

impl Log {
    /// Opens or continues the log in a directory and starts its thread.
    ///
    /// # Authority
    ///
    /// Writes and removes `*.jsonl` files there, with the launcher's own access.
    ///
    /// # Errors
    ///
    /// If the directory or its newest file cannot be opened, or the thread not be started.
    pub fn open(dir: &Path, limits: LogLimits) -> io::Result<Self> {
        let files = LogFiles::open(dir, limits.file_bytes, limits.files)?;
        let (queue, items) = sync_channel(limits.queue);
        let begun = Instant::now();
        let lost = Arc::new(AtomicU64::new(0));
        let sources = Arc::<Sources>::default();
        let writer = Writer {
            files,
            lost: Arc::clone(&lost),
            sources: Arc::clone(&sources),
            begun,
            unwritten: 0,
        };
        thread::Builder::new()
            .name("log".into())
            .spawn(move || writer.run(&items))?;
        let per_second = limits.per_second;
        let shared = Shared {
            queue,
            lost,
            sources,
            per_second,
            begun,
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// A source whose records carry this supervision path.
    #[must_use]
    pub fn source(&self, from: &str) -> LogSource {
        let (source, budgets) = LogSource::new(Arc::clone(&self.shared), from);
        let mut sources = self
            .shared
            .sources
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        sources.retain(|source| source.strong_count() > 0);
        sources.push(budgets);
        drop(sources);
        source
    }

    /// Waits until everything logged so far is in the file.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future only stops the waiting.
    pub async fn flush(&self) {
        let (done, written) = oneshot::channel();
        let mut item = Item::Flush(done);
        while let Err(full) = self.shared.queue.try_send(item) {
            item = match full {
                std::sync::mpsc::TrySendError::Full(item) => item,
                std::sync::mpsc::TrySendError::Disconnected(_) => return,
            };
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // The thread outlives the sender; if it were gone there would be nothing to wait for.
        written.await.unwrap_or_default();
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log")
            .field("per_second", &self.shared.per_second)
            .finish_non_exhaustive()
    }
}

impl Shared {
    pub(super) fn per_second(&self) -> u32 {
        self.per_second
    }

    /// Time for budgets.
    pub(super) fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Queues a record, or counts it where the queue is full. Never blocks.
    pub(super) fn send(&self, record: Record) {
        if self.queue.try_send(Item::Record(Box::new(record))).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

struct Writer {
    files: LogFiles,
    lost: Arc<AtomicU64>,
    sources: Arc<Sources>,
    begun: Instant,
    /// Records that could not be written and of which the log does not tell yet.
    unwritten: u64,
}

impl Writer {
    fn run(mut self, items: &Receiver<Item>) {
        let mut told = Instant::now();
        loop {
            let first = match items.recv_timeout(IDLE) {
                Ok(item) => Some(item),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => break,
            };
            let mut batch = Batch::default();
            if told.elapsed() >= IDLE {
                told = Instant::now();
                self.tell_suppressed(&mut batch);
            }
            let more = std::iter::from_fn(|| items.try_recv().ok());
            for item in first.into_iter().chain(more.take(MAX_BATCH)) {
                batch.add(item);
            }
            self.write(batch);
        }
        self.write(Batch::default());
    }

    /// Writes a batch, with the count of what was lost before it.
    fn write(&mut self, batch: Batch) {
        let lost = self.unwritten + self.lost.swap(0, Ordering::Relaxed);
        let mut lines = Vec::new();
        if lost > 0 {
            lines = note(LAUNCHER, "records lost", lost).to_line();
        }
        lines.extend_from_slice(&batch.lines);
        let written = lines.is_empty() || self.files.write(&lines).is_ok();
        self.unwritten = if written { 0 } else { lost + batch.records };
        for flushed in batch.flushed {
            // Whoever waited may be gone.
            flushed.send(()).unwrap_or_default();
        }
    }

    fn tell_suppressed(&self, batch: &mut Batch) {
        let now = self.begun.elapsed();
        let sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        for record in sources
            .iter()
            .filter_map(Weak::upgrade)
            .flat_map(|it| it.suppressed(now))
        {
            batch.add(Item::Record(Box::new(record)));
        }
    }
}

#[derive(Default)]
struct Batch {
    lines: Vec<u8>,
    records: u64,
    flushed: Vec<oneshot::Sender<()>>,
}

impl Batch {
    fn add(&mut self, item: Item) {
        match item {
            Item::Record(record) => {
                self.lines.extend(record.to_line());
                self.records += 1;
            }
            Item::Flush(done) => self.flushed.push(done),
        }
    }
}

/// A record that tells how many others there are not.
pub(super) fn note(from: &str, message: &str, count: u64) -> Record {
    Record::new(Timestamp::now(), Level::Warn, from, message).with("count", &count.to_string())
}

/// The path of what the launcher itself says.
const LAUNCHER: &str = "launcher";
/// How often suppressed records are told of, at most.
const IDLE: Duration = Duration::from_millis(500);
const MAX_BATCH: usize = 256;
