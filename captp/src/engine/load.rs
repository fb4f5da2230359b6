//! What all connections together have in flight.
//!
//! Each connection has limits of its own, and many connections would still be too much. So there is
//! a common limit, which holds for two sums, each by itself:
//!
//! - What peers cause: their calls, messages that have arrived in part, the results that are kept for
//!   them, and what they do not read. Beyond the limit the connection that has most of it is aborted;
//!   if more than half of the limit are messages that have arrived in part, the one with most of
//!   these, so that whoever sends whole messages has nothing to fear from those who do not. With `n`
//!   connections, a peer that uses less than half of its `n`th part of the limit is never the one.
//! - Our own calls that wait for room, whatever peer is slow. Beyond the limit a further one fails,
//!   and one of another vat that goes on beyond half of it. No connection ends for them: how many
//!   calls we make to a peer is not its doing.

use super::Engine;
use crate::{ConnId, Exception, Host, PeerMisbehaved};

impl<H: Host> Engine<H> {
    /// Counts anew what a connection has in flight.
    pub(super) fn weigh(&mut self, conn: ConnId) {
        if let Some(row) = self.connections.any(conn) {
            let now = row.in_flight();
            let before = std::mem::replace(&mut row.weighed, now);
            self.in_flight = (self.in_flight + now).saturating_sub(before);
            if row.unsent.is_some() || row.weighed_unsent > 0 {
                let now = row.unsent_weight();
                let before = std::mem::replace(&mut row.weighed_unsent, now);
                self.unsent = (self.unsent + now).saturating_sub(before);
            }
        }
    }

    /// Whether one more call, with which so many bytes stay alive, may wait for room, with all
    /// connections taken together.
    pub(super) fn may_wait_in_all(&self, weight: usize, of_another: bool) -> Result<(), Exception> {
        let limit = match of_another {
            true => self.config.in_flight_bytes / 2,
            false => self.config.in_flight_bytes,
        };
        let waiting = self.unsent;
        if waiting.saturating_add(weight) <= limit {
            return Ok(());
        }
        Err(Exception::overloaded(format!(
            "{waiting} bytes of calls wait for room at all peers together, {weight} more are above \
             the limit (in_flight_bytes; half of it for calls of other vats) of {limit}; wait for \
             answers before making more calls"
        )))
    }

    /// Whether all peers together cause more than they may.
    pub(super) const fn is_overweight(&self) -> bool {
        self.in_flight > self.config.in_flight_bytes
    }

    /// Aborts the connection that has most in flight, or most of what has arrived in part.
    pub(super) fn shed(&mut self) {
        let limit = self.config.in_flight_bytes;
        let open = || self.connections.iter().filter(|(_, row)| !row.closed);
        let arriving: usize = open().map(|(_, row)| row.framer.weight()).sum();
        let (heaviest, what) = match arriving > limit / 2 {
            true => (
                open().max_by_key(|(_, row)| row.framer.weight()),
                "bytes in flight on all connections of this vat, most of them of messages that have \
                 arrived in part",
            ),
            false => (
                open().max_by_key(|(_, row)| row.weighed),
                "bytes in flight on all connections of this vat",
            ),
        };
        match heaviest.map(|(conn, _)| conn) {
            Some(conn) => self.abort(conn, PeerMisbehaved::TableFull { what, limit }),
            // Only closed connections with bytes left to transmit.
            None => self.in_flight = 0,
        }
    }
}
