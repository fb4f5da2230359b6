//! Answers to the peer's calls, and references inside answers.

use capnp::any_pointer;
use capnp::traits::Imbue as _;

use super::cancel::canceled;
use super::describe::Given;
use super::node::Kind;
use super::{Engine, Work, handoff};
use crate::captp_capnp::message;
use crate::connection::answer::{Answer, Kept, Results, ResultsTo, State};
use crate::connection::export::Exports;
use crate::connection::handoff::Acceptor;
use crate::connection::{Pins, Way};
use crate::frame::{Frame, Message};
use crate::hook::index_table;
use crate::message::encode::{self, Built};
use crate::message::write;
use crate::path::Path;
use crate::{
    AnswerId, AnswerToken, ConnId, Content, Exception, Host, NodeId, Output, Payload,
    PeerMisbehaved, WireCall, WriteResults, payload,
};

impl<H: Host> Engine<H> {
    /// The call that a token stands for, if it is still unanswered.
    pub(super) fn answer_mut(&mut self, token: &AnswerToken) -> Option<&mut Answer> {
        let row = self.connections.get_mut(token.conn)?;
        let entry = row.answers.get_mut(token.answer.raw())?;
        let open = match entry.state {
            State::Running
            | State::Forwarded { .. }
            | State::Provision(_)
            | State::Accepting(_) => true,
            State::Returned(_) | State::Redirected { .. } => false,
        };
        (entry.serial == token.serial && open).then_some(entry)
    }

    /// A call that does not reach anybody.
    pub(super) fn refuse(&mut self, mut call: WireCall, reason: &Exception) {
        for node in call.params.take_caps() {
            self.drop_count(node);
        }
        self.answer_exception(&call.answer, reason);
    }

    /// Answers with results that `fill` writes.
    pub(super) fn answer_filled(&mut self, token: &AnswerToken, fill: WriteResults<'_>) {
        let Some(entry) = self.answer_mut(token) else {
            return;
        };
        if entry.is_unwanted() && entry.results_to != ResultsTo::Kept {
            return self.answer_unwanted(token);
        }
        let mut content = self.take_draft();
        write::begin_results(&mut content);
        match fill(&mut content) {
            Ok(()) if content.caps().is_empty() && self.answer_at_once(token, &mut content) => {}
            Ok(()) => self.answer_in_general(token, &mut content),
            Err(reason) => self.answer_exception(token, &reason),
        }
        self.put_draft(content);
    }

    /// Answers with these results, whatever is in them and wherever they go.
    fn answer_in_general(&mut self, token: &AnswerToken, content: &mut Content) {
        let Some(entry) = self.answer_mut(token) else {
            return;
        };
        let to_caller = entry.results_to == ResultsTo::Caller && !entry.finished;
        let returns_canceled = entry.results_to == ResultsTo::Caller && entry.finished;
        let keeps = entry.keeps(!content.caps().is_empty());
        let given = if to_caller {
            self.give(token.conn, content.caps(), false)
        } else {
            Ok(self.keep(content.caps()))
        };
        let mut given = match given {
            Ok(given) => given,
            Err(reason) => return self.answer_exception(token, &reason),
        };
        // Without references nobody can pipeline on the results: the peer is told that we have
        // forgotten the answer.
        let no_finish = given.nodes.is_empty();
        let end = content.end();
        write::end_results(content, token.answer, no_finish, &given.caps);
        let size = content.len() - 8;
        if let Err(reason) = self
            .check_size(token.conn, size)
            .and_then(|()| match keeps {
                true => self.check_kept(token.conn, size),
                false => Ok(()),
            })
        {
            self.take_back(token.conn, given);
            return self.answer_exception(token, &reason);
        }
        let pins = self.pin_all(token.conn, &given);
        let kept = keep_content(&content.segment_until(end));
        if to_caller {
            self.transmit_content(token.conn, &given.fds, content);
            self.sent(token.conn, &given);
        } else if returns_canceled {
            self.transmit(token.conn, &canceled_return(token.answer), &[]);
        }
        let kept = Kept {
            message: kept,
            caps: pins,
            exports: std::mem::take(&mut given.exports),
        };
        self.conclude(token, kept, &given);
        self.put_given(given);
    }

    /// The most frequent answer: results without references, for a caller who has named nothing
    /// inside them and has not finished. Nothing of it stays. `false`: it is another one, or does
    /// not fit, and nothing was done.
    fn answer_at_once(&mut self, token: &AnswerToken, content: &mut Content) -> bool {
        let Some(row) = self.connections.get_mut(token.conn) else {
            return false;
        };
        let entry = row.answers.get(token.answer.raw());
        if !entry.is_some_and(Answer::is_plain) || row.fits(content.len() - 8).is_err() {
            return false;
        }
        if let Some(entry) = row.answers.remove(token.answer.raw()) {
            row.call_bytes = row.call_bytes.saturating_sub(entry.bytes);
            if entry.delivered {
                row.uncount_delivered(entry.bytes);
            }
        }
        write::end_results(content, token.answer, true, &[]);
        self.transmit_content(token.conn, &[], content);
        true
    }

    /// Whether results that have to be kept until the Finish may be.
    fn check_kept(&self, conn: ConnId, size: usize) -> Result<(), Exception> {
        let Some(row) = self.connections.get(conn) else {
            return Ok(());
        };
        let limit = row.limits.kept_bytes;
        if row.kept_bytes.saturating_add(size) <= limit {
            return Ok(());
        }
        Err(Exception::overloaded(format!(
            "limit of {limit} bytes of unfinished results reached; the call has run"
        )))
    }

    /// The results are where they belong: calls that were pipelined on them go on, and the entry
    /// stays as long as there may be more.
    fn conclude(&mut self, token: &AnswerToken, kept: Kept, given: &Given) {
        let Some(entry) = self.answer_mut(token) else {
            return self.drop_pins(token.conn, kept.caps);
        };
        let taker = entry.taker.take();
        let (results_to, finished) = (entry.results_to, entry.finished);
        let pipeline = std::mem::take(&mut entry.pipeline);
        if !pipeline.is_empty()
            && let Some(row) = self.connections.get_mut(token.conn)
        {
            row.pipelined -= pipeline.len();
        }
        for (path, node) in pipeline {
            let found = find_cap(&kept.message, kept.caps.len(), &path);
            self.resolve_in_answer(node, found, &given.nodes);
            self.drop_count(node);
        }
        if results_to == ResultsTo::Kept {
            self.transmit(token.conn, &results_elsewhere(token.answer), &[]);
        }
        let taken = taker.is_some();
        if let Some(question) = taker {
            let nodes = kept.caps.iter().map(|pin| pin.node);
            let payload = self.counted_payload(token.conn, copy_message(&kept.message), nodes);
            let work = Work::Taken(token.conn, question, Ok(payload));
            self.work.push_back(work);
        }
        self.end_call(token);
        let Some(entry) = self.answer_mut(token) else {
            return self.drop_pins(token.conn, kept.caps);
        };
        if !entry.keeps(!kept.caps.is_empty()) {
            self.drop_pins(token.conn, kept.caps);
            let done = results_to == ResultsTo::Caller || finished;
            if done {
                self.remove_answer(token);
            }
            return;
        }
        if entry.no_pipelining && results_to == ResultsTo::Caller {
            self.mark_returned(token, Results::Exports(kept.exports));
            return self.drop_pins(token.conn, kept.caps);
        }
        let bytes = kept.message.get_segments().bytes();
        entry.taken |= taken;
        entry.bytes = bytes;
        self.mark_returned(token, Results::Content(Box::new(kept)));
        if let Some(row) = self.connections.get_mut(token.conn) {
            row.kept_bytes += bytes;
        }
        self.weigh(token.conn);
    }

    /// A reference inside an answer that was named before the answer was there.
    fn resolve_in_answer(
        &mut self,
        node: NodeId,
        found: Result<Option<usize>, capnp::Error>,
        nodes: &[(NodeId, Way)],
    ) {
        if !self
            .nodes
            .get(node)
            .is_some_and(|node| matches!(node.kind, Kind::Promise))
        {
            return;
        }
        match found {
            Ok(Some(at)) if at < nodes.len() => {
                let to = nodes.get(at).map_or(self.null, |(node, _)| *node);
                self.become_link(node, to);
            }
            Ok(_) => self.become_link(node, self.null),
            Err(error) => self.become_broken(node, Exception::from(error)),
        }
    }

    /// Answers a call with the results of another, which the peer of that one sent.
    pub(super) fn answer_payload(&mut self, token: &AnswerToken, mut payload: Payload) {
        let caps = payload.take_caps();
        self.answer_filled(token, &mut |content| payload.copy_to(&caps, content));
        for node in caps {
            self.drop_count(node);
        }
    }

    /// Answers a Bootstrap.
    pub(super) fn answer_with_cap(&mut self, token: &AnswerToken, node: NodeId) {
        self.answer_filled(token, &mut |content| {
            content.reference(content.root(), node);
            Ok(())
        });
    }

    pub(super) fn answer_exception(&mut self, token: &AnswerToken, reason: &Exception) {
        let Some(entry) = self.answer_mut(token) else {
            return;
        };
        let taker = entry.taker.take();
        let (results_to, finished) = (entry.results_to, entry.finished);
        let pipeline = self.take_pipeline(token);
        match results_to {
            ResultsTo::Caller => {
                let reason = self.fitting(token.conn, reason);
                self.transmit(token.conn, &exception_return(token.answer, &reason), &[]);
            }
            ResultsTo::Kept => {
                self.transmit(token.conn, &results_elsewhere(token.answer), &[]);
            }
            ResultsTo::Pipeline => {}
        }
        for (_, node) in pipeline {
            if self
                .nodes
                .get(node)
                .is_some_and(|node| matches!(node.kind, Kind::Promise))
            {
                self.become_broken(node, reason.clone());
            }
            self.drop_count(node);
        }
        if let Some(question) = taker {
            let work = Work::Taken(token.conn, question, Err(reason.clone()));
            self.work.push_back(work);
        }
        self.end_call(token);
        if finished {
            self.remove_answer(token);
        } else {
            // Calls pipelined on it that are still on their way learn the reason as well.
            self.mark_returned(token, Results::Nothing(reason.shortened(KEPT_REASON)));
        }
    }

    /// The call is answered, and its answer stays until the Finish.
    fn mark_returned(&mut self, token: &AnswerToken, results: Results) {
        let Some(entry) = self.answer_mut(token) else {
            return;
        };
        entry.state = State::Returned(results);
        if let Some(row) = self.connections.get_mut(token.conn) {
            row.returned += 1;
        }
    }

    /// Nobody wants the results: only the Return itself is owed.
    fn answer_unwanted(&mut self, token: &AnswerToken) {
        let Some(entry) = self.answer_mut(token) else {
            return;
        };
        if entry.results_to == ResultsTo::Caller {
            self.transmit(token.conn, &canceled_return(token.answer), &[]);
        }
        self.end_call(token);
        self.remove_answer(token);
    }

    /// The references inside an answer that were named before it was there; counted.
    fn take_pipeline(&mut self, token: &AnswerToken) -> Vec<(Path, NodeId)> {
        let Some(entry) = self.answer_mut(token) else {
            return Vec::new();
        };
        let pipeline = std::mem::take(&mut entry.pipeline);
        if pipeline.is_empty() {
            return pipeline;
        }
        if let Some(row) = self.connections.get_mut(token.conn) {
            row.pipelined -= pipeline.len();
        }
        pipeline
    }

    /// The call no longer counts as under way.
    pub(super) fn end_call(&mut self, token: &AnswerToken) {
        self.end_fds_wait(token);
        let Some(entry) = self.answer_mut(token) else {
            return;
        };
        let bytes = std::mem::take(&mut entry.bytes);
        let delivered = std::mem::take(&mut entry.delivered);
        let queued = std::mem::take(&mut entry.queued);
        if let Some(row) = self.connections.get_mut(token.conn) {
            row.call_bytes = row.call_bytes.saturating_sub(bytes);
            row.queued -= usize::from(queued);
            if delivered {
                row.uncount_delivered(bytes);
            }
        }
        self.weigh(token.conn);
    }

    fn remove_answer(&mut self, token: &AnswerToken) {
        if let Some(row) = self.connections.get_mut(token.conn) {
            row.answers.remove(token.answer.raw());
        }
    }

    pub(super) fn on_finish(
        &mut self,
        conn: ConnId,
        id: AnswerId,
        release_results: bool,
    ) -> Result<(), PeerMisbehaved> {
        let Some(row) = self.connections.get_mut(conn) else {
            return Ok(());
        };
        // A Return may have said that no Finish is needed; then it may come all the same.
        let Some(entry) = row.answers.get_mut(id.raw()) else {
            return Ok(());
        };
        let over = match entry.state {
            State::Returned(_) | State::Redirected { .. } => true,
            State::Running
            | State::Forwarded { .. }
            | State::Provision(_)
            | State::Accepting(_) => false,
        };
        if over {
            if let Some(entry) = row.answers.remove(id.raw()) {
                row.pipelined -= entry.pipeline.len();
                match entry.state {
                    State::Returned(_) => {
                        row.returned -= 1;
                        row.kept_bytes = row.kept_bytes.saturating_sub(entry.bytes);
                    }
                    State::Redirected { .. } => row.returned -= 1,
                    State::Running
                    | State::Forwarded { .. }
                    | State::Provision(_)
                    | State::Accepting(_) => {
                        row.call_bytes = row.call_bytes.saturating_sub(entry.bytes);
                    }
                }
                self.free_answer(conn, entry, release_results);
                self.weigh(conn);
            }
            return Ok(());
        }
        if entry.finished {
            return Err(PeerMisbehaved::DuplicateFinish(id));
        }
        entry.finished = true;
        let token = AnswerToken {
            conn,
            answer: id,
            serial: entry.serial,
        };
        match &entry.state {
            State::Provision(name) => {
                let name = *name;
                self.remove_answer(&token);
                self.end_provision(name, &handoff::ended());
                return Ok(());
            }
            State::Accepting(name) if entry.pipeline.is_empty() => {
                let name = *name;
                self.withdraw_accept(name, &Acceptor::Peer(token.duplicate()));
                self.answer_exception(&token, &canceled());
                return Ok(());
            }
            State::Running
            | State::Forwarded { .. }
            | State::Returned(_)
            | State::Redirected { .. }
            | State::Accepting(_) => {}
        }
        match entry.state {
            _ if !entry.is_unwanted() => {}
            // An object that does not have the call yet is told when it has.
            State::Running if entry.delivered => self.outputs.push_back(Output::Cancelled(token)),
            State::Forwarded { conn, question } => {
                self.cancel_question(conn, question);
            }
            State::Running
            | State::Returned(_)
            | State::Redirected { .. }
            | State::Provision(_)
            | State::Accepting(_) => {}
        }
        Ok(())
    }

    pub(super) fn free_answer(&mut self, conn: ConnId, entry: Answer, release_results: bool) {
        let mut follows = None;
        let exports = match entry.state {
            State::Returned(Results::Content(kept)) => {
                self.drop_pins(conn, kept.caps);
                kept.exports
            }
            State::Returned(Results::Exports(exports)) => exports,
            State::Returned(Results::Nothing(_))
            | State::Running
            | State::Forwarded { .. }
            | State::Provision(_)
            | State::Accepting(_) => Exports::new(),
            State::Redirected { question } => {
                follows = Some(question);
                Exports::new()
            }
        };
        if release_results {
            for export in exports {
                // A peer that released one of them before gave it back twice: its loss.
                let _: Option<()> = self.release_export(conn, export, 1);
            }
        }
        for (_, node) in entry.pipeline {
            self.drop_count(node);
        }
        if let Some(question) = follows {
            self.let_go(conn, question);
        }
    }

    /// References of results that are not sent.
    fn keep(&mut self, nodes: &[Option<NodeId>]) -> Box<Given> {
        let mut given = self.take_given();
        let terminal = |node: &Option<NodeId>| self.nodes.terminal(node.unwrap_or(self.null));
        let nodes = nodes.iter().map(|node| (terminal(node), Way::Plain));
        given.nodes.extend(nodes);
        given
    }

    fn pin_all(&mut self, conn: ConnId, given: &Given) -> Pins {
        let nodes = given.nodes.iter();
        nodes
            .map(|(node, way)| self.pin(*node, *way, conn))
            .collect()
    }

    pub(super) fn drop_pins(&mut self, conn: ConnId, pins: Pins) {
        for pin in pins {
            self.drop_pin(conn, pin);
        }
    }
}

/// Messages of our own making are read without limit.
const UNLIMITED: usize = 1 << 32;
const KEPT_NESTING: u16 = u16::MAX;
/// Most bytes of a reason that is kept until the peer's Finish.
const KEPT_REASON: usize = 1 << 10;

fn exception_return(id: AnswerId, reason: &Exception) -> Built {
    let mut built = encode::new_message(16 + encode::text_words(reason));
    let mut ret = built.init_root::<message::Builder<'_>>().init_return();
    ret.set_answer_id(id.raw());
    ret.set_release_param_caps(false);
    encode::write_exception(ret.init_exception(), reason);
    built
}

fn canceled_return(id: AnswerId) -> Built {
    let mut built = encode::new_message(8);
    let mut ret = built.init_root::<message::Builder<'_>>().init_return();
    ret.set_answer_id(id.raw());
    ret.set_release_param_caps(false);
    ret.set_canceled(());
    built
}

fn results_elsewhere(id: AnswerId) -> Built {
    let mut built = encode::new_message(8);
    let mut ret = built.init_root::<message::Builder<'_>>().init_return();
    ret.set_answer_id(id.raw());
    ret.set_release_param_caps(false);
    ret.set_results_sent_elsewhere(());
    built
}

/// The index of the reference at a path of kept results.
pub(super) fn find_cap(
    message: &Message,
    caps: usize,
    path: &[u16],
) -> Result<Option<usize>, capnp::Error> {
    if let Some(found) = payload::cap_in(message, path, caps) {
        return Ok(found);
    }
    let table = index_table(caps);
    let mut content: any_pointer::Reader<'_> = message.get_root()?;
    content.imbue(&table);
    payload::follow(content, path)
}

fn keep_content(content: &[u8]) -> Message {
    Frame::of_bytes(content).into_message(UNLIMITED, KEPT_NESTING)
}

pub(super) fn copy_message(message: &Message) -> Message {
    let frame = message.get_segments().duplicate();
    frame.into_message(UNLIMITED, KEPT_NESTING)
}
