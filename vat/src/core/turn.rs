//! Turns: what one does is kept in a log and happens when it commits, or not at all.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use captp::ConnId;

use super::call::{AnyCall, Call};
use super::death::{Panicking, Victim};
use super::heap::{Obj, Object, Undo};
use super::near::Near;
use super::promise::{Promisable, Promise, Resolver};
use super::reference::Ref;
use super::vat::{Job, Shared};
use super::{quietly, task};
use crate::data::Data;
use crate::error::{Error, Result};

/// Proof that a turn is running, and the handle for what only a turn may do.
///
/// Methods of objects get it as `turn: &Turn`. It is shared and has no lifetime: whether an object
/// may be changed is decided per object, not per turn.
pub struct Turn(pub(crate) Rc<Shared>);

impl Turn {
    /// A new object of this vat.
    pub fn spawn<T: Object>(&self, state: T) -> Near<T> {
        Near(Obj::new(&self.0, state, self.0.turn.number.get()))
    }

    /// The near reference of the object whose method is running: `turn.this(self)`.
    ///
    /// # Panics
    ///
    /// If `me` is not the state of the object whose near call is the innermost one. As every panic
    /// of a turn, it rolls the turn back.
    #[expect(
        clippy::panic,
        reason = "a mistake in the program's own code; the turn rolls back"
    )]
    pub fn this<T: Object>(&self, me: &T) -> Near<T> {
        let object = self.0.heap.borrow().get(self.0.turn.top.get());
        let object = object.and_then(|object| (object as Rc<dyn Any>).downcast::<Obj<T>>().ok());
        match object {
            Some(object) if contains(object.state.as_ptr().addr(), me) => Near(object),
            _ => panic!(
                "`turn.this(self)` needs the `self` of the running method, a {}",
                std::any::type_name::<T>()
            ),
        }
    }

    /// A promise, and the resolver that settles it.
    pub fn promise<T: Data>(&self) -> (T::Promised, Resolver<T>) {
        T::Promised::promised(&self.0)
    }

    /// Runs an `async` body in turns of its own: each stretch between two waits is one turn, the
    /// first one comes after the turns that are already waiting.
    ///
    /// # Cancel safety
    ///
    /// Dropping the promise does not stop the body.
    pub fn spawn_async<T: Data>(
        &self,
        body: impl AsyncFnOnce(&Cx) -> Result<T> + 'static,
    ) -> Promise<T> {
        let (promise, resolver) = Promise::new(&self.0);
        let cx = Cx(Self(Rc::clone(&self.0)));
        let done = move |vat: &Rc<Shared>, result| resolver.settle(vat, result);
        task::start(&self.0, async move { body(&cx).await }, done);
        promise
    }

    /// Marks `error` so that the turn answers with it and keeps its changes and sends, if the
    /// turn's outermost method returns it: `return Err(turn.commit_err(error))`.
    pub fn commit_err(&self, error: impl Into<Error>) -> Error {
        let error = error.into();
        self.0.turn.kept.replace(Some(error.clone()));
        error
    }

    /// The connection of the call that this turn answers, if it came from another vat. For limits:
    /// who calls authorises nothing.
    pub(crate) fn caller(&self) -> Option<ConnId> {
        self.0.turn.caller.get()
    }

    /// How long the caller still waits for what this turn does, if it said so: with
    /// [`Promise::within`], or because it has a deadline itself. Zero when it has given up.
    ///
    /// Calls that the turn makes have the same deadline at most: their promises break with
    /// [`ErrorKind::TimedOut`](crate::ErrorKind::TimedOut) then, and those made later than that do not
    /// begin, unless they are made [without it](Self::without_deadline). So have those of callbacks that it
    /// gives to [`then`](Promise::then), and of later stretches of an `async` method; a body that it
    /// [spawns](Self::spawn_async) has none.
    pub fn time_left(&self) -> Option<Duration> {
        let deadline = self.0.turn.deadline.get()?;
        Some(deadline.saturating_sub(self.0.now()))
    }

    /// Calls that `body` makes have no deadline of the caller's: they are made even if the caller does
    /// not wait any more. What a method must not leave half done belongs in here.
    pub fn without_deadline<R>(&self, body: impl FnOnce() -> R) -> R {
        let _outer = self.0.turn.deadline_for(None);
        body()
    }

    /// The vat's name, for logs.
    pub fn vat_name(&self) -> &str {
        &self.0.name
    }
}

impl std::fmt::Debug for Turn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "turn {} of vat {}",
            self.0.turn.number.get(),
            self.0.name
        )
    }
}

/// What an `async` method has instead of a turn: each stretch between two waits is one turn, with a
/// commit of its own. It derefs to [`Turn`].
///
/// State is reached through closures only (`this.with(cx, |me| …)`), so that no borrow of it can
/// live across a wait.
#[derive(Debug)]
pub struct Cx(pub(crate) Turn);

impl std::ops::Deref for Cx {
    type Target = Turn;

    fn deref(&self) -> &Turn {
        &self.0
    }
}

/// The running turn of a vat.
#[derive(Default)]
pub(crate) struct TurnState {
    /// Its number, unique among all turns of the thread; 0 between turns.
    pub(crate) number: Cell<u64>,
    pub(crate) running: Cell<bool>,
    /// How many near calls are on the stack.
    pub(crate) depth: Cell<u32>,
    /// Whence the message came that is being delivered.
    pub(crate) caller: Cell<Option<ConnId>>,
    /// When who asked for what the turn does gives up, on the scale of the vat's time.
    pub(crate) deadline: Cell<Option<Duration>>,
    /// Heap slot of the object whose near call is the innermost one.
    pub(crate) top: Cell<u32>,
    pub(crate) undo: RefCell<Vec<Box<dyn Undo>>>,
    /// Objects that a panic killed.
    pub(crate) died: RefCell<Vec<Victim>>,
    pub(crate) panicking: Panicking,
    log: RefCell<Vec<Effect>>,
    /// The error of `commit_err`.
    kept: RefCell<Option<Error>>,
}

impl TurnState {
    /// Sets the deadline until what is given is dropped.
    fn deadline_for(&self, deadline: Option<Duration>) -> Outer<'_> {
        Outer {
            outer: self.deadline.replace(deadline),
            at: &self.deadline,
        }
    }
}

/// Brings back a deadline.
struct Outer<'a> {
    outer: Option<Duration>,
    at: &'a Cell<Option<Duration>>,
}

impl Drop for Outer<'_> {
    fn drop(&mut self) {
        self.at.set(self.outer);
    }
}

/// What a turn wants done once it is sure that it commits.
pub(crate) enum Effect {
    Send(Ref, Box<dyn Call>),
    Forward(Ref, AnyCall),
    /// Goes to the tail of the queue.
    Enqueue(Box<dyn Work>),
    /// Is done at the commit itself.
    Now(Box<dyn Work>),
}

/// A piece of the vat's own work.
pub(crate) trait Work {
    fn run(self: Box<Self>, vat: &Rc<Shared>);
    /// It will never run: the turn that asked for it failed with this reason.
    fn fail(self: Box<Self>, vat: &Rc<Shared>, reason: Error);
}

impl Shared {
    /// Runs `body` as one atomic turn.
    ///
    /// # Errors
    ///
    /// The body's own error, after everything was rolled back (or kept, with `commit_err`).
    pub(crate) fn transact<R>(self: &Rc<Self>, body: impl FnOnce(&Turn) -> Result<R>) -> Result<R> {
        if self.turn.running.get() || !CURRENT.get().is_null() {
            return Err(Error::failed("a turn cannot be run inside a turn"));
        }
        self.begin();
        let turn = Turn(Rc::clone(self));
        let outcome = catch_unwind(AssertUnwindSafe(|| body(&turn)));
        self.end();
        let result = outcome.unwrap_or_else(|panic| {
            let error = Error::panicked(panic.as_ref());
            quietly(|| drop(panic));
            Err(error)
        });
        let result = self.kept_on_disk(result);
        match &result {
            Err(error) if !self.keeps(error) => {
                // What the turn made breaks together with it; its own failure is told.
                let silent = self.silent.replace(true);
                self.roll_back(error);
                self.bury(Some(error));
                self.silent.set(silent);
            }
            kept => {
                self.commit();
                self.bury(kept.as_ref().err());
            }
        }
        result
    }

    /// The same for somebody who gives up then.
    pub(crate) fn transact_by<R>(
        self: &Rc<Self>,
        deadline: Option<Duration>,
        body: impl FnOnce(&Turn) -> Result<R>,
    ) -> Result<R> {
        let _outer = self.turn.deadline_for(deadline);
        self.transact(body)
    }

    /// Does this at the commit of the running turn, or at once if none runs.
    ///
    /// # Panics
    ///
    /// If the running turn is another vat's: such a send would bypass the network between them.
    #[expect(
        clippy::panic,
        reason = "a mistake in the program's own code; its turn rolls back"
    )]
    pub(crate) fn effect(self: &Rc<Self>, effect: Effect) {
        let current = CURRENT.get();
        if std::ptr::eq(current, Rc::as_ptr(self)) {
            self.turn.log.borrow_mut().push(effect);
        } else if current.is_null() {
            self.apply(effect);
            self.rouse();
        } else {
            // The call inside is abandoned, not answered: its holder learns that when it drops.
            panic!(
                "a reference of vat {} was used in a turn of another vat",
                self.name
            );
        }
    }

    fn begin(self: &Rc<Self>) {
        let number = NEXT_TURN.get();
        NEXT_TURN.set(number + 1);
        self.turn.number.set(number);
        self.turn.running.set(true);
        self.turn.top.set(u32::MAX);
        self.turn.depth.set(0);
        self.turn.panicking.reset();
        CURRENT.set(Rc::as_ptr(self));
    }

    fn end(&self) {
        CURRENT.set(std::ptr::null());
        self.turn.running.set(false);
        self.turn.number.set(0);
    }

    /// What the turn changed of what is kept on disk can be kept, or the turn fails.
    #[inline]
    fn kept_on_disk<R>(self: &Rc<Self>, result: Result<R>) -> Result<R> {
        let Some(graph) = self.durable.get() else {
            return result;
        };
        let commits = match &result {
            Ok(_) => true,
            Err(error) => self.keeps(error),
        };
        match graph.end_turn(self, commits) {
            Ok(()) => result,
            Err(error) => Err(error),
        }
    }

    /// Whether this is the error that `commit_err` marked.
    fn keeps(&self, error: &Error) -> bool {
        self.turn
            .kept
            .borrow()
            .as_ref()
            .is_some_and(|kept| kept.is_same(error))
    }

    fn commit(self: &Rc<Self>) {
        if !self.turn.log.borrow().is_empty() {
            for effect in self.turn.log.take() {
                self.apply(effect);
            }
        }
        if !self.turn.undo.borrow().is_empty() {
            let undo = self.turn.undo.take();
            quietly(|| drop(undo));
        }
    }

    #[cold]
    fn roll_back(self: &Rc<Self>, reason: &Error) {
        let undo = std::mem::take(&mut *self.turn.undo.borrow_mut());
        for old in undo.into_iter().rev() {
            quietly(|| old.restore());
        }
        let log = std::mem::take(&mut *self.turn.log.borrow_mut());
        for effect in log {
            quietly(|| match effect {
                Effect::Send(_, call) => call.fail(self, reason.clone()),
                Effect::Forward(_, call) => call.fail_now(self, reason.clone()),
                Effect::Enqueue(work) | Effect::Now(work) => work.fail(self, reason.clone()),
            });
        }
    }

    /// Does this now, between turns.
    pub(crate) fn apply(self: &Rc<Self>, effect: Effect) {
        match effect {
            Effect::Send(target, call) => {
                self.engine(|engine| engine.send(target.node(), call));
            }
            Effect::Forward(target, call) => call.forward_now(self, &target),
            Effect::Enqueue(work) => self.engine(|engine| engine.enqueue(Job::Work(work))),
            Effect::Now(work) => quietly(|| work.run(self)),
        }
    }

    /// After the turn: takes the state of objects that died, and breaks what nobody will answer.
    fn bury(self: &Rc<Self>, reason: Option<&Error>) {
        if self.turn.kept.borrow().is_some() {
            self.turn.kept.take();
        }
        if !self.turn.died.borrow().is_empty() {
            self.bury_victims(reason);
        }
        self.break_abandoned(reason);
    }
}

/// Whether `part` is the value inside the `Option` at this address.
fn contains<T>(start: usize, part: &T) -> bool {
    let at = std::ptr::from_ref(part).addr();
    start <= at && at + size_of::<T>() <= start + size_of::<Option<T>>()
}

thread_local! {
    static NEXT_TURN: Cell<u64> = const { Cell::new(1) };
    /// The vat whose turn is running on this thread. A check only: nothing is found through it.
    static CURRENT: Cell<*const Shared> = const { Cell::new(std::ptr::null()) };
}
