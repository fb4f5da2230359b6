//! A disk for tests, which fails or stands still when it is told to.

use std::io;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use redb::StorageBackend;
use redb::backends::InMemoryBackend;

/// What is told to the disk.
#[derive(Debug, Default)]
pub(in crate::durable) struct Disk {
    content: InMemoryBackend,
    /// Writes that succeed before one fails, from then on each; negative: none fails.
    good: AtomicI64,
    syncs: AtomicU64,
    still: Mutex<bool>,
    moved: Condvar,
}

impl Disk {
    pub(in crate::durable) fn new() -> Arc<Self> {
        let disk = Self::default();
        disk.good.store(i64::MAX, Ordering::SeqCst);
        Arc::new(disk)
    }

    /// So many more writes succeed.
    pub(in crate::durable) fn fail_after(&self, writes: i64) {
        self.good.store(writes, Ordering::SeqCst);
    }

    /// Nothing fails any more.
    pub(in crate::durable) fn recover(&self) {
        self.fail_after(i64::MAX);
    }

    /// Syncs wait from now on, or go on.
    pub(in crate::durable) fn stand_still(&self, still: bool) {
        *self.still.lock().unwrap() = still;
        self.moved.notify_all();
    }

    /// How often it was synced.
    pub(in crate::durable) fn syncs(&self) -> u64 {
        self.syncs.load(Ordering::SeqCst)
    }

    /// A copy of what it holds now, as after a crash.
    pub(in crate::durable) fn copy(&self) -> Arc<Self> {
        let copy = Self::new();
        let length = self.content.len().unwrap();
        let mut bytes = vec![0; usize::try_from(length).unwrap()];
        self.content.read(0, &mut bytes).unwrap();
        copy.content.set_len(length).unwrap();
        copy.content.write(0, &bytes).unwrap();
        copy
    }

    fn write_one(&self) -> io::Result<()> {
        if self.good.fetch_sub(1, Ordering::SeqCst) > 0 {
            return Ok(());
        }
        self.good.store(0, Ordering::SeqCst);
        Err(io::Error::from(io::ErrorKind::StorageFull))
    }
}

/// The disk as a backend.
#[derive(Debug)]
pub(in crate::durable) struct OnDisk(pub(in crate::durable) Arc<Disk>);

impl StorageBackend for OnDisk {
    fn len(&self) -> io::Result<u64> {
        self.0.content.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.content.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.write_one()?;
        self.0.content.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut still = self.0.still.lock().unwrap();
        while *still {
            still = self.0.moved.wait(still).unwrap();
        }
        drop(still);
        self.0.write_one()?;
        self.0.syncs.fetch_add(1, Ordering::SeqCst);
        self.0.content.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_one()?;
        self.0.content.write(offset, data)
    }
}
