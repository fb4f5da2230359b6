//! The system call filter: what a confined program may ask of the kernel.
//!
//! Two filters are stacked. The first is the list of what is permitted, with conditions on
//! arguments; everything else fails with `ENOSYS`, as on a kernel that lacks the call, so that
//! libraries fall back. The second lets refusals that a program should not take for a missing
//! feature fail with `EPERM`; it can only refuse, so a gap in it opens nothing. The child adds a
//! third, because only it knows its process id: threads signal each other, and nobody else.

use std::collections::BTreeMap;
use std::io;

use libc::c_long;
use seccompiler::SeccompCmpArgLen::{Dword, Qword};
use seccompiler::SeccompCmpOp::{self, Eq, Ge, Le, Lt, MaskedEq, Ne};
use seccompiler::{BpfProgram, SeccompAction, SeccompCondition, SeccompFilter, SeccompRule};

use crate::sys::{EXEC_PATH_ADDRESS, LOW_LIMIT, PROGRAM_DESCRIPTOR};

/// A condition on one argument.
type Condition = (u8, Width, SeccompCmpOp, u64);
/// Alternatives of conditions that must hold together; none means unconditionally.
type Alternatives = Vec<Vec<Condition>>;

#[derive(Clone, Copy)]
enum Width {
    /// An `int` argument: the kernel looks at the lower half only, so the filter does too.
    Int,
    /// A pointer, a `long` or a `size_t`.
    Word,
}
use Width::{Int, Word};

/// The filters in the order of installation.
pub(super) fn programs() -> io::Result<Vec<Vec<libc::sock_filter>>> {
    let errno = |number: i32| SeccompAction::Errno(number.cast_unsigned());
    let allow = compile(permitted(), errno(libc::ENOSYS), SeccompAction::Allow)?;
    let refuse = compile(refused(), SeccompAction::Allow, errno(libc::EPERM))?;
    Ok(vec![allow, refuse])
}

fn compile(
    list: Vec<(c_long, Alternatives)>,
    otherwise: SeccompAction,
    on_match: SeccompAction,
) -> io::Result<Vec<libc::sock_filter>> {
    let mut rules = BTreeMap::new();
    for (call, alternatives) in list {
        let alternatives: Result<Vec<_>, _> = alternatives.into_iter().map(rule).collect();
        if rules
            .insert(call, alternatives.map_err(io::Error::other)?)
            .is_some()
        {
            return Err(io::Error::other(format!(
                "system call {call} is listed twice"
            )));
        }
    }
    let machine = std::env::consts::ARCH
        .try_into()
        .map_err(io::Error::other)?;
    let filter = SeccompFilter::new(rules, otherwise, on_match, machine);
    let program: BpfProgram = filter
        .and_then(TryInto::try_into)
        .map_err(io::Error::other)?;
    let instruction = |from: seccompiler::sock_filter| libc::sock_filter {
        code: from.code,
        jt: from.jt,
        jf: from.jf,
        k: from.k,
    };
    Ok(program.into_iter().map(instruction).collect())
}

fn rule(conditions: Vec<Condition>) -> Result<SeccompRule, seccompiler::BackendError> {
    let condition = |(index, width, operator, value)| {
        let width = match width {
            Int => Dword,
            Word => Qword,
        };
        SeccompCondition::new(index, width, operator, value)
    };
    SeccompRule::new(
        conditions
            .into_iter()
            .map(condition)
            .collect::<Result<_, _>>()?,
    )
}

/// Constants of the C headers are signed; the kernel and the filter see their bits.
fn bits(constant: i32) -> u64 {
    u64::from(constant.cast_unsigned())
}

/// The argument is one of these.
fn one_of(index: u8, width: Width, values: &[u64]) -> Alternatives {
    values
        .iter()
        .map(|&value| vec![(index, width, Eq, value)])
        .collect()
}

/// None of these bits is set in the argument.
fn without(index: u8, width: Width, mask: u64) -> Condition {
    (index, width, MaskedEq(mask), 0)
}

/// The level is this one and the option one of these.
fn options(level: i32, names: &[i32]) -> Alternatives {
    let both = |&name: &i32| vec![(1, Int, Eq, bits(level)), (2, Int, Eq, bits(name))];
    names.iter().map(both).collect()
}

const TCP_FAST_OPEN: u64 = 0x2000_0000;
const EXECUTABLE: u64 = 4;
const GROWS_DOWN: u64 = 0x100;
/// The last clock that is a plain clock; larger numbers name other processes' CPU time.
const LAST_CLOCK: u64 = 11;

fn permitted() -> Vec<(c_long, Alternatives)> {
    let mut list: Vec<(c_long, Alternatives)> = Vec::new();
    list.extend(UNCONDITIONAL.iter().map(|&call| (call, Vec::new())));
    list.extend(memory());
    list.extend(sockets());
    list.extend(threads_and_clocks());
    list.extend(descriptors());
    list.push((libc::SYS_execveat, exec_once()));
    list
}

/// Harmless whatever the arguments: they work on descriptors and memory the program has.
const UNCONDITIONAL: &[c_long] = &[
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_preadv,
    libc::SYS_pwritev,
    libc::SYS_close,
    libc::SYS_dup,
    libc::SYS_fstat,
    libc::SYS_lseek,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_ftruncate,
    libc::SYS_munmap,
    libc::SYS_brk,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    libc::SYS_sched_yield,
    libc::SYS_futex,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_set_tid_address,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_tgkill,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_eventfd2,
    libc::SYS_ppoll,
    libc::SYS_getrandom,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_shutdown,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_epoll_wait,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
];

fn memory() -> Vec<(c_long, Alternatives)> {
    // Nothing executable, nothing that grows downwards, nothing below the limit: see `exec_once`.
    let prot = without(2, Int, EXECUTABLE);
    let flags = without(3, Int, GROWS_DOWN);
    // The advice glibc, musl and the usual allocators give; 102 and 103 are guard pages.
    let mut advice = vec![vec![(2, Int, Le, 4)]];
    advice.extend(one_of(2, Int, &[8, 14, 15, 16, 17, 20, 22, 23, 102, 103]));
    vec![
        (
            libc::SYS_mmap,
            vec![
                vec![(0, Word, Eq, 0), prot.clone(), flags.clone()],
                vec![(0, Word, Ge, LOW_LIMIT as u64), prot.clone(), flags],
            ],
        ),
        (libc::SYS_mprotect, vec![vec![prot]]),
        // MREMAP_MAYMOVE at most: a new address cannot be chosen.
        (libc::SYS_mremap, vec![vec![without(3, Word, !1)]]),
        (libc::SYS_madvise, advice),
    ]
}

/// Options of the socket level that concern the program's own end only.
const SOCKET_OPTIONS: &[i32] = &[
    libc::SO_SNDBUF,
    libc::SO_RCVBUF,
    libc::SO_KEEPALIVE,
    libc::SO_LINGER,
    libc::SO_RCVTIMEO,
    libc::SO_SNDTIMEO,
];
const SOCKET_QUESTIONS: &[i32] = &[
    libc::SO_TYPE,
    libc::SO_ERROR,
    libc::SO_PEERCRED,
    libc::SO_ACCEPTCONN,
    libc::SO_PROTOCOL,
    libc::SO_DOMAIN,
];
const TCP_OPTIONS: &[i32] = &[
    libc::TCP_NODELAY,
    libc::TCP_CORK,
    libc::TCP_KEEPIDLE,
    libc::TCP_KEEPINTVL,
    libc::TCP_KEEPCNT,
    libc::TCP_QUICKACK,
    libc::TCP_USER_TIMEOUT,
    libc::TCP_NOTSENT_LOWAT,
];

fn sockets() -> Vec<(c_long, Alternatives)> {
    let mut set = options(libc::SOL_SOCKET, SOCKET_OPTIONS);
    set.extend(options(libc::IPPROTO_TCP, TCP_OPTIONS));
    let mut ask = set.clone();
    ask.extend(options(libc::SOL_SOCKET, SOCKET_QUESTIONS));
    ask.extend(options(libc::IPPROTO_TCP, &[libc::TCP_INFO]));
    // A datagram pair could send to any named socket of the host: streams only.
    let pair = vec![
        (0, Int, Eq, bits(libc::AF_UNIX)),
        (1, Int, MaskedEq(0xf), bits(libc::SOCK_STREAM)),
        (2, Int, Eq, 0),
    ];
    vec![
        (libc::SYS_sendto, vec![vec![without(3, Int, TCP_FAST_OPEN)]]),
        (
            libc::SYS_sendmsg,
            vec![vec![without(2, Int, TCP_FAST_OPEN)]],
        ),
        (
            libc::SYS_sendmmsg,
            vec![vec![without(3, Int, TCP_FAST_OPEN)]],
        ),
        (libc::SYS_setsockopt, set),
        (libc::SYS_getsockopt, ask),
        (libc::SYS_socketpair, vec![pair]),
    ]
}

/// What `clone` may not ask for, and the one flag it must: a new thread, nothing else.
fn thread_flags() -> (u64, u64) {
    let refused = libc::CLONE_PIDFD
        | libc::CLONE_PTRACE
        | libc::CLONE_VFORK
        | libc::CLONE_PARENT
        | libc::CLONE_UNTRACED
        | libc::CLONE_NEWNS
        | libc::CLONE_NEWCGROUP
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUSER
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWNET
        | libc::CLONE_IO;
    (bits(refused | libc::CLONE_THREAD), bits(libc::CLONE_THREAD))
}

fn threads_and_clocks() -> Vec<(c_long, Alternatives)> {
    let (mask, thread) = thread_flags();
    let plain_clock = vec![vec![(0, Int, Le, LAST_CLOCK)]];
    let mut control = one_of(0, Int, CONTROL_OPTIONS);
    control.push(vec![
        (0, Int, Eq, bits(libc::PR_SET_DUMPABLE)),
        (1, Word, Eq, 0),
    ]);
    vec![
        (
            libc::SYS_clone,
            vec![vec![(0, Word, MaskedEq(mask), thread)]],
        ),
        // Only one's own: asking for others would tell which processes exist.
        (libc::SYS_sched_getaffinity, one_of(0, Int, &[0])),
        (libc::SYS_clock_gettime, plain_clock.clone()),
        (libc::SYS_clock_getres, plain_clock.clone()),
        (libc::SYS_clock_nanosleep, plain_clock),
        (libc::SYS_prctl, control),
        // Asking for one's own limits; setting any is refused.
        (
            libc::SYS_prlimit64,
            vec![vec![(0, Int, Eq, 0), (2, Word, Eq, 0)]],
        ),
        // A program may tighten its own filter (the launcher's second filter needs it too).
        (
            libc::SYS_seccomp,
            vec![vec![
                (0, Int, Eq, u64::from(libc::SECCOMP_SET_MODE_FILTER)),
                (1, Int, Eq, 0),
            ]],
        ),
        #[cfg(target_arch = "x86_64")]
        // ARCH_SET_FS, ARCH_GET_FS: the thread pointer.
        (libc::SYS_arch_prctl, one_of(0, Int, &[0x1002, 0x1003])),
    ]
}

/// `PR_SET_NAME`, `PR_SET_VMA` (names for memory), `PR_SET_NO_NEW_PRIVS` (already set).
const CONTROL_OPTIONS: &[u64] = &[15, 0x5356_4d41, 38];

/// Commands that do not make the kernel signal others (`F_SETOWN`, `F_SETSIG`).
const DESCRIPTOR_COMMANDS: &[u64] = &[1, 2, 3, 4, 1030];

fn descriptors() -> Vec<(c_long, Alternatives)> {
    let pipe_flags = !bits(libc::O_CLOEXEC | libc::O_NONBLOCK);
    vec![
        // F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_DUPFD_CLOEXEC.
        (libc::SYS_fcntl, one_of(1, Int, DESCRIPTOR_COMMANDS)),
        // FIONBIO, FIOCLEX.
        (libc::SYS_ioctl, one_of(1, Int, &[0x5421, 0x5451])),
        (
            libc::SYS_pipe2,
            vec![vec![without(1, Int, pipe_flags & u64::from(u32::MAX))]],
        ),
    ]
}

/// The one `execveat` of the launcher: the sealed program by its descriptor, with an empty path
/// at an address that the program cannot map again.
///
/// Afterwards the descriptor's number is above the limit of open files, and the address below
/// every permitted mapping. Without the fixed address an absolute path would be executed.
fn exec_once() -> Alternatives {
    vec![vec![
        (0, Int, Eq, u64::from(PROGRAM_DESCRIPTOR)),
        (1, Word, Eq, EXEC_PATH_ADDRESS as u64),
        (4, Int, Eq, bits(libc::AT_EMPTY_PATH)),
    ]]
}

/// Refused with `EPERM`: whole calls, and what conditions above leave out.
fn refused() -> Vec<(c_long, Alternatives)> {
    let mut list: Vec<(c_long, Alternatives)> = Vec::new();
    list.extend(FORBIDDEN.iter().map(|&call| (call, Vec::new())));
    let executable = (2, Int, MaskedEq(EXECUTABLE), EXECUTABLE);
    let fast_open = |index| vec![vec![(index, Int, MaskedEq(TCP_FAST_OPEN), TCP_FAST_OPEN)]];
    let mapping = vec![
        vec![executable.clone()],
        vec![(3, Int, MaskedEq(GROWS_DOWN), GROWS_DOWN)],
        vec![(0, Word, Ne, 0), (0, Word, Lt, LOW_LIMIT as u64)],
    ];
    let thread = bits(libc::CLONE_THREAD);
    let not_among = |index, values: &[u64]| {
        vec![
            values
                .iter()
                .map(|&value| (index, Int, Ne, value))
                .collect(),
        ]
    };
    let mut control: Vec<u64> = CONTROL_OPTIONS.to_vec();
    control.push(bits(libc::PR_SET_DUMPABLE));
    list.extend([
        (libc::SYS_mmap, mapping),
        (libc::SYS_mprotect, vec![vec![executable]]),
        (libc::SYS_sendto, fast_open(3)),
        (libc::SYS_sendmsg, fast_open(2)),
        (libc::SYS_sendmmsg, fast_open(3)),
        (libc::SYS_clone, vec![vec![without(0, Word, thread)]]),
        (libc::SYS_fcntl, not_among(1, DESCRIPTOR_COMMANDS)),
        (libc::SYS_prctl, not_among(0, &control)),
        (libc::SYS_prlimit64, vec![vec![(2, Word, Ne, 0)]]),
        (
            libc::SYS_execveat,
            vec![vec![(0, Int, Ne, u64::from(PROGRAM_DESCRIPTOR))]],
        ),
    ]);
    list
}

const FORBIDDEN: &[c_long] = &[
    // Files by name.
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_newfstatat,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_readlinkat,
    libc::SYS_getdents64,
    libc::SYS_getcwd,
    libc::SYS_chdir,
    libc::SYS_fchdir,
    libc::SYS_mkdirat,
    libc::SYS_mknodat,
    libc::SYS_unlinkat,
    libc::SYS_linkat,
    libc::SYS_symlinkat,
    libc::SYS_renameat2,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_utimensat,
    libc::SYS_statfs,
    libc::SYS_fstatfs,
    libc::SYS_name_to_handle_at,
    libc::SYS_open_by_handle_at,
    libc::SYS_inotify_init1,
    libc::SYS_fanotify_init,
    // Sockets.
    libc::SYS_socket,
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept,
    libc::SYS_accept4,
    // Other programs and processes.
    libc::SYS_execve,
    libc::SYS_kill,
    libc::SYS_tkill,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pidfd_send_signal,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_kcmp,
    libc::SYS_wait4,
    libc::SYS_waitid,
    // The kernel's larger surfaces.
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_shmget,
    libc::SYS_msgget,
    libc::SYS_semget,
    libc::SYS_mq_open,
    libc::SYS_memfd_create,
    libc::SYS_memfd_secret,
    libc::SYS_pkey_mprotect,
    libc::SYS_remap_file_pages,
    // Namespaces, mounts, identity.
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_fsopen,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setgroups,
    libc::SYS_capset,
    libc::SYS_personality,
    libc::SYS_setsid,
    libc::SYS_setpgid,
    // Others' share of the machine, and its state.
    libc::SYS_setpriority,
    libc::SYS_sched_setaffinity,
    libc::SYS_sched_setscheduler,
    libc::SYS_sched_setattr,
    libc::SYS_ioprio_set,
    libc::SYS_setrlimit,
    libc::SYS_syslog,
    libc::SYS_reboot,
    libc::SYS_init_module,
    libc::SYS_kexec_load,
    libc::SYS_sethostname,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_open,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_creat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_stat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_lstat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_access,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_readlink,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_fork,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_vfork,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_modify_ldt,
];

#[cfg(test)]
mod tests {
    use super::*;

    /// The kernel takes 4096 instructions; twice the list is not a filter any more.
    #[test]
    fn the_filters_are_built_and_fit() {
        let filters = programs().unwrap();
        assert_eq!(filters.len(), 2);
        for filter in filters {
            assert!(
                (100..2000).contains(&filter.len()),
                "{} instructions",
                filter.len()
            );
        }
    }

    #[test]
    fn no_call_is_both_permitted_and_forbidden_as_a_whole() {
        for call in FORBIDDEN {
            assert!(
                permitted().iter().all(|(permitted, _)| permitted != call),
                "{call}"
            );
        }
    }

    #[test]
    fn a_call_listed_twice_is_an_error() {
        let list = vec![(libc::SYS_read, Vec::new()), (libc::SYS_read, Vec::new())];
        let allow = SeccompAction::Allow;
        assert!(compile(list, SeccompAction::KillProcess, allow).is_err());
    }
}
