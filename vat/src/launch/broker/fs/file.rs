//! An open file.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;

use super::append::{OnDisk, Tail, Target};
use super::grant::{FileTicket, Grant};
use super::{Durability, FsError, Pending, Rights};
use crate::launch::broker::Lane;

/// An open regular file. Clones are the same open file; it closes with the last of them.
///
/// # Ordering
///
/// Operations on the same file take place in the order in which they were asked for, whoever asked,
/// also through other `File`s that were opened separately.
///
/// # Authority
///
/// Its [`rights`](Self::rights), on this one file, for as long as it is held; renaming or deleting
/// the file on the host changes nothing.
#[derive(Clone, Debug)]
pub struct File {
    open: Arc<OpenFile>,
    rights: Rights,
}

/// What all openings of one file share.
#[derive(Debug)]
pub(super) struct Inode {
    pub(super) lane: Lane,
    pub(super) tail: Mutex<Tail>,
}

impl Inode {
    fn tail(&self) -> MutexGuard<'_, Tail> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
struct OpenFile {
    /// Dropped before the descriptor is closed: once it is, the inode number may come to mean
    /// another file, which must not find this entry.
    inode: Arc<Inode>,
    descriptor: OwnedFd,
    grant: Arc<Grant>,
    _ticket: FileTicket,
}

impl OpenFile {
    /// The length that readers see.
    fn length(&self, tail: &Tail) -> Result<u64, FsError> {
        Ok(tail.visible(OnDisk::new(&self.descriptor).length()?))
    }
}

impl File {
    pub(super) fn new(
        descriptor: OwnedFd,
        inode: Arc<Inode>,
        grant: Arc<Grant>,
        ticket: FileTicket,
        rights: Rights,
    ) -> Self {
        let open = Arc::new(OpenFile {
            inode,
            descriptor,
            grant,
            _ticket: ticket,
        });
        Self { open, rights }
    }

    /// What this reference allows.
    pub fn rights(&self) -> Rights {
        self.rights
    }

    /// The same file without the right to append.
    #[must_use]
    pub fn read_only(&self) -> Self {
        Self {
            open: Arc::clone(&self.open),
            rights: self.rights.read_only(),
        }
    }

    /// Up to `count` bytes from offset `from` on; fewer only at the end of the file.
    ///
    /// # Errors
    ///
    /// If `count` is more than [`FsLimits::read`](super::FsLimits::read), reading is not allowed,
    /// or the host fails.
    pub fn read(&self, from: u64, count: u64) -> Pending<Vec<u8>> {
        let limit = self.open.grant.limits.read;
        let Some(count) = usize::try_from(count).ok().filter(|count| *count <= limit) else {
            return Pending::refused(FsError::TooMuch {
                asked: count,
                limit,
            });
        };
        self.operation(self.rights.may_read(), count, move |open| {
            let length = open.length(&open.inode.tail())?;
            let left = length.saturating_sub(from);
            let count = usize::try_from(left).map_or(count, |left| left.min(count));
            read_at(&open.descriptor, from, count)
        })
    }

    /// The whole file.
    ///
    /// # Errors
    ///
    /// If the file is longer than [`FsLimits::read`](super::FsLimits::read), reading is not
    /// allowed, or the host fails.
    pub fn read_all(&self) -> Pending<Vec<u8>> {
        let limit = self.open.grant.limits.read;
        self.operation(self.rights.may_read(), limit, move |open| {
            let length = open.length(&open.inode.tail())?;
            match usize::try_from(length) {
                Ok(count) if count <= limit => read_at(&open.descriptor, 0, count),
                _ => Err(FsError::TooMuch {
                    asked: length,
                    limit,
                }),
            }
        })
    }

    /// The file's length in bytes.
    ///
    /// # Errors
    ///
    /// If reading is not allowed, or the host fails.
    pub fn size(&self) -> Pending<u64> {
        self.operation(self.rights.may_read(), 0, |open| {
            open.length(&open.inode.tail())
        })
    }

    /// Appends all of `data` or nothing, and answers with the offset at which it begins.
    ///
    /// # Errors
    ///
    /// If `data` is more than [`FsLimits::append`](super::FsLimits::append), writing is not
    /// allowed, the disk is full, the data cannot be brought to disk ([`Durability::Synced`]), or
    /// the host fails otherwise. The file is then as it was before, unless the error is
    /// [`FsError::Torn`].
    pub fn append(&self, data: Vec<u8>, durability: Durability) -> Pending<u64> {
        let limit = self.open.grant.limits.append;
        if data.len() > limit {
            return Pending::refused(FsError::TooMuch {
                asked: data.len() as u64,
                limit,
            });
        }
        self.operation(self.rights.may_write(), data.len(), move |open| {
            let file = OnDisk::new(&open.descriptor);
            let end = open.inode.tail().append(&file, &data, durability)?;
            Ok(end - data.len() as u64)
        })
    }

    fn operation<T: Send + 'static>(
        &self,
        allowed: Result<(), FsError>,
        bytes: usize,
        work: impl FnOnce(&OpenFile) -> Result<T, FsError> + Send + 'static,
    ) -> Pending<T> {
        let ticket = match allowed.and_then(|()| self.open.grant.operation(bytes)) {
            Ok(ticket) => ticket,
            Err(error) => return Pending::refused(error),
        };
        let open = Arc::clone(&self.open);
        Pending::run(&self.open.inode.lane, move || {
            let _ticket = ticket;
            work(&open)
        })
    }
}

/// Reads `count` bytes, fewer only where the file ends.
fn read_at(file: &OwnedFd, from: u64, count: usize) -> Result<Vec<u8>, FsError> {
    let mut data = vec![0; count];
    let mut filled = 0;
    while let Some(rest) = data.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match rustix::io::pread(file, rest, from.saturating_add(filled as u64)) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    data.truncate(filled);
    Ok(data)
}
