//! Granted directories.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::file::Inode;
use super::grant::Grant;
use super::name::Name;
use super::open::{self, FileId, Opened};
use super::{File, FsError, FsLimits, Pending, Rights};
use crate::launch::broker::{Lane, Workers};

/// Everything that the launcher grants of the host's files. There is one per launcher, so that
/// appends through overlapping grants keep their order.
#[derive(Clone, Debug)]
pub struct Files {
    workers: Workers,
    inodes: Arc<Inodes>,
}

impl Files {
    /// File work on these threads.
    pub fn new(workers: Workers) -> Self {
        Self {
            workers,
            inodes: Arc::default(),
        }
    }

    /// Opens a directory of the host to grant it.
    ///
    /// # Authority
    ///
    /// Uses the launcher's own access to every path of the host: call it with paths that the
    /// operator named, never with one that a program sent.
    ///
    /// # Errors
    ///
    /// If there is no such directory or the launcher may not read it.
    pub fn ambient_dir(&self, path: &Path, rights: Rights, limits: FsLimits) -> io::Result<Dir> {
        let root = open::open_ambient_dir(path)?;
        let inner = DirInner {
            root,
            lane: self.workers.lane(),
            grant: Grant::new(limits),
            files: self.clone(),
        };
        Ok(Dir {
            inner: Arc::new(inner),
            rights,
        })
    }
}

/// A granted directory. Clones are the same directory with the same rights and limits.
///
/// # Ordering
///
/// Operations take place in the order in which they were asked for.
///
/// # Authority
///
/// Every regular file beneath it, as far as [`rights`](Self::rights) goes. Nothing else: see the
/// [module](super).
#[derive(Clone, Debug)]
pub struct Dir {
    inner: Arc<DirInner>,
    rights: Rights,
}

#[derive(Debug)]
struct DirInner {
    root: OwnedFd,
    lane: Lane,
    grant: Arc<Grant>,
    files: Files,
}

impl Dir {
    /// What this reference allows.
    pub fn rights(&self) -> Rights {
        self.rights
    }

    /// The same directory without the rights to create and append, for files opened through it as
    /// well.
    #[must_use]
    pub fn read_only(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            rights: self.rights.read_only(),
        }
    }

    /// The same directory with those of its rights that are also among these.
    #[must_use]
    pub fn limited_to(&self, rights: Rights) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            rights: self.rights.and(rights),
        }
    }

    /// Opens a file that is there, with this directory's rights. If the host lets the launcher only
    /// read it, the file has no right to append.
    ///
    /// # Errors
    ///
    /// If there is no such file beneath, it is not a regular file, the host does not allow it, or a
    /// limit is reached.
    pub fn open(&self, name: &str) -> Pending<File> {
        let allowed = self.rights.may_read().or_else(|_| self.rights.may_write());
        self.operation(name, allowed, open::open_existing)
    }

    /// Opens a file, and creates it empty if it is not there.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open); and if writing is not allowed.
    pub fn create(&self, name: &str) -> Pending<File> {
        self.operation(name, self.rights.may_write(), open::open_or_create)
    }

    /// Creates an empty file where nothing is.
    ///
    /// # Errors
    ///
    /// As [`create`](Self::create); and if there is anything of this name, also a dangling link.
    pub fn create_new(&self, name: &str) -> Pending<File> {
        self.operation(name, self.rights.may_write(), open::create_new)
    }

    fn operation(
        &self,
        name: &str,
        allowed: Result<(), FsError>,
        open: fn(BorrowedFd<'_>, &Name, Rights) -> Result<Opened, FsError>,
    ) -> Pending<File> {
        let checked = allowed.and_then(|()| Ok(Name::parse(name)?));
        let admitted = checked.and_then(|name| Ok((name, self.inner.grant.operation(0)?)));
        let (name, ticket) = match admitted {
            Ok(admitted) => admitted,
            Err(error) => return Pending::refused(error),
        };
        let (inner, rights) = (Arc::clone(&self.inner), self.rights);
        Pending::run(&self.inner.lane, move || {
            let _ticket = ticket;
            let open_ticket = inner.grant.file()?;
            let opened = open(inner.root.as_fd(), &name, rights)?;
            let inode = inner.files.inodes.enter(opened.id, &inner.files.workers);
            let grant = Arc::clone(&inner.grant);
            Ok(File::new(
                opened.descriptor,
                inode,
                grant,
                open_ticket,
                opened.rights,
            ))
        })
    }

    #[cfg(test)]
    pub(in crate::launch::broker) fn in_use(&self) -> [usize; 3] {
        self.inner.grant.in_use()
    }
}

/// Which files are open, by device and inode: all openings of one file share its queue.
#[derive(Debug, Default)]
struct Inodes {
    open: Mutex<BTreeMap<FileId, Weak<Inode>>>,
}

impl Inodes {
    /// The shared part of a file that has just been opened. An inode number cannot come to mean
    /// another file while somebody holds the file open, so an entry that is alive is right.
    fn enter(&self, id: FileId, workers: &Workers) -> Arc<Inode> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(inode) = open.get(&id).and_then(Weak::upgrade) {
            return inode;
        }
        open.retain(|_, inode| inode.strong_count() > 0);
        let inode = Arc::new(Inode {
            lane: workers.lane(),
            tail: Mutex::default(),
        });
        open.insert(id, Arc::downgrade(&inode));
        inode
    }
}
