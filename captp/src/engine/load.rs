//! What all connections together have in flight.
//!
//! Each connection has limits of its own, and many connections would still be too much. Beyond the
//! common limit the one that has most is aborted: a peer that uses little is never the one.

use super::Engine;
use crate::{ConnId, Host, PeerMisbehaved};

impl<H: Host> Engine<H> {
    /// Counts anew what a connection has in flight.
    pub(super) fn weigh(&mut self, conn: ConnId) {
        if let Some(row) = self.connections.any(conn) {
            let now = row.in_flight();
            let before = std::mem::replace(&mut row.weighed, now);
            self.in_flight = (self.in_flight + now).saturating_sub(before);
        }
    }

    /// Whether all connections together have more in flight than they may.
    pub(super) const fn is_overweight(&self) -> bool {
        self.in_flight > self.config.in_flight_bytes
    }

    /// Aborts the connection that has most in flight.
    pub(super) fn shed(&mut self) {
        let open = self.connections.iter().filter(|(_, row)| !row.closed);
        let heaviest = open
            .max_by_key(|(_, row)| row.weighed)
            .map(|(conn, _)| conn);
        let limit = self.config.in_flight_bytes;
        match heaviest {
            Some(conn) => self.abort(
                conn,
                PeerMisbehaved::TableFull {
                    what: "bytes in flight on all connections of this vat",
                    limit,
                },
            ),
            // Only closed connections with bytes left to transmit.
            None => self.in_flight = 0,
        }
    }
}
