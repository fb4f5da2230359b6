//! What a confined child does between `clone` and `exec`.
//!
//! It runs in a copy of a process with several threads, of which only this one was copied: locks
//! may be held for ever, so nothing here allocates, locks, panics or touches the C library's state.
//! Everything it needs was prepared before the fork and is read through the [`Orders`].

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "numbers and flags of the kernel fit their words"
)]

use std::ffi::CStr;

use libc::c_long;

use super::raw::{Errno, call};
use super::step::Step;
use super::trial::{probe_calls, probe_world};

/// The descriptor of the sealed program at the time of `exec`. It lies above the limit of open
/// files that the program starts with, so that no descriptor can have this number again.
pub(crate) const PROGRAM_DESCRIPTOR: u32 = 1000;
const STATUS_DESCRIPTOR: u32 = 1001;
const RULESET_DESCRIPTOR: u32 = 1002;
/// Copies made while arranging descriptors have at least this number.
const ARRANGING_DESCRIPTOR: u32 = 1010;
/// Where the empty path of the one permitted `execveat` lies. The filter requires this address,
/// `exec` takes the page away, and the filter never lets a page be mapped there again.
pub(crate) const EXEC_PATH_ADDRESS: usize = 0x1_0000;
/// No mapping may be asked for below this address.
pub(crate) const LOW_LIMIT: usize = 0x2_0000;

/// Everything a child needs, prepared before the fork.
pub(super) struct Orders<'a> {
    pub(super) null: u32,
    pub(super) stdout: u32,
    pub(super) stderr: u32,
    pub(super) socket: u32,
    /// Without a program this is a trial: the child probes its confinement, reports and exits.
    pub(super) program: Option<u32>,
    pub(super) ruleset: Option<u32>,
    pub(super) status: u32,
    /// The launcher's end of the status socket, of which the child holds a copy to be closed.
    pub(super) launcher_status: u32,
    pub(super) argv0: &'a CStr,
    /// Own id maps to write: (uid map, gid map).
    pub(super) id_maps: Option<(&'a CStr, &'a CStr)>,
    /// The directory over which the empty root is mounted.
    pub(super) empty_root: Option<&'a CStr>,
    pub(super) limits: &'a [(u32, libc::rlimit64)],
    pub(super) drop_capabilities: bool,
    pub(super) last_capability: u32,
    pub(super) filters: &'a [libc::sock_fprog],
    pub(super) expect: Expected,
    /// A process outside, to be probed for whether it can be signalled.
    pub(super) launcher_pid: u32,
}

/// What a trial must find refused before seccomp refuses it anyway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Expected {
    pub(crate) no_files: bool,
    pub(crate) no_network: bool,
    pub(crate) no_signals: bool,
}

/// What the launcher says once the child exists: the ids to switch to, if any.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(super) struct Go {
    pub(super) switch: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
}

/// What the child says when a step fails, or when a trial passes.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(super) struct Word {
    pub(super) step: u32,
    pub(super) errno: Errno,
}

/// A step that failed, and what the kernel answered (0 if it allowed what it must refuse).
pub(super) type Done = Result<(), (Step, Errno)>;

/// Confines the calling process as ordered and executes the program. Never returns.
///
/// # Safety
///
/// The caller is the only thread of a process freshly made by `clone` without `CLONE_VM`, with all
/// signals blocked. The orders' descriptors are open.
pub(super) unsafe fn run(orders: &Orders<'_>) -> ! {
    let mut status = orders.status;
    // SAFETY: passed on from the caller.
    let word = match unsafe { confine_and_exec(orders, &mut status) } {
        Ok(()) => Word {
            step: Step::TrialPassed as u32,
            errno: 0,
        },
        Err((step, errno)) => Word {
            step: step as u32,
            errno,
        },
    };
    // SAFETY: `word` is valid for reads of its size, and exiting ends this copy of the process.
    unsafe {
        let _ = call(
            libc::SYS_write,
            &[
                status as usize,
                (&raw const word) as usize,
                size_of::<Word>(),
            ],
        );
        loop {
            let _ = call(libc::SYS_exit_group, &[127]);
        }
    }
}

unsafe fn confine_and_exec(orders: &Orders<'_>, status: &mut u32) -> Done {
    // SAFETY: the steps run in a process of our own whose memory nobody else uses; every pointer
    // is into the orders or this stack.
    unsafe {
        let go = await_orders(orders)?;
        step(Step::Session, libc::SYS_setsid, &[])?;
        arrange_descriptors(orders)?;
        *status = STATUS_DESCRIPTOR;
        write_id_maps(orders)?;
        enter_empty_root(orders)?;
        for (resource, limit) in orders.limits {
            let limit = (&raw const *limit) as usize;
            step(
                Step::Limits,
                libc::SYS_prlimit64,
                &[0, *resource as usize, limit, 0],
            )?;
        }
        give_up_ids(orders, go)?;
        tie_life_to_launcher()?;
        prctl(Step::NoNewPrivileges, libc::PR_SET_NO_NEW_PRIVS, 1)?;
        if orders.ruleset.is_some() {
            let ruleset = RULESET_DESCRIPTOR as usize;
            step(
                Step::Landlock,
                libc::SYS_landlock_restrict_self,
                &[ruleset, 0],
            )?;
        }
        map_exec_page()?;
        reset_signals()?;
        let trial = orders.program.is_none();
        if trial {
            probe_world(orders)?;
        }
        for filter in orders.filters {
            install_filter(filter)?;
        }
        if !orders.filters.is_empty() {
            confine_signals()?;
        }
        if trial {
            return probe_calls(orders);
        }
        let argv = [orders.argv0.as_ptr(), std::ptr::null()];
        let envp = [std::ptr::null::<libc::c_char>()];
        let empty_path = libc::AT_EMPTY_PATH.cast_unsigned() as usize;
        step(
            Step::Exec,
            libc::SYS_execveat,
            &[
                PROGRAM_DESCRIPTOR as usize,
                EXEC_PATH_ADDRESS,
                argv.as_ptr() as usize,
                envp.as_ptr() as usize,
                empty_path,
            ],
        )
    }
}

unsafe fn step(at: Step, number: c_long, arguments: &[usize]) -> Done {
    // SAFETY: the caller's promise is the same as `call`'s.
    match unsafe { call(number, arguments) } {
        Ok(_) => Ok(()),
        Err(errno) => Err((at, errno)),
    }
}

unsafe fn prctl(at: Step, option: libc::c_int, value: usize) -> Done {
    // SAFETY: the caller's promise is the same as `call`'s.
    unsafe {
        step(
            at,
            libc::SYS_prctl,
            &[option.cast_unsigned() as usize, value],
        )
    }
}

/// Waits for the launcher's word. If the launcher dies first, the socket ends and so do we.
unsafe fn await_orders(orders: &Orders<'_>) -> Result<Go, (Step, Errno)> {
    let kill = libc::SIGKILL.cast_unsigned() as usize;
    let mut go = Go::default();
    // SAFETY: closing the launcher's end closes only this process's copy, which nobody uses; `go`
    // is valid for writes of its size and may hold any bytes.
    let got = unsafe {
        prctl(Step::DeathSignal, libc::PR_SET_PDEATHSIG, kill)?;
        step(
            Step::Orders,
            libc::SYS_close,
            &[orders.launcher_status as usize],
        )?;
        let into = (&raw mut go) as usize;
        call(
            libc::SYS_read,
            &[orders.status as usize, into, size_of::<Go>()],
        )
    };
    match got {
        Ok(length) if length == size_of::<Go>() => Ok(go),
        Ok(_) => Err((Step::Orders, libc::EPIPE)),
        Err(errno) => Err((Step::Orders, errno)),
    }
}

/// Puts every descriptor in its place and closes all others.
unsafe fn arrange_descriptors(orders: &Orders<'_>) -> Done {
    let at = Step::Descriptors;
    let wanted = [
        (Some(orders.null), 0, false),
        (Some(orders.stdout), 1, false),
        (Some(orders.stderr), 2, false),
        (Some(orders.socket), 3, false),
        (orders.program, PROGRAM_DESCRIPTOR, true),
        (Some(orders.status), STATUS_DESCRIPTOR, true),
        (orders.ruleset, RULESET_DESCRIPTOR, true),
    ];
    let mut copies = [None; 7];
    // SAFETY: this process's descriptors belong to nobody else; the launcher's are untouched by
    // what is done to the copies in this table.
    unsafe {
        raise_open_files()?;
        let duplicate = libc::F_DUPFD_CLOEXEC.cast_unsigned() as usize;
        for (copy, (source, _, _)) in copies.iter_mut().zip(wanted) {
            if let Some(source) = source {
                let above = ARRANGING_DESCRIPTOR as usize;
                let number = call(libc::SYS_fcntl, &[source as usize, duplicate, above])
                    .map_err(|errno| (at, errno))?;
                *copy = Some(number);
            }
        }
        for (copy, (_, place, close_on_exec)) in copies.into_iter().zip(wanted) {
            if let Some(copy) = copy {
                let flags = if close_on_exec {
                    libc::O_CLOEXEC.cast_unsigned()
                } else {
                    0
                };
                step(at, libc::SYS_dup3, &[copy, place as usize, flags as usize])?;
            }
        }
        step(
            at,
            libc::SYS_close_range,
            &[4, (PROGRAM_DESCRIPTOR - 1) as usize, 0],
        )?;
        if orders.program.is_none() {
            let _ = call(libc::SYS_close, &[PROGRAM_DESCRIPTOR as usize]);
        }
        if orders.ruleset.is_none() {
            let _ = call(libc::SYS_close, &[RULESET_DESCRIPTOR as usize]);
        }
        let last = u32::MAX as usize;
        step(
            at,
            libc::SYS_close_range,
            &[(RULESET_DESCRIPTOR + 1) as usize, last, 0],
        )
    }
}

/// The soft limit of open files may be below the numbers we arrange with.
unsafe fn raise_open_files() -> Done {
    let at = Step::Descriptors;
    let resource = libc::RLIMIT_NOFILE as usize;
    let mut limit = libc::rlimit64 {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is valid for the kernel to read and write.
    unsafe {
        step(
            at,
            libc::SYS_prlimit64,
            &[0, resource, 0, (&raw mut limit) as usize],
        )?;
        limit.rlim_cur = limit.rlim_max;
        step(
            at,
            libc::SYS_prlimit64,
            &[0, resource, (&raw const limit) as usize, 0],
        )
    }
}

/// Maps the ids of an own user namespace: only this one user exists in it.
unsafe fn write_id_maps(orders: &Orders<'_>) -> Done {
    let Some((uid_map, gid_map)) = orders.id_maps else {
        return Ok(());
    };
    // SAFETY: the paths and contents are C strings that outlive the calls.
    unsafe {
        // A process that is not dumpable could not open its own files below /proc.
        prctl(Step::IdMaps, libc::PR_SET_DUMPABLE, 1)?;
        write_file(c"/proc/self/setgroups", c"deny")?;
        write_file(c"/proc/self/uid_map", uid_map)?;
        write_file(c"/proc/self/gid_map", gid_map)
    }
}

unsafe fn write_file(path: &CStr, content: &CStr) -> Done {
    let at = Step::IdMaps;
    let here = libc::AT_FDCWD.cast_unsigned() as usize;
    let flags = (libc::O_WRONLY | libc::O_CLOEXEC).cast_unsigned() as usize;
    // SAFETY: both strings are valid for reads; the descriptor is our own.
    unsafe {
        let file = call(libc::SYS_openat, &[here, path.as_ptr() as usize, flags, 0])
            .map_err(|errno| (at, errno))?;
        let bytes = content.to_bytes();
        step(
            at,
            libc::SYS_write,
            &[file, bytes.as_ptr() as usize, bytes.len()],
        )?;
        step(at, libc::SYS_close, &[file])
    }
}

/// Makes an empty read-only file system the root, and detaches the host's.
unsafe fn enter_empty_root(orders: &Orders<'_>) -> Done {
    let Some(over) = orders.empty_root else {
        return Ok(());
    };
    let over = over.as_ptr() as usize;
    let private = (libc::MS_REC | libc::MS_PRIVATE) as usize;
    let flags = libc::MS_RDONLY | libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
    let tmpfs = c"tmpfs".as_ptr() as usize;
    let options = c"mode=555,size=4k,nr_inodes=1".as_ptr() as usize;
    let dot = c".".as_ptr() as usize;
    let root = c"/".as_ptr() as usize;
    let detach = libc::MNT_DETACH.cast_unsigned() as usize;
    // SAFETY: all pointers are C strings; this process has a mount namespace of its own.
    unsafe {
        step(
            Step::PrivateMounts,
            libc::SYS_mount,
            &[0, root, 0, private, 0],
        )?;
        let mount = [tmpfs, over, tmpfs, flags as usize, options];
        step(Step::EmptyRootMount, libc::SYS_mount, &mount)?;
        step(Step::EmptyRootMount, libc::SYS_chdir, &[over])?;
        step(Step::EmptyRootPivot, libc::SYS_pivot_root, &[dot, dot])?;
        step(Step::EmptyRootDetach, libc::SYS_umount2, &[dot, detach])?;
        step(Step::EmptyRootDetach, libc::SYS_chdir, &[root])
    }
}

/// Gives up user, groups and capabilities, so that `exec` cannot bring any back.
unsafe fn give_up_ids(orders: &Orders<'_>, go: Go) -> Done {
    let (uid, gid) = (go.uid as usize, go.gid as usize);
    // SAFETY: the raw calls change this thread alone, and it is the only one; the capability
    // structures are valid for reads.
    unsafe {
        if orders.drop_capabilities {
            for capability in 0..=orders.last_capability {
                let arguments = [libc::PR_CAPBSET_DROP as usize, capability as usize];
                step(Step::BoundingSet, libc::SYS_prctl, &arguments)?;
            }
        }
        if go.switch == 1 {
            step(Step::SwitchIds, libc::SYS_setgroups, &[0, 0])?;
            step(Step::SwitchIds, libc::SYS_setresgid, &[gid, gid, gid])?;
            step(Step::SwitchIds, libc::SYS_setresuid, &[uid, uid, uid])?;
        }
        if orders.drop_capabilities {
            let clear = libc::PR_CAP_AMBIENT_CLEAR_ALL as usize;
            let _ = prctl(Step::DropCapabilities, libc::PR_CAP_AMBIENT, clear);
        }
        // _LINUX_CAPABILITY_VERSION_3, this thread; then three sets of two words, all empty.
        let header = [0x2008_0522_u32, 0];
        let nothing = [0_u32; 6];
        let arguments = [header.as_ptr() as usize, nothing.as_ptr() as usize];
        step(Step::DropCapabilities, libc::SYS_capset, &arguments)
    }
}

/// A change of ids clears the death signal: it is set again, and if the launcher died in between,
/// its end of the status socket is closed by now.
unsafe fn tie_life_to_launcher() -> Done {
    let kill = libc::SIGKILL.cast_unsigned() as usize;
    let mut byte = 0_u8;
    let flags = (libc::MSG_DONTWAIT | libc::MSG_PEEK).cast_unsigned() as usize;
    // SAFETY: `byte` is valid for one byte written.
    unsafe {
        prctl(Step::DeathSignal, libc::PR_SET_PDEATHSIG, kill)?;
        let into = (&raw mut byte) as usize;
        match call(
            libc::SYS_recvfrom,
            &[STATUS_DESCRIPTOR as usize, into, 1, flags],
        ) {
            Ok(0) => Err((Step::DeathSignal, libc::EPIPE)),
            _ => Ok(()),
        }
    }
}

unsafe fn map_exec_page() -> Done {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
    let arguments = [
        EXEC_PATH_ADDRESS,
        4096,
        libc::PROT_READ.cast_unsigned() as usize,
        flags.cast_unsigned() as usize,
        usize::MAX,
        0,
    ];
    // SAFETY: the mapping replaces nothing (NOREPLACE) and holds zeroes: an empty path.
    unsafe { step(Step::ExecPage, libc::SYS_mmap, &arguments) }
}

unsafe fn install_filter(filter: &libc::sock_fprog) -> Done {
    let mode = libc::SECCOMP_SET_MODE_FILTER as usize;
    let filter = (&raw const *filter) as usize;
    // SAFETY: the filter's instructions outlive the call, which copies them.
    unsafe { step(Step::Seccomp, libc::SYS_seccomp, &[mode, 0, filter]) }
}

/// Threads signal each other with `tgkill`. Its first argument has to be this very process, which
/// only this process can know; otherwise the answer would tell which processes exist.
unsafe fn confine_signals() -> Done {
    const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
    const IF_EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
    const RETURN: u16 = 0x06; // BPF_RET | BPF_K
    const NUMBER: u32 = 0; // offsets in `struct seccomp_data`
    const FIRST_ARGUMENT: u32 = 16;
    let line = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    // SAFETY: no argument; then a filter on this stack.
    unsafe {
        let own = call(libc::SYS_getpid, &[]).map_err(|errno| (Step::Seccomp, errno))?;
        let refusal = libc::SECCOMP_RET_ERRNO | libc::EPERM.cast_unsigned();
        let mut program = [
            line(LOAD, 0, 0, NUMBER),
            line(IF_EQUAL, 0, 2, libc::SYS_tgkill as u32),
            line(LOAD, 0, 0, FIRST_ARGUMENT),
            line(IF_EQUAL, 0, 1, own as u32),
            line(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
            line(RETURN, 0, 0, refusal),
        ];
        let len = program.len() as libc::c_ushort;
        install_filter(&libc::sock_fprog {
            len,
            filter: program.as_mut_ptr(),
        })
    }
}

/// The kernel's form of a signal action, all default.
#[repr(C)]
struct DefaultAction {
    words: [usize; 4],
}

/// Handlers become default by `exec`, but ignored signals would stay ignored, and the mask stays.
unsafe fn reset_signals() -> Done {
    let action = DefaultAction { words: [0; 4] };
    let unblock = [0_u64; 1];
    // SAFETY: `action` and `unblock` have the sizes the kernel reads: handler, flags, restorer and
    // a mask of eight bytes each.
    unsafe {
        for signal in 1..=64_usize {
            // KILL and STOP have no action to set.
            let arguments = [signal, (&raw const action) as usize, 0, 8];
            let _ = call(libc::SYS_rt_sigaction, &arguments);
        }
        let set = libc::SIG_SETMASK.cast_unsigned() as usize;
        let arguments = [set, unblock.as_ptr() as usize, 0, 8];
        step(Step::Signals, libc::SYS_rt_sigprocmask, &arguments)
    }
}
