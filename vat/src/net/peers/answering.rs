//! Calls of other vats: which of them are kept.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use super::peer::Held;
use super::{DECIDED_WITHIN, NO_HELLO, Peers, REPLACED};
use crate::error::Error;
use crate::net::{Listener, PeerInfo, Stream};

/// How long a connection may take to show that it lives when another one has come.
pub(super) const ALIVE_WITHIN: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 8 });

impl Peers {
    /// Answers who calls at `listener`, as far as the [admission](Self::admission) lets them in, and
    /// returns when the listener has failed, with the reason.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the listening; what was accepted goes on.
    pub async fn serve(&self, listener: &Listener) -> std::io::Error {
        loop {
            let socket = match listener.accept().await {
                Ok(socket) => socket,
                Err(error) => return error,
            };
            let Ok(socket) = self.admission().admit(socket) else {
                continue; // it is closed, and said so in the log
            };
            let peers = self.clone();
            tokio::task::spawn_local(async move {
                match Stream::accept_tls_on(socket, Vec::new(), peers.acceptor()).await {
                    Ok((stream, peer)) => peers.accepted(stream, peer).await,
                    Err(error) => tracing::debug!(err = %error, "handshake failed"),
                }
            });
        }
    }

    /// Takes a stream on which `peer` has called this vat, and stays with it to its end, or until it
    /// is decided that it is not kept.
    ///
    /// # Cancel safety
    ///
    /// To be run to its end: dropping the future early may close the connection.
    pub async fn accepted(&self, stream: Stream, peer: PeerInfo) {
        if !peer.vat_protocol {
            self.attach(stream, &peer, None).gone().await;
        } else if peer.id == self.id() {
            let reason = "a vat does not call itself over the network";
            self.refuse(stream, reason).await;
        } else if peer.id > self.id() {
            self.accepted_from_greater(stream, &peer).await;
        } else {
            self.accepted_from_lesser(stream, &peer).await;
        }
    }

    /// The greater vat has called: it decides, by its hello.
    async fn accepted_from_greater(&self, stream: Stream, info: &PeerInfo) {
        let connection = self.attach(stream, info, None);
        let peer = self.peer(info.id);
        peer.undecided.set(peer.undecided.get() + 1);
        let greeted = timeout(DECIDED_WITHIN, connection.greeted()).await;
        peer.undecided.set(peer.undecided.get() - 1);
        if greeted == Ok(true) {
            self.keep(&peer, &connection);
        } else {
            connection.close_because(&Error::disconnected(NO_HELLO));
            peer.changed.notify_waiters();
        }
        connection.gone().await;
        self.tidy(info.id);
    }

    /// The lesser vat has called: we decide.
    async fn accepted_from_lesser(&self, stream: Stream, info: &PeerInfo) {
        while let Some(live) = self.peer(info.id).live() {
            if live.answers(ALIVE_WITHIN).await {
                return self.refuse(stream, REPLACED).await;
            }
            live.close_because(&Error::disconnected(NO_ANSWER));
            self.peer(info.id).forget(&live);
        }
        // From here on nothing else happens until it is kept or held.
        let peer = self.peer(info.id);
        let connection = if peer.dial.borrow().is_some() {
            let (taken, connection) = oneshot::channel();
            let older = peer.held.replace(Some(Held { stream, taken }));
            peer.changed.notify_waiters();
            drop(older); // its caller has called again
            connection.await.ok()
        } else {
            let connection = self.attach(stream, info, None);
            self.keep(&peer, &connection);
            Some(connection)
        };
        if let Some(connection) = connection {
            connection.gone().await;
        }
        self.tidy(info.id);
    }
}

/// Why a connection is closed that the other side has replaced by another.
const NO_ANSWER: &str = "another connection was made, and on this one no answer came in time";
