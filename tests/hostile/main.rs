//! A hostile program: it tries whatever a confined program must not be able to do.
//!
//! It needs no argument and no environment, says nothing on descriptor 3, prints one line per probe
//! (`ALLOWED <name>` or `refused <name> <errno>`), then a summary, and exits with 0 if everything
//! was refused, with 1 otherwise. Without the summary line an `exec` succeeded. Run unconfined it
//! harms nothing, and shows which probes the host itself permits.
#![allow(unsafe_code, reason = "its whole purpose is to make raw system calls")]
#![allow(clippy::print_stdout, reason = "its output is what is tested")]
#![allow(
    clippy::cast_possible_truncation,
    reason = "system call arguments are words"
)]

mod exec;
mod files;
mod machine;
mod network;
mod processes;

use std::process::ExitCode;

/// What a probe came to: `Ok` is an escape, the error is the kernel's refusal.
type Outcome = Result<(), Refused>;

/// The error number of a refusal.
#[derive(Debug)]
struct Refused(i32);

/// A named attempt.
type Probe = (&'static str, fn() -> Outcome);

/// The name under which this program executes a copy of itself, and the code of such a copy.
const COPY: &std::ffi::CStr = c"vat-hostile-copy";
const COPY_CODE: i32 = 77;

fn main() -> ExitCode {
    if std::env::args_os()
        .next()
        .is_some_and(|name| name.as_encoded_bytes() == COPY.to_bytes())
    {
        return ExitCode::from(COPY_CODE as u8);
    }
    // Exec comes last: where it works, this program is gone.
    let probes = files::PROBES
        .iter()
        .chain(network::PROBES)
        .chain(processes::PROBES)
        .chain(machine::PROBES)
        .chain(exec::PROBES);
    let (mut tried, mut escaped) = (0, 0);
    for (name, attempt) in probes {
        tried += 1;
        match attempt() {
            Ok(()) => {
                escaped += 1;
                println!("ALLOWED {name}");
            }
            Err(Refused(errno)) => println!("refused {name} {errno}"),
        }
    }
    println!("summary: {escaped} of {tried} attempts were allowed");
    if escaped == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Makes a system call. Pointers in the arguments come from live values of the caller.
fn call(number: libc::c_long, arguments: &[usize]) -> Result<usize, Refused> {
    let at = |index: usize| arguments.get(index).copied().unwrap_or(0);
    // SAFETY: every pointer passed is valid for what the call does with it, or null, or is refused
    // by the kernel with EFAULT.
    let result = unsafe { libc::syscall(number, at(0), at(1), at(2), at(3), at(4), at(5)) };
    if result == -1 {
        return Err(Refused(
            std::io::Error::last_os_error().raw_os_error().unwrap_or(0),
        ));
    }
    Ok(result.cast_unsigned() as usize)
}

/// A call that is an escape as soon as it succeeds.
fn attempt(number: libc::c_long, arguments: &[usize]) -> Outcome {
    call(number, arguments).map(drop)
}

/// A call that makes a descriptor, which is closed again.
fn open(number: libc::c_long, arguments: &[usize]) -> Outcome {
    let descriptor = call(number, arguments)?;
    attempt(libc::SYS_close, &[descriptor])
}

/// A signed constant as an argument.
const fn word(constant: i32) -> usize {
    constant as isize as usize
}

/// The current directory, for the `…at` calls.
const HERE: usize = word(libc::AT_FDCWD);

/// Another process: the parent, or what the kernel says is at the other end of descriptor 3, or
/// process 1 of this namespace.
fn other_process() -> usize {
    if let Ok(parent) = call(libc::SYS_getppid, &[]) {
        return parent;
    }
    let mut peer = [0_u32; 3];
    let mut length = 12_u32;
    let arguments = [
        3,
        word(libc::SOL_SOCKET),
        word(libc::SO_PEERCRED),
        peer.as_mut_ptr() as usize,
        (&raw mut length) as usize,
    ];
    match call(libc::SYS_getsockopt, &arguments) {
        Ok(_) if peer[0] != 0 => peer[0] as usize,
        _ => 1,
    }
}
