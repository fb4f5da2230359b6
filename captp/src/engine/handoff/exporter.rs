//! The side whose object is given.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use super::super::Engine;
use super::super::node::Kind;
#[cfg(any(test, feature = "testing"))]
use super::super::testing::Fault;
use crate::connection::answer::{Results, ResultsTo, State};
use crate::connection::handoff::{Acceptor, MAX_LIFTED, Parked, Provision};
use crate::contact::{Await, Claim, GiftName};
use crate::frame::Message;
use crate::message::{EmbargoName, Target};
use crate::{AnswerId, ConnId, Exception, Host, NodeId, PeerMisbehaved};

type Result<T> = std::result::Result<T, PeerMisbehaved>;

impl<H: Host> Engine<H> {
    /// The peer gives something of ours to somebody.
    pub(in crate::engine) fn on_provide(
        &mut self,
        conn: ConnId,
        answer: AnswerId,
        target: &Target,
        recipient: &Await,
        message: &Message,
    ) -> Result<()> {
        let Some(gifter) = self.handoff_peer(conn) else {
            return self.echo(conn, message);
        };
        let name = GiftName {
            gifter,
            nonce: recipient.nonce,
        };
        let row = self.connections.get(conn);
        let (limit, open) = row.map_or((0, 0), |row| (row.limits.provisions, row.provisions));
        if self.provisions.open.contains_key(&name) || self.provisions.has_ended(&name) {
            return Err(PeerMisbehaved::DuplicateGift);
        }
        if open >= limit {
            return self.refuse_provide(conn, answer, name, limit);
        }
        let target = self.target(conn, target)?;
        if !target.counted {
            self.nodes.retain(target.node);
        }
        let token = match self.new_answer(conn, answer, ResultsTo::Pipeline, 0) {
            Ok(token) => token,
            Err(fault) => {
                self.drop_count(target.node);
                return Err(fault);
            }
        };
        if let Some(entry) = self.answer_mut(&token) {
            entry.state = State::Provision(name);
        }
        let provision = Provision {
            conn,
            recipient: recipient.recipient,
            node: self.behind_held(conn, target.node, None), // what the gifter sent before comes before
            lifted: BTreeSet::new(),
            waiting: Vec::new(),
        };
        self.provisions.open.insert(name, provision);
        if let Some(row) = self.connections.get_mut(conn) {
            row.provisions += 1;
        }
        for parked in self.provisions.take_early(&name, |_| true) {
            self.unpark(&parked);
            self.accept(name, parked);
        }
        Ok(())
    }

    /// The peer has too many open gifts. It may not have wanted so many: whoever it gave them to
    /// keeps them. So this is no reason to end the connection. The peer is not told: no Provide is
    /// returned, and after its Finish it would not know what of.
    fn refuse_provide(
        &mut self,
        conn: ConnId,
        answer: AnswerId,
        name: GiftName,
        limit: usize,
    ) -> Result<()> {
        let token = self.new_answer(conn, answer, ResultsTo::Pipeline, 0)?;
        let reason = Exception::overloaded(format!("{limit} gifts of this vat are open already"));
        self.answer_exception(&token, &reason);
        self.provisions
            .remember(name, self.now.saturating_add(REMEMBERED));
        for parked in self.provisions.take_early(&name, |_| true) {
            self.unpark(&parked);
            self.refuse_gift(&parked.by, &reason);
        }
        Ok(())
    }

    /// The peer wants what somebody gave it.
    pub(in crate::engine) fn on_accept(
        &mut self,
        conn: ConnId,
        answer: AnswerId,
        claim: &Claim,
        embargo: Option<EmbargoName>,
        message: &Message,
    ) -> Result<()> {
        let Some(row) = self.connections.get(conn) else {
            return Ok(());
        };
        let (Some(peer), Some(own), true) = (row.peer, &self.config.identity, row.hello) else {
            return self.echo(conn, message);
        };
        let (holds, own) = (claim.holder() == peer, own.clone());
        let token = self.new_answer(conn, answer, ResultsTo::Caller, 0)?;
        if let Err(reason) = self.may_check(conn, claim) {
            self.answer_exception(&token, &reason);
            return Ok(());
        }
        if !holds || !claim.is_signed(&own) {
            self.answer_exception(&token, &Exception::failed("the gift is for another vat"));
            return Ok(());
        }
        let parked = Parked {
            by: Acceptor::Peer(token),
            conn,
            recipient: claim.recipient,
            embargo,
            until: self.now.saturating_add(self.config.rendezvous),
        };
        self.accept(claim.gift, parked);
        Ok(())
    }

    /// Whether the signatures of a claim may be checked, which takes a while, now.
    pub(in crate::engine) fn may_check(
        &mut self,
        conn: ConnId,
        claim: &Claim,
    ) -> std::result::Result<(), Exception> {
        let now = self.now;
        let Some(row) = self.connections.get_mut(conn) else {
            return Ok(());
        };
        let (since, checked) = &mut row.checked;
        if now.saturating_sub(*since) >= CHECKED_IN {
            (*since, *checked) = (now, 0);
        }
        let limit = row.limits.signature_checks;
        *checked = checked.saturating_add(claim.signatures());
        if *checked <= limit {
            return Ok(());
        }
        // The clock has to be told to go on.
        let rested = since.saturating_add(CHECKED_IN);
        let before = self.provisions.rested.unwrap_or(rested);
        self.provisions.rested = Some(rested.min(before));
        Err(Exception::overloaded(format!(
            "{limit} signatures of accepted gifts were checked within a second; try again later"
        )))
    }

    /// Gives what was provided, or waits for the Provide or the embargo.
    pub(in crate::engine) fn accept(&mut self, name: GiftName, parked: Parked) {
        if self.provisions.has_ended(&name) {
            return self.refuse_gift(&parked.by, &ended());
        }
        let Some(provision) = self.provisions.open.get_mut(&name) else {
            return self.park(name, parked);
        };
        if provision.recipient != parked.recipient {
            let reason = Exception::failed("the gift is for another vat");
            return self.refuse_gift(&parked.by, &reason);
        }
        let waits = parked
            .embargo
            .as_ref()
            .is_some_and(|name| !provision.lifted.contains(name));
        #[cfg(any(test, feature = "testing"))]
        let waits = waits && self.fault != Some(Fault::AcceptEmbargoIgnored);
        if waits {
            return self.park(name, parked);
        }
        let node = provision.node;
        self.complete_gift(&parked.by, node);
    }

    /// Lets an Accept wait, if not too many do.
    fn park(&mut self, name: GiftName, parked: Parked) {
        let Some(row) = self.connections.get_mut(parked.conn) else {
            return;
        };
        let (limit, each) = (row.limits.accepts, row.limits.accepts_per_giver);
        let full = match self.provisions.parked_for(name.gifter, parked.conn) >= each {
            _ if row.parked >= limit => Some((limit, "their givers")),
            true => Some((each, "one giver")),
            false => None,
        };
        if let Some((limit, whom)) = full {
            let reason = format!("{limit} accepted gifts wait for {whom} already");
            return match parked.by {
                Acceptor::Peer(token) => {
                    self.answer_exception(&token, &Exception::overloaded(reason));
                }
                Acceptor::Own(gift) => self.fall_back(gift, &reason),
            };
        }
        row.parked += 1;
        if let Acceptor::Peer(token) = &parked.by
            && let Some(entry) = self.answer_mut(token)
        {
            entry.state = State::Accepting(name);
        }
        self.provisions.park(name, parked);
    }

    /// An Accept waits for nothing any more.
    fn unpark(&mut self, parked: &Parked) {
        if let Some(row) = self.connections.get_mut(parked.conn) {
            row.parked = row.parked.saturating_sub(1);
        }
        if let Acceptor::Peer(token) = &parked.by
            && let Some(entry) = self.answer_mut(token)
        {
            entry.state = State::Running;
        }
    }

    fn complete_gift(&mut self, by: &Acceptor, node: NodeId) {
        match by {
            Acceptor::Peer(token) => self.answer_with_cap(token, node),
            Acceptor::Own(gift) => self.become_link(*gift, node),
        }
    }

    fn refuse_gift(&mut self, by: &Acceptor, reason: &Exception) {
        match by {
            Acceptor::Peer(token) => self.answer_exception(token, reason),
            // A gift that others passed on may have ended without our doing.
            Acceptor::Own(gift) => match self.nodes.get(*gift).map(|node| &node.kind) {
                Some(Kind::Gift(own)) if own.may_end() => self.fall_back(*gift, reason.reason()),
                _ => self.become_broken(*gift, reason.clone()),
            },
        }
    }

    /// A Disembargo has come along the vine: calls before it are in their place.
    pub(in crate::engine) fn lift_provision(
        &mut self,
        conn: ConnId,
        answer: AnswerId,
        embargo: &EmbargoName,
    ) -> Result<()> {
        let row = self.connections.get(conn);
        let entry = row.and_then(|row| row.answers.get(answer.raw()));
        let name = match entry.map(|entry| &entry.state) {
            Some(State::Provision(name)) => *name,
            // It was refused, which the peer does not know.
            Some(State::Returned(Results::Nothing(_))) => return Ok(()),
            _ => return Err(PeerMisbehaved::DisembargoTarget),
        };
        let Some(provision) = self.provisions.open.get_mut(&name) else {
            return Err(PeerMisbehaved::DisembargoTarget);
        };
        if provision.lifted.len() >= MAX_LIFTED {
            // Not the fault of the peer, which may only have passed it on.
            tracing::debug!(%conn, "more disembargoes of one gift than anybody can need");
            return Ok(());
        }
        provision.lifted.insert(Rc::clone(embargo));
        let before = provision.node;
        let node = self.behind_held(conn, before, None);
        let Some(provision) = self.provisions.open.get_mut(&name) else {
            return Ok(());
        };
        provision.node = node;
        let waiting = std::mem::take(&mut provision.waiting);
        let (lifted, rest): (Vec<_>, Vec<_>) = waiting
            .into_iter()
            .partition(|parked| parked.embargo.as_ref() == Some(embargo));
        provision.waiting = rest;
        for parked in lifted {
            self.unpark(&parked);
            self.complete_gift(&parked.by, node);
        }
        Ok(())
    }

    /// The gifter has finished the gift, or is gone.
    pub(in crate::engine) fn end_provision(&mut self, name: GiftName, reason: &Exception) {
        let Some(provision) = self.provisions.open.remove(&name) else {
            return;
        };
        self.provisions
            .remember(name, self.now.saturating_add(REMEMBERED));
        if let Some(row) = self.connections.get_mut(provision.conn) {
            row.provisions = row.provisions.saturating_sub(1);
        }
        for parked in provision.waiting {
            self.unpark(&parked);
            self.refuse_gift(&parked.by, reason);
        }
        self.drop_count(provision.node);
    }

    /// The recipient does not want it any more, or is gone.
    pub(in crate::engine) fn withdraw_accept(&mut self, name: GiftName, by: &Acceptor) {
        for parked in self.provisions.withdraw(&name, by) {
            self.unpark(&parked);
        }
    }

    /// Ends what has waited too long for its Provide.
    pub(in crate::engine) fn expire_accepts(&mut self, now: Duration) {
        self.provisions.forget(now);
        let reason = "the vat that gave this reference did not tell its host in time";
        while let Some(late) = self.provisions.take_late(now) {
            for parked in late {
                self.unpark(&parked);
                self.refuse_gift(&parked.by, &Exception::failed(reason));
            }
        }
    }
}

/// In which time so many signatures are checked.
const CHECKED_IN: Duration = Duration::from_secs(1);
/// For how long an ended gift is remembered.
const REMEMBERED: Duration = Duration::from_secs(60);

pub(in crate::engine) fn ended() -> Exception {
    Exception::failed("the vat that gave this reference has taken the gift back")
}
