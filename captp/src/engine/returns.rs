//! Returns: what becomes of the answers to our calls.

use super::cancel::canceled;
use super::import::Named;
use super::node::{Kind, Node};
use super::receive::Fds;
use super::{Engine, Output};
use crate::connection::question::{Asker, Sort, State};
use crate::connection::unsent::Follower;
use crate::frame::Message;
use crate::message::{Return, ReturnBody, Target};
use crate::path::Path;
use crate::{
    AnswerId, ConnId, Exception, Host, NodeId, Payload, PeerMisbehaved, QuestionId, payload,
};

type Result<T> = std::result::Result<T, PeerMisbehaved>;

impl<H: Host> Engine<H> {
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
            let result = Ok(Payload::new(message, at, Vec::new()));
            self.on_plain_return(conn, id, (reply, result), ret.no_finish_needed);
            return Ok(());
        }
        let Some(question) = self.question_mut(conn, id) else {
            return self.on_late_return(conn, id);
        };
        let early = match question.state {
            _ if question.waits > 0 => return Err(PeerMisbehaved::UnknownQuestion(id)),
            State::Asked => false,
            State::Finished => true,
            State::Ended { .. } => return self.on_late_return(conn, id),
            State::Answered | State::Taking(_) => return Err(PeerMisbehaved::UnknownQuestion(id)),
        };
        let sort = question.sort;
        let provides = matches!(question.asker, Asker::Provision { .. });
        let only = ret.body.only_import();
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
            Ok((refs, message)) => {
                Ok(self.results(&pipelined, refs, (message, at), ret.no_finish_needed))
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
        let finished = pins == 0 && !ret.no_finish_needed;
        self.note_finish(conn, only.filter(|_| finished));
        self.returned(asker, result);
        Ok(())
    }

    /// Results without a reference, for a call that nothing is pipelined on: the most frequent.
    fn on_plain_return(
        &mut self,
        conn: ConnId,
        question: QuestionId,
        (reply, result): (H::Reply, std::result::Result<Payload, Exception>),
        forgotten: bool,
    ) {
        self.outputs.push_back(Output::Returned { reply, result });
        if !forgotten {
            // No waiting call names what has no reference.
            let all = false;
            self.transmit_follower(conn, Follower::Finish { question, all });
        }
    }

    /// The results that came, with what the references inside the answer become.
    fn results(
        &mut self,
        pipelined: &[(Path, NodeId)],
        (nodes, named): (Vec<NodeId>, Named),
        (message, at): (Message, payload::Place),
        forgotten: bool,
    ) -> Payload {
        let mut payload = Payload::new(message, at, nodes);
        // What was inside an answer that the peer has forgotten is lost afterwards.
        let simple = named.is_empty() && !forgotten;
        if !(simple && self.become_import(pipelined, &mut payload)) {
            self.resolve_pipelined(pipelined, &mut payload, |at, _| {
                let (_, target) = named.iter().find(|(index, _)| *index == at)?;
                Some(target.clone())
            });
        }
        payload
    }

    /// Lets the only reference inside an answer that anybody has become the import that came there
    /// with the answer, without a link between the two: the most frequent case. Whether it has.
    fn become_import(&mut self, pipelined: &[(Path, NodeId)], payload: &mut Payload) -> bool {
        let [(path, node)] = pipelined else {
            return false;
        };
        let Ok(Some(at)) = payload.cap_at(path) else {
            return false;
        };
        let Some(cap) = payload.caps_mut().get_mut(at) else {
            return false;
        };
        let Some((conn, id)) = self.nodes.replaceable(*node, *cap) else {
            return false;
        };
        let row = self.connections.get_mut(conn);
        let import = row.and_then(|row| row.imports.get_mut(id.raw()));
        let Some(import) = import.filter(|import| import.node == *cap && import.gift.is_none())
        else {
            return false;
        };
        import.node = *node;
        self.nodes.replace(*node, std::mem::replace(cap, *node));
        true
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
        self.expire_canceled();
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
}

/// What a Return says, checked.
enum Outcome {
    Results((Vec<NodeId>, Named), Message),
    Exception(Exception),
    TakeFrom(AnswerId),
}
