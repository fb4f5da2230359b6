//! How many records a source may write.

use std::time::Duration;

/// A budget of records per second that can be saved up for one second.
#[derive(Clone, Debug)]
pub(super) struct Rate {
    per_second: u32,
    /// What is left, in parts of a record: one record is `UNIT`.
    left: u64,
    updated: Duration,
    suppressed: u64,
}

impl Rate {
    pub(super) fn new(per_second: u32, now: Duration) -> Self {
        Self {
            per_second,
            left: u64::from(per_second) * UNIT,
            updated: now,
            suppressed: 0,
        }
    }

    /// Whether a record at `now` is within the budget; if it is not, it is counted.
    pub(super) fn admit(&mut self, now: Duration) -> bool {
        self.refill(now);
        match self.left.checked_sub(UNIT) {
            Some(left) if self.suppressed == 0 => {
                self.left = left;
                true
            }
            Some(_) | None => {
                self.suppressed += 1;
                false
            }
        }
    }

    /// How many were suppressed since this was last asked, if there is room again to say so.
    pub(super) fn take_suppressed(&mut self, now: Duration) -> Option<u64> {
        self.refill(now);
        if self.suppressed == 0 || self.left < UNIT {
            return None;
        }
        self.left -= UNIT;
        Some(std::mem::take(&mut self.suppressed))
    }

    /// How many were suppressed and not told yet.
    pub(super) fn suppressed(&self) -> u64 {
        self.suppressed
    }

    fn refill(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.updated);
        self.updated = self.updated.max(now);
        let full = u64::from(self.per_second) * UNIT;
        let gained = u64::try_from(passed.as_nanos()).unwrap_or(u64::MAX);
        let gained = gained.saturating_mul(u64::from(self.per_second));
        self.left = self.left.saturating_add(gained).min(full);
    }
}

/// With nanoseconds as time, a budget of one per second gains exactly one part per nanosecond.
const UNIT: u64 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_second_s_worth_passes_at_once_and_then_as_time_does() {
        let mut rate = Rate::new(100, ms(0));
        assert_eq!((0..150).filter(|_| rate.admit(ms(0))).count(), 100);
        assert_eq!(rate.take_suppressed(ms(5)), None, "no room to say so yet");
        assert_eq!(rate.take_suppressed(ms(10)), Some(50));
        assert!(!rate.admit(ms(15)));
        assert_eq!(rate.take_suppressed(ms(20)), Some(1));
        assert!(rate.admit(ms(30)));
        assert_eq!(rate.take_suppressed(ms(5000)), None);
    }

    #[test]
    fn nothing_passes_before_the_suppressed_ones_are_told() {
        let mut rate = Rate::new(1, ms(0));
        assert!(rate.admit(ms(0)));
        assert!(!rate.admit(ms(1)));
        assert!(
            !rate.admit(ms(2000)),
            "else the count would come after what followed it"
        );
        assert_eq!(rate.take_suppressed(ms(3000)), Some(2));
        assert!(rate.admit(ms(4000)));
    }

    #[test]
    fn a_budget_of_zero_admits_nothing() {
        let mut rate = Rate::new(0, ms(0));
        assert!(!rate.admit(ms(100_000)));
        assert_eq!(rate.take_suppressed(ms(200_000)), None);
    }

    proptest! {
        #[test]
        fn never_more_than_the_budget_and_none_is_forgotten(
            per_second in 1u32..50,
            steps in prop::collection::vec(0u64..300, 1..200),
        ) {
            let (mut rate, mut now) = (Rate::new(per_second, ms(0)), 0);
            let (mut admitted, mut told, mut counts) = (0u64, 0u64, 0u64);
            for step in &steps {
                now += step;
                if let Some(count) = rate.take_suppressed(ms(now)) {
                    counts += 1;
                    told += count;
                }
                admitted += u64::from(rate.admit(ms(now)));
            }
            let budget = u64::from(per_second) * (1000 + now) / 1000;
            prop_assert!(admitted + counts <= budget);
            prop_assert_eq!(admitted + told + rate.suppressed, steps.len() as u64);
        }
    }
}
