//! Watching descriptors with the event loop.

use std::io;
#[cfg(feature = "launch")]
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Watches a borrowed descriptor until it is readable. Needs a tokio runtime with I/O enabled.
#[cfg(feature = "launch")]
pub(crate) fn watch_readable(fd: BorrowedFd<'_>) -> io::Result<AsyncFd<BorrowedFd<'_>>> {
    // SAFETY: the borrow keeps the descriptor open, and the same one, for as long as the value
    // that borrows it.
    let watched = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) };
    watched.map_err(|error| error.into_parts().1)
}

/// Watches a socket for what `interest` names. Needs a tokio runtime with I/O enabled.
pub(crate) fn watch_socket(
    socket: Arc<UnixStream>,
    interest: Interest,
) -> io::Result<AsyncFd<Arc<UnixStream>>> {
    // SAFETY: the value shares the socket, which keeps one descriptor and closes it when the last
    // that shares it is gone; nothing takes the descriptor out of a shared socket.
    let watched = unsafe { AsyncFd::register_with_interest(socket, interest) };
    watched.map_err(|error| error.into_parts().1)
}
