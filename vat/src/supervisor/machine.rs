//! The state machine behind a supervisor: events in, actions out, no clock and no process.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::child::{Cause, Child, Phase, Starting, State, Then};
use super::group::Group;
use super::intensity::Window;
use super::{
    Action, AutoShutdown, ChildId, ChildSpec, ChildStatus, Event, ExitReason, Incarnation, Outcome,
    RestartKind, SupervisorSpec, Terminate,
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
    names: BTreeMap<String, ChildId>,
    /// Those for which something may be due at some time, and not many others.
    pub(super) timed: BTreeSet<ChildId>,
    /// Several children that are being restarted because of one.
    pub(super) group: Option<Group>,
    next_child: u64,
    pub(super) window: Window,
    pub(super) now: Duration,
    pub(super) actions: VecDeque<Action>,
}

/// Why a child cannot be added.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddError {
    /// Another child of the same supervisor has the name.
    #[error("there is already a child named {0:?}")]
    DuplicateName(String),
    /// A permanent child never stays ended.
    #[error("{0:?} is permanent: it cannot be significant")]
    SignificantPermanent(String),
    /// The supervisor would take no notice.
    #[error("{0:?} is significant, but its supervisor never shuts down by itself")]
    SignificantForNothing(String),
}

impl Supervision {
    /// A supervision without children that has not begun.
    pub fn new(spec: SupervisorSpec) -> Self {
        Self {
            spec,
            phase: Phase::Fresh,
            children: BTreeMap::new(),
            names: BTreeMap::new(),
            timed: BTreeSet::new(),
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
    /// If another child has the same name, or the child is significant where it cannot be.
    pub fn add(&mut self, spec: ChildSpec) -> Result<ChildId, AddError> {
        self.check(&spec)?;
        let id = ChildId::new(self.next_child);
        self.names.insert(spec.name.clone(), id);
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

    /// Whether [`add`](Self::add) would take this child.
    ///
    /// # Errors
    ///
    /// What `add` would give.
    pub fn check(&self, spec: &ChildSpec) -> Result<(), AddError> {
        let name = || spec.name.clone();
        if self.names.contains_key(&spec.name) {
            Err(AddError::DuplicateName(name()))
        } else if spec.significant && spec.restart == RestartKind::Permanent {
            Err(AddError::SignificantPermanent(name()))
        } else if spec.significant && self.spec.auto_shutdown == AutoShutdown::Never {
            Err(AddError::SignificantForNothing(name()))
        } else {
            Ok(())
        }
    }

    /// Takes a child away that is stopped and not about to be started; says whether it did.
    pub fn remove(&mut self, id: ChildId) -> bool {
        let at_rest = |child: &Child| matches!(child.state, State::Idle);
        let removable = self.children.get(&id).is_some_and(at_rest)
            && !self.will_restart(id)
            && !self.is_initial(id)
            && !matches!(self.phase, Phase::Fresh | Phase::Initial(_));
        if removable {
            self.forget(id);
        }
        removable
    }

    /// Drops a child's spec.
    pub(super) fn forget(&mut self, id: ChildId) {
        if let Some(child) = self.children.remove(&id) {
            self.names.remove(&child.spec.name);
            self.timed.remove(&id);
        }
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
        let children = &self.children;
        self.timed.retain(|id| {
            let child = children.get(id);
            child.is_some_and(|child| child.state.due().is_some())
        });
    }

    /// The next thing to do, in order.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When to report [`Event::TimerFired`], if nothing else happens before.
    pub fn next_timeout(&self) -> Option<Duration> {
        let timed = self.timed.iter().filter_map(|id| self.children.get(id));
        let due = timed.filter_map(|child| child.state.due());
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
        self.names.get(name).copied()
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
    pub(super) fn go_on_after(&mut self, id: ChildId) {
        if self.group.is_some() {
            self.continue_group();
        } else if self.is_initial(id) {
            self.continue_initial();
        }
    }

    fn on_timer(&mut self) {
        for id in self.timed.iter().copied().collect::<Vec<_>>() {
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
        self.timed.insert(id);
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

    /// The child, if this incarnation is its present one.
    pub(super) fn present(&mut self, id: ChildId, incarnation: Incarnation) -> Option<&mut Child> {
        self.children
            .get_mut(&id)
            .filter(|child| child.incarnation == incarnation)
    }

    /// Whether the initial start waits for this child.
    fn is_initial(&self, id: ChildId) -> bool {
        matches!(self.phase, Phase::Initial(current) if current == id)
    }

    pub(super) fn ids(&self) -> Vec<ChildId> {
        self.children.keys().copied().collect()
    }
}
