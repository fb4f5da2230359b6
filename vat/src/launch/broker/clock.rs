//! Time: plain functions, and the object behind `Clock` references.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

use crate::power::{Clock, ClockRef};
use crate::prelude::*;

/// Milliseconds since 1970-01-01 UTC by the host's wall clock; 0 before.
#[must_use]
pub fn wall_millis() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Nanoseconds by the host's monotonic clock, which begins at some moment before the launcher.
#[must_use]
pub fn monotonic_nanos() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    let nanos = u64::try_from(time.tv_nsec).unwrap_or_default();
    seconds.saturating_mul(1_000_000_000).saturating_add(nanos)
}

/// A reference to the host's clock, for a program's slot.
///
/// Its timers need a tokio runtime around the vat.
pub fn clock(turn: &Turn) -> ClockRef {
    ClockRef::new(turn, HostClock { sleepers: 0 })
}

#[derive(vat::Object)]
#[object(external)]
struct HostClock {
    /// Calls of `sleep` that wait.
    sleepers: usize,
}

impl Clock for HostClock {
    fn now(&self, _turn: &Turn) -> Result<u64> {
        Ok(wall_millis())
    }

    fn monotonic(&self, _turn: &Turn) -> Result<u64> {
        Ok(monotonic_nanos())
    }

    async fn sleep(this: Near<Self>, cx: &Cx, millis: u64) -> Result<()> {
        this.call(cx, Self::begin_sleep)?;
        tokio::time::sleep(Duration::from_millis(millis)).await;
        this.with(cx, |clock| clock.sleepers -= 1)
    }
}

impl HostClock {
    fn begin_sleep(&mut self) -> Result<()> {
        if self.sleepers >= MAX_SLEEPERS {
            return Err(Error::overloaded(format!(
                "{MAX_SLEEPERS} timers of this clock are waiting already"
            )));
        }
        self.sleepers += 1;
        Ok(())
    }
}

const MAX_SLEEPERS: usize = 1024;

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use futures_util::future::join_all;

    use super::super::tests::{Far, block_on};
    use super::*;
    use crate::error::ErrorKind;

    fn far() -> (Far, ClockRef) {
        let far = Far::new(|turn| clock(turn).into());
        let granted = ClockRef::from(far.granted());
        (far, granted)
    }

    #[test]
    fn the_time_is_the_host_s() {
        block_on(async {
            let (_far, clock) = far();
            let before = wall_millis();
            let now = clock.now().await.unwrap();
            assert!(before <= now && now <= wall_millis());
            let first = clock.monotonic().await.unwrap();
            let second = clock.monotonic().await.unwrap();
            assert!(0 < first && first <= second && second <= monotonic_nanos());
        });
    }

    #[test]
    fn sleeps_answer_in_the_order_of_their_ends_and_never_early() {
        block_on(async {
            let (_far, clock) = far();
            let begun = Instant::now();
            let long = clock.after(Duration::from_millis(60));
            let short = clock.after(Duration::from_micros(1500));
            short.await.unwrap();
            assert!(begun.elapsed() >= Duration::from_millis(2));
            assert!(long.try_take().is_none());
            long.await.unwrap();
            assert!(begun.elapsed() >= Duration::from_millis(60));
            clock.sleep(0).await.unwrap();
        });
    }

    #[test]
    fn timers_are_bounded_and_given_back() {
        block_on(async {
            let (_far, clock) = far();
            // So long that on a busy machine none ends before the last one begins.
            let sleeps: Vec<_> = (0..MAX_SLEEPERS).map(|_| clock.sleep(2_000)).collect();
            let refused = clock.sleep(u64::MAX).await.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Overloaded);
            assert!(join_all(sleeps).await.iter().all(Result::is_ok));
            assert!(clock.sleep(1).await.is_ok());
        });
    }
}
