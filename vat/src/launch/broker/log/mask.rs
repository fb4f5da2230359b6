//! Keeps sturdy-ref URIs out of the log.

/// `text` with everything that looks like a sturdy-ref URI replaced by `vat://***`.
///
/// A URI names an object and is the authority over it. Programs should never log one; this is for
/// those that do.
pub(super) fn masked(text: &str) -> String {
    let mut rest = text;
    let mut out = String::with_capacity(text.len());
    while let Some(at) = find(rest) {
        let (before, uri) = rest.split_at(at);
        out.push_str(before);
        out.push_str(MASK);
        let tail = uri.get(SCHEME.len()..).unwrap_or_default();
        rest = tail.trim_start_matches(|c: char| c.is_ascii_graphic() && !"\"'<>`".contains(c));
    }
    out.push_str(rest);
    out
}

fn find(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    bytes
        .windows(SCHEME.len())
        .position(|window| window.eq_ignore_ascii_case(SCHEME.as_bytes()))
}

const SCHEME: &str = "vat://";
const MASK: &str = "vat://***";

#[cfg(test)]
mod tests {
    use super::masked;

    #[test]
    fn uris_are_masked_wherever_they_are() {
        let cases = [
            ("nothing here", "nothing here"),
            ("vat://abc@host:1/secret", "vat://***"),
            ("open vat://abc/secret?a=unix:/x now", "open vat://*** now"),
            (
                "\"vat://abc/secret\", 'VAT://x/y'",
                "\"vat://***\", 'vat://***'",
            ),
            ("vat://a/b vat://c/d", "vat://*** vat://***"),
            ("é vat://a/b", "é vat://***"),
            ("vat://", "vat://***"),
            ("vat:/x", "vat:/x"),
        ];
        for (text, expected) in cases {
            assert_eq!(masked(text), expected);
        }
    }
}
