//! Peers that send anything. See `captp_testnet::fuzz::hostile`.
#![no_main]

use captp_testnet::fuzz::hostile::run;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    if let Err(fault) = run(input) {
        panic!("{fault}");
    }
});
