//! What a supervisor is told about itself and about each child.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Backoff, Intensity};

/// How a supervisor treats its children: strategy, restart intensity, spacing of restarts.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct SupervisorSpec {
    /// Which children are restarted when one ends.
    pub strategy: Strategy,
    /// How many restarts within which time are still normal, for all children together.
    pub intensity: Intensity,
    /// How restarts of one child are spaced.
    pub backoff: Backoff,
}

impl SupervisorSpec {
    /// The same spec with another strategy.
    pub fn with_strategy(mut self, strategy: Strategy) -> Self {
        self.strategy = strategy;
        self
    }

    /// The same spec with another restart intensity.
    pub fn with_intensity(mut self, intensity: Intensity) -> Self {
        self.intensity = intensity;
        self
    }

    /// The same spec with another spacing of restarts.
    pub fn with_backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }
}

/// Which children are restarted when one of them ends. Words and meaning are Erlang's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Strategy {
    /// Only the child that ended.
    #[default]
    OneForOne,
    /// All of them: the others are stopped first.
    OneForAll,
    /// The child that ended and those that are started after it, which are stopped first.
    RestForOne,
}

/// When a child that ended is started again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RestartKind {
    /// Always.
    #[default]
    Permanent,
    /// Only after an abnormal end: not after [`Normal`](super::ExitReason::Normal) or
    /// [`Shutdown`](super::ExitReason::Shutdown).
    Transient,
    /// Never. The child's spec is dropped when it ends.
    Temporary,
}

/// How a child is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// Killed at once, without being asked.
    Brutal,
    /// Asked to stop, and killed if it is still there after this time. The default: 5 s.
    Grace(Duration),
    /// Asked to stop, and awaited without a limit. For children that are supervisors.
    Infinity,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::Grace(Duration::from_secs(5))
    }
}

/// One child: its name and how it is restarted and stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChildSpec {
    /// The child's name, unique below its supervisor.
    pub name: String,
    /// When it is started again.
    pub restart: RestartKind,
    /// How it is stopped.
    pub shutdown: Shutdown,
    /// How long a start may take until the child is ready. Default 10 s; `None` is no limit.
    /// Beyond it the child is killed and the start has failed.
    pub start_within: Option<Duration>,
}

impl ChildSpec {
    /// A permanent child with the default grace period and start limit.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            restart: RestartKind::default(),
            shutdown: Shutdown::default(),
            start_within: Some(Duration::from_secs(10)),
        }
    }

    /// The same spec with another restart kind.
    pub fn with_restart(mut self, restart: RestartKind) -> Self {
        self.restart = restart;
        self
    }

    /// The same spec, stopped in another way.
    pub fn with_shutdown(mut self, shutdown: Shutdown) -> Self {
        self.shutdown = shutdown;
        self
    }

    /// The same spec with another limit for a start; `None` is no limit.
    pub fn with_start_within(mut self, limit: Option<Duration>) -> Self {
        self.start_within = limit;
        self
    }
}

/// A child within its supervisor. Ids are never used again, and their order is the start order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChildId(u64);

impl ChildId {
    pub(super) fn new(number: u64) -> Self {
        Self(number)
    }
}

impl fmt::Display for ChildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "child {}", self.0)
    }
}

/// One life of a child, counted from 1. Every start has a new one, also a start that fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(u64);

impl Incarnation {
    /// Before the first start.
    pub(super) const NONE: Self = Self(0);

    pub(super) fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The number, from 1 on.
    pub fn number(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
