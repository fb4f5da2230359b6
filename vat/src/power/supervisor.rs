//! The supervisor as a capability: what operators hold as `control.cap`.

use crate::power::LogRecord;
use crate::prelude::*;

/// A running ensemble, as its operator sees it.
///
/// # Authority
/// Its holder sees every child, reads the log and can stop the ensemble.
#[vat::interface]
pub trait Supervisor {
    /// The ensemble and its children as they are now.
    fn status(&self, turn: &Turn) -> Result<EnsembleStatus>;

    /// Stops all children in reverse start order with their grace, then ends the launcher.
    /// Answers when the children are gone.
    async fn down(this: Near<Self>, cx: &Cx) -> Result<()>;

    /// The last `count` records of the log, oldest first.
    async fn logs(this: Near<Self>, cx: &Cx, #[default(100)] count: u32) -> Result<Vec<LogRecord>>;

    /// Sends every new log record to `reader` until the returned reference is dropped.
    fn follow_logs(&mut self, turn: &Turn, reader: LogReaderRef) -> Result<FollowRef>;
}

/// Somebody who wants to see log records as they come.
#[vat::interface]
pub trait LogReader {
    /// A new record.
    fn record(&mut self, turn: &Turn, record: LogRecord) -> Result<()>;
}

/// A running `follow_logs`; it ends when the last reference to it is dropped.
#[vat::interface]
pub trait Follow {}

/// An ensemble as it is at one moment.
#[derive(Clone, Debug, PartialEq, vat::Data)]
pub struct EnsembleStatus {
    /// The manifest's `[vat] name`.
    pub name: String,
    /// Where the manifest lies on the launcher's machine.
    pub manifest: String,
    /// The launcher's process id.
    pub pid: u32,
    /// Milliseconds since the launcher started.
    pub uptime_ms: u64,
    /// Where the launcher listens for connections to its vats.
    pub listens: Vec<String>,
    /// The children in start order.
    pub children: Vec<ChildStatus>,
}

/// One supervised child as it is at one moment.
#[derive(Clone, Debug, PartialEq, vat::Data)]
pub struct ChildStatus {
    /// Its supervision path: `guestbook`.
    pub path: String,
    /// Its vat id.
    pub vat: String,
    /// What it is doing.
    pub state: ChildState,
    /// Its process id, or 0 while there is no process.
    pub pid: u32,
    /// How often it was started again since the launcher started.
    pub restarts: u32,
    /// Milliseconds since its present process became ready, or 0.
    pub up_ms: u64,
    /// How its last process ended; empty if none did.
    pub last_exit: String,
    /// The confinement that was really enforced: `L3`; empty while there is no process.
    pub confinement: String,
    /// The mechanisms behind that level that are in force.
    pub enforced: Vec<String>,
    /// The mechanisms that are not, with the reason.
    pub missing: Vec<String>,
    /// The names of the references it exposes.
    pub exposes: Vec<String>,
}

/// What a supervised child is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, vat::Data)]
pub enum ChildState {
    /// Its process was started and is not ready yet.
    Starting,
    /// It answered `start`: it is ready.
    Running,
    /// It ended and will be started again after a delay.
    Waiting,
    /// It was asked to stop and has not ended yet.
    Stopping,
    /// It ended and will not be started again.
    Ended,
    /// Its supervisor gave up: too many restarts in too short a time.
    GaveUp,
}
