//! How children are stopped: one of them, all in reverse order, or all at once.

use super::child::{Ending, Phase, State, Then};
use super::{Action, ChildId, Outcome, Shutdown, Supervision, Terminate};

impl Supervision {
    pub(super) fn on_stop_child(&mut self, id: ChildId) {
        if !matches!(self.phase, Phase::Initial(_) | Phase::Up) {
            return;
        }
        let Some(child) = self.children.get_mut(&id) else {
            return;
        };
        if let Some(group) = &mut self.group {
            group.forget(id);
        }
        match &mut child.state {
            State::Idle => {}
            State::Waiting { .. } => child.state = State::Idle,
            State::Ending(ending) => ending.then = Then::Rest,
            State::Starting(_) | State::Running { .. } => self.stop_by_spec(id),
        }
    }

    pub(super) fn on_stop(&mut self) {
        match self.phase {
            Phase::Fresh | Phase::Initial(_) | Phase::Up => self.stop_all(Outcome::Stopped),
            Phase::Stopping(_) | Phase::Killing(_) | Phase::Finished(_) => {}
        }
    }

    pub(super) fn on_kill(&mut self) {
        let outcome = match &self.phase {
            Phase::Fresh | Phase::Initial(_) | Phase::Up => Outcome::Stopped,
            Phase::Stopping(outcome) => outcome.clone(),
            Phase::Killing(_) | Phase::Finished(_) => return,
        };
        self.forget_waiting();
        self.phase = Phase::Killing(outcome);
        for id in self.ids().into_iter().rev() {
            self.terminate(id, Terminate::Kill, Then::Rest);
        }
        self.continue_stopping();
    }

    pub(super) fn stop_all(&mut self, outcome: Outcome) {
        self.forget_waiting();
        self.phase = Phase::Stopping(outcome);
        self.continue_stopping();
    }

    /// While stopping: asks the last child that is still there, or finishes when none is.
    pub(super) fn continue_stopping(&mut self) {
        let last = self
            .children
            .iter()
            .rev()
            .find(|(_, child)| child.state.is_alive());
        match last.map(|(id, child)| (*id, child.state)) {
            Some((_, State::Ending(_))) => {}
            Some((id, _)) => self.stop_by_spec(id),
            None => self.finish(),
        }
    }

    fn finish(&mut self) {
        let (Phase::Stopping(outcome) | Phase::Killing(outcome)) = &self.phase else {
            return;
        };
        let outcome = outcome.clone();
        self.phase = Phase::Finished(outcome.clone());
        self.actions.push_back(Action::Finished(outcome));
    }

    fn forget_waiting(&mut self) {
        self.group = None;
        for child in self.children.values_mut() {
            if matches!(child.state, State::Waiting { .. }) {
                child.state = State::Idle;
            }
        }
    }

    pub(super) fn stop_by_spec(&mut self, id: ChildId) {
        let Some(child) = self.children.get(&id) else {
            return;
        };
        let how = match child.spec.shutdown {
            Shutdown::Brutal => Terminate::Kill,
            Shutdown::Grace(_) | Shutdown::Infinity => Terminate::Ask,
        };
        self.terminate(id, how, Then::Rest);
    }

    /// Asks or kills a child that is alive; one that was killed already is left alone.
    pub(super) fn terminate(&mut self, id: ChildId, how: Terminate, then: Then) {
        let now = self.now;
        let Some(child) = self.children.get_mut(&id) else {
            return;
        };
        let ready = match child.state {
            State::Idle | State::Waiting { .. } => return,
            State::Ending(Ending { killed: true, .. }) => return,
            State::Starting(_) => None,
            State::Running { since } => Some(since),
            State::Ending(ending) => ending.ready,
        };
        let killed = how == Terminate::Kill;
        let kill_at = match child.spec.shutdown {
            Shutdown::Grace(grace) if !killed => Some(now.saturating_add(grace)),
            Shutdown::Grace(_) | Shutdown::Brutal | Shutdown::Infinity => None,
        };
        child.state = State::Ending(Ending {
            ready,
            kill_at,
            killed,
            then,
        });
        let incarnation = child.incarnation;
        self.timed.insert(id);
        self.actions.push_back(Action::Terminate {
            child: id,
            incarnation,
            how,
        });
    }
}
