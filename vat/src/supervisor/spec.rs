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
    /// Whether the supervisor ends with its significant children.
    pub auto_shutdown: AutoShutdown,
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

    /// The same spec, ending with its significant children or not.
    pub fn with_auto_shutdown(mut self, auto_shutdown: AutoShutdown) -> Self {
        self.auto_shutdown = auto_shutdown;
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

/// Whether a supervisor stops its other children and ends, with
/// [`ExitReason::Shutdown`](super::ExitReason::Shutdown), when
/// [significant](ChildSpec::significant) children have ended by themselves and stay ended: transient
/// ones that did not end abnormally, and temporary ones however they ended. Children that the
/// supervisor stopped do not count. Words and meaning are Erlang's (OTP 24).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AutoShutdown {
    /// Never.
    #[default]
    Never,
    /// When the first of them has.
    AnySignificant,
    /// When one of them has, and none that is significant is there or about to be restarted.
    AllSignificant,
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
    /// Whether the supervisor may end because this child has: see [`AutoShutdown`]. Only for
    /// transient and temporary children.
    pub significant: bool,
}

impl ChildSpec {
    /// A permanent child with the default grace period and start limit.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            restart: RestartKind::default(),
            shutdown: Shutdown::default(),
            start_within: Some(Duration::from_secs(10)),
            significant: false,
        }
    }

    /// A permanent child that is a supervisor: awaited without a limit when it is stopped.
    pub fn supervisor(name: impl Into<String>) -> Self {
        Self::new(name).with_shutdown(Shutdown::Infinity)
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

    /// The same spec, significant or not.
    pub fn with_significant(mut self, significant: bool) -> Self {
        self.significant = significant;
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
