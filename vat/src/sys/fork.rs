//! Making a confined child: the launcher's side.

use std::ffi::{CString, c_int};
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::child::{Expected, Go, Orders, Word, run};
use super::raw::call;
use super::step::Step;

/// How long a child may take from `clone` to `exec`, in which it does nothing that waits.
const START_TIME: Duration = Duration::from_secs(20);

/// How a child is to be confined and what it is given: everything that is ready before the fork.
pub(crate) struct Blueprint<'a> {
    /// `CLONE_NEW…` flags.
    pub(crate) namespaces: c_int,
    /// The id maps that the child writes itself, as text for (`uid_map`, `gid_map`).
    pub(crate) child_id_maps: Option<(CString, CString)>,
    /// The launcher writes the maps, so that the child's user can be one of its own.
    pub(crate) launcher_writes_maps: bool,
    /// The child switches to a user id of its own out of this range.
    pub(crate) own_ids: Option<IdRange>,
    pub(crate) empty_root: Option<CString>,
    pub(crate) drop_capabilities: bool,
    pub(crate) last_capability: u32,
    /// (`RLIMIT_…`, value) for both the soft and the hard limit.
    pub(crate) limits: Vec<(u32, u64)>,
    pub(crate) filters: &'a [Vec<libc::sock_filter>],
    pub(crate) ruleset: Option<BorrowedFd<'a>>,
    pub(crate) null: BorrowedFd<'a>,
    pub(crate) stdout: BorrowedFd<'a>,
    pub(crate) stderr: BorrowedFd<'a>,
    pub(crate) socket: BorrowedFd<'a>,
    /// Without a program the child is a trial: it probes its confinement and ends.
    pub(crate) program: Option<BorrowedFd<'a>>,
    pub(crate) argv0: CString,
    /// What a trial must find refused.
    pub(crate) expect: Expected,
}

/// User ids that belong to nobody: a child's is `first + process id % count`, so that two children
/// alive at the same time differ without a table of ids in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IdRange {
    pub(crate) first: u32,
    pub(crate) count: u32,
}

/// A child that was started.
#[derive(Debug)]
pub(crate) struct Forked {
    pub(crate) pidfd: OwnedFd,
    pub(crate) pid: u32,
    pub(crate) uid: Option<u32>,
    status: UnixStream,
}

/// Why a child did not come as far as the program's first instruction.
#[derive(Debug)]
pub(crate) struct StartFailure {
    pub(crate) step: Step,
    /// What the kernel answered; `None` if it allowed what had to be refused.
    pub(crate) error: Option<io::Error>,
}

/// Starts a child. The calling thread must stay alive as long as the child shall live, and must
/// have blocked all signals ([`block_signals`]).
pub(crate) fn fork(plan: &Blueprint<'_>) -> io::Result<Forked> {
    let (status, child_status) = UnixStream::pair()?;
    status.set_read_timeout(Some(START_TIME))?;
    let limits: Vec<_> = plan
        .limits
        .iter()
        .map(|&(resource, value)| {
            (
                resource,
                libc::rlimit64 {
                    rlim_cur: value,
                    rlim_max: value,
                },
            )
        })
        .collect();
    let filters = plan.filters.iter().map(|filter| filter_program(filter));
    let filters = filters.collect::<io::Result<Vec<_>>>()?;
    let number = |fd: BorrowedFd<'_>| fd.as_raw_fd().cast_unsigned();
    let orders = Orders {
        null: number(plan.null),
        stdout: number(plan.stdout),
        stderr: number(plan.stderr),
        socket: number(plan.socket),
        program: plan.program.map(number),
        ruleset: plan.ruleset.map(number),
        status: child_status.as_raw_fd().cast_unsigned(),
        launcher_status: status.as_raw_fd().cast_unsigned(),
        argv0: &plan.argv0,
        id_maps: plan
            .child_id_maps
            .as_ref()
            .map(|(uid, gid)| (uid.as_c_str(), gid.as_c_str())),
        empty_root: plan.empty_root.as_deref(),
        limits: &limits,
        drop_capabilities: plan.drop_capabilities,
        last_capability: plan.last_capability,
        filters: &filters,
        expect: plan.expect,
        launcher_pid: std::process::id(),
    };
    let (pid, pidfd) = clone(plan.namespaces, &orders)?;
    drop(child_status);
    let uid = plan
        .own_ids
        .map(|range| range.first + pid % range.count.max(1));
    let forked = Forked {
        pidfd,
        pid,
        uid,
        status,
    };
    if let Err(error) = forked.give_orders(plan) {
        forked.discard();
        return Err(error);
    }
    Ok(forked)
}

impl Forked {
    fn give_orders(&self, plan: &Blueprint<'_>) -> io::Result<()> {
        let uid = self.uid.unwrap_or(0);
        if plan.launcher_writes_maps {
            let file = |name: &str| format!("/proc/{}/{name}", self.pid);
            for name in ["uid_map", "gid_map"] {
                let context = |error| io::Error::other(format!("writing its {name}: {error}"));
                std::fs::write(file(name), format!("{uid} {uid} 1")).map_err(context)?;
            }
        }
        let go = Go {
            switch: u32::from(self.uid.is_some()),
            uid,
            gid: uid,
        };
        let mut bytes = [0_u8; size_of::<Go>()];
        let words = [go.switch, go.uid, go.gid];
        for (place, word) in bytes.chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word.to_ne_bytes());
        }
        (&self.status).write_all(&bytes)
    }

    /// Waits until the child runs the program; a failure says at which step it ended.
    pub(crate) fn await_exec(&self) -> Result<(), StartFailure> {
        match self.last_word()? {
            None => Ok(()),
            Some(failure) => Err(failure),
        }
    }

    /// Waits until a trial is over.
    pub(crate) fn await_trial(&self) -> Result<(), StartFailure> {
        match self.last_word()? {
            Some(StartFailure {
                step: Step::TrialPassed,
                ..
            }) => Ok(()),
            Some(failure) => Err(failure),
            None => Err(StartFailure {
                step: Step::Orders,
                error: Some(io::Error::other(
                    "the trial was killed before it could report",
                )),
            }),
        }
    }

    /// What the child said before its end of the status socket closed.
    fn last_word(&self) -> Result<Option<StartFailure>, StartFailure> {
        let mut bytes = Vec::new();
        let limit = size_of::<Word>() as u64;
        (&self.status)
            .take(limit)
            .read_to_end(&mut bytes)
            .map_err(|error| StartFailure {
                step: Step::Orders,
                error: Some(match error.kind() {
                    io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
                    _ => error,
                }),
            })?;
        let (Some(step), Some(errno)) = (word_at(&bytes, 0), word_at(&bytes, 4)) else {
            return Ok(None);
        };
        let step = Step::from_number(step).unwrap_or(Step::Orders);
        let error = (errno != 0).then(|| io::Error::from_raw_os_error(errno.cast_signed()));
        Ok(Some(StartFailure { step, error }))
    }

    /// Kills and reaps the child.
    pub(crate) fn discard(self) {
        let _ = rustix::process::pidfd_send_signal(&self.pidfd, rustix::process::Signal::KILL);
        drop(reap(&self.pidfd, true));
    }
}

fn word_at(bytes: &[u8], offset: usize) -> Option<u32> {
    let word = bytes.get(offset..offset + 4)?;
    Some(u32::from_ne_bytes(word.try_into().ok()?))
}

/// Collects the status of an ended child; `None` if it still runs and `wait` is false.
pub(crate) fn reap(
    pidfd: &OwnedFd,
    wait: bool,
) -> io::Result<Option<rustix::process::WaitIdStatus>> {
    use std::os::fd::AsFd as _;

    use rustix::process::{WaitId, WaitIdOptions, waitid};
    // Before `exec` a child has no exit signal: only __WALL finds it.
    let wall = WaitIdOptions::from_bits_retain(libc::__WALL.cast_unsigned());
    let mut options = WaitIdOptions::EXITED | wall;
    if !wait {
        options |= WaitIdOptions::NOHANG;
    }
    loop {
        match waitid(WaitId::PidFd(pidfd.as_fd()), options) {
            Err(rustix::io::Errno::INTR) => {}
            result => return Ok(result?),
        }
    }
}

fn filter_program(filter: &[libc::sock_filter]) -> io::Result<libc::sock_fprog> {
    let len = filter
        .len()
        .try_into()
        .map_err(|_| io::Error::other("seccomp filter too long"))?;
    Ok(libc::sock_fprog {
        len,
        filter: filter.as_ptr().cast_mut(),
    })
}

/// Makes the child: (process id, pidfd).
fn clone(namespaces: c_int, orders: &Orders<'_>) -> io::Result<(u32, OwnedFd)> {
    let mut pidfd: c_int = -1;
    // No exit signal: whatever this process does about SIGCHLD, the status waits for us.
    let flags = (namespaces | libc::CLONE_PIDFD).cast_unsigned() as usize;
    // SAFETY: without CLONE_VM the child has a copy of all memory and goes on on this stack;
    // CLONE_PIDFD stores the descriptor through the third argument, in this process.
    let pid = unsafe {
        call(
            libc::SYS_clone,
            &[flags, 0, (&raw mut pidfd) as usize, 0, 0],
        )
    };
    let pid = pid.map_err(io::Error::from_raw_os_error)?;
    if pid == 0 {
        // SAFETY: this is the child: the only thread of a fresh process, with signals blocked and
        // the orders copied along.
        unsafe { run(orders) };
    }
    // SAFETY: the kernel has just made this descriptor for us.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok((u32::try_from(pid).unwrap_or(0), pidfd))
}

/// Blocks all signals for the calling thread, so that no handler of this process runs in a child.
pub(crate) fn block_signals() {
    // SAFETY: the set is initialised by sigfillset before it is used.
    unsafe {
        let mut set = std::mem::zeroed::<libc::sigset_t>();
        libc::sigfillset(&raw mut set);
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
    }
}

/// Makes sure that the kernel keeps the exit statuses of children until they are collected: a
/// process may have inherited that SIGCHLD is ignored, which throws them away.
pub(crate) fn keep_child_statuses() {
    // SAFETY: plain queries and a reset to the default action, with valid structures.
    unsafe {
        let mut action = std::mem::zeroed::<libc::sigaction>();
        if libc::sigaction(libc::SIGCHLD, std::ptr::null(), &raw mut action) != 0 {
            return;
        }
        let discards = action.sa_flags & libc::SA_NOCLDWAIT != 0;
        if action.sa_sigaction == libc::SIG_IGN || discards {
            action.sa_sigaction = libc::SIG_DFL;
            action.sa_flags = 0;
            libc::sigaction(libc::SIGCHLD, &raw const action, std::ptr::null_mut());
        }
    }
}

/// The version of Landlock that the running kernel offers.
pub(crate) fn landlock_abi() -> io::Result<u32> {
    // SAFETY: with a null attribute and LANDLOCK_CREATE_RULESET_VERSION this only asks.
    let answer = unsafe { call(libc::SYS_landlock_create_ruleset, &[0, 0, 1]) };
    let answer = answer.map_err(io::Error::from_raw_os_error)?;
    Ok(u32::try_from(answer).unwrap_or(u32::MAX))
}

/// Makes the kernel refuse descriptors sent by the peer of this Unix socket (Linux 6.16).
pub(crate) fn refuse_descriptors(socket: BorrowedFd<'_>) -> io::Result<()> {
    const SO_PASSRIGHTS: c_int = 83;
    let off: c_int = 0;
    // SAFETY: the value is valid for reads of the length given.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_PASSRIGHTS,
            (&raw const off).cast(),
            libc::socklen_t::try_from(size_of::<c_int>()).unwrap_or(0),
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
