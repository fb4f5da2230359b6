//! A launcher in the background: started by a command that waits until it is ready, then alone.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Command, Stdio};

use rustix::pipe::{PipeFlags, pipe_with};

use crate::command_error::{CommandError, Kind};

/// Starts this program again with these arguments, in the background, and waits until it says that
/// it is ready, or ends. It shares our output until then: what it says is said here.
///
/// The pipe on which it reports is its standard input.
pub(crate) fn start(arguments: &[String]) -> Result<(), CommandError> {
    let fail = |error: std::io::Error| {
        CommandError::new(
            Kind::LauncherFailed,
            format!("the launcher cannot be started: {error}"),
        )
    };
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).map_err(|errno| fail(errno.into()))?;
    let program = std::env::current_exe().map_err(fail)?;
    let mut child = Command::new(program)
        .arg0("vat")
        .args(arguments)
        .stdin(Stdio::from(writer))
        .spawn()
        .map_err(fail)?;
    let mut report = Vec::new();
    File::from(reader)
        .take(1)
        .read_to_end(&mut report)
        .map_err(fail)?;
    if !report.is_empty() {
        return Ok(());
    }
    // It ended, and has said why.
    let status = child.wait().map_err(fail)?;
    let kind = status.code().and_then(|code| {
        Kind::ALL
            .into_iter()
            .find(|kind| i32::from(kind.exit_code()) == code)
    });
    match (kind, status.signal()) {
        (Some(kind), _) => Err(CommandError::said(kind)),
        (None, Some(signal)) => Err(CommandError::new(
            Kind::LauncherFailed,
            format!("the launcher was ended by signal {signal} before it was ready"),
        )),
        (None, None) => Err(CommandError::new(
            Kind::LauncherFailed,
            format!("the launcher ended before it was ready: {status}"),
        )),
    }
}

/// Who waits for us to be ready.
#[derive(Debug)]
pub(crate) struct Waiting(File);

impl Waiting {
    /// Takes the pipe from the standard input.
    pub(crate) fn take() -> Result<Self, CommandError> {
        let pipe = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3).map_err(lost)?;
        rustix::stdio::dup2_stdin(null()?).map_err(lost)?;
        Ok(Self(File::from(pipe)))
    }

    /// From now on no terminal, no Ctrl-C and no closed window reaches this process.
    pub(crate) fn leave_session() {
        // It fails for the leader of a group of processes, which has a session of its own already.
        let _ = rustix::process::setsid();
    }

    /// Lets go of the shared output, and lets the command that waits end. Whether it still did.
    pub(crate) fn ready(mut self) -> Result<bool, CommandError> {
        rustix::stdio::dup2_stdout(null()?).map_err(lost)?;
        rustix::stdio::dup2_stderr(null()?).map_err(lost)?;
        // No directory is kept from being unmounted.
        rustix::process::chdir("/").map_err(lost)?;
        Ok(self.0.write_all(b"+").is_ok())
    }
}

fn null() -> Result<OwnedFd, CommandError> {
    let file = File::options().read(true).write(true).open("/dev/null");
    file.map(OwnedFd::from).map_err(|error| {
        CommandError::new(
            Kind::LauncherFailed,
            format!("cannot open /dev/null: {error}"),
        )
    })
}

fn lost(errno: rustix::io::Errno) -> CommandError {
    CommandError::new(
        Kind::LauncherFailed,
        format!(
            "cannot go into the background: {}",
            std::io::Error::from(errno)
        ),
    )
}
