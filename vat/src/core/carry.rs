//! Calls and answers without knowing their interface: taken apart, with references exchanged, and sent
//! on; or passed on as they are, with somebody who is told how they ended.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use captp::{AnswerToken, Content, Encoded, Exception, NodeId, Payload};

use super::call::{AnyCall, Call, Message, Method, Params, Reply};
use super::promise::{Answer, Resolver};
use super::reference::{Ref, write_leaving};
use super::results::Results;
use super::vat::Shared;
use crate::data::{Data, Record as _};
use crate::error::{Error, Result};

/// Parameters or results as a message: bytes, and the references in them, which may be exchanged
/// for others.
pub(crate) struct Body {
    payload: Payload,
    references: Vec<Ref>,
}

/// A call taken apart. The one who has it settles the asker.
pub(crate) struct Parts {
    /// Which method is meant.
    pub(crate) method: MethodId,
    pub(crate) params: Body,
    /// When the asker gives up.
    pub(crate) deadline: Option<Duration>,
    pub(crate) asker: Asker,
}

/// Which method of which interface.
#[derive(Clone, Copy)]
pub(crate) struct MethodId {
    pub(crate) interface: u64,
    pub(crate) ordinal: u16,
    /// `Trait.method`, if the call was made in this vat; otherwise empty.
    pub(crate) name: &'static str,
}

/// Who waits for the answer of a call that was taken apart.
pub(crate) enum Asker {
    /// Somebody in this vat; the promised references inside the answer are ours to resolve, each with
    /// its path.
    Here(Rc<dyn Reply>, Vec<(Ref, Box<[u16]>)>),
    /// Somebody in another vat.
    Wire(AnswerToken),
}

/// Who is told the answer of a call that was put together.
pub(crate) type Answered = Box<dyn FnOnce(&Rc<Shared>, Result<Body>)>;

/// Who is told how a call ended: with an answer, or why it broke.
pub(crate) type Tap = Box<dyn FnOnce(&Rc<Shared>, Option<&Error>)>;

impl Body {
    /// What came: takes over the counts of the references.
    fn of_payload(vat: &Rc<Shared>, mut payload: Payload) -> Self {
        let references = vat.adopt_all(payload.take_caps());
        Self {
            payload,
            references,
        }
    }

    /// What was written.
    fn of_content(vat: &Rc<Shared>, content: &Content) -> Self {
        let nodes: Vec<NodeId> = vat.engine(|engine| {
            let counted = content.references().iter().map(|node| match node {
                Some(node) => {
                    engine.retain(*node);
                    *node
                }
                None => engine.broken(null()),
            });
            counted.collect()
        });
        Self::of_payload(vat, Payload::of(content, nodes))
    }

    fn of_results<T: Data>(vat: &Rc<Shared>, value: T) -> Result<Self> {
        let results = Results { value };
        let mut content = Content::new();
        write_leaving(Rc::as_ptr(vat), || {
            content.reserve(results.root_words());
            results.write_root(&mut content)
        })?;
        Ok(Self::of_content(vat, &content))
    }

    /// Exchanges every reference.
    pub(crate) fn map_references(mut self, mut map: impl FnMut(Ref) -> Ref) -> Self {
        self.references = self.references.into_iter().map(&mut map).collect();
        self
    }

    fn write(&self, to: &mut Content) -> Result<(), Exception> {
        let nodes: Vec<NodeId> = self.references.iter().map(Ref::node).collect();
        self.payload.copy_to(&nodes, to)
    }

    /// The same as it would have come.
    fn into_payload(self, vat: &Rc<Shared>) -> Payload {
        let Self {
            mut payload,
            references,
        } = self;
        let nodes: Vec<NodeId> = references.iter().map(Ref::node).collect();
        vat.engine(|engine| nodes.iter().for_each(|node| engine.retain(*node)));
        payload.put_caps(nodes);
        payload
    }
}

impl AnyCall {
    /// Takes the call apart, between turns or at a commit. If its parameters cannot be written, it is
    /// answered with the reason.
    pub(crate) fn take_apart(self, vat: &Rc<Shared>) -> Option<Parts> {
        let method = self.id();
        let call = match self.into_message()? {
            Message::Local(call) => call,
            Message::Wire(call) => {
                return Some(Parts {
                    method,
                    params: Body::of_payload(vat, call.params),
                    deadline: call.deadline,
                    asker: Asker::Wire(call.answer),
                });
            }
        };
        let mut content = Content::new();
        let deadline = call.deadline();
        match call.encode(&mut content) {
            Ok(Encoded { reply, pipelined }) => {
                // Whoever waits for them may drop them before the answer is there.
                let promised = pipelined.iter().map(|(node, path)| {
                    vat.engine(|engine| engine.retain(node));
                    (Ref::from_node(vat, node), Box::from(path))
                });
                let asker = Asker::Here(reply, promised.collect());
                Some(Parts {
                    method,
                    params: Body::of_content(vat, &content),
                    deadline,
                    asker,
                })
            }
            Err((reply, reason)) => {
                reply.returned(vat, Err(Error::from(reason)));
                None
            }
        }
    }

    /// The same call; `tap` is told how it ended, before its caller is. Parameters and answer stay as
    /// they are.
    pub(crate) fn tapped(self, vat: &Rc<Shared>, tap: Tap) -> Self {
        let method = self.id();
        self.map_message(|message| match message {
            Message::Local(call) => Message::Local(Box::new(Tapped { call, tap })),
            Message::Wire(call) => {
                let asker = Asker::Wire(call.answer);
                let answered = move |vat: &Rc<Shared>, result: Result<Body>| {
                    tap(vat, result.as_ref().err());
                    asker.settle(vat, result);
                };
                Message::Local(Box::new(Carried {
                    method,
                    params: Body::of_payload(vat, call.params),
                    deadline: call.deadline,
                    answered: Box::new(answered),
                }))
            }
        })
    }

    fn id(&self) -> MethodId {
        MethodId {
            interface: self.interface(),
            ordinal: self.method(),
            name: self.name().unwrap_or_default(),
        }
    }
}

impl Asker {
    /// Answers the call, between turns.
    pub(crate) fn settle(self, vat: &Rc<Shared>, result: Result<Body>) {
        match self {
            Self::Here(reply, promised) => {
                for (promise, path) in promised {
                    let to = result.as_ref().map_err(Clone::clone);
                    vat.resolve(&promise, to.and_then(|body| body.reference_at(&path)));
                }
                reply.returned(vat, result.map(|body| body.into_payload(vat)));
            }
            Self::Wire(token) => match result {
                Ok(body) => {
                    let mut write = |to: &mut Content| body.write(to);
                    vat.engine(|engine| engine.answer(token, Ok(&mut write)));
                }
                Err(reason) => {
                    vat.engine(|engine| engine.answer(token, Err(Exception::from(&reason))));
                }
            },
        }
    }
}

impl Body {
    fn reference_at(&self, path: &[u16]) -> Result<Ref> {
        let at = self.payload.reference_at(path)?;
        let found = at.and_then(|at| self.references.get(at));
        found.cloned().ok_or_else(|| Error::from(null()))
    }
}

fn null() -> Exception {
    Exception::failed("the reference is null")
}

/// A call put together: a body, and who is told the answer.
pub(crate) struct Carried {
    pub(crate) method: MethodId,
    pub(crate) params: Body,
    pub(crate) deadline: Option<Duration>,
    pub(crate) answered: Answered,
}

impl Carried {
    /// Sends it at once: between turns or at a commit.
    pub(crate) fn send(self, vat: &Rc<Shared>, target: &Ref) {
        vat.engine(|engine| engine.send(target.node(), Box::new(self)));
    }

    /// What its object gets, if the object takes it for a call of `M`.
    pub(crate) fn open<M: Method>(self, vat: &Rc<Shared>) -> (Params<M>, Answer<M::Output>) {
        let Self {
            params, answered, ..
        } = self;
        let answer = Resolver::calling(vat, move |vat, result: Result<M::Output>| {
            let body = result.and_then(|value| Body::of_results(vat, value));
            answered(vat, body);
        });
        let Body {
            payload,
            references,
        } = params;
        (Params::Wire(payload, references), Answer::Promise(answer))
    }
}

impl Call for Carried {
    fn interface(&self) -> u64 {
        self.method.interface
    }

    fn method(&self) -> u16 {
        self.method.ordinal
    }

    fn name(&self) -> &'static str {
        self.method.name
    }

    fn deadline(&self) -> Option<Duration> {
        self.deadline
    }

    fn encode(
        self: Box<Self>,
        params: &mut Content,
    ) -> Result<Encoded<Rc<dyn Reply>>, (Rc<dyn Reply>, Exception)> {
        let Self {
            params: body,
            answered,
            ..
        } = *self;
        let reply: Rc<dyn Reply> = Rc::new(Cell::new(Some(answered)));
        match body.write(params) {
            Ok(()) => Ok(Encoded {
                reply,
                pipelined: captp::Promised::new(),
            }),
            Err(reason) => Err((reply, reason)),
        }
    }

    fn fail(self: Box<Self>, vat: &Rc<Shared>, reason: Error) {
        (self.answered)(vat, Err(reason));
    }
}

impl Reply for Cell<Option<Answered>> {
    fn returned(self: Rc<Self>, vat: &Rc<Shared>, result: Result<Payload>) {
        if let Some(answered) = self.take() {
            answered(vat, result.map(|payload| Body::of_payload(vat, payload)));
        }
    }
}

/// A call of this vat as it was, and who is told how it ended.
pub(crate) struct Tapped {
    pub(crate) call: Box<dyn Call>,
    pub(crate) tap: Tap,
}

impl Call for Tapped {
    fn interface(&self) -> u64 {
        self.call.interface()
    }

    fn method(&self) -> u16 {
        self.call.method()
    }

    fn name(&self) -> &'static str {
        self.call.name()
    }

    fn deadline(&self) -> Option<Duration> {
        self.call.deadline()
    }

    fn encode(
        self: Box<Self>,
        params: &mut Content,
    ) -> Result<Encoded<Rc<dyn Reply>>, (Rc<dyn Reply>, Exception)> {
        let Self { call, tap } = *self;
        let tapped = |reply| -> Rc<dyn Reply> { Rc::new(Cell::new(Some((reply, tap)))) };
        match call.encode(params) {
            Ok(Encoded { reply, pipelined }) => Ok(Encoded {
                reply: tapped(reply),
                pipelined,
            }),
            Err((reply, reason)) => Err((tapped(reply), reason)),
        }
    }

    fn fail(self: Box<Self>, vat: &Rc<Shared>, reason: Error) {
        let Self { call, tap } = *self;
        tap(vat, Some(&reason));
        call.fail(vat, reason);
    }
}

impl Reply for Cell<Option<(Rc<dyn Reply>, Tap)>> {
    fn returned(self: Rc<Self>, vat: &Rc<Shared>, result: Result<Payload>) {
        if let Some((reply, tap)) = self.take() {
            tap(vat, result.as_ref().err());
            reply.returned(vat, result);
        }
    }
}

impl Tapped {
    /// The answer of the call, told to the tap before it is settled.
    pub(crate) fn answer<T: Data>(vat: &Rc<Shared>, tap: Tap, answer: Answer<T>) -> Answer<T> {
        let told = Resolver::calling(vat, move |vat, result: Result<T>| {
            tap(vat, result.as_ref().err());
            answer.settle(vat, result);
        });
        Answer::Promise(told)
    }
}
