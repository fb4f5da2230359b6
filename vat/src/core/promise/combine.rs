//! One promise made of several: all of them, any of them, whichever is first.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::state::Callback;
use super::{Promise, Resolver};
use crate::core::quietly;
use crate::core::turn::{Effect, Turn, Work};
use crate::core::vat::Shared;
use crate::data::Data;
use crate::error::{Error, Result};

impl<T: Data> Promise<T> {
    /// All values, in the order of the promises. The first promise that breaks breaks it at once,
    /// with its reason; the other calls run all the same. Of no promises: no values.
    pub fn all(turn: &Turn, promises: impl IntoIterator<Item = Self>) -> Promise<Vec<T>> {
        let promises: Vec<_> = promises.into_iter().collect();
        let (all, resolver) = Promise::new(&turn.0);
        if promises.is_empty() {
            resolver.resolve(Ok(Vec::new()));
            return all;
        }
        let missing = Cell::new(promises.len());
        let values = RefCell::new(vec![None; promises.len()]);
        let take = move |index: usize, result: Result<T>| {
            let values = &mut *values.borrow_mut();
            match (result, values.get_mut(index)) {
                (Ok(value), Some(place)) => *place = Some(value),
                (Err(reason), _) => return Some(Err(reason)),
                (Ok(_), None) => {}
            }
            missing.set(missing.get() - 1);
            (missing.get() == 0).then(|| Ok(values.drain(..).flatten().collect()))
        };
        combine(turn, promises, resolver, take);
        all
    }

    /// The first value that there is. It breaks when the last of the promises does, with the reason
    /// of that one.
    pub fn any(turn: &Turn, promises: impl IntoIterator<Item = Self>) -> Self {
        let promises: Vec<_> = promises.into_iter().collect();
        let missing = Cell::new(promises.len());
        let take = move |_, result: Result<T>| {
            missing.set(missing.get() - 1);
            (result.is_ok() || missing.get() == 0).then_some(result)
        };
        Self::one_of(turn, promises, take)
    }

    /// What the first of the promises that settles settles with, a value or a reason.
    pub fn race(turn: &Turn, promises: impl IntoIterator<Item = Self>) -> Self {
        Self::one_of(turn, promises.into_iter().collect(), |_, result| {
            Some(result)
        })
    }

    fn one_of(
        turn: &Turn,
        promises: Vec<Self>,
        take: impl Fn(usize, Result<T>) -> Option<Result<T>> + 'static,
    ) -> Self {
        let (one, resolver) = Self::new(&turn.0);
        if promises.is_empty() {
            resolver.resolve(Err(Error::failed("there is no promise to wait for")));
        } else {
            combine(turn, promises, resolver, take);
        }
        one
    }
}

/// Gives `take` what each promise settles with, in the order in which they do; what it gives first
/// settles the combined one.
fn combine<T: Data, U: Data>(
    turn: &Turn,
    promises: Vec<Promise<T>>,
    resolver: Resolver<U>,
    take: impl Fn(usize, Result<T>) -> Option<Result<U>> + 'static,
) {
    promises.iter().for_each(|promise| promise.check_vat(turn));
    let combined = Combined {
        resolver: RefCell::new(Some(resolver)),
        take,
    };
    let work = Combine {
        promises,
        combined: Rc::new(combined),
    };
    turn.0.effect(Effect::Now(Box::new(work)));
}

struct Combined<U: Data, F> {
    /// Until it is settled.
    resolver: RefCell<Option<Resolver<U>>>,
    take: F,
}

/// A combination that waits for its commit.
struct Combine<T: Data, U: Data, F> {
    promises: Vec<Promise<T>>,
    combined: Rc<Combined<U, F>>,
}

impl<T, U, F> Work for Combine<T, U, F>
where
    T: Data,
    U: Data,
    F: Fn(usize, Result<T>) -> Option<Result<U>> + 'static,
{
    fn run(self: Box<Self>, vat: &Rc<Shared>) {
        let Self { promises, combined } = *self;
        for (index, promise) in promises.into_iter().enumerate() {
            let combined = Rc::clone(&combined);
            let callback: Callback<T> =
                Box::new(move |vat, result| combined.settled(vat, index, result));
            promise.call_later(vat, callback);
        }
    }

    fn fail(self: Box<Self>, vat: &Rc<Shared>, reason: Error) {
        let resolver = self.combined.resolver.take();
        resolver
            .into_iter()
            .for_each(|resolver| resolver.settle(vat, Err(reason.clone())));
    }
}

impl<U: Data, F> Combined<U, F> {
    fn settled<T>(&self, vat: &Rc<Shared>, index: usize, result: Result<T>)
    where
        F: Fn(usize, Result<T>) -> Option<Result<U>>,
    {
        if self.resolver.borrow().is_none() {
            return quietly(|| drop(result)); // too late
        }
        if let Some(result) = (self.take)(index, result)
            && let Some(resolver) = self.resolver.take()
        {
            resolver.settle(vat, result);
        }
    }
}
