//! Calls by description: checked first, then sent, a whole chain at once.

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use captp::{Content, Encoded, Exception, Payload};
use serde_json::Value as Json;
use tokio::sync::oneshot;

use super::body::Arguments;
use super::chain::result_path;
use super::error::{ArgumentError, DescriptionError, LookupError, ResultError, ResultProblem};
use super::read::{Answer, results};
use super::types::{MethodOf, Types};
use super::{Limits, RefSource, arguments, words};
use crate::core::{Call, Ref, Reply, Shared};
use crate::error::Error;
use crate::schema::describe;

/// One call of a chain.
#[derive(Debug, Clone)]
pub struct Step {
    /// The fields that lead from the result of the call before to the reference that is called;
    /// none if the result is the reference. The first step has none.
    pub fields: Vec<String>,
    /// The method's name.
    pub method: String,
    /// Its arguments.
    pub arguments: Given,
}

/// Arguments as a person gives them.
#[derive(Debug, Clone)]
pub enum Given {
    /// An object by parameter name.
    Json(Json),
    /// `key=value` words, read [by the parameter's type](fn@words).
    Words(Vec<String>),
}

/// A chain of calls that was checked against the description: sent, all its messages leave at once
/// and the chain costs one round trip.
#[derive(Debug)]
pub struct Plan {
    types: Rc<Types>,
    limits: Limits,
    calls: Vec<Planned>,
}

#[derive(Debug)]
struct Planned {
    interface: u64,
    ordinal: u16,
    arguments: Arguments<Ref>,
    /// Where in its result the target of the next call is.
    next: Option<Vec<u16>>,
}

/// Why a chain cannot be sent. Nothing of it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanError {
    /// Which step, from 0 on.
    pub step: usize,
    /// What is wrong with it.
    pub problem: Box<PlanProblem>,
}

/// What is wrong with a step of a chain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanProblem {
    /// No such method, field or reference.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// The arguments do not fit.
    #[error(transparent)]
    Argument(#[from] ArgumentError),
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.problem)
    }
}

impl std::error::Error for PlanError {}

impl Plan {
    /// Checks a chain of calls that starts at the root interface of `types`.
    ///
    /// # Errors
    ///
    /// Says which step does not fit, and why.
    pub fn new(
        types: &Rc<Types>,
        steps: &[Step],
        refs: &mut dyn RefSource<Ref>,
        limits: Limits,
    ) -> Result<Self, PlanError> {
        let mut calls: Vec<Planned> = Vec::new();
        for (at, step) in steps.iter().enumerate() {
            let call = plan(types, calls.last_mut(), step, refs, limits);
            let fail = |problem| PlanError {
                step: at,
                problem: Box::new(problem),
            };
            calls.push(call.map_err(fail)?);
        }
        let types = Rc::clone(types);
        Ok(Self {
            types,
            limits,
            calls,
        })
    }

    /// Sends all calls, the first to `target`; gives their answers in the same order.
    ///
    /// An answer that fails breaks those behind it with the same reason.
    pub fn send(self, target: &Ref) -> Vec<Answered> {
        let mut target = Some(target.clone());
        let mut answers = Vec::new();
        for call in self.calls {
            let Some(to) = target.take() else { break };
            let (answer, answered) = oneshot::channel();
            answers.push(Answered(answered));
            // Without a vat the call is dropped, and with it who answers.
            let Some(vat) = to.vat() else { break };
            let promised: Vec<(Ref, Vec<u16>)> = call
                .next
                .into_iter()
                .map(|path| (Ref::promised_in(Some(&vat)), path))
                .collect();
            target = promised.first().map(|(reference, _)| reference.clone());
            let waiting = Waiting {
                types: Rc::clone(&self.types),
                limits: self.limits,
                interface: call.interface,
                ordinal: call.ordinal,
                promised,
                encoded: false,
                answer,
            };
            to.send_call(Box::new(DynamicCall {
                arguments: call.arguments,
                waiting,
            }));
        }
        answers
    }
}

/// Checks one step; the call before learns where its target is.
fn plan(
    types: &Types,
    before: Option<&mut Planned>,
    step: &Step,
    refs: &mut dyn RefSource<Ref>,
    limits: Limits,
) -> Result<Planned, PlanProblem> {
    let interface = match before {
        Some(before) => {
            let method = types.method_at(before.interface, before.ordinal);
            let fields: Vec<&str> = step.fields.iter().map(String::as_str).collect();
            let found = result_path(types, method.map_err(LookupError::from)?, &fields)?;
            before.next = Some(found.path);
            found.interface
        }
        None => types.description().root,
    };
    let method = types.method(interface, &step.method)?;
    let given = match &step.arguments {
        Given::Json(json) => json,
        Given::Words(list) => &words(types, method, list.iter().map(String::as_str))?,
    };
    Ok(Planned {
        interface: method.interface.id,
        ordinal: method.ordinal,
        arguments: arguments(types, method, given, refs, limits)?,
        next: None,
    })
}

/// Asks a reference for its interface, and checks what it says.
///
/// # Errors
///
/// The callee's error (of kind `Unimplemented` if what is there is not an object of a vat), or a
/// description that cannot be used.
pub async fn interface_of(reference: &Ref) -> Result<Rc<Types>, CallError> {
    let description = describe(reference).await.map_err(CallError::Failed)?;
    Ok(Rc::new(Types::new(description)?))
}

/// Asks for the interface, then sends a chain of calls at once: two round trips, whatever its
/// length. Gives the answer of the last call.
///
/// # Errors
///
/// Those of [`interface_of`]; a chain that does not fit, of which nothing was sent; the error of a
/// call in the chain, which breaks those behind it.
pub async fn call(
    target: &Ref,
    steps: &[Step],
    refs: &mut dyn RefSource<Ref>,
    limits: Limits,
) -> Result<Answer, CallError> {
    let types = interface_of(target).await?;
    let answers = Plan::new(&types, steps, refs, limits)?.send(target);
    match answers.into_iter().next_back() {
        Some(last) => last.await,
        None => Ok(Answer::default()),
    }
}

/// Why a call by description has no answer.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The callee's error, or the connection's.
    #[error("{0}")]
    Failed(Error),
    /// An answer came that does not fit the description.
    #[error(transparent)]
    Unreadable(#[from] ResultError),
    /// The callee's description of its interface contradicts itself.
    #[error("the description of the interface is not usable: {0}")]
    Description(#[from] DescriptionError),
    /// The chain does not fit the interface; nothing of it was sent.
    #[error(transparent)]
    Plan(#[from] PlanError),
}

/// The answer of a call by description, which is not there yet: a future.
///
/// # Cancel safety
///
/// Dropping it says that the answer is not wanted; the call runs all the same.
#[derive(Debug)]
#[must_use = "an answer that nobody waits for is lost, and so is its error"]
pub struct Answered(oneshot::Receiver<Result<Answer, CallError>>);

impl Answered {
    /// The answer, if it is there: for hosts and tests, which cannot wait.
    pub fn try_take(&mut self) -> Option<Result<Answer, CallError>> {
        match self.0.try_recv() {
            Ok(result) => Some(result),
            Err(oneshot::error::TryRecvError::Empty) => None,
            Err(oneshot::error::TryRecvError::Closed) => Some(Err(never_answered())),
        }
    }
}

impl Future for Answered {
    type Output = Result<Answer, CallError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = Pin::new(&mut self.0).poll(cx);
        answer.map(|answer| answer.unwrap_or_else(|_| Err(never_answered())))
    }
}

fn never_answered() -> CallError {
    CallError::Failed(Error::disconnected("the vat of this reference has ended"))
}

struct DynamicCall {
    arguments: Arguments<Ref>,
    waiting: Waiting,
}

/// Who waits for the answer of a call by description.
struct Waiting {
    types: Rc<Types>,
    limits: Limits,
    interface: u64,
    ordinal: u16,
    /// References inside the coming result, with their paths.
    promised: Vec<(Ref, Vec<u16>)>,
    /// The call left the vat: from then on the engine resolves what is promised.
    encoded: bool,
    answer: oneshot::Sender<Result<Answer, CallError>>,
}

impl Call for DynamicCall {
    fn interface(&self) -> u64 {
        self.waiting.interface
    }

    fn method(&self) -> u16 {
        self.waiting.ordinal
    }

    fn name(&self) -> &'static str {
        "a call by description"
    }

    fn encode(
        self: Box<Self>,
        params: &mut Content,
    ) -> Result<Encoded<Rc<dyn Reply>>, (Rc<dyn Reply>, Exception)> {
        let Self {
            arguments,
            mut waiting,
        } = *self;
        match arguments.write(params, &|reference| reference) {
            Ok(()) => {
                waiting.encoded = true;
                let pipelined = waiting.promised.iter();
                let pipelined = pipelined
                    .map(|(reference, path)| (reference.node(), path.clone()))
                    .collect();
                Ok(Encoded {
                    reply: waiting.into_reply(),
                    pipelined,
                })
            }
            Err(error) => {
                let error = Error::from(error);
                Err((waiting.into_reply(), Exception::from(&error)))
            }
        }
    }

    fn fail(self: Box<Self>, vat: &Rc<Shared>, reason: Error) {
        self.waiting.finish(vat, Err(CallError::Failed(reason)));
    }
}

/// Taken out when the answer is there.
impl Reply for Cell<Option<Waiting>> {
    fn returned(self: Rc<Self>, vat: &Rc<Shared>, result: Result<Payload, Error>) {
        let Some(waiting) = self.take() else { return };
        let answer = match result {
            Ok(payload) => waiting.read(vat, payload),
            Err(error) => Err(CallError::Failed(error)),
        };
        waiting.finish(vat, answer);
    }
}

impl Waiting {
    fn into_reply(self) -> Rc<dyn Reply> {
        Rc::new(Cell::new(Some(self)))
    }

    fn read(&self, vat: &Rc<Shared>, mut payload: Payload) -> Result<Answer, CallError> {
        let references = vat.adopt_all(payload.take_caps());
        let method = self
            .method()
            .map_err(|error| ResultError::from(ResultProblem::from(error)))?;
        let content = payload
            .content()
            .map_err(|error| ResultError::malformed(&error))?;
        Ok(results(
            &self.types,
            method,
            content,
            &references,
            self.limits,
        )?)
    }

    fn method(&self) -> Result<MethodOf<'_>, DescriptionError> {
        self.types.method_at(self.interface, self.ordinal)
    }

    fn finish(self, vat: &Rc<Shared>, answer: Result<Answer, CallError>) {
        if !self.encoded
            && let Err(CallError::Failed(reason)) = &answer
        {
            for (promised, _) in &self.promised {
                vat.resolve(promised, Err(reason.clone()));
            }
        }
        // Nobody waits any more if this fails.
        drop(self.answer.send(answer));
    }
}
