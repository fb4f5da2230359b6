//! Promises and what settles them.

use std::cell::{Cell, OnceCell, RefCell};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};

use captp::{AnswerToken, Content, Exception, Payload, Promised};

use super::call::{Reply, read};
use super::quietly;
use super::reference::{Ref, write_leaving};
use super::results::Results;
use super::turn::{Effect, Turn, Work};
use super::vat::{Breakable, Shared};
use crate::data::{Data, Record};
use crate::error::{Error, Result};

/// What a caller gets at once for a result of type `T`: [`Promise<T>`] for values, the reference
/// itself for references. Implemented by the macros; not stable.
pub trait Promisable<T: Data>: Sized {
    /// A new one in this vat, and what settles it.
    fn promised(vat: &Rc<Shared>) -> (Self, Resolver<T>);
    /// One that is broken because the vat of `reference` has ended.
    fn ended(reference: &Ref) -> Self;
}

/// The references inside a promised value, which can be called before the value is there:
/// `opened.file.read()`. Implemented by `#[derive(vat::Data)]`; not stable.
pub trait Fields<T>: Sized + 'static {
    /// Where each reference is: indexes into the pointer sections, from the value's own struct on.
    const PATHS: &'static [&'static [u16]];
    /// The promised references, one per path and in the same order.
    fn new(promised: &[Ref]) -> Self;
    /// The references of the value that came, in the same order; `None` where it has none.
    fn of(value: &T) -> Vec<Option<Ref>>;
}

/// The fields of a value in which no reference can be called ahead.
#[derive(Debug)]
pub struct NoFields;

impl<T> Fields<T> for NoFields {
    const PATHS: &'static [&'static [u16]] = &[];

    fn new(_: &[Ref]) -> Self {
        Self
    }

    fn of(_: &T) -> Vec<Option<Ref>> {
        Vec::new()
    }
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

/// What a promise and its resolvers share.
struct Core<T: Data> {
    vat: Weak<Shared>,
    state: RefCell<State<T>>,
    promises: Cell<u32>,
    resolvers: Cell<u32>,
    /// The call left the vat: the engine resolves the references inside the result itself.
    encoded: Cell<bool>,
    fields: OnceCell<(Vec<Ref>, T::Fields)>,
}

enum State<T: Data> {
    Pending(Waiters<T>),
    /// The promise is a reference; the function gives the reference that `T` is.
    Reference(Ref, fn(T) -> Ref),
    /// Somebody in another vat waits.
    Wire(AnswerToken),
    Done(Result<T>),
    /// Settled, and nobody needs the value any more.
    Gone,
}

enum Waiter<T: Data> {
    /// In a later turn.
    Later(Callback<T>),
    /// At once: another promise settles with the same result.
    Linked(Resolver<T>),
    Task(Waker),
}

/// Who waits, in order. Mostly that is one task.
struct Waiters<T: Data> {
    first: Option<Waiter<T>>,
    more: Vec<Waiter<T>>,
}

impl<T: Data> Waiters<T> {
    const fn new() -> Self {
        Self {
            first: None,
            more: Vec::new(),
        }
    }

    fn push(&mut self, waiter: Waiter<T>) {
        match self.first {
            None => self.first = Some(waiter),
            Some(_) => self.more.push(waiter),
        }
    }

    fn any(&self, is: impl Fn(&Waiter<T>) -> bool) -> bool {
        self.first.iter().chain(&self.more).any(is)
    }

    fn into_iter(self) -> impl Iterator<Item = Waiter<T>> {
        self.first.into_iter().chain(self.more)
    }
}

type Callback<T> = Box<dyn FnOnce(&Rc<Shared>, Result<T>)>;

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
            resolver,
        };
        vat.effect(Effect::Now(Box::new(registered)));
        promise
    }

    /// Says that the answer is not wanted; the call runs all the same.
    pub fn detach(self) {}

    /// The result, if it is there: for hosts and tests, which cannot wait.
    pub fn try_take(&self) -> Option<Result<T>> {
        let mut state = self.0.state.borrow_mut();
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

    /// Settles the promise at once: for the run loop, between turns.
    pub(crate) fn settle(self, vat: &Rc<Shared>, result: Result<T>) {
        self.0.settle(vat, result);
    }

    /// The promises that stand for references inside the coming result, with their paths from the
    /// results struct: its only field is pointer 0. From now on they are the engine's to resolve.
    pub(crate) fn pipelined(&self) -> Promised {
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

impl<T: Data> Core<T> {
    fn new(vat: Weak<Shared>, state: State<T>) -> Rc<Self> {
        Rc::new(Self {
            vat,
            state: RefCell::new(state),
            promises: Cell::new(0),
            resolvers: Cell::new(0),
            encoded: Cell::new(false),
            fields: OnceCell::new(),
        })
    }

    /// Whether this is a reference that the engine resolves by itself.
    fn is_followed(&self) -> bool {
        self.encoded.get() && matches!(&*self.state.borrow(), State::Reference(..))
    }

    /// Settles this and what is linked to it: in a loop, as a peer may choose how long a chain of
    /// promises gets.
    fn settle(&self, vat: &Rc<Shared>, result: Result<T>) {
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
        match state {
            State::Pending(waiters) => {
                self.resolve_fields(vat, &result);
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
            settled @ (State::Done(_) | State::Gone) => *self.state.borrow_mut() = settled,
        }
    }

    fn wait(&self, waiter: Waiter<T>) {
        if let State::Pending(waiters) = &mut *self.state.borrow_mut() {
            waiters.push(waiter);
        }
    }

    /// The promised references inside the value, made on first use.
    fn fields(&self) -> &T::Fields {
        let (_, fields) = self.fields.get_or_init(|| {
            let vat = self.vat.upgrade();
            let promised: Vec<Ref> = T::Fields::PATHS
                .iter()
                .map(|_| Ref::promised_in(vat.as_ref()))
                .collect();
            let fields = T::Fields::new(&promised);
            (promised, fields)
        });
        fields
    }

    fn resolve_fields(&self, vat: &Rc<Shared>, result: &Result<T>) {
        if self.encoded.get() {
            return;
        }
        let Some((promised, _)) = self.fields.get() else {
            return;
        };
        let mut actual = match result {
            Ok(value) => T::Fields::of(value).into_iter(),
            Err(_) => Vec::new().into_iter(),
        };
        for promise in promised {
            let to = match result {
                Ok(_) => actual.next().flatten().ok_or_else(no_such_reference),
                Err(error) => Err(error.clone()),
            };
            vat.resolve(promise, to);
        }
    }
}

/// Encodes the answer of a call that came from outside.
fn answer_wire<T: Data>(vat: &Rc<Shared>, answer: AnswerToken, result: Result<T>) {
    match result {
        Ok(value) => {
            let results = Results { value };
            let mut write = |to: &mut Content| {
                let written = write_leaving(Rc::as_ptr(vat), || {
                    to.reserve(results.root_words());
                    results.write_root(to)
                });
                written.map_err(|error| Exception::from(&error))
            };
            vat.engine(|engine| engine.answer(answer, Ok(&mut write)));
        }
        Err(error) => vat.engine(|engine| engine.answer(answer, Err(Exception::from(&error)))),
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

/// Who gets the answer of a call that reached an object. Not stable.
///
/// It has to be settled or made a resolver: a caller in another vat would wait for ever.
#[derive(Debug)]
pub enum Answer<T: Data> {
    /// Somebody in this vat.
    Promise(Resolver<T>),
    /// Somebody in another vat.
    Wire(AnswerToken),
}

impl<T: Data> Answer<T> {
    /// Settles it at once: for the run loop, between turns.
    pub(crate) fn settle(self, vat: &Rc<Shared>, result: Result<T>) {
        match self {
            Self::Promise(resolver) => resolver.settle(vat, result),
            Self::Wire(token) => answer_wire(vat, token, result),
        }
    }

    /// What settles it later, and breaks it when it is dropped.
    pub(crate) fn into_resolver(self, vat: &Rc<Shared>) -> Resolver<T> {
        match self {
            Self::Promise(resolver) => resolver,
            Self::Wire(token) => Resolver::wire(vat, token),
        }
    }
}

/// What an interface method may give for a declared result `T`. Implemented here only.
pub trait Returned<T: Data> {
    /// Settles the answer of the call, now or later.
    fn answer(self, vat: &Rc<Shared>, answer: Answer<T>);
}

impl<T: Data> Returned<T> for T {
    fn answer(self, vat: &Rc<Shared>, answer: Answer<T>) {
        answer.settle(vat, Ok(self));
    }
}

impl<T: Data> Returned<T> for Promise<T> {
    fn answer(self, vat: &Rc<Shared>, answer: Answer<T>) {
        self.link(vat, answer.into_resolver(vat));
    }
}

/// A resolution that waits for its commit.
struct Settle<T: Data> {
    resolver: Resolver<T>,
    result: Result<T>,
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
struct Register<T: Data, U: Data, F> {
    promise: Promise<T>,
    callback: F,
    resolver: Resolver<U>,
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
            resolver,
        } = *self;
        let callback: Callback<T> = Box::new(move |vat, result| {
            let result = vat.transact(|turn| callback(turn, result));
            resolver.settle(vat, result);
        });
        match promise.try_take() {
            Some(result) => Deliver::enqueue(vat, callback, result),
            None => promise.0.wait(Waiter::Later(callback)),
        }
    }

    fn fail(self: Box<Self>, vat: &Rc<Shared>, reason: Error) {
        self.resolver.settle(vat, Err(reason));
    }
}

/// A callback whose turn has come.
struct Deliver<T: Data> {
    callback: Callback<T>,
    result: Result<T>,
}

impl<T: Data> Deliver<T> {
    fn enqueue(vat: &Rc<Shared>, callback: Callback<T>, result: Result<T>) {
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

pub(crate) fn vat_ended<T>() -> Result<T> {
    Err(Error::disconnected("the vat of this reference has ended"))
}

fn no_such_reference() -> Error {
    Error::failed("the result has no reference in this field")
}
