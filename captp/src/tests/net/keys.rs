//! Who a vat is.

use super::*;

/// A key of its own for each number.
pub(crate) struct Key(ed25519_dalek::SigningKey);

impl Key {
    pub(crate) fn new(number: u8) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(&[number; 32]))
    }
}

impl Signer for Key {
    fn sign(&self, message: &[u8]) -> [u8; 64] {
        use ed25519_dalek::Signer as _;
        self.0.sign(message).to_bytes()
    }

    fn verify(&self, key: &VatKey, message: &[u8], signature: &[u8; 64]) -> bool {
        let Ok(key) = ed25519_dalek::VerifyingKey::from_bytes(&key.0) else {
            return false;
        };
        let signature = ed25519_dalek::Signature::from_bytes(signature);
        key.verify_strict(message, &signature).is_ok()
    }
}

pub(crate) fn key(number: u8) -> VatKey {
    VatKey(Key::new(number).0.verifying_key().to_bytes())
}

pub(crate) fn identity(number: u8) -> Identity {
    Identity::new(key(number), 7, Rc::new(Key::new(number)))
}
