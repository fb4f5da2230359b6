//! Promises and what settles them.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use captp::{AnswerToken, Promised};

use super::call::Reply;
use super::reference::Ref;
use super::turn::{Effect, Turn};
use super::vat::Shared;
use crate::data::Data;
use crate::error::{Error, Result};

mod answer;
mod combine;
mod control;
mod fields;
mod state;
mod work;

pub use answer::{Answer, Returned};
pub use control::Cancelling;
pub(crate) use control::{Callee, cancelled};
pub use fields::{Fields, NoFields};

use state::{Core, State, Waiter, Waiters};
use work::{Limit, Register, Settle};

/// What a caller gets at once for a result of type `T`: [`Promise<T>`] for values, the reference
/// itself for references. Implemented by the macros; not stable.
pub trait Promisable<T: Data>: Sized {
    /// A new one in this vat, and what settles it.
    fn promised(vat: &Rc<Shared>) -> (Self, Resolver<T>);
    /// One that is broken because the vat of `reference` has ended.
    fn ended(reference: &Ref) -> Self;
}

/// A value that is not there yet.
///
/// It is a future: `.await` it in `async` methods, or give [`then`](Self::then) a callback. It
/// derefs to the references inside the value, which can be called at once.
///
/// # Cancel safety
///
/// Dropping it says that the answer is not wanted; the call runs all the same.
#[must_use = "dropping a promise says that the answer is not wanted; `.detach()` says so aloud"]
pub struct Promise<T: Data>(Rc<Core<T>>);

/// Settles a promise. When its last clone is dropped unused, the promise breaks.
///
/// A resolver is part of the turn that uses it: if that turn fails, the promise is as unsettled as
/// it was before.
pub struct Resolver<T: Data>(Rc<Core<T>>);

impl<T: Data> Promise<T> {
    pub(crate) fn new(vat: &Rc<Shared>) -> (Self, Resolver<T>) {
        let cell = Core::new(Rc::downgrade(vat), State::Pending(Waiters::new()));
        if !T::Fields::PATHS.is_empty() {
            cell.fields();
        }
        (Self::of(&cell), Resolver::of(&cell))
    }

    /// Runs `callback` in a later turn, once the promise is settled; what it gives settles the
    /// promise that is returned.
    ///
    /// # Ordering
    ///
    /// Callbacks run in the order in which their promises settle, behind what is already queued.
    pub fn then<U: Data>(
        self,
        callback: impl FnOnce(&Turn, Result<T>) -> Result<U> + 'static,
    ) -> Promise<U> {
        let Some(vat) = self.0.vat.upgrade() else {
            return Promise::settled(vat_ended());
        };
        let (promise, resolver) = Promise::new(&vat);
        let registered = Register {
            promise: self,
            callback,
            deadline: vat.turn.deadline.get(),
            resolver,
        };
        vat.effect(Effect::Now(Box::new(registered)));
        promise
    }

    /// The same promise, but broken with [`ErrorKind::TimedOut`](crate::ErrorKind::TimedOut) when it
    /// is not settled within this time of the runtime, counted from now.
    ///
    /// Is it the promise of a call that this turn makes, the callee is told the deadline, if it is in
    /// this vat or in another one that knows of deadlines: a call whose time is up before it begins
    /// does not begin, calls that it makes meanwhile have the same deadline (see
    /// [`Turn::time_left`]), and a method that is declared `#[cancellable]` is
    /// [cancelled](Self::cancel). Any other method that has begun goes on, though what it calls when the
    /// time is up does not begin.
    ///
    /// A promise with clones is left alone: then the one that is returned breaks, and nothing else
    /// happens.
    ///
    /// What takes time while nothing waits for it, an answer that is queued behind others included,
    /// counts. A vat that is busy looks at the time between two rounds of its event loop, so the break
    /// comes some milliseconds late at most.
    pub fn within(self, limit: Duration) -> Self {
        let Some(vat) = self.0.vat.upgrade() else {
            return self; // settled, or its vat has ended
        };
        if self.0.promises.get() == 1 {
            return self.limit(&vat, limit);
        }
        let (promise, resolver) = Self::new(&vat);
        vat.effect(Effect::Now(Box::new(Limit {
            promise: self,
            limit,
            resolver,
        })));
        promise
    }

    /// Says that the answer is not wanted; the call runs all the same.
    ///
    /// A promise that breaks while nobody waits for it, and was not detached, is reported once:
    /// logged, and counted by [`Vat::unheeded`](crate::Vat::unheeded).
    pub fn detach(self) {
        self.0.heeded.set(true);
    }

    /// The result, if it is there: for hosts and tests, which cannot wait.
    pub fn try_take(&self) -> Option<Result<T>> {
        let mut state = self.0.state.borrow_mut();
        if let State::Done(Err(_)) = &*state {
            self.0.heeded.set(true);
        }
        match &*state {
            State::Done(result) if self.0.promises.get() > 1 => Some(result.clone()),
            State::Done(_) => match std::mem::replace(&mut *state, State::Gone) {
                State::Done(result) => Some(result),
                _ => None,
            },
            _ => None,
        }
    }

    /// A promise that is settled already.
    pub(crate) fn settled(result: Result<T>) -> Self {
        Self::of(&Core::new(Weak::new(), State::Done(result)))
    }

    /// Lets `resolver` settle with the same result.
    pub(crate) fn link(self, vat: &Rc<Shared>, resolver: Resolver<T>) {
        match self.try_take() {
            Some(result) => resolver.settle(vat, result),
            None => self.0.wait(Waiter::Linked(resolver)),
        }
    }

    /// # Panics
    ///
    /// If it is a promise of another vat, as a send there would.
    #[expect(
        clippy::panic,
        reason = "a mistake in the program's own code; its turn rolls back"
    )]
    fn check_vat(&self, turn: &Turn) {
        if let Some(vat) = self.0.vat.upgrade()
            && !Rc::ptr_eq(&vat, &turn.0)
        {
            panic!(
                "a promise of vat {} was used in a turn of another vat",
                vat.name
            );
        }
    }

    fn of(cell: &Rc<Core<T>>) -> Self {
        cell.promises.set(cell.promises.get() + 1);
        Self(Rc::clone(cell))
    }
}

impl<T: Data> Resolver<T> {
    /// Settles the promise, when the turn commits. If it is settled already, nothing happens.
    pub fn resolve(self, result: Result<T>) {
        if let Some(vat) = self.0.vat.upgrade() {
            vat.effect(Effect::Now(Box::new(Settle {
                resolver: self,
                result,
            })));
        }
    }

    /// The promise is this reference; `into` gives the reference that `T` is.
    pub(crate) fn of_reference(reference: Ref, into: fn(T) -> Ref) -> Self {
        let vat = reference.vat_weak();
        Self::of(&Core::new(vat, State::Reference(reference, into)))
    }

    /// Somebody in another vat waits for it.
    fn wire(vat: &Rc<Shared>, answer: AnswerToken) -> Self {
        Self::of(&Core::new(Rc::downgrade(vat), State::Wire(answer)))
    }

    /// Who is told the result, at once.
    pub(crate) fn calling(
        vat: &Rc<Shared>,
        callback: impl FnOnce(&Rc<Shared>, Result<T>) + 'static,
    ) -> Self {
        let told = State::Told(Box::new(callback));
        Self::of(&Core::new(Rc::downgrade(vat), told))
    }

    /// Settles the promise at once: for the run loop, between turns.
    pub(crate) fn settle(self, vat: &Rc<Shared>, result: Result<T>) {
        self.0.settle(vat, result);
    }

    /// The promises that stand for references inside the coming result, with their paths from the
    /// results struct: its only field is pointer 0. From now on they are the engine's to resolve.
    pub(crate) fn pipelined(&self) -> Promised {
        let mut promised = self.promised_fields();
        if let Some(question) = self.question() {
            promised.push(question, &[]);
        }
        promised
    }

    fn promised_fields(&self) -> Promised {
        self.0.encoded.set(true);
        if let State::Reference(reference, _) = &*self.0.state.borrow() {
            let mut promised = Promised::new();
            promised.push(reference.node(), &[0]);
            return promised;
        }
        let Some((promised, _)) = self.0.fields.get() else {
            return Promised::new();
        };
        let paths = T::Fields::PATHS.iter().map(|path| [&[0], *path].concat());
        promised.iter().map(Ref::node).zip(paths).collect()
    }

    /// This as who waits for the answer of a call that left the vat. It has to be settled.
    pub(crate) fn into_reply(self) -> Rc<dyn Reply> {
        let core = Rc::clone(&self.0);
        core.resolvers.set(core.resolvers.get() + 1);
        core
    }

    /// The vat in which it settles; dangling if that has ended.
    pub(crate) fn vat(&self) -> *const Shared {
        self.0.vat.as_ptr()
    }

    /// Drops `value` once the engine is free again.
    pub(crate) fn discard_later<V: 'static>(&self, value: V) {
        if std::mem::needs_drop::<V>()
            && let Some(vat) = self.0.vat.upgrade()
        {
            vat.discard(Box::new(value));
        }
    }

    fn of(cell: &Rc<Core<T>>) -> Self {
        cell.resolvers.set(cell.resolvers.get() + 1);
        Self(Rc::clone(cell))
    }
}

/// `opened.file.read()`: the references inside a promised value.
impl<T: Data> std::ops::Deref for Promise<T> {
    type Target = T::Fields;

    fn deref(&self) -> &T::Fields {
        self.0.fields()
    }
}

impl<T: Data> Future for Promise<T> {
    type Output = Result<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T>> {
        if let Some(result) = self.try_take() {
            return Poll::Ready(result);
        }
        match &mut *self.0.state.borrow_mut() {
            State::Pending(waiters) => {
                let mine = |waiter: &Waiter<T>| match waiter {
                    Waiter::Task(waker) => waker.will_wake(cx.waker()),
                    Waiter::Later(_) | Waiter::Linked(_) => false,
                };
                if !waiters.any(mine) {
                    waiters.push(Waiter::Task(cx.waker().clone()));
                }
                Poll::Pending
            }
            _ => Poll::Ready(Err(Error::failed(
                "the promise was awaited to its end before",
            ))),
        }
    }
}

impl<T: Data> Promisable<T> for Promise<T> {
    fn promised(vat: &Rc<Shared>) -> (Self, Resolver<T>) {
        Self::new(vat)
    }

    fn ended(_: &Ref) -> Self {
        Self::settled(vat_ended())
    }
}

impl<T: Data> Clone for Promise<T> {
    fn clone(&self) -> Self {
        Self::of(&self.0)
    }
}

impl<T: Data> Drop for Promise<T> {
    fn drop(&mut self) {
        self.0.promises.set(self.0.promises.get() - 1);
        if self.0.promises.get() == 0
            && !self.0.heeded.get()
            && let State::Done(Err(reason)) = &*self.0.state.borrow()
            && let Some(vat) = self.0.vat.upgrade()
        {
            self.0.unheeded(&vat, reason);
        }
    }
}

impl<T: Data> Clone for Resolver<T> {
    fn clone(&self) -> Self {
        Self::of(&self.0)
    }
}

impl<T: Data> Drop for Resolver<T> {
    fn drop(&mut self) {
        self.0.resolvers.set(self.0.resolvers.get() - 1);
        if self.0.resolvers.get() == 0
            && !matches!(&*self.0.state.borrow(), State::Done(_) | State::Gone)
            && let Some(vat) = self.0.vat.upgrade()
        {
            let cell: Rc<Core<T>> = Rc::clone(&self.0);
            vat.abandon(Box::new(cell));
        }
    }
}

impl<T: Data> fmt::Debug for Promise<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &*self.0.state.borrow() {
            State::Done(Ok(_)) => "promise (fulfilled)",
            State::Done(Err(_)) => "promise (broken)",
            State::Gone => "promise (taken)",
            _ => "promise",
        })
    }
}

impl<T: Data> fmt::Debug for Resolver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("resolver")
    }
}

pub(crate) fn vat_ended<T>() -> Result<T> {
    Err(Error::disconnected("the vat of this reference has ended"))
}
