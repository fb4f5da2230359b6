//! Who is at the other end of a Unix socket.

use std::io;
use std::os::fd::{AsFd, AsRawFd as _};

/// The user that the process at the other end had when it connected.
///
/// Not by way of rustix: it takes the process number 0, which the kernel gives for a process outside
/// of our PID namespace, for an error.
pub(crate) fn peer_user(socket: impl AsFd) -> io::Result<u32> {
    let mut peer = libc::ucred {
        pid: 0,
        uid: 0,
        gid: 0,
    };
    let mut len = libc::socklen_t::try_from(size_of_val(&peer)).unwrap_or_default();
    // SAFETY: the kernel writes at most `len` bytes to `peer`, which is three plain numbers; both
    // outlive the call, and the borrow keeps the descriptor open.
    let done = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut peer).cast(),
            &raw mut len,
        )
    };
    match done {
        0 => Ok(peer.uid),
        _ => Err(io::Error::last_os_error()),
    }
}
