//! Calls that leave, and what a connection has to send.

use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use super::describe::Given;
use super::node::{Far, Kind, Node, Place};
use super::room::Names;
use super::stream::Share;
use super::{Engine, Output, Pending, Work};
use crate::connection::answer;
use crate::connection::question::{Asker, Question, Sort};
use crate::connection::unsent::Follower;
use crate::message::encode::{self, Built};
use crate::message::write::{self, CallHead};
use crate::path::Path;
use crate::{
    AnswerToken, ConnId, Content, Encoded, Exception, Features, Host, ImportId, LocalCall as _,
    NodeId, QuestionId, Transmit, WireCall,
};

impl<H: Host> Engine<H> {
    /// Sends an item to a place on a connection; `at` is the node that has the place.
    pub(super) fn pass_far(&mut self, at: NodeId, far: Far, item: Pending<H>) {
        let Far { conn, place, .. } = far;
        match item {
            Pending::Local(call) => {
                self.mark_called(at);
                self.send_local(at, conn, &place, call);
            }
            Pending::Streamed(call, share) => {
                self.mark_called(at);
                self.send_local(at, conn, &place, call);
                self.end_share(Some(share));
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
        let Some(node) = self.nodes.get(at) else {
            return;
        };
        let Some(conn) = node.far().map(|far| far.conn) else {
            return;
        };
        // The place of something that has resolved: a gift that it became must not be accepted past
        // this call.
        let to = match &node.kind {
            Kind::Link { to, .. } => Some(*to),
            _ => None,
        };
        let next = to.and_then(|to| self.nodes.get_mut(to));
        let behind = next.is_some_and(|next| next.mark_called_on(conn));
        if let Some(far) = self.nodes.get_mut(at).and_then(Node::far_mut) {
            far.called |= !behind;
        }
    }

    /// A call of this vat leaves.
    fn send_local(&mut self, at: NodeId, conn: ConnId, place: &Place, call: H::Call) {
        let streaming = call.is_streaming();
        let sort = self.sort_of_local(conn, &call);
        if let Err(reason) = self.may_ask(conn, sort, true) {
            return self.outputs.push_back(Output::Failed { call, reason });
        }
        let mut content = self.take_draft();
        let head = CallHead {
            place,
            interface: call.interface(),
            method: call.method(),
            sort,
            time_left: self.time_left(conn, call.deadline()),
        };
        write::begin_call(&mut content, head);
        let Encoded { reply, pipelined } = match call.encode(&mut content) {
            Ok(encoded) => encoded,
            Err((reply, reason)) => {
                self.put_draft(content);
                return self.returned(Asker::Reply(reply), Err(reason));
            }
        };
        let asker = Asker::Reply(reply);
        match self.finish_call(conn, head, content, pipelined.is_empty(), asker) {
            Ok((question, bytes)) => {
                if streaming {
                    let share = self.begin_share(at, bytes);
                    self.set_share(conn, question, share);
                }
                if !pipelined.is_empty() {
                    for (path, node) in pipelined.into_inner() {
                        self.become_pipelined(node, conn, question, path);
                    }
                }
                if sort == Sort::Pipeline {
                    self.answer_early(conn, question);
                    self.finish_if_over(conn, question);
                }
            }
            Err((asker, reason)) => {
                for (_, node) in pipelined.into_inner() {
                    self.break_promise(node, &reason);
                }
                self.returned(asker, Err(reason));
            }
        }
    }

    /// Who made a call only for the references inside its answer hears no more of it.
    fn answer_early(&mut self, conn: ConnId, question: QuestionId) {
        if let Some(question) = self.question_mut(conn, question) {
            let asker = std::mem::replace(&mut question.asker, Asker::Nobody);
            let reason = "only references were asked for";
            self.returned(asker, Err(Exception::failed(reason)));
        }
    }

    /// A call of another vat goes on: content copied, references described anew.
    fn send_forward(&mut self, conn: ConnId, place: &Place, mut call: WireCall) {
        let sort = self.sort_of_forward(conn, &call.answer);
        let no_pipelining = self
            .answer_mut(&call.answer)
            .is_some_and(|entry| entry.no_pipelining);
        let may_go = self.may_forward(conn, sort);
        let may_go = may_go.and_then(|()| self.may_wait_for_room(conn, &call.answer));
        if let Err(reason) = may_go {
            return self.refuse(call, &reason);
        }
        let mut content = self.take_draft();
        let head = CallHead {
            place,
            interface: call.interface,
            method: call.method,
            sort,
            time_left: self.time_left(conn, call.deadline),
        };
        write::begin_call(&mut content, head);
        if let Err(reason) = call.params.copy_to(call.params.caps(), &mut content) {
            self.put_draft(content);
            return self.refuse(call, &reason);
        }
        let asker = match sort {
            Sort::Tail => Asker::Nobody,
            Sort::Call | Sort::Pipeline => Asker::Forward(call.answer.duplicate()),
        };
        match self.finish_call(conn, head, content, no_pipelining, asker) {
            Ok((question, _)) => {
                self.note_forwarded(conn, question);
                match sort {
                    Sort::Tail => self.redirect(&call.answer, question),
                    Sort::Call | Sort::Pipeline => self.forwarded(&call.answer, conn, question),
                }
                for node in call.params.take_caps() {
                    self.drop_count(node);
                }
            }
            Err((_, reason)) => self.refuse(call, &reason),
        }
    }

    /// What a peer is told of a deadline: milliseconds, at least one; 0 if there is none, or it would
    /// not understand.
    fn time_left(&self, conn: ConnId, deadline: Option<Duration>) -> u32 {
        let Some(deadline) = deadline else {
            return 0;
        };
        if !self.features(conn).contains(Features::EXTENDED_CALLS) {
            return 0;
        }
        let left = deadline.saturating_sub(self.now).as_millis();
        u32::try_from(left).unwrap_or(u32::MAX).max(1)
    }

    /// Whether a call of another vat may be made. Such calls may wait too, but leave room for ours.
    fn may_forward(&self, conn: ConnId, sort: Sort) -> Result<(), Exception> {
        self.has_forward_room(conn)?;
        self.may_ask(conn, sort, true)
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
        self.went_on_with_fds(token, conn, question);
        for (path, node) in pipeline {
            self.become_pipelined(node, conn, question, path);
        }
    }

    /// Asks for the bootstrap reference.
    pub(super) fn send_bootstrap(&mut self, conn: ConnId) -> NodeId {
        match self.new_question(conn) {
            Ok(question) => {
                let names = [Names::Asks(question)];
                self.transmit_behind(conn, &encode::bootstrap(question), &names);
                let node = self.nodes.insert(Kind::Promise);
                self.become_pipelined(node, conn, question, Path::Root);
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
        path: Path,
    ) {
        let Some(node) = self.nodes.get_mut(id) else {
            return;
        };
        if !matches!(node.kind, Kind::Promise) {
            return;
        }
        let place = Place::Answer {
            question,
            path: path.clone(),
        };
        node.kind = Kind::Far(Far::new(conn, place));
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

    /// A new question that is not a call and does not wait for room.
    pub(super) fn new_question(&mut self, conn: ConnId) -> Result<QuestionId, Exception> {
        self.may_ask(conn, Sort::Call, false)?;
        let row = self.connections.get_mut(conn);
        row.map(|row| row.ask(Question::new(Sort::Call)))
            .ok_or_else(closed)
    }

    /// Whether there may be one more question: for a call, or for something else.
    fn may_ask(&self, conn: ConnId, sort: Sort, call: bool) -> Result<(), Exception> {
        let row = self.connections.get(conn).ok_or_else(closed)?;
        if row.questions_len() >= row.window.most_calls / 4 * 3 || row.unsent.is_some() {
            row.may_ask(sort, call)?;
        }
        Ok(())
    }

    pub(super) fn question_mut(
        &mut self,
        conn: ConnId,
        id: QuestionId,
    ) -> Option<&mut Question<H>> {
        self.connections.get_mut(conn)?.question_mut(id)
    }

    /// Ends a question: its Finish is sent.
    pub(super) fn finish_question(&mut self, conn: ConnId, id: QuestionId, all: bool) {
        let Some(row) = self.connections.get_mut(conn) else {
            return;
        };
        if row.unsent.is_some() {
            if row.question(id).is_some() {
                self.transmit_finish(conn, id, all);
                self.drop_question(conn, id);
            }
        } else if row.forget_question(id) {
            // Nothing waits that could name it.
            self.transmit_follower(conn, Follower::Finish { question: id, all });
        }
    }

    /// A question that was never sent, or is over. Until its Finish has left, if that waits, it
    /// counts.
    pub(super) fn drop_question(&mut self, conn: ConnId, id: QuestionId) {
        let Some(row) = self.connections.get_mut(conn) else {
            return;
        };
        match row.question(id) {
            Some(question) if question.finish_waits => row.end_question(id),
            _ => drop(row.remove_question(id)),
        }
    }

    /// What a streaming call counts until it is answered.
    fn set_share(&mut self, conn: ConnId, id: QuestionId, share: Share) {
        match self.question_mut(conn, id) {
            Some(question) if question.sort == Sort::Call => question.share = Some(share),
            _ => self.end_share(Some(share)),
        }
    }

    pub(super) fn unpin_question(&mut self, conn: ConnId, id: QuestionId) {
        let Some(question) = self.question_mut(conn, id) else {
            return;
        };
        if question.unpin() {
            self.finish_question(conn, id, false);
        }
    }

    /// Ends a question whose answer is here: Finish now, or when nothing is pinned to it any more.
    pub(super) fn end_question(&mut self, conn: ConnId, id: QuestionId, pins: u32, finish: bool) {
        if finish
            && pins > 0
            && let Some(question) = self.question_mut(conn, id)
        {
            question.pins = pins;
            if let Some(row) = self.connections.get_mut(conn) {
                row.keep_question(id);
            }
            return;
        }
        match finish {
            true => self.finish_question(conn, id, false),
            false => self.drop_question(conn, id),
        }
    }

    // ---- messages

    /// Completes a call, puts its question into the table and sends it: the question, and the size
    /// of the message. On an error the asker comes back.
    fn finish_call(
        &mut self,
        conn: ConnId,
        head: CallHead<'_>,
        mut content: Box<Content>,
        no_pipelining: bool,
        asker: Asker<H>,
    ) -> Result<(QuestionId, usize), (Asker<H>, Exception)> {
        let given = self.give_call(conn, head, &mut content, no_pipelining);
        let (mut given, leaves) = match given {
            Ok(given) => given,
            Err(reason) => {
                self.put_draft(content);
                return Err((asker, reason));
            }
        };
        let bytes = given.bytes;
        let counts = leaves && head.sort != Sort::Pipeline;
        let question = Question {
            // Its answer here stands for the results.
            held: head.sort == Sort::Tail,
            asker,
            params: std::mem::take(&mut given.exports),
            bytes: if counts { bytes } else { 0 },
            ..Question::new(head.sort)
        };
        let Some(row) = self.connections.get_mut(conn) else {
            return Err((question.asker, closed()));
        };
        let id = row.ask(question);
        write::set_question(&mut content, id);
        match leaves {
            true => self.transmit_content(conn, &given.fds, &mut content),
            false => self.put_call(conn, id, head, &given, &mut content),
        }
        if !given.nodes.is_empty() {
            self.sent(conn, &given);
        }
        self.put_given(given);
        self.put_draft(content);
        Ok((id, bytes))
    }

    /// Describes what a call gives and completes the message but for its number. Whether it leaves
    /// at once; if not, it waits.
    fn give_call(
        &mut self,
        conn: ConnId,
        head: CallHead<'_>,
        content: &mut Content,
        no_pipelining: bool,
    ) -> Result<(Box<Given>, bool), Exception> {
        let mut given = self.give(conn, content.caps(), true)?;
        write::end_call(content, no_pipelining, &given.caps);
        given.bytes = content.len() - 8;
        let leaves = self.may_leave(conn, head.sort, given.bytes, content.weight());
        let leaves = leaves.and_then(|leaves| match leaves {
            true => Ok(true),
            false => self.may_name(conn, head.place, &given.caps).map(|()| false),
        });
        match leaves {
            Ok(leaves) => Ok((given, leaves)),
            Err(reason) => {
                self.take_back(conn, given);
                Err(reason)
            }
        }
    }

    /// Room for a message.
    pub(super) fn take_draft(&mut self) -> Box<Content> {
        let blank = || Box::new(Content::blank());
        self.draft.take().unwrap_or_else(blank)
    }

    /// Gives room back, for the next message.
    pub(super) fn put_draft(&mut self, mut content: Box<Content>) {
        content.rest();
        self.draft = Some(content);
    }

    /// Whether a message of that size may be sent.
    pub(super) fn check_size(&self, conn: ConnId, bytes: usize) -> Result<(), Exception> {
        match self.connections.get(conn) {
            Some(row) => row.fits(bytes),
            None => Ok(()),
        }
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
        self.transmit_to(conn, |outbound| {
            outbound.push(&built.get_segments_for_output(), fds);
        });
    }

    /// The same for a message that is complete, its segment table included. Of a large one the room
    /// is taken.
    pub(super) fn transmit_content(
        &mut self,
        conn: ConnId,
        fds: &[Rc<OwnedFd>],
        content: &mut Content,
    ) {
        self.transmit_to(conn, |outbound| {
            outbound.push_content(content, fds);
        });
    }

    pub(super) fn transmit_to(&mut self, conn: ConnId, push: impl FnOnce(&mut Transmit)) {
        self.transmit_some(conn, false, push);
    }

    /// The same for a Finish or Release.
    pub(super) fn transmit_ending(&mut self, conn: ConnId, push: impl FnOnce(&mut Transmit)) {
        self.transmit_some(conn, true, push);
    }

    fn transmit_some(&mut self, conn: ConnId, ends: bool, push: impl FnOnce(&mut Transmit)) {
        let Some(row) = self.connections.get_mut(conn) else {
            return;
        };
        if row.outbound.is_empty() {
            if let Some(room) = self.spare.pop() {
                row.outbound.give_room(room);
            }
            if !std::mem::replace(&mut row.dirty, true) {
                self.dirty.push_back(conn);
            }
        }
        push(&mut row.outbound);
        row.sent += 1;
        if !ends {
            row.endings.begin(row.stream_end());
        }
        if row.outbound.len() > row.limits.outbound_bytes {
            self.stuck.push(conn);
        }
        self.weigh(conn);
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
        if import.refs > 1 || !self.finish_releases(conn, id) {
            self.transmit_release(conn, id, import.refs, import.named);
        }
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

fn closed() -> Exception {
    Exception::disconnected("the connection is closed")
}

/// Bytes of a message around the texts and details of an exception.
const EXCEPTION_ENVELOPE: usize = 256;
/// Most bytes of the reason of an exception that cannot be sent as a whole.
const SHORT_REASON: usize = 4 << 10;
