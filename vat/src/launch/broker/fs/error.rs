//! What can go wrong with a file, and results that come later.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use rustix::io::Errno;

use super::BadName;
use crate::launch::broker::{Job, JobLost, Lane, Overloaded};

/// Why a file operation failed. The texts may be shown to the program: they name no host path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FsError {
    /// The name is not one that can be beneath a directory.
    #[error("the name cannot be used: {0}")]
    BadName(#[from] BadName),
    /// There is nothing of this name, or a part before the last is not a directory.
    #[error("there is no file of this name")]
    NotFound,
    /// There is something of this name already.
    #[error("there is already something of this name")]
    Exists,
    /// The name leads through a symbolic link or out of the directory.
    #[error("the name leads through a symbolic link, or out of the directory")]
    NotBeneath,
    /// The name is that of something that is not a regular file.
    #[error("this is {0}, not a file")]
    NotAFile(&'static str),
    /// This reference does not allow it.
    #[error("this reference does not allow to {0}")]
    NotAllowed(&'static str),
    /// The host does not allow it to the launcher.
    #[error("the host's permissions do not allow it")]
    Denied,
    /// More was asked for at once than is allowed.
    #[error("{asked} bytes at once are more than the limit of {limit}; use several smaller calls")]
    TooMuch {
        /// How much was asked for.
        asked: u64,
        /// How much is allowed.
        limit: usize,
    },
    /// The disk, the quota or the largest size of a file is reached. The file is as it was before.
    #[error("the disk is full ({0}); the file is as it was before")]
    Full(&'static str),
    /// A write failed, and so did cutting the file back: its end may hold a part of the data. The
    /// next append tries to cut it back again.
    #[error("writing failed ({0}), and the file may end in a part of the data")]
    Torn(&'static str),
    /// The data could not be brought to disk. The file was cut back, but what is on disk is not
    /// known.
    #[error("the data could not be brought to disk ({0}); the append did not take place")]
    NotSynced(&'static str),
    /// An earlier sync of this file failed, so a later one proves nothing. Opening the file again
    /// after all its holders have closed it is a new start.
    #[error("an earlier sync of this file failed; what is on disk is not known")]
    SyncFailedBefore,
    /// Too many files are open, or too many operations wait.
    #[error("overloaded: {0}")]
    Overloaded(&'static str),
    /// The kernel lacks a system call that confinement to the directory rests on.
    #[error("this kernel has no openat2, without which no directory can be granted")]
    Unsupported,
    /// Anything else the host says.
    #[error("the host reports: {0}")]
    Host(&'static str),
    /// The operation failed in the middle by a bug of the launcher.
    #[error("the operation failed in the middle; the launcher's log says more")]
    Lost,
}

impl From<Errno> for FsError {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::NOENT | Errno::NOTDIR => Self::NotFound,
            Errno::EXIST => Self::Exists,
            Errno::LOOP | Errno::XDEV => Self::NotBeneath,
            Errno::ISDIR => Self::NotAFile("a directory"),
            Errno::NXIO => Self::NotAFile("a socket or device"),
            Errno::ACCESS | Errno::PERM | Errno::ROFS => Self::Denied,
            Errno::NAMETOOLONG => Self::BadName(BadName::TooLong),
            Errno::NOSPC | Errno::DQUOT | Errno::FBIG => Self::Full(describe(errno)),
            Errno::MFILE | Errno::NFILE | Errno::NOMEM => Self::Overloaded(describe(errno)),
            Errno::NOSYS => Self::Unsupported,
            _ => Self::Host(describe(errno)),
        }
    }
}

impl From<Overloaded> for FsError {
    fn from(_: Overloaded) -> Self {
        Self::Overloaded("too many operations wait")
    }
}

impl From<JobLost> for FsError {
    fn from(_: JobLost) -> Self {
        Self::Lost
    }
}

/// A few words for the errors that files really give, the same on every host.
pub(super) fn describe(errno: Errno) -> &'static str {
    match errno {
        Errno::NOSPC => "no space left on the device",
        Errno::DQUOT => "the quota is used up",
        Errno::FBIG => "the largest size of a file is reached",
        Errno::IO => "input/output error",
        Errno::MFILE | Errno::NFILE => "too many open files",
        Errno::NOMEM => "out of memory",
        Errno::ROFS => "the file system is read-only",
        Errno::STALE => "the file is gone from its server",
        Errno::TXTBSY => "the file is a running program",
        Errno::AGAIN => "the directory tree is changing too fast",
        Errno::BUSY => "the device is busy",
        _ => "an unexpected error",
    }
}

/// The result of an operation, as a future for any executor.
///
/// # Cancel safety
///
/// Dropping it says that the result is not wanted. The operation takes place all the same.
#[must_use = "a failed operation is only seen by who awaits it"]
pub struct Pending<T> {
    state: State<T>,
}

enum State<T> {
    /// Refused before it began.
    Refused(Option<FsError>),
    Running(Job<Result<T, FsError>>),
}

impl<T: Send + 'static> Pending<T> {
    pub(super) fn refused(error: impl Into<FsError>) -> Self {
        Self {
            state: State::Refused(Some(error.into())),
        }
    }

    /// Queues the operation.
    pub(super) fn run(
        lane: &Lane,
        job: impl FnOnce() -> Result<T, FsError> + Send + 'static,
    ) -> Self {
        match lane.run(job) {
            Ok(job) => Self {
                state: State::Running(job),
            },
            Err(overloaded) => Self::refused(overloaded),
        }
    }
}

impl<T> Unpin for Pending<T> {}

impl<T> Future for Pending<T> {
    type Output = Result<T, FsError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.state {
            State::Refused(error) => Poll::Ready(Err(error.take().unwrap_or(FsError::Lost))),
            State::Running(job) => Pin::new(job)
                .poll(cx)
                .map(|done| done.map_err(FsError::from).flatten()),
        }
    }
}

impl<T> fmt::Debug for Pending<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Refused(error) => return f.debug_tuple("Refused").field(error).finish(),
            State::Running(_) => "Running",
        };
        f.write_str(state)
    }
}
