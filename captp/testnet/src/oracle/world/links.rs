//! Links, and what is delivered over them.

use captp::ConnId;

use super::{Checked, World};
use crate::frames::called_export;
use crate::network::Delivered;
use crate::oracle::script::Op;
use crate::oracle::story::summary;
use crate::{End, Flying, LinkId};

impl World {
    /// The end at which `to` receives what `from` sends.
    pub(super) fn end(&self, from: usize, to: usize, lane: usize) -> Option<End> {
        let network = &self.net.network;
        let links = network.links().filter(|link| !network.is_over(*link));
        let ends = links.filter_map(|link| self.end_between(link, from, to));
        ends.into_iter().nth(lane)
    }

    fn end_between(&self, link: LinkId, from: usize, to: usize) -> Option<End> {
        let vat = |side| Some(self.net.network.at(End { link, side })?.0);
        match (vat(0)?, vat(1)?) {
            (a, b) if (a, b) == (from, to) => Some(End { link, side: 1 }),
            (a, b) if (b, a) == (from, to) => Some(End { link, side: 0 }),
            _ => None,
        }
    }

    /// The operation that delivers to this end.
    pub(in crate::oracle) fn delivery(&self, end: End) -> Option<Op> {
        let network = &self.net.network;
        let (to, _) = network.at(end)?;
        let other = End {
            side: 1 - end.side,
            ..end
        };
        let (from, _) = network.at(other)?;
        let links = network.links().filter(|link| !network.is_over(*link));
        let lane = links
            .filter(|link| self.end_between(*link, from, to).is_some())
            .position(|link| link == end.link)?;
        Some(Op::Deliver { from, to, lane })
    }

    /// Ends at which something waits.
    pub(in crate::oracle) fn ready(&mut self) -> Vec<End> {
        self.net.network.pump(&mut self.net.vats);
        self.net.network.ready().collect()
    }

    pub(super) fn deliver(&mut self, end: End) -> Checked<Option<Delivered>> {
        self.net.network.pump_link(&mut self.net.vats, end.link);
        let mut called = None;
        if let Some(Flying::Message { bytes, .. }) = self.net.network.flying(end).next() {
            called = called_export(bytes);
            self.trace.bytes(bytes);
            if let (Some(story), Some((to, _))) = (&mut self.story, self.net.network.at(end)) {
                *story += &format!("    to vat {to}: {}\n", summary(bytes));
            }
        }
        let delivered = self.net.deliver(end)?;
        if let Some(Delivered { vat, conn, kind }) = delivered {
            self.trace.note(&[1, vat as u64, kind as u64]);
            self.check_called(vat, conn, called)?;
            self.net.network.pump_link(&mut self.net.vats, end.link);
            self.net.check_link(end.link)?;
        }
        Ok(delivered)
    }

    /// Whoever calls a vine does not accept its gift, which ends with that.
    fn check_called(&self, vat: usize, conn: ConnId, export: Option<u32>) -> Checked {
        let there = self.net.vats.get(vat);
        match export.zip(there) {
            Some((export, there)) if there.engine.is_open_gift(conn, export) => Err(format!(
                "vat {vat}: vine {export} was called and its gift stays open"
            )),
            _ => Ok(()),
        }
    }
}
