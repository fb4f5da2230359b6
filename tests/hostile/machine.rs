//! Attempts upon the kernel's larger surfaces: namespaces, memory, keys, tracing, `io_uring`.

use super::exec::in_child;
use super::{Outcome, Probe, Refused, attempt, call, open, word};

const ANONYMOUS: i32 = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
const EXECUTABLE: i32 = libc::PROT_READ | libc::PROT_EXEC;

pub(super) const PROBES: &[Probe] = &[
    ("map writable and executable memory", || {
        map(0, EXECUTABLE | libc::PROT_WRITE, ANONYMOUS)
    }),
    ("map executable memory", || map(0, EXECUTABLE, ANONYMOUS)),
    ("make memory executable", || protect(libc::SYS_mprotect)),
    ("make memory executable by key", || {
        protect(libc::SYS_pkey_mprotect)
    }),
    ("make every mapping executable", || {
        let read_implies_execute = 0x0040_0000;
        let outcome = call(libc::SYS_personality, &[read_implies_execute]);
        drop(call(libc::SYS_personality, &[outcome?]));
        Ok(())
    }),
    ("map memory that grows downwards", || {
        map(0, libc::PROT_READ, ANONYMOUS | libc::MAP_GROWSDOWN)
    }),
    ("make a memory file", || {
        open(libc::SYS_memfd_create, &[c"probe".as_ptr() as usize, 0])
    }),
    ("make secret memory", || open(libc::SYS_memfd_secret, &[0])),
    ("handle its own page faults", || {
        open(libc::SYS_userfaultfd, &[1])
    }),
    ("set up io_uring", || {
        let mut parameters = [0_u64; 15];
        open(
            libc::SYS_io_uring_setup,
            &[1, parameters.as_mut_ptr() as usize],
        )
    }),
    ("enter io_uring", || {
        match attempt(libc::SYS_io_uring_enter, &[1, 0, 0, 0, 0, 0]) {
            // The call is there, it only wants a ring: not refused.
            Err(Refused(libc::EOPNOTSUPP)) => Ok(()),
            outcome => outcome,
        }
    }),
    ("load a BPF program", || {
        // An array of one word: map type, key size, value size, entries.
        let mut attributes = [0_u32; 32];
        attributes[..4].copy_from_slice(&[2, 4, 4, 1]);
        open(libc::SYS_bpf, &[0, attributes.as_ptr() as usize, 128])
    }),
    ("count events", || {
        let mut attributes = [0_u32; 32];
        attributes[0] = 1; // software event
        attributes[1] = 128; // the structure's size
        attributes[10] = 0x61; // disabled, without kernel and hypervisor
        let own = 0;
        let any = word(-1);
        open(
            libc::SYS_perf_event_open,
            &[attributes.as_ptr() as usize, own, any, any, 0],
        )
    }),
    ("use the kernel's keys", || {
        attempt(libc::SYS_keyctl, &[0, word(-3), 1])
    }),
    ("add a key", || {
        let (kind, name) = (c"user".as_ptr() as usize, c"vat-hostile".as_ptr() as usize);
        attempt(libc::SYS_add_key, &[kind, name, name, 3, word(-1)])
    }),
    ("make shared memory", || {
        let segment = call(libc::SYS_shmget, &[0, 4096, 0o600])?;
        attempt(libc::SYS_shmctl, &[segment, 0, 0])
    }),
    ("make a message queue", || {
        let queue = call(libc::SYS_msgget, &[0, 0o600])?;
        attempt(libc::SYS_msgctl, &[queue, 0, 0])
    }),
    ("make a user namespace", || {
        in_child(|| attempt(libc::SYS_unshare, &[0x1000_0000]))
    }),
    ("make other namespaces", || {
        in_thread(|| attempt(libc::SYS_unshare, &[word(libc::CLONE_NEWUTS)]))
    }),
    ("start a process in a new namespace", || {
        let flags = word(libc::CLONE_NEWUSER | libc::SIGCHLD);
        match call(libc::SYS_clone, &[flags])? {
            0 => loop {
                drop(call(libc::SYS_exit_group, &[0]));
            },
            child => attempt(libc::SYS_wait4, &[child, 0, 0, 0]),
        }
    }),
    ("change the root", || {
        in_thread(|| {
            call(libc::SYS_unshare, &[word(libc::CLONE_FS)])?;
            attempt(libc::SYS_chroot, &[c"/".as_ptr() as usize])
        })
    }),
    ("mount a file system", || {
        open(libc::SYS_fsopen, &[c"tmpfs".as_ptr() as usize, 0])
    }),
    ("clone a mount", || {
        open(
            libc::SYS_open_tree,
            &[super::HERE, c"/".as_ptr() as usize, 1],
        )
    }),
    ("read the kernel's log", || {
        attempt(libc::SYS_syslog, &[10, 0, 0])
    }),
    ("ask about the machine", || {
        let mut names = [0_u8; 400];
        attempt(libc::SYS_uname, &[names.as_mut_ptr() as usize])
    }),
    ("learn the load of the machine", || {
        let mut information = [0_u64; 16];
        attempt(libc::SYS_sysinfo, &[information.as_mut_ptr() as usize])
    }),
    ("listen to its own filter", || {
        let instruction = [0x6_u16, 0, 0, 0x7fff];
        let program = [1_usize, instruction.as_ptr() as usize];
        let new_listener = 8;
        let arguments = [1, new_listener, program.as_ptr() as usize];
        in_thread(|| {
            drop(call(libc::SYS_prctl, &[38, 1]));
            open(libc::SYS_seccomp, &arguments)
        })
    }),
    #[cfg(target_arch = "x86_64")]
    ("read a segment table", || {
        let mut table = [0_u8; 64];
        attempt(
            libc::SYS_modify_ldt,
            &[0, table.as_mut_ptr() as usize, table.len()],
        )
    }),
    #[cfg(target_arch = "x86_64")]
    ("make a call of the other word size", || {
        attempt(0x4000_0000 | libc::SYS_getpid, &[])
    }),
];

fn map(address: usize, protection: i32, flags: i32) -> Outcome {
    let arguments = [address, 4096, word(protection), word(flags), usize::MAX, 0];
    let mapped = call(libc::SYS_mmap, &arguments)?;
    attempt(libc::SYS_munmap, &[mapped, 4096])
}

fn protect(number: libc::c_long) -> Outcome {
    let arguments = [
        0,
        4096,
        word(libc::PROT_READ),
        word(ANONYMOUS),
        usize::MAX,
        0,
    ];
    let mapped = call(libc::SYS_mmap, &arguments)?;
    let outcome = attempt(number, &[mapped, 4096, word(EXECUTABLE), usize::MAX]);
    call(libc::SYS_munmap, &[mapped, 4096])?;
    outcome
}

/// What changes a thread for good is tried in one of its own.
fn in_thread(probe: impl FnOnce() -> Outcome + Send) -> Outcome {
    std::thread::scope(|scope| scope.spawn(probe).join().unwrap_or(Err(Refused(0))))
}
