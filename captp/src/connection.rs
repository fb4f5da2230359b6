//! One connection: four tables from our point of view, embargoes, and the two streams.
//!
//! The tables hold state; what happens when an event arrives is decided by the engine, because it
//! usually concerns nodes and other connections too.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::time::Duration;

use smallvec::SmallVec;

use crate::contact::VatKey;
use crate::frame::Frame;
use crate::message::{Call, Envelope, Target, quick};
use crate::{
    AnswerId, Exception, ExportId, Features, Host, Limits, NodeId, PeerHello, PeerMisbehaved,
    Transmit,
};

pub(crate) mod answer;
mod connections;
pub(crate) mod embargo;
pub(crate) mod endings;
pub(crate) mod export;
pub(crate) mod framer;
pub(crate) mod handoff;
pub(crate) mod held;
pub(crate) mod import;
pub(crate) mod question;
pub(crate) mod questions;
pub(crate) mod table;
pub(crate) mod unsent;
pub(crate) mod valve;

pub(crate) use connections::Connections;

use answer::Answer;
use embargo::Embargo;
use endings::Endings;
use export::Export;
use framer::Framer;
use held::Held;
use import::{FdCount, Import};
use question::Question;
use table::{PeerTable, Slab};
use unsent::Unsent;
use valve::Valve;

/// One connection.
pub(crate) struct Connection<H: Host> {
    pub(crate) questions: Slab<Question<H>>,
    /// Questions for pipelining only. Their ids are cycled through: see
    /// [`FIRST_PIPELINE_ID`](questions::FIRST_PIPELINE_ID).
    pub(crate) pipelines: PeerTable<Question<H>>,
    pub(crate) answers: PeerTable<Answer>,
    pub(crate) exports: Slab<Export>,
    pub(crate) imports: PeerTable<Import>,
    /// Descriptors that came with the peer's references and stay with them.
    pub(crate) import_fds: FdCount,
    pub(crate) embargoes: Slab<Embargo>,
    /// What waits for room.
    pub(crate) held: VecDeque<Held>,
    /// How far the soft limits before which they wait have given way.
    pub(crate) gate_valve: Valve,
    /// What of ours waits for room at the peer.
    pub(crate) unsent: Option<Box<Unsent>>,
    /// Calls that were sent and will be answered, and their bytes.
    pub(crate) asked: usize,
    pub(crate) asked_bytes: usize,
    /// Calls that are answered, and whose answers the peer keeps until our Finish.
    pub(crate) answered: usize,
    /// Those of them that we need no longer: their Finish waits.
    pub(crate) ended: usize,
    /// How many calls there may be.
    pub(crate) window: Window,
    /// How far that has given way.
    pub(crate) window_valve: Valve,
    pub(crate) framer: Framer,
    /// Descriptors of the message that has begun to arrive.
    pub(crate) fds: Vec<OwnedFd>,
    /// Those that came with the end of it: of the message behind.
    pub(crate) fds_behind: Vec<OwnedFd>,
    pub(crate) outbound: Transmit,
    /// Whether it is in the engine's list of those that have something to transmit.
    pub(crate) dirty: bool,
    /// What was last counted as in flight here, and as waiting for room.
    pub(crate) weighed: usize,
    pub(crate) weighed_unsent: usize,
    /// The peer's calls that wait for promises.
    pub(crate) queued: usize,
    /// Descriptors of the peer's calls that wait, for whatever.
    pub(crate) waiting_fds: usize,
    /// The peer's Disembargoes that wait for promises.
    pub(crate) bounces: usize,
    /// Bytes that the transport has taken.
    pub(crate) transmitted: u64,
    pub(crate) endings: Endings,
    pub(crate) limits: Limits,
    /// The same limits for what we send, lowered to what the peer said it accepts.
    pub(crate) send_bytes: usize,
    pub(crate) send_caps: usize,
    pub(crate) send_fds: usize,
    /// What the peer gets as bootstrap. Counted.
    pub(crate) bootstrap: Option<NodeId>,
    pub(crate) descriptors: bool,
    /// What we announced.
    pub(crate) features: Features,
    /// What the peer announced. Boxed: most connections with a vat have one, others none.
    pub(crate) peer_hello: Option<Box<PeerHello>>,
    /// Who the peer is, as the transport has proved.
    pub(crate) peer: Option<VatKey>,
    /// Whether both sides begin with a hello.
    pub(crate) hello: bool,
    /// Where the peer can be reached by others, as the host knows.
    pub(crate) peer_addresses: Vec<String>,
    /// Provides of ours that the peer holds.
    pub(crate) gifts: usize,
    /// Provides of the peer.
    pub(crate) provisions: usize,
    /// Accepts of the peer that wait.
    pub(crate) parked: usize,
    /// Signatures that were checked for the peer since a time.
    pub(crate) checked: (Duration, usize),
    /// Whether the first message, a hello, is still to come.
    pub(crate) awaits_hello: bool,
    /// Whether the first message has not even arrived.
    pub(crate) expects_hello: bool,
    /// Closed, with bytes left to transmit.
    pub(crate) closed: bool,
    /// Bytes of the peer's calls that have no answer yet.
    pub(crate) call_bytes: usize,
    /// Answers that are given, and whose Finish has not come.
    pub(crate) returned: usize,
    /// Bytes of results kept for pipelining.
    pub(crate) kept_bytes: usize,
    /// The peer's calls that objects of this vat have and have not answered yet.
    pub(crate) delivered: usize,
    pub(crate) delivered_bytes: usize,
    /// References inside coming answers that the peer has named.
    pub(crate) pipelined: usize,
    pub(crate) received: u64,
    /// When the last message came.
    pub(crate) heard: Duration,
    /// The latest round trip whose answer is there.
    pub(crate) round_trips: u64,
    pub(crate) sent: u64,
    /// How many questions for pipelining only there were.
    pipelines_asked: u32,
    /// Whether the peer has never returned a call that was made for pipelining only.
    pub(crate) honours_pipeline_only: bool,
    /// Whether calls that go back to this peer are made as tail calls.
    pub(crate) tail_calls: bool,
    serial: u64,
}

/// What a reference was described to the peer as.
#[derive(Debug)]
pub(crate) struct Pin {
    /// Counted.
    pub(crate) node: NodeId,
    pub(crate) way: Way,
}

/// What the references of one answer were described as. Mostly there is one.
pub(crate) type Pins = SmallVec<[Pin; 1]>;

/// How to get from a pin to where calls go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    /// To the node.
    Plain,
    /// To the node's place on this very connection, even if the node has resolved since.
    Strict,
    /// To whatever this export stands for, if it is still the same one; else to the node.
    Export { id: ExportId, serial: u64 },
}

/// How many calls of ours may be under way: our limits, lowered to what the peer said.
pub(crate) struct Window {
    pub(crate) calls: usize,
    pub(crate) bytes: usize,
    /// The same, however long nothing moves.
    pub(crate) most_calls: usize,
    pub(crate) most_bytes: usize,
    /// What one call may have if it is the only one.
    pub(crate) single_bytes: usize,
}

impl Window {
    const fn of(limits: &Limits) -> Self {
        Self {
            calls: limits.questions_soft,
            bytes: limits.question_bytes,
            most_calls: limits.questions,
            most_bytes: limits.question_bytes.saturating_mul(2),
            single_bytes: usize::MAX,
        }
    }
}

impl<H: Host> Connection<H> {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            questions: Slab::default(),
            pipelines: PeerTable::default(),
            answers: PeerTable::default(),
            exports: Slab::default(),
            imports: PeerTable::default(),
            import_fds: FdCount::default(),
            embargoes: Slab::default(),
            held: VecDeque::new(),
            unsent: None,
            asked: 0,
            asked_bytes: 0,
            answered: 0,
            ended: 0,
            window: Window::of(&limits),
            window_valve: Valve::default(),
            gate_valve: Valve::default(),
            framer: Framer::default(),
            fds: Vec::new(),
            fds_behind: Vec::new(),
            outbound: Transmit::new(),
            dirty: false,
            weighed: 0,
            weighed_unsent: 0,
            queued: 0,
            waiting_fds: 0,
            bounces: 0,
            transmitted: 0,
            endings: Endings::default(),
            send_bytes: limits.message_bytes,
            send_caps: limits.caps_per_message,
            send_fds: limits.fds_per_message,
            limits,
            bootstrap: None,
            descriptors: false,
            features: Features::NONE,
            peer_hello: None,
            peer: None,
            hello: false,
            peer_addresses: Vec::new(),
            gifts: 0,
            provisions: 0,
            parked: 0,
            checked: (Duration::ZERO, 0),
            awaits_hello: false,
            expects_hello: false,
            closed: false,
            call_bytes: 0,
            returned: 0,
            kept_bytes: 0,
            delivered: 0,
            delivered_bytes: 0,
            pipelined: 0,
            received: 0,
            heard: Duration::ZERO,
            round_trips: 0,
            sent: 0,
            pipelines_asked: 0,
            honours_pipeline_only: true,
            tail_calls: false,
            serial: 0,
        }
    }

    /// A number that was not given before.
    pub(crate) const fn next_serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    /// The last number that was given.
    pub(crate) const fn last_serial(&self) -> u64 {
        self.serial
    }

    /// The next message of `bytes` where it lies, if it is one of the frequent ones and all there.
    pub(crate) fn whole_segment<'b>(
        &self,
        bytes: &mut &'b [u8],
    ) -> Option<(&'b [u8], Envelope, Option<usize>)> {
        if self.awaits_hello || !self.framer.is_between() {
            return None;
        }
        let (segment, rest) = framer::whole(bytes, &self.limits)?;
        let (envelope, content) = quick::decode(segment, &self.limits)?;
        *bytes = rest;
        Some((segment, envelope, content))
    }

    /// The next message that `bytes` completes.
    pub(crate) fn next_frame(
        &mut self,
        bytes: &mut &[u8],
    ) -> Result<Option<Frame>, PeerMisbehaved> {
        if !self.expects_hello {
            return self.framer.next(bytes, &self.limits);
        }
        let most = self.limits.hello_bytes.min(self.limits.message_bytes);
        let limits = self.limits.clone().with_message_bytes(most);
        let frame = self.framer.next(bytes, &limits)?;
        self.expects_hello = frame.is_none();
        Ok(frame)
    }

    /// Whether a message of that size may be sent at all.
    pub(crate) fn fits_ever(&self, bytes: usize) -> Result<(), Exception> {
        let limit = self.send_bytes.min(self.outbound_room());
        if bytes <= limit {
            return Ok(());
        }
        Err(Exception::failed(format!(
            "message of {bytes} bytes is above the limit of {limit}; send it in pieces"
        )))
    }

    /// How many bytes may wait to be transmitted before results fail and calls wait: the last
    /// quarter is for messages that can do neither, which are small.
    pub(crate) const fn outbound_room(&self) -> usize {
        self.limits.outbound_bytes / 4 * 3
    }

    /// Whether a message of that size may be sent.
    pub(crate) fn fits(&self, bytes: usize) -> Result<(), Exception> {
        self.fits_ever(bytes)?;
        let room = self.outbound_room();
        if self.outbound.len().saturating_add(bytes) > room {
            return Err(Exception::overloaded(format!(
                "the peer has {room} bytes to read already"
            )));
        }
        Ok(())
    }

    /// Whether the peer may make this call.
    pub(crate) fn may_answer(&self, id: AnswerId, bytes: usize) -> Result<(), PeerMisbehaved> {
        if self.answers.get(id.raw()).is_some() {
            return Err(PeerMisbehaved::DuplicateQuestion(id));
        }
        let limit = self.limits.answers;
        if self.answers.len() - self.returned >= limit {
            return Err(PeerMisbehaved::TableFull {
                what: "unanswered calls",
                limit,
            });
        }
        let limit = limit.saturating_mul(2);
        if self.answers.len() >= limit {
            return Err(PeerMisbehaved::TableFull {
                what: "unfinished calls",
                limit,
            });
        }
        let limit = self.limits.call_bytes;
        if self.call_bytes.saturating_add(bytes) > limit {
            return Err(PeerMisbehaved::TableFull {
                what: "bytes of unanswered calls",
                limit,
            });
        }
        Ok(())
    }

    /// The settled export that a plain call is for, if the call may go on at once: without
    /// references in it, for a caller who wants the answer.
    pub(crate) fn called_at_once(&self, call: &Call) -> Option<NodeId> {
        let Target::Export(id) = call.target else {
            return None;
        };
        let plain = call.caps.is_empty() && !call.pipeline_only && !call.keep_results;
        if !plain || !self.held.is_empty() || self.is_gate_closed() {
            return None;
        }
        let export = self.exports.get(id.raw())?;
        matches!(export.state, export::State::Settled).then_some(export.node)
    }

    /// Bytes of the peer's calls, of kept results, of a message that is arriving, and of what waits
    /// to be transmitted, with what stays alive until it is.
    pub(crate) fn in_flight(&self) -> usize {
        let outbound = self.outbound.weight();
        match self.closed {
            true => outbound,
            false => self.call_bytes + self.kept_bytes + self.framer.weight() + outbound,
        }
    }

    /// The same of what waits for room.
    pub(crate) fn unsent_weight(&self) -> usize {
        self.unsent.as_ref().map_or(0, |unsent| unsent.weight())
    }

    /// How long the stream will be when all is transmitted.
    pub(crate) fn stream_end(&self) -> u64 {
        self.transmitted + self.outbound.len() as u64
    }

    pub(crate) fn is_drained(&self) -> bool {
        self.questions_len() == 0
            && self.answers.len() == 0
            && self.exports.len() == 0
            && self.imports.len() == 0
            && self.embargoes.len() == 0
    }
}
