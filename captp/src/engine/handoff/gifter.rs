//! The side that gives.

use std::rc::Rc;

use super::super::Engine;
use super::super::node::{Far, Kind, Place};
use crate::connection::export::State;
use crate::connection::handoff::{Passed, Vine};
use crate::connection::question::{Asker, Question};
use crate::contact::{Await, Claim, Contact, MAX_ADDRESSES, VatKey};
use crate::message::encode::{self, Described};
use crate::message::{EmbargoName, Target};
use crate::path::Path;
use crate::{ConnId, ExportId, Features, Host, NodeId, PeerMisbehaved, QuestionId};

impl<H: Host> Engine<H> {
    /// The key of a peer with which three-party handoff was agreed.
    pub(in crate::engine) fn handoff_peer(&self, conn: ConnId) -> Option<VatKey> {
        let agreed = self.features(conn).contains(Features::THREE_PARTY_HANDOFF);
        let row = self.connections.get(conn)?;
        row.peer.filter(|_| agreed)
    }

    /// Gives something that lies at `far` to the peer of `conn`. `None` if it has to go through us.
    pub(in crate::engine) fn introduce(
        &mut self,
        conn: ConnId,
        node: NodeId,
        far: &Far,
    ) -> Option<(Described, ExportId)> {
        let identity = self.config.identity.clone()?;
        let recipient = self.handoff_peer(conn)?;
        let exporter = self.handoff_peer(far.conn)?;
        let row = self.connections.get(far.conn)?;
        // A Provide must not overtake calls, and whoever accepts waits for it for a limited time.
        let waits = row.unsent.is_some() || !row.may_ask_now(0, row.under_way());
        if row.gifts >= row.limits.gifts || waits {
            return None;
        }
        let said = row.peer_hello.iter().flat_map(|hello| &hello.addresses);
        let addresses = said.chain(&row.peer_addresses).cloned();
        let addresses = addresses.take(MAX_ADDRESSES).collect();
        let question = self.new_question(far.conn).ok()?;
        self.gifts_made += 1;
        let claim = Claim::new(&identity, self.gifts_made, &exporter, recipient);
        let given = Vine::Given {
            conn: far.conn,
            question,
        };
        let state = State::Vine(given, Passed::default());
        let Ok(vine) = self.new_export(conn, node, state) else {
            self.drop_question(far.conn, question);
            return None;
        };
        if let Some(entry) = self.question_mut(far.conn, question) {
            entry.asker = Asker::Provision { conn, vine };
        }
        if let Some(row) = self.connections.get_mut(far.conn) {
            row.gifts += 1;
        }
        let recipient = Await {
            recipient,
            nonce: claim.gift.nonce,
        };
        let provide = encode::provide(question, &far.place, &recipient);
        self.transmit(far.conn, &provide, &[]);
        let contact = Rc::new(Contact {
            exporter,
            addresses,
            claim,
        });
        Some((Described::Third { contact, vine }, vine))
    }

    /// Passes a gift that was not accepted on. `None` if that cannot be.
    pub(in crate::engine) fn pass_on(
        &mut self,
        conn: ConnId,
        node: NodeId,
    ) -> Option<(Described, ExportId)> {
        let identity = self.config.identity.clone()?;
        let to = self.handoff_peer(conn)?;
        let Some(Kind::Gift(gift)) = self.nodes.get(node).map(|node| &node.kind) else {
            return None;
        };
        if gift.called || !gift.contact.claim.can_be_forwarded() {
            return None;
        }
        let (upstream, contact) = (gift.vine, Rc::clone(&gift.contact));
        let contact = Rc::new(Contact {
            exporter: contact.exporter,
            addresses: contact.addresses.clone(),
            claim: contact.claim.forwarded(&identity, &contact.exporter, to),
        });
        self.nodes.retain(upstream);
        let state = State::Vine(Vine::Forwarded(upstream), Passed::default());
        let Ok(vine) = self.new_export(conn, node, state) else {
            self.drop_count(upstream);
            return None;
        };
        Some((Described::Third { contact, vine }, vine))
    }

    /// A vine is gone, or is used as an ordinary reference from now on.
    pub(in crate::engine) fn end_vine(&mut self, vine: Vine) {
        match vine {
            Vine::Given { conn, question } => self.end_provide(conn, question),
            Vine::Forwarded(upstream) => self.drop_count(upstream),
            Vine::Closed => {}
        }
    }

    /// A call on a vine: its holder does not accept the gift.
    pub(in crate::engine) fn close_called_vine(&mut self, conn: ConnId, target: &Target) {
        let Target::Export(id) = target else { return };
        #[cfg(any(test, feature = "testing"))]
        if self.has_fault(super::super::testing::Fault::VineKeptOpen) {
            return;
        }
        let Some(row) = self.connections.get_mut(conn) else {
            return;
        };
        if let Some(entry) = row.exports.get_mut(id.raw())
            && let State::Vine(vine @ Vine::Given { .. }, _) = &mut entry.state
        {
            let vine = std::mem::replace(vine, Vine::Closed);
            self.end_vine(vine);
        }
    }

    /// The exporter answered a Provide, or is gone: whoever holds the vine goes through us.
    pub(in crate::engine) fn provide_ended(&mut self, conn: ConnId, id: ExportId) {
        let row = self.connections.get_mut(conn);
        if let Some(entry) = row.and_then(|row| row.exports.get_mut(id.raw()))
            && let State::Vine(vine @ Vine::Given { .. }, _) = &mut entry.state
        {
            *vine = Vine::Closed;
        }
    }

    fn end_provide(&mut self, conn: ConnId, question: QuestionId) {
        let provides =
            |question: &mut Question<H>| matches!(question.asker, Asker::Provision { .. });
        if !self.question_mut(conn, question).is_some_and(provides) {
            return;
        }
        self.gift_is_over(conn);
        self.finish_question(conn, question, true);
    }

    pub(in crate::engine) fn gift_is_over(&mut self, exporter: ConnId) {
        if let Some(row) = self.connections.get_mut(exporter) {
            row.gifts = row.gifts.saturating_sub(1);
        }
    }

    /// A Disembargo on its way from a recipient to the exporter.
    pub(in crate::engine) fn pass_disembargo(
        &mut self,
        conn: ConnId,
        id: ExportId,
        name: &EmbargoName,
    ) -> Result<(), PeerMisbehaved> {
        let row = self.connections.get_mut(conn);
        let Some(entry) = row.and_then(|row| row.exports.get_mut(id.raw())) else {
            return Err(PeerMisbehaved::UnknownExport(id));
        };
        let State::Vine(vine, passed) = &mut entry.state else {
            return Err(PeerMisbehaved::DisembargoTarget);
        };
        if !passed.is_first(name) {
            tracing::debug!(%conn, "a disembargo that nobody can need is not passed on");
            return Ok(());
        }
        let (vine, serial) = (*vine, entry.serial);
        if self.is_holding(conn) {
            let name = Rc::clone(name);
            return self.hold_disembargo(conn, id, serial, name);
        }
        self.pass_along(conn, vine, name);
        Ok(())
    }

    /// The same after calls that had to wait, if the vine is still there.
    pub(in crate::engine) fn pass_held_disembargo(
        &mut self,
        conn: ConnId,
        id: ExportId,
        serial: u64,
        name: &EmbargoName,
    ) {
        let row = self.connections.get(conn);
        let entry = row.and_then(|row| row.exports.get(id.raw()));
        if let Some(entry) = entry.filter(|entry| entry.serial == serial)
            && let State::Vine(vine, _) = entry.state
        {
            self.pass_along(conn, vine, name);
        }
    }

    fn pass_along(&mut self, from: ConnId, vine: Vine, name: &EmbargoName) {
        let (to, place) = match vine {
            Vine::Given { conn, question } => {
                let place = Place::Answer {
                    question,
                    path: Path::Root,
                };
                (conn, place)
            }
            Vine::Forwarded(upstream) => {
                match self.nodes.get(upstream).and_then(|node| node.far()) {
                    Some(far) => (far.conn, far.place.clone()),
                    None => return, // its connection is lost, and the Accept fails
                }
            }
            Vine::Closed => return,
        };
        let built = encode::accept_disembargo(&place, name);
        self.transmit_disembargo(from, to, &built, Some(&place));
    }
}
