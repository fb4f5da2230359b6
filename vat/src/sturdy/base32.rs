//! The one base32 of vat: RFC 4648 alphabet in lower case, no padding, one text per value.

use std::sync::LazyLock;

use data_encoding::{Encoding, Specification};

/// Length of the text of `bytes` bytes.
pub(super) const fn text_len(bytes: usize) -> usize {
    (bytes * 8).div_ceil(5)
}

/// Writes the text of `bytes` into `text`.
pub(super) fn encode<'t, const N: usize>(bytes: &[u8; N], text: &'t mut [u8]) -> &'t str {
    BASE32.encode_mut_str(bytes, text)
}

/// Reads exactly `N` bytes; `None` for any text that [`encode`] does not write.
pub(super) fn decode<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    if text.len() != text_len(N) {
        return None;
    }
    let mut bytes = [0; N];
    // Upper case, padding, white space and non-zero trailing bits are all refused here.
    BASE32
        .decode_mut(text, &mut bytes)
        .ok()
        .filter(|&read| read == N)?;
    Some(bytes)
}

static BASE32: LazyLock<Encoding> = LazyLock::new(|| {
    let mut specification = Specification::new();
    specification
        .symbols
        .push_str("abcdefghijklmnopqrstuvwxyz234567");
    #[expect(
        clippy::expect_used,
        reason = "the alphabet above is 32 different ASCII symbols"
    )]
    specification.encoding().expect("a valid specification")
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_has_exactly_one_text() {
        let text = b"abcdefghijklmnopqrstuvwxya";
        let bytes: [u8; 16] = decode(text).unwrap();
        let mut back = [0; text_len(16)];
        assert_eq!(encode(&bytes, &mut back).as_bytes(), text);

        assert_eq!(
            decode::<16>(b"ABCDEFGHIJKLMNOPQRSTUVWXYA"),
            None,
            "upper case"
        );
        assert_eq!(
            decode::<16>(b"abcdefghijklmnopqrstuvwxyb"),
            None,
            "trailing bits"
        );
        assert_eq!(decode::<16>(b"abcdefghijklmnopqrstuvwxy="), None, "padding");
        assert_eq!(
            decode::<16>(b"abcdefghijklm\nopqrstuvwxya"),
            None,
            "white space"
        );
        assert_eq!(
            decode::<16>(b"abcdefghijklmnopqrstuvwxy"),
            None,
            "too short"
        );
        assert_eq!(decode::<16>(b""), None, "nothing");
    }
}
