//! From the manifest's grants to live powers: what the operator at the shell gives the program.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::broker::fs::{self, Dir, Files, FsLimits};
use super::broker::log::LogSource;
use super::broker::{self, WorkerLimits, Workers};
use super::manifest::{Manifest, Power, Rights};
use crate::Interface;
use crate::net;
use crate::net::client::{EnlivenError, Enlivened};
use crate::net::driver::Driver;
use crate::net::tls::CredentialsError;
use crate::net::{Credentials, Dialing, Peers};
use crate::power::Grant;
use crate::prelude::*;
use crate::sturdy::{Identity, ReferenceFileError, Seed, reference_file};

/// How long the vat of a granted reference may take to answer.
const ENLIVEN_WITHIN: Duration = Duration::from_secs(10);

/// Opens every grant of the manifest, in its order.
///
/// # Errors
/// When a directory or reference cannot be had.
pub(crate) async fn open(
    manifest: &Manifest,
    driver: &Driver,
    log: &LogSource,
) -> Result<Vec<Grant>, GrantError> {
    let files = Files::new(Workers::start(WorkerLimits::default()).map_err(GrantError::Threads)?);
    let mut grants = Vec::new();
    for grant in &manifest.grants {
        let slot = grant.slot.to_string();
        let (interface, power) = match &grant.power {
            Power::Directory {
                path,
                rights,
                create,
            } => {
                let dir = directory(&files, path, *rights, *create)?;
                let made = driver.vat().turn(|turn| Ok(broker::directory(turn, dir)))?;
                typed(made)
            }
            Power::Log => typed(
                driver
                    .vat()
                    .turn(|turn| Ok(broker::log_sink(turn, log.clone())))?,
            ),
            Power::Clock => typed(driver.vat().turn(|turn| Ok(broker::clock(turn)))?),
            Power::Network { to } => typed(driver.vat().turn(|turn| Ok(net::network(turn, to)))?),
            // What it is shows when it is called; its own vat checks the interface.
            Power::Reference { path } => (0, enliven(driver, path).await?.reference),
        };
        grants.push(Grant {
            slot,
            interface,
            power,
        });
    }
    Ok(grants)
}

fn typed<R: Interface>(power: R) -> (u64, Ref) {
    (R::ID, power.into())
}

fn directory(files: &Files, path: &Path, rights: Rights, create: bool) -> Result<Dir, GrantError> {
    let fail = |source| GrantError::Directory {
        path: path.to_owned(),
        source,
    };
    if create && !path.exists() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(fail)?;
    }
    let rights = fs::Rights {
        read: rights.read,
        write: rights.write,
    };
    files
        .ambient_dir(path, rights, FsLimits::default())
        .map_err(fail)
}

/// The launcher enlivens what the operator's reference file names; the program never sees the URI.
/// Each grant is a connection of its own, under a key of its own.
async fn enliven(driver: &Driver, path: &PathBuf) -> Result<Enlivened, GrantError> {
    let sturdy = reference_file::read(path)?;
    let seed = Seed::generate().map_err(GrantError::Random)?;
    let credentials = Credentials::new(&Identity::from_seed(&seed))?;
    let peers = Peers::new(
        driver.clone(),
        credentials,
        None,
        Dialing::ambient_network(),
    );
    let enlivened = tokio::time::timeout(ENLIVEN_WITHIN, peers.enliven(&sturdy)).await;
    let Ok(enlivened) = enlivened else {
        return Err(GrantError::Silent { path: path.clone() });
    };
    enlivened.map_err(|source| GrantError::Enliven {
        path: path.clone(),
        source,
    })
}

/// Why a grant of the manifest cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GrantError {
    /// The reference file cannot be used.
    #[error(transparent)]
    ReferenceFile(#[from] ReferenceFileError),
    /// The reference cannot be enlivened.
    #[error("cannot enliven {}: {source}", path.display())]
    Enliven {
        /// The reference file.
        path: PathBuf,
        /// Why.
        source: EnlivenError,
    },
    /// The reference's vat does not answer.
    #[error(
        "cannot enliven {}: its vat did not answer within {ENLIVEN_WITHIN:?}",
        path.display()
    )]
    Silent {
        /// The reference file.
        path: PathBuf,
    },
    /// There is no randomness.
    #[error("cannot make a key")]
    Random(#[source] std::io::Error),
    /// A key cannot be used.
    #[error(transparent)]
    Key(#[from] CredentialsError),
    /// A directory cannot be opened.
    #[error("cannot open the granted directory {}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The threads for file work cannot be started.
    #[error("cannot start the threads for file work")]
    Threads(#[source] std::io::Error),
    /// The launcher's own vat refused.
    #[error(transparent)]
    Vat(#[from] Error),
}
