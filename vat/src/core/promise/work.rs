//! What a turn does with promises waits for its commit: resolutions, `then` and its callbacks.

use std::rc::Rc;
use std::time::Duration;

use super::state::{Callback, Waiter};
use super::{Promise, Resolver};
use crate::core::quietly;
use crate::core::turn::{Effect, Turn, Work};
use crate::core::vat::Shared;
use crate::data::Data;
use crate::error::{Error, Result};

impl<T: Data> Promise<T> {
    /// Calls back once it is settled, behind what is already queued.
    pub(super) fn call_later(self, vat: &Rc<Shared>, callback: Callback<T>) {
        match self.try_take() {
            Some(result) => Deliver::enqueue(vat, callback, result),
            None => self.0.wait(Waiter::Later(callback)),
        }
    }
}

/// A resolution that waits for its commit.
pub(super) struct Settle<T: Data> {
    pub(super) resolver: Resolver<T>,
    pub(super) result: Result<T>,
}

impl<T: Data> Work for Settle<T> {
    fn run(self: Box<Self>, vat: &Rc<Shared>) {
        self.resolver.settle(vat, self.result);
    }

    fn fail(self: Box<Self>, _: &Rc<Shared>, _: Error) {
        // The resolver drops: if it was the last one, the promise breaks with the turn's reason.
    }
}

/// A `then` that waits for its commit.
pub(super) struct Register<T: Data, U: Data, F> {
    pub(super) promise: Promise<T>,
    pub(super) callback: F,
    /// That of the turn that registered it: it goes on with what that began.
    pub(super) deadline: Option<Duration>,
    pub(super) resolver: Resolver<U>,
}

impl<T, U, F> Work for Register<T, U, F>
where
    T: Data,
    U: Data,
    F: FnOnce(&Turn, Result<T>) -> Result<U> + 'static,
{
    fn run(self: Box<Self>, vat: &Rc<Shared>) {
        let Self {
            promise,
            callback,
            deadline,
            resolver,
        } = *self;
        let callback: Callback<T> = Box::new(move |vat, result| {
            let result = vat.transact_by(deadline, |turn| callback(turn, result));
            resolver.settle(vat, result);
        });
        promise.call_later(vat, callback);
    }

    fn fail(self: Box<Self>, vat: &Rc<Shared>, reason: Error) {
        self.resolver.settle(vat, Err(reason));
    }
}

/// A `within` that waits for its commit.
pub(super) struct Limit<T: Data> {
    pub(super) promise: Promise<T>,
    pub(super) limit: Duration,
    pub(super) resolver: Resolver<T>,
}

impl<T: Data> Work for Limit<T> {
    fn run(self: Box<Self>, vat: &Rc<Shared>) {
        let Self {
            promise,
            limit,
            resolver,
        } = *self;
        if let Some(result) = promise.try_take() {
            return resolver.settle(vat, result);
        }
        let late = Late {
            limit,
            resolver: resolver.clone(),
        };
        let timer = vat.set_timer(limit, Box::new(late));
        let callback: Callback<T> = Box::new(move |vat, result| {
            let late = vat.cancel_timer(timer);
            resolver.settle(vat, result);
            quietly(|| drop(late));
        });
        promise.call_later(vat, callback);
    }

    fn fail(self: Box<Self>, vat: &Rc<Shared>, reason: Error) {
        self.resolver.settle(vat, Err(reason));
    }
}

/// Time is up.
struct Late<T: Data> {
    limit: Duration,
    resolver: Resolver<T>,
}

impl<T: Data> Work for Late<T> {
    fn run(self: Box<Self>, vat: &Rc<Shared>) {
        self.resolver
            .settle(vat, Err(super::control::late(self.limit)));
    }

    fn fail(self: Box<Self>, vat: &Rc<Shared>, reason: Error) {
        self.resolver.settle(vat, Err(reason));
    }
}

/// A callback whose turn has come.
pub(super) struct Deliver<T: Data> {
    callback: Callback<T>,
    result: Result<T>,
}

impl<T: Data> Deliver<T> {
    pub(super) fn enqueue(vat: &Rc<Shared>, callback: Callback<T>, result: Result<T>) {
        vat.apply(Effect::Enqueue(Box::new(Self { callback, result })));
    }
}

impl<T: Data> Work for Deliver<T> {
    fn run(self: Box<Self>, vat: &Rc<Shared>) {
        let Self { callback, result } = *self;
        quietly(|| callback(vat, result));
    }

    fn fail(self: Box<Self>, _: &Rc<Shared>, _: Error) {}
}
