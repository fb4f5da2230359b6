//! Time as a capability.

use std::time::Duration;

use crate::prelude::*;

/// The time of day, and timers.
///
/// # Authority
///
/// To know the time and to be woken, with at most 1,024 calls of `sleep` waiting at a time. The
/// kernel lets a hostile program read the time without it; a program that takes time from here only
/// can be simulated and replayed.
#[vat::interface]
pub trait Clock {
    /// The host's wall clock: milliseconds since 1970-01-01 UTC. It may jump, also back.
    fn now(&self, turn: &Turn) -> Result<u64>;

    /// A clock that never goes back and never jumps: nanoseconds since some moment in the past, the
    /// same one for all calls as long as the launcher runs.
    fn monotonic(&self, turn: &Turn) -> Result<u64>;

    /// Answers after `millis` milliseconds, never earlier.
    async fn sleep(this: Near<Self>, cx: &Cx, millis: u64) -> Result<()>;
}

impl ClockRef {
    /// A promise that is fulfilled after this time, rounded up to milliseconds.
    pub fn after(&self, delay: Duration) -> Promise<()> {
        let millis = delay.as_nanos().div_ceil(1_000_000);
        self.sleep(u64::try_from(millis).unwrap_or(u64::MAX))
    }
}
