//! Attempts to execute anything, the program itself included, and to undo what stops it.

use super::{COPY, COPY_CODE, Outcome, Probe, Refused, attempt, call, word};

const ANONYMOUS: i32 = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
/// Where the launcher's path lay when it executed this program.
const PATH_ADDRESS: usize = 0x1_0000;
const EMPTY_PATH: usize = 0x1000;

pub(super) const PROBES: &[Probe] = &[
    ("map the page of the launcher's exec", || {
        low_page(ANONYMOUS | libc::MAP_FIXED_NOREPLACE)
    }),
    ("suggest the page of the launcher's exec", || {
        low_page(ANONYMOUS)
    }),
    ("move memory to that page", || {
        let moved = MapGuard::new(0x10_0000_0000)?;
        let arguments = [moved.0, 4096, 4096, 3, PATH_ADDRESS];
        call(libc::SYS_mremap, &arguments)?;
        attempt(libc::SYS_munmap, &[PATH_ADDRESS, 4096])
    }),
    ("grow memory down to that page", || {
        let flags = ANONYMOUS | libc::MAP_GROWSDOWN | libc::MAP_FIXED_NOREPLACE;
        let arguments = [
            0x2_0000,
            4096,
            word(libc::PROT_READ),
            word(flags),
            usize::MAX,
            0,
        ];
        let mapped = call(libc::SYS_mmap, &arguments)?;
        attempt(libc::SYS_munmap, &[mapped, 4096])
    }),
    ("fill the address space", fill_address_space),
    ("exec /bin/true", || in_child(|| exec(c"/bin/true"))),
    ("exec itself", || in_child(|| exec(c"/proc/self/exe"))),
    ("exec by the launcher's descriptor", || {
        in_child(|| exec_at(1000, c"".as_ptr() as usize, EMPTY_PATH))
    }),
    (
        "exec an absolute path beside the launcher's descriptor",
        || in_child(|| exec_at(1000, c"/bin/true".as_ptr() as usize, EMPTY_PATH)),
    ),
    ("repeat the launcher's exec", || {
        in_child(|| exec_at(1000, PATH_ADDRESS, EMPTY_PATH))
    }),
    ("exec an inherited descriptor", || {
        in_child(|| {
            let each = |fd| exec_at(fd, c"".as_ptr() as usize, EMPTY_PATH);
            (0..256).map(each).next_back().unwrap_or(Ok(()))
        })
    }),
    ("exec a memory file", || {
        let file = call(libc::SYS_memfd_create, &[c"probe".as_ptr() as usize, 0])?;
        let program = std::fs::read("/bin/true").map_err(|_| Refused(0))?;
        let (at, length) = (program.as_ptr() as usize, program.len());
        call(libc::SYS_write, &[file, at, length])?;
        in_child(|| exec_at(file, c"".as_ptr() as usize, EMPTY_PATH))
    }),
];

fn low_page(flags: i32) -> Outcome {
    let arguments = [
        PATH_ADDRESS,
        4096,
        word(libc::PROT_READ),
        word(flags),
        usize::MAX,
        0,
    ];
    let mapped = call(libc::SYS_mmap, &arguments)?;
    call(libc::SYS_munmap, &[mapped, 4096])?;
    if mapped == PATH_ADDRESS {
        Ok(())
    } else {
        Err(Refused(0))
    }
}

struct MapGuard(usize);

impl MapGuard {
    fn new(address: usize) -> Result<Self, Refused> {
        let flags = word(ANONYMOUS);
        let arguments = [address, 4096, word(libc::PROT_READ), flags, usize::MAX, 0];
        call(libc::SYS_mmap, &arguments).map(Self)
    }
}

/// Without a limit of the address space, the kernel would in the end hand out the low addresses.
fn fill_address_space() -> Outcome {
    const BLOCK: usize = 1 << 30;
    let mut blocks = Vec::with_capacity(512);
    let reserve = word(ANONYMOUS | libc::MAP_NORESERVE);
    let outcome = loop {
        match call(libc::SYS_mmap, &[0, BLOCK, 0, reserve, usize::MAX, 0]) {
            Ok(_) if blocks.len() == 500 => break Ok(()),
            Ok(block) => blocks.push(block),
            Err(refusal) => break Err(refusal),
        }
    };
    for block in blocks {
        call(libc::SYS_munmap, &[block, BLOCK])?;
    }
    outcome
}

/// Where a child can be made, what would change this process for good is tried there; where not,
/// this very process tries, and its further lines are the proof that an `exec` failed.
pub(super) fn in_child(probe: impl Fn() -> Outcome) -> Outcome {
    let Ok(child) = call(libc::SYS_clone, &[word(libc::SIGCHLD)]) else {
        return probe();
    };
    if child == 0 {
        let code = match probe() {
            Ok(()) => 0,
            Err(Refused(errno)) => word(errno),
        };
        loop {
            drop(call(libc::SYS_exit_group, &[code]));
        }
    }
    let mut status = 0_i32;
    call(libc::SYS_wait4, &[child, (&raw mut status) as usize, 0, 0])?;
    match (status >> 8) & 0xff {
        0 | COPY_CODE => Ok(()),
        errno => Err(Refused(errno)),
    }
}

fn exec(path: &std::ffi::CStr) -> Outcome {
    let argv = [COPY.as_ptr(), std::ptr::null()];
    attempt(
        libc::SYS_execve,
        &[path.as_ptr() as usize, argv.as_ptr() as usize, 0],
    )
}

fn exec_at(descriptor: usize, path: usize, flags: usize) -> Outcome {
    let argv = [COPY.as_ptr(), std::ptr::null()];
    attempt(
        libc::SYS_execveat,
        &[descriptor, path, argv.as_ptr() as usize, 0, flags],
    )
}
