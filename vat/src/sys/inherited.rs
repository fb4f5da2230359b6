//! The one descriptor that a launched program finds open beside the standard three.

use std::{
    io,
    os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd},
    sync::atomic::{AtomicBool, Ordering},
};

use rustix::{
    io::{FdFlags, fcntl_getfd, fcntl_setfd},
    net::{AddressFamily, SocketType, sockopt},
};

/// Where the launcher puts the socket.
const DESCRIPTOR: RawFd = 3;

/// Takes the socket that the launcher left on descriptor 3, once. It is close-on-exec afterwards.
///
/// # Errors
///
/// When descriptor 3 is not a Unix stream socket, or was taken before.
pub(crate) fn take_socket() -> io::Result<OwnedFd> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    // SAFETY: the borrow ends within this function, before anything could close the descriptor; if
    // it is not open, the calls below fail and do nothing.
    let descriptor = unsafe { BorrowedFd::borrow_raw(DESCRIPTOR) };
    check(descriptor)?;
    if TAKEN.swap(true, Ordering::Relaxed) {
        return Err(io::Error::other("the inherited socket was taken already"));
    }
    fcntl_setfd(descriptor, FdFlags::CLOEXEC)?;
    // SAFETY: it is open, and a socket that survived an exec, so that nothing in this program has
    // made it and nothing else owns it; the flag above makes sure that it is owned only once.
    Ok(unsafe { OwnedFd::from_raw_fd(DESCRIPTOR) })
}

/// Fails unless the descriptor looks like the launcher's: a Unix stream socket that is inherited,
/// which those that this program opens itself are not.
fn check(descriptor: BorrowedFd<'_>) -> io::Result<()> {
    let is_inherited = !fcntl_getfd(descriptor)
        .map_err(|_| missing())?
        .contains(FdFlags::CLOEXEC);
    let is_stream = sockopt::socket_domain(descriptor) == Ok(AddressFamily::UNIX)
        && sockopt::socket_type(descriptor) == Ok(SocketType::STREAM);
    if is_inherited && is_stream {
        Ok(())
    } else {
        Err(missing())
    }
}

fn missing() -> io::Error {
    io::Error::new(
        io::ErrorKind::NotFound,
        "descriptor 3 is not a launcher's socket; start this program with `vat run` or `vat up`",
    )
}
