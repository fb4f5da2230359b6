//! The name of a vat: its public key.

use std::{
    fmt,
    str::{self, FromStr},
};

use ed25519_dalek::VerifyingKey;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::base32;

/// The name of a vat: its ed25519 public key, written as 52 characters of lower-case base32.
///
/// An id tells to whom one speaks. It is public and authorises nothing.
///
/// Only keys that one private key stands behind are ids: bytes that are no point of the curve, a
/// second encoding of a point, and points of small order (for which anybody can sign) are refused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VatId([u8; Self::LEN]);

impl VatId {
    /// Bytes of an id.
    pub const LEN: usize = 32;

    /// Characters of an id's text; it fits a DNS label.
    pub const TEXT_LEN: usize = base32::text_len(Self::LEN);

    /// The id with these key bytes.
    ///
    /// # Errors
    ///
    /// [`VatIdError::NotAKey`] when the bytes are not the one encoding of a usable public key.
    pub fn from_bytes(bytes: [u8; Self::LEN]) -> Result<Self, VatIdError> {
        let key = VerifyingKey::from_bytes(&bytes).map_err(|_| VatIdError::NotAKey)?;
        if key.is_weak() || !has_canonical_y(&bytes) {
            return Err(VatIdError::NotAKey);
        }
        Ok(Self(bytes))
    }

    /// The id of a key that this process made itself.
    pub(super) fn of_key(key: &VerifyingKey) -> Self {
        Self(key.to_bytes())
    }

    /// The public key.
    pub fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    /// Whether the private key of this id signed `message`.
    pub fn verifies(&self, message: &[u8], signature: &super::Signature) -> bool {
        VerifyingKey::from_bytes(&self.0).is_ok_and(|key| {
            let signature = ed25519_dalek::Signature::from_bytes(signature);
            key.verify_strict(message, &signature).is_ok()
        })
    }

    pub(super) fn parse(text: &[u8]) -> Result<Self, VatIdError> {
        let bytes = base32::decode(text).ok_or(VatIdError::NotBase32)?;
        Self::from_bytes(bytes)
    }
}

impl FromStr for VatId {
    type Err = VatIdError;

    fn from_str(text: &str) -> Result<Self, VatIdError> {
        Self::parse(text.as_bytes())
    }
}

impl fmt::Display for VatId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(base32::encode(&self.0, &mut [0; Self::TEXT_LEN]))
    }
}

impl fmt::Debug for VatId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VatId({self})")
    }
}

impl Serialize for VatId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for VatId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// Why a text or bytes are not a [`VatId`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[expect(clippy::exhaustive_enums, reason = "deliberately closed")]
pub enum VatIdError {
    /// Not 52 characters `a`-`z`, `2`-`7`, or the last one has bits that do not belong to the id.
    #[error("a vat id is 52 characters of a-z and 2-7, and this is not one")]
    NotBase32,
    /// The bytes are not a public key that a vat can have.
    #[error("these characters are not the public key of any vat")]
    NotAKey,
}

/// Whether the y coordinate is below the field's prime 2^255 - 19, as RFC 8032 demands. (The other
/// redundancy, a sign bit on x = 0, occurs on points of small order only.)
fn has_canonical_y(bytes: &[u8; VatId::LEN]) -> bool {
    let [first, middle @ .., last] = bytes;
    *first < 0xed || *last & 0x7f != 0x7f || middle.iter().any(|&byte| byte != 0xff)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sturdy::{Identity, Seed};

    fn id() -> VatId {
        Identity::from_seed(&Seed::from_bytes([7; 32])).id()
    }

    #[test]
    fn text_reads_back_and_is_canonical() {
        let id = id();
        let text = id.to_string();
        assert_eq!(text.len(), 52);
        assert_eq!(text.parse(), Ok(id));
        assert_eq!(
            text.to_uppercase().parse::<VatId>(),
            Err(VatIdError::NotBase32)
        );
        assert_eq!(format!("{id:?}"), format!("VatId({text})"));
        let json = serde_json::to_string(&id).unwrap();
        assert_eq!(json, format!("\"{text}\""));
        assert_eq!(serde_json::from_str::<VatId>(&json).unwrap(), id);
        assert!(serde_json::from_str::<VatId>("\"short\"").is_err());
    }

    #[test]
    fn every_changed_character_is_an_error_or_another_id() {
        let id = id();
        let text = id.to_string().into_bytes();
        for position in 0..text.len() {
            for byte in 0..=127 {
                let mut changed = text.clone();
                changed[position] = byte;
                if changed != text {
                    assert_ne!(VatId::parse(&changed), Ok(id), "{position} {byte}");
                }
            }
        }
    }

    #[test]
    fn keys_for_which_anybody_can_sign_are_refused() {
        let mut identity_point = [0; 32];
        identity_point[0] = 1;
        assert_eq!(VatId::from_bytes(identity_point), Err(VatIdError::NotAKey));
        assert_eq!(
            VatId::from_bytes([0; 32]),
            Err(VatIdError::NotAKey),
            "order 4"
        );
    }

    #[test]
    fn second_encodings_of_a_point_are_refused() {
        // p + y for small y: the point with that y again, spelled differently.
        let mut accepted_by_the_curve = 0;
        for first in 0xed..=0xff {
            for last in [0x7f, 0xff] {
                let mut bytes = [0xff; 32];
                bytes[0] = first;
                bytes[31] = last;
                accepted_by_the_curve += u32::from(VerifyingKey::from_bytes(&bytes).is_ok());
                assert_eq!(
                    VatId::from_bytes(bytes),
                    Err(VatIdError::NotAKey),
                    "{first} {last}"
                );
            }
        }
        assert!(accepted_by_the_curve > 4, "the check is needed");
    }
}
