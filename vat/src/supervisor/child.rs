//! A child within the state machine, and the phases of the machine itself.

use std::time::Duration;

use super::{ChildId, ChildSpec, ExitReason, Incarnation, Outcome, RestartKind};

/// What a child is doing, for people and for `vat ps`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChildState {
    /// Not running, and not about to.
    Stopped,
    /// Will be restarted at this time.
    Waiting(Duration),
    /// Started and not ready yet, since this time.
    Starting(Duration),
    /// Ready since this time.
    Running(Duration),
    /// Asked to stop, or killed, and not gone yet.
    Stopping,
}

/// A child as it is now.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ChildStatus<'a> {
    /// Its id.
    pub id: ChildId,
    /// Its spec.
    pub spec: &'a ChildSpec,
    /// What it is doing.
    pub state: ChildState,
    /// Its present or last life; `None` before the first.
    pub incarnation: Option<Incarnation>,
    /// How many times it was restarted, ever.
    pub restarts: u64,
    /// How its last life ended.
    pub last_exit: Option<&'a ExitReason>,
}

/// Where the supervisor as a whole is: `Fresh → Initial → Up → Stopping → Finished`; every phase
/// but the last may go to `Stopping` or `Killing`.
#[derive(Debug)]
pub(super) enum Phase {
    Fresh,
    /// The initial start waits for this child.
    Initial(ChildId),
    Up,
    /// Children are asked in reverse order, one at a time.
    Stopping(Outcome),
    /// All children were killed at once.
    Killing(Outcome),
    Finished(Outcome),
}

#[derive(Debug)]
pub(super) struct Child {
    pub(super) spec: ChildSpec,
    pub(super) state: State,
    pub(super) incarnation: Incarnation,
    /// Restarts in a row without having settled.
    pub(super) streak: u32,
    pub(super) restarts: u64,
    pub(super) last_exit: Option<ExitReason>,
}

impl Child {
    /// With the time at which it will be restarted together with others, if it will.
    pub(super) fn status(&self, id: ChildId, due: Option<Duration>) -> ChildStatus<'_> {
        ChildStatus {
            id,
            spec: &self.spec,
            state: match self.state {
                State::Idle => due.map_or(ChildState::Stopped, ChildState::Waiting),
                State::Waiting { due } => ChildState::Waiting(due),
                State::Starting(start) => ChildState::Starting(start.since),
                State::Running { since } => ChildState::Running(since),
                State::Ending(_) => ChildState::Stopping,
            },
            incarnation: Some(self.incarnation).filter(|life| *life != Incarnation::NONE),
            restarts: self.restarts,
            last_exit: self.last_exit.as_ref(),
        }
    }

    pub(super) fn is_temporary(&self) -> bool {
        self.spec.restart == RestartKind::Temporary
    }

    pub(super) fn not_ready_in_time(&self) -> String {
        match self.spec.start_within {
            Some(limit) => format!("not ready within {limit:?}"),
            None => "not ready".to_owned(),
        }
    }
}

/// What one child is doing.
///
/// 1. `Idle`: not there. A start leads to 3, in every phase but the last ones.
/// 2. `Waiting`: not there, a restart is due. The timer leads to 3, a stop to 1.
/// 3. `Starting`: there, not ready. Readiness leads to 4, its end to 1 or 2, the deadline or a stop
///    to 5.
/// 4. `Running`: there and ready. Its end leads to 1 or 2, a stop to 5.
/// 5. `Ending`: asked or killed. Only its end leads out, to 1 or (a start that took too long) 2.
///
/// Law: the way out of 3, 4 and 5 announces the end of the incarnation, once.
#[derive(Clone, Copy, Debug)]
pub(super) enum State {
    Idle,
    Waiting { due: Duration },
    Starting(Starting),
    Running { since: Duration },
    Ending(Ending),
}

impl State {
    pub(super) fn is_alive(self) -> bool {
        match self {
            Self::Idle | Self::Waiting { .. } => false,
            Self::Starting(_) | Self::Running { .. } | Self::Ending(_) => true,
        }
    }

    /// When something has to be done if nothing happens before.
    pub(super) fn due(self) -> Option<Duration> {
        match self {
            Self::Idle | Self::Running { .. } => None,
            Self::Waiting { due } => Some(due),
            Self::Starting(start) => start.deadline,
            Self::Ending(ending) => ending.kill_at,
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Starting {
    pub(super) since: Duration,
    pub(super) deadline: Option<Duration>,
    pub(super) cause: Cause,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Ending {
    /// Since when it had been ready.
    pub(super) ready: Option<Duration>,
    pub(super) kill_at: Option<Duration>,
    pub(super) killed: bool,
    pub(super) then: Then,
}

/// Why an incarnation was started: decides what a failure means.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cause {
    Initial,
    Asked,
    Restart,
}

/// What follows when a child that is ending is gone.
#[derive(Clone, Copy, Debug)]
pub(super) enum Then {
    Rest,
    FailStart(Cause),
}

/// How an incarnation ended.
pub(super) enum End {
    Ran {
        since: Duration,
    },
    Stopped {
        since: Duration,
    },
    NotReady(Cause),
    TimedOut(Cause),
    /// Stopped before it was ready.
    Abandoned,
}
