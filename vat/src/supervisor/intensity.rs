//! How many restarts within which time are still normal.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

/// The allowed number of restarts within a sliding period: **more than** `restarts` within
/// `within` and the supervisor gives up.
///
/// The default is 3 restarts within 5 s. With 0 restarts the first death is the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intensity {
    /// How many restarts are allowed.
    pub restarts: u32,
    /// The length of the sliding period. A restart exactly this long ago still counts.
    pub within: Duration,
}

impl Default for Intensity {
    fn default() -> Self {
        Self {
            restarts: 3,
            within: Duration::from_secs(5),
        }
    }
}

impl fmt::Display for Intensity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.restarts == 1 { "" } else { "s" };
        write!(
            f,
            "{} restart{plural} within {:?}",
            self.restarts, self.within
        )
    }
}

/// The restarts of the present period.
#[derive(Clone, Debug, Default)]
pub(super) struct Window {
    /// Times of the restarts, oldest first; never more than are allowed.
    restarts: VecDeque<Duration>,
}

impl Window {
    /// Counts a restart at `now`, and tells whether it is still allowed.
    pub(super) fn allow(&mut self, intensity: Intensity, now: Duration) -> bool {
        while let Some(&oldest) = self.restarts.front() {
            if now.saturating_sub(oldest) <= intensity.within {
                break;
            }
            self.restarts.pop_front();
        }
        if self.restarts.len() >= intensity.restarts as usize {
            return false;
        }
        self.restarts.push_back(now);
        true
    }

    /// How many restarts lie in the period that ends at `now`.
    pub(super) fn count(&self, intensity: Intensity, now: Duration) -> usize {
        let recent = |at: &&Duration| now.saturating_sub(**at) <= intensity.within;
        self.restarts.iter().filter(recent).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn one_more_than_allowed_is_refused() {
        let intensity = Intensity::default();
        let mut window = Window::default();
        for at in [0, 1, 2] {
            assert!(window.allow(intensity, ms(at)));
        }
        assert!(!window.allow(intensity, ms(3)));
    }

    #[test]
    fn period_slides_and_its_end_counts() {
        let intensity = Intensity {
            restarts: 1,
            within: ms(100),
        };
        let mut window = Window::default();
        assert!(window.allow(intensity, ms(0)));
        assert_eq!(window.count(intensity, ms(100)), 1);
        assert!(!window.allow(intensity, ms(100)));
        assert_eq!(window.count(intensity, ms(101)), 0);
        assert!(window.allow(intensity, ms(101)));
    }

    #[test]
    fn zero_restarts_allow_none() {
        let intensity = Intensity {
            restarts: 0,
            within: ms(1),
        };
        assert!(!Window::default().allow(intensity, ms(7)));
    }

    #[test]
    fn memory_stays_within_the_allowed_number() {
        let intensity = Intensity {
            restarts: 5,
            within: ms(10),
        };
        let mut window = Window::default();
        for at in 0..10_000 {
            window.allow(intensity, ms(at));
        }
        assert!(window.restarts.len() <= 5);
    }
}
