//! What a promise and its resolvers share: who waits, what came, and how it reaches who waits.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::{Rc, Weak};
use std::task::Waker;

use captp::{AnswerToken, Payload};

use super::Resolver;
use super::answer::answer_wire;
use super::control::Control;
use super::work::Deliver;
use crate::core::call::{Reply, read};
use crate::core::reference::Ref;
use crate::core::results::Results;
use crate::core::vat::{Breakable, Shared};
use crate::data::Data;
use crate::error::{Error, Result};

/// What a promise and its resolvers share.
pub(super) struct Core<T: Data> {
    pub(super) vat: Weak<Shared>,
    pub(super) state: RefCell<State<T>>,
    pub(super) promises: Cell<u32>,
    pub(super) resolvers: Cell<u32>,
    /// The call left the vat: the engine resolves the references inside the result itself.
    pub(super) encoded: Cell<bool>,
    /// Somebody knows, or need not know, why it broke.
    pub(super) heeded: Cell<bool>,
    pub(super) fields: OnceCell<(Vec<Ref>, T::Fields)>,
    /// How its caller gives it up, if it may.
    pub(super) control: OnceCell<Box<Control>>,
}

pub(super) enum State<T: Data> {
    Pending(Waiters<T>),
    /// The promise is a reference; the function gives the reference that `T` is.
    Reference(Ref, fn(T) -> Ref),
    /// Somebody in another vat waits.
    Wire(AnswerToken),
    /// Somebody who is told at once.
    Told(Callback<T>),
    Done(Result<T>),
    /// Settled, and nobody needs the value any more.
    Gone,
}

pub(super) enum Waiter<T: Data> {
    /// In a later turn.
    Later(Callback<T>),
    /// At once: another promise settles with the same result.
    Linked(Resolver<T>),
    Task(Waker),
}

/// Who waits, in order. Mostly that is one task.
pub(super) struct Waiters<T: Data> {
    first: Option<Waiter<T>>,
    more: Vec<Waiter<T>>,
}

impl<T: Data> Waiters<T> {
    pub(super) const fn new() -> Self {
        Self {
            first: None,
            more: Vec::new(),
        }
    }

    pub(super) fn push(&mut self, waiter: Waiter<T>) {
        match self.first {
            None => self.first = Some(waiter),
            Some(_) => self.more.push(waiter),
        }
    }

    pub(super) fn any(&self, is: impl Fn(&Waiter<T>) -> bool) -> bool {
        self.first.iter().chain(&self.more).any(is)
    }

    fn into_iter(self) -> impl Iterator<Item = Waiter<T>> {
        self.first.into_iter().chain(self.more)
    }
}

pub(super) type Callback<T> = Box<dyn FnOnce(&Rc<Shared>, Result<T>)>;

impl<T: Data> Core<T> {
    pub(super) fn new(vat: Weak<Shared>, state: State<T>) -> Rc<Self> {
        Rc::new(Self {
            vat,
            state: RefCell::new(state),
            promises: Cell::new(0),
            resolvers: Cell::new(0),
            encoded: Cell::new(false),
            heeded: Cell::new(false),
            fields: OnceCell::new(),
            control: OnceCell::new(),
        })
    }

    /// Whether this is a reference that the engine resolves by itself.
    fn is_followed(&self) -> bool {
        self.encoded.get() && matches!(&*self.state.borrow(), State::Reference(..))
    }

    /// Settles this and what is linked to it: in a loop, as a peer may choose how long a chain of
    /// promises gets.
    pub(super) fn settle(&self, vat: &Rc<Shared>, result: Result<T>) {
        let mut waiting = Vec::new();
        self.settle_one(vat, result, &mut waiting);
        while let Some((waiter, result)) = waiting.pop() {
            match waiter {
                Waiter::Later(callback) => Deliver::enqueue(vat, callback, result),
                Waiter::Linked(resolver) => resolver.0.settle_one(vat, result, &mut waiting),
                Waiter::Task(waker) => waker.wake(),
            }
        }
    }

    /// Settles this; who waits for it is put on the stack, the first one on top.
    fn settle_one(
        &self,
        vat: &Rc<Shared>,
        result: Result<T>,
        waiting: &mut Vec<(Waiter<T>, Result<T>)>,
    ) {
        let state = std::mem::replace(&mut *self.state.borrow_mut(), State::Gone);
        self.disarm(vat);
        match state {
            State::Pending(waiters) => {
                self.resolve_fields(vat, &result);
                if let Err(reason) = &result {
                    self.heed(vat, &waiters, reason);
                }
                let waiters = match waiters {
                    // Mostly it is one task, and nobody else.
                    Waiters {
                        first: Some(Waiter::Task(waker)),
                        more,
                    } if more.is_empty() => {
                        if self.promises.get() > 0 {
                            *self.state.borrow_mut() = State::Done(result);
                        }
                        return waker.wake();
                    }
                    waiters => waiters,
                };
                if !waiters.any(|waiter| !matches!(waiter, Waiter::Task(_))) {
                    // Only tasks, which come for it: no copy of what may be large.
                    if self.promises.get() > 0 {
                        *self.state.borrow_mut() = State::Done(result);
                    }
                    for waiter in waiters.into_iter() {
                        if let Waiter::Task(waker) = waiter {
                            waker.wake();
                        }
                    }
                    return;
                }
                if self.promises.get() > 0 {
                    *self.state.borrow_mut() = State::Done(result.clone());
                }
                let mut others = Vec::new();
                for waiter in waiters.into_iter() {
                    match waiter {
                        Waiter::Task(waker) => waker.wake(),
                        other => others.push(other),
                    }
                }
                let mut others = others.into_iter();
                let first = others.next();
                waiting.extend(others.rev().map(|waiter| (waiter, result.clone())));
                waiting.extend(first.map(|waiter| (waiter, result)));
            }
            State::Reference(promise, into) if !self.encoded.get() => {
                vat.resolve(&promise, result.map(into));
            }
            State::Reference(..) => {}
            State::Wire(answer) => answer_wire(vat, answer, result),
            State::Told(callback) => callback(vat, result),
            settled @ (State::Done(_) | State::Gone) => *self.state.borrow_mut() = settled,
        }
    }

    /// It breaks. Somebody is told, will see, or nobody ever does.
    fn heed(&self, vat: &Shared, waiters: &Waiters<T>, reason: &Error) {
        if waiters.any(|waiter| !matches!(waiter, Waiter::Task(_))) {
            self.heeded.set(true);
        } else if self.promises.get() == 0 {
            self.unheeded(vat, reason);
        }
    }

    /// It has broken and nobody will see why.
    pub(super) fn unheeded(&self, vat: &Shared, reason: &Error) {
        if !self.heeded.replace(true) {
            vat.report_unheeded(reason);
        }
    }

    pub(super) fn wait(&self, waiter: Waiter<T>) {
        if let State::Pending(waiters) = &mut *self.state.borrow_mut() {
            waiters.push(waiter);
        }
    }
}

/// One of the core's resolvers.
impl<T: Data> Reply for Core<T> {
    fn returned(self: Rc<Self>, vat: &Rc<Shared>, result: Result<Payload>) {
        let resolver = Resolver(self);
        if resolver.0.is_followed() {
            // The engine has resolved the reference to what came.
            if let Ok(mut payload) = result {
                vat.release_all(payload.take_caps());
            }
            return drop(resolver.0.state.replace(State::Gone));
        }
        let result = result.and_then(|mut payload| {
            if payload.caps().is_empty() {
                return Ok(read::<Results<T>>(&payload, &[])?.value);
            }
            let caps = vat.adopt_all(payload.take_caps());
            Ok(read::<Results<T>>(&payload, &caps)?.value)
        });
        resolver.settle(vat, result);
    }
}

impl<T: Data> Breakable for Rc<Core<T>> {
    fn break_with(self: Box<Self>, vat: &Rc<Shared>, reason: Error) {
        // A state that came back with the old state of an object may hold a resolver again.
        if self.resolvers.get() == 0 {
            self.settle(vat, Err(reason));
        }
    }
}
