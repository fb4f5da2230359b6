//! Messages as owned values, seen from our side, and how they are read and written.

use std::rc::Rc;

use crate::contact::{Await, Claim, Contact};
use crate::path::Path;
use crate::{AnswerId, EmbargoId, Exception, ExportId, ImportId, QuestionId};

pub(crate) mod decode;
pub(crate) mod encode;
#[cfg(feature = "testing")]
pub(crate) mod probe;
pub(crate) mod quick;
#[cfg(test)]
mod tests;
pub(crate) mod write;

/// What a message asks of us. Payloads stay in the received message.
#[derive(Debug)]
pub(crate) enum Envelope {
    Unimplemented(Unimplemented),
    Abort(Exception),
    Bootstrap {
        answer: AnswerId,
    },
    Call(Call),
    Return(Return),
    Finish {
        answer: AnswerId,
        release_results: bool,
    },
    Resolve {
        import: ImportId,
        to: Result<Descriptor, Exception>,
    },
    Release {
        export: ExportId,
        count: u32,
    },
    Disembargo {
        target: Target,
        context: Context,
    },
    Provide {
        answer: AnswerId,
        target: Target,
        recipient: Await,
    },
    Accept {
        answer: AnswerId,
        claim: Claim,
        embargo: Option<EmbargoName>,
    },
    /// A message that we know and do not speak, or do not know: to be echoed.
    Unknown,
}

/// What the peer did not understand.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Unimplemented {
    /// A Resolve of ours that named this export, which the peer thus does not hold.
    Resolve(Option<ExportId>),
    /// An Accept or Provide of ours, which will not be answered.
    Handoff(QuestionId),
    /// Something that a peer may lack.
    Optional,
    /// Something that every peer must know.
    Required(&'static str),
}

/// A call to one of our references.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) answer: AnswerId,
    pub(crate) target: Target,
    pub(crate) interface: u64,
    pub(crate) method: u16,
    pub(crate) pipeline_only: bool,
    pub(crate) no_pipelining: bool,
    pub(crate) keep_results: bool,
    /// Milliseconds until the caller gives up; 0 if it does not.
    pub(crate) time_left: u32,
    pub(crate) caps: Vec<Descriptor>,
}

/// The answer to one of our questions.
#[derive(Debug)]
pub(crate) struct Return {
    pub(crate) question: QuestionId,
    pub(crate) release_params: bool,
    pub(crate) no_finish_needed: bool,
    pub(crate) body: ReturnBody,
}

#[derive(Debug)]
pub(crate) enum ReturnBody {
    Results(Vec<Descriptor>),
    Exception(Exception),
    Canceled,
    SentElsewhere,
    TakeFrom(AnswerId),
    /// A form that we do not know, or only in level 3.
    Unknown,
}

impl ReturnBody {
    /// The reference of the peer, if it is the only one in the results.
    pub(crate) fn only_import(&self) -> Option<ImportId> {
        let Self::Results(caps) = self else {
            return None;
        };
        match caps.as_slice() {
            [
                Descriptor {
                    kind: DescriptorKind::Import { id, .. },
                    ..
                },
            ] => Some(*id),
            _ => None,
        }
    }
}

/// One of our references, as the peer names it.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    Export(ExportId),
    Answer(AnswerId, Path),
}

/// A reference in a payload.
#[derive(Debug)]
pub(crate) struct Descriptor {
    pub(crate) kind: DescriptorKind,
    pub(crate) fd: Option<u8>,
}

#[derive(Debug)]
pub(crate) enum DescriptorKind {
    Null,
    Import {
        id: ImportId,
        promise: bool,
    },
    Ours(Target),
    /// Something that another vat hosts, and the way to it through the peer. The contact is there
    /// if it is one of our network.
    Third {
        contact: Option<Rc<Contact>>,
        vine: ImportId,
    },
}

#[derive(Debug)]
pub(crate) enum Context {
    /// The peer's embargo, to be sent back.
    SenderLoopback(u32),
    /// Ours, come back.
    ReceiverLoopback(EmbargoId),
    /// Follows the calls that were made before a gift was accepted.
    Accept(EmbargoName),
    Unknown,
}

/// What the recipient of a gift calls the embargo under which it accepts.
pub(crate) type EmbargoName = Rc<[u8]>;
