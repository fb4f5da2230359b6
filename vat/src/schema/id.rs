//! Ids of types: ours, and the ones that the `capnp` compiler gives to what has no explicit id.

use md5::{Digest, Md5};

/// The top bit, which every id has.
const MARK: u64 = 1 << 63;

/// The id of an interface, struct or enum: the first eight bytes of blake3 of its name
/// (`package::Type`) with the top bit set.
pub fn of_name(name: &str) -> u64 {
    first_word(blake3::hash(name.as_bytes()).as_bytes())
}

/// The id of a parameter or result list, as the compiler computes it.
pub fn of_list(interface: u64, ordinal: u16, results: bool) -> u64 {
    let mut hash = Md5::new();
    hash.update(interface.to_le_bytes());
    hash.update(ordinal.to_le_bytes());
    hash.update([u8::from(results)]);
    first_word(&hash.finalize())
}

/// The id of a group or named union, as the compiler computes it: from the struct around it and its
/// position among the struct's fields by ordinal.
pub fn of_group(parent: u64, position: u16) -> u64 {
    let mut hash = Md5::new();
    hash.update(parent.to_le_bytes());
    hash.update(position.to_le_bytes());
    first_word(&hash.finalize())
}

/// The id of a type declared in another or in a file without an explicit one, as the compiler
/// computes it.
pub fn of_child(parent: u64, name: &str) -> u64 {
    let mut hash = Md5::new();
    hash.update(parent.to_le_bytes());
    hash.update(name.as_bytes());
    first_word(&hash.finalize())
}

fn first_word(bytes: &[u8]) -> u64 {
    let first = bytes.first_chunk::<8>().copied().unwrap_or_default();
    u64::from_be_bytes(first) | MARK
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_the_compilers() {
        assert_eq!(
            of_child(0xa93f_c509_624c_72d9, "Node"),
            0xe682_ab4c_f923_a417
        );
        assert_eq!(of_group(0xe682_ab4c_f923_a417, 7), 0x9ea0_b19b_37fb_4435);
        assert_eq!(
            of_list(0x88eb_12a0_e0af_92b2, 1, false),
            0xd044_8933_57b4_2568
        );
        assert_eq!(
            of_list(0x88eb_12a0_e0af_92b2, 1, true),
            0x9bf1_41df_4247_d52f
        );
    }
}
