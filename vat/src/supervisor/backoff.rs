//! How restarts of one child are spaced.

use std::time::Duration;

/// Growing delays between restarts of one child.
///
/// The first restart is immediate, the next ones wait `initial`, `initial × factor`, … up to
/// `max`. Each delay is spread by `jitter`, so that children which fail together do not return
/// together. A child that was ready for `settled` starts again at 0. The defaults: 0, 100 ms,
/// 400 ms, 1.6 s, … at most 30 s, spread by 20 %, settled after 10 s.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backoff {
    /// The delay before the second restart in a row.
    pub initial: Duration,
    /// No delay is longer than this, jitter included.
    pub max: Duration,
    /// By which part of itself a delay may be shorter or longer: 0 to 1.
    pub jitter: f64,
    /// By how much each delay is longer than the one before: at least 1.
    pub factor: f64,
    /// After how long a child that was ready counts as healthy again.
    pub settled: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            initial: Duration::from_millis(100),
            max: Duration::from_secs(30),
            jitter: 0.2,
            factor: 4.0,
            settled: Duration::from_secs(10),
        }
    }
}

impl Backoff {
    /// Restarts without any delay, as Erlang does it.
    pub const NONE: Self = Self {
        initial: Duration::ZERO,
        max: Duration::ZERO,
        jitter: 0.0,
        factor: 1.0,
        settled: Duration::ZERO,
    };

    /// The delay before a restart that has `earlier` restarts in a row before it.
    ///
    /// `roll` is a random number from 0 to 1; it chooses within the jitter. Values of any field
    /// that make no sense (negative, not a number) count as the nearest one that does.
    pub fn delay(&self, earlier: u32, roll: f64) -> Duration {
        if earlier == 0 {
            return Duration::ZERO;
        }
        let jitter = sane(self.jitter, 0.0, 1.0);
        let factor = sane(self.factor, 1.0, f64::MAX);
        let max = self.max.as_secs_f64();
        let exponent = i32::try_from(earlier - 1).unwrap_or(i32::MAX);
        let grown = self.initial.as_secs_f64() * factor.powi(exponent);
        // The spread must not lead beyond the maximum, nor pile up at it.
        let middle = sane(grown, 0.0, max / (1.0 + jitter));
        let spread = 1.0 + jitter * (2.0 * sane(roll, 0.0, 1.0) - 1.0);
        Duration::try_from_secs_f64(middle * spread)
            .unwrap_or(self.max)
            .min(self.max)
    }
}

/// `value` moved into the range; not-a-number becomes the lower end.
fn sane(value: f64, low: f64, high: f64) -> f64 {
    value.max(low).min(high)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn without_jitter() -> Backoff {
        Backoff {
            jitter: 0.0,
            ..Backoff::default()
        }
    }

    #[test]
    fn delays_grow_from_zero_to_the_maximum() {
        let delays: Vec<u128> = (0..8)
            .map(|n| without_jitter().delay(n, 0.5).as_millis())
            .collect();
        assert_eq!(delays, [0, 100, 400, 1600, 6400, 25_600, 30_000, 30_000]);
    }

    #[test]
    fn a_small_maximum_wins_over_the_initial_delay() {
        let backoff = Backoff {
            max: Duration::from_millis(50),
            ..Backoff::default()
        };
        for roll in [0.0, 0.3, 0.999] {
            let delay = backoff.delay(1, roll);
            assert!(delay <= Duration::from_millis(50), "{delay:?}");
            assert!(delay >= Duration::from_millis(33), "{delay:?}");
        }
    }

    #[test]
    fn jitter_spreads_to_both_sides() {
        let backoff = Backoff::default();
        assert_eq!(backoff.delay(1, 0.0).as_millis(), 80);
        assert_eq!(backoff.delay(1, 0.5).as_millis(), 100);
        assert_eq!(backoff.delay(1, 1.0).as_millis(), 120);
    }

    #[test]
    fn no_backoff_never_waits() {
        assert!((0..100).all(|n| Backoff::NONE.delay(n, 0.9).is_zero()));
    }

    proptest! {
        #[test]
        fn any_values_give_a_delay_within_the_maximum(
            initial in any::<u64>(),
            max in any::<u64>(),
            jitter in any::<f64>(),
            factor in any::<f64>(),
            earlier in any::<u32>(),
            roll in any::<f64>(),
        ) {
            let backoff = Backoff {
                initial: Duration::from_nanos(initial),
                max: Duration::from_nanos(max),
                jitter,
                factor,
                settled: Duration::ZERO,
            };
            prop_assert!(backoff.delay(earlier, roll) <= backoff.max);
        }
    }
}
