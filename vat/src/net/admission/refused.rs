//! Connections that were not let in, and what is said of them.

use std::fmt::Display;
use std::time::Duration;

use tokio::time::Instant;

use crate::error::Error;

/// Why a connection was not let in: the limit that is reached, of
/// [`AdmissionLimits`](super::AdmissionLimits), and how much it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// The caller has gone meanwhile.
    #[error("the caller has gone")]
    Gone,
    /// [`connections`](super::AdmissionLimits::connections)
    #[error("{0} connections from the network are open, the most there may be; try again later")]
    Connections(usize),
    /// [`connections_per_source`](super::AdmissionLimits::connections_per_source)
    #[error(
        "{0} connections from the same address or network are open, the most there may be; close one, \
         or try again later"
    )]
    ConnectionsOfSource(usize),
    /// [`handshakes`](super::AdmissionLimits::handshakes)
    #[error(
        "{0} callers are in the middle of a handshake, the most there may be; try again in 5 s"
    )]
    Handshakes(usize),
    /// [`handshakes_per_source`](super::AdmissionLimits::handshakes_per_source)
    #[error(
        "{0} callers from the same address or network are in the middle of a handshake, the most \
         there may be; complete one, or try again in 5 s"
    )]
    HandshakesOfSource(usize),
    /// [`local`](super::AdmissionLimits::local)
    #[error("{0} local connections are open, the most there may be; close one, or try again later")]
    Local(usize),
    /// [`arrivals_per_second`](super::AdmissionLimits::arrivals_per_second)
    #[error(
        "more than {0} connections a second came from the same address or network; connect once and \
         keep the connection"
    )]
    Arrivals(u32),
    /// [`source_misses`](super::AdmissionLimits::source_misses)
    #[error(
        "more than {0} references that do not exist were asked for from the same address or network \
         within a minute; try again in a minute"
    )]
    Misses(u32),
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        Self::overloaded(refused.to_string())
    }
}

/// Says now and then that connections are refused: a flood of them is no flood of lines.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    said: Option<Instant>,
    /// Refused since then.
    since: u64,
    /// What is to be said to whoever reads the ensemble's log.
    #[cfg(feature = "launch")]
    report: Option<String>,
}

impl Refusals {
    /// Counts a caller from `source` that was refused.
    pub(crate) fn note(&mut self, source: impl Display, why: impl Display, now: Instant) {
        self.since += 1;
        let said = self.said.map(|said| now.duration_since(said));
        if said.is_some_and(|ago| ago < PAUSE) {
            return;
        }
        let refused = std::mem::take(&mut self.since);
        tracing::warn!(%source, limit = %why, refused, "connections are refused");
        self.said = Some(now);
        #[cfg(feature = "launch")]
        self.report.replace(format!(
            "connections are refused ({refused} more by now), lastly by the limit of {source}: {why}"
        ));
    }

    #[cfg(feature = "launch")]
    pub(crate) const fn take_report(&mut self) -> Option<String> {
        self.report.take()
    }
}

/// Time between two records.
const PAUSE: Duration = Duration::from_secs(10);
