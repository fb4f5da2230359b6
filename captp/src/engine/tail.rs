//! Calls whose results do not come back here: tail calls, in both roles, and calls that are made
//! for the references inside their answers only.

use super::node::Kind;
use super::room::Names;
use super::{Engine, Work};
use crate::connection::answer::{Results, ResultsTo, State as AnswerState};
use crate::connection::question::{Asker, Sort, State};
use crate::frame::Message;
use crate::message::{Target, encode};
use crate::path::Path;
use crate::{
    AnswerId, AnswerToken, ConnId, Exception, Host, NodeId, Output, Payload, PeerMisbehaved,
    QuestionId, payload,
};

use super::answering::copy_message;

impl<H: Host> Engine<H> {
    // ---- the results stay at the peer

    /// How a call of another vat goes on to a connection.
    pub(super) fn sort_of_forward(&mut self, conn: ConnId, token: &AnswerToken) -> Sort {
        let Some(entry) = self.answer_mut(token) else {
            return Sort::Call;
        };
        let (results_to, finished) = (entry.results_to, entry.finished);
        // We do not learn the results: nobody may be able to give us a reference inside them, which
        // could never resolve for us.
        let nameless = entry.no_pipelining && entry.pipeline.is_empty();
        let row = self.connections.get(conn);
        match results_to {
            ResultsTo::Caller if conn == token.conn && !finished && nameless => {
                // Its Return would have to wait for room with the call.
                match row.is_some_and(|row| row.tail_calls && row.unsent.is_none()) {
                    true => Sort::Tail,
                    false => Sort::Call,
                }
            }
            // Who asks for the references only is not told when the call is over, so that we could not
            // count what we have under way for other vats.
            ResultsTo::Caller | ResultsTo::Kept | ResultsTo::Pipeline => Sort::Call,
        }
    }

    /// A call went back to its caller: its answer is what our question will be answered with, which
    /// the peer knows first.
    ///
    /// rpc.capnp: Return.takeFromOtherQuestion
    pub(super) fn redirect(&mut self, token: &AnswerToken, question: QuestionId) {
        let built = encode::take_from_other(token.answer, question);
        self.transmit_behind(token.conn, &built, &[Names::Question(question)]);
        self.end_call(token);
        let Some(entry) = self.answer_mut(token) else {
            return;
        };
        entry.state = AnswerState::Redirected { question };
        if let Some(row) = self.connections.get_mut(token.conn) {
            row.returned += 1;
        }
    }

    /// No answer stands for the results of this question any more.
    pub(super) fn let_go(&mut self, conn: ConnId, id: QuestionId) {
        if let Some(question) = self.question_mut(conn, id) {
            question.held = false;
        }
        self.finish_if_over(conn, id);
    }

    /// Finishes a question whose results were not to come here once nothing refers to them.
    pub(super) fn finish_if_over(&mut self, conn: ConnId, id: QuestionId) {
        let Some(question) = self.question_mut(conn, id) else {
            return;
        };
        if !question.is_over() {
            return;
        }
        match (question.state, question.sort) {
            (State::Asked, Sort::Tail) => {
                question.state = State::Finished;
                self.transmit_finish(conn, id, true);
            }
            (State::Asked | State::Answered, Sort::Tail | Sort::Pipeline) => {
                self.finish_question(conn, id, true);
            }
            (State::Finished | State::Taking(_) | State::Ended { .. }, _) | (_, Sort::Call) => {}
        }
    }

    // ---- the results are here

    /// Whether the peer may answer our question with the results of this call that it made to us.
    pub(super) fn may_take_results(
        &mut self,
        conn: ConnId,
        id: AnswerId,
    ) -> Result<(), PeerMisbehaved> {
        let row = self.connections.get_mut(conn);
        match row.and_then(|row| row.answers.get_mut(id.raw())) {
            Some(entry) if entry.results_to == ResultsTo::Kept && !entry.taken => {
                entry.taken = true;
                Ok(())
            }
            _ => Err(PeerMisbehaved::ResultsNotThere(id)),
        }
    }

    /// The peer answers our question with the results of a call that it made to us.
    pub(super) fn take_results(&mut self, conn: ConnId, question: QuestionId, id: AnswerId) {
        let Some(entry) = self.question_mut(conn, question) else {
            return;
        };
        entry.state = State::Taking(id);
        let row = self.connections.get_mut(conn);
        let Some(entry) = row.and_then(|row| row.answers.get_mut(id.raw())) else {
            return;
        };
        let result = match &entry.state {
            AnswerState::Returned(Results::Nothing(reason)) => Err(reason.clone()),
            AnswerState::Returned(Results::Content(kept)) => {
                let copy = copy_message(&kept.message);
                let nodes: Vec<NodeId> = kept.caps.iter().map(|pin| pin.node).collect();
                Ok(self.counted_payload(conn, copy, nodes.into_iter()))
            }
            AnswerState::Returned(Results::Exports(_))
            | AnswerState::Running
            | AnswerState::Forwarded { .. }
            | AnswerState::Redirected { .. }
            | AnswerState::Provision(_)
            | AnswerState::Accepting(_) => {
                entry.taker = Some(question);
                return;
            }
        };
        self.work.push_back(Work::Taken(conn, question, result));
    }

    /// Results that stay here, for the question that takes them.
    pub(super) fn counted_payload(
        &mut self,
        conn: ConnId,
        message: Message,
        nodes: impl Iterator<Item = NodeId>,
    ) -> Payload {
        let mut counted = Vec::new();
        for node in nodes {
            self.nodes.retain(node);
            counted.push(self.behind_held(conn, node, None));
        }
        Payload::new(message, payload::Place::Root, counted)
    }

    /// The results that a question takes are there. Calls that were pipelined on it go out to the
    /// peer and back to where the results are: later ones must not overtake them.
    pub(super) fn taken(
        &mut self,
        conn: ConnId,
        id: QuestionId,
        mut result: Result<Payload, Exception>,
    ) {
        let Some(question) = self.question_mut(conn, id) else {
            return self.returned(Asker::Nobody, result);
        };
        let State::Taking(answer) = question.state else {
            return self.returned(Asker::Nobody, result);
        };
        let asker = std::mem::replace(&mut question.asker, Asker::Nobody);
        let pipelined = std::mem::take(&mut question.pipelined);
        match &mut result {
            Ok(payload) => {
                let named = |_, path: &Path| Some(Target::Answer(answer, path.clone()));
                self.resolve_pipelined(&pipelined, payload, named);
            }
            Err(reason) => {
                for (_, node) in &pipelined {
                    self.become_broken(*node, reason.clone());
                }
            }
        }
        let pins = self.count_pins(&pipelined);
        self.end_question(conn, id, pins, true);
        self.returned(asker, result);
    }

    /// Nobody waits for the results of this call of the peer any more.
    pub(super) fn leave_results(&mut self, conn: ConnId, id: AnswerId) {
        let row = self.connections.get_mut(conn);
        let Some(entry) = row.and_then(|row| row.answers.get_mut(id.raw())) else {
            return;
        };
        entry.taker = None;
        let token = AnswerToken {
            conn,
            answer: id,
            serial: entry.serial,
        };
        if entry.delivered && matches!(entry.state, AnswerState::Running) && entry.is_unwanted() {
            self.outputs.push_back(Output::Cancelled(token));
        }
    }

    // ---- answers that are known in part

    /// A reference inside a coming answer is known before the answer is.
    pub(super) fn resolve_in_advance(
        &mut self,
        token: &AnswerToken,
        path: &[u16],
        to: Result<NodeId, Exception>,
    ) {
        if self.answer_mut(token).is_none() {
            return;
        }
        let target = self.answer_target(token.conn, token.answer, &Path::from(path));
        let open = self
            .nodes
            .get(target.node)
            .is_some_and(|node| matches!(node.kind, Kind::Promise));
        match to {
            _ if !open => {}
            Ok(to) => self.become_link(target.node, to),
            Err(reason) => self.become_broken(target.node, reason),
        }
        if target.counted {
            self.drop_count(target.node);
        }
    }
}
