//! The secret from which all secrets of a vat are derived.

use std::{fmt, io};

use zeroize::{Zeroize, ZeroizeOnDrop};

use super::random;

/// 32 secret bytes, from which a vat's key and its swiss numbers are derived.
///
/// The bytes are wiped when it is dropped, and `Debug` does not show them. There is no `Clone`, so
/// that each copy is visible in the code: `Seed::from_bytes(*seed.expose())`.
///
/// # Authority
///
/// Whoever knows a vat's seed can be that vat and knows all of its well-known references.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Seed([u8; Self::LEN]);

impl Seed {
    /// Bytes of a seed.
    pub const LEN: usize = 32;

    /// A new seed from the kernel's random numbers.
    ///
    /// # Errors
    ///
    /// When the system call getrandom is denied.
    pub fn generate() -> io::Result<Self> {
        let mut seed = Self([0; Self::LEN]);
        random::fill(&mut seed.0)?;
        Ok(seed)
    }

    /// The seed with these bytes. The caller's copy is the caller's to wipe.
    pub fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// The secret bytes.
    pub fn expose(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    /// A seed for one purpose, from which neither this one nor that of another purpose follows.
    pub fn derive(&self, purpose: &str) -> Self {
        let mut derived = Self([0; Self::LEN]);
        self.derive_into("vat 1 seed", &[purpose.as_bytes()], &mut derived.0);
        derived
    }

    /// Fills `output` with bytes that follow from the seed, the use and the parts.
    pub(super) fn derive_into(&self, usage: &'static str, parts: &[&[u8]], output: &mut [u8]) {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        for part in [usage.as_bytes()].iter().chain(parts) {
            // The lengths keep ("ab", "c") and ("a", "bc") apart.
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        let mut reader = hasher.finalize_xof();
        reader.fill(output);
        hasher.zeroize();
        reader.zeroize();
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn purposes_give_unrelated_seeds() {
        let seed = Seed::from_bytes([1; 32]);
        assert_eq!(seed.derive("a").expose(), seed.derive("a").expose());
        assert_ne!(seed.derive("a").expose(), seed.derive("b").expose());
        assert_ne!(seed.derive("a").expose(), seed.expose());
        assert_ne!(
            seed.derive("a").expose(),
            Seed::from_bytes([2; 32]).derive("a").expose()
        );
    }

    #[test]
    fn derivation_does_not_change_between_versions() {
        // Everything an operator handed out depends on it.
        let seed = Seed::from_bytes([1; 32]).derive("guestbook");
        let text: String = seed
            .expose()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(
            text,
            "dce88381c7bdeb44c665d737688815f835bbb6f4b20524368db0350aa563e699"
        );
    }

    #[test]
    fn generated_seeds_differ() {
        assert_ne!(
            Seed::generate().unwrap().expose(),
            Seed::generate().unwrap().expose()
        );
    }
}
