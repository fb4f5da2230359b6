//! A vat's private key.

use std::{fmt, sync::Arc};

use captp::VatKey;
use ed25519_dalek::{Signer, SigningKey};

use super::{Seed, VatId};

/// An ed25519 signature.
pub type Signature = [u8; 64];

/// A vat's private key and the id that goes with it.
///
/// Clones share one copy of the key, which is wiped with the last of them.
///
/// # Authority
///
/// Whoever has it can be that vat towards everybody.
#[derive(Clone)]
pub struct Identity {
    key: Arc<SigningKey>,
    id: VatId,
}

impl Identity {
    /// The identity of the vat with this seed, the same every time.
    pub fn from_seed(seed: &Seed) -> Self {
        let key = SigningKey::from_bytes(seed.derive("identity").expose());
        let id = VatId::of_key(&key.verifying_key());
        Self {
            key: Arc::new(key),
            id,
        }
    }

    /// The public name of the vat.
    pub fn id(&self) -> VatId {
        self.id
    }

    /// Signs `message`, which must begin with a prefix that no other use of this key has.
    pub fn sign(&self, message: &[u8]) -> Signature {
        self.key.sign(message).to_bytes()
    }
}

impl captp::Signer for Identity {
    fn sign(&self, message: &[u8]) -> Signature {
        Self::sign(self, message)
    }

    fn verify(&self, key: &VatKey, message: &[u8], signature: &Signature) -> bool {
        VatId::from_bytes(key.0).is_ok_and(|id| id.verifies(message, signature))
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
