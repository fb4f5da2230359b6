//! Texts as the URI of a sturdy ref and as its parts: what is accepted is canonical, and the
//! reader never panics.

use std::fmt::Display;
use std::sync::LazyLock;

use vat::sturdy::{Address, Identity, Seed, SturdyRef, SwissNumber, VatId};

/// The input is the text.
pub(crate) fn run(input: &[u8]) -> Result<(), String> {
    let Ok(text) = std::str::from_utf8(input) else {
        return Ok(());
    };
    if let Ok(read) = text.parse::<Address>() {
        same("an address", &read, text)?;
    }
    if let Ok(read) = text.parse::<VatId>() {
        same("a vat id", &read, text)?;
    }
    if let Ok(read) = text.parse::<SwissNumber>() {
        same("a swiss number", &*read.to_text_with_secret(), text)?;
    }
    check(text)?;
    // The id of a vat is a checked point of the curve, which no mutation finds: given here.
    check(&format!("vat://{}{text}", *VAT))
}

/// The same URI comes out, and the reference says the same when it is made of its parts.
fn check(text: &str) -> Result<(), String> {
    let Ok(read) = SturdyRef::parse(text) else {
        return Ok(());
    };
    same("a reference", &*read.to_uri_with_secret(), text)?;
    let addresses = read.addresses();
    if text.len() > SturdyRef::MAX_URI_LEN || addresses.len() > SturdyRef::MAX_ADDRESSES {
        return Err(format!("{text:?} is longer than it may be"));
    }
    let again = SturdyRef::new(read.vat(), read.swiss().clone(), addresses.iter().cloned());
    let again = again.map_err(|error| format!("{text:?}, made of its parts: {error}"))?;
    same("one made of its parts", &*again.to_uri_with_secret(), text)?;
    for address in addresses {
        if address.to_string().parse().as_ref() != Ok(address) {
            return Err(format!("{address} is not read as it is written"));
        }
    }
    let shown = format!("{read:?}");
    match shown.contains(read.swiss().to_text_with_secret().as_str()) {
        true => Err(format!("the secret of {text:?} is shown")),
        false => Ok(()),
    }
}

/// There is one text for what was read.
fn same(what: &str, read: &(impl Display + ?Sized), text: &str) -> Result<(), String> {
    let written = read.to_string();
    match written == text {
        true => Ok(()),
        false => Err(format!("{what}: {text:?} is written as {written:?}")),
    }
}

static VAT: LazyLock<String> = LazyLock::new(|| {
    Identity::from_seed(&Seed::from_bytes([1; 32]))
        .id()
        .to_string()
});
