//! The engine: all connections of one vat, and all its references.
//!
//! This file is long because it is the contract, and most of it documentation: the public methods in
//! the sorts that [`Engine`] names, each a few lines over what the modules below do. What takes more
//! than that stands in those modules; of the public methods, what transports take does (`transmit`).

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use crate::contact::{Identity, VatKey};
use crate::{
    AnswerToken, ApiMisuse, CloseReason, ConnId, Content, Exception, ExportId, Features, Host,
    NodeId, ObjectKey, Payload, PeerHello, PeerMisbehaved, QuestionId, WireCall, WriteResults,
};

mod answering;
mod bounce;
mod cancel;
mod check;
mod closing;
mod config;
mod describe;
mod detour;
mod early;
mod embargo;
mod endings;
mod exports;
mod gate;
mod handoff;
mod import;
mod incoming;
mod load;
pub(crate) mod node;
mod outgoing;
mod output;
pub(crate) mod patience;
mod pipeline;
mod receive;
mod resolve;
mod returns;
mod room;
mod route;
pub(crate) mod stream;
mod tail;
#[cfg(any(test, feature = "testing"))]
pub(crate) mod testing;
mod transmit;
mod waiting_fds;

pub use config::{Config, ConnOptions};
use node::{Far, Kind, Nodes, Place};
pub use output::{DialId, NodeState, Output, Stats};

use crate::connection::Connections;
use crate::connection::handoff::Provisions;
use crate::connection::import::Attached;
use crate::connection::table::Slab;
use crate::message::encode;

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
    connections: Connections<H>,
    outputs: VecDeque<Output<H>>,
    /// Bytes in flight on all connections by doing of the peers, as they were last weighed.
    in_flight: usize,
    /// The same of our own calls that wait for room.
    unsent: usize,
    /// What is still to be done before a method returns. A queue, so that no peer can make us
    /// recurse.
    work: VecDeque<Work<H>>,
    /// Connections that have come to have something to transmit.
    dirty: VecDeque<ConnId>,
    /// Room for what connections transmit, which those that are idle gave back.
    spare: Vec<Vec<u8>>,
    /// The message being written: room for it, between two. In a box, as it goes from hand to hand.
    draft: Option<Box<Content>>,
    /// What is noted about the references of a message, between two.
    given: Option<Box<describe::Given>>,
    /// Connections whose peer does not read.
    stuck: Vec<ConnId>,
    /// Connections at which calls wait for room, in turn.
    holding: VecDeque<ConnId>,
    /// Connections at which calls of ours wait for room.
    crowded: Vec<ConnId>,
    /// The connection to each vat that is known by its key.
    peers: BTreeMap<VatKey, ConnId>,
    /// Gifts that wait for a connection to their exporter. Not counted.
    dials: Slab<NodeId>,
    /// What others gave away of us.
    provisions: Provisions,
    /// How many gifts we made.
    gifts_made: u64,
    /// How many embargoes we named for our Accepts.
    embargoes_named: u64,
    /// The time, as the host said last.
    now: Duration,
    /// The null reference: broken, and written as null. Lives as long as the engine.
    null: NodeId,
    /// Cancelled calls of other vats that have no answer yet.
    canceled: cancel::Canceled,
    /// Streams of calls under way.
    streams: Slab<stream::Stream<H>>,
    /// Why released references are broken.
    stale: Exception,
    config: Config,
    /// A deliberate mistake.
    #[cfg(any(test, feature = "testing"))]
    fault: Option<testing::Fault>,
}

/// Something to be done before a method returns.
enum Work<H: Host> {
    /// Pass on what waits at a node.
    Drain(NodeId),
    /// This has nowhere to go.
    Fail(Pending<H>, Exception),
    /// The results that a question of ours takes from a call of the peer are there.
    Taken(ConnId, QuestionId, Result<Payload, Exception>),
    /// Tell a peer what became of an export, if it is still the one with this serial number.
    Announce(ConnId, ExportId, u64),
    /// Accept a gift.
    Accept(NodeId),
    /// Give a count back.
    Release(NodeId),
}

/// What waits in a queue.
pub(crate) enum Pending<H: Host> {
    /// A call of this vat.
    Local(H::Call),
    /// A streaming call of this vat that waits, and what it counts meanwhile.
    Streamed(H::Call, stream::Share),
    /// A call of another vat.
    Wire(WireCall),
    /// Work that waits for a reference to settle.
    Job(H::Job),
    /// A Disembargo of another vat, to be sent back to it.
    Bounce { conn: ConnId, id: u32 },
}

impl<H: Host> Pending<H> {
    /// Whether it is a call of another vat.
    pub(crate) const fn is_from_wire(&self) -> bool {
        match self {
            Self::Wire(_) => true,
            Self::Local(_) | Self::Streamed(..) | Self::Job(_) | Self::Bounce { .. } => false,
        }
    }
}

impl<H: Host> Engine<H> {
    /// An engine without references and connections.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let mut nodes = Nodes::new();
        let null = nodes.insert(Kind::Broken(Exception::failed("the reference is null")));
        Self {
            nodes,
            connections: Connections::new(),
            outputs: VecDeque::new(),
            in_flight: 0,
            unsent: 0,
            work: VecDeque::new(),
            dirty: VecDeque::new(),
            spare: Vec::new(),
            draft: None,
            given: None,
            stuck: Vec::new(),
            holding: VecDeque::new(),
            crowded: Vec::new(),
            peers: BTreeMap::new(),
            dials: Slab::default(),
            provisions: Provisions::default(),
            gifts_made: 0,
            embargoes_named: 0,
            now: Duration::ZERO,
            null,
            canceled: cancel::Canceled::default(),
            streams: Slab::default(),
            stale: Exception::failed("the reference was released"),
            config,
            #[cfg(any(test, feature = "testing"))]
            fault: None,
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

    /// The node that everything shares which is [the same](Self::same) as this reference; `None`
    /// while it is unresolved or if it is broken. It stays the same as long as anybody holds a
    /// count of it.
    #[must_use]
    pub fn identity(&self, node: NodeId) -> Option<NodeId> {
        match self.state(node) {
            NodeState::Near(_) | NodeState::Far(_) => Some(self.nodes.terminal(node)),
            NodeState::Unresolved | NodeState::Broken(_) => None,
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
            Kind::Promise | Kind::Far(_) | Kind::Link { .. } | Kind::Gift(_) => {
                NodeState::Unresolved
            }
            Kind::Broken(reason) => NodeState::Broken(reason),
        }
    }

    /// Attaches a file descriptor to a reference: peers with whom descriptors can be passed get it
    /// along with the reference.
    pub fn attach_fd(&mut self, node: NodeId, fd: Rc<OwnedFd>) {
        let node = self.nodes.terminal(node);
        if let Some(node) = self.nodes.get_mut(node) {
            node.attach(Rc::new(Attached::own(fd)));
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
        // Until it reaches an object again it does not keep other calls of its caller waiting: what it
        // waits for may be behind them.
        self.uncount_delivered(&call.answer);
        match self.may_wait_at(target, &call.answer) {
            Ok(()) => self.route(target, Pending::Wire(call)),
            Err(reason) => self.refuse(call, &reason),
        }
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
    #[expect(
        clippy::needless_pass_by_value,
        reason = "the right to answer ends here"
    )]
    pub fn answer(&mut self, answer: AnswerToken, result: Result<WriteResults<'_>, Exception>) {
        match result {
            Ok(write) => self.answer_filled(&answer, write),
            Err(reason) => self.answer_exception(&answer, &reason),
        }
        self.settle();
    }

    /// Says in advance what the reference at `path` inside a coming answer will be: calls that are
    /// pipelined on it need not wait for the answer, nor does anybody who asks for nothing else. A
    /// path for which this has been said already, or a call that is answered, stays as it is.
    ///
    /// `to` is borrowed. The answer has to hold the same reference at this path.
    pub fn set_pipeline(
        &mut self,
        answer: &AnswerToken,
        path: &[u16],
        to: Result<NodeId, Exception>,
    ) {
        self.resolve_in_advance(answer, path, to);
        self.settle();
    }

    /// Whether the caller of this call has cancelled it, or is gone: it does not want the results,
    /// and nobody else can. A call that had to wait for a promise may be when it arrives.
    #[must_use]
    pub fn is_cancelled(&self, answer: &AnswerToken) -> bool {
        let Some(row) = self.connections.get(answer.conn) else {
            return true;
        };
        let entry = row.answers.get(answer.answer.raw());
        entry.is_some_and(|entry| entry.serial == answer.serial && entry.is_unwanted())
    }

    /// Cancels the call in whose [`Encoded::pipelined`](crate::Encoded::pipelined) this promise
    /// stands: the peer is told, the references inside the answer break, and the reply gets an
    /// exception. Returns whether there was anything to cancel; a call that has been answered, or
    /// that waits for a promise to resolve, is not affected. A call that waits for room at the peer
    /// leaves all the same, with the word that it is cancelled. To be able to cancel a call whose
    /// results hold no reference, give it a promise with an empty path.
    pub fn cancel(&mut self, promise: NodeId) -> bool {
        let place = match self.nodes.get(promise).map(|node| &node.kind) {
            Some(Kind::Far(Far {
                conn,
                place: Place::Answer { question, .. },
                ..
            })) => Some((*conn, *question)),
            _ => None,
        };
        let done = place.is_some_and(|(conn, question)| self.cancel_question(conn, question));
        self.settle();
        done
    }

    // ---- connections

    /// Says who this vat is, if that was not known when the engine was made. It counts for
    /// connections that are opened afterwards.
    pub fn set_identity(&mut self, identity: Identity) {
        self.config.identity = Some(identity);
    }

    /// A new connection, over a transport that the driver has established.
    pub fn open(&mut self, options: ConnOptions) -> ConnId {
        let conn = self.open_connection(options);
        self.settle();
        conn
    }

    /// A promise reference, with one count, for what the peer offers to whoever connects.
    pub fn bootstrap(&mut self, conn: ConnId) -> NodeId {
        let node = self.send_bootstrap(conn);
        self.settle();
        node
    }

    /// How many references this vat has handed over so far, under all its identities.
    pub const fn gifts_made(&self) -> u64 {
        self.gifts_made
    }

    /// Says what became of an [`Output::Dial`]: the connection, which may serve others as well, or
    /// why there is none.
    pub fn dialed(&mut self, request: DialId, result: Result<ConnId, Exception>) {
        self.on_dialed(request, result);
        self.settle();
    }

    /// The connection to a vat that is known by its key, if there is one.
    #[must_use]
    pub fn connection_to(&self, vat: &VatKey) -> Option<ConnId> {
        self.peers.get(vat).copied()
    }

    /// Tells the time, counted from any moment, and ends what has waited too long. Without it
    /// nothing ends by time.
    pub fn handle_time(&mut self, now: Duration) {
        self.now = self.now.max(now);
        if self.awaits_time() {
            self.expire_accepts(self.now);
            self.lose_patience();
            self.expire_canceled();
        }
        self.settle();
    }

    /// Whether anything here ends, gives way or is forgotten by time.
    fn awaits_time(&self) -> bool {
        let flows = self.crowded.is_empty() && self.holding.is_empty();
        !(flows && self.canceled.is_empty() && self.provisions.is_timeless())
    }

    /// When [`handle_time`](Self::handle_time) has something to do.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        if !self.awaits_time() {
            return None;
        }
        let due = [
            self.provisions.deadline(),
            self.patience_ends(),
            self.canceled.deadline(),
        ];
        due.into_iter().flatten().min()
    }

    /// What the transport received, with the file descriptors that came along. Messages may be cut
    /// anywhere. Whatever the bytes are, at worst this connection is aborted.
    ///
    /// Returns how many of the bytes were taken, at least one: it stops behind a message that gave
    /// the vat something to do (some answers are gathered), so that what the vat then says counts
    /// against the limits before the next call comes in. Poll the outputs, and offer the rest again,
    /// without descriptors.
    ///
    /// Descriptors belong to the last message whose first byte lies in `bytes`: hand over the bytes
    /// and descriptors of each receive call as they came, not joined or split. Bytes with which
    /// descriptors came are all taken at once. Those that came with bytes which filled the
    /// [room](Self::receive_room) for a message belong to the one behind it.
    #[must_use = "the bytes that were not taken have to be offered again"]
    pub fn handle_bytes(&mut self, conn: ConnId, bytes: &[u8], fds: Vec<OwnedFd>) -> usize {
        let taken = self.receive(conn, bytes, fds);
        self.settle();
        taken
    }

    /// Where the transport may write what it receives next, if that is the rest of a large message:
    /// it spares a copy. Say with [`handle_received`](Self::handle_received) how much it was. `None`
    /// otherwise: then [`handle_bytes`](Self::handle_bytes) takes what was received.
    ///
    /// The room counts as [in flight](Config::in_flight_bytes): if that is too much, a connection is
    /// aborted, perhaps this one; poll the outputs.
    pub fn receive_room(&mut self, conn: ConnId) -> Option<&mut [u8]> {
        let row = self.connections.get_mut(conn)?;
        if row.expects_hello {
            return None;
        }
        row.framer.room()?;
        self.weigh(conn);
        self.settle();
        self.connections.get_mut(conn)?.framer.room()
    }

    /// So many bytes were received where [`receive_room`](Self::receive_room) said, with these
    /// descriptors. Returns whether they completed a message; poll the outputs then. Also if not
    /// there may be some: see [`receive_room`](Self::receive_room).
    pub fn handle_received(&mut self, conn: ConnId, count: usize, fds: Vec<OwnedFd>) -> bool {
        let complete = self.received_in_room(conn, count, fds);
        self.settle();
        complete
    }

    /// The transport has ended. Everything through the connection breaks, once, with an exception of
    /// kind `Disconnected` that gives the reason.
    pub fn handle_closed(&mut self, conn: ConnId, reason: &str) {
        self.teardown(conn, CloseReason::Transport(reason.to_owned()));
        if let Some(row) = self.connections.any(conn) {
            row.outbound.clear();
        }
        self.weigh(conn);
        self.bury(conn);
        self.settle();
    }

    /// Closes a connection; with a reason, the peer is told. Everything through it breaks at once,
    /// as if the transport had ended; what is left to transmit should still be sent, and then the
    /// transport be closed.
    pub fn close(&mut self, conn: ConnId, reason: Option<Exception>) {
        if let Some(reason) = reason {
            self.transmit(conn, &encode::abort(&reason), &[]);
        }
        self.teardown(conn, CloseReason::Local);
        self.bury(conn);
        self.settle();
    }

    /// Closes a connection whose peer did not do something in time: "read what it was sent". The
    /// engine has no clock; whoever has one decides. The peer is told.
    pub fn time_out(&mut self, conn: ConnId, what: &'static str) {
        if self.connections.get(conn).is_some() {
            self.abort(conn, PeerMisbehaved::TooSlow(what));
        }
        self.settle();
    }

    // ---- outputs

    /// The next thing for the vat to do. Calls that had to wait for room come when everything else
    /// is done.
    pub fn poll_output(&mut self) -> Option<Output<H>> {
        let output = loop {
            match self.outputs.pop_front() {
                Some(output) => break output,
                None if self.admit_held() => {}
                None => return None,
            }
        };
        if let Output::Deliver { object, .. } = &output
            && let Some(node) = self.nodes.of_object(*object)
        {
            self.drop_count(node);
        }
        Some(output)
    }

    /// Whether [`poll_output`](Self::poll_output) may have something: there are outputs, or calls
    /// wait for room, of which there may be some since bytes were transmitted.
    #[must_use]
    pub fn may_have_output(&self) -> bool {
        !self.outputs.is_empty() || !self.holding.is_empty()
    }

    // ---- getters

    /// Counts of a connection; `None` if it is closed.
    #[must_use]
    pub fn stats(&self, conn: ConnId) -> Option<Stats> {
        let row = self.connections.get(conn)?;
        Some(Stats {
            questions: row.questions_len(),
            answered: row.answered,
            answers: row.answers.len(),
            returned: row.returned,
            exports: row.exports.len(),
            imports: row.imports.len(),
            embargoes: row.embargoes.len(),
            held: row.held.len(),
            waiting: row.unsent.as_ref().map_or(0, |unsent| unsent.calls()),
            waiting_bytes: row.unsent.as_ref().map_or(0, |unsent| unsent.waiting()),
            call_bytes: row.call_bytes,
            kept_bytes: row.kept_bytes,
            outbound_bytes: row.outbound.len(),
            transmitted: row.transmitted,
            receiving: row.framer.arrived(),
            received: row.received,
            sent: row.sent,
            round_trips: row.round_trips,
        })
    }

    /// Whether a message has begun to arrive and is not complete.
    #[must_use]
    pub fn is_receiving_message(&self, conn: ConnId) -> bool {
        self.connections
            .get(conn)
            .is_some_and(|row| row.framer.arrived().is_some())
    }

    /// What the peer said of itself in its hello; `None` if none has come, or if the connection is
    /// closed.
    #[must_use]
    pub fn peer_hello(&self, conn: ConnId) -> Option<&PeerHello> {
        self.connections.get(conn)?.peer_hello.as_deref()
    }

    /// What both sides have announced. Nothing before the peer's hello has come.
    #[must_use]
    pub fn features(&self, conn: ConnId) -> Features {
        let Some(row) = self.connections.get(conn) else {
            return Features::NONE;
        };
        let theirs = row.peer_hello.as_ref().map(|hello| hello.features);
        row.features.common(theirs.unwrap_or_default())
    }

    /// Whether the peer of an open connection has said its hello, or none is spoken there.
    #[must_use]
    pub fn is_greeted(&self, conn: ConnId) -> bool {
        self.connections
            .get(conn)
            .is_some_and(|row| !row.awaits_hello)
    }

    /// Whether a connection is open and of no use at the moment: it [holds nothing](Self::is_drained),
    /// nothing is to be sent, and no message has arrived in part. [Closing](Self::close) it without a
    /// reason loses nothing and sends no message.
    ///
    /// What the peer sends at that very moment is lost with it, and the peer learns of its call that
    /// it may have run. That can only be a call to the bootstrap reference, or to something that
    /// others gave the peer, as it holds nothing else: where nothing has come for long, who wants to
    /// begin anew [asks first](Self::is_doubtful).
    #[must_use]
    pub fn is_idle(&self, conn: ConnId) -> bool {
        self.connections.get(conn).is_some_and(|row| {
            let waits = !row.held.is_empty() || row.unsent.is_some();
            let quiet = row.outbound.is_empty() && row.framer.is_between() && !waits;
            row.is_drained() && quiet
        })
    }

    /// Whether nothing has come on an open connection for [so long](crate::Config::doubted_after) that
    /// the peer may be closing it at this moment, as [idle](Self::is_idle). Before anything new begins
    /// on it, it should be asked for whatever can be lost, such as its bootstrap reference; the answer
    /// shows that it stays, for as long again. A gift is not accepted over such a connection before
    /// [`Output::Dial`] was answered, if only with the same connection.
    #[must_use]
    pub fn is_doubtful(&self, conn: ConnId) -> bool {
        let silence = |since| self.now.saturating_sub(since) >= self.config.doubted_after;
        let row = self.connections.get(conn);
        row.is_some_and(|row| silence(row.heard))
    }

    /// Whether a connection holds nothing: no call under way in either direction, no reference
    /// given or held. A closed connection holds nothing.
    #[must_use]
    pub fn is_drained(&self, conn: ConnId) -> bool {
        self.connections
            .get(conn)
            .is_none_or(|row| row.is_drained())
    }
}

impl<H: Host> std::fmt::Debug for Engine<H> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("nodes", &self.live_nodes())
            .field("connections", &self.connections.iter().count())
            .field("outputs", &self.outputs.len())
            .finish_non_exhaustive()
    }
}
