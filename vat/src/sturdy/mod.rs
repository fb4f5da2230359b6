//! Sturdy refs: vat ids, URIs, swiss numbers, reference files, the restorer.
//!
//! A sturdy ref names one object in one vat: the vat by its public key ([`VatId`]), the object by an
//! unguessable number ([`SwissNumber`]). Addresses are only hints where to look for the vat. Whoever
//! knows a whole URI holds a secret, therefore nothing here prints one by accident: secrets have a
//! redacting `Debug` and no `Display`, and the errors of the parsers never repeat their input.

mod address;
mod base32;
mod identity;
pub(crate) mod random;
pub mod reference_file;
mod restorer;
mod seed;
mod sturdy_ref;
mod swiss;
mod uri;
mod vat_id;

pub use self::{
    address::{Address, AddressError, Host, HostError, UnixPath, UnixPathError},
    identity::{Identity, Signature},
    reference_file::{ReferenceFileError, ReferenceFileProblem},
    restorer::{DENIED_DETAIL, Exposures, NO_SUCH_REFERENCE, Restorer, RestorerRef},
    seed::Seed,
    sturdy_ref::SturdyRef,
    swiss::{SwissDigest, SwissDigestError, SwissError, SwissNumber},
    uri::UriError,
    vat_id::{VatId, VatIdError},
};
