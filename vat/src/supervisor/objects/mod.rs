//! Supervision inside a vat: objects as children, with the specs and rules of child vats.
//!
//! ```
//! use vat::prelude::*;
//! use vat::supervisor::{ChildSpec, SupervisorSpec};
//!
//! #[vat::interface]
//! pub trait Session {
//!     /// Divides, as long as that is possible.
//!     fn divide(&mut self, turn: &Turn, number: u64, by: u64) -> Result<u64>;
//! }
//!
//! #[derive(Clone, Default, vat::Object)]
//! struct Calculator {
//!     calls: u64,
//! }
//!
//! impl Session for Calculator {
//!     fn divide(&mut self, _: &Turn, number: u64, by: u64) -> Result<u64> {
//!         self.calls += 1;
//!         Ok(number / by)
//!     }
//! }
//!
//! let vat = vat::Vat::new("sessions");
//! let session = vat.turn(|turn| {
//!     let supervisor = turn.supervise(SupervisorSpec::default());
//!     supervisor.add(turn, ChildSpec::new("session"), |turn| {
//!         Ok(SessionRef::new(turn, Calculator::default()))
//!     })
//! })?;
//! let (failed, next) = (session.divide(1, 0), session.divide(6, 2));
//! vat.run(1_000);
//! assert_eq!(failed.try_take().unwrap().unwrap_err().kind(), ErrorKind::Panicked);
//! // It was on its way to the object that died.
//! assert_eq!(next.try_take().unwrap().unwrap_err().kind(), ErrorKind::Dead);
//! let again = session.divide(6, 2);
//! vat.run(1_000);
//! assert_eq!(again.try_take().unwrap()?, 3);
//! # Ok::<(), vat::Error>(())
//! ```
//!
//! # Lives
//!
//! The constructor given to [`add`](ObjectSupervisor::add) makes an object each time the child is
//! started; a restarted object begins with the state that it is given there. A constructor that fails
//! or panics is a start that failed. `add` itself calls it at once, in the running turn: if it fails,
//! there is no child.
//!
//! A life ends when a panic passes through the object (it is the innermost supervised one that the
//! panic meets), when it ends itself with [`Near::end`](crate::Near::end), or when the supervisor ends
//! it. An `Err` never ends it. The end is told to the supervisor in a later turn, once; in between
//! nothing of it can be called.
//!
//! # The stable reference
//!
//! What `add` returns survives restarts: it leads to the present life. References to the object
//! itself, such as the one that the constructor made, break with their life.
//!
//! - A call that was under way when the object died is answered with
//!   [`ErrorKind::Dead`](crate::ErrorKind::Dead): it may have run. Nothing is sent again.
//! - A call that comes while there is no life waits for the next one, in order, for at most
//!   [`ChildSpec::start_within`]; it breaks if there will be no next one.
//! - While a child is stopped, calls fail. When it is taken away for good, the reference breaks.
//!
//! # Stopping
//!
//! A child that is to stop ends at once, unless it was added
//! [with a stop method](ObjectSupervisor::add_with_stop): that is called, and the object ends when it
//! answers, or when the grace is over. What the object sent before is sent.
//!
//! # Trees
//!
//! [`add_supervisor`](ObjectSupervisor::add_supervisor) adds a supervisor as a child. When it is
//! restarted, its constructor makes its children anew; those that were added later are not. A
//! supervisor ends when it gave up, and its own supervisor decides what that means.
//!
//! The supervisor belongs to the vat, not to the turn: its state is not rolled back, and it lives
//! until it is stopped, whether or not anybody holds it.

use std::rc::Rc;
use std::time::Duration;

use crate::core::{Effect, Promise, Ref, Shared, Turn, Work};
use crate::error::{Error, Result};
use crate::supervisor::{
    ChildId, ChildSpec, ChildState, Event, ExitReason, Incarnation, SupervisorSpec,
};

mod adoption;
mod child;
mod leading;
mod service;
#[cfg(test)]
mod tests;
mod tree;

use child::{Body, Child, Made, Stop, stop_with};
use tree::Tree;

/// A supervisor of objects in its vat.
///
/// # Authority
///
/// Its holder adds, stops and starts children and ends the supervisor. Those who shall only call a
/// child get its stable reference.
#[derive(Clone)]
pub struct ObjectSupervisor(Rc<Tree>);

/// The end of one life of a child.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Death {
    /// The child's name.
    pub name: String,
    /// Which of its lives ended.
    pub life: Incarnation,
    /// How.
    pub reason: ExitReason,
    /// Whether the supervisor had asked it to stop, or ended it.
    pub asked: bool,
    /// How long it was there, by the runtime's own time.
    pub ran: Duration,
}

/// A supervised object as it is at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ObjectStatus {
    /// Its name.
    pub name: String,
    /// What it is doing; times are the runtime's own.
    pub state: ChildState,
    /// Its present or last life; `None` before the first.
    pub life: Option<Incarnation>,
    /// How many times it was restarted, ever.
    pub restarts: u64,
    /// How its last life ended.
    pub last_exit: Option<ExitReason>,
}

impl Turn {
    /// A new supervisor of objects in this vat, without children. If the turn fails there is none, and
    /// what is added to it later is refused.
    pub fn supervise(&self, spec: SupervisorSpec) -> ObjectSupervisor {
        let tree = Tree::new(&self.0, spec);
        self.0
            .effect(Effect::Now(Box::new(Begin(Rc::clone(&tree)))));
        ObjectSupervisor(tree)
    }
}

impl ObjectSupervisor {
    /// Adds a child behind all others and starts it at once, in this turn. What it gives is the
    /// stable reference, which survives the restarts of what `constructor` makes.
    ///
    /// # Errors
    ///
    /// If the name is taken, the spec makes no sense ([`AddError`](super::AddError)), the supervisor
    /// is stopping, or the constructor fails or gives something else than an object that it has made
    /// itself.
    pub fn add<R: From<Ref> + Into<Ref> + 'static>(
        &self,
        turn: &Turn,
        spec: ChildSpec,
        constructor: impl FnMut(&Turn) -> Result<R> + 'static,
    ) -> Result<R> {
        self.add_object(turn, spec, constructor, None)
    }

    /// Like [`add`](Self::add), with what the child does before it ends: `stop` is called in a turn
    /// with the object's own reference, and the object ends when the promise settles, or when the
    /// grace of [`ChildSpec::shutdown`] is over. It is not called where there is no grace, after a
    /// panic, or when the object ends itself.
    ///
    /// # Errors
    ///
    /// As [`add`](Self::add).
    pub fn add_with_stop<R: From<Ref> + Into<Ref> + 'static>(
        &self,
        turn: &Turn,
        spec: ChildSpec,
        constructor: impl FnMut(&Turn) -> Result<R> + 'static,
        mut stop: impl FnMut(&Turn, R) -> Promise<()> + 'static,
    ) -> Result<R> {
        let stop: Stop = Box::new(move |vat, life, object| {
            stop_with(vat, object, |turn| stop(turn, R::from(life)));
        });
        self.add_object(turn, spec, constructor, Some(stop))
    }

    /// Adds a supervisor as a child; [`ChildSpec::supervisor`] gives the usual spec. `constructor`
    /// adds its children to it, each time it is started, and answers with the reference to which the
    /// stable one leads.
    ///
    /// # Errors
    ///
    /// As [`add`](Self::add).
    pub fn add_supervisor<R: From<Ref> + Into<Ref> + 'static>(
        &self,
        turn: &Turn,
        spec: ChildSpec,
        below: SupervisorSpec,
        mut constructor: impl FnMut(&Turn, &Self) -> Result<R> + 'static,
    ) -> Result<R> {
        let make = move |turn: &Turn| {
            let inner = Self(Tree::new(&turn.0, below.clone()));
            let made = constructor(turn, &inner);
            if made.is_err() {
                inner.0.abandon();
            }
            Ok(Made {
                reference: made?.into(),
                body: Body::Tree(inner.0),
            })
        };
        let child = Child::new(&spec.name, Box::new(make), None);
        self.0.add(turn, spec, child).map(R::from)
    }

    /// Stops a child and leaves it stopped, when the turn commits. A temporary child is taken away.
    ///
    /// # Errors
    ///
    /// If there is no such child.
    pub fn stop_child(&self, turn: &Turn, name: &str) -> Result<()> {
        let id = self.find(name)?;
        self.control(turn, Control::Tell(Event::StopChild(id)));
        Ok(())
    }

    /// Starts a child that is stopped, when the turn commits. If that fails it is not tried again.
    ///
    /// # Errors
    ///
    /// If there is no such child.
    pub fn start_child(&self, turn: &Turn, name: &str) -> Result<()> {
        let id = self.find(name)?;
        self.control(turn, Control::Tell(Event::StartChild(id)));
        Ok(())
    }

    /// Takes a child away if it is stopped when the turn commits, so that its name is free; its
    /// stable reference breaks.
    ///
    /// # Errors
    ///
    /// If there is no such child.
    pub fn remove_child(&self, turn: &Turn, name: &str) -> Result<()> {
        let id = self.find(name)?;
        self.control(turn, Control::Remove(id));
        Ok(())
    }

    /// Stops all children in reverse order, each with its grace, and then ends, when the turn
    /// commits.
    pub fn stop(&self, turn: &Turn) {
        self.control(turn, Control::Tell(Event::Stop));
    }

    /// Ends all children at once and then itself, when the turn commits.
    pub fn kill(&self, turn: &Turn) {
        self.control(turn, Control::Tell(Event::Kill));
    }

    /// Settles when the supervisor has ended: broken if it gave up.
    pub fn ended(&self, turn: &Turn) -> Promise<()> {
        let (promise, resolver) = Promise::new(&turn.0);
        self.0.when_finished(&turn.0, resolver);
        promise
    }

    /// Calls `monitor` with each death of a child from now on, once for each, in a turn of its own
    /// that comes before a restart.
    pub fn on_death(&self, monitor: impl FnMut(&Turn, &Death) -> Result<()> + 'static) {
        self.0.monitor(Box::new(monitor));
    }

    /// The children as they are now, in start order.
    pub fn children(&self) -> Vec<ObjectStatus> {
        let machine = self.0.machine.borrow();
        let children = machine.children().map(|child| ObjectStatus {
            name: child.spec.name.clone(),
            state: child.state,
            life: child.incarnation,
            restarts: child.restarts,
            last_exit: child.last_exit.cloned(),
        });
        children.collect()
    }

    fn add_object<R: From<Ref> + Into<Ref> + 'static>(
        &self,
        turn: &Turn,
        spec: ChildSpec,
        mut constructor: impl FnMut(&Turn) -> Result<R> + 'static,
        stop: Option<Stop>,
    ) -> Result<R> {
        let make = move |turn: &Turn| Made::object(turn, |turn| constructor(turn).map(R::into));
        let child = Child::new(&spec.name, Box::new(make), stop);
        self.0.add(turn, spec, child).map(R::from)
    }

    fn find(&self, name: &str) -> Result<ChildId> {
        let found = self.0.machine.borrow().find(name);
        found.ok_or_else(|| Error::failed(format!("there is no child named {name:?}")))
    }

    fn control(&self, turn: &Turn, control: Control) {
        let tree = Rc::clone(&self.0);
        let order = Order { tree, control };
        turn.0.effect(Effect::Enqueue(Box::new(order)));
    }
}

impl std::fmt::Debug for ObjectSupervisor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let machine = self.0.machine.borrow();
        let names = machine.children().map(|child| &child.spec.name);
        f.debug_list().entries(names).finish()
    }
}

/// A `supervise` that waits for its commit.
struct Begin(Rc<Tree>);

impl Work for Begin {
    fn run(self: Box<Self>, vat: &Rc<Shared>) {
        let tree: Rc<Tree> = Rc::clone(&self.0);
        vat.keep_supervisor(tree);
        self.0.feed(Event::Start);
    }

    fn fail(self: Box<Self>, _: &Rc<Shared>, _: Error) {
        self.0.abandon();
    }
}

enum Control {
    Tell(Event),
    Remove(ChildId),
}

/// What a holder wants done, in its turn in the queue.
struct Order {
    tree: Rc<Tree>,
    control: Control,
}

impl Work for Order {
    fn run(self: Box<Self>, _: &Rc<Shared>) {
        match self.control {
            Control::Tell(event) => self.tree.feed(event),
            Control::Remove(id) => self.tree.remove(id),
        }
    }

    fn fail(self: Box<Self>, _: &Rc<Shared>, _: Error) {}
}
