//! What settles the answer of a call that reached an object: for its method, and on the wire.

use std::rc::Rc;

use captp::{AnswerToken, Content, Exception};

use super::{Promise, Resolver};
use crate::core::reference::write_leaving;
use crate::core::results::Results;
use crate::core::vat::Shared;
use crate::data::{Data, Record};
use crate::error::Result;

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

/// Encodes the answer of a call that came from outside.
pub(super) fn answer_wire<T: Data>(vat: &Rc<Shared>, answer: AnswerToken, result: Result<T>) {
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
