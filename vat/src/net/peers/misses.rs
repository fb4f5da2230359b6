//! Guessing at references: how often a peer may ask for one that does not exist.
//!
//! A swiss number cannot be guessed; who tries costs us work, and shows that something is wrong.
//! Counted here and not in the restorer, as a turn that fails leaves no trace.

use captp::ConnId;
use tokio::time::Instant;

use super::Peers;
use crate::core::Turn;
use crate::error::{Error, Result};
use crate::net::admission::{Bucket, Origin};

/// What one connection asked for in vain.
#[derive(Debug, Default)]
pub(super) struct Misses {
    left: Bucket,
    /// Restores that were refused since there was one left.
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
        let misses = &mut peer.misses;
        if misses.left.has(Instant::now(), limits.limits().misses()) {
            misses.refused = 0;
            return Ok(());
        }
        misses.refused += 1;
        if misses.refused == 1 {
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
        if misses.refused > limit {
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
