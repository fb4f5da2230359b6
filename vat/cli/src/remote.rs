//! Calling out: a vat of this command's own, with a fresh key, and what its errors mean here.

use std::rc::Rc;
use std::time::{Duration, Instant};

use vat::dynamic::Types;
use vat::net::client::{EnlivenError, Enlivened};
use vat::net::driver::Driver;
use vat::net::{AttemptError, Credentials, Dialing, Peers};
use vat::schema::describe;
use vat::sturdy::{DENIED_DETAIL, Identity, Seed, SturdyRef};
use vat::{Error, ErrorKind, Vat, VatConfig};

use crate::command_error::{CommandError, Kind};

/// How long a vat that is just being started again is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(50);

/// This command as a vat among others. It needs no identity: its key is fresh.
#[derive(Debug)]
pub(crate) struct Caller {
    driver: Driver,
    peers: Peers,
}

/// A live reference and what it says of itself.
#[derive(Debug)]
pub(crate) struct Described {
    pub(crate) enlivened: Enlivened,
    pub(crate) types: Rc<Types>,
}

impl Caller {
    /// Must be called inside of [`block_on`](crate::runtime::block_on).
    pub(crate) fn new() -> Result<Self, CommandError> {
        let no_key = |error: &dyn std::fmt::Display| {
            CommandError::new(Kind::Failed, format!("cannot make a key: {error}"))
        };
        let seed = Seed::generate().map_err(|error| no_key(&error))?;
        let credentials =
            Credentials::new(&Identity::from_seed(&seed)).map_err(|error| no_key(&error))?;
        let driver = Driver::new(Vat::new(VatConfig::new("vat command")));
        let peers = Peers::new(
            driver.clone(),
            credentials,
            None,
            Dialing::ambient_network(),
        );
        Ok(Self { driver, peers })
    }

    pub(crate) fn vat(&self) -> &Vat {
        self.driver.vat()
    }

    /// Enlivens a reference, once.
    pub(crate) async fn enliven(&self, sturdy: &SturdyRef) -> Result<Enlivened, EnlivenError> {
        self.peers.enliven(sturdy).await
    }

    /// Enlivens a reference; waits a little for a vat that is being started again.
    ///
    /// Nothing has been asked of the object yet, so trying again does no harm.
    pub(crate) async fn enliven_patiently(
        &self,
        sturdy: &SturdyRef,
    ) -> Result<Enlivened, EnlivenError> {
        let end = Instant::now() + PATIENCE;
        loop {
            match self.enliven(sturdy).await {
                Err(error) if is_restarting(&error) && Instant::now() < end => {
                    tokio::time::sleep(PAUSE).await;
                }
                result => return result,
            }
        }
    }

    /// Enlivens a reference and asks it what it is; both are tried again while its vat restarts.
    pub(crate) async fn open(
        &self,
        sturdy: &SturdyRef,
        name: &str,
    ) -> Result<Described, CommandError> {
        let end = Instant::now() + PATIENCE;
        loop {
            let enlivened = self.enliven_patiently(sturdy).await;
            let enlivened = enlivened.map_err(|error| not_enlivened(name, &error))?;
            match describe(&enlivened.reference).await {
                Ok(description) => {
                    let types = Types::new(description).map_err(|error| {
                        let message = format!("what {name} says of itself is unusable: {error}");
                        CommandError::new(Kind::Failed, message)
                    })?;
                    return Ok(Described {
                        enlivened,
                        types: Rc::new(types),
                    });
                }
                Err(error) if error.kind() == ErrorKind::Disconnected && Instant::now() < end => {
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) if error.kind() == ErrorKind::Unimplemented => {
                    let message = format!(
                        "{name} does not say what it is: it is no object of a vat, but of another \
                         Cap'n Proto program"
                    );
                    return Err(CommandError::new(Kind::NotFound, message)
                        .hint("call it from a program that has its .capnp file"));
                }
                Err(error) => {
                    return Err(failed(&error, &format!("{name} does not say what it is")));
                }
            }
        }
    }
}

/// Whether somebody was there and let go: the vat is just being started again. Where nobody listens
/// there is nothing to wait for.
fn is_restarting(error: &EnlivenError) -> bool {
    match error {
        EnlivenError::Unreachable(error) => error
            .attempts
            .iter()
            .any(|(_, error)| matches!(error, AttemptError::Handshake(_))),
        EnlivenError::Disconnected(_) => true,
        _ => false,
    }
}

/// A reference that could not be enlivened. `name` says which, as it was typed.
pub(crate) fn not_enlivened(name: &str, error: &EnlivenError) -> CommandError {
    match error {
        EnlivenError::Unreachable(error) => {
            CommandError::new(Kind::Unreachable, format!("{name}: {error}"))
                .hint("`vat ps` shows what is running on this machine, `vat up` starts it")
        }
        EnlivenError::Denied => CommandError::new(Kind::Denied, format!("{name}: {error}"))
            .hint("ask whoever gave it to you for another one"),
        EnlivenError::Disconnected(_) => {
            CommandError::new(Kind::Unreachable, format!("{name}: {error}"))
                .hint("nothing was called; try again, or see `vat ps` and `vat logs`")
        }
        EnlivenError::Refused(inner) => failed(inner, name),
        error => CommandError::new(Kind::Failed, format!("{name}: {error}")),
    }
}

/// An answer that is an error; its kind decides the exit code.
pub(crate) fn failed(error: &Error, what: &str) -> CommandError {
    let denied = error.detail(DENIED_DETAIL).is_some();
    let kind = match error.kind() {
        _ if denied => Kind::Denied,
        ErrorKind::Revoked => Kind::Denied,
        ErrorKind::Overloaded => Kind::Overloaded,
        ErrorKind::Disconnected | ErrorKind::Dead => Kind::Unreachable,
        ErrorKind::Unimplemented => Kind::NotFound,
        _ => Kind::Failed,
    };
    CommandError::new(kind, format!("{what}: {error}"))
}
