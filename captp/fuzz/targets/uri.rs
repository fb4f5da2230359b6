//! Texts as the URI of a sturdy ref and as its parts: what is accepted is canonical, and the
//! reader never panics.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use vat::sturdy::{Address, Identity, Seed, SturdyRef, SwissNumber, VatId};

fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    if let Ok(read) = text.parse::<Address>() {
        assert_eq!(read.to_string(), text, "an address has one text");
    }
    if let Ok(read) = text.parse::<VatId>() {
        assert_eq!(read.to_string(), text, "a vat id has one text");
    }
    if let Ok(read) = text.parse::<SwissNumber>() {
        assert_eq!(read.to_text_with_secret().as_str(), text);
    }
    check(text);
    // The id of a vat is a checked point of the curve, which no mutation finds: given here.
    check(&format!("vat://{}{text}", *VAT));
});

/// The same URI comes out, and the reference says the same when it is made of its parts.
fn check(text: &str) {
    let Ok(read) = SturdyRef::parse(text) else {
        return;
    };
    assert_eq!(read.to_uri_with_secret().as_str(), text);
    assert!(text.len() <= SturdyRef::MAX_URI_LEN);
    assert!(read.addresses().len() <= SturdyRef::MAX_ADDRESSES);
    let again = SturdyRef::new(
        read.vat(),
        read.swiss().clone(),
        read.addresses().iter().cloned(),
    );
    let again = again.expect("the parts of a reference make one");
    assert_eq!(again.to_uri_with_secret().as_str(), text);
    for address in read.addresses() {
        assert_eq!(address.to_string().parse().as_ref(), Ok(address));
    }
    let shown = format!("{read:?}");
    let secret = read.swiss().to_text_with_secret();
    assert!(!shown.contains(secret.as_str()), "the secret is shown");
}

static VAT: LazyLock<String> = LazyLock::new(|| {
    Identity::from_seed(&Seed::from_bytes([1; 32]))
        .id()
        .to_string()
});
