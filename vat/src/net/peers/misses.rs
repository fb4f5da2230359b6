//! Guessing at references: how often a peer may ask for one that does not exist.
//!
//! A swiss number cannot be guessed; who tries costs us work, and shows that something is wrong.
//! Counted here and not in the restorer, as a turn that fails leaves no trace.

use captp::ConnId;
use tokio::time::Instant;

use super::Peers;
use crate::core::Turn;
use crate::error::{Error, Result};
use crate::net::admission::{Bucket, Origin, Rate};

/// What one connection asked for in vain.
#[derive(Debug, Default)]
pub(super) struct Misses {
    left: Bucket,
    /// Restores that were refused since all of them were there.
    refused: u32,
    /// Where the connection came from, if it came to us.
    origin: Option<Origin>,
}

impl Misses {
    pub(super) fn from(origin: Option<Origin>) -> Self {
        Self {
            origin,
            ..Self::default()
        }
    }

    /// Whether one more may be asked for. If not: how many have been refused, with this one, counted
    /// since the peer last left it alone for as long as it takes until all are there again. One that
    /// goes on guessing as fast as it may is told of once, and closed in the end.
    fn admit(&mut self, now: Instant, rate: Rate) -> Result<(), u32> {
        if self.left.is_full(now) {
            self.refused = 0;
        }
        if self.left.has(now, rate) {
            return Ok(());
        }
        self.refused = self.refused.saturating_add(1);
        Err(self.refused)
    }
}

/// A peer asks for a reference, in the turn that is running.
pub(crate) struct Asking {
    peers: Peers,
    conn: ConnId,
}

impl Asking {
    /// `None`: it was not asked by another vat.
    pub(crate) fn in_turn(turn: &Turn) -> Option<Self> {
        let conn = turn.caller()?;
        Some(Self {
            peers: Peers::of(&turn.0)?,
            conn,
        })
    }

    /// Whether it may: asked before anything is looked up, so that the answer tells nothing.
    pub(crate) fn check(&self) -> Result<()> {
        let limits = self.peers.admission();
        let limit = limits.limits().restore_misses;
        let mut attached = self.peers.0.by_conn.borrow_mut();
        let Some(peer) = attached.get_mut(&self.conn) else {
            return Ok(());
        };
        let admitted = peer.misses.admit(Instant::now(), limits.limits().misses());
        let Err(refused) = admitted else {
            return Ok(());
        };
        if refused == 1 {
            tracing::warn!(
                peer = %peer.vat,
                limit,
                "a peer asks for references that do not exist; its restores are refused"
            );
        }
        let error = Error::overloaded(format!(
            "more than {limit} references that do not exist were asked for within a minute; try \
             again in a minute, with a valid reference"
        ));
        if refused > limit {
            tracing::warn!(peer = %peer.vat, limit, "it does not stop; its connection is closed");
            peer.connection.close_because(&error);
        }
        Err(error)
    }

    /// There is nothing behind what it asked for.
    pub(crate) fn missed(&self) {
        let now = Instant::now();
        let limits = self.peers.admission();
        let mut attached = self.peers.0.by_conn.borrow_mut();
        if let Some(peer) = attached.get_mut(&self.conn) {
            peer.misses.left.take(now, limits.limits().misses());
            if let Some(origin) = &peer.misses.origin {
                origin.missed(now);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn refusals_are_counted_until_the_peer_has_left_it_alone_for_a_while() {
        let begin = Instant::now();
        let rate = Rate::new(5, 5, Duration::from_secs(60));
        let mut misses = Misses::default();
        // It guesses once a second: five at once, and then each twelfth one is looked up.
        let mut refused = Vec::new();
        for second in 0..60 {
            let now = begin + Duration::from_secs(second);
            match misses.admit(now, rate) {
                Ok(()) => assert!(misses.left.take(now, rate)),
                Err(count) => refused.push(count),
            }
        }
        let expected: Vec<u32> = (1..=51).collect();
        assert_eq!(refused, expected);
        let later = begin + Duration::from_secs(200);
        for _ in 0..5 {
            misses.admit(later, rate).unwrap();
            misses.left.take(later, rate);
        }
        assert_eq!(misses.admit(later, rate), Err(1));
    }
}
