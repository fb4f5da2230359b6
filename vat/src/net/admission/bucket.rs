//! How often something may happen.

use std::time::Duration;

use tokio::time::Instant;

/// So many times at once, and then again and again after an interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    burst: u32,
    interval: Duration,
}

impl Rate {
    /// `burst` times at once, and `count` times per `period`. A count of 0 is never again.
    pub(crate) fn new(burst: u32, count: u32, period: Duration) -> Self {
        Self {
            burst,
            interval: period.checked_div(count).unwrap_or(NEVER),
        }
    }
}

/// As good as never.
const NEVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// What is left of a [`Rate`]; all of it at first.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bucket {
    /// When all of it will be there again.
    full_at: Option<Instant>,
}

impl Bucket {
    /// Takes one, if there is one.
    pub(crate) fn take(&mut self, now: Instant, rate: Rate) -> bool {
        if !self.has(now, rate) {
            return false;
        }
        let from = self.full_at.map_or(now, |full| full.max(now));
        self.full_at = Some(from + rate.interval);
        true
    }

    /// Whether there is one.
    pub(crate) fn has(&self, now: Instant, rate: Rate) -> bool {
        let wait = self
            .full_at
            .map_or(Duration::ZERO, |full| full.saturating_duration_since(now));
        wait + rate.interval <= rate.interval.saturating_mul(rate.burst)
    }

    /// Whether all of it is there.
    pub(crate) fn is_full(&self, now: Instant) -> bool {
        self.full_at.is_none_or(|full| full <= now)
    }
}
