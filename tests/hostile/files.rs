//! Attempts upon files: by name, by descriptor, by way of the process file system.

use super::{HERE, Outcome, Probe, Refused, attempt, call, open, word};

pub(super) const PROBES: &[Probe] = &[
    ("open /etc/passwd", || open_path(c"/etc/passwd")),
    ("open the root directory", || open_path(c"/")),
    ("open the working directory", || open_path(c".")),
    ("open a parent directory", || open_path(c"../../..")),
    ("open below descriptor 0", || {
        open(
            libc::SYS_openat,
            &[0, c"../etc/passwd".as_ptr() as usize, 0],
        )
    }),
    ("open /proc/self/exe", || open_path(c"/proc/self/exe")),
    ("open its own memory", || open_path(c"/proc/self/mem")),
    ("reopen descriptor 1", || open_path(c"/proc/self/fd/1")),
    ("open /dev/tty or a disk", || {
        open_path(c"/dev/tty").or_else(|_| open_path(c"/dev/vda"))
    }),
    ("open /dev/null", || open_path(c"/dev/null")),
    ("open with openat2", || {
        let how = [0_u64; 3];
        let path = c"/etc/passwd".as_ptr() as usize;
        open(libc::SYS_openat2, &[HERE, path, how.as_ptr() as usize, 24])
    }),
    #[cfg(target_arch = "x86_64")]
    ("open with the old call", || {
        open(libc::SYS_open, &[c"/etc/passwd".as_ptr() as usize, 0])
    }),
    ("open from a new thread", || {
        let thread = std::thread::Builder::new().spawn(|| open_path(c"/etc/passwd"));
        match thread.map(std::thread::JoinHandle::join) {
            Ok(Ok(outcome)) => outcome,
            _ => Err(Refused(0)),
        }
    }),
    ("stat /etc/shadow", || {
        let mut status = [0_u64; 64];
        let path = c"/etc/shadow".as_ptr() as usize;
        attempt(
            libc::SYS_newfstatat,
            &[HERE, path, status.as_mut_ptr() as usize, 0],
        )
    }),
    ("statx /etc/shadow", || {
        let mut status = [0_u64; 64];
        let path = c"/etc/shadow".as_ptr() as usize;
        attempt(
            libc::SYS_statx,
            &[HERE, path, 0, 0x7ff, status.as_mut_ptr() as usize],
        )
    }),
    ("access /etc/shadow", || {
        attempt(
            libc::SYS_faccessat,
            &[HERE, c"/etc/shadow".as_ptr() as usize, 0],
        )
    }),
    ("read the link /proc/self/exe", || {
        let mut target = [0_u8; 256];
        let path = c"/proc/self/exe".as_ptr() as usize;
        attempt(
            libc::SYS_readlinkat,
            &[HERE, path, target.as_mut_ptr() as usize, 256],
        )
    }),
    ("ask for the working directory", || {
        let mut path = [0_u8; 4096];
        attempt(libc::SYS_getcwd, &[path.as_mut_ptr() as usize, path.len()])
    }),
    ("create a file in /tmp", || {
        create(c"/tmp/vat-hostile-probe")
    }),
    ("create a file in the root", || {
        create(c"/vat-hostile-probe")
    }),
    ("create a file here", || create(c"vat-hostile-probe")),
    ("create an unnamed file", || {
        let flags = word(libc::O_TMPFILE | libc::O_RDWR);
        open(
            libc::SYS_openat,
            &[HERE, c"/tmp".as_ptr() as usize, flags, 0o600],
        )
    }),
    ("make a directory", || {
        let path = c"/tmp/vat-hostile-directory".as_ptr() as usize;
        attempt(libc::SYS_mkdirat, &[HERE, path, 0o700])?;
        attempt(libc::SYS_unlinkat, &[HERE, path, word(libc::AT_REMOVEDIR)])
    }),
    ("make a symbolic link", || {
        let path = c"/tmp/vat-hostile-link".as_ptr() as usize;
        attempt(libc::SYS_symlinkat, &[c"/".as_ptr() as usize, HERE, path])?;
        attempt(libc::SYS_unlinkat, &[HERE, path, 0])
    }),
    ("change the directory", || {
        attempt(libc::SYS_chdir, &[c".".as_ptr() as usize])
    }),
    ("watch a directory", || {
        let watcher = call(libc::SYS_inotify_init1, &[0])?;
        let path = c"/".as_ptr() as usize;
        let watched = attempt(libc::SYS_inotify_add_watch, &[watcher, path, 0x100]);
        attempt(libc::SYS_close, &[watcher])?;
        watched
    }),
    ("ask for a file handle", || {
        let mut handle = [128_u32, 0].repeat(40);
        let mut mount = 0_i32;
        let path = c"/etc/passwd".as_ptr() as usize;
        let into = handle.as_mut_ptr() as usize;
        let mount = (&raw mut mount) as usize;
        attempt(libc::SYS_name_to_handle_at, &[HERE, path, into, mount, 0])
    }),
    ("ask about the file system", || {
        let mut status = [0_u64; 64];
        let into = status.as_mut_ptr() as usize;
        attempt(libc::SYS_statfs, &[c"/".as_ptr() as usize, into])
    }),
    ("change a mode through descriptor 1", || {
        attempt(libc::SYS_fchmod, &[1, 0o600])
    }),
];

fn open_path(path: &std::ffi::CStr) -> Outcome {
    open(
        libc::SYS_openat,
        &[HERE, path.as_ptr() as usize, word(libc::O_RDONLY)],
    )
}

fn create(path: &std::ffi::CStr) -> Outcome {
    let flags = word(libc::O_CREAT | libc::O_WRONLY);
    open(
        libc::SYS_openat,
        &[HERE, path.as_ptr() as usize, flags, 0o600],
    )?;
    attempt(libc::SYS_unlinkat, &[HERE, path.as_ptr() as usize, 0])
}
