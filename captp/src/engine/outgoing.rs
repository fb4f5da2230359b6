//! Calls that leave, and what a connection has to send.

use std::os::fd::OwnedFd;
use std::rc::Rc;

use capnp::any_pointer;
use capnp::private::layout::CapTable;
use capnp::traits::ImbueMut as _;

use super::describe::Given;
use super::node::{Far, Kind, Place};
use super::{Engine, Output, Pending, Work};
use crate::captp_capnp::message;
use crate::connection::answer;
use crate::connection::question::{Asker, Question, Sort, State};
use crate::message::encode::{self, Built, ENVELOPE_WORDS};
use crate::{
    AnswerToken, ConnId, Encoded, Exception, Host, ImportId, LocalCall as _, NodeId, QuestionId,
    WireCall,
};

impl<H: Host> Engine<H> {
    /// Sends an item to a place on a connection; `at` is the node that has the place.
    pub(super) fn pass_far(&mut self, at: NodeId, far: Far, item: Pending<H>) {
        let Far { conn, place, .. } = far;
        match item {
            Pending::Local(call) => {
                self.mark_called(at);
                self.send_local(conn, &place, call);
            }
            Pending::Wire(call) => {
                self.mark_called(at);
                self.send_forward(conn, &place, call);
            }
            Pending::Bounce { conn: from, id } => self.bounced(from, Some((conn, &place)), id),
            Pending::Job(job) => match self.nodes.get_mut(at) {
                Some(node) if node.is_unresolved() => node.push_waiter(Pending::Job(job)),
                _ => self.outputs.push_back(Output::Run(job)),
            },
        }
    }

    fn mark_called(&mut self, at: NodeId) {
        if let Some(far) = self.nodes.get_mut(at).and_then(|node| node.far_mut()) {
            far.called = true;
        }
    }

    /// A call of this vat leaves.
    fn send_local(&mut self, conn: ConnId, place: &Place, call: H::Call) {
        let sort = self.sort_of_local(conn, &call);
        let question = match self.new_question(conn, sort) {
            Ok(question) => question,
            Err(reason) => return self.outputs.push_back(Output::Failed { call, reason }),
        };
        let mut built = encode::new_message(ENVELOPE_WORDS.saturating_add(call.size_hint()));
        let mut table = CapTable::new();
        let (interface, method) = (call.interface(), call.method());
        let mut content = begin_call(&mut built, question, place, interface, method);
        content.imbue_mut(&mut table);
        let Encoded { reply, pipelined } = match call.encode(content) {
            Ok(encoded) => encoded,
            Err((reply, reason)) => {
                self.drop_question(conn, question);
                return self.outputs.push_back(Output::Returned {
                    reply,
                    result: Err(reason),
                });
            }
        };
        let hints = Hints {
            sort,
            no_pipelining: pipelined.is_empty(),
        };
        match self.finish_call(conn, &mut built, &table, &[], hints) {
            Ok(given) => {
                let asker = match sort {
                    Sort::Pipeline => {
                        let result = Err(Exception::failed("only references were asked for"));
                        self.outputs.push_back(Output::Returned { reply, result });
                        Asker::Nobody
                    }
                    Sort::Call | Sort::Tail => Asker::Reply(reply),
                };
                self.asked(conn, question, asker, given);
                for (node, path) in pipelined {
                    self.become_pipelined(node, conn, question, Rc::from(path));
                }
                self.finish_if_over(conn, question);
            }
            Err(reason) => {
                self.drop_question(conn, question);
                for (node, _) in pipelined {
                    self.break_promise(node, &reason);
                }
                self.outputs.push_back(Output::Returned {
                    reply,
                    result: Err(reason),
                });
            }
        }
    }

    /// A call of another vat goes on: content copied, references described anew.
    fn send_forward(&mut self, conn: ConnId, place: &Place, mut call: WireCall) {
        let sort = self.sort_of_forward(conn, &call.answer);
        let hints = Hints {
            sort,
            no_pipelining: self
                .answer_mut(&call.answer)
                .is_some_and(|entry| entry.no_pipelining),
        };
        let question = match self.new_question(conn, sort) {
            Ok(question) => question,
            Err(reason) => return self.refuse(call, &reason),
        };
        let words = u32::try_from(call.params.bytes() / 8).unwrap_or(u32::MAX);
        let mut built = encode::new_message(ENVELOPE_WORDS.saturating_add(words));
        let mut table = CapTable::new();
        let result = {
            let content = begin_call(&mut built, question, place, call.interface, call.method);
            copy_content(&call, content, &mut table)
        };
        let result = result
            .and_then(|()| self.finish_call(conn, &mut built, &table, call.params.caps(), hints));
        match result {
            Ok(given) => {
                let token = call.answer.duplicate();
                match sort {
                    Sort::Tail => {
                        self.asked(conn, question, Asker::Nobody, given);
                        self.redirect(&token, question);
                    }
                    Sort::Call | Sort::Pipeline => {
                        self.asked(conn, question, Asker::Forward(call.answer), given);
                        self.forwarded(&token, conn, question);
                    }
                }
                for node in call.params.take_caps() {
                    self.drop_count(node);
                }
            }
            Err(reason) => {
                self.drop_question(conn, question);
                self.refuse(call, &reason);
            }
        }
    }

    /// What becomes of the results of a call of this vat.
    fn sort_of_local(&self, conn: ConnId, call: &H::Call) -> Sort {
        let honoured = self
            .connections
            .get(conn)
            .is_some_and(|row| row.honours_pipeline_only);
        match call.pipeline_only() && honoured {
            true => Sort::Pipeline,
            false => Sort::Call,
        }
    }

    /// The references inside the answer of a call that went on follow it.
    fn forwarded(&mut self, token: &AnswerToken, conn: ConnId, question: QuestionId) {
        self.uncount_delivered(token);
        let Some(entry) = self.answer_mut(token) else {
            return;
        };
        entry.state = answer::State::Forwarded { conn, question };
        let pipeline = entry.pipeline.clone();
        for (path, node) in pipeline {
            self.become_pipelined(node, conn, question, path);
        }
    }

    /// Asks for the bootstrap reference.
    pub(super) fn send_bootstrap(&mut self, conn: ConnId) -> NodeId {
        match self.new_question(conn, Sort::Call) {
            Ok(question) => {
                self.transmit(conn, &encode::bootstrap(question), &[]);
                let node = self.nodes.insert(Kind::Promise);
                self.become_pipelined(node, conn, question, encode::root_path());
                node
            }
            Err(reason) => self.broken(reason),
        }
    }

    /// A promise comes to stand for a reference inside a coming answer.
    pub(super) fn become_pipelined(
        &mut self,
        id: NodeId,
        conn: ConnId,
        question: QuestionId,
        path: Rc<[u16]>,
    ) {
        let Some(node) = self.nodes.get_mut(id) else {
            return;
        };
        if !matches!(node.kind, Kind::Promise) {
            return;
        }
        let place = Place::Answer {
            question,
            path: Rc::clone(&path),
        };
        node.kind = Kind::Far(Far {
            conn,
            place,
            called: false,
            pins: 0,
        });
        if node.has_backlog() {
            self.work.push_back(Work::Drain(id));
        }
        if let Some(entry) = self.question_mut(conn, question) {
            entry.pipelined.push((path, id));
        }
    }

    fn break_promise(&mut self, id: NodeId, reason: &Exception) {
        if self
            .nodes
            .get(id)
            .is_some_and(|node| matches!(node.kind, Kind::Promise))
        {
            self.become_broken(id, reason.clone());
        }
    }

    // ---- questions

    pub(super) fn new_question(
        &mut self,
        conn: ConnId,
        sort: Sort,
    ) -> Result<QuestionId, Exception> {
        let Some(row) = self.connections.get_mut(conn) else {
            return Err(Exception::disconnected("the connection is closed"));
        };
        let limit = row.limits.questions;
        if row.questions_len() >= limit {
            return Err(Exception::overloaded(format!(
                "{limit} calls are waiting for this peer already"
            )));
        }
        let question = Question::new(sort, row.round_trips + 1);
        Ok(row.ask(question))
    }

    pub(super) fn question_mut(
        &mut self,
        conn: ConnId,
        id: QuestionId,
    ) -> Option<&mut Question<H>> {
        self.connections.get_mut(conn)?.question_mut(id)
    }

    /// A question that was never sent, or is over.
    pub(super) fn drop_question(&mut self, conn: ConnId, id: QuestionId) {
        if let Some(row) = self.connections.get_mut(conn) {
            row.remove_question(id);
        }
    }

    fn asked(&mut self, conn: ConnId, id: QuestionId, asker: Asker<H>, given: Given) {
        if let Some(question) = self.question_mut(conn, id) {
            // A call of another vat whose results do not come here is held by its answer there.
            question.held = match question.sort {
                Sort::Call => false,
                Sort::Tail => true,
                Sort::Pipeline => matches!(asker, Asker::Forward(_)),
            };
            question.asker = asker;
            question.params = given.exports;
        }
    }

    /// Our Finish before the Return: nobody here wants the results.
    pub(super) fn cancel_question(&mut self, conn: ConnId, id: QuestionId) -> bool {
        let Some(question) = self.question_mut(conn, id) else {
            return false;
        };
        let taken = match question.state {
            _ if question.sort != Sort::Call => return false,
            State::Asked => None,
            State::Taking(answer) => Some(answer),
            State::Finished | State::Answered => return false,
        };
        question.state = State::Finished;
        let asker = std::mem::replace(&mut question.asker, Asker::Nobody);
        let pipelined = std::mem::take(&mut question.pipelined);
        if let Some(answer) = taken {
            self.drop_question(conn, id);
            self.leave_results(conn, answer);
        }
        self.transmit(conn, &encode::finish(id, true), &[]);
        let reason = Exception::failed("the call was canceled");
        for (_, node) in pipelined {
            self.become_broken(node, reason.clone());
        }
        self.returned(asker, Err(reason));
        true
    }

    pub(super) fn unpin_question(&mut self, conn: ConnId, id: QuestionId) {
        let Some(question) = self.question_mut(conn, id) else {
            return;
        };
        if question.unpin() {
            self.drop_question(conn, id);
            self.transmit(conn, &encode::finish(id, false), &[]);
        }
    }

    /// Ends a question whose answer is here: Finish now, or when nothing is pinned to it any more.
    pub(super) fn end_question(&mut self, conn: ConnId, id: QuestionId, pins: u32, finish: bool) {
        if finish
            && pins > 0
            && let Some(question) = self.question_mut(conn, id)
        {
            question.state = State::Answered;
            question.pins = pins;
            return;
        }
        self.drop_question(conn, id);
        if finish {
            self.transmit(conn, &encode::finish(id, false), &[]);
        }
    }

    // ---- messages

    /// Completes a call and sends it.
    fn finish_call(
        &mut self,
        conn: ConnId,
        built: &mut Built,
        table: &CapTable,
        caps: &[NodeId],
        hints: Hints,
    ) -> Result<Given, Exception> {
        let nodes = Self::table_nodes(table, caps)?;
        let given = self.give(conn, &nodes, true)?;
        let completed = complete_call(built, hints, &given);
        if let Err(reason) = completed.and_then(|()| self.check_size(conn, built)) {
            self.take_back(conn, given);
            return Err(reason);
        }
        self.transmit(conn, built, &given.fds);
        self.sent(conn, &given);
        Ok(given)
    }

    /// Whether a message may be sent.
    pub(super) fn check_size(&self, conn: ConnId, built: &Built) -> Result<(), Exception> {
        let bytes = encode::size(built);
        let Some(row) = self.connections.get(conn) else {
            return Ok(());
        };
        let limit = row.send_bytes;
        if bytes > limit {
            return Err(Exception::failed(format!(
                "message of {bytes} bytes is above the limit of {limit}; send it in pieces"
            )));
        }
        Ok(())
    }

    /// The exception as it can be sent: a peer must not be able to make us send what another peer
    /// refuses, for which it would abort the connection.
    pub(super) fn fitting(&self, conn: ConnId, reason: &Exception) -> Exception {
        let room = self.connections.get(conn).map_or(0, |row| row.send_bytes);
        let room = room.saturating_sub(EXCEPTION_ENVELOPE);
        if reason.weight() <= room {
            return reason.clone();
        }
        reason.shortened(room.min(SHORT_REASON))
    }

    /// Puts a message behind what the connection has to send.
    pub(super) fn transmit(&mut self, conn: ConnId, built: &Built, fds: &[Rc<OwnedFd>]) {
        let Some(row) = self.connections.get_mut(conn) else {
            return;
        };
        if row.outbound.is_empty() {
            self.dirty.insert(conn);
        }
        row.outbound.push(&built.get_segments_for_output(), fds);
        row.sent += 1;
        if row.outbound.len() > row.limits.outbound_bytes {
            self.stuck.push(conn);
        }
    }

    /// Gives all counts of an import back to the peer.
    pub(super) fn release_import(&mut self, conn: ConnId, id: ImportId) {
        let Some(row) = self.connections.get_mut(conn) else {
            return;
        };
        let Some(import) = row.imports.remove(id.raw()) else {
            return;
        };
        #[cfg(any(test, feature = "testing"))]
        if self.drops_release() {
            return;
        }
        self.transmit(conn, &encode::release(id, import.refs), &[]);
    }

    /// A far node is no longer there, or is no longer far.
    pub(super) fn leave_place(&mut self, id: NodeId, far: &Far) {
        match &far.place {
            Place::Import { id, .. } => self.release_import(far.conn, *id),
            Place::Answer { question, .. } => {
                if let Some(entry) = self.question_mut(far.conn, *question) {
                    entry.pipelined.retain(|(_, node)| *node != id);
                }
                self.finish_if_over(far.conn, *question);
            }
        }
    }
}

/// Bytes of a message around the texts and details of an exception.
const EXCEPTION_ENVELOPE: usize = 256;
/// Most bytes of the reason of an exception that cannot be sent as a whole.
const SHORT_REASON: usize = 4 << 10;

/// Everything of a call but its parameters and references.
fn begin_call<'a>(
    built: &'a mut Built,
    question: QuestionId,
    place: &Place,
    interface: u64,
    method: u16,
) -> any_pointer::Builder<'a> {
    let mut call = built.init_root::<message::Builder<'_>>().init_call();
    call.set_question_id(question.raw());
    call.set_interface_id(interface);
    call.set_method_id(method);
    encode::write_target(call.reborrow().init_target(), place);
    call.init_params().init_content()
}

/// What a call says about its results.
#[derive(Clone, Copy)]
struct Hints {
    sort: Sort,
    no_pipelining: bool,
}

/// Adds what is known of a call when its parameters have been written.
fn complete_call(built: &mut Built, hints: Hints, given: &Given) -> Result<(), Exception> {
    let root = built.get_root::<message::Builder<'_>>()?;
    let Ok(message::Call(Ok(mut call))) = root.which() else {
        return Err(Exception::failed("the message lost its envelope"));
    };
    match hints.sort {
        Sort::Call => {}
        Sort::Tail => call.reborrow().init_send_results_to().set_yourself(()),
        Sort::Pipeline => call.set_only_promise_pipeline(true),
    }
    // rpc.capnp: Call.noPromisePipelining
    call.set_no_promise_pipelining(hints.no_pipelining);
    if !given.caps.is_empty() {
        encode::write_caps(call.get_params()?, &given.caps);
    }
    Ok(())
}

fn copy_content<'a>(
    call: &WireCall,
    mut to: any_pointer::Builder<'a>,
    table: &'a mut CapTable,
) -> Result<(), Exception> {
    let content = call.params.content()?;
    to.imbue_mut(table);
    to.set_as::<any_pointer::Owned>(content)?;
    Ok(())
}
