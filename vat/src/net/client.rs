//! Calling from the outside: from a sturdy ref to a live reference.

use crate::core::Ref;
use crate::error::{Error, ErrorKind};
use crate::net::driver::{Attach, Connection, Driver};
use crate::net::{ConnectError, Credentials, Stream};
use crate::sturdy::{DENIED_DETAIL, RestorerRef, SturdyRef};

/// A reference that was enlivened, with the connection it came through.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Enlivened {
    /// The live reference.
    pub reference: Ref,
    /// The connection to its vat; everything through it breaks when it ends.
    pub connection: Connection,
}

/// Connects to the vat that `sturdy` names and asks it for the reference.
///
/// The reference is settled when this returns. It dies with its connection and never revives;
/// enliven again for a new one.
///
/// # Authority
///
/// Dials out with the ambient authority of the process. Confined vats cannot do that.
///
/// # Errors
///
/// See [`EnlivenError`]. Nothing is retried.
///
/// # Cancel safety
///
/// Dropping the future gives the attempt up; a connection that was made stays until the driver ends.
pub async fn enliven(
    driver: &Driver,
    sturdy: &SturdyRef,
    credentials: &Credentials,
) -> Result<Enlivened, EnlivenError> {
    let connector = credentials.connector(sturdy.vat());
    let (stream, peer) = Stream::connect(sturdy.addresses(), &connector).await?;
    let connection = driver.attach(stream, Attach::network(None, peer.vat_protocol));
    let restorer = connection
        .bootstrap()
        .map(RestorerRef::from)
        .ok_or(EnlivenError::Ended)?;
    let reference = restorer.restore(sturdy.swiss().expose().to_vec());
    match reference.settled().await {
        Ok(()) => Ok(Enlivened {
            reference,
            connection,
        }),
        Err(error) if error.detail(DENIED_DETAIL).is_some() => Err(EnlivenError::Denied),
        Err(error) if error.kind() == ErrorKind::Disconnected => {
            Err(EnlivenError::Disconnected(error))
        }
        Err(error) => Err(EnlivenError::Refused(error)),
    }
}

/// Why a sturdy ref could not be enlivened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnlivenError {
    /// Its vat cannot be reached.
    #[error(transparent)]
    Unreachable(#[from] ConnectError),
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
