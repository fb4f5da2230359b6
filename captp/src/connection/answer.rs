//! Answers: calls that the peer made on a connection.
//!
//! States, and what leaves them:
//!
//! 1. *Running*: an object has the call, or it waits for a promise. Answered → 3 or freed.
//! 2. *Forwarded*: the call went on to another connection. Return there → 3 or freed.
//! 3. *Returned*: kept for pipelined calls. Finish → freed.
//! 4. *Redirected*: the call went back to the peer that made it, and the Return said that its
//!    results are those of that question of ours. Finish → freed.
//!
//! Pipelined calls name references inside the answer. In 1 they wait at a promise per path, in 2
//! they follow the call, in 3 they go to what was returned, as it was described to the peer then
//! (the Tribble rule). In 4 there are none: only a call whose caller said so gets there.
//!
//! Finish may come in any state, once. In 1 and 2 it is remembered: the call goes on (only methods
//! that can be cancelled are), its results are thrown away, calls pipelined on it still get them.
//! If nobody can want the results any more, the host is told in 1, and in 2 the Finish goes on to
//! where the call went; the Return follows the one from there, or comes after some time.
//!
//! Law: one Return per call, none for a call that wanted to be pipelined only; each reference in
//! the results is given back once, by the Finish or by Releases, as the Finish says.

use super::Pins;
use super::export::Exports;
use crate::contact::GiftName;
use crate::frame::Message;
use crate::path::Path;
use crate::{ConnId, Exception, NodeId, QuestionId};

/// A call that the peer made.
pub(crate) struct Answer {
    /// Tells this call from later ones with the same id.
    pub(crate) serial: u64,
    pub(crate) state: State,
    pub(crate) results_to: ResultsTo,
    /// Bytes of the call or of the kept results, for the limits.
    pub(crate) bytes: usize,
    /// Whether an object of this vat has the call.
    pub(crate) delivered: bool,
    /// Whether the call waits for a promise.
    pub(crate) queued: bool,
    /// File descriptors that came with the call.
    pub(crate) fds: u16,
    /// Whether they count as waiting.
    pub(crate) fds_wait: bool,
    /// Whether Finish has come early.
    pub(crate) finished: bool,
    /// References inside the coming answer that were named so far. Counted.
    pub(crate) pipeline: Vec<(Path, NodeId)>,
    /// A question of ours, on the same connection, that is answered with the results of this call.
    pub(crate) taker: Option<QuestionId>,
    /// Whether the results have been promised to a taker.
    pub(crate) taken: bool,
    /// Whether the peer said that it will not pipeline on the answer.
    pub(crate) no_pipelining: bool,
}

/// The numbers are those of the module's documentation.
pub(crate) enum State {
    /// 1.
    Running,
    /// 2.
    Forwarded { conn: ConnId, question: QuestionId },
    /// 3.
    Returned(Results),
    /// A Provide: see [`super::handoff`]. Finish → freed.
    Provision(GiftName),
    /// An Accept that waits: see [`super::handoff`]. → 1, and answered.
    Accepting(GiftName),
    /// 4. The question is one of the same connection.
    Redirected { question: QuestionId },
}

/// Where the results go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ResultsTo {
    /// Into the Return.
    Caller,
    /// Nowhere: kept for a Return of the peer that refers to them.
    Kept,
    /// Nowhere: kept for pipelined calls.
    Pipeline,
}

/// What was returned.
pub(crate) enum Results {
    /// Content with references.
    Content(Box<Kept>),
    /// An exception, or something else without references that can be named.
    Nothing(Exception),
    /// Results on which the peer said it would not pipeline: only what is to be given back.
    Exports(Exports),
}

/// Results on which calls may be pipelined.
pub(crate) struct Kept {
    pub(crate) message: Message,
    pub(crate) caps: Pins,
    /// What the Return exported.
    pub(crate) exports: Exports,
}

impl Answer {
    pub(crate) const fn new(serial: u64, results_to: ResultsTo, bytes: usize) -> Self {
        Self {
            serial,
            state: State::Running,
            results_to,
            bytes,
            delivered: false,
            queued: false,
            fds: 0,
            fds_wait: false,
            finished: false,
            pipeline: Vec::new(),
            taker: None,
            taken: false,
            no_pipelining: false,
        }
    }

    /// Whether results stay until the Finish; `references`: whether there are any in them.
    pub(crate) const fn keeps(&self, references: bool) -> bool {
        match self.results_to {
            ResultsTo::Caller => !self.finished && references,
            ResultsTo::Kept | ResultsTo::Pipeline => !self.finished,
        }
    }

    /// Whether a Return with results that hold no reference is all that is still to happen.
    pub(crate) fn is_plain(&self) -> bool {
        matches!(self.state, State::Running)
            && self.results_to == ResultsTo::Caller
            && !self.finished
            && !self.queued
            && !self.fds_wait
            && self.pipeline.is_empty()
            && self.taker.is_none()
    }

    /// Whether nobody can ask for the results any more.
    pub(crate) fn is_unwanted(&self) -> bool {
        self.finished && self.pipeline.is_empty() && self.taker.is_none()
    }
}
