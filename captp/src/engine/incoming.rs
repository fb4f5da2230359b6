//! Messages that arrive: calls, resolutions and releases. Returns and Disembargoes have modules of
//! their own.

use std::time::Duration;

use super::import::TargetNode;
use super::node::Kind;
use super::receive::Fds;
use super::{Engine, Output, Pending};
use crate::connection::answer::{Answer, ResultsTo};
use crate::frame::Message;
use crate::message::{Call, Descriptor};
use crate::{
    AnswerId, AnswerToken, ConnId, Exception, ExportId, Features, Host, ImportId, Incoming, NodeId,
    ObjectKey, Payload, PeerMisbehaved, WireCall, payload,
};

type Result<T> = std::result::Result<T, PeerMisbehaved>;

/// Most bytes that stay of a reason with which the peer breaks one of its promises.
const KEPT_OF_RESOLVE: usize = 256;

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
                    let taken = fds.iter().filter(|fd| fd.is_none()).count();
                    if let Some(entry) = self.answer_mut(&token) {
                        entry.no_pipelining = call.no_pipelining;
                        entry.fds = u16::try_from(taken).unwrap_or(u16::MAX);
                    }
                    let params = Payload::new(message, at, caps);
                    let Call {
                        interface, method, ..
                    } = *call;
                    let call = WireCall {
                        interface,
                        method,
                        deadline: self.deadline_in(conn, call.time_left),
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
            deadline: self.deadline_in(conn, call.time_left),
            params: Payload::new(message, at, Vec::new()),
            answer,
        });
        self.outputs.push_back(Output::Deliver { object, call });
        Ok(())
    }

    /// When the caller gives up, on our own clock.
    fn deadline_in(&self, conn: ConnId, time_left: u32) -> Option<Duration> {
        let agreed = || self.features(conn).contains(Features::EXTENDED_CALLS);
        let left = (time_left > 0 && agreed()).then(|| Duration::from_millis(time_left.into()))?;
        Some(self.now.saturating_add(left))
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
        let may_wait = match over {
            None => self.wait_with_fds(&call.answer),
            Some((limit, what)) => Err(Exception::overloaded(format!(
                "limit of {limit} calls that wait for {what} reached; try again later"
            ))),
        };
        if let Err(reason) = may_wait {
            return self.refuse(call, &reason);
        }
        self.count_queued(&call.answer);
        self.route_to(target, Pending::Wire(call));
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
            // The peer may break as many as our objects keep.
            Err(reason) => self.become_broken(node, reason.shortened(KEPT_OF_RESOLVE)),
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
}
