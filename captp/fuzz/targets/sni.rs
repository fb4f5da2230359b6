//! The first bytes of a TLS caller. See `vat/tests/fuzz/sni.rs`.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../../vat/tests/fuzz/sni.rs"]
mod sni;

fuzz_target!(|input: &[u8]| {
    if let Err(fault) = sni::run(input) {
        panic!("{fault}");
    }
});
