//! The state machine behind a supervisor: events in, actions out, no clock and no process.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::child::{Cause, Child, End, Ending, Phase, Starting, State, Then};
use super::group::Group;
use super::intensity::Window;
use super::{
    Action, ChildId, ChildSpec, ChildStatus, Event, ExitReason, GaveUp, Incarnation, Outcome,
    RestartKind, Shutdown, Strategy, SupervisorSpec, Terminate,
};

/// Decides what a supervisor does.
///
/// Contract: report everything through [`handle`](Self::handle), then take actions from
/// [`poll_action`](Self::poll_action) until there are none, then wait for the next report or until
/// [`next_timeout`](Self::next_timeout), whichever comes first, and report that.
///
/// Times are measured from any fixed moment on a clock that never goes back; a time that does is
/// taken for the latest one seen. Given the same events, times and rolls, the same actions come
/// out.
#[derive(Debug)]
pub struct Supervision {
    pub(super) spec: SupervisorSpec,
    pub(super) phase: Phase,
    /// In start order, because ids grow.
    pub(super) children: BTreeMap<ChildId, Child>,
    /// Several children that are being restarted because of one.
    pub(super) group: Option<Group>,
    next_child: u64,
    window: Window,
    pub(super) now: Duration,
    actions: VecDeque<Action>,
}

/// A name that another child of the same supervisor already has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is already a child named {0:?}")]
pub struct DuplicateName(pub String);

impl Supervision {
    /// A supervision without children that has not begun.
    pub fn new(spec: SupervisorSpec) -> Self {
        Self {
            spec,
            phase: Phase::Fresh,
            children: BTreeMap::new(),
            group: None,
            next_child: 0,
            window: Window::default(),
            now: Duration::ZERO,
            actions: VecDeque::new(),
        }
    }

    /// Adds a child behind all others. Before [`Event::Start`] it becomes part of the initial
    /// start; afterwards it waits for [`Event::StartChild`].
    ///
    /// # Errors
    ///
    /// If another child has the same name.
    pub fn add(&mut self, spec: ChildSpec) -> Result<ChildId, DuplicateName> {
        if self
            .children
            .values()
            .any(|child| child.spec.name == spec.name)
        {
            return Err(DuplicateName(spec.name));
        }
        let id = ChildId::new(self.next_child);
        self.next_child += 1;
        let child = Child {
            spec,
            state: State::Idle,
            incarnation: Incarnation::NONE,
            streak: 0,
            restarts: 0,
            last_exit: None,
        };
        self.children.insert(id, child);
        Ok(id)
    }

    /// Takes in what happened at `now`. `roll` is a fresh random number from 0 to 1, used for the
    /// jitter of a restart if there is one.
    pub fn handle(&mut self, now: Duration, roll: f64, event: Event) {
        self.now = self.now.max(now);
        match event {
            Event::Start => self.on_start(),
            Event::Started { child, incarnation } => self.on_started(child, incarnation),
            Event::StartFailed {
                child,
                incarnation,
                reason,
            } => {
                self.on_gone(child, incarnation, ExitReason::Abnormal(reason), roll);
            }
            Event::Exited {
                child,
                incarnation,
                reason,
            } => {
                self.on_gone(child, incarnation, reason, roll);
            }
            Event::TimerFired => self.on_timer(),
            Event::StartChild(child) => self.on_start_child(child),
            Event::StopChild(child) => self.on_stop_child(child),
            Event::Stop => self.on_stop(),
            Event::Kill => self.on_kill(),
        }
    }

    /// The next thing to do, in order.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When to report [`Event::TimerFired`], if nothing else happens before.
    pub fn next_timeout(&self) -> Option<Duration> {
        let children = self.children.values();
        let due = children.filter_map(|child| child.state.due());
        due.chain(self.group.as_ref().and_then(Group::due)).min()
    }

    /// The spec that this supervision follows.
    pub fn spec(&self) -> &SupervisorSpec {
        &self.spec
    }

    /// How it ended, once it has.
    pub fn outcome(&self) -> Option<&Outcome> {
        match &self.phase {
            Phase::Finished(outcome) => Some(outcome),
            Phase::Fresh
            | Phase::Initial(_)
            | Phase::Up
            | Phase::Stopping(_)
            | Phase::Killing(_) => None,
        }
    }

    /// Whether it has begun, no child is there, and none will be without being asked for: as it is
    /// when every child has ended and is not to be restarted. It goes on until it is stopped.
    pub fn is_idle(&self) -> bool {
        let waits = |child: &Child| !matches!(child.state, State::Idle);
        matches!(self.phase, Phase::Up)
            && self.group.is_none()
            && !self.children.values().any(waits)
    }

    /// Whether it was stopped, or gave up, and waits for its children to end, or has ended.
    pub fn is_stopping(&self) -> bool {
        match self.phase {
            Phase::Fresh | Phase::Initial(_) | Phase::Up => false,
            Phase::Stopping(_) | Phase::Killing(_) | Phase::Finished(_) => true,
        }
    }

    /// Whether this child is among those that are restarted because of another: it is stopped only
    /// to be started again.
    pub fn will_restart(&self, id: ChildId) -> bool {
        self.group
            .as_ref()
            .is_some_and(|group| group.due_of(id).is_some())
    }

    /// Restarts within the period that ends now: what counts against the intensity.
    pub fn recent_restarts(&self) -> usize {
        self.window.count(self.spec.intensity, self.now)
    }

    /// The child with this name.
    pub fn find(&self, name: &str) -> Option<ChildId> {
        self.children
            .iter()
            .find(|(_, child)| child.spec.name == name)
            .map(|(id, _)| *id)
    }

    /// One child, if it is still there.
    pub fn child(&self, id: ChildId) -> Option<ChildStatus<'_>> {
        let due = self.group.as_ref().and_then(|group| group.due_of(id));
        self.children.get(&id).map(|child| child.status(id, due))
    }

    /// All children in start order.
    pub fn children(&self) -> impl Iterator<Item = ChildStatus<'_>> {
        self.children.keys().filter_map(|id| self.child(*id))
    }

    fn on_start(&mut self) {
        if matches!(self.phase, Phase::Fresh) {
            self.continue_initial();
        }
    }

    fn on_started(&mut self, id: ChildId, incarnation: Incarnation) {
        let now = self.now;
        let Some(child) = self.present(id, incarnation) else {
            return;
        };
        let State::Starting(_) = child.state else {
            return;
        };
        child.state = State::Running { since: now };
        self.go_on_after(id);
    }

    /// Whatever waited for this child to be ready, or gone for good, goes on.
    fn go_on_after(&mut self, id: ChildId) {
        if self.group.is_some() {
            self.continue_group();
        } else if self.is_initial(id) {
            self.continue_initial();
        }
    }

    /// The child is gone, whether it had been ready or not.
    fn on_gone(&mut self, id: ChildId, incarnation: Incarnation, reason: ExitReason, roll: f64) {
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

    fn on_timer(&mut self) {
        for id in self.ids() {
            let Some(child) = self.children.get(&id) else {
                continue;
            };
            if child.state.due().is_none_or(|due| due > self.now) {
                continue;
            }
            match child.state {
                State::Waiting { .. } => self.begin(id, Cause::Restart),
                State::Starting(start) => {
                    self.terminate(id, Terminate::Kill, Then::FailStart(start.cause));
                }
                State::Ending(ending) => self.terminate(id, Terminate::Kill, ending.then),
                State::Idle | State::Running { .. } => {}
            }
        }
        self.continue_group();
    }

    fn on_start_child(&mut self, id: ChildId) {
        let up = matches!(self.phase, Phase::Initial(_) | Phase::Up);
        let Some(child) = self.children.get_mut(&id) else {
            return;
        };
        if up && matches!(child.state, State::Idle | State::Waiting { .. }) {
            child.streak = 0;
            let comes = |group: &Group| group.due_of(id).is_some();
            if !self.group.as_ref().is_some_and(comes) {
                self.begin(id, Cause::Asked);
            }
        }
    }

    fn on_stop_child(&mut self, id: ChildId) {
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

    fn on_stop(&mut self) {
        match self.phase {
            Phase::Fresh | Phase::Initial(_) | Phase::Up => self.stop_all(Outcome::Stopped),
            Phase::Stopping(_) | Phase::Killing(_) | Phase::Finished(_) => {}
        }
    }

    fn on_kill(&mut self) {
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

    /// Starts the next child of the initial start, or says that all are ready.
    pub(super) fn continue_initial(&mut self) {
        let never_started = |child: &Child| {
            child.incarnation == Incarnation::NONE && matches!(child.state, State::Idle)
        };
        let next = self.children.iter().find(|(_, child)| never_started(child));
        match next.map(|(id, _)| *id) {
            Some(id) => {
                self.phase = Phase::Initial(id);
                self.begin(id, Cause::Initial);
            }
            None => {
                self.phase = Phase::Up;
                self.actions.push_back(Action::Ready);
            }
        }
    }

    /// Starts a new incarnation.
    pub(super) fn begin(&mut self, id: ChildId, cause: Cause) {
        let now = self.now;
        let Some(child) = self.children.get_mut(&id) else {
            return;
        };
        child.incarnation = child.incarnation.next();
        let deadline = child
            .spec
            .start_within
            .map(|limit| now.saturating_add(limit));
        child.state = State::Starting(Starting {
            since: now,
            deadline,
            cause,
        });
        if matches!(cause, Cause::Restart) {
            child.restarts += 1;
        }
        let action = Action::Start {
            child: id,
            incarnation: child.incarnation,
            attempt: child.streak,
        };
        self.actions.push_back(action);
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
                    self.rest(id);
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
            self.children.remove(&id);
        }
        self.go_on_after(id);
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

    fn stop_all(&mut self, outcome: Outcome) {
        self.forget_waiting();
        self.phase = Phase::Stopping(outcome);
        self.continue_stopping();
    }

    /// While stopping: asks the last child that is still there, or finishes when none is.
    fn continue_stopping(&mut self) {
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
    fn terminate(&mut self, id: ChildId, how: Terminate, then: Then) {
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
        self.actions.push_back(Action::Terminate {
            child: id,
            incarnation,
            how,
        });
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

    /// The child, if this incarnation is its present one.
    fn present(&mut self, id: ChildId, incarnation: Incarnation) -> Option<&mut Child> {
        self.children
            .get_mut(&id)
            .filter(|child| child.incarnation == incarnation)
    }

    /// Whether the initial start waits for this child.
    fn is_initial(&self, id: ChildId) -> bool {
        matches!(self.phase, Phase::Initial(current) if current == id)
    }

    fn name(&self, id: ChildId) -> String {
        self.children
            .get(&id)
            .map(|child| child.spec.name.clone())
            .unwrap_or_default()
    }

    fn ids(&self) -> Vec<ChildId> {
        self.children.keys().copied().collect()
    }
}
