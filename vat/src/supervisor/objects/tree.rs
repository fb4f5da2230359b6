//! A supervisor of objects: what carries out what the state machine decides.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::{Rc, Weak};
use std::time::Duration;

use super::Death;
use super::child::{Body, Child, Made};
use crate::core::{Effect, Resolver, Root, Shared, TimerId, Turn, Watcher, Work, quietly};
use crate::error::{Error, Result};
use crate::supervisor::{
    Action, ChildId, Event, ExitReason, Incarnation, Outcome, Supervision, SupervisorSpec,
    Terminate,
};

/// Called with each death, in a turn of its own.
pub(super) type Monitor = Box<dyn FnMut(&Turn, &Death) -> Result<()>>;

/// The state machine, its children, and who is above it.
///
/// Law: nothing of it is borrowed while a program's code runs.
pub(super) struct Tree {
    pub(super) vat: Weak<Shared>,
    pub(super) machine: RefCell<Supervision>,
    pub(super) children: RefCell<BTreeMap<ChildId, Child>>,
    /// Names of children whose `add` has not committed.
    pub(super) reserved: RefCell<BTreeSet<String>>,
    /// What has happened and was not told to the machine yet.
    pub(super) events: RefCell<VecDeque<Event>>,
    pumping: Cell<bool>,
    /// Children whose stable references may have to lead elsewhere.
    pub(super) touched: RefCell<Vec<ChildId>>,
    /// Those whose stable references wait.
    pub(super) away: RefCell<BTreeSet<ChildId>>,
    timer: Cell<Option<(TimerId, Duration)>>,
    handled: Cell<u64>,
    monitors: RefCell<Vec<Monitor>>,
    parent: RefCell<Option<Parent>>,
    waiting: RefCell<Vec<Resolver<()>>>,
    #[cfg(test)]
    pub(super) trace: RefCell<Vec<Action>>,
}

/// The supervisor above, and as what it knows this one.
struct Parent {
    tree: Weak<Tree>,
    child: ChildId,
    life: Incarnation,
}

impl Tree {
    pub(super) fn new(vat: &Rc<Shared>, spec: SupervisorSpec) -> Rc<Self> {
        Rc::new(Self {
            vat: Rc::downgrade(vat),
            machine: RefCell::new(Supervision::new(spec)),
            children: RefCell::default(),
            reserved: RefCell::default(),
            events: RefCell::default(),
            pumping: Cell::new(false),
            touched: RefCell::default(),
            away: RefCell::default(),
            timer: Cell::new(None),
            handled: Cell::new(0),
            monitors: RefCell::default(),
            parent: RefCell::default(),
            waiting: RefCell::default(),
            #[cfg(test)]
            trace: RefCell::default(),
        })
    }

    /// It will never begin: what was added to it ends when it would have become a child.
    pub(super) fn abandon(&self) {
        let mut machine = self.machine.borrow_mut();
        machine.handle(Duration::ZERO, 0.0, Event::Kill);
        while machine.poll_action().is_some() {}
    }

    /// Takes in what happened, and does what follows from it.
    pub(super) fn feed(self: &Rc<Self>, event: Event) {
        self.events.borrow_mut().push_back(event);
        self.pump();
    }

    /// Resolves when no child is left and none will come.
    pub(super) fn when_finished(&self, vat: &Rc<Shared>, resolver: Resolver<()>) {
        let outcome = self.machine.borrow().outcome().cloned();
        match outcome {
            Some(outcome) => resolver.settle(vat, result_of(&outcome)),
            None => self.waiting.borrow_mut().push(resolver),
        }
    }

    pub(super) fn monitor(&self, monitor: Monitor) {
        self.monitors.borrow_mut().push(monitor);
    }

    /// Takes away a child that is stopped.
    pub(super) fn remove(self: &Rc<Self>, id: ChildId) {
        if self.machine.borrow_mut().remove(id) {
            self.touched.borrow_mut().push(id);
            self.pump();
        }
    }

    fn pump(self: &Rc<Self>) {
        let Some(vat) = self.vat.upgrade() else {
            return;
        };
        if self.pumping.replace(true) {
            return;
        }
        loop {
            let action = self.machine.borrow_mut().poll_action();
            if let Some(action) = action {
                self.act(&vat, action);
                continue;
            }
            let event = self.events.borrow_mut().pop_front();
            let Some(event) = event else { break };
            let failed = matches!(event, Event::StartFailed { .. });
            let roll = self.roll();
            self.machine.borrow_mut().handle(vat.now(), roll, event);
            if failed {
                // A child that can never start must not keep the vat from everything else.
                vat.apply(Effect::Enqueue(Box::new(Pump(Rc::clone(self)))));
                break;
            }
        }
        self.lead(&vat);
        self.set_timer(&vat);
        self.pumping.set(false);
    }

    /// For the jitter of restarts: different for children that fail together, and the same again
    /// when the vat takes the same turns again.
    fn roll(&self) -> f64 {
        let count = self.handled.get().wrapping_add(1);
        self.handled.set(count);
        let mixed = count.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mixed = (mixed ^ (mixed >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        f64::from((mixed >> 32) as u32) / f64::from(u32::MAX)
    }

    fn act(self: &Rc<Self>, vat: &Rc<Shared>, action: Action) {
        #[cfg(test)]
        self.trace.borrow_mut().push(action.clone());
        match action {
            Action::Start {
                child, incarnation, ..
            } => self.start(vat, child, incarnation),
            Action::Terminate { child, how, .. } => self.terminate(vat, child, how),
            Action::Died {
                child,
                incarnation,
                reason,
                asked,
                ran,
            } => {
                let name = self.over(child);
                tracing::info!(vat = %vat.name, child = name, reason = %reason, "a child died");
                let death = Death {
                    name,
                    life: incarnation,
                    reason,
                    asked,
                    ran,
                };
                self.tell(vat, &death);
            }
            Action::NotStarted { child, reason, .. } => {
                let name = self.over(child);
                tracing::warn!(vat = %vat.name, child = name, reason, "a child did not start");
            }
            Action::Ready => {
                self.tell_parent(|child, incarnation| Event::Started { child, incarnation });
            }
            Action::GaveUp(gave_up) => tracing::error!(vat = %vat.name, "{gave_up}"),
            Action::Finished(outcome) => self.finish(vat, &outcome),
        }
    }

    fn start(self: &Rc<Self>, vat: &Rc<Shared>, id: ChildId, incarnation: Incarnation) {
        self.touched.borrow_mut().push(id);
        let child = self.with_child(id, |child| child.take_made());
        let made = match child {
            Some(Ok(made)) => Ok(made),
            Some(Err(mut make)) => {
                let made = vat.transact(|turn| make(turn));
                self.with_child(id, |child| child.give_back(make));
                made.and_then(|made| self.take_on(vat, id, incarnation, made))
            }
            None => Err(Error::failed("the child is gone")),
        };
        let made = made.map(|made| {
            if let Body::Tree(tree) = &made.body {
                tree.parent.replace(Some(Parent {
                    tree: Rc::downgrade(self),
                    child: id,
                    life: incarnation,
                }));
            }
            let inner = made.tree();
            self.with_child(id, |child| child.live(made));
            inner
        });
        match made {
            Ok(Some(inner)) => inner.feed(Event::Start),
            Ok(None) => self.events.borrow_mut().push_back(Event::Started {
                child: id,
                incarnation,
            }),
            Err(error) => self.events.borrow_mut().push_back(Event::StartFailed {
                child: id,
                incarnation,
                reason: error.to_string(),
            }),
        }
    }

    /// From now on the end of this life is told to this supervisor.
    pub(super) fn take_on(
        self: &Rc<Self>,
        vat: &Rc<Shared>,
        child: ChildId,
        life: Incarnation,
        made: Made,
    ) -> Result<Made> {
        if let Body::Object(object) = &made.body {
            let watcher: Rc<Self> = Rc::clone(self);
            vat.watch(object, watcher, child, life)?;
        }
        Ok(made)
    }

    fn terminate(self: &Rc<Self>, vat: &Rc<Shared>, id: ChildId, how: Terminate) {
        self.touched.borrow_mut().push(id);
        let body = self.with_child(id, |child| child.body()).flatten();
        match (body, how) {
            (Some(Body::Object(object)), Terminate::Kill) => {
                vat.end_object(&object, ExitReason::Abnormal("killed".into()));
            }
            (Some(Body::Object(object)), Terminate::Ask) => {
                let stop = self.with_child(id, Child::take_stop).flatten();
                match stop {
                    Some((mut stop, life)) => {
                        stop(vat, life, object);
                        self.with_child(id, |child| child.give_stop_back(stop));
                    }
                    None => vat.end_object(&object, ExitReason::Shutdown),
                }
            }
            (Some(Body::Tree(tree)), Terminate::Ask) => tree.feed(Event::Stop),
            (Some(Body::Tree(tree)), Terminate::Kill) => tree.feed(Event::Kill),
            (None, _) => {}
        }
    }

    /// A life of this child is over. Gives the child's name.
    fn over(&self, id: ChildId) -> String {
        self.touched.borrow_mut().push(id);
        let name = self.with_child(id, |child| {
            let life = child.die();
            (child.name().to_owned(), life)
        });
        let (name, life) = name.unzip();
        quietly(|| drop(life));
        name.unwrap_or_default()
    }

    fn tell(&self, vat: &Rc<Shared>, death: &Death) {
        let mut monitors = self.monitors.take();
        for monitor in &mut monitors {
            if let Err(error) = vat.transact(|turn| monitor(turn, death)) {
                tracing::warn!(vat = %vat.name, err = %error, "a monitor of deaths failed");
            }
        }
        let mut added = self.monitors.borrow_mut();
        monitors.append(&mut added);
        *added = monitors;
    }

    fn finish(self: &Rc<Self>, vat: &Rc<Shared>, outcome: &Outcome) {
        self.touched
            .borrow_mut()
            .extend(self.children.borrow().keys());
        self.tell_parent(|child, incarnation| Event::Exited {
            child,
            incarnation,
            reason: outcome.exit_reason(),
        });
        for resolver in self.waiting.take() {
            resolver.settle(vat, result_of(outcome));
        }
        let root: Rc<dyn Root> = Rc::clone(self) as _;
        vat.forget_supervisor(&root);
        self.let_go();
    }

    /// Drops the program's code, which may hold the supervisor itself.
    fn let_go(&self) {
        let monitors = self.monitors.take();
        let mut children = self.children.borrow_mut();
        let code: Vec<_> = children.values_mut().map(Child::take_code).collect();
        drop(children);
        quietly(|| drop((monitors, code)));
    }

    fn tell_parent(&self, event: impl FnOnce(ChildId, Incarnation) -> Event) {
        let parent = self.parent.borrow();
        let Some(Parent { tree, child, life }) = &*parent else {
            return;
        };
        let (tree, event) = (tree.upgrade(), event(*child, *life));
        drop(parent);
        if let Some(tree) = tree {
            tree.feed(event);
        }
    }

    fn set_timer(self: &Rc<Self>, vat: &Rc<Shared>) {
        let next = self.machine.borrow().next_timeout();
        if self.timer.get().map(|(_, due)| due) == next {
            return;
        }
        if let Some((timer, _)) = self.timer.take() {
            drop(vat.cancel_timer(timer));
        }
        self.timer.set(next.map(|due| {
            let work = Box::new(Tick(Rc::downgrade(self)));
            (vat.set_timer(due.saturating_sub(vat.now()), work), due)
        }));
    }

    pub(super) fn with_child<R>(
        &self,
        id: ChildId,
        act: impl FnOnce(&mut Child) -> R,
    ) -> Option<R> {
        self.children.borrow_mut().get_mut(&id).map(act)
    }
}

impl Root for Tree {
    fn retire(&self, reason: &Error) {
        self.let_go();
        if let Some(vat) = self.vat.upgrade() {
            for resolver in self.waiting.take() {
                resolver.settle(&vat, Err(reason.clone()));
            }
        }
        let children = self.children.take();
        for child in children.values() {
            if let Some(Body::Tree(tree)) = child.body() {
                tree.retire(reason);
            }
        }
        quietly(|| drop(children));
    }
}

impl Watcher for Tree {
    fn ended(self: Rc<Self>, child: ChildId, incarnation: Incarnation, reason: ExitReason) {
        self.feed(Event::Exited {
            child,
            incarnation,
            reason,
        });
    }
}

fn result_of(outcome: &Outcome) -> Result<()> {
    match outcome {
        Outcome::Stopped | Outcome::AutoShutdown(_) => Ok(()),
        Outcome::GaveUp(_) | Outcome::StartFailed { .. } => {
            Err(Error::failed(format!("the supervisor ended: {outcome}")))
        }
    }
}

/// Children are there whose time has come to be told to the machine.
pub(super) struct Pump(pub(super) Rc<Tree>);

impl Work for Pump {
    fn run(self: Box<Self>, _: &Rc<Shared>) {
        self.0.pump();
    }

    fn fail(self: Box<Self>, _: &Rc<Shared>, _: Error) {}
}

/// Something is due.
struct Tick(Weak<Tree>);

impl Work for Tick {
    fn run(self: Box<Self>, _: &Rc<Shared>) {
        if let Some(tree) = self.0.upgrade() {
            tree.timer.set(None);
            tree.feed(Event::TimerFired);
        }
    }

    fn fail(self: Box<Self>, _: &Rc<Shared>, _: Error) {}
}
