//! Faults, sorted by who caused them.

use crate::{AnswerId, ExportId, QuestionId};
use crate::{EmbargoId, Exception, ExceptionKind, ImportId};

/// The vat used the engine wrongly. Nothing was changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApiMisuse {
    /// The node is not a promise, or has been resolved already.
    #[error("the reference is not an unresolved promise of this vat")]
    NotUnresolved,
}

/// The peer broke the protocol. Its connection is aborted with this as the reason; nothing else is
/// affected.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PeerMisbehaved {
    /// The bytes are no message: the segment table cannot be right.
    #[error("segment table names {0} segments")]
    TooManySegments(u32),
    /// A message larger than the limit.
    #[error("message of {bytes} bytes is above the limit of {limit}")]
    MessageTooLarge {
        /// Its declared length.
        bytes: u64,
        /// What is allowed.
        limit: usize,
    },
    /// The envelope of a message cannot be read.
    #[error("malformed message: {0}")]
    Malformed(String),
    /// An enumeration or union has a value that the field must not have.
    #[error("unknown value in {0}")]
    UnknownValue(&'static str),
    /// The first message is not a hello although both sides speak it.
    #[error("expected a hello as the first message")]
    NoHello,
    /// A hello of a version we do not know.
    #[error("protocol version {0} is not supported, only version 1")]
    UnknownVersion(u16),
    /// More references in one message than allowed.
    #[error("{0} references in one message")]
    TooManyCaps(usize),
    /// More file descriptors with one message than allowed.
    #[error("{0} file descriptors with one message")]
    TooManyFds(usize),
    /// File descriptors arrived where none may.
    #[error("file descriptors that belong to no message")]
    UnexpectedFds,
    /// A table is full and the peer goes on.
    #[error("limit of {limit} {what} exceeded")]
    TableFull {
        /// What there is too much of.
        what: &'static str,
        /// What is allowed.
        limit: usize,
    },
    /// A question id that is still in use.
    #[error("question {0} is already in use")]
    DuplicateQuestion(AnswerId),
    /// A Return for a question that we did not ask or that has been answered.
    #[error("return for question {0}, which is not open")]
    UnknownQuestion(QuestionId),
    /// A Finish that came twice.
    #[error("second finish of question {0}")]
    DuplicateFinish(AnswerId),
    /// A reference that we did not give, or that was released.
    #[error("export {0} does not exist")]
    UnknownExport(ExportId),
    /// A release of more counts than were given.
    #[error("release of {released} counts of export {export}, which has {held}")]
    ReleaseUnderflow {
        /// Which export.
        export: ExportId,
        /// How many the peer has.
        held: u32,
        /// How many it gave back.
        released: u32,
    },
    /// A Resolve for a reference that is not a promise or has been resolved.
    #[error("resolve of import {0}, which is not an unresolved promise")]
    NotAPromise(ImportId),
    /// A Disembargo came back that we did not send.
    #[error("embargo {0} does not exist")]
    UnknownEmbargo(EmbargoId),
    /// A Disembargo to something that does not point back to its sender.
    #[error("disembargo of something that does not point back to its sender")]
    DisembargoTarget,
    /// A gift under a name that was used before.
    #[error("a gift of this name exists or existed")]
    DuplicateGift,
    /// A Return that takes results which do not exist or were taken.
    #[error("results of question {0} cannot be taken")]
    ResultsNotThere(AnswerId),
    /// The peer does not know a message that every implementation must know.
    #[error("a required message is not implemented by the peer: {0}")]
    RequiredUnimplemented(&'static str),
    /// The peer did not do something within the time that it has.
    #[error("the peer did not {0} in time")]
    TooSlow(&'static str),
    /// The peer does not read what we send.
    #[error("{0} bytes wait to be read")]
    NotReading(usize),
}

impl From<capnp::Error> for PeerMisbehaved {
    fn from(error: capnp::Error) -> Self {
        Self::Malformed(error.to_string())
    }
}

impl From<&PeerMisbehaved> for Exception {
    fn from(fault: &PeerMisbehaved) -> Self {
        Self::new(ExceptionKind::Failed, format!("protocol error: {fault}"))
    }
}

/// Why a connection is closed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CloseReason {
    /// The vat closed it.
    #[error("closed by this vat")]
    Local,
    /// The transport ended.
    #[error("{0}")]
    Transport(String),
    /// The peer aborted it.
    #[error("aborted by the peer ({0})")]
    PeerAborted(Exception),
    /// The peer broke the protocol, and we aborted it.
    #[error("protocol error of the peer: {0}")]
    PeerMisbehaved(PeerMisbehaved),
}
