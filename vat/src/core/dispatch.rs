//! How messages reach an object: one dispatch per interface and type of object.

use std::any::Any;
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use super::call::{AnyCall, Message, Method};
use super::cancel::{CallId, time_is_up};
use super::heap::{AnyObject, Obj, Object};
use super::near::Near;
use super::promise::{Answer, Callee, Resolver, Returned, cancelled};
use super::reference::{Interface, Ref};
use super::task::{self, TaskId};
use super::turn::{Cx, Turn};
use super::vat::Shared;
use crate::data::Data;
use crate::error::{Error, Result};
use crate::schema::{Describe, Description, Registry};

/// How messages reach an object. Made by `#[vat::interface]` only; not stable.
#[derive(Debug)]
pub struct Dispatch {
    /// `package::Trait`, for people.
    pub name: &'static str,
    /// Does what the message says.
    pub deliver: fn(Delivery),
    /// The interface with all it reaches; `None` for objects that pass everything on.
    pub describe: Option<fn() -> Description>,
}

/// A message that has reached its object.
pub struct Delivery {
    vat: Rc<Shared>,
    object: Rc<dyn AnyObject>,
    call: AnyCall,
    dispatch: &'static Dispatch,
}

/// A reference type whose interface objects of type `T` have. Implemented by `#[vat::interface]`
/// only; not stable.
pub trait Serves<T: Object>: Interface {
    /// How messages reach the object.
    const DISPATCH: &'static Dispatch;

    /// Does what a message says.
    fn deliver(delivery: Delivery);
}

/// The reference to an object for one of its interfaces.
pub fn reference<R: Serves<T>, T: Object>(near: &Near<T>) -> R {
    R::from(facet_reference(
        near,
        std::any::TypeId::of::<R>(),
        R::DISPATCH,
    ))
}

/// Describes an interface with all it reaches.
pub fn describe<R: Interface + Data>() -> Description {
    let mut types = Registry::default();
    R::describe(&mut types);
    types.into_description(R::ID)
}

impl Delivery {
    /// Id of the interface that the caller means.
    pub fn interface(&self) -> u64 {
        self.call.interface()
    }

    /// The method's ordinal.
    pub fn method(&self) -> u16 {
        self.call.method()
    }

    /// Runs a `&self` method.
    #[track_caller]
    pub fn read<M, T, R, E>(self, body: impl FnOnce(&T, &Turn, M::Params) -> Result<R, E>)
    where
        M: Method,
        T: Object,
        R: Returned<M::Output>,
        E: Into<Error>,
    {
        let site = std::panic::Location::caller();
        self.serve::<M, T, R>(|turn, near, params| {
            near.read_at(turn, site, |object| {
                body(object, turn, params).map_err(Into::into)
            })?
        });
    }

    /// Runs a `&mut self` method.
    #[track_caller]
    pub fn write<M, T, R, E>(self, body: impl FnOnce(&mut T, &Turn, M::Params) -> Result<R, E>)
    where
        M: Method,
        T: Object,
        R: Returned<M::Output>,
        E: Into<Error>,
    {
        let site = std::panic::Location::caller();
        self.serve::<M, T, R>(|turn, near, params| {
            near.enter_at(turn, site, |object| {
                body(object, turn, params).map_err(Into::into)
            })?
        });
    }

    /// Runs an `async` method: its first stretch now, in the turn of this message.
    pub fn run<M, T, R, E, F>(self, body: impl FnOnce(Near<T>, Cx, M::Params) -> F)
    where
        M: Method,
        T: Object,
        R: Returned<M::Output> + 'static,
        E: Into<Error> + 'static,
        F: Future<Output = Result<R, E>> + 'static,
    {
        let Some((vat, near, params, answer)) = self.open::<M, T>() else {
            return;
        };
        let caller = Caller::of::<M>(&answer);
        if caller.is_gone(&vat, &answer) {
            return answer.settle(&vat, Err(cancelled()));
        }
        let answer = answer.into_resolver(&vat);
        let deadline = vat.turn.deadline.get();
        let callee = M::CANCELLABLE.then(|| answer.callee());
        let cx = Cx(Turn(Rc::clone(&vat)));
        let owner = near.0.head.fate.is_watched().then(|| {
            let owner: Rc<dyn AnyObject> = Rc::<Obj<T>>::clone(&near.0);
            owner
        });
        let make = || {
            let future = body(near, cx, params.decode()?);
            Ok(async move { future.await.map_err(Into::into) })
        };
        let done = move |vat: &Rc<Shared>, result: Result<R>| {
            caller.ended(vat, &answer);
            give(vat, Answer::Promise(answer), result);
        };
        let task = task::run_first(&vat, owner, make, done);
        if let (Some(task), Some(callee)) = (task, callee) {
            caller.waits(&vat, &callee, task, deadline);
        }
    }

    /// Answers that the object has no such method.
    pub fn refuse(self) {
        let Self {
            vat,
            object: _,
            call,
            dispatch,
        } = self;
        let (name, method, interface) = (dispatch.name, call.method(), call.interface());
        let what = format!("{name} has no method {method} of interface {interface:#018x}");
        call.fail_now(&vat, Error::unimplemented(what));
    }

    fn serve<M, T, R>(self, body: impl FnOnce(&Turn, &Near<T>, M::Params) -> Result<R>)
    where
        M: Method,
        T: Object,
        R: Returned<M::Output>,
    {
        let Some((vat, near, params, answer)) = self.open::<M, T>() else {
            return;
        };
        let result = vat.transact(|turn| body(turn, &near, params.decode()?));
        give(&vat, answer, result);
    }

    #[expect(
        clippy::type_complexity,
        reason = "the parts of a message, taken apart at once"
    )]
    fn open<M: Method, T: Object>(
        self,
    ) -> Option<(
        Rc<Shared>,
        Near<T>,
        super::call::Params<M>,
        Answer<M::Output>,
    )> {
        let Self {
            vat, object, call, ..
        } = self;
        let Ok(object) = (object as Rc<dyn Any>).downcast::<Obj<T>>() else {
            call.fail_now(&vat, Error::unimplemented("the object has another type"));
            return None;
        };
        match call.into_message()?.open::<M>(&vat) {
            Ok((params, answer)) => Some((vat, Near(object), params, answer)),
            Err(message) => {
                let what = format!(
                    "{} is declared by another Rust type in the caller's code; both must use the \
                     same crate",
                    M::NAME
                );
                message.fail(&vat, Error::unimplemented(what));
                None
            }
        }
    }
}

impl std::fmt::Debug for Delivery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} to {}", self.call, self.object)
    }
}

/// Who may give up the call of a cancellable method.
#[derive(Clone, Copy)]
enum Caller {
    /// Nobody.
    None,
    Here,
    Elsewhere(CallId),
}

impl Caller {
    fn of<M: Method>(answer: &Answer<M::Output>) -> Self {
        match answer {
            _ if !M::CANCELLABLE => Self::None,
            Answer::Promise(_) => Self::Here,
            Answer::Wire(call) => Self::Elsewhere(CallId::of(call)),
        }
    }

    /// Whether it has given up before the method began.
    fn is_gone<T: Data>(self, vat: &Shared, answer: &Answer<T>) -> bool {
        match (self, answer) {
            (Self::None, _) => false,
            (_, Answer::Promise(answer)) => answer.is_given_up(),
            (_, Answer::Wire(call)) => vat.engine(|engine| engine.is_cancelled(call)),
        }
    }

    /// The method waits as this task.
    fn waits<T: Data>(
        self,
        vat: &Rc<Shared>,
        callee: &Callee<T>,
        task: TaskId,
        deadline: Option<Duration>,
    ) {
        match self {
            Self::None => {}
            Self::Here => callee.runs(vat, task),
            Self::Elsewhere(call) => vat.watch_call(call, task, deadline),
        }
    }

    /// The method has ended.
    fn ended<T: Data>(self, vat: &Shared, answer: &Resolver<T>) {
        match self {
            Self::None => {}
            Self::Here => answer.callee().ended(),
            Self::Elsewhere(call) => drop(vat.unwatch_call(call)),
        }
    }
}

/// An object of the runtime itself that only says where each call goes, outside of any turn.
pub(crate) trait Route: Object {
    /// The reference to which this call goes.
    ///
    /// # Errors
    ///
    /// What the call is answered with if there is none.
    fn route(&self, vat: &Rc<Shared>) -> Result<Ref>;
}

/// Such an object as a reference of any interface.
pub(crate) fn routed<T: Route>(near: &Near<T>) -> Ref {
    let dispatch = const {
        &Dispatch {
            name: "any",
            deliver: route::<T>,
            describe: None,
        }
    };
    facet_reference(near, std::any::TypeId::of::<dyn Any>(), dispatch)
}

fn route<T: Route>(delivery: Delivery) {
    let Delivery {
        vat, object, call, ..
    } = delivery;
    let target = Shared::state_of::<T, _>(&object, |router| router.route(&vat));
    match target {
        Some(Ok(target)) => call.forward_now(&vat, &target),
        Some(Err(reason)) => call.fail_now(&vat, reason),
        None => call.fail_now(&vat, super::death::dead(&*object)),
    }
}

/// An object that stands for any interface: caretaker, membrane, logger, rate limit.
///
/// It gets every call, whatever its interface, and passes it on with [`Ref::forward`] or refuses
/// it: no code per interface, nothing decoded.
pub trait Dynamic: Object {
    /// A call came. If this fails, the call is answered with the error.
    ///
    /// # Errors
    ///
    /// Any; the turn is rolled back.
    fn call(&mut self, turn: &Turn, call: AnyCall) -> Result<()>;
}

impl<T: Dynamic> Near<T> {
    /// This object as a reference of interface `R`, whatever `R` is.
    pub fn dynamic<R: From<Ref>>(&self) -> R {
        let dispatch = const {
            &Dispatch {
                name: "any",
                deliver: pass::<T>,
                describe: None,
            }
        };
        R::from(facet_reference(
            self,
            std::any::TypeId::of::<dyn Any>(),
            dispatch,
        ))
    }
}

fn pass<T: Dynamic>(delivery: Delivery) {
    let Delivery {
        vat, object, call, ..
    } = delivery;
    let Ok(object) = (object as Rc<dyn Any>).downcast::<Obj<T>>() else {
        return;
    };
    let near = Near(object);
    // A failure is told to the caller: the call drops, or its forwarding is rolled back.
    let passed = vat.transact(|turn| near.call(turn, |object| object.call(turn, call)));
    if let Err(error) = passed {
        tracing::debug!(vat = %vat.name(), object = ?near, err = %error, "a forwarder failed");
    }
}

impl Shared {
    /// A message from the engine.
    pub(crate) fn deliver(self: &Rc<Self>, key: captp::ObjectKey, message: Message) {
        let Some(facet) = self.facets.borrow().get(key) else {
            message.fail(self, Error::disconnected("the object is gone"));
            return;
        };
        if facet.object.head().fate.is_dead() {
            return message.fail(self, super::death::dead(&*facet.object));
        }
        if let Some(describe) = facet.dispatch.describe
            && message.interface() == Describe::INTERFACE
        {
            return message.describe(self, describe);
        }
        let deadline = message.deadline();
        if deadline.is_some_and(|deadline| deadline <= self.now()) {
            return message.fail(self, time_is_up());
        }
        self.turn.deadline.set(deadline);
        self.turn.caller.set(message.connection());
        let delivery = Delivery {
            vat: Rc::clone(self),
            object: facet.object,
            call: AnyCall::new(self, message),
            dispatch: facet.dispatch,
        };
        (facet.dispatch.deliver)(delivery);
        self.turn.deadline.set(None);
        self.turn.caller.set(None); // after a panic, `handle` does so
    }
}

fn give<T, R>(vat: &Rc<Shared>, answer: Answer<T>, result: Result<R>)
where
    T: Data,
    R: Returned<T>,
{
    match result {
        Ok(returned) => returned.answer(vat, answer),
        Err(error) => answer.settle(vat, Err(error)),
    }
}

fn facet_reference<T: Object>(
    near: &Near<T>,
    interface: std::any::TypeId,
    dispatch: &'static Dispatch,
) -> Ref {
    match near.0.head.vat.upgrade() {
        Some(vat) => vat.facet(near, interface, dispatch),
        None => Ref::promised_in(None),
    }
}
