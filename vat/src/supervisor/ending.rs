//! What follows from the end of a child: it rests, it is restarted, or the supervisor gives up.

use std::time::Duration;

use super::child::{Cause, Child, End, Ending, Phase, State, Then};
use super::{
    Action, AutoShutdown, ChildId, ExitReason, GaveUp, Incarnation, Outcome, RestartKind, Strategy,
    Supervision,
};

impl Supervision {
    /// The child is gone, whether it had been ready or not.
    pub(super) fn on_gone(
        &mut self,
        id: ChildId,
        incarnation: Incarnation,
        reason: ExitReason,
        roll: f64,
    ) {
        let Some(child) = self.present(id, incarnation) else {
            return;
        };
        let end = match child.state {
            State::Idle | State::Waiting { .. } => return,
            State::Starting(start) => End::NotReady(start.cause),
            State::Running { since } => End::Ran { since },
            State::Ending(Ending {
                ready: Some(since), ..
            }) => End::Stopped { since },
            State::Ending(Ending {
                then: Then::FailStart(cause),
                ..
            }) => End::TimedOut(cause),
            State::Ending(_) => End::Abandoned,
        };
        child.state = State::Idle;
        let reason = match end {
            End::TimedOut(_) => ExitReason::Abnormal(child.not_ready_in_time()),
            End::NotReady(_) | End::Ran { .. } | End::Stopped { .. } | End::Abandoned => reason,
        };
        child.last_exit = Some(reason.clone());
        self.announce(id, incarnation, &end, reason.clone());
        match self.phase {
            Phase::Initial(_) | Phase::Up => self.after_end(id, &end, reason, roll),
            Phase::Stopping(_) | Phase::Killing(_) => self.continue_stopping(),
            Phase::Fresh | Phase::Finished(_) => {}
        }
    }

    /// Tells of the end of one incarnation. The only place that does.
    fn announce(
        &mut self,
        child: ChildId,
        incarnation: Incarnation,
        end: &End,
        reason: ExitReason,
    ) {
        let (since, asked) = match *end {
            End::Ran { since } => (since, false),
            End::Stopped { since } => (since, true),
            End::NotReady(_) | End::TimedOut(_) | End::Abandoned => {
                let reason = reason.to_string();
                self.actions.push_back(Action::NotStarted {
                    child,
                    incarnation,
                    reason,
                });
                return;
            }
        };
        let ran = self.now.saturating_sub(since);
        self.actions.push_back(Action::Died {
            child,
            incarnation,
            reason,
            asked,
            ran,
        });
    }

    /// What follows from the end of a child while the supervisor is not stopping.
    fn after_end(&mut self, id: ChildId, end: &End, reason: ExitReason, roll: f64) {
        if self.group.as_ref().is_some_and(|group| group.stops(id)) {
            return self.rest(id);
        }
        match *end {
            End::Ran { since } => {
                if self.restarts_after(id, &reason) {
                    self.note_settled(id, since);
                    self.restart(id, reason, roll);
                } else {
                    self.rest_by_itself(id);
                }
            }
            End::NotReady(Cause::Restart) | End::TimedOut(Cause::Restart) => {
                self.restart(id, reason, roll);
            }
            End::NotReady(Cause::Initial) | End::TimedOut(Cause::Initial) => {
                let name = self.name(id);
                self.stop_all(Outcome::StartFailed {
                    name,
                    reason: reason.to_string(),
                });
            }
            End::NotReady(Cause::Asked)
            | End::TimedOut(Cause::Asked)
            | End::Stopped { .. }
            | End::Abandoned => self.rest(id),
        }
    }

    /// Leaves the child stopped; a temporary one is dropped.
    fn rest(&mut self, id: ChildId) {
        if self
            .children
            .get(&id)
            .is_some_and(|child| child.is_temporary())
        {
            self.forget(id);
        }
        self.go_on_after(id);
    }

    /// Leaves a child stopped that ended by itself; the supervisor may end with it.
    fn rest_by_itself(&mut self, id: ChildId) {
        let significant = self.children.get(&id);
        let significant = significant.is_some_and(|child| child.spec.significant);
        let others = || {
            let mut others = self.children.iter().filter(|(other, _)| **other != id);
            others.any(|(other, child)| {
                let starts_first = child.incarnation == Incarnation::NONE;
                let expected = !matches!(child.state, State::Idle)
                    || self.will_restart(*other)
                    || (starts_first && matches!(self.phase, Phase::Initial(_)));
                child.spec.significant && expected
            })
        };
        let ends = significant
            && match self.spec.auto_shutdown {
                AutoShutdown::Never => false,
                AutoShutdown::AnySignificant => true,
                AutoShutdown::AllSignificant => !others(),
            };
        if !ends {
            return self.rest(id);
        }
        let name = self.name(id);
        if self.children.get(&id).is_some_and(Child::is_temporary) {
            self.forget(id);
        }
        self.stop_all(Outcome::AutoShutdown(name));
    }

    /// Restarts after the death of one child, or gives up.
    fn restart(&mut self, id: ChildId, reason: ExitReason, roll: f64) {
        if !self.window.allow(self.spec.intensity, self.now) {
            return self.give_up(id, reason);
        }
        let Some(child) = self.children.get_mut(&id) else {
            return;
        };
        let delay = self.spec.backoff.delay(child.streak, roll);
        child.streak = child.streak.saturating_add(1);
        match self.spec.strategy {
            Strategy::OneForOne => self.restart_one(id, delay),
            Strategy::OneForAll | Strategy::RestForOne => self.restart_with_others(id, delay),
        }
    }

    fn restart_one(&mut self, id: ChildId, delay: Duration) {
        let now = self.now;
        let Some(child) = self.children.get_mut(&id) else {
            return;
        };
        if delay.is_zero() {
            self.begin(id, Cause::Restart);
        } else {
            child.state = State::Waiting {
                due: now.saturating_add(delay),
            };
            self.timed.insert(id);
        }
    }

    fn give_up(&mut self, child: ChildId, reason: ExitReason) {
        let name = self.name(child);
        let gave_up = GaveUp {
            child,
            name,
            reason,
            intensity: self.spec.intensity,
        };
        self.actions.push_back(Action::GaveUp(gave_up.clone()));
        self.stop_all(Outcome::GaveUp(gave_up));
    }

    /// A child that was ready for long enough starts its backoff anew.
    fn note_settled(&mut self, id: ChildId, since: Duration) {
        let settled = self.now.saturating_sub(since) >= self.spec.backoff.settled;
        if let Some(child) = self.children.get_mut(&id)
            && settled
        {
            child.streak = 0;
        }
    }

    fn restarts_after(&self, id: ChildId, reason: &ExitReason) -> bool {
        self.children
            .get(&id)
            .is_some_and(|child| match child.spec.restart {
                RestartKind::Permanent => true,
                RestartKind::Transient => reason.is_abnormal(),
                RestartKind::Temporary => false,
            })
    }

    fn name(&self, id: ChildId) -> String {
        self.children
            .get(&id)
            .map(|child| child.spec.name.clone())
            .unwrap_or_default()
    }
}
