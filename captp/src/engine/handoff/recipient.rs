//! The side that is given something.

use std::rc::Rc;

use super::super::node::{Far, Kind};
use super::super::room::Names;
use super::super::{DialId, Engine, Output, Work};
use crate::connection::handoff::{Acceptor, Gift, Parked};
use crate::connection::question::Asker;
use crate::contact::{Contact, Introduction, VatKey};
use crate::message::EmbargoName;
use crate::message::encode;
use crate::path::Path;
use crate::{ConnId, Exception, Host, ImportId, NodeId, Payload, PeerMisbehaved, QuestionId};

impl<H: Host> Engine<H> {
    /// A reference to something that another vat hosts, with one count: a gift, or what is reached
    /// through the peer if we cannot or must not accept it.
    pub(in crate::engine) fn import_gift(
        &mut self,
        conn: ConnId,
        contact: Option<&Rc<Contact>>,
        vine: ImportId,
    ) -> Result<NodeId, PeerMisbehaved> {
        let node = self.import_theirs(conn, vine, false)?;
        let Some(contact) = contact.filter(|contact| self.is_for_us(conn, contact)) else {
            return Ok(node);
        };
        let Some(row) = self.connections.get_mut(conn) else {
            return Ok(node);
        };
        let Some(entry) = row
            .imports
            .get_mut(vine.raw())
            .filter(|entry| entry.refs == 1)
        else {
            return Ok(node);
        };
        let own = self.config.identity.as_ref().map(|own| own.key);
        let gift = self.nodes.insert(Kind::Gift(Box::new(Gift {
            contact: Rc::clone(contact),
            vine: node,
            from: conn,
            called: false,
            accepting: false,
            claimed: false,
            reflected: false,
            orphan: false,
        })));
        entry.gift = Some(gift);
        if own == Some(contact.exporter) {
            // After the message, which may tell that it was called before.
            self.work.push_back(Work::Accept(gift));
        }
        Ok(gift)
    }

    /// Whether a contact names us, and who sent it.
    fn is_for_us(&self, conn: ConnId, contact: &Contact) -> bool {
        let (Some(own), Some(peer)) = (&self.config.identity, self.handoff_peer(conn)) else {
            return false;
        };
        contact.claim.holder() == own.key && contact.claim.giver() == peer
    }

    /// Accepts a gift, if that was not begun before.
    pub(in crate::engine) fn accept_gift(&mut self, id: NodeId) {
        let Some(Kind::Gift(gift)) = self.nodes.get_mut(id).map(|node| &mut node.kind) else {
            return;
        };
        if std::mem::replace(&mut gift.accepting, true) {
            return;
        }
        let contact = Rc::clone(&gift.contact);
        let exporter = contact.exporter;
        if self.config.identity.as_ref().map(|own| own.key) == Some(exporter) {
            return self.accept_own(id);
        }
        if let Some(conn) = self.greeted_by(&exporter)
            && !self.is_doubtful(conn)
        {
            return self.accept_if_agreed(id, conn);
        }
        let addresses = contact.addresses.clone();
        let request = DialId(self.dials.insert(id));
        self.outputs.push_back(Output::Dial {
            request,
            introduction: Introduction::of(&contact),
            addresses,
        });
    }

    /// The connection to a vat, once it has said hello: before, the other side may still close it
    /// for another one.
    fn greeted_by(&self, vat: &VatKey) -> Option<ConnId> {
        let conn = *self.peers.get(vat)?;
        let row = self.connections.get(conn)?;
        row.peer_hello.is_some().then_some(conn)
    }

    /// The host says what became of a request for a connection.
    pub(in crate::engine) fn on_dialed(
        &mut self,
        request: DialId,
        result: Result<ConnId, Exception>,
    ) {
        let Some(id) = self.dials.remove(request.0) else {
            return;
        };
        let Some(Kind::Gift(gift)) = self.nodes.get(id).map(|node| &node.kind) else {
            return;
        };
        let exporter = gift.contact.exporter;
        match result {
            Ok(conn) => match self.connections.get(conn).map(|row| row.peer) {
                Some(peer) if peer == Some(exporter) => self.accept_if_agreed(id, conn),
                Some(_) => self.fall_back(id, "the connection leads to another vat"),
                None => self.fall_back(id, "the connection is closed"),
            },
            Err(reason) => self.fall_back(id, reason.reason()),
        }
    }

    /// Over this connection, unless it is known that the exporter would refuse.
    fn accept_if_agreed(&mut self, id: NodeId, conn: ConnId) {
        let row = self.connections.get(conn);
        let greeted = row.is_some_and(|row| row.peer_hello.is_some());
        if greeted && self.handoff_peer(conn).is_none() {
            return self.fall_back(id, "handoff was not agreed with its host");
        }
        self.accept_over(id, conn);
    }

    /// No way but the vine. No call was sent on another, so the order is kept.
    pub(in crate::engine) fn fall_back(&mut self, id: NodeId, why: &str) {
        let Some(node) = self.nodes.get(id) else {
            return;
        };
        let Kind::Gift(gift) = &node.kind else {
            return;
        };
        tracing::debug!(conn = %gift.from, err = %why, "a gift is reached through its giver");
        let vine = gift.vine;
        self.become_link(id, vine);
    }

    fn accept_over(&mut self, id: NodeId, conn: ConnId) {
        let Some(Kind::Gift(gift)) = self.nodes.get(id).map(|node| &node.kind) else {
            return;
        };
        let (vine, called, may_end) = (gift.vine, gift.called, gift.may_end());
        let orphan = gift.orphan;
        let contact = Rc::clone(&gift.contact);
        let question = match self.new_question(conn) {
            Ok(question) => question,
            Err(reason) => return self.fall_back(id, reason.reason()),
        };
        let embargo = called.then(|| self.embargo_vine(vine));
        let accept = encode::accept(question, &contact.claim, embargo.as_deref());
        self.transmit_behind(conn, &accept, &[Names::Asks(question)]);
        if may_end {
            if let Some(entry) = self.question_mut(conn, question) {
                entry.asker = Asker::Gift(id);
            }
            return self.mark_claimed(id);
        }
        if let Some(entry) = self.question_mut(conn, question) {
            entry.asker = Asker::Accept { vine };
        }
        if let Some(node) = self.nodes.get_mut(id) {
            node.kind = Kind::Promise;
        }
        self.become_pipelined(id, conn, question, Path::Root);
        if orphan {
            self.work.push_back(Work::Release(id));
        }
    }

    /// From now on the gift leads past what takes the way through who gave it.
    fn mark_claimed(&mut self, id: NodeId) {
        if let Some(Kind::Gift(gift)) = self.nodes.get_mut(id).map(|node| &mut node.kind) {
            gift.claimed = true;
        }
    }

    /// The answer to the Accept of a gift for which calls have waited.
    pub(in crate::engine) fn gift_answered(
        &mut self,
        id: NodeId,
        result: Result<Payload, Exception>,
    ) {
        let mut payload = match result {
            Ok(payload) => payload,
            Err(reason) => return self.fall_back(id, reason.reason()),
        };
        let found = payload.cap_at(&[]).ok().flatten();
        let found = found.and_then(|at| payload.caps().get(at).copied());
        let node = self.nodes.get(id);
        if node.is_some_and(|node| matches!(node.kind, Kind::Gift(_))) {
            self.become_link(id, found.unwrap_or(self.null));
        }
        for node in payload.take_caps() {
            self.drop_count(node);
        }
    }

    /// A gift is broken, or nobody wants it.
    pub(in crate::engine) fn end_gift(&mut self, id: NodeId, gift: &Gift) {
        let own = self.config.identity.as_ref().map(|own| own.key);
        if gift.accepting && own == Some(gift.contact.exporter) {
            self.withdraw_accept(gift.contact.claim.gift, &Acceptor::Own(id));
        }
        self.drop_count(gift.vine);
    }

    /// The peer does not know an Accept or Provide of ours: there will be no Return.
    pub(in crate::engine) fn handoff_refused(&mut self, conn: ConnId, id: QuestionId) {
        let Some(question) = self.question_mut(conn, id) else {
            return;
        };
        if !matches!(
            question.asker,
            Asker::Accept { .. } | Asker::Gift(_) | Asker::Provision { .. }
        ) {
            return;
        }
        let asker = std::mem::replace(&mut question.asker, Asker::Nobody);
        let pipelined = std::mem::take(&mut question.pipelined);
        self.drop_question(conn, id);
        if matches!(asker, Asker::Provision { .. }) {
            self.gift_is_over(conn);
        }
        let reason = Exception::new(
            crate::ExceptionKind::Unimplemented,
            "the vat that hosts this reference does not take part in handoff",
        );
        for (_, node) in pipelined {
            self.become_broken(node, reason.clone());
        }
        self.returned(asker, Err(reason));
    }

    /// Sends a Disembargo the way that the calls took.
    fn embargo_vine(&mut self, vine: NodeId) -> EmbargoName {
        self.embargoes_named += 1;
        let mut name = [0; 16];
        let (own, number) = name.split_at_mut(8);
        if let Some(identity) = &self.config.identity
            && let Some(start) = identity.key.0.get(..8)
        {
            own.copy_from_slice(start);
        }
        number.copy_from_slice(&self.embargoes_named.to_le_bytes());
        let name: EmbargoName = Rc::from(name);
        if let Some(Far { conn, place, .. }) = self.nodes.get(vine).and_then(|node| node.far()) {
            let (conn, place) = (*conn, place.clone());
            let built = encode::accept_disembargo(&place, &name);
            self.transmit_behind(conn, &built, &[Names::Place(&place)]);
        }
        name
    }

    /// The gift is something of ours, and has gone round.
    fn accept_own(&mut self, id: NodeId) {
        let Some(Kind::Gift(gift)) = self.nodes.get(id).map(|node| &node.kind) else {
            return;
        };
        let (vine, called, conn) = (gift.vine, gift.called, gift.from);
        let contact = Rc::clone(&gift.contact);
        if let Err(reason) = self.may_check(conn, &contact.claim) {
            return self.fall_back(id, reason.reason());
        }
        let signed = self.config.identity.as_ref();
        if !signed.is_some_and(|own| contact.claim.is_signed(own)) {
            return self.fall_back(id, "the contact is not signed by who gave it");
        }
        let embargo = called.then(|| self.embargo_vine(vine));
        self.mark_claimed(id);
        let parked = Parked {
            by: Acceptor::Own(id),
            conn,
            recipient: contact.claim.recipient,
            embargo,
            until: self.now.saturating_add(self.config.rendezvous),
        };
        self.accept(contact.claim.gift, parked);
    }
}
