//! From the manifest's grants to live powers: what the operator at the shell gives the program.

use std::path::PathBuf;

use super::broker::log::LogSource;
use super::manifest::{Manifest, Power};
use crate::net::Credentials;
use crate::net::client::{self, EnlivenError, Enlivened};
use crate::net::driver::Driver;
use crate::net::tls::CredentialsError;
use crate::power::Grant;
use crate::prelude::*;
use crate::sturdy::{Identity, ReferenceFileError, Seed, reference_file};

/// Opens every grant of the manifest.
///
/// # Errors
/// When a directory, file or reference cannot be had.
pub(crate) async fn open(
    manifest: &Manifest,
    driver: &Driver,
    log: &LogSource,
) -> Result<Vec<Grant>, GrantError> {
    let mut grants = Vec::new();
    for grant in &manifest.grants {
        let power = match &grant.power {
            Power::Reference { path } => enliven(driver, path).await?.reference,
            _ => return Err(GrantError::Unsupported),
        };
        grants.push(Grant {
            slot: grant.slot.to_string(),
            interface: 0,
            power,
        });
    }
    Ok(grants)
}

/// The launcher enlivens what the operator's reference file names; the program never sees the URI.
/// Each grant is a connection of its own, under a key of its own.
async fn enliven(driver: &Driver, path: &PathBuf) -> Result<Enlivened, GrantError> {
    let sturdy = reference_file::read(path)?;
    let seed = Seed::generate().map_err(GrantError::Random)?;
    let credentials = Credentials::new(&Identity::from_seed(&seed))?;
    let enlivened = client::enliven(driver, &sturdy, &credentials).await;
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
    /// There is no randomness.
    #[error("cannot make a key")]
    Random(#[source] std::io::Error),
    /// A key cannot be used.
    #[error(transparent)]
    Key(#[from] CredentialsError),
    /// XXX
    #[error("unsupported")]
    Unsupported,
}
