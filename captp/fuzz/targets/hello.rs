//! The first message of a peer that speaks hello. See `captp_testnet::fuzz::hello`.
#![no_main]

use captp_testnet::fuzz::hello::run;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    if let Err(fault) = run(input) {
        panic!("{fault}");
    }
});
