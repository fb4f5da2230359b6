//! The thread that starts all children, and the handle to it.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

use tokio::sync::oneshot;

use super::child::Child;
use super::enclosure::Parts;
use super::host::{HostReport, Survey, explain};
use super::level::{Level, Mechanism, MechanismName, Report};
use super::program::SealedProgram;
use crate::sys;

/// Limits of a child. The kernel enforces them; none can be raised by the child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Private writable memory in bytes (heap, stacks, globals); default 1 GiB. Beyond it
    /// allocations fail, which ends a Rust program.
    pub memory: u64,
    /// Open descriptors, 8 to 900; default 256.
    pub open_files: u32,
    /// Threads, counted only where the child has a user of its own; default 512.
    pub threads: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: 1 << 30,
            open_files: 256,
            threads: 512,
        }
    }
}

/// Address space in bytes. It bounds nothing that counts, but without it a program could fill all
/// addresses until the kernel hands out the one that `exec` was permitted with.
const ADDRESS_SPACE: u64 = 64 << 30;
const STACK: u64 = 8 << 20;
/// The program's descriptor is number 1000 at `exec`, and must be above the limit.
const MAX_OPEN_FILES: u32 = 900;
const MIN_MEMORY: u64 = 1 << 20;

impl Limits {
    fn check(&self) -> Result<(), SpawnError> {
        if !(8..=MAX_OPEN_FILES).contains(&self.open_files) {
            return Err(SpawnError::Limit {
                what: "open files",
                range: "8 to 900",
            });
        }
        if !(MIN_MEMORY..=ADDRESS_SPACE).contains(&self.memory) {
            return Err(SpawnError::Limit {
                what: "memory",
                range: "1 MiB to 64 GiB",
            });
        }
        if self.threads == 0 {
            return Err(SpawnError::Limit {
                what: "threads",
                range: "1 or more",
            });
        }
        Ok(())
    }

    /// As (`RLIMIT_…`, value).
    pub(super) fn resources(&self, count_processes: bool) -> Vec<(u32, u64)> {
        let mut list = vec![
            (libc::RLIMIT_NOFILE, u64::from(self.open_files)),
            (libc::RLIMIT_DATA, self.memory),
            (libc::RLIMIT_AS, ADDRESS_SPACE),
            (libc::RLIMIT_STACK, STACK),
            (libc::RLIMIT_CORE, 0),
            (libc::RLIMIT_MEMLOCK, 0),
            (libc::RLIMIT_MSGQUEUE, 0),
        ];
        if count_processes {
            list.push((libc::RLIMIT_NPROC, u64::from(self.threads)));
        }
        list
    }
}

/// What is to be started, and how.
#[derive(Debug)]
pub struct Launch {
    /// The program.
    pub program: SealedProgram,
    /// The vat's name: the program's only argument (`argv[0]`). No secrets: anybody may read it.
    pub name: String,
    /// The level without which the start is refused.
    pub require: Level,
    /// Permits levels below [`Level::L2`], which a hostile program can get out of.
    pub allow_weak: bool,
    /// Descriptor 1 of the child.
    pub stdout: OwnedFd,
    /// Descriptor 2 of the child.
    pub stderr: OwnedFd,
    /// Its limits.
    pub limits: Limits,
}

/// A start that failed. Nothing of it is left behind.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// This host cannot enforce the level. `missing` lists what is not enforced, and why.
    #[error(
        "this host can enforce confinement level {available} only, and {required} is required; \
         missing: {}",
        list(missing)
    )]
    BelowRequired {
        /// The level asked for (at least L2 where weak levels are not allowed).
        required: Level,
        /// What can be enforced.
        available: Level,
        /// The mechanisms that are not, each with its reason.
        missing: Vec<Mechanism>,
    },
    /// A limit is out of its range.
    #[error("the limit of {what} must be {range}")]
    Limit {
        /// Which limit.
        what: &'static str,
        /// What is accepted.
        range: &'static str,
    },
    /// The launcher could not make the child's socket or process.
    #[error("cannot make a process for the program: {0}")]
    Fork(io::Error),
    /// The child failed before the program's first instruction.
    #[error("the start of the program failed while {0}")]
    Start(String),
    /// The thread that starts children has ended.
    #[error("the spawner has stopped")]
    Stopped,
}

fn list(missing: &[Mechanism]) -> String {
    let each = missing
        .iter()
        .map(|one| format!("{} ({})", one.name, one.detail));
    each.collect::<Vec<_>>().join(", ")
}

enum Job {
    Start(Box<Launch>, oneshot::Sender<Result<Started, SpawnError>>),
    Reap(OwnedFd),
}

/// What the thread hands back. If nobody takes it, it is killed by its drop.
struct Started {
    forked: Option<sys::Forked>,
    socket: Option<OwnedFd>,
    report: Report,
}

impl Drop for Started {
    fn drop(&mut self) {
        if let Some(forked) = self.forked.take() {
            forked.discard();
        }
    }
}

/// Starts confined children. Clones are handles to the same thread.
///
/// All children are started by one thread, because the kernel ends a child when the *thread* that
/// started it ends. The thread lives until the last handle and the last [`Child`] are gone.
#[derive(Clone, Debug)]
pub struct Spawner {
    jobs: mpsc::Sender<Job>,
    host: Arc<HostReport>,
}

impl Spawner {
    /// Finds the strongest level this host can enforce (by trial children; some milliseconds) and
    /// starts the thread.
    ///
    /// # Errors
    ///
    /// No thread, or no child of any kind, can be started.
    pub fn start() -> io::Result<Self> {
        Self::start_at_most(Level::L3)
    }

    /// As [`start`](Self::start), but uses nothing above `level` even where the host could: for
    /// hosts on which namespaces cost too much, and for tests.
    ///
    /// # Errors
    ///
    /// No thread, or no child of any kind, can be started.
    pub fn start_at_most(level: Level) -> io::Result<Self> {
        let (jobs, inbox) = mpsc::channel();
        let (ready, surveyed) = mpsc::sync_channel(1);
        let thread = move || {
            sys::block_signals();
            sys::keep_child_statuses();
            match Survey::take(level) {
                Ok(survey) => {
                    drop(ready.send(Ok(survey.host_report())));
                    serve(&survey, &inbox);
                }
                Err(error) => {
                    drop(ready.send(Err(error)));
                }
            }
        };
        std::thread::Builder::new()
            .name("vat-spawner".into())
            .spawn(thread)?;
        let host = surveyed
            .recv()
            .map_err(|_| io::Error::other("the spawner's thread died"))??;
        Ok(Self {
            jobs,
            host: Arc::new(host),
        })
    }

    /// What was found out about this host when the spawner started.
    pub fn host(&self) -> &HostReport {
        &self.host
    }

    /// Starts a child and answers when it runs the program.
    ///
    /// # Cancel safety
    ///
    /// Safe: if the future is dropped, a child that was started meanwhile is killed.
    ///
    /// # Errors
    ///
    /// See [`SpawnError`]; nothing is left behind.
    pub async fn spawn(&self, launch: Launch) -> Result<Child, SpawnError> {
        let (answer, outcome) = oneshot::channel();
        let job = Job::Start(Box::new(launch), answer);
        self.jobs.send(job).map_err(|_| SpawnError::Stopped)?;
        let mut started = outcome.await.map_err(|_| SpawnError::Stopped)??;
        let (Some(forked), Some(socket)) = (started.forked.take(), started.socket.take()) else {
            return Err(SpawnError::Stopped);
        };
        let report = started.report.clone();
        Ok(Child::new(
            forked.pid,
            forked.pidfd,
            socket,
            report,
            self.clone(),
        ))
    }

    /// Reaps a killed child on the spawner's thread.
    pub(super) fn reap(&self, pidfd: OwnedFd) {
        drop(self.jobs.send(Job::Reap(pidfd)));
    }
}

/// The thread's loop: starts children as asked, and reaps those whose handles were dropped.
fn serve(survey: &Survey, inbox: &Receiver<Job>) {
    const REAP_INTERVAL: Duration = Duration::from_millis(2);
    let report = survey.report();
    let mut ended: Vec<OwnedFd> = Vec::new();
    loop {
        let job = if ended.is_empty() {
            inbox.recv().map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            inbox.recv_timeout(REAP_INTERVAL)
        };
        match job {
            Ok(Job::Start(launch, answer)) => {
                drop(answer.send(start(survey, &report, &launch)));
            }
            Ok(Job::Reap(pidfd)) => ended.push(pidfd),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        ended.retain(|pidfd| matches!(sys::reap(pidfd, false), Ok(None)));
    }
    for pidfd in ended {
        drop(sys::reap(&pidfd, true));
    }
}

fn start(survey: &Survey, report: &Report, launch: &Launch) -> Result<Started, SpawnError> {
    let weakest = if launch.allow_weak {
        Level::L0
    } else {
        Level::L2
    };
    let required = launch.require.max(weakest);
    if report.level < required {
        let missing = report.missing().cloned().collect();
        return Err(SpawnError::BelowRequired {
            required,
            available: report.level,
            missing,
        });
    }
    launch.limits.check()?;
    let name: Vec<u8> = launch.name.bytes().filter(|&byte| byte != 0).collect();
    let (socket, child_socket) = UnixStream::pair().map_err(SpawnError::Fork)?;
    let socket = OwnedFd::from(socket);
    let mut report = report.clone();
    report.mechanisms.push(refuse_descriptors(&socket));
    let parts = Parts {
        program: launch.program.as_fd(),
        name: CString::new(name).unwrap_or_default(),
        socket: child_socket.as_fd(),
        stdout: launch.stdout.as_fd(),
        stderr: launch.stderr.as_fd(),
    };
    let plan = survey.enclosure.blueprint(&launch.limits, Some(&parts));
    let forked = sys::fork(&plan).map_err(SpawnError::Fork)?;
    match forked.await_exec() {
        Ok(()) => Ok(Started {
            forked: Some(forked),
            socket: Some(socket),
            report,
        }),
        Err(failure) => {
            forked.discard();
            Err(SpawnError::Start(explain(&failure)))
        }
    }
}

fn refuse_descriptors(socket: &OwnedFd) -> Mechanism {
    let (enforced, detail) = match sys::refuse_descriptors(socket.as_fd()) {
        Ok(()) => (true, "descriptors travel to the program only".to_owned()),
        Err(error) => (false, format!("needs Linux 6.16: {error}")),
    };
    Mechanism {
        name: MechanismName::NoDescriptorsOut,
        enforced,
        detail,
    }
}
