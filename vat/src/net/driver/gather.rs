//! Gathering: a peer that writes each message by itself may say all of them before we read.
//!
//! Where such a peer shares a processor with us, each of its writes wakes us, and we take the
//! processor from it in the middle of what it has to say: a read, a write and two task switches for
//! each message. Who is ready to run is not woken. So the processor is offered to others once before
//! reading, and what has come meanwhile is read at once: a capnp-rpc peer with 64 calls under way
//! costs us a third.
//!
//! The offer returns at once if nobody wants the processor. It is made only after a row of reads that
//! brought a message or two, and one that did not pay makes the next ones rare. Somebody else may
//! take the processor for a time slice of some milliseconds: an offer that took long never pays,
//! whatever came meanwhile, and none is made for any connection of the vat for a second.

use std::cell::Cell;
use std::time::{Duration, Instant};

use rustix::thread::sched_yield;

/// So few messages in a read are worth an offer.
const FEW: u64 = 2;
/// So many reads in a row bring few messages before an offer is made.
const ROW: u8 = 8;
/// An offer pays if it brings at least so many messages,
const WORTH: u64 = 4;
/// and takes at most so long for each of them: several times what a slow peer needs.
const EACH: Duration = Duration::from_micros(50);
/// An offer that takes so long is not made again soon.
const LONG: Duration = Duration::from_millis(1);
/// So soon.
const SOON: Duration = Duration::from_secs(1);
/// After so many offers that paid, some reads show whether they are still needed.
const TRUST: u8 = u8::MAX;
/// Most reads from an offer that did not pay to the next one; a fraction of a second of small reads.
const RAREST: u32 = (1 << 16) - 1;

/// Whether to offer the processor before a connection is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Gathering {
    /// Reads in a row that brought few messages.
    row: u8,
    /// Offers in a row that paid.
    paid: u8,
    /// Reads until the next offer.
    pause: u32,
    /// The last pause.
    paused: u32,
}

/// An offer, and how long somebody else had the processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Offer(Duration);

/// Until when the vat makes no offers.
#[derive(Debug, Default)]
pub(super) struct Rest(Cell<Option<Instant>>);

impl Rest {
    /// Offers the processor, unless somebody took it for long not long ago.
    fn offer(&self) -> Option<Offer> {
        let begun = Instant::now();
        if self.0.get().is_some_and(|until| begun < until) {
            return None;
        }
        sched_yield();
        let took = begun.elapsed();
        self.0.set((took >= LONG).then(|| begun + took + SOON));
        Some(Offer(took))
    }
}

impl Gathering {
    /// Offers the processor if that is worth it now.
    pub(super) fn offer(&self, rest: &Rest) -> Option<Offer> {
        self.is_due().then(|| rest.offer()).flatten()
    }

    const fn is_due(&self) -> bool {
        self.row >= ROW && self.pause == 0
    }

    /// A read brought so many messages, after this offer.
    #[must_use]
    pub(super) fn after(mut self, messages: u64, offer: Option<Offer>) -> Self {
        match offer {
            Some(Offer(took)) => self.judge(messages, took),
            None => {
                self.row = match messages {
                    0..=FEW => self.row.saturating_add(1),
                    _ => 0,
                };
                self.pause = self.pause.saturating_sub(1);
            }
        }
        self
    }

    fn judge(&mut self, messages: u64, took: Duration) {
        let within = EACH.saturating_mul(u32::try_from(messages).unwrap_or(u32::MAX));
        let within = within.min(LONG);
        if messages >= WORTH && took <= within {
            self.paused = 0;
            self.paid += 1;
            if self.paid == TRUST {
                (self.row, self.paid) = (0, 0);
            }
            return;
        }
        self.paused = match took >= LONG {
            true => RAREST,
            false => (2 * self.paused + 1).min(RAREST),
        };
        (self.pause, self.paid) = (self.paused, 0);
    }
}

#[cfg(test)]
impl Gathering {
    /// Reads in a row that brought few messages.
    pub(super) const fn row(self) -> u8 {
        self.row
    }

    /// Whether the last offer did not pay.
    pub(super) const fn was_in_vain(self) -> bool {
        self.paused > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_micros(10);

    fn after_small_reads(count: usize) -> Gathering {
        (0..count).fold(Gathering::default(), |state, _| state.after(1, None))
    }

    fn reads_until_due(mut state: Gathering) -> u32 {
        let mut reads = 0;
        while !state.is_due() {
            state = state.after(1, None);
            reads += 1;
        }
        reads
    }

    #[test]
    fn nothing_is_offered_to_a_peer_that_writes_much_at_once() {
        let mut state = after_small_reads(7);
        assert_eq!(state.offer(&Rest::default()), None);
        state = state.after(64, None);
        assert_eq!(reads_until_due(state), 8);
    }

    #[test]
    fn offers_that_pay_go_on_and_are_doubted_from_time_to_time() {
        let mut state = after_small_reads(8);
        for _ in 0..TRUST {
            assert!(state.is_due());
            state = state.after(64, Some(Offer(SHORT)));
        }
        assert_eq!(reads_until_due(state), 8);
    }

    #[test]
    fn offers_that_do_not_pay_become_rare() {
        let mut state = after_small_reads(8);
        let mut pauses = Vec::new();
        for _ in 0..20 {
            state = state.after(1, Some(Offer(SHORT)));
            pauses.push(reads_until_due(state));
            state = (0..RAREST).fold(state, |state, _| state.after(1, None));
        }
        assert_eq!(pauses[..4], [1, 3, 7, 15]);
        assert_eq!(pauses[16..], [RAREST; 4]);
    }

    #[test]
    fn an_offer_that_somebody_else_took_is_not_repeated_soon() {
        let slice = Offer(Duration::from_millis(3));
        let state = after_small_reads(8).after(1, Some(slice));
        assert_eq!(reads_until_due(state), RAREST);
        // Not even if a peer sees to it that enough comes meanwhile.
        let state = after_small_reads(8).after(1_000, Some(slice));
        assert_eq!(reads_until_due(state), RAREST);
    }

    #[test]
    fn after_a_long_offer_the_whole_vat_rests() {
        let rest = Rest::default();
        let state = after_small_reads(8);
        assert!(state.offer(&rest).is_some());
        rest.0.set(Some(Instant::now() + SOON));
        assert_eq!(state.offer(&rest), None);
        rest.0.set(Some(Instant::now()));
        assert!(state.offer(&rest).is_some());
    }
}
