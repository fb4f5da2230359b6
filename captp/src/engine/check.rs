//! What must hold between any two messages.

use std::collections::BTreeMap;

use super::Engine;
use super::node::{Kind, Place};
use crate::connection::answer::{Results, State as AnswerState};
use crate::connection::export::State as ExportState;
use crate::connection::handoff::{Acceptor, Vine};
use crate::connection::held::Held as Waiting;
use crate::connection::question::{Asker, Sort, State as QuestionState};
use crate::connection::unsent::{Unsent, What};
use crate::connection::{Connection, Pin, Way};
use crate::{ConnId, Host, NodeId};

/// Counts that the engine itself holds of each node, and pins.
#[derive(Default)]
struct Held {
    counts: BTreeMap<NodeId, u32>,
    pins: BTreeMap<NodeId, u32>,
}

impl Held {
    fn count(&mut self, node: NodeId) {
        *self.counts.entry(node).or_default() += 1;
    }

    fn pin(&mut self, pin: &Pin) {
        self.count(pin.node);
        if pin.way == Way::Strict {
            *self.pins.entry(pin.node).or_default() += 1;
        }
    }
}

impl<H: Host> Engine<H> {
    /// Looks for a contradiction between the tables: for tests, after every input.
    ///
    /// # Errors
    /// What does not fit, in words.
    pub fn check(&self) -> Result<(), String> {
        let mut held = Held::default();
        let weights = self.connections.iter().map(|(_, row)| row.in_flight());
        if weights.sum::<usize>() != self.in_flight {
            return Err(format!("{} bytes are said to be in flight", self.in_flight));
        }
        let unsent = self.connections.iter().map(|(_, row)| row.unsent_weight());
        if unsent.sum::<usize>() != self.unsent {
            return Err(format!("{} bytes are said to wait for room", self.unsent));
        }
        held.count(self.null);
        for (conn, row) in self.connections.iter() {
            if row.closed {
                if !row.is_drained() {
                    return Err(format!("{conn:?} is closed and holds entries"));
                }
                continue;
            }
            self.check_row(conn, row, &mut held)?;
        }
        for provision in self.provisions.open.values() {
            held.count(provision.node);
        }
        self.check_handoff()?;
        for (id, node) in self.nodes.iter() {
            if let Kind::Gift(gift) = &node.kind {
                held.count(gift.vine);
                if gift.orphan {
                    held.count(id);
                }
            }
            if let Kind::Link { to, far, .. } = &node.kind {
                held.count(*to);
                if let Some(via) = far.as_ref().and_then(|far| far.via) {
                    let way = Way::Strict;
                    held.pin(&Pin { node: via, way });
                }
                if matches!(
                    self.nodes.get(*to).map(|to| &to.kind),
                    None | Some(Kind::Link { .. })
                ) {
                    return Err(format!("{id:?} is a link to a link or to nothing"));
                }
            }
        }
        self.check_nodes(&held)?;
        match self.work.is_empty() && self.stuck.is_empty() {
            true => Ok(()),
            false => Err("work was left undone".to_owned()),
        }
    }

    /// How many references are alive in the engine, the null reference apart: for tests.
    #[must_use]
    pub fn live_nodes(&self) -> usize {
        self.nodes.iter().count() - 1
    }

    /// What is counted of gifts, provisions and Accepts.
    fn check_handoff(&self) -> Result<(), String> {
        let open = || self.connections.iter().filter(|(_, row)| !row.closed);
        let mut gifts = BTreeMap::<ConnId, usize>::new();
        for (_, row) in open() {
            for (_, entry) in row.exports.iter() {
                if let ExportState::Vine(Vine::Given { conn, question }, _) = &entry.state {
                    *gifts.entry(*conn).or_default() += 1;
                    let question = self.connections.get(*conn).and_then(|row| {
                        let question = row.questions.get(question.raw())?;
                        matches!(question.asker, Asker::Provision { .. }).then_some(())
                    });
                    if question.is_none() {
                        return Err("a vine without a Provide".to_owned());
                    }
                }
            }
        }
        for (conn, row) in open() {
            let given = gifts.get(&conn).copied().unwrap_or(0);
            let provisions = self.provisions.open.values();
            let provisions = provisions.filter(|open| open.conn == conn).count();
            let parked = self.provisions.parked();
            let parked = parked.filter(|parked| parked.conn == conn).count();
            let counted = (row.gifts, row.provisions, row.parked);
            if counted != (given, provisions, parked) {
                return Err(format!(
                    "{conn:?} counts {counted:?} gifts, provisions and accepts, not \
                     {given}, {provisions} and {parked}"
                ));
            }
        }
        for parked in self.provisions.parked() {
            let there = match &parked.by {
                Acceptor::Own(gift) => self
                    .nodes
                    .get(*gift)
                    .is_some_and(|node| matches!(node.kind, Kind::Gift(_))),
                Acceptor::Peer(token) => self
                    .connections
                    .get(token.conn)
                    .and_then(|row| row.answers.get(token.answer.raw()))
                    .is_some_and(|entry| matches!(entry.state, AnswerState::Accepting(_))),
            };
            if !there {
                return Err("an Accept that waits and is not there".to_owned());
            }
        }
        Ok(())
    }

    fn check_nodes(&self, held: &Held) -> Result<(), String> {
        for (node, count) in &held.counts {
            let has = self.nodes.get(*node).map_or(0, |node| node.count);
            if has < *count {
                return Err(format!("{node:?} has {has} counts, but {count} holders"));
            }
        }
        for (id, node) in self.nodes.iter() {
            if node.count == 0 {
                return Err(format!("{id:?} lives without a count"));
            }
            let pins = held.pins.get(&id).copied().unwrap_or(0);
            if let Some(far) = node.far()
                && far.pins != pins
            {
                return Err(format!("{id:?} has {} pins, but {pins} holders", far.pins));
            }
            for (conn, export) in node.exports() {
                let entry = self
                    .connections
                    .get(*conn)
                    .and_then(|row| row.exports.get(export.raw()));
                if entry.is_none_or(|entry| entry.node != id) {
                    return Err(format!(
                        "{id:?} is said to be {export:?} of {conn:?}, but is not"
                    ));
                }
            }
            if let Kind::Far(far) = &node.kind
                && !self.place_is_there(id, far.conn, &far.place)
            {
                return Err(format!(
                    "{id:?} stands for {:?}, which is not there",
                    far.place
                ));
            }
        }
        Ok(())
    }

    fn place_is_there(&self, id: NodeId, conn: ConnId, place: &Place) -> bool {
        let Some(row) = self.connections.get(conn) else {
            return false;
        };
        match place {
            Place::Import { id: import, .. } => row
                .imports
                .get(import.raw())
                .is_some_and(|entry| entry.node == id),
            Place::Answer { question, .. } => row
                .question(*question)
                .is_some_and(|question| question.pipelined.iter().any(|(_, node)| *node == id)),
        }
    }

    fn check_row(&self, conn: ConnId, row: &Connection<H>, held: &mut Held) -> Result<(), String> {
        if let Some(node) = row.bootstrap {
            held.count(node);
        }
        for (id, entry) in row.exports.iter() {
            held.count(entry.node);
            if entry.refs == 0 && !entry.resolve_waits {
                return Err(format!("export {id} of {conn:?} lives without a count"));
            }
            match &entry.state {
                ExportState::Resolved(pin) => {
                    held.pin(pin);
                    continue;
                }
                ExportState::Vine(vine, _) => {
                    if let Vine::Forwarded(upstream) = vine {
                        held.count(*upstream);
                    }
                    continue;
                }
                ExportState::Settled | ExportState::Promise => {}
            }
            let known = self
                .nodes
                .get(entry.node)
                .and_then(|node| node.exported_as(conn));
            if known.is_none_or(|known| known.raw() != id) {
                return Err(format!("export {id} of {conn:?} is not known to its node"));
            }
        }
        for (id, entry) in row.imports.iter() {
            let far = self.nodes.get(entry.node).and_then(|node| node.far());
            let fits = far.is_some_and(|far| {
                far.conn == conn
                    && matches!(&far.place, Place::Import { id: place, .. } if place.raw() == id)
            });
            if !fits || entry.refs == 0 {
                return Err(format!("import {id} of {conn:?} does not fit its node"));
            }
        }
        for (id, question) in row.all_questions() {
            if let Asker::Accept { vine } = &question.asker {
                held.count(*vine);
            }
            let referred = match question.sort {
                Sort::Call => question.pins > 0,
                Sort::Tail | Sort::Pipeline => !question.is_over(),
            };
            if matches!(question.state, QuestionState::Ended { .. }) && !question.finish_waits {
                return Err(format!("question {id} of {conn:?} has ended and is there"));
            }
            if question.state == QuestionState::Answered && !referred {
                return Err(format!("question {id} of {conn:?} should be finished"));
            }
        }
        for (_, entry) in row.embargoes.iter() {
            held.count(entry.waiting);
            held.count(entry.target);
        }
        self.check_held(conn, row, held)?;
        self.check_unsent(conn, row)?;
        check_answers(conn, row, held)
    }

    fn check_held(&self, conn: ConnId, row: &Connection<H>, held: &mut Held) -> Result<(), String> {
        for item in &row.held {
            match item {
                Waiting::Call { target, .. } | Waiting::Bounce { target, .. } => held.pin(target),
                Waiting::Disembargo { .. } => {}
                Waiting::Lift { embargo, named } => {
                    if let Some(pin) = named {
                        held.pin(pin);
                    }
                    held.count(embargo.waiting);
                    held.count(embargo.target);
                }
            }
        }
        if row.held.is_empty() == self.holding.contains(&conn) {
            return Err(format!(
                "{conn:?} is not in the right list of those that wait"
            ));
        }
        Ok(())
    }

    /// What waits for room, and what is counted of our calls.
    fn check_unsent(&self, conn: ConnId, row: &Connection<H>) -> Result<(), String> {
        let questions = || row.all_questions().map(|(_, question)| question);
        let asked = questions().filter(|question| question.bytes > 0).count();
        let bytes: usize = questions().map(|question| question.bytes).sum();
        if (asked, bytes) != (row.asked, row.asked_bytes) {
            return Err(format!(
                "{conn:?} counts {} calls of {} bytes, not {asked} of {bytes}",
                row.asked, row.asked_bytes
            ));
        }
        let answered = questions()
            .filter(|question| question.is_answered())
            .count();
        if answered != row.answered {
            return Err(format!(
                "{conn:?} counts {} answered calls, not {answered}",
                row.answered
            ));
        }
        let waiting = || questions().filter(|question| question.waits > 0);
        let asked = waiting().filter(|question| question.sort != Sort::Pipeline);
        let unsent = row.unsent.as_ref();
        let counted = unsent.map_or((0, 0), |unsent| (unsent.questions(), unsent.asked()));
        if (waiting().count(), asked.count()) != counted {
            return Err(format!(
                "{conn:?} counts {counted:?} calls that wait for room"
            ));
        }
        if row.unsent.is_some() != self.crowded.contains(&conn) {
            return Err(format!("{conn:?} is not in the right list of crowded ones"));
        }
        let finishes = unsent.map_or(0, |unsent| unsent.finishes());
        let due = questions().filter(|question| question.finish_waits);
        if finishes != due.count() {
            return Err(format!(
                "{conn:?} has a Finish without a question, or none for one"
            ));
        }
        let resolves = row.exports.iter().filter(|(_, entry)| entry.resolve_waits);
        let resolves = resolves.count();
        let Some(unsent) = &row.unsent else {
            return match resolves {
                0 => Ok(()),
                _ => Err(format!(
                    "{conn:?} keeps exports for a Resolve that has left"
                )),
            };
        };
        check_unsent_items(conn, row, unsent, resolves)
    }
}

/// What waits for room, item by item.
fn check_unsent_items<H: Host>(
    conn: ConnId,
    row: &Connection<H>,
    unsent: &Unsent,
    resolves: usize,
) -> Result<(), String> {
    if !matches!(
        unsent.front().map(|item| item.what),
        Some(What::Call { .. } | What::Ask { .. })
    ) {
        return Err(format!("{conn:?} keeps what waits for nothing"));
    }
    let named = row.all_questions().filter(|(_, question)| question.lingers);
    let named = named.filter(|(_, question)| unsent.is_named(question.named));
    if named.count() != unsent.lingering() {
        return Err(format!(
            "{conn:?} counts {} questions that waiting calls keep",
            unsent.lingering()
        ));
    }
    let (mut len, mut resolving) = (0, 0);
    for item in unsent.items() {
        len += item.len;
        if let What::Resolve { export, serial } = item.what {
            let entry = row.exports.get(export.raw());
            let kept = entry.is_some_and(|it| it.serial == serial && it.resolve_waits);
            if !kept {
                return Err(format!("{conn:?} will resolve an export that is gone"));
            }
            resolving += 1;
        }
    }
    if resolving != resolves {
        return Err(format!(
            "{conn:?} keeps exports for a Resolve that is not there"
        ));
    }
    match len == unsent.bytes.len() {
        true => Ok(()),
        false => Err(format!(
            "{conn:?} keeps {} bytes, not {len}",
            unsent.bytes.len()
        )),
    }
}

/// The answer table and what is counted of it.
fn check_answers<H: Host>(
    conn: ConnId,
    row: &Connection<H>,
    held: &mut Held,
) -> Result<(), String> {
    let (mut bytes, mut kept, mut pipelined) = (0, 0, 0);
    let (mut delivered, mut queued, mut returned) = ((0, 0), 0, 0);
    for (_, entry) in row.answers.iter() {
        match &entry.state {
            AnswerState::Returned(_) => {
                kept += entry.bytes;
                returned += 1;
            }
            AnswerState::Running
            | AnswerState::Forwarded { .. }
            | AnswerState::Redirected { .. }
            | AnswerState::Provision(_)
            | AnswerState::Accepting(_) => bytes += entry.bytes,
        }
        returned += usize::from(matches!(entry.state, AnswerState::Redirected { .. }));
        queued += usize::from(entry.queued);
        if entry.delivered {
            delivered = (delivered.0 + 1, delivered.1 + entry.bytes);
        }
        pipelined += entry.pipeline.len();
        for (_, node) in &entry.pipeline {
            held.count(*node);
        }
        if let AnswerState::Returned(Results::Content(kept)) = &entry.state {
            for pin in &kept.caps {
                held.pin(pin);
            }
        }
    }
    if returned != row.returned {
        return Err(format!(
            "{conn:?} counts {} answers, not {returned}",
            row.returned
        ));
    }
    let waiting = row.answers.iter().filter(|(_, entry)| entry.fds_wait);
    let fds: usize = waiting.map(|(_, entry)| usize::from(entry.fds)).sum();
    if fds != row.waiting_fds {
        return Err(format!(
            "{conn:?} counts {} descriptors of calls that wait, not {fds}",
            row.waiting_fds
        ));
    }
    if queued != row.queued {
        return Err(format!(
            "{conn:?} counts {} calls that wait for promises, not {queued}",
            row.queued
        ));
    }
    if pipelined != row.pipelined {
        return Err(format!(
            "{conn:?} counts {} pipelined references",
            row.pipelined
        ));
    }
    if delivered != (row.delivered, row.delivered_bytes) {
        return Err(format!(
            "{conn:?} counts {} delivered calls of {} bytes, not {delivered:?}",
            row.delivered, row.delivered_bytes
        ));
    }
    if (bytes, kept) == (row.call_bytes, row.kept_bytes) {
        Ok(())
    } else {
        Err(format!(
            "{conn:?} counts {} and {} bytes of calls and results, not {bytes} and {kept}",
            row.call_bytes, row.kept_bytes
        ))
    }
}
