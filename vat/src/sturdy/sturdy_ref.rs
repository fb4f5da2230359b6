//! A reference to one object in one vat that survives restarts.

use std::{
    fmt,
    hash::{Hash, Hasher},
    str::FromStr,
};

use zeroize::Zeroizing;

use super::{Address, SwissNumber, UriError, VatId, uri};

/// Names one object in one vat, across restarts of everything.
///
/// Equality and hash regard the vat and the swiss number; addresses are hints where to look.
///
/// The text form is a URI, `vat://<vat id>@<host:port>/<swiss>[?a=<address>[&a=<address>]…]`, or
/// without any network address `vat://<vat id>/<swiss>[?a=unix:/path…]`. Each reference has exactly
/// one URI, of at most [`SturdyRef::MAX_URI_LEN`] ASCII characters; other spellings are refused. The
/// first network address stands before the swiss number, no address stands twice.
///
/// `Debug` shows `vat://<vat id>@…/***`. There is no `Display`: the whole text is a secret, see
/// [`SturdyRef::to_uri_with_secret`].
///
/// # Authority
///
/// Whoever holds one, and a power to reach the vat, can call the object.
#[derive(Clone)]
pub struct SturdyRef {
    vat: VatId,
    swiss: SwissNumber,
    addresses: Vec<Address>,
}

impl SturdyRef {
    /// Most characters of a URI; longer ones are refused when made and when parsed.
    pub const MAX_URI_LEN: usize = 2048;

    /// Most addresses of a reference.
    pub const MAX_ADDRESSES: usize = 16;

    /// The reference to object `swiss` of `vat`, which may be found at `addresses`.
    ///
    /// The first network address is moved to the front, repeated addresses are dropped.
    ///
    /// # Errors
    ///
    /// [`UriError::TooLong`] or [`UriError::TooManyAddresses`] when there are too many addresses
    /// for a URI.
    pub fn new(
        vat: VatId,
        swiss: SwissNumber,
        addresses: impl IntoIterator<Item = Address>,
    ) -> Result<Self, UriError> {
        let mut distinct = Vec::new();
        for address in addresses {
            if !distinct.contains(&address) {
                if distinct.len() == Self::MAX_ADDRESSES {
                    return Err(UriError::TooManyAddresses);
                }
                distinct.push(address);
            }
        }
        if let Some(first) = distinct.iter().position(Address::is_network) {
            let first = distinct.remove(first);
            distinct.insert(0, first);
        }
        let sturdy_ref = Self {
            vat,
            swiss,
            addresses: distinct,
        };
        if sturdy_ref.to_uri_with_secret().len() > Self::MAX_URI_LEN {
            return Err(UriError::TooLong);
        }
        Ok(sturdy_ref)
    }

    /// Reads a URI.
    ///
    /// # Errors
    ///
    /// For everything but the exact text that [`SturdyRef::to_uri_with_secret`] gives. The error
    /// repeats nothing of the text.
    pub fn parse(uri: &str) -> Result<Self, UriError> {
        let (vat, swiss, addresses) = uri::parse(uri)?;
        let sturdy_ref = Self::new(vat, swiss, addresses)?;
        if sturdy_ref.to_uri_with_secret().as_str() != uri {
            return Err(UriError::NotCanonical);
        }
        Ok(sturdy_ref)
    }

    /// The vat.
    pub fn vat(&self) -> VatId {
        self.vat
    }

    /// The number of the object within its vat.
    pub fn swiss(&self) -> &SwissNumber {
        &self.swiss
    }

    /// Where the vat may be found, best first.
    pub fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// The whole URI, which is a secret: for a reference file or an operator's own eyes.
    pub fn to_uri_with_secret(&self) -> Zeroizing<String> {
        uri::print(self)
    }
}

impl FromStr for SturdyRef {
    type Err = UriError;

    fn from_str(uri: &str) -> Result<Self, UriError> {
        Self::parse(uri)
    }
}

impl PartialEq for SturdyRef {
    fn eq(&self, other: &Self) -> bool {
        self.vat == other.vat && self.swiss == other.swiss
    }
}

impl Eq for SturdyRef {}

impl Hash for SturdyRef {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.vat.hash(state);
        self.swiss.digest().hash(state);
    }
}

impl fmt::Debug for SturdyRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "vat://{}@…/***", self.vat)
    }
}
