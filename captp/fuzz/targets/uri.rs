//! Texts as the URI of a sturdy ref and as its parts. See `vat/tests/fuzz/uri.rs`.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../../vat/tests/fuzz/uri.rs"]
mod uri;

fuzz_target!(|input: &[u8]| {
    if let Err(fault) = uri::run(input) {
        panic!("{fault}");
    }
});
