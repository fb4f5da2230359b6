//! Opening beneath a directory: the only place that gives a name to the kernel.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use super::Rights;
use super::error::FsError;
use super::name::Name;

/// An open regular file and what its descriptor can do.
pub(super) struct Opened {
    pub(super) descriptor: OwnedFd,
    pub(super) rights: Rights,
    pub(super) id: FileId,
}

/// Which file it is, whatever its name: device and inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FileId {
    device: u64,
    inode: u64,
}

/// Opens a directory by a host path, following whatever links the host has there.
pub(super) fn open_ambient_dir(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty())
}

/// Opens a regular file that is there.
pub(super) fn open_existing(
    root: BorrowedFd<'_>,
    name: &Name,
    rights: Rights,
) -> Result<Opened, FsError> {
    // Looked at before it is opened: opening a FIFO or a device may have effects of its own.
    let probe = beneath(root, name.path(), OFlags::PATH, Mode::empty())?;
    regular(&rustix::fs::fstat(&probe)?)?;
    drop(probe);
    match open_with(root, name, rights) {
        Err(Errno::ACCESS | Errno::PERM | Errno::ROFS | Errno::TXTBSY)
            if rights == Rights::READ_WRITE =>
        {
            // The host lets us read only; an append will say so.
            let opened = open_with(root, name, Rights::READ)?;
            check(opened, Rights::READ)
        }
        opened => check(opened?, rights),
    }
}

/// Creates a regular file where nothing is, and brings its name to disk.
pub(super) fn create_new(
    root: BorrowedFd<'_>,
    name: &Name,
    rights: Rights,
) -> Result<Opened, FsError> {
    let (parent, last) = name.split();
    let parent = match parent {
        Some(parent) => {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY;
            Some(beneath(root, parent, flags, Mode::empty())?)
        }
        None => None,
    };
    let parent = parent.as_ref().map_or(root, AsFd::as_fd);
    let flags = access(rights) | OFlags::CREATE | OFlags::EXCL;
    let descriptor = beneath(parent, last, flags, Mode::RUSR | Mode::WUSR)?;
    sync_dir(parent)?;
    check(descriptor, rights)
}

/// Opens the file if it is there, otherwise creates it.
pub(super) fn open_or_create(
    root: BorrowedFd<'_>,
    name: &Name,
    rights: Rights,
) -> Result<Opened, FsError> {
    // Between the two steps somebody else may create or remove it; then it is tried again.
    for _ in 0..MAX_TRIES {
        match open_existing(root, name, rights) {
            Err(FsError::NotFound) => {}
            opened => return opened,
        }
        match create_new(root, name, rights) {
            Err(FsError::Exists) => {}
            created => return created,
        }
    }
    Err(Errno::AGAIN.into())
}

fn open_with(root: BorrowedFd<'_>, name: &Name, rights: Rights) -> Result<OwnedFd, Errno> {
    // Should it have become a FIFO since it was looked at, this does not wait for its other end.
    beneath(
        root,
        name.path(),
        access(rights) | OFlags::NONBLOCK | OFlags::NOCTTY,
        Mode::empty(),
    )
}

fn access(rights: Rights) -> OFlags {
    match (rights.read, rights.write) {
        (true, true) => OFlags::RDWR | OFlags::APPEND,
        (false, true) => OFlags::WRONLY | OFlags::APPEND,
        (_, false) => OFlags::RDONLY,
    }
}

fn beneath(dir: BorrowedFd<'_>, path: &Path, flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let mut tries = 0;
    loop {
        match rustix::fs::openat2(dir, path, flags, mode, resolve) {
            // The kernel could not be sure of a rename that went on meanwhile.
            Err(Errno::AGAIN | Errno::INTR) if tries < MAX_TRIES => tries += 1,
            opened => return opened,
        }
    }
}

fn check(descriptor: OwnedFd, rights: Rights) -> Result<Opened, FsError> {
    let stat = rustix::fs::fstat(&descriptor)?;
    regular(&stat)?;
    let id = FileId {
        device: stat.st_dev,
        inode: stat.st_ino,
    };
    Ok(Opened {
        descriptor,
        rights,
        id,
    })
}

fn regular(stat: &Stat) -> Result<(), FsError> {
    let what = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => return Ok(()),
        FileType::Directory => "a directory",
        FileType::Symlink => return Err(FsError::NotBeneath),
        FileType::Fifo => "a FIFO",
        FileType::Socket => "a socket",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        FileType::Unknown => "something unknown",
    };
    Err(FsError::NotAFile(what))
}

/// Some file systems cannot sync directories and say so by `EINVAL`; there names are as durable as
/// they ever will be.
fn sync_dir(dir: BorrowedFd<'_>) -> Result<(), FsError> {
    match rustix::fs::fsync(dir) {
        Ok(()) | Err(Errno::INVAL) => Ok(()),
        Err(errno) => Err(FsError::NotSynced(super::error::describe(errno))),
    }
}

const MAX_TRIES: u32 = 128;
