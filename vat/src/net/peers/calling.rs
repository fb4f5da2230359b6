//! Calls to other vats: one dial for everybody who waits.

use std::rc::Rc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use super::peer::Peer;
use super::{DECIDED_WITHIN, NO_HELLO, PeerError, Peers, REPLACED};
use crate::error::Error;
use crate::net::driver::Connection;
use crate::net::{Dialing, PeerInfo, Stream, dial};
use crate::sturdy::{Address, VatId};

/// How long a connection of the other side waits while ours is being made as well.
const LEAD: Duration = Duration::from_millis(500);

/// A dial that everybody waits for who wants the same vat.
#[derive(Clone)]
pub(super) struct Dial {
    addresses: Rc<[Address]>,
    dialing: Dialing,
    outcome: watch::Receiver<Option<Outcome>>,
}

type Outcome = Result<Connection, PeerError>;

impl Peers {
    /// Dials, for everybody who waits.
    pub(super) fn begin_dial(
        &self,
        vat: VatId,
        peer: &Rc<Peer>,
        addresses: &[Address],
        dialing: &Dialing,
    ) -> Dial {
        let (tell, outcome) = watch::channel(None);
        let dial = Dial {
            addresses: addresses.into(),
            dialing: dialing.clone(),
            outcome,
        };
        peer.dial.replace(Some(dial.clone()));
        let (peers, peer, task) = (self.clone(), peer.clone(), dial.clone());
        tokio::task::spawn_local(async move {
            let outcome = peers.dial(vat, &peer, &task).await;
            peer.dial.replace(None);
            if let Some(held) = peer.held.take() {
                // It was decided for another one.
                let peers = peers.clone();
                tokio::task::spawn_local(async move { peers.refuse(held.stream, REPLACED).await });
            }
            peers.tidy(vat);
            tell.send_replace(Some(outcome));
        });
        dial
    }

    async fn dial(&self, vat: VatId, peer: &Peer, dial: &Dial) -> Outcome {
        // The greater vat has called just now: its hello is on its way.
        while peer.undecided.get() > 0 && peer.live().is_none() {
            peer.changed.notified().await;
        }
        if let Some(live) = peer.live().filter(Connection::is_open) {
            return Ok(live);
        }
        if !dial.dialing.is_possible() {
            return Err(PeerError::NoPower { vat });
        }
        let connector = self.0.credentials.connector(vat);
        let made = dial::connect(&dial.addresses, &connector, &dial.dialing);
        tokio::select! {
            biased;
            live = peer.kept() => Ok(live),
            made = made => match made {
                Ok((stream, info)) => self.dialled(peer, stream, &info, &dial.addresses).await,
                Err(error) => self.adopt(peer, vat).ok_or_else(|| PeerError::from(error)),
            },
            () = peer.held_for(LEAD) => match self.adopt(peer, vat) {
                Some(connection) => Ok(connection),
                None => Err(PeerError::Ended),
            },
        }
    }

    /// Our dial was answered.
    async fn dialled(
        &self,
        peer: &Peer,
        stream: Stream,
        info: &PeerInfo,
        addresses: &[Address],
    ) -> Outcome {
        let connection = self.attach(stream, info, Some(addresses));
        if self.id() > info.id || !info.vat_protocol {
            self.keep(peer, &connection);
            return Ok(connection);
        }
        let greeted = tokio::select! {
            biased;
            live = peer.kept() => {
                connection.close();
                return Ok(live);
            }
            greeted = timeout(DECIDED_WITHIN, connection.greeted()) => greeted,
        };
        if greeted == Ok(true) {
            self.keep(peer, &connection);
            return Ok(connection);
        }
        if greeted.is_err() {
            connection.close_because(&Error::disconnected(NO_HELLO));
        }
        connection.gone().await;
        let reason = connection.end_reason();
        // The connection that the other side dialled is on its way.
        let patience = match reason.contains(REPLACED) {
            true => DECIDED_WITHIN,
            false => LEAD,
        };
        let kept = timeout(patience, peer.kept()).await;
        kept.map_err(|_| PeerError::NotKept {
            vat: info.id,
            reason,
        })
    }

    /// Takes the connection that the lesser vat made.
    fn adopt(&self, peer: &Peer, vat: VatId) -> Option<Connection> {
        let held = peer.held.take()?;
        let info = PeerInfo {
            id: vat,
            vat_protocol: true,
        };
        let connection = self.attach(held.stream, &info, None);
        self.keep(peer, &connection);
        drop(held.taken.send(connection.clone())); // whoever accepted it may be gone
        Some(connection)
    }
}

impl Dial {
    pub(super) async fn outcome(&self) -> Outcome {
        let mut outcome = self.outcome.clone();
        match outcome.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone().unwrap_or(Err(PeerError::Ended)),
            Err(_) => Err(PeerError::Ended),
        }
    }

    /// Whether its failure is also the failure of a dial like this.
    pub(super) fn covers(&self, addresses: &[Address], dialing: &Dialing) -> bool {
        let tried = addresses.iter().all(|one| self.addresses.contains(one));
        tried && self.dialing.same(dialing)
    }
}
