//! References inside answers, before and after the answer is there; and results that the peer takes
//! from one of its own calls.

use std::rc::Rc;

use super::answering::{copy_message, find_cap};
use super::import::TargetNode;
use super::node::Kind;
use super::{Engine, Work};
use crate::connection::Pin;
use crate::connection::answer::{Results, ResultsTo, State};
use crate::connection::question::Asker;
use crate::frame::Message;
use crate::{AnswerId, ConnId, Exception, Host, NodeId, Payload, PeerMisbehaved, payload};

impl<H: Host> Engine<H> {
    // ---- references inside answers

    /// Where a call to a reference inside an answer goes.
    pub(super) fn answer_target(
        &mut self,
        conn: ConnId,
        id: AnswerId,
        path: &Rc<[u16]>,
    ) -> TargetNode {
        let broken = |engine: &mut Self, reason: Exception| TargetNode {
            node: engine.nodes.insert(Kind::Broken(reason)),
            strict: false,
            counted: true,
        };
        let Some(row) = self.connections.get(conn) else {
            return broken(self, self.stale.clone());
        };
        let Some(entry) = row.answers.get(id.raw()) else {
            let reason = "a call on an answer that carries no references or was finished";
            return broken(self, Exception::failed(reason));
        };
        match &entry.state {
            State::Running | State::Forwarded { .. } | State::Accepting(_) => {
                self.pipeline_node(conn, id, path)
            }
            State::Provision(_) => broken(self, Exception::failed("a Provide has no answer")),
            State::Returned(Results::Nothing(reason)) => {
                let reason = reason.clone();
                broken(self, reason)
            }
            State::Returned(Results::Content {
                message,
                table,
                caps,
                ..
            }) => match find_cap(message, table, path) {
                Ok(Some(at)) => match caps.get(at) {
                    Some(pin) => {
                        let (node, strict) = self.follow_pin(conn, pin);
                        TargetNode {
                            node,
                            strict,
                            counted: false,
                        }
                    }
                    None => TargetNode {
                        node: self.null,
                        strict: false,
                        counted: false,
                    },
                },
                Ok(None) => TargetNode {
                    node: self.null,
                    strict: false,
                    counted: false,
                },
                Err(error) => broken(self, Exception::from(error)),
            },
        }
    }

    /// The promise that stands for a reference inside an answer which is not there yet.
    fn pipeline_node(&mut self, conn: ConnId, id: AnswerId, path: &Rc<[u16]>) -> TargetNode {
        let null = TargetNode {
            node: self.null,
            strict: false,
            counted: false,
        };
        let Some(row) = self.connections.get(conn) else {
            return null;
        };
        let (limit, all) = (row.limits.pipeline_depth, row.limits.imports);
        let pipelined = row.pipelined;
        let Some(entry) = row.answers.get(id.raw()) else {
            return null;
        };
        if let Some((_, node)) = entry.pipeline.iter().find(|(known, _)| known == path) {
            return TargetNode {
                node: *node,
                strict: false,
                counted: false,
            };
        }
        if entry.pipeline.len() >= limit || pipelined >= all {
            let reason = Exception::overloaded(format!(
                "{limit} references inside one answer, or {all} inside all, are in use"
            ));
            let node = self.nodes.insert(Kind::Broken(reason));
            return TargetNode {
                node,
                strict: false,
                counted: true,
            };
        }
        let forwarded = match entry.state {
            State::Forwarded { conn, question } => Some((conn, question)),
            State::Running | State::Returned(_) | State::Provision(_) | State::Accepting(_) => None,
        };
        let node = self.nodes.insert(Kind::Promise);
        if let Some((on, question)) = forwarded {
            if self.question_mut(on, question).is_some() {
                self.become_pipelined(node, on, question, Rc::clone(path));
            } else {
                self.become_broken(node, self.stale.clone());
            }
        }
        if let Some(row) = self.connections.get_mut(conn)
            && let Some(entry) = row.answers.get_mut(id.raw())
        {
            row.pipelined += 1;
            entry.pipeline.push((Rc::clone(path), node));
        }
        TargetNode {
            node,
            strict: false,
            counted: false,
        }
    }

    // ---- results that stay here

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
    pub(super) fn take_results(
        &mut self,
        conn: ConnId,
        id: AnswerId,
        asker: Asker<H>,
        pipelined: &[(Rc<[u16]>, NodeId)],
    ) {
        for (path, node) in pipelined {
            let target = self.answer_target(conn, id, path);
            if !target.counted {
                self.nodes.retain(target.node);
            }
            let to = self.behind_held(conn, target.node);
            self.resolve_far(*node, to, true);
            self.drop_count(to);
        }
        // A call that we passed on: it no longer follows the question, which is over.
        if let Asker::Forward(token) = &asker
            && let Some(entry) = self.answer_mut(token)
        {
            entry.state = State::Running;
        }
        let row = self.connections.get_mut(conn);
        let Some(entry) = row.and_then(|row| row.answers.get_mut(id.raw())) else {
            return;
        };
        match &mut entry.state {
            State::Running
            | State::Forwarded { .. }
            | State::Provision(_)
            | State::Accepting(_) => entry.taker = Some(asker),
            State::Returned(Results::Nothing(reason)) => {
                let reason = reason.clone();
                self.work.push_back(Work::Return(asker, Err(reason)));
            }
            State::Returned(Results::Content { message, caps, .. }) => {
                let copy = copy_message(message);
                let nodes: Vec<NodeId> = caps.iter().map(|pin| pin.node).collect();
                self.hand_over_nodes(conn, asker, copy, &nodes);
            }
        }
    }

    pub(super) fn hand_over(
        &mut self,
        conn: ConnId,
        asker: Asker<H>,
        message: &Message,
        pins: &[Pin],
    ) {
        tracing::trace!(%conn, "results taken");
        let nodes: Vec<NodeId> = pins.iter().map(|pin| pin.node).collect();
        let copy = copy_message(message);
        self.hand_over_nodes(conn, asker, copy, &nodes);
    }

    fn hand_over_nodes(
        &mut self,
        conn: ConnId,
        asker: Asker<H>,
        message: Message,
        nodes: &[NodeId],
    ) {
        let mut taken = Vec::with_capacity(nodes.len());
        for node in nodes {
            self.nodes.retain(*node);
            taken.push(self.behind_held(conn, *node));
        }
        let payload = Payload::new(message, payload::Place::Return, taken);
        self.work.push_back(Work::Return(asker, Ok(payload)));
    }
}
