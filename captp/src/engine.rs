//! The engine: all connections of one vat, and all its references.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use crate::{
    AnswerToken, ApiMisuse, CloseReason, ConnId, Exception, Host, Incoming, Limits, NodeId,
    ObjectKey, Payload, Transmit, WireCall, WriteResults,
};

mod node;
mod resolve;
mod route;

use node::{Kind, Nodes, Place};

/// The protocol engine of one vat. See the [crate documentation](crate) for what it speaks.
///
/// # Contract
///
/// The engine is a value without effects of its own. Its methods are of four sorts:
///
/// - *commands* of the vat: [`send`](Self::send), [`resolve`](Self::resolve),
///   [`answer`](Self::answer), [`open`](Self::open) and so on;
/// - *inputs* from transports: [`handle_bytes`](Self::handle_bytes) and
///   [`handle_closed`](Self::handle_closed);
/// - *outputs*: [`poll_output`](Self::poll_output) for what the vat has to do, one thing at a time,
///   and [`pending_transmit`](Self::pending_transmit) with [`poll_transmit`](Self::poll_transmit)
///   for what has to be sent. After commands and inputs, poll both until they give nothing more;
///   when and how often is the driver's choice, and bytes polled later leave in fewer writes;
/// - *getters*.
///
/// No method blocks, calls back or panics. Everything that happens is a function of the order of
/// the calls.
///
/// # References
///
/// A [`NodeId`] names a reference; references are counted. A method that *returns* an id, and an
/// output that carries one, hand over one count, which ends with [`release`](Self::release). A
/// method that is *given* an id borrows it and retains what it keeps. The id of a promise stays
/// good when it resolves. An id whose last count was given back is stale; it does no harm and
/// behaves as a broken reference.
///
/// # Ordering
///
/// What is sent on one reference, also through other ids that it resolved to, arrives in the order
/// sent, however the reference resolves (E-order). Outputs come in one queue, first in, first out:
/// deliveries between the vat's own objects, jobs and answers take turns as they arise.
pub struct Engine<H: Host> {
    nodes: Nodes<H>,
    outputs: VecDeque<Output<H>>,
    /// Nodes whose backlog can move. Worked off before a method returns.
    work: VecDeque<NodeId>,
    stale: Exception,
    config: Config,
    opened: u32,
}

/// Settings of an engine.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Config {
    /// Name and version of the program library, told to vats in the hello; for people.
    pub agent: String,
}

impl Config {
    /// Sets [`agent`](Self::agent).
    #[must_use]
    pub fn with_agent(mut self, agent: impl Into<String>) -> Self {
        self.agent = agent.into();
        self
    }
}

/// How a connection is to be used.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ConnOptions {
    /// What the peer gets when it asks for the bootstrap reference. Borrowed; the engine keeps a
    /// count of its own until the connection closes. Default: none, the peer gets an exception.
    pub bootstrap: Option<NodeId>,
    /// Whether both sides begin with a hello. Default: no, a plain Cap'n Proto peer.
    pub hello: bool,
    /// Whether the transport passes file descriptors. Default: no.
    pub descriptors: bool,
    /// What the peer may use.
    pub limits: Limits,
}

impl ConnOptions {
    /// Sets [`bootstrap`](Self::bootstrap).
    #[must_use]
    pub const fn with_bootstrap(mut self, node: NodeId) -> Self {
        self.bootstrap = Some(node);
        self
    }

    /// Sets [`hello`](Self::hello).
    #[must_use]
    pub const fn with_hello(mut self, hello: bool) -> Self {
        self.hello = hello;
        self
    }

    /// Sets [`descriptors`](Self::descriptors).
    #[must_use]
    pub const fn with_descriptors(mut self, descriptors: bool) -> Self {
        self.descriptors = descriptors;
        self
    }

    /// Sets [`limits`](Self::limits).
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }
}

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
    /// The last reference to this object is gone; [`Engine::object`] makes a new one.
    Dropped(ObjectKey),
    /// A connection is closed. Everything through it is broken; [`Engine::poll_transmit`] may still
    /// have its last bytes.
    Closed {
        /// Which.
        conn: ConnId,
        /// Why.
        reason: CloseReason,
    },
}

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

/// What a call or job waits for in a queue.
pub(crate) enum Pending<H: Host> {
    /// A call of this vat.
    Local(H::Call),
    /// A call of another vat.
    Wire(WireCall),
    /// Work that waits for a reference to settle.
    Job(H::Job),
}

impl<H: Host> Engine<H> {
    /// An engine without references and connections.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            nodes: Nodes::new(),
            outputs: VecDeque::new(),
            work: VecDeque::new(),
            stale: Exception::failed("the reference was released"),
            config,
            opened: 0,
        }
    }

    // ---- references

    /// A reference to an object of the vat, with one count. When all references to it are gone,
    /// here and at all peers, the vat gets [`Output::Dropped`].
    pub fn object(&mut self, key: ObjectKey) -> NodeId {
        self.nodes.object(key)
    }

    /// Whether anybody holds a reference to this object: an [`Output::Dropped`] that says otherwise
    /// was overtaken by a new reference.
    #[must_use]
    pub fn has_object(&self, key: ObjectKey) -> bool {
        self.nodes.has_object(key)
    }

    /// A promise reference, with one count: unresolved until [`resolve`](Self::resolve), or until
    /// the call in whose [`Encoded::pipelined`](crate::Encoded::pipelined) it stands is answered.
    pub fn promise(&mut self) -> NodeId {
        self.nodes.insert(Kind::Promise)
    }

    /// A broken reference, with one count.
    pub fn broken(&mut self, reason: Exception) -> NodeId {
        self.nodes.insert(Kind::Broken(reason))
    }

    /// One count more.
    pub fn retain(&mut self, node: NodeId) {
        self.nodes.retain(node);
    }

    /// Gives one count back.
    pub fn release(&mut self, node: NodeId) {
        self.drop_count(node);
        self.settle();
    }

    /// Resolves a promise of this vat: everything sent to it, and everything that will be, goes to
    /// `to`, or fails with the exception. `to` is borrowed. A promise that resolves to itself, also
    /// in a circle, breaks.
    ///
    /// # Errors
    /// If `promise` is not an unresolved promise made with [`promise`](Self::promise).
    pub fn resolve(
        &mut self,
        promise: NodeId,
        to: Result<NodeId, Exception>,
    ) -> Result<(), ApiMisuse> {
        match self.nodes.get(promise) {
            Some(node) if matches!(node.kind, Kind::Promise) => {}
            _ => return Err(ApiMisuse::NotUnresolved),
        }
        match to {
            Ok(to) => self.become_link(promise, to),
            Err(reason) => self.become_broken(promise, reason),
        }
        self.settle();
        Ok(())
    }

    /// Whether two references are the same: `None` as long as that cannot be known, because one is
    /// unresolved or lies at a peer that may stand between us and the object.
    #[must_use]
    pub fn same(&self, a: NodeId, b: NodeId) -> Option<bool> {
        let (a, b) = (self.nodes.terminal(a), self.nodes.terminal(b));
        let (first, second) = (self.nodes.get(a)?, self.nodes.get(b)?);
        if first.is_unresolved() || second.is_unresolved() {
            return None;
        }
        if a == b {
            return Some(true);
        }
        match (&first.kind, &second.kind) {
            (Kind::Object(_) | Kind::Broken(_), Kind::Object(_) | Kind::Broken(_)) => Some(false),
            _ => None,
        }
    }

    /// What a reference stands for at the moment.
    #[must_use]
    pub fn state(&self, node: NodeId) -> NodeState<'_> {
        let Some(node) = self.nodes.get(self.nodes.terminal(node)) else {
            return NodeState::Broken(&self.stale);
        };
        match &node.kind {
            Kind::Object(key) => NodeState::Near(*key),
            Kind::Far(far) if matches!(far.place, Place::Import { settled: true, .. }) => {
                NodeState::Far(far.conn)
            }
            Kind::Promise | Kind::Far(_) | Kind::Link { .. } => NodeState::Unresolved,
            Kind::Broken(reason) => NodeState::Broken(reason),
        }
    }

    /// Attaches a file descriptor to a reference: peers with whom descriptors can be passed get it
    /// along with the reference.
    pub fn attach_fd(&mut self, node: NodeId, fd: Rc<OwnedFd>) {
        let node = self.nodes.terminal(node);
        if let Some(node) = self.nodes.get_mut(node) {
            node.set_fd(fd);
        }
    }

    /// The file descriptor that is attached to a reference, or came with it.
    #[must_use]
    pub fn fd(&self, node: NodeId) -> Option<Rc<OwnedFd>> {
        self.nodes.get(self.nodes.terminal(node))?.fd().cloned()
    }

    /// Gives the job back with [`Output::Run`] once the reference is settled or broken, in its
    /// place among the calls that were sent to it.
    pub fn when_resolved(&mut self, node: NodeId, job: H::Job) {
        self.route(node, Pending::Job(job));
        self.settle();
    }

    // ---- work

    /// Sends a call. It is delivered in a later turn, or leaves the vat; never during this method.
    pub fn send(&mut self, target: NodeId, call: H::Call) {
        self.route(target, Pending::Local(call));
        self.settle();
    }

    /// Passes a call from another vat on to another reference; its answer follows by itself.
    pub fn forward(&mut self, target: NodeId, call: WireCall) {
        self.route(target, Pending::Wire(call));
        self.settle();
    }

    /// Puts a job at the end of the queue.
    pub fn enqueue(&mut self, job: H::Job) {
        self.outputs.push_back(Output::Run(job));
    }

    /// Answers a call from another vat. `Ok` gives a function that fills the results struct, with
    /// references as capability pointers made with [`cap_hook`](crate::cap_hook); it is called at
    /// most once, before this method returns, and not at all if nobody wants the results any more.
    /// If it fails, the call is answered with its exception.
    pub fn answer(&mut self, answer: AnswerToken, result: Result<WriteResults<'_>, Exception>) {
        drop((answer, result.is_ok()));
        self.settle();
    }

    // ---- connections

    /// A new connection, over a transport that the driver has established.
    pub fn open(&mut self, options: ConnOptions) -> ConnId {
        let conn = ConnId::new(self.opened, 1);
        self.opened += 1;
        drop(options);
        conn
    }

    /// A promise reference, with one count, for what the peer offers to whoever connects.
    pub fn bootstrap(&mut self, conn: ConnId) -> NodeId {
        self.broken(Exception::disconnected(format!(
            "connection {conn} is closed"
        )))
    }

    /// What the transport received, with the file descriptors that came along. Messages may be cut
    /// anywhere. Whatever the bytes are, at worst this connection is aborted.
    ///
    /// Descriptors belong to the last message whose first byte lies in `bytes`: hand over the bytes
    /// and descriptors of each receive call as they came, not joined or split.
    pub fn handle_bytes(&mut self, conn: ConnId, bytes: &[u8], fds: Vec<OwnedFd>) {
        tracing::trace!(%conn, bytes = bytes.len(), fds = fds.len(), "received");
        self.settle();
    }

    /// The transport has ended. Everything through the connection breaks, once, with an exception of
    /// kind `Disconnected` that gives the reason.
    pub fn handle_closed(&mut self, conn: ConnId, reason: &str) {
        self.outputs.push_back(Output::Closed {
            conn,
            reason: CloseReason::Transport(reason.to_owned()),
        });
        self.settle();
    }

    /// Closes a connection; with a reason, the peer is told. Everything through it breaks at once,
    /// as if the transport had ended; what is left to transmit should still be sent.
    pub fn close(&mut self, conn: ConnId, reason: Option<Exception>) {
        drop(reason);
        self.outputs.push_back(Output::Closed {
            conn,
            reason: CloseReason::Local,
        });
        self.settle();
    }

    // ---- outputs

    /// The next thing for the vat to do.
    pub fn poll_output(&mut self) -> Option<Output<H>> {
        self.outputs.pop_front()
    }

    /// A connection that has something to transmit.
    #[must_use]
    pub fn pending_transmit(&self) -> Option<ConnId> {
        None
    }

    /// Moves everything the connection has to send to the end of `out`. Returns whether that was
    /// anything.
    pub fn poll_transmit(&mut self, conn: ConnId, out: &mut Transmit) -> bool {
        tracing::trace!(%conn, bytes = out.len(), "nothing to transmit");
        false
    }

    // ---- getters

    /// Counts of a connection; `None` if it is closed.
    #[must_use]
    pub fn stats(&self, conn: ConnId) -> Option<Stats> {
        tracing::trace!(%conn, agent = self.config.agent, "no statistics");
        None
    }

    /// Whether a connection holds nothing: no call under way in either direction, no reference
    /// given or held. A closed connection holds nothing.
    #[must_use]
    pub fn is_drained(&self, conn: ConnId) -> bool {
        self.stats(conn).is_none()
    }
}

/// Counts of one connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Our calls that are not finished.
    pub questions: usize,
    /// The peer's calls that are not finished.
    pub answers: usize,
    /// References that the peer holds.
    pub exports: usize,
    /// References that we hold.
    pub imports: usize,
    /// Embargoes that wait to be lifted.
    pub embargoes: usize,
    /// Bytes of the peer's calls without an answer.
    pub call_bytes: usize,
    /// Bytes waiting to be polled for transmission.
    pub outbound_bytes: usize,
    /// Messages received.
    pub received: u64,
    /// Messages sent.
    pub sent: u64,
}
