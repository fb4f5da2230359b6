//! Messages that arrive.

use std::os::fd::OwnedFd;
use std::rc::Rc;

use super::node::{Far, Kind, Place};
use super::{Engine, Output, Pending};
use crate::connection::answer::{Answer, ResultsTo};
use crate::connection::embargo::Embargo;
use crate::connection::export;
use crate::connection::import::Import;
use crate::connection::question;
use crate::connection::question::Asker;
use crate::frame::{Frame, Message};
use crate::message::encode::{self, Built};
use crate::message::{
    Call, Context, Descriptor, DescriptorKind, Envelope, Return, ReturnBody, Target, Unimplemented,
    decode,
};
use crate::{
    AnswerId, AnswerToken, CloseReason, ConnId, EmbargoId, Exception, ExportId, Host, ImportId,
    NodeId, Payload, PeerMisbehaved, WireCall, payload,
};

type Result<T> = std::result::Result<T, PeerMisbehaved>;

/// Descriptors of one message; each is taken once.
pub(super) type Fds = Vec<Option<OwnedFd>>;

impl<H: Host> Engine<H> {
    /// What the transport received.
    pub(super) fn receive(&mut self, conn: ConnId, bytes: &[u8], fds: Vec<OwnedFd>) {
        let plain = self
            .connections
            .get(conn)
            .is_none_or(|row| row.fds.is_empty());
        let result = if fds.is_empty() && plain {
            self.receive_plain(conn, bytes)
        } else {
            self.receive_with_fds(conn, bytes, fds)
        };
        if let Err(fault) = result {
            self.abort(conn, fault);
        }
    }

    fn receive_plain(&mut self, conn: ConnId, bytes: &[u8]) -> Result<()> {
        let mut rest = bytes;
        while let Some(row) = self.connections.get_mut(conn) {
            let Some(frame) = row.framer.next(&mut rest, &row.limits)? else {
                break;
            };
            self.on_frame(conn, frame, Vec::new())?;
            self.settle();
        }
        Ok(())
    }

    /// Descriptors belong to the last message whose first byte lies in these bytes: which one that
    /// is shows when all of them are cut.
    fn receive_with_fds(&mut self, conn: ConnId, bytes: &[u8], fds: Vec<OwnedFd>) -> Result<()> {
        let Some(row) = self.connections.get_mut(conn) else {
            return Ok(());
        };
        if !row.descriptors && !fds.is_empty() {
            return Err(PeerMisbehaved::UnexpectedFds);
        }
        let began_before = !row.framer.is_between();
        let mut held = std::mem::take(&mut row.fds);
        let mut frames: Vec<(Frame, Vec<OwnedFd>)> = Vec::new();
        let mut rest = bytes;
        let fault = loop {
            match row.framer.next(&mut rest, &row.limits) {
                Ok(Some(frame)) => frames.push((frame, std::mem::take(&mut held))),
                Ok(None) => break None,
                Err(fault) => break Some(fault),
            }
        };
        let tail = !row.framer.is_between();
        let tail_began_here = tail && !(began_before && frames.is_empty());
        let last_began_here = frames.len() > usize::from(began_before);
        row.fds = held;
        let mut fault = fault;
        if tail_began_here {
            row.fds = fds;
        } else if let (true, Some((_, owned))) = (last_began_here, frames.last_mut()) {
            *owned = fds;
        } else if !fds.is_empty() {
            fault = fault.or(Some(PeerMisbehaved::UnexpectedFds));
        }
        for (frame, fds) in frames {
            self.on_frame(conn, frame, fds)?;
            self.settle();
        }
        fault.map_or(Ok(()), Err)
    }

    /// One complete message.
    pub(super) fn on_frame(&mut self, conn: ConnId, frame: Frame, fds: Vec<OwnedFd>) -> Result<()> {
        let Some(row) = self.connections.get_mut(conn) else {
            return Ok(());
        };
        row.received += 1;
        let message = frame.into_message(row.limits.traversal_factor, row.limits.nesting);
        if fds.len() > row.limits.fds_per_message {
            return Err(PeerMisbehaved::TooManyFds(fds.len()));
        }
        if row.awaits_hello {
            row.awaits_hello = false;
            return self.on_hello(conn, &message);
        }
        let envelope = decode::decode(&message, &row.limits)?;
        tracing::trace!(%conn, ?envelope, "received");
        let mut fds: Fds = fds.into_iter().map(Some).collect();
        match envelope {
            Envelope::Unimplemented(what) => self.on_unimplemented(conn, what),
            Envelope::Abort(reason) => {
                self.teardown(conn, CloseReason::PeerAborted(reason));
                Ok(())
            }
            Envelope::Bootstrap { answer } => self.on_bootstrap(conn, answer),
            Envelope::Call(call) => self.on_call(conn, &call, message, &mut fds),
            Envelope::Return(ret) => self.on_return(conn, ret, message, &mut fds),
            Envelope::Finish {
                answer,
                release_results,
            } => self.on_finish(conn, answer, release_results),
            Envelope::Resolve { import, to } => self.on_resolve(conn, import, to, &mut fds),
            Envelope::Release { export, count } => self.on_release(conn, export, count),
            Envelope::Disembargo { target, context } => {
                self.on_disembargo(conn, &target, &context, &message)
            }
            Envelope::Unknown => self.echo(conn, &message),
        }
    }

    fn on_unimplemented(&mut self, conn: ConnId, what: Unimplemented) -> Result<()> {
        match what {
            Unimplemented::Resolve(Some(export)) => self.on_release(conn, export, 1),
            Unimplemented::Resolve(None) | Unimplemented::Optional => Ok(()),
            Unimplemented::Required(what) => Err(PeerMisbehaved::RequiredUnimplemented(what)),
        }
    }

    /// Sends a message back that we do not speak.
    fn echo(&mut self, conn: ConnId, original: &Message) -> Result<()> {
        let bytes = original.get_segments().bytes();
        let words = u32::try_from(bytes / 8 + 4).unwrap_or(u32::MAX);
        let mut built = encode::new_message(words);
        copy_unimplemented(&mut built, original)?;
        self.transmit(conn, &built, &[]);
        Ok(())
    }

    fn on_bootstrap(&mut self, conn: ConnId, answer: AnswerId) -> Result<()> {
        let token = self.new_answer(conn, answer, ResultsTo::Caller, 0)?;
        match self.connections.get(conn).and_then(|row| row.bootstrap) {
            Some(node) => self.answer_with_cap(&token, node),
            None => {
                let reason = Exception::failed("this vat offers no bootstrap reference here");
                self.answer_exception(&token, &reason);
            }
        }
        Ok(())
    }

    fn on_call(
        &mut self,
        conn: ConnId,
        call: &Call,
        message: Message,
        fds: &mut Fds,
    ) -> Result<()> {
        // The target first: a call on its own answer must not find one.
        let target = self.target(conn, &call.target)?;
        let results_to = match (call.pipeline_only, call.keep_results) {
            (true, _) => ResultsTo::Pipeline,
            (false, true) => ResultsTo::Kept,
            (false, false) => ResultsTo::Caller,
        };
        let bytes = message.get_segments().bytes();
        let result = match self.new_answer(conn, call.answer, results_to, bytes) {
            Ok(token) => match self.import_all(conn, &call.caps, fds) {
                Ok((caps, _)) => {
                    let params = Payload::new(message, payload::Place::Call, caps);
                    let Call {
                        interface, method, ..
                    } = *call;
                    let call = WireCall {
                        interface,
                        method,
                        params,
                        answer: token,
                    };
                    match self.admit(conn, target) {
                        Ok(()) => self.route_to(target, Pending::Wire(call)),
                        Err(reason) => self.refuse(call, &reason),
                    }
                    Ok(())
                }
                Err(fault) => Err(fault),
            },
            Err(fault) => Err(fault),
        };
        if target.counted {
            self.drop_count(target.node);
        }
        result
    }

    /// The soft limits for one more call.
    fn admit(&self, conn: ConnId, target: TargetNode) -> std::result::Result<(), Exception> {
        let Some(row) = self.connections.get(conn) else {
            return Ok(());
        };
        let limits = &row.limits;
        let over = |what: &str, limit: usize| {
            Err(Exception::overloaded(format!(
                "limit of {limit} {what} reached; try again later"
            )))
        };
        if row.answers.len() > limits.answers_soft {
            return over("unfinished calls", limits.answers_soft);
        }
        if row.call_bytes > limits.call_bytes_soft {
            return over("bytes of unfinished calls", limits.call_bytes_soft);
        }
        let waiting = self
            .nodes
            .get(self.nodes.terminal(target.node))
            .map_or(0, |node| node.waiting_wire_calls());
        if waiting >= limits.pipeline_depth {
            return over("calls that wait for one promise", limits.pipeline_depth);
        }
        Ok(())
    }

    fn new_answer(
        &mut self,
        conn: ConnId,
        id: AnswerId,
        results_to: ResultsTo,
        bytes: usize,
    ) -> Result<AnswerToken> {
        let Some(row) = self.connections.get_mut(conn) else {
            return Err(PeerMisbehaved::DuplicateQuestion(id));
        };
        if row.answers.get(id.raw()).is_some() {
            return Err(PeerMisbehaved::DuplicateQuestion(id));
        }
        let limit = row.limits.answers;
        if row.answers.len() >= limit {
            return Err(PeerMisbehaved::TableFull {
                what: "unfinished calls",
                limit,
            });
        }
        let limit = row.limits.call_bytes;
        if row.call_bytes.saturating_add(bytes) > limit {
            return Err(PeerMisbehaved::TableFull {
                what: "bytes of unfinished calls",
                limit,
            });
        }
        row.call_bytes += bytes;
        let serial = row.next_serial();
        row.answers
            .insert(id.raw(), Answer::new(serial, results_to, bytes));
        Ok(AnswerToken {
            conn,
            answer: id,
            serial,
        })
    }

    fn on_return(
        &mut self,
        conn: ConnId,
        ret: Return,
        message: Message,
        fds: &mut Fds,
    ) -> Result<()> {
        let id = ret.question;
        let Some(question) = self.question_mut(conn, id) else {
            return Err(PeerMisbehaved::UnknownQuestion(id));
        };
        if question.state == question::State::Answered {
            return Err(PeerMisbehaved::UnknownQuestion(id));
        }
        let early = question.state == question::State::Finished;
        let trip = question.trip;
        let params = std::mem::take(&mut question.params);
        if let Some(row) = self.connections.get_mut(conn) {
            row.round_trips = row.round_trips.max(trip);
        }
        if ret.release_params {
            for export in params {
                self.release_export(conn, export, 1)
                    .ok_or(PeerMisbehaved::UnknownExport(export))?;
            }
        }
        if early {
            // The references in it went back with the Finish.
            self.end_question(conn, id, 0, false);
            return Ok(());
        }
        // Everything that can be wrong comes first: until then the question is left as it is.
        let results = match ret.body {
            ReturnBody::Results(caps) => {
                Outcome::Results(self.import_all(conn, &caps, fds)?, message)
            }
            ReturnBody::Exception(reason) => Outcome::Exception(reason),
            ReturnBody::Canceled => Outcome::Exception(Exception::failed("the call was canceled")),
            ReturnBody::SentElsewhere => {
                return Err(PeerMisbehaved::UnknownValue("Return to a call of this vat"));
            }
            ReturnBody::TakeFrom(answer) => {
                self.may_take_results(conn, answer)?;
                Outcome::TakeFrom(answer)
            }
            ReturnBody::Unknown => {
                self.echo(conn, &message)?;
                let reason = "the answer has a form that is not understood";
                Outcome::Exception(Exception::unimplemented(reason))
            }
        };
        let Some(question) = self.question_mut(conn, id) else {
            return Ok(());
        };
        let asker = std::mem::replace(&mut question.asker, Asker::Nobody);
        let pipelined = std::mem::take(&mut question.pipelined);
        let result = match results {
            Outcome::Results((nodes, ours), message) => {
                let mut payload = Payload::new(message, payload::Place::Return, nodes);
                self.resolve_pipelined(&pipelined, &mut payload, &ours);
                Some((asker, Ok(payload)))
            }
            Outcome::Exception(reason) => {
                for (_, node) in &pipelined {
                    self.become_broken(*node, reason.clone());
                }
                Some((asker, Err(reason)))
            }
            Outcome::TakeFrom(answer) => {
                self.take_results(conn, answer, asker, &pipelined);
                None
            }
        };
        let pins = self.count_pins(&pipelined);
        self.end_question(conn, id, pins, !ret.no_finish_needed);
        if let Some((asker, result)) = result {
            self.returned(asker, result);
        }
        Ok(())
    }

    /// How many references inside an answer are pinned to it.
    fn count_pins(&self, pipelined: &[(Rc<[u16]>, NodeId)]) -> u32 {
        let pinned = pipelined.iter().filter(|(_, node)| {
            self.nodes
                .get(*node)
                .is_some_and(|node| node.far().is_some_and(|far| far.pins > 0))
        });
        u32::try_from(pinned.count()).unwrap_or(u32::MAX)
    }

    /// Gives an answer to who waits for it.
    pub(super) fn returned(
        &mut self,
        asker: Asker<H>,
        result: std::result::Result<Payload, Exception>,
    ) {
        match asker {
            Asker::Reply(reply) => self.outputs.push_back(Output::Returned { reply, result }),
            Asker::Forward(token) => match result {
                Ok(payload) => self.answer_payload(&token, payload),
                Err(reason) => self.answer_exception(&token, &reason),
            },
            Asker::Nobody => {
                if let Ok(mut payload) = result {
                    for node in payload.take_caps() {
                        self.drop_count(node);
                    }
                }
            }
        }
    }

    /// The references inside an answer become what the results hold at their paths. What has to
    /// wait for an embargo is put into the payload as well, so that whoever takes the reference
    /// from there keeps the order too.
    fn resolve_pipelined(
        &mut self,
        pipelined: &[(Rc<[u16]>, NodeId)],
        payload: &mut Payload,
        ours: &[bool],
    ) {
        for (path, node) in pipelined {
            let index = match payload.cap_at(path) {
                Ok(index) => index,
                Err(error) => {
                    self.become_broken(*node, Exception::from(error));
                    continue;
                }
            };
            let found = index.and_then(|at| Some((at, *payload.caps().get(at)?)));
            let Some((at, cap)) = found else {
                self.become_link(*node, self.null);
                continue;
            };
            let now = self.resolve_far(*node, cap, ours.get(at).copied().unwrap_or(false));
            if now != self.nodes.terminal(cap)
                && let Some(slot) = payload.caps_mut().get_mut(at)
            {
                self.nodes.retain(now);
                *slot = now;
                self.drop_count(cap);
            }
        }
    }

    /// A far node has resolved. `ours`: the peer named something that it reaches through us, so
    /// that what was sent along the old way comes back to us. Returns what the node stands for now.
    pub(super) fn resolve_far(&mut self, id: NodeId, to: NodeId, ours: bool) -> NodeId {
        let to = self.nodes.terminal(to);
        let Some(Kind::Far(far)) = self.nodes.get(id).map(|node| &node.kind) else {
            return to;
        };
        let far = far.clone();
        let broken = match self.nodes.get(to).map(|node| &node.kind) {
            Some(Kind::Broken(_)) | None => true,
            Some(_) => false,
        };
        if !(ours && far.called) || broken || to == id {
            if far.called
                && let Some(Kind::Far(next)) = self.nodes.get_mut(to).map(|node| &mut node.kind)
                && next.conn == far.conn
            {
                next.called = true;
            }
            self.become_link(id, to);
            return to;
        }
        let waiting = self.nodes.insert(Kind::Promise);
        self.nodes.retain(to);
        let Some(row) = self.connections.get_mut(far.conn) else {
            return to;
        };
        let embargo = EmbargoId::new(row.embargoes.insert(Embargo {
            waiting,
            target: to,
        }));
        self.transmit(far.conn, &encode::sender_loopback(&far.place, embargo), &[]);
        self.become_link(id, waiting);
        waiting
    }

    fn on_resolve(
        &mut self,
        conn: ConnId,
        import: ImportId,
        to: std::result::Result<Descriptor, Exception>,
        fds: &mut Fds,
    ) -> Result<()> {
        let node = self
            .connections
            .get(conn)
            .and_then(|row| row.imports.get(import.raw()))
            .map(|entry| entry.node);
        let Some(node) = node else {
            // Released already; what it resolved to is released too.
            if let Ok(descriptor) = to {
                let (node, _) = self.import(conn, &descriptor, fds)?;
                self.drop_count(node);
            }
            return Ok(());
        };
        let open = match self.nodes.get(node) {
            Some(node) => matches!(node.kind, Kind::Far(_)) && node.is_unresolved(),
            None => false,
        };
        if !open {
            return Err(PeerMisbehaved::NotAPromise(import));
        }
        match to {
            Ok(descriptor) => {
                let (target, ours) = self.import(conn, &descriptor, fds)?;
                self.resolve_far(node, target, ours);
                self.drop_count(target);
            }
            Err(reason) => self.become_broken(node, reason),
        }
        Ok(())
    }

    fn on_release(&mut self, conn: ConnId, export: ExportId, count: u32) -> Result<()> {
        let Some(row) = self.connections.get(conn) else {
            return Ok(());
        };
        let Some(entry) = row.exports.get(export.raw()) else {
            return Err(PeerMisbehaved::UnknownExport(export));
        };
        let held = entry.refs;
        self.release_export(conn, export, count)
            .ok_or(PeerMisbehaved::ReleaseUnderflow {
                export,
                held,
                released: count,
            })
    }

    fn on_disembargo(
        &mut self,
        conn: ConnId,
        target: &Target,
        context: &Context,
        message: &Message,
    ) -> Result<()> {
        match context {
            Context::SenderLoopback(id) => self.bounce(conn, target, *id),
            Context::ReceiverLoopback(id) => self.lift(conn, *id),
            Context::Unknown => self.echo(conn, message),
        }
    }

    /// Sends a Disembargo back the way that calls to its target took.
    fn bounce(&mut self, conn: ConnId, target: &Target, id: u32) -> Result<()> {
        let target = self.target(conn, target)?;
        let place = match self.nodes.get(target.node).and_then(|node| node.far()) {
            Some(far) if target.strict && far.conn == conn => Some(far.place.clone()),
            _ => None,
        };
        if target.counted {
            self.drop_count(target.node);
        }
        let place = place.ok_or(PeerMisbehaved::DisembargoTarget)?;
        self.transmit(conn, &encode::receiver_loopback(&place, id), &[]);
        Ok(())
    }

    /// Our Disembargo is back: what was held back may go.
    fn lift(&mut self, conn: ConnId, id: EmbargoId) -> Result<()> {
        let Some(row) = self.connections.get_mut(conn) else {
            return Ok(());
        };
        let Some(Embargo { waiting, target }) = row.embargoes.remove(id.raw()) else {
            return Err(PeerMisbehaved::UnknownEmbargo(id));
        };
        self.become_link(waiting, target);
        self.drop_count(waiting);
        self.drop_count(target);
        Ok(())
    }

    // ---- references that arrive

    /// Counted nodes for the references of a message, and which of them are reached through us.
    fn import_all(
        &mut self,
        conn: ConnId,
        descriptors: &[Descriptor],
        fds: &mut Fds,
    ) -> Result<(Vec<NodeId>, Vec<bool>)> {
        let mut nodes = Vec::with_capacity(descriptors.len());
        let mut ours = Vec::with_capacity(descriptors.len());
        for descriptor in descriptors {
            match self.import(conn, descriptor, fds) {
                Ok((node, loops)) => {
                    nodes.push(node);
                    ours.push(loops);
                }
                Err(fault) => {
                    for node in nodes {
                        self.drop_count(node);
                    }
                    return Err(fault);
                }
            }
        }
        Ok((nodes, ours))
    }

    fn import(
        &mut self,
        conn: ConnId,
        descriptor: &Descriptor,
        fds: &mut Fds,
    ) -> Result<(NodeId, bool)> {
        match &descriptor.kind {
            DescriptorKind::Null => {
                self.nodes.retain(self.null);
                Ok((self.null, false))
            }
            DescriptorKind::Import { id, promise } => {
                let node = self.import_theirs(conn, *id, *promise)?;
                self.take_fd(node, descriptor.fd, fds);
                Ok((node, false))
            }
            DescriptorKind::Ours(Target::Export(id)) => {
                // What it stands for here; its pin is for the peer only.
                let row = self.connections.get(conn);
                let entry = row.and_then(|row| row.exports.get(id.raw()));
                let node = match entry {
                    Some(entry) => entry.node,
                    None => return Err(PeerMisbehaved::UnknownExport(*id)),
                };
                self.nodes.retain(node);
                Ok((node, true))
            }
            DescriptorKind::Ours(target) => {
                let target = self.target(conn, target)?;
                if !target.counted {
                    self.nodes.retain(target.node);
                }
                Ok((target.node, true))
            }
        }
    }

    fn import_theirs(&mut self, conn: ConnId, id: ImportId, promise: bool) -> Result<NodeId> {
        let Some(row) = self.connections.get_mut(conn) else {
            return Ok(self.null);
        };
        if let Some(entry) = row.imports.get_mut(id.raw()) {
            let limit = row.limits.imports;
            entry.refs = entry.refs.checked_add(1).ok_or(PeerMisbehaved::TableFull {
                what: "counts of one reference",
                limit,
            })?;
            let node = entry.node;
            self.nodes.retain(node);
            return Ok(node);
        }
        let limit = row.limits.imports;
        if row.imports.len() >= limit {
            return Err(PeerMisbehaved::TableFull {
                what: "references held of the peer",
                limit,
            });
        }
        let place = Place::Import {
            id,
            settled: !promise,
        };
        let node = self.nodes.insert(Kind::Far(Far {
            conn,
            place,
            called: false,
            pins: 0,
        }));
        row.imports.insert(id.raw(), Import { node, refs: 1 });
        Ok(node)
    }

    /// The first descriptor that comes with a reference stays with it; any others are closed.
    fn take_fd(&mut self, node: NodeId, index: Option<u8>, fds: &mut Fds) {
        let Some(index) = index else { return };
        let Some(fd) = fds.get_mut(usize::from(index)).and_then(Option::take) else {
            return;
        };
        if let Some(node) = self.nodes.get_mut(node)
            && node.fd().is_none()
        {
            node.set_fd(Rc::new(fd));
        }
    }

    /// Where a call or Disembargo of the peer goes.
    fn target(&mut self, conn: ConnId, target: &Target) -> Result<TargetNode> {
        match target {
            Target::Export(id) => {
                let row = self.connections.get(conn);
                let Some(entry) = row.and_then(|row| row.exports.get(id.raw())) else {
                    return Err(PeerMisbehaved::UnknownExport(*id));
                };
                let (node, strict) = match &entry.state {
                    export::State::Settled | export::State::Promise => (entry.node, false),
                    export::State::Resolved(pin) => self.follow_pin(conn, pin),
                };
                Ok(TargetNode {
                    node,
                    strict,
                    counted: false,
                })
            }
            Target::Answer(id, path) => Ok(self.answer_target(conn, *id, path)),
        }
    }

    pub(super) fn route_to(&mut self, target: TargetNode, item: Pending<H>) {
        if target.strict
            && let Some(far) = self.nodes.get(target.node).and_then(|node| node.far())
        {
            let far = far.clone();
            return self.pass_far(target.node, far, item);
        }
        self.route(target.node, item);
    }
}

/// What a Return says, checked.
enum Outcome {
    Results((Vec<NodeId>, Vec<bool>), Message),
    Exception(Exception),
    TakeFrom(AnswerId),
}

/// Where something from a peer goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct TargetNode {
    pub(super) node: NodeId,
    /// To the node's place on the connection, whatever it has resolved to since.
    pub(super) strict: bool,
    /// Whether the holder of this owns a count of the node.
    pub(super) counted: bool,
}

/// Copies a whole message into an Unimplemented.
fn copy_unimplemented(built: &mut Built, original: &Message) -> Result<()> {
    use crate::captp_capnp::message;
    use capnp::traits::{Imbue as _, ImbueMut as _};

    let table = crate::hook::index_table(ECHO_CAPS);
    let mut copied = capnp::private::layout::CapTable::new();
    let mut from: message::Reader<'_> = original.get_root()?;
    from.imbue(&table);
    let mut root = built.init_root::<message::Builder<'_>>();
    root.imbue_mut(&mut copied);
    root.set_unimplemented(from)?;
    Ok(())
}

/// Capability pointers that an echoed message may hold; the numbers mean nothing to the peer.
const ECHO_CAPS: usize = 64;
