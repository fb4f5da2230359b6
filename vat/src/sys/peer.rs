//! Who is at the other end of a Unix socket.

use std::io;
use std::os::fd::{AsFd, AsRawFd as _};
use std::sync::LazyLock;

/// The user that the process at the other end had when it connected. All who have no number in our
/// user namespace have one and the same: see [`is_same_user`].
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

/// Whether a user at the other end is `own`.
///
/// One that has no number in our user namespace is told as the overflow user, whoever it is
/// (`user_namespaces(7)`). So a process that itself runs as that one knows nobody.
pub(crate) fn is_same_user(user: u32, own: u32) -> bool {
    static OVERFLOW: LazyLock<Option<u32>> = LazyLock::new(|| {
        let number = std::fs::read_to_string("/proc/sys/kernel/overflowuid").ok()?;
        number.trim().parse().ok()
    });
    is_same(user, own, *OVERFLOW)
}

fn is_same(user: u32, own: u32, overflow: Option<u32>) -> bool {
    user == own && user != DEFAULT_OVERFLOW && Some(user) != overflow
}

/// The overflow user, unless the administrator has chosen another one. Where that cannot be read, or
/// where it was another one when the socket connected, it stands for nobody all the same.
const DEFAULT_OVERFLOW: u32 = 65_534;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_without_a_number_is_nobodys_own() {
        assert!(is_same(1_000, 1_000, Some(65_534)) && is_same(0, 0, None));
        assert!(!is_same(0, 1_000, Some(65_534)) && !is_same(1_000, 0, None));
        for overflow in [None, Some(65_534), Some(4_242)] {
            assert!(!is_same(65_534, 65_534, overflow), "{overflow:?}");
        }
        assert!(!is_same(4_242, 4_242, Some(4_242)));
        assert!(is_same(4_242, 4_242, Some(65_534)));
        assert!(!is_same_user(65_534, 65_534));
    }
}
