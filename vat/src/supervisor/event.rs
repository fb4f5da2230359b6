//! What goes into a supervision and what comes out of it.

use std::fmt;
use std::time::Duration;

use super::{ChildId, Incarnation, Intensity};

/// Why a child ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ExitReason {
    /// By itself and in order: exit code 0.
    Normal,
    /// Because it was asked to, by its supervisor; also a supervisor that gave up.
    Shutdown,
    /// In any other way: another exit code, a signal, a missed watchdog, a broken protocol. The
    /// text says which, for people.
    Abnormal(String),
}

impl ExitReason {
    /// Whether a transient child that ended like this is started again.
    pub fn is_abnormal(&self) -> bool {
        matches!(self, Self::Abnormal(_))
    }
}

impl fmt::Display for ExitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Normal => f.write_str("ended normally"),
            Self::Shutdown => f.write_str("stopped"),
            Self::Abnormal(how) => f.write_str(how),
        }
    }
}

/// What happened, or what is asked for.
///
/// Reports about a child name its incarnation. A report about another incarnation than the present
/// one is late or repeated, and is ignored: this is what makes a death count once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Begin: start all children in order.
    Start,
    /// The child is ready.
    Started {
        /// Which child.
        child: ChildId,
        /// Which life of it.
        incarnation: Incarnation,
    },
    /// The child could not be started, and nothing of it is left.
    StartFailed {
        /// Which child.
        child: ChildId,
        /// Which life of it.
        incarnation: Incarnation,
        /// What went wrong, for people.
        reason: String,
    },
    /// The child is gone.
    Exited {
        /// Which child.
        child: ChildId,
        /// Which life of it.
        incarnation: Incarnation,
        /// How it ended.
        reason: ExitReason,
    },
    /// The time that [`next_timeout`](super::Supervision::next_timeout) named has come. Harmless
    /// when early.
    TimerFired,
    /// Start a child that is not running. If the start fails it is not tried again.
    StartChild(ChildId),
    /// Stop a child and leave it stopped; a temporary child's spec is dropped.
    StopChild(ChildId),
    /// Stop all children, in reverse order, each by its own [`Shutdown`](super::Shutdown).
    Stop,
    /// Kill all children now.
    Kill,
}

/// What the driver has to do, or to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// Start the child; report [`Event::Started`] or [`Event::StartFailed`].
    Start {
        /// Which child.
        child: ChildId,
        /// Which life of it.
        incarnation: Incarnation,
        /// How many restarts in a row this one is; 0 for a start that is not a restart.
        attempt: u32,
    },
    /// Ask the child to stop, or kill it; report [`Event::Exited`] when it is gone.
    Terminate {
        /// Which child.
        child: ChildId,
        /// Which life of it.
        incarnation: Incarnation,
        /// Asked or killed. A child that was asked may be killed later by a second action.
        how: Terminate,
    },
    /// The child had been ready and is gone: break its references, tell its monitors. Comes once
    /// for each incarnation that was ready.
    Died {
        /// Which child.
        child: ChildId,
        /// Which life of it.
        incarnation: Incarnation,
        /// How it ended.
        reason: ExitReason,
        /// Whether this supervisor had asked it to stop, or killed it.
        asked: bool,
        /// How long it had been ready.
        ran: Duration,
    },
    /// The child was started and is gone without having been ready. Comes once for each such
    /// incarnation.
    NotStarted {
        /// Which child.
        child: ChildId,
        /// Which life of it.
        incarnation: Incarnation,
        /// Why, for people.
        reason: String,
    },
    /// All children of the initial start are ready.
    Ready,
    /// Too many restarts: the children that are left will be stopped.
    GaveUp(GaveUp),
    /// No child is left and no more actions come. The supervisor itself ends.
    Finished(Outcome),
}

/// How a child is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Terminate {
    /// Ask it to stop in order.
    Ask,
    /// Kill it.
    Kill,
}

/// The restart that was one too many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GaveUp {
    /// The child that would have been restarted.
    pub child: ChildId,
    /// Its name.
    pub name: String,
    /// How it ended last.
    pub reason: ExitReason,
    /// The intensity that was exceeded.
    pub intensity: Intensity,
}

impl fmt::Display for GaveUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            reason,
            intensity,
            ..
        } = self;
        write!(
            f,
            "gave up on {name}: more than {intensity}; its last end: {reason}"
        )
    }
}

/// Why a supervisor ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was asked to.
    Stopped,
    /// A child of the initial start could not be started.
    StartFailed {
        /// The child's name.
        name: String,
        /// Why, for people.
        reason: String,
    },
    /// The restart intensity was exceeded.
    GaveUp(GaveUp),
    /// This significant child has ended: see [`AutoShutdown`](super::AutoShutdown).
    AutoShutdown(String),
}

impl Outcome {
    /// What the supervisor's own supervisor sees: as in Erlang, a supervisor that gave up ends
    /// with `Shutdown`.
    pub fn exit_reason(&self) -> ExitReason {
        match self {
            Self::Stopped | Self::GaveUp(_) | Self::AutoShutdown(_) => ExitReason::Shutdown,
            Self::StartFailed { name, reason } => {
                ExitReason::Abnormal(format!("{name} did not start: {reason}"))
            }
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopped => f.write_str("stopped"),
            Self::StartFailed { name, reason } => write!(f, "{name} did not start: {reason}"),
            Self::GaveUp(gave_up) => gave_up.fmt(f),
            Self::AutoShutdown(name) => write!(f, "stopped because {name} has ended"),
        }
    }
}
