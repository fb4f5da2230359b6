//! What one granted directory may use: rights and limits.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::FsError;

/// What a directory or file reference allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights {
    /// Read files, and see that they exist.
    pub read: bool,
    /// Create files and append to them.
    pub write: bool,
}

impl Rights {
    /// Reading only.
    pub const READ: Self = Self {
        read: true,
        write: false,
    };
    /// Reading and writing.
    pub const READ_WRITE: Self = Self {
        read: true,
        write: true,
    };

    pub(super) fn may_read(self) -> Result<(), FsError> {
        if self.read {
            Ok(())
        } else {
            Err(FsError::NotAllowed("read"))
        }
    }

    pub(super) fn may_write(self) -> Result<(), FsError> {
        if self.write {
            Ok(())
        } else {
            Err(FsError::NotAllowed("write"))
        }
    }

    /// What both allow.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            read: self.read && other.read,
            write: self.write && other.write,
        }
    }

    /// Without writing.
    #[must_use]
    pub fn read_only(self) -> Self {
        Self {
            write: false,
            ..self
        }
    }
}

/// What one granted directory may use of the launcher, with everything opened beneath it. Beyond a
/// limit the call fails and nothing is lost.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct FsLimits {
    /// Bytes per read. Default 1 MiB.
    pub read: usize,
    /// Bytes per append. Default 1 MiB.
    pub append: usize,
    /// Files open at the same time. Default 128.
    pub open_files: usize,
    /// Operations waiting or running. Default 256.
    pub operations: usize,
    /// Bytes in waiting or running operations. Default 32 MiB.
    pub bytes: usize,
}

impl Default for FsLimits {
    fn default() -> Self {
        Self {
            read: 1 << 20,
            append: 1 << 20,
            open_files: 128,
            operations: 256,
            bytes: 32 << 20,
        }
    }
}

impl FsLimits {
    /// The same limits with another number of open files.
    #[must_use]
    pub fn with_open_files(mut self, files: usize) -> Self {
        self.open_files = files;
        self
    }

    /// The same limits with another number of bytes per read and per append.
    #[must_use]
    pub fn with_at_once(mut self, bytes: usize) -> Self {
        self.read = bytes;
        self.append = bytes;
        self
    }

    /// The same limits with another number of operations.
    #[must_use]
    pub fn with_operations(mut self, operations: usize) -> Self {
        self.operations = operations;
        self
    }
}

/// The use that is made of one grant.
#[derive(Debug)]
pub(super) struct Grant {
    pub(super) limits: FsLimits,
    open_files: AtomicUsize,
    operations: AtomicUsize,
    bytes: AtomicUsize,
}

impl Grant {
    pub(super) fn new(limits: FsLimits) -> Arc<Self> {
        Arc::new(Self {
            limits,
            open_files: AtomicUsize::new(0),
            operations: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
        })
    }

    /// Room for one more operation that holds so many bytes.
    pub(super) fn operation(self: &Arc<Self>, bytes: usize) -> Result<OperationTicket, FsError> {
        take(
            &self.operations,
            1,
            self.limits.operations,
            "too many operations wait",
        )?;
        // From here on the ticket gives back what was taken.
        let mut ticket = OperationTicket {
            grant: Arc::clone(self),
            bytes: 0,
        };
        take(
            &self.bytes,
            bytes,
            self.limits.bytes,
            "too many bytes wait to be read or written",
        )?;
        ticket.bytes = bytes;
        Ok(ticket)
    }

    /// Room for one more open file.
    pub(super) fn file(self: &Arc<Self>) -> Result<FileTicket, FsError> {
        take(
            &self.open_files,
            1,
            self.limits.open_files,
            "too many open files",
        )?;
        Ok(FileTicket {
            grant: Arc::clone(self),
        })
    }

    #[cfg(test)]
    pub(super) fn in_use(&self) -> [usize; 3] {
        [&self.open_files, &self.operations, &self.bytes].map(|n| n.load(Ordering::SeqCst))
    }
}

fn take(
    used: &AtomicUsize,
    amount: usize,
    limit: usize,
    what: &'static str,
) -> Result<(), FsError> {
    let more = |used: usize| used.checked_add(amount).filter(|sum| *sum <= limit);
    match used.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more) {
        Ok(_) => Ok(()),
        Err(_) => Err(FsError::Overloaded(what)),
    }
}

/// One operation that waits or runs.
#[derive(Debug)]
pub(super) struct OperationTicket {
    grant: Arc<Grant>,
    bytes: usize,
}

impl Drop for OperationTicket {
    fn drop(&mut self) {
        self.grant.operations.fetch_sub(1, Ordering::SeqCst);
        self.grant.bytes.fetch_sub(self.bytes, Ordering::SeqCst);
    }
}

/// One open file.
#[derive(Debug)]
pub(super) struct FileTicket {
    grant: Arc<Grant>,
}

impl Drop for FileTicket {
    fn drop(&mut self) {
        self.grant.open_files.fetch_sub(1, Ordering::SeqCst);
    }
}
