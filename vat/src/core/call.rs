//! Calls on their way: typed as long as they stay in the vat, bytes and references outside of it.

use std::any::Any;
use std::rc::{Rc, Weak};
use std::time::Duration;

use captp::{ConnId, Content, Encoded, Exception, LocalCall, Payload, WireCall};

use super::carry::{Carried, Tapped};
use super::promise::{Answer, Resolver, cancelled};
use super::reference::{Ref, write_leaving};
use super::turn::{Effect, Turn};
use super::vat::Shared;
use crate::data::{Data, Reader, Record, Source};
use crate::error::{Error, Result};
use crate::schema::{Describe, Description};

/// A method of an interface. Implemented by `#[vat::interface]` only; not stable.
pub trait Method: 'static {
    /// All parameters, as one record.
    type Params: Record;
    /// What the method answers.
    type Output: Data;
    /// Whether a caller that gives it up stops it.
    const CANCELLABLE: bool = false;
    /// Id of the interface.
    const INTERFACE: u64;
    /// Position in the interface.
    const ORDINAL: u16;
    /// `Trait.method`, for people.
    const NAME: &'static str;
}

/// A call as Rust values.
pub(crate) trait Call: Any {
    fn interface(&self) -> u64;
    fn method(&self) -> u16;
    /// `Trait.method`; empty if that is not known.
    fn name(&self) -> &'static str;
    /// When its caller gives up.
    fn deadline(&self) -> Option<Duration> {
        None
    }
    /// It leaves the vat: the parameters become bytes and references, the rest waits.
    #[expect(clippy::type_complexity, reason = "what `LocalCall::encode` gives")]
    fn encode(
        self: Box<Self>,
        params: &mut Content,
    ) -> Result<Encoded<Rc<dyn Reply>>, (Rc<dyn Reply>, Exception)>;
    fn fail(self: Box<Self>, vat: &Rc<Shared>, reason: Error);
}

/// Who waits for the answer of a call that left the vat.
pub(crate) trait Reply {
    fn returned(self: Rc<Self>, vat: &Rc<Shared>, result: Result<Payload>);
}

impl LocalCall for Box<dyn Call> {
    type Reply = Rc<dyn Reply>;

    fn interface(&self) -> u64 {
        (**self).interface()
    }

    fn method(&self) -> u16 {
        (**self).method()
    }

    fn deadline(&self) -> Option<Duration> {
        (**self).deadline()
    }

    fn encode(
        self,
        params: &mut Content,
    ) -> Result<Encoded<Self::Reply>, (Self::Reply, Exception)> {
        Call::encode(self, params)
    }
}

/// A call of a known method.
pub(crate) struct TypedCall<M: Method> {
    params: M::Params,
    answer: Resolver<M::Output>,
}

impl<M: Method> TypedCall<M> {
    pub(crate) const fn new(params: M::Params, answer: Resolver<M::Output>) -> Self {
        Self { params, answer }
    }
}

impl<M: Method> Call for TypedCall<M> {
    fn interface(&self) -> u64 {
        M::INTERFACE
    }

    fn method(&self) -> u16 {
        M::ORDINAL
    }

    fn name(&self) -> &'static str {
        M::NAME
    }

    fn deadline(&self) -> Option<Duration> {
        self.answer.deadline()
    }

    fn encode(
        self: Box<Self>,
        params: &mut Content,
    ) -> Result<Encoded<Rc<dyn Reply>>, (Rc<dyn Reply>, Exception)> {
        let Self {
            params: values,
            answer,
        } = *self;
        if M::CANCELLABLE && answer.is_given_up() {
            answer.discard_later(values);
            return Err((answer.into_reply(), Exception::from(&cancelled())));
        }
        let written = write_leaving(answer.vat(), || {
            params.reserve(values.root_words());
            values.write_root(params)
        });
        // Dropping the values may run a program's `Drop` code, which has to wait until the engine is
        // free again.
        answer.discard_later(values);
        match written {
            Ok(()) => {
                let pipelined = answer.pipelined();
                let reply = answer.into_reply();
                Ok(Encoded { reply, pipelined })
            }
            Err(error) => Err((answer.into_reply(), Exception::from(&error))),
        }
    }

    fn fail(self: Box<Self>, vat: &Rc<Shared>, reason: Error) {
        self.answer.settle(vat, Err(reason));
    }
}

/// A call of any interface, in whatever form it is: what a [`Dynamic`](super::Dynamic) object gets.
///
/// It has to be passed on with [`Ref::forward`] or refused; dropped, it fails.
pub struct AnyCall {
    vat: Weak<Shared>,
    message: Option<Message>,
}

/// A call as the engine delivers it.
pub(crate) enum Message {
    Local(Box<dyn Call>),
    Wire(WireCall),
}

impl AnyCall {
    pub(crate) fn new(vat: &Rc<Shared>, message: Message) -> Self {
        Self {
            vat: Rc::downgrade(vat),
            message: Some(message),
        }
    }

    /// Another call instead, for the same caller.
    pub(crate) fn map_message(mut self, map: impl FnOnce(Message) -> Message) -> Self {
        self.message = self.message.take().map(map);
        self
    }

    /// Id of the interface that the caller means.
    pub fn interface(&self) -> u64 {
        self.message.as_ref().map_or(0, Message::interface)
    }

    /// The method's ordinal in its interface.
    pub fn method(&self) -> u16 {
        self.message.as_ref().map_or(0, Message::method)
    }

    /// `Trait.method`, if the call was made in this vat.
    pub fn name(&self) -> Option<&'static str> {
        match self.message.as_ref()? {
            Message::Local(call) => Some(call.name()).filter(|name| !name.is_empty()),
            Message::Wire(_) => None,
        }
    }

    /// Answers the call with an error, when the turn commits.
    pub fn refuse(self, turn: &Turn, reason: impl Into<Error>) {
        let refusal = Refusal {
            call: self,
            reason: reason.into(),
        };
        turn.0.effect(Effect::Now(Box::new(refusal)));
    }

    /// Whether it came to an object of this vat.
    pub(crate) fn is_of(&self, vat: &Rc<Shared>) -> bool {
        std::ptr::eq(self.vat.as_ptr(), Rc::as_ptr(vat))
    }

    pub(crate) fn into_message(mut self) -> Option<Message> {
        self.message.take()
    }

    pub(crate) fn forward_now(mut self, vat: &Rc<Shared>, target: &Ref) {
        match self.message.take() {
            Some(Message::Local(call)) => vat.engine(|engine| engine.send(target.node(), call)),
            Some(Message::Wire(call)) => vat.engine(|engine| engine.forward(target.node(), call)),
            None => {}
        }
    }

    pub(crate) fn fail_now(mut self, vat: &Rc<Shared>, reason: Error) {
        if let Some(message) = self.message.take() {
            message.fail(vat, reason);
        }
    }
}

impl Drop for AnyCall {
    fn drop(&mut self) {
        if let Some(message) = self.message.take()
            && let Some(vat) = self.vat.upgrade()
        {
            vat.abandon(Box::new(message));
        }
    }
}

impl std::fmt::Debug for AnyCall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(
                f,
                "method {} of interface {:#x}",
                self.method(),
                self.interface()
            ),
        }
    }
}

impl Message {
    pub(crate) fn interface(&self) -> u64 {
        match self {
            Self::Local(call) => call.interface(),
            Self::Wire(call) => call.interface,
        }
    }

    pub(crate) fn method(&self) -> u16 {
        match self {
            Self::Local(call) => call.method(),
            Self::Wire(call) => call.method,
        }
    }

    /// When its caller gives up.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        match self {
            Self::Local(call) => call.deadline(),
            Self::Wire(call) => call.deadline,
        }
    }

    /// The connection on which it came, if it is from another vat.
    pub(crate) fn connection(&self) -> Option<ConnId> {
        match self {
            Self::Local(_) => None,
            Self::Wire(call) => Some(call.answer.connection()),
        }
    }

    pub(crate) fn fail(self, vat: &Rc<Shared>, reason: Error) {
        match self {
            Self::Local(call) => call.fail(vat, reason),
            Self::Wire(mut call) => {
                drop(vat.adopt_all(call.params.take_caps()));
                vat.engine(|engine| engine.answer(call.answer, Err(Exception::from(&reason))));
            }
        }
    }

    /// The parameters, still to be decoded, and who gets the answer. Gives the message back if it is
    /// a local call of another method.
    pub(crate) fn open<M: Method>(
        self,
        vat: &Rc<Shared>,
    ) -> Result<(Params<M>, Answer<M::Output>), Self> {
        match self {
            Self::Local(call) => {
                let call = match downcast::<TypedCall<M>>(call) {
                    Ok(TypedCall { params, answer }) => {
                        return Ok((Params::Values(params), Answer::Promise(answer)));
                    }
                    Err(call) => call,
                };
                let call = match downcast::<Carried>(call) {
                    Ok(carried) => return Ok(carried.open(vat)),
                    Err(call) => call,
                };
                let Tapped { call, tap } = downcast::<Tapped>(call).map_err(Self::Local)?;
                match Self::Local(call).open::<M>(vat) {
                    Ok((params, answer)) => Ok((params, Tapped::answer(vat, tap, answer))),
                    Err(Self::Local(call)) => Err(Self::Local(Box::new(Tapped { call, tap }))),
                    Err(other) => Err(other),
                }
            }
            Self::Wire(WireCall {
                mut params, answer, ..
            }) => {
                let caps = vat.adopt_all(params.take_caps());
                Ok((Params::Wire(params, caps), Answer::Wire(answer)))
            }
        }
    }
}

impl Message {
    /// Answers the universal `describe`, which no object implements itself.
    pub(crate) fn describe(self, vat: &Rc<Shared>, describe: fn() -> Description) {
        if self.method() != Describe::ORDINAL {
            let what = format!("vat::Describe has no method {}", self.method());
            return self.fail(vat, Error::unimplemented(what));
        }
        match self.open::<Describe>(vat) {
            Ok((_, answer)) => answer.settle(vat, Ok(describe())),
            Err(other) => other.fail(vat, Error::unimplemented("describe() has no parameters")),
        }
    }
}

/// The call itself, if it has this type.
fn downcast<C: Call>(call: Box<dyn Call>) -> Result<C, Box<dyn Call>> {
    if !(&*call as &dyn Any).is::<C>() {
        return Err(call);
    }
    let any: Box<dyn Any> = call;
    match any.downcast::<C>() {
        Ok(call) => Ok(*call),
        Err(_) => unreachable!("its type was looked at just before"),
    }
}

/// Parameters as they came.
pub(crate) enum Params<M: Method> {
    Values(M::Params),
    Wire(Payload, Vec<Ref>),
}

impl<M: Method> Params<M> {
    pub(crate) fn decode(self) -> Result<M::Params> {
        match self {
            Self::Values(params) => Ok(params),
            Self::Wire(payload, caps) => read(&payload, &caps),
        }
    }
}

/// A refused call, waiting for the commit.
struct Refusal {
    call: AnyCall,
    reason: Error,
}

impl super::turn::Work for Refusal {
    fn run(self: Box<Self>, vat: &Rc<Shared>) {
        let Self { call, reason } = *self;
        call.fail_now(vat, reason);
    }

    fn fail(self: Box<Self>, vat: &Rc<Shared>, reason: Error) {
        self.call.fail_now(vat, reason);
    }
}

/// Reads what came in a payload whose references are `caps`.
pub(super) fn read<R: Record>(payload: &Payload, caps: &[Ref]) -> Result<R> {
    let source = Source::of(payload, caps);
    let reader = match Reader::plain(payload, &source) {
        Some(reader) => reader,
        None => {
            let content = payload.content().map_err(|error| unreadable(&error))?;
            Reader::root(content, &source)?
        }
    };
    Ok(R::read_fields(&reader)?)
}

/// A message whose structure is broken. The details are the sender's business, and name internals.
fn unreadable(error: &capnp::Error) -> Error {
    Error::failed(format!("the message cannot be read: {}", error.kind))
}
