//! What the engine tells its vat: things to do, states of references, counts.

use crate::contact::Introduction;
use crate::{AnswerToken, CloseReason, ConnId, Exception, Host, Incoming, ObjectKey, Payload};

/// Something for the vat to do.
#[expect(clippy::exhaustive_enums, reason = "the vat must handle every one")]
pub enum Output<H: Host> {
    /// Call this object.
    Deliver {
        /// Whom.
        object: ObjectKey,
        /// With what.
        call: Incoming<H>,
    },
    /// A call that left the vat was answered, or its connection broke. The receiver owns a count of
    /// each reference of the payload.
    Returned {
        /// Who waits.
        reply: H::Reply,
        /// With what it was answered.
        result: Result<Payload, Exception>,
    },
    /// A call that never left the vat reached a broken reference.
    Failed {
        /// The call.
        call: H::Call,
        /// Why the reference is broken.
        reason: Exception,
    },
    /// A piece of the vat's own work.
    Run(H::Job),
    /// The caller of this call sent a Finish before it was answered: it does not want the results.
    /// The call still has to be answered; a method that can be cancelled may stop.
    Cancelled(AnswerToken),
    /// The last reference to this object is gone, and nothing is on its way to it any more;
    /// [`Engine::object`](crate::Engine::object) makes a new one.
    Dropped(ObjectKey),
    /// A connection to this vat is needed, because somebody gave us a reference to something there.
    /// Answer with [`Engine::dialed`](crate::Engine::dialed), with a new connection or one that
    /// exists; if there must or can be none, the reference goes on through whoever gave it.
    Dial {
        /// What to answer.
        request: DialId,
        /// Which vat, its exporter, and who introduced us. Make sure that it is this vat that is
        /// reached.
        introduction: Introduction,
        /// Where it may be; hints from peers, not to be trusted.
        addresses: Vec<String>,
    },
    /// A connection is closed. Everything through it is broken;
    /// [`Engine::poll_transmit`](crate::Engine::poll_transmit) may still have its last bytes.
    Closed {
        /// Which.
        conn: ConnId,
        /// Why.
        reason: CloseReason,
    },
}

/// A request for a connection; see [`Output::Dial`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct DialId(pub(super) u32);

/// What a reference stands for at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "the states of a reference are a closed set"
)]
pub enum NodeState<'a> {
    /// An object of this vat.
    Near(ObjectKey),
    /// Something that a peer hosts, or lets us reach. It never changes, unless the connection is
    /// lost.
    Far(ConnId),
    /// A promise, of this vat or another.
    Unresolved,
    /// Nothing: calls fail with this reason.
    Broken(&'a Exception),
}

/// Counts of one connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Our calls that are not finished.
    pub questions: usize,
    /// How many of them are answered.
    pub answered: usize,
    /// The peer's calls that are not finished.
    pub answers: usize,
    /// How many of them are answered.
    pub returned: usize,
    /// References that the peer holds.
    pub exports: usize,
    /// References that we hold.
    pub imports: usize,
    /// Embargoes that wait to be lifted.
    pub embargoes: usize,
    /// Calls of the peer that wait until it is within its soft limits again, and what must not
    /// overtake them.
    pub held: usize,
    /// Our calls that wait for room at the peer, and the bytes of them and of what must not
    /// overtake them.
    pub waiting: usize,
    /// See there.
    pub waiting_bytes: usize,
    /// Bytes of the peer's calls without an answer.
    pub call_bytes: usize,
    /// Bytes of results that the peer has not finished with.
    pub kept_bytes: usize,
    /// Bytes waiting to be polled for transmission.
    pub outbound_bytes: usize,
    /// Bytes that the transport has taken.
    pub transmitted: u64,
    /// Bytes that have arrived of a message that is not complete; `None` between messages.
    pub receiving: Option<usize>,
    /// Messages received.
    pub received: u64,
    /// Messages sent.
    pub sent: u64,
    /// How often a call was made that had to wait for the answer of an earlier one, and was
    /// answered: the length of the longest chain of question, answer, question, answer. Calls
    /// pipelined on each other count once.
    pub round_trips: u64,
}

impl<H: Host> std::fmt::Debug for Output<H> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Deliver { object, call } => f
                .debug_struct("Deliver")
                .field("object", object)
                .field("call", call)
                .finish(),
            Self::Returned { result, .. } => f
                .debug_struct("Returned")
                .field("result", result)
                .finish_non_exhaustive(),
            Self::Failed { reason, .. } => f
                .debug_struct("Failed")
                .field("reason", reason)
                .finish_non_exhaustive(),
            Self::Run(_) => f.write_str("Run"),
            Self::Cancelled(token) => f.debug_tuple("Cancelled").field(token).finish(),
            Self::Dropped(object) => f.debug_tuple("Dropped").field(object).finish(),
            Self::Dial {
                request,
                introduction,
                ..
            } => f
                .debug_struct("Dial")
                .field("request", request)
                .field("vat", &introduction.exporter())
                .finish_non_exhaustive(),
            Self::Closed { conn, reason } => f
                .debug_struct("Closed")
                .field("conn", conn)
                .field("reason", reason)
                .finish(),
        }
    }
}
