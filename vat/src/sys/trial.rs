//! Trial children: what confinement promises is tried before it is claimed.
//!
//! Runs between `clone` and the end of a child, under the same rules as [`super::child`].

use libc::c_long;

use super::child::{Done, Orders};
use super::raw::call;
use super::step::Step;

/// What namespaces and Landlock promise is tried before seccomp refuses it anyway.
pub(super) unsafe fn probe_world(orders: &Orders<'_>) -> Done {
    let here = libc::AT_FDCWD.cast_unsigned() as usize;
    let stream = (libc::SOCK_STREAM | libc::SOCK_CLOEXEC).cast_unsigned() as usize;
    let family = libc::AF_INET.cast_unsigned() as usize;
    // 127.0.0.1, port 9, in network byte order.
    let address = libc::sockaddr_in {
        sin_family: 2,
        sin_port: 9_u16.to_be(),
        sin_addr: libc::in_addr {
            s_addr: 0x7f00_0001_u32.to_be(),
        },
        sin_zero: [0; 8],
    };
    let files = [
        c"/etc/passwd",
        c"/proc/self/status",
        c"/dev/null",
        c"/bin/sh",
    ];
    // SAFETY: paths are C strings, the address is valid for reads of its size.
    unsafe {
        for path in files.into_iter().filter(|_| orders.expect.no_files) {
            if call(libc::SYS_openat, &[here, path.as_ptr() as usize, 0, 0]).is_ok() {
                return Err((Step::ProbeFiles, 0));
            }
        }
        let socket = call(libc::SYS_socket, &[family, stream, 0]);
        if let (Ok(socket), true) = (socket, orders.expect.no_network) {
            let at = (&raw const address) as usize;
            match call(libc::SYS_connect, &[socket, at, size_of_val(&address)]) {
                Err(libc::EACCES | libc::EPERM | libc::ENETUNREACH) => {}
                Ok(_) => return Err((Step::ProbeNetwork, 0)),
                Err(errno) => return Err((Step::ProbeNetwork, errno)),
            }
        }
        // In a process namespace of its own the child may have the launcher's very number.
        let launcher = orders.launcher_pid as usize;
        let other = call(libc::SYS_getpid, &[]) != Ok(launcher);
        if orders.expect.no_signals && other && call(libc::SYS_kill, &[launcher, 0]).is_ok() {
            return Err((Step::ProbeSignal, 0));
        }
    }
    Ok(())
}

/// The filter refuses what it must.
pub(super) unsafe fn probe_calls(orders: &Orders<'_>) -> Done {
    if orders.filters.is_empty() {
        return Ok(());
    }
    let here = libc::AT_FDCWD.cast_unsigned() as usize;
    let root = c"/".as_ptr() as usize;
    let executable = (libc::PROT_READ | libc::PROT_EXEC).cast_unsigned() as usize;
    let anonymous = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS).cast_unsigned() as usize;
    let family = libc::AF_UNIX.cast_unsigned() as usize;
    let calls: [(c_long, [usize; 6]); 6] = [
        (libc::SYS_openat, [here, root, 0, 0, 0, 0]),
        (libc::SYS_socket, [family, 1, 0, 0, 0, 0]),
        (
            libc::SYS_mmap,
            [0, 4096, executable, anonymous, usize::MAX, 0],
        ),
        (libc::SYS_unshare, [0, 0, 0, 0, 0, 0]),
        (libc::SYS_kill, [0, 0, 0, 0, 0, 0]),
        (
            libc::SYS_prctl,
            [
                libc::PR_GET_PDEATHSIG.cast_unsigned() as usize,
                0,
                0,
                0,
                0,
                0,
            ],
        ),
    ];
    for (number, arguments) in calls {
        // SAFETY: harmless even where they succeed: the process ends right after.
        let answer = unsafe { call(number, &arguments) };
        if !matches!(answer, Err(libc::EPERM | libc::ENOSYS)) {
            return Err((Step::ProbeCalls, 0));
        }
    }
    Ok(())
}
