//! The envelope of a vat's key: making certificates, and taking the key out of a peer's one; or the
//! key without an envelope (RFC 7250).

use std::fmt;

use rcgen::{CertificateParams, DistinguishedName, PKCS_ED25519, PublicKeyData, SerialNumber};
use rustls::{
    SignatureAlgorithm, SignatureScheme,
    pki_types::{CertificateDer, SubjectPublicKeyInfoDer},
    sign::{CertifiedKey, Signer, SigningKey},
};
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

use crate::sturdy::{Identity, VatId};

/// Most bytes of a peer's certificate. One with nothing but a key has about 200.
const MAX_LEN: usize = 2048;

/// What every ed25519 public key begins with in a certificate (a `SubjectPublicKeyInfo` of 44 bytes).
const SPKI_PREFIX: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];

/// In what a peer shows its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Envelope {
    /// In a self-signed X.509 certificate.
    Certificate,
    /// In none: the 44 bytes of the key alone.
    RawKey,
}

/// The key of `identity` by itself.
pub(super) fn bare(identity: &Identity) -> CertifiedKey {
    let id = identity.id();
    let key = Key {
        identity: identity.clone(),
        id,
    };
    // This is the type in which the TLS library has both.
    let envelope = CertificateDer::from(public_key(&id).to_vec());
    CertifiedKey::new(vec![envelope], std::sync::Arc::new(key))
}

/// Makes the certificate of `identity`: no names, for all time, signed by itself.
pub(super) fn certify(identity: &Identity) -> Result<CertifiedKey, CredentialsError> {
    let key = Key {
        identity: identity.clone(),
        id: identity.id(),
    };
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.not_before = rcgen::date_time_ymd(2000, 1, 1);
    params.not_after = rcgen::date_time_ymd(9999, 12, 31);
    params.serial_number = Some(SerialNumber::from(1));
    let certificate = params.self_signed(&key).map_err(|error| CredentialsError {
        reason: error.to_string().into(),
    })?;
    Ok(CertifiedKey::new(
        vec![certificate.der().clone()],
        std::sync::Arc::new(key),
    ))
}

/// The vat whose key a peer has shown, in whichever envelope. A key by itself cannot be taken for a
/// certificate: it has no room for one.
pub(super) fn any_peer_id(chain: &[CertificateDer<'_>]) -> Result<VatId, CertificateError> {
    match chain {
        [shown] if shown.starts_with(&SPKI_PREFIX) => peer_id(chain, Envelope::RawKey),
        _ => peer_id(chain, Envelope::Certificate),
    }
}

/// The vat whose key a peer has shown in this envelope.
pub(super) fn peer_id(
    chain: &[CertificateDer<'_>],
    envelope: Envelope,
) -> Result<VatId, CertificateError> {
    let [shown] = chain else {
        return Err(CertificateError::NotOne);
    };
    match envelope {
        Envelope::Certificate => certified_id(shown),
        Envelope::RawKey => key_id(shown),
    }
}

fn certified_id(certificate: &CertificateDer<'_>) -> Result<VatId, CertificateError> {
    if certificate.len() > MAX_LEN {
        return Err(CertificateError::TooLong);
    }
    let (rest, certificate) =
        X509Certificate::from_der(certificate).map_err(|_| CertificateError::Malformed)?;
    if !rest.is_empty() {
        return Err(CertificateError::Malformed);
    }
    key_id(certificate.public_key().raw)
}

/// The vat with this key, written as in a certificate.
fn key_id(key: &[u8]) -> Result<VatId, CertificateError> {
    // The exact bytes, so that no parameters, padding or second encoding slip through.
    let key = key.strip_prefix(&SPKI_PREFIX);
    let key = key.and_then(|key| <[u8; VatId::LEN]>::try_from(key).ok());
    VatId::from_bytes(key.ok_or(CertificateError::NotEd25519)?)
        .map_err(|_| CertificateError::WeakKey)
}

/// The public key of a vat as it stands in a certificate.
pub(super) fn public_key(id: &VatId) -> SubjectPublicKeyInfoDer<'static> {
    SubjectPublicKeyInfoDer::from([&SPKI_PREFIX[..], id.as_bytes()].concat())
}

/// Why a peer's certificate, and so the peer, is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[expect(clippy::exhaustive_enums, reason = "deliberately closed")]
pub enum CertificateError {
    /// The peer sent none, or a chain of several.
    #[error("the peer must show exactly one certificate")]
    NotOne,
    /// It has more than 2048 bytes.
    #[error("the peer's certificate has more than {MAX_LEN} bytes")]
    TooLong,
    /// It is not an X.509 certificate, or something follows it.
    #[error("the peer's certificate cannot be read")]
    Malformed,
    /// It is for another kind of key.
    #[error("the peer's certificate is not for an ed25519 key, which is what vats have")]
    NotEd25519,
    /// Its key is one for which anybody can sign.
    #[error("the peer's key is no usable ed25519 key")]
    WeakKey,
    /// The peer is another vat than the one that was called.
    #[error(
        "the peer is another vat ({found}) than the one called ({expected}): the address is \
         outdated, or somebody answers in its place"
    )]
    WrongVat {
        /// The vat that was called.
        expected: VatId,
        /// The vat that answered.
        found: VatId,
    },
}

/// No certificate could be made for a vat's own key.
#[derive(Debug, thiserror::Error)]
#[error("no certificate could be made for this vat's key: {reason}")]
pub struct CredentialsError {
    reason: Box<str>,
}

/// Signs for certificates and handshakes with the one copy of the private key, which is wiped when
/// it is dropped; the key objects of the TLS libraries are copies that are not.
#[derive(Clone)]
struct Key {
    identity: Identity,
    id: VatId,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.id)
    }
}

impl PublicKeyData for Key {
    fn der_bytes(&self) -> &[u8] {
        self.id.as_bytes()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &PKCS_ED25519
    }
}

impl rcgen::SigningKey for Key {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Ok(self.identity.sign(message).to_vec())
    }
}

impl SigningKey for Key {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        offered
            .contains(&SignatureScheme::ED25519)
            .then(|| Box::new(self.clone()) as _)
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        Some(public_key(&self.id))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ED25519
    }
}

impl Signer for Key {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        Ok(self.identity.sign(message).to_vec())
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ED25519
    }
}
