//! Connections that begin and end.

use super::node::Kind;
use super::{ConnOptions, Engine, Output};
use crate::connection::answer::{Answer, State};
use crate::connection::framer::Framer;
use crate::connection::handoff::Acceptor;
use crate::connection::question::{Asker, Question};
use crate::connection::{Connection, Pin, Way};
use crate::contact::{self, MAX_ADDRESSES, VatKey};
use crate::exception::cut;
use crate::frame::Message;
use crate::hello::AGENT_BYTES;
use crate::message::{Envelope, decode, encode};
use crate::network_capnp::hello;
use crate::{
    AnswerId, AnswerToken, CloseReason, ConnId, Exception, Features, Host, NodeId, PeerHello,
    PeerMisbehaved,
};

/// First value of a hello.
const HELLO_MAGIC: u32 = 0x0d74_6176;
/// The version of everything after the hello.
const HELLO_MAJOR: u16 = 1;
const HELLO_MINOR: u16 = 0;

impl<H: Host> Engine<H> {
    pub(super) fn open_connection(&mut self, options: ConnOptions) -> ConnId {
        let mut row = Connection::new(options.limits);
        row.descriptors = options.descriptors;
        row.awaits_hello = options.hello;
        row.expects_hello = options.hello;
        row.tail_calls = options.tail_calls.unwrap_or(options.hello);
        row.features = options.features;
        if options.hello {
            row.features = row.features | Features::EXTENDED_CALLS;
        }
        row.hello = options.hello;
        row.peer = options.peer;
        row.heard = self.now;
        row.peer_addresses = options.peer_addresses;
        if row.peer.is_some() && self.config.identity.is_some() {
            row.features = row.features | Features::THREE_PARTY_HANDOFF;
        }
        if let Some(node) = options.bootstrap {
            self.nodes.retain(node);
            row.bootstrap = Some(node);
        }
        let conn = self.connections.insert(row);
        if options.hello {
            if let Some(peer) = options.peer {
                self.peers.insert(peer, conn);
            }
            self.say_hello(conn);
        }
        conn
    }

    fn say_hello(&mut self, conn: ConnId) {
        let Some(row) = self.connections.get(conn) else {
            return;
        };
        let mut built = encode::new_message(64);
        let mut hello = built.init_root::<hello::Builder<'_>>();
        hello.set_magic(HELLO_MAGIC);
        hello.set_major(HELLO_MAJOR);
        hello.set_minor(HELLO_MINOR);
        hello.set_features(row.features.bits());
        hello.set_agent(self.config.agent.as_str());
        if let (Some(identity), Some(_)) = (&self.config.identity, row.peer) {
            let addresses = identity.addresses.iter().take(MAX_ADDRESSES);
            let addresses: Vec<String> = addresses.cloned().collect();
            let count = u32::try_from(addresses.len()).unwrap_or(u32::MAX);
            contact::write_addresses(hello.reborrow().init_addresses(count), &addresses);
        }
        let limited = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
        let mut limits = hello.init_limits();
        limits.set_message_bytes(row.limits.message_bytes as u64);
        limits.set_caps_per_message(limited(row.limits.caps_per_message));
        limits.set_fds_per_message(limited(row.limits.fds_per_message));
        limits.set_calls_soft(limited(row.limits.answers_soft));
        limits.set_calls(limited(row.limits.answers));
        limits.set_call_bytes_soft(row.limits.call_bytes_soft as u64);
        limits.set_call_bytes(row.limits.call_bytes as u64);
        self.transmit(conn, &built, &[]);
    }

    pub(super) fn on_hello(
        &mut self,
        conn: ConnId,
        message: &Message,
    ) -> Result<(), PeerMisbehaved> {
        let hello: hello::Reader<'_> = message.get_root()?;
        if hello.get_magic() != HELLO_MAGIC {
            return self.on_no_hello(conn, message);
        }
        if hello.get_major() != HELLO_MAJOR {
            return Err(PeerMisbehaved::UnknownVersion(hello.get_major()));
        }
        let said = decode_hello(hello)?;
        tracing::debug!(%conn, ?said, "hello");
        let Some(row) = self.connections.get_mut(conn) else {
            return Ok(());
        };
        // What the peer would refuse is not sent.
        let least = |ours: usize, theirs: Option<u64>| match theirs {
            Some(theirs) => ours.min(usize::try_from(theirs).unwrap_or(usize::MAX)),
            None => ours,
        };
        row.send_bytes = least(row.send_bytes, said.message_bytes);
        row.send_caps = least(row.send_caps, said.caps_per_message.map(u64::from));
        row.send_fds = least(row.send_fds, said.fds_per_message.map(u64::from));
        row.window.calls = least(row.window.calls, said.calls_soft.map(u64::from));
        row.window.most_calls = least(row.window.most_calls, said.calls.map(u64::from));
        row.window.bytes = least(row.window.bytes, said.call_bytes_soft);
        row.window.most_bytes = least(row.window.most_bytes, said.call_bytes);
        row.window.single_bytes = least(row.window.single_bytes, said.call_bytes);
        row.peer_hello = Some(Box::new(said));
        self.fail_too_large(conn);
        Ok(())
    }

    /// A peer that does not want the connection may say so instead of its hello.
    fn on_no_hello(&mut self, conn: ConnId, message: &Message) -> Result<(), PeerMisbehaved> {
        let Some(row) = self.connections.get(conn) else {
            return Ok(());
        };
        match decode::decode(message, &row.limits) {
            Ok(Envelope::Abort(reason)) => {
                self.teardown(conn, CloseReason::PeerAborted(reason));
                Ok(())
            }
            _ => Err(PeerMisbehaved::NoHello),
        }
    }

    /// The peer broke the protocol.
    pub(super) fn abort(&mut self, conn: ConnId, fault: PeerMisbehaved) {
        tracing::warn!(%conn, err = %fault, "connection aborted");
        self.transmit(conn, &encode::abort(&Exception::from(&fault)), &[]);
        self.teardown(conn, CloseReason::PeerMisbehaved(fault));
    }

    /// Ends a connection: everything through it breaks, once.
    pub(super) fn teardown(&mut self, conn: ConnId, reason: CloseReason) {
        let Some(row) = self.connections.get_mut(conn) else {
            return;
        };
        row.closed = true;
        row.framer = Framer::default();
        row.fds.clear();
        row.fds_behind.clear();
        row.unsent = None;
        let questions: Vec<_> = row.questions.drain().chain(row.pipelines.drain()).collect();
        let answers: Vec<_> = row.answers.drain().collect();
        let exports: Vec<_> = row.exports.drain().collect();
        let imports: Vec<_> = row.imports.drain().collect();
        let embargoes: Vec<_> = row.embargoes.drain().collect();
        self.weigh(conn);
        let Some(row) = self.connections.any(conn) else {
            return;
        };
        let held = std::mem::take(&mut row.held);
        let bootstrap = row.bootstrap.take();
        let peer = row.peer;

        let lost = lost(&reason, format!("connection lost: {reason}"));
        self.crowded.retain(|crowded| *crowded != conn);
        self.lose_held(conn, held.into_iter());
        let unanswered = Unanswered::new(&reason);
        for (_, question) in questions {
            self.lose_question(question, &unanswered, &lost);
        }
        for (_, import) in imports {
            self.lose_far(import.node, &lost);
            self.lose_gift(import.gift, &lost);
        }
        for (_, embargo) in embargoes {
            // Calls before them may not have arrived, so these must not either.
            self.become_broken(embargo.waiting, lost.clone());
            self.drop_count(embargo.waiting);
            self.drop_count(embargo.target);
        }
        for (id, answer) in answers {
            self.lose_answer(conn, AnswerId::new(id), answer, &lost);
        }
        if let Some(peer) = peer {
            self.lose_peer(conn, peer);
        }
        for (id, entry) in exports {
            self.free_export(conn, crate::ExportId::new(id), entry);
        }
        if let Some(node) = bootstrap {
            self.drop_count(node);
        }
        self.outputs.push_back(Output::Closed { conn, reason });
        self.bury(conn);
    }

    /// A gift that was not accepted goes with who gave it.
    fn lose_gift(&mut self, gift: Option<NodeId>, lost: &Exception) {
        let kind = gift.and_then(|id| Some((id, &self.nodes.get(id)?.kind)));
        if let Some((id, Kind::Gift(_))) = kind {
            self.become_broken(id, lost.clone());
        }
    }

    /// Another connection to the same vat, if there is one, takes the place.
    fn lose_peer(&mut self, conn: ConnId, peer: VatKey) {
        if self.peers.get(&peer) != Some(&conn) {
            return;
        }
        let mut others = self.connections.iter();
        let other = others.find(|(_, row)| !row.closed && row.hello && row.peer == Some(peer));
        match other.map(|(id, _)| id) {
            Some(other) => self.peers.insert(peer, other),
            None => self.peers.remove(&peer),
        };
    }

    fn lose_question(&mut self, question: Question<H>, why: &Unanswered, lost: &Exception) {
        for (_, node) in question.pipelined {
            self.lose_far(node, lost);
        }
        self.end_share(question.share);
        if let Asker::Nobody = question.asker {
            return;
        }
        let reason = match question.waits {
            0 => &why.sent,
            _ => &why.unsent,
        };
        self.returned(question.asker, Err(reason.clone()));
    }

    fn lose_answer(&mut self, conn: ConnId, id: AnswerId, answer: Answer, lost: &Exception) {
        if !matches!(answer.state, State::Returned(_)) {
            for (_, node) in &answer.pipeline {
                let open = self.nodes.get(*node);
                if open.is_some_and(|node| matches!(node.kind, Kind::Promise)) {
                    self.become_broken(*node, lost.clone());
                }
            }
        }
        match answer.state {
            State::Provision(name) => {
                let reason = "the connection on which the reference was given is lost";
                self.end_provision(name, &Exception::disconnected(reason));
            }
            State::Accepting(name) => {
                let token = AnswerToken {
                    conn,
                    answer: id,
                    serial: answer.serial,
                };
                self.withdraw_accept(name, &Acceptor::Peer(token));
            }
            State::Running
            | State::Forwarded { .. }
            | State::Returned(_)
            | State::Redirected { .. } => {}
        }
        self.free_answer(conn, answer, false);
    }

    /// A far node whose connection is gone. One that has resolved only forgets its old place.
    pub(super) fn lose_far(&mut self, id: NodeId, lost: &Exception) {
        let Some(node) = self.nodes.get_mut(id) else {
            return;
        };
        match &mut node.kind {
            Kind::Far(_) => self.become_broken(id, lost.clone()),
            Kind::Link { far, .. } => {
                let Some(far) = far.take() else { return };
                node.lose_place_on(far.conn);
                if let Some(node) = far.via {
                    let way = Way::Strict;
                    self.drop_pin(far.conn, Pin { node, way });
                }
            }
            Kind::Object(_) | Kind::Promise | Kind::Broken(_) | Kind::Gift(_) => {}
        }
    }

    /// Forgets a closed connection that has nothing left to transmit.
    pub(super) fn bury(&mut self, conn: ConnId) {
        let done = self
            .connections
            .any(conn)
            .is_some_and(|row| row.closed && row.outbound.is_empty());
        if done {
            self.connections.remove(conn);
        }
    }
}

/// Why calls have no answer, made once for all of them.
struct Unanswered {
    sent: Exception,
    unsent: Exception,
}

impl Unanswered {
    fn new(reason: &CloseReason) -> Self {
        // However long what the peer said is, what follows has to be read.
        let why = cut(reason.to_string(), Exception::REASON / 2);
        let because = |ran: &str| lost(reason, format!("connection lost: {why}; {ran}"));
        Self {
            sent: because("the call may have run"),
            unsent: because("the call was not sent"),
        }
    }
}

/// What everything through a lost connection breaks with. What the peer gave as its reason keeps
/// its trace and details.
fn lost(why: &CloseReason, text: String) -> Exception {
    let lost = Exception::disconnected(text);
    match why {
        CloseReason::PeerAborted(reason) => lost.with_context_of(reason),
        CloseReason::Local | CloseReason::Transport(_) | CloseReason::PeerMisbehaved(_) => lost,
    }
}

fn decode_hello(hello: hello::Reader<'_>) -> Result<PeerHello, PeerMisbehaved> {
    let limits = hello.get_limits()?;
    let agent = hello.get_agent()?.as_bytes();
    let agent = agent.get(..AGENT_BYTES).unwrap_or(agent);
    let some = |value: u32| Some(value).filter(|value| *value > 0);
    let some_bytes = |value: u64| Some(value).filter(|value| *value > 0);
    Ok(PeerHello {
        minor: hello.get_minor(),
        features: Features::from_bits(hello.get_features()),
        agent: String::from_utf8_lossy(agent).into_owned(),
        message_bytes: some_bytes(limits.get_message_bytes()),
        caps_per_message: some(limits.get_caps_per_message()),
        fds_per_message: some(limits.get_fds_per_message()),
        calls_soft: some(limits.get_calls_soft()),
        calls: some(limits.get_calls()),
        call_bytes_soft: some_bytes(limits.get_call_bytes_soft()),
        call_bytes: some_bytes(limits.get_call_bytes()),
        addresses: contact::read_addresses(hello.get_addresses()?),
    })
}
