//! The store: one file, one thread that writes it, one transaction for each batch of turns.

use std::fs::File;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use redb::{Database, StorageBackend};

use crate::error::{Error, Result};

mod backend;
mod error;
#[cfg(test)]
pub(super) mod failing;
mod tables;
mod text;

pub use error::StoreError;
pub(super) use tables::Reader;
pub use text::Contents;

/// Memory for pages of the file that were read or will be written, in bytes.
const CACHE: usize = 64 << 20;
/// When a commit that failed is tried again: first, and at most.
const AGAIN: Duration = Duration::from_millis(50);
const AGAIN_AT_MOST: Duration = Duration::from_secs(2);

/// A vat's durable store, in one file. [`Vat::attach_store`](crate::Vat::attach_store) gives it to a
/// vat, which must be the only user of the file.
///
/// A launched program needs none of this: `durable = true` in its manifest, and its launcher opens
/// the store and passes it on.
pub struct Store {
    shared: Arc<Shared>,
    orders: Option<Sender<Order>>,
    writer: Option<JoinHandle<()>>,
}

/// What is written together.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) number: u64,
    /// Records by number.
    pub(super) objects: Vec<(u64, Vec<u8>)>,
    pub(super) roots: Vec<(String, u64)>,
    pub(super) gone_roots: Vec<String>,
    /// The next number that no object has had.
    pub(super) next: u64,
}

enum Order {
    Commit(Batch),
    End,
}

/// What the vat's thread and the writer share.
struct Shared {
    database: Mutex<Option<Arc<Database>>>,
    reopen: Box<dyn Fn() -> Result<Database, StoreError> + Send + Sync>,
    progress: Mutex<Progress>,
    progressed: Condvar,
}

#[derive(Default)]
struct Progress {
    /// The last batch that is on disk.
    done: u64,
    next: u64,
    swept: u64,
    /// Why the last attempt failed.
    failure: Option<String>,
    /// Nothing will be written any more.
    broken: bool,
    /// Called after each change, from the writer's thread.
    wake: Option<Arc<dyn Fn() + Send + Sync>>,
}

impl Store {
    /// The store in this file, which is made if it does not exist; only this user can read it.
    ///
    /// # Authority
    ///
    /// Opens the path with the rights of this process.
    ///
    /// # Errors
    ///
    /// When the file cannot be opened, another process uses it, or as [`open`](Self::open).
    pub fn at(path: &Path) -> Result<Self, StoreError> {
        Self::open(Self::file_at(path)?)
    }

    /// The locked file of a store, for a vat in another process.
    ///
    /// # Errors
    ///
    /// When it cannot be opened, or is in use.
    pub(crate) fn file_at(path: &Path) -> Result<File, StoreError> {
        use std::os::unix::fs::OpenOptionsExt as _;

        use rustix::fs::{FlockOperation, flock};
        let file = std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(file),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(StoreError::InUse),
            Err(errno) => Err(StoreError::Io(errno.into())),
        }
    }

    /// The store in a file that was opened for reading and writing and is used by nobody else. An
    /// empty file becomes an empty store. Objects that nothing in the store leads to any more are
    /// removed.
    ///
    /// # Errors
    ///
    /// When the file is no store, or one of a newer layout; when it cannot be read or written.
    pub fn open(file: File) -> Result<Self, StoreError> {
        Self::with_backend(backend::Passed::new(file))
    }

    /// The database alone, for tools.
    fn database_at(path: &Path) -> Result<Database, StoreError> {
        database(backend::Passed::new(Self::file_at(path)?))
    }

    pub(super) fn with_backend(backend: impl StorageBackend) -> Result<Self, StoreError> {
        let backend = Arc::new(backend);
        let reopen = move || database(backend::Shared(Arc::clone(&backend)));
        let database = reopen()?;
        let next = tables::prepare(&database)?;
        let swept = tables::sweep(&database)?;
        let shared = Arc::new(Shared {
            database: Mutex::new(Some(Arc::new(database))),
            reopen: Box::new(reopen),
            progress: Mutex::new(Progress {
                next,
                swept,
                ..Progress::default()
            }),
            progressed: Condvar::new(),
        });
        let (orders, inbox) = channel();
        let writer = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("vat store".into());
        let writer = thread.spawn(move || writer.write(&inbox))?;
        Ok(Self {
            shared,
            orders: Some(orders),
            writer: Some(writer),
        })
    }

    /// How many objects nothing led to any more when the store was opened.
    pub fn swept(&self) -> u64 {
        self.shared.progress().swept
    }

    pub(super) fn next_id(&self) -> u64 {
        self.shared.progress().next
    }

    /// Calls this from another thread whenever there is something new.
    pub(super) fn on_progress(&self, wake: Arc<dyn Fn() + Send + Sync>) {
        self.shared.progress().wake = Some(wake);
    }

    /// The last batch that is on disk.
    pub(super) fn done(&self) -> u64 {
        self.shared.progress().done
    }

    /// Why nothing can be written now.
    pub(super) fn failure(&self) -> Option<String> {
        self.shared.progress().failure.clone()
    }

    /// Begins to write a batch; one at a time.
    pub(super) fn commit(&self, batch: Batch) {
        let sent = self
            .orders
            .as_ref()
            .map(|orders| orders.send(Order::Commit(batch)));
        if !matches!(sent, Some(Ok(()))) {
            self.break_with(&Error::failed("the thread that writes it has ended"));
        }
    }

    /// Nothing is written any more.
    pub(super) fn break_with(&self, why: &Error) {
        tracing::error!(err = %why, "the durable store is broken");
        let mut progress = self.shared.progress();
        progress.broken = true;
        // Others are told no names of the program's.
        progress.failure = Some("a state cannot be written; the log says which".to_owned());
        drop(progress);
        self.shared.tell();
    }

    /// Blocks until this batch is on disk.
    pub(super) fn wait(&self, batch: u64) -> Result<()> {
        let mut progress = self.shared.progress();
        loop {
            if progress.done >= batch {
                return Ok(());
            }
            if let Some(why) = &progress.failure {
                return Err(Error::overloaded(format!(
                    "the vat cannot write its state to disk ({why})"
                )));
            }
            progress = self
                .shared
                .progressed
                .wait(progress)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// What is on disk now.
    pub(super) fn reader(&self) -> Result<Reader, StoreError> {
        let database = self.shared.database().clone();
        Reader::new(&*database.ok_or(StoreError::Reopening)?)
    }
}

fn database(backend: impl StorageBackend) -> Result<Database, StoreError> {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE);
    Ok(builder.create_with_backend(backend)?)
}

/// What was given to it is written, unless that cannot be done at once.
impl Drop for Store {
    fn drop(&mut self) {
        if let Some(orders) = self.orders.take() {
            drop(orders.send(Order::End)); // it may have ended already
        }
        if let Some(writer) = self.writer.take() {
            drop(writer.join()); // a panic of its thread was printed there
        }
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let progress = self.shared.progress();
        f.debug_struct("Store")
            .field("batches", &progress.done)
            .field("failure", &progress.failure)
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn database(&self) -> MutexGuard<'_, Option<Arc<Database>>> {
        self.database.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self) {
        self.progressed.notify_all();
        let wake = self.progress().wake.clone();
        if let Some(wake) = wake {
            wake();
        }
    }

    /// The writer's thread.
    fn write(&self, inbox: &Receiver<Order>) {
        while let Ok(Order::Commit(batch)) = inbox.recv() {
            let mut pause = AGAIN;
            while let Err(error) = self.commit(&batch) {
                tracing::error!(err = %error, "the durable store could not be written");
                let changed = {
                    let mut progress = self.progress();
                    let text = error.to_string();
                    let changed = progress.failure.as_ref() != Some(&text);
                    progress.failure = Some(text);
                    changed
                };
                if changed {
                    self.tell();
                }
                // What has failed must not be trusted: it is opened anew, from what the disk has.
                *self.database() = None;
                match inbox.recv_timeout(pause) {
                    Err(RecvTimeoutError::Timeout) => {}
                    Ok(_) | Err(RecvTimeoutError::Disconnected) => return,
                }
                pause = (pause * 2).min(AGAIN_AT_MOST);
            }
            let mut progress = self.progress();
            progress.done = batch.number;
            if !progress.broken {
                progress.failure = None;
            }
            drop(progress);
            self.tell();
        }
    }

    fn commit(&self, batch: &Batch) -> Result<(), StoreError> {
        let open = self.database().clone();
        let database = match open {
            Some(database) => database,
            None => {
                let database = Arc::new((self.reopen)()?);
                *self.database() = Some(Arc::clone(&database));
                database
            }
        };
        tables::commit(&database, batch)
    }
}
