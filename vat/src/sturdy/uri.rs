//! The URI form of sturdy refs: printing, and a parser that accepts what is printed.

use zeroize::Zeroizing;

use super::{Address, AddressError, SturdyRef, SwissNumber, VatId, VatIdError};

/// Why a text is not the URI of a sturdy ref.
///
/// Neither the variants nor their texts contain anything of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[expect(clippy::exhaustive_enums, reason = "deliberately closed")]
pub enum UriError {
    /// More than [`SturdyRef::MAX_URI_LEN`] characters.
    #[error("a reference has at most {} characters", SturdyRef::MAX_URI_LEN)]
    TooLong,
    /// A character that is not printable ASCII, such as a space or a line break.
    #[error("a reference contains printable ASCII characters only, and no spaces")]
    Character,
    /// It does not begin with `vat://`.
    #[error("a reference begins with `vat://`")]
    Scheme,
    /// There is no `/` between the vat and the swiss number.
    #[error(
        "a reference has the form vat://<vat id>@<host:port>/<number>, and this one has no `/`"
    )]
    NoSwissNumber,
    /// The part before `@` or `/`.
    #[error("the reference names no vat: {0}")]
    Vat(VatIdError),
    /// The part between `/` and `?`.
    #[error("the number at the end of the reference is not one: it has 26 characters of a-z, 2-7")]
    SwissNumber,
    /// The address after `@`, or one after `a=`.
    #[error("an address in the reference is wrong: {0}")]
    Address(AddressError),
    /// Something else than `a=` after `?` or `&`.
    #[error("after `?` a reference has addresses only, each written a=<address>, divided by `&`")]
    Parameter,
    /// More than [`SturdyRef::MAX_ADDRESSES`] addresses.
    #[error("a reference has at most {} addresses", SturdyRef::MAX_ADDRESSES)]
    TooManyAddresses,
    /// An address stands twice, or no network address follows `@` though there is one.
    #[error(
        "the addresses are not in canonical form: no address stands twice, and the first one with \
         a port stands between `@` and `/`"
    )]
    NotCanonical,
}

/// Writes the one URI of `sturdy_ref`.
pub(super) fn print(sturdy_ref: &SturdyRef) -> Zeroizing<String> {
    let (authority, hints) = match sturdy_ref.addresses() {
        [first, hints @ ..] if first.is_network() => (Some(first), hints),
        hints => (None, hints),
    };
    let place = authority.map_or_else(String::new, |address| format!("@{address}"));
    let query: String = hints
        .iter()
        .zip(["?"].into_iter().chain(std::iter::repeat("&")))
        .map(|(hint, mark)| format!("{mark}a={hint}"))
        .collect();

    let vat = sturdy_ref.vat().to_string();
    let swiss = sturdy_ref.swiss().to_text_with_secret();
    let pieces = [SCHEME, &vat, &place, "/", &swiss, &query];
    // The capacity is exact: a text that grew would leave unwiped copies behind.
    let mut uri = Zeroizing::new(String::with_capacity(pieces.iter().map(|s| s.len()).sum()));
    pieces.iter().for_each(|piece| uri.push_str(piece));
    uri
}

/// Takes a URI apart. That the whole is canonical is for the caller to check, by printing it.
pub(super) fn parse(uri: &str) -> Result<(VatId, SwissNumber, Vec<Address>), UriError> {
    if uri.len() > SturdyRef::MAX_URI_LEN {
        return Err(UriError::TooLong);
    }
    if !uri.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(UriError::Character);
    }
    let rest = uri.strip_prefix(SCHEME).ok_or(UriError::Scheme)?;
    let (place, rest) = rest.split_once('/').ok_or(UriError::NoSwissNumber)?;
    let (vat, authority) = match place.split_once('@') {
        Some((vat, address)) => (vat, Some(address)),
        None => (place, None),
    };
    let (swiss, query) = match rest.split_once('?') {
        Some((swiss, query)) => (swiss, Some(query)),
        None => (rest, None),
    };

    let vat = VatId::parse(vat.as_bytes()).map_err(UriError::Vat)?;
    let swiss = SwissNumber::parse(swiss.as_bytes()).map_err(|_| UriError::SwissNumber)?;
    let mut addresses = Vec::new();
    if let Some(address) = authority {
        addresses.push(Address::parse_tcp(address).map_err(UriError::Address)?);
    }
    for parameter in query.iter().flat_map(|query| query.split('&')) {
        let address = parameter.strip_prefix("a=").ok_or(UriError::Parameter)?;
        addresses.push(address.parse().map_err(UriError::Address)?);
    }
    Ok((vat, swiss, addresses))
}

const SCHEME: &str = "vat://";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sturdy::{Identity, Seed};

    const SWISS: &str = "aebagbafaydqqcikbmga2dqpca";

    fn vat(number: u8) -> VatId {
        Identity::from_seed(&Seed::from_bytes([number; 32])).id()
    }

    fn example() -> String {
        let id = vat(1);
        format!("vat://{id}@example.com:4000/{SWISS}?a=[::1]:5000&a=unix:/run/a%20b.sock")
    }

    #[test]
    fn a_canonical_uri_reads_back() {
        let id = vat(1);
        for uri in [
            example(),
            format!("vat://{id}/{SWISS}"),
            format!("vat://{id}/{SWISS}?a=unix:/run/b.sock&a=unix:/run/a.sock"),
            format!("vat://{id}@[::1]:4000/{SWISS}"),
        ] {
            let sturdy_ref = SturdyRef::parse(&uri).unwrap();
            assert_eq!(*sturdy_ref.to_uri_with_secret(), uri);
            assert_eq!(sturdy_ref.vat(), id);
            assert_eq!(sturdy_ref.swiss().to_text_with_secret().as_str(), SWISS);
        }
        assert_eq!(SturdyRef::parse(&example()).unwrap().addresses().len(), 3);
    }

    #[test]
    fn each_mistake_has_its_error() {
        let id = vat(1);
        let two_marks = UriError::Address(AddressError::Host(crate::sturdy::HostError::Name));
        let vat_error = UriError::Vat(VatIdError::NotBase32);
        for (uri, error) in [
            (String::new(), UriError::Scheme),
            (format!("VAT://{id}/{SWISS}"), UriError::Scheme),
            (format!("http://{id}/{SWISS}"), UriError::Scheme),
            (format!(" vat://{id}/{SWISS}"), UriError::Character),
            (format!("vat://{id}/{SWISS}\n"), UriError::Character),
            (format!("vat://{id}/{SWISS}ä"), UriError::Character),
            (format!("vat://{id}"), UriError::NoSwissNumber),
            (format!("vat://{id}/"), UriError::SwissNumber),
            (format!("vat://{id}/{SWISS}/"), UriError::SwissNumber),
            (format!("vat://{id}/{SWISS}#"), UriError::SwissNumber),
            (
                format!("vat://{id}/{}", SWISS.to_uppercase()),
                UriError::SwissNumber,
            ),
            (
                format!("vat://{}/{SWISS}", id.to_string().to_uppercase()),
                vat_error,
            ),
            (format!("vat://{id}:x@a:1/{SWISS}"), vat_error),
            (format!("vat:///{SWISS}"), vat_error),
            (
                format!("vat://{id}@a/{SWISS}"),
                UriError::Address(AddressError::Port),
            ),
            (format!("vat://{id}@unix:/a/{SWISS}"), UriError::SwissNumber),
            (format!("vat://{id}/{SWISS}?"), UriError::Parameter),
            (format!("vat://{id}/{SWISS}?b=a:1"), UriError::Parameter),
            (format!("vat://{id}@a:1/{SWISS}?a=b:1?a=c:1"), two_marks),
            (
                format!("vat://{id}@a:1/{SWISS}?a=b:1&"),
                UriError::Parameter,
            ),
            (format!("vat://{id}/{SWISS}?a=a:1"), UriError::NotCanonical),
            (
                format!("vat://{id}@a:1/{SWISS}?a=a:1"),
                UriError::NotCanonical,
            ),
            (
                format!("vat://{id}/{SWISS}{}", "a".repeat(2048)),
                UriError::TooLong,
            ),
        ] {
            assert_eq!(SturdyRef::parse(&uri), Err(error), "{uri}");
        }
    }

    #[test]
    fn every_changed_character_is_an_error_or_another_reference() {
        let uri = example();
        let original = SturdyRef::parse(&uri).unwrap();
        for position in 0..uri.len() {
            for byte in 0..=127 {
                let mut changed = uri.clone().into_bytes();
                changed[position] = byte;
                let changed = String::from_utf8(changed).unwrap();
                let Ok(parsed) = SturdyRef::parse(&changed) else {
                    continue;
                };
                assert_eq!(*parsed.to_uri_with_secret(), changed);
                let is_the_same = parsed == original && parsed.addresses() == original.addresses();
                assert_eq!(is_the_same, changed == uri, "{position} {byte}");
            }
        }
    }

    #[test]
    fn every_truncation_is_an_error_or_another_reference() {
        let uri = example();
        for end in 0..uri.len() {
            if let Ok(parsed) = SturdyRef::parse(&uri[..end]) {
                assert_eq!(*parsed.to_uri_with_secret(), uri[..end]);
            }
        }
    }

    #[test]
    fn equality_ignores_addresses_and_regards_the_rest() {
        use std::collections::HashSet;
        let swiss: SwissNumber = SWISS.parse().unwrap();
        let address = Address::tcp("a", 1).unwrap();
        let here = SturdyRef::new(vat(1), swiss.clone(), [address]).unwrap();
        let nowhere = SturdyRef::new(vat(1), swiss.clone(), []).unwrap();
        let other_vat = SturdyRef::new(vat(2), swiss, []).unwrap();
        let other_swiss = SturdyRef::new(vat(1), SwissNumber::from_bytes([9; 16]), []).unwrap();
        assert_eq!(here, nowhere);
        assert_ne!(here, other_vat);
        assert_ne!(here, other_swiss);
        assert_eq!(
            HashSet::from([here, nowhere, other_vat, other_swiss]).len(),
            3
        );
    }

    #[test]
    fn too_many_addresses_are_refused_when_made_and_when_read() {
        let swiss: SwissNumber = SWISS.parse().unwrap();
        let port = |port| Address::tcp("a", port).unwrap();
        let made = SturdyRef::new(vat(1), swiss.clone(), (1..=17).map(port));
        assert_eq!(made, Err(UriError::TooManyAddresses));
        assert!(SturdyRef::new(vat(1), swiss.clone(), (1..=16).map(port)).is_ok());
        let hints: String = (2..=17).map(|port| format!("&a=a:{port}")).collect();
        let uri = format!("vat://{}@a:1/{SWISS}?{}", vat(1), &hints[1..]);
        assert_eq!(SturdyRef::parse(&uri), Err(UriError::TooManyAddresses));

        let long = |n: u8| Address::unix(format!("/{}{n}", "\u{1}".repeat(100))).unwrap();
        assert_eq!(
            SturdyRef::new(vat(1), swiss, (1..9).map(long)),
            Err(UriError::TooLong)
        );
    }

    #[test]
    fn debug_and_errors_show_no_secret() {
        let uri = example();
        let sturdy_ref = SturdyRef::parse(&uri).unwrap();
        assert_eq!(format!("{sturdy_ref:?}"), format!("vat://{}@…/***", vat(1)));
        for position in 0..uri.len() {
            let mut changed = uri.clone();
            changed.replace_range(position..=position, "!");
            let error = SturdyRef::parse(&changed).unwrap_err();
            for shown in [format!("{error}"), format!("{error:?}")] {
                for window in SWISS.as_bytes().windows(6) {
                    assert!(
                        !shown.contains(std::str::from_utf8(window).unwrap()),
                        "{shown}"
                    );
                }
            }
        }
    }

    proptest! {
        #[test]
        fn made_references_read_back(
            swiss: [u8; 16],
            seed: [u8; 32],
            ports in proptest::collection::vec(1u16.., 0..4),
            sockets in proptest::collection::vec("[^/\0]{3,9}", 0..4),
        ) {
            let id = Identity::from_seed(&Seed::from_bytes(seed)).id();
            let sockets = sockets.iter().map(|name| Address::unix(format!("/{name}")).unwrap());
            let ports = ports.iter().map(|&port| Address::tcp("example.org", port).unwrap());
            let addresses = sockets.chain(ports);
            let made = SturdyRef::new(id, SwissNumber::from_bytes(swiss), addresses).unwrap();
            let uri = made.to_uri_with_secret();
            let read = SturdyRef::parse(&uri).unwrap();
            prop_assert_eq!(&read, &made);
            prop_assert_eq!(read.addresses(), made.addresses());
        }

        #[test]
        fn any_text_is_an_error_or_canonical(tail in "\\PC{0,60}", query in "(\\?a=[a-z:0-9/%&]{0,20})?") {
            for uri in [tail.clone(), format!("vat://{}@{tail}/{SWISS}{query}", vat(1))] {
                if let Ok(read) = SturdyRef::parse(&uri) {
                    prop_assert_eq!(&*read.to_uri_with_secret(), &uri);
                }
            }
        }
    }
}
