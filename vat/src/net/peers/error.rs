//! Why there is no connection to another vat.

use std::rc::Rc;
use std::sync::Arc;

use crate::net::{ConnectError, dial};
use crate::sturdy::VatId;

/// Why there is no connection to a vat.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PeerError {
    /// It cannot be reached at any of its addresses.
    #[error(transparent)]
    Unreachable(Arc<ConnectError>),
    /// There is no connection to it, and this vat may not make one.
    #[error("there is no connection to vat {vat}, and {}", dial::NO_POWER)]
    NoPower {
        /// The vat.
        vat: VatId,
    },
    /// It was reached, and did not keep the connection; nothing was sent there.
    #[error("vat {vat} did not keep the connection: {reason}")]
    NotKept {
        /// The vat.
        vat: VatId,
        /// What it said.
        reason: Rc<str>,
    },
    /// Our own vat has ended.
    #[error("the vat has ended")]
    Ended,
}

impl From<ConnectError> for PeerError {
    fn from(error: ConnectError) -> Self {
        Self::Unreachable(Arc::new(error))
    }
}
