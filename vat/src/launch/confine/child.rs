//! A running child, held by its pidfd.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

use rustix::process::{Signal, WaitIdStatus, pidfd_send_signal};
use serde::Serialize;

use super::level::Report;
use super::spawner::Spawner;
use crate::sys;

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exit {
    /// It ended by itself with this code.
    Code(i32),
    /// This signal killed it.
    Signal(i32),
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => write!(f, "killed by signal {signal}"),
        }
    }
}

/// A confined child. Dropping it kills and reaps the process.
#[derive(Debug)]
pub struct Child {
    pid: u32,
    pidfd: Option<OwnedFd>,
    socket: Option<OwnedFd>,
    report: Report,
    exit: Option<Exit>,
    /// Keeps the thread alive that started the child: the child dies with it.
    spawner: Spawner,
}

impl Child {
    pub(super) fn new(
        pid: u32,
        pidfd: OwnedFd,
        socket: OwnedFd,
        report: Report,
        spawner: Spawner,
    ) -> Self {
        let (pidfd, socket) = (Some(pidfd), Some(socket));
        Self {
            pid,
            pidfd,
            socket,
            report,
            exit: None,
            spawner,
        }
    }

    /// The process id, for display only: once the child was waited for, it may be another's.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// What is enforced upon this child.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Takes the launcher's end of the stream socket that the child has as descriptor 3; `None`
    /// when it was taken before. It is in blocking mode.
    pub fn take_socket(&mut self) -> Option<OwnedFd> {
        self.socket.take()
    }

    /// Kills the child with SIGKILL; no effect if it has ended.
    ///
    /// # Errors
    ///
    /// The kernel refused the signal.
    pub fn kill(&self) -> io::Result<()> {
        let Some(pidfd) = &self.pidfd else {
            return Ok(());
        };
        match pidfd_send_signal(pidfd, Signal::KILL) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits for the child's end and reaps it; later calls answer the same again at once.
    ///
    /// # Cancel safety
    ///
    /// Safe: nothing is lost if the future is dropped.
    ///
    /// # Errors
    ///
    /// The runtime cannot watch the descriptor, or somebody else reaped the child.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with I/O enabled.
    pub async fn wait(&mut self) -> io::Result<Exit> {
        if let Some(exit) = self.exit {
            return Ok(exit);
        }
        let Some(pidfd) = &self.pidfd else {
            return Err(io::Error::other("the child was reaped by somebody else"));
        };
        let watched = sys::watch_readable(pidfd.as_fd())?;
        let status = loop {
            let mut ready = watched.readable().await?;
            if let Some(status) = sys::reap(pidfd, false)? {
                break status;
            }
            ready.clear_ready();
        };
        drop(watched);
        let exit = exit(&status);
        self.exit = Some(exit);
        self.pidfd = None;
        Ok(exit)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        drop(self.kill());
        if let Some(pidfd) = self.pidfd.take() {
            self.spawner.reap(pidfd);
        }
    }
}

fn exit(status: &WaitIdStatus) -> Exit {
    match (status.exit_status(), status.terminating_signal()) {
        (_, Some(signal)) => Exit::Signal(signal),
        (code, None) => Exit::Code(code.unwrap_or(-1)),
    }
}
