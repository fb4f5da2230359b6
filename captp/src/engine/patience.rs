//! Soft limits that give way, so that nothing waits for ever.
//!
//! Two queues have calls which wait for others to be answered: ours that wait for room at the peer
//! ([`room`](super::room)), and the peer's that wait at the [`gate`](super::gate). Answers,
//! resolutions and what ends something do not wait there, so that two vats which are full of each
//! other's calls go on. One case is left: a call that waits may have been made to serve one of those
//! that are under way (callbacks nested deeper than the limit; resolutions that depend on answers).
//! Nobody can tell that from a callee that is slow. So a queue from which nothing has left for
//! [`Config::patience`](crate::Config::patience) has its soft limits doubled, again and again, up to
//! the hard ones:
//!
//! - ours: [`Limits::questions`] calls and twice [`Limits::question_bytes`], or what the peer said
//!   beyond which it ends the connection, if that is less (plain Cap'n Proto does not say it);
//! - the peer's: [`Limits::answers`] and [`Limits::call_bytes`].
//!
//! Nothing is reordered for it. Therefore no chain of callbacks waits for ever that has fewer calls
//! under way than that, if the host [tells the time](Engine::handle_time). When nothing waits and the
//! calls under way fit into them, the limits are as they were.
//!
//! They do not give way while the peer does not read: more calls would not help.

use std::time::Duration;

use super::Engine;
#[cfg(doc)]
use crate::Limits;
use crate::connection::Connection;
use crate::connection::held::Held;
use crate::{ConnId, Host};

impl<H: Host> Engine<H> {
    /// When a queue from which nothing leaves has waited long enough.
    pub(super) fn patience_ends(&self) -> Option<Duration> {
        let row = |conn: &ConnId| self.connections.get(*conn);
        let ours = self.crowded.iter().filter_map(row);
        let ours = ours.filter(|row| row.can_widen());
        let theirs = self.holding.iter().filter_map(row);
        let theirs = theirs.filter(|row| row.can_open_gate());
        ours.map(|row| &row.window_valve)
            .chain(theirs.map(|row| &row.gate_valve))
            .map(|valve| valve.due(self.now, self.config.patience))
            .min()
    }

    /// Lets the limits give way at which nothing has moved for long.
    pub(super) fn lose_patience(&mut self) {
        let (now, patience) = (self.now, self.config.patience);
        for conn in &self.crowded {
            if let Some(row) = self.connections.get_mut(*conn) {
                let may = row.can_widen();
                row.window_valve.watch(now, patience, may);
            }
        }
        for conn in &self.holding {
            if let Some(row) = self.connections.get_mut(*conn) {
                let may = row.can_open_gate();
                row.gate_valve.watch(now, patience, may);
            }
        }
    }
}

impl<H: Host> Connection<H> {
    /// Whether the window of our calls can be wider, and that may be of use.
    fn can_widen(&self) -> bool {
        let more = self.window_calls() < self.window.most_calls
            || self.window_bytes() < self.window.most_bytes;
        // Before the hello, nobody knows how far.
        more && !self.awaits_hello
            && self.window_valve.can_open()
            && self.outbound.len() <= self.limits.outbound_soft
    }

    /// Whether the gate for the peer's calls can be wider, and that may be of use.
    fn can_open_gate(&self) -> bool {
        let more =
            self.gate_calls() < self.limits.answers || self.gate_bytes() < self.limits.call_bytes;
        more && self.gate_valve.can_open()
            && self.is_gate_closed()
            && matches!(self.held.front(), Some(Held::Call { .. }))
            && self.outbound.len() <= self.limits.outbound_soft
    }
}
