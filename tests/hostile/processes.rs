//! Attempts upon other processes, and to become or make another one.

use super::exec::in_child;
use super::{Outcome, Probe, Refused, attempt, call, open, other_process, word};

pub(super) const PROBES: &[Probe] = &[
    ("fork", || fork(libc::SYS_clone, &[word(libc::SIGCHLD)])),
    #[cfg(target_arch = "x86_64")]
    ("fork with the old call", || fork(libc::SYS_fork, &[])),
    ("fork with clone3", || {
        let arguments = [0_u64, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0];
        fork(
            libc::SYS_clone3,
            &[arguments.as_ptr() as usize, size_of_val(&arguments)],
        )
    }),
    ("learn the parent's process id", || {
        attempt(libc::SYS_getppid, &[])
    }),
    ("signal the launcher", || {
        attempt(libc::SYS_kill, &[other_process(), 0])
    }),
    ("signal every process", signal_all),
    ("learn which processes exist by signals", || {
        census(|process| attempt(libc::SYS_tgkill, &[process, process, 0]))
    }),
    ("learn which processes exist by processors", || {
        let mask = [0_u64; 128];
        let into = mask.as_ptr() as usize;
        census(|process| attempt(libc::SYS_sched_getaffinity, &[process, 1024, into]))
    }),
    ("learn which processes exist by limits", || {
        census(|process| attempt(libc::SYS_prlimit64, &[process, 7, 0, 0]))
    }),
    ("signal the launcher's threads", || {
        attempt(libc::SYS_tkill, &[other_process(), 0])
    }),
    ("queue a signal for the launcher", || {
        let mut information = [0_i32; 32];
        information[2] = -1; // SI_QUEUE
        let at = information.as_ptr() as usize;
        attempt(libc::SYS_rt_sigqueueinfo, &[other_process(), 0, at])
    }),
    ("let the kernel signal the launcher (F_SETOWN)", || {
        attempt(libc::SYS_fcntl, &[1, word(libc::F_SETOWN), other_process()])
    }),
    ("choose the signal (F_SETSIG)", || {
        attempt(libc::SYS_fcntl, &[1, 10, word(libc::SIGKILL)])
    }),
    ("let the kernel signal the launcher (FIOSETOWN)", || {
        let ends = socket_pair()?;
        let owner = other_process() as i32;
        attempt(
            libc::SYS_ioctl,
            &[ends, 0x8901, (&raw const owner) as usize],
        )
    }),
    ("push a character into a terminal (TIOCSTI)", || {
        attempt(libc::SYS_ioctl, &[0, 0x5412, c"x".as_ptr() as usize])
    }),
    ("trace another process", || {
        let victim = call(libc::SYS_clone, &[word(libc::SIGCHLD)]);
        if let Ok(0) = victim {
            std::thread::sleep(std::time::Duration::from_secs(1));
            end_process();
        }
        const SEIZE: usize = 0x4206;
        let process = victim.unwrap_or_else(|_| other_process());
        attempt(libc::SYS_ptrace, &[SEIZE, process, 0, 0])
    }),
    ("ask to be traced", || {
        in_child(|| attempt(libc::SYS_ptrace, &[0, 0, 0, 0]))
    }),
    ("read another process's memory", || {
        memory(libc::SYS_process_vm_readv)
    }),
    ("write another process's memory", || {
        memory(libc::SYS_process_vm_writev)
    }),
    ("open a process descriptor", || {
        open(libc::SYS_pidfd_open, &[other_process(), 0])
    }),
    ("take another process's descriptor", || {
        let process = call(libc::SYS_pidfd_open, &[other_process(), 0])?;
        open(libc::SYS_pidfd_getfd, &[process, 0, 0])
    }),
    ("read another process's CPU clock", || {
        let mut time = [0_u64; 2];
        let clock = (!other_process() << 3) | 2;
        attempt(
            libc::SYS_clock_gettime,
            &[clock, time.as_mut_ptr() as usize],
        )
    }),
    ("outlive the launcher", || {
        control(libc::PR_SET_PDEATHSIG, 0)
    }),
    ("become dumpable", || control(libc::PR_SET_DUMPABLE, 1)),
    ("adopt orphans", || control(libc::PR_SET_CHILD_SUBREAPER, 1)),
    ("raise its limit of open files", || {
        let limit = [1_u64 << 12, 1 << 12];
        let resource = libc::RLIMIT_NOFILE as usize;
        attempt(
            libc::SYS_prlimit64,
            &[0, resource, limit.as_ptr() as usize, 0],
        )
    }),
    ("read another process's limits", || {
        let mut limit = [0_u64; 2];
        let resource = libc::RLIMIT_NOFILE as usize;
        let into = limit.as_mut_ptr() as usize;
        attempt(libc::SYS_prlimit64, &[other_process(), resource, 0, into])
    }),
    ("make descriptor 1000", || {
        let outcome = attempt(libc::SYS_dup3, &[1, 1000, 0]);
        outcome.or_else(|_| open(libc::SYS_fcntl, &[1, word(libc::F_DUPFD_CLOEXEC), 1000]))
    }),
    ("set its priority", || {
        attempt(libc::SYS_setpriority, &[0, 0, 0])
    }),
    ("choose its processor", || {
        let mask = [1_u64];
        attempt(libc::SYS_sched_setaffinity, &[0, 8, mask.as_ptr() as usize])
    }),
    ("set its user", || {
        let uid = call(libc::SYS_getuid, &[])?;
        attempt(libc::SYS_setresuid, &[uid, uid, uid])
    }),
    ("set its groups", || attempt(libc::SYS_setgroups, &[0, 0])),
    ("start a session", || {
        attempt(libc::SYS_setsid, &[]).or_else(|_| attempt(libc::SYS_setpgid, &[0, 0]))
    }),
];

/// Forks by the given call; a child ends at once.
fn fork(number: libc::c_long, arguments: &[usize]) -> Outcome {
    match call(number, arguments)? {
        0 => end_process(),
        child => {
            drop(call(libc::SYS_wait4, &[child, 0, 0, 0]));
            Ok(())
        }
    }
}

fn end_process() -> ! {
    loop {
        drop(call(libc::SYS_exit_group, &[0]));
    }
}

/// Numbers of processes that may exist beside this one.
fn others() -> impl Iterator<Item = usize> {
    let own = call(libc::SYS_getpid, &[]).unwrap_or(0);
    let parent = call(libc::SYS_getppid, &[]).unwrap_or(1);
    (1..1 << 16)
        .chain([parent])
        .filter(move |&process| process != own)
}

/// `tgkill` is permitted, for threads need it: no number but the own may answer to it.
fn signal_all() -> Outcome {
    let mut refusal = Refused(0);
    for process in others() {
        match attempt(libc::SYS_tgkill, &[process, process, 0]) {
            Ok(()) => return Ok(()),
            Err(refused) => refusal = refused,
        }
    }
    Err(refusal)
}

/// A process that is there must not answer otherwise than one that is not.
fn census(question: impl Fn(usize) -> Outcome) -> Outcome {
    let mut answers = others().map(|process| question(process).err().map_or(0, |error| error.0));
    let first = answers.next().unwrap_or(0);
    if answers.all(|answer| answer == first) {
        Err(Refused(first))
    } else {
        Ok(())
    }
}

fn memory(number: libc::c_long) -> Outcome {
    let mut here = 1_u64;
    let part = [(&raw mut here) as usize, 8];
    let at = part.as_ptr() as usize;
    let own = call(libc::SYS_getpid, &[])?;
    // The own process is as good: the call is not for a confined program at all.
    attempt(number, &[own, at, 1, at, 1, 0])
}

fn control(option: i32, value: usize) -> Outcome {
    attempt(libc::SYS_prctl, &[word(option), value])
}

fn socket_pair() -> Result<usize, Refused> {
    let mut ends = [0_i32; 2];
    let arguments = [
        word(libc::AF_UNIX),
        word(libc::SOCK_STREAM),
        0,
        ends.as_mut_ptr() as usize,
    ];
    call(libc::SYS_socketpair, &arguments)?;
    Ok(word(ends[0]))
}
