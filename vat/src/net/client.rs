//! From a sturdy ref to a live reference.

use std::rc::Rc;

use super::driver::Connection;
use super::{ConnectError, Dialing, PeerError, Peers, Reached};
use crate::core::{Effect, Promisable, Ref, Resolver, Shared, Work};
use crate::durable::note_sturdy;
use crate::error::{Error, ErrorKind};
use crate::power::NetworkRef;
use crate::sturdy::{DENIED_DETAIL, NO_SUCH_REFERENCE, RestorerRef, SturdyRef};

/// A reference that was enlivened, with the connection it came through.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Enlivened {
    /// The live reference.
    pub reference: Ref,
    /// The connection to its vat; everything through it breaks when it ends. `None` for a reference
    /// of this vat itself.
    pub connection: Option<Connection>,
}

impl Peers {
    /// Asks the vat that `sturdy` names for the reference; connects to it if there is no connection
    /// yet. A reference of this vat itself comes from its own restorer.
    ///
    /// The reference is settled when this returns. It dies with its connection and never revives;
    /// enliven again for a new one.
    ///
    /// # Authority
    ///
    /// See [`connect`](Self::connect).
    ///
    /// # Errors
    ///
    /// See [`EnlivenError`]. Nothing is retried, unless a connection that was there before turns out
    /// to be lost: to ask for a reference twice does no harm.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives the attempt up; a connection that was made stays as long as this
    /// table.
    pub async fn enliven(&self, sturdy: &SturdyRef) -> Result<Enlivened, EnlivenError> {
        self.enliven_by(sturdy, &self.dialing()).await
    }

    async fn enliven_by(
        &self,
        sturdy: &SturdyRef,
        dialing: &Dialing,
    ) -> Result<Enlivened, EnlivenError> {
        let was_there = self.connected(sturdy.vat()).is_some();
        match self.enliven_once(sturdy, dialing).await {
            Err(EnlivenError::Disconnected(_)) if was_there => {
                self.enliven_once(sturdy, dialing).await
            }
            result => result,
        }
    }

    async fn enliven_once(
        &self,
        sturdy: &SturdyRef,
        dialing: &Dialing,
    ) -> Result<Enlivened, EnlivenError> {
        let asked = self.ask(sturdy, dialing).await?;
        match asked.reference.settled().await {
            Ok(()) => Ok(asked),
            Err(error) => Err(EnlivenError::from(error)),
        }
    }

    /// Asks for the reference; it is promised.
    async fn ask(&self, sturdy: &SturdyRef, dialing: &Dialing) -> Result<Enlivened, EnlivenError> {
        let reached = self.connect_by(sturdy.vat(), sturdy.addresses(), dialing);
        let (bootstrap, connection) = match reached.await? {
            Reached::Myself => (self.bootstrap().ok_or(EnlivenError::Denied)?, None),
            Reached::Peer(connection) => {
                let bootstrap = connection.bootstrap().ok_or(EnlivenError::Ended)?;
                (bootstrap, Some(connection))
            }
        };
        let restorer = RestorerRef::from(bootstrap);
        Ok(Enlivened {
            reference: restorer.restore(sturdy.swiss().expose().to_vec()),
            connection,
        })
    }
}

impl NetworkRef {
    /// The object that `sturdy` names, as a promise reference that can be called at once.
    ///
    /// The connection to its vat is made through this power, unless there is one already. It is
    /// begun when the turn commits. The reference dies with the connection and never revives;
    /// enliven again for a new one.
    ///
    /// If it cannot be had the reference breaks: with kind `Disconnected` if its vat cannot be
    /// reached (the text says what was tried), with kind `Failed` otherwise.
    ///
    /// # Authority
    ///
    /// What this power allows, and what the sturdy ref names.
    pub fn enliven(&self, sturdy: &SturdyRef) -> Ref {
        let network: &Ref = self.as_ref();
        let Some(vat) = network.vat() else {
            return network.clone();
        };
        let (reference, resolver) = <Ref as Promisable<Ref>>::promised(&vat);
        note_sturdy(&reference, sturdy, network);
        vat.effect(Effect::Now(Box::new(Enlivening {
            network: self.clone(),
            sturdy: sturdy.clone(),
            resolver,
        })));
        reference
    }
}

/// An `enliven` that waits for its commit.
struct Enlivening {
    network: NetworkRef,
    sturdy: SturdyRef,
    resolver: Resolver<Ref>,
}

impl Work for Enlivening {
    fn run(self: Box<Self>, vat: &Rc<Shared>) {
        let Some(peers) = Peers::of(vat) else {
            let what = "this vat is not on a network: whoever drives it made no table of peers";
            return self.resolver.settle(vat, Err(Error::failed(what)));
        };
        tokio::task::spawn_local(self.enliven(peers));
    }

    fn fail(self: Box<Self>, vat: &Rc<Shared>, reason: Error) {
        self.resolver.settle(vat, Err(reason));
    }
}

impl Enlivening {
    async fn enliven(self: Box<Self>, peers: Peers) {
        let dialing = Dialing::through(self.network);
        let enlivened = if peers.connected(self.sturdy.vat()).is_some() {
            peers.enliven_by(&self.sturdy, &dialing).await
        } else {
            // What was called meanwhile need not wait for the answer.
            peers.ask(&self.sturdy, &dialing).await
        };
        let reference = enlivened.map(|enlivened| enlivened.reference);
        self.resolver.resolve(reference.map_err(Error::from));
    }
}

/// Why a sturdy ref could not be enlivened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnlivenError {
    /// Its vat cannot be reached.
    #[error(transparent)]
    Unreachable(std::sync::Arc<ConnectError>),
    /// There is no connection to its vat, and this vat may not make one.
    #[error(transparent)]
    NoPower(PeerError),
    /// Its vat knows no such reference: it is wrong, revoked, expired or never existed.
    #[error("no such reference: it is wrong, revoked or expired")]
    Denied,
    /// The connection was lost before the reference came; asking again does no harm.
    #[error("the connection was lost: {0}")]
    Disconnected(Error),
    /// The vat answered with another error.
    #[error("{0}")]
    Refused(Error),
    /// Our own vat has ended.
    #[error("the vat has ended")]
    Ended,
}

impl From<PeerError> for EnlivenError {
    fn from(error: PeerError) -> Self {
        match error {
            PeerError::Unreachable(error) => Self::Unreachable(error),
            PeerError::Ended => Self::Ended,
            PeerError::NotKept { .. } => Self::Disconnected(Error::disconnected(error.to_string())),
            PeerError::NoPower { .. } => Self::NoPower(error),
        }
    }
}

impl From<Error> for EnlivenError {
    /// The answer of a restorer.
    fn from(error: Error) -> Self {
        match error.kind() {
            _ if error.detail(DENIED_DETAIL).is_some() => Self::Denied,
            ErrorKind::Disconnected => Self::Disconnected(error),
            _ => Self::Refused(error),
        }
    }
}

impl From<EnlivenError> for Error {
    fn from(error: EnlivenError) -> Self {
        match error {
            EnlivenError::Denied => {
                Self::failed(NO_SUCH_REFERENCE).with_detail(DENIED_DETAIL, Vec::new())
            }
            EnlivenError::Disconnected(error) | EnlivenError::Refused(error) => error,
            EnlivenError::NoPower(_) => Self::failed(error.to_string()),
            EnlivenError::Unreachable(_) | EnlivenError::Ended => {
                Self::disconnected(error.to_string())
            }
        }
    }
}
