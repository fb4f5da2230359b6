//! Swiss numbers: the unguessable half of a sturdy ref, and their digests.

use std::{fmt, hint::black_box, io, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::{Seed, base32, random};

/// The unguessable number that names an object within its vat: 16 bytes, written as 26 characters.
///
/// Tables and files keep its [`SwissDigest`] only. The number is wiped when dropped, compared in
/// constant time, and not shown by `Debug`.
///
/// # Authority
///
/// Whoever knows a swiss number, its vat's id and a way to reach that vat can call the object.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct SwissNumber([u8; Self::LEN]);

impl SwissNumber {
    /// Bytes of a swiss number.
    pub const LEN: usize = 16;

    /// Characters of its text.
    pub const TEXT_LEN: usize = base32::text_len(Self::LEN);

    /// A new number from the kernel's random numbers.
    ///
    /// # Errors
    ///
    /// When the system call getrandom is denied.
    pub fn generate() -> io::Result<Self> {
        let mut swiss = Self([0; Self::LEN]);
        random::fill(&mut swiss.0)?;
        Ok(swiss)
    }

    /// The number of the reference that the vat with `seed` exposes as `name`.
    ///
    /// It is the same after every restart. A higher `generation` gives an unrelated number: that is
    /// how an exposed reference is revoked.
    pub fn exposed(seed: &Seed, name: &str, generation: u32) -> Self {
        let mut swiss = Self([0; Self::LEN]);
        let parts = [name.as_bytes(), &generation.to_le_bytes()];
        seed.derive_into("vat 1 exposed swiss number", &parts, &mut swiss.0);
        swiss
    }

    /// The number with these bytes.
    pub fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// The secret bytes.
    pub fn expose(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    /// The secret text, as it stands in a URI.
    pub fn to_text_with_secret(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new([0; Self::TEXT_LEN]);
        Zeroizing::new(base32::encode(&self.0, &mut *text).to_owned())
    }

    /// What may be stored of it.
    pub fn digest(&self) -> SwissDigest {
        SwissDigest(*blake3::hash(&self.0).as_bytes())
    }

    pub(super) fn parse(text: &[u8]) -> Result<Self, SwissError> {
        base32::decode(text).map(Self).ok_or(SwissError)
    }
}

impl FromStr for SwissNumber {
    type Err = SwissError;

    fn from_str(text: &str) -> Result<Self, SwissError> {
        Self::parse(text.as_bytes())
    }
}

impl PartialEq for SwissNumber {
    fn eq(&self, other: &Self) -> bool {
        let differences = self
            .0
            .iter()
            .zip(&other.0)
            .fold(0, |all, (a, b)| black_box(all | a ^ b));
        differences == 0
    }
}

impl Eq for SwissNumber {}

impl fmt::Debug for SwissNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SwissNumber(***)")
    }
}

/// The text is not a swiss number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a swiss number is 26 characters of a-z and 2-7, and this is not one")]
#[non_exhaustive]
pub struct SwissError;

/// The blake3 digest of a [`SwissNumber`]: what tables are keyed by and files store.
///
/// The number does not follow from it, and the time of a look-up by digest tells nothing about the
/// number. It is written as 52 characters of base32.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SwissDigest([u8; Self::LEN]);

impl SwissDigest {
    /// Bytes of a digest.
    pub const LEN: usize = 32;

    /// The digest with these bytes.
    pub fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

impl FromStr for SwissDigest {
    type Err = SwissDigestError;

    fn from_str(text: &str) -> Result<Self, SwissDigestError> {
        base32::decode(text.as_bytes())
            .map(Self)
            .ok_or(SwissDigestError)
    }
}

impl fmt::Display for SwissDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(base32::encode(
            &self.0,
            &mut [0; base32::text_len(Self::LEN)],
        ))
    }
}

impl fmt::Debug for SwissDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SwissDigest({self})")
    }
}

impl Serialize for SwissDigest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SwissDigest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// The text is not the digest of a swiss number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a digest is 52 characters of a-z and 2-7, and this is not one")]
#[non_exhaustive]
pub struct SwissDigestError;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exposed_numbers_follow_from_seed_name_and_generation() {
        let seed = Seed::from_bytes([1; 32]);
        let swiss = SwissNumber::exposed(&seed, "guestbook", 0);
        assert_eq!(swiss, SwissNumber::exposed(&seed, "guestbook", 0));
        assert_ne!(swiss, SwissNumber::exposed(&seed, "guestbook", 1));
        assert_ne!(swiss, SwissNumber::exposed(&seed, "guestboo", 0));
        assert_ne!(
            swiss,
            SwissNumber::exposed(&Seed::from_bytes([2; 32]), "guestbook", 0)
        );
        // URIs that operators handed out depend on this very number.
        assert_eq!(*swiss.to_text_with_secret(), "p3ji77nug6vcgysv23xaw5nnwa");
    }

    #[test]
    fn text_reads_back() {
        let swiss = SwissNumber::generate().unwrap();
        let text = swiss.to_text_with_secret();
        assert_eq!(text.len(), 26);
        assert_eq!(text.parse(), Ok(swiss));
        assert_eq!(text.to_uppercase().parse::<SwissNumber>(), Err(SwissError));
    }

    #[test]
    fn digest_reads_back_and_differs_from_the_number() {
        let swiss = SwissNumber::from_bytes([3; 16]);
        let digest = swiss.digest();
        assert_eq!(digest.to_string().parse(), Ok(digest));
        assert_eq!(
            serde_json::from_value::<SwissDigest>(serde_json::json!(digest)).unwrap(),
            digest
        );
        assert!(
            !digest
                .to_string()
                .contains(swiss.to_text_with_secret().as_str())
        );
    }

    #[test]
    fn debug_shows_nothing() {
        let swiss = SwissNumber::from_bytes([3; 16]);
        assert_eq!(
            format!("{swiss:?} {:?}", Some(&swiss)),
            "SwissNumber(***) Some(SwissNumber(***))"
        );
    }
}
