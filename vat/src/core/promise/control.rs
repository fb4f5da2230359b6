//! Calls that their caller gives up: cancelled, or not answered in time.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use super::state::{Core, State};
use super::{Promise, Resolver};
use crate::core::reference::Ref;
use crate::core::task::TaskId;
use crate::core::time::TimerId;
use crate::core::turn::{Effect, Work};
use crate::core::vat::{Breakable, Shared};
use crate::data::Data;
use crate::error::{Error, ErrorKind, Result};

/// What is known of a call that can be given up. Most calls have none.
#[derive(Default)]
pub(super) struct Control {
    /// When the caller gives up.
    deadline: Cell<Option<Duration>>,
    /// The same without what the running turn says.
    committed: Cell<Option<Duration>>,
    timer: Cell<Option<TimerId>>,
    /// Stands for the call while it is in another vat; only if its method can be cancelled.
    question: RefCell<Option<Ref>>,
    /// The method, while it waits in this vat; only if it can be cancelled.
    task: Cell<Option<TaskId>>,
    given_up: Cell<bool>,
    /// How often the running turn has given it up.
    giving_up: Cell<u32>,
}

impl Control {
    fn is_given_up(&self) -> bool {
        self.given_up.get() || self.giving_up.get() > 0
    }
}

impl<T: Data> Promise<T> {
    /// Says that the call is not wanted any more: the promise and its clones break with
    /// [`ErrorKind::Cancelled`], when the turn commits. A promise that is settled stays as it is.
    ///
    /// The call itself is stopped only if its method is declared `#[cancellable]`; another one runs
    /// all the same, and its answer is dropped. A cancellable method that has not begun does not
    /// begin. One that waits stops where it waits: what its turns have done until then stays, and
    /// what it holds is dropped. It may also have ended already: a cancelled call "may have run".
    ///
    /// What the method has called itself is not cancelled with it. See
    /// [`cancel_on_drop`](Self::cancel_on_drop). A call that came through a
    /// [logging reference](crate::pattern::logging) or a [membrane](crate::pattern::membrane) runs to
    /// its end.
    pub fn cancel(self) {
        if let Some(vat) = self.0.vat.upgrade() {
            let core = Rc::clone(&self.0);
            vat.effect(Effect::Now(Box::new(Cancel(self))));
            if matches!(&*core.state.borrow(), State::Pending(_)) {
                // A call that this turn makes does not leave.
                let control = core.control();
                control.giving_up.set(control.giving_up.get() + 1);
            }
        }
    }

    /// The same promise, which is [cancelled](Self::cancel) if it is dropped before it is settled,
    /// whether the turn that drops it commits or fails: in an `async` method, when the method itself is
    /// cancelled or fails.
    pub fn cancel_on_drop(self) -> Cancelling<T> {
        Cancelling(Some(self))
    }

    /// Breaks it, and says so to its callee, after this much time.
    pub(super) fn limit(self, vat: &Rc<Shared>, limit: Duration) -> Self {
        let now = vat.now();
        // What the callee is told is reckoned from the engine's time.
        vat.engine(|engine| engine.handle_time(now));
        Resolver::of(&self.0).hurry(vat, now.saturating_add(limit));
        self
    }
}

/// A promise that is cancelled when it is dropped unsettled: see [`Promise::cancel_on_drop`].
#[derive(Debug)]
#[must_use = "dropping it cancels the call"]
pub struct Cancelling<T: Data>(Option<Promise<T>>);

impl<T: Data> Future for Cancelling<T> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T>> {
        let Some(promise) = &mut self.0 else {
            let reason = "the promise was awaited to its end before";
            return Poll::Ready(Err(Error::failed(reason)));
        };
        let polled = Pin::new(promise).poll(cx);
        if polled.is_ready() {
            self.0 = None;
        }
        polled
    }
}

impl<T: Data> Drop for Cancelling<T> {
    fn drop(&mut self) {
        if let Some(promise) = self.0.take()
            && let Some(vat) = promise.0.vat.upgrade()
        {
            vat.abandon(Box::new(Dropped(promise)));
        }
    }
}

impl<T: Data> Resolver<T> {
    /// The caller gives up then, unless it does so earlier anyway.
    pub(crate) fn hurry(&self, vat: &Rc<Shared>, deadline: Duration) {
        let control = self.0.control();
        let earlier = control.deadline.get().filter(|old| *old <= deadline);
        if earlier.is_none() {
            control.deadline.set(Some(deadline));
            // A promised reference is the engine's to break.
            if matches!(&*self.0.state.borrow(), State::Pending(_)) {
                vat.effect(Effect::Now(Box::new(Arm(Rc::clone(&self.0)))));
            }
        }
    }

    /// When its caller gives up.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        self.0.control.get()?.deadline.get()
    }

    /// The caller can cancel the call in another vat by this promise, which is nothing else.
    pub(crate) fn set_question(&self, question: Ref) {
        self.0.control().question.replace(Some(question));
    }

    /// Whether its caller does not want the answer any more.
    pub(crate) fn is_given_up(&self) -> bool {
        let control = self.0.control.get();
        control.is_some_and(|control| control.is_given_up())
    }

    /// The same call, for who runs its method.
    pub(crate) fn callee(&self) -> Callee<T> {
        Callee(Rc::downgrade(&self.0))
    }

    pub(super) fn question(&self) -> Option<captp::NodeId> {
        let control = self.0.control.get()?;
        control.question.borrow().as_ref().map(Ref::node)
    }
}

/// A call of this vat, for who runs its method.
pub(crate) struct Callee<T: Data>(Weak<Core<T>>);

impl<T: Data> Callee<T> {
    /// The method waits as this task. Breaks it at once if nobody wants it any more.
    pub(crate) fn runs(&self, vat: &Rc<Shared>, task: TaskId) {
        let Some(core) = self.0.upgrade() else { return };
        let control = core.control();
        control.task.set(Some(task));
        if control.given_up.get() {
            Stop::enqueue(vat, &core);
        }
    }

    /// The method has ended.
    pub(crate) fn ended(&self) {
        let core = self.0.upgrade();
        if let Some(control) = core.as_ref().and_then(|core| core.control.get()) {
            control.task.set(None);
        }
    }
}

impl<T: Data> Core<T> {
    fn control(&self) -> &Control {
        self.control.get_or_init(Box::default)
    }

    /// Nobody waits for it any more: it is settled.
    pub(super) fn disarm(&self, vat: &Shared) {
        if let Some(control) = self.control.get() {
            let timer = control.timer.take();
            drop(timer.and_then(|timer| vat.cancel_timer(timer)));
            if !control.given_up.get() {
                drop(control.question.take());
            }
        }
    }

    fn give_up(self: &Rc<Self>, vat: &Rc<Shared>, reason: Error) {
        if !matches!(&*self.state.borrow(), State::Pending(_)) {
            return;
        }
        let control = self.control();
        control.given_up.set(true);
        self.settle(vat, Err(reason));
        if control.task.get().is_some() {
            Stop::enqueue(vat, self);
        }
        if let Some(question) = control.question.take() {
            vat.engine(|engine| engine.cancel(question.node()));
        }
    }
}

/// What a method is broken with whose caller gives up.
pub(crate) fn cancelled() -> Error {
    Error::new(
        ErrorKind::Cancelled,
        "the caller gave the call up; it may have run",
    )
}

/// A `cancel` that waits for its commit.
struct Cancel<T: Data>(Promise<T>);

impl<T: Data> Work for Cancel<T> {
    fn run(self: Box<Self>, vat: &Rc<Shared>) {
        self.take_back();
        self.0.0.heeded.set(true);
        self.0.0.give_up(vat, cancelled());
    }

    fn fail(self: Box<Self>, _: &Rc<Shared>, _: Error) {
        self.take_back();
    }
}

impl<T: Data> Cancel<T> {
    fn take_back(&self) {
        if let Some(control) = self.0.0.control.get() {
            let giving_up = control.giving_up.get();
            control.giving_up.set(giving_up.saturating_sub(1));
        }
    }
}

/// A promise that was dropped with which its call is given up, after the turn in which it was.
struct Dropped<T: Data>(Promise<T>);

impl<T: Data> Breakable for Dropped<T> {
    fn break_with(self: Box<Self>, vat: &Rc<Shared>, _: Error) {
        self.0.0.heeded.set(true);
        self.0.0.give_up(vat, cancelled());
    }
}

/// A method that is to stop where it waits, in its place in the queue: what it holds may have `Drop`
/// code that sends.
struct Stop<T: Data>(Rc<Core<T>>);

impl<T: Data> Stop<T> {
    fn enqueue(vat: &Rc<Shared>, core: &Rc<Core<T>>) {
        vat.apply(Effect::Enqueue(Box::new(Self(Rc::clone(core)))));
    }
}

impl<T: Data> Work for Stop<T> {
    fn run(self: Box<Self>, vat: &Rc<Shared>) {
        if let Some(task) = self.0.control().task.take() {
            vat.break_task(task, cancelled());
        }
    }

    fn fail(self: Box<Self>, _: &Rc<Shared>, _: Error) {}
}

/// A deadline that waits for its commit.
struct Arm<T: Data>(Rc<Core<T>>);

impl<T: Data> Work for Arm<T> {
    fn run(self: Box<Self>, vat: &Rc<Shared>) {
        let Self(core) = *self;
        let control = core.control();
        let pending = matches!(&*core.state.borrow(), State::Pending(_));
        control.committed.set(control.deadline.get());
        let Some(deadline) = control.deadline.get().filter(|_| pending) else {
            return;
        };
        let left = deadline.saturating_sub(vat.now());
        let late = Box::new(Late {
            core: Rc::downgrade(&core),
            limit: left,
        });
        let earlier = control.timer.replace(Some(vat.set_timer(left, late)));
        drop(earlier.and_then(|timer| vat.cancel_timer(timer)));
    }

    fn fail(self: Box<Self>, _: &Rc<Shared>, _: Error) {
        let control = self.0.control();
        control.deadline.set(control.committed.get());
    }
}

/// Time is up.
struct Late<T: Data> {
    core: Weak<Core<T>>,
    limit: Duration,
}

impl<T: Data> Work for Late<T> {
    fn run(self: Box<Self>, vat: &Rc<Shared>) {
        if let Some(core) = self.core.upgrade() {
            core.give_up(vat, late(self.limit));
        }
    }

    fn fail(self: Box<Self>, _: &Rc<Shared>, _: Error) {}
}

/// What a promise breaks with that was not settled in this time.
pub(super) fn late(limit: Duration) -> Error {
    let late = format!("no answer within {limit:?}; the call may have run");
    Error::new(ErrorKind::TimedOut, late)
}
