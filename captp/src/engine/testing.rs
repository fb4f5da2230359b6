//! What a test sees of the inside, and faults that it can put there: the feature `testing`.

use std::collections::BTreeMap;

use super::Engine;
use super::node::Kind;
use crate::connection::Way;
use crate::connection::answer::{ResultsTo, State as AnswerState};
use crate::connection::export::State;
use crate::connection::handoff::Vine;
use crate::connection::question::State as QuestionState;
use crate::connection::questions::FIRST_PIPELINE_ID;
use crate::{ConnId, Host};

/// A deliberate mistake of the engine, to show that a test would find it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Fault {
    /// Calls that an embargo should hold back leave at once.
    EmbargoIgnored,
    /// Releases are not sent.
    ReleaseDropped,
    /// The second item of a queue leaves before the first.
    QueueSwapped,
    /// It is another Finish than the one for the reference that says that it is given back.
    FinishMistaken,
    /// What a peer was told that an export or answer is, is forgotten: the Tribble rule is broken.
    PinForgotten,
    /// Whoever accepts a gift gets it although calls on the way through its giver must come first.
    AcceptEmbargoIgnored,
    /// A gift stays open although its recipient goes through its giver.
    VineKeptOpen,
}

/// The tables of one connection, reduced to what both ends must agree on once nothing is on its
/// way between them. Ids are those of the wire.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Tables {
    /// Counts that the peer holds, by export id.
    pub exports: BTreeMap<u32, u32>,
    /// Counts that we hold, by import id.
    pub imports: BTreeMap<u32, u32>,
    /// Our calls whose Return is still to come.
    pub asked: Vec<u32>,
    /// Our calls that are answered and not finished.
    pub answered: Vec<u32>,
    /// The peer's calls that we have not returned.
    pub running: Vec<u32>,
    /// The peer's calls that we have returned and keep.
    pub returned: Vec<u32>,
    /// Our calls for references only that are not finished.
    pub fetching: Vec<u32>,
    /// Those of the peer.
    pub fetched: Vec<u32>,
    /// Embargoes that wait to be lifted.
    pub embargoes: usize,
}

impl<H: Host> Engine<H> {
    /// Makes the engine faulty from now on.
    pub const fn set_fault(&mut self, fault: Option<Fault>) {
        self.fault = fault;
    }

    pub(super) fn has_fault(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    /// Gives an open connection another window.
    #[cfg(test)]
    pub(crate) fn set_window(&mut self, conn: ConnId, calls: usize) {
        if let Some(row) = self.connections.get_mut(conn) {
            row.window.calls = calls;
        }
    }

    pub(super) fn drops_release(&self) -> bool {
        self.has_fault(Fault::ReleaseDropped)
    }

    pub(super) fn faulty_way(&self, way: Way) -> Way {
        if self.has_fault(Fault::PinForgotten) {
            Way::Plain
        } else {
            way
        }
    }

    /// The tables of an open connection.
    #[must_use]
    pub fn tables(&self, conn: ConnId) -> Option<Tables> {
        let row = self.connections.get(conn)?;
        let mut tables = Tables {
            embargoes: row.embargoes.len(),
            ..Tables::default()
        };
        for (id, entry) in row.exports.iter() {
            tables.exports.insert(id, entry.refs);
        }
        for (id, entry) in row.imports.iter() {
            tables.imports.insert(id, entry.refs);
        }
        for (id, question) in row.questions.iter() {
            match question.state {
                QuestionState::Asked | QuestionState::Finished => tables.asked.push(id),
                QuestionState::Answered
                | QuestionState::Taking(_)
                | QuestionState::Ended { .. } => {
                    tables.answered.push(id);
                }
            }
        }
        tables.fetching = row.pipelines.iter().map(|(id, _)| id).collect();
        for (id, answer) in row.answers.iter() {
            match answer.state {
                _ if id >= FIRST_PIPELINE_ID && answer.finished => {}
                _ if id >= FIRST_PIPELINE_ID => tables.fetched.push(id),
                // A Provide that was refused, of which nobody was told.
                AnswerState::Returned(_) if answer.results_to == ResultsTo::Pipeline => {
                    tables.running.push(id);
                }
                AnswerState::Returned(_) | AnswerState::Redirected { .. } => {
                    tables.returned.push(id);
                }
                AnswerState::Running
                | AnswerState::Forwarded { .. }
                | AnswerState::Provision(_)
                | AnswerState::Accepting(_) => tables.running.push(id),
            }
        }
        Some(tables)
    }

    /// Whether this export is the vine of a gift that its recipient may accept.
    #[must_use]
    pub fn is_open_gift(&self, conn: ConnId, export: u32) -> bool {
        let row = self.connections.get(conn);
        let entry = row.and_then(|row| row.exports.get(export));
        entry.is_some_and(|entry| matches!(entry.state, State::Vine(Vine::Given { .. }, _)))
    }

    /// How many references have streaming calls under way.
    #[must_use]
    pub fn open_streams(&self) -> usize {
        self.streams.len()
    }

    /// All references, for a person to read.
    #[must_use]
    pub fn dump(&self) -> String {
        let mut text = String::new();
        for (id, node) in self.nodes.iter() {
            let what = match &node.kind {
                Kind::Object(key) => format!("object {}", key.0),
                Kind::Promise => "promise".to_owned(),
                Kind::Far(far) => format!("far {:?} {:?}", far.conn, far.place),
                Kind::Link { to, far, .. } => format!("link to {to:?}, pinned {}", far.is_some()),
                Kind::Gift(gift) => format!("gift through {:?}", gift.vine),
                Kind::Broken(reason) => format!("broken: {}", reason.reason()),
            };
            text += &format!(
                "{id:?}: {what}, {} counts, backlog {}, exports {:?}\n",
                node.count,
                node.has_backlog(),
                node.exports()
            );
        }
        text
    }
}
