//! References inside answers, before and after the answer is there.

use super::Engine;
use super::answering::find_cap;
use super::import::TargetNode;
use super::node::Kind;
use crate::connection::answer::{Results, State};
use crate::path::Path;
use crate::{AnswerId, ConnId, Exception, Host};

impl<H: Host> Engine<H> {
    // ---- references inside answers

    /// Where a call to a reference inside an answer goes.
    pub(super) fn answer_target(&mut self, conn: ConnId, id: AnswerId, path: &Path) -> TargetNode {
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
            State::Redirected { .. } | State::Returned(Results::Exports(_)) => {
                let reason = "the call said that nothing would be pipelined on it";
                broken(self, Exception::failed(reason))
            }
            State::Returned(Results::Nothing(reason)) => {
                let reason = reason.clone();
                broken(self, reason)
            }
            State::Returned(Results::Content(kept)) => {
                match find_cap(&kept.message, kept.caps.len(), path) {
                    Ok(Some(at)) => match kept.caps.get(at) {
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
                }
            }
        }
    }

    /// The promise that stands for a reference inside an answer which is not there yet.
    fn pipeline_node(&mut self, conn: ConnId, id: AnswerId, path: &Path) -> TargetNode {
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
            State::Running
            | State::Returned(_)
            | State::Redirected { .. }
            | State::Provision(_)
            | State::Accepting(_) => None,
        };
        let node = self.nodes.insert(Kind::Promise);
        if let Some((on, question)) = forwarded {
            if self.question_mut(on, question).is_some() {
                self.become_pipelined(node, on, question, path.clone());
            } else {
                self.become_broken(node, self.stale.clone());
            }
        }
        if let Some(row) = self.connections.get_mut(conn)
            && let Some(entry) = row.answers.get_mut(id.raw())
        {
            row.pipelined += 1;
            entry.pipeline.push((path.clone(), node));
        }
        TargetNode {
            node,
            strict: false,
            counted: false,
        }
    }
}
