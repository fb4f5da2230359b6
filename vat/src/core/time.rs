//! The runtime's own time: what gives up, comes back or ends by itself.
//!
//! A vat has no clock. Whoever drives it tells the time, counted from any moment, and asks when to do
//! so next; what is due runs then, in the order in which it falls due. Where something begins to wait,
//! the driver's clock is asked, as a turn may have been long. So a vat that is told the same times, and
//! gets the same answers, takes the same turns.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use super::turn::Work;
use super::vat::{Job, Shared};

/// The time, and what waits for it to pass.
#[derive(Default)]
pub(crate) struct Time {
    now: Cell<Duration>,
    timers: RefCell<BTreeMap<TimerId, Box<dyn Work>>>,
    set: Cell<u64>,
    /// Says the time between two runs.
    clock: RefCell<Option<Rc<dyn Fn() -> Duration>>>,
}

/// Which timer. Of those that are due together, the one that was set first comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TimerId {
    due: Duration,
    serial: u64,
}

impl Time {
    /// The next moment at which something is to be done.
    pub(crate) fn next(&self) -> Option<Duration> {
        let timers = self.timers.borrow();
        timers.keys().next().map(|timer| timer.due)
    }

    /// Takes everything that waits, when the vat ends.
    pub(crate) fn take_all(&self) -> Vec<Box<dyn Work>> {
        std::mem::take(&mut *self.timers.borrow_mut())
            .into_values()
            .collect()
    }

    /// From now on `clock` is asked when something begins to wait.
    pub(crate) fn set_clock(&self, clock: Rc<dyn Fn() -> Duration>) {
        self.clock.replace(Some(clock));
    }

    fn look_at_clock(&self) {
        if let Some(clock) = &*self.clock.borrow() {
            self.now.set(self.now.get().max(clock()));
        }
    }

    fn take_due(&self) -> Option<Box<dyn Work>> {
        let mut timers = self.timers.borrow_mut();
        let first = timers.first_entry()?;
        (first.key().due <= self.now.get()).then(|| first.remove())
    }
}

impl Shared {
    /// The time.
    pub(crate) fn now(&self) -> Duration {
        self.time.look_at_clock();
        self.time.now.get()
    }

    /// Puts `work` at the tail of the queue when this much time has passed. Between turns, or at a
    /// turn's commit: it is not taken back when a turn fails.
    pub(crate) fn set_timer(self: &Rc<Self>, delay: Duration, work: Box<dyn Work>) -> TimerId {
        let time = &self.time;
        time.set.set(time.set.get() + 1);
        let timer = TimerId {
            due: self.now().saturating_add(delay),
            serial: time.set.get(),
        };
        time.timers.borrow_mut().insert(timer, work);
        // Whoever drives the vat asks anew when to tell the time.
        self.rouse();
        timer
    }

    /// What was to be done then is not done any more; `None` if it was.
    pub(crate) fn cancel_timer(&self, timer: TimerId) -> Option<Box<dyn Work>> {
        self.time.timers.borrow_mut().remove(&timer)
    }

    /// Tells the time. It never goes back.
    pub(crate) fn pass_time(&self, now: Duration) {
        self.time.now.set(self.time.now.get().max(now));
        self.engine(|engine| engine.handle_time(now));
        while let Some(work) = self.time.take_due() {
            self.engine(|engine| engine.enqueue(Job::Work(work)));
        }
    }
}
