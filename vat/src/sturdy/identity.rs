//! A vat's private key.

use std::fmt;

use ed25519_dalek::{Signer, SigningKey};
use zeroize::Zeroizing;

use super::{Seed, VatId};

/// An ed25519 signature.
pub type Signature = [u8; 64];

/// A vat's private key and the id that goes with it.
///
/// # Authority
///
/// Whoever has it can be that vat towards everybody.
pub struct Identity {
    key: SigningKey,
    id: VatId,
}

impl Identity {
    /// The identity of the vat with this seed, the same every time.
    pub fn from_seed(seed: &Seed) -> Self {
        let key = SigningKey::from_bytes(seed.derive("identity").expose());
        let id = VatId::of_key(&key.verifying_key());
        Self { key, id }
    }

    /// The public name of the vat.
    pub fn id(&self) -> VatId {
        self.id
    }

    /// Signs `message`, which must begin with a prefix that no other use of this key has.
    pub fn sign(&self, message: &[u8]) -> Signature {
        self.key.sign(message).to_bytes()
    }

    /// The private key as PKCS#8 version 1: the form with the private key alone, which OpenSSL 3.0
    /// loads too (version 2 adds the public key).
    pub(crate) fn to_pkcs8(&self) -> Zeroizing<Vec<u8>> {
        const PREFIX: [u8; 16] = [
            0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22,
            0x04, 0x20,
        ];
        // The capacity is exact, so that no smaller copy is left behind unwiped.
        let mut der = Zeroizing::new(Vec::with_capacity(PREFIX.len() + 32));
        der.extend_from_slice(&PREFIX);
        der.extend_from_slice(self.key.as_bytes());
        der
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_verify_under_the_own_id_only() {
        let ann = Identity::from_seed(&Seed::from_bytes([1; 32]));
        let ben = Identity::from_seed(&Seed::from_bytes([2; 32]));
        let signature = ann.sign(b"hello");
        assert!(ann.id().verifies(b"hello", &signature));
        assert!(!ann.id().verifies(b"hallo", &signature));
        assert!(!ben.id().verifies(b"hello", &signature));
        assert_ne!(ann.id(), ben.id());
    }

    #[test]
    fn debug_shows_the_id_alone() {
        let identity = Identity::from_seed(&Seed::from_bytes([1; 32]));
        assert_eq!(
            format!("{identity:?}"),
            format!("Identity {{ id: {:?}, .. }}", identity.id())
        );
    }
}
