//! The store's file: reads and writes at places, as a confined program may do them.
//!
//! redb's own file backend asks for the file's length in a way that the system call filter refuses,
//! and takes a lock; here the file comes from whoever opened it, who has locked it too.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use redb::StorageBackend;

/// A file that somebody else has opened for us.
#[derive(Debug)]
pub(super) struct Passed(File);

impl Passed {
    pub(super) fn new(file: File) -> Self {
        Self(file)
    }
}

impl StorageBackend for Passed {
    fn len(&self) -> io::Result<u64> {
        let stat = rustix::fs::fstat(&self.0)?;
        u64::try_from(stat.st_size).map_err(io::Error::other)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(out, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        Ok(rustix::fs::ftruncate(&self.0, len)?)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_all_at(data, offset)
    }
}

/// The same file each time the database is opened anew.
#[derive(Debug)]
pub(super) struct Shared<B>(pub(super) std::sync::Arc<B>);

impl<B: StorageBackend> StorageBackend for Shared<B> {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }
}
