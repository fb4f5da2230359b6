//! Messages that arrive: calls, returns, resolutions, releases, disembargoes.

use super::import::TargetNode;
use super::node::{Kind, Node, Place};
use super::outgoing::canceled;
use super::receive::Fds;
use super::{Engine, Output, Pending};
use crate::connection::answer::{Answer, ResultsTo};
use crate::connection::question::{Asker, Sort, State};
use crate::frame::Message;
use crate::message::encode;
use crate::message::{Call, Context, Descriptor, Return, ReturnBody, Target};
use crate::path::Path;
use crate::{
    AnswerId, AnswerToken, ConnId, Exception, ExportId, Host, ImportId, Incoming, NodeId,
    ObjectKey, Payload, PeerMisbehaved, QuestionId, WireCall, payload,
};

type Result<T> = std::result::Result<T, PeerMisbehaved>;

impl<H: Host> Engine<H> {
    pub(super) fn on_bootstrap(&mut self, conn: ConnId, answer: AnswerId) -> Result<()> {
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

    pub(super) fn on_call(
        &mut self,
        conn: ConnId,
        call: &Call,
        (message, at): (Message, payload::Place),
        fds: &mut Fds,
    ) -> Result<()> {
        if let Some(object) = self.object_called(conn, call) {
            return self.call_object(conn, call, object, (message, at));
        }
        self.close_called_vine(conn, &call.target);
        // The target first: a call on its own answer must not find one.
        let target = self.target(conn, &call.target)?;
        let results_to = match (call.pipeline_only, call.keep_results) {
            (true, _) => ResultsTo::Pipeline,
            (false, true) => ResultsTo::Kept,
            (false, false) => ResultsTo::Caller,
        };
        let bytes = message.get_segments().bytes();
        let waits = self.holds_calls(conn);
        let result = match self.new_answer(conn, call.answer, results_to, bytes) {
            Ok(token) => match self.import_all(conn, &call.caps, fds) {
                Ok((caps, _)) => {
                    if let Some(entry) = self.answer_mut(&token) {
                        entry.no_pipelining = call.no_pipelining;
                    }
                    let params = Payload::new(message, at, caps);
                    let Call {
                        interface, method, ..
                    } = *call;
                    let call = WireCall {
                        interface,
                        method,
                        params,
                        answer: token,
                    };
                    match waits {
                        true => self.hold_call(conn, target, call),
                        false => {
                            self.deliver(conn, target, call);
                            Ok(())
                        }
                    }
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

    /// The object that a plain call is for, and its node; the most frequent case.
    fn object_called(&self, conn: ConnId, call: &Call) -> Option<(NodeId, ObjectKey)> {
        let node = self.connections.get(conn)?.called_at_once(call)?;
        let at = self.nodes.get(node)?;
        match at.kind {
            Kind::Object(key) if !at.has_backlog() => Some((node, key)),
            _ => None,
        }
    }

    /// An object gets a plain call: what `on_call` does, without its questions.
    fn call_object(
        &mut self,
        conn: ConnId,
        call: &Call,
        (node, object): (NodeId, ObjectKey),
        (message, at): (Message, payload::Place),
    ) -> Result<()> {
        let bytes = message.get_segments().bytes();
        let answer = self.new_answer(conn, call.answer, ResultsTo::Caller, bytes)?;
        if let Some(row) = self.connections.get_mut(conn) {
            row.delivered += 1;
            row.delivered_bytes += bytes;
            if let Some(entry) = row.answers.get_mut(call.answer.raw()) {
                entry.delivered = true;
                entry.no_pipelining = call.no_pipelining;
            }
        }
        // Given back by `poll_output`: a call on its way holds its object.
        self.nodes.retain(node);
        let call = Incoming::Wire(WireCall {
            interface: call.interface,
            method: call.method,
            params: Payload::new(message, at, Vec::new()),
            answer,
        });
        self.outputs.push_back(Output::Deliver { object, call });
        Ok(())
    }

    /// A call of the peer goes to its target, unless too many wait there for a promise.
    pub(super) fn deliver(&mut self, conn: ConnId, target: TargetNode, call: WireCall) {
        let node = self.nodes.get(self.nodes.terminal(target.node));
        let waits = node.filter(|node| matches!(node.kind, Kind::Promise | Kind::Gift(_)));
        let Some(node) = waits else {
            return self.route_to(target, Pending::Wire(call));
        };
        let waiting = node.waiting_wire_calls();
        let over = self.connections.get(conn).and_then(|row| {
            let (one, all) = (row.limits.pipeline_depth, row.limits.pipelined_calls);
            match (waiting >= one, row.queued >= all) {
                (true, _) => Some((one, "one promise")),
                (false, true) => Some((all, "promises")),
                (false, false) => None,
            }
        });
        let Some((limit, what)) = over else {
            self.count_queued(&call.answer);
            return self.route_to(target, Pending::Wire(call));
        };
        let reason = Exception::overloaded(format!(
            "limit of {limit} calls that wait for {what} reached; try again later"
        ));
        self.refuse(call, &reason);
    }

    pub(super) fn new_answer(
        &mut self,
        conn: ConnId,
        id: AnswerId,
        results_to: ResultsTo,
        bytes: usize,
    ) -> Result<AnswerToken> {
        let Some(row) = self.connections.get_mut(conn) else {
            return Err(PeerMisbehaved::DuplicateQuestion(id));
        };
        row.may_answer(id, bytes)?;
        row.call_bytes += bytes;
        let serial = row.next_serial();
        row.answers
            .insert(id.raw(), Answer::new(serial, results_to, bytes));
        self.weigh(conn);
        Ok(AnswerToken {
            conn,
            answer: id,
            serial,
        })
    }

    pub(super) fn on_return(
        &mut self,
        conn: ConnId,
        ret: Return,
        (message, at): (Message, payload::Place),
        fds: &mut Fds,
    ) -> Result<()> {
        let id = ret.question;
        if matches!(&ret.body, ReturnBody::Results(caps) if caps.is_empty())
            && let Some(row) = self.connections.get_mut(conn)
            && let Some(reply) = row.take_reply(id)
        {
            // The most frequent one.
            let result = Ok(Payload::new(message, at, Vec::new()));
            self.outputs.push_back(Output::Returned { reply, result });
            if !ret.no_finish_needed {
                self.transmit_finish(conn, id, false);
            }
            return Ok(());
        }
        let Some(question) = self.question_mut(conn, id) else {
            return self.on_late_return(conn, id);
        };
        let early = match question.state {
            _ if question.waits > 0 => return Err(PeerMisbehaved::UnknownQuestion(id)),
            State::Asked => false,
            State::Finished => true,
            State::Ended => return self.on_late_return(conn, id),
            State::Answered | State::Taking(_) => return Err(PeerMisbehaved::UnknownQuestion(id)),
        };
        let sort = question.sort;
        let provides = matches!(question.asker, Asker::Provision { .. });
        let params = std::mem::take(&mut question.params);
        self.count_return(conn, id);
        if ret.release_params {
            for export in params {
                self.release_export(conn, export, 1)
                    .ok_or(PeerMisbehaved::UnknownExport(export))?;
            }
        }
        if early {
            return self.on_unwanted_return(conn, &ret, fds);
        }
        if sort == Sort::Tail {
            return self.on_tail_return(conn, id, &ret.body);
        }
        if provides && matches!(ret.body, ReturnBody::TakeFrom(_)) {
            return Err(PeerMisbehaved::UnknownValue("Return to a Provide"));
        }
        // Everything that can be wrong comes first: until then the question is left as it is.
        let results = match self.outcome(conn, ret.body, message, fds)? {
            Outcome::TakeFrom(answer) => {
                self.take_results(conn, id, answer);
                return Ok(());
            }
            Outcome::Results(refs, message) => Ok((refs, message)),
            Outcome::Exception(reason) => Err(reason),
        };
        let Some(question) = self.question_mut(conn, id) else {
            return Ok(());
        };
        let asker = std::mem::replace(&mut question.asker, Asker::Nobody);
        let pipelined = std::mem::take(&mut question.pipelined);
        if matches!(asker, Asker::Provision { .. }) {
            self.gift_is_over(conn);
        }
        let result = match results {
            Ok(((nodes, named), message)) => {
                let mut payload = Payload::new(message, at, nodes);
                self.resolve_pipelined(&pipelined, &mut payload, |at, _| named.get(at)?.clone());
                Ok(payload)
            }
            Err(reason) => {
                for (_, node) in &pipelined {
                    self.become_broken(*node, reason.clone());
                }
                Err(reason)
            }
        };
        if ret.no_finish_needed {
            // The peer has forgotten the answer: nothing can be sent back along it.
            for (_, node) in &pipelined {
                self.lose_far(*node, &Exception::failed("the answer was forgotten"));
            }
        }
        let pins = self.count_pins(&pipelined);
        self.end_question(conn, id, pins, !ret.no_finish_needed);
        self.returned(asker, result);
        Ok(())
    }

    /// What is counted of a question that has got its Return.
    fn count_return(&mut self, conn: ConnId, id: QuestionId) {
        let Some(row) = self.connections.get_mut(conn) else {
            return;
        };
        let Some(question) = row.question_mut(id) else {
            return;
        };
        let (trip, sort) = (question.trip, question.sort);
        if sort == Sort::Pipeline {
            // The peer does not know the hint: a call like any other.
            question.sort = Sort::Call;
        }
        let share = question.share.take();
        let bytes = std::mem::take(&mut question.bytes);
        row.round_trips = row.round_trips.max(trip);
        row.uncount_asked(bytes);
        row.honours_pipeline_only &= sort != Sort::Pipeline;
        self.end_share(share);
    }

    /// What a Return says, checked.
    fn outcome(
        &mut self,
        conn: ConnId,
        body: ReturnBody,
        message: Message,
        fds: &mut Fds,
    ) -> Result<Outcome> {
        Ok(match body {
            ReturnBody::Results(caps) => {
                Outcome::Results(self.import_back(conn, &caps, fds)?, message)
            }
            ReturnBody::Exception(reason) => Outcome::Exception(reason),
            ReturnBody::Canceled => Outcome::Exception(canceled()),
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
        })
    }

    /// The Return to a call that we have finished early.
    fn on_unwanted_return(&mut self, conn: ConnId, ret: &Return, fds: &mut Fds) -> Result<()> {
        // The references in it went back with the Finish, unless that found nothing.
        if ret.no_finish_needed
            && let ReturnBody::Results(caps) = &ret.body
        {
            for node in self.import_all(conn, caps, fds)?.0 {
                self.drop_count(node);
            }
        }
        let question = self.question_mut(conn, ret.question);
        let asker = question.map(|question| std::mem::replace(&mut question.asker, Asker::Nobody));
        self.drop_question(conn, ret.question);
        self.returned(asker.unwrap_or(Asker::Nobody), Err(canceled()));
        Ok(())
    }

    /// A Return for a question that is not there, or need not be.
    fn on_late_return(&mut self, conn: ConnId, id: QuestionId) -> Result<()> {
        match self.connections.get_mut(conn) {
            // The references in it went back with the Finish.
            Some(row) if row.may_be_late(id) => {
                row.honours_pipeline_only = false;
                Ok(())
            }
            _ => Err(PeerMisbehaved::UnknownQuestion(id)),
        }
    }

    /// A call whose results stay at the peer has ended.
    fn on_tail_return(&mut self, conn: ConnId, id: QuestionId, body: &ReturnBody) -> Result<()> {
        if !matches!(body, ReturnBody::SentElsewhere) {
            return Err(PeerMisbehaved::UnknownValue("Return to a tail call"));
        }
        if let Some(question) = self.question_mut(conn, id) {
            question.state = State::Answered;
        }
        Ok(())
    }

    /// How many references inside an answer are pinned to it.
    pub(super) fn count_pins(&self, pipelined: &[(Path, NodeId)]) -> u32 {
        let pinned = pipelined.iter().filter(|(_, node)| {
            self.nodes.get(*node).is_some_and(|node| {
                node.far()
                    .is_some_and(|far| far.pins > 0 && far.via.is_none())
            })
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
                Err(reason) => {
                    let reason = reason.relayed(&self.config.agent);
                    self.answer_exception(&token, &reason);
                }
            },
            Asker::Accept { vine } => {
                self.discard(result);
                self.drop_count(vine);
            }
            Asker::Gift(gift) => self.gift_answered(gift, result),
            Asker::Provision { conn, vine } => {
                self.discard(result);
                self.provide_ended(conn, vine);
            }
            Asker::Nobody => self.discard(result),
        }
    }

    fn discard(&mut self, result: std::result::Result<Payload, Exception>) {
        if let Ok(mut payload) = result {
            for node in payload.take_caps() {
                self.drop_count(node);
            }
        }
    }

    /// The references inside an answer become what the results hold at their paths. What has to
    /// wait for an embargo is put into the payload as well, so that whoever takes the reference
    /// from there keeps the order too.
    pub(super) fn resolve_pipelined(
        &mut self,
        pipelined: &[(Path, NodeId)],
        payload: &mut Payload,
        named: impl Fn(usize, &Path) -> Option<Target>,
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
                self.end_pins(*node);
                continue;
            };
            let named = named(at, path);
            let ours = named.is_some();
            let now = self.resolve_far(*node, cap, named);
            let broken = |node: &Node<H>| matches!(node.kind, Kind::Broken(_));
            if self.nodes.get(self.nodes.terminal(cap)).is_none_or(broken) {
                // What the peer sends there fails, by whatever way.
                self.end_pins(*node);
            } else if !ours {
                self.move_pins(*node, cap);
            } else if now == self.nodes.terminal(cap) {
                self.end_pins(*node);
            }
            if now != self.nodes.terminal(cap)
                && let Some(slot) = payload.caps_mut().get_mut(at)
            {
                self.nodes.retain(now);
                *slot = now;
                self.drop_count(cap);
            }
        }
    }

    pub(super) fn on_resolve(
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
                let (mut target, named) = self.import(conn, &descriptor, fds)?;
                if named.is_some() {
                    target = self.behind_held(conn, target, named.as_ref());
                }
                self.resolve_far(node, target, named);
                self.drop_count(target);
            }
            Err(reason) => self.become_broken(node, reason),
        }
        Ok(())
    }

    pub(super) fn on_release(&mut self, conn: ConnId, export: ExportId, count: u32) -> Result<()> {
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

    pub(super) fn on_disembargo(
        &mut self,
        conn: ConnId,
        target: &Target,
        context: &Context,
        message: &Message,
    ) -> Result<()> {
        match context {
            Context::SenderLoopback(id) => self.bounce(conn, target, *id),
            Context::ReceiverLoopback(id) => self.lift(conn, *id),
            Context::Accept(name) => match target {
                Target::Export(id) => self.pass_disembargo(conn, *id, name),
                Target::Answer(id, path) if path.is_empty() => self.lift_provision(conn, *id, name),
                Target::Answer(..) => Err(PeerMisbehaved::DisembargoTarget),
            },
            Context::Unknown => self.echo(conn, message),
        }
    }

    /// A Disembargo of the peer goes back the way that calls to its target take.
    fn bounce(&mut self, conn: ConnId, target: &Target, id: u32) -> Result<()> {
        let target = self.target(conn, target)?;
        let result = match self.way_back(conn, target) {
            None => Err(PeerMisbehaved::DisembargoTarget),
            Some(_) if self.is_holding(conn) => self.hold_bounce(conn, target, id),
            Some(back) => self.send_back(conn, target, back, id),
        };
        if target.counted {
            self.drop_count(target.node);
        }
        result
    }

    /// How a Disembargo to a target goes back; `None` if the target does not point back.
    pub(super) fn way_back(&self, conn: ConnId, target: TargetNode) -> Option<Back> {
        let at = self.nodes.get(self.at_place(target.node));
        let place = at.and_then(|node| node.far());
        if let Some(far) = place.filter(|far| target.strict && far.conn == conn) {
            return Some(Back::At(far.place.clone()));
        }
        let node = self.nodes.get(target.node);
        if target.strict && node.is_some_and(|node| node.lost_place_on(conn)) {
            return Some(Back::Nowhere);
        }
        let terminal = self.nodes.get(self.nodes.terminal(target.node));
        match terminal.map(|node| &node.kind) {
            // What was sent there has failed: nothing can be overtaken.
            Some(Kind::Broken(_)) | None => Some(Back::Nowhere),
            Some(Kind::Promise) => Some(Back::Later),
            Some(Kind::Object(_) | Kind::Far(_) | Kind::Gift(_) | Kind::Link { .. }) => None,
        }
    }

    /// Sends a Disembargo back, or lets it wait behind the calls that it follows.
    pub(super) fn send_back(
        &mut self,
        conn: ConnId,
        target: TargetNode,
        back: Back,
        id: u32,
    ) -> Result<()> {
        let place = match back {
            Back::At(place) => Some(place),
            Back::Nowhere => None,
            Back::Later => {
                let Some(row) = self.connections.get_mut(conn) else {
                    return Ok(());
                };
                let limit = row.limits.embargoes;
                if row.bounces >= limit {
                    return Err(PeerMisbehaved::TableFull {
                        what: "disembargoes that wait for promises",
                        limit,
                    });
                }
                row.bounces += 1;
                self.route(target.node, Pending::Bounce { conn, id });
                return Ok(());
            }
        };
        let built = encode::receiver_loopback(place.as_ref(), id);
        self.transmit_disembargo(conn, conn, &built, place.as_ref());
        Ok(())
    }

    /// A Disembargo that waited has got as far as a place on a connection, or to an object.
    pub(super) fn bounced(&mut self, conn: ConnId, at: Option<(ConnId, &Place)>, id: u32) {
        self.uncount_bounce(conn);
        match at {
            Some((on, place)) if on == conn => {
                let built = encode::receiver_loopback(Some(place), id);
                self.transmit_disembargo(conn, conn, &built, Some(place));
            }
            _ => self.abort(conn, PeerMisbehaved::DisembargoTarget),
        }
    }

    /// A Disembargo of the peer waits for a promise no longer.
    pub(super) fn uncount_bounce(&mut self, conn: ConnId) {
        if let Some(row) = self.connections.get_mut(conn) {
            row.bounces = row.bounces.saturating_sub(1);
        }
    }
}

/// What a Return says, checked.
enum Outcome {
    Results((Vec<NodeId>, Vec<Option<Target>>), Message),
    Exception(Exception),
    TakeFrom(AnswerId),
}

/// How a Disembargo goes back.
pub(super) enum Back {
    /// To this place of its sender.
    At(Place),
    /// Nothing that was sent to the target is on its way to its sender.
    Nowhere,
    /// When the promise that it stands for resolves.
    Later,
}
