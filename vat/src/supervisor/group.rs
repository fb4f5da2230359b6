//! Restarts of several children because of one: `one_for_all` and `rest_for_one`.
//!
//! The children from the first one concerned on are stopped in reverse order, one at a time; when
//! the last is gone, and the delay that the failed one has earned is over, they are started in
//! order, each when the one before it is ready. Who dies meanwhile:
//!
//! - one that is to be stopped anyway: it counts as stopped;
//! - one before them: the restart is counted and begins there instead;
//! - one of them that was started again: the restart is counted and begins anew, from where the
//!   strategy says.

use std::collections::BTreeSet;
use std::time::Duration;

use super::child::{Cause, Phase, State};
use super::{ChildId, Incarnation, Strategy, Supervision};

/// A restart of several children that is under way.
#[derive(Debug)]
pub(super) struct Group {
    /// Every child from here on is stopped.
    from: ChildId,
    /// Those that are still to be started, in start order.
    pending: BTreeSet<ChildId>,
    /// Not before this time.
    due: Duration,
    step: Step,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Stopping,
    Waiting,
    /// This one was started last.
    Starting(ChildId),
}

impl Group {
    /// When something has to be done if nothing happens before.
    pub(super) fn due(&self) -> Option<Duration> {
        matches!(self.step, Step::Waiting).then_some(self.due)
    }

    /// When the child will be started, if it is one of those that are still to be.
    pub(super) fn due_of(&self, id: ChildId) -> Option<Duration> {
        self.pending.contains(&id).then_some(self.due)
    }

    /// Leaves a child stopped that would have been started.
    pub(super) fn forget(&mut self, id: ChildId) {
        self.pending.remove(&id);
    }

    /// Whether the end of this child is what the group waits for.
    pub(super) fn stops(&self, id: ChildId) -> bool {
        matches!(self.step, Step::Stopping) && id >= self.from
    }
}

impl Supervision {
    /// Begins to restart everything that the strategy restarts with `failed`, `delay` from now.
    pub(super) fn restart_with_others(&mut self, failed: ChildId, delay: Duration) {
        let first = self.children.keys().next().copied().unwrap_or(failed);
        let mut from = match self.spec.strategy {
            Strategy::OneForAll => first,
            Strategy::OneForOne | Strategy::RestForOne => failed,
        };
        if let Some(group) = &self.group
            && !matches!(group.step, Step::Starting(_))
        {
            from = from.min(group.from);
        }
        let pending = self.to_be_restarted(from);
        self.group = Some(Group {
            from,
            pending,
            due: self.now.saturating_add(delay),
            step: Step::Stopping,
        });
        self.continue_group();
    }

    /// As in Erlang also those that had ended before, but for temporary ones; during the initial
    /// start also those whose turn has not come.
    fn to_be_restarted(&self, from: ChildId) -> BTreeSet<ChildId> {
        let initial = matches!(self.phase, Phase::Initial(_));
        let children = self.children.range(from..);
        let chosen = children.filter(|(_, child)| {
            if child.incarnation == Incarnation::NONE {
                initial
            } else {
                !child.is_temporary()
            }
        });
        chosen.map(|(id, _)| *id).collect()
    }

    /// Goes on with the group as far as it can. Harmless when there is none, or nothing to do.
    pub(super) fn continue_group(&mut self) {
        let Some(group) = &self.group else { return };
        match group.step {
            Step::Stopping => self.stop_group(group.from),
            Step::Waiting if group.due > self.now => {}
            Step::Starting(id) if self.is_on_its_way(id) => {}
            Step::Waiting | Step::Starting(_) => self.start_next_of_group(),
        }
    }

    fn stop_group(&mut self, from: ChildId) {
        let mut alive = self.children.range(from..).rev();
        let last = alive.find(|(_, child)| child.state.is_alive());
        match last.map(|(id, child)| (*id, child.state)) {
            Some((_, State::Ending(_))) => {}
            Some((id, _)) => self.stop_by_spec(id),
            None => {
                if let Some(group) = &mut self.group {
                    group.step = Step::Waiting;
                }
                self.continue_group();
            }
        }
    }

    fn start_next_of_group(&mut self) {
        let Some(group) = &mut self.group else { return };
        match group.pending.pop_first() {
            Some(id) => {
                group.step = Step::Starting(id);
                self.begin_again(id);
            }
            None => self.end_group(),
        }
    }

    fn is_on_its_way(&self, id: ChildId) -> bool {
        let child = self.children.get(&id);
        child.is_some_and(|child| matches!(child.state, State::Starting(_) | State::Ending(_)))
    }

    fn begin_again(&mut self, id: ChildId) {
        let fresh = self
            .children
            .get(&id)
            .is_some_and(|child| child.incarnation == Incarnation::NONE);
        self.begin(
            id,
            if fresh {
                Cause::Initial
            } else {
                Cause::Restart
            },
        );
    }

    fn end_group(&mut self) {
        self.group = None;
        if matches!(self.phase, Phase::Initial(_)) {
            self.continue_initial();
        }
    }
}
