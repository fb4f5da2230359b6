//! What has to be sent: which connections have something, and what their transports took of it.

use std::io::IoSlice;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use super::Engine;
use crate::transmit::KEEP_BYTES;
use crate::{ConnId, Exception, Host, PeerMisbehaved, Transmit};

/// Buffers kept for the next connections that transmit.
const SPARE: usize = 4;

impl<H: Host> Engine<H> {
    /// A connection that has come to have something to transmit since it had nothing; it is named
    /// once.
    pub fn pending_transmit(&mut self) -> Option<ConnId> {
        loop {
            let conn = self.dirty.pop_front()?;
            if let Some(row) = self.connections.any(conn) {
                row.dirty = false;
                return Some(conn);
            }
        }
    }

    /// Whether all that a connection has to send says that we are done with something. Nobody waits
    /// for that: it may leave a little later, together with what comes next.
    #[must_use]
    pub fn transmits_endings_only(&self, conn: ConnId) -> bool {
        let row = self.connections.any_ref(conn);
        row.is_some_and(|row| !row.outbound.is_empty() && row.endings.all_from(row.transmitted))
    }

    /// The next run of bytes that a connection has to send, and the file descriptors that go with
    /// its first byte; see [`Transmit::head`]. Also of a connection that has closed, until
    /// [`handle_closed`](Self::handle_closed).
    #[must_use]
    pub fn transmit_head(&self, conn: ConnId) -> Option<(&[u8], &[Rc<OwnedFd>])> {
        self.connections.any_ref(conn)?.outbound.head()
    }

    /// The same in several pieces, for a transport that takes such; see [`Transmit::slices`].
    pub fn transmit_slices<'a>(
        &'a self,
        conn: ConnId,
        slices: &mut [IoSlice<'a>],
    ) -> (usize, &'a [Rc<OwnedFd>]) {
        self.transmit_slices_within(conn, usize::MAX, slices)
    }

    /// The same of the next `bytes` alone, for drivers that hold the rest back.
    pub fn transmit_slices_within<'a>(
        &'a self,
        conn: ConnId,
        bytes: usize,
        slices: &mut [IoSlice<'a>],
    ) -> (usize, &'a [Rc<OwnedFd>]) {
        match self.connections.any_ref(conn) {
            Some(row) => row.outbound.slices_within(bytes, slices),
            None => (0, &[]),
        }
    }

    /// How many bytes of a connection's messages were sent so far, and how many there are with those
    /// that still wait here: a place between two messages. For drivers that hold messages back until
    /// something else is done.
    #[must_use]
    pub fn transmit_places(&self, conn: ConnId) -> (u64, u64) {
        let row = self.connections.any_ref(conn);
        row.map_or((0, 0), |row| {
            (row.transmitted, row.transmitted + row.outbound.len() as u64)
        })
    }

    /// Takes back every message behind this [place](Self::transmit_places), which must be one between
    /// two messages, and closes the connection: the peer is told the reason. For drivers that have held
    /// messages back and know that they cannot leave any more.
    pub fn close_before(&mut self, conn: ConnId, place: u64, reason: Exception) {
        if let Some(row) = self.connections.any(conn) {
            let keep = place.saturating_sub(row.transmitted);
            row.outbound
                .truncate(usize::try_from(keep).unwrap_or(usize::MAX));
        }
        self.close(conn, Some(reason));
    }

    /// Says that the transport took `count` bytes of the head, and its descriptors if `count` is
    /// not 0.
    ///
    /// What the transport does not take stays here and is counted: beyond
    /// [`outbound_soft`](crate::Limits::outbound_soft), calls wait; beyond
    /// [`outbound_bytes`](crate::Limits::outbound_bytes), the peer does not read, and the connection
    /// is aborted.
    pub fn transmit_advance(&mut self, conn: ConnId, count: usize) {
        let Some(row) = self.connections.any(conn) else {
            return;
        };
        row.outbound.advance(count);
        row.transmitted += count as u64;
        if row.unsent.is_some() {
            self.settle();
        }
        let Some(row) = self.connections.any(conn) else {
            return;
        };
        if row.outbound.is_empty()
            && let Some(room) = row.outbound.take_room()
        {
            if room.capacity() > KEEP_BYTES {
                let mut draft = self.take_draft();
                draft.give_room(room);
                self.draft = Some(draft);
            } else if self.spare.len() < SPARE {
                self.spare.push(room);
            }
        }
        self.weigh(conn);
        self.bury(conn);
    }

    /// Moves everything the connection has to send to the end of `out`, for a transport without
    /// limits of its own, such as a simulated one. Returns whether that was anything.
    ///
    /// Leave in `out` what the transport does not take yet. If that and what is new are more than
    /// [`outbound_bytes`](crate::Limits::outbound_bytes), the peer does not read, and the connection
    /// is aborted.
    pub fn poll_transmit(&mut self, conn: ConnId, out: &mut Transmit) -> bool {
        let Some(row) = self.connections.any(conn) else {
            return false;
        };
        if std::mem::take(&mut row.dirty) {
            self.dirty.retain(|dirty| *dirty != conn);
        }
        row.transmitted += row.outbound.len() as u64;
        let some = out.append(&mut row.outbound);
        self.weigh(conn);
        if self.has_unsent(conn) {
            self.settle();
        }
        let Some(row) = self.connections.any(conn) else {
            return some;
        };
        if !row.closed && out.len() > row.limits.outbound_bytes {
            self.abort(conn, PeerMisbehaved::NotReading(out.len()));
            self.settle();
        }
        self.bury(conn);
        some
    }
}
