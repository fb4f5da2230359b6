//! Disembargoes of others: what comes back of ours, and what goes back to them.

use super::import::TargetNode;
use super::node::{Kind, Place};
use super::{Engine, Pending};
use crate::frame::Message;
use crate::message::{Context, Target, encode};
use crate::{ConnId, Host, PeerMisbehaved};

type Result<T> = std::result::Result<T, PeerMisbehaved>;

impl<H: Host> Engine<H> {
    pub(super) fn on_disembargo(
        &mut self,
        conn: ConnId,
        target: &Target,
        context: &Context,
        message: &Message,
    ) -> Result<()> {
        match context {
            Context::SenderLoopback(id) => self.bounce(conn, target, *id),
            Context::ReceiverLoopback(id) => self.lift(conn, *id),
            Context::Accept(name) => match target {
                Target::Export(id) => self.pass_disembargo(conn, *id, name),
                Target::Answer(id, path) if path.is_empty() => self.lift_provision(conn, *id, name),
                Target::Answer(..) => Err(PeerMisbehaved::DisembargoTarget),
            },
            Context::Unknown => self.echo(conn, message),
        }
    }

    /// A Disembargo of the peer goes back the way that calls to its target take.
    fn bounce(&mut self, conn: ConnId, target: &Target, id: u32) -> Result<()> {
        let target = self.target(conn, target)?;
        let result = match self.way_back(conn, target) {
            None => Err(PeerMisbehaved::DisembargoTarget),
            Some(_) if self.is_holding(conn) => self.hold_bounce(conn, target, id),
            Some(back) => self.send_back(conn, target, back, id),
        };
        if target.counted {
            self.drop_count(target.node);
        }
        result
    }

    /// How a Disembargo to a target goes back; `None` if the target does not point back.
    pub(super) fn way_back(&self, conn: ConnId, target: TargetNode) -> Option<Back> {
        let at = self.nodes.get(self.at_place(target.node));
        let place = at.and_then(|node| node.far());
        if let Some(far) = place.filter(|far| target.strict && far.conn == conn) {
            return Some(Back::At(far.place.clone()));
        }
        let node = self.nodes.get(target.node);
        if target.strict && node.is_some_and(|node| node.lost_place_on(conn)) {
            return Some(Back::Nowhere);
        }
        let terminal = self.nodes.get(self.nodes.terminal(target.node));
        match terminal.map(|node| &node.kind) {
            // What was sent there has failed: nothing can be overtaken.
            Some(Kind::Broken(_)) | None => Some(Back::Nowhere),
            Some(Kind::Promise) => Some(Back::Later),
            Some(Kind::Object(_) | Kind::Far(_) | Kind::Gift(_) | Kind::Link { .. }) => None,
        }
    }

    /// Sends a Disembargo back, or lets it wait behind the calls that it follows.
    pub(super) fn send_back(
        &mut self,
        conn: ConnId,
        target: TargetNode,
        back: Back,
        id: u32,
    ) -> Result<()> {
        let place = match back {
            Back::At(place) => Some(place),
            Back::Nowhere => None,
            Back::Later => {
                let Some(row) = self.connections.get_mut(conn) else {
                    return Ok(());
                };
                let limit = row.limits.embargoes;
                if row.bounces >= limit {
                    return Err(PeerMisbehaved::TableFull {
                        what: "disembargoes that wait for promises",
                        limit,
                    });
                }
                row.bounces += 1;
                self.route(target.node, Pending::Bounce { conn, id });
                return Ok(());
            }
        };
        let built = encode::receiver_loopback(place.as_ref(), id);
        self.transmit_disembargo(conn, conn, &built, place.as_ref());
        Ok(())
    }

    /// A Disembargo that waited has got as far as a place on a connection, or to an object.
    pub(super) fn bounced(&mut self, conn: ConnId, at: Option<(ConnId, &Place)>, id: u32) {
        self.uncount_bounce(conn);
        match at {
            Some((on, place)) if on == conn => {
                let built = encode::receiver_loopback(Some(place), id);
                self.transmit_disembargo(conn, conn, &built, Some(place));
            }
            _ => self.abort(conn, PeerMisbehaved::DisembargoTarget),
        }
    }

    /// A Disembargo of the peer waits for a promise no longer.
    pub(super) fn uncount_bounce(&mut self, conn: ConnId) {
        if let Some(row) = self.connections.get_mut(conn) {
            row.bounces = row.bounces.saturating_sub(1);
        }
    }
}

/// How a Disembargo goes back.
pub(super) enum Back {
    /// To this place of its sender.
    At(Place),
    /// Nothing that was sent to the target is on its way to its sender.
    Nowhere,
    /// When the promise that it stands for resolves.
    Later,
}
