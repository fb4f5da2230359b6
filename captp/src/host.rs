//! What the vat puts through the engine without the engine looking inside.

use std::time::Duration;

use crate::connection::question::Pipelined;
use crate::path::Path;
use crate::{Content, Exception, NodeId, Payload};

/// The types with which a vat uses the engine.
pub trait Host: 'static {
    /// A call as the vat's own values. It stays that as long as it does not leave the vat.
    type Call: LocalCall<Reply = Self::Reply>;
    /// Who waits for the answer of a call that left the vat.
    type Reply;
    /// A piece of the vat's own work, which takes its place in the same queue as deliveries.
    type Job;
}

/// A call as the vat's own values.
pub trait LocalCall {
    /// See [`Host::Reply`].
    type Reply;

    /// Id of the interface that the method belongs to.
    fn interface(&self) -> u64;

    /// Ordinal of the method.
    fn method(&self) -> u16;

    /// About how many words the parameters take when they are written: what a waiting call of a
    /// stream counts.
    fn size_hint(&self) -> u32 {
        0
    }

    /// Whether only the references inside the answer are wanted, as promises, and not the answer
    /// itself. If the call leaves the vat, its reply gets an exception at once, and the promises
    /// stand for what the callee answers. When the last of them is gone, the callee is told; unlike
    /// with other calls it may then cancel the call. When the callee is done with it is not told: such
    /// calls count in no limit of what is under way, and too many of them let the peer end the
    /// connection. Default: no.
    fn pipeline_only(&self) -> bool {
        false
    }

    /// Whether this is one of a stream of calls (`-> stream` in Cap'n Proto), whose bytes count in
    /// the [window](crate::Engine::has_stream_room) of the reference until it is answered. Default:
    /// no.
    fn is_streaming(&self) -> bool {
        false
    }

    /// When the caller gives up, on the scale of [`Engine::handle_time`](crate::Engine::handle_time).
    /// A peer that knows [extended calls](crate::Features::EXTENDED_CALLS) is told how long that is
    /// from now, in milliseconds; the engine itself does nothing with it. Default: never.
    fn deadline(&self) -> Option<Duration> {
        None
    }

    /// Consumes the call as it leaves the vat: writes the parameters and says who waits for the
    /// answer.
    ///
    /// # Errors
    /// If the call cannot be written. It is then not sent, and the engine returns the exception to
    /// the reply.
    fn encode(self, params: &mut Content)
    -> Result<Encoded<Self::Reply>, (Self::Reply, Exception)>;
}

/// What is left in the vat of a call that left it.
#[derive(Debug)]
#[expect(clippy::exhaustive_structs, reason = "built by the host")]
pub struct Encoded<R> {
    /// Who waits for the answer.
    pub reply: R,
    /// Promises that stand for a reference inside the coming result, each with its path: the
    /// pointer fields to follow from the results struct. They must have been made with
    /// [`Engine::promise`](crate::Engine::promise) and be unresolved; the engine borrows the ids,
    /// and what was sent to these promises already follows the call.
    pub pipelined: Promised,
}

/// Promises with the path of each: see [`Encoded::pipelined`]. Mostly there is one, which takes no
/// allocation.
#[derive(Clone, Debug, Default)]
pub struct Promised(Pipelined);

impl Promised {
    /// None.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one.
    pub fn push(&mut self, node: NodeId, path: &[u16]) {
        self.0.push((Path::from(path), node));
    }

    /// Each promise with its path.
    pub fn iter(&self) -> impl Iterator<Item = (NodeId, &[u16])> {
        self.0.iter().map(|(path, node)| (*node, &**path))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn into_inner(self) -> Pipelined {
        self.0
    }
}

impl<P: AsRef<[u16]>> FromIterator<(NodeId, P)> for Promised {
    fn from_iter<I: IntoIterator<Item = (NodeId, P)>>(promises: I) -> Self {
        let mut all = Self::new();
        for (node, path) in promises {
            all.push(node, path.as_ref());
        }
        all
    }
}

/// Fills the results of an answer; see [`Engine::answer`](crate::Engine::answer).
pub type WriteResults<'a> = &'a mut dyn FnMut(&mut Content) -> Result<(), Exception>;

/// A call as it reaches an object.
#[expect(
    clippy::exhaustive_enums,
    reason = "a call is from here or from elsewhere"
)]
pub enum Incoming<H: Host> {
    /// From this vat.
    Local(H::Call),
    /// From another.
    Wire(WireCall),
}

/// A call that another vat made. It must be answered exactly once, with
/// [`Engine::answer`](crate::Engine::answer) or [`Engine::forward`](crate::Engine::forward).
#[derive(Debug)]
#[expect(clippy::exhaustive_structs, reason = "taken apart by the host")]
pub struct WireCall {
    /// Id of the interface that the method belongs to.
    pub interface: u64,
    /// Ordinal of the method.
    pub method: u16,
    /// When the caller gives up, if it said so, on the scale of
    /// [`Engine::handle_time`](crate::Engine::handle_time): reckoned from when the call came.
    pub deadline: Option<Duration>,
    /// The parameters. The receiver of the call owns a count of each of its references.
    pub params: Payload,
    /// With this the call is answered.
    pub answer: AnswerToken,
}

/// The right and the duty to answer one call from another vat.
///
/// Not `Clone`: who has it answers. Dropping it does nothing by itself; the caller would wait for
/// ever, so do not.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[must_use = "every call must be answered once"]
pub struct AnswerToken {
    pub(crate) conn: crate::ConnId,
    pub(crate) answer: crate::AnswerId,
    pub(crate) serial: u64,
}

impl AnswerToken {
    /// The connection on which the call came in.
    #[must_use]
    pub const fn connection(&self) -> crate::ConnId {
        self.conn
    }

    /// A number that no other call of the same connection ever gets: to recognise the call when it
    /// is [cancelled](crate::Output::Cancelled).
    #[must_use]
    pub const fn serial(&self) -> u64 {
        self.serial
    }

    pub(crate) const fn duplicate(&self) -> Self {
        Self {
            conn: self.conn,
            answer: self.answer,
            serial: self.serial,
        }
    }
}

impl<H: Host> std::fmt::Debug for Incoming<H> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Local(call) => f
                .debug_struct("Local")
                .field("interface", &call.interface())
                .field("method", &call.method())
                .finish_non_exhaustive(),
            Self::Wire(call) => f
                .debug_struct("Wire")
                .field("interface", &call.interface)
                .field("method", &call.method)
                .finish_non_exhaustive(),
        }
    }
}
